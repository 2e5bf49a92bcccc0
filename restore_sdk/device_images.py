"""restore() for an image that lies on a GPU: tile by tile on the caller's stream, with no copy to the host and no waiting (but
for backends that were asked to put right what overflows, see docs/backends.md)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from restore_sdk.backends.base import Backend, DeviceBackend
from restore_sdk.cuda.arrays import DeviceArray, import_array, stream_handle
from restore_sdk.cuda.launching import Launcher, open_launcher, scratch
from restore_sdk.errors import DeviceMemoryError, OptionsError
from restore_sdk.image.device_layout import DeviceImage, inspect_view
from restore_sdk.options import ChannelOrder, TileOptions
from restore_sdk.tiling.plan import TilePlan
from restore_sdk.tiling.recovery import Plan, Recovery, TileCallback, replanner


def restore_on_device(
    image: object,
    backend: Backend,
    plan: Plan,
    recovery: Recovery,
    *,
    options: TileOptions | None = None,
    order: ChannelOrder = "rgb",
    clip: bool = True,
    stream: object = None,
    on_tile: TileCallback | None = None,
    launchers: Callable[[int], Launcher] = open_launcher,
) -> tuple[DeviceArray, TilePlan]:
    """Restore a device array (see is_device_array); `stream` as for stream_handle(), `plan` as Planner.plan.

    Everything is queued on that stream when this returns: the image must stay as it is until the stream has got that far, and the
    result is ready for what is queued there next. One tile at a time, whatever options.batch says. `on_tile` counts what is
    queued. Raises ImageError, OptionsError, DeviceUnavailableError, BackendError, MissingExtraError (cuda-core).
    """
    if not isinstance(backend, DeviceBackend):
        name = backend.report().get("backend")
        raise OptionsError("image", f"an array on a GPU, and the backend {name!r}", "a numpy array, or a backend that takes them")
    launcher, spec = launchers(backend.device_index), backend.spec
    handle = stream_handle(stream, image)
    with import_array(image, handle, launcher) as view, ExitStack() as undo:
        layout = inspect_view(view, order=order, min_size=spec.min_size)
        here = DeviceImage(view, layout, spec, launcher, clip=clip, owner=stream)
        result = undo.enter_context(here.result)
        here.enlarge_alpha()

        def work(part: TilePlan, _batch: int, on_tile: TileCallback | None) -> None:
            _walk(part, here, backend, on_tile)

        chosen, replan = plan(layout.height, layout.width, options), replanner(plan, layout.height, layout.width, options)
        used = recovery.run(chosen, work, replan=replan, on_tile=on_tile)
        undo.pop_all()  # from here on it is the caller's to close
    return result, used


def _walk(plan: TilePlan, image: DeviceImage, backend: DeviceBackend, on_tile: TileCallback | None) -> None:
    launcher, stream = image.launcher, image.result.stream
    before, after = image.tile_bytes(*plan.largest_tile)
    try:
        with scratch(launcher, before, stream) as given, scratch(launcher, after, stream) as restored:
            for done, (row, column) in enumerate(plan.tiles, 1):
                outer = row.outer_slice, column.outer_slice
                image.gather(*outer, given)
                backend.infer_on_device(given, restored, (1, backend.spec.channels, row.outer, column.outer), stream)
                image.scatter(restored, outer, (row.core_slice, column.core_slice))
                if on_tile is not None:
                    on_tile(done, plan.count)
    except DeviceMemoryError as exc:
        free = launcher.memory()[0] if exc.free is None else exc.free
        raise DeviceMemoryError(exc.required, free, plan.largest_tile) from exc
