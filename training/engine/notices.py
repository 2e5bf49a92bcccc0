"""What Lightning says that does not fit here, silenced line by line; everything else is still heard."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.trainer.connectors.checkpoint_connector")
ADVICE = ("Tip: For seamless cloud", "`weights_only` was not set")
EXPECTED_WARNINGS = (
    r".*does not have many workers",  # the loader is one in-memory stream: more workers would only copy it
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 on PyTorch 2.13
    r"Experiment logs directory .* exists and is not empty",  # metrics_log.keep_rows keeps what is there
    r"You're resuming from a checkpoint that ended before the epoch ended",  # the stream goes on by itself
)


def _is_not_advice(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in ADVICE)


@contextmanager
def expected_notices_hidden() -> Iterator[None]:
    """Within the block, Lightning's advertising and the warnings that are expected here are not shown."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addFilter(_is_not_advice)
    try:
        with warnings.catch_warnings():
            for message in EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(_is_not_advice)
