"""Sine, cosine and tangent of any argument.

The argument less a multiple of pi/2: to 2**30 in three parts (Cody and Waite, 1980); beyond it by
the digits of 2/pi that matter for its exponent (Payne and Hanek, "Radian reduction for
trigonometric functions", 1983). Polynomials interpolate at Chebyshev nodes of [0, (pi/4)**2].
float32 is computed in float64.
"""

from __future__ import annotations

from itertools import pairwise

from .algebra import (
    Number,
    exactly,
    fma,
    horner,
    quick_two_sum,
    two_product,
    two_sum,
    where,
)

_LIMIT = 2.0**30
_TWO_OVER_PI = 0.6366197723675814
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33)
# (sin r / r - 1) / s and (cos r - 1 + s / 2) / s**2, s = r * r, within 2e-10 and 6e-17.
_SIN_SHORT = (2.7249864655139585e-06, -0.00019840086263755443, 0.008333331873837089,
              -0.16666666663853044)  # fmt: skip
_SIN = (
    -7.586685070091267e-13, 1.605853141458901e-10, -2.5052106231157904e-08, 2.7557319219335453e-06,
    -0.0001984126984126506, 0.008333333333333331, -0.16666666666666666,
)  # fmt: skip
_COS_SHORT = (-2.7300908167996537e-07, 2.480059998353171e-05, -0.0013888887671288108,
              0.04166666666431933)  # fmt: skip
_COS = (
    4.7458652037874553e-14, -1.1470460773969325e-11, 2.0876755790363397e-09,
    -2.755731922140076e-07, 2.4801587301584645e-05, -0.0013888888888888887, 0.041666666666666664,
)  # fmt: skip
# 64 zeros, then the binary digits of 2/pi, in words of 64.
_DIGITS = (
    0x0000000000000000,
    0xA2F9836E4E441529,
    0xFC2757D1F534DDC0,
    0xDB6295993C439041,
    0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0,
    0x06492EEA09D1921C,
    0xFE1DEB1CB129A73E,
    0xE88235F52EBB4484,
    0xE99C7026B45F7E41,
    0x3991D639835339F4,
    0x9C845F8BBDF9283B,
    0x1FF897FFDE05980F,
    0xEF2F118B5A0A6D1F,
    0x6D367ECF27CB09B7,
    0x4F463F669E5FEA2D,
    0x7527BAC7EBE5F17B,
    0x3D0739F78A5292EA,
    0x6BFB5FB11F8D5D08,
    0x56033046FC7B6BAB,
    0xF0CFBC209AF4361D,
    0xA9E391615EE61B08,
)


def _reduced(x: Number, precise: bool) -> tuple[Number, Number, Number]:
    """(n, r, rest): `x` (double) is n pi/2 + r + rest, r in [-pi/4, pi/4]; n modulo 4, i32.

    Not `precise`, it is right to 60 bits, and `rest` is 0.
    """
    turns = (x * _TWO_OVER_PI).intrinsic("roundeven")
    first, second, third = _HALF_PI
    r = fma(-turns, first, x)  # of so few digits that nothing is rounded
    if precise:
        product, low = two_product(turns, second)
        r, rest = two_sum(r, -product)
        rest = exactly("fsub", rest, fma(turns, third, low))
        r, rest = quick_two_sum(r, rest)
    else:
        r, rest = fma(-turns, second, r), x.like(0.0)
    n = turns.to_integer("i32")
    huge = abs(x) >= _LIMIT
    if x.w.guard(huge.value):
        return n, r, rest
    far_n, far_r, far_rest = _reduced_far(x)
    return where(huge, far_n, n), where(huge, far_r, r), where(huge, far_rest, rest)


def _reduced_far(x: Number) -> tuple[Number, Number, Number]:
    """`_reduced` for any finite x of size 1 or more, by 192 digits of 2/pi."""
    bits = x.bits()
    exponent = bits.unsigned_shift(52) & 2047
    exponent = where(exponent < 1023, 1023, exponent)
    exponent = where(exponent > 2046, 2046, exponent)
    digits = ((bits & (2**52 - 1)) | 2**52).extended("i128", signed=False)
    # x = digits * 2**(exponent - 1075); 2/pi's digits worth 4 or more then only count turns.
    place = exponent + (62 - 1075)
    at, by = place >> 6, place & 63
    words = [Number(x.w, x.w.table("pi.digits", _DIGITS, (at + i).value)) for i in range(4)]
    high, middle, low = (
        _funnel(a, b, by).extended("i128", signed=False) for a, b in pairwise(words)
    )
    product = ((digits * high) << 64) + digits * middle + (digits * low).unsigned_shift(64)
    fraction = product << 2  # of a quarter turn, signed
    n = (product.unsigned_shift(126).narrowed("i32")) + fraction.unsigned_shift(127).narrowed("i32")
    fraction = fraction >> 1
    upper = (fraction >> 64).narrowed("i64")
    lower = fraction.narrowed("i64")
    a = upper.to_float("double")
    b = (upper - a.to_integer("i64")).to_float("double")
    b = fma(lower.to_float("double", signed=False), 2.0**-64, b)
    a, b = quick_two_sum(a * 2.0**-63, b * 2.0**-63)
    r, rest = two_product(a, _HALF_PI[0])
    rest = fma(a, _HALF_PI[1], fma(b, _HALF_PI[0], rest))
    r, rest = quick_two_sum(r, rest)
    minus = bits < 0
    return where(minus, -n, n), where(minus, -r, r), where(minus, -rest, rest)


def _funnel(high: Number, low: Number, by: Number) -> Number:
    """The upper 64 bits of two words moved to the left."""
    w = high.w
    w.declarations.add("declare i64 @llvm.fshl.i64(i64, i64, i64)")
    names = f"i64 {high.value.name}, i64 {low.value.name}, i64 {by.value.name}"
    return Number(w, w.emit(f"call i64 @llvm.fshl.i64({names})", "i64"))


def _sine_and_cosine(r: Number, rest: Number, precise: bool) -> tuple[Number, Number]:
    s = r * r
    if not precise:
        cosine = fma(s * s, horner(s, _COS_SHORT), fma(s, -0.5, 1.0))
        return fma(r * s, horner(s, _SIN_SHORT), r), cosine
    half = s * 0.5
    most = 1.0 - half
    sine = r + fma(r * s, horner(s, _SIN), rest * most)
    cosine = most + (((1.0 - most) - half) + fma(s * s, horner(s, _COS), -(r * rest)))
    return sine, cosine


def _both_in_two(r: Number, rest: Number) -> tuple[tuple[Number, Number], tuple[Number, Number]]:
    """Sine and cosine of r + rest, each in two parts."""
    s = r * r
    half = s * 0.5
    most = 1.0 - half
    sines = quick_two_sum(r, fma(r * s, horner(s, _SIN), rest * most))
    low = ((1.0 - most) - half) + fma(s * s, horner(s, _COS), -(r * rest))
    return sines, quick_two_sum(most, low)


def _turned(x: Number, quarter: int) -> Number:
    """The sine of `x` plus so many quarter turns."""
    wide = x.to("double")
    precise = x.type == "double"
    n, r, rest = _reduced(wide, precise)
    sine, cosine = _sine_and_cosine(r, rest, precise)
    n = n + quarter
    y = where((n & 1).equals(1), cosine, sine)
    y = where((n & 2).equals(2), -y, y)
    y = where(abs(wide) < float("inf"), y, wide - wide)
    return y.to(x.type)


def sin(x: Number) -> Number:
    """The sine."""
    return where(x.equals(0.0), x, _turned(x, 0))


def cos(x: Number) -> Number:
    """The cosine."""
    return _turned(x, 1)


def tan(x: Number) -> Number:
    """The tangent; of float64 as a quotient of numbers in two parts."""
    wide = x.to("double")
    precise = x.type == "double"
    n, r, rest = _reduced(wide, precise)
    odd = (n & 1).equals(1)
    if not precise:
        sine, cosine = _sine_and_cosine(r, rest, False)
        y = where(odd, -cosine, sine) / where(odd, sine, cosine)
    else:
        sines, cosines = _both_in_two(r, rest)
        above = [where(odd, -c, s) for c, s in zip(cosines, sines, strict=True)]
        below = [where(odd, s, c) for c, s in zip(cosines, sines, strict=True)]
        inverse = 1.0 / below[0]
        q = exactly("fmul", above[0], inverse)
        y = q + (fma(-q, below[0], above[0]) + fma(-q, below[1], above[1])) * inverse
    y = where(abs(wide) < float("inf"), y, wide - wide).to(x.type)
    return where(x.equals(0.0), x, y)


def sinc(x: Number) -> Number:
    """sin(pi x) / (pi x), 1 at zero."""
    turned = x * 3.141592653589793
    y = sin(turned) / turned
    return where(x.equals(0.0), 1.0, y)


def sine_of_turns(x: Number) -> tuple[Number, Number]:
    """The size of the sine of pi x, for a double, in two parts."""
    d = abs(x - x.intrinsic("roundeven"))
    past = d > 0.25
    d = where(past, 0.5 - d, d)
    r, rest = two_product(d, 2 * _HALF_PI[0])
    rest = fma(d, 2 * _HALF_PI[1], rest)
    pairs = zip(*_both_in_two(r, rest), strict=True)
    sine, low = (where(past, cosine, sine) for sine, cosine in pairs)
    return sine, low


def cotangent_of_turns(x: Number) -> Number:
    """The cotangent of pi x, for a double."""
    rest = (x - x.intrinsic("roundeven")) * (2 * _HALF_PI[0])
    # Half a turn is halved, and the angle doubled.
    sine, cosine = _sine_and_cosine(rest * 0.5, rest.like(0.0), True)
    return fma(sine * sine, -2.0, 1.0) / (sine * cosine * 2.0)


FUNCTIONS = {"sin": sin, "cos": cos, "tan": tan, "sinc": sinc}
