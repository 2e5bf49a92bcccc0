import sys
from pathlib import Path

import pytest

from restore_sdk.errors import MissingExtraError
from restore_sdk.extras import require


def test_installed_module_is_returned() -> None:
    assert require("json", "cpu").loads("1") == 1


def test_missing_module_names_the_pip_command() -> None:
    with pytest.raises(
        MissingExtraError, match=r"'no_such_runtime' is not installed; run: pip install 'restore-sdk\[cuda\]'"
    ) as caught:
        require("no_such_runtime", "cuda")
    assert (caught.value.module, caught.value.extra) == ("no_such_runtime", "cuda")
    assert isinstance(caught.value, ImportError)


def test_missing_package_of_a_submodule_is_the_extra_too() -> None:
    with pytest.raises(MissingExtraError, match=r"no_such_runtime\.part"):
        require("no_such_runtime.part", "cuda")


def test_broken_dependency_shows_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_runtime.py").write_text("import what_it_needs\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="what_it_needs"):
        require("broken_runtime", "cpu")
    assert "broken_runtime" not in sys.modules
