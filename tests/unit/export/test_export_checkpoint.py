"""What a checkpoint may not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_checkpoint import CARD, save_tiny

from export.checkpoint import load_checkpoint
from export.errors import CheckpointUnusableError
from training.engine.checkpoint import save_network
from training.networks.unet import ResidualUNet


def saved(folder: Path, **changes: Any) -> Path:
    """A tiny checkpoint whose card has `changes`."""
    torch.manual_seed(0)
    file = folder / "model.safetensors"
    save_network(file, ResidualUNet(widths=(8, 16), blocks=(1, 1)), {**CARD, **changes})
    return file


def test_folder_and_file_give_the_same_network(tmp_path: Path) -> None:
    run = save_tiny(tmp_path / "run")
    image = np.random.default_rng(0).random((1, 3, 8, 12), np.float32)
    by_folder, by_file = load_checkpoint(run), load_checkpoint(run / "model.safetensors")
    np.testing.assert_array_equal(by_folder.infer(image), by_file.infer(image))
    assert not by_folder.network.training
    assert (by_folder.channels, by_folder.scale, by_folder.size_multiple) == (3, 1, 4)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    wider = {"kind": "residual_unet", "widths": [8, 24], "blocks": [1, 1]}
    with pytest.raises(CheckpointUnusableError, match="those of another network"):
        load_checkpoint(saved(tmp_path, network=wider))


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ResidualUNet(widths=(8, 16), blocks=(1, 1))
    names = [name for name, value in network.state_dict().items() if value.is_floating_point()]
    with torch.no_grad():
        network.get_parameter(names[0]).flatten()[0] = float("nan")
        network.get_parameter(names[2]).fill_(float("inf"))
    save_network(tmp_path / "model.safetensors", network, CARD)
    with pytest.raises(CheckpointUnusableError, match="2 of its weights are NaN or infinite") as caught:
        load_checkpoint(tmp_path)
    assert f": {names[0]}, {names[2]}; use an earlier checkpoint" in str(caught.value)


def test_an_unknown_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnusableError, match="unknown"):
        load_checkpoint(saved(tmp_path, network={"kind": "transformer"}))


@pytest.mark.parametrize("scale", [0, "2", True, 1.5])
def test_a_scale_that_is_no_count_is_refused(scale: object, tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnusableError, match=r"scale=.*expected an integer"):
        load_checkpoint(saved(tmp_path, scale=scale))


def test_a_declared_multiple_that_is_too_small_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path)
    monkeypatch.setattr(ResidualUNet, "size_multiple", property(lambda self: 2, lambda self, value: None), raising=False)
    with pytest.raises(CheckpointUnusableError, match="accepts multiples of 4 only"):
        load_checkpoint(file)


def test_text_of_the_card(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(saved(tmp_path, trained_on=["BSDS500 train", "BSDS500 test"], licence=None))
    assert checkpoint.text("trained_on") == "BSDS500 train, BSDS500 test"
    assert checkpoint.text("licence", "unstated") == "unstated"
    assert checkpoint.text("seed") == "7"
