"""Numerical slopes: the derivative of sampled functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from .promotion import is_number
from .record import Array, composite
from .shapes import wrap_own_dim


def _along(m: Any, v: Any, d: int, ndim: int) -> Any:
    """A vector as a tensor of `ndim` dimensions that varies along `d`."""
    return m.reshape(v, tuple(-1 if i == d else 1 for i in range(ndim)))


def _inside(m: Any, parts: Any, before: Any, after: Any) -> Any:
    """The slope of the parabola through three neighbours, at the middle one."""
    f0, f1, f2 = parts
    if is_number(before):
        return (f2 - f0) / (before + after)
    total = before + after
    return (
        f2 * (before / (after * total))
        + f1 * ((after - before) / (before * after))
        - f0 * (after / (before * total))
    )


def _at_end(parts: Any, before: Any, after: Any) -> Any:
    """The slope of the parabola through three neighbours, at the first one."""
    f0, f1, f2 = parts
    total = before + after
    return (
        f1 * (total / (before * after))
        - f0 * ((before + total) / (before * total))
        - f2 * (before / (after * total))
    )


def _slope(m: Any, f: Any, d: int, spacing: Any, edge_order: int) -> Any:
    n = f.shape[d]
    if n < edge_order + 1:
        raise RuntimeError(
            "torch.gradient expected each dimension size to be at least edge_order+1, but got "
            f"{n} in dimension {d}"
        )

    def cut(x: Any, start: int, length: int) -> Any:
        return m.narrow(x, d, start, length)

    if is_number(spacing):
        before = after = spacing
        first = last = (spacing, spacing)
    else:
        x = _along(m, spacing, d, f.ndim)
        steps = cut(x, 1, n - 1) - cut(x, 0, n - 1)
        before, after = cut(steps, 0, n - 2), cut(steps, 1, n - 2)
        first = (cut(steps, 0, 1), cut(steps, min(1, n - 2), 1))
        last = (-cut(steps, n - 2, 1), -cut(steps, max(n - 3, 0), 1))
    inside = _inside(m, [cut(f, i, n - 2) for i in range(3)], before, after)
    if edge_order == 1:
        begin = (cut(f, 1, 1) - cut(f, 0, 1)) / first[0]
        end = (cut(f, n - 2, 1) - cut(f, n - 1, 1)) / (-first[0] if is_number(spacing) else last[0])
    else:
        begin = _at_end([cut(f, i, 1) for i in range(3)], *first)
        back = (-spacing, -spacing) if is_number(spacing) else last
        end = _at_end([cut(f, n - 1 - i, 1) for i in range(3)], *back)
    return m.cat([begin, inside, end], d)


@composite(method=False)
def gradient(
    m: Any, input: Array, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> tuple[Array, ...]:
    """The slope along each dimension (or each of `dim`) by central differences, second order.

    `spacing` is a step for all dimensions, a step for each, or the coordinates along each.

    >>> flambeau.gradient(flambeau.tensor([0.0, 1.0, 4.0, 9.0]))
    (tensor([1., 2., 4., 5.]),)
    >>> flambeau.gradient(flambeau.tensor([0.0, 2.0, 8.0]), spacing=2.0)
    (tensor([1., 2., 3.]),)
    """
    if m.dtype(input) is dtypes.uint8:
        raise RuntimeError("torch.gradient does not support uint8 input.")
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    spacing = 1 if spacing is None else spacing
    dims = range(input.ndim) if dim is None else [dim] if is_number(dim) else dim
    wrapped = [wrap_own_dim(int(d), input.ndim) for d in dims]
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError(f"dim {wrapped} appears multiple times in the list of dims")
    if is_number(spacing) or hasattr(spacing, "ndim"):
        steps = [spacing] * len(wrapped)
    else:
        steps = list(spacing)
    if len(steps) != len(wrapped):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or a list of length equal "
            f"to the number of dimensions ({len(wrapped)}), but got a list of length {len(steps)}"
        )
    f = m.floating(input)
    found = []
    for d, h in zip(wrapped, steps, strict=True):
        if not is_number(h) and (h.ndim != 1 or h.shape[0] != input.shape[d]):
            raise RuntimeError(
                f"torch.gradient expected the coordinates of dimension {d} to be a vector of "
                f"{input.shape[d]} elements, got {list(h.shape)}"
            )
        step = h if is_number(h) or not np.issubdtype(type(h), np.number) else float(h)
        found.append(_slope(m, f, d, step, edge_order))
    return tuple(found)
