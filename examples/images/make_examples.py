"""Write the pictures of this folder again, from those that scikit-image carries inside its wheel.

Run from anywhere: python examples/images/make_examples.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

FOLDER = Path(__file__).parent
SIGMA = 25  # standard deviation of the noise, in steps of 8 bits
SEED = 2026


def with_noise(clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`clean` plus white Gaussian noise, rounded and clipped to 8 bits, as a camera's file would be."""
    noise = np.random.default_rng(SEED).normal(0.0, SIGMA, clean.shape)
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


def write(name: str, rgb: NDArray[np.uint8]) -> None:
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    if not cv2.imwrite(str(FOLDER / name), bgr, [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise OSError(f"cannot write {FOLDER / name}")


def main() -> None:
    portrait = cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    write("clean_photo.png", portrait)
    write("noisy_photo.png", with_noise(portrait))
    write("coffee.png", data.coffee()[40:296, 150:406])
    write("chelsea.png", data.chelsea()[20:212, 80:336])


if __name__ == "__main__":
    main()
