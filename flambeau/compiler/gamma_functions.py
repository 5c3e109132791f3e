"""The gamma function's logarithm and its derivative.

Arguments are moved to 8 and beyond by the recurrence, where Stirling's series serves, and from the
negative side by reflection (Abramowitz and Stegun, *Handbook of Mathematical Functions*, 1964,
sections 6.1 and 6.3). float32 is computed in float64.
"""

from __future__ import annotations

import math

from .algebra import Number, fma, horner, where
from .circular import cotangent_of_turns, sine_of_turns
from .powers import short_log

_INFINITY = math.inf
_STEPS = 8
# What Stirling's formulas leave, times z and z**2, by 1 / z**2 for z >= 8.
_LOG_SERIES = (
    -0.0016526004455595122, 0.0008372834512071336, -0.0005952025951802712, 0.0007936506649488252,
    -0.002777777777606244, 0.0833333333333333,
)  # fmt: skip
_SLOPE_SERIES = (
    -0.299425370626735, 0.08002337465397756, -0.02105106090804774, 0.007575459920369176,
    -0.004166665501516725, 0.003968253965999701, -0.008333333333331664, 0.08333333333333333,
)  # fmt: skip


def _log(x: Number, precise: bool) -> Number:
    if precise:
        return Number(x.w, x.w.log(x.value))
    e, y = short_log(x)
    return fma(e, math.log(2.0), y)


def lgamma(x: Number) -> Number:
    """log of the gamma function's size (float32)."""
    wide = x.to("double")
    below = wide < 0.5
    y = where(below, 1.0 - wide, wide)
    product = y
    for k in range(1, _STEPS):
        product = product * (y + float(k))
    far = y >= float(_STEPS)
    product = where(far, 1.0, product)
    z = where(far, y, y + float(_STEPS))
    inverse = 1.0 / z
    series = horner(inverse * inverse, _LOG_SERIES) * inverse
    # Where y is large, z log z must not meet z twice.
    stirling = fma(z - 0.5, _log(z, True) - 1.0, series + (0.5 * math.log(2 * math.pi) - 0.5))
    sine = abs(sine_of_turns(wide))
    ratio = where(below, product * math.pi / sine, product)
    log = _log(ratio, True)
    log = where(ratio.equals(_INFINITY), _INFINITY, log)
    result = where(below, log - stirling, stirling - log)
    result = where(wide.equals(1.0) | wide.equals(2.0), 0.0, result)
    return where(abs(x).equals(_INFINITY), abs(x), result.to(x.type))


def digamma(x: Number) -> Number:
    """The slope of lgamma; minus infinity at 0 and NaN at negative whole numbers."""
    precise = x.type == "double"
    wide = x.to("double")
    below = wide < 0.0
    y = where(below, 1.0 - wide, wide)
    # The sum of 1 / (y + k) as one fraction.
    above, product = y.like(1.0), y
    for k in range(1, _STEPS):
        term = y + float(k)
        above = fma(above, term, product)
        product = product * term
    far = y >= float(_STEPS)
    z = where(far, y, y + float(_STEPS))
    shift = where(far, y.like(0.0), above / where(far, 1.0, product))
    inverse = 1.0 / z
    square = inverse * inverse
    rest = fma(inverse, 0.5, square * horner(square, _SLOPE_SERIES))
    value = _log(z, precise) - (rest + shift)
    value = where(below, value - cotangent_of_turns(wide) * math.pi, value)
    value = where(wide.equals(0.0), wide.like(-_INFINITY).with_sign_of(-wide), value)
    whole = wide.intrinsic("floor").equals(wide)
    value = where(below & whole, math.nan, value)
    value = where(wide.equals(_INFINITY), _INFINITY, value)
    return value.to(x.type)


FUNCTIONS = {"digamma": digamma}
