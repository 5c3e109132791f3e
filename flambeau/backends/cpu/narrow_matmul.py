"""Matrix products of float16, bfloat16 and int8.

bfloat16 and int8 are multiplied two and four at a time where the CPU has instructions for that
(AVX512_BF16, AVX512_VNNI): a float32 then stands for that many neighbours along the depth, so that
packing and blocking are those of float32. Elsewhere operands are widened. Sums are float32 or
int32; results are rounded once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from ...compiler import jit, target
from . import narrow_kernels as kernels
from .matmul import Array, linear, matmul, multiply_words

_BFLOAT16, _SINGLE = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32)
# Sums of this many products of 8-bit integers are exact in float32.
_EXACT = 512
# Products of two numbers up to which a product is done in less time than words are made.
_FEW = 64**3


def prepare_matmul(a: Array, b: Array) -> Callable[..., Array]:
    """Return how to multiply arrays that look like these, of one dtype of half precision."""
    multiply = _pair_products if _has_pairs(a, b) else _wide_products

    def run(a: Array, b: Array, d: None = None, out: Array | None = None) -> Array:
        c = rounded(multiply(a, b), a.dtype)
        if out is None:
            return c
        out[...] = c
        return out

    return run


def prepare_linear(x: Array, w: Array, relu: bool) -> Callable[..., Array]:
    """Return how to compute ``x @ w.T + bias``, or the larger of that and 0."""
    pairs = _has_pairs(x, w.T)

    def run(x: Array, w: Array, bias: Array | None = None) -> Array:
        added = None if bias is None else widened(bias)
        if pairs:
            return rounded(_pair_products(x, w.T, added, relu), x.dtype)
        return rounded(linear(widened(x), widened(w), added, relu), x.dtype)

    return run


def int_matmul(a: Array, b: Array) -> Array:
    """Return the int32 product of an int8 or uint8 and an int8 matrix, exact but for overflow.

    >>> int_matmul(np.full((1, 2), -128, np.int8), np.full((2, 1), -128, np.int8))
    array([[32768]], dtype=int32)
    """
    exact = a.shape[-1] <= _EXACT
    if exact and a.shape[0] * b.size <= _FEW:
        return matmul(a.astype(_SINGLE), b.astype(_SINGLE)).astype(np.int32)
    if not (a.size and b.size and _has("avx512vnni")):
        wide: Any = np.float32 if exact else np.float64
        return matmul(a.astype(wide), b.astype(wide)).astype(np.int64).astype(np.int32)
    columns = _as_columns(b, 4)
    if a.dtype == np.uint8:
        return multiply_words("int8x4", _as_words(a, 4), columns, None).view(np.int32)
    # The instruction wants one unsigned factor: 128 is added to A, and taken from the result.
    words = _as_words(np.bitwise_xor(a, np.int8(-128)), 4)
    ones = np.full((1, 4 * words.shape[-1]), 128, np.uint8).view(np.float32)
    excess = multiply_words("int8x4", ones, columns, None).view(np.int32)[0]
    c = multiply_words("int8x4", words, columns, np.negative(excess).view(np.float32))
    return c.view(np.int32)


def widened(a: Array) -> Array:
    """Return `a` as float32."""
    return _converted(a, _SINGLE)


def rounded(a: Array, dtype: np.dtype) -> Array:
    """Return float32 numbers in a dtype of half precision."""
    return _converted(a, dtype)


def _converted(a: Array, dtype: np.dtype) -> Array:
    if not (a.size and a.flags.c_contiguous and _has("f16c")):
        return a.astype(dtype)
    out = np.empty(a.shape, dtype)
    kernels.convert(-(-a.size // kernels.BLOCK), kernels.BLOCK, a, out, a.size)
    return out


def _has(feature: str) -> bool:
    return jit.available() and _host_has(feature)


@functools.cache
def _host_has(feature: str) -> bool:
    return target.host().has(feature)


def _has_pairs(a: Array, b: Array) -> bool:
    """Whether the product runs on pairs of bfloat16; it is one that exists, of some size."""
    fits = (
        a.dtype == b.dtype == _BFLOAT16
        and a.ndim >= 1
        and b.ndim >= 1
        and a.shape[-1] == b.shape[-2 if b.ndim > 1 else 0]
        and a.size * b.size > 0
    )
    return fits and _has("avx512bf16")


def _wide_products(a: Array, b: Array) -> Array:
    return matmul(widened(a), widened(b))


def _pair_products(a: Array, b: Array, d: Array | None = None, relu: bool = False) -> Array:
    """The float32 product of bfloat16 arrays of any dimensions, plus the row `d`."""
    rows = a if a.ndim > 1 else a[None]
    columns = b if b.ndim > 1 else b[:, None]
    c = multiply_words("bfloat16x2", _as_words(rows, 2), _as_columns(columns, 2), d, relu)
    if a.ndim == 1:
        c = c[..., 0, :]
    return c if b.ndim > 1 else c[..., 0]


def _as_words(a: Array, group: int) -> Array:
    """Matrices (m, k) as words (m, k / group); a missing end of the depth is zero."""
    k = a.shape[-1]
    if not k % group and a.strides[-1] == a.itemsize:
        words = a.view(np.float32)
        if words.flags.aligned and not any(s % 4 for s in words.strides):
            return words
    padded = np.zeros((*a.shape[:-1], -(-k // group) * group), a.dtype)
    padded[..., :k] = a
    return padded.view(np.float32)


def _as_columns(b: Array, group: int) -> Array:
    """Matrices (k, n) as words (k / group, n)."""
    k, n = b.shape[-2:]
    if b.strides[-2] == b.itemsize:
        return _as_words(b.swapaxes(-1, -2), group).swapaxes(-1, -2)
    if k % group:
        padded = np.zeros((*b.shape[:-2], -(-k // group) * group, n), b.dtype)
        padded[..., :k, :] = b
        b = padded
    plain = np.ascontiguousarray(b).view(np.int8 if group == 4 else np.int16)
    words = np.empty((*b.shape[:-2], b.shape[-2] // group, n), np.float32)
    interleave = kernels.interleave_quads if group == 4 else kernels.interleave_pairs
    interleave(plain.size // (group * n), group * n, plain, words.view(plain.dtype), n)
    return words
