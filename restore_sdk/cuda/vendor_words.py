"""How runtimes and drivers say that memory ran out. Loads nothing."""

from __future__ import annotations

import re

OUT_OF_MEMORY = re.compile(
    r"out[ _]of[ _]memory|bad[_ ]alloc|failed to allocate|not enough memory|unable to allocate"
    r"|can't allocate memory"
    r"|(cudnn|cublas)_status_\w*alloc(ation)?_failed"
    r"|unable to find an engine to execute",  # no convolution's workspace had room
    re.IGNORECASE,
)
