"""The error function, its complement and inverse, and the normal distribution's.

For large arguments all come from exp(x**2) erfc(x), which times 1 + 2x is nearly constant and is
one polynomial of (x - 15/4) / (x + 15/4) over the whole range (Shepherd and Laframboise, "Chebyshev
approximation of (1 + 2x) exp(x**2) erfc(x)", 1981). The inverse is x times a polynomial of
-log(1 - x**2), or of its root (Giles, "Approximating the erfinv function", 2012). float32 is
computed in float64 but for erf and ndtr. Polynomials interpolate at Chebyshev nodes.
"""

from __future__ import annotations

import math

from .algebra import Number, fma, horner, in_chains, scale, two_product, two_sum, where
from .powers import exp2, short_log

_INFINITY = math.inf
_ROOT_HALF = math.sqrt(0.5)
_CENTRE = 3.75
# erf(x) / x - 1 by x * x below 1, within 5e-17.
_ERF = (
    -7.795898827002142e-10, 1.3720064546777686e-08, -1.6208483801871705e-07,
    1.6447424703317362e-06, -1.492473690741966e-05, 0.00012055294904839707, -0.0008548325975389692,
    0.0052239776071164225, -0.02686617064323777, 0.11283791670945006, -0.37612638903183543,
    0.12837916709551256,
)  # fmt: skip
# (1 + 2x) exp(x**2) erfc(x), within 2e-10 to x = 11, and within 2e-17 from 0.47 to 28, where its
# last coefficient has a second part; and the slope's first terms.
_SCALED_SHORT = (
    -6.428352234939004e-05, -0.00040936976214086174, 0.00030470642114320903, 0.0018326631103618646,
    -0.009723550449597615, 0.028345652764348764, -0.05870094993436938, 0.09230580776651134,
    -0.10880309707880606, 0.08227668492369634, 0.003585384569024592, -0.14024059793656585,
    1.2375126310186022,
)  # fmt: skip
_SCALED = (
    -2.2579064674312364e-09, 2.4475985048074647e-08, 2.0488928362563817e-08,
    -2.4004349121066867e-07, -5.4462265542073945e-08, 1.73745304338536e-06, -9.75186487653951e-07,
    -1.1437374714765602e-05, 2.2384831923940806e-05, 5.1647017132014464e-05,
    -0.00029015421305189317, 0.00029371407601342693, 0.0017556258700874338, -0.009746579608250738,
    0.02836227741784785, -0.05869339858607784, 0.09230432116039489, -0.10880393014187685,
    0.0822767384901462, 0.0035854154854661987, -0.140240598585547, 1.2375126308378275,
)  # fmt: skip
_SCALED_END = 9.92051558817522e-17
_SLOPE = (
    -0.35216039151646705, 0.46152160580197443, -0.4352157205675074, 0.2468302154704386,
    0.007170830970932397, -0.140240598585547,
)  # fmt: skip
# erfinv(x) / x by w - 2.75 for w < 5.5, and by sqrt(w) - 3.1875; within 2e-9 and 3e-9.
_INVERSE_SHORT = (
    6.522958743218092e-11, 6.184208337960481e-10, -8.506590551681972e-09, -4.247046780656217e-09,
    4.837350937688867e-07, -2.5839621364743368e-06, -9.48736182278913e-06, 0.00020909266244410198,
    -0.0010385810935570907, -0.005035992728554026, 0.24433025892894134, 1.5627896130150383,
)  # fmt: skip
_INVERSE_END_SHORT = (
    -3.806176330013399e-05, 0.0001055529200990788, -3.6536790464391924e-05,
    -0.00035682906821493736, 0.0011142352316122917, -0.0020752658883327058, 0.0030773098300869418,
    -0.00444480404376156, 0.00613703043917542, 1.0045410737356404, 3.021078860653302,
)  # fmt: skip
# The same by sqrt(w) - 4.25 to w = 37, within 3e-7.
_INVERSE_FAR = (
    4.4228419388716185e-07, 7.385367430803616e-08, -7.898271663529444e-06, 1.452538893291879e-05,
    -4.1166978355998305e-07, 3.2556603300289888e-06, -7.375847014405764e-05, 0.00022903948742881983,
    -0.0006043602081932415, 0.0007073737201927438, 1.0099779517014442, 4.09222369581127,
)  # fmt: skip
# (erfinv(x) / x - sqrt(pi) / 2) / s by s = x * x to 1/4, times s within 2e-17.
_INVERSE_NEAR = (
    0.09951397716009813, -0.0543975033519298, 0.05823487511902459, 0.014647922534589715,
    0.029968080039894627, 0.03143160540567929, 0.03648851738325005, 0.042835401841888124,
    0.0517313311454083, 0.06495961665938374, 0.08655212925396849, 0.1275561753055423,
    0.23201366653465452,
)  # fmt: skip
_HALF_ROOT_PI = (0.886226925452758, -3.8332932499128993e-17)


def _rough_tail(a: Number, coefficients: tuple[float, ...]) -> Number:
    """exp(a**2) erfc(a) for a double a >= 0, to some units in the last place."""
    return in_chains((a - _CENTRE) / (a + _CENTRE), coefficients) / fma(a, 2.0, 1.0)


def _scaled_tail(a: Number, short: bool = False) -> tuple[Number, Number]:
    """exp(a**2) erfc(a) for a double a from 0.47 to 28, in two parts.

    Nothing that is added to a `short` one, or multiplied with it, is rounded.
    """
    above, below, end = a - _CENTRE, a + _CENTRE, fma(a, 2.0, 1.0)
    if short:
        t, t_low = _quotient(above, None, below, None)
    else:
        lows = two_sum(a, a.like(-_CENTRE))[1], two_sum(a, a.like(_CENTRE))[1]
        t, t_low = _quotient(above, lows[0], below, lows[1])
    product, low = two_product(t, in_chains(t, _SCALED[:-2], 2))
    first, lost = two_sum(a.like(_SCALED[-2]), product)
    low = low + lost
    product, more = two_product(t, first)
    second, lost = two_sum(a.like(_SCALED[-1]), product)
    low = fma(t, low, fma(t_low, in_chains(t, _SLOPE), more + (lost + _SCALED_END)))
    return _quotient(second, low, end, None if short else two_sum(a.like(1.0), a * 2.0)[1])


def _quotient(
    above: Number, above_low: Number | None, below: Number, below_low: Number | None
) -> tuple[Number, Number]:
    """The quotient of numbers, which may have second parts, in two parts."""
    inverse = 1.0 / below
    q = above * inverse
    rest = fma(-q, below, above)
    if above_low is not None:
        rest = rest + above_low
    if below_low is not None:
        rest = fma(-q, below_low, rest)
    return q, rest * inverse


def _exponential(x: Number, low: Number | None) -> tuple[Number, Number, Number]:
    """e**(x + low) of doubles as 2**n times the sum of two parts: (n, part, part)."""
    n, p = x.w.power_less_one(x.value)
    high, rest = two_sum(x.like(1.0), Number(x.w, p))
    return Number(x.w, n), high, rest if low is None else fma(low, high, rest)


def _tail(a: Number) -> Number:
    """erfc(a) for a double a >= 0.47; NaN for NaN."""
    a = where(a > 28.0, 28.0, a)
    scaled, scaled_low = _scaled_tail(a)
    square, low = two_product(a, a)
    n, high, rest = _exponential(-square, -low)
    product, lost = two_product(high, scaled)
    return scale(product + (lost + fma(high, scaled_low, rest * scaled)), n)


def _tail_short(a: Number) -> Number:
    """erfc(a) for a double a >= 0 in float32's precision; NaN for NaN."""
    a = where(a > 28.0, 28.0, a)
    return exp2(a * a * -math.log2(math.e)) * _rough_tail(a, _SCALED_SHORT)


def erf(x: Number) -> Number:
    """The error function (float64)."""
    a, s = abs(x), x * x
    small = fma(horner(s, _ERF), x, x)
    a = where(a > 6.0, 6.0, a)
    tail = Number(x.w, x.w.decay((-(a * a)).value)) * _rough_tail(a, _SCALED)
    return where(a < 1.0, small, (1.0 - tail).with_sign_of(x))


def erfc(x: Number) -> Number:
    """1 - erf(x)."""
    precise = x.type == "double"
    wide = x.to("double")
    a = abs(wide)
    tail = _tail(a) if precise else _tail_short(a)
    y = where(wide < 0.0, 2.0 - tail, tail)
    if precise:
        s = wide * wide
        y = where(a < 0.47, 1.0 - fma(horner(s, _ERF), wide, wide), y)
    return y.to(x.type)


def ndtr(x: Number) -> Number:
    """The standard normal distribution function (float64)."""
    return erfc(x * -_ROOT_HALF) * 0.5


def _short(x: Number) -> Number:
    """log(x) of a normal positive double, right to 30 bits."""
    e, y = short_log(x)
    return fma(e, math.log(2.0), y)


def _rough_inverse(x: Number, far: float, coefficients: tuple[float, ...]) -> Number:
    """erfinv of a double; `coefficients` are those of sqrt(w) - `far` where w is 5.5 or more."""
    w = -_short((1.0 - x) * (x + 1.0))
    near = in_chains(w - 2.75, _INVERSE_SHORT)
    return where(w < 5.5, near, in_chains(w.intrinsic("sqrt") - far, coefficients)) * x


def _improved_inverse(a: Number, y: Number) -> Number:
    """erfinv(a) of a double a >= 1/2, from a rough one, by a step of Halley's method."""
    y = where(y > 0.47, y, 0.47).to("float").to("double")
    scaled, low = _scaled_tail(y, short=True)
    n, high, rest = _exponential(y * y, None)
    complement = (1.0 - a) * scale(a.like(1.0), n)
    product, lost = two_product(complement, high)
    step = (scaled - product) + (low - fma(complement, rest, lost))
    step = step * _HALF_ROOT_PI[0]
    return y + fma(y * step, step, step)


def erfinv(x: Number) -> Number:
    """The inverse of the error function."""
    wide = x.to("double")
    size = abs(wide)
    if x.type == "float":
        y = _rough_inverse(wide, 3.1875, _INVERSE_END_SHORT)
    else:
        far = _improved_inverse(size, _rough_inverse(size, 4.25, _INVERSE_FAR)).with_sign_of(wide)
        s = wide * wide
        high, low = two_product(wide, _HALF_ROOT_PI[0])
        low = fma(wide, _HALF_ROOT_PI[1], low)
        near = high + fma(wide * s, in_chains(s, _INVERSE_NEAR), low)
        y = where(size < 0.5, near, far)
        y = where(size < 1e-290, wide * _HALF_ROOT_PI[0], y)
    end = where(size.equals(1.0), wide * _INFINITY, math.nan)
    return where(size < 1.0, y, end).to(x.type)


FUNCTIONS = {"erfc": erfc, "erfinv": erfinv}
