"""What a finished run says of itself: PSNR of the held-out images, as they were given and restored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.engine.metrics_log import Rows

GIVEN, RESTORED = "val/input_psnr_", "val/psnr_"  # prefixes of the metrics


@dataclass(frozen=True, slots=True)
class Score:
    """PSNR in dB of what `name` says in words, mean over the held-out images."""

    name: str
    given: float
    restored: float

    def __str__(self) -> str:
        return f"{self.name}: {self.given:.2f} -> {self.restored:.2f} dB"


def last_scores(rows: Rows, names: Mapping[str, str]) -> tuple[Score, ...]:
    """Those of the last validation in `rows`; `names` says in words what a metric's name ends in. Only what is finite."""
    found = []
    for ending, name in names.items():
        pairs = [(row.get(GIVEN + ending, math.nan), row.get(RESTORED + ending, math.nan)) for row in rows]
        pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
        found += [Score(name, *pairs[-1])] if pairs else []
    return tuple(found)


def verdict(scores: Sequence[Score]) -> str:
    """In words, where the result is worse than its input; empty if it is nowhere."""
    worse = [score.name for score in scores if score.restored < score.given]
    if not worse:
        return ""
    where = ", ".join(worse)
    return f"the result is worse than its input ({where}): train longer, with a larger trainer.max_steps or trainer.max_seconds"
