"""Chooses how one image is cut: from what the network promises, what the user asked for and what the memory holds."""

from __future__ import annotations

import warnings
from functools import lru_cache

from restore_sdk.errors import RestoreWarning, TilingError
from restore_sdk.options import TileOptions
from restore_sdk.spec import ModelSpec
from restore_sdk.tiling.plan import TilePlan, plan_tiles, plan_whole, plan_within

DEFAULT_BYTES_PER_PIXEL = 1024.0  # of activations, for a model that states none: a full-resolution U-Net of 48 channels takes 785
GLOBAL_FAST_HALO = 64  # pixels, for a network that reads the whole image and states no halo
PLANS_KEPT = 64  # shapes; a stream or a folder rarely has more


class Planner:
    """Plans for one network. `plan` may be called from several threads at once and remembers the shapes it saw last."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self.plan = lru_cache(maxsize=PLANS_KEPT)(self._plan)

    def _plan(self, height: int, width: int, options: TileOptions | None) -> TilePlan:
        """Plan for an image of `height` x `width` pixels; `options` None: the whole image at once.

        Raises TilingError if exact tiles are needed and the network reads the whole image. Warns with RestoreWarning if such
        a network is cut because mode="fast" asks for it.
        """
        multiple = self._spec.size_multiple
        whole = plan_whole(height, width, multiple=multiple)
        if options is None or self._fits(whole, options):
            return whole
        halo = self._exact_halo(whole) if options.mode == "exact" else self._fast_halo()
        if options.core is not None:
            return plan_tiles(height, width, core=options.core, halo=halo, multiple=multiple)
        tile_pixels = max(1, self._affordable_pixels(options) // options.batch)
        return plan_within(height, width, tile_pixels=tile_pixels, halo=halo, multiple=multiple)

    def _fits(self, whole: TilePlan, options: TileOptions) -> bool:
        """Whether the image is one tile."""
        if options.core is not None:
            multiple = self._spec.size_multiple
            return max(whole.height, whole.width) <= max(multiple, options.core - options.core % multiple)
        return whole.computed_pixels <= self._affordable_pixels(options)

    def _affordable_pixels(self, options: TileOptions) -> int:
        """Pixels of one batch whose activations fit the memory."""
        return max(1, int(options.memory_mb * 2**20 / self._bytes_per_pixel))

    @property
    def _bytes_per_pixel(self) -> float:
        return self._spec.bytes_per_pixel or DEFAULT_BYTES_PER_PIXEL

    def _exact_halo(self, whole: TilePlan) -> int:
        spec = self._spec
        if spec.global_ops or spec.receptive_radius is None:
            memory = self._bytes_per_pixel * whole.computed_pixels / 2**20
            whole_image = f"tile=None for the whole image at once (about {memory:.0f} MiB)"
            raise TilingError(self._global_layers, f'pass tile="fast" for tiles with a small error, or {whole_image}')
        return round_up(spec.receptive_radius, spec.size_multiple)

    def _fast_halo(self) -> int:
        spec = self._spec
        if spec.global_ops or spec.receptive_radius is None:
            halo = GLOBAL_FAST_HALO if spec.fast_halo is None else spec.fast_halo
            error = "of unknown size" if spec.fast_error is None else f"of up to {spec.fast_error:g} (measured)"
            layers = ", ".join(self._global_layers)
            warnings.warn(
                f"tiles of a network whose layers {layers} read the whole image differ from the whole image by an error {error}; "
                "pass tile=None to avoid it",
                RestoreWarning,
                stacklevel=2,
            )
            return round_up(halo, spec.size_multiple)
        exact = round_up(spec.receptive_radius, spec.size_multiple)
        return exact if spec.fast_halo is None else min(exact, round_up(spec.fast_halo, spec.size_multiple))

    @property
    def _global_layers(self) -> tuple[str, ...]:
        return self._spec.global_ops or ("layers that its spec does not name",)


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple that is at least `length`."""
    return -(-length // multiple) * multiple
