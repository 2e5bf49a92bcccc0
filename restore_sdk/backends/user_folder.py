"""Where this user's built engines and measurements are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_folder() -> Path | None:
    """Where this user's engines are kept, by the platform's custom; XDG_CACHE_HOME counts where it is absolute."""
    try:
        return _cache_home() / "restore-sdk" / "engines"
    except RuntimeError:  # no home, as in some containers
        return None


def _cache_home() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    named = os.environ.get("XDG_CACHE_HOME", "")
    if named.startswith("/"):
        return Path(named)
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
