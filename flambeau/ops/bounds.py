"""Bounds: the larger and the smaller of pairs, and values kept within limits."""

from __future__ import annotations

from typing import Any

from .record import Array, composite, pointwise

_NUMBERS = (int, float)

maximum = pointwise(
    "maximum(input, other)",
    lambda m, x, y: m.maximum(x, y),
    grad={
        "input": lambda m, g, input, other: m.where(
            m.eq(input, other), g * 0.5, m.where(input < other, 0, g)
        ),
        "other": lambda m, g, input, other: m.where(
            m.eq(input, other), g * 0.5, m.where(input > other, 0, g)
        ),
    },
    refuse="c",
    doc="""The larger of each pair; NaN if one is NaN. Complex is refused.

    >>> x = flambeau.tensor([1.0, 5.0, float("nan")])
    >>> flambeau.maximum(x, flambeau.tensor([2.0, 4.0, 3.0]))
    tensor([2., 5., nan])
    """,
)
minimum = pointwise(
    "minimum(input, other)",
    lambda m, x, y: m.minimum(x, y),
    grad={
        "input": lambda m, g, input, other: m.where(
            m.eq(input, other), g * 0.5, m.where(input > other, 0, g)
        ),
        "other": lambda m, g, input, other: m.where(
            m.eq(input, other), g * 0.5, m.where(input < other, 0, g)
        ),
    },
    refuse="c",
    doc="""The smaller of each pair; NaN if one is NaN. Complex is refused.

    >>> x = flambeau.tensor([1.0, 5.0, float("nan")])
    >>> flambeau.minimum(x, flambeau.tensor([2.0, 4.0, 3.0]))
    tensor([1., 4., nan])
    """,
)
fmax = pointwise(
    "fmax(input, other)",
    lambda m, x, y: m.fmax(x, y),
    grad={
        "input": lambda m, g, input, other: m.where(
            m.logical_or(input >= other, m.isnan(other)), g, 0
        ),
        "other": lambda m, g, input, other: m.where(
            m.logical_or(input >= other, m.isnan(other)), 0, g
        ),
    },
    refuse="c",
    numbers="none",
    doc="""The larger of each pair; where one is NaN, the other.

    >>> x = flambeau.tensor([1.0, 5.0, float("nan")])
    >>> flambeau.fmax(x, flambeau.tensor([2.0, 4.0, 3.0]))
    tensor([2., 5., 3.])
    """,
)
fmin = pointwise(
    "fmin(input, other)",
    lambda m, x, y: m.fmin(x, y),
    grad={
        "input": lambda m, g, input, other: m.where(
            m.logical_or(input <= other, m.isnan(other)), g, 0
        ),
        "other": lambda m, g, input, other: m.where(
            m.logical_or(input <= other, m.isnan(other)), 0, g
        ),
    },
    refuse="c",
    numbers="none",
    doc="""The smaller of each pair; where one is NaN, the other.

    >>> x = flambeau.tensor([1.0, 5.0, float("nan")])
    >>> flambeau.fmin(x, flambeau.tensor([2.0, 4.0, 3.0]))
    tensor([1., 4., 3.])
    """,
)
clamp_min = pointwise(
    "clamp_min(input, min)",
    lambda m, x, low: m.maximum(x, low),
    grad={
        "input": lambda m, g, input, min: m.where(input >= min, g, 0),
        "min": lambda m, g, input, min: m.where(input < min, g, 0),
    },
    refuse="c",
    node="ClampBackward1",
    doc="""`input`, but at least `min` (a number or a tensor).

    >>> flambeau.clamp_min(flambeau.tensor([-3, 1, 8]), 0)
    tensor([0, 1, 8])
    """,
)
clamp_max = pointwise(
    "clamp_max(input, max)",
    lambda m, x, high: m.minimum(x, high),
    grad={
        "input": lambda m, g, input, max: m.where(input <= max, g, 0),
        "max": lambda m, g, input, max: m.where(input > max, g, 0),
    },
    refuse="c",
    node="ClampBackward1",
    doc="""`input`, but at most `max` (a number or a tensor).

    >>> flambeau.clamp_max(flambeau.tensor([-3, 1, 8]), 5)
    tensor([-3,  1,  5])
    """,
)
clamp_both = pointwise(
    "clamp_both(input, min, max)",
    lambda m, x, low, high: m.minimum(m.maximum(x, low), high),
    grad={
        "input": lambda m, g, input, min, max: m.where(
            m.logical_and(input >= min, input <= max), g, 0
        ),
        "min": lambda m, g, input, min, max: m.where(m.logical_and(input < min, min < max), g, 0),
        "max": lambda m, g, input, min, max: m.where(m.logical_or(input > max, max < min), g, 0),
    },
    method=False,
    inplace=False,
    refuse="c",
    node="ClampBackward1",
    doc="input, but at least min and then at most max.",
)


clamp_float = pointwise(
    "clamp_float(input, low=0.0, high=1.0)",
    lambda m, x, low, high: m.minimum(m.maximum(x, low), high),
    grad={
        "input": lambda m, g, input, low, high: m.where(
            m.logical_and(input >= low, input <= high), g, 0
        )
    },
    method=False,
    inplace=False,
    out=False,
    refuse="bic",
    node="ClampBackward1",
    doc="input in floating point, but at least low and then at most high (numbers).",
)


@composite(out=True, inplace=True, through=True, aliases=("clip",))
def clamp(m: Any, input: Array, min: Any = None, max: Any = None) -> Array:
    """input, but at least `min` and at most `max` (numbers or tensors; None: no bound).

    >>> flambeau.clamp(flambeau.tensor([-3, 1, 8]), min=0, max=5)
    tensor([0, 1, 5])
    >>> flambeau.clamp(flambeau.tensor([-3, 1, 8]), max=flambeau.tensor([0, 0, 9]))
    tensor([-3,  0,  8])
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if max is None:
        return m.clamp_min(input, min)
    if min is None:
        return m.clamp_max(input, max)
    if type(min) in _NUMBERS and type(max) in _NUMBERS and m.dtype(input).plain_float:
        return m.clamp_float(input, min, max)
    return m.clamp_both(input, min, max)
