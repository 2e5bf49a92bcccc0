"""The gate that a half network must pass, and the search for the layers to keep, by hand on networks made to fail."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from half_networks import Loud, Quiet, Summed, chain, lifted_chain, loud_chain, mixing, same
from PIL import Image
from torch import nn

from export.errors import ExportError, HalfPrecisionError
from export.gate_images import GateImages, gate_images
from export.half_gate import Measured, check, measured
from export.keep_fp32 import choose_kept
from training.networks.unet import ResidualUNet


@pytest.fixture(scope="module")
def every_image() -> GateImages:
    return gate_images(None, 3, 1)


@pytest.fixture(scope="module")
def images(every_image: GateImages) -> GateImages:
    """All but the large ones, for speed."""
    return GateImages(tuple(image for image in every_image.images if not image.is_large), "small ones")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One small gray image: a ramp from black to white. And a file that is none."""
    ramp = np.linspace(0, 255, 30 * 40).reshape(30, 40).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    (tmp_path / "notes.png").write_text("no image")
    return tmp_path


def by_label(images: GateImages) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return {image.label: image.batch for image in images.images}


def test_images_are_real_and_extreme_at_several_shapes() -> None:
    tried = by_label(gate_images(None, 3, 4))
    assert {batch.shape for batch in tried.values()} == {(1, 3, 4, 4), (1, 3, 52, 68), (1, 3, 384, 512)}
    assert all(batch.dtype == np.float32 for batch in tried.values())
    assert (tried["all white"] == 1).all()
    assert (tried["all black"] == 0).all()
    assert tried["bright, beyond 1"].max() > 1.5
    assert len([label for label in tried if label.startswith("large")]) == 3


def test_a_folders_images_are_mirrored_up_to_the_shape(folder: Path) -> None:
    """Of the only one, the first, with noise of sigma 0: rows 30 and 29 of the mirrored image are equal."""
    tried = gate_images(folder, 3, 1)
    large = by_label(tried)["large, image 1"]
    assert tried.origin == f"1 images of {folder.name}"
    assert large.shape == (1, 3, 384, 512)
    np.testing.assert_array_equal(large[0, :, 29], large[0, :, 30])
    np.testing.assert_array_equal(large[0, 0], large[0, 2])
    assert (large.min(), large.max()) == (0, 1)


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="holds no readable image"):
        gate_images(tmp_path, 3, 1)


def test_the_figures_by_hand(every_image: GateImages) -> None:
    """Nothing but the rounding of the image itself is lost: at most half a step, 2**-11 for values in [1, 2)."""
    gate = measured(chain(nn.Identity()), every_image).gate()
    rounded = [np.abs(image.batch - image.batch.astype(np.float16)).astype(np.float64) for image in every_image.images]
    assert gate.passed
    assert gate.max_abs == max(float(error.max()) for error in rounded)
    assert 2**-12 < gate.max_abs <= 2**-11
    assert gate.psnr == pytest.approx(min(-10 * math.log10(np.mean(error**2)) for error in rounded if error.any()))


def test_peaks_are_the_largest_magnitudes_in_float32(images: GateImages) -> None:
    peaks = measured(Loud(), images).peaks
    sums = [image.batch.sum(axis=1).max() for image in images.images]
    assert peaks["loud", "holds"] == 25e3
    assert peaks["loud", "gives"] == pytest.approx(25e3 * max(sums), rel=1e-5)
    assert peaks["loud", "takes"] == pytest.approx(max(image.batch.max() for image in images.images), rel=1e-5)


@pytest.mark.parametrize(("network", "size"), [(Quiet(), 1), (ResidualUNet(widths=(8, 16), blocks=(1, 1)).eval(), 4)])
def test_clean_networks_pass(network: nn.Module, size: int) -> None:
    gate = choose_kept(measured(network, gate_images(None, 3, size)), ())
    assert gate.passed
    assert gate.keep == ()
    assert gate.psnr >= 60
    assert 0 < gate.max_abs <= 1e-2


def test_an_overflow_names_its_layer(images: GateImages) -> None:
    with pytest.raises(HalfPrecisionError, match="beyond 60000 in loud; pass --keep-fp32 auto, or --keep-fp32 loud") as caught:
        choose_kept(measured(Loud(), images), ())
    assert caught.value.layers == ("loud",)
    assert not caught.value.max_abs <= 1e-2
    assert not caught.value.psnr >= 60


def test_only_saturated_images_show_it(images: GateImages) -> None:
    """Twenty-five thousand times a photograph's three channels stays below 6e4; a set without white would pass."""
    usual = tuple(image for image in images.images if image.label in ("all black", "minimum, image 1"))
    assert measured(Loud(), GateImages(usual, "two")).gate().passed
    white = tuple(image for image in images.images if image.label == "all white")
    assert measured(Loud(), GateImages(white, "one")).gate().overflowing == ("loud",)


def test_a_value_near_the_end_of_half_is_refused_though_it_fits(images: GateImages) -> None:
    """62 000 on white is below 65504 and above 6e4."""
    white = tuple(image for image in images.images if image.label == "all white")
    gate = measured(chain(same(), mixing(torch.eye(3) * 31e3), mixing(torch.eye(3) * 2)), GateImages(white, "one")).gate()
    assert math.isfinite(gate.max_abs)
    assert not gate.passed
    assert (gate.overflowing, gate.enterers) == (("2",), ())


def test_weights_beyond_half_are_an_overflow(images: GateImages) -> None:
    """1e-5 times an image, times a weight of 1e5: what the layer takes and gives fits, its weight does not."""
    gate = measured(chain(mixing(torch.eye(3) * 1e-5), mixing(torch.eye(3) * 1e5), same()), images).gate()
    assert gate.overflowing == ("1",)


def test_auto_keeps_just_that_layer(images: GateImages) -> None:
    gate = choose_kept(measured(Loud(), images), "auto")
    assert gate.passed
    assert gate.keep == ("loud",)


def test_what_the_card_names_is_kept_beside_what_was_found(images: GateImages) -> None:
    assert choose_kept(measured(Loud(), images), "auto", ("tail",)).keep == ("loud", "tail")
    assert choose_kept(measured(Quiet(), images), "auto", ("tail",)).keep == ("tail",)
    assert choose_kept(measured(Loud(), images), ("loud",), ("tail",)).keep == ("loud", "tail")


def test_auto_keeps_nothing_where_nothing_is_wrong(images: GateImages) -> None:
    assert choose_kept(measured(Quiet(), images), "auto").keep == ()


def test_auto_keeps_the_layer_that_takes_what_half_cannot_hold(images: GateImages) -> None:
    with pytest.raises(HalfPrecisionError) as caught:
        choose_kept(measured(loud_chain(), images), ())
    assert caught.value.layers == ("1",)
    assert choose_kept(measured(loud_chain(), images), "auto").keep == ("1", "2")


def test_too_much_rounding_names_the_layers_that_cause_it(images: GateImages) -> None:
    with pytest.raises(HalfPrecisionError, match=r"wanted at most 0.01 and at least 60 dB") as caught:
        choose_kept(measured(lifted_chain(), images), ())
    assert set(caught.value.layers) == {"1", "2"}
    assert caught.value.max_abs > 0.25
    assert choose_kept(measured(lifted_chain(), images), "auto").keep == ("1", "2")


def test_what_auto_keeps_is_irreducible(images: GateImages) -> None:
    result = measured(lifted_chain(), images)
    keep = choose_kept(result, "auto").keep
    assert not any(result.gate([name for name in keep if name != left]).passed for left in keep)


def test_a_named_set_that_is_not_enough_fails(images: GateImages) -> None:
    """With "1" kept, "2" still takes its values as FP16."""
    with pytest.raises(HalfPrecisionError) as caught:
        choose_kept(measured(loud_chain(), images), ("1",))
    assert caught.value.layers == ("2",)
    assert choose_kept(measured(loud_chain(), images), ("1", "2")).passed


def test_an_overflow_that_no_module_gives_is_found_by_its_effect(images: GateImages) -> None:
    """It is a sum inside `forward`; with `head` kept, its operands and so the sum are float32."""
    with pytest.raises(HalfPrecisionError, match="an overflow between modules in head") as caught:
        choose_kept(measured(Summed(), images), ())
    assert caught.value.layers == ("head",)
    assert choose_kept(measured(Summed(), images), "auto").keep == ("head",)


@pytest.mark.parametrize("gain", [1e3, 1e6])
def test_a_network_whose_answers_are_too_large_has_no_layer_to_keep(gain: float, images: GateImages) -> None:
    """Already the rounding of its input, 2**-12, is then beyond the tolerance."""
    with pytest.raises(HalfPrecisionError, match="the network as a whole; pass --precision fp32") as caught:
        choose_kept(measured(chain(mixing(torch.eye(3) * gain)), images), "auto")
    assert caught.value.layers == ()


def test_nan_does_not_pass(images: GateImages) -> None:
    broken = chain(mixing(torch.full((3, 3), math.nan)))
    gate = measured(broken, images).gate()
    assert not gate.passed
    assert gate.as_json()["max_abs"] is None
    with pytest.raises(HalfPrecisionError):
        check(gate, ())


class Reading(nn.Module):
    """Uses the weights of a child without calling it, so the child cannot have a type of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.read = same(), same()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(self.head(x), self.read.weight)


def test_a_child_that_is_not_called_cannot_be_kept_alone(images: GateImages) -> None:
    with pytest.raises(ExportError, match="keep the whole module around it"):
        choose_kept(measured(Reading(), images), ("read",))


def test_the_report_is_plain_json_and_repeats(images: GateImages) -> None:
    first, second = (json.dumps(measured(Loud(), images).gate(["loud"]).as_json(), allow_nan=False) for _ in range(2))
    assert first == second
    report = json.loads(first)
    assert report["keep_fp32"] == ["loud"]
    assert report["psnr"] == round(report["psnr"], 1) >= 60


def test_the_quick_gate_leaves_out_the_large_images(every_image: GateImages) -> None:
    """Only the large ones are wrong here."""
    answers = [image.batch + 1 if image.is_large else image.batch for image in every_image.images]
    result = Measured(chain(nn.Identity()), every_image, answers)
    assert result.gate(quick=True).passed
    assert not result.gate().passed


def test_the_gate_of_a_network_that_fills_sees_lost_pixels() -> None:
    plain, lossy = gate_images(None, 3, 4), gate_images(None, 3, 4, 0.0)
    assert len(lossy.images) == len(plain.images) + 9
    shares = [float((image.batch == 0).all(1).mean()) for image in lossy.images[-9:] if image.is_large]
    assert shares == pytest.approx([0.5, 0.9, 0.95], abs=0.01)
    assert lossy.origin.endswith("whole and with 50, 90 and 95 % of the pixels lost")
