"""From the twister's state to words, and from words to numbers of a range and a dtype."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_FLOAT32 = np.dtype(np.float32)


def temper(key: Array) -> Array:
    """The 624 output words of a twister state (Matsumoto and Nishimura, 1998)."""
    y = key ^ (key >> np.uint32(11))
    y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
    y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
    y ^= y >> np.uint32(18)
    return y


def remainder(words: Array, span: int) -> Array:
    """`words` (uint32) modulo `span`, below 2**32."""
    if span & (span - 1) == 0:
        return words & np.uint32(span - 1)
    # NumPy divides by a scalar with SIMD, but takes remainders one by one.
    quotient = words // np.uint32(span)
    quotient *= np.uint32(span)
    return words - quotient


def narrow(values: Array, dtype: Any, bound: float = math.inf) -> Array:
    """Return `values` rounded to `dtype`; sixteen-bit types are reached by way of float32.

    No finite value is larger than `bound`.
    """
    if values.dtype is dtype:
        return values
    if dtype is _FLOAT32 and bound < 3e38:
        return values.astype(dtype)
    dtype = np.dtype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.itemsize < 4:
            values = values.astype(np.float32, copy=False)
        return values.astype(dtype, copy=False)


def below(values: Array, low: float, high: float) -> Array:
    """Values that rounding has carried up to `high` become `low`: the interval is half open."""
    if values.dtype.itemsize < 4 or (low, high) != (0.0, 1.0):
        reached = values == values.dtype.type(high)
        if reached.any():
            values[reached] = values.dtype.type(low)
    return values


def stays_below(low: float, span: float, high: float) -> bool:
    """Whether low + span u, rounded to float32, is surely below `high` for each uniform u."""
    last = (1.0 - 2.0**-24) * span + low
    return bool(np.float32(last + 1e-15 * (abs(last) + abs(low))) < np.float32(high))
