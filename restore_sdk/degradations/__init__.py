"""Corruptions of images, y = F(x; theta) + noise, in PyTorch: one operator type for training, Deep Image Prior and tests.

>>> corruption = parse("remove-pixel:p=0.5+gaussian-noise:sigma=0.1")
>>> rng = seeded(0)
>>> theta = corruption.sample_theta(x, rng)         # x: (N, C, H, W) floats in [0, 1]
>>> y = corruption.measure(x, theta, rng)           # with noise; corruption.apply(x, theta) is without

Importing restore_sdk does not load this package; importing this package loads PyTorch, or says which extra brings it.
"""

from __future__ import annotations

from restore_sdk.extras import require

require("torch", "torch")

from restore_sdk.degradations.blur import ConvolveNoise, GaussianBlur, GivenBlur, MotionBlur  # noqa: E402 (torch was asked for first)
from restore_sdk.degradations.composition import Composition, compose  # noqa: E402
from restore_sdk.degradations.downsampling import Downsample  # noqa: E402
from restore_sdk.degradations.drawn_masks import BrushStrokes, Text  # noqa: E402
from restore_sdk.degradations.draws import seeded  # noqa: E402
from restore_sdk.degradations.errors import (  # noqa: E402
    CorruptionSpecError,
    DegradationError,
    InnerNoiseError,
    NotDifferentiableError,
    NotLinearError,
    ThetaError,
)
from restore_sdk.degradations.grammar import OPERATORS, parse  # noqa: E402
from restore_sdk.degradations.jpeg import Jpeg  # noqa: E402
from restore_sdk.degradations.masks import (  # noqa: E402
    DropColumns,
    DropPatch,
    DropRows,
    GivenMask,
    KeepPatch,
    Mask,
    PatchBand,
    RemovePixel,
    RemovePixelChannel,
)
from restore_sdk.degradations.noise import GaussianNoise, ImpulseNoise, PoissonGaussianNoise, PoissonNoise  # noqa: E402
from restore_sdk.degradations.operator import Operator  # noqa: E402
from restore_sdk.degradations.parameters import Range  # noqa: E402
from restore_sdk.degradations.pointwise import Clip, Identity  # noqa: E402
from restore_sdk.degradations.recording import Recording, load_theta, save_theta  # noqa: E402
from restore_sdk.degradations.theta import Theta, stack_thetas  # noqa: E402

__all__ = [
    "OPERATORS",
    "BrushStrokes",
    "Clip",
    "Composition",
    "ConvolveNoise",
    "CorruptionSpecError",
    "DegradationError",
    "Downsample",
    "DropColumns",
    "DropPatch",
    "DropRows",
    "GaussianBlur",
    "GaussianNoise",
    "GivenBlur",
    "GivenMask",
    "Identity",
    "ImpulseNoise",
    "InnerNoiseError",
    "Jpeg",
    "KeepPatch",
    "Mask",
    "MotionBlur",
    "NotDifferentiableError",
    "NotLinearError",
    "Operator",
    "PatchBand",
    "PoissonGaussianNoise",
    "PoissonNoise",
    "Range",
    "Recording",
    "RemovePixel",
    "RemovePixelChannel",
    "Text",
    "Theta",
    "ThetaError",
    "compose",
    "load_theta",
    "parse",
    "save_theta",
    "seeded",
    "stack_thetas",
]
