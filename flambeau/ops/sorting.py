"""Sorting, searching in what is sorted, and finding what is unique."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.cpu import sorting as kernels
from ..backends.cpu.layout import contiguous
from .promotion import is_number, title, widened
from .record import Array, composite, shape_from_values, structured
from .shapes import at_dim, wrap_dim


def _sorted(x: Array, d: int, descending: bool) -> tuple[Array, Array]:
    """`x` in its stable order along `d`, and that order; NaN counts as the largest."""
    if x.dtype.kind == "c":
        raise RuntimeError("Sort does not support complex dtypes on CPU")
    if not x.size:
        return x.copy(), np.zeros(x.shape, np.int64)
    return by_rows(kernels.sort_rows, x, d, descending)


def by_rows(function: Any, x: Array, d: int, *given: Any) -> tuple[Array, Array]:
    """What `function` makes of the rows of `x` along `d`: elements of each, and their numbers."""
    last = d == x.ndim - 1
    lines = contiguous(widened(x) if last else widened(x).swapaxes(d, -1))
    rows = lines if lines.ndim == 2 else lines.reshape(-1, lines.shape[-1])
    values, numbers = function(rows, *given)
    if lines.ndim != 2:
        lead = (*lines.shape[:-1], -1)
        values, numbers = values.reshape(lead), numbers.reshape(lead)
    if values.dtype != x.dtype:
        values = values.astype(x.dtype)
    if last:
        return values, numbers
    return contiguous(values.swapaxes(d, -1)), contiguous(numbers.swapaxes(d, -1))


@structured(
    outputs=2,
    fields=("values", "indices"),
    result="sort",
    out=True,
    method=False,
    node="SortBackward0",
    grad={
        "input": lambda m, g, out1, input_shape, dim: (
            m.put_along(g[0], out1, wrap_dim(dim, len(input_shape)), tuple(input_shape))
            if len(input_shape)
            else g[0]
        )
    },
)
def sort_along(input: Array, dim: int, descending: bool) -> tuple[Array, Array]:
    """`input` sorted along `dim`, and where the elements came from."""
    _refuse_complex("sort", input)
    d = wrap_dim(dim, input.ndim)
    if not input.ndim:
        return input.copy(), np.asarray(0)
    return _sorted(input, d, descending)


@composite(out=True)
def sort(
    m: Any, input: Array, dim: int = -1, descending: bool = False, stable: bool | None = None
) -> Any:
    """`input` sorted along `dim` (equal elements keep their order), and the indices.

    >>> values, indices = flambeau.sort(flambeau.tensor([3, 1, 2]))
    >>> values, indices
    (tensor([1, 2, 3]), tensor([1, 2, 0]))
    """
    if isinstance(dim, bool):
        dim, descending = -1, dim
    return m.sort_along(input, dim, descending)


@composite(out=True)
def argsort(
    m: Any, input: Array, dim: int = -1, descending: bool = False, stable: bool = False
) -> Array:
    """The indices that sort `input` along `dim`.

    >>> flambeau.argsort(flambeau.tensor([3, 1, 2]), descending=True)
    tensor([0, 2, 1])
    """
    return m.sort_along(m.constant(input), dim, descending)[1]


@composite(out=True)
def msort(m: Any, input: Array) -> Array:
    """`input` sorted along its first dimension.

    >>> flambeau.msort(flambeau.tensor([[3, 1], [2, 5]]))
    tensor([[2, 1],
            [3, 5]])
    """
    return m.sort_along(input, 0, False)[0]


@structured(
    outputs=2,
    fields=("values", "indices"),
    out=True,
    grad={
        "input": lambda m, g, out1, input_shape, dim: (
            m.put_along(g[0], out1, wrap_dim(dim, len(input_shape)), tuple(input_shape))
            if len(input_shape)
            else g[0]
        )
    },
)
def topk(
    input: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Array, Array]:
    """The `k` largest (or smallest) elements along `dim`, in order, and their indices.

    >>> values, indices = flambeau.topk(flambeau.tensor([3, 1, 4, 1, 5]), 2)
    >>> values, indices
    (tensor([5, 4]), tensor([4, 2]))
    """
    d = wrap_dim(dim, input.ndim)
    n = input.shape[d] if input.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"selected index k out of range: {k}")
    if not input.ndim:
        return input.copy(), np.asarray(0)
    if k and input.size and input.dtype.kind != "c":
        return by_rows(kernels.smallest, input, d, k, largest)
    values, order = _sorted(input, d, largest)
    some = at_dim(d, slice(k))
    return np.ascontiguousarray(values[some]), np.ascontiguousarray(order[some])


# ---------------------------------------------------------------- unique elements
def _refuse_complex(name: str, input: Array) -> None:
    if input.dtype.kind == "c":
        raise NotImplementedError(f"{name} is not implemented for complex numbers")


@structured(method=False, outputs=3, meta=shape_from_values, excuse="no derivative")
def unique_of(input: Array, dim: int | None) -> tuple[Array, Array, Array]:
    """The sorted unique elements (or slices along `dim`), inverse indices and counts."""
    _refuse_complex("unique", input)
    if dim is None:
        values, inverse, counts = kernels.unique(input.reshape(-1))
        return values, inverse.reshape(input.shape), counts
    d = wrap_dim(dim, input.ndim)
    if input.shape.count(0) > 1:
        raise RuntimeError(
            "unique: more than one dimension has size 0, so unique cannot be applied along one"
        )
    if not input.shape[d]:
        return input.copy(), np.zeros(0, np.int64), np.zeros(0, np.int64)
    if not input.size:
        raise RuntimeError(
            "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied"
        )
    values, inverse, counts = np.unique(
        input, return_inverse=True, return_counts=True, axis=d, equal_nan=False
    )
    return values, inverse.reshape(-1).astype(np.int64), counts.astype(np.int64)


@structured(method=False, outputs=3, meta=shape_from_values, excuse="no derivative")
def unique_runs(input: Array, dim: int | None) -> tuple[Array, Array, Array]:
    """The first element (or slice) of each run of equal ones, run numbers and run lengths."""
    _refuse_complex("unique", input)
    flat = dim is None
    x = input.reshape(-1) if dim is None else np.moveaxis(input, wrap_dim(dim, input.ndim), 0)
    if not len(x):
        values = input.reshape(-1).copy() if flat else input.copy()
        return values, *np.zeros((2, 0), np.int64)
    changed = x[1:] != x[:-1]
    if changed.ndim > 1:
        changed = changed.any(tuple(range(1, changed.ndim)))
    starts = np.flatnonzero(np.concatenate(([True], changed)))
    inverse = np.cumsum(np.concatenate(([0], changed.astype(np.int64))))
    counts = np.diff(np.append(starts, len(x)))
    values = x[starts]
    if dim is not None:
        values = np.moveaxis(values, 0, wrap_dim(dim, input.ndim))
    return values, inverse.reshape(input.shape) if flat else inverse, counts


def _chosen(parts: Any, return_inverse: bool, return_counts: bool) -> Any:
    values, inverse, counts = parts
    found = (values,)
    if return_inverse:
        found += (inverse,)
    if return_counts:
        found += (counts,)
    return found if len(found) > 1 else values


@composite()
def unique(
    m: Any,
    input: Array,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The unique elements (or slices along `dim`), sorted; inverse indices and counts if asked.

    >>> flambeau.unique(flambeau.tensor([3, 1, 3, 2]), return_counts=True)
    (tensor([1, 2, 3]), tensor([1, 1, 2]))
    """
    return _chosen(m.unique_of(input, dim), return_inverse, return_counts)


@composite()
def unique_consecutive(
    m: Any,
    input: Array,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The first element of each run of equal ones; with run numbers and lengths if asked.

    >>> flambeau.unique_consecutive(flambeau.tensor([1, 1, 2, 2, 2, 1]), return_counts=True)
    (tensor([1, 2, 1]), tensor([2, 3, 1]))
    """
    return _chosen(m.unique_runs(input, dim), return_inverse, return_counts)


# ---------------------------------------------------------------- searching
@structured(method=False, excuse="indices")
def search(
    sorted_sequence: Array,
    input: Array,
    right: bool,
    out_int32: bool,
    sorter: Array | None = None,
) -> Array:
    """For each element of `input` the place in the sorted sequence where it would be inserted."""
    kind = np.int32 if out_int32 else np.int64
    rows, values = widened(sorted_sequence), widened(input)
    if sorter is not None:
        if sorter.shape != rows.shape:
            raise RuntimeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got "
                f"boundary tensor {list(rows.shape)} and sorter tensor {list(sorter.shape)}"
            )
        if sorter.dtype != np.int64:
            raise RuntimeError(
                f"torch.searchsorted(): sorter must be a tensor of long dtype but got dtype "
                f"{title(sorter)}"
            )
        if sorter.size and (sorter.min() < 0 or sorter.max() >= rows.shape[-1]):
            raise RuntimeError("torch.searchsorted(): sorter index out of range")
        rows = np.take_along_axis(rows, sorter, -1)
    if rows.ndim != 1 and (rows.ndim == 0 or rows.shape[:-1] != values.shape[:-1]):
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 "
            "dimensions of boundaries tensor and input value tensor must match, but we got "
            f"boundaries tensor {list(rows.shape)} and input value tensor {list(values.shape)}"
        )
    return kernels.search(rows, values, right, kind)


@composite(method=False, out=True)
def searchsorted(
    m: Any,
    sorted_sequence: Array,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Array:
    """Where each value (a tensor or a number) would be inserted into each sorted row.

    `side` "left" gives the first fitting place, "right" (or `right`) the last.

    >>> flambeau.searchsorted(flambeau.tensor([1, 3, 5]), flambeau.tensor([0, 3, 9]))
    tensor([0, 1, 3])
    >>> flambeau.searchsorted(flambeau.tensor([1, 3, 5]), flambeau.tensor([0, 3, 9]), right=True)
    tensor([0, 2, 3])
    """
    if side not in (None, "left", "right"):
        raise RuntimeError(
            f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}"
        )
    if side == "left" and right:
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left "
            "while right was True"
        )
    if is_number(input):
        if sorted_sequence.ndim != 1:
            raise RuntimeError(
                "torch.searchsorted(): input value can be a scalar only when boundaries tensor "
                f"dimension is 1, but we got boundaries tensor dim({sorted_sequence.ndim})"
            )
        input = m.number(input)
    return m.search(sorted_sequence, input, right or side == "right", out_int32, sorter)


@composite(method=False, out=True)
def bucketize(
    m: Any, input: Any, boundaries: Array, *, out_int32: bool = False, right: bool = False
) -> Array:
    """The number of the bucket between sorted `boundaries` into which each value falls.

    >>> flambeau.bucketize(flambeau.tensor([0.5, 2.0, 7.0]), flambeau.tensor([1.0, 2.0, 4.0]))
    tensor([0, 1, 3])
    """
    if boundaries.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    if is_number(input):
        input = m.number(input)
    return m.search(boundaries, input, right, out_int32)
