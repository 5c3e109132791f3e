"""Random numbers drawn by rejection, one at a time: Poisson, binomial, gamma, Dirichlet.

How many uniforms a value takes is only known when it is accepted, so these are loops; the uniforms
are the generator's float64 ones, consumed exactly as PyTorch does. All take and return flat arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

from .generator import Generator, Kernels, compiled_for

Array = np.ndarray[Any, np.dtype[Any]]

_CHUNK = 512
_LONGEST = 8192  # uniforms that a compiled sampler is given at a time
_FLOAT64 = np.dtype(np.float64)
_TINY = {np.dtype(t): np.finfo(t).tiny for t in (np.float32, np.float64)}
# PyTorch has these constants in single precision, also where it computes in double.
THIRD, SQUEEZE = float(np.float32(1 / 3)), float(np.float32(0.0331))
# log(k!) minus Stirling's approximation of it, for k up to 9.
STIRLING_TAILS = (
    0.0810614667953272,
    0.0413406959554092,
    0.0276779256849983,
    0.02079067210376509,
    0.0166446911898211,
    0.0138761288230707,
    0.0118967099458917,
    0.0104112652619720,
    0.00925546218271273,
    0.00833056343336287,
)
_STIRLING = np.array(STIRLING_TAILS)


class _Stream:
    """Uniforms and normals taken one by one, read ahead; what was not used is given back."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._values: list[float] = []
        self._used = 0

    def __enter__(self) -> _Stream:
        self._generator.lock.acquire()
        self._start = self._generator.mark(0)
        self._cached = self._generator.cached_normal
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        g = self._generator
        g.rewind(self._start)
        g.skip(2 * self._used)
        g.cached_normal = self._cached
        g.lock.release()

    def uniform(self) -> float:
        """A float64 uniform in [0, 1)."""
        if self._used == len(self._values):
            self._start = self._generator.mark(2 * _CHUNK)
            self._values, self._used = self._generator.uniform(_CHUNK, _FLOAT64).tolist(), 0
        self._used += 1
        return self._values[self._used - 1]

    def normal(self) -> float:
        """A standard normal number, every second one from the cache."""
        if self._cached is not None:
            value, self._cached = self._cached, None
            return value
        first, second = self.uniform(), self.uniform()
        r, t = math.sqrt(-2.0 * math.log1p(-second)), 2.0 * math.pi * first
        self._cached = r * math.sin(t)
        return r * math.cos(t)


def _each(generator: Generator, kind: str, draw: Callable[..., float], *arguments: Array) -> Array:
    """What `draw` gives for each element, float64; `kind` is the compiled sampler that agrees."""
    count = arguments[0].size
    if (compiled := compiled_for(8 * count)) is not None:
        columns = [a.astype(np.float64).ravel() for a in arguments]
        return _sampled(compiled, generator, kind, columns[0], columns[-1]) if count else columns[0]
    columns = [a.astype(np.float64).ravel().tolist() for a in arguments]
    with _Stream(generator) as stream:
        values = [draw(stream, *row) for row in zip(*columns, strict=True)]
    return np.array(values, np.float64)


def _sampled(compiled: Kernels, generator: Generator, kind: str, a: Array, b: Array) -> Array:
    count = a.size
    out, stream = np.empty(count), np.empty(0)
    place = np.zeros(2, np.int64)  # elements done, uniforms used
    with generator.lock:
        cached = generator.cached_normal
        cache = np.array([math.nan if cached is None else cached])
        while place[0] < count:
            rest = stream[place[1] :]
            wanted = min(8 + 4 * (count - int(place[0])), _LONGEST)
            mark = generator.mark(2 * wanted)
            stream = generator.uniform(wanted, _FLOAT64)
            if rest.size:
                stream = np.concatenate([rest, stream])
            place[1] = 0
            compiled.sample(kind, a, b, out, stream, stream.size, place, cache, _STIRLING, count)
        # The last element took some of the last uniforms drawn; what was not used is given back.
        generator.rewind(mark)
        generator.skip(2 * (int(place[1]) - rest.size))
        generator.cached_normal = None if math.isnan(cache[0]) else float(cache[0])
    return out


def poisson(generator: Generator, rate: Array) -> Array:
    """Poisson numbers with the rates `rate` (floating), in its dtype; RuntimeError below 0."""
    if not (rate >= 0).all():
        raise RuntimeError("poisson: invalid Poisson rate, expected rate to be non-negative")
    if rate.size and rate.max() == math.inf:
        raise RuntimeError("poisson: expected finite rates, got inf")
    return _each(generator, "poisson", _poisson, rate).astype(rate.dtype)


def _poisson(stream: _Stream, rate: float) -> float:
    if rate >= 10:
        return _poisson_by_rejection(stream, rate)
    if rate == 0:
        return 0
    # Count how many uniforms can be multiplied before the product falls below exp(-rate).
    limit, product, count = math.exp(-rate), 1.0, 0
    while True:
        product *= stream.uniform()
        if product <= limit:
            return count
        count += 1


def _poisson_by_rejection(stream: _Stream, rate: float) -> float:
    """Transformed rejection with squeeze, PTRS (Hoermann 1993)."""
    log_rate = math.log(rate)
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha, v_r = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2)
    while True:
        u, v = stream.uniform() - 0.5, stream.uniform()
        us = 0.5 - abs(u)
        if us == 0:
            continue
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        bound = -rate + k * log_rate - math.lgamma(k + 1)
        if _log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b) <= bound:
            return k


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


def binomial(generator: Generator, count: Array, prob: Array) -> Array:
    """Successes in `count` trials of probability `prob` (same size), in `count`'s dtype."""
    return _each(generator, "binomial", _binomial, count, prob).astype(count.dtype)


def _binomial(stream: _Stream, count: float, prob: float) -> float:
    if count <= 0 or prob <= 0:
        return 0
    if prob >= 1 or count == math.inf:
        return count
    if math.isnan(count) or math.isnan(prob):
        return math.nan
    if prob <= 0.5:
        return _binomial_of_rare(stream, count, prob)
    return count - _binomial_of_rare(stream, count, 1.0 - prob)


def _binomial_of_rare(stream: _Stream, count: float, prob: float) -> float:
    if count * prob >= 10:
        return _binomial_by_rejection(stream, count, prob)
    # Add up the geometric gaps between successes.
    log_miss, position, successes = math.log1p(-prob), 0.0, 0
    while True:
        u = stream.uniform()
        position += math.ceil(math.log(u) / log_miss) if u > 0 else math.inf
        if position > count:
            return successes
        successes += 1


def _binomial_by_rejection(stream: _Stream, count: float, prob: float) -> float:
    """Transformed rejection with squeeze, BTRS (Hoermann 1993)."""
    deviation = math.sqrt(count * prob * (1 - prob))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * prob
    c, v_r, odds = count * prob + 0.5, 0.92 - 4.2 / b, prob / (1 - prob)
    alpha, m = (2.83 + 5.1 / b) * deviation, math.floor((count + 1) * prob)
    while True:
        u, v = stream.uniform() - 0.5, stream.uniform()
        us = 0.5 - abs(u)
        if us == 0:
            continue
        k = math.floor((2 * a / us + b) * u + c)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0 or k > count:
            continue
        bound = (
            (m + 0.5) * math.log((m + 1) / (odds * (count - m + 1)))
            + (count + 1) * math.log((count - m + 1) / (count - k + 1))
            + (k + 0.5) * math.log(odds * (count - k + 1) / (k + 1))
            + _stirling_tail(m)
            + _stirling_tail(count - m)
            - _stirling_tail(k)
            - _stirling_tail(count - k)
        )
        if _log(v * alpha / (a / (us * us) + b)) <= bound:
            return k


def _stirling_tail(k: float) -> float:
    if k <= 9:
        return STIRLING_TAILS[int(k)]
    square = (k + 1) * (k + 1)
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)


def standard_gamma(generator: Generator, alpha: Array) -> Array:
    """Gamma numbers of the shapes `alpha` (float32 or float64) and rate 1, in its dtype."""
    wide = alpha.dtype == _FLOAT64
    kind, draw = ("gamma", _gamma) if wide else ("single gamma", _gamma_of_single)
    values = _each(generator, kind, draw, alpha).astype(alpha.dtype)
    return np.maximum(values, _TINY[alpha.dtype])


def dirichlet(generator: Generator, alpha: Array) -> Array:
    """Dirichlet numbers for each row of `alpha` (rows, categories), of the same shape and dtype."""
    values = _each(generator, "gamma", _gamma, alpha).reshape(alpha.shape)
    shares = (values / values.sum(axis=-1, keepdims=True)).astype(alpha.dtype)
    return np.clip(shares, _TINY[alpha.dtype], np.nextafter(alpha.dtype.type(1), 0))


def _same(x: float) -> float:
    return x


def _single(x: float) -> float:
    return float(np.float32(x))


def _gamma_of_single(stream: _Stream, alpha: float) -> float:
    return _gamma(stream, alpha, _single)


def _gamma(stream: _Stream, alpha: float, rounded: Callable[[float], float] = _same) -> float:
    """Marsaglia and Tsang's method (2000); `rounded` rounds to the type of `alpha`."""
    scale = 1.0
    if math.isnan(alpha):
        return math.nan
    if alpha < 1:
        if alpha <= 0:
            return 0.0
        scale = (1.0 - stream.uniform()) ** rounded(1.0 / alpha)
        alpha = rounded(alpha + 1.0)
    d = rounded(alpha - THIRD)
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = stream.normal()
        y = 1.0 + c * x
        if y <= 0:
            continue
        v, u, xx = y * y * y, 1.0 - stream.uniform(), x * x
        if u < 1.0 - SQUEEZE * xx * xx:
            return scale * d * v
        if math.log(u) < 0.5 * xx + d * (1.0 - v + math.log(v)):
            return scale * d * v
