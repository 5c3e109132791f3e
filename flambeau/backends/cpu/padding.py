"""Padding the last dimensions: with a number, or with what lies within the borders."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...compiler import allocator, jit, threads
from ...compiler.kernel import UNIT
from . import layout_kernels as kernels
from .indexing import WORDS
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
    shape, seen, place, grows = _windows(x.shape, edges)
    if not grows:
        part = x[seen]
        return part.copy() if part.flags.c_contiguous else contiguous(part)
    if x.size and math.prod(shape) >= _FEW and x.flags.aligned:
        run = _padder(x.dtype, x.shape, edges, mode)
        if run is not None:
            return run(contiguous(x), np.asarray(value).astype(x.dtype).reshape(1))
    if mode == "constant":
        out = np.empty(shape, x.dtype)
        out.fill(np.asarray(value).astype(x.dtype)[()])
        out[place] = x[seen]
        return out
    for axis, (before, after) in enumerate(edges, x.ndim - len(edges)):
        if before or after:
            x = x.take(places(x.shape[axis], before, after, mode), axis)
    return x.copy()


@functools.lru_cache(maxsize=1024)
def _windows(shape: tuple[int, ...], edges: Edges) -> tuple[Any, Any, Any, bool]:
    """The padded shape, the keys to what is kept before and after, and whether anything is new."""
    lead = len(shape) - len(edges)
    padded, grows = list(shape[:lead]), False
    seen, place = [slice(None)] * lead, [slice(None)] * lead
    for n, (before, after) in zip(shape[lead:], edges, strict=True):
        size = n + before + after
        padded.append(size)
        seen.append(slice(max(0, -before), max(0, n - max(0, -after))))
        place.append(slice(max(0, before), max(0, size - max(0, after))))
        grows = grows or before > 0 or after > 0
    return tuple(padded), tuple(seen), tuple(place), grows


@functools.lru_cache(maxsize=256)
def _padder(
    kind: Any, shape: tuple[int, ...], edges: Edges, mode: str
) -> Callable[[Array, Array], Array] | None:
    """What pads a contiguous array of this shape and dtype; None where no kernel serves.

    It takes the array and one element to fill with.
    """
    if kind.itemsize not in WORDS or kind.kind == "O" or not kind.isnative or not jit.available():
        return None
    lead, sizes = shape[: len(shape) - len(edges)], shape[len(shape) - len(edges) :]
    rows, columns, begin, end, shift = _tables(sizes, edges, mode)
    padded = (*lead, *(n + a + b for n, (a, b) in zip(sizes, edges, strict=True)))
    items, width = math.prod(lead) * len(rows), len(columns)
    numbers = math.prod(sizes[:-1]), len(rows), sizes[-1], width, begin, end, shift
    word = np.empty(1, WORDS[kind.itemsize])
    launch = kernels.pad_rows.prepare(word, word, word, rows, columns, *numbers, as_words=True)

    def run(x: Array, fill: Array) -> Array:
        allocator.prepare(items * width * kind.itemsize)
        out = np.empty(padded, kind)
        chunks, share = threads.split(items, 2 * width * UNIT)
        launch(chunks, items, share, x, out, fill, rows, columns, *numbers)
        return out

    return run


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
