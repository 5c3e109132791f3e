"""Extrema and order statistics: the largest, the smallest, the k-th, the most frequent."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu import reductions as kernels
from ..backends.cpu import sorting
from .promotion import title, unsupported, widened
from .record import Array, composite, reduction
from .shapes import check_nonempty, restore_dims, wrap_dim, wrap_dims
from .sorting import by_rows


def _share_among_equals(m: Any, g: Any, x: Any, out: Any, dim: Any, keepdim: bool) -> Any:
    whole = restore_dims(m, out, x.shape, dim, keepdim)
    mask = m.logical_or(m.eq(x, whole), m.logical_and(m.isnan(x), m.isnan(whole)))
    dims = wrap_dims(dim, x.ndim)
    share = restore_dims(m, g, x.shape, dim, keepdim) / m.sum(mask, dims, True)
    return m.where(mask, share, 0)


def _to_chosen(m: Any, g: Any, index: Any, shape: Any, dim: int, keepdim: bool) -> Any:
    """Put the gradient of a selection along `dim` back to the places that were chosen."""
    if not shape:
        return g
    d = wrap_dim(dim, len(shape))
    if not keepdim:
        g, index = m.unsqueeze(g, d), m.unsqueeze(index, d)
    return m.put_along(g, index, d, tuple(shape))


def _refuse_complex(name: str, input: Array) -> None:
    if input.dtype.kind == "c":
        raise RuntimeError(f"\"{name}\" not implemented for '{title(input)}'")


def _extreme(name: str, input: Array, dim: Any, keepdim: bool, pick: Any) -> Array:
    found = _fold(input, dim, pick, keepdim)
    if found is not None:
        return found
    _refuse_complex(name, input)
    dims = wrap_dims(dim, input.ndim)
    if dim is not None and dim not in ((), []):
        for d in dims:
            check_nonempty(name, input.shape, d)
    elif not input.size:
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            "reduction dim with the 'dim' argument."
        )
    return np.asarray(pick.reduce(input, dims, keepdims=keepdim))


def _plan_extreme(x: Array, dim: Any, *rest: Any) -> Any:
    return kernels.plan_extreme(x, wrap_dims(dim, x.ndim), *rest)


def _plan_locate(x: Array, dim: Any, *rest: Any) -> Any:
    return kernels.plan_locate(x, None if dim is None else wrap_dim(dim, x.ndim), *rest)


_fold, _locate = kernels.Planned(_plan_extreme), kernels.Planned(_plan_locate)


@reduction(
    out=True,
    grad={
        "input": lambda m, g, input, out, dim, keepdim: _share_among_equals(
            m, g, input, out, dim, keepdim
        )
    },
)
def amax(input: Array, dim: Any = (), keepdim: bool = False) -> Array:
    """The largest element over the dimensions `dim`; equal ones share the gradient.

    >>> flambeau.amax(flambeau.tensor([[1, 9, 3], [4, 5, 6]]), dim=1)
    tensor([9, 6])
    """
    return _extreme("amax", input, dim, keepdim, np.maximum)


@reduction(
    out=True,
    grad={
        "input": lambda m, g, input, out, dim, keepdim: _share_among_equals(
            m, g, input, out, dim, keepdim
        )
    },
)
def amin(input: Array, dim: Any = (), keepdim: bool = False) -> Array:
    """The smallest element over the dimensions `dim`; equal ones share the gradient.

    >>> flambeau.amin(flambeau.tensor([[1, 9, 3], [4, 5, 6]]), dim=(0, 1))
    tensor(1)
    """
    return _extreme("amin", input, dim, keepdim, np.minimum)


@reduction(
    outputs=2,
    fields=("min", "max"),
    out=True,
    grad={
        "input": lambda m, g, input, out0, out1, dim, keepdim: (
            _share_among_equals(m, g[0], input, out0, dim, keepdim)
            + _share_among_equals(m, g[1], input, out1, dim, keepdim)
        )
    },
)
def aminmax(input: Array, *, dim: int | None = None, keepdim: bool = False) -> tuple[Array, Array]:
    """The smallest and the largest element, of all or along one dimension.

    >>> low, high = flambeau.aminmax(flambeau.tensor([[1, 9, 3], [4, 5, 6]]), dim=0)
    >>> low, high
    (tensor([1, 5, 3]), tensor([4, 9, 6]))
    """
    return (
        _extreme("aminmax", input, dim, keepdim, np.minimum),
        _extreme("aminmax", input, dim, keepdim, np.maximum),
    )


@reduction(
    method=False,
    node="MaxBackward1",
    grad={"input": lambda m, g, input, out: _share_among_equals(m, g, input, out, None, False)},
)
def max_all(input: Array) -> Array:
    """The largest element."""
    return _extreme("max", input, None, False, np.maximum)


@reduction(
    method=False,
    node="MinBackward1",
    grad={"input": lambda m, g, input, out: _share_among_equals(m, g, input, out, None, False)},
)
def min_all(input: Array) -> Array:
    """The smallest element."""
    return _extreme("min", input, None, False, np.minimum)


def _along(name: str, input: Array, dim: int, keepdim: bool, pick: Any) -> tuple[Array, Array]:
    found = _locate(input, dim, pick is np.argmax, keepdim, True)
    if found is not None:
        return found
    _refuse_complex(name, input)
    d = check_nonempty(name, input.shape, dim)
    if not input.ndim:
        return input.copy(), np.asarray(0)
    index = pick(widened(input), d, keepdims=True)
    values = np.take_along_axis(input, index, d)
    return (values, index) if keepdim else (values.squeeze(d), index.squeeze(d))


@reduction(
    method=False,
    outputs=2,
    fields=("values", "indices"),
    result="max",
    node="MaxBackward0",
    grad={
        "input": lambda m, g, out1, input_shape, dim, keepdim: _to_chosen(
            m, g[0], out1, input_shape, dim, keepdim
        )
    },
)
def max_dim(input: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    """The largest elements along `dim` and where they are."""
    return _along("max", input, dim, keepdim, np.argmax)


@reduction(
    method=False,
    outputs=2,
    fields=("values", "indices"),
    result="min",
    node="MinBackward0",
    grad={
        "input": lambda m, g, out1, input_shape, dim, keepdim: _to_chosen(
            m, g[0], out1, input_shape, dim, keepdim
        )
    },
)
def min_dim(input: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    """The smallest elements along `dim` and where they are."""
    return _along("min", input, dim, keepdim, np.argmin)


def _dispatch(m: Any, name: str, input: Any, dim: Any, keepdim: bool, other: Any) -> Any:
    if other is not None or hasattr(dim, "dtype"):
        return getattr(m, f"{name}imum")(input, dim if other is None else other)
    if dim is None:
        return getattr(m, f"{name}_all")(input)
    return getattr(m, f"{name}_dim")(input, dim, keepdim)


@composite(out=True)
def max(m: Any, input: Array, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element; along `dim`: (values, indices); with a tensor: the larger of pairs.

    >>> x = flambeau.tensor([[1, 9, 3], [4, 5, 6]])
    >>> flambeau.max(x), flambeau.max(x, 1).indices
    (tensor(9), tensor([1, 2]))
    """
    return _dispatch(m, "max", input, dim, keepdim, other)


@composite(out=True)
def min(m: Any, input: Array, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element; along `dim`: (values, indices); with a tensor: the smaller of pairs.

    >>> x = flambeau.tensor([[1, 9, 3], [4, 5, 6]])
    >>> flambeau.min(x), flambeau.min(x, 0).values
    (tensor(1), tensor([1, 5, 3]))
    """
    return _dispatch(m, "min", input, dim, keepdim, other)


def _place(name: str, input: Array, dim: int | None, keepdim: bool, pick: Any) -> Array:
    found = _locate(input, dim, pick is np.argmax, keepdim, False)
    if found is not None:
        return found[1]
    _refuse_complex(name, input)
    if input.dtype.kind == "b":
        raise RuntimeError(f"{name}(): does not support bool input")
    if dim is not None:
        check_nonempty(name, input.shape, dim)
        if not input.ndim:
            return np.asarray(0)
        dim = wrap_dim(dim, input.ndim)
    elif not input.size:
        raise IndexError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            "reduction dim with the 'dim' argument."
        )
    find = getattr(widened(input), name)  # argmax or argmin
    return np.asarray(find(dim, keepdims=keepdim), np.int64)


@reduction(out=True, excuse="an integer")
def argmax(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    """Where the largest element is (the first of equal ones), along `dim` or in the whole.

    >>> x = flambeau.tensor([[1, 9, 3], [4, 5, 6]])
    >>> flambeau.argmax(x), flambeau.argmax(x, dim=1)
    (tensor(1), tensor([1, 2]))
    """
    return _place("argmax", input, dim, keepdim, np.argmax)


@reduction(out=True, excuse="an integer")
def argmin(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    """Where the smallest element is (the first of equal ones), along `dim` or in the whole.

    >>> flambeau.argmin(flambeau.tensor([3, 1, 1]))
    tensor(1)
    """
    return _place("argmin", input, dim, keepdim, np.argmin)


# ---------------------------------------------------------------- by rank
def _chosen(x: Array, d: int, keepdim: bool, find: Any, *how: Any) -> tuple[Array, Array]:
    """The element of each row along `d` whose number `find` tells, and that number."""
    if x.size:
        values, index = by_rows(lambda r: sorting.picked(r, find(r, *how)[:, None]), x, d)
    else:
        lead = (*x.shape[:d], 1, *x.shape[d + 1 :])
        values, index = np.empty(lead, x.dtype), np.empty(lead, np.int64)
    return (values, index) if keepdim else (values.squeeze(d), index.squeeze(d))


@reduction(
    outputs=2,
    fields=("values", "indices"),
    out=True,
    grad={
        "input": lambda m, g, out1, input_shape, dim, keepdim: _to_chosen(
            m, g[0], out1, input_shape, dim, keepdim
        )
    },
)
def kthvalue(input: Array, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Array, Array]:
    """The k-th smallest elements along `dim` (counted from one) and where they are.

    >>> value, place = flambeau.kthvalue(flambeau.tensor([30, 10, 40, 20]), 2)
    >>> value, place
    (tensor(20), tensor(3))
    """
    if input.dtype.kind in "bc":
        raise unsupported("kthvalue_cpu", input)
    d = wrap_dim(dim, input.ndim)
    n = input.shape[d] if input.ndim else 1
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {d}")
    if not input.ndim:
        return input.copy(), np.asarray(0)
    return _chosen(input, d, keepdim, sorting.nth, k - 1)


def _median_along(input: Array, dim: int, keepdim: bool, ignore_nan: bool) -> tuple[Array, Array]:
    name = "nanmedian" if ignore_nan else "median"
    _refuse_complex(name, input)
    d = check_nonempty(name, input.shape, dim)
    if not input.ndim:
        return input.copy(), np.asarray(0)
    return _chosen(input, d, keepdim, sorting.median, ignore_nan)


@reduction(
    method=False,
    outputs=2,
    fields=("values", "indices"),
    result="median",
    node="MedianBackward1",
    grad={
        "input": lambda m, g, out1, input_shape, dim, keepdim: _to_chosen(
            m, g[0], out1, input_shape, dim, keepdim
        )
    },
)
def median_dim(input: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    """The lower median along `dim` and where it is."""
    return _median_along(input, dim, keepdim, False)


@reduction(
    method=False,
    outputs=2,
    fields=("values", "indices"),
    result="nanmedian",
    node="NanmedianBackward1",
    grad={
        "input": lambda m, g, out1, input_shape, dim, keepdim: _to_chosen(
            m, g[0], out1, input_shape, dim, keepdim
        )
    },
)
def nanmedian_dim(input: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    """The lower median along `dim` of what is not NaN, and where it is."""
    return _median_along(input, dim, keepdim, True)


def _median(m: Any, input: Any, dim: int | None, keepdim: bool, along: Any) -> Any:
    if dim is not None:
        return along(input, dim, keepdim)
    flat = m.reshape(input, (-1,))
    if not flat.shape[0]:
        kind = m.dtype(input)
        if kind.inexact:
            return m.sum(flat) * float("nan")
        # What NaN becomes when it is cast.
        least = np.iinfo(kind.numpy_dtype).min if kind.itemsize > 2 else kind is dtypes.bool_
        return m.number(least, input)
    return along(flat, 0)[0]


@composite(out=True)
def median(m: Any, input: Array, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median; along `dim`: (values, indices).

    >>> flambeau.median(flambeau.tensor([4, 1, 3, 2]))
    tensor(2)
    >>> flambeau.median(flambeau.tensor([[3, 1, 2], [6, 5, 4]]), dim=1).values
    tensor([2, 5])
    """
    return _median(m, input, dim, keepdim, m.median_dim)


@composite(out=True)
def nanmedian(m: Any, input: Array, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of what is not NaN; along `dim`: (values, indices).

    >>> flambeau.nanmedian(flambeau.tensor([5.0, float("nan"), 1.0, 3.0]))
    tensor(3.)
    """
    return _median(m, input, dim, keepdim, m.nanmedian_dim)


@reduction(
    outputs=2,
    fields=("values", "indices"),
    out=True,
    grad={
        "input": lambda m, g, out1, input_shape, dim, keepdim: _to_chosen(
            m, g[0], out1, input_shape, dim, keepdim
        )
    },
)
def mode(input: Array, dim: int = -1, keepdim: bool = False) -> tuple[Array, Array]:
    """The most frequent elements along `dim` (the smallest of several) and where they are last.

    >>> flambeau.mode(flambeau.tensor([[2, 3, 3], [5, 4, 5]])).values
    tensor([3, 5])
    """
    if input.dtype.kind == "c":
        raise unsupported("mode_cpu", input)
    d = check_nonempty("mode", input.shape, dim)
    if not input.ndim:
        return input.copy(), np.asarray(0)
    return _chosen(input, d, keepdim, sorting.mode)
