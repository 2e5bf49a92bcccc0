"""Kernels that tensorrt_rtx compiled, kept for the next process: on a TensorRT and a GPU that are played."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_keys import engine_key
from played_tensorrt import PlayedTensorRT

from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.engine_inventory import entries, prune
from restore_sdk.backends.engine_options import EngineOptions

Open = Callable[..., Any]
RTX = {"options": EngineOptions(api="tensorrt_rtx")}


@pytest.fixture(autouse=True)
def _rtx(played: PlayedTensorRT) -> None:
    played.become_rtx()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """That open_played keeps engines in."""
    return tmp_path / "engines"


def use(open_played: Open, *sides: int, **arguments: Any) -> dict[str, Any]:
    """Open, restore squares of such sides, close; the report on kernels before close."""
    backend = open_played(**RTX, **arguments)
    for side in sides:
        backend.infer(np.zeros((1, 3, side, side), np.float32))
    report: dict[str, Any] = backend.report()["engine"]["kernels"]
    backend.close()
    return report


def kept(folder: Path) -> list[Path]:
    return list(folder.glob("*.kernels"))


def test_what_was_compiled_is_not_compiled_again(open_played: Open, played: PlayedTensorRT, folder: Path) -> None:
    assert use(open_played, 8, 16) == {"outcome": "none kept", "notes": []}
    assert len(kept(folder)) == 1
    if sys.platform != "win32":
        assert kept(folder)[0].stat().st_mode & 0o077 == 0
    assert played.asked.count("compile") == 2
    assert use(open_played, 8, 16) == {"outcome": "kept", "notes": []}
    assert played.asked.count("compile") == 2


def test_warming_up_keeps_them_and_only_news_are_written(open_played: Open, folder: Path) -> None:
    backend = open_played(**RTX)
    backend.warm_up([(1, 3, 8, 8)])
    assert backend.report()["engine"]["kernels"]["outcome"] == "stored"
    (path,) = kept(folder)
    before = path.stat().st_ino
    backend.warm_up([(1, 3, 8, 8)])
    backend.close()
    assert path.stat().st_ino == before
    use(open_played, 16)
    assert path.stat().st_ino != before
    assert path.read_bytes().endswith(b"(1, 3, 16, 16)\n(1, 3, 8, 8)")


def test_nothing_run_nothing_kept(open_played: Open, folder: Path) -> None:
    use(open_played)
    assert kept(folder) == []


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-1] + b"!", lambda content: b"junk"])
def test_damaged_ones_are_told_and_never_reach_tensorrt(
    damage: Callable[[bytes], bytes], open_played: Open, played: PlayedTensorRT, folder: Path
) -> None:
    use(open_played, 8)
    (path,) = kept(folder)
    path.write_bytes(damage(path.read_bytes()))
    report = use(open_played, 8)
    assert report["outcome"] == "none kept"
    assert "were not used" in report["notes"][0]
    assert "deserialize" not in played.asked
    assert use(open_played, 8) == {"outcome": "kept", "notes": []}  # they were written anew


@pytest.mark.parametrize("answer", [False, None, RuntimeError("played")])
def test_refused_ones_are_dropped_and_compiled_again(
    answer: object, open_played: Open, played: PlayedTensorRT, folder: Path
) -> None:
    use(open_played, 8)
    played.answers["deserialize"], played.says["deserialize"] = answer, "another driver"
    backend = open_played(**RTX)
    report = backend.report()["engine"]["kernels"]
    assert "were refused" in report["notes"][0]
    if answer is False:
        assert "another driver" in report["notes"][0]
    assert kept(folder) == []
    backend.infer(np.zeros((1, 3, 8, 8), np.float32))
    backend.close()
    assert len(kept(folder)) == 1


@pytest.mark.parametrize("answer", [None, RuntimeError("played")])
def test_kernels_that_tensorrt_keeps_to_itself(answer: object, open_played: Open, played: PlayedTensorRT, folder: Path) -> None:
    played.answers["serialize"] = answer
    backend = open_played(**RTX)
    backend.warm_up([(1, 3, 8, 8)])
    assert "were not kept" in backend.report()["engine"]["kernels"]["notes"][0]
    backend.close()
    assert kept(folder) == []


def test_a_folder_that_is_none(open_played: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    backend = open_played(**RTX, cache=EngineCache(tmp_path / "file" / "engines"))
    for _ in range(2):
        backend.warm_up([(1, 3, 8, 8)])
    notes = backend.report()["engine"]["kernels"]["notes"]
    assert len(notes) == 1
    assert "compiled again next time" in notes[0]


def test_another_version_does_not_take_them(open_played: Open, played: PlayedTensorRT, folder: Path) -> None:
    use(open_played, 8)
    played.__version__ = "11.5"
    assert use(open_played, 8)["outcome"] == "none kept"
    assert len(kept(folder)) == 2


def test_plain_tensorrt_has_none(open_played: Open, played: PlayedTensorRT, gpu: Any) -> None:
    played.rtx = False
    for name in ("CudaGraphStrategy", "EngineValidity", "EngineInvalidityDiagnostics", "ComputeCapability"):
        delattr(played, name)
    backend = open_played()
    backend.infer(np.zeros((1, 3, 8, 8), np.float32))
    assert backend.report()["engine"]["kernels"] is None


def test_the_cap_counts_them_and_prune_removes_damaged_ones(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, limit=5000)
    cache.load_or_build(engine_key(), lambda: b"e" * 1000)
    assert cache.keep_kernels({"kernels_of": "a"}, b"k" * 2000) is None
    assert cache.kernels({"kernels_of": "a"}) == (b"k" * 2000, None)
    assert cache.keep_kernels({"kernels_of": "b"}, b"k" * 6000) == ": it has 6000 bytes, the cache holds 5000"
    assert cache.keep_kernels({"kernels_of": "b"}, b"k" * 3000) is None  # the engine, used longest ago, goes
    assert (len(entries(tmp_path)), len(kept(tmp_path))) == (0, 1)
    (path,) = kept(tmp_path)
    path.write_bytes(b"junk")
    assert prune(tmp_path, 5000) == (path,)
