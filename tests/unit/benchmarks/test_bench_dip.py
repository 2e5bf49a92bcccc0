"""The benchmark of Deep Image Prior: what is work of its own, what is refused, and what rows come to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch")

from benchmarks import dip
from benchmarks.arguments import Findings, exit_with
from benchmarks.dip_cases import CASES, PAPER, TWIN_SIDE, Trial, is_here, open_trial
from benchmarks.dip_findings import add_figures, policy_notes
from benchmarks.dip_trials import AUTOMATIC_STOP, ORACLE, PEER_PEAK, Candidate, Row, run_ours, stop_row
from benchmarks.images import DEFAULT_DATA
from benchmarks.schema import FitRow, read_result
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.stopping import NoPolicy
from restore_sdk.errors import MaskError, OptionsError

KATE = CASES["inpaint-kate"]
SHORT = DipOptions(width="draft", max_iterations=2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An image of 128 x 128 pixels whose mask keeps all but a border."""
    assert KATE.mask is not None
    kept = np.zeros((128, 128), np.uint8)
    kept[16:-16, 16:-16] = 255
    for name, pixels in ((KATE.image, np.full((128, 128, 3), 90, np.uint8)), (KATE.mask, kept)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), pixels)
    return tmp_path


def test_centre_in_which_nothing_is_lost(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert open_trial(KATE, data, 128, 0).known is not None
    with pytest.raises(MaskError, match=r"nothing is lost in the 64 x 64 centre of inpaint-kate; pass a larger --size"):
        open_trial(KATE, data, 64, 0)
    words = ["--data", str(data), "--ledger", str(data / "rows.jsonl"), "--cases", KATE.name, "--size", "64", "--threads", "1"]
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: dip.main(words))
    assert ended.value.code == 2
    assert capsys.readouterr().err == "nothing is lost in the 64 x 64 centre of inpaint-kate; pass a larger --size\n"


@pytest.mark.parametrize("size", ["-5", "8"])
def test_sides_that_are_too_small(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        dip.arguments_of(["--size", size])
    assert ended.value.code == 2
    assert f"{size} is neither 0 nor at least 32" in capsys.readouterr().err


def test_one_fit_gives_rows_for_every_policy_and_a_picture(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger, strips = data / "rows.jsonl", data / "strips"
    words = ["--data", str(data), "--ledger", str(ledger), "--strips", str(strips), "--cases", KATE.name, "--size", "128"]
    words += ["--threads", "1", "--seeds", "1", "--width", "draft", "--max-iterations", "4", "--every", "2"]
    assert dip.main([*words, "--methods", "opencv,ours"]) == 1  # four iterations do not come up to OpenCV
    rows = [row for _, _, row in dip.read_rows(ledger)]
    assert [row.method for row in rows] == ["opencv inpaint", ORACLE, AUTOMATIC_STOP, "ours, by wmv", "ours, by emv"]
    assert [point[0] for point in rows[1].curve] == [2, 4]
    assert {row.stop for row in rows[2:]} == {"max_iterations"}
    said = capsys.readouterr().out
    assert "wmv alone would have stopped" in said
    assert "ours, by wmv" not in said.partition("means over seeds")[2].partition("note:")[0]
    picture = cv2.imread(str(strips / f"{KATE.name}-128-draft-0.png"))
    assert picture is not None
    assert picture.shape == (128, 4 * 128, 3)
    assert (picture[:16, :128] == 0).all()  # as measured: the border is lost
    assert (picture[64, 64 + 3 * 128] == 90).all()  # the truth
    assert dip.main([*words, "--methods", "opencv,ours"]) == 1
    assert "2 of 2 are kept" in capsys.readouterr().out
    assert dip.main([*words, "--methods", "opencv,ours", "--limit", "0", "--seeds", "2"]) == 1
    assert "2 of 4 are kept in rows.jsonl; 0 follow now" in capsys.readouterr().out
    ledger.write_text(ledger.read_text() * 2 + '{"work": "ou')  # two runs at once measured the same, and one was cut off
    assert dip.main([*words, "--methods", "opencv,ours", "--json", str(data / "result.json"), "--no-gates"]) == 0
    fits = [row for row in read_result(data / "result.json").rows if isinstance(row, FitRow)]
    assert [(fit.method, fit.width, fit.seeds) for fit in fits] == [
        ("opencv inpaint", "", 1),
        (ORACLE, "draft", 1),
        (AUTOMATIC_STOP, "draft", 1),
    ]


def test_a_blurred_case_is_blurred_and_its_baseline_sharpens(tmp_path: Path) -> None:
    """Squares of 16 pixels. Its fit is told the kernel; the paper's protocols leave such cases out."""
    case = CASES["deblur-monarch"]
    assert case.name not in PAPER
    squares = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    (tmp_path / case.image).parent.mkdir()
    cv2.imwrite(str(tmp_path / case.image), squares)
    trial = open_trial(case, tmp_path, 96, 0)
    name, sharpened = trial.opencv()
    assert name == "skimage richardson-lucy"
    assert sharpened.shape == (96, 96, 3)
    assert trial.psnr(sharpened) > trial.psnr(trial.measured) + 1
    inner = np.s_[8 : 96 - 8, 8 : 96 - 8]
    assert np.abs(trial.measured - trial.clean)[inner].max() > 0.1
    rows, _ = run_ours(trial, SHORT, device="cpu", every=1, beyond=9, on_progress=lambda progress: None)
    assert rows[0].method == ORACLE


def test_a_ledger_that_was_cut_off_loses_nothing_that_comes_next(tmp_path: Path) -> None:
    ledger = tmp_path / "rows.jsonl"
    ledger.write_bytes(b'\xff\n{"work": "other"}\n{"work": "ou')
    dip.keep_rows(ledger, "ours", "size=128", ours(30.0), "abc")
    dip.keep_rows(ledger, "ours", "size=128", ours(31.0), "abc")
    assert [row.psnr for _, _, row in dip.read_rows(ledger)] == [30.0, 30.0, 31.0, 31.0]


def test_rows_are_kept_before_anything_else_can_fail(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dip, "run_ours", lambda *_args, **_options: (ours(30.0), np.zeros((128, 128, 3), np.float32)))
    monkeypatch.setattr(dip, "draw", full)
    words = ["--data", str(data), "--ledger", str(data / "rows.jsonl"), "--strips", str(data / "strips"), "--cases", KATE.name]
    with pytest.raises(OSError, match="No space"):
        dip.main([*words, "--size", "128", "--seeds", "1", "--methods", "ours"])
    assert len(dip.read_rows(data / "rows.jsonl")) == 2


def test_names_count_once_and_odd_ones_are_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    assert dip.arguments_of(["--methods", "ours,opencv,ours"]).methods == ["ours", "opencv"]
    assert dip.main(["--width", "draft,"]) == 2
    assert "unknown: ''" in capsys.readouterr().err


def test_options_are_refused_before_the_first_fit() -> None:
    with pytest.raises(OptionsError, match="stopping"):
        dip.main(["--stopping", "foo"])


def test_a_policy_that_was_still_waiting_has_no_row() -> None:
    """The fit ended early, because of the automatic one."""
    waiting = Candidate(NoPolicy())
    waiting.chosen = 40, 1.0, np.zeros((16, 16, 3), np.float32)
    trial = Trial(CASES["denoise-f16"], np.zeros((16, 16, 3), np.float32), np.zeros((16, 16, 3), np.float32), None)
    assert stop_row("ours, by wmv", waiting, trial, DipOptions(max_iterations=100)) is None
    ended = stop_row("ours, by wmv", waiting, trial, DipOptions(max_iterations=40))
    assert ended is not None
    assert ended.stop == "max_iterations"


def test_one_picture_in_two_sets_is_fitted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, face = CASES["sr4-head"], CASES["sr4-set14-face"]
    for case in (head, face):
        (tmp_path / case.image).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / case.image), np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    words = ["--data", str(tmp_path), "--ledger", str(tmp_path / "rows.jsonl"), "--size", "64", "--methods", "opencv"]
    words += ["--threads", "1", "--seeds", "1", "--json", str(tmp_path / "result.json")]
    assert dip.main([*words, "--cases", f"{head.name},{face.name}"]) == 0
    assert "0 of 1 are kept" in capsys.readouterr().out
    assert dip.main([*words, "--cases", face.name]) == 0
    assert "1 of 1 are kept" in capsys.readouterr().out
    rows = read_result(tmp_path / "result.json").rows
    assert [row.case for row in rows if isinstance(row, FitRow)] == [face.name]
    assert dip.main([*words, "--cases", face.name, "--size", "0"]) == 0
    assert "0 of 1 are kept" in capsys.readouterr().out


@pytest.mark.skipif(not is_here(CASES["sr4-head"], DEFAULT_DATA), reason="needs the test sets")
@pytest.mark.parametrize("size", [32, 256, TWIN_SIDE])
def test_a_case_that_stands_for_another_has_its_pixels(size: int) -> None:
    twins = [(case, CASES[case.twin]) for case in CASES.values() if case.twin is not None]
    assert twins
    for case, other in twins:
        first, second = (open_trial(one, DEFAULT_DATA, size, 0) for one in (case, other))
        assert np.array_equal(first.clean, second.clean)
        assert case.task == other.task


def ours(psnr: float, stop: str = "held-out", case: str = KATE.name, curve: tuple[float, ...] = ()) -> list[Row]:
    points = [[10.0 * number, 2.0 * number, value] for number, value in enumerate(curve, 1)]
    peak = Row(case, 0, ORACLE, max(curve, default=psnr), 0.9, 30, 6.0, "", "draft", curve=points)
    return [peak, Row(case, 0, AUTOMATIC_STOP, psnr, 0.9, 40, 8.0, stop, "draft")]


def figures_of(rows: list[Row]) -> dict[str, float]:
    findings = Findings()
    add_figures(rows, findings)
    return {figure.name: figure.value for figure in findings.figures}


def test_a_peer_that_is_never_reached_counts_as_lost() -> None:
    rows = ours(30.0, curve=(20.0, 28.0, 30.0)) + ours(25.0, case="sr4-zebra", curve=(20.0, 25.0))
    peers = [Row(name, 0, PEER_PEAK, psnr, 0.9, 100, 40.0) for name, psnr in ((KATE.name, 27.0), ("sr4-zebra", 26.0))]
    found = figures_of(rows + peers)
    assert found["deepinv_seconds_over_ours_least"] == 0
    assert found["deepinv_seconds_over_ours_median"] == 5  # 40 s over the 4 s to 28 dB, and 0
    assert "deepinv_seconds_over_ours_least" not in figures_of(rows)


def test_a_precision_is_held_against_fp32_and_enters_nothing_else() -> None:
    full = ours(29.0, curve=(30.0,)) + ours(25.0, case="sr4-zebra", curve=(25.0,))
    half = [dataclasses.replace(row, psnr=row.psnr - 0.5, iterations=20, settings="draft bf16") for row in full[:2]]
    found = figures_of([*full, *half])
    assert (found.pop("bf16_loss_mean"), found.pop("bf16_speed_median")) == (0.5, 0.5)  # 0.2 s an iteration, and 0.4
    assert found == figures_of(full)


def test_precisions_are_refused_where_they_do_not_work(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OptionsError, match="'fp32' on the CPU"):
        dip.main(["--precision", "fp32,bf16", "--device", "cpu"])
    assert dip.main(["--precision", "fp8"]) == 2
    assert "unknown: 'fp8'" in capsys.readouterr().err


def test_each_precision_is_work_of_its_own(data: Path) -> None:
    words = [
        "--data",
        str(data),
        "--methods",
        "ours",
        "--seeds",
        "1",
        "--threads",
        "1",
        "--width",
        "draft",
        "--precision",
        "fp32,tf32",
    ]
    arguments = dip.arguments_of(words)
    assert {way for _, _, _, way in dip.work_of(arguments)} == {"draft", "draft tf32"}
    before, after = (dip.settings_of("ours", way, arguments) for way in ("draft", "draft tf32"))
    assert before == "size=256 width=draft iterations=None beyond=1000 stopping=auto"
    assert after == before.replace("draft", "draft tf32")


def test_fits_that_nothing_stopped_do_not_hide_the_gap() -> None:
    rows = ours(29.0, curve=(30.0,)) + ours(25.0, "max_iterations", "sr4-zebra", (25.0,))
    found = figures_of(rows)
    assert (found["gap_mean"], found["gap_mean_where_a_policy_stopped"], found["share_stopped_by_a_policy"]) == (0.5, 1.0, 0.5)


def test_policies_that_had_not_stopped_are_counted() -> None:
    rows = ours(29.0, curve=(30.0,)) + ours(25.0, "discrepancy", "denoise-f16", (25.0,))
    asked = Row(KATE.name, 0, "ours, by wmv", 28.5, 0.9, 50, 10.0, "wmv", "draft")
    assert list(policy_notes([*rows, asked])) == [
        "wmv alone would have stopped 1.50 dB below the peak on average, 1.50 at most, after 50 iterations "
        "(1 fits; 1 ended before it had stopped, or did not ask it)"
    ]


def test_rows_of_other_threads_are_other_rows() -> None:
    one, two = (dip.arguments_of(["--threads", number]) for number in ("1", "2"))
    assert dip.settings_of("ours", "draft", one) != dip.settings_of("ours", "draft", two)
    assert dip.settings_of("opencv", "", one) == dip.settings_of("opencv", "", two)
