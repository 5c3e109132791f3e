"""Samplers by rejection over a generator's stream: Poisson, binomial and gamma.

They draw one value at a time, because how much of the stream a value takes depends on the values drawn.
Sources: Hoermann, "The transformed rejection method for generating Poisson random variables" (1993)
and "The generation of binomial random variates" (1993); Marsaglia and Tsang, "A simple method for
generating gamma variables" (2000).
"""

from __future__ import annotations

import math
from collections.abc import Callable

Uniform = Callable[[], float]


def poisson(rate: float, uniform: Uniform) -> int:
    """One Poisson number of mean `rate`."""
    if rate == 0:
        return 0
    if rate < 10:
        return _poisson_by_products(rate, uniform)
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)
    while True:
        u, v = uniform() - 0.5, uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        left = math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b)
        if left <= -rate + k * math.log(rate) - math.lgamma(k + 1):
            return k


def _poisson_by_products(rate: float, uniform: Uniform) -> int:
    limit, product, count = math.exp(-rate), 1.0, 0
    while True:
        product *= uniform()
        if product <= limit:
            return count
        count += 1


def binomial(count: float, p: float, uniform: Uniform) -> int:
    """One number of successes in `count` trials of probability `p`."""
    if count <= 0 or p <= 0:
        return 0
    if p >= 1:
        return int(count)
    if p > 0.5:
        return int(count) - binomial(count, 1 - p, uniform)
    return _binomial_by_inversion(count, p, uniform) if count * p < 10 else _btrs(count, p, uniform)


def _binomial_by_inversion(count: float, p: float, uniform: Uniform) -> int:
    # Sums of geometric waiting times.
    log_q, trials, successes = math.log1p(-p), 0.0, 0
    while True:
        trials += math.ceil(math.log(uniform()) / log_q)
        if trials > count:
            return successes
        successes += 1


def _stirling_tail(k: float) -> float:
    """log(k!) minus Stirling's approximation of it."""
    if k <= 9:
        return math.lgamma(k + 1) - ((k + 0.5) * math.log(k + 1) - (k + 1) + _LOG_ROOT_2_PI)
    x = (k + 1) * (k + 1)
    return (1 / 12 - (1 / 360 - 1 / 1260 / x) / x) / (k + 1)


_LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)


def _btrs(count: float, p: float, uniform: Uniform) -> int:
    deviation = math.sqrt(count * p * (1 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = count * p + 0.5
    v_r = 0.92 - 4.2 / b
    odds = p / (1 - p)
    alpha = (2.83 + 5.1 / b) * deviation
    m = math.floor((count + 1) * p)
    while True:
        u, v = uniform() - 0.5, uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + c)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0 or k > count:
            continue
        left = math.log(v * alpha / (a / (us * us) + b))
        right = (
            (m + 0.5) * math.log((m + 1) / (odds * (count - m + 1)))
            + (count + 1) * math.log((count - m + 1) / (count - k + 1))
            + (k + 0.5) * math.log(odds * (count - k + 1) / (k + 1))
            + _stirling_tail(m)
            + _stirling_tail(count - m)
            - _stirling_tail(k)
            - _stirling_tail(count - k)
        )
        if left <= right:
            return k


def gamma(alpha: float, uniform: Uniform, normal: Uniform) -> float:
    """One gamma number of shape `alpha` and scale 1."""
    scale = 1.0
    if alpha < 1:
        if alpha == 0:
            return 0.0
        scale = math.pow(1 - uniform(), 1 / alpha)
        alpha += 1
    d = alpha - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        y = 0.0
        while y <= 0:
            x = normal()
            y = 1 + c * x
        v = y * y * y
        u = 1 - uniform()
        xx = x * x
        if u < 1 - 0.0331 * xx * xx or math.log(u) < 0.5 * xx + d * (1 - v + math.log(v)):
            return scale * d * v
