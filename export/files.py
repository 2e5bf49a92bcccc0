"""Writing results: checked before the long work starts, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from export.errors import OutputError
from training.engine.files import replacing, temporary_name


def check_target(path: Path, suffix: str = ".onnx", *, source: Path | None = None) -> None:
    """Raise OutputError now if `write_whole` would fail later: wrong suffix, no folder, a folder in its place, or one in which no
    file can be made; and where it would replace `source`, what is exported."""
    if path.suffix != suffix:
        raise OutputError(path, f"its name must end in {suffix}; rename it")
    try:
        taken, folder, file = path.is_dir(), path.parent.is_dir(), path.parent.exists()
    except OSError as exc:  # a name that no file can have
        raise OutputError(path, f"{exc.strerror or exc}; choose a shorter name") from exc
    if taken:
        raise OutputError(path, "it is a folder; pass a file name")
    if not folder:
        what = "is a file; name a folder" if file else "does not exist; create it first"
        raise OutputError(path, f"the folder {path.parent} {what}")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise OutputError(path, "it is what is to be exported; pass another name")
    temporary = temporary_name(path)
    try:
        temporary.touch()
        temporary.unlink()
    except OSError as exc:
        reason = f"no file can be made in the folder {path.parent} ({exc.strerror or exc}); choose another, or a shorter name"
        raise OutputError(path, reason) from exc


def write_whole(path: Path, content: bytes) -> None:
    """Write beside `path` and rename, so that a reader never sees half a file. Raises OutputError."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as exc:
        raise OutputError(path, f"{exc.strerror or exc}; free the space or choose another folder") from exc
