import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from restore_sdk.errors import ModelDamagedError, ModelHashError, ModelNotFoundError
from restore_sdk.restorer import Restorer
from restore_sdk.zoo import registry

CONTENT = b"weights"
ENTRY = {
    "name": "denoise",
    "file": "denoise.onnx",
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "size": len(CONTENT),
    "task": "denoise",
    "method": "self_supervised",
    "licence": "Apache-2.0",
    "trained_on": "a set",
    "terms": "research",
    "summary": "one line",
    "quality": [{"set": "a", "sigma": 25, "psnr": 30.0}],
}


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models.json").write_text(json.dumps({"schema": 1, "models": [{**ENTRY, "added_later": 1}]}))
    (tmp_path / "denoise.onnx").write_bytes(CONTENT)
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    return tmp_path


def test_shipped_models_are_whole() -> None:
    for entry in registry.list_models():
        registry.verify_model(entry.name)
        assert entry.path.stat().st_size == entry.size


@pytest.mark.parametrize("name", ["unmask", "unmask-fp16"])
def test_models_that_fill_keep_what_was_measured(name: str) -> None:
    """Among it a pure red, whose green and blue are as black as what is lost."""
    random = np.random.default_rng(0)
    picture = random.random((48, 64, 3), np.float32)
    picture[random.random((48, 64)) < 0.5] = 0
    picture[8:12, 8:12] = 0.8, 0, 0
    measured = (picture > 1 / 400).any(2)
    with Restorer(name) as restorer:
        filled = restorer.restore(picture)
    np.testing.assert_array_equal(filled[measured], picture[measured])
    assert (filled[~measured] > 0).mean() > 0.9


def test_entry_is_read_and_unknown_fields_are_passed_over(zoo: Path) -> None:
    (entry,) = registry.list_models()
    assert (entry.name, entry.size, entry.path) == ("denoise", 7, zoo / "denoise.onnx")
    assert entry.quality == ({"set": "a", "sigma": 25, "psnr": 30.0},)


def test_name_gives_path_and_digest(zoo: Path) -> None:
    assert registry.find_model("denoise") == (zoo / "denoise.onnx", ENTRY["sha256"])


def test_path_gives_no_digest_and_dot_slash_means_the_file(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (zoo / "denoise").write_bytes(b"my own")
    monkeypatch.chdir(zoo)
    assert registry.find_model("./denoise") == (Path("denoise"), None)
    assert registry.find_model(Path("denoise")) == (Path("denoise"), None)
    assert registry.find_model(str(zoo / "denoise.onnx")) == (zoo / "denoise.onnx", None)


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize("name", ["denoize", "", "gone/denoise.onnx"])
def test_unknown_model_lists_the_known(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="bundled models are: denoise") as caught:
        registry.find_model(name)
    assert caught.value.known == ("denoise",)


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("denoise.onnx", r"^there is no file denoise\.onnx here; bundled models are: denoise; "),
        ("gone/a.PLAN", r"^there is no file gone/a\.PLAN here; "),
        (str(Path("a.pt2").absolute()), r"a\.pt2; bundled"),
        ("denoize", r"^no model 'denoize'; bundled models are: denoise; .*\.onnx file, or dip-denoise, dip-inpaint, .*\[dip\]"),
    ],
)
def test_a_name_that_looks_like_a_file_is_told_from_one_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "denoise.onnx").unlink()
    with pytest.raises(ModelNotFoundError, match=said):
        registry.find_model(name)


@pytest.mark.usefixtures("zoo")
def test_verify_accepts_whole_and_refuses_unknown() -> None:
    registry.verify_model("denoise")
    with pytest.raises(ModelNotFoundError):
        registry.verify_model("other")


def test_verify_finds_changed_bytes(zoo: Path) -> None:
    (zoo / "denoise.onnx").write_bytes(CONTENT + b"!")
    with pytest.raises(ModelHashError) as caught:
        registry.verify_model("denoise")
    assert (caught.value.want, caught.value.got) == (ENTRY["sha256"], hashlib.sha256(CONTENT + b"!").hexdigest())


def test_verify_finds_a_missing_file(zoo: Path) -> None:
    (zoo / "denoise.onnx").unlink()
    with pytest.raises(ModelDamagedError, match="install restore-sdk again"):
        registry.verify_model("denoise")


@pytest.mark.parametrize(
    "listing", ["", "[]", '{"schema": 2, "models": []}', '{"models": []}', '{"schema": 1, "models": [{"name": "x"}]}']
)
def test_unreadable_listing(zoo: Path, listing: str) -> None:
    (zoo / "models.json").write_text(listing)
    with pytest.raises(ModelDamagedError, match=r"models\.json .*list of bundled models is unreadable"):
        registry.list_models()


@pytest.mark.parametrize("name", ["~nobody-of-that-name/x.onnx", "n" * 5000, "null\0character"])
def test_a_name_that_no_file_can_have_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="pass one of them"):
        registry.find_model(name)


@pytest.mark.parametrize(
    "change", [{"name": 3}, {"size": "3"}, {"quality": "abc"}, {"quality": {"psnr": 1}}, {"quality": None}, {"file": "../x.onnx"}]
)
def test_damaged_entries_are_refused(change: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listing = json.loads((registry.FOLDER / "models.json").read_text(encoding="utf-8"))
    listing["models"][0] |= change
    _use_listing(json.dumps(listing), monkeypatch, tmp_path)
    with pytest.raises(ModelDamagedError, match="install restore-sdk again"):
        registry.list_models()


@pytest.mark.parametrize("text", ['{"schema": 1, "models": ["denoise"]}', "[" * 100_000])
def test_listings_of_another_shape_are_refused(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _use_listing(text, monkeypatch, tmp_path)
    with pytest.raises(ModelDamagedError, match="install restore-sdk again"):
        registry.list_models()


def _use_listing(text: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "models.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr(registry, "FOLDER", folder)
