"""Powers, logarithms to bases 2 and 10, and lengths.

Logarithms in float64 are those of s = (m - 1) / (m + 1) for a mantissa m between the roots of 1/2
and 2 (Tang, "Table-driven implementation of the logarithm function", 1990). A power is 2 to the
power of y log2(x), which in float64 is kept in two parts. float32 is computed in float64.
Polynomials interpolate at Chebyshev nodes.
"""

from __future__ import annotations

import math
from typing import Any

from .algebra import (
    Number,
    exactly,
    fma,
    horner,
    in_chains,
    quick_two_sum,
    scale,
    two_product,
    two_sum,
    where,
)

_INFINITY, _NAN = math.inf, math.nan
_LOW_HALF = 0xFFFFFFFF
_ROOT_BITS = 0x3FE6A09E667F3BCD  # of the square root of 1/2
_LN2 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)
_LOG2E = (1.442695040255785, 6.331784189566044e-10)
_LOG10E = (0.43429448176175356, 1.414982685385801e-10)
_LOG10_2 = (0.30102999566361177, 3.694239077158931e-13)
# (2**r - 1) / r for |r| <= 1/2, within 3e-10, 9e-14 and 5e-17.
_EXP2_SHORT = (
    1.5297323760701075e-05, 0.0001546144469856913, 0.001333350238616277, 0.009618056678524637,
    0.055504108839096185, 0.24022650922288757, 0.6931471805599453,
)  # fmt: skip
_EXP2_MIDDLE = (
    1.0203121063391729e-07, 1.3255224878668817e-06, 1.525268684626772e-05, 0.00015403455852453838,
    0.0013333558179043112, 0.009618129159402558, 0.055504108664760424, 0.2402265069581299,
    0.6931471805599453,
)  # fmt: skip
_EXP2 = (
    2.5729324177362305e-11, 4.4558179083360645e-10, 7.0548973041554995e-09, 1.0178057087733941e-07,
    1.3215486808705563e-06, 1.5252733841556773e-05, 0.00015403530393370734, 0.001333355814640647,
    0.00961812910762848, 0.055504108664821625, 0.24022650695910072, 0.6931471805599453,
)  # fmt: skip
# log(1 + r) / r between the roots, within 8e-10 of it.
_LOG_SHORT = (
    0.06572327158522023, -0.11620648400270368, 0.11945878227356821, -0.12420821262732773,
    0.1421229125042129, -0.16666555575670008, 0.20002535640193383, -0.2500006237443588,
    0.3333330266101698, -0.49999999414017127, 1.0000000006010195,
)  # fmt: skip
# log2((1 + s) / (1 - s)) / s by z = s * s, within 2e-17.
_LOG2 = (
    0.21368163909696675, 0.2209109142370262, 0.2623344335728468, 0.3205985334227465,
    0.41219858585486296, 0.5770780163454586, 0.9617966939259899, 2.8853900817779268,
)  # fmt: skip
# What is left of it after the first two terms, over z * z; within 1e-16.
_LOG2_REST = (
    0.16914628508443877, 0.16888370598444666, 0.19238062525249075, 0.2219527874957096,
    0.2623081914783527, 0.32059889796710966, 0.41219858311114393, 0.5770780163555853,
)  # fmt: skip
_LOG_ODD = (0.1479695896056556, 0.15313936541474302, 0.181835694518003, 0.22222198457093684,
            0.285714287437626, 0.39999999999406793, 0.6666666666666736)  # fmt: skip


def exp2(x: Number) -> Number:
    """2 to the power x."""
    low, high = (-151.0, 129.0) if x.type == "float" else (-1077.0, 1025.0)
    safe = where(x < low, low, where(x > high, high, x))
    n = safe.intrinsic("roundeven")
    r = safe - n
    y = fma(horner(r, _EXP2_SHORT if x.type == "float" else _EXP2), r, 1.0)
    return scale(y, n)


def _parts(x: Number, normal: bool = False) -> tuple[Number, Number]:
    """(e, m) of a positive double x = m * 2**e, m between the roots of 1/2 and 2.

    A `normal` one is 2**-1022 or more.
    """
    tiny = x < 2.0**-1022
    bits = x.bits() if normal else where(tiny, x * 2.0**52, x).bits()
    exponent = (bits - _ROOT_BITS) >> 52
    mantissa = (bits - (exponent << 52)).as_float()
    e = exponent.to_float("double")
    return e if normal else e - where(tiny, x.like(52.0), 0.0), mantissa


def _at_the_ends(x: Number, y: Number) -> Number:
    """The logarithm `y` of `x`, made right for 0, negative numbers, infinity and NaN."""
    y = where(x > 0.0, y, where(x.equals(0.0), x.like(-_INFINITY), _NAN))
    return where(x < _INFINITY, y, x)


def short_log(x: Number, one_less: Number | None = None) -> tuple[Number, Number]:
    """(e, log m) of a normal double, right to 30 bits; `one_less`: x - 1 where that has more."""
    e, m = _parts(x, normal=True)
    r = m - 1.0
    if one_less is not None:
        r = where(e.equals(0.0), one_less, r)
    return e, r * in_chains(r, _LOG_SHORT)


def _log_of(r: Number) -> tuple[Number, Number]:
    """log(1 + r), double, between the roots: a part of half its digits, and the rest."""
    half = r * r * 0.5
    s = r / (r + 2.0)
    z = s * s
    tail = s * (half + horner(z, _LOG_ODD) * z)
    high = ((r - half).bits() & ~_LOW_HALF).as_float()
    return high, (r - high) - half + tail


def _log_to_base(
    x: Number, base: float, unit: tuple[float, float], e_unit: tuple[float, float]
) -> Number:
    """The logarithm; `unit` is that of e, in two parts, and `e_unit` that of 2."""
    if x.type == "float":
        wide = x.to("double")
        e, y = short_log(wide)
        y = fma(e, math.log2(2.0) / math.log2(base), y * (1 / math.log(base)))
        return _at_the_ends(x, y.to("float"))
    e, m = _parts(x)
    high, low = _log_of(m - 1.0)
    first = high * unit[0]
    rest = (low + high) * unit[1] + low * unit[0] + e * e_unit[1]
    whole = e * e_unit[0]
    y = exactly("fadd", whole, first)
    rest = rest + exactly("fadd", exactly("fsub", whole, y), first)
    return _at_the_ends(x, y + rest)


def log2(x: Number) -> Number:
    """The logarithm to base 2."""
    return _log_to_base(x, 2.0, _LOG2E, (1.0, 0.0))


def log10(x: Number) -> Number:
    """The logarithm to base 10."""
    return _log_to_base(x, 10.0, _LOG10E, _LOG10_2)


def log1p(x: Number) -> Number:
    """log(1 + x)."""
    u = x.to("double") + 1.0
    if x.type == "float":
        wide = x.to("double")
        e, y = short_log(u, wide)
        y = _at_the_ends(u, fma(e, math.log(2.0), y)).to("float")
        return where(x.equals(0.0), x, y)
    lost = where(x < 1.0, x - (u - 1.0), 1.0 - (u - x))
    return where(x.equals(0.0), x, _at_the_ends(u, _log_of_sum(u, x, lost / u)))


def _log_of_sum(
    u: Number, one_less: Number, lost: Number, near: Any = 0.0, doubled: Number | None = None
) -> Number:
    """log(u) of a double; `one_less` is u - 1 with more digits, and `lost` what u lacks, by u.

    `near` is what `one_less` lacks, by u. Where u is large and `doubled`, log(2u).
    """
    e, m = _parts(u)
    close = e.equals(0.0)
    r = where(close, one_less, m - 1.0)
    lost = where(close, u.like(near), lost)
    if doubled is not None:
        e = where(doubled, e + 1.0, e)
    half = r * r * 0.5
    s = r / (r + 2.0)
    z = s * s
    tail = fma(s, half + horner(z, _LOG_ODD) * z, fma(e, _LN2[1], lost))
    return fma(e, _LN2[0], r - (half - tail))


def log_in_two(x: Number) -> tuple[Number, Number]:
    """The logarithm of a positive double in two parts that together have some 60 bits."""
    e, m = _parts(x)
    high, low = _log_of(m - 1.0)
    total, lost = two_sum(e * _LN2[0], high)
    return total, lost + fma(e, _LN2[1], low)


def log_of_one_and(x: Number, low: Number, large: Number | None = None) -> Number:
    """log(1 + x + low) of doubles x >= 0 and a small `low`; log(2x) where x is `large`."""
    u, lost = two_sum(x.like(1.0), x)
    inverse = 1.0 / u
    if large is not None:
        u = where(large, x, u)
    y = _log_of_sum(u, x, (lost + low) * inverse, low * inverse, large)
    return _at_the_ends(u, y)


# ---------------------------------------------------------------- powers
def _log2_in_two(x: Number) -> tuple[Number, Number]:
    """log2 of a positive finite double, in two parts that together have 65 bits."""
    e, m = _parts(x)
    top = m - 1.0
    below, lost = two_sum(m, m.like(1.0))
    inverse = 1.0 / below
    s = exactly("fmul", top, inverse)
    s_low = (fma(-s, below, top) - s * lost) * inverse
    z, z_low = two_product(s, s)
    z_low = fma(s * 2.0, s_low, z_low)
    cube, cube_low = two_product(z, s)
    cube_low = cube_low + fma(z, s_low, z_low * s)
    # 2 / ln 2 and a third of it, in two parts, and then the rest of the series.
    first, first_low = two_product(s, 2.8853900817779268)
    first_low = first_low + fma(s_low, 2.8853900817779268, s * 4.0710547481862066e-17)
    third, third_low = two_product(cube, 0.9617966939259756)
    third_low = third_low + fma(cube_low, 0.9617966939259756, cube * 5.0577616648125907e-17)
    rest = cube * z * horner(z, _LOG2_REST)
    y, low = quick_two_sum(first, third)
    low = low + (rest + (first_low + third_low))
    y, low = quick_two_sum(y, low)
    total, more = two_sum(e, y)
    return quick_two_sum(total, more + low)


def pow(x: Number, y: Number) -> Number:
    """x to the power y, with C's answers at the ends of either's range."""
    precise = x.type == "double"
    wide, exponent = x.to("double"), y.to("double")
    a, size = abs(wide), abs(exponent)
    if precise:
        high, low = _log2_in_two(a)
        p, p_low = two_product(exponent, high)
        p_low = fma(exponent, low, p_low)
    else:
        e, m = _parts(a, normal=True)
        s = (m - 1.0) / (m + 1.0)
        p = exponent * fma(s, horner(s * s, _LOG2), e)
        p_low = p.like(0.0)
    safe = where(p < -1100.0, -1100.0, where(p > 1100.0, 1100.0, p))
    p_low = where(safe.equals(p), p_low, 0.0)
    n = safe.intrinsic("roundeven")
    r = (safe - n) + p_low
    result = scale(fma(horner(r, _EXP2 if precise else _EXP2_MIDDLE), r, 1.0), n)
    extreme = a.equals(0.0) | a.equals(_INFINITY) | size.equals(_INFINITY)
    shrinks = (a > 1.0) ^ (exponent > 0.0)
    result = where(extreme, where(shrinks, a.like(0.0), _INFINITY), result)
    result = where(a.equals(1.0), 1.0, result)
    whole = exponent.intrinsic("floor").equals(exponent)
    half = exponent * 0.5
    odd = whole & half.intrinsic("floor").differs(half) & (size < _INFINITY)
    result = where(odd, result.with_sign_of(wide), result)
    rootless = (wide < 0.0) & (wide > -_INFINITY) & ~whole
    result = where(rootless | a.is_nan() | exponent.is_nan(), _NAN, result)
    result = where(exponent.equals(0.0) | wide.equals(1.0), 1.0, result)
    return result.to(x.type)


def ldexp(x: Number, y: Number) -> Number:
    """x * 2**y."""
    return x * exp2(y)


def logaddexp(x: Number, y: Number) -> Number:
    """log(exp(x) + exp(y)), without overflow."""
    z = log1p(Number(x.w, x.w.exp((-abs(x - y)).value)))
    return _with_larger(x, y, z, math.log(2.0))


def logaddexp2(x: Number, y: Number) -> Number:
    """log2(2**x + 2**y), without overflow."""
    z = log1p(exp2(-abs(x - y))) * (1 / math.log(2.0))
    return _with_larger(x, y, z, 1.0)


def _with_larger(x: Number, y: Number, more: Number, of_equals: float) -> Number:
    """The larger number and `more`, or `of_equals` where they are equal, infinities included."""
    total = where(x.equals(y), x + of_equals, where(x > y, x, y) + more)
    return where(x.is_nan() | y.is_nan(), x + y, total)


def hypot(x: Number, y: Number) -> Number:
    """The length of (x, y), which overflows only if it is too large."""
    a, b = abs(x), abs(y)
    if x.type == "float":
        wide = a.to("double"), b.to("double")
        length = fma(wide[0], wide[0], wide[1] * wide[1]).intrinsic("sqrt").to("float")
    else:
        high, low = where(a > b, a, b), where(a > b, b, a)
        exponent = high.bits().unsigned_shift(52)
        exponent = where(exponent < 23, 23, where(exponent > 2023, 2023, exponent))
        down = ((2046 - exponent) << 52).as_float()
        up = (exponent << 52).as_float()
        high, low = high * down, low * down
        length = fma(high, high, low * low).intrinsic("sqrt") * up
    length = where(a.is_nan() | b.is_nan(), a + b, length)
    return where(a.equals(_INFINITY) | b.equals(_INFINITY), _INFINITY, length)


def xlog1py(x: Number, y: Number) -> Number:
    """x log(1 + y), 0 where x is."""
    return where(x.equals(0.0) & y.equals(y), 0.0, x * log1p(y))


def entr(x: Number) -> Number:
    """-x log(x), 0 at 0 and minus infinity below."""
    inside = -(x * Number(x.w, x.w.log(x.value)))
    return where(x < 0.0, -_INFINITY, where(x.equals(0.0), x.like(0.0), inside))


def heaviside(x: Number, value: Number) -> Number:
    """The step function, which is `value` at 0."""
    return where(x.equals(0.0), value, (x > 0.0).to(x.type))


FUNCTIONS = {
    "xlog1py": xlog1py,
    "entr": entr,
    "heaviside": heaviside,
    "exp2": exp2,
    "log2": log2,
    "log10": log10,
    "log1p": log1p,
    "pow": pow,
    "ldexp": ldexp,
    "logaddexp": logaddexp,
    "logaddexp2": logaddexp2,
    "hypot": hypot,
}
