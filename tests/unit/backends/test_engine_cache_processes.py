"""Two processes, one build."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from engine_keys import engine_key

from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.engine_lock import locked, locked_now

ROOT = Path(__file__).resolve().parents[3]

# Builds take until the file "go" is there; each leaves a file behind, so that they can be counted.
CHILD = """
import os, sys, time
from pathlib import Path
from engine_keys import engine_key
from restore_sdk.backends.engine_cache import EngineCache

shared = Path(sys.argv[1])

def build():
    (shared / f"built by {os.getpid()}").touch()
    while not (shared / "go").exists():
        time.sleep(0.01)
    return b"engine"

def waiting():
    (shared / "waiting").touch()

found = EngineCache(shared / "engines").load_or_build(engine_key(), build, on_wait=waiting)
print(found.outcome, found.payload.decode(), found.stored)
"""


def child(shared: Path) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    command = [sys.executable, "-c", CHILD, str(shared)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})


def until(shared: Path, pattern: str) -> None:
    deadline = time.monotonic() + 60
    while not list(shared.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern} came"
        time.sleep(0.01)


def test_two_processes_one_build(tmp_path: Path) -> None:
    first = child(tmp_path)
    until(tmp_path, "built by *")
    second = child(tmp_path)
    until(tmp_path, "waiting")
    (tmp_path / "go").touch()
    said = [process.communicate(timeout=60)[0].strip() for process in (first, second)]
    assert said == ["built engine True", "kept engine True"]
    assert len(list(tmp_path.glob("built by *"))) == 1


def test_a_builder_that_is_killed_leaves_the_turn_to_the_next(tmp_path: Path) -> None:
    first = child(tmp_path)
    until(tmp_path, "built by *")
    second = child(tmp_path)
    until(tmp_path, "waiting")
    first.kill()
    first.communicate(timeout=60)
    (tmp_path / "go").touch()
    assert second.communicate(timeout=60)[0].strip() == "built engine True"
    assert len(list(tmp_path.glob("built by *"))) == 2


def test_threads_of_one_process_take_turns_too(tmp_path: Path) -> None:
    calls, outcomes = [], []

    def build() -> bytes:
        calls.append(1)
        time.sleep(0.05)
        return b"engine"

    def work() -> None:
        outcomes.append(EngineCache(tmp_path / "engines").load_or_build(engine_key(), build).outcome)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert sorted(outcomes) == ["built", *["kept"] * 5]


def test_a_lock_that_was_removed_under_us_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with locked(path):
        path.unlink()
        with locked_now(path) as free:
            assert free  # a new file: ours has no name any more
    with locked_now(path) as free, locked_now(path) as free_twice:
        assert (free, free_twice) == (True, False)


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "a.lock"):
        raise ZeroDivisionError
    with locked_now(tmp_path / "a.lock") as free:
        assert free
