"""`restore engines`: the TensorRT engines kept for this user, and whether each is as it was written."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from restore_sdk.backends.engine_cache import DEFAULT_LIMIT, SUFFIX
from restore_sdk.backends.engine_inventory import Entry, entries, kernels, prune
from restore_sdk.backends.user_folder import user_folder
from restore_sdk.cli.console import errors_reported, note, say, say_json
from restore_sdk.cli.exit_codes import ExitCode
from restore_sdk.cli.flags import Debug, Json

MIB = 1 << 20

engines = typer.Typer(help="List, prune and verify the TensorRT engines kept for this user.", no_args_is_help=True)


@engines.command("list")
def list_command(as_json: Json = False, debug: Debug = False) -> None:
    """List the kept engines, the most recently used first."""
    with errors_reported("engines list", as_json=as_json, debug=debug):
        folder, found = _found(entries)
        if as_json:
            say_json({"command": "engines list", "exit_code": 0, **_record(folder, found)})
            return
        for entry in found:
            say(_line(entry))
        note(f"{_counted(len(found))}, {sum(entry.size for entry in found) / MIB:.1f} MiB, in {folder or 'no folder'}")


@engines.command("prune")
def prune_command(
    limit: Annotated[int, typer.Option(min=0, metavar="MIB", help="Most that may be kept, MiB.")] = DEFAULT_LIMIT // MIB,
    everything: Annotated[bool, typer.Option("--all", help="Remove every engine.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove damaged engines and leftovers, then the least recently used beyond the limit; compiled kernels likewise."""
    with errors_reported("engines prune", as_json=as_json, debug=debug):
        folder = user_folder()
        removed = () if folder is None else prune(folder, 0 if everything else limit * MIB)
        if as_json:
            names = [path.stem for path in removed]
            say_json({"command": "engines prune", "exit_code": 0, "folder": folder and str(folder), "removed": names})
            return
        for path in removed:
            say(f"removed      {path.stem[:12]}{_kind(path)}")
        engines_removed = sum(path.suffix == SUFFIX for path in removed)
        note(f"{_counted(engines_removed)} removed from {folder or 'no folder'}")


@engines.command()
def verify(as_json: Json = False, debug: Debug = False) -> None:
    """Compare all engines and compiled kernels with their hashes and keys. Exit code 4 if one differs; it is never used."""
    with errors_reported("engines verify", as_json=as_json, debug=debug):
        folder, found = _found(entries, kernels)
        code = ExitCode.MODEL if any(entry.problem for entry in found) else ExitCode.OK
        if as_json:
            say_json({"command": "engines verify", "exit_code": int(code), **_record(folder, found)})
        elif not found:
            note(f"no engines in {folder or 'no folder'}")
        for entry in () if as_json else found:
            say(f"{entry.path.stem[:12]}{_kind(entry.path)} {'ok' if entry.problem is None else f'FAILED: {entry.problem}'}")
        if code is not ExitCode.OK:
            note("run `restore engines prune` to remove what failed")
    raise typer.Exit(code)


def _found(*read: Callable[[Path], tuple[Entry, ...]]) -> tuple[Path | None, tuple[Entry, ...]]:
    """The user's folder, if there is one, and what each of `read` finds there."""
    folder = user_folder()
    return folder, () if folder is None else tuple(entry for each in read for entry in each(folder))


def _record(folder: Path | None, found: tuple[Entry, ...]) -> dict[str, object]:
    return {"folder": folder and str(folder), "engines": [entry.as_json() for entry in found]}


def _counted(engines_found: int) -> str:
    return f"{engines_found} engine{'' if engines_found == 1 else 's'}"


def _kind(path: Path) -> str:
    """What a line says of a file that is no engine."""
    return "" if path.suffix == SUFFIX else " (kernels)"


def _line(entry: Entry) -> str:
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_used))
    if entry.problem is not None:
        return f"{entry.path.stem[:12]} {entry.size / MIB:8.1f} MiB  {used}  NOT USABLE: {entry.problem}"
    facts = entry.facts
    gpu = f"{facts.get('gpu')} ({facts.get('compute_capability')})"
    built = f"{facts.get('api')} {facts.get('api_version')}  {gpu}  {facts.get('precision')}"
    return f"{entry.path.stem[:12]} {entry.size / MIB:8.1f} MiB  {used}  {built}  model {str(facts.get('onnx_sha256'))[:12]}"
