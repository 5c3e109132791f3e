"""What files keep of nested tensors, in the form that PyTorch's have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...backends.nested import Jagged, Parts
from ..core import TensorCore, array_of, from_array
from .construction import check_members


def jagged_parts(t: Any) -> dict[str, Any]:
    """The arguments that make the jagged tensor `t` again."""
    raw = array_of(t.detach())
    return {
        "values": from_array(raw.values),
        "offsets": from_array(raw.offsets),
        "lengths": None if raw.lengths is None else from_array(raw.lengths),
        "_ragged_idx": raw.ragged,
        "_metadata_cache": {},
        "requires_grad": t.requires_grad,
    }


def strided_parts(t: Any) -> tuple[Any, ...]:
    """The flat elements of `t`, its members' sizes and strides (N, dims), and where they begin."""
    raw = array_of(t.detach())
    values = from_array(raw.values.reshape(-1))
    sizes = np.array(raw.sizes, np.int64)
    steps = [_row_major(size) for size in raw.sizes]
    found = (sizes, np.array(steps, np.int64), np.array(raw.bounds[:-1], np.int64))
    first = values.requires_grad_() if t.requires_grad else values
    return (first, *(from_array(array) for array in found))


def _row_major(size: tuple[int, ...]) -> list[int]:
    return [math.prod(size[d + 1 :]) for d in range(len(size))]


Check = Callable[[], None]


def _numbers(x: Any, fail: Any) -> Any:
    if not isinstance(x, TensorCore) or array_of(x).dtype != np.int64:
        raise fail("a nested tensor has sizes or offsets that are no whole numbers")
    return array_of(x)


def jagged_from_parts(parts: Any, fail: Any) -> tuple[Any, Check]:
    """The jagged tensor of the `parts` in a file, and a function that checks it when all is read.

    ``fail(problem)`` makes the error to raise.
    """
    values, ragged = parts.get("values"), parts.get("_ragged_idx", 1)
    if not isinstance(values, TensorCore) or not isinstance(ragged, int):
        raise fail("a nested tensor has no values")
    ends = _numbers(parts.get("offsets"), fail)
    lengths = parts.get("lengths")
    counts = None if lengths is None else _numbers(lengths, fail)
    if not 1 <= ragged <= values.ndim:
        raise fail(f"dimension {ragged} of a nested tensor cannot be ragged")

    def check() -> None:
        try:
            check_members(ends, counts, values.shape[ragged - 1])
        except RuntimeError as error:
            raise fail(str(error)) from None

    made = from_array(Jagged(array_of(values), ends, ragged, counts))
    return made.requires_grad_() if parts.get("requires_grad") else made, check


def strided_from_parts(
    values: Any, sizes: Any, strides: Any, offsets: Any, fail: Any
) -> tuple[Any, Check]:
    """The nested tensor of the parts in a file, complete when the function that comes with it ran.

    ``fail(problem)`` makes the error to raise.
    """
    if not isinstance(values, TensorCore):
        raise fail("a nested tensor has no values")
    flat = array_of(values)
    shapes, steps, starts = (_numbers(x, fail) for x in (sizes, strides, offsets))
    count = len(starts) if starts.ndim == 1 else -1
    if flat.ndim != 1 or shapes.shape != steps.shape or (shapes.size and len(shapes) != count):
        raise fail("the sizes, strides and offsets of a nested tensor do not go together")
    raw = Parts(flat, [])

    def complete() -> None:
        members = []
        rows = zip(shapes.tolist(), steps.tolist(), starts.tolist(), strict=True)
        for shape, step, start in rows if shapes.size else ():
            last = start + sum((n - 1) * s for n, s in zip(shape, step, strict=True))
            low, count = min(*shape, *step, start, 0), math.prod(shape)
            if low < 0 or count > flat.size or (count and last >= flat.size):
                raise fail(f"a member {shape} of a nested tensor lies outside of its values")
            if not count:
                members.append(np.empty(shape, flat.dtype))
                continue
            size = [s * flat.itemsize for s in step]
            members.append(np.lib.stride_tricks.as_strided(flat[start:], shape, size))
        raw.sizes = tuple(member.shape for member in members)
        plain = [list(_row_major(shape)) for shape in raw.sizes] == steps.tolist()
        if plain and raw.bounds[:-1] == starts.tolist():
            raw.values = flat[: raw.bounds[-1]]
        else:
            raw.values = np.concatenate([flat[:0], *(m.reshape(-1) for m in members)])

    made = from_array(raw)
    return made.requires_grad_() if values.requires_grad else made, complete
