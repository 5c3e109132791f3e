"""Creation functions of the array API standard."""

from __future__ import annotations

import math
from typing import Any, Literal

from .. import dtypes
from ..tensor import Tensor, dlpack, functions


def _shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def asarray(
    obj: Any, /, *, dtype: dtypes.dtype | None = None, device: Any = None, copy: bool | None = None
) -> Tensor:
    """A tensor of numbers, nested sequences, buffers, or arrays of any library with DLPack.

    With ``copy=None`` it shares memory where it can. Raises ValueError where it cannot with
    ``copy=False``, and OverflowError for an integer that 64 bits cannot hold.
    """
    if isinstance(obj, int) and not isinstance(obj, bool):
        limits = dtypes.iinfo(dtype if dtype in _INTEGERS else dtypes.int64)
        if not limits.min <= obj <= limits.max and (dtype is None or dtype in _INTEGERS):
            raise OverflowError(f"{obj} is out of bounds for {limits.dtype}")
    if copy is False and isinstance(obj, bool | int | float | complex | list | tuple):
        raise ValueError(f"a {type(obj).__name__} cannot become a tensor without a copy")
    return functions.asarray(obj, dtype=dtype, device=device, copy=copy)


_INTEGERS = frozenset(t for t in dtypes.ALL if t.category == dtypes.INTEGRAL)


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
) -> Tensor:
    """Numbers from `start`, or 0, `step` apart, that come before `stop`.

    >>> from flambeau import xp
    >>> xp.arange(3, 0)
    tensor([], dtype=torch.int64)
    """
    if stop is None:
        start, stop = 0, start
    if dtype is None and all(isinstance(v, int) for v in (start, stop, step)):
        dtype = dtypes.int64
    if step and (stop - start) * math.copysign(1, step) <= 0:
        return functions.empty(0, dtype=dtype, device=device)
    return functions.arange(start, stop, step, dtype=dtype, device=device)


def empty(
    shape: int | tuple[int, ...], *, dtype: dtypes.dtype | None = None, device: Any = None
) -> Tensor:
    """A tensor of a shape, of whatever values."""
    return functions.empty(_shape(shape), dtype=dtype, device=device)


def ones(
    shape: int | tuple[int, ...], *, dtype: dtypes.dtype | None = None, device: Any = None
) -> Tensor:
    """A tensor of ones."""
    return functions.ones(_shape(shape), dtype=dtype, device=device)


def zeros(
    shape: int | tuple[int, ...], *, dtype: dtypes.dtype | None = None, device: Any = None
) -> Tensor:
    """A tensor of zeros."""
    return functions.zeros(_shape(shape), dtype=dtype, device=device)


def full(
    shape: int | tuple[int, ...],
    fill_value: complex,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
) -> Tensor:
    """A tensor of one value, which also decides the data type if `dtype` does not."""
    return functions.full(_shape(shape), fill_value, dtype=dtype, device=device)


def empty_like(x: Tensor, /, *, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """A tensor shaped as `x`, of whatever values."""
    return functions.empty_like(x, dtype=dtype, device=device)


def ones_like(x: Tensor, /, *, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """A tensor of ones, shaped as `x`."""
    return functions.ones_like(x, dtype=dtype, device=device)


def zeros_like(x: Tensor, /, *, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """A tensor of zeros, shaped as `x`."""
    return functions.zeros_like(x, dtype=dtype, device=device)


def full_like(
    x: Tensor,
    /,
    fill_value: complex,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
) -> Tensor:
    """A tensor of one value, shaped as `x`."""
    return functions.full_like(x, fill_value, dtype=dtype, device=device)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
) -> Tensor:
    """A matrix of zeros with ones on its `k`-th diagonal, counted upwards from the main one.

    >>> from flambeau import xp
    >>> xp.eye(2, 3, k=1)
    tensor([[0., 1., 0.],
            [0., 0., 1.]])
    """
    n_cols = n_rows if n_cols is None else n_cols
    if not k:
        return functions.eye(n_rows, n_cols, dtype=dtype, device=device)
    rows = functions.arange(n_rows, device=device)
    on = functions.arange(n_cols, device=device) - rows[:, None] == k
    return on.to(dtype or dtypes.get_default_dtype())


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of another library's array, or with ``copy=True`` over a copy."""
    return dlpack.from_dlpack(x, device=device, copy=copy)


def linspace(
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    endpoint: bool = True,
) -> Tensor:
    """`num` numbers evenly spaced from `start` to `stop`, without it if not `endpoint`."""
    points = num if endpoint else num + 1
    return functions.linspace(start, stop, points, dtype=dtype, device=device)[:num]


def meshgrid(*arrays: Tensor, indexing: Literal["xy", "ij"] = "xy") -> tuple[Tensor, ...]:
    """The grid that vectors span, one tensor of coordinates for each."""
    return tuple(functions.meshgrid(*arrays, indexing=indexing)) if arrays else ()


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Matrices with zeros above their `k`-th diagonal."""
    return functions.tril(x, k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Matrices with zeros below their `k`-th diagonal."""
    return functions.triu(x, k)


__all__ = [
    "arange",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "full",
    "full_like",
    "linspace",
    "meshgrid",
    "ones",
    "ones_like",
    "tril",
    "triu",
    "zeros",
    "zeros_like",
]
