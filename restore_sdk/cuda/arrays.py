"""Arrays on a GPU, other people's and ours, through DLPack and __cuda_array_interface__.

https://data-apis.org/array-api/latest/API_specification/generated/array_api.array.__dlpack__.html
https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html (version 3)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from threading import RLock
from typing import Any

import numpy as np

from restore_sdk.cuda import dlpack
from restore_sdk.cuda.dlpack import CPU, CUDA, MANAGED
from restore_sdk.cuda.launching import LEGACY, NO_SYNC, DeviceMemory, Launcher
from restore_sdk.cuda.memory import Resource
from restore_sdk.errors import BackendError, DeviceUnavailableError, ImageShapeError, ImageTypeError, OptionsError, RestoreError

DTYPES = {dtype.str: dtype for dtype in map(np.dtype, ("|u1", "<u2", "<f2", "<f4"))}
WANTED = "uint8, uint16, float16 or float32"
MOST_BYTES = 1 << 48  # of one array; what claims more is nonsense
# What an object of someone else's may raise that does not keep to its protocol, or what comes of its nonsense
BROKEN = (ArithmeticError, AttributeError, BufferError, LookupError, RuntimeError, TypeError, ValueError)
STREAM = "None, the handle of a CUDA stream as an integer, or a stream of torch, CuPy or cuda-core"


def is_device_array(image: object) -> bool:
    """Whether `image` lies on a CUDA device and says so by either protocol; one that raises when asked does not."""
    if type(image) is np.ndarray or isinstance(image, type):
        return False
    try:
        device = getattr(image, "__dlpack_device__", None)
        if device is not None and int(device()[0]) in {CUDA, MANAGED}:
            return True
        return hasattr(image, "__cuda_array_interface__")
    except BROKEN:
        return False


@contextmanager
def _asked(image: object) -> Iterator[None]:
    """What `image` raises, or what its nonsense leads to, as ImageTypeError."""
    try:
        yield
    except RestoreError:
        raise
    except BROKEN as exc:
        what = f"a {type(image).__name__} that cannot be shared ({type(exc).__name__}: {exc})"
        raise ImageTypeError(what, "an array that keeps to DLPack or __cuda_array_interface__", "pass a numpy array") from exc


def stream_handle(stream: object, image: object = None) -> int:
    """The handle that `stream` stands for, 1 for the legacy default stream.

    None stands for the stream that `image` comes with: PyTorch's current stream for a tensor, the one that a DeviceArray is ready
    on, the one that __cuda_array_interface__ names, else the legacy default stream. Raises OptionsError.
    """
    if stream is None:
        with _asked(image):
            return _own_stream(image)
    handle = stream
    try:
        if hasattr(stream, "__cuda_stream__"):
            handle = stream.__cuda_stream__()[1]
        for name in ("cuda_stream", "ptr"):  # torch's and CuPy's older ones
            handle = getattr(stream, name, handle)
    except BROKEN as exc:
        raise OptionsError("stream", stream, STREAM) from exc
    if isinstance(handle, bool) or not isinstance(handle, int) or not 0 <= handle < 1 << 64:
        raise OptionsError("stream", stream, STREAM)
    return handle or LEGACY


def _own_stream(image: object) -> int:
    if isinstance(image, DeviceArray):
        return image.stream
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(image, torch.Tensor):
        return int(torch.cuda.current_stream(image.device).cuda_stream) or LEGACY
    if hasattr(image, "__cuda_array_interface__"):
        return _ready(image.__cuda_array_interface__.get("stream")) or LEGACY
    return LEGACY


def _ready(stream: object) -> int | None:
    """The stream that __cuda_array_interface__ names, None where nothing is to be waited for."""
    if stream is None or (isinstance(stream, int) and stream > 0):
        return stream
    got = f"an array ready on stream {stream!r}, which the protocol forbids"
    raise ImageTypeError(got, "1, 2 or a handle", "name the stream")


def device_index(image: Any) -> int | None:
    """The GPU that `image` lies on; None where only its pointer knows."""
    return int(image.__dlpack_device__()[1]) if hasattr(image, "__dlpack_device__") else None


@dataclass(slots=True)
class DeviceView(Resource):
    """Someone else's array, borrowed until close(). `strides` in bytes. Nothing here writes to it."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    device_index: int
    owner: object  # what keeps it alive: the exporter, or the capsule's contents
    stream: int  # on which it is ready

    def close(self) -> None:
        """Give it back; a second call does nothing."""
        owner, self.owner = self.owner, None
        if isinstance(owner, dlpack.Tensor):
            owner.release()


def import_array(image: Any, stream: int, launcher: Launcher) -> DeviceView:
    """Borrow `image`, of either protocol, for work on `stream`, which is made to wait until the array is ready.

    Nothing is copied. Raises ImageTypeError and ImageShapeError for what no image can be, DeviceUnavailableError for an array of
    another GPU than the launcher's, BackendError.
    """
    with launcher.current("borrowing an array"), _asked(image):
        through = _from_dlpack if hasattr(image, "__dlpack__") else _from_interface
        view = through(image, stream, launcher)
    try:
        _check(view, launcher)
    except (DeviceUnavailableError, ImageShapeError):
        view.close()
        raise
    return view


def _from_dlpack(image: Any, stream: int, launcher: Launcher) -> DeviceView:
    _check_device(int(image.__dlpack_device__()[1]), launcher)
    options: dict[str, Any] = {} if launcher.kind == CPU else {"stream": stream}
    try:
        try:
            capsule = image.__dlpack__(**options, max_version=dlpack.VERSION)
        except TypeError:  # a producer from before DLPack 1.0
            capsule = image.__dlpack__(**options)
        tensor = dlpack.consume(capsule)
    except BufferError as exc:
        remedy = "for a tensor that requires a gradient pass image.detach()"
        raise ImageTypeError(f"a {type(image).__name__} that cannot be shared ({exc})", "an array to read", remedy) from exc
    dtype = DTYPES.get(f"{'|' if tensor.itemsize == 1 else '<'}{tensor.kind}{tensor.itemsize}")
    if dtype is None or tensor.device[0] not in {launcher.kind, MANAGED}:
        tensor.release()
        what = (
            f"of {8 * tensor.itemsize} bits of kind {tensor.kind!r}" if dtype is None else "in memory that the GPU does not reach"
        )
        raise ImageTypeError(what, WANTED, "convert it on its device")
    strides = _contiguous(tensor.shape, 1) if tensor.strides is None else tensor.strides
    in_bytes = tuple(stride * tensor.itemsize for stride in strides)
    return DeviceView(tensor.pointer, tensor.shape, in_bytes, dtype, tensor.device[1], tensor, stream)


def _from_interface(image: Any, stream: int, launcher: Launcher) -> DeviceView:
    interface = image.__cuda_array_interface__
    dtype = DTYPES.get(interface["typestr"])
    if dtype is None or interface.get("mask") is not None:
        what = "a masked array" if dtype else f"of type {interface['typestr']}"
        raise ImageTypeError(what, WANTED, "convert it on its device")
    pointer, shape = int(interface["data"][0]), tuple(map(int, interface["shape"]))
    _check_shape(pointer, shape, dtype.itemsize)
    index = launcher.device_of(pointer) if pointer else launcher.index
    _check_device(index, launcher)
    ready = _ready(interface.get("stream"))
    if ready is not None and ready != stream:
        launcher.order(stream, ready)
    strides = interface.get("strides")
    in_bytes = _contiguous(shape, dtype.itemsize) if strides is None else tuple(map(int, strides))
    return DeviceView(pointer, shape, in_bytes, dtype, index, image, stream)


def _contiguous(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    strides = [itemsize]
    for length in reversed(shape[1:]):
        strides.append(strides[-1] * length)
    return tuple(reversed(strides)) if shape else ()


def _check_device(index: int, launcher: Launcher) -> None:
    if index != launcher.index:
        here = f"the model runs on cuda:{launcher.index}"
        raise DeviceUnavailableError(f"an array on cuda:{index}", [f"cuda:{launcher.index}"], f"{here}; move one to the other")


def _check(view: DeviceView, launcher: Launcher) -> None:
    _check_device(view.device_index, launcher)
    _check_shape(view.pointer, view.shape, view.dtype.itemsize)
    if len(view.strides) != len(view.shape):
        raise ImageShapeError(view.shape, f"as many axes as it has strides, {len(view.strides)}", "copy it on its device")
    misplaced = [place for place in (view.pointer, *view.strides) if place % view.dtype.itemsize]
    if misplaced:
        raise ImageShapeError(view.shape, f"elements on multiples of {view.dtype.itemsize} bytes", "copy it on its device")


def _check_shape(pointer: int, shape: tuple[int, ...], itemsize: int) -> None:
    """Raise ImageShapeError for what no array in memory can be."""
    nbytes = prod(shape) * itemsize
    if min(shape, default=0) < 0 or nbytes > MOST_BYTES or pointer < 0 or (nbytes and not pointer):
        raise ImageShapeError(shape, f"an array in memory (it says: {nbytes} bytes at {pointer:#x})", "copy it on its device")


class DeviceArray(Resource):
    """A C-contiguous result on a GPU, yours, with numpy's `shape`, `dtype`, `nbytes` and `strides`. torch.from_dlpack(result),
    cupy.asarray(result) and others take it without a copy. It is ready on `stream`, the CUDA stream (a handle) that the work was
    queued on: what you queue there needs no wait, and both protocols order other streams after it. What DLPack hands out keeps
    the memory alive; what __cuda_array_interface__ tells does not, by that protocol: keep this open as long as it is used.
    """

    def __init__(
        self, memory: DeviceMemory, shape: tuple[int, ...], dtype: np.dtype[Any], launcher: Launcher, stream: int
    ) -> None:
        self.shape, self.dtype, self.device_index, self.stream = shape, dtype, launcher.index, stream
        self._memory, self._launcher = memory, launcher
        self._open, self._lent, self._counting = True, 0, RLock()  # a collection of garbage amid counting may give one back
        self.strides = _contiguous(shape, dtype.itemsize)  # bytes

    @property
    def pointer(self) -> int:
        """Device address of the first element; 0 after close()."""
        return self._memory.pointer if self._open else 0

    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        return self.shape[0] * self.strides[0]

    def close(self) -> None:
        """Give the memory back in the order of `stream`, once no consumer of DLPack has it any more; a second call does nothing.
        Also done when the last reference goes."""
        self._open = False
        self._lend(0)

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, device=cuda:{self.device_index})"

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._launcher.kind, self.device_index

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """A capsule, versioned if the consumer takes DLPack 1.0. `stream` (None: the legacy default one) waits for the result;
        -1: nothing is ordered. Raises BufferError where a copy or another device is asked for."""
        if copy or (dl_device is not None and tuple(map(int, dl_device)) != self.__dlpack_device__()):
            raise BufferError("a DeviceArray is shared where it is, without a copy; copy it with the library that takes it")
        self._check_open()
        if stream == NO_SYNC:
            self._memory.expose()
        elif self._launcher.kind != CPU:
            self._memory.follow(LEGACY if stream is None else stream)
        itemsize, where = self.dtype.itemsize, self.__dlpack_device__()
        strides = tuple(stride // itemsize for stride in self.strides)
        tensor = dlpack.Tensor(self.pointer, self.shape, strides, self.dtype.kind, itemsize, where, False, self._returned)
        capsule = dlpack.produce(tensor, self, versioned=max_version is not None and max_version[0] >= 1)
        self._lend(1)
        return capsule

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        self._check_open()
        self._memory.expose()
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,  # C-contiguous
            "stream": self.stream,
        }

    def _check_open(self) -> None:
        if not self._open:
            raise BufferError("this DeviceArray is closed")

    def _lend(self, more: int) -> None:
        """Note `more` consumers; closed and with none left, the memory goes."""
        with self._counting:
            self._lent += more
            unused = not (self._open or self._lent)
        if unused:
            self._memory.close()

    def _returned(self) -> None:
        with suppress(BackendError):  # nobody is there to be told
            self._lend(-1)
