"""A run survives interruption with the same bits, and nothing that was saved is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from tiny_runs import same, weights_of

from training.engine.checkpoint import CheckpointError, load_network
from training.engine.config import to_toml
from training.engine.errors import DivergedError, HardwareError, RunExistsError, SettingsChangedError, TrainingInterrupted
from training.engine.files import WriteError
from training.engine.fit import Run, fit
from training.engine.metrics_log import read_metrics
from training.engine.run_folder import read_checkpoint
from training.self_supervised.config import SelfSupervisedConfig
from training.self_supervised.run import make_run

ROOT = Path(__file__).resolve().parents[3]


class At(lightning.Callback):
    """Sends a signal, or spoils the weights, at the end of step `step`, or at the start of validation for step None."""

    def __init__(self, step: int | None, number: int | None) -> None:
        self.step, self.number = step, number

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        if trainer.global_step == self.step:
            self._act(pl_module)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.step is None:
            self._act(pl_module)

    def _act(self, module: lightning.LightningModule) -> None:
        if self.number is not None:
            signal.raise_signal(self.number)
            return
        with torch.no_grad():
            next(module.parameters()).fill_(float("nan"))


def run_until(config: SelfSupervisedConfig, at: At) -> Run:
    run = make_run(config)
    run.callbacks.append(at)
    return run


@pytest.mark.parametrize(
    ("step", "number", "code"), [(2, signal.SIGINT, 130), (4, signal.SIGTERM, 143), (None, signal.SIGINT, 130)]
)
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(
    configure: Any, step: int | None, number: int, code: int
) -> None:
    whole = fit(make_run(configure(name="whole", data={"gray_share": 0.5})))
    config = configure(data={"gray_share": 0.5})
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(TrainingInterrupted, match="pass --resume to go on") as caught:
        fit(run_until(config, At(step, number)))
    assert caught.value.exit_code == code
    assert caught.value.steps == (step or 3)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert load_network(config.folder)[1]["steps"] == (step or 3)

    resumed = make_run(config)
    assert fit(resumed, resume=True) == config.folder
    assert resumed.budget.steps == 6
    assert same(weights_of(config.folder), weights_of(whole))
    rows = [
        [row["step"] for row in read_metrics(folder / "metrics.csv") if "val/psnr_5" in row] for folder in (config.folder, whole)
    ]
    assert rows == [[2, 5], [2, 5]]


def test_a_resumed_run_goes_on_with_its_clock(configure: Any) -> None:
    config = configure(trainer={"max_steps": 10**6, "max_seconds": 1000.0})
    with pytest.raises(TrainingInterrupted):
        fit(run_until(config, At(2, signal.SIGINT)))
    path = config.folder / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["restore_sdk.budget"]["seconds"] = 999.9999
    torch.save(content, path)
    resumed = make_run(config)
    fit(resumed, resume=True)
    assert 3 <= resumed.budget.steps < 100
    assert resumed.budget.elapsed >= 1000


def test_resume_without_a_checkpoint_starts_anew_and_says_so(configure: Any, caplog: pytest.LogCaptureFixture) -> None:
    config = configure(trainer={"max_steps": 2})
    fit(make_run(config), resume=True)
    assert any("holds no last.ckpt to go on from: starting anew" in message for message in caplog.messages)
    assert load_network(config.folder)[1]["steps"] == 2


def test_resuming_a_finished_run_changes_nothing(configure: Any, caplog: pytest.LogCaptureFixture) -> None:
    folder = fit(make_run(configure(trainer={"max_steps": 2})))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    fit(make_run(configure(trainer={"max_steps": 2})), resume=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert any("is finished; raise trainer.max_steps" in message for message in caplog.messages)


def test_an_existing_run_is_not_overwritten_unasked(configure: Any) -> None:
    folder = fit(make_run(configure(trainer={"max_steps": 2})))
    (folder / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(RunExistsError, match="--resume to go on with it, --overwrite"):
        fit(make_run(configure()))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    fit(make_run(configure(trainer={"max_steps": 1})), overwrite=True)
    assert load_network(folder)[1]["steps"] == 1
    assert (folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in (folder / "samples").iterdir()] == ["0000001.png"]


def test_another_network_cannot_go_on(configure: Any) -> None:
    folder = fit(make_run(configure(trainer={"max_steps": 2})))
    before = (folder / "config.toml").read_bytes()
    with pytest.raises(SettingsChangedError, match=r"network\.widths=\[4\] instead of \[8\]; pass the old settings"):
        fit(make_run(configure(network={"widths": [4]})), resume=True)
    assert (folder / "config.toml").read_bytes() == before
    (folder / "config.toml").write_text(to_toml(configure(network={"widths": [4]})), encoding="utf-8")
    with pytest.raises(CheckpointError, match="another network than the configuration describes; pass --overwrite"):
        fit(make_run(configure(network={"widths": [4]})), resume=True)


def test_missing_hardware_is_an_error_that_touches_nothing(configure: Any) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    folder = fit(make_run(configure(trainer={"max_steps": 2})))
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(HardwareError, match=r"trainer\.accelerator='cuda'"):
        fit(make_run(configure(trainer={"accelerator": "cuda"})), overwrite=True)
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_diverged_run_keeps_its_last_good_checkpoint(configure: Any) -> None:
    config = configure()
    with pytest.raises(DivergedError, match=r"the loss is nan at step 5: .*lower trainer.learning_rate") as caught:
        fit(run_until(config, At(4, None)))
    assert caught.value.step == 5
    assert read_checkpoint(config.folder / "last.ckpt", make_run(config).module.state_dict())["steps"] == 3
    assert all(torch.isfinite(value).all() for value in weights_of(config.folder).values())


def test_weights_that_are_not_finite_are_not_saved(configure: Any) -> None:
    config = configure()
    with pytest.raises(DivergedError, match="the weights are not finite at step 3"):
        fit(run_until(config, At(None, None)))
    assert not (config.folder / "last.ckpt").exists()
    assert not list(config.folder.glob(".*.part"))


def test_a_full_disk_is_an_error_that_keeps_the_last_checkpoint(configure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Path.replace, []

    def fail_later(self: Path, target: Path) -> Path:
        calls.append(target)
        if calls.count(target) > 1 and target.name == "last.ckpt":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail_later)
    config = configure()
    with pytest.raises(WriteError, match=r"last\.ckpt cannot be written: No space left .* make room"):
        fit(make_run(config))
    assert load_network(config.folder)[1]["steps"] == 3
    assert not list(config.folder.glob(".*.part"))


def test_a_full_disk_under_the_log_names_the_folder(configure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: CSVLogger) -> None:
        raise OSError(28, "No space left on device")

    config = configure()
    monkeypatch.setattr(CSVLogger, "save", full)
    with pytest.raises(WriteError, match="tiny cannot be written: No space left") as caught:
        fit(make_run(config))
    assert caught.value.path == config.folder
    assert caught.value.errno == 28


def command(config: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "training", "self_supervised", "--config", str(config), *arguments]


@pytest.fixture
def written(configure: Any, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(to_toml(configure(trainer={"max_steps": 10**6, "validate_every": 10**6, "threads": 1})), encoding="utf-8")
    return path


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_a_checkpoint_to_go_on_from(written: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "runs" / "tiny" / "metrics.csv"
    with subprocess.Popen(command(written), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        waited = time.monotonic() + 120
        while not metrics.is_file() and process.poll() is None and time.monotonic() < waited:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "pass --resume to go on" in error
    steps = load_network(tmp_path / "runs" / "tiny")[1]["steps"]
    assert f"interrupted after {steps} steps" in error

    went_on = [*command(written), "--resume", "--json", "--set", f"trainer.max_steps={steps + 2}"]
    done = subprocess.run(went_on, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == steps + 2
