"""Which encoder, which pixel format, which quality."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

pytest.importorskip("av", reason="needs the extra [video]")

from restore_sdk.errors import OptionsError
from restore_sdk.stream.video_codecs import QUALITY, choose_encoding, choose_format, colour_of, quality_options
from restore_sdk.stream.video_facts import Colour, VideoFacts
from restore_sdk.stream.video_pixels import coefficients

FACTS = VideoFacts(
    path="a.mp4",
    codec="h264",
    width=64,
    height=48,
    format="yuv420p",
    bits=8,
    rate=Fraction(25),
    average=Fraction(25),
    time_base=Fraction(1, 12800),
    begin=Fraction(0),
    first=0,
    end=Fraction(1),
    mirrored=False,
    rotation=0,
    aspect=None,
    colour=Colour(1, 1, 1, 1),
    metadata={},
    disposition=1,
    notices=(),
)


@pytest.mark.parametrize(
    ("codec", "given", "bits", "chosen"),
    [
        ("libx264", "yuv420p", 8, "yuv420p"),
        ("libx264", "yuvj420p", 8, "yuv420p"),
        ("libx264", "yuva420p", 8, "yuv420p"),
        ("libx264", "nv12", 8, "nv12"),
        ("libx264", "yuv422p10le", 10, "yuv422p10le"),
        ("libx264", "p010le", 10, "yuv420p10le"),
        ("libx265", "yuv444p12le", 12, "yuv444p12le"),
        ("libx265", "gray", 8, "gray"),
        ("libsvtav1", "yuv420p10le", 10, "yuv420p10le"),
        ("ffv1", "gbrp10le", 10, "gbrp10le"),
        ("gif", "gray", 8, "gray"),
        ("hevc_nvenc", "yuv420p10le", 10, "p010le"),
    ],
)
def test_format_loses_nothing(codec: str, given: str, bits: int, chosen: str) -> None:
    from av import codecs_available

    if codec not in codecs_available:
        pytest.skip(f"this build has no {codec}")
    assert choose_format(codec, replace(FACTS, format=given, bits=bits), odd=False) == (chosen, ())


def test_lost_bits_are_reported() -> None:
    _, notices = choose_format("mpeg4", replace(FACTS, format="yuv420p10le", bits=10), odd=False)
    assert notices == ("mpeg4 holds 8 bits, the source has 10; name a codec of more bits to keep them",)


def test_quality() -> None:
    assert quality_options("libx264", None) == ({"a53cc": "0", "crf": "17"}, None)
    assert quality_options("libx264", 30)[0]["crf"] == "30"
    assert quality_options("h264_nvenc", 30)[0] == {"rc": "vbr", "b": "0", "cq": "30"}
    assert quality_options("mpeg4", None) == ({}, 236)
    assert quality_options("ffv1", None) == ({}, None)
    for wrong in (-1, 52):
        with pytest.raises(OptionsError, match=r"0 \(best\) to 51"):
            quality_options("libx264", wrong)
    with pytest.raises(OptionsError, match="codecs with one: libx264"):
        quality_options("mpeg4", 5)
    assert all(quality.default < quality.worst for quality in QUALITY.values())


@pytest.mark.parametrize(
    ("source", "known", "chosen"),
    [
        ("h264", ["libx264", "libx265"], "libx264"),
        ("hevc", ["libx264", "libx265"], "libx265"),
        ("mpeg4", ["libx264", "mpeg4"], "libx264"),
        ("vp8", ["libvpx", "libvpx-vp9"], "libvpx"),
        ("mjpeg", ["libx264", "mjpeg"], "mjpeg"),
        ("h264", ["libsvtav1", "libvpx-vp9"], "libvpx-vp9"),
        ("h264", ["prores_ks"], "prores_ks"),
    ],
)
def test_codec_of_the_source_or_the_next_best(source: str, known: list[str], chosen: str) -> None:
    facts = replace(FACTS, codec=source)
    assert choose_encoding(facts, codec=None, crf=None, scale=1, known=known, global_header=False).codec == chosen


def test_container_without_video() -> None:
    with pytest.raises(OptionsError, match="a container that holds video"):
        choose_encoding(FACTS, codec=None, crf=None, scale=1, known=[], global_header=False)


@pytest.mark.parametrize(
    ("matrix", "height", "number"), [(1, 48, 1), (6, 1080, 5), (9, 48, 9), (10, 48, 9), (2, 480, 5), (2, 720, 1), (0, 720, 1)]
)
def test_matrix(matrix: int, height: int, number: int) -> None:
    assert coefficients(matrix, height) == number


@pytest.mark.parametrize(
    ("colour", "pixel_format", "wanted"),
    [
        (Colour(1, 9, 16, 9), "yuv420p10le", Colour(1, 9, 16, 9)),
        (Colour(1, 9, 16, 9), "gbrp10le", Colour(2, 0, 16, 9)),
        (Colour(2, 0, 13, 1), "yuv444p", Colour(1, 1, 13, 1)),
        (Colour(2, 0, 13, 1), "gbrp", Colour(2, 0, 13, 1)),
    ],
)
def test_tags_that_rgb_and_ycbcr_do_not_share(colour: Colour, pixel_format: str, wanted: Colour) -> None:
    assert colour_of(replace(FACTS, colour=colour), pixel_format) == wanted
