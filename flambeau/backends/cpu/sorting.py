"""Sorting and selecting: by digits in compiled kernels, else NumPy.

NaN counts as the largest element, and equal elements keep their order.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...compiler import threads
from ...compiler.kernel import serves
from . import sorting_kernels as kernels
from .indexing import take_along

Array = Any

_LONG = 1 << 15
"""Elements of rows that are shared among threads."""
_MANY = 2048
"""Elements from which a kernel picks them."""
_BLOCK = 1 << 14
_FEW, _SMALL = 64, 512
"""Elements below which NumPy sorts them, and below which to sort them all is quickest."""
# The most elements of a selection that is kept in order while a row is read.
_MOST = 64


class _Keys(NamedTuple):
    """What a kernel must know to turn elements into keys of `bits` bits."""

    kind: str
    bits: int
    low: int = 0
    high: int = 0

    def shift(self, count: int) -> int:
        """Where a word's key begins if `count` elements are numbered; 0 if they do not fit."""
        width = max(1, (count - 1).bit_length())
        return width if self.bits + width <= 63 else 0

    @property
    def passes(self) -> int:
        """Digits of a key."""
        return -(-self.bits // 8)


def _is_for_kernels(x: Array) -> bool:
    return x.size >= _FEW and serves(x) and x.dtype != np.uint64


def _keys(x: Array) -> _Keys | None:
    """How to turn the elements of `x` into keys; None if no kernel serves."""
    if not _is_for_kernels(x):
        return None
    if x.dtype.kind == "b":
        return _Keys("integer", 1, 0, 1)
    if x.dtype.kind in "iu":
        low, high = int(x.min()), int(x.max())
        bits = (high - low).bit_length()
        return _Keys("wide", 64) if bits > 62 else _Keys("integer", max(1, bits), low, high)
    return _Keys("double", 64) if x.dtype.itemsize == 8 else _Keys("float", 32)


def sort_rows(x: Array, descending: bool) -> tuple[Array, Array]:
    """Each row of `x` (rows, columns) in its stable order, and that order, int64."""
    rows, n = x.shape
    if n <= kernels.SHORT and _is_for_kernels(x):
        given = x.view(np.uint8) if x.dtype == np.bool_ else x
        values, order = np.empty(x.shape, given.dtype), np.empty(x.shape, np.int64)
        kernels.rank_rows(rows, n * (n + 10), given, values, order, n, descending)
        return values if given is x else values.view(np.bool_), order
    keys = _keys(x)
    shift = keys.shift(n) if keys else 0
    if keys and n >= _LONG and rows < 8:
        return picked(x, np.stack([_order_long(line, keys, descending) for line in x]))
    if not keys or not shift:
        return picked(x, _order_reference(x, descending))
    values, order = np.empty(x.shape, x.dtype), np.empty(x.shape, np.int64)
    scratch = np.empty((threads.get_num_threads(), n), np.int64)
    kernels.sort_rows(
        rows, 100 * n, x, values, order, scratch, n, keys.low, keys.high, shift, keys.passes,
        keys.kind, descending,
    )  # fmt: skip
    return values, order


def picked(x: Array, order: Array) -> tuple[Array, Array]:
    """The elements of each row of `x` at the places in `order`, and these."""
    if order.size >= _MANY:
        values = take_along(x, order, 1)
        assert values is not None
        return values, order
    rows, n = x.shape
    places = order if rows == 1 else order + np.arange(0, rows * n, n)[:, None]
    return x.reshape(-1).take(places), order


def _order_reference(x: Array, descending: bool) -> Array:
    if not descending:
        return np.argsort(x, -1, kind="stable")
    # Sorting the reversed sequence and reversing the result keeps equal elements in order.
    turned = np.argsort(np.flip(x, -1), -1, kind="stable")
    return np.ascontiguousarray(np.flip(x.shape[-1] - 1 - turned, -1))


def _order_long(x: Array, keys: _Keys, descending: bool) -> Array:
    """The stable order of a vector, whose blocks are shared among threads."""
    n = x.size
    shift = keys.shift(n)
    words, target = np.empty(n, np.int64), np.empty(n, np.int64)
    numbers, other = (None, None) if shift else (np.empty(n, np.int64), np.empty(n, np.int64))
    kernels.make_words(n, 4, x, words, numbers, keys.low, keys.high, shift, keys.kind, descending)
    blocks = -(-n // _BLOCK)
    counts = np.empty((blocks, kernels.DIGITS), np.int64)
    for at in range(shift, shift + keys.bits, 8):
        kernels.count_digits(blocks, 16 * _BLOCK, words, counts, n, _BLOCK, at)
        if counts.sum(0).max() == n:
            continue
        # Elements with a smaller digit come first, and of the same digit those of earlier blocks.
        ends = np.cumsum(counts.T).reshape(counts.T.shape).T
        places = np.ascontiguousarray(ends - counts)
        kernels.move_by_digits(
            blocks, 32 * _BLOCK, words, numbers, target, other, places, n, _BLOCK, at
        )
        words, target, numbers, other = target, words, other, numbers
    if numbers is not None:
        return numbers
    kernels.keep_numbers(n, 1, words, (1 << shift) - 1)
    return words


def smallest(x: Array, k: int, largest: bool) -> tuple[Array, Array]:
    """The `k` smallest (or largest) elements of each row, in order, and their numbers, int64."""
    rows, n = x.shape
    if x.size < _SMALL or k > _MOST or 2 * k > n:
        values, order = sort_rows(x, largest)
        return np.ascontiguousarray(values[:, :k]), np.ascontiguousarray(order[:, :k])
    keys = _keys(x)
    shift = keys.shift(n) if keys else 0
    if not keys or not shift:
        return picked(x, _smallest_reference(x, k, largest))
    block = n if rows >= 8 else max(1024, -(-n // 8))
    blocks = -(-n // block)
    best = np.empty((rows, blocks, k + 1), np.int64)
    kernels.smallest_words(
        rows * blocks, 4 * block, x, best, n, block, k, keys.low, keys.high, shift, keys.kind,
        largest,
    )  # fmt: skip
    found = best[:, :, :k].reshape(rows, blocks * k)
    if blocks > 1:
        found = np.sort(found, 1)[:, :k]
    return picked(x, found & ((1 << shift) - 1))


def _smallest_reference(x: Array, k: int, largest: bool) -> Array:
    n = x.shape[1]
    place = np.argpartition(x, n - k if largest else k - 1, 1)
    place = place[:, n - k :] if largest else place[:, :k]
    place = np.sort(place, 1)  # equal elements come out in the order of their indices
    order = _order_reference(np.take_along_axis(x, place, 1), largest)
    return np.take_along_axis(place, order, 1)


def nth(x: Array, rank: int) -> Array:
    """The number of each row's element that is `rank`-th from the smallest, int64."""
    found = _select(x, rank, "rank")
    return np.argpartition(x, rank, 1)[:, rank] if found is None else found


def median(x: Array, ignore_nan: bool) -> Array:
    """The number of each row's lower median, or of its first NaN; or of what is not NaN, int64."""
    found = _select(x, 0, "nanmedian" if ignore_nan else "median")
    if found is not None:
        return found
    order = np.argsort(x, 1, kind="stable")
    n = x.shape[1]
    if x.dtype.kind != "f":
        return order[:, (n - 1) // 2]
    known = np.count_nonzero(~np.isnan(x), axis=1, keepdims=True)
    # NaN sorts last, so the first NaN is the element after all known ones.
    rank = np.maximum(known - 1, 0) // 2 if ignore_nan else np.where(known < n, known, (n - 1) // 2)
    return np.take_along_axis(order, rank, 1)[:, 0]


def _select(x: Array, rank: int, nan: str) -> Array | None:
    keys = _keys(x)
    rows, n = x.shape
    if keys is None or not keys.shift(n):
        return None
    out = np.empty(rows, np.int64)
    scratch = np.empty((threads.get_num_threads(), n), np.int64)
    kernels.select_rows(
        rows, 40 * n, x, out, scratch, n, rank, keys.low, keys.high, keys.shift(n), keys.passes,
        keys.kind, nan,
    )  # fmt: skip
    return out


def mode(x: Array) -> Array:
    """The number of the last of each row's most frequent elements (the smallest of several)."""
    ranked, order = sort_rows(x, False)
    rows, n = x.shape
    if _is_for_kernels(x):
        ends = np.empty(rows, np.int64)
        kernels.longest_runs(rows, 20 * n, ranked, order, ends, n)
        return ends
    place = np.arange(n)
    goes_on = np.zeros(x.shape, bool)
    np.equal(ranked[:, 1:], ranked[:, :-1], out=goes_on[:, 1:])
    run = place - np.maximum.accumulate(np.where(goes_on, 0, place), 1)
    # argmax finds the first longest run, which has the smallest value.
    return order[np.arange(rows), run.argmax(1)]


def unique(x: Array) -> tuple[Array, Array, Array]:
    """The sorted unique elements of a vector, of each element their number, and their counts."""
    if _keys(x) is None:
        values, inverse, counts = np.unique(
            x, return_inverse=True, return_counts=True, equal_nan=False
        )
        return values, inverse.astype(np.int64), counts.astype(np.int64)
    ranked, order = (part[0] for part in sort_rows(x.reshape(1, -1), False))
    inverse, starts, found = (np.empty(m, np.int64) for m in (x.size, x.size, 1))
    kernels.number_runs(1, 0, ranked, order, inverse, starts, found, x.size)
    starts = starts[: found[0]]
    counts = np.empty(starts.size, np.int64)
    np.subtract(starts[1:], starts[:-1], out=counts[:-1])
    counts[-1] = x.size - starts[-1]
    return ranked[starts], inverse, counts


def search(table: Array, values: Array, right: bool, kind: Any) -> Array:
    """Where values would be inserted into ascending rows, in `kind` (int32 or int64).

    `table` is one row for all values, or has a row (*, n) for each row of values (*, m).
    """
    side = "right" if right else "left"
    same = table.dtype == values.dtype and table.dtype != np.uint64 and values.ndim
    if not same or not table.size or values.size < _FEW or not serves(table, values):
        return _search_reference(table, values, side, kind)
    out = np.empty(values.shape, kind)
    n = table.shape[-1]
    count = values.size if table.ndim == 1 else values.shape[-1]
    block = 1024
    items = values.size // count * -(-count // block)
    kernels.search_rows(
        items, 16 * min(block, count) * n.bit_length(), table, values, out, n, count, block,
        0 if table.ndim == 1 else n, n.bit_length() - 1, right,
    )  # fmt: skip
    return out


def _search_reference(table: Array, values: Array, side: Any, kind: Any) -> Array:
    if table.ndim == 1:
        return np.asarray(np.searchsorted(table, values, side)).astype(kind)
    out = np.empty(values.shape, kind)
    if out.size:
        lines = values.reshape(-1, values.shape[-1])
        rows = table.reshape(math.prod(table.shape[:-1]), table.shape[-1])
        for place, row, line in zip(out.reshape(lines.shape), rows, lines, strict=True):
            place[...] = np.searchsorted(row, line, side)
    return out
