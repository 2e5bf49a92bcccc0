"""The folder of a run: what lies in it, and when a new run may use it."""

from __future__ import annotations

import logging
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.engine.checkpoint import FILE_NAME, CheckpointError
from training.engine.config import RunConfig, to_toml
from training.engine.errors import RunExistsError
from training.engine.files import replacing

LAST = "last.ckpt"
CONFIG = "config.toml"
METRICS = "metrics.csv"
CURVES = "curves.png"
SAMPLES = "samples"
BUDGET_KEY = "restore_sdk.budget"
ANEW = "pass --overwrite to start anew, or --set name=... for another folder"
DAMAGE = (EOFError, ValueError, LookupError, AttributeError, TypeError, struct.error)  # what PyTorch's reader trips over
logger = logging.getLogger(__name__)


def check_unused(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise RunExistsError when `folder` holds a run, finished or not, but the caller wants neither to go on nor to overwrite."""
    used = any((folder / name).exists() for name in (LAST, FILE_NAME, METRICS))
    if used and not (resume or overwrite):
        raise RunExistsError(folder)


def last_checkpoint(folder: Path, *, resume: bool, quiet: bool = False) -> Path | None:
    """The checkpoint to go on from, or None to start anew; that it is missing is told unless `quiet`."""
    last = folder / LAST
    if not resume:
        return None
    if last.is_file():
        return last
    if quiet:
        return None
    logger.warning("%s holds no %s to go on from: starting anew", folder, LAST)
    return None


def prepare(config: RunConfig, folder: Path, *, anew: bool) -> None:
    """Make the folder ready, empty of an earlier run if `anew`, and write config.toml. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if anew:
        _clear(folder)
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(to_toml(config), encoding="utf-8")


def _clear(folder: Path) -> None:
    """Remove what an earlier run left, and nothing else."""
    for name in (LAST, FILE_NAME, METRICS, CURVES):
        (folder / name).unlink(missing_ok=True)
    for picture in (folder / SAMPLES).glob("*.png"):
        picture.unlink()


def read_checkpoint(path: Path, weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The budget that `last.ckpt` records: {"steps", "seconds", "learning_rates" (of Budget; not in files of before they could
    be changed)} and "rates", the optimiser's own. Loads tensors and plain values only, never code.

    weights: the state of the module that will go on from it. Raises CheckpointError when the file is damaged, not ours, or of
    another network.
    """
    if not zipfile.is_zipfile(path):
        raise CheckpointError(path, "it cannot be read (damaged, or not written by PyTorch)", ANEW)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, *DAMAGE) as exc:
        reason = f"it cannot be read ({type(exc).__name__}: {str(exc).partition(chr(10))[0]})"
        raise CheckpointError(path, reason, ANEW) from exc
    try:
        budget, saved = dict(content[BUDGET_KEY]), content["current_model_state"]
        rates = [group["initial_lr"] for group in content["optimizer_states"][0]["param_groups"]]
    except (LookupError, TypeError, ValueError) as exc:
        raise CheckpointError(path, "it is not a checkpoint of this program", ANEW) from exc
    if {name: value.shape for name, value in saved.items()} != {name: value.shape for name, value in weights.items()}:
        raise CheckpointError(path, "it holds another network than the configuration describes", ANEW)
    return {**budget, "rates": rates}
