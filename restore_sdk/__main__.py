"""`python -m restore_sdk` is the program `restore`."""

from __future__ import annotations

from restore_sdk.cli.start import main

if __name__ == "__main__":
    main()
