"""Where the program `restore` begins: what it is made of is loaded after Ctrl-C is taken care of."""

from __future__ import annotations

import sys

from restore_sdk.cli.exit_codes import ExitCode
from restore_sdk.cli.interrupts import wait_for_imports


def main() -> None:
    """Run the program and leave with its exit code."""
    wait_for_imports()
    try:
        from restore_sdk.cli.main import main as run  # noqa: PLC0415

        run()
    except KeyboardInterrupt:  # before or after a command, whose own edge reports it
        sys.exit(ExitCode.INTERRUPTED)
