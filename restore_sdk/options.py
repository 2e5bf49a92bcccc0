"""Settings as small frozen values: units in the comments, checked when made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from restore_sdk.errors import OptionsError

TileMode: TypeAlias = Literal["exact", "fast"]
ChannelOrder: TypeAlias = Literal["rgb", "bgr"]
DipTask: TypeAlias = Literal["dip-denoise", "dip-inpaint", "dip-super-resolve", "dip-deblur"]

DIP_TASKS: tuple[DipTask, ...] = get_args(DipTask)
DIP_METHOD = "deep_image_prior"  # method of their ModelSpec
DEFAULT_QUEUE = 2  # frames that wait on either side of a stream
MOST_WORKERS = 64  # threads that restore the frames of one stream

SMALLEST_CORE = 16  # pixels; below it nearly all the work is halo
LARGEST_MEMORY_MB = 1 << 30  # MiB; a pebibyte
DEFAULT_MEMORY_MB = 768  # MiB of activations that tile="auto" may use


@dataclass(frozen=True, kw_only=True, slots=True)
class TileOptions:
    """How a large image is cut.

    mode   "exact": the result has the same bits as whole-image inference; "fast": a smaller halo whose error was measured
           at export (or a network that reads the whole image, with a warning that names the layer).
    core   side of the kept part of a tile, pixels; None: the fewest computed pixels that fit `memory_mb`.
    batch  tiles of one shape given to the backend at once.
    memory_mb  MiB that the network's activations may take when `core` is None.
    """

    mode: TileMode = "exact"
    core: int | None = None
    batch: int = 1
    memory_mb: int = DEFAULT_MEMORY_MB

    def __post_init__(self) -> None:
        if self.mode not in get_args(TileMode):
            raise OptionsError("mode", self.mode, "'exact' or 'fast'")
        if self.core is not None:
            _check_integer("core", self.core, SMALLEST_CORE, "pixels")
        _check_integer("batch", self.batch, 1, "tiles")
        _check_integer("memory_mb", self.memory_mb, 1, "MiB")
        if self.memory_mb > LARGEST_MEMORY_MB:
            raise OptionsError("memory_mb", self.memory_mb, f"at most {LARGEST_MEMORY_MB} MiB")


def _check_integer(name: str, value: object, least: int, unit: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionsError(name, value, f"an integer of at least {least} {unit}")


TileChoice: TypeAlias = TileOptions | TileMode | Literal["auto"] | int | None


def tile_options(choice: TileChoice) -> TileOptions | None:
    """Options for any form of `tile=`; None stands for the whole image at once.

    "auto" and "exact": exact tiles as large as the memory allows (one tile where the image fits); "fast": likewise with the
    fast halo; N: exact tiles with cores of N pixels; None: never tile. Raises OptionsError.
    """
    if choice is None or isinstance(choice, TileOptions):
        return choice
    if isinstance(choice, int) and not isinstance(choice, bool):
        return TileOptions(core=choice)
    if isinstance(choice, str) and choice in ("auto", "exact"):
        return TileOptions()
    if isinstance(choice, str) and choice == "fast":
        return TileOptions(mode="fast")
    raise OptionsError("tile", choice, "'auto', 'exact', 'fast', a core size in pixels, TileOptions or None")


def is_dip(model: object) -> bool:
    """Whether `model` names a per-image fit rather than a trained model."""
    return isinstance(model, str) and model in DIP_TASKS


def checked_clip(clip: object) -> bool:
    """`clip` as it is. Raises OptionsError for anything but True and False."""
    if not isinstance(clip, bool):
        raise OptionsError("clip", clip, "True or False")
    return clip


def check_callback(name: str, callback: object, arguments: str) -> None:
    """Raise OptionsError for anything but None and what can be called with `arguments`, which are named as a user reads them."""
    if callback is not None and not callable(callback):
        raise OptionsError(name, callback, f"something to call with {arguments}, or None")
