"""The comparison of the methods: rows are measured, kept, and not measured again. No figure is judged."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_images import smooth_image

from benchmarks import unir
from benchmarks.peers.inpainting import opencv_inpaint
from benchmarks.schema import read_result


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Flags for a made-up data folder and a network of a few hundred weights."""
    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    images = np.stack([smooth_image(index, 32, 32) for index in range(6)])
    np.savez(tmp_path / "data" / "cifar10" / "cifar10_subset.npz", train_images=images, test_images=images[:2])
    places = {"--data": "data", "--work": "work", "--json": "out.json"}
    flags = [word for flag, name in places.items() for word in (flag, str(tmp_path / name))]
    return [*flags, "--steps", "1", "--widths", "4", "--test", "2"]


def measured(tmp_path: Path) -> dict[tuple[str, str], float]:
    return {(row.set, row.method): row.psnr for row in read_result(tmp_path / "out.json").rows}


def test_rows_are_measured_one_by_one_and_kept(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words += ["--corruptions", "remove-pixel", "--letters", "a", "b1", "d", "--rows", "2"]
    assert unir.main(words) == 0
    assert {method for _, method in measured(tmp_path)} == {"(a) corrupted input", "(b) OpenCV inpaint, Telea"}
    assert unir.main(words) == 0
    after = measured(tmp_path)
    assert {name for name, _ in after} == {"CIFAR-10 remove-pixel, hidden pixels", "CIFAR-10 remove-pixel, whole images"}
    assert "(d) UNIR as published" in {method for _, method in after}
    names = {figure["name"] for figure in json.loads((tmp_path / "out.json").read_text())["figures"]}
    assert names == {"remove_pixel_d_over_a"}

    def never(*_: object) -> None:
        raise AssertionError("a kept row was measured again")

    monkeypatch.setattr(unir, "measure", never)
    assert unir.main(words) == 0
    assert measured(tmp_path) == after


def test_other_settings_are_a_trial_which_says_so_and_is_not_judged(words: list[str], tmp_path: Path) -> None:
    trial = [*words, "--corruptions", "remove-pixel", "--letters", "a", "d", "--set", "data.batch=2", "discriminator.width=4"]
    assert unir.main(trial) == 0
    result = read_result(tmp_path / "out.json")
    assert len(result.rows) == 4
    assert result.figures == []
    assert any("data.batch=2 discriminator.width=4" in note for note in result.notes)


def test_every_trained_row_has_a_valid_configuration(words: list[str]) -> None:
    arguments = unir.make_parser().parse_args(words)
    for corruption in unir.CORRUPTIONS:
        configs = {letter: unir.configuration(corruption, letter, arguments) for letter in "cdefgh"}
        assert len({config.network.model_dump_json() for config in configs.values()}) == 1
        assert {config.data.patch for config in configs.values()} == {32}
        assert configs["d"].loss.variant == "unir"
        assert configs["e"].loss.model_copy(update={"variant": "unir"}) == configs["d"].loss
        assert (configs["e"].trainer, configs["e"].discriminator) == (configs["d"].trainer, configs["d"].discriminator)
        assert configs["d"].loss.smoothness == 0
        assert (configs["f"].loss.splitting, configs["g"].loss.splitting) == (0.1, 0.1)
        assert not configs["g"].adversary
        assert configs["f"].adversary


def test_methods_with_masks_are_for_corruptions_with_masks() -> None:
    assert [letter for letter in unir.ROWS if letter[0] == "b" and unir.applies("convolve-noise", letter)] == ["b3", "b4"]
    assert [letter for letter in unir.ROWS if letter[0] == "b" and unir.applies("patch-band", letter)] == ["b1", "b2"]


def test_missing_data_is_said(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert unir.main([*words, "--data", str(tmp_path / "nowhere")]) == 2
    assert "holds no cifar10" in capsys.readouterr().out


def test_inpainting_fills_each_channel_by_its_own_mask() -> None:
    image = np.full((12, 12, 3), 128 / 255, np.float32)
    lost = np.zeros(image.shape, bool)
    lost[4:8, 4:8, 1] = True
    filled = opencv_inpaint(cv2.INPAINT_TELEA)(np.where(lost, np.float32(0), image), lost)
    assert np.abs(filled - image).max() < 1e-6


def test_scores_by_hand() -> None:
    # an error of 0.1 on the hidden half: 20 dB there, and half the squared error over the whole image
    clean = np.full((16, 16, 3), 0.5, np.float32)
    lost = np.zeros(clean.shape, bool)
    lost[:8] = True
    hidden, _, whole, similarity = unir.score(np.where(lost, clean + np.float32(0.1), clean), clean, lost)
    assert hidden == pytest.approx(20.0, abs=1e-4)
    assert whole == pytest.approx(20 + 10 * np.log10(2), abs=1e-4)
    assert similarity < 1
