"""What the fits of Deep Image Prior come to: means over seeds, gaps to the peak, speed against the peer."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from benchmarks.arguments import Findings
from benchmarks.dip_cases import CASES
from benchmarks.dip_trials import AUTOMATIC_STOP, ORACLE, OTHER_POLICIES, PEER_PEAK, Row, asked_only
from benchmarks.schema import FitRow
from restore_sdk.dip.choosing import AUTOMATIC

Key = tuple[str, int, str, str]  # case, seed, method, width


def summaries(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows of one case, method and width over the seeds, in the order of the cases."""
    for case in CASES:
        here = [row for row in rows if row.case == case]
        for way in dict.fromkeys((row.method, row.settings) for row in here):
            yield [row for row in here if (row.method, row.settings) == way]


def fit_rows(rows: Sequence[Row], size: int) -> list[FitRow]:
    """Means over the seeds in the format of the results."""
    made = []
    for some in summaries(rows):
        psnr, ssim, iterations, seconds = (mean(some, name) for name in ("psnr", "ssim", "iterations", "seconds"))
        facts = {"case": some[0].case, "size": size, "method": some[0].method, "width": some[0].settings, "seeds": len(some)}
        made.append(FitRow(psnr=psnr, ssim=ssim, iterations=iterations, seconds=seconds, **facts))  # type: ignore[arg-type]
    return made


def table_of(rows: Sequence[FitRow]) -> Table:
    """For the screen."""
    table = Table(title="Deep Image Prior, means over seeds")
    for name in ("case", "method", "width", "PSNR dB", "SSIM", "iterations", "seconds", "seeds"):
        table.add_column(name, justify="left" if name in ("case", "method", "width") else "right")
    for row in rows:
        numbers = f"{row.psnr:.2f}", f"{row.ssim:.3f}", f"{row.iterations:.0f}", f"{row.seconds:.1f}", str(row.seeds)
        table.add_row(row.case, row.method, row.width, *numbers)
    return table


def mean(rows: Sequence[Row], name: str) -> float:
    """Of one field."""
    return statistics.fmean(getattr(row, name) for row in rows)


def add_figures(rows: Sequence[Row], findings: Findings) -> None:
    """Gap of the automatic stop to the oracle, its lead over OpenCV on inpainting, and speed against deepinv."""
    _add_precisions(rows, findings)
    rows = [row for row in rows if " " not in row.settings]
    by = {key_of(row): row for row in rows}
    pairs = [(row, by.get((row.case, row.seed, AUTOMATIC_STOP, row.settings))) for row in rows if row.method == ORACLE]
    gaps = [oracle.psnr - stopped.psnr for oracle, stopped in pairs if stopped is not None]
    if gaps:
        findings.add("gap_mean", statistics.fmean(gaps), "dB")
        findings.add("gap_largest", max(gaps), "dB")
    fired = [oracle.psnr - end.psnr for oracle, end in pairs if end is not None and end.stop != "max_iterations"]
    if fired:  # where nothing stopped a fit that still gained, peak and stop are one
        findings.add("gap_mean_where_a_policy_stopped", statistics.fmean(fired), "dB")
        findings.add("share_stopped_by_a_policy", len(fired) / len(gaps), "")
    leads = [row.psnr - by[key].psnr for key, row in _stopped(by, "opencv inpaint")]
    if leads:
        findings.add("inpaint_over_opencv_least", min(leads), "dB")
    peers = [(oracle, by.get((oracle.case, oracle.seed, PEER_PEAK, ""))) for oracle, _ in pairs]
    speeds = [speed_up(oracle, peer) for oracle, peer in peers if peer is not None]
    if speeds:
        findings.add("deepinv_seconds_over_ours_median", statistics.median(speeds), "x")
        findings.add("deepinv_seconds_over_ours_least", min(speeds), "x")


def _add_precisions(rows: Sequence[Row], findings: Findings) -> None:
    """What another precision than fp32, or compiling, costs at the automatic stop, and saves; means, since single fits differ."""
    ends = {(row.case, row.seed, row.settings): row for row in rows if row.method == AUTOMATIC_STOP}
    pairs: dict[str, list[tuple[Row, Row]]] = {}
    for (case, seed, way), row in ends.items():
        width, _, others = way.partition(" ")
        if others and (full := ends.get((case, seed, width))) is not None:
            pairs.setdefault(others.replace(" ", "_"), []).append((full, row))
    for precision, some in pairs.items():
        findings.add(f"{precision}_loss_mean", statistics.fmean(full.psnr - row.psnr for full, row in some), "dB")
        an_iteration = [full.seconds / full.iterations / (row.seconds / row.iterations) for full, row in some]
        findings.add(f"{precision}_speed_median", statistics.median(an_iteration), "x")


def policy_notes(rows: Sequence[Row]) -> Iterator[str]:
    """How far below the peak the policies would have stopped that were only asked."""
    peaks = [row for row in rows if row.method == ORACLE]
    for name in OTHER_POLICIES:
        asked = [peak for peak in peaks if AUTOMATIC[CASES[peak.case].task] != name]
        by = {key_of(row): row for row in rows if row.method == asked_only(name)}
        ends = [by.get((peak.case, peak.seed, asked_only(name), peak.settings)) for peak in asked]
        gaps = [max(0.0, peak.psnr - end.psnr) for peak, end in zip(asked, ends, strict=True) if end is not None]
        if gaps:
            where = f"{statistics.fmean(gaps):.2f} dB below the peak on average, {max(gaps):.2f} at most"
            after = mean([end for end in ends if end is not None], "iterations")
            late = f"; {len(asked) - len(gaps)} ended before it had stopped, or did not ask it" if len(gaps) < len(asked) else ""
            yield f"{name} alone would have stopped {where}, after {after:.0f} iterations ({len(gaps)} fits{late})"


def shown(rows: Sequence[Row]) -> list[Row]:
    """Those that the table has: without the policies that were only asked."""
    return [row for row in rows if row.method not in map(asked_only, OTHER_POLICIES)]


def key_of(row: Row) -> Key:
    """What there is one row of."""
    return row.case, row.seed, row.method, row.settings


def _stopped(by: Mapping[Key, Row], other: str) -> list[tuple[Key, Row]]:
    """Rows at our own stop that another method has a row beside, and the key of that."""
    found = [((row.case, row.seed, other, ""), row) for row in by.values() if row.method == AUTOMATIC_STOP]
    return [(key, row) for key, row in found if key in by]


def speed_up(ours: Row, peer: Row) -> float:
    """The peer's seconds to its best over ours to the same PSNR; 0 where ours never gets there."""
    reached = next((point[1] for point in ours.curve if point[2] >= peer.psnr), None)
    return peer.seconds / reached if reached else 0.0
