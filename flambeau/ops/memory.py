"""Copies, casts and fills: ops that move values without computing."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu.layout import cast, copied, with_format
from ..devices import preserve_format
from .promotion import is_number
from .record import Array, composite, structured


@structured(grad={"input": lambda m, g: g})
def clone(input: Array, *, memory_format: Any = None) -> Array:
    """A copy of `input` with memory of its own, through which gradients flow.

    >>> x = flambeau.zeros(2)
    >>> y = x.clone()
    >>> y[0] = 1
    >>> x, y
    (tensor([0., 0.]), tensor([1., 0.]))
    """
    if memory_format is None or memory_format is preserve_format:
        return copied(input)
    made = with_format(input, memory_format)
    return copied(input) if made is input else made


@structured(
    method=False,
    node="ToCopyBackward0",
    meta=lambda input, dtype: np.broadcast_to(np.zeros((), dtype.numpy_dtype), input.shape),
    grad={"input": lambda m, g, input_dtype: m.cast(g, input_dtype)},
)
def to_dtype(input: Array, dtype: Any) -> Array:
    """`input` cast to `dtype`."""
    kind = dtype.numpy_dtype
    if input.dtype.kind == "c" and kind.kind != "c":
        input = input.real
    return cast(input, kind)


@structured(grad={"input": lambda m, g: m.zero(g), "src": lambda m, g: g}, inplace=True)
def copy(input: Array, src: Array, non_blocking: bool = False) -> Array:
    """`src` broadcast and cast to the shape and dtype of `input`.

    >>> flambeau.zeros(2, 2).copy_(flambeau.tensor([1, 2]))
    tensor([[1., 2.],
            [1., 2.]])
    """
    if src.ndim > input.ndim:
        src = src.reshape(src.shape[src.ndim - input.ndim :])
    cast = to_dtype.forward(src, dtypes.from_numpy_dtype(input.dtype))
    return np.broadcast_to(cast, input.shape)


@structured(
    method=False,
    node="FillBackward1",
    grad={"input": lambda m, g: m.zero(g), "value": lambda m, g: m.sum(g)},
)
def fill_tensor(input: Array, value: Array) -> Array:
    """`input` with every element replaced by the 0-d tensor `value`."""
    if value.ndim:
        raise RuntimeError(
            "fill_ only supports 0-dimension value tensor but got tensor with "
            f"{value.ndim} dimensions."
        )
    return np.full(input.shape, dtypes.converted(value, input.dtype), input.dtype)


@structured(method=False, node="FillBackward0", grad={"input": lambda m, g: m.zero(g)})
def fill_number(input: Array, value: Any) -> Array:
    """`input` with every element replaced by a number."""
    if isinstance(value, complex) and input.dtype.kind != "c":
        raise RuntimeError("value cannot be converted to type without overflow")
    return np.full(input.shape, dtypes.cast_number(value, input.dtype), input.dtype)


@composite(inplace=True)
def fill(m: Any, input: Array, value: Any) -> Array:
    """`input` with every element replaced by `value`, a number or a 0-d tensor.

    >>> flambeau.fill(flambeau.tensor([1, 2, 3]), 7)
    tensor([7, 7, 7])
    """
    return m.fill_number(input, value) if is_number(value) else m.fill_tensor(input, value)


@structured(grad={"input": lambda m, g: m.zero(g)}, inplace=True, method=False)
def zero(input: Array) -> Array:
    """Zeros shaped like `input`.

    >>> flambeau.tensor([3, 4]).zero_()
    tensor([0, 0])
    """
    return np.zeros(input.shape, input.dtype)
