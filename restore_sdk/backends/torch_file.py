"""A .pt2 file and the digest that must lie beside it.

torch.export writes a zip whose parts may be pickles, and unpickling can run code. So not one byte reaches PyTorch before the
file's sha256 was compared: with the one that a registry states, else with NAME.pt2.sha256, which export writes in sha256sum's
format. The second shows damage and mixed-up files; it does not stop someone who can write both. Load only files you trust.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from restore_sdk.errors import ModelDamagedError, ModelHashError

SUFFIX = ".pt2"
KIND = "torch.export program"
EXPORT_AGAIN = "export it again with `python -m export torch`"


@dataclass(frozen=True, slots=True)
class TorchFile:
    """A file whose digest was as expected: its bytes and its sha256 (hexadecimal)."""

    path: Path
    content: bytes
    sha256: str


def sidecar(path: Path) -> Path:
    """Where the digest of `path` lies."""
    return path.with_name(f"{path.name}.sha256")


def sidecar_text(name: str, sha256: str) -> str:
    """What `sha256sum --check` reads."""
    return f"{sha256}  {name}\n"


def read_program(path: Path, *, sha256: str | None = None) -> TorchFile:
    """Read `path` once and compare its digest with `sha256`, or with its sidecar if that is None.

    Raises ModelHashError if it is another, and ModelDamagedError if there is nothing to compare with or nothing to read.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        reason = f"it cannot be read ({exc.strerror}); pass the path of a readable {SUFFIX} file"
        raise ModelDamagedError(path, reason, kind=KIND) from exc
    wanted = _stated(path) if sha256 is None else sha256
    digest = hashlib.sha256(content).hexdigest()
    if digest != wanted:
        raise ModelHashError(path, digest, wanted, EXPORT_AGAIN)
    return TorchFile(path, content, digest)


def _stated(path: Path) -> str:
    beside = sidecar(path)
    try:
        text = beside.read_text(encoding="ascii", errors="replace")
    except OSError as exc:
        reason = f"no digest lies beside it ({beside.name}), and such a file may hold code; {EXPORT_AGAIN}"
        raise ModelDamagedError(path, reason, kind=KIND) from exc
    found = re.match(r"([0-9a-f]{64})(\s|$)", text)
    if found is None:
        raise ModelDamagedError(path, f"{beside.name} beside it states no sha256; {EXPORT_AGAIN}", kind=KIND)
    return found[1]
