"""DipOptions refuse what cannot be meant, and load no PyTorch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from restore_sdk.dip import DipOptions
from restore_sdk.errors import OptionsError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", "wide"),
        ("stopping", "early"),
        ("scale", 3),
        ("precision", "fp16"),
        ("sigma", 25),
        ("sigma", float("nan")),
        ("max_iterations", 0),
        ("max_iterations", True),
        ("max_seconds", -1),
        ("patience", 1.5),
        ("held_out", 0.0),
        ("seed", -1),
        ("smoothing", 1.0),
        ("tile", 63),
        ("overlap", 7),
        ("batch", 0),
        ("kernel", [[1, 1]]),
        ("kernel", [[0.0]]),
        ("kernel", [[np.inf]]),
        ("kernel", [["a"]]),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(OptionsError, match=f"^{name}="):
        DipOptions(**{name: value})


def test_overlap_of_more_than_half_a_tile_is_refused() -> None:
    with pytest.raises(OptionsError, match="at most half of tile=64"):
        DipOptions(tile=64, overlap=33)


def test_kernels_become_plain_numbers_of_sum_one() -> None:
    options = DipOptions(kernel=np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]))  # type: ignore[arg-type]
    assert options.kernel == ((0.0, 0.125, 0.0), (0.125, 0.5, 0.125), (0.0, 0.125, 0.0))
    assert hash(options) == hash(DipOptions(kernel=options.kernel))
    assert DipOptions(kernel="gaussian-blur:sigma=2").kernel == "gaussian-blur:sigma=2"


def test_options_load_no_torch() -> None:
    code = "import sys, restore_sdk.dip, restore_sdk.dip_images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
