"""python -m export. What it is made of is loaded after Ctrl-C is taken care of."""

from __future__ import annotations

from restore_sdk.cli.interrupts import program_edge


def main() -> None:
    """Run the program and leave with its exit code."""
    with program_edge():
        from export.program import app  # noqa: PLC0415

        app(prog_name="python -m export")


if __name__ == "__main__":
    main()
