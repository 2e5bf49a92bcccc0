"""INT8 from an FP32 ONNX file: ONNX Runtime's static quantiser, convolutions between Q/DQ pairs, symmetric.

TensorRT wants zero points of 0 and biases left alone, and takes INT8 from Q/DQ nodes only; ONNX Runtime and OpenVINO take the
same file. Only convolutions are quantised: they are where the time goes, and the skip connections keep their floats.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from export.errors import ExportError, Int8LossError
from export.int8_images import Damage, Pair
from export.to_onnx import serialised
from export.tolerance import difference
from restore_sdk.backends.base import Backend, FloatNCHW
from restore_sdk.backends.onnx_library import load_onnxruntime
from restore_sdk.extras import require

QUANTISED = ["Conv"]
SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}


@dataclass(frozen=True, slots=True)
class Loss:
    """What INT8 costs at one `damage`, mean over the held-out images. PSNR in dB, peak 1.

    fp32, int8  of each answer against the clean image
    apart       of one answer against the other
    """

    damage: Damage
    fp32: float
    int8: float
    apart: float

    @property
    def db(self) -> float:
        """The loss. Negative: a gain."""
        return self.fp32 - self.int8

    def as_json(self) -> dict[str, float | None]:
        """Rounded."""
        figures = {"fp32": self.fp32, "int8": self.int8, "against_fp32": self.apart, "loss_db": self.db}
        return {**self.damage.as_json(), **{name: rounded(value) for name, value in figures.items()}}


def rounded(decibels: float) -> float | None:
    """To what repeats, and never -0; None where two answers are equal, which JSON has no number for."""
    return round(decibels, 2) + 0.0 if math.isfinite(decibels) else None


def quantised(content: bytes, batches: Iterable[FloatNCHW]) -> bytes:
    """`content`, an FP32 ONNX model, in INT8, its ranges those that occur on `batches`. Unstamped.

    Raises ExportError if it has no convolution, or if the quantiser refuses it.
    """
    onnx = require("onnx", "export")
    load_onnxruntime("export")
    model = onnx.load_model_from_string(content)
    if not any(node.op_type in QUANTISED for node in model.graph.node):
        raise ExportError("the model has no convolution to quantise", "keep it in FP32")
    with TemporaryDirectory(prefix="restore-export-") as folder, _notices_hidden():
        target = Path(folder) / "int8.onnx"
        _quantise(model, target, iter([{model.graph.input[0].name: batch} for batch in batches]))
        quantised_model = onnx.load(target)
    _prune_domains(quantised_model)
    return serialised(quantised_model)


def _quantise(model: Any, target: Path, feeds: Iterator[dict[str, FloatNCHW]]) -> None:
    quantization: Any = require("onnxruntime.quantization", "export")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, FloatNCHW] | None:
            return next(feeds, None)

    kind = quantization.QuantType.QInt8
    try:
        quantization.quantize_static(
            model,
            target,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            activation_type=kind,
            weight_type=kind,
            extra_options=SYMMETRIC,
        )
    except (ValueError, RuntimeError, KeyError, AssertionError) as exc:  # the last of ranges that are not finite
        gist = next(iter(str(exc).splitlines()), type(exc).__name__)
        raise ExportError(f"ONNX Runtime cannot quantise the model ({gist})", "keep it in FP32") from exc


def losses(fp32: Backend, int8: Backend, pairs: Iterable[Pair]) -> tuple[Loss, ...]:
    """One for each damage of `pairs`, in rising order."""
    rows: dict[Damage, list[tuple[float, float, float]]] = {}
    for pair in pairs:
        plain, lowered = fp32.infer(pair.given), int8.infer(pair.given)
        against = (difference(plain, pair.clean)[1], difference(lowered, pair.clean)[1], difference(lowered, plain)[1])
        rows.setdefault(pair.damage, []).append(against)
    return tuple(Loss(damage, *map(float, np.mean(rows[damage], axis=0))) for damage in sorted(rows))


def check_loss(found: Iterable[Loss], most: float) -> None:
    """Raise Int8LossError if any loses more than `most` dB; NaN does."""
    failed = [loss for loss in found if not loss.db <= most]
    if failed:
        worst = max(failed, key=lambda loss: loss.db)
        raise Int8LossError(worst.db, most, str(worst.damage))


def _prune_domains(model: Any) -> None:
    """The quantiser may import operator sets that no node is of, which TensorRT's parser need not know."""
    used = {"", *(node.domain for node in model.graph.node), *(node.domain for made in model.functions for node in made.node)}
    kept = [entry for entry in model.opset_import if entry.domain in used or entry.domain == "ai.onnx"]
    del model.opset_import[:]
    model.opset_import.extend(kept)


@contextmanager
def _notices_hidden() -> Iterator[None]:
    """The quantiser speaks on the root logger, which then would set itself up; a handler that keeps quiet prevents that."""
    root, quiet = logging.getLogger(), logging.NullHandler()
    root.addHandler(quiet)
    try:
        yield
    finally:
        root.removeHandler(quiet)
