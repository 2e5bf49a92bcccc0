"""The wire walk against files made by the onnx package."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from restore_sdk.backends import onnx_file
from restore_sdk.backends.onnx_file import read_onnx
from restore_sdk.errors import ModelDamagedError, ModelHashError
from restore_sdk.spec import METADATA_KEY

DESCRIPTORS = {
    "Model": onnx.ModelProto,
    "Training": onnx.TrainingInfoProto,
    "Function": onnx.FunctionProto,
    "Graph": onnx.GraphProto,
    "Node": onnx.NodeProto,
    "Attribute": onnx.AttributeProto,
    "Sparse": onnx.SparseTensorProto,
    "Tensor": onnx.TensorProto,
}
SaveModel = Callable[..., Path]


def test_every_path_to_a_tensor_is_walked() -> None:
    names = {proto.DESCRIPTOR.name: name for name, proto in DESCRIPTORS.items()}
    for name, proto in DESCRIPTORS.items():
        reached = {field.number: names.get(field.message_type.name) for field in proto.DESCRIPTOR.fields if field.message_type}
        assert dict(onnx_file.PATHS[name]) == {number: kind for number, kind in reached.items() if kind}


def test_whole_file_gives_bytes_digest_and_metadata(small_model: Path) -> None:
    file = read_onnx(small_model)
    assert file.content == small_model.read_bytes()
    assert list(file.metadata) == [METADATA_KEY]
    assert read_onnx(small_model, sha256=file.sha256) == file


def test_wrong_digest_comes_first(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(ModelHashError):
        read_onnx(tmp_path / "junk.onnx", sha256="0" * 64)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"junk" * 100, "cut short or not ONNX"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "cut short or not ONNX"),
        (b"\x08\x0a", "no graph"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "unfinished number"),
    ],
)
def test_not_a_model(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelDamagedError, match=says):
        read_onnx(tmp_path / "m.onnx")


@given(share=st.floats(0, 0.999))
def test_truncated_anywhere_before_the_metadata(
    small_model: Path, tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    content = small_model.read_bytes()
    graph_starts = content.index(b"SpaceToDepth")
    graph_ends = content.index(METADATA_KEY.encode()) - 4
    cut = graph_starts + int(share * (graph_ends - graph_starts))
    path = tmp_path_factory.getbasetemp() / "cut.onnx"
    path.write_bytes(content[:cut])
    with pytest.raises(ModelDamagedError, match="cut short"):
        read_onnx(path)


def test_directory_and_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelDamagedError, match="is a directory; pass the"):
        read_onnx(tmp_path)
    with pytest.raises(ModelDamagedError, match="cannot be read"):
        read_onnx(tmp_path / "absent.onnx")


def elsewhere(location: str) -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "t")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def in_initializer(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.initializer.append(tensor)


def in_constant(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def in_tensor_list(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.node.append(helper.make_node("Custom", [], ["c"], values=[tensor]))


def in_sparse(model: onnx.ModelProto, tensor: TensorProto) -> None:
    indices = numpy_helper.from_array(np.arange(4), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [9]))


def in_branch_of_branch(model: onnx.ModelProto, tensor: TensorProto) -> None:
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "inner", [], [])
    outer = helper.make_graph([helper.make_node("If", ["a"], ["b"], then_branch=inner, else_branch=inner)], "outer", [], [])
    model.graph.node.append(helper.make_node("If", ["a"], ["b"], then_branch=outer, else_branch=outer))


def in_function(model: onnx.ModelProto, tensor: TensorProto) -> None:
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    model.functions.append(helper.make_function("own", "F", [], ["c"], [node], [helper.make_opsetid("", 20)]))


def in_training(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.training_info.add().initialization.initializer.append(tensor)


PLACES = [in_initializer, in_constant, in_tensor_list, in_sparse, in_branch_of_branch, in_function, in_training]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "weights.bin"])
def test_external_data_is_refused_wherever_it_hides(save_model: SaveModel, place, location: str) -> None:
    path = save_model(lambda model: place(model, elsewhere(location)))
    with pytest.raises(ModelDamagedError, match=r"external data.*export it again as a single file"):
        read_onnx(path)


@pytest.mark.parametrize("place", PLACES)
def test_the_same_tensor_inside_the_file_is_fine(save_model: SaveModel, place) -> None:
    inside = numpy_helper.from_array(np.zeros(4, np.float32), "t")
    inside.data_location = TensorProto.DEFAULT
    assert METADATA_KEY in read_onnx(save_model(lambda model: place(model, inside))).metadata


def test_location_flag_alone_is_refused(save_model: SaveModel) -> None:
    def flag(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].data_location = TensorProto.EXTERNAL

    with pytest.raises(ModelDamagedError, match="external data"):
        read_onnx(save_model(flag))


def test_entries_without_the_flag_are_refused(save_model: SaveModel) -> None:
    def point(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].external_data.add(key="location", value="weights.bin")

    with pytest.raises(ModelDamagedError, match="external data"):
        read_onnx(save_model(point))


def test_saved_by_onnx_with_external_data(tmp_path: Path, small_model: Path) -> None:
    path = tmp_path / "split.onnx"
    onnx.save(onnx.load(small_model), path, save_as_external_data=True, location="split.data", size_threshold=0)
    with pytest.raises(ModelDamagedError, match="external data"):
        read_onnx(path)


def test_deep_nesting_is_refused_without_overflowing_the_stack(tmp_path: Path) -> None:
    graph = onnx.GraphProto().SerializeToString()
    for _ in range(3000):
        attribute = b"\x32" + length(graph) + graph
        node = b"\x2a" + length(attribute) + attribute
        graph = b"\x0a" + length(node) + node
    (tmp_path / "deep.onnx").write_bytes(b"\x3a" + length(graph) + graph)
    with pytest.raises(ModelDamagedError, match="nested deeper than 64"):
        read_onnx(tmp_path / "deep.onnx")


def length(payload: bytes) -> bytes:
    count, digits = len(payload), bytearray()
    while count > 0x7F:
        digits.append(count & 0x7F | 0x80)
        count >>= 7
    return bytes([*digits, count])
