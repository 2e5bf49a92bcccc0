"""Out of memory on a real GPU that is filled on purpose. PyTorch alone is enough, save for device arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from gpu_programs import forget_graphs, noise, require_kernels, require_torch_gpu

from restore_sdk.backends.torch_cuda import CudaProgramBackend
from restore_sdk.device_images import restore_on_device
from restore_sdk.errors import DeviceMemoryError
from restore_sdk.image.layout import FloatNCHW
from restore_sdk.options import TileOptions
from restore_sdk.tiling.choice import Planner
from restore_sdk.tiling.plan import Span, TilePlan
from restore_sdk.tiling.recovery import Recovery, TileCallback, replanner
from restore_sdk.tiling.walk import walk

pytestmark = pytest.mark.gpu
SIDE = 4096  # pixels: the activations of the whole take 1.7 GiB at once, those of a quarter a quarter of that
ROOM = 1 << 30  # bytes that are left free
OPTIONS = TileOptions(memory_mb=1 << 20)  # one tile, whatever it takes


@pytest.fixture(autouse=True)
def _gpu() -> None:
    require_torch_gpu()


@contextmanager
def filled(room: int) -> Iterator[None]:
    """All of the device's memory but `room` bytes is taken."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info()[0]
    if free < 4 * room:
        pytest.skip(f"only {free} bytes of the GPU are free")
    ballast = torch.empty(free - room, dtype=torch.uint8, device="cuda")
    try:
        yield
    finally:
        del ballast
        torch.cuda.empty_cache()


class Image:
    """A float image, restored tile by tile on the host."""

    def __init__(self, backend: CudaProgramBackend, side: int) -> None:
        self.backend, self.given = backend, noise(1, 3, side, side)
        self.restored = np.full_like(self.given, np.nan)
        self.plan = Planner(backend.spec).plan

    def read(self, row: Span, column: Span) -> FloatNCHW:
        return np.ascontiguousarray(self.given[:, :, row.outer_slice, column.outer_slice])

    def write(self, row: Span, column: Span, core: FloatNCHW) -> None:
        self.restored[:, :, row.core_slice, column.core_slice] = core

    def work(self, plan: TilePlan, batch: int, on_tile: TileCallback | None) -> None:
        walk(plan, self.read, self.backend.infer, self.write, batch=batch, on_tile=on_tile)

    def restore(self, recovery: Recovery) -> TilePlan:
        height, width = self.given.shape[2:]
        plan = self.plan(height, width, OPTIONS)
        return recovery.run(plan, self.work, replan=replanner(self.plan, height, width, OPTIONS))


def test_the_rest_goes_on_in_smaller_tiles(unet: CudaProgramBackend) -> None:
    whole, tiled, recovery = Image(unet, SIDE), Image(unet, SIDE), Recovery(unet.spec.size_multiple)
    try:
        whole.restored = unet.infer(whole.given)
    except DeviceMemoryError:
        pytest.skip("the whole image does not fit this GPU, so there is nothing to compare with")
    forget_graphs(unet)
    with filled(ROOM):
        assert tiled.restore(recovery).count == 1
        report = recovery.report()
        again = tiled.restore(recovery)  # what fitted is remembered
    assert report is not None
    assert report["from"] == SIDE > report["to"]
    assert recovery.report() == report
    assert again.count > 1
    np.testing.assert_allclose(tiled.restored, whole.restored, atol=1e-4)


def test_the_floor(unet: CudaProgramBackend) -> None:
    image = Image(unet, 256)
    unet.infer(noise(1, 3, 8, 8))
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.0)  # no more than there is
    try:
        with pytest.raises(DeviceMemoryError) as caught:
            image.restore(Recovery(unet.spec.size_multiple))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert caught.value.tile <= (256, 256)
    assert (caught.value.free or 0) > 0
    Image(unet, 256).restore(Recovery(unet.spec.size_multiple))


def test_a_device_array_recovers_too(unet: CudaProgramBackend) -> None:
    require_kernels()
    image = torch.from_numpy((noise(SIDE, SIDE, 3) * 255).astype(np.uint8)).cuda()
    plan, recovery = Planner(unet.spec).plan, Recovery(unet.spec.size_multiple)
    try:
        whole, _ = restore_on_device(image, unet, plan, Recovery(), options=None)
    except DeviceMemoryError:
        pytest.skip("the whole image does not fit this GPU, so there is nothing to compare with")
    want = torch.from_dlpack(whole).cpu().numpy()
    forget_graphs(unet)
    with filled(ROOM):
        result, _ = restore_on_device(image, unet, plan, recovery, options=OPTIONS)
        got = torch.from_dlpack(result).cpu().numpy()
    assert recovery.report() is not None
    assert np.abs(got.astype(int) - want).max() <= 1  # tiles agree but for rounding, which may turn one level
