"""A UNIR configuration so small that a step takes milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.unir.config import UnirConfig
from training.unir.module import UnirModule
from training.unir.run import make_run

TINY: dict[str, Any] = {
    "name": "tiny",
    "corruption": "remove-pixel:p=0.5",
    "data": {"patch": 16, "batch": 2, "validation_every": 3},
    "network": {"widths": [4], "blocks": [1], "unshuffle": 2},
    "discriminator": {"width": 4, "layers": 1},
    "loss": {"adversarial": 1.0},
    "trainer": {"max_steps": 4, "validate_every": 2, "warmup_steps": 0, "accelerator": "cpu", "devices": 1, "ema_decay": 0.9},
}


def tiny(root: Path, photos: Path, **changes: Any) -> UnirConfig:
    """The tiny configuration with these keys changed."""
    values: dict[str, Any] = {**TINY, "run_root": root / "runs", "data": {**TINY["data"], "folders": [photos]}}
    for name, change in changes.items():
        values[name] = {**values.get(name, {}), **change} if isinstance(change, dict) else change
    return UnirConfig.model_validate(values)


def module_of(config: UnirConfig) -> UnirModule:
    """The module of a run, as `python -m training` builds it."""
    module = make_run(config).module
    assert isinstance(module, UnirModule)
    return module
