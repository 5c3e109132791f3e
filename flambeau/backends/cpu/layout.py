"""The order of an array's elements in memory, and PyTorch's names for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import devices


def _dense_in(d: Any, order: tuple[int, ...]) -> bool:
    step = d.dtype.itemsize
    for axis in order:
        if d.shape[axis] != 1 and d.strides[axis] != step:
            return False
        step *= d.shape[axis]
    return True


def is_contiguous(d: Any, memory_format: Any = devices.contiguous_format) -> bool:
    """Whether the elements of `d` lie in memory in the order of `memory_format`."""
    if memory_format in (devices.contiguous_format, devices.preserve_format):
        return bool(d.flags.c_contiguous)
    rank = 4 if memory_format is devices.channels_last else 5
    return d.ndim == rank and _dense_in(d, (1, *range(rank - 1, 1, -1), 0))


def with_format(d: Any, memory_format: Any) -> Any:
    """`d` in the memory order of `memory_format` (itself if it is so already)."""
    if is_contiguous(d, memory_format):
        return d
    if memory_format is devices.contiguous_format:
        return np.ascontiguousarray(d)
    rank = 4 if memory_format is devices.channels_last else 5
    if d.ndim != rank:
        raise RuntimeError(
            f"required rank {rank} tensor to use {memory_format} format, got {d.ndim} dimensions"
        )
    last = np.ascontiguousarray(np.moveaxis(d, 1, -1))
    return np.moveaxis(last, -1, 1)


def in_memory_order(d: Any) -> Any:
    """A view of `d` with its dimensions in the order in which they lie in memory."""
    if d.flags.c_contiguous:
        return d
    return d.transpose(sorted(range(d.ndim), key=lambda axis: -d.strides[axis]))
