"""Means over sets and over the part that all methods ran on; the sets themselves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import quality
from benchmarks.images import DEFAULT_DATA, SETS, Sample, find_samples, photograph
from benchmarks.scores import MODEL, NOISY, Score, SetScores


def scores() -> SetScores:
    """Two images; the classical method ran on the second only."""
    result = SetScores("cbsd68", 25.0)
    for index, (noisy, restored) in enumerate([(20.0, 30.0), (21.0, 29.0)]):
        result.add(NOISY, index, Score(noisy, 0.5, 0.0))
        result.add(MODEL, index, Score(restored, 0.8, 1.0))
    result.add("tv", 1, Score(27.0, 0.7, 3.0))
    return result


def test_rows_of_the_whole_set_and_of_the_shared_part() -> None:
    rows = {(row.set, row.method): row for row in scores().rows()}
    assert set(rows) == {("cbsd68", NOISY), ("cbsd68", MODEL), ("cbsd68[1]", NOISY), ("cbsd68[1]", MODEL), ("cbsd68[1]", "tv")}
    assert (rows["cbsd68", MODEL].psnr, rows["cbsd68", MODEL].images, rows["cbsd68", MODEL].seconds) == (29.5, 2, 2.0)
    assert (rows["cbsd68[1]", MODEL].psnr, rows["cbsd68[1]", "tv"].psnr) == (29.0, 27.0)


def test_gain_compares_the_same_images() -> None:
    assert scores().gain() == 9.0  # (10 + 8) / 2
    assert scores().gain(over="tv") == 2.0
    assert scores().best_classical() == "tv"


def test_no_classical_method() -> None:
    result = SetScores("cbsd68", 25.0)
    result.add(MODEL, 0, Score(30.0, 0.9, 1.0))
    assert result.best_classical() is None


def test_measure_gives_every_method_the_same_noise(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((32, 32, 3), 128, np.uint8))
    seen: dict[str, list[np.ndarray]] = {"one": [], "two": []}

    def method(name: str) -> quality.Method:
        return lambda noisy, sigma: (seen[name].append(noisy), noisy)[1]

    samples = [Sample(7, tmp_path / "a.png")]
    results = quality.measure("kodak24", samples, [5.0, 25.0], {name: (method(name), {7}) for name in seen})
    assert [result.sigma for result in results] == [5.0, 25.0]
    for first, second in zip(seen["one"], seen["two"], strict=True):
        np.testing.assert_array_equal(first, second)
    assert results[1].mean("one").psnr == pytest.approx(20.17, abs=0.3)


def test_incomplete_sets_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cbsd68.txt").write_text("a.jpg\n")
    assert quality.present_sets(["cbsd68", "set12"], tmp_path) == {}
    assert capsys.readouterr().out.count("not found, left out") == 2


def test_without_any_set_nothing_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quality.main(["--data", str(tmp_path)]) == 2
    assert "nothing was measured" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--sets", "bsd1"], ["--sigmas", "0"], ["--limit", "0"]])
def test_bad_flags_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        quality.arguments_of(words)


@pytest.mark.skipif(not DEFAULT_DATA.is_dir(), reason="the shared test images are not here")
@pytest.mark.parametrize(("name", "count"), [("cbsd68", 68), ("kodak24", 12), ("set12", 12), ("polyu", 50), ("rni15", 15)])
def test_shared_sets(name: str, count: int) -> None:
    samples = find_samples(name, DEFAULT_DATA)
    assert [sample.index for sample in samples] == list(range(count))
    assert name in SETS


@pytest.mark.parametrize("size", [(64, 64), (600, 1100)])
def test_photograph_without_data_has_the_size_asked_for(size: tuple[int, int], tmp_path: Path) -> None:
    image = photograph(*size, data=tmp_path)
    assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
    assert image.std() > 10
