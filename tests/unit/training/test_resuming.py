"""A run goes on under its own settings; what may change does, and the card tells of it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from training.engine.budget import Budget
from training.engine.checkpoint import load_network
from training.engine.config import ConfigError, to_toml
from training.engine.errors import SettingsChangedError, TrainingInterrupted
from training.engine.fit import fit
from training.engine.resuming import check_same_settings
from training.self_supervised.config import SelfSupervisedConfig
from training.self_supervised.run import make_run


class Rates(lightning.Callback):
    """Notes the learning rate of each step; SIGINT after step `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.seen = stop, list[float]()

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == self.stop:
            signal.raise_signal(signal.SIGINT)


def rates_of(config: SelfSupervisedConfig, *, stop: int | None = None, resume: bool = False) -> list[float]:
    run, rates = make_run(config), Rates(stop)
    run.callbacks.append(rates)
    if stop is None:
        fit(run, resume=resume)
        return rates.seen
    with pytest.raises(TrainingInterrupted):
        fit(run, resume=resume)
    return rates.seen


def held(folder: Path) -> Path:
    """A folder that looks as if a run could go on from it."""
    (folder / "last.ckpt").touch()
    return folder


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"trainer": {"seed": 1}}, ["trainer.seed=1 instead of 0"]),
        ({"trainer": {"ema_decay": 0.5, "warmup_steps": 3}}, ["trainer.ema_decay=0.5 instead of 0.9", "trainer.warmup_steps=3"]),
        ({"data": {"sigma": [0, 5]}}, ["data.sigma=[0.0, 5.0] instead of [0.0, 55.0]"]),
        ({"data": {"batch": 3, "gray_share": 0.5}}, ["data.batch=3 instead of 2", "data.gray_share=0.5 instead of 0.0"]),
        ({"data": {"validation_every": 4}}, ["data.validation_every=4 instead of 3"]),
        ({"loss": {"kind": "sure"}}, ["loss.kind='sure' instead of 'r2r'"]),
        ({"network": {"widths": [4]}}, ["network.widths=[4] instead of [8]"]),
    ],
)
def test_what_changes_the_learning_is_refused_by_name(
    configure: Any, tmp_path: Path, changes: dict[str, Any], named: list[str]
) -> None:
    (tmp_path / "config.toml").write_text(to_toml(configure()), encoding="utf-8")
    with pytest.raises(SettingsChangedError, match="pass the old settings") as caught:
        check_same_settings(configure(**changes), held(tmp_path))
    assert all(each in str(caught.value) for each in named)
    assert len(caught.value.changed) == len(named)


def test_what_does_not_may_change(configure: Any, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(to_toml(configure()), encoding="utf-8")
    trainer = {"max_steps": 99, "max_seconds": 5.0, "validate_every": 7, "accelerator": "auto", "devices": 2, "threads": 1}
    data = {"memory_mb": 9, "description": "d", "terms": "t"}
    changed = configure(name="other", licence="CC0", trainer={**trainer, "learning_rate": 1e-5}, data=data)
    check_same_settings(changed, held(tmp_path))


def test_the_same_folder_by_another_name_is_the_same(
    configure: Any, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text(to_toml(configure()), encoding="utf-8")
    monkeypatch.chdir(photos.parent)
    check_same_settings(configure(data={"folders": [Path(photos.name)]}), held(tmp_path))
    with pytest.raises(SettingsChangedError, match=r"data\.folders=\['elsewhere'\]"):
        check_same_settings(configure(data={"folders": [Path("elsewhere")]}), held(tmp_path))


def test_settings_that_are_not_known_cannot_be_compared(configure: Any, tmp_path: Path) -> None:
    check_same_settings(configure(), tmp_path)  # nothing to go on from
    with pytest.raises(ConfigError, match=r"config\.toml is missing, .*; restore it, or pass --overwrite"):
        check_same_settings(configure(), held(tmp_path))


def test_a_lower_rate_takes_effect_is_told_and_is_on_the_card(configure: Any, caplog: pytest.LogCaptureFixture) -> None:
    whole = rates_of(configure(name="whole", trainer={"learning_rate": 1e-3}))
    first = rates_of(configure(trainer={"learning_rate": 1e-3}), stop=2)
    config = configure(trainer={"learning_rate": 1e-4})
    rest = rates_of(config, resume=True)
    assert first == whole[:2]
    assert rest == pytest.approx([rate / 10 for rate in whole[2:]])
    assert any("from step 2 on trainer.learning_rate is 0.0001, it was 0.001" in message for message in caplog.messages)
    stretches = [{"from_step": 0, "trainer.learning_rate": 1e-3}, {"from_step": 2, "trainer.learning_rate": 1e-4}]
    assert load_network(config.folder)[1]["learning_rates"] == stretches
    assert torch.load(config.folder / "last.ckpt", weights_only=True)["lr_schedulers"][0]["base_lrs"] == [1e-4]


def test_an_unchanged_rate_is_not_told(configure: Any, caplog: pytest.LogCaptureFixture) -> None:
    rates_of(configure(), stop=2)
    rates_of(configure(), resume=True)
    assert not any("learning_rate" in message for message in caplog.messages)
    assert len(load_network(configure().folder)[1]["learning_rates"]) == 1


def test_a_checkpoint_of_before_tells_its_rate_by_its_optimiser(configure: Any) -> None:
    rates_of(configure(), stop=2)
    path = configure().folder / "last.ckpt"
    content = torch.load(path, weights_only=True)
    del content["restore_sdk.budget"]["learning_rates"]
    torch.save(content, path)
    rates_of(configure(trainer={"learning_rate": 5e-4}), resume=True)
    found = [each["trainer.learning_rate"] for each in load_network(configure().folder)[1]["learning_rates"]]
    assert found == [1e-3, 5e-4]


def test_stretches_without_a_step_are_forgotten() -> None:
    budget = Budget(10)
    assert not budget.use_rates({"a": 1.0})
    assert budget.use_rates({"a": 0.5})
    budget.steps = 3
    assert not budget.use_rates({"a": 0.5})
    assert budget.use_rates({"a": 0.1})
    assert budget.learning_rates == [{"from_step": 0, "a": 0.5}, {"from_step": 3, "a": 0.1}]
