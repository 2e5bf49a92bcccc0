"""Which encoder writes a video, in which pixel format, and how good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from restore_sdk.errors import DeviceUnavailableError, OptionsError
from restore_sdk.extras import require
from restore_sdk.stream.video_facts import Colour, VideoFacts

# By the codec of the source: what writes the same codec best.
ENCODER_OF: Mapping[str, str] = {
    "h264": "libx264",
    "hevc": "libx265",
    "av1": "libsvtav1",
    "vp9": "libvpx-vp9",
    "ffv1": "ffv1",
    "prores": "prores_ks",
    "vp8": "libvpx",
    "mjpeg": "mjpeg",
    "gif": "gif",
}
FALLBACKS = ("libx264", "libx265", "libvpx-vp9", "libsvtav1", "libopenh264", "mpeg4")


@dataclass(frozen=True, slots=True)
class Quality:
    """An encoder's scale of constant quality: the option, its default, its worst, and what must stand beside it."""

    option: str
    default: int
    worst: int
    beside: Mapping[str, str]


_NVENC = Quality("cq", 19, 51, {"rc": "vbr", "b": "0"})
_QSV = Quality("global_quality", 19, 51, {})
QUALITY: Mapping[str, Quality] = {
    "libx264": Quality("crf", 17, 51, {"a53cc": "0"}),
    "libx265": Quality("crf", 19, 51, {"a53cc": "0", "x265-params": "log-level=error"}),
    "libsvtav1": Quality("crf", 24, 63, {}),
    "libvpx-vp9": Quality("crf", 20, 63, {"b": "0"}),
    "libvpx": Quality("crf", 8, 63, {"b": "1G", "qmin": "0"}),  # which takes the scale only below a rate
    **dict.fromkeys(("h264_nvenc", "hevc_nvenc", "av1_nvenc"), _NVENC),
    **dict.fromkeys(("h264_qsv", "hevc_qsv", "av1_qsv"), _QSV),
}
LOSSLESS = ("ffv1", "ffvhuff", "huffyuv", "utvideo", "png", "rawvideo", "wrapped_avframe", "prores_ks", "prores", "dnxhd")
AS_JFIF = ("mjpeg",)  # full range and BT.601 whatever the tags say
JFIF_RANGE, JFIF_MATRIX = 2, 5
BEST_SCALE = 2 * 118  # quantiser 2, for encoders of the old school
# Containers that do not tell FFmpeg what they hold.
_HELD_BY: Mapping[str, tuple[str, ...]] = {
    "mpegts": ("h264", "hevc", "mpeg2video", "mpeg1video", "mpeg4"),
    "rtsp": ("h264", "hevc", "mpeg2video", "mpeg4", "vp8", "vp9"),
}
HALVES_ODD_SIDES = ("ffv1", "ffvhuff", "libvpx-vp9", "rawvideo", "wrapped_avframe", "mpeg4", "mjpeg", "utvideo")


@dataclass(frozen=True, slots=True)
class Encoding:
    """All that an encoder is opened with; equal values give equal streams on one machine. Times as in VideoFacts."""

    codec: str
    options: Mapping[str, str]
    quantiser: int | None
    format: str
    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    aspect: Fraction | None
    colour: Colour
    global_header: bool
    notices: tuple[str, ...] = ()


def choose_encoding(
    facts: VideoFacts,
    *,
    codec: str | None,
    crf: int | None,
    scale: int,
    known: list[str],
    global_header: bool,
    reorders: bool = True,
) -> Encoding:
    """The encoding for a restored video.

    known     encoders that the target's container takes, by name
    reorders  the container knows when a packet is shown beside when it is decoded; else pictures are coded in their order

    Raises OptionsError for a codec that is not among them (the message lists them), or a crf that it does not have.
    """
    name = _choose_codec(facts.codec, codec, known)
    width, height = facts.width * scale, facts.height * scale
    pixel_format, notices = choose_format(name, facts, odd=bool(width % 2 or height % 2))
    options, quantiser = quality_options(name, crf)
    colour = colour_of(facts, pixel_format)
    return Encoding(
        codec=name,
        options=options if reorders else {**options, "bf": "0"},
        quantiser=quantiser,
        format=pixel_format,
        width=width,
        height=height,
        rate=facts.rate,
        time_base=facts.time_base,
        aspect=facts.aspect,
        colour=replace(colour, range=JFIF_RANGE, matrix=JFIF_MATRIX) if name in AS_JFIF else colour,
        global_header=global_header,
        notices=notices,
    )


def encoders_for(container: Any) -> list[str]:
    """Names of the video encoders in this build that an opened output container takes."""
    av = require("av", "video")
    untabled = _HELD_BY.get(container.format.name)
    found = []
    for name in sorted(av.codecs_available if untabled else container.supported_codecs):
        try:
            encoder = av.Codec(name, "w")
        except ValueError:
            continue
        held = untabled is None or encoder.canonical_name in untabled
        if encoder.type == "video" and encoder.video_formats and held:
            found.append(name)
    return found


def open_encoder(encoding: Encoding) -> Any:
    """An opened encoder. Raises OptionsError where it refuses what it is given, DeviceUnavailableError where its device lacks."""
    av = require("av", "video")
    context = av.CodecContext.create(encoding.codec, "w")
    configure(context, encoding)
    try:
        context.open()
    except (av.FFmpegError, ValueError) as exc:
        said = getattr(exc, "strerror", None) or str(exc)
        if _is_hardware(encoding.codec):
            remedy = f"the encoder does not start here ({said}); name another codec"
            raise DeviceUnavailableError(encoding.codec, [*FALLBACKS], remedy) from exc
        shown = f"{encoding.width} x {encoding.height} {encoding.format} at {float(encoding.rate):g} frames/s"
        raise OptionsError("codec", encoding.codec, f"a codec that takes {shown} ({said})") from exc
    return context


def configure(context: Any, encoding: Encoding) -> None:
    """Set up an encoder that is not open yet."""
    flags = require("av", "video").codec.context.Flags
    context.width, context.height, context.pix_fmt = encoding.width, encoding.height, encoding.format
    context.time_base, context.framerate = encoding.time_base, encoding.rate
    colour = encoding.colour
    context.color_range, context.colorspace = colour.range, colour.matrix
    context.color_trc, context.color_primaries = colour.transfer, colour.primaries
    if encoding.aspect:
        context.sample_aspect_ratio = encoding.aspect
    context.options = dict(encoding.options)
    context.flags |= flags.frame_duration
    if encoding.global_header:
        context.flags |= flags.global_header
    if encoding.quantiser is not None:
        context.flags |= flags.qscale
        context.global_quality = encoding.quantiser


def choose_format(codec: str, facts: VideoFacts, *, odd: bool, names: Sequence[str] = ()) -> tuple[str, tuple[str, ...]]:
    """The pixel format that loses least of the source's, alpha apart, among `names` or all of the encoder, and what it loses."""
    av = require("av", "video")
    names = names or plain_formats(codec)
    source = av.VideoFormat(facts.format, 16, 16)
    if odd and codec not in HALVES_ODD_SIDES:
        names = [name for name in names if _has_full_chroma(av.VideoFormat(name, 16, 16))] or names
    if _is_coloured(source):
        names = [name for name in names if _is_coloured(av.VideoFormat(name))] or names
    if not source.is_rgb:
        names = [name for name in names if not av.VideoFormat(name).is_rgb] or names
    deep = [name for name in names if _bits(av.VideoFormat(name)) >= facts.bits]
    best, _ = av.codec.codec.find_best_pix_fmt_of_list(deep or names or ["yuv420p"], _without_range(facts.format))
    notices = []
    if _bits(best) < facts.bits:
        notices.append(f"{codec} holds {_bits(best)} bits, the source has {facts.bits}; name a codec of more bits to keep them")
    if odd and _has_full_chroma(av.VideoFormat(best.name, 16, 16)) and not (_has_full_chroma(source) or source.is_rgb):
        notices.append(f"{codec} takes odd sizes only with full chroma, so the result is {best.name}")
    return str(best.name), tuple(notices)


def plain_formats(codec: str) -> list[str]:
    """Names of the pixel formats of an encoder that lie in host memory and have neither alpha nor a palette."""
    return [form.name for form in require("av", "video").Codec(codec, "w").video_formats or [] if _is_plain(form)]


def colour_of(facts: VideoFacts, pixel_format: str) -> Colour:
    """The source's colour tags, but for what RGB and YCbCr cannot have of one another: matrix 0 is RGB, whose range is full."""
    colour, is_rgb = facts.colour, bool(require("av", "video").VideoFormat(pixel_format).is_rgb)
    if is_rgb:
        return replace(colour, matrix=0, range=2)
    return replace(colour, matrix=1, range=1) if colour.matrix == 0 else colour


def quality_options(codec: str, crf: int | None) -> tuple[dict[str, str], int | None]:
    """Options for constant quality, and the quantiser of encoders that have no such option. Raises OptionsError."""
    quality = QUALITY.get(codec)
    if quality is None:
        if crf is not None:
            raise OptionsError("crf", crf, f"none with {codec}, which has no such scale; codecs with one: {', '.join(QUALITY)}")
        return {}, None if codec in LOSSLESS or codec.startswith("lib") else BEST_SCALE
    if crf is not None and not 0 <= crf <= quality.worst:
        raise OptionsError("crf", crf, f"0 (best) to {quality.worst} with {codec}")
    return {**quality.beside, quality.option: str(quality.default if crf is None else crf)}, None


def _choose_codec(source: str, wanted: str | None, known: list[str]) -> str:
    if wanted is not None:
        if wanted not in known:
            raise OptionsError(
                "codec", wanted, f"an encoder of this build that the container takes: {', '.join(known) or 'none'}"
            )
        return wanted
    choices = [ENCODER_OF.get(source, ""), *FALLBACKS, *(name for name in known if not _is_hardware(name))]
    found = next((name for name in choices if name in known), None)
    if found is None:
        raise OptionsError("codec", source, "a container that holds video; end the target in .mp4, .mkv, .mov or .webm")
    return found


def _is_hardware(name: str) -> bool:
    return name.endswith(("_nvenc", "_qsv", "_amf", "_v4l2m2m", "_vaapi", "_videotoolbox", "_mf", "_vulkan"))


def _is_plain(form: Any) -> bool:
    """A format that lies in host memory, has no alpha and no palette, and says nothing of the range."""
    parts = form.components
    return (
        bool(parts)
        and not (form.has_palette or form.is_bayer or form.is_big_endian)
        and not (form.name.startswith("yuvj") or any(part.is_alpha for part in parts))
    )


def _is_coloured(form: Any) -> bool:
    return bool(form.has_palette) or sum(not part.is_alpha for part in form.components) >= 3


def _without_range(name: str) -> str:
    return name.replace("yuvj", "yuv", 1) if name.startswith("yuvj") else name


def _bits(form: Any) -> int:
    return max(int(part.bits) for part in form.components)


def _has_full_chroma(form: Any) -> bool:
    return bool(form.chroma_width(16) == 16 and form.chroma_height(16) == 16)
