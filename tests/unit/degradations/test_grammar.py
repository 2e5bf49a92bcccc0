"""Text to operator and back; every mistake names what is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_sdk.degradations import (
    Composition,
    CorruptionSpecError,
    Downsample,
    GaussianBlur,
    GaussianNoise,
    Range,
    RemovePixel,
    RemovePixelChannel,
    parse,
)


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("remove-pixel", RemovePixel()),
        ("remove-pixel:p=0.5,bernoulli", RemovePixel(0.5, bernoulli=True)),
        (" remove-pixel : p = 0.5 , rescale=true, bernoulli=false ", RemovePixel(0.5, rescale=True)),
        ("downsample:factor=2,kernel=area", Downsample(2, "area")),
        ("gaussian-blur:sigma=0.5..2", GaussianBlur(Range(0.5, 2.0))),
        ("gaussian-blur:sigma=1+gaussian-noise:sigma=5e-2", Composition((GaussianBlur(1.0), GaussianNoise(0.05)))),
        ("gaussian-noise:sigma=1e+3 + remove-pixel-channel", Composition((GaussianNoise(1e3), RemovePixelChannel()))),
    ],
)
def test_texts(text: str, operator: object) -> None:
    assert parse(text) == operator


def test_description_by_hand() -> None:
    text = "remove-pixel:p=0.5,fill=0.0,bernoulli+gaussian-blur:sigma=0.5..2.0,border=reflect"
    assert parse("remove-pixel:bernoulli,p=.5+gaussian-blur:sigma=.5..2").describe() == text


@given(st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1e6), st.booleans())
def test_every_number_comes_back(p: float, low: float, high: float, bernoulli: bool) -> None:
    span = Range(*sorted((low, high)))
    operator = Composition((GaussianNoise(span), RemovePixel(p, bernoulli=bernoulli), GaussianNoise(high)))
    assert parse(operator.describe()) == operator


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a step is empty; known are: remove-pixel,"),
        ("blurr", "there is no 'blurr'; known are: remove-pixel,.*identity; use one of these"),
        ("remove-pixel+", "a step is empty"),
        ("+remove-pixel", "a step is empty"),
        ("clip++clip", "a step is empty"),
        ("remove-pixel:q=1", "remove-pixel has no 'q'; known are: p, fill, bernoulli, rescale"),
        ("remove-pixel:", "remove-pixel has no ''"),
        ("clip:p=1", "clip has no 'p'; leave it out"),
        ("remove-pixel:p", "'p' of remove-pixel has no value; write p=0.9"),
        ("remove-pixel:p=much", "p cannot be 'much'; pass a number"),
        ("drop-rows:p=0.1..0.2", "p cannot be '0.1..0.2'; pass a number"),
        ("remove-pixel:p=0.1,p=0.2", "'p' is given twice"),
        ("remove-pixel:p=1.5", "remove-pixel: p=1.5; pass a number of 0 to 1"),
        ("remove-pixel:p=nan", "p=nan; pass a number of 0 to 1"),
        ("remove-pixel:bernoulli=maybe", "bernoulli cannot be 'maybe'; pass true or false"),
        ("downsample:factor=2.5", "factor cannot be '2.5'; pass a whole number"),
        ("downsample:kernel=lanczos", "kernel cannot be 'lanczos'; known are: bicubic, lanczos2, lanczos3, area"),
        ("gaussian-blur:sigma=2..1", "ascending range"),
        ("gaussian-blur:sigma=a..b", "pass a number or low..high"),
        ("convolve-noise:size=4", "size"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(CorruptionSpecError, match=message):
        parse(text)


def test_the_error_carries_what_is_known() -> None:
    with pytest.raises(CorruptionSpecError) as caught:
        parse("downsample:kernel=best")
    assert caught.value.known == ("bicubic", "lanczos2", "lanczos3", "area")
    assert caught.value.text == "downsample:kernel=best"


@given(st.text(max_size=30))
def test_any_text_is_an_operator_or_a_typed_error(text: str) -> None:
    try:
        operator = parse(text)
    except CorruptionSpecError:
        return
    assert parse(operator.describe()) == operator
