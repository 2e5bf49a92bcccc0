"""How many layers compute in FP16: counted, because a flag that is set proves nothing.

Two sources. The engine inspector tells what the finished engine does, but an engine can only be opened where its GPU is, and a
layer that the compiler fused whole (Myelin) shows no more than its ends. The network as it was parsed tells what every layer
must do: it is strongly typed, so the builder may not change a type. It needs no GPU.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeAlias

from restore_sdk.backends.engine_profile import Shape

Source: TypeAlias = Literal["inspector", "network"]

HALF = re.compile(r"\b(half|fp16)\b", re.IGNORECASE)
FLOATING = re.compile(r"\b(half|fp16|float|fp32|bf16|bfloat16)\b", re.IGNORECASE)
MOVES_ONLY = frozenset({"Constant", "NoOp", "Reformat"})
OPAQUE = re.compile(r"myelin|foreignnode", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LayerPrecision:
    """`half` of `total` layers that compute on floating numbers take or give FP16; `source`: how that is known."""

    half: int
    total: int
    source: Source

    @property
    def share(self) -> float:
        """half / total in [0, 1]."""
        return self.half / self.total if self.total else 0.0

    def as_json(self) -> dict[str, Any]:
        return {"half": self.half, "total": self.total, "share": round(self.share, 4), "source": self.source}


def network_precision(api: ModuleType, network: Any) -> LayerPrecision:
    """Of a parsed INetworkDefinition: layers whose first output is floating, without constants and casts."""
    floating = {api.DataType.HALF, api.DataType.FLOAT, api.DataType.BF16}
    idle = {api.LayerType.CONSTANT, api.LayerType.CAST}
    layers = [layer for index in range(network.num_layers) if (layer := network.get_layer(index)).type not in idle]
    types = [layer.get_output(0).dtype for layer in layers if layer.num_outputs]
    computing = [kind for kind in types if kind in floating]
    return LayerPrecision(sum(kind == api.DataType.HALF for kind in computing), len(computing), "network")


def inspected_precision(information: str) -> LayerPrecision | None:
    """Of the engine inspector's JSON (any version: {"Layers": [...]}); None if it shows no layer's types, or not of all that
    compute: one that was fused whole could hide anything."""
    try:
        layers = json.loads(information)["Layers"]
    except (ValueError, KeyError, TypeError):
        return None
    computing = [layer for layer in layers if not (isinstance(layer, Mapping) and layer.get("LayerType") in MOVES_ONLY)]
    if not computing or not all(isinstance(layer, Mapping) and _is_open(layer) for layer in computing):
        return None
    formats = [text for layer in computing if FLOATING.search(text := _formats(layer))]
    if not formats:
        return None
    return LayerPrecision(sum(HALF.search(text) is not None for text in formats), len(formats), "inspector")


def engine_information(api: ModuleType, logger: Any, plan: Any, shapes: Mapping[str, Shape]) -> str:
    """The inspector's JSON of `plan` at input `shapes`, without which it shows no types; empty if this GPU cannot open it.

    Only to be called where a driver works.
    """
    runtime = api.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan)
    context = None if engine is None else engine.create_execution_context()
    if engine is None or context is None:
        return ""
    if not all(context.set_input_shape(name, shape) for name, shape in shapes.items()):
        return ""
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    return str(inspector.get_engine_information(api.LayerInformationFormat.JSON))


def _is_open(layer: Mapping[str, Any]) -> bool:
    names = f"{layer.get('LayerType', '')} {layer.get('Name', '')}"
    return OPAQUE.search(names) is None and bool(_formats(layer))


def _formats(layer: Mapping[str, Any]) -> str:
    """Types of a layer's tensors: "Half", "Row major linear FP32"; TensorRT 11 may write "Format" and "DataType" apart."""
    tensors = [tensor for end in ("Inputs", "Outputs") for tensor in layer.get(end) or () if isinstance(tensor, Mapping)]
    keys = ("Format/Datatype", "Format", "DataType", "Datatype")
    return " ".join(str(tensor[key]) for tensor in tensors for key in keys if key in tensor).strip()
