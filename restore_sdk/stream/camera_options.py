"""How a camera is waited for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from restore_sdk.errors import OptionsError

Transport: TypeAlias = Literal["tcp", "udp"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraOptions:
    """Seconds, but for the last three.

    open_timeout   one attempt to connect
    read_timeout   without a picture, until the connection counts as lost
    first_wait     before the first new attempt; it doubles with each that fails
    longest_wait   between two attempts
    give_up_after  without a picture, until the camera counts as gone for good; None: never
    jitter         share of a wait that is left to chance, so that many clients do not come back at the same moment
    transport      of RTSP
    more           further options for FFmpeg
    """

    open_timeout: float = 5.0
    read_timeout: float = 5.0
    first_wait: float = 0.5
    longest_wait: float = 30.0
    give_up_after: float | None = 60.0
    jitter: float = 0.5
    transport: Transport = "tcp"
    more: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("open_timeout", "read_timeout", "first_wait", "longest_wait"):
            _check_seconds(name, getattr(self, name))
        if self.give_up_after is not None:
            _check_seconds("give_up_after", self.give_up_after)
        if not isinstance(self.jitter, int | float) or not 0 <= self.jitter <= 1:
            raise OptionsError("jitter", self.jitter, "a share from 0 to 1")
        if self.transport not in get_args(Transport):
            raise OptionsError("transport", self.transport, "'tcp' or 'udp'")

    def wait(self, attempt: int, chance: float) -> float:
        """Seconds before new attempt number `attempt` (from 0), for a `chance` from 0 to 1."""
        full = min(self.longest_wait, self.first_wait * 2.0 ** min(attempt, 60))
        return full * (1 - self.jitter * chance)


def _check_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise OptionsError(name, value, "seconds above 0")
