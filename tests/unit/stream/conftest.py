"""No test of a stream may leave a thread behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from stream_threads import threads, until


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    if threads():  # perhaps in a cycle that is not collected yet; collecting takes a second late in a long run
        gc.collect()
    until(lambda: not threads())
