"""Tests of the GPU are skipped for a reason, only for one that holds, and who asks for them is told."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gpu_reasons import device_or_skip, skip_if_unsupported

from restore_sdk.backends.background import BackgroundBackend
from restore_sdk.backends.engine_session import EngineRefusedError
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.cuda.memory import Device
from restore_sdk.errors import DeviceUnavailableError, MissingExtraError
from restore_sdk.spec import ModelSpec

pytest_plugins = ("pytester",)
CONFTEST = Path(__file__).parents[1] / "conftest.py"
SKIPPED = """
import pytest

@pytest.mark.gpu
def test_on_a_gpu():
    pytest.skip("no such GPU here")
"""


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What opening a device raises on a machine with a driver; to be filled in."""
    raised: list[Exception] = []

    def refuse(*, implementation: str) -> Device:
        raise raised[0]

    monkeypatch.setattr("gpu_reasons.driver_reason", lambda: None)
    monkeypatch.setattr("gpu_reasons.open_device", refuse)
    return raised


def torch_that_sees(gpu: bool) -> SimpleNamespace:
    return SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: gpu))


@pytest.mark.parametrize("implementation", ["cuda-core", "pycuda", "torch"])
def test_without_the_package_it_is_skipped(implementation: str, refusal: list[Exception]) -> None:
    refusal.append(MissingExtraError("some package", "extra"))
    with pytest.raises(pytest.skip.Exception, match="some package"):
        device_or_skip(implementation)


@pytest.mark.parametrize("implementation", ["cuda-core", "pycuda", "torch"])
def test_without_a_driver_it_is_skipped(implementation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_reasons.driver_reason", lambda: "no driver")
    with pytest.raises(pytest.skip.Exception, match="no driver"):
        device_or_skip(implementation)


def test_a_pytorch_without_cuda_beside_a_driver_is_skipped(refusal: list[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    refusal.append(DeviceUnavailableError("GPU 0", [], "pass an index below 0"))
    monkeypatch.setattr("gpu_reasons.import_module", lambda _name: torch_that_sees(gpu=False))
    with pytest.raises(pytest.skip.Exception, match="PyTorch sees no GPU"):
        device_or_skip("torch")


@pytest.mark.parametrize("implementation", ["cuda-core", "pycuda", "torch"])
def test_a_gpu_that_is_there_must_open(implementation: str, refusal: list[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    refusal.append(DeviceUnavailableError("GPU 0", [], "pass an index below 0"))
    monkeypatch.setattr("gpu_reasons.import_module", lambda _name: torch_that_sees(gpu=True))
    with pytest.raises(DeviceUnavailableError):
        device_or_skip(implementation)


def report_after(error: Exception) -> Any:
    """Of a build in the background that ended with `error`."""

    def refused(_cancelled: object) -> Any:
        raise error

    spec = ModelSpec(name="any", method="self_supervised", task="denoise")
    backend = BackgroundBackend(FunctionBackend(spec, lambda batch: batch), refused)
    with closing(backend):
        assert backend.wait(60)
        return backend.report()


def test_a_gpu_that_tensorrt_rtx_is_not_for_is_skipped_in_the_background_too() -> None:
    report = report_after(EngineRefusedError("this GPU does not run the engine of tensorrt_rtx (unsupported cc); ..."))
    with pytest.raises(pytest.skip.Exception, match="does not run the engine"):
        skip_if_unsupported(report["build"]["error"])


@pytest.mark.parametrize("error", [None, {"type": "EngineRefusedError", "message": "... (version mismatch); build it again"}])
def test_nothing_else_is_skipped(error: object) -> None:
    try:
        skip_if_unsupported(error)
    except pytest.skip.Exception as exc:
        pytest.fail(f"skipped: {exc}")


@pytest.fixture
def ours(request: pytest.FixtureRequest) -> Any:
    """The conftest.py of all tests, as pytest has loaded it."""
    return request.config.pluginmanager.get_plugin(str(CONFTEST))


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("gpu", True),
        ("gpu and not slow", True),
        ("slow or gpu", True),
        ("not gpu", False),
        ("slow and not gpu", False),
        ("", False),
    ],
)
def test_who_names_the_gpu_asks_for_reasons(expression: str, told: bool, ours: Any) -> None:
    config = SimpleNamespace(option=SimpleNamespace(markexpr=expression, reportchars="fE"))
    ours.pytest_configure(config)
    assert config.option.reportchars == ("fEs" if told else "fE")


def test_reasons_are_shown(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ours: Any) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\nmarkers = gpu\n")
    pytester.makepyfile(SKIPPED)
    run = pytester.runpytest_inprocess("-q", "-m", "gpu", "-p", "no:cacheprovider", plugins=[ours])
    run.stdout.fnmatch_lines(["SKIPPED [[]1[]] *: no such GPU here"])
