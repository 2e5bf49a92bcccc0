"""Losses that need one noisy observation of each image and no clean target.

All take `network`, a callable on (N, C, H, W) float tensors, and `noisy` = clean + n, values nominally in [0, 1]; `sigma` is the
standard deviation of n, (N, 1, 1, 1), in the same units. All return one number for each image, (N,), so that the caller may weigh
images; the random draw is an argument, so that a test can fix it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Network: TypeAlias = Callable[[Tensor], Tensor]

# Ordered pairs of side-by-side positions in a 2x2 cell numbered 0 1 / 2 3 (Neighbor2Neighbor, section 4.1): never diagonal.
NEIGHBOUR_PAIRS = torch.tensor([(0, 1), (0, 2), (1, 0), (1, 3), (2, 0), (2, 3), (3, 1), (3, 2)])


def per_image_mean(values: Tensor) -> Tensor:
    """(N, ...) to (N,)."""
    return values.flatten(1).mean(1)


def recorrupt(noisy: Tensor, sigma: Tensor, alpha: float, draw: Tensor) -> tuple[Tensor, Tensor]:
    """Input noisy + alpha * sigma * draw and target noisy - sigma * draw / alpha; draw ~ N(0, 1), shape of `noisy`.

    Their noises n + alpha w and n - w / alpha are independent, since Cov = sigma^2 - sigma^2 = 0
    (Pang et al., "Recorrupted-to-Recorrupted", CVPR 2021, equation 10).
    """
    noise = sigma * draw
    return noisy + alpha * noise, noisy - noise / alpha


def r2r(network: Network, noisy: Tensor, sigma: Tensor, *, alpha: float, draw: Tensor) -> Tensor:
    """Recorrupted-to-Recorrupted: mean (f(y + alpha w) - (y - w / alpha))^2. Its expectation is the MSE to the clean image
    at noise sigma sqrt(1 + alpha^2), plus the constant sigma^2 (1 + alpha^-2)."""
    source, target = recorrupt(noisy, sigma, alpha, draw)
    return per_image_mean((network(source) - target) ** 2)


def divergence(network: Network, noisy: Tensor, restored: Tensor, step: Tensor, probe: Tensor) -> Tensor:
    """Monte-Carlo estimate of div f(y) / n: mean b (f(y + step b) - f(y)) / step, with b a Rademacher `probe`
    (Ramani et al., "Monte-Carlo SURE", IEEE TIP 2008, theorem 2)."""
    return per_image_mean(probe * (network(noisy + step * probe) - restored) / step)


def sure(network: Network, noisy: Tensor, sigma: Tensor, *, tau: float, probe: Tensor) -> Tensor:
    """Stein's unbiased estimate of the MSE to the clean image: mean (f(y) - y)^2 - sigma^2 + 2 sigma^2 div f(y) / n.

    The finite step is tau * sigma; at tau = 0.1 float32 is accurate while bfloat16 loses tens of per cent, so this runs in
    float32. Where all planes carry the same noise (gray crops), `probe` must be the same in all planes too.
    """
    with torch.autocast(noisy.device.type, enabled=False):
        restored = network(noisy.float())
        trace = divergence(network, noisy, restored, (tau * sigma).clamp_min(1e-4), probe)
    variance = sigma.flatten() ** 2
    return per_image_mean((restored - noisy) ** 2) - variance + 2 * variance * trace


def neighbours(image: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Two half-size images made of neighbouring pixels: (N, C, H, W) to two of (N, C, H/2, W/2).

    pairs: (N, H/2, W/2) integers in [0, 8), the row of NEIGHBOUR_PAIRS that each 2x2 cell uses.
    """
    count, channels, height, width = image.shape
    cells = functional.pixel_unshuffle(image, 2).reshape(count, channels, 4, height // 2, width // 2)
    chosen = NEIGHBOUR_PAIRS.to(image.device)[pairs].movedim(-1, 0)
    first, second = (cells.gather(2, index[:, None, None].expand_as(cells[:, :, :1])).squeeze(2) for index in chosen)
    return first, second


def neighbor2neighbor(network: Network, noisy: Tensor, *, gamma: float, pairs: Tensor) -> Tensor:
    """Neighbor2Neighbor: mean d^2 + gamma mean (d - e)^2, d = f(g1(y)) - g2(y), e = g1(f(y)) - g2(f(y)) without gradient
    (Huang et al., CVPR 2021, equation 6). Needs no sigma, but noise that is independent between pixels."""
    first, second = neighbours(noisy, pairs)
    with torch.no_grad():
        restored_first, restored_second = neighbours(network(noisy), pairs)
    difference = network(first) - second
    return per_image_mean(difference**2) + gamma * per_image_mean((difference - (restored_first - restored_second)) ** 2)


def supervised(network: Network, noisy: Tensor, clean: Tensor) -> Tensor:
    """Mean (f(y) - x)^2: the bound that clean targets would give; for comparison, never for the bundled models."""
    return per_image_mean((network(noisy) - clean) ** 2)
