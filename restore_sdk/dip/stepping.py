"""One iteration after another: noise on the input, network, loss, gradient, Adam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor

from restore_sdk.cuda.torch_switches import fixed_arithmetic
from restore_sdk.dip.capture import Replayed
from restore_sdk.dip.inputs import Inputs, canvas, first_generators
from restore_sdk.dip.network import SkipNetwork, build
from restore_sdk.dip.options import DipOptions, Precision
from restore_sdk.dip.presets import Preset
from restore_sdk.dip.problem import Problem
from restore_sdk.dip.resampling import doubled
from restore_sdk.dip.snapshots import cut, share, state

SHAPES = 64  # that one process may compile for; PyTorch's own 8 are soon used up by images of several sizes
Weights = list[Tensor]  # of one network, in the order of its parameters


class Stepper:
    """Networks, inputs and optimiser of the images of one problem. Not for several threads."""

    def __init__(
        self,
        problem: Problem,
        preset: Preset,
        options: DipOptions,
        indices: Sequence[int],
        *,
        device: torch.device,
        start: Sequence[Weights] | None = None,
    ) -> None:
        self.problem, self._preset, self._options = problem.to(device), preset, options
        self._device, self._rate = device, preset.learning_rate
        generators = first_generators(options.seed, indices)
        self.network = build(preset, problem.shape[0], generators, device)
        if start is not None:
            _load(self.network, start)
        size = canvas(*problem.shape[1:], preset)
        self._inputs = Inputs(preset, size, generators, seed=options.seed, indices=indices, device=device)
        self._network_changed()

    def step(self, *, coarse: bool = False) -> tuple[Tensor, Tensor]:
        """One iteration: what the network made of its input, (N, C, H, W), and the loss of each image, (N,), before the update.
        Both are overwritten by the next step."""
        self._inputs.draw()
        if coarse or self._replayed is None:
            return self._iterate(coarse=coarse)
        return self._replayed(self._iterate)

    def current(self) -> list[Tensor]:
        """The state, as views."""
        return state(self.network, self._optimizer)

    def weights(self, image: int) -> Weights:
        """Those of one image's network, copied to the host."""
        copies = self.network.copies
        return [share(value.detach(), image, copies).cpu().clone() for value in self.network.parameters()]

    def slow_down(self) -> None:
        """Halve the learning rate, that of all images: their networks are one, with one Adam."""
        self._rate /= 2
        for group in self._optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(self._rate)
            else:
                group["lr"] = self._rate

    def keep(self, images: list[int]) -> None:
        """Go on with these images only, with the very state they are in."""
        values, copies, count = self.current(), self.network.copies, len(list(self.network.parameters()))
        steps = self._optimizer.state[next(self.network.parameters())]["step"].clone()
        chosen = cut(values, images, copies)
        self.problem = self.problem.select(images)
        with torch.device("meta"):
            network = SkipNetwork(self._preset, self.problem.shape[0], len(images))
        self.network = network.to_empty(device=self._device).float()
        self._inputs.keep(images)
        self._network_changed()
        for number, parameter in enumerate(self.network.parameters()):
            parameter.detach().copy_(chosen[number])
            average, square = chosen[count + 2 * number : count + 2 * number + 2]
            self._optimizer.state[parameter] = {"step": steps.clone(), "exp_avg": average, "exp_avg_sq": square}

    def _network_changed(self) -> None:
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        rate = torch.tensor(self._rate, device=self._device) if on_gpu else self._rate
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=rate, fused=on_gpu, capturable=on_gpu)
        self._replayed = Replayed(self._device) if on_gpu else None
        self._forward = compiled(self.network) if self._options.compiled else self.network
        self._constants = self.problem.constants()  # a captured step knows where they lie

    def _iterate(self, *, coarse: bool = False) -> tuple[Tensor, Tensor]:
        self._optimizer.zero_grad(set_to_none=True)
        made = self._made(self._inputs.half() if coarse else self._inputs.given, coarse=coarse)
        losses, _ = self.problem.residuals(made)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return made.detach(), losses.detach()

    def _made(self, given: Tensor, *, coarse: bool) -> Tensor:
        half = self._options.precision == "bf16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            made = self._forward(given)
        made = made.float().view(self.network.copies, -1, *made.shape[2:])
        if coarse:
            made = doubled(made, "bilinear")
        return cast(Tensor, made[:, :, : self.problem.shape[1], : self.problem.shape[2]])


def compiled(network: SkipNetwork) -> Callable[[Tensor], Tensor]:
    """The network, compiled for one shape when it is first called, its backward pass then too: both before the step is captured.
    The weights stay the network's own."""
    torch._dynamo.config.recompile_limit = max(SHAPES, torch._dynamo.config.recompile_limit)  # beyond it nothing is compiled
    return cast(Callable[[Tensor], Tensor], torch.compile(network, dynamic=False))


def arithmetic(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Fixed algorithms, so that a seed decides, and TensorFloat-32 only where asked for. The settings are the process's: fits on
    several threads share them, but one with TensorFloat-32 and one without wait for each other."""
    return fixed_arithmetic(torch, tf32=precision == "tf32") if device.type == "cuda" else nullcontext()


def _load(network: SkipNetwork, start: Sequence[Weights]) -> None:
    for number, parameter in enumerate(network.parameters()):
        for image, weights in enumerate(start):
            share(parameter.detach(), image, network.copies).copy_(weights[number])
