"""The peers restore what they should, and the measuring tools count right."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.latency import find_setting
from benchmarks.machine import PeakProbe, host_facts, machine_slug
from benchmarks.memory import bound_bytes
from benchmarks.metrics import psnr
from benchmarks.observed_tiles import observe_tiles
from benchmarks.peers.classical import BASELINES, available_baselines
from benchmarks.processes import run_child
from restore_sdk.options import TileOptions
from restore_sdk.spec import ModelSpec


@pytest.mark.parametrize("shape", [(48, 56), (48, 56, 3)])
@pytest.mark.parametrize("name", [name for name in BASELINES if name != "bm3d"])
def test_classical_methods_improve_a_smooth_image(name: str, shape: tuple[int, ...]) -> None:
    if name not in available_baselines():
        pytest.skip(f"{name} needs {BASELINES[name][1]}")
    clean = np.broadcast_to(
        np.linspace(0.2, 0.8, shape[1], dtype=np.float32).reshape(1, -1, *[1] * (len(shape) - 2)), shape
    ).copy()
    noisy = clean + np.random.default_rng(0).standard_normal(shape, np.float32) * np.float32(25 / 255)
    restored = available_baselines()[name](noisy, 25.0)
    assert (restored.shape, restored.dtype) == (shape, np.float32)
    assert restored.min() >= 0
    assert restored.max() <= 1
    assert psnr(restored, clean) > psnr(noisy, clean) + 3


def test_opencv_keeps_the_channel_order() -> None:
    red = np.zeros((32, 32, 3), np.float32)
    red[..., 0] = 0.8
    restored = available_baselines()["opencv nl-means"](red, 5.0)
    assert restored[..., 0].mean() > 0.7
    assert restored[..., 2].mean() < 0.1


def test_tile_loop_is_seamless_for_a_pointwise_network() -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.peers.tile_loop import TileLoop

    class Half(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, y):  # type: ignore[no-untyped-def]
            return y / 2

    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    expected = np.rint(image.astype(np.float32) / np.float32(255) / 2 * 255).astype(np.uint8)
    for channels_last in (False, True):
        restored = TileLoop(Half(), tile=16, pad=3, channels_last=channels_last).restore(image)
        np.testing.assert_array_equal(restored, expected)


def test_tile_loop_with_too_little_context_leaves_seams() -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.peers.tile_loop import TileLoop

    blur = torch.nn.Conv2d(3, 3, 9, padding=4, groups=3, bias=False)
    torch.nn.init.constant_(blur.weight, 1 / 81)
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    whole = TileLoop(blur, tile=40).restore(image)
    np.testing.assert_array_equal(TileLoop(blur, tile=16, pad=4).restore(image)[:36, :36], whole[:36, :36])
    assert not np.array_equal(TileLoop(blur, tile=16, pad=1).restore(image)[:36, :36], whole[:36, :36])


def test_dncnn_has_the_published_size() -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.peers.dncnn import DnCNN

    network = DnCNN()
    assert sum(weights.numel() for weights in network.parameters()) == 668_227
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network.layers) == 20
    assert network(torch.zeros(1, 3, 8, 9)).shape == (1, 3, 8, 9)


def test_observed_tiles_of_a_small_plan() -> None:
    """96 pixels in two cores of 48 with a halo of 8 on the inner side: 2 x 56 pixels on each axis."""
    spec = ModelSpec(name="copy", method="none", task="denoise", size_multiple=4, receptive_radius=6)
    tiles = observe_tiles(spec, 96, 96, TileOptions(core=48))
    assert (tiles.count, tiles.pixels, tiles.largest, tiles.padded) == (4, 112 * 112, 56 * 56, 96 * 96)
    assert tiles.overhead == pytest.approx((112 / 96) ** 2)


def test_memory_bound() -> None:
    assert bound_bytes(12_000_000, 1_000_000, 450) == pytest.approx(1.1 * (90e6 + 72e6 + 450e6))


def test_settings_are_found_at_any_depth() -> None:
    assert find_setting({"a": 1, "backend": {"spinning": False}}, "spinning") is False
    assert find_setting({"a": 1}, "spinning") is None


def test_peak_memory_stays_after_the_memory_is_freed() -> None:
    """In a fresh process: 64 MB that are written and freed raise the peak by as much."""
    code = (
        "from benchmarks.resident import peak_resident_bytes as peak; a = peak(); b = b'x' * 64_000_000; del b; print(peak() - a)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 60e6 < int(done.stdout) < 80e6


def test_a_failing_child_shows_its_error() -> None:
    with pytest.raises(RuntimeError, match="IndexError"):
        run_child("start_up.py")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the FMA loop is built on Linux only")
def test_probe_takes_samples() -> None:
    with PeakProbe(1) as probe:
        if "sgemm" in probe.source:
            pytest.skip("no C compiler here")
        probe.measure()
    assert probe.peak > 0.1
    assert probe.variation < 100


def test_host_facts_name_no_person_or_place() -> None:
    host = host_facts(2)
    assert host.threads == 2
    assert host.packages["numpy"] == np.__version__
    assert machine_slug(host.model_copy(update={"cpu": "AMD EPYC (family 25, model 17)", "cores": 2})) == "amd-epyc-2-cores"
    assert machine_slug(host.model_copy(update={"cpu": "AMD EPYC", "cores": 16, "gpu": "NVIDIA H100 80GB"})).endswith(
        "16-cores-nvidia-h100-80gb"
    )
