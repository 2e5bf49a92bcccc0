"""DLPack capsules, taken and given: the C structures of dlpack.h 1.x, versioned and unversioned.

A capsule is consumed by renaming it; from then on whoever consumed it calls the deleter, once. Names and fields follow
https://dmlc.github.io/dlpack/latest/c_api.html and .../python_spec.html.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, Structure, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p, cast, py_object
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Any

CPU, CUDA, MANAGED = 1, 2, 13  # DLDeviceType
VERSION = (1, 1)  # of what we write; any 1.x is read
READ_ONLY = 1
MOST_AXES = 64  # as in numpy
CODES = MappingProxyType({"u": 1, "f": 2})  # numpy kind -> DLDataTypeCode
KINDS = MappingProxyType({0: "i", 1: "u", 2: "f", 4: "bfloat", 5: "c", 6: "b"})
NAMES = MappingProxyType({True: (b"dltensor_versioned", b"used_dltensor_versioned"), False: (b"dltensor", b"used_dltensor")})


class _Device(Structure):
    _fields_ = (("device_type", c_int32), ("device_id", c_int32))


class _DataType(Structure):
    _fields_ = (("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16))


class _Tensor(Structure):
    _fields_ = (
        ("data", c_void_p),
        ("device", _Device),
        ("ndim", c_int32),
        ("dtype", _DataType),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    )


class _Managed(Structure):
    _fields_ = (("dl_tensor", _Tensor), ("manager_ctx", c_void_p), ("deleter", c_void_p))


class _Version(Structure):
    _fields_ = (("major", c_uint32), ("minor", c_uint32))


class _ManagedVersioned(Structure):
    _fields_ = (
        ("version", _Version),
        ("manager_ctx", c_void_p),
        ("deleter", c_void_p),
        ("flags", c_uint64),
        ("dl_tensor", _Tensor),
    )


_DELETER = ctypes.CFUNCTYPE(None, c_void_p)
_DESTRUCTOR = ctypes.CFUNCTYPE(None, c_void_p)  # of a capsule that is dying: not py_object, which would count references


def _function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


_new = _function("PyCapsule_New", py_object, c_void_p, ctypes.c_char_p, c_void_p)
_is_valid = _function("PyCapsule_IsValid", ctypes.c_int, py_object, ctypes.c_char_p)
_pointer = _function("PyCapsule_GetPointer", c_void_p, py_object, ctypes.c_char_p)
_rename = _function("PyCapsule_SetName", ctypes.c_int, py_object, ctypes.c_char_p)
_dying_is_valid = _function("PyCapsule_IsValid", ctypes.c_int, c_void_p, ctypes.c_char_p)
_dying_pointer = _function("PyCapsule_GetPointer", c_void_p, c_void_p, ctypes.c_char_p)


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a capsule says. `strides` in elements; None: C-contiguous. `release` calls the deleter: call it exactly once."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    kind: str  # of numpy's dtype
    itemsize: int  # bytes
    device: tuple[int, int]  # DLDeviceType, number
    read_only: bool
    release: Callable[[], None]


def consume(capsule: object) -> Tensor:
    """Take over what `capsule` holds. Raises BufferError for anything but a fresh DLPack capsule of a version that we read."""
    for versioned, (name, used) in NAMES.items():
        if _is_valid(capsule, name):
            address = _pointer(capsule, name)
            managed = cast(address, POINTER(_ManagedVersioned if versioned else _Managed)).contents
            _rename(capsule, used)
            return _checked(managed, address, versioned)
    raise BufferError("no unused DLPack capsule")


def _checked(managed: Any, address: int, versioned: bool) -> Tensor:
    deleter = managed.deleter
    release = (lambda: _DELETER(deleter)(address)) if deleter else (lambda: None)
    if versioned and managed.version.major != VERSION[0]:  # of which only the deleter may be relied on
        major = managed.version.major
        release()
        raise BufferError(f"DLPack version {major}.x, expected {VERSION[0]}.x")
    tensor, flags = managed.dl_tensor, managed.flags if versioned else 0
    unfit = _unfit(tensor)
    if unfit:
        release()
        raise BufferError(unfit)
    return Tensor(
        (tensor.data or 0) + tensor.byte_offset,
        tuple(tensor.shape[: tensor.ndim]),
        tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None,
        KINDS.get(tensor.dtype.code, f"code {tensor.dtype.code}"),
        tensor.dtype.bits // 8,
        (tensor.device.device_type, tensor.device.device_id),
        bool(flags & READ_ONLY),
        release,
    )


def _unfit(tensor: Any) -> str:
    """Why no array can be made of `tensor`, empty if one can. A text of our own: once it is released its memory is another's."""
    if tensor.dtype.lanes != 1 or tensor.dtype.bits % 8:
        return f"elements of {tensor.dtype.lanes} x {tensor.dtype.bits} bits"
    if not 0 <= tensor.ndim <= MOST_AXES or (tensor.ndim and not tensor.shape):
        return f"{tensor.ndim} axes and {'a' if tensor.shape else 'no'} shape"
    return ""


_handed_out: dict[int, tuple[object, ...]] = {}  # what lives as long as each managed tensor that we made, by number
_numbers = count(1)


def produce(tensor: Tensor, owner: object, *, versioned: bool) -> object:
    """A capsule of `tensor`, which must have strides. `owner` lives until its consumer calls the deleter, or, if there is no
    consumer, as long as the capsule; `tensor.release` is then called."""
    rank = len(tensor.shape)
    shape, strides = (c_int64 * rank)(*tensor.shape), (c_int64 * rank)(*(tensor.strides or ()))
    described = _Tensor(
        tensor.pointer,
        _Device(*tensor.device),
        rank,
        _DataType(CODES[tensor.kind], 8 * tensor.itemsize, 1),
        cast(shape, POINTER(c_int64)),
        cast(strides, POINTER(c_int64)),
        0,
    )
    number = next(_numbers)
    managed: Structure
    if versioned:
        flags = READ_ONLY if tensor.read_only else 0
        managed = _ManagedVersioned(_Version(*VERSION), number, cast(_DELETE_VERSIONED, c_void_p), flags, described)
    else:
        managed = _Managed(described, number, cast(_DELETE, c_void_p))
    _handed_out[number] = (managed, shape, strides, owner, tensor.release)
    try:
        return _new(ctypes.addressof(managed), NAMES[versioned][0], cast(_DESTROY, c_void_p))
    except BaseException:
        del _handed_out[number]
        raise


def alive() -> int:
    """How many tensors of ours are in others' hands."""
    return len(_handed_out)


def _let_go(number: int) -> None:
    kept = _handed_out.pop(number, None)
    if kept is not None:
        release: Any = kept[-1]
        release()


def _delete(address: int) -> None:
    _let_go(cast(address, POINTER(_Managed)).contents.manager_ctx)


def _delete_versioned(address: int) -> None:
    _let_go(cast(address, POINTER(_ManagedVersioned)).contents.manager_ctx)


def _destroy(capsule: int) -> None:
    """A capsule dies. One that was consumed has another name, and its consumer calls the deleter."""
    for versioned, (name, _) in NAMES.items():
        if _dying_is_valid(capsule, name):
            (_delete_versioned if versioned else _delete)(_dying_pointer(capsule, name))


_DELETE, _DELETE_VERSIONED, _DESTROY = _DELETER(_delete), _DELETER(_delete_versioned), _DESTRUCTOR(_destroy)  # kept for ever
