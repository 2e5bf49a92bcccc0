"""Networks through torch.compile. What it traces runs here as PyTorch's own operators, since compiling them for a processor takes
minutes; tests/gpu has the compiler too."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny_fits import CPU, TINY, denoising

from restore_sdk.dip import devices
from restore_sdk.dip.devices import dip_device
from restore_sdk.dip.engine import restore_planes
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.stepping import Stepper
from restore_sdk.errors import OptionsError

PLAIN = DipOptions(seed=3)
COMPILED = replace(PLAIN, compiled=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's own modules, which its compiler imports
def test_a_compiled_network_makes_the_same_iterates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain, compiled = (Stepper(denoising(2, options=options), TINY, options, [0, 1], device=CPU) for options in (PLAIN, COMPILED))
    assert compiled._forward is not compiled.network
    for _ in range(4):
        for expected, made in zip(plain.step(), compiled.step(), strict=True):
            torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    plain.keep([1])
    compiled.keep([1])  # another shape: compiled again
    torch.testing.assert_close(compiled.step()[1], plain.step()[1], rtol=1e-4, atol=1e-5)
    assert [weights.shape for weights in compiled.weights(0)] == [weights.shape for weights in plain.weights(0)]


def test_refused_on_the_cpu() -> None:
    with pytest.raises(OptionsError, match=r"compiled.*False on the CPU"):
        restore_planes("dip-denoise", denoising().measured[0].numpy(), COMPILED, device="cpu")


def test_refused_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices, "_has_triton", lambda: False)
    with pytest.raises(OptionsError, match=r"compiled.*install triton"):
        dip_device("cuda", "fp32", compiled=True)
    monkeypatch.setattr(devices, "_has_triton", lambda: True)
    assert dip_device("auto", "bf16", compiled=True).type == "cuda"


@pytest.mark.parametrize("value", [1, "yes", None])
def test_only_true_or_false(value: object) -> None:
    with pytest.raises(OptionsError, match="one of False, True"):
        DipOptions(compiled=value)  # type: ignore[arg-type]
