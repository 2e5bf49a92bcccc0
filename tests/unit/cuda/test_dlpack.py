from __future__ import annotations

import ctypes
import gc
import sys

import numpy as np
import pytest

from restore_sdk.cuda import dlpack

VERSIONS = pytest.mark.parametrize("max_version", [None, (1, 0)], ids=["unversioned", "versioned"])


def tensor_of(array: np.ndarray, calls: list[str], *, read_only: bool = False) -> dlpack.Tensor:
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return dlpack.Tensor(
        array.ctypes.data,
        array.shape,
        strides,
        array.dtype.kind,
        array.itemsize,
        (dlpack.CPU, 0),
        read_only,
        lambda: calls.append("released"),
    )


@VERSIONS
def test_a_capsule_is_consumed_and_its_deleter_called_once(max_version: tuple[int, int] | None) -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)[:, ::-1]
    references = sys.getrefcount(array)
    capsule = array.__dlpack__(max_version=max_version)
    tensor = dlpack.consume(capsule)
    assert (tensor.pointer, tensor.shape, tensor.strides) == (array.ctypes.data, (2, 3, 4), (12, -4, 1))
    assert (tensor.kind, tensor.itemsize, tensor.device) == ("f", 4, (dlpack.CPU, 0))
    del capsule
    assert sys.getrefcount(array) == references + 1, "the capsule's own destructor must leave a consumed tensor alone"
    tensor.release()
    assert sys.getrefcount(array) == references


@VERSIONS
def test_a_capsule_is_consumed_only_once(max_version: tuple[int, int] | None) -> None:
    capsule = np.zeros(3, np.uint8).__dlpack__(max_version=max_version)
    dlpack.consume(capsule).release()
    with pytest.raises(BufferError, match="no unused"):
        dlpack.consume(capsule)


def test_read_only_is_said_by_the_versioned_form() -> None:
    array = np.zeros(3, np.uint16)
    array.flags.writeable = False
    tensor = dlpack.consume(array.__dlpack__(max_version=(1, 0)))
    assert tensor.read_only
    tensor.release()


@pytest.mark.parametrize("thing", [None, 7, "capsule"])
def test_anything_else_is_refused(thing: object) -> None:
    with pytest.raises(BufferError):
        dlpack.consume(thing)


def test_another_major_version_is_given_back_unread() -> None:
    calls: list[str] = []
    capsule = dlpack.produce(tensor_of(np.zeros(3, np.uint8), calls), None, versioned=True)
    address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))(
        capsule, b"dltensor_versioned"
    )
    ctypes.c_uint32.from_address(address).value = 2
    with pytest.raises(BufferError, match=r"version 2\.x"):
        dlpack.consume(capsule)
    assert calls == ["released"]


def test_vectors_of_lanes_are_refused_and_given_back() -> None:
    calls: list[str] = []
    tensor = tensor_of(np.zeros(3, np.uint8), calls)
    capsule = dlpack.produce(tensor, None, versioned=False)
    address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))(
        capsule, b"dltensor"
    )
    ctypes.c_uint16.from_address(address + 22).value = 4  # data, device, ndim, then code and bits of the dtype
    with pytest.raises(BufferError, match="4 x 8 bits"):
        dlpack.consume(capsule)
    assert calls == ["released"]


@VERSIONS
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_what_we_make_others_read(max_version: tuple[int, int] | None, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    array, calls = np.arange(12).astype(dtype).reshape(3, 4), list[str]()
    before = dlpack.alive()
    capsule = dlpack.produce(tensor_of(array, calls), array, versioned=max_version is not None)
    taken = torch.from_dlpack(capsule)
    np.testing.assert_array_equal(taken.numpy(), array)
    assert taken.data_ptr() == array.ctypes.data
    del capsule
    gc.collect()
    assert (calls, dlpack.alive()) == ([], before + 1)
    del taken
    gc.collect()
    assert (calls, dlpack.alive()) == (["released"], before)


@VERSIONS
def test_a_capsule_that_nobody_takes_is_released(max_version: tuple[int, int] | None) -> None:
    calls: list[str] = []
    owner = np.zeros(3, np.uint8)
    references = sys.getrefcount(owner)
    capsule = dlpack.produce(tensor_of(owner, calls), owner, versioned=max_version is not None)
    assert sys.getrefcount(owner) == references + 1
    del capsule
    assert (calls, sys.getrefcount(owner)) == (["released"], references)


def test_there_and_back() -> None:
    calls: list[str] = []
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for versioned in (False, True):
        given = tensor_of(array, calls, read_only=True)
        taken = dlpack.consume(dlpack.produce(given, array, versioned=versioned))
        assert (taken.pointer, taken.shape, taken.strides, taken.kind) == (given.pointer, (2, 3), (3, 1), "u")
        assert taken.read_only is versioned
        taken.release()
    assert calls == ["released"] * 2
