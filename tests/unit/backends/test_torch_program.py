import dataclasses
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from small_program import save_program
from torch import Tensor, nn

from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.backends.torch_file import sidecar, sidecar_text
from restore_sdk.backends.torch_program import open_torch_program
from restore_sdk.errors import DeviceUnavailableError, ModelDamagedError, ModelHashError, ModelSpecError, OptionsError
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec


@pytest.fixture
def copied(small_program: Path, tmp_path: Path) -> Path:
    """A copy of the small program and its digest, to be spoiled."""
    path = tmp_path / "copy.pt2"
    path.write_bytes(small_program.read_bytes())
    digest = sidecar(small_program).read_text().split()[0]
    sidecar(path).write_text(sidecar_text(path.name, digest))
    return path


def digest_of(path: Path) -> str:
    return sidecar(path).read_text().split()[0]


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.export, "load", None)


def test_report_states_what_runs(small_program: Path) -> None:
    assert open_torch_program(small_program, device="cpu", threads=1).report() == {
        "backend": "torch",
        "version": torch.__version__,
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "model": "small",
        "sha256": digest_of(small_program),
    }


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 3, 52, 68), (1, 3, 4, 100)])
def test_same_numbers_as_onnx_runtime(small_model: Path, small_program: Path, shape: tuple[int, ...]) -> None:
    batch = np.random.default_rng(3).normal(0.5, 0.5, shape).astype(np.float32)
    ours = open_torch_program(small_program, device="cpu", threads=1).infer(batch)
    np.testing.assert_allclose(ours, open_onnxruntime(small_model, device="cpu", threads=1).infer(batch), atol=5e-6)
    assert ours.flags.c_contiguous


def test_restorer_opens_it_by_suffix_and_tiles_it(small_program: Path) -> None:
    image = np.random.default_rng(5).random((90, 131, 3), np.float32)
    with Restorer(small_program, device="cpu", threads=1) as restorer:
        whole, tiled = (restorer.restore(image, tile=tile) for tile in (None, 20))
        assert restorer.report()["backend"] == "torch"
    np.testing.assert_allclose(tiled, whole, atol=2e-6)


@pytest.mark.usefixtures("never_loaded")
def test_pytorch_never_sees_bytes_of_another_digest(copied: Path) -> None:
    with pytest.raises(ModelHashError, match="export it again with `python -m export torch`"):
        open_torch_program(copied, sha256="0" * 64)
    copied.write_bytes(copied.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelHashError):
        open_torch_program(copied)
    with pytest.raises(ModelHashError):
        Restorer(copied)


@pytest.mark.usefixtures("never_loaded")
def test_without_a_digest_nothing_is_loaded(copied: Path) -> None:
    sidecar(copied).unlink()
    with pytest.raises(ModelDamagedError, match=r"no digest lies beside it \(copy\.pt2\.sha256\), and such a file may hold code"):
        open_torch_program(copied)


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize("text", ["", "0" * 63, "g" * 64, "0" * 65 + "  copy.pt2"])
def test_a_sidecar_that_states_nothing(copied: Path, text: str) -> None:
    sidecar(copied).write_text(text)
    with pytest.raises(ModelDamagedError, match="states no sha256"):
        open_torch_program(copied)


def test_a_stated_digest_needs_no_sidecar(copied: Path) -> None:
    digest = digest_of(copied)
    sidecar(copied).unlink()
    assert open_torch_program(copied, sha256=digest, device="cpu").spec.sha256 == digest


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.pt2", tmp_path):
        with pytest.raises(ModelDamagedError, match="cannot be read"):
            open_torch_program(path)


def with_digest(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    sidecar(path).write_text(sidecar_text(path.name, hashlib.sha256(content).hexdigest()))
    return path


def replaced(program: Path, name: str, content: bytes) -> bytes:
    """The bytes of `program` with one part changed or added."""
    target = io.BytesIO()
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(target, "w") as new:
        parts = {part.filename: old.read(part) for part in old.infolist()}
        for part, kept in {**parts, f"archive/{name}": content}.items():
            new.writestr(part, kept)
    return target.getvalue()


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x05\x06" + bytes(17)])
def test_a_file_that_is_no_zip(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelDamagedError, match=r"no program of ours .*export it again"):
        open_torch_program(with_digest(tmp_path / "junk.pt2", content))


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("data/sample_inputs/model.pt", b"\x80\x02.", "data/sample_inputs/model.pt may hold code"),
        ("data/constants/../../x", b"\x80\x02.", "may hold code"),
        ("models/other.py", b"1", "models/other.py may hold code"),
        ("data/weights/model_weights_config.json", b'{"config": {"a": {"use_pickle": true}}}', "a in .* is pickled"),
        ("data/constants/model_constants_config.json", b'{"config": {"b": {}}}', "b in .* is pickled"),
        ("data/weights/model_weights_config.json", b"{}", "config"),
        ("data/weights/model_weights_config.json", b"{", "no program of ours"),
    ],
)
def test_a_pickle_is_never_loaded(small_program: Path, tmp_path: Path, name: str, content: bytes, says: str) -> None:
    with pytest.raises(ModelDamagedError, match=says):
        open_torch_program(with_digest(tmp_path / "m.pt2", replaced(small_program, name, content)))


def test_a_program_that_pytorch_refuses(small_program: Path, tmp_path: Path) -> None:
    spoiled = replaced(small_program, "models/model.json", b'{"schema_version": {"major": 999, "minor": 0}}')
    with pytest.raises(ModelDamagedError, match=r"PyTorch .* refuses it"):
        open_torch_program(with_digest(tmp_path / "m.pt2", spoiled))


class Doubled(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image * 2


class TwoOutputs(nn.Module):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return image * 2, image * 3


class Half(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image.half()


def test_graph_that_breaks_its_spec(tmp_path: Path, small_spec: ModelSpec) -> None:
    for network, says in ((TwoOutputs(), "2 outputs, expected 1"), (Half(), r"is torch\.float16, expected torch\.float32")):
        with pytest.raises(ModelSpecError, match=says):
            open_torch_program(save_program(tmp_path / "m.pt2", network, small_spec), device="cpu")
    with_mask = dataclasses.replace(small_spec, inputs=("image", "mask"))
    with pytest.raises(ModelSpecError, match="another backend"):
        open_torch_program(save_program(tmp_path / "m.pt2", Doubled(), with_mask), device="cpu")


def test_no_spec(tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    program = torch.export.export(Doubled(), (torch.zeros(1, 3, 8, 8),))
    program.example_inputs = None
    torch.export.save(program, path)
    with pytest.raises(ModelSpecError, match="has no spec; export it again"):
        open_torch_program(with_digest(path, path.read_bytes()))


def test_an_output_that_is_the_input_is_still_the_callers(tmp_path: Path, small_spec: ModelSpec) -> None:
    backend = open_torch_program(save_program(tmp_path / "m.pt2", Doubled(), small_spec), device="cpu")
    batch = np.ones((1, 3, 8, 8), np.float32)
    np.testing.assert_array_equal(backend.infer(batch), 2)
    np.testing.assert_array_equal(batch, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"device": "gpu"}, "device='gpu', expected 'auto', 'cpu', 'cuda' or 'cuda:N'"),
        ({"device": None}, "device=None"),
        ({"spinning": True}, "OMP_WAIT_POLICY"),
        ({"device": "cpu", "compiled": True}, "compiled=True, expected False on the CPU"),
    ],
)
def test_unknown_options(small_program: Path, arguments, says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        open_torch_program(small_program, **arguments)


def test_a_gpu_that_is_not_there(small_program: Path) -> None:
    beyond = torch.cuda.device_count() if torch.cuda.is_available() else 0
    with pytest.raises(DeviceUnavailableError, match=r"available: cpu.*or pass device='cpu'"):
        open_torch_program(small_program, device=f"cuda:{beyond}")
