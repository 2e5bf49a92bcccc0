"""One run of `restore image -m dip-...`: kernels and masks, the fits, their trace, and the report."""

from __future__ import annotations

import dataclasses
import io
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restore_sdk.cli.batch import Outcome, TileCallback, code_of, counts, missing_input, note_summary, run_jobs, skipped
from restore_sdk.cli.console import complain, error_record, note, say_json
from restore_sdk.cli.dip_flags import DipFlags
from restore_sdk.cli.dip_memory import freed_memory_kept
from restore_sdk.cli.dip_progress import FitBars, Interrupt, interruptible
from restore_sdk.cli.exit_codes import ExitCode, UsageError
from restore_sdk.cli.flags import Settings, check_picture
from restore_sdk.cli.sources import Job, Work, plan_work
from restore_sdk.dip.masks import MOST_FILLED, MaskWarning
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.results import NOTHING_TO_FILL, DipImage
from restore_sdk.dip.wishes import with_wishes
from restore_sdk.dip_images import DipImages
from restore_sdk.errors import ImageError, ImageReadError, OptionsError, RestoreWarning
from restore_sdk.image.atomic import check_target, write_atomically
from restore_sdk.image.files import read_image, supported_read_suffixes, supported_write_suffixes
from restore_sdk.image_files import FileReport, restore_image_file
from restore_sdk.options import is_dip
from restore_sdk.tiling.plan import TilePlan

WHITE = 255
TOO_EARLY = "nothing was restored yet, so nothing is written"


def restore_dip(inputs: Sequence[str], out: str, settings: Settings, flags: DipFlags, *, as_json: bool, debug: bool) -> ExitCode:
    """Fit every image that `inputs` stand for. Raises UsageError, and what opening the model raises."""
    began = time.perf_counter()
    readable, writable = supported_read_suffixes(), supported_write_suffixes()
    work = plan_work(inputs, out, readable=readable, writable=writable, overwrite=settings.overwrite)
    _check(work, settings, flags)
    images = DipImages(settings.model, wished(options_of(flags), settings), device=settings.device, threads=settings.threads)
    run = _Run(images, settings, flags)
    with freed_memory_kept(), FitBars(len(work.jobs)) as progress, interruptible() as interrupt:
        outcomes = list(run.outcomes(work, progress, interrupt, show=not as_json))
    code = ExitCode.INTERRUPTED if interrupt.asked else run.code(outcomes)
    seconds = time.perf_counter() - began
    run.complain(outcomes, debug=debug)
    note_summary(outcomes, work.left_out, code, seconds)
    if as_json:
        say_json(run.result(outcomes, work, code, seconds))
    return code


def options_of(flags: DipFlags) -> DipOptions:
    """The flags as options; --sigma is of 255. Raises OptionsError, ImageReadError (of --kernel)."""
    given: dict[str, Any] = {
        "width": flags.width and flags.width.value,
        "stopping": flags.stopping and flags.stopping.value,
        "kernel": None if flags.kernel is None else kernel_of(flags.kernel),
        "sigma": None if flags.sigma is None else flags.sigma / WHITE,
        **{name: getattr(flags, name) for name in ("scale", "max_iterations", "max_seconds", "seed", "warm")},
    }
    return DipOptions(**{name: value for name, value in given.items() if value is not None})


def wished(options: DipOptions, settings: Settings) -> DipOptions:
    """With --tile. Raises UsageError where --backend, --tile, --build or --finite ask for what a fit cannot do."""
    building, finite = settings.build.value, settings.finite.value
    try:
        return with_wishes(options, backend=settings.backend, tile=settings.tile, build=building, finite=finite)
    except OptionsError as exc:
        raise UsageError(f"--{exc.name} {exc.got}: expected {exc.want}") from exc


def kernel_of(text: str) -> Any:
    """An image file as a kernel, what is transparent in it being 0, or the text itself. Raises ImageReadError."""
    if not os.path.isfile(text):
        if Path(text).suffix.lower() in supported_read_suffixes():
            raise ImageReadError(text, "there is no such file; name another, or a blur such as gaussian-blur:sigma=2")
        return text
    pixels = read_image(Path(text)).pixels.astype(np.float64)
    if pixels.ndim == 2:
        return pixels
    light = pixels[..., :3].mean(2)
    return light * pixels[..., 3] if pixels.shape[2] == 4 else light  # scaled to sum 1 afterwards


def read_mask(path: Path) -> NDArray[np.bool_]:
    """(H, W) bool, True where the image at `path` is white and not transparent. Values between are halved; DipImages checks the
    rest."""
    pixels = read_image(path).pixels
    half = np.iinfo(pixels.dtype).max / 2 if pixels.dtype.kind == "u" else 0.5
    light = pixels > half
    if light.ndim == 2:
        return np.asarray(light)
    white = light[..., :3].any(2)
    return np.asarray(white & light[..., 3] if light.shape[2] == 4 else white)


def mask_of(flags: DipFlags) -> NDArray[np.bool_] | None:
    """What --mask and --invert-mask come to. Raises UsageError for a mask that leaves nothing to do or nothing to do it from, and
    warns of one that looks inverted; raises ImageReadError."""
    if flags.mask is None:
        return None
    fill = read_mask(flags.mask) ^ bool(flags.invert_mask)
    other = "without --invert-mask" if flags.invert_mask else "with --invert-mask"
    if fill.all() or not fill.any():
        what = "every pixel" if fill.all() else "no pixel"
        mask = f"--mask {flags.mask}, {fill.shape[1]} x {fill.shape[0]} pixels,"
        raise UsageError(f"{mask} marks {what}; white is to be filled: if it is the other way round, run it {other}")
    if (share := float(fill.mean())) > MOST_FILLED:
        remedy = "leave out --invert-mask" if flags.invert_mask else "pass --invert-mask"
        warnings.warn(f"{share:.0%} of the pixels are to be filled; is the mask inverted? {remedy}", RestoreWarning, stacklevel=2)
    return fill


class _Run:
    """What every file of one run is fitted with."""

    def __init__(self, images: DipImages, settings: Settings, flags: DipFlags) -> None:
        self._images, self._settings, self._flags = images, settings, flags
        self._mask = mask_of(flags)
        self._fits: dict[Path, Mapping[str, object]] = {}
        self._trace_written = False
        self._trace_error: ImageError | OSError | None = None

    def outcomes(self, work: Work, progress: FitBars, interrupt: Interrupt, *, show: bool) -> Iterator[Outcome]:
        """The fate of every input, said as it comes."""
        to_do = [job for job in work.jobs if self._settings.overwrite or not job.exists]
        early = [*map(missing_input, work.missing), *(skipped(job) for job in work.jobs if job not in to_do)]

        def restore(job: Job, _on_tile: TileCallback) -> FileReport:
            return self._restore(job, progress, interrupt)

        for outcomes in (early, run_jobs(to_do, restore, progress)):
            for outcome in outcomes:
                if show:
                    progress.say(outcome.line())
                yield outcome

    def code(self, outcomes: Sequence[Outcome]) -> ExitCode:
        """Exit code of a run that was not interrupted."""
        code = code_of(outcomes)
        return ExitCode.PARTIAL if code is ExitCode.OK and self._trace_error is not None else code

    def complain(self, outcomes: Sequence[Outcome], *, debug: bool) -> None:
        """Say on stderr what failed and why, and what a person should know of the rest."""
        for outcome in outcomes:
            if outcome.error is not None:
                complain(outcome.error, debug=debug, about=outcome.source)
            elif outcome.report is not None:
                note(f"{outcome.source}: {'; '.join(outcome.report.notices)}")
        if self._trace_error is not None:
            complain(self._trace_error, debug=debug)

    def result(self, outcomes: Sequence[Outcome], work: Work, code: ExitCode, seconds: float) -> dict[str, object]:
        """The run as JSON."""
        return {
            "command": "image",
            "exit_code": int(code),
            "seconds": round(seconds, 4),
            "counts": counts(outcomes),
            "left_out": dict(work.left_out),
            "files": [{**outcome.record(), "fit": self._fits.get(outcome.source)} for outcome in outcomes],
            "trace": str(self._flags.trace) if self._trace_written else None,
            "trace_error": None if self._trace_error is None else error_record(self._trace_error),
            "runtime": self._images.report(),
        }

    def _restore(self, job: Job, progress: FitBars, interrupt: Interrupt) -> FileReport:
        if interrupt.asked:
            raise KeyboardInterrupt
        kept: list[DipImage] = []
        ended: list[str] = []

        def fitted(pixels: NDArray[Any]) -> tuple[NDArray[Any], TilePlan]:
            if interrupt.asked:
                raise KeyboardInterrupt(TOO_EARLY)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MaskWarning)  # which mask_of has said in the words of the flags
                made = self._images.restore(pixels, self._mask, on_progress=progress.iterated, cancelled=interrupt)
            if not _has_begun(made):
                raise KeyboardInterrupt(TOO_EARLY)
            kept.append(made)
            ended.extend(_ended(made, interrupted=interrupt.asked))
            return made.image, self._images.plan(*pixels.shape[:2])

        settings = self._settings
        report = restore_image_file(
            job.source,
            job.target,
            fitted,
            overwrite=settings.overwrite,
            metadata=settings.metadata.value,
            quality=settings.quality,
        )
        self._fits[job.source] = kept[0].outcome.report()
        self._trace(kept[0])
        return dataclasses.replace(report, notices=(*report.notices, *ended))

    def _trace(self, made: DipImage) -> None:
        """Draw --trace; the image is written already, so that an error is kept for the report."""
        if self._flags.trace is None:
            return
        from restore_sdk.dip.trace import trace_picture  # noqa: PLC0415 draws only where it is asked to

        buffer = io.BytesIO()
        Image.fromarray(trace_picture(made.outcome)).save(buffer, "PNG")
        try:
            write_atomically(self._flags.trace, [buffer.getvalue()], overwrite=self._settings.overwrite)
            self._trace_written = True
        except (ImageError, OSError) as exc:
            self._trace_error = exc


def _has_begun(made: DipImage) -> bool:
    """Whether an interrupt came late enough for a result: what the network answers first has nothing of the image yet."""
    return any(
        fit.iterations > 1 or fit.stop_reason not in ("cancelled", "not started", NOTHING_TO_FILL) for fit in made.outcome.fits
    )


def _ended(made: DipImage, *, interrupted: bool) -> tuple[str, ...]:
    """What a person should know of how the fit ended."""
    fits = made.outcome.fits
    line = f"{max(fit.iterations for fit in fits)} iterations, ended by {made.outcome.report()['stop_reason']}"
    waiting = sum(fit.stop_reason == "not started" for fit in fits)
    why = "they were not begun before the interrupt" if interrupted else "the time was over"
    more = [f"{waiting} of {len(fits)} tiles are not restored: {why}"] if waiting else []
    short = sorted({fit.stop_reason for fit in fits if fit.still_improving})
    if short:
        flags = " and ".join("--" + reason.replace("_", "-") for reason in short)
        more.append(f"still improving: raise {flags}")
    return (line, *more)


def _check(work: Work, settings: Settings, flags: DipFlags) -> None:
    """Raise UsageError for what does not go together, before minutes are spent on it."""
    if is_dip(settings.model):
        flags.check_used(settings.model)
    count = len(work.jobs) + len(work.missing)
    for name, path in (("--mask", flags.mask), ("--trace", flags.trace), ("--compare", settings.compare)):
        if path is not None and count != 1:
            raise UsageError(f"{name} belongs to one input, got {count}; run it once for each input")
    if settings.compare is not None:
        raise UsageError("--compare does not go with -m dip-...; pass --trace, which shows more")
    flags.check_target(*(job.target for job in work.jobs))
    if flags.trace is not None:
        given = [Path(path) for path in (flags.mask, flags.kernel) if path is not None]
        files = [*given, *(file for job in work.jobs for file in (job.source, job.target))]
        check_picture("--trace", flags.trace, files, overwrite=settings.overwrite)
        check_target(flags.trace, overwrite=settings.overwrite)
