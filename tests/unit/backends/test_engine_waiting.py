"""While another process builds the engine that is wanted: who waits for it, and who is told. TensorRT and the GPU are played."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_keys import engine_key

from restore_sdk.backends import engine_lock
from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.engine_lock import locked
from restore_sdk.backends.engine_source import WAITING, EngineNotKeptError

WAIT = 60  # seconds, for a thread that has next to nothing to do
Open = Callable[..., Any]


@pytest.fixture
def _nobody_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(seconds: float) -> None:
        raise AssertionError("the lock was waited for")

    monkeypatch.setattr(engine_lock, "time", SimpleNamespace(sleep=refuse))


@pytest.fixture
def builder(open_played: Open, tmp_path: Path, _nobody_sleeps: None) -> Iterator[ExitStack]:
    """Another builder of the small model's engine, as its lock shows it; close() ends it. No engine is kept."""
    open_played().close()
    (kept,) = (tmp_path / "engines").glob("*.engine")
    kept.unlink()
    with ExitStack() as building:
        building.enter_context(locked(kept.with_suffix(".lock")))
        yield building


def test_who_may_not_build_does_not_wait(open_played: Open, builder: ExitStack) -> None:
    with pytest.raises(EngineNotKeptError):
        open_played(build="never")


def test_the_background_waits_and_serves_meanwhile(open_played: Open, builder: ExitStack) -> None:
    told: list[tuple[float, str]] = []

    def on_progress(fraction: float, phase: str) -> None:
        told.append((fraction, phase))
        builder.close()

    backend = open_played(build="background", on_progress=on_progress)
    assert backend.infer(np.zeros((1, 3, 8, 8), np.float32)).shape == (1, 3, 8, 8)
    assert backend.wait(WAIT)
    assert backend.report()["build"]["state"] == "ready"
    assert told == [(0.0, WAITING), (1.0, "played")]


def test_who_waits_is_told(open_played: Open, builder: ExitStack) -> None:
    told: list[tuple[float, str]] = []

    def on_progress(fraction: float, phase: str) -> None:
        told.append((fraction, phase))
        builder.close()

    assert open_played(on_progress=on_progress).report()["engine"]["outcome"] == "built"
    assert told == [(0.0, WAITING), (1.0, "played")]


@pytest.mark.parametrize("kind", [RuntimeError, BrokenPipeError])
def test_what_the_one_who_is_told_raises_comes_out(kind: type[Exception], tmp_path: Path) -> None:
    """An OSError too, though one of the lock means only that none can be had."""
    cache, key = EngineCache(tmp_path), engine_key()

    def on_wait() -> None:
        raise kind("no more")

    with locked(tmp_path / f"{key.digest()}.lock"), pytest.raises(kind, match="no more"):
        cache.load_or_build(key, lambda: b"engine", on_wait=on_wait)
    assert cache.kept(key) is None
    assert cache.load_or_build(key, lambda: b"engine", on_wait=on_wait).outcome == "built"
    assert cache.kept(key) is not None
