"""What the networks are shown and where gradients go: the points at which published implementations differ from the method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_unir import module_of, tiny
from torch import Tensor, nn

from restore_sdk.degradations import RemovePixel, Theta, seeded
from training.unir.module import UnirModule

LOST = 3 * 128  # values of a 16x16 patch of which half of the pixels are lost


def batch_of(module: UnirModule, count: int = 2, side: int = 16) -> dict[str, Tensor]:
    """The first images of the training set, made up anew: their theta is the module's, their content is not 0 anywhere."""
    theta = module.training_theta[0:count]
    clean = torch.rand((count, 3, side, side), generator=seeded(5)) * 0.8 + 0.1
    measured = module._operator.measure(clean, theta, seeded(6))
    return {"measured": measured, "index": torch.arange(count), "clean": clean, "other_clean": clean.flip(0)}


def shown(module: UnirModule) -> list[Tensor]:
    """Everything that the discriminator will be given."""
    seen: list[Tensor] = []
    assert module.discriminator is not None
    module.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    return seen


def lost_of(images: Tensor) -> list[int]:
    return (images == 0).flatten(1).sum(1).tolist()


def test_the_discriminator_never_sees_an_unmeasured_image(tmp_path: Path, photos: Path) -> None:
    for r1, splitting in [(0.0, 0.0), (1.0, 0.1)]:
        module = module_of(tiny(tmp_path, photos, loss={"r1": r1, "splitting": splitting}))
        seen = shown(module)
        module.terms(batch_of(module), seeded(0))
        assert len(seen) == (3 if r1 else 2)
        assert all(lost == LOST for images in seen for lost in lost_of(images))


def test_the_reference_shows_it_unmeasured_images(tmp_path: Path, photos: Path) -> None:
    module = module_of(tiny(tmp_path, photos, loss={"variant": "raw", "splitting": 0.0}))
    seen = shown(module)
    module.terms(batch_of(module), seeded(0))
    fake, both = seen
    assert all(lost < LOST / 4 for lost in lost_of(fake))
    assert torch.equal(both[2:], fake)


def test_both_passes_use_one_theta_and_it_is_not_the_observation_s(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Theta] = []
    real = RemovePixel.apply

    def apply(self: RemovePixel, x: Tensor, theta: Theta) -> Tensor:
        used.append(theta)
        return real(self, x, theta)

    module = module_of(tiny(tmp_path, photos, loss={"splitting": 0.0}))
    batch = batch_of(module)
    monkeypatch.setattr(RemovePixel, "apply", apply)
    module.terms(batch, seeded(0))
    remeasuring, predicting = used
    assert predicting is remeasuring
    assert not torch.equal(remeasuring.values["keep"], module.training_theta[0:2].values["keep"])


def test_theta_is_fresh_at_each_step(tmp_path: Path, photos: Path) -> None:
    module = module_of(tiny(tmp_path, photos, loss={"splitting": 0.0}))
    seen = shown(module)
    for _ in range(2):
        module.terms(batch_of(module), module.draws())
        module._budget.take_step()
    assert not torch.equal(seen[0] == 0, seen[2] == 0)


def gradients(module: UnirModule, *names: str) -> tuple[bool, bool]:
    """Whether generator and discriminator get a gradient from the terms of these names."""
    module.zero_grad()
    terms = module.terms(batch_of(module), seeded(0))
    torch.stack([terms[name] for name in names]).sum().backward()
    assert module.discriminator is not None
    networks = module.network, module.discriminator
    first, second = (any(w.grad is not None and w.grad.abs().sum() > 0 for w in network.parameters()) for network in networks)
    return first, second


@pytest.mark.parametrize("variant", ["unir", "raw", "unpaired", "paired"])
def test_each_term_teaches_its_network_alone(tmp_path: Path, photos: Path, variant: str) -> None:
    loss = {"variant": variant, "r1": 1.0, "remeasure": 2.0, "smoothness": 1.0}
    module = module_of(tiny(tmp_path, photos, loss=loss, network={"keep_measured": False}))
    assert gradients(module, "adversarial") == (True, False)
    assert gradients(module, "remeasure") == (True, False)
    assert gradients(module, "splitting") == (True, False)
    assert gradients(module, "smoothness") == (True, False)
    assert gradients(module, "discriminator") == (False, True)
    assert gradients(module, "r1") == (False, True)


def test_passing_measured_values_through_makes_lambda_s_term_nothing(tmp_path: Path, photos: Path) -> None:
    values = []
    for keep in (True, False):
        module = module_of(tiny(tmp_path, photos, loss={"splitting": 0.0}, network={"keep_measured": keep}))
        for weight in module.network.parameters():  # all signs alike: no restored value lies near that of lost ones by chance
            nn.init.constant_(weight, 0.02)
        values.append(module.terms(batch_of(module), seeded(0))["remeasure"].item())
    assert values[0] == 0
    assert values[1] > 0


def test_pairs_are_shown_with_their_clean_image(tmp_path: Path, photos: Path) -> None:
    module = module_of(tiny(tmp_path, photos, loss={"variant": "paired"}))
    seen, batch = shown(module), None
    batch = batch_of(module)
    module.terms(batch, seeded(0))
    assert torch.equal(seen[1][:2], torch.cat([batch["measured"], batch["clean"]], 1))
    assert torch.equal(seen[0][:, :3], batch["measured"])


def test_unpaired_clean_images_are_of_others(tmp_path: Path, photos: Path) -> None:
    module = module_of(tiny(tmp_path, photos, loss={"variant": "unpaired"}))
    seen, batch = shown(module), batch_of(module)
    module.terms(batch, seeded(0))
    assert torch.equal(seen[1][:2], batch["other_clean"])


def test_the_supervised_bound_is_the_squared_error(tmp_path: Path, photos: Path) -> None:
    module = module_of(tiny(tmp_path, photos, loss={"variant": "supervised", "splitting": 0.0}))
    batch = batch_of(module)
    terms = module.terms(batch, seeded(0))
    assert terms.keys() == {"supervised"}
    assert terms["supervised"].item() == pytest.approx(((module(batch["measured"]) - batch["clean"]) ** 2).mean().item())
    assert module.discriminator is None


def given_to_generator(module: UnirModule) -> list[Tensor]:
    seen: list[Tensor] = []
    module.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    return seen


def splitting(tmp_path: Path, photos: Path, **changes: Any) -> tuple[UnirModule, Mapping[str, Tensor], Tensor]:
    """The module, a batch, and what the generator was given of it."""
    loss = {"adversarial": 0.0, "remeasure": 0.0, "splitting": 0.25, **changes.pop("loss", {})}
    module = module_of(tiny(tmp_path, photos, loss=loss, **changes))
    batch, seen = batch_of(module), given_to_generator(module)
    assert module.terms(batch, seeded(0)).keys() == {"splitting"}
    return module, batch, seen[0]


def test_splitting_hides_a_share_of_the_measured_pixels_in_all_channels(tmp_path: Path, photos: Path) -> None:
    _, batch, given = splitting(tmp_path, photos)
    hidden = (given == 0) & (batch["measured"] != 0)
    assert torch.equal(given[~hidden], batch["measured"][~hidden])
    assert torch.equal(hidden.any(1), hidden.all(1))
    assert 0.15 < hidden.sum().item() / (2 * LOST) < 0.35


def test_splitting_hides_single_values_where_single_values_are_lost(tmp_path: Path, photos: Path) -> None:
    _, batch, given = splitting(tmp_path, photos, corruption="remove-pixel-channel:p=0.5")
    hidden = (given == 0) & (batch["measured"] != 0)
    assert not torch.equal(hidden.any(1), hidden.all(1))


def test_splitting_by_the_corruption_hides_a_further_band(tmp_path: Path, photos: Path) -> None:
    _, batch, given = splitting(tmp_path, photos, corruption="patch-band:share=0.25", loss={"split_by": "corruption"})
    hidden = ((given == 0) & (batch["measured"] != 0))[:, 0]
    rows = hidden.all(2)
    assert torch.equal(hidden, rows[:, :, None].expand_as(hidden))
    assert (rows.sum(1) <= 4).all()
    assert rows.any()


def test_splitting_without_a_mask_puts_neighbours_in_place(tmp_path: Path, photos: Path) -> None:
    changes: dict[str, Any] = {"corruption": "convolve-noise", "network": {"kind": "residual_unet"}}
    _, batch, given = splitting(tmp_path, photos, **changes)
    hidden = given != batch["measured"]
    assert torch.equal(hidden.any(1), hidden.all(1))
    assert 0.15 < hidden.float().mean().item() < 0.35
    assert all(value in batch["measured"] for value in given[hidden][:20])


def test_splitting_asks_for_hidden_values_of_the_same_measurement(tmp_path: Path, photos: Path) -> None:
    # An error at lost pixels costs nothing, one at a hidden pixel its square over the number of hidden values
    module, batch, given = splitting(tmp_path, photos)
    hidden = (given == 0) & (batch["measured"] != 0)
    lost = batch["measured"] == 0
    right = batch["measured"].clone()
    right[lost] = 7.0
    assert module.splitting(right, batch, hidden).item() == 0
    wrong = right + 0.5 * hidden
    assert module.splitting(wrong, batch, hidden).item() == pytest.approx(0.25)


def test_noise_is_never_asked_back_where_it_was_seen(tmp_path: Path, photos: Path) -> None:
    changes: dict[str, Any] = {"corruption": "remove-pixel:p=0.5+gaussian-noise:sigma=0.1", "network": {"kind": "residual_unet"}}
    module = module_of(tiny(tmp_path, photos, loss={"adversarial": 0.0, "remeasure": 0.0}, **changes))
    batch = batch_of(module)
    hidden = module.hidden(batch["measured"], batch["index"], seeded(0))
    kept = module.kept(batch["measured"], batch["index"])
    restored = torch.where(kept & ~hidden, 9.0, batch["measured"])
    assert module.splitting(restored, batch, hidden).item() == 0
    assert not (hidden & ~kept).any()


def test_gradients_are_clipped_network_by_network(tmp_path: Path, photos: Path) -> None:
    module = module_of(tiny(tmp_path, photos))
    optimizer = module.configure_optimizers()["optimizer"]
    assert [group["lr"] for group in optimizer.param_groups] == [5e-4, 4e-4]
    for group, size in zip(optimizer.param_groups, (100.0, 1e-3), strict=True):
        for weight in group["params"]:
            weight.grad = torch.full_like(weight, size / weight.numel() ** 0.5 / len(group["params"]) ** 0.5)
    module.configure_gradient_clipping(optimizer, 1.0)
    norms = [torch.cat([weight.grad.flatten() for weight in group["params"]]).norm().item() for group in optimizer.param_groups]
    assert norms == pytest.approx([1.0, 1e-3], rel=1e-3)


def test_each_image_hides_a_share_of_its_own_from_none_to_twice_the_mean(tmp_path: Path, photos: Path) -> None:
    module = module_of(tiny(tmp_path, photos, loss={"adversarial": 0.0, "remeasure": 0.0, "splitting": 0.25}))
    measured, index = torch.ones(2, 3, 16, 16), torch.tensor([0, 1])
    kept = module.kept(measured, index)
    shares = []
    for seed in range(200):
        hidden = module.hidden(measured, index, seeded(seed))
        assert not (hidden & ~kept).any()
        shares += (hidden.sum((1, 2, 3)) / kept.sum((1, 2, 3))).tolist()
    assert abs(sum(shares) / len(shares) - 0.25) < 5 * 0.16 / len(shares) ** 0.5  # five standard errors
    assert min(shares) < 0.03
    assert 0.42 < max(shares) < 0.7  # 0.5, and what 128 draws scatter around it
