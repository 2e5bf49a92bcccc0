"""Programs for the GPU tests, made once, and the driver that stands in for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gpu_programs import SPEC, require_torch_gpu
from small_program import save_program
from stand_in_driver import StandIn, stand_in_or_skip

from export.precision import half_wrapped
from restore_sdk.backends.torch_cuda import CudaProgramBackend
from restore_sdk.backends.torch_program import open_torch_program
from training.networks.unet import ResidualUNet


@pytest.fixture(scope="session")
def network() -> ResidualUNet:
    torch.manual_seed(0)
    return ResidualUNet(widths=(32, 64), blocks=(1, 1)).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def programs(network: ResidualUNet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The network in both precisions; built only where a GPU will run it."""
    require_torch_gpu()
    folder = tmp_path_factory.mktemp("programs")
    written = {"fp32": network, "fp16": half_wrapped(network)}
    return {name: save_program(folder / f"{name}.pt2", module, SPEC) for name, module in written.items()}


@pytest.fixture(params=["fp32", "fp16"])
def model(request: pytest.FixtureRequest, programs: dict[str, Path]) -> Path:
    return programs[request.param]


@pytest.fixture
def backend(model: Path) -> Iterator[CudaProgramBackend]:
    """The network in each precision."""
    yield from _opened(model)


@pytest.fixture
def unet(programs: dict[str, Path]) -> Iterator[CudaProgramBackend]:
    """The network in FP32 alone."""
    yield from _opened(programs["fp32"])


def _opened(program: Path) -> Iterator[CudaProgramBackend]:
    opened = open_torch_program(program, device="cuda:0")
    assert isinstance(opened, CudaProgramBackend)
    yield opened
    opened.close()


@pytest.fixture
def driver() -> Iterator[StandIn]:
    """Healed afterwards."""
    stand_in = stand_in_or_skip()
    yield stand_in
    stand_in.heal()
