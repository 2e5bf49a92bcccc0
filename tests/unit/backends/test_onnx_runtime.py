import hashlib
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest

from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.backends.opening import open_backend
from restore_sdk.errors import BackendError, ModelDamagedError, OptionsError

SaveModel = Callable[..., Path]


def test_report_states_what_was_set(small_model: Path) -> None:
    report = open_onnxruntime(small_model, device="cpu", threads=2).report()
    assert report == {
        "backend": "onnxruntime",
        "version": onnxruntime.__version__,
        "device": "cpu",
        "providers": ["CPUExecutionProvider"],
        "precision": "fp32",
        "threads": 2,
        "spinning": False,
        "model": "small",
        "sha256": hashlib.sha256(small_model.read_bytes()).hexdigest(),
    }


def test_digest_reaches_the_spec(small_model: Path) -> None:
    assert open_onnxruntime(small_model, threads=1).spec.sha256 == hashlib.sha256(small_model.read_bytes()).hexdigest()


def test_report_is_a_copy(small_model: Path) -> None:
    backend = open_onnxruntime(small_model, threads=1)
    backend.report()["backend"] = "changed"  # type: ignore[index]
    assert backend.report()["backend"] == "onnxruntime"


@pytest.mark.parametrize(("spinning", "value"), [(False, "0"), (True, "1")])
def test_session_settings(small_model: Path, spinning: bool, value: str) -> None:
    options = open_onnxruntime(small_model, threads=1, spinning=spinning)._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == value
    assert options.get_session_config_entry("session.inter_op.allow_spinning") == value
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert (options.intra_op_num_threads, options.log_severity_level) == (1, 3)


def test_graph_that_the_runtime_refuses(save_model: SaveModel) -> None:
    def dangle(model: onnx.ModelProto) -> None:
        model.graph.node[0].input[0] = "nowhere"

    with pytest.raises((ModelDamagedError, BackendError), match="nowhere"):
        open_onnxruntime(save_model(dangle), threads=1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"device": "gpu"}, "device='gpu', expected 'auto', 'cpu', 'cuda' or 'cuda:N'"),
        ({"device": None}, "device=None"),
        ({"threads": True}, "threads=True"),
        ({"threads": 1.5}, r"threads=1\.5"),
        ({"backend": "tensorflow"}, "backend='tensorflow', expected 'auto' or one of: onnxruntime"),
    ],
)
def test_unknown_options(small_model: Path, arguments, says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        open_backend(small_model, **arguments)
