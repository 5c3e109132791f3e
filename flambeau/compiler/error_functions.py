"""The error function, its complement and inverse, and the normal distribution's.

For large arguments all come from exp(x**2) erfc(x), which times 1 + 2x is nearly constant and is
one polynomial of (x - 15/4) / (x + 15/4) over the whole range (Shepherd and Laframboise, "Chebyshev
approximation of (1 + 2x) exp(x**2) erfc(x)", 1981). The inverse is x times a polynomial of
-log(1 - x**2), or of its root (Giles, "Approximating the erfinv function", 2012). float32 is
computed in float64 but for erf and ndtr. Polynomials interpolate at Chebyshev nodes.
"""

from __future__ import annotations

import math

from .algebra import Number, fma, horner, two_product, where
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
# (1 + 2x) exp(x**2) erfc(x), within 2e-10 to x = 11 and 2e-16 to x = 28.
_SCALED_SHORT = (
    -6.428352234939004e-05, -0.00040936976214086174, 0.00030470642114320903, 0.0018326631103618646,
    -0.009723550449597615, 0.028345652764348764, -0.05870094993436938, 0.09230580776651134,
    -0.10880309707880606, 0.08227668492369634, 0.003585384569024592, -0.14024059793656585,
    1.2375126310186022,
)  # fmt: skip
_SCALED = (
    -2.4108215365422332e-09, -8.782125734803521e-10, 3.285083556233316e-08, 1.5996335215573707e-08,
    -2.5261465267715506e-07, -4.815839621672849e-08, 1.7481190468391965e-06,
    -9.801666755858578e-07, -1.1442990926805438e-05, 2.2387259638230133e-05,
    5.1648913469599865e-05, -0.00029015496529570924, 0.00029371366631088616, 0.001755626017152004,
    -0.009746579553431873, 0.028362277400457724, -0.05869339859030941, 0.09230432116153116,
    -0.10880393014171236, 0.08227673849011204, 0.003585415485463779, -0.1402405985855467,
    1.2375126308378275,
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
# The same by w - 3.125 for w < 6.25, by sqrt(w) - 3.25 for w < 16, and by sqrt(w) - 5.0625.
_INVERSE = (
    -2.362369698566107e-22, -1.6787330615256773e-19, 1.1027771591500033e-18,
    1.1125794759379464e-17, -1.290702354613073e-16, 2.166994626283574e-17, 6.581955305929239e-15,
    -4.0554139746886e-14, -8.106594456438496e-14, 2.6335724924608484e-12, -1.2977505202014966e-11,
    -5.4154417754696635e-11, 1.0512202440121784e-09, -4.112633104297614e-09,
    -2.907038666019143e-08, 4.2347877672780653e-07, -1.3654691796592068e-06,
    -1.3882523361276876e-05, 0.0001867342080212427, -0.0007407025341669402, -0.006033670871427011,
    0.2401581824255897, 1.6536545626831027,
)  # fmt: skip
_INVERSE_MIDDLE = (
    -1.5102695423335065e-08, 6.969241977629694e-10, 1.3104351499972014e-07, -2.713451105439456e-07,
    -2.7004219280868947e-08, 1.4987130784186127e-06, -3.986084395214756e-06,
    2.9257291901789823e-06, 1.2465167157087251e-05, -4.731898412011245e-05, 6.828708654753377e-05,
    2.4031257015092525e-05, -0.00035503780975963814, 0.0009532893637435638, -0.0016882755357337071,
    0.0024914420969817607, -0.003751208508215561, 0.00537091455357168, 1.0052589676941652,
    3.0838856104922208,
)  # fmt: skip
_INVERSE_END = (
    2.4693196084563386e-11, 5.2539723352069946e-12, -3.6695811798665887e-10,
    1.1413797834714118e-09, -2.4618581103572143e-09, 5.206679409454597e-09, -1.035912973071095e-08,
    2.0462406614365618e-08, -5.2303616601660486e-08, 1.9554125428267044e-07,
    -8.872261362380853e-07, 4.115367347100737e-06, -1.806295196349879e-05, 7.010167345254419e-05,
    -0.00019677853804059186, -0.00017730336124786207, 1.0102806778035605, 4.913049587233785,
)  # fmt: skip


def _exponential(x: Number) -> Number:
    """e**x of the number's own width."""
    return Number(x.w, x.w.exp(x.value))


def _tail(a: Number, precise: bool) -> Number:
    """erfc(a) for a double a >= 0; NaN for NaN."""
    a = where(a > 28.0, 28.0, a)
    t = (a - _CENTRE) / (a + _CENTRE)
    scaled = horner(t, _SCALED if precise else _SCALED_SHORT) / fma(a, 2.0, 1.0)
    if not precise:
        return exp2(a * a * -math.log2(math.e)) * scaled
    square, low = two_product(a, a)
    return fma(-low, scaled, scaled) * _exponential(-square)


def erf(x: Number) -> Number:
    """The error function (float64)."""
    s = x * x
    small = fma(horner(s, _ERF), x, x)
    large = (1.0 - _tail(abs(x), True)).with_sign_of(x)
    return where(abs(x) < 1.0, small, large)


def erfc(x: Number) -> Number:
    """1 - erf(x)."""
    precise = x.type == "double"
    wide = x.to("double")
    tail = _tail(abs(wide), precise)
    y = where(wide < 0.0, 2.0 - tail, tail)
    if precise:
        s = wide * wide
        y = where(abs(wide) < 0.5, 1.0 - fma(horner(s, _ERF), wide, wide), y)
    return y.to(x.type)


def ndtr(x: Number) -> Number:
    """The standard normal distribution function (float64)."""
    return erfc(x * -_ROOT_HALF) * 0.5


def _short(x: Number) -> Number:
    """log(x) of a positive double, right to 38 bits."""
    e, y = short_log(x)
    return fma(e, math.log(2.0), y)


def erfinv(x: Number) -> Number:
    """The inverse of the error function."""
    precise = x.type == "double"
    wide = x.to("double")
    product = (1.0 - wide) * (wide + 1.0)
    w = -Number(x.w, x.w.log(product.value)) if precise else -_short(product)
    root = w.intrinsic("sqrt")
    if precise:
        y = where(
            w < 16.0,
            horner(root - 3.25, _INVERSE_MIDDLE),
            horner(root - 5.0625, _INVERSE_END),
        )
        y = where(w < 6.25, horner(w - 3.125, _INVERSE), y)
    else:
        y = where(
            w < 5.5, horner(w - 2.75, _INVERSE_SHORT), horner(root - 3.1875, _INVERSE_END_SHORT)
        )
    size = abs(wide)
    end = where(size.equals(1.0), wide * _INFINITY, math.nan)
    return where(size < 1.0, y * wide, end).to(x.type)


FUNCTIONS = {"erfc": erfc, "erfinv": erfinv}
