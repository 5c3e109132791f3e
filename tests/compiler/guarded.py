"""Arrays whose last element is followed by memory that must not be touched."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

_PAGE = mmap.PAGESIZE
_kept: list[mmap.mmap] = []


def guarded(values: np.ndarray) -> np.ndarray:
    """Copy `values` to the very end of a page; reading or writing beyond it ends the process."""
    values = np.ascontiguousarray(values)
    size = -(-max(values.nbytes, 1) // _PAGE) * _PAGE
    memory = mmap.mmap(-1, size + _PAGE)
    _kept.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + size), ctypes.c_size_t(_PAGE), 0) == 0
    flat = np.frombuffer(memory, values.dtype, values.size, size - values.nbytes)
    result = flat.reshape(values.shape)
    result[...] = values
    return result
