"""A network in half precision: float32 in, a half body, float32 out. The traced file then carries FP16 itself.

TensorRT 11 has no FP16 flag any more: a strongly typed engine computes in what the file says. A layer kept in float32 takes
its input as float32 and hands its output on as float32; the next half layer casts it down as it enters. So two neighbours
that are kept exchange float32, and a value too large for half may pass between them.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from restore_sdk.errors import OptionsError
from restore_sdk.extras import require

if TYPE_CHECKING:
    import torch
    from torch import nn

DECIDES = "decides_in_float32"  # attribute of a network that compares its input with a threshold
PreHook = Callable[[Any, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]


def half_wrapped(network: nn.Module, keep: Collection[str] = ()) -> nn.Module:
    """A copy of `network` in FP16 that still takes and gives float32 (N, C, H, W); the modules named in `keep`, and all in
    them, stay float32. So do the inputs of a module with `decides_in_float32` and what its own `forward` makes of them, but not
    the layers that it calls. Raises OptionsError for a name that the network does not have."""
    torch = require("torch", "export")
    check_names(network, keep)
    body = copy.deepcopy(network).eval().requires_grad_(False)
    roots = [body.get_submodule(name) for name in keep]
    deciding = [module for module in body.modules() if getattr(module, DECIDES, False)]
    kept = {*deciding, *(module for root in roots for module in root.modules())}
    halved = [module for module in body.modules() if module not in kept]
    for module in halved:
        _halve(module)
        if kept.isdisjoint(module.modules()):  # a module around a kept one lets float32 pass, for its kept part
            _cast_on_entry(module, torch.float16)
    for root in (*roots, *deciding):
        _cast_on_entry(root, torch.float32)
    if body in halved and kept:
        _cast_on_entry(body, torch.float16)
    widened = torch.nn.Identity()
    _cast_on_entry(widened, torch.float32)
    wrapped: nn.Module = torch.nn.Sequential(OrderedDict(body=body, widened=widened))
    return wrapped


def layers(network: nn.Module) -> tuple[str, ...]:
    """Paths of the modules that are kept or halved as one: those without children, and attention, whose children it reads
    without calling them."""
    nn = require("torch", "export").nn

    def paths(module: Any, path: str) -> Iterator[str]:
        children = dict(module.named_children())
        if path and (not children or isinstance(module, nn.MultiheadAttention)):
            yield path
            return
        for name, child in children.items():
            yield from paths(child, f"{path}.{name}" if path else name)

    return tuple(paths(network, ""))


def in_order(network: nn.Module, names: Collection[str]) -> tuple[str, ...]:
    """`names`, each once, in the network's order. Raises OptionsError for one that the network does not have."""
    check_names(network, names)
    return tuple(path for path, _ in network.named_modules(remove_duplicate=False) if path and path in names)


def innermost(names: Iterable[str]) -> tuple[str, ...]:
    """`names` less each one that another lies inside of. "" is the whole network."""
    listed = tuple(names)
    return tuple(name for name in listed if not any(_is_inside(other, name) for other in listed))


def _is_inside(path: str, outer: str) -> bool:
    return path != outer and (not outer or path.startswith(f"{outer}."))


def check_names(network: nn.Module, names: Iterable[str]) -> None:
    """Raise OptionsError for a name that is no module inside `network`."""
    known = {name for name, _ in network.named_modules(remove_duplicate=False) if name}
    for name in names:
        if name not in known:
            top = ", ".join(child for child, _ in network.named_children())
            raise OptionsError("keep_fp32", name, f"the path of a module inside the network, which has {top or 'none'}")


def cast(value: Any, dtype: torch.dtype) -> Any:
    """`value` with its floating-point tensors, also those in tuples, lists and dicts, as `dtype`."""
    tensor = require("torch", "export").Tensor
    if isinstance(value, tensor):
        return value.to(dtype) if value.is_floating_point() and value.dtype != dtype else value
    if type(value) in (tuple, list):
        return type(value)(cast(item, dtype) for item in value)
    if type(value) is dict:
        return {name: cast(item, dtype) for name, item in value.items()}
    return value


def _halve(module: nn.Module) -> None:
    """Its own weights and buffers, not those of its children."""
    for parameter in module.parameters(recurse=False):
        parameter.data = cast(parameter.data, require("torch", "export").float16)
    for name, buffer in list(module.named_buffers(recurse=False)):
        setattr(module, name, cast(buffer, require("torch", "export").float16))


def _cast_on_entry(module: nn.Module, dtype: torch.dtype) -> None:
    hook: PreHook = lambda module, args, kwargs: (cast(args, dtype), cast(kwargs, dtype))  # noqa: E731 typed here
    module.register_forward_pre_hook(hook, with_kwargs=True)
