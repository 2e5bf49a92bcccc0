"""Device arrays on a real GPU: the kernels, both protocols, streams that race. PyTorch is the caller's library and runs the
network; TensorRT is not needed."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gpu_programs import SPEC, keep_busy, noise, require_kernels
from on_threads import on_threads

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.backends.torch_cuda import CudaProgramBackend
from restore_sdk.cuda import dlpack
from restore_sdk.cuda.arrays import DeviceArray
from restore_sdk.cuda.launching import open_launcher
from restore_sdk.device_images import restore_on_device
from restore_sdk.errors import ImageTypeError
from restore_sdk.options import tile_options
from restore_sdk.restorer import Restorer
from restore_sdk.tiling.choice import Planner
from restore_sdk.tiling.recovery import Recovery

pytestmark = pytest.mark.gpu
DTYPES = ("uint8", "uint16", "float16", "float32")
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _kernels() -> None:
    require_kernels()


class Identity(FunctionBackend):
    """Passes the tile on, so that only the kernels are seen."""

    device_index = 0

    def __init__(self) -> None:
        super().__init__(SPEC, lambda batch: batch)

    def infer_on_device(self, given: int, restored: int, shape: tuple[int, int, int, int], stream: int, /) -> None:
        with torch.cuda.stream(torch.cuda.ExternalStream(stream) if stream > 1 else torch.cuda.default_stream()):
            viewed(restored, shape).copy_(viewed(given, shape))


class Viewed:
    """An array known by its __cuda_array_interface__ alone."""

    def __init__(self, **interface: Any) -> None:
        self.__cuda_array_interface__ = {"version": 3, "strides": None, **interface}


def viewed(pointer: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.as_tensor(Viewed(data=(pointer, False), shape=shape, typestr="<f4"), device="cuda:0")


def restored(image: object, backend: Any, *, tile: Any = "auto", **options: Any) -> DeviceArray:
    plan = Planner(backend.spec).plan
    return restore_on_device(image, backend, plan, Recovery(backend.spec.size_multiple), options=tile_options(tile), **options)[0]


def on_host(result: DeviceArray) -> np.ndarray:
    return np.asarray(torch.from_dlpack(result).cpu().numpy())


def pixels(*shape: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    white = np.iinfo(dtype).max if dtype.startswith("u") else 1
    return (noise(*shape, seed=seed) * white).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(61, 90), (61, 90, 1), (61, 90, 3), (61, 90, 4)])
def test_the_kernels_have_the_bits_of_the_host(shape: tuple[int, ...], dtype: str) -> None:
    image = pixels(*shape, dtype=dtype)
    for order in ("rgb", "bgr"):
        got = on_host(restored(torch.from_numpy(image).cuda(), Identity(), tile=32, order=order))
        np.testing.assert_array_equal(got, Restorer(Identity(), channel_order=order, tile=32).restore(image))  # type: ignore[arg-type]


class Doubled(Identity):
    """Each pixel becomes four."""

    def __init__(self) -> None:
        FunctionBackend.__init__(self, replace(SPEC, scale=2), lambda batch: batch.repeat(2, axis=2).repeat(2, axis=3))

    def infer_on_device(self, given: int, restored: int, shape: tuple[int, int, int, int], stream: int, /) -> None:
        after = (*shape[:2], 2 * shape[2], 2 * shape[3])
        with torch.cuda.stream(torch.cuda.ExternalStream(stream) if stream > 1 else torch.cuda.default_stream()):
            doubled = viewed(given, shape).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            viewed(restored, after).copy_(doubled)


@pytest.mark.parametrize("dtype", DTYPES)
def test_alpha_is_enlarged_as_on_the_host(dtype: str) -> None:
    image = pixels(61, 90, 4, dtype=dtype)
    got = on_host(restored(torch.from_numpy(image).cuda(), Doubled(), tile=32))
    want = Restorer(Doubled(), tile=32).restore(image)
    np.testing.assert_array_equal(got[..., :3], want[..., :3])
    np.testing.assert_allclose(got[..., 3].astype(float), want[..., 3].astype(float), atol=1 if dtype[0] == "u" else 2**-11)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_all_kinds_of_floats(dtype: str, clip: bool) -> None:
    """Subnormal, huge, halfway: as on the host, bit for bit."""
    bits = np.random.default_rng(2).integers(
        0, 2 ** (8 * np.dtype(dtype).itemsize), (64, 96, 3), dtype=f"u{np.dtype(dtype).itemsize}"
    )
    image = np.where(np.isfinite(bits.view(dtype)), bits.view(dtype), np.dtype(dtype).type(0.5))
    got = on_host(restored(torch.from_numpy(image).cuda(), Identity(), clip=clip))
    with pytest.MonkeyPatch.context() as quiet:
        quiet.setattr("restore_sdk.host_images.warn_of_scale", lambda _image: None)
        want = Restorer(Identity(), clip=clip).restore(image)
    np.testing.assert_array_equal(got.view(bits.dtype), want.view(bits.dtype))


@pytest.mark.parametrize("tile", [None, 64])
def test_a_network_has_the_bits_of_the_host(unet: CudaProgramBackend, tile: int | None) -> None:
    image = pixels(203, 150, 3)
    got = on_host(restored(torch.from_numpy(image).cuda(), unet, tile=tile))
    np.testing.assert_array_equal(got, Restorer(unet, tile=tile).restore(image))


def test_any_strides() -> None:
    planar = torch.from_numpy(pixels(3, 40, 50)).cuda()
    for image in (planar.permute(1, 2, 0), planar.permute(1, 2, 0)[3:-2, 5:-1], planar[:1, ::2].permute(1, 2, 0), planar[0].T):
        np.testing.assert_array_equal(on_host(restored(image, Identity())), Restorer(Identity()).restore(image.cpu().numpy()))


def test_all_is_queued_in_order_and_nothing_waits(unet: CudaProgramBackend) -> None:
    """The race: slow work before ours on the caller's stream writes the image, slow work after it on another reads the result."""
    real, nonsense = pixels(128, 160, 3), torch.zeros(128, 160, 3, dtype=torch.uint8, device="cuda")
    ready = torch.from_numpy(real).cuda()
    want = Restorer(unet).restore(real)
    restored(nonsense, unet)  # the graph is captured, which waits
    mine, other = torch.cuda.Stream(), torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(mine):
        keep_busy()
        nonsense.copy_(ready)
        result = restored(nonsense, unet, stream=mine)
        assert not mine.query(), "restore() waited for the stream"
        nonsense.zero_()  # after ours, so it may not be seen
    with torch.cuda.stream(other):
        taken = torch.from_dlpack(result)
        keep_busy()
        copy = taken.clone()
    del taken, result  # its memory may not be used again before `other` has read it
    for seed in range(4):
        restored(torch.from_numpy(pixels(128, 160, 3, seed=seed)).cuda(), unet)
    torch.cuda.synchronize()
    np.testing.assert_array_equal(copy.cpu().numpy(), want)


def test_the_current_stream_of_a_tensor_is_taken(unet: CudaProgramBackend) -> None:
    image = torch.from_numpy(pixels(64, 64, 3)).cuda()
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        assert restored(image, unet).stream == stream.cuda_stream
    assert restored(image, unet).stream == 1


def test_cuda_array_interface_in_and_out(unet: CudaProgramBackend) -> None:
    image = torch.from_numpy(pixels(64, 96, 3)).cuda()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    plain = Viewed(
        data=(image.data_ptr(), True), shape=tuple(image.shape), typestr="|u1", strides=image.stride(), stream=stream.cuda_stream
    )
    result = restored(plain, unet)
    assert result.stream == stream.cuda_stream
    torch.cuda.current_stream().wait_stream(stream)
    taken = torch.as_tensor(Viewed(**{**result.__cuda_array_interface__, "stream": None}), device="cuda:0")
    assert taken.data_ptr() == result.pointer
    np.testing.assert_array_equal(taken.cpu().numpy(), Restorer(unet).restore(image.cpu().numpy()))


def test_cupy_in_and_out(unet: CudaProgramBackend) -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    image = pixels(64, 96, 3)
    result = restored(cupy.asarray(image), unet)
    np.testing.assert_array_equal(cupy.asnumpy(cupy.from_dlpack(result)), Restorer(unet).restore(image))


def test_a_tensor_that_requires_a_gradient(unet: CudaProgramBackend) -> None:
    with pytest.raises(ImageTypeError, match="detach"):
        restored(torch.zeros(16, 16, 3, device="cuda", requires_grad=True), unet)


def test_a_thousand_images_leave_nothing(unet: CudaProgramBackend) -> None:
    image = torch.from_numpy(pixels(128, 128, 3)).cuda()

    def held() -> tuple[int, int, int]:
        gc.collect()
        torch.cuda.synchronize()
        return open_launcher(0).memory()[0], torch.cuda.memory_allocated(), dlpack.alive()

    for _ in range(10):
        torch.from_dlpack(restored(image, unet))
    free, allocated, alive = held()
    for _ in range(1000):
        torch.from_dlpack(restored(image, unet))
    after = held()
    assert after[0] >= free - 16 * MIB
    assert after[1:] == (allocated, alive)


def test_eight_threads_on_streams_of_their_own(unet: CudaProgramBackend) -> None:
    images = [pixels(96, 64 + 16 * (seed % 3), 3, seed=seed) for seed in range(24)]
    want = [Restorer(unet).restore(image) for image in images]
    wrong: list[int] = []

    def work(first: int) -> None:
        stream = torch.cuda.Stream()
        for index in range(first, len(images), 8):
            with torch.cuda.stream(stream):
                image = torch.from_numpy(images[index]).cuda()
                if not np.array_equal(on_host(restored(image, unet)), want[index]):
                    wrong.append(index)

    on_threads(work)
    assert wrong == []
