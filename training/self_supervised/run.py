"""From a configuration to a Run: images, their one observation each, network, card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader

from training.data.crops import CropOptions, CropStream, Observation
from training.data.folder import Folder, load_folders, split
from training.data.noise import as_planes, estimate_sigma, observe
from training.engine.budget import Budget
from training.engine.fit import Run
from training.engine.metrics_log import Curves
from training.engine.run_card import run_card
from training.engine.sample_grid import SampleGrid
from training.self_supervised import network
from training.self_supervised.config import DataConfig, SelfSupervisedConfig
from training.self_supervised.module import SelfSupervisedModule
from training.self_supervised.validation import PANELS, SCORE_NAMES, HeldOut, panels

NOISE_IN_WORDS = {
    "frozen": "one frozen realisation of Gaussian noise for each image",
    "redrawn": "Gaussian noise redrawn from the clean image at each crop (not noisy-only)",
    "measured": "the images' own noise",
}


def make_observation(folder: Folder, index: int, config: SelfSupervisedConfig) -> Observation:
    """The observation of image `index`: deterministic in the seed and the index."""
    image, data = folder.images[index], config.data
    if data.noise == "measured":
        planes = as_planes(image)
        return Observation(planes, estimate_sigma(planes))
    noisy, sigma = observe(image, config.trainer.seed, index, data.sigma)
    return Observation(noisy, sigma, as_planes(image) if keeps_clean(config) else None)


def make_run(config: SelfSupervisedConfig) -> Run:
    """Load the data and build everything. Raises DataError."""
    lightning.seed_everything(config.trainer.seed, verbose=False)
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    folder = load(config)
    kept, held_out = split(len(folder.images), config.data.validation_every)
    skipped = len(folder.unreadable) + len(folder.too_small)
    built = network.build(config.network)
    budget = Budget(config.trainer.max_steps, config.trainer.max_seconds)
    return Run(
        config=config,
        module=SelfSupervisedModule(built, config, budget),
        budget=budget,
        card=lambda: make_card(config, budget, len(kept), skipped),
        batches=CropStream([make_observation(folder, index, config) for index in kept], crop_options(config)),
        validation=DataLoader(hold_out(folder, held_out, config, built), batch_size=1),
        callbacks=[SampleGrid(config.folder, panels), Curves(config.folder, PANELS)],
        summary=f"{len(kept)} images to train on, {len(held_out)} held out, {skipped} skipped",
        score_names={} if config.data.noise == "measured" else SCORE_NAMES,
    )


def load(config: SelfSupervisedConfig) -> Folder:
    """The images, if they and their observations fit in the memory allowed. Raises DataError."""
    data, planes = config.data, 4
    beside = planes * 2 if keeps_clean(config) else planes
    return load_folders(data.folders, min_side=data.patch, max_bytes=data.memory_mb * 10**6, bytes_per_value=beside)


def hold_out(folder: Folder, indices: list[int], config: SelfSupervisedConfig, built: nn.Module) -> HeldOut:
    """The held-out images, which come with their own noise if the data is measured and get synthetic noise otherwise."""
    images = [as_planes(folder.images[index]) for index in indices]
    multiple = built.size_multiple
    if not isinstance(multiple, int):
        raise TypeError("the network must declare its size_multiple")
    return HeldOut(images, multiple, config.trainer.seed, measured=config.data.noise == "measured")


def keeps_clean(config: SelfSupervisedConfig) -> bool:
    """Whether the training, which then is not noisy-only, needs the clean images."""
    return config.data.noise == "redrawn" or config.loss.kind == "supervised"


def crop_options(config: SelfSupervisedConfig) -> CropOptions:
    """The part of the configuration that the crops need."""
    data: DataConfig = config.data
    redraw = data.noise == "redrawn"
    return CropOptions(patch=data.patch, batch=data.batch, gray_share=data.gray_share, redraw=redraw, seed=config.trainer.seed)


def make_card(config: SelfSupervisedConfig, budget: Budget, trained: int, skipped: int) -> Mapping[str, Any]:
    """What the checkpoint says of itself; `export` copies it into the model file."""
    low, high = config.data.sigma
    levels = "" if config.data.noise == "measured" else f", sigma uniform over {low:g} to {high:g} / 255"
    return run_card(
        config,
        budget,
        images=trained,
        skipped=skipped,
        method="self_supervised",
        task="denoise",
        network=network.describe(config.network),
        loss=config.loss.model_dump(mode="json"),
        corruption=NOISE_IN_WORDS[config.data.noise] + levels,
        trained_on=config.data.description or f"{trained} images",
        terms=config.data.terms,
        clean_targets=config.loss.kind == "supervised",
    )
