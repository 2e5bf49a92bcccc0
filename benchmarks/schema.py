"""The results format: one JSON file for each benchmark and machine, checked when it is written and when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

SCHEMA: Literal["restore-bench/1"] = "restore-bench/1"
RESULTS = Path(__file__).parent / "results"
Verdict = Literal["pass", "fail", "not measured"]


class ResultsError(ValueError):
    """A results file that does not follow the format; the message names the file and the field."""


class Record(BaseModel):
    """Base of all records: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Host(Record):
    """The machine: threads is what the run was allowed, peaks are in GFLOP/s (FP32) for that many threads, gpu may be ""."""

    cpu: str
    cores: int
    threads: int
    ram_gb: FiniteFloat
    os: str
    python: str
    packages: dict[str, str]
    peak_gflops: FiniteFloat | None = None
    peak_source: str = "not measured"
    gpu: str = ""
    sgemm_gflops: FiniteFloat | None = None


class Model(Record):
    """The network that was measured. receptive_radius and size_multiple in pixels, bytes_per_pixel as stated by its spec."""

    name: str
    sha256: str
    parameters: int | None = None
    gflop_per_megapixel: FiniteFloat | None = None
    receptive_radius: int | None = None
    size_multiple: int = 1
    bytes_per_pixel: FiniteFloat | None = None


class QualityRow(Record):
    """Mean over `images` images: PSNR in dB, SSIM; sigma on the 0-255 scale (null: real noise); seconds spent in the method."""

    set: str
    sigma: FiniteFloat | None
    method: str
    psnr: FiniteFloat
    ssim: FiniteFloat
    images: int
    seconds: FiniteFloat


class FitRow(Record):
    """Mean over `seeds` fits of one image: PSNR in dB, SSIM, iterations and seconds until the result. `size`: side of the crop in
    pixels, 0: the whole image. `width`: of our network, "" of other methods."""

    case: str
    size: int
    method: str
    width: str
    psnr: FiniteFloat
    ssim: FiniteFloat
    iterations: FiniteFloat
    seconds: FiniteFloat
    seeds: int


class TimingRow(Record):
    """Seconds of one variant in one interleaved comparison (`case`): wall median and best, median CPU time of all threads."""

    case: str
    variant: str
    rounds: int
    median_s: FiniteFloat
    best_s: FiniteFloat
    cpu_s: FiniteFloat


class MemoryRow(Record):
    """Peak resident set of a fresh process, MB = 10^6 bytes; bound_mb is the limit by formula where there is one."""

    variant: str
    megapixels: FiniteFloat
    peak_mb: FiniteFloat
    bound_mb: FiniteFloat | None = None
    seconds: FiniteFloat


class Figure(Record):
    """One number that the project states."""

    name: str
    value: FiniteFloat
    unit: str


class Outcome(Record):
    """A gate applied to a figure; `kind` "must" fails the run, "aim" is only shown."""

    figure: str
    kind: Literal["must", "aim"]
    want: str
    value: FiniteFloat | None
    verdict: Verdict


class Result(Record):
    """Everything one run of one benchmark found."""

    schema_name: Literal["restore-bench/1"] = SCHEMA
    benchmark: str
    utc: str
    version: str
    commit: str
    host: Host
    model: Model
    settings: dict[str, str | int | float | bool | list[str] | list[float]]
    rows: list[QualityRow | FitRow | TimingRow | MemoryRow]
    figures: list[Figure]
    gates: list[Outcome]
    notes: list[str]


def read_result(path: Path) -> Result:
    """The result in `path`. Raises ResultsError when it is unreadable or does not follow the format."""
    try:
        return Result.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as exc:
        raise ResultsError(f"{path.name} is not a {SCHEMA} file: {exc}; measure again with --save") from exc


def write_result(path: Path, result: Result) -> None:
    """Write `result` as indented JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
