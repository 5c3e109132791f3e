"""Tensors over memory that is there already: NumPy arrays, buffers, files, sequences."""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np

from .. import dtypes
from ..devices import CPU, resolve_device
from .core import TensorCore, from_array
from .creation import array_of, place, storage_dtype
from .functions import publish


def check_array(array: Any) -> None:
    """Refuse arrays that no tensor can look at; ValueError or TypeError."""
    dtypes.from_numpy_dtype(array.dtype)
    if not array.flags.c_contiguous and any(step < 0 for step in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array  with array.copy().) "
        )
    if any(s % array.itemsize for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        raise ValueError(
            "given numpy array strides not a multiple of the element byte size. Copy the numpy "
            "array to reallocate the memory."
        )


@publish
def from_numpy(ndarray: Any) -> Any:
    """A tensor over the memory of a NumPy array, which must have native byte order.

    A read-only array gives a tensor that cannot be changed in place.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {_type_name(ndarray)})")
    check_array(ndarray)
    return from_array(ndarray.view(np.ndarray))


def _type_name(x: Any) -> str:
    kind = type(x)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


@publish
def frombuffer(
    buffer: Any,
    *,
    dtype: dtypes.dtype,
    count: int = -1,
    offset: int = 0,
    requires_grad: bool = False,
) -> Any:
    """A 1-d tensor over the memory of an object with the buffer protocol.

    It has `count` elements (-1: all there are) from the byte `offset` on; ValueError where the
    buffer has no such elements.
    """
    kind = storage_dtype(dtype)
    try:
        length = memoryview(buffer).nbytes
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    if not length or not count:
        raise ValueError(f"both buffer length ({length}) and count ({count}) must not be 0")
    if not 0 <= offset < length:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length "
            f"({length} bytes) minus 1"
        )
    size = kind.itemsize
    if count < 0 and (length - offset) % size:
        raise ValueError(
            f"buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a "
            f"multiple of element size ({size})"
        )
    if count > 0 and offset + count * size > length:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must "
            f"not be greater than actual buffer length ({length} bytes)"
        )
    flat = np.frombuffer(memoryview(buffer).cast("B"), np.uint8)[offset:]
    flat = flat[: count * size] if count > 0 else flat
    return place(flat.view(kind), requires_grad=requires_grad)


@publish
def asarray(
    obj: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Any:
    """`obj` (tensor, array, DLPack object, buffer, number or sequence) as a tensor.

    Memory is shared where that is possible, always copied with `copy` True, and never with `copy`
    False (ValueError). Without `requires_grad` a tensor keeps its history.
    """
    shared = _shared(obj, dtype)
    if shared is None:
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        made = place(array_of(obj, dtype), None, device)
        return made.requires_grad_() if requires_grad else made
    wanted = shared._t if dtype is None else dtype
    moved = device is not None and resolve_device(device) != shared.device
    if copy is False:
        if moved:
            raise ValueError(
                f"can't alias tensor with device '{shared.device}' into device '{device}'."
            )
        if wanted is not shared._t:
            raise ValueError(
                f"can't alias tensor with dtype '{shared._t.title}' into dtype '{wanted.title}'."
            )
    out = shared.to(dtype=wanted, device=device, copy=bool(copy))
    if requires_grad is not None and requires_grad != (out._gf is not None):
        out = out.detach()
        return out.requires_grad_() if requires_grad else out
    return out


def _shared(obj: Any, dtype: dtypes.dtype | None) -> Any:
    """A tensor over the memory of `obj`, or None for numbers and sequences."""
    if isinstance(obj, TensorCore):
        return obj
    if isinstance(obj, (np.ndarray, np.generic)):
        return from_numpy(np.asarray(obj))
    if hasattr(obj, "__dlpack__") or type(obj).__name__ == "PyCapsule":
        from .dlpack import from_dlpack

        return from_dlpack(obj)
    if isinstance(obj, (list, tuple, int, float, complex, str)):
        return None
    try:
        memoryview(obj)
    except TypeError:
        return None
    return frombuffer(obj, dtype=dtype or dtypes.get_default_dtype())


@publish
def from_file(
    filename: str,
    shared: bool | None = None,
    size: int | None = 0,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """A 1-d tensor of `size` elements over a file that is mapped into memory.

    With `shared` the file is made or grown where needed, and changes are written to it; else it
    must be large enough, and changes are the tensor's own.
    """
    if device is not None and resolve_device(device) is not CPU:
        raise RuntimeError("from_file() makes tensors of the CPU only")
    if pin_memory:
        raise RuntimeError("tensors constructed from a file cannot be pinned")
    kind = storage_dtype(dtype or dtypes.get_default_dtype())
    mapped = from_array(map_file(filename, bool(shared), (size or 0) * kind.itemsize).view(kind))
    return mapped.requires_grad_() if requires_grad else mapped


def map_file(filename: str, shared: bool, nbytes: int) -> Any:
    """The first `nbytes` of a file as an array of bytes that is mapped into memory."""
    if not nbytes:
        return np.empty(0, np.uint8)
    flags = os.O_RDWR | os.O_CREAT if shared else os.O_RDONLY
    try:
        descriptor = os.open(filename, flags, 0o644)
    except OSError as error:
        raise RuntimeError(f"unable to open file <{filename}>: {error.strerror}") from None
    try:
        present = os.fstat(descriptor).st_size
        if present < nbytes:
            if not shared:
                raise RuntimeError(f"file <{filename}> size <{present}> is smaller than <{nbytes}>")
            os.ftruncate(descriptor, nbytes)
        access = mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY
        return np.frombuffer(mmap.mmap(descriptor, nbytes, access=access), np.uint8)
    finally:
        os.close(descriptor)


__all__ = ["asarray", "check_array", "from_file", "from_numpy", "frombuffer", "map_file"]
