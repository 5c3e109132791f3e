"""The samplers of flambeau/variates.py, compiled: the same decisions over the same uniforms.

A kernel goes through the elements until its uniforms run out, and says how far it came: the element
that it could not finish starts again, from its first uniform, with more of them. Products are
rounded, and functions are the C library's, so that the samples are those of the Python path.
"""

from __future__ import annotations

import math

from ...compiler.kernel import inline, kernel
from ...compiler.language import (
    F64,
    I64,
    Array,
    Static,
    ceil,
    f32,
    f64,
    floor,
    inf,
    libm,
    nan,
    rounded,
    sqrt,
)
from ...variates import SQUEEZE, THIRD

DONE, USED = 0, 1
"""Places of the counts of finished elements and of uniforms that they took."""
_TWO_PI = 2.0 * math.pi


@inline
def uniform(stream: Array[F64], place: Array[I64], size: int) -> float:
    """The next uniform; beyond the last one `place` tells that there was none."""
    at = place[USED]
    place[USED] = at + 1
    return stream[min(at, size - 1)]


@inline
def normal(stream: Array[F64], place: Array[I64], cache: Array[F64], size: int) -> float:
    """A standard normal number, every second one from the cache, which is NaN when empty."""
    value = cache[0]
    if value == value:
        cache[0] = nan
        return value
    first = uniform(stream, place, size)
    second = uniform(stream, place, size)
    r, t = sqrt(-2.0 * libm("log1p", -second)), rounded(_TWO_PI * first)
    cache[0] = rounded(r * libm("sin", t))
    return rounded(r * libm("cos", t))


@inline
def single(x: float, narrow: Static) -> float:
    """`x`, rounded to float32 if `narrow`."""
    if narrow:
        return f64(f32(x))
    return f64(x)


@inline
def gamma(
    alpha: float,
    stream: Array[F64],
    place: Array[I64],
    cache: Array[F64],
    size: int,
    narrow: Static,
) -> float:
    """Marsaglia and Tsang's method (2000)."""
    scale = 1.0
    if alpha != alpha:
        return nan
    if alpha < 1.0:
        if alpha <= 0.0:
            return 0.0
        base = 1.0 - uniform(stream, place, size)
        scale = libm("pow", base, single(1.0 / alpha, narrow))
        alpha = single(alpha + 1.0, narrow)
    d = single(alpha - THIRD, narrow)
    c = 1.0 / sqrt(9.0 * d)
    while place[USED] <= size:
        x = normal(stream, place, cache, size)
        y = 1.0 + rounded(c * x)
        if y <= 0.0:
            continue
        v, u, xx = rounded(y * y * y), 1.0 - uniform(stream, place, size), rounded(x * x)
        if u < 1.0 - rounded(SQUEEZE * xx * xx):
            return scale * d * v
        bound = rounded(0.5 * xx) + rounded(d * (1.0 - v + libm("log", v)))
        if libm("log", u) < bound:
            return scale * d * v
    return 0.0


@inline
def poisson(rate: float, stream: Array[F64], place: Array[I64], size: int) -> float:
    """Products of uniforms below 10; from there on PTRS (Hoermann 1993)."""
    if rate < 10.0:
        count = 0.0
        if rate > 0.0:
            limit, product = libm("exp", -rate), uniform(stream, place, size)
            while product > limit and place[USED] <= size:
                count += 1.0
                product *= uniform(stream, place, size)
        return count
    log_rate = libm("log", rate)
    b = 0.931 + rounded(2.53 * sqrt(rate))
    a = -0.059 + rounded(0.02483 * b)
    inverse_alpha, v_r = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2.0)
    while place[USED] <= size:
        u = uniform(stream, place, size) - 0.5
        v = uniform(stream, place, size)
        us = 0.5 - abs(u)
        if us == 0.0:
            continue
        k = floor(rounded((2.0 * a / us + b) * u) + rate + 0.43)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0.0 or (us < 0.013 and v > us):
            continue
        bound = -rate + rounded(k * log_rate) - libm("lgamma", k + 1.0)
        level = libm("log", v) + libm("log", inverse_alpha)
        if level - libm("log", a / (us * us) + b) <= bound:
            return k
    return 0.0


@inline
def stirling_tail(k: float, tails: Array[F64]) -> float:
    """log(k!) less Stirling's approximation of it."""
    if k <= 9.0:
        return tails[max(int(k), 0)]
    square = rounded((k + 1.0) * (k + 1.0))
    return (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / square) / square) / (k + 1.0)


@inline
def binomial_of_rare(
    count: float, prob: float, stream: Array[F64], place: Array[I64], size: int, tails: Array[F64]
) -> float:
    """The gaps between few successes, added up; else BTRS (Hoermann 1993)."""
    if count * prob < 10.0:
        log_miss, position, successes = libm("log1p", -prob), 0.0, -1.0
        while position <= count and place[USED] <= size:
            position += ceil(libm("log", uniform(stream, place, size)) / log_miss)
            successes += 1.0
        return successes
    deviation = sqrt(count * prob * (1.0 - prob))
    b = 1.15 + rounded(2.53 * deviation)
    a = -0.0873 + rounded(0.0248 * b) + rounded(0.01 * prob)
    c, v_r, odds = rounded(count * prob) + 0.5, 0.92 - 4.2 / b, prob / (1.0 - prob)
    alpha, m = rounded((2.83 + 5.1 / b) * deviation), floor((count + 1.0) * prob)
    while place[USED] <= size:
        u = uniform(stream, place, size) - 0.5
        v = uniform(stream, place, size)
        us = 0.5 - abs(u)
        if us == 0.0:
            continue
        k = floor(rounded((2.0 * a / us + b) * u) + c)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0.0 or k > count:
            continue
        bound = (
            rounded((m + 0.5) * libm("log", (m + 1.0) / (odds * (count - m + 1.0))))
            + rounded((count + 1.0) * libm("log", (count - m + 1.0) / (count - k + 1.0)))
            + rounded((k + 0.5) * libm("log", odds * (count - k + 1.0) / (k + 1.0)))
            + stirling_tail(m, tails)
            + stirling_tail(count - m, tails)
            - stirling_tail(k, tails)
            - stirling_tail(count - k, tails)
        )
        if libm("log", v * alpha / (a / (us * us) + b)) <= bound:
            return k
    return 0.0


@inline
def binomial(
    count: float, prob: float, stream: Array[F64], place: Array[I64], size: int, tails: Array[F64]
) -> float:
    """Successes in `count` trials of probability `prob`."""
    if count <= 0.0 or prob <= 0.0:
        return 0.0
    if prob >= 1.0 or count == inf:
        return count
    if count != count or prob != prob:
        return nan
    if prob <= 0.5:
        return binomial_of_rare(count, prob, stream, place, size, tails)
    return count - binomial_of_rare(count, 1.0 - prob, stream, place, size, tails)


@kernel
def sample(
    first: int,
    last: int,
    kind: Static,
    a: Array[F64],
    b: Array[F64],
    out: Array[F64],
    stream: Array[F64],
    size: int,
    place: Array[I64],
    cache: Array[F64],
    tails: Array[F64],
    count: int,
) -> None:
    """Draw elements of `out` from place[DONE] on, while `stream` (`size` uniforms) lasts."""
    going = True
    while going and place[DONE] < count:
        i, start, cached = place[DONE], place[USED], cache[0]
        value = 0.0
        if kind == "poisson":
            value = poisson(a[i], stream, place, size)
        elif kind == "binomial":
            value = binomial(a[i], b[i], stream, place, size, tails)
        else:
            value = gamma(a[i], stream, place, cache, size, kind == "single gamma")
        if place[USED] > size:
            place[USED], cache[0] = start, cached
            going = False
        else:
            out[i] = value
            place[DONE] = i + 1
