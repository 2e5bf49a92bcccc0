"""Where engines come from, with the real tensorrt_rtx as their builder, and the ranges they are built for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from restore_sdk.backends import engine_source
from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_profile import EngineProfile, Shape
from restore_sdk.backends.engine_source import EngineNotKeptError, ModelSource, options_for, running_profile, widened
from restore_sdk.backends.onnx_file import read_onnx
from restore_sdk.spec import ModelSpec

ZOO = Path(__file__).parents[3] / "restore_sdk" / "zoo"


@pytest.fixture(autouse=True)
def _tensorrt_rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="engines are built by tensorrt-rtx, which is not installed", exc_type=ImportError)


def source(path: Path, folder: Path, **changes: Any) -> ModelSource:
    file = read_onnx(path)
    spec = ModelSpec.from_metadata(file.metadata, sha256=file.sha256)
    options = options_for(EngineOptions(api="tensorrt_rtx", optimization_level=0), sys.modules["tensorrt_rtx"], (8, 6))
    settings = {"options": options, "profile": running_profile(spec), "cache": EngineCache(folder), **changes}
    return ModelSource(file=file, spec=spec, version="1.7.1.116", gpu="a GPU", capability=(8, 6), **settings)


@pytest.mark.parametrize("model", sorted(ZOO.glob("*.onnx")), ids=lambda path: path.name)
def test_bundled_models_are_built_for_what_restorer_asks(model: Path, tmp_path: Path) -> None:
    """From the smallest image that the spec allows."""
    first = source(model, tmp_path)
    assert first.profile.minimum[2:] == (first.spec.size_multiple,) * 2
    built = first.obtain(None)
    assert (built.payload[:4], built.outcome, built.notes) == (b"vtrt", "built", ())
    kept = source(model, tmp_path, may_build=False).obtain(None)
    assert (kept.payload, kept.outcome) == (built.payload, "kept")


def test_another_range_is_another_engine(small_model: Path, tmp_path: Path, small_profile: EngineProfile) -> None:
    first = source(small_model, tmp_path, profile=small_profile)
    first.obtain(None)
    with pytest.raises(EngineNotKeptError):
        source(small_model, tmp_path, may_build=False).obtain(None)
    first.obtain(widened(small_profile, (1, 3, 100, 8), 4))
    assert len(list(tmp_path.glob("*.engine"))) == 2


def test_each_engine_needs_the_driver_it_was_built_under(
    small_model: Path, tmp_path: Path, small_profile: EngineProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for driver in ("580.65.06", "590.10"):
        monkeypatch.setattr(engine_source, "installed_driver", lambda driver=driver: driver)
        assert source(small_model, tmp_path, profile=small_profile).obtain(None).outcome == "built"


@pytest.mark.parametrize(("capability", "targets"), [((8, 6), ("8.6",)), ((12, 0), ("12.0",)), ((9, 0), ())])
def test_rtx_aims_at_this_gpu_where_it_can(capability: tuple[int, int], targets: tuple[str, ...]) -> None:
    rtx = sys.modules["tensorrt_rtx"]
    assert options_for(EngineOptions(api="tensorrt_rtx"), rtx, capability).compute_capabilities == targets
    asked = EngineOptions(api="tensorrt_rtx", compute_capabilities=("8.9",))
    assert options_for(asked, rtx, capability) == asked


@pytest.mark.parametrize(
    ("shape", "minimum", "maximum"),
    [
        ((1, 3, 64, 64), (1, 3, 8, 8), (2, 3, 64, 64)),
        ((1, 3, 4, 16), (1, 3, 4, 8), (2, 3, 64, 64)),
        ((3, 3, 8, 8), (1, 3, 8, 8), (4, 3, 64, 64)),
        ((1, 3, 68, 8), (1, 3, 8, 8), (2, 3, 1024, 64)),
        ((1, 3, 1080, 1920), (1, 3, 8, 8), (2, 3, 2048, 2048)),
    ],
)
def test_widened_by_hand(shape: Shape, minimum: Shape, maximum: Shape, small_profile: EngineProfile) -> None:
    wider = widened(small_profile, shape, 4)
    assert (wider.minimum, wider.optimum, wider.maximum) == (minimum, (1, 3, 32, 32), maximum)
    assert wider.contains(shape)


def test_room_keeps_to_the_multiple(small_profile: EngineProfile) -> None:
    assert widened(small_profile, (1, 3, 66, 66), 6).maximum[2:] == (1026, 1026)
