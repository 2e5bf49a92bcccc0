"""Who may import whom: the table of the architecture, read from the syntax trees, so imports inside functions count too."""

from __future__ import annotations

from pathlib import Path

import pytest
import repository

FOLDERS = {"restore_sdk", "training", "export", "tests", "benchmarks", "examples"}
MAY_IMPORT = {"restore_sdk": set[str](), "training": {"restore_sdk"}, "export": {"restore_sdk", "training"}}

# Strictly downward: a part imports only parts of a smaller number, never its neighbours. "" is the face, restore_sdk/__init__.py.
HEIGHT = {
    "errors": 0,
    **dict.fromkeys(("spec", "options", "extras"), 1),
    **dict.fromkeys(("cuda", "degradations"), 2),
    **dict.fromkeys(("backends", "dip", "tiling", "image", "zoo"), 3),
    **dict.fromkeys(("host_images", "device_images", "dip_frames", "stream"), 4),
    "dip_images": 5,
    **dict.fromkeys(("image_files", "gigapixel_cells", "model_opening"), 6),
    "gigapixel": 7,
    "restorer": 8,
    "": 9,
    **dict.fromkeys(("cli", "serve", "cluster"), 10),
    "__main__": 11,
}
METHODS = {"unir", "lir", "gan_inpainting", "vae", "self_supervised"}
# The face and what lies below it; and cli, because one program reports errors and exit codes as the other does.
OPEN_TO_EXPORT = {name for name, height in HEIGHT.items() if height <= HEIGHT[""]} | {"cli"}


def part(module: str) -> str:
    """restore_sdk.tiling.plan -> tiling; restore_sdk itself and names of its face, such as restore_sdk.Restorer, -> ""."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 and pieces[1] in HEIGHT else ""


def broken_rules(path: Path, imported: set[str]) -> list[str]:
    """Imports of `path` that the table forbids."""
    package = path.parts[0]
    ours = sorted(name for name in imported if name.split(".")[0] in FOLDERS)
    wrong = [name for name in ours if name.split(".")[0] not in MAY_IMPORT[package] | {package}]
    if package == "restore_sdk":
        return wrong + [name for name in ours if name not in wrong and not _downward(repository.module_name(path), name)]
    if package == "training":
        return wrong + [name for name in ours if name not in wrong and not _open_to_training(path, name)]
    return wrong + [name for name in ours if name.startswith("restore_sdk") and part(name) not in OPEN_TO_EXPORT]


def _downward(importer: str, imported: str) -> bool:
    mine, theirs = part(importer), part(imported)
    if imported == "restore_sdk.__version__":
        return True
    return (mine == theirs and mine != "") or HEIGHT[theirs] < HEIGHT[mine]


def _open_to_training(path: Path, imported: str) -> bool:
    pieces = imported.split(".")
    if pieces[0] == "restore_sdk":
        return part(imported) == "degradations"
    method = pieces[1] if len(pieces) > 1 and pieces[1] in METHODS else None
    if method is None:
        return True
    return path.parts[1] == method or path.parts[1] not in METHODS | {"engine", "networks", "data"}


@pytest.mark.parametrize("path", repository.python_files(*repository.PRODUCT), ids=str)
def test_imports_go_downward(path: Path) -> None:
    assert broken_rules(path, repository.imported_modules(path)) == []


@pytest.mark.parametrize("path", repository.python_files("restore_sdk"), ids=str)
def test_every_part_has_its_place(path: Path) -> None:
    name = "" if path.name == "__init__.py" and len(path.parts) == 2 else Path(path.parts[1]).stem
    assert name in HEIGHT, f"{name} is new: give it a height in {Path(__file__).name}"


@pytest.mark.parametrize(
    ("path", "imported"),
    [
        ("restore_sdk/tiling/plan.py", "restore_sdk.image.layout"),
        ("restore_sdk/tiling/plan.py", "restore_sdk.restorer"),
        ("restore_sdk/errors.py", "restore_sdk.spec"),
        ("restore_sdk/zoo/registry.py", "restore_sdk.Restorer"),
        ("restore_sdk/restorer.py", "training.networks.unet"),
        ("restore_sdk/cli/main.py", "export.to_onnx"),
        ("training/engine/loop.py", "restore_sdk.errors"),
        ("training/engine/loop.py", "training.self_supervised.module"),
        ("training/vae/module.py", "training.lir.losses"),
        ("training/data/folder.py", "export.stamp"),
        ("export/verify.py", "tests.repo.repository"),
        ("export/verify.py", "restore_sdk.serve.app"),
    ],
)
def test_forbidden_imports_are_seen(path: str, imported: str) -> None:
    assert broken_rules(Path(path), {imported}) == [imported]


@pytest.mark.parametrize(
    ("path", "imported"),
    [
        ("restore_sdk/tiling/walk.py", "restore_sdk.tiling.plan"),
        ("restore_sdk/cli/main.py", "restore_sdk.Restorer"),
        ("restore_sdk/restorer.py", "restore_sdk.tiling.plan"),
        ("training/methods.py", "training.self_supervised.module"),
        ("training/self_supervised/module.py", "training.engine.checkpoint"),
        ("training/lir/module.py", "restore_sdk.degradations.blur"),
        ("export/verify.py", "restore_sdk.Restorer"),
        ("export/to_onnx.py", "training.engine.checkpoint"),
        ("export/__main__.py", "restore_sdk.cli.interrupts"),
    ],
)
def test_allowed_imports_pass(path: str, imported: str) -> None:
    assert broken_rules(Path(path), {imported}) == []


def test_every_form_of_import_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "restore_sdk" / "tiling" / "seen.py"
    source.parent.mkdir(parents=True)
    source.write_text(
        "import a.b as c\nfrom . import plan\nfrom ..image import layout\n"
        "def f():\n    from d import e\n    require('torch', 'train')\n    importlib.import_module('onnx')\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(repository, "ROOT", tmp_path)
    seen = repository.imported_modules(Path("restore_sdk/tiling/seen.py"))
    assert seen == {"a.b", "restore_sdk.tiling.plan", "restore_sdk.image.layout", "d.e", "torch", "onnx"}
