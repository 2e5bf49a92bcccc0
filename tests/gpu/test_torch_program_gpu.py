"""The torch program on a real GPU: graphs, threads, FP16, memory. Written from PyTorch's documentation; see docs/backends.md for
where it was run."""

from __future__ import annotations

import gc
import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from backend_checks import check_bits_on_threads, check_closed_twice
from gpu_programs import noise, require_torch_gpu, tolerance
from on_threads import on_threads

from export.to_torch import trace_program
from restore_sdk.backends.torch_cuda import GRAPHS, CudaProgram, CudaProgramBackend, Replay
from restore_sdk.backends.torch_program import open_torch_program
from restore_sdk.errors import DeviceMemoryError
from restore_sdk.restorer import Restorer
from training.networks.unet import ResidualUNet

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _gpu() -> None:
    require_torch_gpu()


def test_same_numbers_as_the_cpu(backend: CudaProgramBackend, model: Path, network: ResidualUNet) -> None:
    for shape in ((1, 3, 4, 4), (1, 3, 52, 68), (3, 3, 28, 20), (1, 3, 512, 384)):
        with torch.inference_mode():
            want = network(torch.from_numpy(noise(*shape))).numpy()
        np.testing.assert_allclose(backend.infer(noise(*shape)), want, atol=tolerance(model))


def test_auto_takes_the_gpu_and_says_which(model: Path) -> None:
    with Restorer(model) as restorer:
        report = restorer.report()
    assert report["device"] == "cuda:0"
    assert report["gpu"] == torch.cuda.get_device_name(0)


def test_replays_give_the_same_bits_and_own_their_results(backend: CudaProgramBackend) -> None:
    batch = noise(1, 3, 64, 96)
    first = backend.infer(batch)
    kept = first.copy()
    for seed in range(1, GRAPHS + 2):
        backend.infer(noise(1, 3, 64, 100 + 4 * seed, seed=seed))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(backend.infer(batch), first)


def test_tiles_agree_with_the_whole_image(model: Path) -> None:
    image = noise(260, 330, 3)
    with Restorer(model, device="cuda") as restorer:
        np.testing.assert_allclose(restorer.restore(image, tile=64), restorer.restore(image, tile=None), atol=tolerance(model))


def test_eight_threads_get_the_bits_of_one(backend: CudaProgramBackend) -> None:
    check_bits_on_threads(backend, [noise(1, 3, 32, 32 + 16 * (i % 6), seed=i) for i in range(32)])


def test_tf32_is_off_for_us_and_untouched_for_others(backend: CudaProgramBackend) -> None:
    before = torch.backends.cudnn.allow_tf32
    backend.infer(noise(1, 3, 16, 16))
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.filterwarnings("default")  # inductor advises TF32, which is off on purpose
@pytest.mark.skipif(shutil.which("gcc") is None and shutil.which("clang") is None, reason="Triton needs gcc or clang")
@pytest.mark.skipif(not Path(sysconfig.get_path("include"), "Python.h").exists(), reason="Triton needs Python's headers")
def test_compiled(model: Path, network: ResidualUNet) -> None:
    pytest.importorskip("triton", reason="torch.compile needs Triton")
    backend = open_torch_program(model, device="cuda", compiled=True)
    batch = noise(1, 3, 64, 64)
    with torch.inference_mode():
        want = network(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(backend.infer(batch), want, atol=tolerance(model))
    backend.close()


def test_memory_does_not_grow(backend: CudaProgramBackend) -> None:
    batch = noise(1, 3, 64, 64)
    for _ in range(10):
        backend.infer(batch)
    gc.collect()
    before = torch.cuda.memory_allocated()
    for _ in range(1000):
        backend.infer(batch)
    assert torch.cuda.memory_allocated() == before


def test_out_of_memory_is_typed_and_survived(backend: CudaProgramBackend) -> None:
    before = backend.infer(noise(1, 3, 32, 32))
    torch.cuda.empty_cache()  # of what earlier tests left
    room = torch.cuda.memory_reserved() + (64 << 20)  # bytes; the input alone of the next takes 192 MiB
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
    try:
        with pytest.raises(DeviceMemoryError) as caught:
            backend.warm_up([(1, 3, 4096, 4096)])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert caught.value.tile == (4096, 4096)
    assert (caught.value.free or 0) > 0
    np.testing.assert_array_equal(backend.infer(noise(1, 3, 32, 32)), before)


def test_graphs_of_other_shapes_make_room(network: ResidualUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    program = CudaProgram(torch, trace_program(network, 3, 4).module().to("cuda:0"), "cuda:0")
    program.run(noise(1, 3, 32, 32))
    attempts: list[tuple[int, ...]] = []

    def replay(torch_: object, module: object, shape: tuple[int, ...], device: str) -> Replay:
        attempts.append(shape)
        if len(attempts) == 1:
            raise torch.OutOfMemoryError("full")
        return Replay(torch, module, shape, device)

    monkeypatch.setattr("restore_sdk.backends.torch_cuda.Replay", replay)
    assert program.run(noise(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    assert attempts == [(1, 3, 64, 64)] * 2
    program.close()


def test_use_after_close(model: Path) -> None:
    backend = open_torch_program(model, device="cuda")
    backend.infer(noise(1, 3, 16, 16))
    check_closed_twice(backend, noise(1, 3, 16, 16))


def test_both_precisions_agree(programs: dict[str, Path]) -> None:
    """FP16 against FP32 on the GPU: at least 45 dB for random weights (export asks 60 dB of trained ones)."""
    batch = noise(1, 3, 256, 320)
    fp32, fp16 = (open_torch_program(programs[name], device="cuda:0") for name in ("fp32", "fp16"))
    error = fp32.infer(batch).astype(np.float64) - fp16.infer(batch)
    assert -10 * np.log10(np.mean(error**2)) >= 45
    for opened in (fp32, fp16):
        opened.close()


def test_many_batches_have_the_bits_of_one_at_a_time(backend: CudaProgramBackend) -> None:
    """Three streams, several batches in flight, shapes that change."""
    batches = [noise(1 + seed % 2, 3, 64, 64 + 32 * (seed // 5), seed=seed) for seed in range(20)]
    want = [backend.infer(batch) for batch in batches]
    for got, wanted in zip(backend.infer_many(iter(batches)), want, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_eight_threads_through_one_pipeline(backend: CudaProgramBackend) -> None:
    batches = [noise(1, 3, 64, 96, seed=seed) for seed in range(24)]
    want = [backend.infer(batch) for batch in batches]
    wrong: list[int] = []

    def work(first: int) -> None:
        mine = range(first, len(batches), 8)
        for index, got in zip(mine, backend.infer_many([batches[i] for i in mine]), strict=True):
            if not np.array_equal(got, want[index]):
                wrong.append(index)

    on_threads(work)
    assert wrong == []


def test_the_pipeline_does_not_grow(backend: CudaProgramBackend) -> None:
    batches = [noise(1, 3, 64, 64)] * 1000
    list(backend.infer_many(batches[:10]))
    gc.collect()
    before = torch.cuda.memory_allocated()
    for _ in backend.infer_many(batches):
        pass
    assert torch.cuda.memory_allocated() == before
