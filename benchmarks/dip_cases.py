"""The images and protocols that Deep Image Prior is measured on, and how a result is scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage.restoration import richardson_lucy

from benchmarks.images import FloatPixels, as_bytes, as_float, read_pixels
from benchmarks.metrics import psnr, ssim
from restore_sdk.degradations import Downsample, Operator, parse, seeded
from restore_sdk.errors import MaskError
from restore_sdk.options import DipTask

SIGMA, SCALE, BORDER = 25, 4, 4  # of 255; of super-resolution; pixels that are not scored there
BLUR, BLURRED_SIGMA = "gaussian-blur:sigma=1.6", 2  # a usual case of deconvolution; its noise, of 255
REACH = 16  # pixels; beyond the blur's
RICHARDSON_LUCY = 30  # iterations; fewer give less on these images
TWIN_SIDE = 276  # Set14's face is Set5's head, cut a little smaller
LUMA = np.array([65.481, 128.553, 24.966], np.float32) / 255  # BT.601 in video range, as super-resolution is scored


@dataclass(frozen=True, slots=True)
class Case:
    """One image and what is done to it."""

    name: str
    task: DipTask
    image: str
    mask: str | None = None  # white is kept, as in the paper's files
    kernel: str | None = None  # of a blur
    twin: str | None = None  # the case whose centre has the very same pixels, up to TWIN_SIDE

    def measured_as(self, size: int) -> str:
        """The case whose rows stand for this one at that centre."""
        return self.twin if self.twin is not None and 0 < size <= TWIN_SIDE else self.name


CASES: Mapping[str, Case] = {
    case.name: case
    for case in (
        Case("denoise-f16", "dip-denoise", "deep_image_prior/denoising/F16_GT.png"),
        Case("inpaint-kate", "dip-inpaint", "deep_image_prior/inpainting/kate.png", "deep_image_prior/inpainting/kate_mask.png"),
        Case(
            "inpaint-library",
            "dip-inpaint",
            "deep_image_prior/inpainting/library.png",
            "deep_image_prior/inpainting/library_mask.png",
        ),
        Case("sr4-zebra", "dip-super-resolve", "deep_image_prior/sr/zebra_GT.png"),
        *(
            Case(f"sr4-{name}", "dip-super-resolve", f"set5/{name}_GT.bmp")
            for name in ("baby", "bird", "butterfly", "head", "woman")
        ),
        *(
            Case(f"sr4-set14-{name}", "dip-super-resolve", f"set14/{name}.bmp")
            for name in ("barbara", "lenna", "man", "monarch", "pepper", "zebra")
        ),
        Case("sr4-set14-face", "dip-super-resolve", "set14/face.bmp", twin="sr4-head"),
        Case("deblur-f16", "dip-deblur", "deep_image_prior/denoising/F16_GT.png", kernel=BLUR),
        Case("deblur-monarch", "dip-deblur", "set14/monarch.bmp", kernel=BLUR),
    )
}
PAPER = [name for name, case in CASES.items() if case.kernel is None]  # its protocols; it has no deblurring


@dataclass(frozen=True, slots=True)
class Trial:
    """A case at hand: (H, W, 3) float32 in [0, 1]; `known` is True where a pixel was measured."""

    case: Case
    clean: FloatPixels
    measured: FloatPixels
    known: NDArray[np.bool_] | None

    def finished(self, restored: FloatPixels) -> FloatPixels:
        """What a user gets of a network's answer: limited to [0, 1], known pixels as they were."""
        restored = np.clip(restored, 0, 1)
        return restored if self.known is None else np.where(self.known[..., None], self.measured, restored)

    def psnr(self, restored: FloatPixels) -> float:
        """dB; of super-resolution on luma without the border."""
        return psnr(*self._scored(restored))

    def ssim(self, restored: FloatPixels) -> float:
        """The same for SSIM."""
        return ssim(*self._scored(restored))

    def opencv(self) -> tuple[str, FloatPixels]:
        """The best that OpenCV has for it, and its name; it has nothing that undoes a blur, so there scikit-image stands in."""
        if self.case.task == "dip-denoise":
            pixels = as_bytes(self.measured)  # all channels at once: ahead of fastNlMeansDenoisingColored here
            return "opencv nl-means", as_float(np.asarray(cv2.fastNlMeansDenoising(pixels, None, h=SIGMA), np.uint8))
        if self.case.kernel is not None:
            return "skimage richardson-lucy", _richardson_lucy(self.measured, self.case.kernel)
        if self.known is None:
            size = self.clean.shape[1], self.clean.shape[0]
            return "opencv bicubic", np.asarray(cv2.resize(self.measured, size, interpolation=cv2.INTER_CUBIC), np.float32)
        pixels = as_bytes(self.measured)
        filled = cv2.inpaint(pixels, (~self.known).astype(np.uint8), 3, cv2.INPAINT_TELEA)
        return "opencv inpaint", as_float(np.asarray(filled, np.uint8))

    def _scored(self, restored: FloatPixels) -> tuple[FloatPixels, FloatPixels]:
        pair = self.finished(restored), self.clean
        if self.case.task != "dip-super-resolve":
            return pair
        inner = slice(BORDER, -BORDER)
        first, second = (np.ascontiguousarray(image[inner, inner] @ LUMA + np.float32(16 / 255)) for image in pair)
        return first, second


def open_trial(case: Case, data: Path, size: int, seed: int) -> Trial:
    """The case at the `size` x `size` centre of its image (0: all of it, a multiple of the scale). `seed` draws the noise.

    Raises MaskError where the mask keeps every pixel there, or is of another size.
    """
    clean = as_float(_centre(read_pixels(data / case.image), size))
    known = None if case.mask is None else _centre(read_pixels(data / case.mask, gray=True), size) > 127
    if known is not None and known.shape != clean.shape[:2]:
        raise MaskError(f"the mask of {case.name} is {known.shape}, its image {clean.shape[:2]}; fetch the data set again")
    if known is not None and known.all():
        raise MaskError(f"nothing is lost in the {size} x {size} centre of {case.name}; pass a larger --size")
    return Trial(case, clean, _measured(case, clean, known, seed), known)


def is_here(case: Case, data: Path) -> bool:
    """Whether the files of the case are there."""
    return all((data / name).is_file() for name in (case.image, case.mask) if name is not None)


def _centre(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    height, width = (min(size or length, length) // SCALE * SCALE for length in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _measured(case: Case, clean: FloatPixels, known: NDArray[np.bool_] | None, seed: int) -> FloatPixels:
    if case.task == "dip-denoise":
        noise = np.random.default_rng(seed).standard_normal(clean.shape, np.float32) * np.float32(SIGMA / 255)
        return np.clip(clean + noise, 0, 1)
    if known is not None:
        return np.where(known[..., None], clean, np.float32(0))
    if case.kernel is not None:
        noise = np.random.default_rng(seed).standard_normal(clean.shape, np.float32) * np.float32(BLURRED_SIGMA / 255)
        return np.clip(_applied(parse(case.kernel), clean) + noise, 0, 1)
    return _applied(Downsample(SCALE), clean)


def _applied(operator: Operator, pixels: FloatPixels) -> FloatPixels:
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
    made = operator.apply(image, operator.sample_theta(image, seeded(0)))
    return np.ascontiguousarray(made[0].permute(1, 2, 0).numpy())


def _richardson_lucy(measured: FloatPixels, kernel: str) -> FloatPixels:
    """Channel by channel, mirrored at the borders, beyond which scikit-image takes black."""
    point = np.zeros((2 * REACH + 1, 2 * REACH + 1, 1), np.float32)
    point[REACH, REACH] = 1
    spread = _applied(parse(kernel), point)[..., 0]
    wide = np.pad(measured, ((REACH, REACH), (REACH, REACH), (0, 0)), mode="symmetric")
    sharpened = np.stack([richardson_lucy(plane, spread, num_iter=RICHARDSON_LUCY) for plane in wide.transpose(2, 0, 1)], -1)
    return np.clip(sharpened[REACH:-REACH, REACH:-REACH], 0, 1).astype(np.float32)
