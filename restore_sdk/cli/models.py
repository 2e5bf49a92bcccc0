"""`restore models`: what is bundled, what each promises, and whether its bytes are those that were published."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from restore_sdk.backends.onnx_file import read_onnx
from restore_sdk.cli.console import complain, error_record, errors_reported, say, say_json
from restore_sdk.cli.dip_models import DIP_MODELS
from restore_sdk.cli.exit_codes import ExitCode, UsageError, exit_code
from restore_sdk.cli.flags import Debug, Json
from restore_sdk.errors import ModelError, ModelNotFoundError
from restore_sdk.spec import ModelSpec
from restore_sdk.zoo.registry import ZooEntry, list_models, verify_model

models = typer.Typer(help="List, show and verify the bundled models.", no_args_is_help=True)


@models.command("list")
def list_command(as_json: Json = False, debug: Debug = False) -> None:
    """List the bundled models, with what they were trained on and its terms, and the fits to each image."""
    with errors_reported("models list", as_json=as_json, debug=debug):
        entries = list_models()
        if as_json:
            fitted = [model.record() for model in DIP_MODELS.values()]
            listed = {"models": [_record(entry) for entry in entries], "fitted_to_each_image": fitted}
            say_json({"command": "models list", "exit_code": 0, **listed})
        for entry in () if as_json else entries:
            say(f"{entry.name:<17} {entry.task:<14} {entry.size / 1e6:6.2f} MB  {entry.licence:<12} {entry.summary}")
            say(f"{'':17} trained on {entry.trained_on}. {entry.terms}")
        for line in () if as_json else [line for model in DIP_MODELS.values() for line in model.lines()]:
            say(line)


SHOWN_OF_SPEC = ("receptive_radius", "size_multiple", "fast_halo", "bytes_per_pixel", "corruption", "source")
NONE = {"sigma": "real noise", "receptive_radius": "the whole image"}  # what it means that there is no such number


@models.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: Json = False, debug: Debug = False) -> None:
    """Show one model: file, hash, licence, training data and its terms, measured quality."""
    with errors_reported("models show", as_json=as_json, debug=debug):
        record, spec = (DIP_MODELS[name].record(), {}) if name in DIP_MODELS else _shown(_entry(name))
        if as_json:
            say_json({"command": "models show", "exit_code": 0, "model": record, "spec": spec})
        else:
            _say_record(record)
            for key in SHOWN_OF_SPEC if spec else ():
                _say_value(key, spec[key])


@models.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One model; all of them if left out.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare the bytes of the bundled models with the published hashes."""
    with errors_reported("models verify", as_json=as_json, debug=debug):
        names = [entry.name for entry in list_models()] if name is None else [_entry(name).name]
        problems = {model: _problem(model, debug=debug) for model in names}
        failures = [exit_code(problem) for problem in problems.values() if problem is not None]
        code = max(failures, default=ExitCode.OK)
        if as_json:
            say_json({"command": "models verify", "exit_code": int(code), "models": _verdicts(problems)})
        for model, problem in () if as_json else problems.items():
            say(f"{model:<16} {'ok' if problem is None else 'FAILED'}")
    raise typer.Exit(code)


def _problem(name: str, *, debug: bool) -> ModelError | None:
    try:
        verify_model(name)
    except ModelError as exc:
        complain(exc, debug=debug)
        return exc
    return None


def _verdicts(problems: Mapping[str, ModelError | None]) -> list[dict[str, Any]]:
    return [
        {"name": name, "ok": problem is None, "error": None if problem is None else error_record(problem)}
        for name, problem in problems.items()
    ]


def _entry(name: str) -> ZooEntry:
    if name in DIP_MODELS:
        raise UsageError(f"{name} has no file: it is fitted to each image; pass the name of a bundled model")
    entries = {entry.name: entry for entry in list_models()}
    if name not in entries:
        raise ModelNotFoundError(name, tuple(entries))
    return entries[name]


def _shown(entry: ZooEntry) -> tuple[dict[str, Any], dict[str, Any]]:
    return _record(entry), _spec(entry)


def _record(entry: ZooEntry) -> dict[str, Any]:
    return {**dataclasses.asdict(entry), "path": str(entry.path)}


def _spec(entry: ZooEntry) -> dict[str, Any]:
    """What the file itself promises; empty for one that `models verify` would refuse."""
    try:
        file = read_onnx(entry.path, sha256=entry.sha256)
        return dict(json.loads(ModelSpec.from_metadata(file.metadata).to_json()))
    except ModelError:
        return {}


def _say_record(record: Mapping[str, Any]) -> None:
    for key, value in record.items():
        if key != "quality" and value is not None:
            _say_value(key, value)
    for measured in record.get("quality", ()):
        kept = {key: value for key, value in measured.items() if value is not None or record["task"] == "denoise"}
        say("quality           " + "  ".join(_in_words(key, value) for key, value in kept.items()))


def _say_value(key: str, value: object) -> None:
    """A line for one value; of a table, a line for each row."""
    if isinstance(value, Mapping):
        for row, text in value.items():
            say(f"{key:<17} {row} {text}")
    else:
        say(f"{key:<17} {NONE.get(key, '-') if value is None else value}")


def _in_words(key: str, value: object) -> str:
    if value is None:
        return NONE.get(key, f"{key} -")
    return f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
