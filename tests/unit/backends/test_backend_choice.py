import json
from collections.abc import Callable
from pathlib import Path
from typing import Never

import pytest

from restore_sdk.backends import choice
from restore_sdk.backends.choice import choose, fastest, installed, store, stored

MODEL = "ab" * 32
BOTH = {"onnxruntime": "onnxruntime 1.31", "openvino": "openvino 2026.4"}
Install = Callable[[dict[str, str]], None]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, empty; the file of measurements would be here."""
    monkeypatch.setattr(choice, "user_folder", lambda: tmp_path / "restore-sdk" / "engines")
    return tmp_path / "restore-sdk" / "speed.json"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """install({backend: version}): what is installed; both from the start."""

    def change(backends: dict[str, str]) -> None:
        monkeypatch.setattr(choice, "installed", lambda: backends)
        monkeypatch.setattr(choice, "importable", lambda: list(backends))

    change(BOTH)
    return change


def chosen(threads: int | None = 1) -> choice.Choice:
    return choose(lambda: MODEL, threads=threads)


def test_without_a_measurement_it_is_onnx_runtime(install: Install) -> None:
    assert chosen() == ("onnxruntime", "speed not measured here; `restore doctor --measure` does")


def test_the_measured_one_is_taken_and_says_why(install: Install) -> None:
    assert store(MODEL, 1, {"onnxruntime": 2.0, "openvino": 1.5}) is None
    assert chosen() == ("openvino", "measured here, seconds per megapixel: onnxruntime 2, openvino 1.5")


@pytest.mark.parametrize(
    ("onnxruntime", "openvino", "wanted"),
    [(1.0, 2.0, "onnxruntime"), (2.0, 1.0, "openvino"), (1.0, 0.98, "onnxruntime"), (1.0, 0.96, "openvino")],
)
def test_a_tie_goes_to_onnx_runtime(onnxruntime: float, openvino: float, wanted: str) -> None:
    assert fastest({"onnxruntime": onnxruntime, "openvino": openvino}).backend == wanted
    assert fastest({"openvino": openvino, "onnxruntime": onnxruntime}).backend == wanted


def test_one_alone_is_its_own_fastest() -> None:
    assert fastest({"openvino": 3.0}).backend == "openvino"


def test_another_model_thread_count_version_processor_or_machine_is_not_measured(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(MODEL, 1, {"onnxruntime": 2.0, "openvino": 1.0})
    assert stored(MODEL, 1) == {"onnxruntime": 2.0, "openvino": 1.0}
    assert stored("cd" * 32, 1) is None
    assert stored(MODEL, 2) is None
    assert stored(MODEL, None) is None
    with monkeypatch.context() as patched:
        patched.setattr(choice, "_cpu_name", lambda: "another")
        assert stored(MODEL, 1) is None
    with monkeypatch.context() as patched:
        patched.setattr(choice, "_cores", lambda: 4096)
        assert stored(MODEL, 1) is None
    install({**BOTH, "openvino": "openvino 2027.1"})
    assert stored(MODEL, 1) is None


def test_measurements_stand_beside_each_other_and_are_replaced(install: Install, cache: Path) -> None:
    for threads, time in ((1, 3.0), (2, 2.0), (1, 1.0)):
        store(MODEL, threads, {"onnxruntime": 9.0, "openvino": time})
    assert (stored(MODEL, 1) or {})["openvino"] == 1.0
    assert (stored(MODEL, 2) or {})["openvino"] == 2.0
    assert len(json.loads(cache.read_text())["entries"]) == 2
    assert [path.name for path in cache.parent.iterdir()] == ["speed.json"]


def test_only_one_installed(install: Install) -> None:
    store(MODEL, 1, {"onnxruntime": 2.0, "openvino": 1.0})
    install({"openvino": "openvino 2026.4"})
    assert chosen() == ("openvino", "it is the only one installed")
    install({"onnxruntime": "onnxruntime 1.31"})
    assert chosen().backend == "onnxruntime"
    install({})
    assert chosen().backend == "onnxruntime"  # whose opener says what to install


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"schema": 2, "entries": {}}',
        '{"schema": 1, "entries": []}',
        b"\xff\xfe",
    ],
)
def test_a_file_that_cannot_be_understood_is_no_measurement(install: Install, cache: Path, content: str | bytes) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert chosen().backend == "onnxruntime"
    assert store(MODEL, 1, {"onnxruntime": 2.0, "openvino": 1.0}) is None
    assert chosen().backend == "openvino"


@pytest.mark.parametrize(
    "times", [None, {}, {"onnxruntime": 1.0}, {"onnxruntime": 1.0, "openvino": -1}, {"onnxruntime": "a", "openvino": 1}]
)
def test_an_entry_that_makes_no_sense_is_no_measurement(install: Install, cache: Path, times: object) -> None:
    store(MODEL, 1, {"onnxruntime": 2.0, "openvino": 1.0})
    content = json.loads(cache.read_text())
    (entry,) = content["entries"].values()
    entry["seconds_per_megapixel"] = times
    cache.write_text(json.dumps(content))
    assert stored(MODEL, 1) is None


def test_a_folder_that_cannot_be_written_is_told(install: Install, cache: Path) -> None:
    cache.parent.parent.joinpath("restore-sdk").write_text("a file in the folder's place")
    reason = store(MODEL, 1, {"onnxruntime": 2.0, "openvino": 1.0})
    assert reason is not None
    assert str(cache.parent) in reason


def test_a_user_without_a_home_has_no_measurements(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "user_folder", lambda: None)
    assert "XDG_CACHE_HOME" in (store(MODEL, 1, {"onnxruntime": 2.0, "openvino": 1.0}) or "")
    assert chosen().backend == "onnxruntime"


def test_the_digest_is_not_computed_in_vain(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    def computed() -> Never:
        raise AssertionError

    assert choose(computed, threads=None).backend == "onnxruntime"
    monkeypatch.setattr(choice, "installed", computed)  # nor is metadata read
    assert choose(computed, threads=None).backend == "onnxruntime"
    monkeypatch.setattr(choice, "importable", lambda: ["onnxruntime"])
    assert choose(computed, threads=None).why == "it is the only one installed"


def test_what_is_installed_can_be_imported() -> None:
    assert choice.importable() == list(installed())


def test_installed_names_the_distribution() -> None:
    assert installed()["openvino"].startswith("openvino 20")
    assert installed()["onnxruntime"].startswith("onnxruntime")
