"""Per-image scores of several methods, and their means over a set or over the part of it that all methods have run on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from rich.table import Table

from benchmarks.schema import QualityRow

NOISY, MODEL, SUPERVISED = "noisy input", "restore-sdk", "same network, clean targets"
OURS = (NOISY, MODEL, SUPERVISED)


@dataclass(frozen=True, slots=True)
class Score:
    """One method on one image: dB, SSIM, seconds."""

    psnr: float
    ssim: float
    seconds: float


@dataclass(slots=True)
class SetScores:
    """Scores on one set at one noise level (None: real noise): method -> index of the image -> Score."""

    name: str
    sigma: float | None
    by_method: dict[str, dict[int, Score]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, method: str, index: int, score: Score) -> None:
        self.by_method[method][index] = score

    def shared(self) -> set[int]:
        """Images that every method has run on."""
        return set.intersection(*(set(scores) for scores in self.by_method.values()))

    def mean(self, method: str, images: Iterable[int] | None = None) -> Score:
        """Mean PSNR and SSIM and total seconds of `method` over `images` (None: all that it ran on)."""
        scores = [self.by_method[method][index] for index in (self.by_method[method] if images is None else images)]
        return Score(fmean(s.psnr for s in scores), fmean(s.ssim for s in scores), sum(s.seconds for s in scores))

    def rows(self) -> list[QualityRow]:
        """A row for each method that ran on all images; then, where some ran on fewer, one for each method on those, the set's
        name followed by their number in brackets, so that all rows of one name are comparable."""
        largest, shared = max(len(scores) for scores in self.by_method.values()), self.shared()
        whole = [method for method, scores in self.by_method.items() if len(scores) == largest]
        rows = [self._row(self.name, method, sorted(self.by_method[method])) for method in whole]
        if len(shared) < largest:
            rows += [self._row(f"{self.name}[{len(shared)}]", method, sorted(shared)) for method in self.by_method]
        return rows

    def gain(self, method: str = MODEL, over: str = NOISY) -> float:
        """dB of `method` above `over` on the images that both have run on."""
        shared = sorted(self.by_method[method].keys() & self.by_method[over].keys())
        return self.mean(method, shared).psnr - self.mean(over, shared).psnr

    def best_classical(self) -> str | None:
        """The classical method with the highest mean PSNR, or None when none ran."""
        classical = [method for method in self.by_method if method not in OURS]
        return max(classical, key=lambda method: self.mean(method, self.shared()).psnr, default=None)

    def _row(self, name: str, method: str, images: Sequence[int]) -> QualityRow:
        mean = self.mean(method, images)
        return QualityRow(
            set=name,
            sigma=self.sigma,
            method=method,
            psnr=round(mean.psnr, 4),
            ssim=round(mean.ssim, 5),
            images=len(images),
            seconds=round(mean.seconds, 3),
        )


def quality_table(title: str, rows: Sequence[QualityRow]) -> Table:
    """PSNR and SSIM of each method (row) at each noise level (column pair)."""
    sigmas = list(dict.fromkeys(row.sigma for row in rows))
    table = Table(title=f"{title}, {rows[0].images} images: PSNR dB / SSIM")
    table.add_column("method")
    for sigma in sigmas:
        table.add_column("real noise" if sigma is None else f"sigma {sigma:g}", justify="right")
    table.add_column("s/image", justify="right")
    for method in dict.fromkeys(row.method for row in rows):
        found = {row.sigma: row for row in rows if row.method == method}
        cells = [f"{found[sigma].psnr:.2f} / {found[sigma].ssim:.3f}" if sigma in found else "" for sigma in sigmas]
        mean_seconds = fmean(row.seconds / row.images for row in found.values())
        table.add_row(method, *cells, f"{mean_seconds:.2f}")
    return table
