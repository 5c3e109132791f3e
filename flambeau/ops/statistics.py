"""Statistics: variance, norms, quantiles, histograms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu import reductions as kernels
from .promotion import is_number, title, widened
from .record import Array, composite, reduction
from .shapes import count, restore_dims, wrap_dim, wrap_dims


# ---------------------------------------------------------------- variance
def _variance(input: Array, dim: Any, correction: float, keepdim: bool) -> Array:
    if input.dtype.kind in "biu":
        raise RuntimeError("std and var only support floating point and complex dtypes")
    axes = wrap_dims(dim, input.ndim)
    freedom = max(count(input.shape, dim) - correction, 0)
    found = kernels.spread(input, axes, keepdim)
    if found is not None:
        return np.asarray(np.true_divide(found[0], freedom))
    x = widened(input)
    apart = x
    if x.size:
        n = math.prod([x.shape[d] for d in axes])
        apart = x - np.add.reduce(x, axes, keepdims=True) / x.dtype.type(n)
    square = apart.real**2 + apart.imag**2 if x.dtype.kind == "c" else np.square(apart)
    total = np.add.reduce(square, axes, keepdims=keepdim)
    return np.asarray(np.true_divide(total, square.dtype.type(freedom)))


def _real_kind(input: Array) -> Any:
    return input.real.dtype if input.dtype.kind == "c" else input.dtype


def _apart(m: Any, x: Any, dim: Any, correction: float) -> Any:
    """The derivative of the variance: 2 (x - mean) / (n - correction)."""
    freedom = count(x.shape, dim) - correction
    scale = 2.0 / freedom if freedom > 0 else math.inf
    return (x - m.mean(x, dim, True)) * scale


@reduction(
    method=False,
    node="VarBackward0",
    grad={
        "input": lambda m, g, input, dim, correction, keepdim: (
            restore_dims(m, g, input.shape, dim, keepdim) * _apart(m, input, dim, correction)
        )
    },
)
def var_of(input: Array, dim: Any, correction: float, keepdim: bool) -> Array:
    """The variance over `dim`, with `correction` subtracted from the number of elements."""
    out = _variance(input, dim, correction, keepdim)
    return out.astype(_real_kind(input), copy=False)


def _std_gradient(
    m: Any, g: Any, x: Any, out: Any, dim: Any, correction: float, keepdim: bool
) -> Any:
    zero = m.eq(out, 0)
    scale = m.where(zero, 0, g / m.where(zero, 1, 2 * out))
    return restore_dims(m, scale, x.shape, dim, keepdim) * _apart(m, x, dim, correction)


@reduction(
    method=False,
    node="StdBackward0",
    grad={
        "input": lambda m, g, input, out, dim, correction, keepdim: _std_gradient(
            m, g, input, out, dim, correction, keepdim
        )
    },
)
def std_of(input: Array, dim: Any, correction: float, keepdim: bool) -> Array:
    """The standard deviation over `dim`, with `correction` subtracted from the count."""
    out = np.sqrt(_variance(input, dim, correction, keepdim))
    return out.astype(_real_kind(input), copy=False)


def _spread_options(dim: Any, unbiased: Any, correction: Any) -> tuple[Any, float]:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased else 0
    return dim, correction


@composite(out=True)
def var(
    m: Any,
    input: Array,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Array:
    """The variance over `dim`; `correction` (1) is subtracted from the number of elements.

    >>> x = flambeau.tensor([[1.0, 3.0], [2.0, 10.0]])
    >>> flambeau.var(x, dim=1), flambeau.var(x, dim=1, correction=0)
    (tensor([ 2., 32.]), tensor([ 1., 16.]))
    """
    dim, correction = _spread_options(dim, unbiased, correction)
    return m.var_of(input, dim, correction, keepdim)


@composite(out=True)
def std(
    m: Any,
    input: Array,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Array:
    """The standard deviation over `dim`; `correction` (1) is subtracted from the count.

    >>> x = flambeau.tensor([[0.0, 2.0, 4.0]])
    >>> flambeau.std(x, dim=1), flambeau.std(x[:, 1:], dim=1, correction=0)
    (tensor([2.]), tensor([1.]))
    """
    dim, correction = _spread_options(dim, unbiased, correction)
    return m.std_of(input, dim, correction, keepdim)


@composite(method=False)
def var_mean(
    m: Any,
    input: Array,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Array, Array]:
    """The variance and the mean over `dim`.

    >>> flambeau.var_mean(flambeau.tensor([1.0, 3.0, 5.0]))
    (tensor(4.), tensor(3.))
    """
    dim, correction = _spread_options(dim, unbiased, correction)
    return m.var_of(input, dim, correction, keepdim), m.mean(input, dim, keepdim)


@composite(method=False)
def std_mean(
    m: Any,
    input: Array,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Array, Array]:
    """The standard deviation and the mean over `dim`.

    >>> flambeau.std_mean(flambeau.tensor([1.0, 3.0, 5.0]))
    (tensor(2.), tensor(3.))
    """
    dim, correction = _spread_options(dim, unbiased, correction)
    return m.std_of(input, dim, correction, keepdim), m.mean(input, dim, keepdim)


# ---------------------------------------------------------------- norms
def _norm_gradient(m: Any, g: Any, x: Any, out: Any, ord: float, dim: Any, keepdim: bool) -> Any:
    g, out = (restore_dims(m, v, x.shape, dim, keepdim) for v in (g, out))
    if ord == 0:
        return m.mul(x, 0)
    if ord == 1:
        return m.sgn(x) * g
    zero = m.eq(out, 0)
    safe = m.where(zero, 1, out)
    if ord == 2:
        return x * m.where(zero, 0, g / safe)
    size = m.abs(x)
    if math.isinf(ord):
        # The extreme is looked for again: another memory order can round |x| otherwise.
        dims = wrap_dims(dim, x.ndim)
        far = (m.amax if ord > 0 else m.amin)(size, dims, True)
        mask = m.logical_or(m.eq(size, far), m.logical_and(m.isnan(size), m.isnan(far)))
        share = g / m.sum(mask, dims, True)
        return m.sgn(x) * m.where(mask, share, 0)
    nought = m.eq(size, 0)
    power = m.where(nought, 0, m.pow(m.where(nought, 1, size), ord - 1))
    return m.sgn(x) * power * m.where(zero, 0, g / m.pow(safe, ord - 1))


@reduction(
    spellings={"input": "x"},
    method=False,
    out=True,
    node="LinalgVectorNormBackward0",
    grad={
        "x": lambda m, g, x, out, ord, dim, keepdim: _norm_gradient(m, g, x, out, ord, dim, keepdim)
    },
)
def linalg_vector_norm(
    x: Array,
    ord: float = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Array:
    """The p-norm (`ord`) of all elements, or over the dimensions `dim`; real.

    >>> x = flambeau.tensor([[3.0, -4.0], [0.0, 1.0]])
    >>> flambeau.linalg.vector_norm(x, dim=1)
    tensor([5., 1.])
    >>> flambeau.linalg.vector_norm(x, 1), flambeau.linalg.vector_norm(x, flambeau.inf)
    (tensor(8.), tensor(4.))
    """
    if dtype is not None:
        x = x.astype(dtype.numpy_dtype)
    if x.dtype.kind in "biu":
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{title(x)}"
        )
    axes = wrap_dims(dim, x.ndim)
    kind = _real_kind(x)
    _check_norm_size(x, ord, axes)
    out = kernels.norm(x, ord, axes, keepdim)
    if out is None:
        out = _norm(np.abs(widened(x)), ord, axes, keepdim)
    return np.asarray(out).astype(kind, copy=False)


def _check_norm_size(x: Array, ord: float, axes: tuple[int, ...]) -> None:
    if (ord < 0 or ord == math.inf) and any(x.shape[d] == 0 for d in axes):
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {ord} norm on an empty tensor because the "
            "operation does not have an identity"
        )


def _norm(size: Array, ord: float, axes: tuple[int, ...], keepdim: bool) -> Any:
    if ord == 0:
        return np.count_nonzero(size, axes, keepdims=keepdim)
    if math.isinf(ord):
        pick = np.maximum if ord > 0 else np.minimum
        return pick.reduce(size, axes, keepdims=keepdim)
    if ord == 1:
        return np.add.reduce(size, axes, keepdims=keepdim)
    if ord == 2:
        return np.sqrt(np.add.reduce(np.square(size), axes, keepdims=keepdim))
    return np.power(np.add.reduce(np.power(size, ord), axes, keepdims=keepdim), 1.0 / ord)


@composite()
def norm(
    m: Any,
    input: Array,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    out: Any = None,
    dtype: Any = None,
) -> Array:
    """The p-norm over `dim`; "fro" is the 2-norm, "nuc" the sum of the singular values.

    >>> flambeau.norm(flambeau.tensor([[3.0, 4.0], [6.0, 8.0]]), dim=1)
    tensor([ 5., 10.])
    """
    into = {} if out is None else {"out": out}
    if p == "nuc":
        pair = (-2, -1) if dim is None else dim
        return m.linalg_matrix_norm(input, "nuc", pair, keepdim, dtype=dtype, **into)
    order = 2 if p in ("fro", None) else p
    return m.linalg_vector_norm(input, order, dim, keepdim, dtype=dtype, **into)


@composite()
def dist(m: Any, input: Array, other: Array, p: float = 2) -> Array:
    """The p-norm of input - other.

    >>> flambeau.dist(flambeau.tensor([1.0, 2.0]), flambeau.tensor([4.0, -2.0]))
    tensor(5.)
    """
    return m.linalg_vector_norm(m.sub(input, other), p)


@composite(inplace=True, out=True)
def renorm(m: Any, input: Array, p: float, dim: int, maxnorm: float) -> Array:
    """`input` with every slice along `dim` whose p-norm exceeds `maxnorm` scaled down to it.

    >>> flambeau.renorm(flambeau.tensor([[3.0, 4.0], [0.5, 0.0]]), p=2, dim=0, maxnorm=1)
    tensor([[0.6000, 0.8000],
            [0.5000, 0.0000]])
    """
    if input.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.ndim}")
    d = wrap_dim(dim, input.ndim)
    others = tuple(i for i in range(input.ndim) if i != d)
    norms = m.linalg_vector_norm(input, p, others, True)
    scale = m.where(norms > maxnorm, maxnorm / (norms + 1e-7), 1.0)
    return m.mul(input, scale)


# ---------------------------------------------------------------- quantiles
_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _check_quantile(name: str, m: Any, x: Any, q: Any, interpolation: str) -> None:
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, "
            f"but got {interpolation}"
        )
    if not m.dtype(x).is_floating_point:
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if m.dtype(q) is not m.dtype(x):
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    if q.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")


def _quantile(
    m: Any, name: str, x: Any, q: Any, dim: Any, keepdim: bool, interpolation: str, skip: bool
) -> Any:
    if is_number(q):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = m.number(float(q), x)
        _check_quantile(name, m, x, q, interpolation)
    else:
        _check_quantile(name, m, x, q, interpolation)
        if not m.holds(m.all(m.logical_and(q >= 0, q <= 1))):
            raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    shape, flat = tuple(x.shape), dim is None
    d = 0 if flat else wrap_dim(dim, x.ndim)
    ranked = m.reshape(x, (-1,)) if flat or not shape else m.movedim(x, d, -1)
    ranked = m.sort(ranked)[0]
    n = ranked.shape[-1]
    if not math.prod(shape):
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    points = m.reshape(q, (-1,))
    if skip:
        known = m.sum(m.logical_not(m.isnan(ranked)), -1, True)
        rank = m.clamp_min(points * (m.cast(known, m.dtype(x)) - 1), 0)
    else:  # a NaN is the last, and every quantile then
        unknown = m.isnan(m.narrow(ranked, -1, n - 1, 1))
        rank = m.where(unknown, float(n - 1), points * (n - 1))
    values = _between(m, ranked, rank, interpolation)
    values = m.movedim(values, -1, 0) if q.ndim else m.select(values, -1, 0)
    if not keepdim:
        return values
    kept = (1,) * len(shape) if flat or not shape else (*shape[:d], 1, *shape[d + 1 :])
    return m.reshape(values, (*q.shape, *kept))


def _between(m: Any, ranked: Any, rank: Any, interpolation: str) -> Any:
    if interpolation == "lower":
        rank = m.floor(rank)
    elif interpolation == "higher":
        rank = m.ceil(rank)
    elif interpolation == "nearest":
        rank = m.round(rank)
    below = m.cast(m.floor(rank), dtypes.int64)
    low = m.gather(ranked, -1, below)
    if interpolation not in ("linear", "midpoint"):
        return low
    high = m.gather(ranked, -1, m.cast(m.ceil(rank), dtypes.int64))
    if interpolation == "midpoint":
        return m.lerp(low, high, 0.5)
    return m.lerp(low, high, rank - m.floor(rank))


@composite(out=True)
def quantile(
    m: Any,
    input: Array,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Array:
    """The `q`-quantiles (numbers in [0, 1]) of all elements or along `dim`, q's shape in front.

    >>> flambeau.quantile(flambeau.tensor([1.0, 2.0, 3.0, 10.0]), flambeau.tensor([0.0, 0.5, 1.0]))
    tensor([ 1.0000,  2.5000, 10.0000])
    >>> flambeau.quantile(flambeau.tensor([1.0, 2.0]), 0.25, interpolation="higher")
    tensor(2.)
    """
    return _quantile(m, "quantile", input, q, dim, keepdim, interpolation, False)


@composite(out=True)
def nanquantile(
    m: Any,
    input: Array,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Array:
    """The `q`-quantiles of what is not NaN.

    >>> flambeau.nanquantile(flambeau.tensor([1.0, flambeau.nan, 3.0]), 0.5)
    tensor(2.)
    """
    return _quantile(m, "nanquantile", input, q, dim, keepdim, interpolation, True)


# ---------------------------------------------------------------- covariance
def _check_cov_weights(m: Any, input: Any, fweights: Any, aweights: Any) -> None:
    count = input.shape[-1] if input.ndim else 1
    for name, w, integral in (("fweights", fweights, True), ("aweights", aweights, False)):
        if w is None:
            continue
        if w.ndim > 1:
            raise RuntimeError(
                f"cov(): expected {name} to have one or fewer dimensions but got {name} with "
                f"{w.ndim} dimensions"
            )
        kind = m.dtype(w)
        if (kind.inexact or kind is dtypes.bool_) if integral else not kind.is_floating_point:
            wanted = "integral" if integral else "floating point"
            raise RuntimeError(
                f"cov(): expected {name} to have {wanted} dtype but got {name} with {kind} dtype"
            )
        size = w.shape[0] if w.ndim else 1
        if size != count:
            raise RuntimeError(
                f"cov(): expected {name} to have the same numel as there are observations in the "
                f"input but got {size} != {count}"
            )
        if size and bool(m.any(w < 0)):
            raise RuntimeError(f"cov(): {name} cannot be negative")


@composite()
def cov(
    m: Any, input: Array, *, correction: int = 1, fweights: Any = None, aweights: Any = None
) -> Array:
    """The covariance matrix of variables in rows, optionally weighted by observation.

    >>> flambeau.cov(flambeau.tensor([[0.0, 1.0, 2.0], [4.0, 2.0, 0.0]]))
    tensor([[ 1., -2.],
            [-2.,  4.]])
    """
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    _check_cov_weights(m, input, fweights, aweights)
    x = m.floating(input if input.ndim == 2 else m.reshape(input, (1, -1)))
    weights = fweights
    if aweights is not None:
        weights = aweights if weights is None else m.mul(weights, aweights)
    if weights is None:
        total: Any = x.shape[1]
        apart = x - m.mean(x, 1, True)
        scaled, freedom = apart, total - correction
    else:
        total = m.sum(weights)
        apart = x - m.sum(x * weights, 1, True) / total
        scaled = apart * weights
        lost = correction if aweights is None else correction * m.sum(weights * aweights) / total
        freedom = total - lost
    product = m.matmul(scaled, m.conj(m.transpose(apart, 0, 1)))
    if is_number(freedom):
        out = m.true_divide(product, _larger(freedom, 0))
    else:
        out = m.true_divide(product, m.clamp_min(freedom, 0))
    return m.reshape(out, ()) if out.shape[0] == 1 else out


def _larger(a: float, b: float) -> float:
    """The larger number (`max` is an op's name in many modules)."""
    return max(b, a)


@composite()
def corrcoef(m: Any, input: Array) -> Array:
    """The matrix of correlation coefficients of variables in rows.

    >>> flambeau.corrcoef(flambeau.tensor([[0.0, 2.0], [3.0, 1.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if input.ndim > 2:
        raise RuntimeError(
            "corrcoef(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    c = m.cov(input)
    if not c.ndim:
        return c / c
    spread = m.sqrt(m.diagonal(c))
    if m.dtype(spread).is_complex:
        spread = m.real(spread)
    return c / m.unsqueeze(spread, 1) / m.unsqueeze(spread, 0)
