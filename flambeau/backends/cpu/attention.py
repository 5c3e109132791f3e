"""Attention of queries over keys and values, on NumPy arrays of single or double precision.

Arrays are (batch, heads, length, size) with any strides; a key head serves as many query heads as
their numbers say. The kernels read them where they lie. The NumPy path writes the scores out.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ...compiler import allocator, jit, threads
from .attention_kernels import KEYS, attend, attend_alone, attend_back

Array = Any

_FEW = 2
"""Queries up to which each is on its own."""
_UNITS = 8
"""Tasks into which a gradient falls, at least, if it has so many tiles."""
_KINDS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})


def attention(
    q: Array, k: Array, v: Array, mask: Array | None, causal: bool, scale: float
) -> tuple[Array, Array]:
    """``softmax(q @ k.T * scale + mask) @ v``, and how to compute the weights again.

    That is, for each query, the largest score and one over the sum of exponentials: an array
    (2, batch, heads, queries).
    The mask has the dtype of the rest and broadcasts to (batch, heads, queries, keys); with
    `causal`, query i sees the keys up to i. A query that sees nothing gets zeros.
    """
    if not _is_compiled(q, k, v):
        return reference_attention(q, k, v, mask, causal, scale)
    q, k, v = _rows(q), _rows(k), _rows(v)
    mask = _spread(mask, q, k)
    batch, heads, queries, depth = q.shape
    keys, width = v.shape[2:]
    out = _like(q, width)
    sums = np.empty((2, batch, heads, queries), q.dtype)
    workers = threads.get_num_threads()
    if queries <= _FEW:
        attend_alone(
            batch * heads * queries, 2 * keys * (depth + width), q, k, v, mask, out, *sums,
            np.empty(workers * keys, q.dtype), _layout(q, k, v, mask, out), heads,
            heads // k.shape[1], queries, keys, depth, width, scale, causal,
        )  # fmt: skip
        return out, sums
    tile = 64 if queries > 16 else 16
    parts = -(-queries // tile)
    attend(
        batch * heads * parts, tile * keys * (depth + width) // 32,
        q, k, v, mask, out, *sums,
        np.empty(workers * depth * tile, q.dtype), *_tiles(1, q, mask, tile, workers),
        _layout(q, k, v, mask, out), heads, heads // k.shape[1], queries, keys, depth, width,
        scale, causal, tile,
    )  # fmt: skip
    return out, sums


def attention_back(
    grad: Array, q: Array, k: Array, v: Array, mask: Array | None, out: Array, sums: Array,
    causal: bool, scale: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The gradients of `attention` for queries, keys and values."""
    if not _is_compiled(q, k, v):
        return reference_attention_back(grad, q, k, v, mask, out, sums, causal, scale)
    grad, q, k, v, out = (_rows(x) for x in (grad, q, k, v, out))
    mask = _spread(mask, q, k)
    batch, heads, queries, depth = q.shape
    own, keys, width = v.shape[1:]
    tile = 64 if queries > 16 else 16
    # Fixed by the sizes alone: the sums of parts must not depend on the number of threads.
    splits = max(1, min(_UNITS // (batch * own), heads // own * queries // (2 * tile)))
    grads = _like(q, depth), _parts(k, depth, splits), _parts(v, width, splits)
    workers = threads.get_num_threads()
    attend_back(
        batch * own * splits, heads // own * queries * keys * (depth + width) // (12 * splits),
        q, k, v, mask, out, grad, *sums, *grads,
        np.empty(workers * depth * tile, q.dtype), np.empty(workers * width * tile, q.dtype),
        *_tiles(2, q, mask, tile, workers), _layout(q, k, v, mask, out, grad, *grads),
        heads, heads // own, queries, keys, depth, width, batch, splits, scale, causal, tile,
    )  # fmt: skip
    if splits == 1:
        return grads
    q_grad, *others = grads
    k_grad, v_grad = (np.add.reduce(x.reshape(splits, batch, *x.shape[1:]), 0) for x in others)
    return q_grad, k_grad, v_grad


def _parts(x: Array, size: int, splits: int) -> Array:
    """A new array like `x`, or for each of some parts of the queries one after the other."""
    if splits == 1:
        return _like(x, size)
    shape = (splits * x.shape[0], *x.shape[1:3], size)
    allocator.prepare(math.prod(shape) * x.itemsize)
    return np.empty(shape, x.dtype)


def _is_compiled(q: Array, k: Array, v: Array) -> bool:
    """Whether the kernels serve these; ValueError for shapes that do not go together."""
    batch, own, _, depth = k.shape
    fits = q.shape[0] == batch and q.shape[3] == depth and v.shape[:3] == k.shape[:3]
    if not fits or (own and q.shape[1] % own):
        raise ValueError(f"attention of {q.shape} over {k.shape} and {v.shape}")
    alike = q.dtype == k.dtype == v.dtype
    return alike and q.dtype in _KINDS and bool(q.size and k.size and v.size) and jit.available()


def _rows(x: Array) -> Array:
    """`x` with contiguous rows and aligned elements."""
    whole = all(s % x.itemsize == 0 for s in x.strides)
    if whole and x.flags.aligned and (x.strides[-1] == x.itemsize or x.shape[-1] == 1):
        return x
    return np.ascontiguousarray(x)


def _spread(mask: Array | None, q: Array, k: Array) -> Array | None:
    if mask is None:
        return None
    shape = (*q.shape[:3], k.shape[2])
    if mask.ndim and mask.shape[-1] != shape[-1]:  # rows of a mask are read as they lie
        mask = np.broadcast_to(mask, (*mask.shape[:-1], shape[-1]))
    if not mask.ndim:
        mask = np.broadcast_to(mask, shape[-1:])
    return np.broadcast_to(_rows(mask), shape)


def _like(x: Array, size: int) -> Array:
    """A new array of rows of `size`, whose dimensions follow each other in memory as those of `x`.

    Heads split off a row of a matrix give a result that can be merged again without a copy.
    """
    shape = (*x.shape[:3], size)
    allocator.prepare(x.dtype.itemsize * x.shape[0] * x.shape[1] * x.shape[2] * size)
    if abs(x.strides[1]) < abs(x.strides[2]) and x.shape[1] > 1:
        return np.empty((shape[0], shape[2], shape[1], size), x.dtype).swapaxes(1, 2)
    return np.empty(shape, x.dtype)


def _tiles(count: int, q: Array, mask: Array | None, tile: int, workers: int) -> list[Any]:
    """Memory for `count` tiles of scores, and for a mask's if there is one, of every thread."""
    size = workers * KEYS * tile
    made: list[Any] = [np.empty(size, q.dtype) for _ in range(count)]
    return [*made, None if mask is None else np.empty(size, q.dtype)]


def _layout(*arrays: Array | None) -> Array:
    return _layout_of(tuple([None if a is None else a.strides for a in arrays]), arrays[0].itemsize)


@functools.lru_cache(1024)
def _layout_of(strides: tuple[Any, ...], size: int) -> Array:
    rows = [(0, 0, 0) if s is None else tuple(n // size for n in s[:3]) for s in strides]
    return np.array(rows, np.int64).ravel()


# NumPy's path -------------------------------------------------------------------------------------


def _scores(q: Array, k: Array, mask: Array | None, causal: bool, scale: float) -> Array:
    scores = np.matmul(q, k.swapaxes(-1, -2))
    scores *= q.dtype.type(scale)
    if mask is not None:
        scores += mask
    if causal:
        scores[..., ~np.tri(*scores.shape[-2:], dtype=np.bool_)] = -np.inf
    return scores


def reference_attention(
    q: Array, k: Array, v: Array, mask: Array | None, causal: bool, scale: float
) -> tuple[Array, Array]:
    """`attention` by NumPy."""
    group = q.shape[1] // k.shape[1] if k.shape[1] else 1
    weights = _scores(q, _repeat(k, group), mask, causal, scale)
    high = weights.max(-1, keepdims=True, initial=-np.inf)
    high = np.where(high == -np.inf, 0, high).astype(q.dtype, copy=False)
    weights -= high
    np.exp(weights, out=weights)
    total = weights.sum(-1, keepdims=True)
    inverse = np.divide(1, total, out=np.zeros_like(total), where=total != 0)
    weights *= inverse
    out = np.matmul(weights, _repeat(v, group), out=_like(q, v.shape[-1]))
    return out, np.stack([high[..., 0], inverse[..., 0]])


def reference_attention_back(
    grad: Array, q: Array, k: Array, v: Array, mask: Array | None, out: Array, sums: Array,
    causal: bool, scale: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """`attention_back` by NumPy."""
    own, group = k.shape[1], q.shape[1] // k.shape[1] if k.shape[1] else 1
    weights, slopes = _slopes(grad, q, k, v, mask, out, sums, causal, scale)
    v_grad = np.matmul(weights.swapaxes(-1, -2), grad)
    slopes *= q.dtype.type(scale)
    q_grad = np.matmul(slopes, _repeat(k, group))
    k_grad = np.matmul(slopes.swapaxes(-1, -2), q)
    if group > 1:
        split = (k.shape[0], own, group)
        k_grad, v_grad = (x.reshape(*split, *x.shape[2:]).sum(2) for x in (k_grad, v_grad))
    return q_grad, k_grad, v_grad


def attention_mask_back(
    grad: Array, q: Array, k: Array, v: Array, mask: Array | None, out: Array, sums: Array,
    causal: bool, scale: float,
) -> Array:  # fmt: skip
    """The gradient of `attention` for its mask, of the scores' shape."""
    return _slopes(grad, q, k, v, mask, out, sums, causal, scale)[1]


def _slopes(
    grad: Array, q: Array, k: Array, v: Array, mask: Array | None, out: Array, sums: Array,
    causal: bool, scale: float,
) -> tuple[Array, Array]:  # fmt: skip
    """The weights, and the gradient of the masked scores."""
    group = q.shape[1] // k.shape[1] if k.shape[1] else 1
    weights = _scores(q, _repeat(k, group), mask, causal, scale)
    weights -= sums[0, ..., None]
    np.exp(weights, out=weights)
    weights *= sums[1, ..., None]
    slopes = np.matmul(grad, _repeat(v, group).swapaxes(-1, -2))
    slopes -= (grad * out).sum(-1, keepdims=True)
    slopes *= weights
    return weights, slopes


def _repeat(x: Array, group: int) -> Array:
    return np.repeat(x, group, 1) if group > 1 else x
