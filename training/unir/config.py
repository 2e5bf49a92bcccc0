"""Configuration of UNIR. What a file leaves out comes from its preset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from restore_sdk.degradations import Composition, CorruptionSpecError, Mask, Operator, parse
from training.engine.config import RunConfig, Section, TrainerConfig

Variant = Literal["unir", "raw", "unpaired", "paired", "supervised"]
WITH_CLEAN = ("unpaired", "paired", "supervised")  # variants that are given clean images
U_NETS = ("filling_unet", "direct_unet", "residual_unet")
PRESETS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "lite": {},
        "paper": {  # 8 on values in [0, 1] is the reference's 2 on values in [-1, 1]
            "network": {"kind": "unir_resnet"},
            "discriminator": {"kind": "unir_resnet", "width": 32},
            "loss": {"kind": "lsgan", "sigmoid": True, "adversarial": 1.0, "remeasure": 8.0, "splitting": 0.0},
            "trainer": {"learning_rate": 1e-4, "betas": [0.0, 0.999]},
        },
    }
)


class DataConfig(Section):
    """Folders of clean images, cut into patches that lie side by side. Each patch is corrupted once, seeded by its index; the
    training sees nothing else of it, except in the ablations that say so.

    Every `validation_every`-th image is held out of training to draw the sample grids and measure.
    """

    folders: tuple[Path, ...] = Field(min_length=1)
    patch: int = Field(default=64, ge=8)  # pixels
    batch: int = Field(default=16, ge=1)  # patches
    validation_every: int = Field(default=40, ge=2)
    memory_mb: int = Field(default=8192, ge=1)  # that the images and their patches may take
    description: str = ""  # for the model card
    terms: str = ""


class NetworkConfig(Section):
    """The generator: filling_unet (corruptions that lose values), direct_unet (the others), residual_unet (adds its input, which
    only a corruption without blur allows) or unir_resnet (the reference's).

    widths, blocks, unshuffle: of the U-Nets. keep_measured: of filling_unet, measured values pass through as they are.
    width, attention: of unir_resnet.
    """

    kind: Literal["filling_unet", "direct_unet", "residual_unet", "unir_resnet"] = "filling_unet"
    widths: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(default=(64, 128), min_length=1, max_length=8)
    blocks: tuple[Annotated[int, Field(ge=0, le=256)], ...] = Field(default=(1, 1), min_length=1, max_length=8)
    unshuffle: int = Field(default=2, ge=1)
    keep_measured: bool = True
    width: int = Field(default=32, ge=4, le=1024)
    attention: bool = True

    @model_validator(mode="after")
    def _one_each(self) -> NetworkConfig:
        if len(self.widths) != len(self.blocks):
            raise ValueError("widths and blocks must have one number each per scale")
        return self

    @property
    def size_multiple(self) -> int:
        """Sides of patches divide by it."""
        return self.unshuffle * 2 ** (len(self.widths) - 1) if self.kind in U_NETS else 1


class DiscriminatorConfig(Section):
    """patch: spectral-normalised convolutions, one score for each place; unir_resnet: the reference's, one for each image.

    width: channels of the first layer; layers: of patch, each halves the resolution; attention: of unir_resnet.
    learning_rate: faster than the generator's (two time scales, Heusel et al. 2017).
    """

    kind: Literal["patch", "unir_resnet"] = "patch"
    width: int = Field(default=64, ge=1, le=1024)
    layers: int = Field(default=2, ge=1, le=6)
    attention: bool = True
    learning_rate: float = Field(default=4e-4, gt=0)

    @property
    def least_patch(self) -> int:
        """The smallest side that is left with a score, pixels."""
        return 2 ** (self.layers + 1) if self.kind == "patch" else 2**5


class LossConfig(Section):
    """Weights of the terms, and what is compared. A weight of 0 leaves the term out.

    variant         "unir" compares measurements; ablations: "raw" shows the adversary unmeasured images (the defect of the
                    reference code), "unpaired" clean images of other patches, "paired" clean images of the same ones,
                    "supervised" has no adversary, but the squared error to the clean image.
    kind, sigmoid   of the adversary; sigmoid: least squares on probabilities, as the reference, instead of on scores.
    remeasure       lambda: the squared error of F(G(y^); theta) to y^.
    splitting       share of the measured values that is hidden from the generator and asked back, weighted by splitting_weight;
                    that of each image is drawn between none and twice as much.
    split_by        "values": single ones at random; "corruption": what a fresh theta of the corruption hides, such as a band.
    smoothness      weight of the squared differences between neighbours of what is restored; for what a corruption, such as a
                    blur, loses in every image, and of which measurements say nothing.
    r1              gamma of the gradient penalty on measured images, gamma / 2 |dD/dy|^2 (Mescheder et al. 2018).
    """

    variant: Variant = "unir"
    kind: Literal["lsgan", "hinge", "nonsaturating"] = "lsgan"
    sigmoid: bool = False
    adversarial: float = Field(default=0.01, ge=0)
    remeasure: float = Field(default=1.0, ge=0)
    splitting: float = Field(default=0.1, ge=0, lt=1)
    splitting_weight: float = Field(default=1.0, gt=0)
    split_by: Literal["values", "corruption"] = "values"
    smoothness: float = Field(default=0.0, ge=0)
    r1: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> LossConfig:
        if self.sigmoid and self.kind != "lsgan":
            raise ValueError(f"sigmoid is of kind='lsgan'; kind={self.kind!r} takes scores")
        if self.variant != "supervised" and self.adversarial == self.splitting == 0:
            raise ValueError("adversarial and splitting are both 0: nothing says what an image looks like")
        return self


class UnirTrainer(TrainerConfig):
    """betas: of Adam, for both networks."""

    learning_rate: float = Field(default=5e-4, gt=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.5, 0.99)


class UnirConfig(RunConfig):
    """configs/unir-*.toml are examples; corruption is in the grammar of docs/degradations.md."""

    preset: Literal["lite", "paper"] = "lite"
    corruption: str
    data: DataConfig
    network: NetworkConfig = NetworkConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    loss: LossConfig = LossConfig()
    trainer: UnirTrainer = UnirTrainer()

    @property
    def operator(self) -> Operator:
        """F."""
        return parse(self.corruption)

    @property
    def fill(self) -> float | None:
        """The value of lost pixels, where the corruption ends in a mask; None for others."""
        last = steps_of(self.operator)[-1]
        return last.fill if isinstance(last, Mask) else None

    @property
    def adversary(self) -> bool:
        """Whether there is one."""
        return self.loss.adversarial > 0 and self.loss.variant != "supervised"

    @field_validator("corruption")
    @classmethod
    def _usable(cls, text: str) -> str:
        try:
            operator = parse(text)
        except CorruptionSpecError as exc:
            raise ValueError(str(exc)) from exc
        if not operator.differentiable:
            raise ValueError(f"{operator.describe()} has no gradient, which UNIR needs; choose another corruption")
        if operator.output_shape((1, 3, 64, 64)) != (1, 3, 64, 64):
            raise ValueError(f"{operator.describe()} changes the size of images; UNIR needs one that keeps it")
        return text

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        filled = dict(values)
        for table, defaults in PRESETS.get(str(values.get("preset")), {}).items():
            given = values.get(table, {})
            if isinstance(given, Mapping) and given.get("kind", defaults.get("kind")) == defaults.get("kind"):
                filled[table] = {**defaults, **given}
        return filled

    @model_validator(mode="after")
    def _fits(self) -> UnirConfig:
        if self.data.patch % self.network.size_multiple:
            raise ValueError(f"data.patch={self.data.patch} must be a multiple of {self.network.size_multiple} for this network")
        if self.network.kind == "filling_unet":
            self._can_fill()
        if self.loss.split_by == "corruption" and self.fill is None:
            raise ValueError("loss.split_by='corruption' needs a corruption that loses values; use 'values'")
        if self.data.patch < self.discriminator.least_patch:
            raise ValueError(
                f"data.patch={self.data.patch} is too small for this discriminator, which takes at least "
                f"{self.discriminator.least_patch}"
            )
        return self

    def _can_fill(self) -> None:
        if self.fill is None:
            raise ValueError(f"network.kind='filling_unet', but {self.corruption!r} marks no lost values; use 'direct_unet'")
        if self.network.keep_measured and not only_loses(self.operator):
            raise ValueError(f"network.keep_measured=true, but {self.corruption!r} changes what it measures; set it to false")


def steps_of(operator: Operator) -> tuple[Operator, ...]:
    """The steps of a composition; of another operator, itself."""
    return operator.steps if isinstance(operator, Composition) else (operator,)


def only_loses(operator: Operator) -> bool:
    """Whether what is measured is as it was."""
    return all(isinstance(step, Mask) and step.gain == 1 for step in steps_of(operator))
