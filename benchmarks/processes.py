"""Runs one of the scripts in children/ in a fresh process and reads the JSON it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CHILDREN = Path(__file__).parent / "children"


def run_child(script: str, *arguments: object) -> dict[str, Any]:
    """The JSON object that children/`script` prints. Raises RuntimeError with the child's last error lines when it fails."""
    command = [sys.executable, str(CHILDREN / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{script} exited with {done.returncode}:\n" + "\n".join(done.stderr.splitlines()[-5:]))
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
