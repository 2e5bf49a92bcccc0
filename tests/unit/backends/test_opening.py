from pathlib import Path

import pytest

from restore_sdk.backends import choice
from restore_sdk.backends.choice import installed, store
from restore_sdk.backends.measuring import measure
from restore_sdk.backends.opening import OPENERS, PROGRAM_OPENERS, open_backend
from restore_sdk.errors import ModelDamagedError, OptionsError
from restore_sdk.restorer import Restorer


@pytest.fixture(autouse=True)
def _no_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "user_folder", lambda: tmp_path / "cache" / "engines")


def test_table() -> None:
    assert list(OPENERS) == ["onnxruntime", "openvino"]
    assert list(PROGRAM_OPENERS) == ["torch"]


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
    for backend in OPENERS:
        report = open_backend(small_model, backend=backend, device="cpu", threads=1).report()
        assert report["backend"] == backend
        assert "chosen" not in report


def test_suffix_decides_the_table(small_model: Path, small_program: Path) -> None:
    assert open_backend(small_program, device="cpu", threads=1).report()["chosen"] == "it runs .pt2 files"
    with pytest.raises(
        OptionsError, match=r"backend='torch', expected 'auto' or one of: onnxruntime, openvino, for a \.onnx file"
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
