"""The half-wrapped network: what is FP16 in it, what is not, and how FP16 is computed."""

from __future__ import annotations

import pytest
import torch
from half_networks import Loud, chain, mixing, same
from torch import Tensor, nn

from export.half_arithmetic import HalfArithmetic
from export.half_gate import visited
from export.keep_fp32 import parse_keep
from export.precision import half_wrapped, in_order, innermost, layers
from export.tolerance import Precision, tolerance_for
from restore_sdk.errors import OptionsError
from training.networks.filling_unet import LOST_WITHIN, FillingUNet, lost_values
from training.networks.unet import ResidualUNet

IMAGE = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))


def dtypes(network: nn.Module) -> dict[tuple[str, str], torch.dtype]:
    """Of what each module inside the wrapped network takes, gives and holds."""
    seen: dict[tuple[str, str], torch.dtype] = {}
    with visited(network.get_submodule("body"), lambda path, role, tensor: seen.__setitem__((path, role), tensor.dtype)):
        network(IMAGE)
    return seen


def test_float32_in_and_out_and_half_between() -> None:
    network = ResidualUNet(widths=(8, 16), blocks=(1, 1))
    wrapped = half_wrapped(network)
    assert wrapped(IMAGE).dtype == torch.float32
    assert set(dtypes(wrapped).values()) == {torch.float16}
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}  # the original is left alone


def test_buffers_are_halved_and_integers_are_not() -> None:
    wrapped = half_wrapped(nn.Sequential(nn.BatchNorm2d(3)))
    kinds = {name.rpartition(".")[2]: buffer.dtype for name, buffer in wrapped.named_buffers()}
    assert kinds == {"running_mean": torch.float16, "running_var": torch.float16, "num_batches_tracked": torch.int64}


def test_a_kept_layer_takes_holds_and_gives_float32() -> None:
    seen = dtypes(half_wrapped(Loud(), ["loud"]))
    assert {seen["loud", role] for role in ("takes", "gives", "holds")} == {torch.float32}
    for layer in ("head", "tail"):
        assert {seen[layer, role] for role in ("takes", "gives", "holds")} == {torch.float16}


def test_a_kept_module_keeps_everything_inside() -> None:
    seen = dtypes(half_wrapped(ResidualUNet(widths=(8, 16), blocks=(1, 1)), ["body.inner"]))
    inner = {dtype for (path, _), dtype in seen.items() if path.startswith("body.inner")}
    outer = {dtype for (path, _), dtype in seen.items() if not path.startswith("body.inner")}
    assert (inner, outer) == ({torch.float32}, {torch.float16})


def test_neighbours_that_are_kept_exchange_float32() -> None:
    """1e6 is no FP16 number."""
    network = chain(same(), mixing(torch.eye(3) * 1e6), mixing(torch.eye(3) * 1e-6))
    assert half_wrapped(network)(IMAGE).isnan().any()
    torch.testing.assert_close(half_wrapped(network, ["1", "2"])(IMAGE), IMAGE, atol=2**-11, rtol=0)


def test_a_network_that_decides_sees_its_input_unrounded() -> None:
    """In FP16 0.0025 - 2**-24 is 0.0025005."""
    network = FillingUNet(widths=(8, 16), blocks=(1, 1))
    beside = torch.full_like(IMAGE, LOST_WITHIN - 2**-24)
    assert lost_values(beside, 0.0).all()
    assert not lost_values(beside.half(), 0.0).any()
    torch.testing.assert_close(half_wrapped(network)(beside), network(beside), atol=1e-3, rtol=0)
    seen = dtypes(half_wrapped(network))
    assert {seen["", role] for role in ("takes", "gives")} == {torch.float32}
    assert {dtype for (path, _), dtype in seen.items() if path} == {torch.float16}


def test_a_network_that_decides_inside_another() -> None:
    network = chain(same(), FillingUNet(widths=(8, 16), blocks=(1, 1)), same())
    seen = dtypes(half_wrapped(network))
    assert {seen[path, "takes"] for path in ("0", "1.head", "2")} == {torch.float16}
    assert {seen["1", role] for role in ("takes", "gives")} == {torch.float32}
    assert half_wrapped(network)(IMAGE).dtype == torch.float32


@pytest.mark.parametrize("name", ["nothing", "head.weight", ""])
def test_a_name_that_is_no_module(name: str) -> None:
    with pytest.raises(OptionsError, match="head, loud, tail") as caught:
        half_wrapped(Loud(), [name])
    assert (caught.value.name, caught.value.got) == ("keep_fp32", name)


def test_layers_are_the_modules_without_children() -> None:
    blocks = ("encode.0", "down", "inner.encode.0", "inner.encode.1", "up", "decode.0")
    inside = [f"body.{block}{part}" for block in blocks for part in ((".first", ".second") if block[-1].isdigit() else ("",))]
    assert layers(ResidualUNet(widths=(4, 4), blocks=(1, 1))) == ("head", *inside, "tail")


def test_attention_is_one_layer() -> None:
    """It reads the weights of its child without calling it."""
    assert layers(nn.Sequential(nn.MultiheadAttention(4, 2), nn.ReLU())) == ("0", "1")


def test_innermost_by_hand() -> None:
    assert innermost(["", "a", "a.b", "ab", "c.d"]) == ("a.b", "ab", "c.d")
    assert innermost([""]) == ("",)


def test_names_come_in_the_order_of_the_network() -> None:
    assert in_order(Loud(), ["tail", "head", "tail"]) == ("head", "tail")


def test_a_sum_is_rounded_once() -> None:
    """2048 + 1 + 1: in FP16, whose step there is 2, adding one after the other gives 2048; summed in float32, 2050."""
    weight = torch.ones(1, 3, dtype=torch.float16)
    with HalfArithmetic():
        summed = nn.functional.linear(torch.tensor([[2048.0, 1.0, 1.0]], dtype=torch.float16), weight)
        large = nn.functional.linear(torch.full((1, 3), 3e4, dtype=torch.float16), weight)
    assert (summed.dtype, summed.item()) == (torch.float16, 2050.0)
    assert large.isinf().all()  # 9e4 is beyond 65504


def test_half_arithmetic_is_within_a_step_of_pytorchs_own() -> None:
    network = half_wrapped(same())
    with HalfArithmetic():
        emulated = network(IMAGE)
    torch.testing.assert_close(emulated, network(IMAGE), atol=2**-11, rtol=0)


def test_mixed_types_are_refused_as_without_it() -> None:
    with HalfArithmetic(), pytest.raises(RuntimeError):
        nn.functional.linear(torch.ones(1, 3), torch.ones(1, 3, dtype=torch.float16))


@pytest.mark.parametrize(
    ("text", "choice"),
    [("", ()), ("auto", "auto"), ("head", ("head",)), ("head, body.encode.0,head", ("head", "body.encode.0"))],
)
def test_keep_is_read_from_the_command_line(text: str, choice: object) -> None:
    assert parse_keep(text) == choice


@pytest.mark.parametrize("text", [",", "head,", "a,,b"])
def test_an_empty_path_is_a_mistake(text: str) -> None:
    with pytest.raises(OptionsError, match="joined by commas"):
        parse_keep(text)


def test_the_coarser_precision_decides_what_is_allowed() -> None:
    assert tolerance_for(Precision.FP32).max_abs == 1e-4
    wide = tolerance_for(Precision.FP32, Precision.FP16)
    assert (wide.max_abs, wide.psnr) == (1e-2, 60.0)
    assert wide.allows(1e-2, 60.0)
    assert not wide.allows(1e-2, 59.9)
    assert not wide.allows(1.1e-2, 80.0)
    assert not wide.allows(float("nan"), float("nan"))


class Pair(nn.Module):
    """Takes a keyword and gives a tuple."""

    def forward(self, x: Tensor, *, more: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        return x, [more["y"]]


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()

    def forward(self, x: Tensor) -> Tensor:
        first, (second,) = self.pair(x, more={"y": x})
        kept: Tensor = first + second
        return kept


def test_tensors_inside_tuples_lists_dicts_and_keywords_are_cast() -> None:
    assert dtypes(half_wrapped(Packed(), ["pair"]))["pair", "takes"] == torch.float32
    assert dtypes(half_wrapped(Packed()))["pair", "takes"] == torch.float16
