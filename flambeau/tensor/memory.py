"""The memory behind a tensor: its root buffer, offset and order, and how it is exchanged."""

from __future__ import annotations

import contextlib
import gc
import math
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import devices
from ..backends.cpu.layout import is_contiguous, with_format
from .core import TensorCore

_array_of = TensorCore.__dict__["_d"].__get__


def root_of(d: Any) -> Any:
    """The array that owns the memory of `d`."""
    while isinstance(d.base, np.ndarray):
        d = d.base
    return d


def address(d: Any) -> int:
    """Where the first element of `d` lies."""
    return int(d.__array_interface__["data"][0])


def offset_of(d: Any) -> int:
    """Elements between the start of the root buffer and the first element of `d`."""
    if isinstance(d, EmptiedArray):
        return d.start // d.dtype.itemsize
    if not isinstance(d, np.ndarray):
        return 0
    return (address(d) - address(root_of(d))) // d.dtype.itemsize


def filled_strides(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """`strides` with PyTorch's numbers where NumPy may have a 0: of sizes one, of empty arrays."""
    if 0 in shape and not any(strides):
        return tuple(math.prod(max(n, 1) for n in shape[i + 1 :]) for i in range(len(shape)))
    filled = list(strides)
    for i in reversed(range(len(shape))):
        if shape[i] == 1 and not filled[i]:
            filled[i] = shape[i + 1] * filled[i + 1] if i + 1 < len(shape) else 1
    return tuple(filled)


def extent(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> int:
    """The bytes from the first element to the end of the last; `strides` are in bytes."""
    if 0 in shape:
        return 0
    return itemsize + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))


def bytes_of(root: Any) -> Any:
    """The memory of a root array as a flat array of bytes."""
    if not root.size:
        return root.reshape(-1).view(np.uint8)
    if root.flags.forc:
        return root.reshape(-1, order="A").view(np.uint8)
    first = root[(slice(0, 1),) * root.ndim].reshape(-1).view(np.uint8)
    count = extent(root.shape, root.strides, root.itemsize)
    return np.lib.stride_tricks.as_strided(first, (count,), (1,), writeable=root.flags.writeable)


def array_over(
    memory: Any, dtype: Any, start: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Any:
    """The array of `shape` that begins at the byte `start` of `memory`; `strides` are in bytes."""
    if 0 in shape:
        return np.empty(shape, dtype)
    if not memoryview(memory).nbytes:  # NumPy takes an empty buffer for one of any size
        raise ValueError("the memory is empty")
    return np.ndarray(shape, dtype, memory, start, strides)


class EmptiedArray:
    """Stands for the array of a tensor whose storage was made too small for it."""

    base = None
    device = devices.CPU

    def __init__(self, storage: Any, start: int, like: Any) -> None:
        self.storage, self.start = storage, start
        self.shape, self.strides, self.dtype = like.shape, like.strides, like.dtype
        self.ndim, self.size, self.itemsize = len(self.shape), like.size, self.dtype.itemsize

    @property
    def flags(self) -> Any:
        """Whether the elements would be contiguous."""
        return np.lib.stride_tricks.as_strided(
            np.empty(1, self.dtype), self.shape, self.strides
        ).flags

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError(
            "The tensor has a non-zero number of elements, but its data is not allocated yet: its "
            "storage was resized to be smaller than the tensor."
        )

    __array__ = __array_ufunc__ = __array_function__ = __getitem__ = __setitem__ = _refuse
    __getattr__ = _refuse


def tensors_over(root: Any) -> list[Any]:
    """Every tensor whose memory is in `root`.

    Nobody keeps a list of those, so that views are cheap: the garbage collector is asked.
    """
    arrays = ((t, d) for t, d in _living() if isinstance(d, np.ndarray))
    return [t for t, d in arrays if root_of(d) is root]


def _living() -> Iterator[tuple[Any, Any]]:
    """Every tensor that has an array of its own, with the array."""
    for t in gc.get_objects():
        if issubclass(type(t), TensorCore):  # which asks no proxy for its class
            with contextlib.suppress(AttributeError):
                yield t, _array_of(t)


def relocate(root: Any, memory: Any, storage: Any) -> None:
    """Let every tensor in `root` look at the same place of `memory` instead."""
    if root.size:
        start_of_root = address(root)
        for t in tensors_over(root):
            d = _array_of(t)
            start = address(d) - start_of_root
            if start + extent(d.shape, d.strides, d.itemsize) <= memory.size:
                t._d = array_over(memory, d.dtype, start, d.shape, d.strides)
            else:
                t._d = EmptiedArray(storage, start, d)
    for t, d in _living():
        waits = isinstance(d, EmptiedArray) and d.storage is storage
        if waits and d.start + extent(d.shape, d.strides, d.itemsize) <= memory.size:
            t._d = array_over(memory, d.dtype, d.start, d.shape, d.strides)


def is_shared(d: Any) -> bool:
    """Whether forked processes see changes of the memory of `d`."""
    if not isinstance(d, np.ndarray):
        return False
    base = root_of(d).base
    if isinstance(base, memoryview):
        base = base.obj
    return isinstance(base, mmap.mmap)


def shared_bytes(count: int) -> Any:
    """New memory that forked processes share."""
    if not count:
        return np.empty(0, np.uint8)
    return np.frombuffer(mmap.mmap(-1, count), np.uint8)


__all__ = [
    "EmptiedArray",
    "address",
    "array_over",
    "bytes_of",
    "extent",
    "filled_strides",
    "is_contiguous",
    "is_shared",
    "offset_of",
    "relocate",
    "root_of",
    "shared_bytes",
    "tensors_over",
    "with_format",
]
