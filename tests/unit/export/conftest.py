"""One tiny network, saved and exported once for the session: tracing takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_checkpoint import QUICK, save_tiny

from export.produce import Exported, export_onnx


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def announced() -> list[str]:
    """The steps that the session's export went through."""
    return []


@pytest.fixture(scope="session")
def exported(tiny_run: Path, announced: list[str], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_onnx(tiny_run, tmp_path_factory.mktemp("models") / "tiny.onnx", QUICK, announced.append)
