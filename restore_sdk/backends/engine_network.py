"""The network that TensorRT reads from an ONNX graph: parsed, compared with the spec, given its profile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from restore_sdk.backends.engine_log import BuilderLog
from restore_sdk.backends.engine_profile import AXES, EngineProfile, Shape
from restore_sdk.errors import EngineBuildError, ModelSpecError, OptionsError
from restore_sdk.spec import ModelSpec

DYNAMIC = -1
NOT_RUNNABLE = re.compile("Profile k(MIN|OPT|MAX) values are not self-consistent")


@dataclass(frozen=True, slots=True)
class InputShapes:
    """Of every input: its name, and its smallest, most frequent and largest shape."""

    minimum: Mapping[str, Shape]
    optimum: Mapping[str, Shape]
    maximum: Mapping[str, Shape]


def parsed(api: ModuleType, network: Any, content: bytes, logger: Any, log: BuilderLog) -> dict[str, tuple[int, ...]]:
    """Read the ONNX model `content` into `network`. Returns the inputs: name -> shape, -1 where it is dynamic.

    Raises EngineBuildError that names the node and its operator.
    """
    parser = api.OnnxParser(network, logger)
    if not parser.parse(content):
        raise _parse_error([parser.get_error(index) for index in range(parser.num_errors)], log)
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    return {str(tensor.name): tuple(tensor.shape) for tensor in tensors}


def check_inputs(inputs: Mapping[str, tuple[int, ...]], spec: ModelSpec, profile: EngineProfile) -> InputShapes:
    """Compare what the graph takes with the promises of `spec` and the wishes of `profile`.

    "image" has spec.channels; another input, such as a mask, has the channels that its graph says. Raises ModelSpecError, and
    OptionsError where the graph fixes an axis that the profile leaves open.
    """
    if set(inputs) != set(spec.inputs):
        raise ModelSpecError(f"the graph has inputs {tuple(inputs)}, its spec promises {spec.inputs}")
    for name, shape in inputs.items():
        if len(shape) != len(AXES) or shape[1] == DYNAMIC:
            raise ModelSpecError(f"{name!r} has shape {list(shape)}, expected (N, C, H, W) with fixed C")
        if name == "image" and shape[1] != spec.channels:
            raise ModelSpecError(f"{name!r} has {shape[1]} channels, the spec promises {spec.channels}")
        _check_fixed(name, shape, profile)
    smallest, usual, largest = (
        {name: (size[0], shape[1], size[2], size[3]) for name, shape in inputs.items()}
        for size in (profile.minimum, profile.optimum, profile.maximum)
    )
    return InputShapes(smallest, usual, largest)


def set_profile(builder: Any, config: Any, inputs: InputShapes, log: BuilderLog) -> None:
    """Give `config` the shapes. Raises EngineBuildError if TensorRT refuses them."""
    profile = builder.create_optimization_profile()
    reason = ""
    try:
        if profile is not None:
            for name in inputs.optimum:
                profile.set_shape(name, inputs.minimum[name], inputs.optimum[name], inputs.maximum[name])
            if config.add_optimization_profile(profile) >= 0:
                return
    except (RuntimeError, TypeError) as exc:  # the one call of a build that answers "no" so
        reason = f" ({exc})"
    raise EngineBuildError(
        f"TensorRT refuses the optimisation profile{reason}", "pass other --min, --opt, --max", log=log.problems
    )


def check_runnable(log: BuilderLog) -> None:
    """Raise EngineBuildError if the builder found that an end of the profile cannot run, of which it only warns."""
    for line in log.lines:
        found = NOT_RUNNABLE.search(line.text)
        if found is not None:
            name = found[1].lower()
            remedy = "pass a larger --min" if name == "min" else "pass a smaller --max or --batch"
            raise EngineBuildError(f"inputs of the profile's {name} shape cannot run", remedy, log=log.problems)


def _check_fixed(name: str, shape: tuple[int, ...], profile: EngineProfile) -> None:
    for axis in (0, 2, 3):
        wanted = (profile.minimum[axis], profile.optimum[axis], profile.maximum[axis])
        if shape[axis] != DYNAMIC and set(wanted) != {shape[axis]}:
            reason = f"{shape[axis]} three times: the graph's input {name!r} has that axis fixed"
            raise OptionsError(f"min, opt, max {AXES[axis]}", wanted, reason)


def _parse_error(errors: list[Any], log: BuilderLog) -> EngineBuildError:
    """The first error that names a node says most; TensorRT may add others that follow from it."""
    told = next((error for error in errors if error.node_name() or error.node_operator()), errors[0] if errors else None)
    if told is None:
        return EngineBuildError("TensorRT cannot read the model", "export it again", log=log.problems)
    code = str(told.code()).rpartition(".")[2]
    return EngineBuildError(
        f"TensorRT cannot read the graph ({code}: {told.desc()})",
        "export the model again without that operator" if told.node_operator() else "export the model again",
        node=told.node_name() or None,
        operator=told.node_operator() or None,
        log=log.problems,
    )
