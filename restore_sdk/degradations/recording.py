"""A theta with its operator as the bytes of a .safetensors file: readable anywhere, nothing to execute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from restore_sdk.degradations.errors import CorruptionSpecError, ThetaError
from restore_sdk.degradations.grammar import parse
from restore_sdk.degradations.operator import Operator
from restore_sdk.degradations.theta import Theta
from restore_sdk.extras import require

METADATA_KEY = "restore_sdk.theta"
_RECORD = "use a file that save_theta or `python -m training degrade --record` wrote"


@dataclass(frozen=True, slots=True)
class Recording:
    """An operator, the theta it drew, and notes of whoever recorded it, for example the seed of the noise."""

    operator: Operator
    theta: Theta
    notes: Mapping[str, Any] = field(default_factory=dict)


def save_theta(recording: Recording) -> bytes:
    """The recording as the content of a .safetensors file; notes must be JSON."""
    card = {"corruption": recording.operator.describe(), "shape": recording.theta.shape, "notes": dict(recording.notes)}
    save = require("safetensors.numpy", "train").save
    return bytes(save(recording.theta.arrays(), metadata={METADATA_KEY: json.dumps(card, sort_keys=True)}))


def load_theta(data: bytes) -> Recording:
    """The way back from save_theta; theta lies on the CPU. Raises ThetaError for other bytes."""
    safetensors, numpy_part = require("safetensors", "train"), require("safetensors.numpy", "train")
    try:
        arrays = numpy_part.load(data)
        card = json.loads(_metadata(data)[METADATA_KEY])
        shape, notes = card["shape"], dict(card["notes"])
        operator = parse(card["corruption"])
        if len(shape) != 4 or not all(isinstance(side, int) and side > 0 for side in shape):
            raise ValueError(f"a shape of {shape}")
    except (
        safetensors.SafetensorError,
        CorruptionSpecError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as exc:
        raise ThetaError(f"no recorded theta ({exc}); {_RECORD}") from exc
    return Recording(operator, operator.theta_from_arrays(tuple(shape), arrays), notes)


def _metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")  # of the JSON header that follows
    return dict(json.loads(data[8 : 8 + length])["__metadata__"])
