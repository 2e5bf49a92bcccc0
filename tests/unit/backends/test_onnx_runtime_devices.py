"""Which device a session gets, and what the installed distributions mean for it; no GPU is needed."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest

from restore_sdk.backends import onnx_runtime
from restore_sdk.backends.onnx_runtime import installed_distributions, open_onnxruntime
from restore_sdk.errors import DeviceUnavailableError, RestoreWarning


@pytest.fixture
def fresh_distributions() -> Iterator[None]:
    installed_distributions.cache_clear()
    yield
    installed_distributions.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Pretend that exactly these distributions are installed."""

    def version(name: str) -> str:
        if name.replace("-", "_") not in versions:
            raise onnx_runtime.metadata.PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    monkeypatch.setattr(onnx_runtime.metadata, "version", version)


def test_cuda_on_a_build_without_it(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceUnavailableError, match=r"pip install 'restore-sdk\[cuda\]'") as caught:
        open_onnxruntime(small_model, device="cuda:1")
    assert (caught.value.requested, caught.value.available) == ("cuda:1", ("CPUExecutionProvider",))


class SessionOn:
    """Stands for a session of a build that lists CUDA; `actual` are the providers it ended up with."""

    def __init__(self, real: type, actual: list[str]) -> None:
        self.real, self.actual, self.asked = real, actual, []

    def __call__(self, content: bytes, options: object, providers: list[object], **_: object) -> object:
        self.asked = providers
        session = self.real(content, options, providers=["CPUExecutionProvider"])
        session.get_providers = lambda: self.actual
        session.get_provider_options = lambda: {"CUDAExecutionProvider": {"device_id": "1"}}
        return session


def with_cuda_build(monkeypatch: pytest.MonkeyPatch, actual: list[str]) -> SessionOn:
    sessions = SessionOn(onnxruntime.InferenceSession, actual)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", sessions)
    return sessions


def test_silent_fall_back_to_the_cpu_is_an_error_when_cuda_was_asked(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda_build(monkeypatch, ["CPUExecutionProvider"])
    with pytest.raises(DeviceUnavailableError, match="'cuda' is not available here"):
        open_onnxruntime(small_model, device="cuda")
    assert open_onnxruntime(small_model, device="auto").report()["device"] == "cpu"


def test_cuda_where_it_works(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    sessions = with_cuda_build(monkeypatch, both)
    report = open_onnxruntime(small_model, device="cuda:1").report()
    assert sessions.asked == [("CUDAExecutionProvider", {"device_id": "1"}), "CPUExecutionProvider"]
    assert (report["device"], report["providers"]) == ("cuda:1", both)
    open_onnxruntime(small_model, device="cpu")
    assert sessions.asked == ["CPUExecutionProvider"]


@pytest.mark.usefixtures("fresh_distributions")
def test_two_distributions_warn_with_the_commands_that_mend_it(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, onnxruntime="1.31.1", onnxruntime_gpu="1.30.0")
    with pytest.warns(RestoreWarning, match=r"onnxruntime 1\.31\.1 and onnxruntime-gpu 1\.30\.0.*pip uninstall -y onnxruntime "):
        open_onnxruntime(small_model, threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RestoreWarning)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        with pytest.raises(DeviceUnavailableError, match="pip uninstall -y onnxruntime onnxruntime-gpu"):
            open_onnxruntime(small_model, device="cuda")


@pytest.mark.usefixtures("fresh_distributions")
def test_one_distribution_is_silent(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, onnxruntime="1.31.1")
    open_onnxruntime(small_model, threads=1)
    assert installed_distributions() == ("onnxruntime 1.31.1",)
