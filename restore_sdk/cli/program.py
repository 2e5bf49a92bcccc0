"""What the programs of the project do alike with arguments that the parser refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import typer
from typer.core import TyperGroup

from restore_sdk.cli.console import error_record, say_json
from restore_sdk.cli.exit_codes import ExitCode, UsageError

JSON_WANTED = "restore_sdk.json"
REFUSED = cast("type[Exception]", typer.BadParameter.__mro__[1])  # the parser's UsageError, wherever this release of typer has it


class Program(TyperGroup):
    """What the parser refuses is said as JSON too where the arguments have --json. Typer says it on stderr, and exits with 2."""

    def make_context(self, info_name: str | None, args: list[str], *others: Any, **more: Any) -> Any:
        wanted = "--json" in args[: args.index("--") if "--" in args else None]
        with refusals_told(wanted):
            context = super().make_context(info_name, args, *others, **more)
        context.meta[JSON_WANTED] = wanted
        return context

    def invoke(self, ctx: Any) -> Any:
        with refusals_told(ctx.meta[JSON_WANTED]):
            return super().invoke(ctx)


@contextmanager
def refusals_told(as_json: bool) -> Iterator[None]:
    """Print the object for arguments that the parser refuses inside."""
    try:
        yield
    except REFUSED as exc:
        if as_json:
            refusal = cast(Any, exc)
            path, root = (refusal.ctx.command_path, refusal.ctx.find_root().command_path) if refusal.ctx else ("", "")
            command = path.removeprefix(root).strip()
            error = error_record(UsageError(refusal.format_message()))
            say_json({"command": command, "exit_code": int(ExitCode.USAGE), "error": error})
        raise
