"""NaN and infinity in a result: an FP16 network that overflows paints black tiles, and nothing else would say so."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

import numpy as np

from restore_sdk.backends.base import Backend, FloatNCHW
from restore_sdk.backends.wishes import POLICIES, Finite
from restore_sdk.errors import BackendError, OptionsError, RestorerClosedError, RestoreWarning

REMEDY = "pass finite='fallback', or export the model again with `--precision fp32` or `--keep-fp32 auto`"


def overflow_error() -> BackendError:
    """Of a result on the GPU that an earlier call queued."""
    return BackendError(f"a result that an earlier call left on the GPU is not finite: the network overflows; {REMEDY}")


class FiniteCheck:
    """Looks at each result, as the policy wants.

    "raise"     a result that is not finite, of a batch that is, is a BackendError
    "fallback"  such a batch is restored again by the backend that `open_fallback` gives, which is opened the first time
    "ignore"    nothing is looked at
    """

    def __init__(self, policy: Finite, open_fallback: Callable[[], Backend]) -> None:
        if policy not in POLICIES:
            raise OptionsError("finite", policy, f"one of: {', '.join(POLICIES)}")
        self._policy, self._open = policy, open_fallback
        self._fallback: Backend | None = None
        self._batches = 0
        self._closed = False
        self._turn = threading.Lock()

    @property
    def policy(self) -> Finite:
        """What is done about it."""
        return self._policy

    def checked(self, batch: FloatNCHW, restored: FloatNCHW) -> FloatNCHW:
        """`restored` of `batch`, or what takes its place. A batch that is not finite itself is nobody's fault."""
        if self._policy == "ignore" or np.isfinite(restored).all() or not np.isfinite(batch).all():
            return restored
        if self._policy == "raise":
            lost = int(restored.size - np.isfinite(restored).sum())
            raise BackendError(f"{lost} of {restored.size} values of the result are not finite: the network overflows; {REMEDY}")
        return self.instead(batch)

    def instead(self, batch: FloatNCHW) -> FloatNCHW:
        """What the fallback makes of `batch`. Raises BackendError, RestorerClosedError."""
        return self._opened().infer(batch)

    def report(self) -> dict[str, object]:
        """The policy, how many batches went to the fallback, and which that is (None before the first)."""
        fallback = self._fallback
        name = None if fallback is None else f"{fallback.report()['backend']} on {fallback.report()['device']}"
        return {"policy": self._policy, "batches": self._batches, "fallback": name}

    def close(self) -> None:
        """Release the fallback; a second call does nothing."""
        with self._turn:
            self._closed = True
            fallback, self._fallback = self._fallback, None
        if fallback is not None:
            fallback.close()

    def _opened(self) -> Backend:
        with self._turn:
            if self._closed:  # meanwhile, by another thread: nobody would close what was opened now
                raise RestorerClosedError
            if self._fallback is None:
                self._fallback = self._open()
                warnings.warn(
                    "the network overflows in its precision; such batches are restored again, more slowly, by "
                    f"{self._fallback.report()['backend']} in {self._fallback.report()['precision']}",
                    RestoreWarning,
                    stacklevel=2,
                )
            self._batches += 1
            return self._fallback
