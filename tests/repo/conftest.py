"""What the tests of the repository share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import repository


@pytest.fixture(scope="session")
def bundled_model() -> Path:
    """The file of the bundled model "denoise"; its absence fails every test that needs it."""
    listing = repository.ROOT / "restore_sdk" / "zoo" / "models.json"
    assert listing.is_file(), "restore_sdk/zoo/models.json is missing: the bundled model was not published"
    files = {model["name"]: model["file"] for model in json.loads(listing.read_text(encoding="utf-8"))["models"]}
    assert "denoise" in files, "restore_sdk/zoo/models.json does not list the bundled model denoise"
    file = listing.with_name(files["denoise"])
    assert file.is_file(), f"restore_sdk/zoo/{file.name} is missing"
    return file
