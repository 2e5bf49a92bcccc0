"""Which device a session gets, and what the installed distributions mean for it; no GPU is needed."""

import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from restore_sdk.backends.base import DeviceBackend
from restore_sdk.backends.onnx_library import installed_distributions
from restore_sdk.backends.onnx_runtime import NO_GRAPHS, open_onnxruntime, open_onnxruntime_rtx, open_onnxruntime_tensorrt
from restore_sdk.errors import DeviceUnavailableError, MissingExtraError, RestoreWarning


@pytest.fixture
def fresh_distributions() -> Iterator[None]:
    installed_distributions.cache_clear()
    yield
    installed_distributions.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, site: Path, **versions: str) -> None:
    """Pretend that exactly these distributions are installed, in `site`."""

    def version(name: str) -> str:
        if name.replace("-", "_") not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(onnxruntime, "__file__", str(site / "onnxruntime" / "__init__.py"))
    for name, version_text in versions.items():
        (site / f"{name}-{version_text}.dist-info").mkdir()


def test_cuda_on_a_build_without_it(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceUnavailableError, match=r"pip install 'restore-sdk\[cuda\]'") as caught:
        open_onnxruntime(small_model, device="cuda:1")
    assert (caught.value.requested, caught.value.available) == ("cuda:1", ("CPUExecutionProvider",))


class SessionOn:
    """Stands for a session of a build that lists CUDA; `actual` are the providers it ended up with."""

    def __init__(self, real: type, actual: list[str]) -> None:
        self.real, self.actual, self.asked, self.refuses_graphs = real, actual, [], False

    def __call__(self, content: bytes, options: object, providers: list[object], **_: object) -> object:
        self.asked = providers
        if self.refuses_graphs and providers[0][1]["enable_cuda_graph"] == "1":
            raise RuntimeError(f"This session {NO_GRAPHS} as requested by the user as the model has control flow nodes")
        session = self.real(content, options, providers=["CPUExecutionProvider"])
        session.get_providers = lambda: self.actual
        session.get_provider_options = lambda: {"CUDAExecutionProvider": {"device_id": "1"}}
        return session


def with_cuda_build(monkeypatch: pytest.MonkeyPatch, actual: list[str]) -> SessionOn:
    sessions = SessionOn(onnxruntime.InferenceSession, actual)
    built_in = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built_in)
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
    backend = open_onnxruntime(small_model, device="cuda:1")
    (name, settings), last = sessions.asked
    assert (name, settings["device_id"], last) == ("CUDAExecutionProvider", "1", "CPUExecutionProvider")
    report = backend.report()
    assert (report["device"], report["providers"], report["cuda_graphs"]) == ("cuda:1", both, [])
    assert isinstance(backend, DeviceBackend)
    assert backend.device_index == 1
    backend.close()
    open_onnxruntime(small_model, device="cpu")
    assert sessions.asked == ["CPUExecutionProvider"]


def test_a_model_that_cannot_be_captured_runs_without_graphs(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = with_cuda_build(monkeypatch, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    sessions.refuses_graphs = True
    backend = open_onnxruntime(small_model, device="cuda")
    assert sessions.asked[0][1]["enable_cuda_graph"] == "0"
    assert "as the model has control flow nodes" in str(backend.report()["cuda_graphs"])
    backend.close()


def test_a_gpu_that_is_not_there(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says = "Invalid device ID: 9, must be between 0 (inclusive) and 1 (exclusive)."

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError(says)

    with_cuda_build(monkeypatch, [])
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(DeviceUnavailableError) as caught:
        open_onnxruntime(small_model, device="cuda:9")
    assert (caught.value.requested, caught.value.available) == ("cuda:9", (says,))


def test_what_preloading_complained_of_is_in_the_error(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda_build(monkeypatch, ["CPUExecutionProvider"])
    monkeypatch.setattr("restore_sdk.backends.onnx_runtime.preload_cuda", lambda runtime: ("Failed to load libcublas.so.13",))
    with pytest.raises(DeviceUnavailableError, match=r"Failed to load libcublas\.so\.13") as caught:
        open_onnxruntime(small_model, device="cuda")
    assert caught.value.available == ("CPUExecutionProvider", "Failed to load libcublas.so.13")


def test_tensorrt_provider_only_with_its_library(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["TensorrtExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr("restore_sdk.backends.onnx_runtime.tensorrt_reason", lambda: "libnvinfer.so.10: cannot open")
    with pytest.raises(DeviceUnavailableError, match=r"libnvinfer\.so\.10: cannot open; install tensorrt<11") as caught:
        open_onnxruntime_tensorrt(small_model)
    assert caught.value.requested == "onnxruntime-tensorrt"


def test_tensorrt_provider_where_it_works(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    three = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    sessions = with_cuda_build(monkeypatch, three)
    monkeypatch.setattr("restore_sdk.backends.onnx_runtime.tensorrt_reason", lambda: None)
    backend = open_onnxruntime_tensorrt(small_model, device="cuda:1")
    assert [provider[0] for provider in sessions.asked[:2]] == three[:2]
    assert sessions.asked[1][1] == {"device_id": "1"}
    assert backend.report()["backend"] == "onnxruntime-tensorrt"
    backend.close()


def test_rtx_without_its_plugin_names_the_extra(small_model: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'restore-sdk\[onnxruntime-rtx\]'"):
        open_onnxruntime_rtx(small_model)


class FakePlugin:
    """Stands for onnxruntime_ep_nv_tensorrt_rtx on a machine with one GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failure: Exception | None = None) -> None:
        self.registered: list[tuple[str, str]] = []
        self.added: list[tuple[list[object], dict[str, str]]] = []
        self.failure = failure
        device = SimpleNamespace(ep_name="NvTensorRTRTXExecutionProvider")
        plugin = SimpleNamespace(get_library_path=lambda: "/plugin.so")
        monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", plugin)
        monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: [device] if self.registered else [])
        monkeypatch.setattr(onnxruntime, "register_execution_provider_library", self.register)
        self.device = device

    def register(self, name: str, path: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.registered.append((name, path))


def test_rtx_plugin_that_does_not_load(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakePlugin(monkeypatch, onnxruntime.capi.onnxruntime_pybind11_state.Fail("libcuda.so.1: cannot open shared object file"))
    with pytest.raises(DeviceUnavailableError, match=r"libcuda\.so\.1: cannot open.*install NVIDIA's driver"):
        open_onnxruntime_rtx(small_model)


def test_rtx_is_registered_once_and_given_its_device(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plugin = FakePlugin(monkeypatch)
    sessions = SessionOn(onnxruntime.InferenceSession, ["NvTensorRTRTXExecutionProvider"])
    real = onnxruntime.SessionOptions

    def options() -> object:
        made = Recorder(real())
        plugin.added = made.added
        return made

    class Recorder:
        def __init__(self, inner: object) -> None:
            object.__setattr__(self, "inner", inner)
            object.__setattr__(self, "added", [])

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

        def __setattr__(self, name: str, value: object) -> None:
            setattr(self.inner, name, value)

        def add_provider_for_devices(self, devices: list[object], settings: dict[str, str]) -> None:
            self.added.append((devices, settings))

    monkeypatch.setattr(onnxruntime, "SessionOptions", options)
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda content, options, **rest: sessions(content, options.inner, **rest)
    )
    backend = open_onnxruntime_rtx(small_model)
    ((devices, settings),) = plugin.added
    assert devices == [plugin.device]
    assert settings["nv_profile_max_shapes"] == "image:1x3x1024x1024"
    assert sessions.asked is None
    assert plugin.registered == [("NvTensorRTRTXExecutionProvider", "/plugin.so")]
    assert (backend.report()["backend"], backend.report()["device"]) == ("onnxruntime-rtx", "cuda:0")
    backend.close()
    with pytest.raises(DeviceUnavailableError, match=r"'cuda:3' is not available here \(available: cuda:0\)"):
        open_onnxruntime_rtx(small_model, device="cuda:3")
    assert len(plugin.registered) == 1


@pytest.mark.usefixtures("fresh_distributions")
def test_two_distributions_warn_with_the_commands_that_mend_it(
    small_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, onnxruntime="1.31.1", onnxruntime_gpu="1.30.0")
    with pytest.warns(RestoreWarning, match=r"onnxruntime 1\.31\.1 and onnxruntime-gpu 1\.30\.0.*pip uninstall -y onnxruntime "):
        open_onnxruntime(small_model, threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RestoreWarning)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        with pytest.raises(DeviceUnavailableError, match="pip uninstall -y onnxruntime onnxruntime-gpu"):
            open_onnxruntime(small_model, device="cuda")


@pytest.mark.usefixtures("fresh_distributions")
def test_one_distribution_is_silent(small_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, onnxruntime="1.31.1")
    open_onnxruntime(small_model, threads=1)
    assert installed_distributions() == ("onnxruntime 1.31.1",)
