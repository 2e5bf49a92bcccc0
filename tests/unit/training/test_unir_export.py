"""A trained UNIR network becomes a model file, and the Restorer runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_images import smooth_image
from tiny_unir import tiny

from export.produce import ExportOptions, export_onnx
from restore_sdk.degradations import parse, seeded
from restore_sdk.options import TileOptions
from restore_sdk.restorer import Restorer
from training.data.noise import as_planes
from training.engine.checkpoint import load_network
from training.engine.fit import fit
from training.unir.run import make_run

QUICK = ExportOptions(memory_sides=(32, 48), threads=1)
CHANGES: dict[str, dict[str, Any]] = {
    "remove-pixel:p=0.5": {},
    "convolve-noise": {"network": {"kind": "direct_unet"}},
    "remove-pixel:p=0.5,fill=0.5": {
        "preset": "paper",
        "network": {"kind": "unir_resnet", "width": 4, "attention": False},
        "discriminator": {"kind": "unir_resnet", "width": 4},
        "data": {"patch": 32},
    },
}


@pytest.mark.parametrize(
    "corruption", [pytest.param(name, marks=[pytest.mark.slow] if changes else []) for name, changes in CHANGES.items()]
)
def test_a_checkpoint_is_exported_stamped_and_restores(tmp_path: Path, photos: Path, corruption: str) -> None:
    folder = fit(make_run(tiny(tmp_path, photos, corruption=corruption, **CHANGES[corruption])))
    exported = export_onnx(folder, tmp_path / "tiny.onnx", QUICK)
    spec = exported.spec
    assert (spec.method, spec.task) == ("unir", "restore" if corruption == "convolve-noise" else "inpaint")
    assert spec.corruption == parse(corruption).describe()
    assert spec.global_ops == ()
    assert spec.receptive_radius is not None
    image = corrupted(corruption)
    with Restorer(exported.path, backend="onnxruntime", threads=1) as restorer:
        whole = restorer.restore(image, tile=None, clip=False)
        tiles = restorer.restore(image, tile=TileOptions(core=16), clip=False)
    assert np.array_equal(whole, tiles)
    network, _ = load_network(folder)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])[0].numpy().transpose(1, 2, 0)
    assert np.abs(whole - expected).max() < 1e-5


def corrupted(corruption: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(40, 48, 3) float32."""
    operator, rng = parse(corruption), seeded(1)
    clean = torch.from_numpy(as_planes(smooth_image(3)))[None]
    measured = operator.measure(clean, operator.sample_theta(clean, rng), rng).clamp(0, 1)
    return np.ascontiguousarray(measured[0].numpy().transpose(1, 2, 0))


def test_bytes_go_in_and_measured_bytes_come_out_as_they_were(tmp_path: Path, photos: Path) -> None:
    folder = fit(make_run(tiny(tmp_path, photos)))
    exported = export_onnx(folder, tmp_path / "tiny.onnx", QUICK)
    image = np.rint(corrupted("remove-pixel:p=0.5") * 255).astype(np.uint8)
    with Restorer(exported.path, backend="onnxruntime", threads=1) as restorer:
        restored = restorer.restore(image)
    assert restored.dtype == np.uint8
    assert np.array_equal(restored[image != 0], image[image != 0])
    assert (restored[image == 0] != 0).mean() > 0.5
