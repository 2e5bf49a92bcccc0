"""What every Restorer can be asked for, held against what a fit can do: honoured, or refused with what a fit has instead."""

from __future__ import annotations

from dataclasses import replace

from restore_sdk.dip.options import LARGEST_TILE, DipOptions
from restore_sdk.errors import OptionsError
from restore_sdk.options import TileChoice

BACKENDS = ("auto", "torch")  # PyTorch makes the fits


def with_wishes(
    options: DipOptions | None, *, backend: str = "auto", tile: TileChoice = "auto", build: str = "wait", finite: str = "raise"
) -> DipOptions:
    """The options of a fit with a Restorer's `backend`, `tile`, `build` and `finite`.

    tile   "auto": as the options say; N: the side of a tile in measured pixels, DipOptions.tile; None: never cut
    build, finite  their defaults alone, since a fit has no engine

    Raises OptionsError for anything else, which would otherwise be ignored in silence.
    """
    options = DipOptions() if options is None else options
    if not isinstance(options, DipOptions):
        raise OptionsError("options", options, "DipOptions or None")
    if backend not in BACKENDS:
        raise OptionsError("backend", backend, "'auto' or 'torch' for 'dip-...', which PyTorch fits where device= says")
    if build != "wait":
        raise OptionsError("build", build, "'wait' for 'dip-...', which builds no engine")
    if finite != "raise":
        raise OptionsError("finite", finite, "'raise' for 'dip-...', which goes back to a sound state by itself")
    return options if isinstance(tile, str) and tile == "auto" else replace(options, tile=_side(options, tile))


def _side(options: DipOptions, tile: TileChoice) -> int:
    if tile is not None and (isinstance(tile, bool) or not isinstance(tile, int)):
        raise OptionsError(
            "tile",
            tile,
            "'auto', the side of a tile in pixels or None for 'dip-...', whose tiles are fits of their own, never exact",
        )
    side = LARGEST_TILE if tile is None else tile
    if options.tile not in (None, side):
        raise OptionsError("tile", tile, f"'auto' beside DipOptions(tile={options.tile})")
    if not 2 * options.overlap <= side <= LARGEST_TILE:
        raise OptionsError("tile", tile, f"{2 * options.overlap} (twice the overlap) to {LARGEST_TILE} pixels for 'dip-...'")
    return side
