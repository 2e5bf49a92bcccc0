"""A run on tiny images: what it leaves, and that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from tiny_images import smooth_image
from tiny_runs import same, weights_of

from training.data.noise import as_planes
from training.engine.checkpoint import load_network
from training.engine.config import ConfigError, read_config
from training.engine.fit import fit
from training.engine.metrics_log import read_metrics
from training.self_supervised.config import SelfSupervisedConfig
from training.self_supervised.run import make_run
from training.self_supervised.validation import psnr


def test_a_run_leaves_all_its_files(configure: Any) -> None:
    folder = fit(make_run(configure()))
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    pictures = {"curves.png", "samples/0000003.png", "samples/0000006.png"}
    assert names == {"config.toml", "last.ckpt", "model.safetensors", "metrics.csv"} | pictures
    assert all(cv2.imread(str(folder / name)) is not None for name in pictures)
    assert cv2.imread(str(folder / "samples/0000003.png")).shape == (2 * 40, 3 * 192, 3)  # two held out; noisy, restored, clean
    assert read_config(SelfSupervisedConfig, folder / "config.toml") == configure()
    assert {path.stat().st_mode & 0o777 for path in (folder / "last.ckpt", folder / "model.safetensors")} == {
        (folder / "metrics.csv").stat().st_mode & 0o777
    }


def test_the_card_tells_what_was_done(configure: Any, photos: Path) -> None:
    (photos / "empty.png").touch()
    (photos / "damaged.jpg").write_bytes(b"\xff\xd8")
    cv2.imwrite(str(photos / "small.png"), smooth_image(9, 8, 8))
    run = make_run(configure(data={"sigma": [5, 25], "terms": "mine"}, licence="CC0", keep_fp32=["head"]))
    assert run.summary == "4 images to train on, 2 held out, 3 skipped"
    _, card = load_network(fit(run))
    expected = {
        "name": "tiny",
        "method": "self_supervised",
        "task": "denoise",
        "network": {"kind": "residual_unet", "widths": [8], "blocks": [1], "unshuffle": 2},
        "corruption": "one frozen realisation of Gaussian noise for each image, sigma uniform over 5 to 25 / 255",
        "trained_on": "4 images",
        "terms": "mine",
        "licence": "CC0",
        "keep_fp32": ["head"],
        "clean_targets": False,
        "images": 4,
        "skipped": 3,
        "steps": 6,
        "seed": 0,
    }
    assert {name: card[name] for name in expected} == expected
    assert card["seconds"] >= 0


def test_modules_to_keep_that_there_are_not_are_told_before_the_training(configure: Any) -> None:
    with pytest.raises(ConfigError, match=r"^keep_fp32: nowhere: no module of the network, which has .*head"):
        make_run(configure(keep_fp32=["head", "nowhere"]))


def test_last_checkpoint_is_plain_tensors_and_values(configure: Any) -> None:
    folder = fit(make_run(configure()))
    content = torch.load(folder / "last.ckpt", weights_only=True)
    assert content["restore_sdk.budget"]["steps"] == content["global_step"] == 6
    averaged = {name.removeprefix("network."): value for name, value in content["state_dict"].items()}
    assert same(averaged, weights_of(folder))
    assert not same(content["state_dict"], content["current_model_state"])


def test_metrics_hold_sure_beside_the_true_error(configure: Any) -> None:
    rows = read_metrics(fit(make_run(configure())) / "metrics.csv")
    measured = [row for row in rows if "val/psnr_25" in row]
    assert [row["step"] for row in measured] == [2, 5]
    for row in measured:
        assert row["val/sure_over_mse_25"] == pytest.approx(row["val/sure_25"] / row["val/mse_25"], rel=0.2)
        assert 0 < row["val/divergence_25"] < 2
    assert any("train/loss" in row for row in rows)


@pytest.mark.parametrize("kind", ["sure", "neighbor2neighbor", "supervised"])
def test_the_other_losses_train(configure: Any, kind: str) -> None:
    folder = fit(make_run(configure(loss={"kind": kind}, data={"gray_share": 0.5}, trainer={"max_steps": 3})))
    assert load_network(folder)[1]["clean_targets"] == (kind == "supervised")


def test_redrawn_noise_trains_and_is_named(configure: Any) -> None:
    folder = fit(make_run(configure(data={"noise": "redrawn"}, trainer={"max_steps": 2})))
    assert "not noisy-only" in load_network(folder)[1]["corruption"]


def test_measured_images_have_no_reference(configure: Any) -> None:
    folder = fit(make_run(configure(data={"noise": "measured"}, trainer={"max_steps": 2})))
    names = {name for row in read_metrics(folder / "metrics.csv") for name in row if name.startswith("val/")}
    assert names == {"val/sure", "val/divergence"}
    assert load_network(folder)[1]["corruption"] == "the images' own noise"
    assert cv2.imread(str(folder / "samples/0000002.png")).shape == (2 * 40, 2 * 192, 3)


def test_same_seed_same_bits_and_another_seed_others(configure: Any) -> None:
    found = [weights_of(fit(make_run(configure(name=f"r{i}", trainer={"seed": seed})))) for i, seed in enumerate((3, 3, 4))]
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_training_lowers_the_error_of_the_noisy_image(configure: Any) -> None:
    config = configure(
        data={"batch": 8, "sigma": [20, 30]},
        network={"widths": [16]},
        trainer={"max_steps": 120, "validate_every": 120, "learning_rate": 3e-3},
    )
    network = load_network(fit(make_run(config)))[0]
    clean = torch.from_numpy(as_planes(smooth_image(77, 64, 64)))[None]
    noisy = clean + 25 / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        gain = psnr(network(noisy), clean) - psnr(noisy, clean)
    assert gain.item() > 1.0
