"""Which CPU runtime `backend="auto"` takes: the faster one of those installed, once someone has measured them here.

Nothing is measured behind anyone's back. `restore doctor --measure` does it, the result is kept in the user's cache folder,
and it counts only for the same model, runtime versions, processor and number of threads. Without it, auto is ONNX Runtime.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from restore_sdk.backends.user_folder import user_folder

CANDIDATES: Mapping[str, tuple[str, ...]] = MappingProxyType(  # backend: the distributions that bring it; a tie goes to the first
    {
        "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"),
        "openvino": ("openvino",),
    }
)
FIRST = next(iter(CANDIDATES))
TIE = 0.03  # of the time; a smaller difference is noise
SCHEMA = 1


class Choice(NamedTuple):
    """A backend's name, and why it."""

    backend: str
    why: str


def choose(digest: Callable[[], str], *, threads: int | None) -> Choice:
    """The backend that `auto` takes for an .onnx model on the CPU; `digest()`, its sha256, is asked for only if it matters.
    Starts no runtime, and reads no distribution's metadata (which takes longer than all else here) before something was
    measured."""
    present = importable()
    if len(present) < 2:
        return Choice(next(iter(present), FIRST), "it is the only one installed")
    seconds = stored(digest(), threads) if _entries() else None
    if seconds is None:
        return Choice(FIRST, "speed not measured here; `restore doctor --measure` does")
    return fastest(seconds)


def fastest(seconds: Mapping[str, float]) -> Choice:
    """The backend with the least of `seconds` for a megapixel; within TIE of it, the one that stands first in CANDIDATES."""
    limit = min(seconds.values()) * (1 + TIE)
    name = next(name for name in CANDIDATES if seconds.get(name, limit + 1) <= limit)
    figures = ", ".join(f"{other} {time:.3g}" for other, time in seconds.items())
    return Choice(name, f"measured here, seconds per megapixel: {figures}")


def importable() -> list[str]:
    """Those of CANDIDATES whose module is there; a backend is named as its module is."""
    return [backend for backend in CANDIDATES if find_spec(backend) is not None]


def installed() -> dict[str, str]:
    """Backend: "distribution version", for those of CANDIDATES that are installed."""
    found = {}
    for backend, distributions in CANDIDATES.items():
        present = [f"{name} {version}" for name in distributions if (version := _version(name)) is not None]
        if present:
            found[backend] = ", ".join(present)
    return found


def stored(sha256: str, threads: int | None) -> dict[str, float] | None:
    """Seconds per megapixel of each installed backend, as measured in exactly these circumstances; None if they were not.

    A file that cannot be read or understood counts as no measurement.
    """
    entry = _entries().get(_key(_circumstances(sha256, threads)), {})
    seconds = entry.get("seconds_per_megapixel") if isinstance(entry, dict) else None
    if not isinstance(seconds, dict) or set(seconds) != set(installed()):
        return None
    times = {name: float(time) for name, time in seconds.items() if isinstance(time, int | float) and time > 0}
    return {name: times[name] for name in CANDIDATES if name in times} if len(times) == len(seconds) else None


def store(sha256: str, threads: int | None, seconds: Mapping[str, float]) -> str | None:
    """Keep a measurement. The reason if that cannot be; then nothing is lost but the measurement."""
    path = _file()
    if path is None:
        return "this user has no home folder; set XDG_CACHE_HOME"
    circumstances = _circumstances(sha256, threads)
    entry = {**circumstances, "seconds_per_megapixel": dict(seconds)}
    content = json.dumps({"schema": SCHEMA, "entries": {**_entries(), _key(circumstances): entry}}, indent=1, sort_keys=True)
    temporary = path.with_name(f".{os.urandom(8).hex()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(path)
    except OSError as exc:
        return f"{path.parent}: {exc.strerror or exc}"
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return None


def _file() -> Path | None:
    engines = user_folder()
    return None if engines is None else engines.parent / "speed.json"


def _entries() -> dict[str, Any]:
    path = _file()
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
    except (OSError, ValueError, RecursionError):
        return {}
    known = isinstance(content, dict) and content.get("schema") == SCHEMA and isinstance(content.get("entries"), dict)
    return dict(content["entries"]) if known else {}


def _circumstances(sha256: str, threads: int | None) -> dict[str, object]:
    return {"model": sha256, "runtimes": installed(), "cpu": _cpu_name(), "threads": threads, "cores": _cores()}


def _key(circumstances: Mapping[str, object]) -> str:
    return json.dumps(circumstances, sort_keys=True)


def _version(distribution: str) -> str | None:
    from importlib import metadata  # noqa: PLC0415 slow to load

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cores() -> int:
    """Logical cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str:
    """Linux states it in /proc/cpuinfo alone; platform.processor() serves elsewhere."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
