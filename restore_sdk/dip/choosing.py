"""Which policy stops which task, and with what numbers. docs/dip.md has what they were measured to reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from torch import Tensor

from restore_sdk.dip.noise_level import noise_level
from restore_sdk.dip.options import DipOptions, Stopping
from restore_sdk.dip.presets import Preset
from restore_sdk.dip.stopping import (
    DiscrepancyPolicy,
    ExponentialVariancePolicy,
    HeldOutPolicy,
    NoPolicy,
    Policy,
    WindowedVariancePolicy,
)
from restore_sdk.options import DipTask


class Noise(NamedTuple):
    """`sigma` is what was given, or estimated; `white` what was estimated of white noise, infinite where that is not sure."""

    sigma: float
    white: float = math.inf


Chosen = Literal["wmv", "emv", "discrepancy", "held-out", "none"]
AUTOMATIC: Mapping[DipTask, Chosen] = {
    "dip-denoise": "discrepancy",
    "dip-inpaint": "held-out",
    "dip-super-resolve": "wmv",
    "dip-deblur": "discrepancy",
}
WINDOW = 100  # iterates, of WMV
RATE = 0.1  # of EMV
TAU = 1.0  # of the discrepancy, times sigma^2
PATIENCE = 300  # iterations; the paper's 1000 is a third of a whole fit
LEAST_NOISE = 2 / 255  # of an estimate: below it there is no noise to stop at, and the residual never comes down to it
SMALLEST = 1e-6  # of any


def chosen_stopping(task: DipTask, options: DipOptions) -> Stopping:
    """The policy's name; never "auto"."""
    return AUTOMATIC[task] if options.stopping == "auto" else options.stopping


def noise_of(task: DipTask, options: DipOptions, measured: Tensor, known: Tensor | None) -> Noise:
    """The noise in a measured image (C, H, W) that a fit is held against. known: (1, H, W) bool, or None for all of it."""
    if options.sigma is not None and task != "dip-denoise":
        return Noise(options.sigma)
    found = noise_level(measured, known)
    sure = task == "dip-denoise" and found.white  # elsewhere a wrong kernel may leave more than the noise
    return Noise(found.sigma if options.sigma is None else options.sigma, found.sigma if sure else math.inf)


def new_policy(name: Stopping, options: DipOptions, preset: Preset, noise: Noise | None, *, holds_out: bool = True) -> Policy:
    """A fresh policy for one fit. WMV stands in where one has nothing to go by: the noise that the discrepancy is held against is
    next to nothing, or too little is known to keep anything out of the loss (`holds_out` False)."""
    patience = min(PATIENCE, preset.iterations) if options.patience is None else options.patience
    windowed = WindowedVariancePolicy(WINDOW, patience)
    least = LEAST_NOISE if not options.sigma else 0.0  # who gives one means it
    if name == "discrepancy" and noise is not None and noise.sigma >= max(least, SMALLEST):
        return DiscrepancyPolicy(noise.sigma, TAU, fallback=windowed, white=noise.white)
    if name == "emv":
        return ExponentialVariancePolicy(RATE, patience)
    if name == "held-out" and holds_out:
        return HeldOutPolicy(patience)
    if name == "none":
        return NoPolicy()
    return windowed
