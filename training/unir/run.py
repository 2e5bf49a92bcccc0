"""From a configuration to a Run: patches, their one observation each, both networks, card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from training.data.corrupted import Observations, ObservationStream, Pixels, cut, observe_once
from training.data.folder import Folder, load_folders, split
from training.engine.budget import Budget
from training.engine.config import ConfigError
from training.engine.fit import Run
from training.engine.metrics_log import Curves
from training.engine.run_card import run_card
from training.engine.sample_grid import GRID_SIDE, SampleGrid
from training.unir import network
from training.unir.config import WITH_CLEAN, UnirConfig, steps_of
from training.unir.module import UnirModule
from training.unir.validation import MOST_PATCHES, PANELS, SCORE_NAMES, HeldOut, panels_of


def make_run(config: UnirConfig) -> Run:
    """Load the data and build everything. Raises DataError, ConfigError."""
    lightning.seed_everything(config.trainer.seed, verbose=False)
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    folder = load(config)
    train, held_out = observations(folder, config)
    check_measured(config, train)
    skipped = len(folder.unreadable) + len(folder.too_small)
    discriminator = network.build_discriminator(config) if config.adversary else None
    budget = Budget(config.trainer.max_steps, config.trainer.max_seconds)
    grid = panels_of(config.operator, config.trainer.seed)
    return Run(
        config=config,
        module=UnirModule(network.build_generator(config), discriminator, config, budget, train.theta),
        budget=budget,
        card=lambda: make_card(config, budget, len(train), skipped),
        batches=ObservationStream(train, config.data.batch, config.trainer.seed),
        validation=DataLoader(HeldOut(held_out, config.operator), batch_size=None),
        callbacks=[
            SampleGrid(config.folder, grid, enlarge=max(1, GRID_SIDE // config.data.patch)),
            Curves(config.folder, PANELS),
        ],
        summary=f"{len(train)} patches to train on, {len(held_out)} held out, {skipped} images skipped",
        rates=rates(config),
        score_names=SCORE_NAMES if config.fill is not None else {"all": SCORE_NAMES["all"]},
    )


def rates(config: UnirConfig) -> dict[str, float]:
    """The learning rates of the networks that learn, in the order of the optimiser's groups."""
    generator = {"trainer.learning_rate": config.trainer.learning_rate}
    return {**generator, "discriminator.learning_rate": config.discriminator.learning_rate} if config.adversary else generator


def load(config: UnirConfig) -> Folder:
    """The images, if they and their patches fit in the memory allowed. Raises DataError."""
    data, planes = config.data, 4
    beside = planes * (2 if keeps_clean(config) else 1)
    return load_folders(data.folders, min_side=data.patch, max_bytes=data.memory_mb * 10**6, bytes_per_value=beside)


def observations(folder: Folder, config: UnirConfig) -> tuple[Observations, Observations]:
    """Those to train on and those held out, whose noise is unrelated. Patches of one image are all on one side."""
    kept, held_out = split(len(folder.images), config.data.validation_every)
    seed = config.trainer.seed
    train = observe_once(patches(folder, kept, config), config.operator, seed, keep_clean=keeps_clean(config))
    apart = patches(folder, held_out, config)
    return train, observe_once(apart[:: -(-len(apart) // MOST_PATCHES)], config.operator, seed + 2**32, keep_clean=True)


def check_measured(config: UnirConfig, train: Observations) -> None:
    """Raise ConfigError for a corruption that leaves no value of any patch, from which nothing can be learnt."""
    operator, theta = config.operator, train.theta
    masks = [operator.kept(theta), *(step.kept(part) for step, part in zip(steps_of(operator), theta.parts, strict=False))]
    if any(mask is not None and not mask.any() for mask in masks):
        raise ConfigError(
            f"corruption: {operator.describe()} leaves no value of any of {len(train)} patches of {config.data.patch} pixels, so "
            "there is nothing to learn from; choose one that loses less"
        )


def patches(folder: Folder, indices: list[int], config: UnirConfig) -> list[Pixels]:
    """All patches of these images."""
    return [patch for index in indices for patch in cut(folder.images[index], config.data.patch)]


def keeps_clean(config: UnirConfig) -> bool:
    """Whether the training is an ablation that is given clean images."""
    return config.loss.variant in WITH_CLEAN


def make_card(config: UnirConfig, budget: Budget, trained: int, skipped: int) -> Mapping[str, Any]:
    """What the checkpoint says of itself; `export` copies it into the model file."""
    return run_card(
        config,
        budget,
        images=trained,
        skipped=skipped,
        method="unir",
        task="restore" if config.fill is None else "inpaint",
        network=network.deployed(config),
        loss=config.loss.model_dump(mode="json"),
        corruption=config.operator.describe(),
        trained_on=config.data.description or f"{trained} patches",
        terms=config.data.terms,
        clean_targets=keeps_clean(config),
    )
