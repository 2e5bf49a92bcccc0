"""`restore engines`: what is kept, pruned and verified."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.engine_file import EngineKey
from restore_sdk.backends.engine_lock import locked
from restore_sdk.backends.user_folder import user_folder

Restore = Callable[..., Any]
Parse = Callable[[Any], dict[str, Any]]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the cache folder is set through XDG_CACHE_HOME here")


def engine_key(gpu: str) -> EngineKey:
    return EngineKey(
        onnx_sha256="cd" * 32,
        api="tensorrt_rtx",
        api_version="1.7.1.116",
        driver="580.65.06",
        compute_capability="8.6",
        gpu=gpu,
        profile={},
        precision="fp16",
        options={},
    )


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


@pytest.fixture
def engines() -> list[Path]:
    """Two entries of 1 MiB, the second used last."""
    folder = user_folder()
    assert folder is not None
    cache, paths = EngineCache(folder), []
    for number, gpu in enumerate(("RTX 3060", "RTX 4090")):
        key = engine_key(gpu)
        cache.load_or_build(key, lambda: b"e" * (1 << 20))
        paths.append(folder / f"{key.digest()}.engine")
        os.utime(paths[-1], (1_700_000_000 + number, 1_700_000_000 + number))
    return paths


def test_nothing_kept(restore: Restore, as_json: Parse, cache_home: Path) -> None:
    for command in ("list", "verify", "prune"):
        result = restore("engines", command)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.startswith("no engines in " if command == "verify" else "0 engines")
    assert as_json(restore("engines", "list", "--json"))["engines"] == []
    assert not cache_home.exists()


def test_list_tells_what_each_is(restore: Restore, engines: list[Path], as_json: Parse) -> None:
    lines = restore("engines", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [engines[1].stem[:12], engines[0].stem[:12]]
    for said in ("1.0 MiB", "tensorrt_rtx 1.7.1.116", "RTX 4090 (8.6)", "fp16", "model cdcdcdcdcdcd"):
        assert said in lines[0]
    records = as_json(restore("engines", "list", "--json"))["engines"]
    assert [record["key"]["gpu"] for record in records] == ["RTX 4090", "RTX 3060"]
    assert records[0]["path"] == str(engines[1])


def test_verify_finds_the_damaged_one_and_prune_removes_it(restore: Restore, engines: list[Path], as_json: Parse) -> None:
    assert restore("engines", "verify").exit_code == 0
    engines[0].write_bytes(engines[0].read_bytes()[:-1] + b"x")
    result = restore("engines", "verify")
    assert result.exit_code == 4
    assert f"{engines[0].stem[:12]} FAILED: its bytes are not those that were written" in result.stdout
    assert f"{engines[1].stem[:12]} ok" in result.stdout
    assert "restore engines prune" in result.stderr
    report = as_json(restore("engines", "verify", "--json"))
    assert (report["exit_code"], [record["ok"] for record in report["engines"]]) == (4, [False, True])
    assert "NOT USABLE" in restore("engines", "list").stdout
    assert as_json(restore("engines", "prune", "--json"))["removed"] == [engines[0].stem]
    assert restore("engines", "verify").exit_code == 0


def test_compiled_kernels_are_verified_and_pruned_too(restore: Restore, engines: list[Path]) -> None:
    facts = {"kernels_of": "ab" * 32}
    assert EngineCache(engines[0].parent).keep_kernels(facts, b"kernels") is None
    (kernels,) = engines[0].parent.glob("*.kernels")
    assert f"{kernels.stem[:12]} (kernels) ok" in restore("engines", "verify").stdout
    kernels.write_bytes(kernels.read_bytes()[:-1])
    result = restore("engines", "verify")
    assert (result.exit_code, "(kernels) FAILED: it holds 6 of 7 bytes" in result.stdout) == (4, True)
    assert len(restore("engines", "list").stdout.splitlines()) == 2
    result = restore("engines", "prune")
    assert result.stdout == f"removed      {kernels.stem[:12]} (kernels)\n"
    assert result.stderr.startswith("0 engines removed")


def test_prune_keeps_the_recent_within_the_limit(restore: Restore, engines: list[Path]) -> None:
    assert restore("engines", "prune", "--limit", "2000").stdout == ""
    result = restore("engines", "prune", "--limit", "2")
    assert result.stdout.split() == ["removed", engines[0].stem[:12]]
    assert result.stderr.startswith("1 engine removed from ")
    assert engines[1].exists()


def test_prune_all_removes_leftovers_but_no_lock_that_is_held(restore: Restore, engines: list[Path]) -> None:
    folder = engines[0].parent
    old, young = folder / ".a.part", folder / ".b.part"
    for part in (old, young):
        part.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    busy = engines[0].with_suffix(".lock")
    with locked(busy):
        assert len(restore("engines", "prune", "--all").stdout.splitlines()) == 2
        assert set(folder.iterdir()) == {busy, young}
    restore("engines", "prune")
    assert set(folder.iterdir()) == {young}


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
def test_a_folder_whose_name_is_too_long(restore: Restore, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/" + 5000 * "a")
    result = restore("engines", command)
    assert result.exit_code == 2
    assert "XDG_CACHE_HOME='/aaaaaaaa" in result.stderr
    assert "expected a folder that can exist (File name too long)" in result.stderr
    assert len(result.stderr) < 200


def test_the_limit_is_not_negative(restore: Restore) -> None:
    assert restore("engines", "prune", "--limit", "-1").exit_code == 2
