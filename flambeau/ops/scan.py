"""Scans: running sums, products and extrema along a dimension, and their inverses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu import scans
from ..backends.cpu.elementwise import Fused
from ..backends.cpu.scalars import logaddexp
from ..compiler.expressions import trace
from .promotion import is_half, is_number, title, widened
from .record import Array, composite, structured
from .reductions import accumulator
from .shapes import wrap_dim


def _running_kind(name: str, input: Array, dtype: Any) -> Any:
    """The NumPy dtype of a running sum or product."""
    _, kind = accumulator(input, dtype)
    if kind.kind == "b":
        raise NotImplementedError(f"{name} is not implemented for 'Bool'")
    return kind


def _reverse_sum(m: Any, g: Any, dim: int) -> Any:
    return m.flip(m.cumsum(m.flip(g, (dim,)), dim), (dim,)) if g.ndim else g


@structured(out=True, inplace=True, grad={"input": lambda m, g, dim: _reverse_sum(m, g, dim)})
def cumsum(input: Array, dim: int, *, dtype: Any = None) -> Array:
    """The running sum along `dim`; integers are summed as int64.

    >>> flambeau.cumsum(flambeau.tensor([[1, 2, 3], [4, 5, 6]]), dim=1)
    tensor([[ 1,  3,  6],
            [ 4,  9, 15]])
    """
    kind = _running_kind("cumsum", input, dtype)
    d = wrap_dim(dim, input.ndim)
    if not input.ndim:
        return input.astype(kind)
    return scans.accumulate(input, d, np.add, kind)


def _cumprod_gradient(m: Any, g: Any, x: Any, out: Any, dim: int) -> Any:
    if not x.ndim:
        return g
    if not bool(m.any(m.eq(x, 0))):
        return _reverse_sum(m, g * m.conj(out), dim) / m.conj(x)
    # Row k of the square holds the running products with factor k left out, from place k on.
    d = wrap_dim(dim, x.ndim)
    last = m.transpose(x, d, -1)
    n = last.shape[-1]
    eye = np.eye(n, dtype=bool)
    square = m.cumprod(m.where(m.from_numpy(eye), 1, m.unsqueeze(last, -2)), -1)
    part = m.where(m.from_numpy(np.triu(np.ones((n, n), bool))), m.conj(square), 0)
    weighted = part * m.unsqueeze(m.transpose(g, d, -1), -2)
    return m.transpose(m.sum(weighted, -1), d, -1)


@structured(
    out=True,
    inplace=True,
    grad={"input": lambda m, g, input, out, dim: _cumprod_gradient(m, g, input, out, dim)},
)
def cumprod(input: Array, dim: int, *, dtype: Any = None) -> Array:
    """The running product along `dim`; integers are multiplied as int64.

    >>> flambeau.cumprod(flambeau.tensor([1, 2, 3, 4]), dim=0)
    tensor([ 1,  2,  6, 24])
    """
    kind = _running_kind("cumprod", input, dtype)
    d = wrap_dim(dim, input.ndim)
    if not input.ndim:
        return input.astype(kind)
    return scans.accumulate(input, d, np.multiply, kind)


def _running(input: Array, dim: int, pick: Any) -> tuple[Array, Array]:
    if not input.size:  # PyTorch asks nothing of it
        return input.copy(), np.zeros(input.shape, np.int64)
    if input.dtype.kind == "c":
        raise NotImplementedError(f"cummax and cummin are not implemented for '{title(input)}'")
    d = wrap_dim(dim, input.ndim)
    if not input.ndim:
        return input.copy(), np.asarray(0)
    return scans.extremes(input, d, pick)


def _scan_gradient(m: Any, g: Any, index: Any, shape: Any, dim: int) -> Any:
    return m.gather_back(g, dim, index, tuple(shape)) if shape else g


@structured(
    outputs=2,
    fields=("values", "indices"),
    out=True,
    grad={
        "input": lambda m, g, out1, input_shape, dim: _scan_gradient(
            m, g[0], out1, input_shape, dim
        )
    },
)
def cummax(input: Array, dim: int) -> tuple[Array, Array]:
    """The running maximum along `dim` and where it is (the last of equal ones).

    >>> values, indices = flambeau.cummax(flambeau.tensor([2, 1, 5, 5, 3]), dim=0)
    >>> values, indices
    (tensor([2, 2, 5, 5, 5]), tensor([0, 0, 2, 3, 3]))
    """
    return _running(input, dim, np.maximum)


@structured(
    outputs=2,
    fields=("values", "indices"),
    out=True,
    grad={
        "input": lambda m, g, out1, input_shape, dim: _scan_gradient(
            m, g[0], out1, input_shape, dim
        )
    },
)
def cummin(input: Array, dim: int) -> tuple[Array, Array]:
    """The running minimum along `dim` and where it is (the last of equal ones).

    >>> values, indices = flambeau.cummin(flambeau.tensor([2, 3, 1, 1]), dim=0)
    >>> values, indices
    (tensor([2, 2, 1, 1]), tensor([0, 0, 2, 3]))
    """
    return _running(input, dim, np.minimum)


def _logcumsumexp_gradient(m: Any, g: Any, x: Any, out: Any, dim: int) -> Any:
    if not x.ndim:
        return g

    void = m.eq(m.real(out), -math.inf)

    def part(h: Any) -> Any:
        # In logarithms, so that neither exp(x) nor exp(-out) can overflow.
        nothing = m.logical_or(m.eq(h, 0), void)
        rates = m.where(nothing, -math.inf, m.log(m.where(nothing, 1, h)) - m.conj(out))
        tail = m.logcumsumexp(m.flip(rates, (dim,)), dim)
        return m.exp(m.flip(tail, (dim,)) + m.conj(x))

    if m.dtype(x).is_complex:
        return part(g)
    return part(m.where(g > 0, g, 0)) - part(m.where(g < 0, -g, 0))


@structured(
    out=True,
    grad={"input": lambda m, g, input, out, dim: _logcumsumexp_gradient(m, g, input, out, dim)},
)
def logcumsumexp(input: Array, dim: int) -> Array:
    """log of the running sum of exp(input) along `dim`, without overflow.

    >>> flambeau.logcumsumexp(flambeau.tensor([0.0, 0.0, 5.0]), dim=0)
    tensor([0.0000, 0.6931, 5.0134])
    >>> flambeau.logcumsumexp(flambeau.tensor([100.0, 100.0]), dim=0)
    tensor([100.0000, 100.6931])
    """
    d = wrap_dim(dim, input.ndim)
    if input.dtype.kind in "biu":
        raise RuntimeError('"logcumsumexp_out_cpu" not implemented for integers')
    if not input.ndim or not input.size:
        return input.copy()
    x = widened(input)
    if x.dtype.kind == "c":
        out = np.moveaxis(x.copy(), d, 0)
        for i in range(1, len(out)):
            out[i] = logaddexp(out[i - 1], out[i])
        return np.moveaxis(out, 0, d)
    out = np.logaddexp.accumulate(x, d)
    return out.astype(input.dtype) if is_half(input) else out


# ---------------------------------------------------------------- differences and areas
@composite(out=True)
def diff(
    m: Any, input: Array, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None
) -> Array:
    """The n-th differences of neighbours along `dim`, `prepend` and `append` joined on first.

    >>> x = flambeau.tensor([1, 4, 9, 16])
    >>> flambeau.diff(x), flambeau.diff(x, n=2), flambeau.diff(x, prepend=flambeau.tensor([0]))
    (tensor([3, 5, 7]), tensor([2, 2]), tensor([1, 3, 5, 7]))
    """
    if not input.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    if not n:
        return m.clone(input)
    d = wrap_dim(dim, input.ndim)
    parts = [p for p in (prepend, input, append) if p is not None]
    x = m.cat(parts, d) if len(parts) > 1 else input
    for _ in range(min(n, x.shape[d])):
        size = x.shape[d]
        if not size:
            break
        if m.dtype(x) is dtypes.bool_:
            x = m.logical_xor(m.narrow(x, d, 1, size - 1), m.narrow(x, d, 0, size - 1))
        else:
            x = m.differences(x, d - x.ndim)
    return m.clone(x) if x is input else x


def _back_differences(m: Any, g: Any, dim: int) -> Any:
    edges = [0, 0] * (-1 - dim) + [1, 1]
    return m.neg(m.differences(m.constant_pad_nd(g, edges), dim))


@structured(method=False, grad={"input": _back_differences})
def differences(input: Array, dim: int) -> Array:
    """The differences of neighbours along `dim`, which is counted from the back."""
    x = widened(input)
    lead = (slice(None),) * (x.ndim + dim)
    pair = x[(*lead, slice(1, None))], x[(*lead, slice(None, -1))]
    out = np.subtract(*pair) if x.size < _LARGE else _DIFFERENCE(*pair)
    return out.astype(input.dtype, copy=False)


_LARGE = 1 << 13
"""Elements from which a kernel subtracts neighbours faster than NumPy."""
_DIFFERENCE = Fused("difference", trace(lambda m, x, y: x - y), ("x", "y"), np.subtract)


def _pairs(m: Any, y: Any, d: int) -> tuple[Any, Any, int]:
    n = y.shape[d]
    count = max(n - 1, 0)
    start = min(1, n)
    return m.narrow(y, d, start, count), m.narrow(y, d, 0, count), count


def _check_trapezoid(m: Any, name: str, y: Any, dx: Any) -> None:
    if not y.ndim:
        raise IndexError(f"{name}: a tensor without dimensions has none to sum along")
    if m.dtype(y).category == dtypes.BOOL:
        raise RuntimeError(f"{name}: received a bool input for `y`, but bool is not supported")
    if not isinstance(dx, (int, float)) or isinstance(dx, bool):
        raise RuntimeError(f"{name}: Currently, we only support dx as a real number.")


def _panels(m: Any, y: Any, x: Any, dx: Any, dim: int) -> tuple[Any, int]:
    """Twice the area of each panel under `y` along `dim`."""
    d = wrap_dim(dim, y.ndim)
    if x is None:
        right, left, _ = _pairs(m, y, d)
        return m.add(right, left) * dx, d
    if x.ndim == 1:
        shape = [1] * y.ndim
        shape[d] = x.shape[0]
        x = m.reshape(x, shape)
    while x.ndim < y.ndim:
        x = m.unsqueeze(x, 0)
    while y.ndim < x.ndim:
        y, d = m.unsqueeze(y, 0), d + 1
    right, left, _ = _pairs(m, y, d)
    after, before, _ = _pairs(m, x, d)
    return m.add(right, left) * m.sub(after, before), d


@composite(method=False, aliases=("trapz",))
def trapezoid(m: Any, y: Array, x: Any = None, dx: Any = 1, dim: int = -1) -> Array:
    """The area under `y` along `dim` by the trapezoidal rule, at points `x` or in steps of `dx`.

    >>> y = flambeau.tensor([1.0, 3.0, 5.0])
    >>> flambeau.trapezoid(y), flambeau.trapezoid(y, flambeau.tensor([0.0, 1.0, 5.0]))
    (tensor(6.), tensor(18.))
    """
    x, dx = (None, x) if x is not None and is_number(x) else (x, dx)
    _check_trapezoid(m, "trapezoid", y, dx)
    d = wrap_dim(dim, y.ndim)
    if x is None and not y.shape[d]:
        return m.sum(y, d, dtype=m.dtype(y))
    if x is None:
        ends = m.select(y, d, 0) + m.select(y, d, -1)
        return (m.sum(y, d) - ends * 0.5) * dx
    panels, d = _panels(m, y, x, dx, dim)
    return m.sum(panels, d) / 2.0


@composite(method=False)
def cumulative_trapezoid(m: Any, y: Array, x: Any = None, dx: Any = 1, dim: int = -1) -> Array:
    """The running area under `y` along `dim` by the trapezoidal rule.

    >>> flambeau.cumulative_trapezoid(flambeau.tensor([1.0, 3.0, 5.0]), dx=0.5)
    tensor([1., 3.])
    """
    _check_trapezoid(m, "cumulative_trapezoid", y, dx)
    panels, d = _panels(m, y, x, dx, dim)
    return m.cumsum(panels, d) / 2.0
