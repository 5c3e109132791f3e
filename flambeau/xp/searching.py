"""Functions of the array API standard that search, sort, index, and treat tensors as sets."""

from __future__ import annotations

from typing import Literal, NamedTuple

from .. import dtypes
from ..tensor import Tensor, functions
from .data_types import promoted
from .derivation import reduce


class UniqueAllResult(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCountsResult(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverseResult(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the first of the largest elements is, along an axis or in the flattened tensor."""
    return functions.argmax(_ordered(x), axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the first of the smallest elements is, along an axis or in the flattened tensor."""
    return functions.argmin(_ordered(x), axis, keepdims)


def _ordered(x: Tensor) -> Tensor:
    return x.to(dtypes.uint8) if x.dtype is dtypes.bool_ else x


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """Where elements are not zero: one int64 tensor of positions for each axis."""
    if not x.ndim:
        raise ValueError("nonzero: a 0-d tensor has no positions")
    return tuple(functions.nonzero(x, as_tuple=True))


def count_nonzero(
    x: Tensor, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> Tensor:
    """How many elements are not zero, as int64."""
    return reduce("sum", functions.ne(x, 0), axis, keepdims)


def searchsorted(
    x1: Tensor,
    x2: Tensor | int | float,
    /,
    *,
    side: Literal["left", "right"] = "left",
    sorter: Tensor | None = None,
) -> Tensor:
    """Where in the sorted vector `x1` each element of `x2` would go, as int64."""
    x1, x2 = promoted(x1, x2)
    if sorter is not None:
        sorter = sorter.to(dtypes.int64)
    return functions.searchsorted(x1, x2, side=side, sorter=sorter)


def where(condition: Tensor, x1: Tensor | complex, x2: Tensor | complex, /) -> Tensor:
    """`x1` where `condition`, of bool, is true, `x2` elsewhere, in their common type."""
    if condition.dtype is not dtypes.bool_:
        raise TypeError(f"where: the condition must be of bool, not {condition.dtype}")
    return functions.where(condition, *promoted(x1, x2))


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """The elements of `x` at the positions `indices` along an axis, which a vector need not name.

    >>> from flambeau import xp
    >>> xp.take(xp.asarray([5, 6, 7]), xp.asarray([2, 0]))
    tensor([7, 5])
    """
    if axis is None:
        if x.ndim != 1:
            raise ValueError("take: axis is required for a tensor that is no vector")
        axis = 0
    if not -x.ndim <= axis < x.ndim:
        raise IndexError(f"take: axis {axis} is out of range for {x.ndim} axes")
    return x[(slice(None),) * (axis % x.ndim) + (_positions(indices),)]


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """Elements of `x` by their positions along an axis, other axes broadcast."""
    indices = _positions(indices)
    indices = functions.where(indices < 0, indices + x.shape[axis], indices)
    return functions.take_along_dim(x, indices, axis)


def _positions(indices: Tensor) -> Tensor:
    if indices.dtype.category != dtypes.INTEGRAL:
        raise TypeError(f"indices must be integers, not {indices.dtype}")
    return indices.to(dtypes.int64)


def unique_all(x: Tensor, /) -> UniqueAllResult:
    """The distinct elements, where each comes first, which each element is, and counts."""
    values, inverse, counts = functions.unique(x, return_inverse=True, return_counts=True)
    order = functions.argsort(functions.flatten(inverse), stable=True)
    return UniqueAllResult(values, order[functions.cumsum(counts, 0) - counts], inverse, counts)


def unique_counts(x: Tensor, /) -> UniqueCountsResult:
    """The distinct elements and how often each comes."""
    return UniqueCountsResult(*functions.unique(x, return_counts=True))


def unique_inverse(x: Tensor, /) -> UniqueInverseResult:
    """The distinct elements, and which of them each element is."""
    return UniqueInverseResult(*functions.unique(x, return_inverse=True))


def unique_values(x: Tensor, /) -> Tensor:
    """The distinct elements, sorted."""
    return functions.unique(x)


def isin(x1: Tensor | int, x2: Tensor | int, /, *, invert: bool = False) -> Tensor:
    """Whether each element of `x1` is one of `x2`, or is not."""
    return functions.isin(*promoted(x1, x2), invert=invert)


def argsort(
    x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Tensor:
    """The order in which the elements along an axis are sorted, as int64."""
    return functions.argsort(x, dim=axis, descending=descending, stable=stable)


def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """`x` sorted along an axis."""
    return functions.sort(x, dim=axis, descending=descending, stable=stable)[0]


__all__ = [
    "argmax",
    "argmin",
    "argsort",
    "count_nonzero",
    "isin",
    "nonzero",
    "searchsorted",
    "sort",
    "take",
    "take_along_axis",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "where",
]
