"""Files of any size restored region by region, resumed after a kill: the files, and the journal between them.

Beside the target lie the unfinished image and its journal, under hidden names, from the first cell to the last; the target
appears when it is whole. restore_sdk.gigapixel_cells says what is in memory.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from restore_sdk.errors import ImageReadError
from restore_sdk.gigapixel_cells import CellRun, Network, plan_cells
from restore_sdk.host_images import TileCallback
from restore_sdk.image.big_facts import Record
from restore_sdk.image.big_journal import Journal, fingerprint
from restore_sdk.image.big_publishing import publish, unfinished_names, written
from restore_sdk.image.gigapixel import check_big_target, check_target_size, open_source, open_target
from restore_sdk.image_files import FileReport, MetadataChoice, checked_request
from restore_sdk.options import TileOptions
from restore_sdk.tiling.plan import TilePlan

_FORMAT = 1  # of the journal


def restore_huge_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    network: Network,
    *,
    options: TileOptions | None,
    clip: bool,
    overwrite: bool,
    metadata: MetadataChoice,
    quality: int | None,
    on_tile: TileCallback | None = None,
) -> tuple[FileReport, TilePlan]:
    """Restorer.restore_file for files of any size, and the plan of its cells; arguments and errors as there.

    What is finished when the call is interrupted, by whatever, lies beside the target under hidden names. The same call goes on
    with it; a call with another source, model or settings raises ResumeError, or starts over with `overwrite`. on_tile counts
    cells, those of an earlier call included.
    """
    started = time.perf_counter()
    source, target = checked_request(source, target, metadata=metadata, quality=quality)
    check_big_target(source, target, overwrite=overwrite)
    opened = open_source(source)
    try:
        facts, scale = opened.facts, network.spec.scale
        check_target_size(target, facts, scale=scale)
        cells, grid = plan_cells(facts, network, options)
        writing = {"strip": metadata == "strip", "overwrite": overwrite, "quality": quality}
        made, lost = open_target(target, facts, scale=scale, tile=grid, **writing)  # type: ignore[arg-type]
        run = CellRun(opened, made, network, cells, clip=clip, options=options)
        work = {"model": network.spec.sha256 or network.spec.name, "runtime": network.runtime, "tiles": [*grid, cells.halo]}
        work |= {"cells": [[span.core for span in spans] for spans in (cells.rows, cells.columns)]}
        work |= {"settings": [clip, metadata, quality]}
        notices = _Files(source, target, overwrite).finish(run, work, on_tile)
    finally:
        opened.close()
    size, notices = (facts.width * scale, facts.height * scale), (*facts.notices, *lost, *notices)
    return FileReport(source, target, *size, cells.count, time.perf_counter() - started, notices), cells


class _Files:
    """The source, the target and the journal between them."""

    def __init__(self, source: Path, target: Path, overwrite: bool) -> None:
        self._source, self._target, self._overwrite = source, target, overwrite
        self._partial, self._journal = unfinished_names(target)

    def finish(self, run: CellRun, work: dict[str, object], on_tile: TileCallback | None) -> tuple[str, ...]:
        """All of `run`, with a journal where the target keeps what is finished. Returns what is to be said of it."""
        if not run.target.keeps:
            run.go(run.target.start(()), lambda _record: None, on_tile)
            return run.target.finish(())
        work = {"format": _FORMAT, "source": fingerprint(self._source), **work}
        with written(self._target):
            journal = Journal(self._journal, self._target, work, overwrite=self._overwrite)
        done: list[Record] = []
        try:
            there = self._kept(run, journal, work)
            done += there
            run.go(there, lambda record: self._note(record, done, journal), on_tile)
            notices = self._publish(run, done, work["source"])
            journal.remove()
        except BaseException:
            if not done:
                run.target.discard()
                journal.remove()
            raise
        finally:
            run.target.close()
            journal.close()
        resumed = (f"{len(there)} of {run.cells.count} cells were there from an interrupted run",) if there else ()
        over = () if journal.started_over is None else (journal.started_over,)
        return (*over, *resumed, *notices)

    def _kept(self, run: CellRun, journal: Journal, work: dict[str, object]) -> list[Record]:
        """What an interrupted run left and is whole."""
        there = run.target.start(journal.records)
        if len(there) != len(journal.records):
            journal.restart(work, there)
        return there

    def _note(self, record: Record, done: list[Record], journal: Journal) -> None:
        with written(self._target):
            journal.add(record)
        done.append(record)

    def _publish(self, run: CellRun, done: list[Record], before: object) -> tuple[str, ...]:
        if fingerprint(self._source) != before:
            done.clear()  # none of it is worth keeping
            raise ImageReadError(self._source, "it changed while it was restored; run it again when it is whole")
        notices = run.target.finish(done)
        publish(self._partial, self._target, overwrite=self._overwrite)
        return notices
