"""The memory behind a tensor: its root buffer, offset and order."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.cpu.layout import is_contiguous, with_format


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
    if not isinstance(d, np.ndarray):
        return 0
    return (address(d) - address(root_of(d))) // d.dtype.itemsize


def filled_strides(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """`strides` with PyTorch's number for dimensions of size one, where NumPy may have a 0."""
    filled = list(strides)
    for i in reversed(range(len(shape))):
        if shape[i] == 1 and not filled[i]:
            filled[i] = shape[i + 1] * filled[i + 1] if i + 1 < len(shape) else 1
    return tuple(filled)


class UntypedStorage:
    """The bytes of a tensor's memory, shared by all its views."""

    def __init__(self, d: Any) -> None:
        self._root = root_of(d)

    def nbytes(self) -> int:
        """The size in bytes."""
        return int(self._root.nbytes)

    size = __len__ = nbytes

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return address(self._root)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and other._root is self._root

    def __hash__(self) -> int:
        return id(self._root)


__all__ = ["UntypedStorage", "address", "is_contiguous", "offset_of", "root_of", "with_format"]
