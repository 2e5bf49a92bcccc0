"""What the checkpoint of any method says of itself; `export` copies it into the model file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import torch

from training.engine.budget import Budget
from training.engine.config import RunConfig


def run_card(config: RunConfig, budget: Budget, *, images: int, skipped: int, **own: Any) -> dict[str, Any]:
    """The card of a run that was trained on so many `images`; `own` is what its method adds: the method's name, the task, the
    network, the loss, the corruption, where the data come from and on what terms, and whether the targets were clean."""
    return {
        "name": config.name,
        **own,
        "licence": config.licence,
        "keep_fp32": [*config.keep_fp32],
        "images": images,
        "skipped": skipped,
        "steps": budget.steps,
        "seconds": round(budget.elapsed, 1),
        "learning_rates": [dict(each) for each in budget.learning_rates],
        "seed": config.trainer.seed,
        "torch": str(torch.__version__),
        "date": datetime.now(UTC).date().isoformat(),
    }
