"""One cold start, as JSON: seconds of import, load and first restore, CPU seconds until ready, and whether torch was loaded.

Usage: start_up.py MODEL THREADS
"""

from __future__ import annotations

import sys
import time


def main(model: str, threads: int) -> None:
    begin = time.perf_counter()
    import numpy as np  # noqa: PLC0415 (the import is what is timed)

    from restore_sdk.restorer import Restorer  # noqa: PLC0415

    imported = time.perf_counter()
    with Restorer(model, device="cpu", threads=threads) as restorer:
        loaded, ready_cpu = time.perf_counter(), time.process_time()
        restorer.restore(np.zeros((64, 64, 3), np.uint8))
        restored = time.perf_counter()
    import json  # noqa: PLC0415

    seconds = {"import_s": imported - begin, "load_s": loaded - imported, "first_s": restored - loaded, "ready_cpu_s": ready_cpu}
    print(json.dumps({**seconds, "torch": "torch" in sys.modules}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
