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


eq = _compare(
    "eq(input, other)",
    lambda m, x, y: m.eq(x, y),
    """Whether `input` == `other`, element by element, in their common dtype; bool result.

    >>> flambeau.eq(flambeau.tensor([1, 2, 3]), flambeau.tensor([1.0, 0.0, 3.0]))
    tensor([ True, False,  True])
    """,
)
ne = _compare(
    "ne(input, other)",
    lambda m, x, y: m.ne(x, y),
    """Whether `input` != `other`; NaN differs from itself.

    >>> x = flambeau.tensor([1.0, float("nan")])
    >>> flambeau.ne(x, x)
    tensor([False,  True])
    """,
    aliases=("not_equal",),
)
lt = _compare(
    "lt(input, other)",
    lambda m, x, y: x < y,
    """Whether `input` < `other`, element by element; bool result. Complex is refused.

    >>> flambeau.lt(flambeau.tensor([1, 2, 3]), 2)
    tensor([ True, False, False])
    """,
    refuse="c",
    aliases=("less",),
)
le = _compare(
    "le(input, other)",
    lambda m, x, y: x <= y,
    """Whether `input` <= `other`, element by element; bool result. Complex is refused.

    >>> flambeau.le(flambeau.tensor([1, 2, 3]), 2)
    tensor([ True,  True, False])
    """,
    refuse="c",
    aliases=("less_equal",),
)
gt = _compare(
    "gt(input, other)",
    lambda m, x, y: x > y,
    """Whether `input` > `other`, element by element; bool result. Complex is refused.

    >>> flambeau.gt(flambeau.tensor([1, 2, 3]), 2)
    tensor([False, False,  True])
    """,
    refuse="c",
    aliases=("greater",),
)
ge = _compare(
    "ge(input, other)",
    lambda m, x, y: x >= y,
    """Whether `input` >= `other`, element by element; bool result. Complex is refused.

    >>> flambeau.ge(flambeau.tensor([1, 2, 3]), 2)
    tensor([False,  True,  True])
    """,
    refuse="c",
    aliases=("greater_equal",),
)

logical_and = _compare(
    "logical_and(input, other)",
    lambda m, x, y: m.logical_and(x, y),
    """Whether neither of the two elements is zero; tensors of any dtype, bool result.

    >>> flambeau.logical_and(flambeau.tensor([0, 1, 2]), flambeau.tensor([True, False, True]))
    tensor([False, False,  True])
    """,
)
logical_or = _compare(
    "logical_or(input, other)",
    lambda m, x, y: m.logical_or(x, y),
    """Whether at least one of the two elements is not zero; bool result.

    >>> flambeau.logical_or(flambeau.tensor([0, 0, 2]), flambeau.tensor([True, False, True]))
    tensor([ True, False,  True])
    """,
)
logical_xor = _compare(
    "logical_xor(input, other)",
    lambda m, x, y: m.logical_xor(x, y),
    """Whether just one of the two elements is zero; bool result.

    >>> flambeau.logical_xor(flambeau.tensor([0, 0, 2]), flambeau.tensor([True, False, True]))
    tensor([ True, False, False])
    """,
)
logical_not = _compare(
    "logical_not(input)",
    lambda m, x: m.logical_not(x),
    """Whether each element is zero; bool result.

    >>> flambeau.logical_not(flambeau.tensor([0.0, -1.5]))
    tensor([ True, False])
    """,
)

isnan = _compare(
    "isnan(input)",
    lambda m, x: m.isnan(x),
    """Whether each element is NaN, or has a part that is.

    >>> flambeau.isnan(flambeau.tensor([1.0, float("nan"), float("inf")]))
    tensor([False,  True, False])
    """,
    inplace=False,
    out=False,
)
isinf = _compare(
    "isinf(input)",
    lambda m, x: m.isinf(x),
    """Whether each element is infinite, of either sign.

    >>> flambeau.isinf(flambeau.tensor([1.0, float("nan"), float("-inf")]))
    tensor([False, False,  True])
    """,
    inplace=False,
    out=False,
)
isfinite = _compare(
    "isfinite(input)",
    lambda m, x: m.isfinite(x),
    """Whether each element is a number that is not infinite.

    >>> flambeau.isfinite(flambeau.tensor([1.0, float("nan"), float("inf")]))
    tensor([ True, False, False])
    """,
    inplace=False,
    out=False,
)
isposinf = _compare(
    "isposinf(input)",
    lambda m, x: m.eq(x, math.inf),
    """Whether each element is +infinity; RuntimeError for complex input.

    >>> flambeau.isposinf(flambeau.tensor([float("-inf"), float("inf")]))
    tensor([False,  True])
    """,
    inplace=False,
    refuse="c",
)
isneginf = _compare(
    "isneginf(input)",
    lambda m, x: m.eq(x, -math.inf),
    """Whether each element is -infinity; RuntimeError for complex input.

    >>> flambeau.isneginf(flambeau.tensor([float("-inf"), float("inf")]))
    tensor([ True, False])
    """,
    inplace=False,
    refuse="c",
)
isreal = _compare(
    "isreal(input)",
    lambda m, x: m.eq(m.imag(x), 0),
    """Whether each element has no imaginary part; always so for real dtypes.

    >>> flambeau.isreal(flambeau.tensor([1 + 0j, 2 - 1j]))
    tensor([ True, False])
    """,
    inplace=False,
    out=False,
)


@structured(excuse="a truth value")
def isclose(
    input: Array, other: Array, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Array:
    """Whether |input - other| <= atol + rtol * |other|; equal infinities are close.

    >>> x, y = flambeau.tensor([1.0, 10.0]), flambeau.tensor([1.05, 10.2])
    >>> flambeau.isclose(x, y, rtol=0, atol=0.125)
    tensor([ True, False])
    """
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
    """Whether all elements are close in the sense of `isclose`; a Python bool.

    >>> flambeau.allclose(flambeau.tensor([0.1 + 0.2]), flambeau.tensor([0.3]))
    True
    """
    return bool(m.all(m.isclose(input, other, rtol, atol, equal_nan)))


@composite()
def equal(m: Any, input: Array, other: Array) -> bool:
    """Whether shape and all elements are the same; a Python bool.

    >>> x = flambeau.tensor([1, 2])
    >>> flambeau.equal(x, flambeau.tensor([1, 2])), flambeau.equal(x, flambeau.tensor([1]))
    (True, False)
    """
    return input.shape == other.shape and bool(m.all(m.eq(input, other)))


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
    """Whether each of `elements` is among `test_elements` (either may be a number).

    >>> flambeau.isin(flambeau.tensor([[1, 2], [3, 4]]), flambeau.tensor([2, 4, 8]))
    tensor([[False,  True],
            [False,  True]])
    """
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
    if "b" in elements.dtype.kind + test_elements.dtype.kind:
        raise RuntimeError("Unsupported input type encountered for isin(): Bool")
    a, b = promoted([elements, test_elements])
    return np.asarray(np.isin(a, b, invert=invert))
