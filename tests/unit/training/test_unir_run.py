"""Whole runs on tiny images: what they leave, that they survive what happens to them, and that their model can be used."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import pytest
import torch
from tiny_images import smooth_image
from tiny_runs import same, weights_of
from tiny_unir import tiny
from typer.testing import CliRunner

from training.__main__ import app
from training.data.folder import DataError
from training.engine.checkpoint import load_network
from training.engine.config import ConfigError, read_config, to_toml
from training.engine.errors import DivergedError, TrainingInterrupted
from training.engine.files import WriteError
from training.engine.fit import Run, fit
from training.engine.metrics_log import read_metrics
from training.engine.run_folder import read_checkpoint
from training.unir.config import UnirConfig
from training.unir.run import make_run
from training.unir.validation import HeldOut, psnr


class At(lightning.Callback):
    """After step `step`: sends SIGINT, or spoils the weights of one network."""

    def __init__(self, step: int, spoilt: str | None = None) -> None:
        self.step, self.spoilt = step, spoilt

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        if trainer.global_step != self.step:
            return
        if self.spoilt is None:
            signal.raise_signal(signal.SIGINT)
            return
        with torch.no_grad():
            next(getattr(pl_module, self.spoilt).parameters()).fill_(float("nan"))


def run_until(config: UnirConfig, at: At) -> Run:
    run = make_run(config)
    run.callbacks.append(at)
    return run


def test_a_run_leaves_all_its_files(tmp_path: Path, photos: Path) -> None:
    config = tiny(tmp_path, photos)
    folder = fit(make_run(config))
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    pictures = {"curves.png", "samples/0000002.png", "samples/0000004.png"}
    assert names == {"config.toml", "last.ckpt", "model.safetensors", "metrics.csv"} | pictures
    assert read_config(UnirConfig, folder / "config.toml") == config
    grid = cv2.imread(str(folder / "samples/0000004.png"))
    assert grid.shape == (4 * 192, 3 * 192, 3)  # four patches of 16 enlarged to 192; corrupted | restored | re-measured
    lost = [float((grid[:, at : at + 192] == 0).all(2).mean()) for at in (0, 192, 384)]
    assert lost[0] == pytest.approx(0.5, abs=0.01)
    assert lost[2] == pytest.approx(0.5, abs=0.1)
    assert lost[1] < 0.3


def test_the_log_has_every_term_and_the_scores(tmp_path: Path, photos: Path) -> None:
    rows = read_metrics(fit(make_run(tiny(tmp_path, photos, loss={"r1": 1.0}))) / "metrics.csv")
    names = {name for row in rows for name in row}
    terms = {"adversarial", "discriminator", "remeasure", "splitting", "r1", "loss", "learning_rate"}
    assert {f"train/{term}" for term in terms} | {"val/psnr_lost", "val/psnr_all"} <= names
    scores = [row["val/psnr_lost"] for row in rows if "val/psnr_lost" in row]
    assert len(scores) == 2
    assert all(0 < score < 60 for score in scores)


def test_the_card_tells_what_was_done(tmp_path: Path, photos: Path) -> None:
    for variant, clean in [("unir", False), ("unpaired", True)]:
        config = tiny(tmp_path, photos, name=variant, loss={"variant": variant})
        _, card = load_network(fit(make_run(config)))
        expected = {
            "name": variant,
            "method": "unir",
            "task": "inpaint",
            "corruption": "remove-pixel:p=0.5,fill=0.0",
            "trained_on": "24 patches",  # four images of 40x48 in patches of 16: 2 x 3 each
            "clean_targets": clean,
            "images": 24,
            "skipped": 0,
            "steps": 4,
        }
        assert {name: card[name] for name in expected} == expected


CHANGES: dict[str, dict[str, Any]] = {
    "hinge": {"loss": {"kind": "hinge"}},
    "nonsaturating": {"loss": {"kind": "nonsaturating", "splitting": 0.0}},
    "raw": {"loss": {"variant": "raw", "splitting": 0.0}},
    "paired": {"loss": {"variant": "paired"}},
    "supervised": {"loss": {"variant": "supervised", "splitting": 0.0}},
    "splitting alone": {"loss": {"adversarial": 0.0, "remeasure": 0.0}},
    "blur and noise": {"corruption": "convolve-noise", "network": {"kind": "direct_unet"}},
    "bands": {"corruption": "patch-band", "loss": {"split_by": "corruption"}},
    "noise under a mask": {"corruption": "gaussian-noise+remove-pixel:p=0.5", "network": {"keep_measured": False}},
    "paper": {
        "preset": "paper",
        "data": {"patch": 32},
        "network": {"width": 8, "kind": "unir_resnet"},
        "discriminator": {"kind": "unir_resnet", "width": 4},
    },
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_variant_runs(tmp_path: Path, photos: Path, name: str) -> None:
    folder = fit(make_run(tiny(tmp_path, photos, **CHANGES[name])))
    network, card = load_network(folder)
    assert card["steps"] == 4
    y = torch.rand(1, 3, 16, 16)
    assert torch.isfinite(network(y)).all()


def test_the_same_seed_gives_the_same_bits(tmp_path: Path, photos: Path) -> None:
    first, second = (fit(make_run(tiny(tmp_path, photos, name=name))) for name in ("first", "second"))
    assert same(weights_of(first), weights_of(second))
    other = fit(make_run(tiny(tmp_path, photos, name="other", trainer={"seed": 1})))
    assert not same(weights_of(first), weights_of(other))


@pytest.mark.parametrize("step", [1, 3])
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(tmp_path: Path, photos: Path, step: int) -> None:
    whole = fit(make_run(tiny(tmp_path, photos, name="whole", loss={"r1": 0.5})))
    config = tiny(tmp_path, photos, loss={"r1": 0.5})
    with pytest.raises(TrainingInterrupted, match="pass --resume to go on") as caught:
        fit(run_until(config, At(step)))
    assert caught.value.exit_code == 130
    assert load_network(config.folder)[1]["steps"] == step
    fit(make_run(config), resume=True)
    assert same(weights_of(config.folder), weights_of(whole))


@pytest.mark.parametrize(
    ("spoilt", "terms"), [("discriminator", "adversarial, discriminator"), ("network", "adversarial, discriminator")]
)
def test_a_diverged_run_names_the_terms_and_keeps_its_last_good_checkpoint(
    tmp_path: Path, photos: Path, spoilt: str, terms: str
) -> None:
    config = tiny(tmp_path, photos, loss={"splitting": 0.0, "remeasure": 0.0})
    with pytest.raises(DivergedError, match=f"the loss is nan because of {terms} at step 4: the training diverged"):
        fit(run_until(config, At(3, spoilt)))
    assert read_checkpoint(config.folder / "last.ckpt", make_run(config).module.state_dict())["steps"] == 2
    assert all(torch.isfinite(value).all() for value in weights_of(config.folder).values())


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, saved = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        saved.append(target.name)
        if saved.count("last.ckpt") > 1:
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    config = tiny(tmp_path, photos)
    with pytest.raises(WriteError, match=r"last\.ckpt cannot be written: No space left"):
        fit(make_run(config))
    assert load_network(config.folder)[1]["steps"] == 2
    assert not list(config.folder.glob(".*.part"))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        make_run(tiny(tmp_path, tmp_path / "empty"))


def test_one_image_is_trained_on_and_looked_at(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    cv2.imwrite(str(tmp_path / "one" / "0.png"), smooth_image(0, 16, 16))
    run = make_run(tiny(tmp_path, tmp_path / "one"))
    assert run.summary == "1 patches to train on, 1 held out, 0 images skipped"
    assert load_network(fit(run))[1]["steps"] == 4


def test_one_image_for_both_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "one").mkdir()
    cv2.imwrite(str(tmp_path / "one" / "0.png"), smooth_image(0, 16, 16))
    make_run(tiny(tmp_path, tmp_path / "one"))
    assert any("it is both trained on and held out" in message for message in caplog.messages)


@pytest.mark.parametrize(
    "corruption", ["remove-pixel:p=1", "remove-pixel:p=1..1", "patch-band:share=1", "remove-pixel:p=1+drop-rows:p=0.1"]
)
def test_a_corruption_that_leaves_nothing_is_refused(tmp_path: Path, photos: Path, corruption: str) -> None:
    with pytest.raises(ConfigError, match="leaves no value of any of 24 patches of 16 pixels"):
        make_run(tiny(tmp_path, photos, corruption=corruption))


def test_nothing_measured_is_seen_below_a_blur(tmp_path: Path, photos: Path) -> None:
    blurred = {"corruption": "remove-pixel:p=1+gaussian-blur", "network": {"kind": "residual_unet"}}
    with pytest.raises(ConfigError, match="leaves no value"):
        make_run(tiny(tmp_path, photos, **blurred))


def test_both_rates_can_be_lowered_on_resume(tmp_path: Path, photos: Path) -> None:
    config = tiny(tmp_path, photos, trainer={"max_steps": 2})
    fit(make_run(config))
    lower = tiny(tmp_path, photos, trainer={"max_steps": 4, "learning_rate": 1e-5}, discriminator={"learning_rate": 2e-5})
    run = make_run(lower)
    fit(run, resume=True)
    keys = ("from_step", "trainer.learning_rate", "discriminator.learning_rate")
    stretches = [dict(zip(keys, values, strict=True)) for values in ((0, 5e-4, 4e-4), (2, 1e-5, 2e-5))]
    assert load_network(config.folder)[1]["learning_rates"] == stretches
    groups = torch.load(config.folder / "last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"]
    assert [group["initial_lr"] for group in groups] == [1e-5, 2e-5]


def test_mixed_sizes_modes_and_damage(tmp_path: Path, photos: Path) -> None:
    cv2.imwrite(str(photos / "a-gray.png"), smooth_image(10)[..., 0])
    cv2.imwrite(str(photos / "a-deep.png"), smooth_image(11, 16, 100).astype(np.uint16) * 257)
    cv2.imwrite(str(photos / "a-clear.png"), np.dstack([smooth_image(12), np.full((40, 48), 9, np.uint8)]))
    cv2.imwrite(str(photos / "small.png"), smooth_image(13, 15, 40))
    (photos / "a-damaged.jpg").write_bytes(b"\xff\xd8 not a picture")
    (photos / "empty.png").touch()
    run = make_run(tiny(tmp_path, photos, data={"validation_every": 9}))
    assert run.summary == "48 patches to train on, 6 held out, 3 images skipped"  # 7 of 6 each and one of 6, one held out
    assert load_network(fit(run))[1]["skipped"] == 3


def test_images_smaller_than_the_patch_are_refused_with_the_size(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(DataError, match="no usable image of at least 64 pixels"):
        make_run(tiny(tmp_path, photos, data={"patch": 64}))


def test_images_that_take_too_much_memory_are_refused(tmp_path: Path, photos: Path) -> None:
    for index in range(40):
        cv2.imwrite(str(photos / f"more-{index}.png"), np.zeros((100, 100, 3), np.uint8))
    with pytest.raises(DataError, match=r"data\.memory_mb allows 1;"):
        make_run(tiny(tmp_path, photos, data={"memory_mb": 1}))


def test_splitting_learns_to_fill_in(tmp_path: Path, photos: Path) -> None:
    # Half of the pixels of smooth images: the filled-in ones must beat the mean colour clearly
    changes: dict[str, Any] = {
        "network": {"widths": [8, 16], "blocks": [1, 1]},
        "loss": {"adversarial": 0.0, "remeasure": 0.0, "splitting": 0.3},
        "trainer": {"max_steps": 300, "validate_every": 300, "learning_rate": 3e-3},
        "data": {"batch": 4},
    }
    rows = read_metrics(fit(make_run(tiny(tmp_path, photos, **changes))) / "metrics.csv")
    (score,) = [row["val/psnr_lost"] for row in rows if "val/psnr_lost" in row]
    constant = psnr_of_the_mean(photos)
    assert score > constant + 3


def psnr_of_the_mean(photos: Path) -> float:
    pixels = [cv2.imread(str(path)) / 255.0 for path in photos.glob("*.png")]
    return float(-10 * np.log10(np.mean([np.var(image, axis=(0, 1)).mean() for image in pixels])))


def test_psnr_where_it_is_asked_for() -> None:
    clean = torch.zeros(2, 1, 1, 4)
    restored = torch.tensor([[0.1, 0.5, -3.0, 1.0], [0.2, 0.2, 0.2, 0.2]]).view(2, 1, 1, 4)
    where = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 1]]).view(2, 1, 1, 4).bool()
    assert psnr(restored, clean, where).tolist() == pytest.approx([23.0103, 13.9794], abs=1e-3)
    assert psnr(restored, clean, where & False).isnan().all()


def test_held_out_patches_need_their_originals(tmp_path: Path, photos: Path) -> None:
    config = tiny(tmp_path, photos)
    held_out = make_run(config).validation.dataset
    assert isinstance(held_out, HeldOut)
    assert sum(len(batch["clean"]) for batch in held_out) == 12
    for batch in held_out:
        assert torch.equal(batch["lost"].flatten(1).sum(1), torch.full((len(batch["lost"]),), 3 * 128))


def test_the_command(tmp_path: Path, photos: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(to_toml(tiny(tmp_path, photos)), encoding="utf-8")
    done = CliRunner().invoke(app, ["unir", "--config", str(path), "--json", "--data", str(photos)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["method"] == "unir"
    resumed = CliRunner().invoke(app, ["unir", "--config", str(path), "--resume", "--set", "trainer.max_steps=6"])
    assert resumed.exit_code == 0, resumed.output
    assert load_network(tmp_path / "runs" / "tiny")[1]["steps"] == 6
    wrong = CliRunner().invoke(app, ["unir", "--config", str(path), "--set", "loss.lambda=1"])
    assert wrong.exit_code == 2
