"""The data term: what is measured, what is fitted, what is held out, and how noisy it is."""

from __future__ import annotations

import pytest
import torch

from restore_sdk.degradations import Downsample, GivenBlur, GivenMask, Identity
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.problem import operator_of, pose, reach, stacked
from restore_sdk.errors import OptionsError

HOLES = torch.zeros(4, 6, dtype=torch.bool)
HOLES[1:3, 2:4] = True


def test_inpainting_counts_known_pixels_only() -> None:
    planes = torch.full((1, 4, 6), 0.5)
    problem = pose("dip-inpaint", torch.where(HOLES, 9.0, planes), DipOptions(), known=~HOLES)
    fitted, held_out = problem.residuals(torch.where(HOLES, 7.0, planes)[None])
    assert (fitted.tolist(), held_out.tolist()) == ([0.0], [0.0])
    assert problem.residuals(planes[None] + 0.5)[0].tolist() == [0.25]


def test_held_out_values_are_a_share_that_never_enters_the_loss() -> None:
    options = DipOptions(stopping="held-out", held_out=0.1)
    problem = pose("dip-denoise", torch.zeros(3, 100, 100), options)
    assert not (problem.fitted & problem.held_out).any()
    assert (problem.fitted | problem.held_out).all()
    assert int(problem.held_out.sum()) == pytest.approx(1000, abs=150)
    x = problem.held_out.float().expand(1, 3, 100, 100)
    fitted, held_out = problem.residuals(x)
    assert (fitted.item(), held_out.item()) == (0.0, 1.0)
    assert not pose("dip-denoise", torch.zeros(3, 9, 9), DipOptions(stopping="wmv")).held_out.any()


def test_held_out_values_depend_on_seed_and_tile() -> None:
    planes = torch.zeros(1, 50, 50)
    options = DipOptions(stopping="held-out")
    first, again, other = (pose("dip-denoise", planes, options, index=index).held_out for index in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_downsampler_of_a_constant_is_constant() -> None:
    problem = pose("dip-super-resolve", torch.full((3, 8, 9), 0.25), DipOptions(scale=4))
    assert problem.shape == (3, 32, 36)
    assert problem.residuals(torch.full((1, 3, 32, 36), 0.25))[0].item() == pytest.approx(0, abs=1e-12)


def test_lanczos_kernel_sums_to_one() -> None:
    from restore_sdk.degradations.downsampling import decimation_matrix

    matrix = decimation_matrix(64, 16, "lanczos2", "replicate")
    torch.testing.assert_close(matrix.sum(1), torch.ones(16, dtype=torch.float64))
    assert torch.equal(matrix[8].nonzero().flatten(), torch.arange(26, 42))  # 16 pixels round 33.5, phase 1/2
    torch.testing.assert_close(matrix[8, 26:42], matrix[8, 26:42].flip(0))


def test_operators_by_task() -> None:
    kernel = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.0, 0.0, 0.0))
    assert operator_of("dip-denoise", DipOptions()) == Identity()
    assert operator_of("dip-inpaint", DipOptions()) == GivenMask()
    assert operator_of("dip-super-resolve", DipOptions(scale=2)) == Downsample(2)
    assert operator_of("dip-deblur", DipOptions(kernel=kernel)) == GivenBlur(3)
    assert operator_of("dip-deblur", DipOptions(kernel="gaussian-blur:sigma=2")).describe().startswith("gaussian-blur")
    assert [reach(operator_of("dip-deblur", DipOptions(kernel=kernel))), reach(Downsample(4)), reach(Identity())] == [1, 2, 0]
    both = operator_of("dip-deblur", DipOptions(kernel="gaussian-blur:sigma=2+motion-blur:length=5,angle=0"))
    assert reach(both) == 8 + 2


def test_deblurring_applies_the_given_kernel() -> None:
    kernel = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.0, 0.0, 0.0))
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    y = torch.zeros(1, 5, 5)
    y[0, 2, 2] = y[0, 2, 3] = 0.5  # a true convolution moves it to the right
    assert pose("dip-deblur", y, DipOptions(kernel=kernel)).residuals(x)[0].item() == 0


@pytest.mark.parametrize(
    "kernel",
    [
        None,
        "jpeg:quality=20",
        "gaussian-noise:sigma=0.1",
        "identity",
        "gaussian-noise+gaussian-blur",
        "nonsense",
        "given-blur",
        "given-mask",
        "downsample:factor=4",
        "motion-blur",
        "gaussian-blur:sigma=1..3",
    ],
)
def test_kernels_that_are_none_are_refused(kernel: str | None) -> None:
    with pytest.raises(OptionsError, match="kernel"):
        operator_of("dip-deblur", DipOptions(kernel=kernel))


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        ("gaussian-blur:sigma=-2", r"\(gaussian-blur: sigma=-2.0; pass a number of 0 to"),
        ("motion-blur:length=9", "each with one value: angle would be drawn"),
        ("", r"\(a step is empty\)"),
        ("gauss", r"\(there is no 'gauss'\)"),
    ],
)
def test_what_is_wrong_with_a_blur_is_said(kernel: str, reason: str) -> None:
    with pytest.raises(OptionsError, match=f"^kernel='{kernel}', expected 'gaussian-blur:sigma=2'.*{reason}"):
        operator_of("dip-deblur", DipOptions(kernel=kernel))


def test_selecting_and_stacking_are_inverse() -> None:
    problems = [pose("dip-inpaint", torch.rand(1, 4, 6), DipOptions(), known=~HOLES.roll(n, 0), index=n) for n in range(3)]
    both = stacked(problems).select([2, 0])
    assert both.count == 2
    assert torch.equal(both.measured, torch.cat([problems[2].measured, problems[0].measured]))
    assert torch.equal(both.theta.values["keep"], torch.cat([problems[n].theta.values["keep"] for n in (2, 0)]))
