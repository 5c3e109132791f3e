"""Gamma and Dirichlet draws, and how a draw moves with the parameter of its distribution.

A draw x is F^-1(u; a) for a fixed u, so dx/da = -(dF/da) / F'(x): implicit reparameterization
(Figurnov, Mohamed and Mnih 2018). With F' = p, dF/da is the integral of p(t) d(log p(t))/da over
t < x, and the same with the opposite sign over t > x. Where d(log p)/da does not change its sign on
one side, that side is integrated, by Gauss's rule over log t (or logit t) as far as p(t) / p(x)
matters: no term cancels another.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from .. import dtypes, variates
from ..backends.cpu.scalars import numpy_function
from ..generator import default_generator
from .record import Array, random, structured

_FAR = 40.0  # exp(-40) of the density is beyond double precision
_CHUNK = 4096
_SYMMETRIC, _DOUBLED = np.polynomial.legendre.leggauss(64)
_NODES, _WEIGHTS = (_SYMMETRIC + 1) / 2, _DOUBLED / 2


@random(
    name="_standard_gamma",
    method=False,
    node="StandardGammaBackward0",
    grad={"self": lambda m, g, self, out: m.mul(g, m._standard_gamma_grad(self, out))},
)
def standard_gamma(self: Array, generator: Any = None) -> Array:
    """Gamma numbers of the shapes given and scale 1; gradients flow to the shapes."""
    _check_wide("gamma_cpu", self)
    drawn = variates.standard_gamma(generator or default_generator, self)
    return drawn.reshape(self.shape)


@random(
    name="_sample_dirichlet",
    method=False,
    node="SampleDirichletBackward0",
    grad={"self": lambda m, g, self, out: _dirichlet_back(m, g, self, out)},
)
def sample_dirichlet(self: Array, generator: Any = None) -> Array:
    """Points of the simplex, Dirichlet with the concentrations given along the last dimension."""
    _check_wide("dirichlet", self)
    return variates.dirichlet(generator or default_generator, self)


def _check_wide(name: str, given: Array) -> None:
    kind = dtypes.from_numpy_dtype(given.dtype)
    if kind not in (dtypes.float32, dtypes.float64):
        raise NotImplementedError(f"\"{name}\" not implemented for '{kind.title}'")


def _dirichlet_back(m: Any, g: Any, concentration: Any, x: Any) -> Any:
    total = m.expand(m.sum(concentration, -1, True), concentration.shape)
    slope = m._dirichlet_grad(x, concentration, total)
    return m.mul(slope, m.sub(g, m.sum(m.mul(x, g), -1, True)))


def _slope_of_gamma_slope(m: Any, g: Any, self: Any, output: Any, out: Any) -> Any:
    """By `output`: from p dx/da = -dF/da, differentiated by x."""
    return g * (m.digamma(self) - m.log(output) - out * ((self - 1) / output - 1))


@structured(name="_standard_gamma_grad", method=False, grad={"output": _slope_of_gamma_slope})
def standard_gamma_grad(self: Array, output: Array) -> Array:
    """The derivative of the gamma numbers `output` by their shapes `self`."""
    return _in_chunks(_gamma_slope, self, output)


def _slope_of_beta_slope(m: Any, g: Any, x: Any, alpha: Any, total: Any, out: Any) -> Any:
    rest = 1 - x
    level = m.digamma(alpha) - m.digamma(total) - m.log(x)
    change = level - out * ((alpha - 1) * rest / x - (total - alpha))
    return g * change / rest


@structured(name="_dirichlet_grad", method=False, grad={"x": _slope_of_beta_slope})
def dirichlet_grad(x: Array, alpha: Array, total: Array) -> Array:
    """dx/da / (1 - x) for beta numbers `x` with the concentrations `alpha`, `total` - `alpha`."""
    return _in_chunks(_beta_slope, alpha, total - alpha, x)


def _in_chunks(slope: Callable[..., Array], *given: Array) -> Array:
    """`slope` of float64 vectors, for arrays of one shape, in the dtype of the first."""
    flat = [a.reshape(-1) for a in given]
    out = np.empty(given[0].size, given[0].dtype)
    with np.errstate(all="ignore"):
        for start in range(0, out.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            out[part] = slope(*(a[part].astype(np.float64) for a in flat))
    return out.reshape(given[0].shape)


# ---------------------------------------------------------------- gamma
def _gamma_slope(a: Array, x: Array) -> Array:
    x = np.maximum(x, np.finfo(np.float64).tiny)
    below = np.log(x) <= numpy_function("digamma")(a + 1)
    out = np.empty_like(x)
    out[below] = _gamma_slope_from_below(a[below], x[below])
    out[~below] = _gamma_slope_from_above(a[~below], x[~below])
    return out


def _gamma_slope_from_below(a: Array, x: Array) -> Array:
    """Over t = x exp(-u), after one step from `a` to a + 1, where the integrand is smooth at 0."""
    log_x, c = np.log(x), a + 1
    start = np.minimum((_FAR + x) / c, np.where(c > 3 * _FAR, np.sqrt(3 * _FAR / c), np.inf))
    end = _reach(lambda u: (c * u + x * np.expm1(-u), c - x * np.exp(-u)), start)
    u = end[:, None] * _NODES
    # (t / x)^c exp(x - t), in the form that does not cancel for large c
    exponent = (x - c)[:, None] * u - x[:, None] * (np.expm1(-u) + u)
    mass = np.exp(exponent) * ((numpy_function("digamma")(c) - log_x)[:, None] + u)
    tail = x * end * (mass @ _WEIGHTS)
    return x / a * (numpy_function("digamma")(c) - log_x + tail)


def _gamma_slope_from_above(a: Array, x: Array) -> Array:
    """Over t = x exp(u)."""
    start = np.sqrt(2 * _FAR / x)
    end = _reach(lambda u: (x * np.expm1(u) - a * u, x * np.exp(u) - a), start)
    u = end[:, None] * _NODES
    exponent = (a - x)[:, None] * u - x[:, None] * (np.expm1(u) - u)
    mass = np.exp(exponent) * ((np.log(x) - numpy_function("digamma")(a))[:, None] + u)
    return x * end * (mass @ _WEIGHTS)


def _reach(fall: Callable[[Array], tuple[Array, Array]], start: Array, sign: float = 1.0) -> Array:
    """Where the convex `fall` (given with its slope) is `_FAR`, by Newton from beyond it."""
    u = start
    for _ in range(100):
        value, slope = fall(u)
        step = (value - _FAR) / slope
        # A step that rounding made senseless is none; what is left only makes the range wider.
        step = np.where(np.isfinite(step) & (sign * step > 0), step, 0.0)
        u = u - step
        if not (np.abs(step) > 1e-3 * np.abs(u)).any():
            break
    return u


# ---------------------------------------------------------------- beta
_TURN = 8.0  # beyond it, the logistic function is an exponential


def _beta_slope(a: Array, b: Array, x: Array) -> Array:
    x = np.clip(x, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)
    digamma = numpy_function("digamma")
    level = digamma(a) - digamma(a + b)
    logit, sign = np.log(x) - np.log1p(-x), np.where(np.log(x) <= level, -1.0, 1.0)
    ends = (
        np.log(x) - (_FAR - b * np.log1p(-x)) / a,
        (_FAR - a * np.log(x) - b * np.log1p(-x)) / b,
    )

    def fall(w: Array) -> tuple[Array, Array]:
        value = -a * (_log_sigmoid(w) - np.log(x)) - b * (_log_sigmoid(-w) - np.log1p(-x))
        t = np.exp(_log_sigmoid(w))
        return value, b * t - a * (1 - t)

    far = _reach(fall, np.where(sign < 0, *ends), sign)
    low, high = np.minimum(far, logit), np.maximum(far, logit)
    # Beyond the turns the integrand is an exponential, once log t is nothing beside the level.
    turn = _TURN + np.maximum(-np.log(-level), 0.0)
    cuts = [low, np.clip(-_TURN, low, high), np.clip(turn, low, high), high]
    total = np.zeros_like(x)
    for left, right in pairwise(cuts):
        w = left[:, None] + (right - left)[:, None] * _NODES
        log_t = _log_sigmoid(w)
        exponent = a[:, None] * (log_t - np.log(x)[:, None]) + b[:, None] * (
            _log_sigmoid(-w) - np.log1p(-x)[:, None]
        )
        total += (right - left) * ((np.exp(exponent) * (log_t - level[:, None])) @ _WEIGHTS)
    return x * sign * total


def _log_sigmoid(w: Array) -> Array:
    return np.minimum(w, 0.0) - np.log1p(np.exp(-np.abs(w)))
