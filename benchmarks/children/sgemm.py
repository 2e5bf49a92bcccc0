"""Prints the GFLOP/s of the best of five 2048x2048x2048 FP32 products with numpy."""

from __future__ import annotations

import time

import numpy as np

SIDE = 2048


def main() -> None:
    random = np.random.default_rng(0)
    left, right = (random.standard_normal((SIDE, SIDE), np.float32) for _ in range(2))
    product = left @ right
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        np.matmul(left, right, out=product)
        seconds.append(time.perf_counter() - begin)
    print(2e-9 * SIDE**3 / min(seconds))


if __name__ == "__main__":
    main()
