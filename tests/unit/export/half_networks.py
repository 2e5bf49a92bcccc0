"""Networks that FP16 cannot hold, each for one reason, on images in [0, 1]. All take and give 3 channels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from training.engine.checkpoint import save_network


def mixing(weight: Tensor, bias: float = 0.0) -> nn.Conv2d:
    """1x1 convolution with a given (3, 3) matrix."""
    conv = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        conv.weight.copy_(weight[:, :, None, None])
        torch.nn.init.constant_(conv.bias, bias)  # type: ignore[arg-type]
    return conv.eval().requires_grad_(False)


def same() -> nn.Conv2d:
    """1x1 convolution that changes nothing."""
    return mixing(torch.eye(3))


class Loud(nn.Module):
    """`loud` gives 25 000 times the sum of the channels: below 6e4 for photographs, 75 000 on white."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.loud, self.tail = same(), mixing(torch.full((3, 3), 25e3)), mixing(torch.eye(3).flip(0))

    def forward(self, x: Tensor) -> Tensor:
        tail: Tensor = self.tail(self.loud(self.head(x)) / 75e3)
        return tail


class Quiet(Loud):
    """The same without the gain."""

    def __init__(self) -> None:
        super().__init__()
        self.loud = same()

    def forward(self, x: Tensor) -> Tensor:
        tail: Tensor = self.tail(self.loud(self.head(x)))
        return tail


def chain(*layers: nn.Module) -> nn.Sequential:
    """Layers "0", "1", ... one after the other."""
    return nn.Sequential(*layers).eval()


def loud_chain() -> nn.Sequential:
    """ "1" gives up to 75 000, which "2" takes and undoes."""
    return chain(same(), mixing(torch.full((3, 3), 25e3)), mixing(torch.eye(3) / 75e3), same())


def lifted_chain() -> nn.Sequential:
    """No value beyond 2050, but between "1" and "2" a step of FP16 is 2 (or 1): nothing is left of an image."""
    return chain(same(), mixing(torch.eye(3), 2048.0), mixing(torch.eye(3), -2048.0), same())


class Summed(nn.Module):
    """The sum of what `head` gives overflows, and is no module's input or output."""

    def __init__(self) -> None:
        super().__init__()
        self.head = mixing(torch.eye(3) * 2e4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        return (x + x + x + x) / 8e4


def save_half(folder: Path, network: nn.Module, kind: str, **card: object) -> Path:
    """A run folder; the test registers `kind`."""
    folder.mkdir()
    save_network(folder / "model.safetensors", network, {"name": kind, "network": {"kind": kind}, **card})
    return folder
