"""Stamping changes one metadata entry and no other byte."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from export.stamp import read_stamped, sha256, stamped, without_metadata
from restore_sdk.errors import ModelDamagedError, ModelSpecError
from restore_sdk.spec import METADATA_KEY, ModelSpec


def identity(**metadata: str) -> bytes:
    """An ONNX file of one Identity node."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, "height", "width"]) for name in ("image", "restored")
    ]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["restored"], name="copy")], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, metadata)
    content: bytes = model.SerializeToString()
    return content


SPEC = ModelSpec(name="a", method="m", task="denoise")


def metadata(content: bytes) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}


def test_the_spec_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(stamped(identity(), SPEC))
    content, spec = read_stamped(path)
    assert spec.to_json() == SPEC.to_json()
    assert spec.sha256 == sha256(content) == sha256(path.read_bytes())


def test_the_file_starts_with_the_bytes_it_had() -> None:
    assert stamped(identity(), SPEC).startswith(identity())


def test_stamping_again_replaces_and_keeps_foreign_entries() -> None:
    other = ModelSpec(name="b", method="m", task="inpaint", licence="CC0-1.0")
    twice = stamped(stamped(identity(author="someone"), SPEC), other)
    assert metadata(twice) == {"author": "someone", METADATA_KEY: other.to_json()}
    assert twice == stamped(identity(author="someone"), other)


def test_without_metadata_is_what_two_stampings_share() -> None:
    other = ModelSpec(name="b", method="m", task="denoise")
    assert without_metadata(stamped(identity(k="v"), SPEC)) == without_metadata(stamped(identity(), other)) == identity()


@given(st.text(max_size=300), st.integers(1, 2**20))
def test_any_text_and_length_survive(text: str, size: int) -> None:
    spec = ModelSpec(name="n", method="m", task="denoise", trained_on=text, min_size=size)
    assert ModelSpec.from_metadata(metadata(stamped(identity(), spec))) == spec


def test_long_specs_need_longer_lengths() -> None:
    spec = ModelSpec(name="n", method="m", task="denoise", trained_on="x" * 100_000)
    assert ModelSpec.from_metadata(metadata(stamped(identity(), spec))) == spec


@pytest.mark.parametrize("keep", [1, 5, -1, -7])
def test_a_cut_file_is_damaged(keep: int) -> None:
    with pytest.raises(ModelDamagedError):
        stamped(identity()[:keep], SPEC)


def test_a_file_without_spec_says_how_to_get_one(tmp_path: Path) -> None:
    path = tmp_path / "bare.onnx"
    path.write_bytes(identity())
    with pytest.raises(ModelSpecError, match="python -m export onnx"):
        read_stamped(path)
