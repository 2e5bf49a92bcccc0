"""The engine cache, with builders that return bytes: what is kept, what is never trusted, and that nothing of it is fatal."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from engine_keys import VALUES, engine_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore_sdk.backends import engine_cache, engine_file
from restore_sdk.backends.engine_cache import CachedEngine, EngineCache, evict
from restore_sdk.backends.user_folder import user_folder
from restore_sdk.errors import EngineBuildError, OptionsError

ROOT = Path(__file__).resolve().parents[3]
POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes are POSIX's")


class Builder:
    """Counts how often it is asked."""

    def __init__(self, payload: bytes = b"engine" * 100) -> None:
        self.payload, self.calls = payload, 0

    def __call__(self) -> bytes:
        self.calls += 1
        return self.payload


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "engines"


@pytest.fixture
def kept(folder: Path) -> Path:
    """The file of one good entry."""
    EngineCache(folder).load_or_build(engine_key(), Builder())
    (path,) = folder.glob("*.engine")
    return path


def rebuilt(folder: Path, payload: bytes = b"new") -> CachedEngine:
    """Ask for the entry twice: the first must be built again and reported, the second kept."""
    cache, builder = EngineCache(folder), Builder(payload)
    first = cache.load_or_build(engine_key(), builder)
    assert (first.payload, first.outcome, first.stored) == (payload, "rebuilt", True)
    assert cache.load_or_build(engine_key(), builder) == CachedEngine(payload, "kept", stored=True)
    assert builder.calls == 1
    return first


def test_built_once_then_kept(folder: Path) -> None:
    cache, builder = EngineCache(folder), Builder()
    assert cache.load_or_build(engine_key(), builder) == CachedEngine(builder.payload, "built", stored=True)
    assert cache.load_or_build(engine_key(), builder) == CachedEngine(builder.payload, "kept", stored=True)
    assert EngineCache(folder).load_or_build(engine_key(), builder).outcome == "kept"
    assert builder.calls == 1


@pytest.mark.parametrize("name", [*VALUES])
def test_whatever_an_engine_depends_on_is_in_its_key(folder: Path, name: str) -> None:
    other = {"another": 1} if isinstance(VALUES[name], dict) else f"{VALUES[name]}0"
    cache, builder = EngineCache(folder), Builder()
    for key in (engine_key(), engine_key(**{name: other})):
        assert cache.load_or_build(key, builder).outcome == "built"
    assert len(list(folder.glob("*.engine"))) == 2


def test_our_own_schema_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = engine_key().digest()
    monkeypatch.setattr(engine_file, "SCHEMA", engine_file.SCHEMA + 1)
    assert engine_key().digest() != before


def test_the_digest_does_not_depend_on_order_or_on_the_kind_of_mapping() -> None:
    options = VALUES["options"]
    turned = MappingProxyType(dict(reversed(options.items())))
    assert engine_key(options=turned).digest() == engine_key().digest()
    assert len(engine_key().digest()) == 64


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_no_flipped_byte_reaches_the_runtime(tmp_path: Path, position: int, flip: int) -> None:
    """Any byte of the file: either nothing that counts changed, or it is built again."""
    folder = tmp_path / "flipped"
    builder = Builder()
    EngineCache(folder).load_or_build(engine_key(), builder)
    (path,) = folder.glob("*.engine")
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= flip
    path.write_bytes(content)
    found = EngineCache(folder).load_or_build(engine_key(), builder)
    assert found.payload == builder.payload
    if position % len(content) >= len(content) - len(builder.payload):
        assert found.outcome == "rebuilt"
        assert "sha256 differs" in found.notes[0]
    path.unlink()


@pytest.mark.parametrize("length", [0, 1, 18, 19, 200, -1, -600])
def test_cut_short(folder: Path, kept: Path, length: int) -> None:
    kept.write_bytes(kept.read_bytes()[:length])
    assert "was not used" in rebuilt(folder).notes[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"vtrt" + b"\0" * 500, "no engine of restore-sdk"),
        (b"restore-sdk engine\n" + b"[1]\n", "beginning is damaged"),
        (b"restore-sdk engine\n" + b"{not json\n", "beginning is damaged"),
        (b"restore-sdk engine\n" + b"{}\n", "another engine than its name says"),
        (b"restore-sdk engine\n" + b"\xff" * 100_000, "beginning is damaged"),
    ],
)
def test_foreign(folder: Path, kept: Path, content: bytes, says: str) -> None:
    kept.write_bytes(content)
    assert says in rebuilt(folder).notes[0]


def test_a_file_of_another_version_under_our_name(folder: Path, kept: Path) -> None:
    EngineCache(folder).load_or_build(engine_key(api_version="10.16.1.11"), Builder(b"older"))
    (other,) = [path for path in folder.glob("*.engine") if path != kept]
    other.replace(kept)
    assert "another engine than its name says" in rebuilt(folder).notes[0]


@POSIX
def test_others_may_neither_read_nor_write(folder: Path, kept: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


@POSIX
def test_an_open_folder_is_closed(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    EngineCache(folder).load_or_build(engine_key(), Builder())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@POSIX
def test_a_file_that_others_may_write_to_is_not_used(folder: Path, kept: Path) -> None:
    kept.chmod(0o666)
    assert "others may write to it" in rebuilt(folder).notes[0]


@POSIX
def test_a_link_to_an_engine_elsewhere_is_not_followed(folder: Path, kept: Path, tmp_path: Path) -> None:
    kept.replace(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")
    assert "cannot be read" in rebuilt(folder).notes[0]


@POSIX
def test_a_folder_of_another_user_is_not_used(folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: kept.stat().st_uid + 1)
    found = EngineCache(folder).load_or_build(engine_key(), Builder(b"new"))
    assert (found.payload, found.stored) == (b"new", False)
    assert "belongs to another user" in " ".join(found.notes)


def test_the_builders_error_comes_out_and_the_next_call_builds(folder: Path) -> None:
    def failing() -> bytes:
        raise EngineBuildError("no", "try again")

    with pytest.raises(EngineBuildError):
        EngineCache(folder).load_or_build(engine_key(), failing)
    assert EngineCache(folder).load_or_build(engine_key(), Builder()).outcome == "built"


def test_an_engine_that_the_runtime_refuses_is_dropped(folder: Path, kept: Path) -> None:
    EngineCache(folder).drop(engine_key())
    EngineCache(folder).drop(engine_key())
    assert not kept.exists()


def test_least_recently_used_go_first(folder: Path) -> None:
    keys = [engine_key(gpu=f"GPU {number}") for number in range(4)]
    payloads = [bytes([number]) * 10_000 for number in range(4)]
    cache = EngineCache(folder, limit=34_000)  # three, with their beginnings
    for number, key in enumerate(keys[:3]):
        cache.load_or_build(key, Builder(payloads[number]))
        os.utime(folder / f"{key.digest()}.engine", (1000 + number, 1000 + number))
    cache.load_or_build(keys[0], Builder())  # used again
    cache.load_or_build(keys[3], Builder(payloads[3]))
    left = {path.stem for path in folder.glob("*.engine")}
    assert left == {keys[0].digest(), keys[2].digest(), keys[3].digest()}


def test_an_engine_beyond_the_cap_is_used_but_not_kept(folder: Path, kept: Path) -> None:
    found = EngineCache(folder, limit=1000).load_or_build(engine_key(gpu="other"), Builder(b"x" * 1001))
    assert (found.payload, found.stored) == (b"x" * 1001, False)
    assert "1001 bytes" in found.notes[0]
    assert kept.exists()


def test_evict_spares_and_tells(folder: Path, kept: Path) -> None:
    assert evict(folder, 0, spare=kept) == ()
    assert evict(folder, 0) == (kept,)
    assert evict(folder, 0) == ()


@pytest.mark.parametrize("limit", [-1, True, 1.5])
def test_a_limit_is_a_number_of_bytes(limit: Any) -> None:
    with pytest.raises(OptionsError, match="limit="):
        EngineCache(limit=limit)


def test_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = EngineCache(tmp_path / "file" / "engines").load_or_build(engine_key(), Builder())
    assert (found.outcome, found.stored) == ("built", False)
    assert "was not kept" in found.notes[0]


@POSIX
def test_a_folder_that_cannot_be_written(folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write anywhere, so the system's refusal is played; what is there already is still used."""
    genuine = os.open

    def read_only(path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return genuine(path, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    assert EngineCache(folder).load_or_build(engine_key(), Builder()).outcome == "kept"
    found = EngineCache(folder).load_or_build(engine_key(gpu="other"), Builder())
    assert (found.outcome, found.stored) == ("built", False)
    assert "Read-only file system" in found.notes[0]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from engine_keys import engine_key
from restore_sdk.backends.engine_cache import EngineCache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
found = EngineCache(Path(sys.argv[1])).load_or_build(engine_key(gpu="large"), lambda: b"x" * 100_000)
print(found.outcome, found.stored, len(found.payload), *found.notes)
"""


@POSIX
def test_a_write_that_fails_midway_leaves_nothing(folder: Path, kept: Path) -> None:
    """The system stops the write at 4096 bytes, as a full disk would."""
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    command = [sys.executable, "-c", FULL_DISK, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path})
    assert done.stdout.startswith("built False 100000 the engine was not kept")
    assert {path.suffix for path in folder.iterdir()} == {".engine", ".lock"}
    assert list(folder.glob("*.engine")) == [kept]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG is the custom of the others")
def test_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "restore-sdk" / "engines"
    monkeypatch.setenv("HOME", str(tmp_path))
    for unusable in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert user_folder() == tmp_path / ".cache" / "restore-sdk" / "engines"


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr("restore_sdk.backends.user_folder._cache_home", homeless)
    cache = EngineCache()
    assert cache.folder is None
    found = cache.load_or_build(engine_key(), Builder())
    assert (found.outcome, found.stored) == ("built", False)
    assert "no home folder" in found.notes[0]
    cache.drop(engine_key())


def test_no_lock_to_be_had_is_no_reason_not_to_keep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlockable(*arguments: object) -> Callable[..., None]:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(engine_cache, "locked", unlockable)
    assert EngineCache(folder).load_or_build(engine_key(), Builder()).stored
