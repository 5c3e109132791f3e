"""The hyperbolic sine and cosine, and the inverses of sine, cosine and tangent.

Of n log 2 + r, with r between -log(2) / 2 and log(2) / 2, the hyperbolic sine and cosine follow by
addition: those of n log 2 are half of 2**n -+ 2**-n (Cody and Waite, *Software Manual for the
Elementary Functions*, 1980). The inverses are logarithms. In float64 what is added has two parts.
Polynomials interpolate at Chebyshev nodes. float32 is computed in float64.
"""

from __future__ import annotations

import math

from .algebra import Number, fma, horner, quick_two_sum, two_product, two_sum, where
from .powers import log_of_one_and, short_log

_LN2 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)
_LIMIT = 710.5  # beyond it both are infinite
_LARGE = 2.0**28  # beyond it x * x + 1 is x * x
# (sinh r / r - 1) / s and (cosh r - 1 - s / 2) / s**2, s = r * r, within 3e-11 and 2e-18 of the
# functions.
_SINH_SHORT = (0.00019890980869750327, 0.008333310934448869, 0.16666666681614256)
_SINH = (
    2.5100375832561234e-08, 2.7557268480310024e-06, 0.00019841269863040545, 0.008333333333330065,
    0.16666666666666669,
)  # fmt: skip
_COSH_SHORT = (2.485128815112762e-05, 0.0013888866495891856, 0.041666666681610176)
_COSH = (
    2.091122972975856e-09, 2.755728298405588e-07, 2.4801587317135164e-05, 0.0013888888888886554,
    0.041666666666666664,
)  # fmt: skip


def _power(n: Number) -> Number:
    """2**n of an integral n that is not too large."""
    return ((n.to_integer("i64") + 1023) << 52).as_float()


def _half_sum(x: Number, *, cosine: bool) -> Number:
    """The hyperbolic cosine or sine of a double x >= 0 in float64, or in float32's precision."""
    wide, precise = x.to("double"), x.type == "double"
    a = abs(wide)
    safe = where(a > _LIMIT, _LIMIT, a)
    n = (safe * math.log2(math.e)).intrinsic("roundeven")
    r = fma(-n, _LN2[0], safe)
    if precise:
        first = r
        r = fma(-n, _LN2[1], first)
        low = fma(-n, _LN2[1], first - r)
    else:
        r = fma(-n, _LN2[1], r)
    s = r * r
    more = r * s * horner(s, _SINH if precise else _SINH_SHORT)
    less = fma(s * s, horner(s, _COSH if precise else _COSH_SHORT), s * 0.5)
    # Halves of the sine and cosine of n log 2.
    up = _power(n - 2.0)
    down = _power(-where(n > 60.0, 60.0, n) - 2.0)
    if precise:
        plus, minus = quick_two_sum(up, down), quick_two_sum(up, -down)
        (even, even_low), (odd, odd_low) = (plus, minus) if cosine else (minus, plus)
        product, lost = two_product(odd, r)
        total, rest = two_sum(even, product)
        lost = lost + fma(odd_low, r, even_low)
        y = total + (rest + fma(odd, more + low, fma(even, less, lost)))
    else:
        even, odd = (up + down, up - down) if cosine else (up - down, up + down)
        y = fma(odd, r, even) + fma(odd, more, even * less)
    y = y + y
    if not cosine:
        y = where(a < 1e-9, a, y)
    return where(a.is_nan(), a, y)


def sinh(x: Number) -> Number:
    """The hyperbolic sine."""
    return _half_sum(x, cosine=False).with_sign_of(x.to("double")).to(x.type)


def cosh(x: Number) -> Number:
    """The hyperbolic cosine."""
    return _half_sum(x, cosine=True).to(x.type)


def _root(square: Number, low: Number) -> tuple[Number, Number]:
    """The root of a sum in two parts, in two parts, the second from a rough quotient."""
    root = square.intrinsic("sqrt")
    by = where(root < 1e-30, 1e-30, root).to("float")
    return root, (fma(-root, root, square) + low) * (0.5 / by).to("double")


def asinh(x: Number) -> Number:
    """The number with this hyperbolic sine."""
    wide = x.to("double")
    a = abs(wide)
    if x.type == "float":
        root = fma(a, a, 1.0).intrinsic("sqrt")
        e, y = short_log(a + root, a + (root - 1.0))
        y = fma(e, math.log(2.0), y)
        y = where(a < 1e-4, a, y)
        y = where(a < math.inf, y, a)
    else:
        large = a > _LARGE
        safe = where(large, 1.0, a)
        square, low = two_product(safe, safe)
        square, lost = two_sum(square.like(1.0), square)
        root, root_low = _root(square, low + lost)
        total, lost = two_sum(root - 1.0, safe)
        y = log_of_one_and(where(large, a, total), lost + root_low, large)
        y = where(a < 1e-9, a, y)
    return y.with_sign_of(wide).to(x.type)


def acosh(x: Number) -> Number:
    """The number, not negative, with this hyperbolic cosine; NaN below 1."""
    wide = x.to("double")
    above = wide - 1.0
    if x.type == "float":
        total = above + (above * (above + 2.0)).intrinsic("sqrt")
        e, y = short_log(total + 1.0, total)
        y = fma(e, math.log(2.0), y)
        y = where(wide < math.inf, y, wide)
    else:
        large = wide > _LARGE
        safe = where(large, 1.0, above)
        square, low = two_product(safe, safe)
        square, lost = two_sum(safe * 2.0, square)
        root, root_low = _root(square, low + lost)
        total, lost = two_sum(root, safe)
        y = log_of_one_and(where(large, wide, total), lost + root_low, large)
    return where(wide < 1.0, math.nan, y).to(x.type)


def atanh(x: Number) -> Number:
    """The number with this hyperbolic tangent; infinite at -1 and 1, NaN beyond."""
    wide = x.to("double")
    a = abs(wide)
    if x.type == "float":
        total = (a + a) / (1.0 - a)
        e, y = short_log(total + 1.0, total)
        y = fma(e, 0.5 * math.log(2.0), y * 0.5)
    else:
        below, lost = two_sum(a.like(1.0), -a)
        below = where(below.equals(0.0), 1.0, below)
        inverse = 1.0 / below
        total = (a + a) * inverse
        rest = (fma(-total, below, a + a) - total * lost) * inverse
        y = log_of_one_and(total, rest) * 0.5
    y = where(a < 1e-9, a, y)
    y = where(a < 1.0, y, where(a.equals(1.0), a.like(math.inf), math.nan))
    return y.with_sign_of(wide).to(x.type)


FUNCTIONS = {"sinh": sinh, "cosh": cosh, "asinh": asinh, "acosh": acosh, "atanh": atanh}
