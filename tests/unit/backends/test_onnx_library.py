"""The import of ONNX Runtime: its telemetry, its libraries."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from restore_sdk.backends import onnx_library
from restore_sdk.backends.onnx_library import TELEMETRY_OFF, load_onnxruntime, preload_cuda, tensorrt_reason
from restore_sdk.errors import MissingExtraError

RESTORE = """
import sys
from restore_sdk import Restorer
import numpy as np
with Restorer(sys.argv[1], device="cpu", threads=1) as restorer:
    restorer(np.full((16, 16, 3), 128, np.uint8))
"""


def kept_in_cache(code: str, model: Path, cache: Path, **environment: str) -> list[str]:
    """Files that a process leaves in the user's cache folder."""
    home = {"XDG_CACHE_HOME": str(cache), "HOME": str(cache), **environment}
    inherited = {name: value for name, value in os.environ.items() if name not in ("CI", TELEMETRY_OFF)}
    subprocess.run([sys.executable, "-c", code, str(model)], check=True, env={**inherited, **home})
    return [path.name for path in cache.rglob("*") if path.is_file()]


def test_nothing_is_left_in_the_cache_folder(small_model: Path, tmp_path: Path) -> None:
    assert kept_in_cache(RESTORE, small_model, tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms keep it elsewhere")
def test_who_wants_the_telemetry_keeps_it(small_model: Path, tmp_path: Path) -> None:
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 29):
        pytest.skip("this ONNX Runtime has no telemetry on Linux")
    assert "deviceid" in kept_in_cache(RESTORE, small_model, tmp_path, **{TELEMETRY_OFF: "0"})


@pytest.mark.parametrize(("value", "calls"), [(None, 1), ("1", 1), ("0", 0), ("", 0)])
def test_events_are_switched_off_if_imported_before(monkeypatch: pytest.MonkeyPatch, value: str | None, calls: int) -> None:
    called: list[int] = []
    runtime = SimpleNamespace(__file__=None, disable_telemetry_events=lambda: called.append(1))
    monkeypatch.delenv(TELEMETRY_OFF, raising=False)
    if value is not None:
        monkeypatch.setenv(TELEMETRY_OFF, value)
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setattr(onnx_library, "_switched_off", [])
    assert load_onnxruntime() is runtime
    load_onnxruntime()
    assert len(called) == calls


def test_missing_package_names_the_extra_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"restore-sdk\[cuda\]"):
        load_onnxruntime("cuda")


def test_preloading_keeps_stdout_clean(capfd: pytest.CaptureFixture[str]) -> None:
    preload_cuda.cache_clear()
    calls: list[int] = []

    class Runtime:
        @staticmethod
        def preload_dlls() -> None:
            calls.append(1)
            sys.stdout.write("Failed to load /nvidia/libcublas.so.13: no such file\n\nPlease follow ...\n")

    assert preload_cuda(Runtime) == ("Failed to load /nvidia/libcublas.so.13: no such file", "Please follow ...")  # type: ignore[arg-type]
    assert len(preload_cuda(Runtime)) == 2  # type: ignore[arg-type]
    assert calls == [1]
    assert capfd.readouterr().out == ""


def test_preloading_on_the_real_cpu_build_does_nothing() -> None:
    preload_cuda.cache_clear()
    assert preload_cuda(onnxruntime) == ()


def test_tensorrt_library_is_tried_by_name_then_where_pip_puts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def load(name: str, mode: int) -> None:
        tried.append(name)
        if not name.startswith("/"):
            raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(onnx_library.ctypes, "CDLL", load)
    found = SimpleNamespace(submodule_search_locations=["/site/tensorrt_libs"])
    monkeypatch.setattr(onnx_library.importlib.util, "find_spec", lambda name: found)
    assert tensorrt_reason() is None
    assert tried == [onnx_library.TENSORRT_LIBRARY, str(Path("/site/tensorrt_libs", onnx_library.TENSORRT_LIBRARY))]


def test_without_tensorrt_10_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_library, "TENSORRT_LIBRARY", "libnothing_of_the_kind.so.10")
    monkeypatch.setattr(onnx_library.importlib.util, "find_spec", lambda name: None)
    assert "libnothing_of_the_kind.so.10" in str(tensorrt_reason())
    assert str(tensorrt_reason()).endswith("TensorRT 11 does not serve")
