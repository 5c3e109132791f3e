"""Selection by truth values: where, nonzero, masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.cpu import selection as kernels
from ..dtypes import cast_number
from .promotion import is_number, promoted, title
from .record import Array, composite, shape_from_values, structured
from .shape import common_shape


@structured(
    method=False,
    node="WhereBackward0",
    grad={
        "input": lambda m, g, condition: m.where(condition, g, 0),
        "other": lambda m, g, condition: m.where(condition, 0, g),
    },
)
def select_where(condition: Array, input: Array, other: Array) -> Array:
    """`input` where `condition` holds, `other` elsewhere; all three broadcast."""
    if condition.dtype != bool:
        if condition.dtype != np.uint8:
            raise RuntimeError(
                "where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{title(condition)}"
            )
        condition = condition.astype(bool)
    if input.dtype != other.dtype:
        input, other = promoted([input, other])
    return kernels.where(condition, input, other)


@composite(method=False, out=True)
def where(m: Any, condition: Array, input: Any = None, other: Any = None) -> Any:
    """`input` where `condition` holds, else `other` (tensors or numbers); alone: `nonzero`.

    >>> x = flambeau.tensor([-2, 3, -1])
    >>> flambeau.where(x > 0, x, 0)
    tensor([0, 3, 0])
    >>> flambeau.where(x < 0)
    (tensor([0, 2]),)
    """
    if input is None and other is None:
        return m.nonzero(condition, as_tuple=True)
    if is_number(input):
        input = m.number(input, None if is_number(other) else other)
    if is_number(other):
        other = m.number(other, input)
    return m.select_where(condition, input, other)


@structured(method=False, meta=shape_from_values, excuse="indices")
def nonzero_rows(input: Array) -> Array:
    """The index of every element that is not zero, in rows, int64."""
    return kernels.nonzero(input)


@composite(out=True)
def nonzero(m: Any, input: Array, *, as_tuple: bool = False) -> Any:
    """The index of every element that is not zero: a row each, or a tensor for each dimension.

    >>> flambeau.nonzero(flambeau.tensor([[0, 7], [8, 0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    if as_tuple and not input.ndim:
        return m.unbind(m.nonzero_rows(m.reshape(input, (1,))), 1)
    rows = m.nonzero_rows(input)
    return m.unbind(rows, 1) if as_tuple else rows


@composite()
def argwhere(m: Any, input: Array) -> Array:
    """The index of every element that is not zero, in rows.

    >>> flambeau.argwhere(flambeau.tensor([0.0, 0.5, 0.0, 2.0]))
    tensor([[1],
            [3]])
    """
    return m.nonzero_rows(input)


@structured(excuse="indices", out=True)
def nonzero_static(input: Array, *, size: int, fill_value: int = -1) -> Array:
    """`nonzero` with exactly `size` rows: cut off, or filled up with `fill_value`.

    >>> flambeau.nonzero_static(flambeau.tensor([4, 0, 6]), size=3)
    tensor([[ 0],
            [ 2],
            [-1]])
    """
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    rows = kernels.nonzero(input)[:size]
    out = np.full((size, input.ndim), fill_value, np.int64)
    out[: len(rows)] = rows
    return out


def _check_mask(name: str, mask: Array) -> None:
    if mask.dtype.kind != "b":
        raise RuntimeError(f"{name}: expected BoolTensor for mask, but got {title(mask)}")


# ---------------------------------------------------------------- masks
@structured(
    out=True,
    meta=shape_from_values,
    grad={
        "input": lambda m, g, mask, input_shape: m.masked_select_back(g, mask, tuple(input_shape))
    },
)
def masked_select(input: Array, mask: Array) -> Array:
    """The elements of `input` where `mask` holds, as a 1-d tensor; both broadcast.

    >>> x = flambeau.tensor([[1, 2], [3, 4]])
    >>> flambeau.masked_select(x, x > 1)
    tensor([2, 3, 4])
    """
    _check_mask("masked_select", mask)
    if input.shape != mask.shape:
        shape = common_shape([input.shape, mask.shape])
        input, mask = np.broadcast_to(input, shape), np.broadcast_to(mask, shape)
    return kernels.masked_select(*((input, mask) if input.ndim else (input[None], mask[None])))


@structured(
    method=False,
    meta=lambda input, mask, shape: np.broadcast_to(np.zeros((), input.dtype), tuple(shape)),
    grad={"input": lambda m, g, mask: m.masked_select(g, mask)},
)
def masked_select_back(input: Array, mask: Array, shape: Any) -> Array:
    """`input` spread where `mask` holds, zeros elsewhere: the derivative of `masked_select`."""
    zeros = np.zeros(common_shape([shape, mask.shape]), input.dtype)
    out = kernels.masked_put(zeros, np.broadcast_to(mask, zeros.shape), input)
    assert out is not None
    extra = out.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and out.shape[i + extra] != 1
    )
    return out.sum(axes, keepdims=True).reshape(shape) if axes else out


def _filled(input: Array, mask: Array, value: Any) -> Array:
    _check_mask("masked_fill", mask)
    return kernels.where(mask, cast_number(value, input.dtype), input)


@structured(
    method=False,
    node="MaskedFillBackward0",
    grad={"input": lambda m, g, mask: m.where(mask, 0, g)},
)
def masked_fill_number(input: Array, mask: Array, value: Any) -> Array:
    """`input` with a number where `mask` holds."""
    if isinstance(value, complex) and input.dtype.kind not in "cb":
        raise RuntimeError("value cannot be converted to type without overflow")
    return _filled(input, mask, value)


@structured(
    method=False,
    node="MaskedFillBackward1",
    grad={
        "input": lambda m, g, mask: m.where(mask, 0, g),
        "value": lambda m, g, mask: m.sum(m.where(mask, g, 0)),
    },
)
def masked_fill_tensor(input: Array, mask: Array, value: Array) -> Array:
    """`input` with a 0-d tensor's value where `mask` holds."""
    if value.dtype.kind == "c" and input.dtype.kind != "c":
        raise RuntimeError(
            f"value cannot be converted to type {title(input)} without overflow (masked_fill)"
        )
    if value.ndim:
        raise RuntimeError(
            "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value.ndim} dimension(s)."
        )
    return _filled(input, mask, value)


@composite(inplace=True)
def masked_fill(m: Any, input: Array, mask: Array, value: Any) -> Array:
    """`input` with `value` (a number or a 0-d tensor) where `mask` holds; both broadcast.

    >>> mask = flambeau.tensor([True, False, True])
    >>> flambeau.masked_fill(flambeau.tensor([1.0, 2.0, 3.0]), mask, -flambeau.inf)
    tensor([-inf, 2., -inf])
    """
    if is_number(value):
        return m.masked_fill_number(input, mask, value)
    return m.masked_fill_tensor(input, mask, value)


@structured(
    inplace=True,
    grad={
        "input": lambda m, g, mask: m.where(mask, 0, g),
        "source": lambda m, g, mask, source_shape: m.masked_scatter_back(
            g, mask, tuple(source_shape)
        ),
    },
)
def masked_scatter(input: Array, mask: Array, source: Array) -> Array:
    """`input` with the elements of `source`, in order, where `mask` holds.

    >>> mask = flambeau.tensor([True, False, True, False])
    >>> flambeau.masked_scatter(flambeau.zeros(4), mask, flambeau.tensor([8.0, 9.0]))
    tensor([8., 0., 9., 0.])
    """
    if mask.dtype.kind != "b":
        raise RuntimeError(
            f"masked_scatter_ only supports boolean masks, but got mask with dtype {title(mask)}"
        )
    if input.dtype != source.dtype:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes but got "
            f"{title(input)} and {title(source)}"
        )
    shape = common_shape([input.shape, mask.shape])
    wide = np.broadcast_to(mask, shape)
    out = kernels.masked_put(np.broadcast_to(input, shape), wide, source.reshape(-1))
    if out is None:
        need = int(np.count_nonzero(wide))
        raise RuntimeError(
            f"masked_scatter: expected source to have at least {need} elements (the number of ones "
            f"in mask), got {source.size}"
        )
    return out


@structured(
    method=False,
    grad={
        "input": lambda m, g, mask, input_shape: m.masked_scatter(
            m.mul(m.expand(m.reshape(m.sum(g), ()), tuple(input_shape)), 0), mask, g
        )
    },
)
def masked_scatter_back(input: Array, mask: Array, shape: Any) -> Array:
    """What of `input` came from the source of `masked_scatter`, in a tensor of its shape."""
    taken = kernels.masked_select(input, np.broadcast_to(mask, input.shape))
    out = np.zeros(shape, input.dtype)
    out.reshape(-1)[: taken.size] = taken
    return out
