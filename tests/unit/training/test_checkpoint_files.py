"""model.safetensors and last.ckpt: whole or not at all, nothing to execute, and typed errors for what is not ours."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from training.engine.checkpoint import CARD_KEY, FILE_NAME, CheckpointError, load_network, read_card, save_network
from training.engine.files import WriteError, replacing
from training.engine.run_folder import read_checkpoint
from training.networks.table import build_network

DESCRIPTION = {"kind": "residual_unet", "widths": [8], "blocks": [1]}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_network(tmp_path / FILE_NAME, build_network(DESCRIPTION), {"network": DESCRIPTION, "name": "tiny", "steps": 3})
    return tmp_path / FILE_NAME


def test_round_trip(saved: Path) -> None:
    torch.manual_seed(0)
    expected = build_network(DESCRIPTION).state_dict()
    for path in (saved, saved.parent):
        network, card = load_network(path)
        assert card == {"network": DESCRIPTION, "name": "tiny", "steps": 3}
        assert not network.training
        assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_channels_last_weights_keep_their_values(tmp_path: Path) -> None:
    network = build_network(DESCRIPTION)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for weights in network.parameters():
        weights.data = weights.data.contiguous(memory_format=torch.channels_last)
    save_network(tmp_path / FILE_NAME, network, {"network": DESCRIPTION})
    loaded = load_network(tmp_path)[0].state_dict()
    assert all(torch.equal(value, before[name]) for name, value in loaded.items())


def test_the_file_has_the_permissions_of_a_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_network(tmp_path / FILE_NAME, build_network(DESCRIPTION), {"network": DESCRIPTION})
    finally:
        os.umask(before)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o640


def damage(path: Path, how: str) -> None:
    weights = {"a": torch.zeros(2)}
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    elif how == "foreign":
        save_file(weights, path)
    elif how == "no json":
        save_file(weights, path, metadata={CARD_KEY: "{"})
    elif how == "no network":
        save_file(weights, path, metadata={CARD_KEY: "[1]"})
    elif how == "unknown network":
        save_file(weights, path, metadata={CARD_KEY: '{"network": {"kind": "lenet"}}'})
    elif how == "other weights":
        save_file(weights, path, metadata={CARD_KEY: '{"network": {"kind": "residual_unet"}}'})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "no such file"),
        ("empty", "not a safetensors file"),
        ("truncated", "not a safetensors file"),
        ("pickle", "not a safetensors file"),
        ("foreign", "it has no 'restore_sdk.checkpoint' card"),
        ("no json", "its card is not JSON"),
        ("no network", "does not describe a network"),
        ("unknown network", "'lenet' is unknown"),
        ("other weights", "those of another network"),
    ],
)
def test_what_is_not_a_checkpoint_is_refused(saved: Path, how: str, message: str) -> None:
    damage(saved, how)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_network(saved)
    assert caught.value.path == saved
    assert "use a run folder as" in str(caught.value)


def test_the_card_alone(saved: Path) -> None:
    assert read_card(saved) == load_network(saved)[1]
    damage(saved, "truncated")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_card(saved)


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_checkpoint_with_code_is_refused_unrun(tmp_path: Path) -> None:
    torch.save({"restore_sdk.budget": Evil(tmp_path / "ran")}, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="it cannot be read"):
        read_checkpoint(tmp_path / "last.ckpt", {})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, "not a checkpoint of this program"),
        ([1, 2], "not a checkpoint of this program"),
        ({"restore_sdk.budget": {}, "current_model_state": {"a": torch.zeros(2)}}, "not a checkpoint of this program"),
        (
            {
                "restore_sdk.budget": {},
                "current_model_state": {"a": torch.zeros(3)},
                "optimizer_states": [{"param_groups": [{"initial_lr": 0.1}]}],
            },
            "another network than the configuration describes; pass --overwrite",
        ),
    ],
)
def test_a_foreign_checkpoint_is_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "last.ckpt", {"a": torch.zeros(2)})


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 half a zip"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match="it cannot be read"):
        read_checkpoint(tmp_path / "last.ckpt", {})


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "last.ckpt", "w") as archive:
        archive.writestr("last/data.pkl", "junk")
        archive.writestr("last/version", "3")
    with pytest.raises(CheckpointError, match="it cannot be read"):
        read_checkpoint(tmp_path / "last.ckpt", {})


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")

    def write() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_names_the_file_and_other_errors_stay(tmp_path: Path) -> None:
    target = tmp_path / "a"

    def write(error: OSError) -> None:
        with replacing(target):
            raise error

    with pytest.raises(WriteError, match="a cannot be written: No space left on device; what was there before is kept") as caught:
        write(OSError(28, "No space left on device"))
    assert (caught.value.errno, caught.value.strerror, caught.value.path) == (28, "No space left on device", target)
    named = FileNotFoundError(2, "No such file or directory", "elsewhere")
    with pytest.raises(FileNotFoundError) as other:
        write(named)
    assert other.value is named
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "card",
    [
        "[" * 100_000,
        '{"network": {"kind": ["residual_unet"]}}',
        '{"network": {"kind": "residual_unet", "widths": [-8], "blocks": [1]}}',
        '{"network": {"kind": "residual_unet", "widths": [1000000000], "blocks": [1]}}',
    ],
    ids=["deep", "kind", "negative", "more than the memory"],
)
def test_cards_of_no_network(card: str, tmp_path: Path) -> None:
    save_file({"w": torch.zeros(3)}, tmp_path / FILE_NAME, metadata={CARD_KEY: card})
    with pytest.raises(CheckpointError, match="use a run folder"):
        load_network(tmp_path)
