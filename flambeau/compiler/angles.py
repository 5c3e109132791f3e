"""The inverses of sine, cosine and tangent.

The tangent's argument is turned back by 0, 1 or 2 eighths of a turn, which leaves at most tan(pi/8)
of it; the sine's, beyond 1/2, becomes that of half the complement (Cody and Waite, *Software Manual
for the Elementary Functions*, 1980). In float64 quotients, roots and the angle turned back by have
two parts. Polynomials interpolate at Chebyshev nodes. float32 is computed in float64.
"""

from __future__ import annotations

import math

from .algebra import Number, fma, horner, two_sum, where

_INFINITY = math.inf
_EIGHTH = (0.7853981633974483, 3.061616997868383e-17)  # of a turn
_TAN_EIGHTH = math.tan(math.pi / 8)
# (atan t / t - 1) / s and (asin t / t - 1) / s, s = t * t, for t to tan(pi/8) and to 1/2, times s
# within 8e-11 and 7e-18, and 1e-9 and 5e-18.
_ATAN_SHORT = (
    0.050481385120797445, -0.08624676145249494, 0.11071365021884794, -0.14284151193628614,
    0.19999977258688387, -0.333333332792548,
)  # fmt: skip
_ATAN = (
    -0.01917688711906226, 0.03923165829558719, -0.0508544973794026, 0.0585814891280221,
    -0.06664511447381948, 0.07692183190826087, -0.09090904578123903, 0.11111111015256361,
    -0.14285714284666542, 0.1999999999999552, -0.3333333333333333,
)  # fmt: skip
_ASIN_SHORT = (
    0.03369084720283012, 0.017149238357677253, 0.03110066273549457, 0.04459940152851218,
    0.07500094543497424, 0.16666666337430908,
)  # fmt: skip
_ASIN = (
    0.028757851367421566, -0.014851887071247204, 0.01740087944269402, 0.005457506718640358,
    0.01032281435018578, 0.011479177415184906, 0.013971212973552933, 0.017352392720869973,
    0.02237217294214989, 0.030381944138531247, 0.04464285714635543, 0.07499999999998433,
    0.16666666666666669,
)  # fmt: skip


def _turned_back(above: Number, below: Number, behind: Number | None, precise: bool) -> Number:
    """The angle, a double, of the point (below, above), neither negative nor infinite.

    Where it is `behind`, that of (-below, above).
    """
    middle = (above > below * _TAN_EIGHTH) & (below > above * _TAN_EIGHTH)
    steep = above >= below * (1 / _TAN_EIGHTH)
    steep = steep & (above > 0.0)
    eighths = where(middle, above.like(1.0), where(steep, above.like(2.0), 0.0))
    high = where(steep, -below, where(middle, above - below, above))
    low = where(steep, above, where(middle, above + below, below))
    low = where(low.equals(0.0), 1.0, low)
    if behind is not None:
        eighths = where(behind, 4.0 - eighths, eighths)
        high = where(behind, -high, high)
    if not precise:
        t = high / low
        s = t * t
        return fma(eighths, _EIGHTH[0], fma(t * s, horner(s, _ATAN_SHORT), t))
    inverse = 1.0 / low
    t = high * inverse
    # What rounding took of the sum and of the difference; the larger is exact without the smaller.
    lost = where(middle, two_sum(above, below)[1], 0.0)
    more = where(middle, two_sum(above, -below)[1], 0.0)
    if behind is not None:
        more = where(behind, -more, more)
    rest = (fma(-t, low, high) + fma(-t, lost, more)) * inverse
    s = t * t
    rest = fma(rest, 1.0 - s, t * s * horner(s, _ATAN))
    base = eighths * _EIGHTH[0]
    base_low = fma(eighths, _EIGHTH[0], -base) + eighths * _EIGHTH[1]
    total, lost = two_sum(base, t)
    return total + (lost + (base_low + rest))


def atan(x: Number) -> Number:
    """The angle between -pi/2 and pi/2 with this tangent."""
    wide = x.to("double")
    a = abs(wide)
    far = a > 1e300
    y = _turned_back(where(far, 1.0, a), where(far, a.like(0.0), 1.0), None, x.type == "double")
    return y.with_sign_of(wide).to(x.type)


def atan2(y: Number, x: Number) -> Number:
    """The angle between -pi and pi of the point (x, y)."""
    above, below = y.to("double"), x.to("double")
    a, b = abs(above), abs(below)
    precise = x.type == "double"
    infinite = a.equals(_INFINITY), b.equals(_INFINITY)
    a, b = (
        where(infinite[0], 1.0, where(infinite[1], 0.0, a)),
        where(infinite[1], 1.0, where(infinite[0], 0.0, b)),
    )
    if precise:  # neither the sum nor what is left of a quotient leaves the range
        most = where(a > b, a, b)
        by = where(most < 2.0**-500, a.like(2.0**100), 1.0)
        by = where(most > 2.0**500, 2.0**-100, by)
        a, b = a * by, b * by
    behind = below.like(1.0).with_sign_of(below) < 0.0
    angle = _turned_back(a, b, behind, precise).with_sign_of(above)
    angle = where(above.is_nan() | below.is_nan(), above + below, angle)
    return angle.to(x.type)


def _from_sine(x: Number, *, complement: bool) -> Number:
    """The angle with the sine `x`, or its complement's."""
    wide, precise = x.to("double"), x.type == "double"
    a = abs(wide)
    large = a > 0.5
    s = where(large, fma(a, -0.5, 0.5), wide * wide)
    root = s.intrinsic("sqrt")
    t = where(large, root * -2.0, a)
    rest = t * s * horner(s, _ASIN if precise else _ASIN_SHORT)
    if precise:  # the root's own rounding, by a quotient that need not be exact
        by = where(root < 1e-30, 1e-30, root).to("float")
        correction = fma(-root, root, s) * (-1.0 / by).to("double")
        rest = rest + where(large, correction, 0.0)
    # asin a is now `eighths` eighths of a turn, and t and the rest.
    eighths = where(large, a.like(2.0), 0.0)
    if complement:
        minus = wide < 0.0
        eighths = where(minus, eighths + 2.0, 2.0 - eighths)
        t, rest = where(minus, t, -t), where(minus, rest, -rest)
    if not precise:
        y = fma(eighths, _EIGHTH[0], t + rest)
    else:
        total, lost = two_sum(eighths * _EIGHTH[0], t)
        y = total + (lost + fma(eighths, _EIGHTH[1], rest))
    return (y if complement else y.with_sign_of(wide)).to(x.type)


def asin(x: Number) -> Number:
    """The angle between -pi/2 and pi/2 with this sine; NaN where there is none."""
    return _from_sine(x, complement=False)


def acos(x: Number) -> Number:
    """The angle between 0 and pi with this cosine; NaN where there is none."""
    return _from_sine(x, complement=True)


FUNCTIONS = {"asin": asin, "acos": acos, "atan": atan, "atan2": atan2}
