"""UNIR's configuration: presets, and every mistake names its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.engine.config import ConfigError, read_config, to_toml
from training.unir.config import UnirConfig

ROOT = Path(__file__).resolve().parents[3]
SMALL = 'name = "a"\ncorruption = "remove-pixel:p=0.5"\n[data]\nfolders = ["photos"]\n'
CONFIGS = sorted(set((ROOT / "configs").glob("*.toml")) - {ROOT / "configs" / "denoise.toml"})


def read(tmp_path: Path, *overrides: str) -> UnirConfig:
    path = tmp_path / "c.toml"
    path.write_text(SMALL, encoding="utf-8")
    return read_config(UnirConfig, path, overrides)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configurations_are_valid_and_never_read_the_test_images(path: Path) -> None:
    config = read_config(UnirConfig, path)
    assert config.name == path.stem
    assert all(folder.name != "val" for folder in config.data.folders)


def test_there_is_a_configuration_of_each_corruption_of_the_paper_and_of_its_networks() -> None:
    assert {path.stem for path in CONFIGS} == {
        "unir-remove-pixel",
        "unir-remove-pixel-channel",
        "unir-convolve-noise",
        "unir-patch-band",
        "unir-paper",
        "unmask",
    }


def test_the_default_is_lite_with_splitting(tmp_path: Path) -> None:
    config = read(tmp_path)
    assert config.preset == "lite"
    assert (config.network.kind, config.discriminator.kind) == ("filling_unet", "patch")
    assert config.loss.splitting == 0.1
    assert config.fill == 0.0


def test_the_paper_preset_is_the_reference(tmp_path: Path) -> None:
    config = read(tmp_path, "preset=paper")
    assert (config.network.kind, config.discriminator.kind) == ("unir_resnet", "unir_resnet")
    assert (config.network.width, config.discriminator.width) == (32, 32)
    assert (config.loss.kind, config.loss.sigmoid, config.loss.splitting) == ("lsgan", True, 0.0)
    assert (config.loss.adversarial, config.loss.remeasure) == (1.0, 8.0)
    assert (config.trainer.learning_rate, config.discriminator.learning_rate) == (1e-4, 4e-4)
    assert config.trainer.betas == (0.0, 0.999)


def test_a_preset_gives_way_to_what_is_said(tmp_path: Path) -> None:
    config = read(tmp_path, "preset=paper", "loss.remeasure=3", "trainer.max_steps=7", "network.kind=filling_unet")
    assert config.loss.remeasure == 3.0
    assert config.loss.sigmoid
    assert (config.trainer.max_steps, config.trainer.learning_rate) == (7, 1e-4)
    assert config.network.kind == "filling_unet"


@pytest.mark.parametrize("overrides", [(), ("preset=paper", "loss.remeasure=3"), ("loss.split_by=corruption",)])
def test_what_is_written_reads_back_equal(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    config, path = read(tmp_path, *overrides), tmp_path / "resolved.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert read_config(UnirConfig, path) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.lambda=1", "loss.lambda: unknown key"),
        ("colour=1", "colour: unknown key"),
        ("preset=heavy", "preset: .*'lite' or 'paper'.*'heavy'"),
        ("preset=1", "preset: "),
        ("corruption=remove-pixels", "corruption: .*there is no 'remove-pixels'"),
        ("corruption=remove-pixel:p=2", "corruption: .*p=2"),
        ("corruption=jpeg", "corruption: .*has no gradient"),
        ("corruption=downsample", "corruption: .*changes the size"),
        ("corruption=3", "corruption: .*string"),
        (
            "corruption=convolve-noise",
            "network.kind='filling_unet', but 'convolve-noise' marks no lost values; use 'direct_unet'",
        ),
        ("corruption=gaussian-noise+remove-pixel", "network.keep_measured=true, but .* changes what it measures"),
        ("corruption=remove-pixel:rescale", "network.keep_measured=true"),
        ("network.kind=vit", "network.kind: .*'filling_unet'"),
        ("network.widths=many", "network.widths: .*'many'"),
        ("network.blocks=[1]", "network: widths and blocks"),
        ("network.keep_measured=perhaps", "network.keep_measured: .*'perhaps'"),
        ("loss.kind=l1", "loss.kind: .*'lsgan'"),
        ("loss.variant=gan", "loss.variant: .*'unir'"),
        ("loss.splitting=1", "loss.splitting: .*less than 1, got 1"),
        ("loss.r1=-1", "loss.r1: "),
        ("loss.adversarial=nan", "loss.adversarial: .*finite"),
        ("discriminator.layers=9", "discriminator.layers: "),
        ("discriminator.learning_rate=0", "discriminator.learning_rate: "),
        ("trainer.betas=[0.5]", "trainer.betas.1: "),
        ("trainer.betas=[0.5, 1]", "trainer.betas.1: .*less than 1"),
        ("trainer.momentum=1", "trainer.momentum: unknown key"),
        ("data.sigma=[0, 55]", "data.sigma: unknown key"),
        ("data.patch=50", "data.patch=50 must be a multiple of 4"),
        ("data=1", "data: "),
        ("loss=1", "loss: "),
    ],
)
def test_mistakes_name_the_key(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("loss.sigmoid=true", "loss.kind=hinge"), "sigmoid is of kind='lsgan'"),
        (("loss.adversarial=0", "loss.splitting=0"), "nothing says what an image looks like"),
        (
            ("corruption=convolve-noise", "network.kind=residual_unet", "loss.split_by=corruption"),
            "needs a corruption that loses",
        ),
        (("data.patch=8", "discriminator.layers=3"), "data.patch=8 is too small for this discriminator, which takes at least 16"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path: Path, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, *overrides)


def test_a_table_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="loss: "):
        read(tmp_path, "preset=paper", "loss=3")
