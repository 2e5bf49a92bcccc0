"""The networks of the paper's notebooks, by task, and their narrower versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from restore_sdk.dip.options import DipOptions, Width
from restore_sdk.errors import OptionsError
from restore_sdk.options import DIP_TASKS, DipTask

Upsampling: TypeAlias = Literal["bilinear", "nearest"]
NARROWING: Mapping[Width, int] = {"quality": 1, "balanced": 2, "draft": 4}  # the paper's channels are divided by it
FEWEST_CHANNELS = 4  # skips of four channels stay as they are


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A skip network, its input and how it is fitted (code of Deep Image Prior, models/skip.py and the notebooks).

    down, up, skip  channels of each scale, the finest first
    kernel_down     side of the kernels on the way down, pixels
    pointwise       whether a 1x1 convolution follows the 3x3 one on the way up
    averaged        shrink by the mean of 2x2 pixels instead of a stride
    input_depth     channels of z; input_kind "noise": uniform over [0, 0.1], "meshgrid": the two coordinates in [0, 1]
    input_noise     standard deviation of what is added to z at each iteration
    """

    down: tuple[int, ...] = (128,) * 5
    up: tuple[int, ...] = (128,) * 5
    skip: tuple[int, ...] = (4,) * 5
    kernel_down: int = 3
    upsampling: Upsampling = "bilinear"
    pointwise: bool = True
    averaged: bool = False
    input_depth: int = 32
    input_kind: Literal["noise", "meshgrid"] = "noise"
    input_noise: float = 0.03
    learning_rate: float = 0.01
    iterations: int = 3000

    @property
    def multiple(self) -> int:
        """Height and width of the network's input divide by it, pixels."""
        return 1 << len(self.down)

    @property
    def smallest_side(self) -> int:
        """Below it the deepest convolution has nothing to mirror, pixels."""
        return (self.kernel_down // 2 + 1) * self.multiple


_STROKES = (16, 32, 64, 128, 128, 128)
_SPARSE = (16, 32, 64, 128, 128)
_BLOCKS = (8, 16, 32, 64, 128)

PRESETS: Mapping[str, Preset] = {
    "denoise": Preset(input_noise=1 / 30),
    "denoise-strong": Preset(input_noise=1 / 20),  # sigma 50 of 255
    "dejpeg": Preset(down=_BLOCKS, up=_BLOCKS, skip=(0, 0, 0, 4, 4), input_depth=3, input_noise=1 / 30, iterations=2400),
    "super-resolve-2": Preset(iterations=2000),
    "super-resolve-4": Preset(iterations=2000),
    "super-resolve-8": Preset(input_noise=0.05, iterations=4000),
    "inpaint": Preset(skip=(128,) * 5, upsampling="nearest", iterations=6001),  # text
    "inpaint-hole": Preset(
        skip=(0,) * 5, upsampling="nearest", input_depth=2, input_kind="meshgrid", iterations=5001
    ),  # a large region
    "inpaint-strokes": Preset(
        down=_STROKES,
        up=_STROKES,
        skip=(0,) * 6,
        kernel_down=5,
        upsampling="nearest",
        pointwise=False,
        input_depth=1,
        input_noise=0.0,
        iterations=3001,
    ),
    "inpaint-half": Preset(learning_rate=0.001, iterations=11000),  # every second pixel is missing
    "inpaint-sparse": Preset(
        down=_SPARSE, up=_SPARSE, skip=(0,) * 5, averaged=True, input_noise=0.0, iterations=1000
    ),  # 98 % are missing
    "deblur": Preset(iterations=3000),
}


def preset_name(task: DipTask, options: DipOptions) -> str:
    """Key of PRESETS for a task. Raises OptionsError."""
    if task not in DIP_TASKS:
        raise OptionsError("model", task, f"one of {', '.join(DIP_TASKS)}")
    own = f"super-resolve-{options.scale}" if task == "dip-super-resolve" else task.removeprefix("dip-")
    name = own if options.preset is None else options.preset
    if not isinstance(name, str) or name not in PRESETS:
        raise OptionsError("preset", name, f"one of {', '.join(PRESETS)}")
    return name


def chosen_preset(task: DipTask, options: DipOptions) -> Preset:
    """The task's preset with what the options say otherwise. Raises OptionsError."""
    preset = narrowed(PRESETS[preset_name(task, options)], options.width)
    changes = {
        "iterations": options.max_iterations,
        "learning_rate": options.learning_rate,
        "input_noise": options.input_noise,
    }
    return replace(preset, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]


def narrowed(preset: Preset, width: Width) -> Preset:
    """The preset with fewer channels; none has fewer than four."""
    divisor = NARROWING[width]

    def fewer(channels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(min(count, max(FEWEST_CHANNELS, count // divisor)) for count in channels)

    return replace(preset, down=fewer(preset.down), up=fewer(preset.up), skip=fewer(preset.skip))
