"""Restores one image with the PyTorch tile loop in this fresh process and prints seconds and peak memory as JSON.

Usage: peer_tile_loop.py MODEL.onnx IMAGE.npy THREADS CHANNELS_LAST, the last one True or False
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers.tile_loop import TileLoop
from benchmarks.resident import peak_resident_bytes
from benchmarks.twin import torch_twin


def main(model: str, image_path: str, threads: int, channels_last: bool) -> None:
    torch.set_num_threads(threads)
    image = np.load(image_path)
    loop = TileLoop(torch_twin(Path(model))[0], channels_last=channels_last)
    begin = time.perf_counter()
    result = loop.restore(image)
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_resident_bytes(), "shape": list(result.shape)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "True")
