"""A .pt2 file and the digest that must lie beside it.

torch.export writes a zip whose parts may be pickles, and unpickling can run code. So not one byte reaches PyTorch before the
file's sha256 was compared: with the one that a registry states, else with NAME.pt2.sha256, which export writes in sha256sum's
format. The second shows damage and mixed-up files; it does not stop someone who can write both. What export writes holds no
pickle, and a file with one is refused; even so, load only files you trust.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from restore_sdk.backends.regular_files import regular_bytes
from restore_sdk.backends.wishes import PROGRAM_SUFFIX
from restore_sdk.errors import ModelDamagedError, ModelHashError

KIND = "torch.export program"
EXTRA = "extra/"  # the folder of what was stamped in
PLAIN = re.compile(r"archive_(format|version)|byteorder|\.data/\w+|models/model\.json|data/(weights|constants)/\w+(\.json)?")
EXPORT_AGAIN = "export it again with `python -m export torch`"


@dataclass(frozen=True, slots=True)
class TorchFile:
    """A file that passed the checks: its bytes, its sha256 (hexadecimal) and what was stamped into it."""

    path: Path
    content: bytes
    sha256: str
    metadata: Mapping[str, str]


def sidecar(path: Path) -> Path:
    """Where the digest of `path` lies."""
    return path.with_name(f"{path.name}.sha256")


def sidecar_text(name: str, sha256: str) -> str:
    """What `sha256sum --check` reads."""
    return f"{sha256}  {name}\n"


def read_program(path: Path, *, sha256: str | None = None) -> TorchFile:
    """Read `path` once and compare its digest with `sha256`, or with its sidecar if that is None.

    Raises ModelHashError if it is another, and ModelDamagedError if there is nothing to compare with or nothing to read, or if
    the file is no program or holds a pickle.
    """
    try:
        content = regular_bytes(path)
    except OSError as exc:
        reason = f"it cannot be read ({exc.strerror}); pass the path of a readable {PROGRAM_SUFFIX} file"
        raise ModelDamagedError(path, reason, kind=KIND) from exc
    wanted = _stated(path) if sha256 is None else sha256
    digest = hashlib.sha256(content).hexdigest()
    if digest != wanted:
        raise ModelHashError(path, digest, wanted, EXPORT_AGAIN)
    try:
        return TorchFile(path, content, digest, _checked_metadata(content))
    except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, KeyError) as exc:
        raise ModelDamagedError(path, f"it is no program of ours ({exc}); {EXPORT_AGAIN}", kind=KIND) from exc


def _stated(path: Path) -> str:
    beside = sidecar(path)
    try:
        text = regular_bytes(beside).decode("ascii", "replace")
    except OSError as exc:
        reason = f"no digest lies beside it ({beside.name}), and such a file may hold code; {EXPORT_AGAIN}"
        raise ModelDamagedError(path, reason, kind=KIND) from exc
    found = re.match(r"([0-9a-f]{64})(\s|$)", text)
    if found is None:
        raise ModelDamagedError(path, f"{beside.name} beside it states no sha256; {EXPORT_AGAIN}", kind=KIND)
    return found[1]


def _checked_metadata(content: bytes) -> dict[str, str]:
    """Texts below EXTRA by name. Raises ValueError, KeyError and what zipfile raises (RuntimeError: encrypted, or packed in an
    unknown way) for anything but a zip whose other parts are JSON and bare weights."""
    metadata = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for part in archive.infolist():
            _, _, name = part.filename.partition("/")  # below the archive's one folder
            if name.startswith(EXTRA):
                metadata[name.removeprefix(EXTRA)] = archive.read(part).decode()
            elif part.file_size and not PLAIN.fullmatch(name):
                raise ValueError(f"{name or part.filename} may hold code")
            elif name.endswith("_config.json"):
                _check_config(name, archive.read(part))
    return metadata


def _check_config(name: str, text: bytes) -> None:
    """Of weights or constants: none of them is pickled."""
    for tensor, how in json.loads(text)["config"].items():
        if not isinstance(how, dict) or how.get("use_pickle") is not False:
            raise ValueError(f"{tensor} in {name} is pickled")
