"""The gamma function's logarithm and its derivative.

Large arguments have Stirling's series (8 and beyond, where the recurrence takes others too), and
negative ones are reflected (Abramowitz and Stegun, *Handbook of Mathematical Functions*, 1964,
sections 6.1 and 6.3). The logarithm in float64 is summed in two parts; below 8 it is that of a
number between 3/2 and 5/2, a polynomial, and of what the recurrence multiplies. Polynomials
interpolate at Chebyshev nodes. float32 is computed in float64.
"""

from __future__ import annotations

import math

from .algebra import Number, fma, horner, in_chains, two_product, two_sum, where
from .circular import cotangent_of_turns, sine_of_turns
from .powers import log_in_two

_INFINITY = math.inf
_STEPS = 8
# What Stirling's formulas leave, times z and z**2, by 1 / z**2 for z >= 8.
_LOG_SERIES = (
    -0.0016526004455595122, 0.0008372834512071336, -0.0005952025951802712, 0.0007936506649488252,
    -0.002777777777606244, 0.0833333333333333,
)  # fmt: skip
_LOG_SERIES_LONG = (
    0.005065905360156132, -0.001890382993887715, 0.0008414700852503147, -0.0005952365845057049,
    0.0007936507897524059, -0.002777777777773988, 0.08333333333333333,
)  # fmt: skip
_LOG_END = 0.4189385332046727  # (log(2 pi) - 1) / 2
_LOG_PI = (1.1447298858494002, 1.0265951162707826e-17)
_OVERFLOWS = 2.5563481638716906e305  # the logarithm from here on
# lgamma(2 + u) / u less its value at 0, over u, for u between -1/2 and 1/2, times u within 2e-17.
_NEAR_TWO = (
    2.708245957688481e-07, -5.72865310850801e-07, 9.282109272701004e-07, -1.982565620739196e-06,
    4.381261405000474e-06, -9.452938473714576e-06, 2.0506356296054763e-05, -4.492443535898787e-05,
    9.945757753419642e-05, -0.00022315489463809116, 0.0005096695221547781, -0.0011927539062598581,
    0.0028905103307878756, -0.0073855510287714685, 0.020580808427784307, -0.06735230105319759,
    0.3224670334241132,
)  # fmt: skip
_AT_TWO = 0.42278433509846713  # the slope there
_SLOPE_SERIES = (
    -0.299425370626735, 0.08002337465397756, -0.02105106090804774, 0.007575459920369176,
    -0.004166665501516725, 0.003968253965999701, -0.008333333333331664, 0.08333333333333333,
)  # fmt: skip


def _log(x: Number) -> Number:
    return Number(x.w, x.w.log(x.value))


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
    stirling = fma(z - 0.5, _log(z) - 1.0, series + (0.5 * math.log(2 * math.pi) - 0.5))
    sine = sine_of_turns(wide)[0]
    ratio = where(below, product * math.pi / sine, product)
    log = _log(ratio)
    log = where(ratio.equals(_INFINITY), _INFINITY, log)
    result = where(below, log - stirling, stirling - log)
    result = where(wide.equals(1.0) | wide.equals(2.0), 0.0, result)
    return where(abs(x).equals(_INFINITY), abs(x), result.to(x.type))


def precise_lgamma(x: Number) -> Number:
    """log of the gamma function's size (float64)."""
    a = abs(x)
    high, low = _log_gamma(a)
    # Where x is tiny its size alone counts, and the product below might be too small.
    minus = x < -1e-30
    sine, sine_low = sine_of_turns(x)
    product, lost = two_product(a, sine)
    log, log_low = log_in_two(where(minus, product, 1.0))
    log_low = log_low + fma(a, sine_low, lost) / product
    part, lost = two_sum(x.like(_LOG_PI[0]), -log)
    total, rest = two_sum(part, -high)
    reflected = total + (rest + (lost + (_LOG_PI[1] - log_low - low)))
    y = where(minus, where(sine.equals(0.0), _INFINITY, reflected), high + low)
    return where(x.equals(0.0) | (a >= _OVERFLOWS), _INFINITY, y)


def _log_gamma(a: Number) -> tuple[Number, Number]:
    """log of the gamma function of a double a > 0 in two parts."""
    far = a >= 8.0
    nearest = (a + 0.5).intrinsic("floor")
    u = a - nearest
    product = a.like(1.0)
    for k in range(1, 7):
        product = where(nearest > k + 1.5, product * (a - float(k)), product)
    square, square_low = two_product(a, a)
    above, lost = two_sum(a, square)
    least, one = nearest < 0.5, nearest < 1.5
    v = where(far, a, where(least, above, where(one, a, product)))
    log, log_low = log_in_two(v)
    log_low = where(least, log_low + (lost + square_low) / v, log_low)
    # From 3/2 to 5/2, where the recurrence starts.
    first, first_low = two_product(u, _AT_TWO)
    rest = fma(u * u, in_chains(u, _NEAR_TWO), first_low)
    total, lost = two_sum(where(one, -log, log), first)
    near_low = where(one, -log_low, log_low) + (lost + rest)
    inverse = 1.0 / a
    less, lost = two_sum(log, log.like(-1.0))
    by = a - 0.5
    stirling, more = two_product(by, less)
    series = fma(in_chains(inverse * inverse, _LOG_SERIES_LONG), inverse, _LOG_END)
    far_low = fma(by, log_low + lost, more + series)
    return where(far, stirling, total), where(far, far_low, near_low)


def digamma(x: Number) -> Number:
    """The slope of lgamma; minus infinity at 0 and NaN at negative whole numbers."""
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
    value = _log(z) - (rest + shift)
    value = where(below, value - cotangent_of_turns(wide) * math.pi, value)
    value = where(wide.equals(0.0), wide.like(-_INFINITY).with_sign_of(-wide), value)
    whole = wide.intrinsic("floor").equals(wide)
    value = where(below & whole, math.nan, value)
    value = where(wide.equals(_INFINITY), _INFINITY, value)
    return value.to(x.type)


FUNCTIONS = {"digamma": digamma}
