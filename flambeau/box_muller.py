"""Box-Muller on blocks of sixteen uniforms, bit for bit what PyTorch's vectorised kernels give.

A block holds eight values ``a`` and eight values ``b``; it becomes ``r cos t`` and ``r sin t`` with
``r = sqrt(-2 log(1 - a))`` and ``t = 2 pi b``. In float32 the logarithm, sine and cosine are the
Cephes single-precision polynomials (Moshier, 1992), each multiply-add rounded once. NumPy has no
fused multiply-add: the product of two floats is exact in float64, so a sum there, rounded back to
float32, is one (but for a double rounding, about once in 2**29).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

BLOCK = 16
_CHUNK = 2048  # blocks worked on at a time: their scratch stays in the second-level cache
_PAIRS = _CHUNK * BLOCK // 2

_f = np.float32
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_SIGN = np.int32(-(2**31))
LOG = tuple(
    float(_f(c))
    for c in (
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    )
)
LN2_LOW, LN2_HIGH = float(_f(-2.12194440e-4)), float(_f(0.693359375))
QUARTER_PI = (_f(-0.78515625), _f(-2.4187564849853515625e-4), float(_f(-3.77489497744594108e-8)))
SIN = tuple(float(_f(c)) for c in (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1))
COS = tuple(
    float(_f(c)) for c in (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
)
FOUR_OVER_PI, TWO_PI = _f(4 / math.pi), _f(2 * math.pi)


class _Scratch:
    """Work arrays for one chunk; `n` pairs of them are used."""

    def __init__(self, n: int) -> None:
        self.x, self.y, self.z, self.r = (np.empty(n, _f) for _ in range(4))
        self.x64, self.y64, self.z64, self.t64 = (np.empty(n) for _ in range(4))
        self.bits, self.k = np.empty(n, np.int32), np.empty(n, np.int32)


def _round(wide: Array, narrow: Array) -> None:
    """Round `wide` (float64) to float32, kept in both arrays."""
    narrow[...] = wide
    wide[...] = narrow


def _horner(s: _Scratch, argument: Array, coefficients: tuple[float, ...]) -> None:
    """s.y = s.y64 = the polynomial at `argument` (float64), every step rounded to float32."""
    y = s.y64
    np.multiply(argument, coefficients[0], out=y)
    for c in coefficients[1:-1]:
        y += c
        _round(y, s.y)
        y *= argument
    y += coefficients[-1]
    _round(y, s.y)


def _minus_two_log(u: Array, s: _Scratch) -> None:
    """s.r = -2 log(1 - u) for u in [0, 1)."""
    x, y, z, e = s.x, s.y, s.z, s.t64
    np.subtract(_f(1), u, out=x.reshape(u.shape))
    # Split into m * 2**k with m in [sqrt(1/2), sqrt(2)).
    np.subtract(x.view(np.int32), _SQRT_HALF_BITS, out=s.k)
    s.k >>= 23
    e[...] = s.k
    s.k <<= 23
    x.view(np.int32)[...] -= s.k
    x -= _f(1)
    s.x64[...] = x
    _horner(s, s.x64, LOG)
    np.multiply(x, x, out=z)
    s.z64[...] = z
    y *= x
    s.y64[...] = y
    s.y64 *= s.z64
    np.multiply(e, LN2_LOW, out=y, casting="same_kind")
    s.y64 += y
    _round(s.y64, y)
    s.z64 *= 0.5
    s.y64 -= s.z64
    y[...] = s.y64
    x += y
    e *= LN2_HIGH
    e += x
    s.r[...] = e
    s.r *= _f(-2)


def _sine_and_cosine(u: Array, s: _Scratch) -> tuple[Array, Array]:
    """sin(2 pi u), cos(2 pi u) for u in [0, 1)."""
    x, y, z, octant = s.x, s.y, s.z, s.bits
    np.multiply(u, TWO_PI, out=x.reshape(u.shape))
    np.multiply(x, FOUR_OVER_PI, out=y)
    octant[...] = y
    octant += 1
    octant &= ~1
    y[...] = octant
    # The first two parts of pi/4 are so short that their products with an octant are exact.
    for part in QUARTER_PI[:2]:
        np.multiply(y, part, out=z)
        x += z
    np.multiply(y, QUARTER_PI[2], out=s.t64, dtype=np.float64)
    s.t64 += x
    x[...] = s.t64
    s.x64[...] = x
    np.multiply(x, x, out=z)
    s.z64[...] = z

    _horner(s, s.z64, SIN)
    y *= z
    s.t64[...] = y
    s.t64 *= s.x64
    s.t64 += s.x64
    x[...] = s.t64

    _horner(s, s.z64, COS)
    y *= z
    s.y64[...] = y
    s.y64 *= s.z64
    s.z64 *= 0.5
    s.y64 -= s.z64
    y[...] = s.y64
    y += _f(1)

    # Choose and negate in the bits: a masked NumPy loop costs twenty times as much.
    sine, cosine = x.view(np.int32), y.view(np.int32)
    np.left_shift(octant, 30, out=s.k)
    s.k >>= 31  # all ones where sine and cosine change places
    s.k &= sine ^ cosine
    sine ^= s.k
    cosine ^= s.k
    octant <<= 29
    sine ^= octant & _SIGN
    octant -= 2 << 29
    np.invert(octant, out=octant)
    octant &= _SIGN
    cosine ^= octant
    return x, y


def _scale(value: Array, mean: float, std: float, out: Array) -> None:
    """Set out = value * std + mean, rounded once."""
    if std == 1.0 and mean == 0.0:
        np.add(value.reshape(out.shape), 0.0, out=out)  # as a multiply-add does, -0.0 becomes 0.0
        return
    wide = value.astype(np.float64)
    wide *= float(_f(std))
    wide += float(_f(mean))
    out[...] = wide.reshape(out.shape)


def transform_float32_(blocks: Array, mean: float = 0.0, std: float = 1.0) -> None:
    """Turn uniforms, float32 of shape (blocks, 16), into normals in place."""
    whole = None
    for start in range(0, len(blocks), _CHUNK):
        chunk = blocks[start : start + _CHUNK]
        pairs = len(chunk) * (BLOCK // 2)
        if pairs == _PAIRS:
            s = whole = whole or _Scratch(pairs)
        else:
            s = _Scratch(pairs)
        first, second = chunk[:, : BLOCK // 2], chunk[:, BLOCK // 2 :]
        _minus_two_log(first, s)
        np.sqrt(s.r, out=s.r)
        sine, cosine = _sine_and_cosine(second, s)
        cosine *= s.r
        sine *= s.r
        _scale(cosine, mean, std, first)
        _scale(sine, mean, std, second)


def libm(function: Callable[[float], float], x: Array) -> Array:
    """`function` of the C library on each element of `x` (float64).

    NumPy's own float64 transcendental loops differ from the C library's in the last bit, and from
    one processor to the next.
    """
    return np.fromiter(map(function, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


def cos_and_sin(t: Array) -> tuple[Array, Array]:
    """The C library's cos(t) and sin(t), float64."""
    # A complex exponential takes both from the C library in one compiled loop.
    z = np.exp(1j * t)
    return z.real, z.imag


def fused_multiply_add(x: Array, y: float, z: float) -> Array:
    """Return x * y + z in float64, rounded once (error-free sums: Dekker, 1971)."""
    product = x * y
    if math.frexp(y)[0] in (0.5, -0.5):
        return product + z
    x_high = x * 134217729.0
    x_high = x_high - (x_high - x)
    x_low = x - x_high
    y_high = y * 134217729.0
    y_high = y_high - (y_high - y)
    y_low = y - y_high
    error = ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low
    total = product + z
    part = total - product
    return total + (((product - (total - part)) + (z - part)) + error)


def transform_float64_(blocks: Array, mean: float = 0.0, std: float = 1.0) -> None:
    """Turn uniforms, float64 of shape (blocks, 16), into normals in place."""
    first, second = blocks[:, : BLOCK // 2], blocks[:, BLOCK // 2 :]
    r = np.sqrt(-2.0 * libm(math.log, 1.0 - first))
    cosine, sine = cos_and_sin(2.0 * math.pi * second)
    first[...] = fused_multiply_add(r * cosine, std, mean)
    second[...] = fused_multiply_add(r * sine, std, mean)


def pairs_by_list(u: list[float]) -> list[float]:
    """Standard normals from pairs of uniforms, one pair at a time: quicker for a few."""
    values = []
    for first, second in zip(u[0::2], u[1::2], strict=True):
        r, t = math.sqrt(-2.0 * math.log1p(-second)), 2.0 * math.pi * first
        values += [r * math.cos(t), r * math.sin(t)]
    return values
