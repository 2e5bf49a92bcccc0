"""Restores one image in exact tiles in this fresh process and prints seconds and peak memory as JSON.

Usage: exact_tiles.py MODEL IMAGE.npy THREADS BACKEND. The image is uint8 (H, W, 3); it and the result are all that is kept in
memory.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from benchmarks.resident import peak_resident_bytes
from restore_sdk.restorer import Restorer


def main(model: str, image_path: str, threads: int, backend: str) -> None:
    image = np.load(image_path)
    with Restorer(model, backend=backend, device="cpu", threads=threads, tile="exact") as restorer:
        begin = time.perf_counter()
        result = restorer.restore(image)
        seconds = time.perf_counter() - begin
    facts = {"seconds": seconds, "peak_bytes": peak_resident_bytes(), "torch": "torch" in sys.modules}
    print(json.dumps({**facts, "shape": list(result.shape)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
