"""DipOptions refuse what cannot be meant, and load no PyTorch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from restore_sdk.dip import DipOptions
from restore_sdk.dip.options import LARGEST_TILE
from restore_sdk.dip.wishes import with_wishes
from restore_sdk.errors import OptionsError
from restore_sdk.options import TileOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", "wide"),
        ("stopping", "early"),
        ("scale", 3),
        ("scale", 2.0),
        ("precision", "fp16"),
        ("sigma", 25),
        ("sigma", float("nan")),
        ("max_iterations", 0),
        ("max_iterations", True),
        ("max_seconds", -1),
        ("patience", 1.5),
        ("held_out", 0.0),
        ("max_seconds", float("inf")),
        ("seed", -1),
        ("smoothing", 1.0),
        ("tile", 63),
        ("overlap", 7),
        ("batch", 0),
        ("kernel", [[1, 1]]),
        ("kernel", [[0.0]]),
        ("kernel", [[np.inf]]),
        ("kernel", [["a"]]),
        ("kernel", np.ones((3, 3), complex)),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(OptionsError, match=f"^{name}="):
        DipOptions(**{name: value})


def test_overlap_of_more_than_half_a_tile_is_refused() -> None:
    with pytest.raises(OptionsError, match="at most half of tile=64"):
        DipOptions(tile=64, overlap=33)


def test_numbers_of_numpy_become_plain_ones() -> None:
    options = DipOptions(sigma=np.float32(0.5), max_iterations=np.int64(7), max_seconds=2)  # type: ignore[arg-type]
    assert [type(value) for value in (options.sigma, options.max_iterations, options.max_seconds)] == [float, int, float]
    assert options == DipOptions(sigma=0.5, max_iterations=7, max_seconds=2.0)


@pytest.mark.parametrize(
    ("wish", "tile"),
    [({}, None), ({"backend": "torch"}, None), ({"tile": "auto"}, None), ({"tile": 96}, 96), ({"tile": None}, LARGEST_TILE)],
)
def test_wishes_that_a_fit_can_honour(wish: dict[str, Any], tile: int | None) -> None:
    assert with_wishes(None, **wish) == DipOptions(tile=tile)
    assert with_wishes(DipOptions(tile=tile, seed=3), **wish) == DipOptions(tile=tile, seed=3)


@pytest.mark.parametrize(
    ("wish", "instead"),
    [
        ({"backend": "openvino"}, "PyTorch fits where device="),
        ({"tile": "exact"}, "the side of a tile"),
        ({"tile": TileOptions(core=128)}, "the side of a tile"),
        ({"tile": True}, "the side of a tile"),
        ({"tile": 95}, r"96 \(twice the overlap\)"),
        ({"tile": 1 << 21}, "to 1048576 pixels"),
        ({"build": "never"}, "builds no engine"),
        ({"finite": "fallback"}, "goes back to a sound state"),
    ],
)
def test_wishes_that_a_fit_cannot_honour_are_refused(wish: dict[str, Any], instead: str) -> None:
    with pytest.raises(OptionsError, match=f"^{next(iter(wish))}=.*{instead}"):
        with_wishes(DipOptions(), **wish)


def test_a_tile_is_asked_for_once() -> None:
    with pytest.raises(OptionsError, match="'auto' beside DipOptions\\(tile=128\\)"):
        with_wishes(DipOptions(tile=128), tile=256)
    with pytest.raises(OptionsError, match=r"^options=.*expected DipOptions or None"):
        with_wishes({"tile": 128})  # type: ignore[arg-type]


def test_seconds_are_finite() -> None:
    with pytest.raises(OptionsError, match=r"^max_seconds=inf, expected a finite number of at least 0 seconds"):
        DipOptions(max_seconds=float("inf"))


def test_kernels_become_plain_numbers_of_sum_one() -> None:
    options = DipOptions(kernel=np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]))  # type: ignore[arg-type]
    assert options.kernel == ((0.0, 0.125, 0.0), (0.125, 0.5, 0.125), (0.0, 0.125, 0.0))
    assert hash(options) == hash(DipOptions(kernel=options.kernel))
    assert DipOptions(kernel="gaussian-blur:sigma=2").kernel == "gaussian-blur:sigma=2"


def test_options_load_no_torch() -> None:
    code = "import sys, restore_sdk.dip, restore_sdk.dip_images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_first_fit_loads_nothing_more_that_takes_long() -> None:
    """What PyTorch loads with its first optimiser, in about a second, is there before an image's budget begins."""
    code = (
        "import sys, numpy; from restore_sdk.dip import DipOptions; from restore_sdk.dip_images import DipImages\n"
        "images = DipImages('dip-denoise', DipOptions(width='draft', max_iterations=1), device='cpu')\n"
        "before = len(sys.modules); images.restore(numpy.zeros((8, 8), numpy.uint8)); sys.exit(len(sys.modules) - before > 100)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_scales_of_numpy_are_taken() -> None:
    assert type(DipOptions(scale=np.int64(8)).scale) is int  # type: ignore[arg-type]
    with pytest.raises(OptionsError):
        DipOptions(scale=True)
