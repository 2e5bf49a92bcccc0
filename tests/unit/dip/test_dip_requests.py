"""What a fit is asked for and cannot do, and what it keeps of the last one."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import numpy as np
import pytest

from restore_sdk import Restorer
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip_images import DipImages
from restore_sdk.errors import OptionsError

SHORT = DipOptions(width="draft", max_iterations=1)
GRAY = np.full((20, 24, 3), 90, np.uint8)


def test_the_last_result_is_not_held() -> None:
    with Restorer("dip-denoise", device="cpu", dip=SHORT) as restorer:
        restorer.restore(GRAY)
        assert restorer.report()["last_fit"]["iterations"] == 1  # type: ignore[index]
    images = DipImages("dip-denoise", SHORT, device="cpu")
    made = images.restore(GRAY)
    held = [weakref.ref(array) for array in (made.outcome.image, made.outcome.variance, made.outcome.fits[0].image)]
    expected = made.outcome.report()
    del made
    gc.collect()
    assert [reference() for reference in held] == [None] * 3
    assert json.loads(json.dumps(images.report()["last_fit"])) == json.loads(json.dumps(expected))


@pytest.mark.parametrize("preset", [["denoise"], 3, "portrait"])
def test_presets_go_by_name(preset: Any) -> None:
    with pytest.raises(OptionsError, match=r"^preset=.*expected one of denoise, denoise-strong"):
        DipImages("dip-denoise", DipOptions(preset=preset), device="cpu")


@pytest.mark.parametrize("clip", ["no", 1, None])
def test_clip_is_true_or_false(clip: Any) -> None:
    with pytest.raises(OptionsError, match=r"^clip=.*expected True or False"):
        DipImages("dip-denoise", SHORT, device="cpu").restore(GRAY, clip=clip)


@pytest.mark.parametrize("on_progress", [print, 5])
def test_progress_of_an_engine_is_not_that_of_a_fit(on_progress: Any) -> None:
    with pytest.raises(OptionsError, match=r"^on_progress=.*None for 'dip-...'.*DipImages\(...\)\.restore\(on_progress=...\)"):
        Restorer("dip-denoise", device="cpu", dip=SHORT, on_progress=on_progress)
