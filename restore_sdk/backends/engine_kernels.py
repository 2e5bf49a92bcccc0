"""The kernels that tensorrt_rtx compiles when a shape first comes, kept from one process to the next.

They lie beside the engines. Their hash is compared before TensorRT sees a byte; TensorRT itself compares the GPU, the driver and
its own version with those that they were compiled for. What does not fit is dropped and told, and they are compiled again:
nothing that goes wrong here is an error of the call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from threading import Lock
from typing import Any

from restore_sdk.backends.engine_answers import answered
from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.engine_driver import installed_driver
from restore_sdk.backends.engine_file import SCHEMA
from restore_sdk.cuda.memory import Device
from restore_sdk.errors import BackendError


class KeptKernels:
    """What one engine's IRuntimeCache holds, in `cache` under `facts`. To be made and saved while the engine's GPU is current."""

    def __init__(self, vendor: Any, cache: EngineCache, facts: Mapping[str, Any]) -> None:
        """vendor: the IRuntimeCache, still empty."""
        self._vendor, self._cache, self._facts = vendor, cache, facts
        self._kept: str | None = None  # SHA-256 of what the cache has
        self._outcome, self._notes = "none kept", list[str]()
        self._turn = Lock()
        self._load()

    def save(self) -> None:
        """Keep what has been compiled, if that changed."""
        with self._turn:
            try:
                payload = bytes(answered("hand out its compiled kernels", self._vendor.serialize))
            except BackendError as exc:
                self._note(f"the compiled kernels were not kept: {exc}")
                return
            digest = hashlib.sha256(payload).hexdigest()
            if not payload or digest == self._kept:
                return
            why = self._cache.keep_kernels(self._facts, payload)
            if why is not None:
                self._note(f"the compiled kernels were not kept{why}; they are compiled again next time")
                return
            self._kept, self._outcome = digest, "stored"

    def report(self) -> dict[str, object]:
        """ "outcome": "none kept", "kept" from earlier or "stored" by us; and what went wrong."""
        return {"outcome": self._outcome, "notes": list(self._notes)}

    def _load(self) -> None:
        payload, damage = self._cache.kernels(self._facts)
        if damage is not None:
            self._note(f"the kept kernels were not used: {damage}; they are compiled again")
        if payload is None:
            return
        try:
            answered("take the kept kernels", lambda: self._vendor.deserialize(payload))
        except BackendError as exc:
            self._cache.drop_kernels(self._facts)
            self._note(f"the kept kernels were refused, and are compiled again: {exc}")
            return
        self._kept, self._outcome = hashlib.sha256(payload).hexdigest(), "kept"

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


def kernel_facts(plan: bytes, api: str, version: str, device: Device) -> dict[str, Any]:
    """What compiled kernels depend on: the engine's very bytes, TensorRT, the GPU and its driver. In JSON types."""
    major, minor = device.capability
    return {
        "kernels_of": hashlib.sha256(plan).hexdigest(),
        "api": api,
        "api_version": version,
        "driver": installed_driver(),
        "compute_capability": f"{major}.{minor}",
        "gpu": device.name,
        "schema": SCHEMA,
    }
