"""A small real network, so that no test depends on a bundled model.

Residual, bias-free, 3 channels, S = 4: unshuffle 2, conv 3x3, down 2, conv 3x3, up 2, skip, conv 3x3, shuffle 2.
By hand, pixel 4m + 2 reaches right to 4m + 13 and pixel 4m + 1 left to 4m - 10, so R = 11 and the exact halo is 12.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before any test imports ONNX Runtime itself

from restore_sdk.restorer import Restorer
from restore_sdk.spec import METADATA_KEY, ModelSpec

RADIUS, MULTIPLE, HALO = 11, 4, 12
WEIGHTS = {"head": (16, 12, 3, 3), "down": (16, 16, 2, 2), "deep": (16, 16, 3, 3), "up": (64, 16, 1, 1), "tail": (12, 16, 3, 3)}


def pytest_configure(config: pytest.Config) -> None:
    """Who asks for the tests of the GPU, with -m gpu, is told why some of them did not run, as with -rs."""
    if re.search(r"(?<!not )\bgpu\b", config.option.markexpr or ""):
        config.option.reportchars += "s"


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """PyTorch's generator as at the start, so that no test depends on those before it; numpy's is one that each test makes."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


def _weights() -> list[TensorProto]:
    random = np.random.default_rng(7)
    scaled = {name: random.normal(0, np.prod(shape[1:]) ** -0.5, shape) for name, shape in WEIGHTS.items()}
    return [numpy_helper.from_array(values.astype(np.float32), name) for name, values in scaled.items()]


def _nodes() -> list[onnx.NodeProto]:
    def conv(x: str, name: str, y: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node("Conv", [x, name], [y], **attributes)

    return [
        helper.make_node("SpaceToDepth", ["image"], ["half"], blocksize=2),
        conv("half", "head", "features", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["skip"]),
        conv("skip", "down", "quarter", strides=[2, 2]),
        conv("quarter", "deep", "deeper", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["deeper"], ["active"]),
        conv("active", "up", "wide"),
        helper.make_node("DepthToSpace", ["wide"], ["raised"], blocksize=2, mode="CRD"),
        helper.make_node("Add", ["skip", "raised"], ["joined"]),
        conv("joined", "tail", "blocks", pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["blocks"], ["noise"], blocksize=2),
        helper.make_node("Sub", ["image", "noise"], ["restored"]),
    ]


def _tensor(name: str, channels: int = 3) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, "H", "W"])


def small_network() -> onnx.ModelProto:
    graph = helper.make_graph(_nodes(), "small", [_tensor("image")], [_tensor("restored")], _weights())
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def stamp(model: onnx.ModelProto, spec: ModelSpec | str) -> None:
    text = spec if isinstance(spec, str) else spec.to_json()
    helper.set_model_props(model, {METADATA_KEY: text})


@pytest.fixture(scope="session")
def small_spec() -> ModelSpec:
    """What the small network promises."""
    return ModelSpec(
        name="small",
        method="self_supervised",
        task="denoise",
        size_multiple=MULTIPLE,
        receptive_radius=RADIUS,
        fast_halo=4,
        fast_error=0.02,
        bytes_per_pixel=64.0,
    )


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory, small_spec: ModelSpec) -> Path:
    """The small network as a stamped .onnx file; do not write to it."""
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    model = small_network()
    stamp(model, small_spec)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def small_program(tmp_path_factory: pytest.TempPathFactory, small_spec: ModelSpec) -> Path:
    """The small network as a stamped torch.export program with its digest beside it; do not write to it."""
    from small_program import save_small_program  # loads torch

    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in _weights()}
    return save_small_program(tmp_path_factory.mktemp("programs") / "small.pt2", weights, small_spec)


@pytest.fixture
def save_model(tmp_path: Path, small_spec: ModelSpec) -> Callable[..., Path]:
    """save_model(change=..., spec=...): a copy of the small network, changed and stamped with `spec` (None: unstamped)."""

    def save(change: Callable[[onnx.ModelProto], None] | None = None, spec: ModelSpec | str | None = small_spec) -> Path:
        model = small_network()
        if change is not None:
            change(model)
        if spec is not None:
            stamp(model, spec)
        path = tmp_path / "changed.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return save


@pytest.fixture(scope="session")
def restorer(small_model: Path) -> Iterator[Restorer]:
    """One Restorer for every test that does not close it."""
    with Restorer(small_model, device="cpu", threads=1) as opened:
        yield opened
