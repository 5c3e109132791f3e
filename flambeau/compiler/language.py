"""What a kernel may say: the names of the loop language, each an ordinary Python function too.

A kernel is a Python function over arrays and numbers, restricted to loops, branches, arithmetic and
the names below. `kernel.kernel` compiles it; called as it stands it computes the same, slowly, on
flat NumPy arrays, so that a debugger can walk through it.

    @kernel
    def scale(first: int, last: int, x: Array[T], out: Array[T], columns: int, by: float) -> None:
        for row in range(first, last):
            source, target = x[row * columns :], out[row * columns :]
            for j in simd(columns):
                target[j] = source[j] * by

- Arrays are flat; ``x[i]`` is element ``i`` and ``x[k:]`` the same memory from element ``k`` on.
  Nothing checks bounds. Arrays of one call must not overlap where one of them is written.
- ``T`` and ``S`` stand for the element types of the arrays a call brings; others are fixed.
  Elements are computed with in the *compute type*: float for float16, bfloat16 and float32, double
  for float64, 64-bit integers for all integers, truth values for bool.
- A variable keeps the type of its first value. ``0.0`` is of T's compute type; ``f64(0.0)`` says
  double.
- `simd` promises that iterations are independent (none writes an element that another one reads
  or writes) but for sums (``total += ...``), products and `larger`/`smaller` of variables, whose
  order may change.
- `unrolled` repeats its body when the kernel is compiled; its variable is a constant there. A
  `Static` parameter is a constant too, and an ``if`` over constants leaves one branch.
- Functions marked `kernel.inline` may be called.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any, Generic, TypeVar

import numpy as np

Element = TypeVar("Element")
Static = Any
inf = math.inf
nan = math.nan


class Array(Generic[Element]):
    """A parameter that is an array of `Element`; ``Array[T] | None`` may be left out."""

    def __getitem__(self, at: Any) -> Any:
        raise NotImplementedError

    def __setitem__(self, at: Any, value: Any) -> None:
        raise NotImplementedError


class T(float):
    """The first element type of a call; as a function, the conversion to its compute type."""


class S(float):
    """The second element type of a call; as a function, the conversion to its compute type."""


class F32(float):
    """float32 elements."""


class F64(float):
    """float64 elements."""


class I64(int):
    """int64 elements."""


class I32(int):
    """int32 elements."""


class U8(int):
    """uint8 elements."""


class I8(int):
    """int8 elements."""


class Bool(int):
    """Truth values of one byte."""


def simd(*bounds: int) -> range:
    """A range whose iterations may run side by side."""
    return range(*bounds)


def unrolled(*bounds: int) -> range:
    """A range of constants, repeated at compile time."""
    return range(*bounds)


def local(element: Any, size: int) -> Any:
    """A small array of the kernel's own (`size` is a constant), not initialised."""
    return np.zeros(size, {F64: np.float64, I64: np.int64, F32: np.float32}.get(element, float))


def elements_at(like: Any, address: int, count: int) -> Any:
    """The `count` elements in memory from `address` on, of the type of `like`'s."""
    held = (ctypes.c_byte * (count * like.itemsize)).from_address(int(address))
    return np.frombuffer(held, like.dtype)


def copy(target: Any, source: Any, count: int) -> None:
    """``target[:count] = source[:count]``, of one element type and apart, at the speed of memory.

    A call costs some nanoseconds, so rows of few elements are better copied by a loop.
    """
    target[:count] = source[:count]


def f32(x: Any) -> Any:
    """`x` as float32."""
    return np.float32(x)


def f64(x: Any) -> Any:
    """`x` as float64."""
    return np.float64(x)


def exp(x: Any) -> Any:
    """e**x."""
    return np.exp(x)


def decay(x: Any) -> Any:
    """e**x where x is no larger than 80; faster than `exp`, and 0 for results below 1.2e-38."""
    return np.exp(x)


def log(x: Any) -> Any:
    """The natural logarithm."""
    return np.log(x)


def sqrt(x: Any) -> Any:
    """The square root."""
    return np.sqrt(x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return np.tanh(x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + e**-x)."""
    return 1 / (1 + np.exp(-x))


def erf(x: Any) -> Any:
    """The error function."""
    return math.erf(x)


def floor(x: Any) -> Any:
    """The largest integral number not above `x`, as a float."""
    return np.floor(x)


def ceil(x: Any) -> Any:
    """The smallest integral number not below `x`, as a float."""
    return np.ceil(x)


def nearest(x: Any) -> Any:
    """The nearest integral number, halves to even, as a float."""
    return np.rint(x)


def libm(function: str, *arguments: Any) -> Any:
    """A function of the C library, of doubles, to the last bit (`exp` and its kin are faster)."""
    return getattr(math, function)(*arguments)


def rounded(x: Any) -> Any:
    """`x`; a product so marked is rounded before it is added, never fused with the sum."""
    return x


def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""
    return a * b + c


def maximum(a: Any, b: Any) -> Any:
    """The larger number; NaN if either is."""
    return np.maximum(a, b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller number; NaN if either is."""
    return np.minimum(a, b)


def larger(a: Any, b: Any) -> Any:
    """The larger number, unspecified if either is NaN; the fold of a maximum in `simd` loops."""
    return np.fmax(a, b)


def smaller(a: Any, b: Any) -> Any:
    """The smaller number, unspecified if either is NaN; the fold of a minimum in `simd` loops."""
    return np.fmin(a, b)


def isnan(x: Any) -> Any:
    """Whether `x` is NaN."""
    return x != x


def select(condition: Any, a: Any, b: Any) -> Any:
    """`a` if `condition` else `b`; both are computed."""
    return a if condition else b


def shift_right(x: Any, by: int) -> Any:
    """The 64 bits of `x`, moved towards the low end; zeros come in."""
    return (int(x) & 0xFFFFFFFFFFFFFFFF) >> by


def bits(x: Any) -> Any:
    """The bit pattern of a float, as a signed integer of its width."""
    return x.view(np.int32 if x.dtype == np.float32 else np.int64)


def multiply_block(
    a: Any, a_row: int, a_col: int, b: Any, b_row: int, c: Any, c_row: int, m: int, n: int, k: int,
    accumulate: int,
) -> None:  # fmt: skip
    """C = A B, or C += A B if `accumulate`: (m, k) by (k, n), with row strides in elements.

    A has any strides, rows of B and C are contiguous; all are float32 or all float64.
    """
    step = a.itemsize
    left = np.lib.stride_tricks.as_strided(a, (m, k), (a_row * step, a_col * step))
    right = np.lib.stride_tricks.as_strided(b, (k, n), (b_row * step, step))
    result = np.lib.stride_tricks.as_strided(c, (m, n), (c_row * step, step))
    result[...] = left @ right + (result if accumulate else 0)


def multiply_pairs(
    a: Any, a_row: int, a_col: int, b: Any, b_row: int, c: Any, c_row: int, m: int, n: int, k: int,
    accumulate: int,
) -> None:  # fmt: skip
    """`multiply_block` of words of two bfloat16, in float32 arrays: C adds up both products.

    Only for CPUs that multiply such words.
    """

    def halves(x: Any, row: int, column: int, shape: tuple[int, int]) -> Any:
        words = np.lib.stride_tricks.as_strided(x, shape, (row * x.itemsize, column * x.itemsize))
        bits = np.ascontiguousarray(words).view(np.uint32)
        return ((bits << 16).view(np.float32), (bits & 0xFFFF0000).view(np.float32))

    left, right = halves(a, a_row, a_col, (m, k)), halves(b, b_row, 1, (k, n))
    result = np.lib.stride_tricks.as_strided(c, (m, n), (c_row * c.itemsize, c.itemsize))
    total = sum(x @ y for x, y in zip(left, right, strict=True))
    result[...] = total + (result if accumulate else 0)


def transpose_block(
    source: Any, source_row: int, result: Any, result_row: int, rows: int, columns: int
) -> None:
    """result[j, i] = source[i, j] of (rows, columns), with row strides in elements."""
    step = source.itemsize
    given = np.lib.stride_tricks.as_strided(source, (rows, columns), (source_row * step, step))
    turned = np.lib.stride_tricks.as_strided(result, (columns, rows), (result_row * step, step))
    turned[...] = given.T


def truncated(x: Any) -> Any:
    """The float `x` as an integer, towards zero; unspecified where 64 bits do not hold it."""
    return int(x)


def transpose_tile(source: Any, step: int, target: Any, to_step: int, size: int) -> None:
    """target[i * to_step + j] = source[j * step + i] for i, j below the power of two `size`."""
    for i in range(size):
        for j in range(size):
            target[i * to_step + j] = source[j * step + i]
