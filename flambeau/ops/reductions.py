"""Reductions: sums, means, products and truth over dimensions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu import reductions as kernels
from ..backends.cpu.counting import add as add_integers
from ..backends.cpu.reduction_kernels import as_it_is, over_count
from .record import Array, composite, reduction
from .shapes import count, restore_dims, wrap_dim, wrap_dims


def _spread(m: Any, g: Any, shape: Any, dim: Any, keepdim: bool) -> Any:
    return m.expand(restore_dims(m, g, shape, dim, keepdim), tuple(shape))


_ACCUMULATORS: dict[tuple[Any, Any], tuple[Any, Any]] = {}


def accumulator(input: Array, dtype: Any) -> tuple[Any, Any]:
    """The NumPy dtypes to sum in and to return."""
    key = (input.dtype, dtype)
    found = _ACCUMULATORS.get(key)
    if found is None:
        if dtype is not None:
            kind = dtype.numpy_dtype
        elif input.dtype.kind in "biu":
            kind = np.dtype(np.int64)
        else:
            kind = input.dtype
        half = dtypes.from_numpy_dtype(kind) in dtypes.HALF
        found = _ACCUMULATORS[key] = (np.dtype(np.float32) if half else kind, kind)
    return found


def _check_inexact(name: str, input: Array, dtype: Any) -> None:
    if dtype is None and input.dtype.kind in "biu":
        raise RuntimeError(
            f"{name}(): could not infer output dtype. Input dtype must be either a floating point "
            f"or complex dtype. Got: {dtypes.from_numpy_dtype(input.dtype).title}"
        )
    if dtype is not None and not dtype.inexact:
        raise RuntimeError(
            f"{name}(): could not infer output dtype. Optional dtype must be either a floating "
            f"point or complex dtype. Got: {dtype.title}"
        )


def _reduction_name(title: str, node: Any) -> str:
    """What a reduction is called on the tape: differently over all elements and over some."""
    return f"{title}Backward{int(node.s_dim is not None)}"


def _remembered(plan: Any) -> kernels.Planned:
    """What looks up the launch that `plan` makes for the dtype that `accumulator` says."""

    def plan_op(x: Array, dim: Any, keepdim: bool, dtype: Any, *rest: Any) -> Any:
        work, kind = accumulator(x, dtype)
        run = plan(x, wrap_dims(dim, x.ndim), work, keepdim, *rest)
        return run if run is None or kind is work else lambda x: run(x).astype(kind)

    return kernels.Planned(plan_op)


_total, _product = _remembered(kernels.plan_total), _remembered(kernels.plan_product)


@reduction(
    out=True,
    namer=lambda node: _reduction_name("Sum", node),
    grad={
        "input": lambda m, g, input_shape, dim, keepdim: _spread(m, g, input_shape, dim, keepdim)
    },
)
def sum(input: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    """The sum of all elements, or over the dimensions `dim`; integers are summed as int64.

    >>> x = flambeau.tensor([[1, 2], [3, 4]])
    >>> x.sum(), x.sum(dim=1), x.sum(dim=0, keepdim=True)
    (tensor(10), tensor([3, 7]), tensor([[4, 6]]))
    """
    total = _total(input, dim, keepdim, dtype, kernels.ITSELF, as_it_is)
    if total is not None:
        return total
    work, kind = accumulator(input, dtype)
    axes = wrap_dims(dim, input.ndim)
    if work == np.int64 and input.dtype.kind in "iub":
        total = add_integers(input, axes, keepdim)
    else:
        total = np.add.reduce(input, axes, work, keepdims=keepdim)
    if total.__class__ is not np.ndarray:
        total = np.asarray(total)
    return total if kind is work else total.astype(kind, copy=False)


@reduction(
    out=True,
    namer=lambda node: _reduction_name("Mean", node),
    grad={
        "input": lambda m, g, input_shape, dim, keepdim: (
            _spread(m, g, input_shape, dim, keepdim) / count(input_shape, dim)
        )
    },
)
def mean(input: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    """The mean of all elements, or over the dimensions `dim`; floating point and complex only.

    >>> x = flambeau.tensor([[1.0, 2.0], [3.0, 6.0]])
    >>> x.mean(), x.mean(dim=0)
    (tensor(3.), tensor([2., 4.]))
    """
    out = _total(input, dim, keepdim, dtype, kernels.ITSELF, over_count)
    if out is not None:
        return out
    _check_inexact("mean", input, dtype)
    work, kind = accumulator(input, dtype)
    axes = wrap_dims(dim, input.ndim)
    total = np.add.reduce(input, axes, work, keepdims=keepdim)
    out = np.true_divide(total, work.type(math.prod(input.shape[d] for d in axes)))
    return np.asarray(out).astype(kind, copy=False)


@reduction(
    out=True,
    grad={
        "input": lambda m, g, input, dim, keepdim: m.where(
            m.isnan(input), 0, _spread(m, g, input.shape, dim, keepdim)
        )
    },
)
def nansum(input: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    """`sum` with NaN counted as zero.

    >>> flambeau.nansum(flambeau.tensor([1.0, flambeau.nan, 2.5]))
    tensor(3.5000)
    """
    total = _total(input, dim, keepdim, dtype, kernels.UNLESS_NAN, as_it_is)
    if total is not None:
        return total
    if dtype is not None and dtype.is_complex:
        raise NotImplementedError(f"nansum is not implemented for '{dtype.title}'")
    if input.dtype.kind == "c":
        raise RuntimeError("nansum on CPU does not support complex inputs")
    if input.dtype.kind in "fV":
        input = np.where(np.isnan(input), input.dtype.type(0), input)
    return sum.forward(input, dim, keepdim, dtype=dtype)


@composite(out=True)
def nanmean(
    m: Any, input: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Array:
    """The mean of the elements that are not NaN.

    >>> flambeau.nanmean(flambeau.tensor([1.0, flambeau.nan, 2.0]))
    tensor(1.5000)
    """
    if not m.dtype(input).inexact:
        raise RuntimeError(
            "nanmean(): expected input to have floating point or complex dtype but got "
            f"{m.dtype(input).title}"
        )
    if dtype is not None and not dtype.inexact:
        raise RuntimeError(
            "nanmean(): could not infer output dtype. Optional dtype must be either a floating "
            f"point or complex dtype. Got: {dtype.title}"
        )
    counted = m.sum(m.logical_not(m.isnan(input)), dim, keepdim)
    return m.true_divide(m.nansum(input, dim, keepdim, dtype=dtype), counted)


def _product_gradient(m: Any, g: Any, x: Any, out: Any, dim: Any, keepdim: bool) -> Any:
    shape = tuple(x.shape)
    if dim is None:
        flat = m.reshape(x, (-1,))
        return m.reshape(_product_gradient(m, m.reshape(g, ()), flat, out, 0, False), shape)
    if not shape:
        return g
    g, whole = (restore_dims(m, v, shape, dim, keepdim) for v in (g, m.reshape(out, g.shape)))
    if not bool(m.any(m.eq(x, 0))):
        return g * m.conj(whole / x)
    return g * m.conj(_product_of_others(m, x, wrap_dim(dim, len(shape))))


def _product_of_others(m: Any, x: Any, d: int) -> Any:
    """For each element the product of all others along `d`, zeros allowed."""
    n = x.shape[d]
    one = m.mul(m.narrow(x, d, 0, 1), 0) + 1
    before = m.cumprod(m.cat([one, m.narrow(x, d, 0, n - 1)], d), d)
    turned = m.flip(x, (d,))
    after = m.flip(m.cumprod(m.cat([one, m.narrow(turned, d, 0, n - 1)], d), d), (d,))
    return before * after


@reduction(
    out=True,
    namer=lambda node: _reduction_name("Prod", node),
    grad={
        "input": lambda m, g, input, out, dim, keepdim: _product_gradient(
            m, g, input, out, dim, keepdim
        )
    },
)
def prod(
    input: Array, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None
) -> Array:
    """The product of all elements, or over one dimension; integers give int64.

    >>> x = flambeau.tensor([[1, 2], [3, 4]])
    >>> x.prod(), x.prod(dim=1)
    (tensor(24), tensor([ 2, 12]))
    """
    total = _product(input, dim, keepdim, dtype)
    if total is not None:
        return total
    work, kind = accumulator(input, dtype)
    total = np.multiply.reduce(input, wrap_dims(dim, input.ndim), work, keepdims=keepdim)
    return np.asarray(total).astype(kind, copy=False)


def _truth(input: Array, result: Any) -> Array:
    # A byte stands for a truth value in PyTorch, and stays one.
    return np.asarray(result).astype(np.uint8 if input.dtype == np.uint8 else bool, copy=False)


@reduction(out=True, excuse="a truth value")
def any(input: Array, dim: Any = None, keepdim: bool = False) -> Array:
    """Whether one element is not zero, over all or over the dimensions `dim`.

    >>> x = flambeau.tensor([[0, 0], [0, 3]])
    >>> x.any(), x.any(dim=1)
    (tensor(True), tensor([False,  True]))
    """
    axes = wrap_dims(dim, input.ndim)
    return _truth(input, np.logical_or.reduce(_truths(input), axes, keepdims=keepdim))


@reduction(out=True, excuse="a truth value")
def all(input: Array, dim: Any = None, keepdim: bool = False) -> Array:
    """Whether no element is zero, over all or over the dimensions `dim`.

    >>> x = flambeau.tensor([[1, 0], [2, 3]])
    >>> x.all(), x.all(dim=1)
    (tensor(False), tensor([False,  True]))
    """
    axes = wrap_dims(dim, input.ndim)
    return _truth(input, np.logical_and.reduce(_truths(input), axes, keepdims=keepdim))


def _truths(input: Array) -> Array:
    return input if input.dtype.kind == "b" else input != 0


@reduction(excuse="an integer")
def count_nonzero(input: Array, dim: Any = None) -> Array:
    """How many elements are not zero, int64.

    >>> flambeau.count_nonzero(flambeau.tensor([[1, 0], [2, 3]]), dim=0)
    tensor([2, 1])
    """
    truth = input if input.dtype == np.bool_ else input != 0
    return np.asarray(add_integers(truth, wrap_dims(dim, input.ndim)), np.int64)
