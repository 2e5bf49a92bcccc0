"""`import restore_sdk` stays light, and packages that come from an extra are asked for by require(), which names that extra."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import repository

FROM_EXTRAS = {
    *("torch", "onnxruntime", "onnx", "onnxscript", "tensorrt", "tensorrt_rtx", "openvino", "cuda", "pycuda", "lightning"),
    *("av", "tifffile", "zarr", "imagecodecs", "starlette", "uvicorn", "prometheus_client", "ray", "psutil", "safetensors"),
}
NOT_ON_IMPORT = sorted(FROM_EXTRAS | {"PIL", "typer", "rich", "pydantic", "training", "export"})
TORCH_PARTS = {"dip", "degradations"}  # they are PyTorch code through and through, loaded by their callers


# What no array in host memory needs to be restored by ONNX Runtime on the CPU: each of these would be paid for in every start.
NOT_FOR_AN_ARRAY = (
    *(f"restore_sdk.{name}" for name in ("cli", "device_images", "dip", "dip_images", "gigapixel", "gigapixel_cells", "stream")),
    *(f"restore_sdk.{name}" for name in ("image_files", "image.files", "image.gigapixel", "image.metadata", "image.writing")),
    *(f"restore_sdk.backends.{name}" for name in ("background", "engine_build", "engine_cache", "engine_source", "onnx_cuda")),
    *(f"restore_sdk.backends.{name}" for name in ("openvino", "tensorrt_engine", "torch_cuda", "torch_file", "torch_program")),
    *(f"restore_sdk.cuda.{name}" for name in ("arrays", "cuda_core", "launching", "memory", "opening", "pipeline", "slots")),
    *("concurrent.futures", "email", "importlib.metadata", "zipfile"),
    *sorted(FROM_EXTRAS - {"onnxruntime"} | {"PIL", "typer", "rich", "pydantic"}),
)
RESTORE = """
import numpy, restore_sdk
with restore_sdk.Restorer("denoise", device="cpu", threads=1) as restorer:
    restorer.restore(numpy.zeros((64, 48, 3), numpy.uint8))
"""


def loaded_after(statement: str, **environment: str) -> list[str]:
    """Names of all modules that are there after `statement`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=repository.ROOT,
        env={**os.environ, **environment},
    )
    return list(json.loads(done.stdout))


def test_import_is_light() -> None:
    assert set(NOT_ON_IMPORT).isdisjoint(loaded_after("import restore_sdk"))


def test_public_names_are_light() -> None:
    loaded = loaded_after(f"import restore_sdk\nfor name in {repository.public_names()!r}: getattr(restore_sdk, name)")
    assert set(NOT_ON_IMPORT).isdisjoint(loaded)


def test_restoring_an_array_on_the_cpu_loads_what_it_needs_alone(tmp_path: Path) -> None:
    loaded = set(loaded_after(RESTORE, XDG_CACHE_HOME=str(tmp_path)))  # where no measurement is kept
    assert loaded.isdisjoint(NOT_FOR_AN_ARRAY)
    assert {"onnxruntime", "restore_sdk.backends.onnx_runtime", "restore_sdk.image.plain"} <= loaded


@pytest.mark.parametrize("name", [name for name in NOT_FOR_AN_ARRAY if name.startswith("restore_sdk.")])
def test_what_is_not_loaded_exists(name: str) -> None:
    assert find_spec(name) is not None


def test_import_is_silent() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", "import restore_sdk"], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


def running_imports(node: ast.AST) -> Iterator[str]:
    """Top names of the import statements below `node` that run, save those whose ImportError is caught."""
    for child in ast.iter_child_nodes(node):
        if _guarded(child):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name.split(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and not child.level:
            yield (child.module or "").split(".")[0]
        yield from running_imports(child)


def _guarded(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test).endswith("TYPE_CHECKING")
    caught = [ast.unparse(handler.type) for handler in node.handlers if handler.type] if isinstance(node, ast.Try) else []
    return any(name in " ".join(caught) for name in ("ImportError", "ModuleNotFoundError"))


@pytest.mark.parametrize("path", repository.python_files("restore_sdk"), ids=str)
def test_extras_are_asked_for_by_name(path: Path) -> None:
    if path.parts[1] not in TORCH_PARTS:
        assert FROM_EXTRAS.intersection(running_imports(repository.tree(path))) == set()


@pytest.mark.parametrize("path", repository.python_files("restore_sdk"), ids=str)
def test_require_names_an_extra_that_exists(path: Path) -> None:
    extras = tomllib.loads(repository.read(Path("pyproject.toml")))["project"]["optional-dependencies"]
    nodes = [node for node in ast.walk(repository.tree(path)) if isinstance(node, ast.Call)]
    calls = [node for node in nodes if ast.unparse(node.func).endswith("require")]
    named = [argument.value for call in calls for argument in call.args[1:] if isinstance(argument, ast.Constant)]
    assert [name for name in named if name not in extras] == []


def test_running_imports_by_hand() -> None:
    source = (
        "import a.b\nif TYPE_CHECKING:\n    import c\n"
        "def f():\n    from d.e import g\n    from . import h\n"
        "    try:\n        import i\n    except ModuleNotFoundError:\n        pass\n"
        "    try:\n        import j\n    except OSError:\n        pass\n"
    )
    assert list(running_imports(ast.parse(source))) == ["a", "d", "j"]
