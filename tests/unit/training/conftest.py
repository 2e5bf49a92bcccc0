"""Tiny images and a tiny configuration, so that a training takes a second or two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from tiny_images import smooth_image

from training.self_supervised.config import SelfSupervisedConfig

TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {"patch": 16, "batch": 2, "validation_every": 3},
    "network": {"widths": [8], "blocks": [1], "unshuffle": 2},
    "trainer": {"max_steps": 6, "validate_every": 3, "warmup_steps": 0, "accelerator": "cpu", "devices": 1, "ema_decay": 0.9},
}
Configure = Callable[..., SelfSupervisedConfig]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six smooth images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(6):
        cv2.imwrite(str(folder / f"{index}.png"), smooth_image(index))
    return folder


@pytest.fixture
def configure(tmp_path: Path, photos: Path) -> Configure:
    """configure(trainer={"max_steps": 3}, ...): the tiny configuration with these keys changed."""

    def make(**changes: Any) -> SelfSupervisedConfig:
        values: dict[str, Any] = {**TINY, "run_root": tmp_path / "runs"}
        values["data"] = {**TINY["data"], "folders": [photos]}
        for name, change in changes.items():
            values[name] = {**values.get(name, {}), **change} if isinstance(change, dict) else change
        return SelfSupervisedConfig.model_validate(values)

    return make
