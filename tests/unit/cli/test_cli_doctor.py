from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restore_sdk.cli import doctor as doctor_command
from restore_sdk.cli import installed
from restore_sdk.cli.installed import Clash, Runtime, clashes, packages, runtimes
from restore_sdk.cuda.driver import CudaDriver, cuda_driver

Restore = Callable[..., Any]
Parse = Callable[[Any], dict[str, Any]]


@pytest.fixture
def distributions(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """distributions(name=version, ...): nothing else is installed."""

    def install(versions: dict[str, str]) -> None:
        monkeypatch.setattr(installed, "version_of", versions.get)

    return install


def test_healthy(restore: Restore, sound_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "clashes", tuple)
    result = restore("doctor")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[-1] == "healthy"
    assert any(line.startswith("self-test    exact tiles equal the whole image") for line in lines)
    assert "model        denoise: sha256 ok" in lines
    assert any("CPUExecutionProvider" in line for line in lines)
    assert result.stderr == ""


def test_json_has_everything(restore: Restore, sound_zoo: Path, as_json: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "clashes", tuple)
    findings = as_json(restore("doctor", "--json"))
    assert findings["healthy"]
    assert findings["problems"] == []
    assert {"python", "restore-sdk", "numpy", "pillow"} <= findings["packages"].keys()
    assert "onnxruntime" in [runtime["module"] for runtime in findings["runtimes"]]
    assert findings["models"] == [{"name": "denoise", "ok": True, "error": None}]
    assert findings["self_test"]["ok"]
    assert findings["cuda_driver"].keys() == {"found", "cuda", "detail"}


def test_no_runtime(restore: Restore, sound_zoo: Path, monkeypatch: pytest.MonkeyPatch, as_json: Parse) -> None:
    monkeypatch.setattr(doctor_command, "runtimes", lambda: (Runtime("torch", "torch", "2.13"),))
    monkeypatch.setattr(doctor_command, "clashes", tuple)
    result = restore("doctor")
    assert result.exit_code == 5
    assert "pip install 'restore-sdk[cpu]'" in result.stdout
    assert as_json(restore("doctor", "--json"))["self_test"] is None


def test_wrong_hash(restore: Restore, zoo: Path, as_json: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "clashes", tuple)
    result = restore("doctor", "--json")
    assert result.exit_code == 4
    findings = as_json(result)
    assert not findings["healthy"]
    assert [model["ok"] for model in findings["models"]] == [True, False]


def test_damaged_listing_is_a_finding(restore: Restore, sound_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "clashes", tuple)
    (sound_zoo / "models.json").write_text("{")
    result = restore("doctor")
    assert result.exit_code == 4
    assert "model        models.json: FAILED" in result.stdout


def test_tiles_that_differ_are_a_finding(restore: Restore, sound_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "clashes", tuple)
    monkeypatch.setattr("restore_sdk.cli.self_test.tiles_equal_whole", lambda _model: False)
    result = restore("doctor")
    assert result.exit_code == 1
    assert "problem      self-test: exact tiles differ from the whole image" in result.stdout


@pytest.mark.parametrize(
    ("model", "code", "says"),
    [
        ("nope", 4, "no model 'nope'"),
        ("dip-denoise", 2, "a trained model: this one is fitted to each image"),
        ("junk.onnx", 4, "cut short or not ONNX"),
        ("junk.plan", 4, "junk.plan.json, which must lie beside it"),
    ],
)
def test_a_model_that_cannot_be_tested_is_one_finding(
    restore: Restore, sound_zoo: Path, monkeypatch: pytest.MonkeyPatch, model: str, code: int, says: str, as_json: Parse
) -> None:
    """And nothing else is asked of it. A plan is not sent to the CPU."""
    monkeypatch.setattr(doctor_command, "clashes", tuple)
    for name in ("junk.onnx", "junk.plan"):
        Path(name).write_bytes(b"junk")
    findings = as_json(restore("doctor", "-m", model, "--json"))
    assert (findings["exit_code"], findings["speed"]) == (code, None)
    (problem,) = findings["problems"]
    assert problem.startswith("self-test: ")
    assert says in problem


@pytest.mark.parametrize(
    ("module", "both", "code", "says"),
    [
        ("onnxruntime", ("onnxruntime", "onnxruntime-gpu"), 5, ""),
        ("cv2", ("opencv-python-headless", "opencv-python"), 0, "advice       "),
    ],
    ids=["a finding", "no more than advice"],
)
def test_clash_comes_with_its_remedy(
    restore: Restore,
    sound_zoo: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    both: tuple[str, str],
    code: int,
    says: str,
) -> None:
    monkeypatch.setattr(doctor_command, "clashes", lambda: (Clash(module, both, "pip uninstall -y both"),))
    result = restore("doctor")
    assert result.exit_code == code
    assert f"{says}{both[0]} and {both[1]} overwrite each other's {module}; run: pip uninstall -y both" in result.stdout


@pytest.mark.parametrize(
    ("provider", "driver", "advice"),
    [
        ("CPU", True, "this GPU goes unused"),
        ("CUDA", False, "finds no NVIDIA driver"),
        ("CPU", False, None),
        ("CUDA", True, None),
    ],
)
def test_advice_about_the_gpu(
    restore: Restore, sound_zoo: Path, monkeypatch: pytest.MonkeyPatch, provider: str, driver: bool, advice: str | None
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(doctor_command, "clashes", tuple)
    monkeypatch.setattr(doctor_command, "cuda_driver", lambda: CudaDriver(found=driver, cuda="13.0", detail="libcuda"))
    monkeypatch.setattr(doctor_command, "_self_test", lambda _model: {"ok": True, "seconds": 0.0, "error": None})
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [f"{provider}ExecutionProvider"])
    result = restore("doctor")
    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if line.startswith("advice")]
    assert len(lines) == (advice is not None)
    assert advice is None or advice in lines[0]


@pytest.mark.parametrize(
    ("versions", "module", "remedy"),
    [
        (
            {"onnxruntime": "1.31", "onnxruntime-gpu": "1.30"},
            "onnxruntime",
            "pip uninstall -y onnxruntime onnxruntime-gpu; then pip install --force-reinstall 'restore-sdk[cpu]' "
            "or pip install --force-reinstall 'restore-sdk[cuda]'",
        ),
        (
            {"opencv-python-headless": "5.0", "opencv-python": "4.11"},
            "cv2",
            "pip uninstall -y opencv-python-headless opencv-python; then pip install --force-reinstall 'opencv-python-headless' "
            "or pip install --force-reinstall 'opencv-python'",
        ),
    ],
    ids=["onnxruntime", "cv2"],
)
def test_clashes(distributions: Callable[..., None], versions: dict[str, str], module: str, remedy: str) -> None:
    distributions(versions)
    assert clashes() == (Clash(module, tuple(versions), remedy),)


def test_one_of_each_is_no_clash(distributions: Callable[..., None]) -> None:
    distributions({"onnxruntime-gpu": "1.30", "opencv-python": "4.11"})
    assert clashes() == ()


def test_runtimes_name_their_distribution(distributions: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    distributions({"onnxruntime-gpu": "1.30"})
    monkeypatch.setattr(installed, "find_spec", lambda module: module if module in ("onnxruntime", "openvino") else None)
    assert runtimes() == (Runtime("onnxruntime", "onnxruntime-gpu", "1.30"), Runtime("openvino", None, None))


def test_packages_leave_out_what_is_not_installed(distributions: Callable[..., None]) -> None:
    distributions({"numpy": "2.4"})
    assert packages().keys() == {"python", "numpy"}


@pytest.mark.parametrize("error", [OSError("no such library"), AttributeError("no such symbol")])
def test_no_driver(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(_name: str) -> None:
        raise error

    monkeypatch.setattr("ctypes.CDLL", refuse)
    driver = cuda_driver()
    assert not driver.found
    assert driver.detail == str(error)


class FakeDriver:
    def __init__(self, answer: int, version: int) -> None:
        self.answer, self.version = answer, version

    def cuDriverGetVersion(self, number: Any) -> int:  # noqa: N802 the library's name
        number._obj.value = self.version
        return self.answer


@pytest.mark.parametrize(("answer", "version", "cuda"), [(0, 13020, "13.2"), (0, 12080, "12.8"), (100, 0, None)])
def test_driver(monkeypatch: pytest.MonkeyPatch, answer: int, version: int, cuda: str | None) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _name: FakeDriver(answer, version))
    driver = cuda_driver()
    assert driver.found
    assert driver.cuda == cuda
