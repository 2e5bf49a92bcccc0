"""Where the program `restore` begins: what it is made of is loaded after Ctrl-C is taken care of."""

from __future__ import annotations

from restore_sdk.cli.interrupts import program_edge


def main() -> None:
    """Run the program and leave with its exit code."""
    with program_edge():
        from restore_sdk.cli.main import main as run  # noqa: PLC0415

        run()
