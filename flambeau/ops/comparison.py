"""Comparisons and logic: element-wise ops with truth values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .promotion import is_number, promoted
from .record import COMPARE, Array, Op, composite, pointwise, structured


def _compare(text: str, formula: Callable[..., Any], doc: str, **options: Any) -> Op:
    options.setdefault("excuse", "a truth value")
    options.setdefault("numbers", "none" if text.startswith("logical") else "right")
    return pointwise(text, formula, promote=COMPARE, doc=doc, **options)


eq = _compare("eq(input, other)", lambda m, x, y: m.eq(x, y), "Whether input == other.")
ne = _compare("ne(input, other)", lambda m, x, y: m.ne(x, y), "Whether input != other.",
              aliases=("not_equal",))  # fmt: skip
lt = _compare("lt(input, other)", lambda m, x, y: x < y, "Whether input < other.", refuse="c",
              aliases=("less",))  # fmt: skip
le = _compare("le(input, other)", lambda m, x, y: x <= y, "Whether input <= other.", refuse="c",
              aliases=("less_equal",))  # fmt: skip
gt = _compare("gt(input, other)", lambda m, x, y: x > y, "Whether input > other.", refuse="c",
              aliases=("greater",))  # fmt: skip
ge = _compare("ge(input, other)", lambda m, x, y: x >= y, "Whether input >= other.", refuse="c",
              aliases=("greater_equal",))  # fmt: skip

logical_and = _compare(
    "logical_and(input, other)", lambda m, x, y: m.logical_and(x, y), "Whether both are not zero."
)
logical_or = _compare(
    "logical_or(input, other)", lambda m, x, y: m.logical_or(x, y), "Whether one is not zero."
)
logical_xor = _compare(
    "logical_xor(input, other)",
    lambda m, x, y: m.logical_xor(x, y),
    "Whether just one is zero.",
)
logical_not = _compare("logical_not(input)", lambda m, x: m.logical_not(x), "Whether it is zero.")

isnan = _compare("isnan(input)", lambda m, x: m.isnan(x), "Whether it is NaN.", inplace=False,
                 out=False)  # fmt: skip
isinf = _compare("isinf(input)", lambda m, x: m.isinf(x), "Whether it is infinite.",
                 inplace=False, out=False)  # fmt: skip
isfinite = _compare("isfinite(input)", lambda m, x: m.isfinite(x),
                    "Whether it is a finite number.", inplace=False, out=False)  # fmt: skip
isposinf = _compare("isposinf(input)", lambda m, x: m.eq(x, math.inf), "Whether it is +infinity.",
                    inplace=False, refuse="c")  # fmt: skip
isneginf = _compare("isneginf(input)", lambda m, x: m.eq(x, -math.inf), "Whether it is -infinity.",
                    inplace=False, refuse="c")  # fmt: skip
isreal = _compare("isreal(input)", lambda m, x: m.eq(m.imag(x), 0),
                  "Whether the imaginary part is zero.", inplace=False, out=False)  # fmt: skip


@structured(excuse="a truth value")
def isclose(
    input: Array, other: Array, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Array:
    """Whether |input - other| <= atol + rtol * |other|; equal infinities are close."""
    if input.dtype != other.dtype:
        raise RuntimeError(f"isclose: {input.dtype} did not match {other.dtype}")
    if rtol < 0 or atol < 0:
        raise RuntimeError(
            f"isclose: rtol and atol must be greater than or equal to zero, but got {rtol}, {atol}"
        )
    close = np.equal(input, other)
    if input.dtype.kind in "biu":
        if not rtol and not atol:
            return np.asarray(close)
        input, other = input.astype(np.float64), other.astype(np.float64)
    if equal_nan:
        close = close | (np.isnan(input) & np.isnan(other))
    with np.errstate(invalid="ignore", over="ignore"):
        allowed = atol + np.abs(rtol * other)
        actual = np.abs(input - other)
    return np.asarray(close | (np.isfinite(actual) & (actual <= allowed)))


@composite()
def allclose(
    m: Any,
    input: Array,
    other: Array,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> bool:
    """Whether all elements are close in the sense of `isclose`; a Python bool."""
    return bool(m.all(m.isclose(input, other, rtol, atol, equal_nan)))


@composite()
def equal(m: Any, input: Array, other: Array) -> bool:
    """Whether shape and all elements are the same; a Python bool."""
    return tuple(input.shape) == tuple(other.shape) and bool(m.all(m.eq(input, other)))


@composite(
    method=False,
    out=True,
    spellings={"element": "elements", "test_element": "test_elements"},
)
def isin(
    m: Any,
    elements: Any,
    test_elements: Any,
    *,
    assume_unique: bool = False,
    invert: bool = False,
) -> Array:
    """Whether each of `elements` is among `test_elements` (either may be a number)."""
    if is_number(elements) and is_number(test_elements):
        raise TypeError("isin(): at least one of elements and test_elements must be a Tensor")
    if is_number(elements):
        elements = m.number(elements, test_elements)
    if is_number(test_elements):
        test_elements = m.number(test_elements, elements)
    return m.isin_of(elements, test_elements, invert)


@structured(method=False, excuse="a truth value")
def isin_of(elements: Array, test_elements: Array, invert: bool = False) -> Array:
    """Whether each element is among `test_elements`."""
    a, b = promoted([elements, test_elements])
    return np.asarray(np.isin(a, b, invert=invert))
