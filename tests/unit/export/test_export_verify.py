"""Two forms of one network, compared; and networks whose trace lies."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from tiny_checkpoint import save_tiny
from torch import Tensor, nn

from export.checkpoint import load_checkpoint
from export.errors import DifferentNumbersError, ExportError
from export.produce import Exported
from export.runtime import opened
from export.stamp import fill_of, read_stamped, stamped
from export.to_onnx import OPSETS, serialised, trace
from export.verify import compare, shapes, verify
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.errors import ModelDamagedError
from restore_sdk.spec import ModelSpec

Image = NDArray[np.float32]
PLAIN = ModelSpec(name="n", method="m", task="denoise")


def test_shapes_are_multiples_and_cover_the_corners() -> None:
    cases = shapes(3, 8)
    assert cases["minimum"] == (1, 3, 8, 8)
    assert cases["batch"][0] == 3
    assert all(side % 8 == 0 for shape in cases.values() for side in shape[2:])
    assert all(side // 8 % 2 for side in cases["odd"][2:])
    assert cases["tall"][2] > 10 * cases["tall"][3]
    assert cases["wide"][3] > 10 * cases["wide"][2]
    assert cases["large"] == (1, 3, 384, 512)


def test_equal_functions_differ_by_nothing() -> None:
    report = compare(lambda x: x, lambda x: x, 1, 4)
    assert report.passed
    assert report.worst.max_abs == 0
    assert math.isinf(report.worst.psnr)
    assert json.loads(json.dumps(report.as_json(), allow_nan=False))["shapes"][0]["psnr"] is None


def test_networks_that_fill_are_compared_on_lost_pixels_too() -> None:
    """An offset that shows only where a pixel holds the fill."""
    reference: Callable[[Image], Image] = lambda x: x  # noqa: E731 typed here
    candidate: Callable[[Image], Image] = lambda x: x + np.float32((x == 0.25).any())  # noqa: E731
    assert compare(candidate, reference, 1, 4).passed
    report = compare(candidate, reference, 1, 4, fill=0.25)
    apart = {item.label for item in report.differences if item.max_abs}
    assert apart == {f"{label}, pixels lost" for label in shapes(1, 4)}
    assert "pixels lost" in report.worst.label


def test_the_spec_tells_what_lost_pixels_hold() -> None:
    assert fill_of(PLAIN) is None
    networks = {'{"fill": 0}': 0.0, '{"fill": 0.5}': 0.5, '{"fill": "black"}': None, "[1]": None, "no json": None}
    assert {text: fill_of(dataclasses.replace(PLAIN, source={"network": text})) for text in networks} == networks


def test_two_onnx_files_of_different_promises(exported: Exported, tmp_path: Path) -> None:
    content, spec = read_stamped(exported.path)
    other = tmp_path / "other.onnx"
    other.write_bytes(stamped(content, dataclasses.replace(spec, size_multiple=1)))
    for pair in ((other, exported.path), (exported.path, other)):
        with pytest.raises(ExportError, match="compare two forms of one network"):
            verify(*pair, threads=1)
    told = json.dumps(verify(exported.path, exported.path, tolerance=math.inf, threads=1).as_json(), allow_nan=False)
    assert json.loads(told)["tolerance"] is None


def test_an_offset_is_measured() -> None:
    """A constant offset of 1/64 (exact in binary on top of 0 or 1) gives a PSNR of 20 * log10(64) = 36.12 dB."""
    report = compare(lambda x: np.rint(x) + np.float32(1 / 64), np.rint, 1, 4, tolerance=0.01)
    assert not report.passed
    assert report.worst.max_abs == 1 / 64
    assert report.worst.psnr == pytest.approx(36.1236, abs=1e-3)
    with pytest.raises(DifferentNumbersError) as caught:
        report.check()
    assert (caught.value.worst, caught.value.tolerance) == (1 / 64, 0.01)


def test_one_bad_shape_is_enough() -> None:
    """Wrong for batches only."""
    report = compare(lambda x: x * np.float32(1 if len(x) == 1 else 2), lambda x: x, 1, 4)
    assert not report.passed
    assert [item.label for item in report.differences if item.max_abs > 0] == ["batch"]


def test_nan_and_another_shape_fail() -> None:
    nan = compare(lambda x: x * np.float32(np.nan), lambda x: x, 1, 4)
    assert not nan.passed
    assert nan.as_json()["max_abs"] is None
    assert not compare(lambda x: x[:, :, ::2], lambda x: x, 1, 4).passed


def test_a_model_equals_its_checkpoint_and_itself(exported: Exported, tiny_run: Path) -> None:
    against_checkpoint = verify(exported.path, tiny_run, threads=1)
    assert against_checkpoint.passed
    assert against_checkpoint.worst.max_abs < 1e-5
    assert verify(exported.path, exported.path, threads=1).worst.max_abs == 0


def test_other_weights_are_told_apart(exported: Exported, tmp_path: Path) -> None:
    report = verify(exported.path, save_tiny(tmp_path / "other", seed=1), threads=1)
    assert not report.passed
    assert report.worst.max_abs > 0.01


def test_an_unstamped_file_may_be_compared_with(exported: Exported, tmp_path: Path) -> None:
    bare = onnx.load(exported.path)
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")
    assert verify(exported.path, tmp_path / "bare.onnx", threads=1).worst.max_abs == 0


def test_another_contract_is_no_comparison(exported: Exported, tiny_run: Path, tmp_path: Path) -> None:
    content, spec = read_stamped(exported.path)
    (tmp_path / "odd.onnx").write_bytes(stamped(content, dataclasses.replace(spec, size_multiple=8)))
    with pytest.raises(ExportError, match="'size_multiple': 8"):
        verify(tmp_path / "odd.onnx", tiny_run, threads=1)


class Engine(FunctionBackend):
    """Stands for a plan on its GPU: the same network, for sides of 64 to 128 pixels and single images."""

    def report(self) -> dict[str, object]:
        return {
            **super().report(),
            "engine": {"profile": {"min": [1, 3, 64, 64], "opt": [1, 3, 64, 64], "max": [1, 3, 128, 128]}},
        }


def test_a_plan_is_compared_within_its_range(exported: Exported, tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control flow only: what runs here is no TensorRT. FP32 may be TF32 there, so FP16's limits hold."""
    network = load_checkpoint(tiny_run).infer
    engine = Engine(exported.spec, lambda batch: network(batch) + np.float32(5e-4))
    monkeypatch.setattr("export.verify.open_tensorrt", lambda path, *, threads: engine)
    report = verify(Path("m.plan"), tiny_run, threads=1)
    assert {item.label: item.shape[2:] for item in report.differences} == {
        "minimum": (64, 64),
        "odd": (64, 68),
        "tall": (128, 64),
        "wide": (64, 128),
        "large": (128, 128),
    }
    assert {item.shape[:2] for item in report.differences} == {(1, 3)}
    assert (report.tolerance, report.least_psnr, report.passed) == (1e-2, 60.0, True)
    with pytest.raises(ExportError, match="name the plan first"):
        verify(exported.path, Path("m.plan"))


@pytest.mark.parametrize("name", ["missing.onnx", "empty.onnx", "junk.onnx"])
def test_damaged_files_are_model_errors(name: str, tmp_path: Path, tiny_run: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "junk.onnx").write_bytes(b"not an onnx file")
    with pytest.raises(ModelDamagedError):
        verify(tmp_path / name, tiny_run)


class Branches(nn.Module):
    """The tracer keeps the branch of its example and says nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if x.shape[2] > 100 else x + 0.5


def test_a_silently_frozen_branch_is_caught() -> None:
    network = Branches()
    with opened(serialised(trace(network, 3, 1)), PLAIN, threads=1) as backend:
        report = compare(backend.infer, lambda x: network(torch.from_numpy(x)).numpy(), 3, 1)
    assert {item.label for item in report.differences if item.max_abs > 0.1} == {"large"}
    with pytest.raises(DifferentNumbersError):
        report.check()


class OneSize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, 3, 6, 10)


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, 2 * x


@pytest.mark.parametrize(
    ("network", "reason"), [(OneSize(), "came out as"), (TwoOutputs(), "has the tensors")], ids=["size", "outputs"]
)
def test_networks_that_cannot_keep_the_contract(network: nn.Module, reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        trace(network, 3, 1)


@pytest.mark.parametrize("opset", [OPSETS.start, OPSETS.stop - 1])
def test_the_first_and_last_opset_give_the_same_numbers(opset: int) -> None:
    network = nn.Conv2d(3, 3, 3, padding=1).eval().requires_grad_(False)
    model = trace(network, 3, 1, opset)
    assert {item.version for item in model.opset_import if not item.domain} == {opset}
    with opened(serialised(model), PLAIN, threads=1) as backend:
        assert compare(backend.infer, lambda x: network(torch.from_numpy(x)).numpy(), 3, 1).passed


@pytest.mark.parametrize("opset", [17, 24])
def test_other_opsets_are_refused(opset: int) -> None:
    with pytest.raises(ExportError, match=r"18\.\.23"):
        trace(nn.Identity(), 3, 1, opset)
