"""The two presets' networks: sizes, what they keep, and that folding and tiling change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_unir import tiny
from torch import nn
from torch.nn.utils import parametrize

from training.engine.checkpoint import load_network, save_network
from training.networks.filling_unet import FillingUNet, lost_values
from training.networks.table import build_network
from training.networks.unir_resnet import Attention, UnirResNet
from training.unir.config import UnirConfig
from training.unir.network import build_discriminator, build_generator, deployed, describe, frozen


def parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def paper(**changes: Any) -> UnirConfig:
    values = {"name": "p", "preset": "paper", "corruption": "remove-pixel:fill=0.5", "data": {"folders": ["x"]}, **changes}
    return UnirConfig.model_validate(values)


def test_the_paper_preset_has_the_sizes_of_the_reference() -> None:
    config = paper()
    assert parameters(build_generator(config)) == 5_067_650
    assert parameters(build_discriminator(config)) == 4_890_042
    assert parameters(build_generator(paper(network={"attention": False}))) == 5_067_650 - 2_137


def test_spectral_normalisation_is_where_the_reference_has_it() -> None:
    generator, discriminator = build_generator(paper(network={"width": 8})), build_discriminator(paper())
    normalised = {name for name, module in generator.named_modules() if parametrize.is_parametrized(module)}
    assert {name.rpartition(".")[2] for name in normalised} == {"first", "second", "query", "key", "value", "out"}
    assert len(normalised) == 6 * 2 + 4
    layers = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert all(map(parametrize.is_parametrized, layers))


def test_normalised_layers_have_a_largest_singular_value_of_one() -> None:
    discriminator = build_discriminator(UnirConfig.model_validate({**paper().model_dump(), "preset": "lite"}))
    for _ in range(200):  # power iterations, one at each look in training mode
        weights = [layer.weight for layer in discriminator.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    largest = [torch.linalg.matrix_norm(weight.flatten(1), 2).item() for weight in weights]
    assert largest == pytest.approx([1.0] * len(largest), abs=2e-2)


def test_a_saved_generator_is_folded_and_gives_the_same_images(tmp_path: Path) -> None:
    config = paper(network={"width": 8})
    generator, y = build_generator(config), torch.rand(2, 3, 8, 12)
    generator(y)  # in training mode: batch norm and power iteration move
    save_network(tmp_path / "model.safetensors", generator, {"network": describe(config)})
    assert generator.training
    loaded, _ = load_network(tmp_path)
    assert not any(map(parametrize.is_parametrized, loaded.modules()))
    assert torch.allclose(loaded(y), generator.eval()(y), atol=1e-5)


@pytest.mark.parametrize("preset", ["lite", "paper"])
def test_any_size_goes_in_and_comes_out(preset: str) -> None:
    config = paper(preset=preset, network={"width": 8, "widths": [4, 8]})
    network = build_generator(config).eval()
    assert network(torch.rand(1, 3, 12, 20)).shape == (1, 3, 12, 20)


def test_outputs_of_the_paper_preset_are_in_range() -> None:
    restored = UnirResNet(width=8).eval()(torch.rand(1, 3, 8, 8) * 100 - 50)
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_attention_weights_of_a_pixel_sum_to_one() -> None:
    # With equal values everywhere, attention is their mean whatever the weights, if these sum to 1
    attention = Attention(8)
    nn.init.ones_(attention.gamma)
    x = torch.rand(2, 8, 1, 1).expand(2, 8, 5, 7).contiguous()
    expected = x + attention.out(attention.value(x))
    assert torch.allclose(attention(x), expected, atol=1e-6)


def test_attention_begins_as_the_identity() -> None:
    x = torch.rand(1, 8, 4, 4)
    assert torch.equal(Attention(8)(x), x)


@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_lost_values_survive_rounding_to_8_bits_and_their_neighbours_do_not_count(fill: float) -> None:
    levels = torch.arange(256.0) / 255
    near = {0.0: {0}, 0.5: {127, 128}}[fill]
    assert set(lost_values(levels, fill).nonzero().flatten().tolist()) == near
    assert lost_values(torch.tensor([fill]), fill).all()


def test_measured_values_pass_through_unchanged() -> None:
    torch.manual_seed(0)
    y = torch.rand(1, 3, 8, 8) * 0.9 + 0.1
    y[:, :, ::2] = 0.0
    network = FillingUNet(widths=[4], blocks=[1])
    restored = network(y)
    assert torch.equal(restored[:, :, 1::2], y[:, :, 1::2])
    assert not (restored[:, :, ::2] == 0).any()
    assert not torch.equal(FillingUNet(widths=[4], blocks=[1], keep_measured=False)(y)[:, :, 1::2], y[:, :, 1::2])


def test_a_pure_red_was_measured_where_whole_pixels_are_lost() -> None:
    torch.manual_seed(0)
    y = torch.rand(1, 3, 8, 8) * 0.9 + 0.1
    y[:, 1:, 2, 3] = 0.0
    y[:, :, 4, 4] = 0.0
    weights = FillingUNet(widths=[4], blocks=[1]).state_dict()
    by_value, by_pixel = (FillingUNet(widths=[4], blocks=[1], whole_pixels=whole) for whole in (False, True))
    for network in (by_value, by_pixel):
        network.load_state_dict(weights)
    assert lost_values(y, 0.0).sum() == 2 + 3
    assert lost_values(y, 0.0, whole_pixels=True).sum() == 3
    changed = by_pixel(y) != y
    assert changed[:, :, 4, 4].all()
    assert changed.sum() == 3
    assert (by_value(y) != y).sum() == 5


@pytest.mark.parametrize(
    ("corruption", "whole"), [("remove-pixel:p=0.9", True), ("remove-pixel-channel:p=0.9", False), ("patch-band", True)]
)
def test_a_checkpoint_says_whether_whole_pixels_are_lost(corruption: str, whole: bool) -> None:
    """Not while it is trained: splitting hides single values."""
    config = UnirConfig.model_validate({"name": "a", "corruption": corruption, "data": {"folders": ["a"]}})
    assert deployed(config) == {**describe(config), "whole_pixels": whole}


def test_both_fills_are_the_same_network() -> None:
    # shifted by the fill, the network sees the same; only the image that it adds to differs
    torch.manual_seed(0)
    black = FillingUNet(widths=[4], blocks=[1], fill=0.0)
    gray = FillingUNet(widths=[4], blocks=[1], fill=0.5)
    gray.load_state_dict(black.state_dict())
    y = torch.rand(1, 3, 4, 4).round()
    assert torch.allclose(black(y) + 0.5, gray(y + 0.5), atol=1e-6)


def test_a_direct_network_begins_at_nothing_and_never_adds_its_input() -> None:
    torch.manual_seed(0)
    residual, direct = (build_network({"kind": kind, "widths": [4, 8]}) for kind in ("residual_unet", "direct_unet"))
    y = torch.rand(1, 3, 8, 8)
    assert (direct(y) == 0).all()
    direct.load_state_dict(residual.state_dict())
    assert not torch.equal(direct(y), y)
    assert torch.allclose(direct(y), y - residual(y), atol=1e-6)


def test_widths_and_blocks_go_together() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        build_network({"kind": "filling_unet", "widths": [4, 8], "blocks": [1]})


def test_a_frozen_network_gets_no_gradient_and_thaws() -> None:
    network, x = nn.Conv2d(1, 1, 1), torch.ones(1, 1, 1, 1, requires_grad=True)
    with frozen(network):
        network(x).sum().backward()
    assert network.weight.grad is None
    assert x.grad is not None
    assert all(weight.requires_grad for weight in network.parameters())


def test_what_the_card_records_builds_the_network_again(tmp_path: Path) -> None:
    for corruption, kind in [("remove-pixel:p=0.5,fill=0.5", "filling_unet"), ("convolve-noise", "direct_unet")]:
        config = tiny(tmp_path, tmp_path, corruption=corruption, network={"kind": kind})
        built, again = build_generator(config), build_network(describe(config))
        assert built.state_dict().keys() == again.state_dict().keys()
        assert getattr(again, "fill", None) == config.fill
