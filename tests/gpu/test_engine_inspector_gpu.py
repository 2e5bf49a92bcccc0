"""The engine inspector on a real GPU: what could only be played without one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from restore_sdk.backends.engine_api import driver_works, installed_api
from restore_sdk.backends.engine_build import build_engine
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_profile import profile_for
from restore_sdk.errors import EngineBuildError
from restore_sdk.spec import ModelSpec

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _gpu() -> None:
    if not driver_works():
        pytest.skip("no NVIDIA driver sees a GPU")
    pytest.importorskip(installed_api(), reason="no TensorRT is installed", exc_type=ImportError)


def test_a_build_on_a_gpu_is_inspected(small_model: Path, small_spec: ModelSpec) -> None:
    profile = profile_for(small_spec, maximum=(256, 256))
    built = build_engine(small_model.read_bytes(), small_spec, profile, EngineOptions(api=installed_api()))
    assert built.precision.half == 0
    assert built.precision.total > 0
    if built.api == "tensorrt":  # an engine of tensorrt_rtx may be one fused layer, which shows no types
        assert built.precision.source == "inspector"


def test_fp16_in_name_only_is_an_error(small_model: Path, small_spec: ModelSpec) -> None:
    liar = dataclasses.replace(small_spec, precision="fp16")
    profile = profile_for(liar, maximum=(256, 256))
    with pytest.raises(EngineBuildError, match="computes in FP16"):
        build_engine(small_model.read_bytes(), liar, profile, EngineOptions(api=installed_api()))
