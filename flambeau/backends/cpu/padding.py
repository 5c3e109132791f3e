"""Padding the last dimensions: with a number, or with what lies within the borders."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ...compiler import allocator, jit
from . import layout_kernels as kernels
from .indexing import words_of
from .layout import contiguous

Array = Any
Edges = tuple[tuple[int, int], ...]
"""(before, after) of the last dimensions; below zero they crop."""

_FEW = 2048


def places(size: int, before: int, after: int, mode: str) -> Array:
    """The input position that each position of the padded axis shows; -1 where it is filled.

    ``mode`` is "constant", "reflect", "replicate" or "circular".
    """
    at = np.arange(-before, size + after)
    if mode == "constant":
        return np.where((at < 0) | (at >= size), -1, at)
    if mode == "replicate":
        return np.clip(at, 0, size - 1)
    if mode == "circular":
        first, last = max(0, -before), size - max(0, -after)  # what is left wraps around
        return first + (at - first) % max(last - first, 1)
    at = np.abs(at)
    return np.where(at >= size, 2 * (size - 1) - at, at)


def pad(x: Array, edges: Edges, mode: str, value: Any = 0) -> Array:
    """`x` with its last dimensions padded; sizes and edges must have been checked."""
    lead, sizes = x.shape[: x.ndim - len(edges)], x.shape[x.ndim - len(edges) :]
    counts = tuple(n + sum(e) for n, e in zip(sizes, edges, strict=True))
    shape = (*lead, *counts)
    if all(before <= 0 and after <= 0 for before, after in edges):
        part = x[(..., *(slice(-a, n + b) for n, (a, b) in zip(sizes, edges, strict=True)))]
        return part.copy() if part.flags.c_contiguous else contiguous(part)
    words = words_of(contiguous(x))
    fill = np.asarray(value).astype(x.dtype)
    if math.prod(shape) < _FEW or not x.size or words is None or not jit.available():
        return _pad_reference(x, edges, mode, fill)
    rows, columns, begin, end, shift = _tables(sizes, edges, mode)
    allocator.prepare(math.prod(shape) * x.itemsize)
    out = np.empty(shape, words.dtype)
    kernels.pad_rows(
        math.prod(lead) * len(rows), len(columns), words, out, fill.reshape(1).view(words.dtype),
        rows, columns, math.prod(sizes[:-1]), len(rows), sizes[-1], len(columns), begin, end, shift,
    )  # fmt: skip
    return out.view(x.dtype)


@functools.lru_cache(maxsize=256)
def _tables(sizes: tuple[int, ...], edges: Edges, mode: str) -> Any:
    """The places of rows and columns, and the columns that only move: begin, end, shift."""
    rows = np.zeros(1, np.int64)
    for n, (before, after) in zip(sizes[:-1], edges[:-1], strict=True):
        here = places(n, before, after, mode)
        rows = np.where((rows[:, None] < 0) | (here < 0), -1, rows[:, None] * n + here).reshape(-1)
    before, after = edges[-1]
    columns = places(sizes[-1], before, after, mode)
    begin, shift = max(0, before), max(0, -before)
    end = max(begin, len(columns) - max(0, after))
    return rows, columns, min(begin, len(columns)), min(end, len(columns)), shift


def _pad_reference(x: Array, edges: Edges, mode: str, fill: Array) -> Array:
    for axis, (before, after) in enumerate(edges, x.ndim - len(edges)):
        if before or after:
            at = places(x.shape[axis], before, after, mode)
            found = x.take(np.maximum(at, 0), axis) if x.shape[axis] else None
            if mode == "constant":
                shape = (*x.shape[:axis], len(at), *x.shape[axis + 1 :])
                inside = (at >= 0).reshape((-1,) + (1,) * (x.ndim - axis - 1))
                x = np.broadcast_to(fill, shape) if found is None else np.where(inside, found, fill)
            else:
                x = found
    return np.array(x)
