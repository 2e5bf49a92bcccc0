"""What may change when a run goes on from its last checkpoint, and what that changes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning

from training.engine.budget import Budget
from training.engine.config import ConfigError, RunConfig, read_config
from training.engine.errors import SettingsChangedError
from training.engine.run_folder import ANEW, CONFIG, last_checkpoint

RATES = frozenset({"trainer.learning_rate", "discriminator.learning_rate"})
MAY_CHANGE = RATES | {  # beside the rates, what says how long and where to train, how often to look, and what the data are called
    *("name", "run_root", "licence", "data.description", "data.terms", "data.memory_mb"),
    *(f"trainer.{key}" for key in ("max_steps", "max_seconds", "validate_every", "accelerator", "devices", "threads")),
}
_ABSENT = "nothing"
logger = logging.getLogger(__name__)


def check_same_settings(config: RunConfig, folder: Path) -> None:
    """Raise SettingsChangedError when `config` would go on with the run in `folder` under settings that change what is learnt,
    ConfigError when the folder's own cannot be read. A folder without a checkpoint to go on from may be used in any way."""
    if last_checkpoint(folder, resume=True, quiet=True) is None:
        return
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"{folder / CONFIG} is missing, so what the run was trained with is not known; restore it, or {ANEW}")
    was, now = (_flat(each.model_dump(mode="json")) for each in (read_config(type(config), folder / CONFIG), config))
    changed = {
        key: (was.get(key, _ABSENT), now.get(key, _ABSENT))
        for key in sorted({*was, *now} - MAY_CHANGE)
        if not _equal(key, was.get(key, _ABSENT), now.get(key, _ABSENT))
    }
    if changed:
        raise SettingsChangedError(folder, changed)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _equal(key: str, first: Any, second: Any) -> bool:
    if key == "data.folders" and first != second:  # the same folders by another name
        return [Path(each).resolve() for each in first] == [Path(each).resolve() for each in second]
    return bool(first == second)


def go_on(budget: Budget, spent: Mapping[str, Any], rates: Mapping[str, float]) -> None:
    """Set `budget` to what read_checkpoint found and to these learning rates; a change of them is told."""
    budget.steps, budget.seconds = spent["steps"], spent["seconds"]
    first = {"from_step": 0, **dict(zip(rates, spent["rates"], strict=False))}
    budget.learning_rates = [dict(each) for each in spent.get("learning_rates", [first])]
    before = budget.learning_rates[-1]
    if budget.spent or not budget.use_rates(rates):
        return
    changes = [f"{name} is {rate:g}, it was {before[name]:g}" for name, rate in rates.items() if before.get(name, rate) != rate]
    logger.warning("from step %d on %s", budget.steps, " and ".join(changes))


class ConfiguredRates(lightning.Callback):
    """Lets the optimiser go on at the learning rates of the configuration, where a checkpoint would bring its own back."""

    def __init__(self, rates: Mapping[str, float]) -> None:
        self._rates = tuple(rates.values())

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        groups = trainer.optimizers[0].param_groups
        for group, rate in zip(groups, self._rates, strict=True):
            if group["initial_lr"] != rate:
                group["lr"], group["initial_lr"] = group["lr"] * (rate / group["initial_lr"]), rate
        for each in trainer.lr_scheduler_configs:
            each.scheduler.base_lrs = [group["initial_lr"] for group in groups]
