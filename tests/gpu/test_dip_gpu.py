"""Deep Image Prior on a GPU: the captured step, seeds, and the result beside the CPU's."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [dip] is not installed")

from restore_sdk.dip.capture import WARM_UPS  # noqa: E402 (torch was asked for first)
from restore_sdk.dip.engine import restore_planes  # noqa: E402
from restore_sdk.dip.options import DipOptions  # noqa: E402
from restore_sdk.dip.presets import chosen_preset  # noqa: E402
from restore_sdk.dip.problem import pose  # noqa: E402
from restore_sdk.dip.results import DipOutcome  # noqa: E402
from restore_sdk.dip.stepping import Stepper, arithmetic  # noqa: E402
from restore_sdk.options import DipTask  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that PyTorch can use")]

ROWS, COLUMNS = np.mgrid[0:96, 0:128]
CLEAN = np.stack([0.5 + 0.3 * np.sin(ROWS / 9 + phase) * np.cos(COLUMNS / 11) for phase in range(3)]).astype(np.float32)
NOISY = CLEAN + np.random.default_rng(0).normal(0, 0.1, CLEAN.shape).astype(np.float32)


KNOWN = np.random.default_rng(1).random(CLEAN.shape[1:]) > 0.3
TASKS: dict[DipTask, dict[str, object]] = {
    "dip-denoise": {},
    "dip-inpaint": {},
    "dip-super-resolve": {"scale": 2},
    "dip-deblur": {"kernel": "gaussian-blur:sigma=2"},
}


def fit(device: str = "cuda", task: DipTask = "dip-denoise", **options: object) -> DipOutcome:
    known = KNOWN if task == "dip-inpaint" else None
    return restore_planes(task, NOISY, DipOptions(width="draft", **options), known=known, device=device)  # type: ignore[arg-type]


def psnr(outcome: DipOutcome) -> float:
    return float(-10 * np.log10(np.mean((outcome.image - CLEAN) ** 2)))


@pytest.mark.parametrize("coarse", [0, 20])
@pytest.mark.parametrize("task", TASKS)
def test_a_seed_decides(task: DipTask, coarse: int) -> None:
    first, again = (fit(task=task, max_iterations=60, stopping="none", coarse=coarse, **TASKS[task]) for _ in range(2))
    assert np.array_equal(first.image, again.image)


@pytest.mark.parametrize("task", TASKS)
def test_the_step_of_every_task_is_captured(task: DipTask) -> None:
    options = DipOptions(width="draft", **TASKS[task])  # type: ignore[arg-type]
    problem = pose(task, torch.from_numpy(NOISY), options, known=torch.from_numpy(KNOWN) if task == "dip-inpaint" else None)
    stepper = Stepper(problem, chosen_preset(task, options), options, [0], device=torch.device("cuda:0"))
    for _ in range(WARM_UPS + 1):
        stepper.step()
    assert stepper._replayed is not None
    assert stepper._replayed.captured


def test_first_iterations_are_those_of_the_cpu() -> None:
    """Without noise on the input, which is drawn on the device."""
    options: dict[str, object] = {"max_iterations": 1, "stopping": "none", "input_noise": 0.0}
    here, there = (fit(device, **options).fits[0].trajectory[0].loss for device in ("cuda", "cpu"))
    assert here == pytest.approx(there, rel=2e-3)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_denoising_gains(precision: str) -> None:
    noisy = -10 * np.log10(np.mean((NOISY - CLEAN) ** 2))
    assert psnr(fit(max_iterations=600, precision=precision)) > noisy + 6


@pytest.mark.filterwarnings("default")  # PyTorch's own, of its compiler
@pytest.mark.skipif(shutil.which("gcc") is None and shutil.which("clang") is None, reason="Triton needs gcc or clang")
@pytest.mark.skipif(not Path(sysconfig.get_path("include"), "Python.h").exists(), reason="Triton needs Python's headers")
def test_a_compiled_network_is_captured_and_gains() -> None:
    pytest.importorskip("triton", reason="torch.compile needs Triton")
    options = DipOptions(width="draft", compiled=True)
    problem = pose("dip-denoise", torch.from_numpy(NOISY), options)
    stepper = Stepper(problem, chosen_preset("dip-denoise", options), options, [0], device=torch.device("cuda:0"))
    with arithmetic(torch.device("cuda:0"), "fp32"):
        for _ in range(WARM_UPS + 1):
            stepper.step()
    assert stepper._replayed is not None
    assert stepper._replayed.captured
    noisy = -10 * np.log10(np.mean((NOISY - CLEAN) ** 2))
    assert psnr(fit(max_iterations=600, compiled=True)) > noisy + 6


def test_tiles_stop_and_make_room() -> None:
    outcome = fit(max_iterations=300, tile=64, overlap=16, batch=6)
    assert len(outcome.fits) == 6
    assert psnr(outcome) > 24
