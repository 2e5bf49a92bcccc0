import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from played_tensorrt import PlayedTensorRT

from restore_sdk.backends import choice, onnx_runtime, opening, tensorrt_engine
from restore_sdk.backends.background import BackgroundBackend
from restore_sdk.backends.base import Backend, FloatNCHW
from restore_sdk.backends.choice import installed, store
from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.file_backend import FileBackend
from restore_sdk.backends.measuring import measure
from restore_sdk.backends.opening import OPENERS, PLAN_OPENERS, PROGRAM_OPENERS, Opener, gpu_reasons, open_backend
from restore_sdk.backends.wishes import BuildCancelledError
from restore_sdk.errors import DeviceUnavailableError, EngineBuildError, ModelDamagedError, OptionsError
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec


@pytest.fixture(autouse=True)
def _no_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "user_folder", lambda: tmp_path / "cache" / "engines")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """machine(tensorrt, cuda, driver): what each opener raises or gives. Returns the list of those that were asked."""

    def install(tensorrt: Backend | Exception, cuda: Backend | Exception, driver: str | None = None) -> list[str]:
        asked: list[str] = []
        genuine = onnx_runtime.open_onnxruntime

        def answer(name: str, given: Backend | Exception) -> Backend:
            asked.append(name)
            if isinstance(given, Exception):
                raise given
            return given

        def onnxruntime(path: Path, **arguments: Any) -> Backend:
            device = arguments["device"]
            return genuine(path, **arguments) if device == "cpu" else answer(f"onnxruntime on {device}", cuda)

        monkeypatch.setattr(opening, "driver_reason", lambda: driver)
        monkeypatch.setattr(opening, "find_spec", lambda name: name)
        monkeypatch.setattr(tensorrt_engine, "open_tensorrt", lambda path, **arguments: answer("tensorrt", tensorrt))
        monkeypatch.setattr(onnx_runtime, "open_onnxruntime", onnxruntime)
        return asked

    return install


class Opened(FileBackend):
    """Something that opened."""

    def _run(self, batch: FloatNCHW) -> FloatNCHW:
        return batch

    def close(self) -> None:
        """Nothing to release."""


@pytest.fixture
def opened(small_spec: ModelSpec) -> Opened:
    return Opened(small_spec, {"backend": "opened"}, ())


NO_ENGINE, NO_CUDA = EngineBuildError("no such layer", "export again"), DeviceUnavailableError("cuda", ("cpu",), "no cuDNN")


def test_auto_takes_tensorrt_first(machine: Callable[..., list[str]], opened: Opened, small_model: Path) -> None:
    asked = machine(opened, NO_CUDA)
    for device in ("auto", "cuda", "cuda:1"):
        assert open_backend(small_model, device=device).report() == {"backend": "opened", "tried": []}
    assert asked == ["tensorrt"] * 3


def test_what_auto_passed_over_is_in_the_report(machine: Callable[..., list[str]], opened: Opened, small_model: Path) -> None:
    asked = machine(NO_ENGINE, opened)
    tried = open_backend(small_model).report()["tried"]
    assert tried == [{"backend": "tensorrt", "why": str(NO_ENGINE)}]
    machine(NO_ENGINE, NO_CUDA)
    report = open_backend(small_model, threads=1).report()
    assert (report["backend"], report["device"]) == ("onnxruntime", "cpu")
    assert report["tried"] == [
        {"backend": "tensorrt", "why": str(NO_ENGINE)},
        {"backend": "onnxruntime-cuda", "why": str(NO_CUDA)},
    ]
    assert asked == ["tensorrt", "onnxruntime on cuda"]
    assert json.loads(json.dumps(report)) == report


def test_without_a_driver_nothing_is_asked(machine: Callable[..., list[str]], opened: Opened, small_model: Path) -> None:
    asked = machine(opened, opened, driver="NVIDIA's driver is not installed")
    tried = open_backend(small_model, threads=1).report()["tried"]
    assert [attempt["why"] for attempt in tried] == ["NVIDIA's driver is not installed"] * 2
    assert asked == []


def test_on_the_cpu_no_gpu_is_tried(machine: Callable[..., list[str]], opened: Opened, small_model: Path) -> None:
    asked = machine(opened, opened)
    assert open_backend(small_model, device="cpu", threads=1).report()["tried"] == []
    assert asked == []


def test_a_gpu_that_was_demanded_is_not_replaced(machine: Callable[..., list[str]], small_model: Path) -> None:
    asked = machine(NO_ENGINE, NO_CUDA)
    with pytest.raises(DeviceUnavailableError, match="no cuDNN"):
        open_backend(small_model, device="cuda:1")
    assert asked == ["tensorrt", "onnxruntime on cuda:1"]


@pytest.mark.parametrize(
    "error", [ModelDamagedError("m.onnx", "cut short"), BuildCancelledError(), OptionsError("threads", 0, "1")]
)
def test_what_is_wrong_with_the_model_or_the_wish_is_not_passed_over(
    error: Exception, machine: Callable[..., list[str]], small_model: Path
) -> None:
    machine(error, NO_CUDA)
    with pytest.raises(type(error)):
        open_backend(small_model)


def test_a_name_is_never_replaced(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_engine, "driver_reason", lambda: "NVIDIA's driver is not installed")
    monkeypatch.setattr(tensorrt_engine, "find_spec", lambda name: name)
    with pytest.raises(DeviceUnavailableError, match="driver is not installed"):
        open_backend(small_model, backend="tensorrt")


def test_in_the_background_the_next_that_works_serves(
    played: PlayedTensorRT, small_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(opening, "driver_reason", lambda: None)
    monkeypatch.setattr(opening, "find_spec", lambda name: name if name == "tensorrt" else None)
    monkeypatch.setattr(tensorrt_engine, "EngineCache", lambda: EngineCache(tmp_path / "engines"))
    backend = open_backend(small_model, build="background", finite="ignore", threads=1)
    assert isinstance(backend, BackgroundBackend)
    with backend._now.use() as meanwhile:
        report: Any = meanwhile.report()
    assert report["tried"] == [{"backend": "onnxruntime-cuda", "why": "onnxruntime is not installed"}]
    assert backend.wait(60)
    final: Any = backend.report()
    assert (final["backend"], final["chosen"], final["finite"]["policy"]) == ("tensorrt", "it works here", "ignore")
    backend.close()


def test_a_plan_is_tensorrts(played: PlayedTensorRT, tmp_path: Path) -> None:
    (tmp_path / "m.plan").write_bytes(b"vtrt")
    with pytest.raises(ModelDamagedError, match="must lie beside it"):
        open_backend(tmp_path / "m.plan")
    with pytest.raises(OptionsError, match=r"expected 'auto' or one of: tensorrt, for a \.plan file"):
        open_backend(tmp_path / "m.plan", backend="onnxruntime")


def test_reasons_against_the_gpu_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "driver_reason", lambda: "no driver")
    assert gpu_reasons() == {"tensorrt": "no driver", "onnxruntime-cuda": "no driver"}
    monkeypatch.setattr(opening, "driver_reason", lambda: None)
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    reasons = gpu_reasons()
    assert "neither tensorrt nor tensorrt_rtx is installed" in str(reasons["tensorrt"])
    assert "not installed" in str(reasons["onnxruntime-cuda"])
    monkeypatch.setattr(opening, "find_spec", lambda name: name)
    assert gpu_reasons() == {"tensorrt": None, "onnxruntime-cuda": None}


def test_table() -> None:
    assert list(OPENERS) == ["onnxruntime", "openvino", "tensorrt", "onnxruntime-tensorrt", "onnxruntime-rtx"]
    assert (list(PROGRAM_OPENERS), list(PLAN_OPENERS)) == (["torch"], ["tensorrt"])


@pytest.mark.parametrize("opener", [*OPENERS.values(), *PROGRAM_OPENERS.values(), *PLAN_OPENERS.values()], ids=lambda it: it.name)
def test_every_opener_is_where_it_is_said_to_be(opener: Opener) -> None:
    assert callable(opener.load())


def test_auto_is_onnx_runtime_until_measured(small_model: Path) -> None:
    with Restorer(small_model, device="cpu", threads=1) as restorer:
        report = restorer.report()
        assert report["backend"] == "onnxruntime"
        assert "not measured" in str(report["chosen"])
        store(restorer.spec.sha256, 1, {"onnxruntime": 2.0, "openvino": 1.0})
    with Restorer(small_model, device="cpu", threads=1) as restorer:
        assert restorer.report()["backend"] == "openvino"
        assert restorer.report()["chosen"] == "measured here, seconds per megapixel: onnxruntime 2, openvino 1"
    with Restorer(small_model, device="cpu", threads=2) as restorer:
        assert restorer.report()["backend"] == "onnxruntime"


def test_what_was_asked_for_was_not_chosen(small_model: Path) -> None:
    for backend in ("onnxruntime", "openvino"):
        report = open_backend(small_model, backend=backend, device="cpu", threads=1).report()
        assert report["backend"] == backend
        assert not {"chosen", "tried"} & set(report)


def test_suffix_decides_the_table(small_model: Path, small_program: Path) -> None:
    assert open_backend(small_program, device="cpu", threads=1).report()["chosen"] == "it runs .pt2 files"
    with pytest.raises(
        OptionsError, match=r"backend='torch', expected 'auto' or one of: onnxruntime, openvino, .*, for a \.onnx file"
    ):
        open_backend(small_model, backend="torch")
    with pytest.raises(OptionsError, match=r"expected 'auto' or one of: torch, for a \.pt2 file"):
        open_backend(small_program, backend="onnxruntime")


def test_an_unreadable_file_is_its_openers_matter(tmp_path: Path) -> None:
    with pytest.raises(ModelDamagedError, match="cannot be read"):
        open_backend(tmp_path / "gone.onnx")


def test_measuring_times_what_is_installed(small_model: Path) -> None:
    seconds = measure(small_model, threads=1, side=33, rounds=2)
    assert list(seconds) == list(installed()) == ["onnxruntime", "openvino"]
    assert all(time > 0 for time in seconds.values())


@pytest.mark.parametrize(("suffix", "only"), [(".PLAN", "tensorrt"), (".PT2", "torch")])
def test_suffixes_in_capitals(tmp_path: Path, suffix: str, only: str) -> None:
    (tmp_path / f"m{suffix}").write_bytes(b"")
    with pytest.raises(OptionsError, match=f"'auto' or one of: {only},"):
        open_backend(tmp_path / f"m{suffix}", backend="openvino")
