"""Reductions, scans and differences of the array API standard."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..tensor import Tensor, functions
from .derivation import pairs, reduce, reduction

_PLAIN = pairs("max:amax mean min:amin")
globals().update({name: reduction(name, target) for name, target in _PLAIN.items()})


def all(
    x: Tensor, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> Tensor:
    """Whether all elements over axes are true, as bool."""
    return reduce("all", x.to(dtypes.bool_), axis, keepdims)


def any(
    x: Tensor, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> Tensor:
    """Whether any element over axes is true, as bool."""
    return reduce("any", x.to(dtypes.bool_), axis, keepdims)


def accumulator(x: Tensor, dtype: dtypes.dtype | None) -> dtypes.dtype:
    """The type of a sum over `x`: 64 bits for integers, else its own."""
    if dtype is not None or x.dtype.inexact:
        return dtype or x.dtype
    unsigned = x.dtype is not dtypes.bool_ and not x.dtype.is_signed
    return dtypes.uint64 if unsigned else dtypes.int64


def sum(
    x: Tensor,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    dtype: dtypes.dtype | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The sum over axes; of integers in int64, or uint64 if they have no sign.

    >>> from flambeau import xp
    >>> xp.sum(xp.asarray([200, 100], dtype=xp.uint8))
    tensor(300, dtype=torch.uint64)
    """
    return reduce("sum", x, axis, keepdims, dtype=accumulator(x, dtype))


def prod(
    x: Tensor,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    dtype: dtypes.dtype | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The product over axes; of integers in int64, or uint64 if they have no sign."""
    return reduce("prod", x, axis, keepdims, dtype=accumulator(x, dtype))


def var(
    x: Tensor,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    correction: float = 0.0,
    keepdims: bool = False,
) -> Tensor:
    """The variance over axes: squares are divided by the number of elements less `correction`."""
    return reduce("var", x, axis, keepdims, correction=correction)


def std(
    x: Tensor,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    correction: float = 0.0,
    keepdims: bool = False,
) -> Tensor:
    """The standard deviation over axes, the root of `var`."""
    return reduce("std", x, axis, keepdims, correction=correction)


def cumulative_sum(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: dtypes.dtype | None = None,
    include_initial: bool = False,
) -> Tensor:
    """Sums of ever more elements along an axis, from that of none if `include_initial`."""
    return _scan(functions.cumsum, 0, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: dtypes.dtype | None = None,
    include_initial: bool = False,
) -> Tensor:
    """Products of ever more elements along an axis, from that of none if `include_initial`."""
    return _scan(functions.cumprod, 1, x, axis, dtype, include_initial)


def _scan(function: Any, first: int, x: Tensor, axis: Any, dtype: Any, initial: bool) -> Tensor:
    if axis is None:
        if x.ndim != 1:
            raise ValueError("axis is required for a tensor that is no vector")
        axis = 0
    result = function(x, axis, dtype=accumulator(x, dtype))
    if not initial:
        return result
    shape = list(x.shape)
    shape[axis] = 1
    return functions.cat([result.new_full(shape, first), result], axis)


def diff(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Differences of neighbours along an axis, taken `n` times."""
    return functions.diff(x, n=n, dim=axis, prepend=prepend, append=append)


__all__ = ["all", "any", "cumulative_prod", "cumulative_sum", "diff", "prod", "std", "sum", "var"]
__all__ += list(_PLAIN)
