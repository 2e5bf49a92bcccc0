import dataclasses

import numpy as np
import pytest

from restore_sdk.errors import OptionsError
from restore_sdk.options import SMALLEST_CORE, TileOptions, tile_options


@pytest.mark.parametrize(
    ("choice", "options"),
    [
        (None, None),
        ("auto", TileOptions(mode="exact", core=None)),
        ("exact", TileOptions(mode="exact", core=None)),
        ("fast", TileOptions(mode="fast", core=None)),
        (512, TileOptions(mode="exact", core=512)),
        (SMALLEST_CORE, TileOptions(core=16)),
    ],
)
def test_every_form_of_tile(choice, options) -> None:
    assert tile_options(choice) == options


def test_options_pass_through_unchanged() -> None:
    options = TileOptions(mode="fast", core=64, batch=2, memory_mb=100)
    assert tile_options(options) is options


@pytest.mark.parametrize("choice", ["whole", "512", "", 15, 0, -1, True, 64.0, b"auto", [64]])
def test_other_forms_are_refused(choice) -> None:
    with pytest.raises(OptionsError):
        tile_options(choice)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"mode": "quick"}, "mode='quick', expected 'exact' or 'fast'"),
        ({"core": 15}, "core=15, expected an integer of at least 16 pixels"),
        ({"core": 64.0}, "core=64.0"),
        ({"batch": 0}, "batch=0, expected an integer of at least 1 tiles"),
        ({"batch": True}, "batch=True"),
        ({"memory_mb": 0}, "memory_mb=0, expected an integer of at least 1 MiB"),
    ],
)
def test_values_out_of_range(values, says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        TileOptions(**values)


def test_options_are_frozen_and_hashable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TileOptions().core = 3  # type: ignore[misc]
    assert hash(TileOptions(core=64)) == hash(TileOptions(core=64))


def test_memory_beyond_any_machine_is_refused_and_not_overflowed() -> None:
    with pytest.raises(OptionsError, match="at most 1073741824 MiB"):
        TileOptions(memory_mb=10**400)


def test_an_array_is_no_tile_choice() -> None:
    with pytest.raises(OptionsError, match="tile=array"):
        tile_options(np.array([1, 2]))  # type: ignore[arg-type]
