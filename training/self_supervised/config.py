"""Configuration of the self-supervised denoisers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.engine.config import RunConfig, Section


class DataConfig(Section):
    """Folders of images. Every `validation_every`-th image is held out of training to draw the sample grids and measure.

    noise "frozen": each image is observed once under synthetic Gaussian noise, seeded by its index; "redrawn": the noise is
    drawn anew at each crop (then the network has in effect seen clean images; the card says so); "measured": the images are
    noisy as they are, their sigma is estimated.
    """

    folders: tuple[Path, ...] = Field(min_length=1)
    noise: Literal["frozen", "redrawn", "measured"] = "frozen"
    sigma: tuple[float, float] = (0.0, 55.0)  # of synthetic noise, units of 1/255
    patch: int = Field(default=64, ge=16)  # pixels
    batch: int = Field(default=4, ge=1)  # crops
    gray_share: float = Field(default=0.0, ge=0, le=1)
    validation_every: int = Field(default=40, ge=2)
    memory_mb: int = Field(default=8192, ge=1)  # that the images may take; all are kept in memory
    description: str = ""  # for the model card
    terms: str = ""

    @model_validator(mode="after")
    def _ordered(self) -> DataConfig:
        if not 0 <= self.sigma[0] <= self.sigma[1]:
            raise ValueError("sigma must be [low, high] with 0 <= low <= high")
        return self


class NetworkConfig(Section):
    """Arguments of training.networks.unet.ResidualUNet."""

    kind: Literal["residual_unet"] = "residual_unet"
    widths: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(default=(64, 128), min_length=1, max_length=8)
    blocks: tuple[Annotated[int, Field(ge=0, le=256)], ...] = Field(default=(1, 1), min_length=1, max_length=8)
    unshuffle: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _one_each(self) -> NetworkConfig:
        if len(self.widths) != len(self.blocks):
            raise ValueError("widths and blocks must have one number each per scale")
        return self


class LossConfig(Section):
    """kind: the loss; balance: the weight of an image is (0.12 / (sigma + 0.02)) ** balance, so that faint noise is learnt too
    (0: plain mean squared error, which strong noise dominates)."""

    kind: Literal["r2r", "sure", "neighbor2neighbor", "supervised"] = "r2r"
    alpha: float = Field(default=0.7, gt=0)  # r2r: recorruption
    tau: float = Field(default=0.1, gt=0)  # sure: step of the divergence / sigma
    gamma: float = Field(default=1.0, ge=0)  # neighbor2neighbor: weight of its regulariser at the end; grows from 0
    balance: float = Field(default=0.0, ge=0)


class SelfSupervisedConfig(RunConfig):
    """configs/denoise.toml is the bundled model's."""

    data: DataConfig
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()

    @model_validator(mode="after")
    def _patch_fits(self) -> SelfSupervisedConfig:
        multiple = self.network.unshuffle * 2 ** (len(self.network.widths) - 1)
        multiple *= 2 if self.loss.kind == "neighbor2neighbor" else 1  # its network sees half-size images
        if self.data.patch % multiple:
            raise ValueError(f"data.patch={self.data.patch} must be a multiple of {multiple} for this network and loss")
        if self.data.noise == "measured" and self.loss.kind == "supervised":
            raise ValueError("loss.kind='supervised' needs clean images, data.noise='measured' has none")
        return self
