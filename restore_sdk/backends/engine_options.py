"""What an engine is built with, apart from its shapes."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from restore_sdk.backends.wishes import APIS, Api
from restore_sdk.errors import OptionsError

CAPABILITY = re.compile(r"\d{1,2}\.\d")
HIGHEST_LEVEL = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """How an engine is built.

    api                   "tensorrt": for the GPU of this machine; "tensorrt_rtx": for GeForce and RTX cards, built without a GPU.
    workspace_mib         MiB of scratch memory a layer may use; None: as much as the device has.
    optimization_level    0 (built quickly) to 5 (searched longest); None: TensorRT's own, 3.
    hardware_compatible   one engine for every GPU since Ampere, at some cost in speed; tensorrt only.
    compute_capabilities  GPUs to build for, such as ("8.6", "8.9"); empty: the default set; tensorrt_rtx only.

    Raises OptionsError.
    """

    api: Api
    workspace_mib: int | None = None
    optimization_level: int | None = None
    hardware_compatible: bool = False
    compute_capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.api not in APIS:
            raise OptionsError("api", self.api, f"one of: {', '.join(APIS)}")
        _check_range("workspace", self.workspace_mib, 1, 1 << 30, "MiB")
        _check_range("opt-level", self.optimization_level, 0, HIGHEST_LEVEL, "")
        if self.hardware_compatible and self.api != "tensorrt":
            remedy = "api='tensorrt' (an engine of tensorrt_rtx runs on every GPU of its --compute-capability set)"
            raise OptionsError("hardware-compatible", self.hardware_compatible, remedy)
        if self.compute_capabilities and self.api != "tensorrt_rtx":
            raise OptionsError("compute-capability", self.compute_capabilities, "api='tensorrt_rtx', or none")
        for capability in self.compute_capabilities:
            if not CAPABILITY.fullmatch(capability):
                raise OptionsError("compute-capability", capability, "a capability such as 8.6, several with commas between")

    def as_json(self) -> dict[str, Any]:
        """Every option, under its name here, in JSON types: part of an engine's identity."""
        values = asdict(self)
        values["compute_capabilities"] = list(self.compute_capabilities)
        return values


def _check_range(name: str, value: object, least: int, most: int, unit: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise OptionsError(name, value, f"an integer from {least} to {most} {unit}".rstrip())
