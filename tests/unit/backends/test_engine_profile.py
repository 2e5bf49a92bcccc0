"""Profiles are refused before TensorRT sees them, with a remedy."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_sdk.backends.engine_profile import EngineProfile, profile_for, rounded_up
from restore_sdk.errors import OptionsError
from restore_sdk.spec import ModelSpec

SPEC = ModelSpec(name="small", method="self_supervised", task="denoise", size_multiple=4)
SIDES = st.integers(1, 400).map(lambda count: 8 * count)


def test_defaults_by_hand() -> None:
    assert profile_for(SPEC).as_json() == {"min": [1, 3, 64, 64], "opt": [1, 3, 512, 512], "max": [1, 3, 1024, 1024]}


def test_what_is_given_stays_and_the_rest_moves() -> None:
    wide = profile_for(SPEC, optimum=(1088, 1920), batch=2)
    assert wide.as_json() == {"min": [1, 3, 64, 64], "opt": [2, 3, 1088, 1920], "max": [2, 3, 1088, 1920]}
    small = profile_for(SPEC, maximum=(48, 256))
    assert small.as_json() == {"min": [1, 3, 48, 64], "opt": [1, 3, 48, 256], "max": [1, 3, 48, 256]}
    fixed = profile_for(SPEC, minimum=(600, 600))
    assert fixed.optimum == (1, 3, 600, 600)


def test_defaults_keep_to_the_multiple_and_to_the_smallest_size() -> None:
    spec = dataclasses.replace(SPEC, size_multiple=48, min_size=100)
    assert profile_for(spec).as_json() == {"min": [1, 3, 144, 144], "opt": [1, 3, 528, 528], "max": [1, 3, 1056, 1056]}


@given(st.none() | st.tuples(SIDES, SIDES), st.sampled_from([1, 4, 8]), st.sampled_from(["minimum", "optimum", "maximum"]))
def test_any_single_size_makes_a_profile_that_holds_it(size: tuple[int, int] | None, multiple: int, name: str) -> None:
    sizes: dict[str, Any] = {name: size}
    profile = profile_for(dataclasses.replace(SPEC, size_multiple=multiple), **sizes)
    if size is not None:
        assert profile.contains((1, 3, *size))
        assert getattr(profile, name)[2:] == size


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"optimum": (600, 256), "maximum": (512, 512)}, "max=.*at least opt=.*height is 512 < 600"),
        ({"minimum": (64, 64), "optimum": (64, 32)}, "opt=.*at least min=.*width is 32 < 64"),
        ({"maximum": (510, 512)}, "max='510x512'.*multiples of 4 px, for example 512x512"),
        ({"minimum": (30, 32)}, "min='30x32'.*for example 32x32"),
        ({"minimum": (64, 640), "maximum": (64, 320)}, "max='64x320'.*at least min=64x640 on every axis .width is 320 < 640"),
        ({"optimum": (0, 512)}, "opt='0x512', expected height and width from 1 to 1048576 pixels"),
        ({"maximum": (512, 1 << 21)}, "max='512x2097152', expected height and width from 1 to 1048576"),
        ({"optimum": (512,)}, r"opt=\(512,\), expected a \(height, width\)"),
        ({"batch": 0}, "batch=0"),
        ({"batch": 4_000_000_000}, "batch=4000000000, expected an integer from 1 to 65536"),
        ({"batch": True}, "batch=True"),
    ],
)
def test_refused(sizes: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionsError, match=says) as caught:
        profile_for(SPEC, **sizes)
    assert "pass a value in that range" in str(caught.value)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 3, 64, 64, 1), (1, 3, 64, 64.0), (1, 3, -4, 64)])
def test_wrong_rank_or_lengths(shape: Any) -> None:
    with pytest.raises(OptionsError, match="min="):
        EngineProfile(minimum=shape, optimum=(1, 3, 64, 64), maximum=(1, 3, 64, 64))


def test_channels_are_those_of_the_spec() -> None:
    four = (1, 4, 64, 64)
    with pytest.raises(OptionsError, match=r"min=\(1, 4, 64, 64\), expected 3 channels"):
        EngineProfile(minimum=four, optimum=four, maximum=four).check(SPEC)


def test_contains_counts_its_ends_and_every_axis() -> None:
    profile = profile_for(SPEC, minimum=(64, 64), maximum=(128, 256), batch=2)
    assert profile.contains((1, 3, 64, 64))
    assert profile.contains((2, 3, 128, 256))
    for outside in ((3, 3, 64, 64), (1, 1, 64, 64), (1, 3, 60, 64), (1, 3, 64, 260), (3, 64, 64)):
        assert not profile.contains(outside)


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_rounded_up(length: int, multiple: int) -> None:
    assert rounded_up(length, multiple) % multiple == 0
    assert 0 <= rounded_up(length, multiple) - length < multiple
