import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import openvino
import psutil
import pytest

from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.backends.openvino import open_openvino
from restore_sdk.errors import DeviceUnavailableError, ModelDamagedError, OptionsError
from restore_sdk.restorer import Restorer

SaveModel = Callable[..., Path]


def test_report_states_what_was_set(small_model: Path) -> None:
    report = open_openvino(small_model, device="cpu", threads=2, chosen="it was measured").report()
    assert report == {
        "backend": "openvino",
        "version": openvino.__version__,
        "device": "cpu",
        "precision": "fp32",
        "arithmetic": "f32",
        "threads": 2,
        "spinning": False,
        "model": "small",
        "sha256": hashlib.sha256(small_model.read_bytes()).hexdigest(),
        "chosen": "it was measured",
    }


def test_settings_reach_the_compiled_model(small_model: Path) -> None:
    compiled = open_openvino(small_model, threads=1)._compiled
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_same_numbers_as_onnx_runtime(small_model: Path) -> None:
    batch = np.random.default_rng(3).normal(0.5, 0.5, (2, 3, 40, 28)).astype(np.float32)
    ours, theirs = (opener(small_model, device="cpu", threads=1).infer(batch) for opener in (open_openvino, open_onnxruntime))
    np.testing.assert_allclose(ours, theirs, atol=5e-6)


def test_restorer_tiles_have_the_bits_of_the_whole_image(small_model: Path) -> None:
    image = np.random.default_rng(5).random((90, 131, 3), np.float32)
    with Restorer(small_model, backend="openvino", threads=1) as restorer:
        np.testing.assert_array_equal(restorer.restore(image, tile=20), restorer.restore(image, tile=None))


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "gpu", None])
def test_only_the_cpu(small_model: Path, device: str) -> None:
    with pytest.raises(DeviceUnavailableError, match=r"available: cpu\); pass device='cpu', or backend='onnxruntime'"):
        open_openvino(small_model, device=device)


def test_threads_always_sleep(small_model: Path) -> None:
    with pytest.raises(OptionsError, match="always sleep"):
        open_openvino(small_model, spinning=True)


def test_operator_that_the_runtime_does_not_know(save_model: SaveModel) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.node[2].op_type = "Rectify"

    says = r"OpenVINO refuses it \(No conversion rule found for operations: .*Rectify.*\); export it again, or use onnxruntime"
    with pytest.raises(ModelDamagedError, match=says):
        open_openvino(save_model(rename), threads=1)


def test_images_of_ever_new_sizes_do_not_fill_the_memory(small_model: Path) -> None:
    """Unbounded, each 150 sizes bring some 80 MB of kernels; bounded, ever less."""
    backend, process, resident = open_openvino(small_model, threads=1), psutil.Process(), [0]
    for width in (12, 16, 20):
        for blocks in range(2, 152):
            backend.infer(np.zeros((1, 3, 4 * blocks, width), np.float32))
        resident.append(process.memory_info().rss)
    assert resident[3] - resident[2] < 45_000_000
