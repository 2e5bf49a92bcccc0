"""Work on several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable


def on_threads(work: Callable[[int], None], count: int = 8) -> None:
    """Call work(0), work(1), ... each on a thread of its own, and wait for all. pytest fails a test whose thread raised."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
