"""Which files go where: IN... and OUT of `restore image` become jobs, and what cannot work is refused before anything is done."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from restore_sdk.cli.exit_codes import UsageError
from restore_sdk.errors import ImageReadError
from restore_sdk.image.big_names import is_zarr

NOT_REGULAR = "not a regular file"
OVERWRITE = "pass --overwrite to replace it, or another OUT"


@dataclass(frozen=True, slots=True)
class Source:
    """One input file and the path it keeps below a folder OUT."""

    path: Path
    below_out: Path


@dataclass(frozen=True, slots=True)
class Job:
    """One file to restore. `exists`: the target is there already, if only as a link to nothing."""

    source: Path
    target: Path
    exists: bool


@dataclass(frozen=True, slots=True)
class Work:
    """Everything IN stands for: `jobs`, `missing` for what is not there, and how many files in folders (and matches
    of globs) were left out for each suffix that is not one of images; NOT_REGULAR for pipes, sockets and devices."""

    jobs: tuple[Job, ...]
    missing: tuple[ImageReadError, ...]
    left_out: Mapping[str, int] = field(default_factory=Counter)


def plan_work(
    patterns: Sequence[str], out: str, *, readable: Collection[str], writable: Collection[str], overwrite: bool
) -> Work:
    """Expand files, folders and globs, and give each file its target.

    `readable` and `writable` are suffixes in lower case, with the dot: of what to look for in folders, and of what OUT may be.
    OUT is a file for one input file, else a folder. Raises UsageError where OUT does not fit, where two inputs would get one
    target, where a target is an input, or exists although it was named itself; the last two are allowed by `overwrite`.
    """
    found: dict[tuple[Path, Path], Source] = {}
    missing: list[ImageReadError] = []
    left_out: Counter[str] = Counter()
    refuse_empty(*patterns, out, remedy="pass . for the current folder")
    folder = _user_path(out)
    for pattern in patterns:
        sources, others = _expanded(pattern, folder, readable)
        left_out.update(others)
        for source in sources:
            found.setdefault((_key(source.path), source.below_out), source)
        missing += [] if sources else [_nothing_there(pattern)]
    files = list(found.values())
    one_target = _is_one_target(patterns, files, out, writable)
    jobs = tuple(_job(source, folder if one_target else _writable(folder / source.below_out, writable)) for source in files)
    _check_targets(jobs, overwrite)
    if one_target and jobs[0].exists and not overwrite:
        raise UsageError(f"{out} exists; {OVERWRITE}")
    return Work(jobs, tuple(missing), left_out)


def refuse_empty(*names: str, remedy: str) -> None:
    """Raise UsageError for a name without a character, which the os functions take for the current folder."""
    if not all(names):
        raise UsageError(f"the input or OUT is an empty name, perhaps of an unset variable; {remedy}")


def _writable(target: Path, suffixes: Collection[str]) -> Path:
    """As PNG where the format of the source can be read but not written (GIF)."""
    unknown = target.suffix.lower() not in suffixes
    return target.with_suffix(".png") if unknown and target.suffix else target


def _expanded(pattern: str, out: Path, suffixes: Collection[str]) -> tuple[list[Source], list[str]]:
    """The files that `pattern` stands for, and the suffixes of those left out."""
    path = _user_path(pattern)
    if os.path.isdir(path) and not is_zarr(path):
        return _below(path, _walked(path, out), suffixes)
    if os.path.exists(path):
        return [Source(path, Path(path.name))], []
    if glob.has_magic(pattern):
        matches = (Path(match) for match in sorted(glob.glob(str(path), recursive=True)))
        return _below(_fixed_part(path), (match for match in matches if match.exists() and not match.is_dir()), suffixes)
    return [], []


def _below(folder: Path, files: Iterable[Path], suffixes: Collection[str]) -> tuple[list[Source], list[str]]:
    sources, left_out = [], []
    for path in files:
        if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
            left_out.append(NOT_REGULAR)  # to open a pipe would be to wait for whoever writes into it
        elif path.suffix.lower() in suffixes:
            sources.append(Source(path, path.relative_to(folder)))
        else:
            left_out.append(path.suffix.lower() or "no suffix")
    return sources, left_out


def _walked(folder: Path, out: Path) -> Iterator[Path]:
    """Files below `folder`, in order, without hidden ones and without those below OUT, which are results of an earlier run."""
    results = _key(out)
    for place, folders, names in os.walk(folder):
        seen = sorted(name for name in folders if not name.startswith(".") and _key(Path(place, name)) != results)
        images = [name for name in seen if is_zarr(Path(place, name))]  # each of these folders is one image
        folders[:] = [name for name in seen if name not in images]
        yield from (Path(place, name) for name in sorted([*names, *images]) if not name.startswith("."))


def _fixed_part(pattern: Path) -> Path:
    """The folders of a glob before its first wildcard: what lies below them is kept below OUT."""
    fixed = list(pattern.parts)
    while any(glob.has_magic(part) for part in fixed):
        fixed.pop()
    return Path(*fixed)


def _nothing_there(pattern: str) -> ImageReadError:
    path = _user_path(pattern)
    if os.path.isdir(path):
        return ImageReadError(pattern, "the folder holds no file with the suffix of an image; name the files themselves")
    reason = "no image matches" if glob.has_magic(pattern) else "there is no such file or folder"
    return ImageReadError(pattern, f"{reason}; check the path")


def _is_one_target(patterns: Sequence[str], files: Sequence[Source], out: str, writable: Collection[str]) -> bool:
    """True where OUT is a file. Raises UsageError where it is neither a file for one input nor a folder for several."""
    path = _user_path(out)
    given = _user_path(patterns[0])
    is_folder = os.path.isdir(given) and not is_zarr(given)
    looks_like_image = path.suffix.lower() in writable
    if not files or (os.path.isdir(path) and not (is_zarr(path) and looks_like_image)) or out.endswith(("/", os.sep)):
        return False
    if len(patterns) == 1 and len(files) == 1 and not is_folder:
        if looks_like_image:
            return True
        if os.path.exists(_user_path(patterns[0])):
            raise UsageError(
                f"OUT {out!r} has no suffix of an image that can be written; add .png, .jpg or .tif, or a trailing / for a folder"
            )
    if os.path.exists(path) or looks_like_image:
        raise UsageError(f"OUT {out!r} is a file, but several inputs, or a folder, need a folder; name a folder")
    return False


def _job(source: Source, target: Path) -> Job:
    return Job(source.path, target, os.path.lexists(target))


def _check_targets(jobs: Sequence[Job], overwrite: bool) -> None:
    """Each target once, and no input lost: neither its own nor another's, unless `overwrite` allows its own."""
    taken: dict[Path, Path] = {}
    inputs = {_key(job.source) for job in jobs}
    for job in jobs:
        target = _key(job.target)
        if target in taken:
            raise UsageError(f"{taken[target]} and {job.source} would both become {job.target}; restore them into two folders")
        taken[target] = job.source
        if target == _key(job.source):
            if not overwrite:
                raise UsageError(f"{job.source} would be replaced by its own result; {OVERWRITE}")
        elif target in inputs:
            raise UsageError(f"{job.target}, the target of {job.source}, is itself an input; name another OUT")


def _user_path(text: str) -> Path:
    """With ~ replaced where that names a user. The os.path functions take any path, where those of Path raise on a long name."""
    return Path(os.path.expanduser(text))


def _key(path: Path) -> Path:
    """The same for every spelling of one path; also for loops of symbolic links, on which Path.resolve raises."""
    return Path(os.path.normcase(os.path.realpath(path)))
