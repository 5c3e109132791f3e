"""`make_tensor`: a tensor of random numbers of any dtype."""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import dtypes
from ..tensor import functions as fl


def _limits(dtype: dtypes.dtype) -> tuple[float, float]:
    """The least number of `dtype`, and the end (not included for integers) of its numbers."""
    if dtype is dtypes.bool_:
        return 0, 2
    if dtype.inexact:
        info = dtypes.finfo(dtype)
        return info.min, info.max
    whole = dtypes.iinfo(dtype)
    return whole.min, min(whole.max + 1, 2**63 - 1)


def _ordinary(dtype: dtypes.dtype) -> tuple[float, float]:
    """The range of values where none is asked for."""
    if dtype is dtypes.bool_:
        return 0, 2
    if dtype.inexact:
        return -9, 9
    return (-9, 10) if dtype.is_signed else (0, 10)


def _bounds(dtype: dtypes.dtype, low: float | None, high: float | None) -> tuple[float, float]:
    """`low` and `high` as `dtype` allows; ValueError where there is nothing between them."""
    least, end = _limits(dtype)
    usual = _ordinary(dtype)
    low = usual[0] if low is None else low
    high = usual[1] if high is None else high
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    if low == high and dtype.inexact:
        warnings.warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is "
            "deprecated since 2.1 and will be removed in 2.3. Use `torch.full(...)` instead.",
            FutureWarning,
            stacklevel=4,
        )
    elif low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    elif high < least or low >= end:
        raise ValueError(
            f"The value interval specified by `low` and `high` is [{low}, {high}), but {dtype} "
            f"only supports [{least}, {end})"
        )
    low, high = max(low, least), min(high, end)
    if dtype.inexact:
        return low, high
    return math.ceil(low) if low > least else low, math.ceil(high) if high < end else high


def _draw(shape: tuple[int, ...], dtype: dtypes.dtype, low: float, high: float, device: Any) -> Any:
    if not dtype.inexact:
        return fl.randint(int(low), int(high), shape, dtype=dtype, device=device)
    narrow = dtype.itemsize == 1
    made = fl.empty(shape, dtype=dtypes.float32 if narrow else dtype, device=device)
    part = fl.view_as_real(made) if dtype.is_complex else made
    if high - low >= dtypes.finfo(part.dtype).max:
        part.uniform_(low / 2, high / 2).mul_(2)
    elif low == high:
        part.fill_(low)
    else:
        part.uniform_(low, high)
    return made.to(dtype) if narrow else made


def make_tensor(
    *shape: Any,
    dtype: dtypes.dtype,
    device: Any,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Any:
    """A tensor of `shape` with values drawn uniformly from ``[low, high)``.

    By default they lie between -9 and 9 (unsigned: from 0). `noncontiguous` gives every second
    element of a larger tensor, `exclude_zero` replaces zeros by one or the smallest normal number.

    >>> make_tensor(2, 3, dtype=dtypes.int64, device="cpu", low=1, high=2).tolist()
    [[1, 1, 1], [1, 1, 1]]
    """
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got "
            f"{noncontiguous=} and {memory_format=}"
        )
    if requires_grad and not dtype.inexact:
        raise ValueError(
            f"`requires_grad=True` is not supported for boolean and integral dtypes, but got "
            f"{dtype=}"
        )
    if len(shape) == 1 and not isinstance(shape[0], int):
        shape = tuple(shape[0])
    apart = noncontiguous and math.prod(shape) > 1
    drawn = (*shape[:-1], 2 * shape[-1]) if apart else shape
    result = _draw(drawn, dtype, *_bounds(dtype, low, high), device)
    if apart:
        result = result[..., 1::2]
    elif memory_format is not None:
        result = result.clone(memory_format=memory_format)
    if exclude_zero:
        tiny: Any = dtypes.finfo(dtype).tiny if dtype.inexact else 1
        if dtype.is_complex:
            tiny = complex(tiny, tiny)
        result[result == 0] = tiny
    return result.requires_grad_() if requires_grad else result
