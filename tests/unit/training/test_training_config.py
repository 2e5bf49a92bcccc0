"""One TOML file and --set: every mistake names its key, and what is written reads back equal."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.engine.config import ConfigError, read_config, to_toml
from training.engine.fit import fast_dev
from training.methods import with_data
from training.self_supervised.config import SelfSupervisedConfig

ROOT = Path(__file__).resolve().parents[3]
SMALL = 'name = "a"\n[data]\nfolders = ["photos"]\n'


def read(tmp_path: Path, text: str = SMALL, *overrides: str) -> SelfSupervisedConfig:
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(SelfSupervisedConfig, path, overrides)


def test_the_bundled_model_has_a_valid_configuration_that_never_reads_the_test_images() -> None:
    config = read_config(SelfSupervisedConfig, ROOT / "configs" / "denoise.toml")
    assert config.name == "denoise"
    assert [folder.name for folder in config.data.folders] == ["train", "test"]
    assert config.data.noise == "frozen"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.learning_rat=1", "trainer.learning_rat: unknown key"),
        ("speed=1", "speed: unknown key"),
        ("trainer.max_steps=many", "trainer.max_steps: .*integer.*, got 'many'"),
        ("trainer.learning_rate=-1", "trainer.learning_rate: .*greater than 0, got -1"),
        ("trainer.learning_rate=inf", "trainer.learning_rate: .*finite"),
        ("trainer.accelerator=abacus", "trainer.accelerator: .*'abacus'"),
        ("trainer.devices=0", "trainer.devices"),
        ("trainer=1", "trainer: "),
        ("name=../elsewhere", "name: "),
        ("data.folders=[]", "data.folders: "),
        ("data.sigma=[9, 3]", "data: sigma must be"),
        ("data.patch=50", "data.patch=50 must be a multiple of 4"),
        ("network.blocks=[1]", "network: widths and blocks"),
        ("network.widths=[0, 8]", "network.widths.0: "),
        ("loss.kind=l1", "loss.kind: .*'r2r'"),
        ("loss.alpha=0", "loss.alpha: "),
        ("justaword", "--set 'justaword' is not key=value"),
        (
            "name=first\ntrainer.seed=1",
            r"^--set 'name=first\\ntrainer.seed=1' has more than one line; pass one --set for each key$",
        ),
        ("name=first\rx", r"^--set 'name=first\\rx' has more than one line"),
        ("name.first=1", "'name' is not a table"),
    ],
)
def test_mistakes_name_the_key(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, SMALL, override)


def test_several_mistakes_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.seed: .*; colour: unknown key"):
        read(tmp_path, SMALL, "trainer.seed=x", "colour=1")


def test_measured_noise_has_no_clean_targets(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs clean images"):
        read(tmp_path, SMALL, "data.noise=measured", "loss.kind=supervised")


def test_neighbor2neighbor_sees_half_size_crops(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.patch=20 must be a multiple of 8"):
        read(tmp_path, SMALL, "data.patch=20", "loss.kind=neighbor2neighbor")


@pytest.mark.parametrize(
    ("content", "message"), [(b"name = ", "is not TOML"), (b"\xff\xfe", "cannot read"), (None, "cannot read")]
)
def test_unreadable_files_say_so(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "c.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_config(SelfSupervisedConfig, path)


def test_overrides_are_toml_values_or_bare_words(tmp_path: Path) -> None:
    config = read(tmp_path, SMALL, "loss.kind=sure", "trainer.max_seconds=600", "data.sigma=[1, 2.5]", 'data.terms="a = b"')
    assert config.loss.kind == "sure"
    assert config.trainer.max_seconds == 600.0
    assert config.data.sigma == (1.0, 2.5)
    assert config.data.terms == "a = b"


def test_data_replaces_the_folder_and_what_was_said_of_it(tmp_path: Path) -> None:
    described = SMALL + 'description = "BSDS500"\nterms = "research"\n'
    folder = tmp_path / 'a "quoted" \\ folder 😀'
    config = read(tmp_path, described, *with_data([], folder))
    assert config.data.folders == (folder,)
    assert (config.data.description, config.data.terms) == ("", "")
    assert read(tmp_path, described, *with_data(["data.terms=mine"], folder)).data.terms == "mine"
    assert read(tmp_path, described, *with_data([], None)).data.description == "BSDS500"


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    description=words,
    low=st.floats(0, 50),
    seconds=st.none() | st.floats(1e-9, 1e9),
    rate=st.floats(1e-12, 1e3),
    widths=st.lists(st.integers(1, 64), min_size=1, max_size=3),
    devices=st.sampled_from(["auto", 1, 2]),
)
def test_toml_reads_back_equal(
    description: str, low: float, seconds: float | None, rate: float, widths: list[int], devices: str | int
) -> None:
    values: dict[str, Any] = {
        "name": "a",
        "data": {"folders": [Path("x")], "description": description, "sigma": (low, 55.0), "patch": 64},
        "network": {"widths": widths, "blocks": [1] * len(widths)},
        "trainer": {"max_seconds": seconds, "learning_rate": rate, "devices": devices},
    }
    config = SelfSupervisedConfig.model_validate(values)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c.toml")
        path.write_text(to_toml(config), encoding="utf-8", newline="\n")
        assert read_config(SelfSupervisedConfig, path) == config


def test_a_trial_has_a_folder_of_its_own(tmp_path: Path) -> None:
    trial = fast_dev(read(tmp_path, SMALL, "trainer.max_seconds=600"))
    assert trial.folder == Path("runs/a-fast-dev")
    assert (trial.trainer.max_steps, trial.trainer.max_seconds) == (2, None)


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "{a = " * 100_000, "a = " + "1" * 5000])
def test_text_that_breaks_the_reader_is_not_toml(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not TOML"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("trainer.seed=-1", "trainer.seed"),
        ("trainer.seed=4294967296", "trainer.seed"),
        ("trainer.threads=1000000", "trainer.threads"),
        ("name=" + "a" * 101, "name"),
        ("network.widths=[1000000000]", "network.widths"),
        ("network.widths=[1, 1, 1, 1, 1, 1, 1, 1, 1]", "network.widths"),
        ("data.batch=1" + "0" * 5000, "data.batch"),
        ("data.folders=" + "[" * 100_000, "data.folders"),
    ],
    ids=["negative seed", "large seed", "threads", "name", "width", "scales", "digits", "deep"],
)
def test_values_that_no_machine_takes(override: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=key):
        read(tmp_path, SMALL, override)
