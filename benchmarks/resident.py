"""Peak memory of this process."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_resident_bytes() -> int:
    """Largest resident set so far, bytes.

    On Linux this is VmHWM of /proc/self/status, because ru_maxrss there also counts the parent's memory at the fork;
    elsewhere it is ru_maxrss (kilobytes, on macOS bytes).
    """
    status = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"), re.MULTILINE) if status.exists() else None
    if found:
        return int(found.group(1)) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
