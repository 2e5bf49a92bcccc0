"""How near the estimate of the noise comes that `dip-denoise` stops by, beside the usual median of all Haar coefficients.

Protocol: whole test pictures with white Gaussian noise, of 8 bits, so clipped. The truth is what a perfect fit would leave: the
root mean square of the noisy picture less the mean of all such pictures. Errors are relative to it: their root mean square over
pictures, and the mean.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist, fmean

import torch
from torch import Tensor

from benchmarks.arguments import Findings, exit_with, finish, parser, positive
from benchmarks.images import DEFAULT_DATA, Sample, add_noise, as_bytes, as_float, evenly, find_samples, read_pixels
from benchmarks.machine import host_facts
from benchmarks.schema import Model
from restore_sdk.dip.noise_level import noise_level

Estimate = Callable[[Tensor], float]
SIGMAS = [5.0, 10.0, 25.0, 50.0]
SEED = 3_000_017


def median_of_all(image: Tensor) -> float:
    """The channel with the least median of absolute diagonal Haar coefficients, over that of a standard normal."""
    corners = image[:, 1:, 1:] - image[:, :-1, 1:] - image[:, 1:, :-1] + image[:, :-1, :-1]
    return float((corners.abs() / 2).flatten(1).median(1).values.min()) / NormalDist().inv_cdf(0.75)


def clipped_mean(clean: Tensor, sigma: float) -> Tensor:
    """E[x] of a normal x around `clean` that is clipped to [0, 1]."""
    low, high = -clean / sigma, (1 - clean) / sigma
    density = [torch.exp(-(bound**2) / 2) / math.sqrt(2 * math.pi) for bound in (low, high)]
    below, beyond = torch.special.ndtr(low), torch.special.ndtr(-high)
    return clean * (1 - below - beyond) + sigma * (density[0] - density[1]) + beyond


METHODS: Mapping[str, Estimate] = {"ours": lambda image: noise_level(image).sigma, "median_of_all": median_of_all}


def errors(samples: Sequence[Sample], sigma: float) -> dict[str, list[float]]:
    """Of each method, for each picture: its estimate over the truth, less 1."""
    found: dict[str, list[float]] = {name: [] for name in METHODS}
    for sample in samples:
        if sample.clean is None:
            continue
        clean = as_float(read_pixels(sample.clean))
        noisy = as_float(as_bytes(add_noise(clean, sigma, SEED + sample.index)))
        truth = float(((torch.from_numpy(noisy) - clipped_mean(torch.from_numpy(clean), sigma / 255)) ** 2).mean().sqrt())
        planes = torch.from_numpy(noisy).permute(2, 0, 1).contiguous()
        for name, estimate in METHODS.items():
            found[name].append(estimate(planes) / truth - 1)
    return found


def add_figures(title: str, found: Mapping[str, Sequence[float]], findings: Findings) -> None:
    """In per cent."""
    for name, some in found.items():
        findings.add(f"{title}_{name}_rms", 100 * fmean(error**2 for error in some) ** 0.5, "%")
        findings.add(f"{title}_{name}_mean", 100 * fmean(some), "%")


def main(words: Sequence[str] | None = None) -> int:
    options = parser(__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of the data sets")
    options.add_argument("--sets", nargs="+", default=["cbsd68", "kodak24"])
    options.add_argument("--limit", type=positive, help="pictures of each set; all by default")
    arguments = options.parse_args(words)
    torch.set_num_threads(arguments.threads)
    findings, began = Findings(settings={"sigmas": SIGMAS}), time.perf_counter()
    for name in arguments.sets:
        samples = evenly(find_samples(name, arguments.data), arguments.limit)
        for sigma in SIGMAS if samples else ():
            add_figures(f"{name}_{sigma:g}", errors(samples, sigma), findings)
    findings.notes.append(f"{time.perf_counter() - began:.0f} s for everything")
    return finish("noise-level", arguments, findings, host_facts(arguments.threads), Model(name="no model", sha256=""))


if __name__ == "__main__":
    exit_with(main)
