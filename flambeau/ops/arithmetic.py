"""Arithmetic: element-wise ops of two or three tensors."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from .promotion import is_number
from .record import TO_FLOAT, Array, Op, composite, pointwise

_LOG2 = math.log(2.0)

add = pointwise(
    "add(input, other, *, alpha=1)",
    lambda m, x, y, alpha: x + y * alpha,
    partials=(lambda m: 1, lambda m, alpha: alpha),
    numbers="both",
    doc="""`input` + `alpha` * `other`, in the common dtype of the two.

    >>> flambeau.add(flambeau.tensor([1, 2]), flambeau.tensor([0.5, 10.0]), alpha=2)
    tensor([ 2., 22.])
    """,
)
sub = pointwise(
    "sub(input, other, *, alpha=1)",
    lambda m, x, y, alpha: x - y * alpha,
    partials=(lambda m: 1, lambda m, alpha: -alpha),
    refuse="B",
    numbers="both",
    doc="""`input` - `alpha` * `other`; RuntimeError for bools.

    >>> flambeau.sub(flambeau.tensor([5, 7]), flambeau.tensor([1, 2]), alpha=3)
    tensor([2, 1])
    """,
)


@composite(out=True, inplace=True, through=True)
def subtract(m: Any, input: Array, other: Any, alpha: Any = 1) -> Array:
    """input - alpha * other.

    >>> flambeau.subtract(flambeau.tensor([5, 7]), 2)
    tensor([3, 5])
    """
    return m.sub(input, other, alpha=alpha)


rsub = pointwise(
    "rsub(input, other, *, alpha=1)",
    lambda m, x, y, alpha: y - x * alpha,
    partials=(lambda m, alpha: -alpha, lambda m: 1),
    inplace=False,
    out=False,
    refuse="B",
    node="RsubBackward1",
    doc="""`other` - `alpha` * `input`.

    >>> flambeau.rsub(flambeau.tensor([1.0, 2.0]), 10)
    tensor([9., 8.])
    """,
)
mul = pointwise(
    "mul(input, other)",
    lambda m, x, y: x * y,
    partials=(lambda m, other: other, lambda m, input: input),
    aliases=("multiply",),
    numbers="both",
    doc="""`input` * `other`, which broadcast.

    >>> flambeau.mul(flambeau.tensor([[1], [3]]), flambeau.tensor([10, 20]))
    tensor([[10, 20],
            [30, 60]])
    """,
)
true_divide = pointwise(
    "true_divide(input, other)",
    lambda m, x, y: x / y,
    partials=(lambda m, other: 1 / other, lambda m, input, other: -input / (other * other)),
    promote=TO_FLOAT,
    node="DivBackward0",
    numbers="both",
    doc="""`input` / `other`, always in floating point.

    >>> flambeau.true_divide(flambeau.tensor([7, -7]), 2)
    tensor([ 3.5000, -3.5000])
    """,
)
rdivide = pointwise(
    "rdivide(input, other)",
    lambda m, x, y: y / x,
    partials=(lambda m, input, other: -other / (input * input), lambda m, input: 1 / input),
    promote=TO_FLOAT,
    method=False,
    inplace=False,
    out=False,
    node="DivBackward0",
    doc="other / input.",
)
div_floor = pointwise(
    "div_floor(input, other)",
    lambda m, x, y: m.floor_divide(x, y),
    partials=(lambda m: 0, lambda m: 0),
    method=False,
    inplace=False,
    refuse="c",
    node="DivBackward1",
    numbers="both",
    doc="input / other rounded down.",
)
div_trunc = pointwise(
    "div_trunc(input, other)",
    lambda m, x, y: m.trunc_divide(x, y),
    partials=(lambda m: 0, lambda m: 0),
    method=False,
    inplace=False,
    refuse="c",
    node="DivBackward1",
    numbers="both",
    doc="input / other rounded towards zero.",
)


@composite(out=True, inplace=True, through=True, aliases=("divide",))
def div(m: Any, input: Array, other: Any, *, rounding_mode: str | None = None) -> Array:
    """input / other; `rounding_mode` "floor" or "trunc" rounds the quotient.

    >>> flambeau.div(flambeau.tensor([7, -7]), 2)
    tensor([ 3.5000, -3.5000])
    >>> flambeau.div(flambeau.tensor([7, -7]), 2, rounding_mode="floor")
    tensor([ 3, -4])
    >>> flambeau.div(flambeau.tensor([7, -7]), 2, rounding_mode="trunc")
    tensor([ 3, -3])
    """
    if rounding_mode is None:
        return m.true_divide(input, other)
    if rounding_mode == "floor":
        return m.div_floor(input, other)
    if rounding_mode == "trunc":
        return m.div_trunc(input, other)
    raise RuntimeError(
        "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
        f"'{rounding_mode}'"
    )


floor_divide = pointwise(
    "floor_divide(input, other)",
    lambda m, x, y: m.floor_divide(x, y),
    excuse="piecewise constant",
    numbers="both",
    refuse="bc",
    doc="""`input` / `other` rounded down; integers stay integers.

    >>> flambeau.floor_divide(flambeau.tensor([7, -7]), 3)
    tensor([ 2, -3])
    """,
)
rfloor_divide = pointwise(
    "rfloor_divide(input, other)",
    lambda m, x, y: m.floor_divide(y, x),
    method=False,
    inplace=False,
    out=False,
    refuse="c",
    excuse="piecewise constant",
    doc="other / input rounded down.",
)
remainder = pointwise(
    "remainder(input, other)",
    lambda m, x, y: m.remainder(x, y),
    partials=(lambda m: 1, lambda m, input, other: -m.floor_divide(input, other)),
    numbers="one",
    refuse="bc",
    doc="""What is left of `input` after division by `other`; it has the divisor's sign.

    >>> flambeau.remainder(flambeau.tensor([5, -5]), 3)
    tensor([2, 1])
    """,
)
rremainder = pointwise(
    "rremainder(input, other)",
    lambda m, x, y: m.remainder(y, x),
    partials=(lambda m, input, other: -m.floor_divide(other, input), lambda m: 1),
    method=False,
    inplace=False,
    out=False,
    refuse="c",
    node="RemainderBackward1",
    doc="What is left of other after division by input.",
)
fmod = pointwise(
    "fmod(input, other)",
    lambda m, x, y: m.fmod(x, y),
    partials=(lambda m: 1, lambda m, input, other: -m.trunc(input / other)),
    refuse="bc",
    doc="""What is left of `input` after division by `other`; it has the dividend's sign.

    >>> flambeau.fmod(flambeau.tensor([5, -5]), 3)
    tensor([ 2, -2])
    """,
)


def _base_gradient(m: Any, g: Any, x: Any, y: Any) -> Any:
    # At exponent 0 the derivative is 0 even where x ** -1 is infinite.
    slope = m.where(m.eq(y, 0), 0, y * m.pow(x, y - 1))
    return g * m.conj(slope)


def _exponent_gradient(m: Any, g: Any, x: Any, y: Any, out: Any) -> Any:
    flat = m.logical_and(m.eq(x, 0), m.ge(m.real(y), 0))
    return g * m.where(flat, 0, m.conj(out * m.log(m.where(flat, 1, x))))


pow = pointwise(
    "pow(input, exponent)",
    lambda m, x, y: m.pow(x, y),
    grad={
        "input": lambda m, g, input, exponent: _base_gradient(m, g, input, exponent),
        "exponent": lambda m, g, input, exponent, out: _exponent_gradient(
            m, g, input, exponent, out
        ),
    },
    numbers="one",
    refuse="b",
    doc="""`input` to the power `exponent`; either may be a number.

    >>> flambeau.pow(flambeau.tensor([1, 2, 3]), 3)
    tensor([ 1,  8, 27])
    >>> flambeau.pow(2, flambeau.tensor([-1.0, 0.0, 5.0]))
    tensor([ 0.5000,  1.0000, 32.0000])
    """,
)
rpow = pointwise(
    "rpow(input, other)",
    lambda m, x, y: m.pow(y, x),
    grad={
        "input": lambda m, g, input, other, out: _exponent_gradient(m, g, other, input, out),
        "other": lambda m, g, input, other: _base_gradient(m, g, other, input),
    },
    method=False,
    inplace=False,
    out=False,
    node="PowBackward1",
    doc="other to the power input.",
)


@composite(out=True, inplace=True)
def float_power(m: Any, input: Array, exponent: Any) -> Array:
    """input ** exponent in double precision (complex128 where one of them is complex).

    >>> flambeau.float_power(flambeau.tensor([2, 4]), -1)
    tensor([0.5000, 0.2500], dtype=torch.float64)
    """
    if is_number(input) and is_number(exponent):
        raise TypeError("float_power(): one of input and exponent must be a Tensor")
    real = all(not _is_complex(m, x) for x in (input, exponent))
    kind = dtypes.float64 if real else dtypes.complex128
    return m.pow(*(x if is_number(x) else m.cast(x, kind) for x in (input, exponent)))


def _is_complex(m: Any, x: Any) -> bool:
    return isinstance(x, complex) if is_number(x) else m.dtype(x).is_complex


addcmul = pointwise(
    "addcmul(input, tensor1, tensor2, *, value=1)",
    lambda m, x, a, b, value: x + a * b * value,
    partials=(
        lambda m: 1,
        lambda m, tensor2, value: tensor2 * value,
        lambda m, tensor1, value: tensor1 * value,
    ),
    refuse="b",
    numbers="none",
    doc="""`input` + `value` * `tensor1` * `tensor2`.

    >>> x, y, z = flambeau.ones(2), flambeau.tensor([2.0, 3.0]), flambeau.tensor([5.0, 7.0])
    >>> flambeau.addcmul(x, y, z, value=10)
    tensor([101., 211.])
    """,
)
addcdiv = pointwise(
    "addcdiv(input, tensor1, tensor2, *, value=1)",
    lambda m, x, a, b, value: x + a / b * value,
    partials=(
        lambda m: 1,
        lambda m, tensor2, value: value / tensor2,
        lambda m, tensor1, tensor2, value: -value * tensor1 / (tensor2 * tensor2),
    ),
    refuse="biq",
    numbers="none",
    doc="""`input` + `value` * `tensor1` / `tensor2`, in floating point.

    >>> x, y, z = flambeau.ones(2), flambeau.tensor([1.0, 6.0]), flambeau.tensor([2.0, 4.0])
    >>> flambeau.addcdiv(x, y, z, value=2)
    tensor([2., 4.])
    """,
)
lerp_each = pointwise(
    "lerp_each(input, end, weight)",
    lambda m, x, y, w: m.where(m.abs(w) < 0.5, x + w * (y - x), y - (y - x) * (1 - w)),
    partials=(
        lambda m, weight: 1 - weight,
        lambda m, weight: weight,
        lambda m, input, end: end - input,
    ),
    method=False,
    inplace=False,
    out=False,
    refuse="biBd",
    numbers="last",
    node="LerpBackward1",
    doc="input + weight * (end - input), from the nearer end.",
)


def _lerp(name: str, formula: Any, doc: str) -> Op:
    """`lerp_each` for numbers `weight` that are nearer to one end."""
    return pointwise(
        f"{name}(input, end, weight=0.0)",
        formula,
        partials=(lambda m, weight: 1 - weight, lambda m, weight: weight),
        method=False,
        inplace=False,
        out=False,
        refuse="biBd",
        numbers="none",
        node="LerpBackward0",
        doc=doc,
    )


lerp_near = _lerp(
    "lerp_near",
    lambda m, x, y, w: x + w * (y - x),
    "input + weight * (end - input), for a small weight.",
)
lerp_far = _lerp(
    "lerp_far",
    lambda m, x, y, w: y - (y - x) * (1 - w),
    "end - (1 - weight) * (end - input), for a weight near 1.",
)


@composite(out=True, inplace=True, through=True)
def lerp(m: Any, input: Array, end: Array, weight: Any) -> Array:
    """`input` + `weight` * (`end` - `input`); `weight` is a number or a tensor.

    >>> flambeau.lerp(flambeau.tensor([0.0, 10.0]), flambeau.tensor([8.0, 20.0]), 0.25)
    tensor([ 2.0000, 12.5000])
    """
    if not isinstance(weight, (int, float)):
        return m.lerp_each(input, end, weight)
    return (m.lerp_near if abs(weight) < 0.5 else m.lerp_far)(input, end, weight)


hypot = pointwise(
    "hypot(input, other)",
    lambda m, x, y: m.hypot(x, y),
    partials=(lambda m, input, out: input / out, lambda m, other, out: other / out),
    refuse="bic",
    numbers="none",
    doc="""The length sqrt(`input`^2 + `other`^2).

    >>> flambeau.hypot(flambeau.tensor([3.0, 5.0]), flambeau.tensor([4.0, 12.0]))
    tensor([ 5., 13.])
    """,
)


def _over_square(m: Any, side: Any, x: Any, y: Any) -> Any:
    """`side` over x^2 + y^2; at the origin, which has no angle, zero."""
    square = x * x + y * y
    return m.where(m.eq(square, 0), 0, side / square)


atan2 = pointwise(
    "atan2(input, other)",
    lambda m, x, y: m.atan2(x, y),
    partials=(
        lambda m, input, other: _over_square(m, other, input, other),
        lambda m, input, other: _over_square(m, -input, input, other),
    ),
    promote=TO_FLOAT,
    refuse="c",
    aliases=("arctan2",),
    numbers="none",
    doc="""The angle of the point (`other`, `input`), in (-pi, pi].

    >>> flambeau.atan2(flambeau.tensor([1.0, 1.0, 0.0]), flambeau.tensor([1.0, -1.0, -1.0]))
    tensor([0.7854, 2.3562, 3.1416])
    """,
)
copysign = pointwise(
    "copysign(input, other)",
    lambda m, x, y: m.copysign(x, y),
    partials=(
        lambda m, input, out: m.where(m.eq(input, 0), 0, out / input),
        lambda m: 0,
    ),
    promote=TO_FLOAT,
    refuse="c",
    doc="""The size of `input` with the sign of `other`, in floating point.

    >>> flambeau.copysign(flambeau.tensor([1, -2, 3]), flambeau.tensor([-0.0, 5.0, -5.0]))
    tensor([-1.,  2., -3.])
    """,
)
nextafter = pointwise(
    "nextafter(input, other)",
    lambda m, x, y: m.nextafter(x, y),
    grad={
        "input": lambda m, g, input, other: m.where(m.eq(input, other), 0, g),
        "other": lambda m, g: g * 0,
    },
    refuse="bic",
    numbers="none",
    doc="""The next floating-point number after `input` in the direction of `other`.

    >>> step = flambeau.nextafter(flambeau.tensor([1.0]), flambeau.tensor([2.0])) - 1
    >>> step == flambeau.finfo(flambeau.float32).eps
    tensor([True])
    """,
)
logaddexp = pointwise(
    "logaddexp(input, other)",
    lambda m, x, y: m.logaddexp(x, y),
    partials=(
        lambda m, input, other: 1 / (1 + m.exp(other - input)),
        lambda m, input, other: 1 / (1 + m.exp(input - other)),
    ),
    inplace=False,
    numbers="none",
    refuse="bi",
    doc="""log(exp(`input`) + exp(`other`)), without overflow.

    >>> flambeau.logaddexp(flambeau.tensor([0.0, 1000.0]), flambeau.tensor([0.0, 0.0]))
    tensor([6.9315e-01, 1.0000e+03])
    """,
)
logaddexp2 = pointwise(
    "logaddexp2(input, other)",
    lambda m, x, y: m.logaddexp2(x, y),
    partials=(
        lambda m, input, other: 1 / (1 + m.exp2(other - input)),
        lambda m, input, other: 1 / (1 + m.exp2(input - other)),
    ),
    inplace=False,
    numbers="none",
    refuse="bic",
    doc="""log2(2^`input` + 2^`other`), without overflow.

    >>> x = flambeau.tensor([3.0, 2000.5])
    >>> flambeau.logaddexp2(x, x)
    tensor([   4.0000, 2001.5000])
    """,
)
xlogy = pointwise(
    "xlogy(input, other)",
    lambda m, x, y: m.xlogy(x, y),
    partials=(
        lambda m, input, other: m.where(m.logical_and(m.eq(input, 0), other <= 0), 0, m.log(other)),
        lambda m, input, other: input / other,
    ),
    promote=TO_FLOAT,
    refuse="c",
    numbers="one",
    doc="""`input` * log(`other`), zero where `input` is zero.

    >>> flambeau.xlogy(flambeau.tensor([0.0, 2.0, 3.0]), flambeau.tensor([0.0, 1.0, 2.0]))
    tensor([0.0000, 0.0000, 2.0794])
    """,
)
xlog1py = pointwise(
    "xlog1py(input, other)",
    lambda m, x, y: m.xlog1py(x, y),
    partials=(
        lambda m, input, other: m.where(
            m.logical_and(m.eq(input, 0), other <= -1), 0, m.log1p(other)
        ),
        lambda m, input, other: input / (other + 1),
    ),
    promote=TO_FLOAT,
    refuse="c",
    method=False,
    inplace=False,
    numbers="one",
    doc="""`input` * log1p(`other`), zero where `input` is zero.

    >>> x = flambeau.tensor([0.0, 2.0, 3.0])
    >>> flambeau.special.xlog1py(x, flambeau.tensor([-1.0, 0.0, 1.0]))
    tensor([0.0000, 0.0000, 2.0794])
    """,
)
ldexp = pointwise(
    "ldexp(input, other)",
    lambda m, x, y: m.ldexp(x, y),
    partials=(lambda m, other: m.exp2(other), lambda m, out: out * _LOG2),
    promote=TO_FLOAT,
    node="MulBackward0",
    numbers="none",
    doc="""`input` * 2^`other`.

    >>> flambeau.ldexp(flambeau.tensor([0.75, 3.0]), flambeau.tensor([2, -1]))
    tensor([3.0000, 1.5000])
    """,
)
heaviside = pointwise(
    "heaviside(input, values)",
    lambda m, x, v: m.heaviside(x, v),
    excuse="a step function",
    numbers="none",
    refuse="cd",
    doc="""The step function: 0 below zero, `values` at zero, 1 above.

    >>> flambeau.heaviside(flambeau.tensor([-2.0, 0.0, 3.0]), flambeau.tensor([0.5]))
    tensor([0.0000, 0.5000, 1.0000])
    """,
)
igamma = pointwise(
    "igamma(input, other)",
    lambda m, a, x: m.igamma(a, x),
    partials=(
        None,
        lambda m, input, other: m.exp((input - 1) * m.log(other) - other - m.lgamma(input)),
    ),
    refuse="bic",
    numbers="none",
    aliases=("special_gammainc",),
    doc="""The regularised lower incomplete gamma function of order `input` at `other`.

    >>> flambeau.igamma(flambeau.tensor([1.0, 1.0, 2.0]), flambeau.tensor([0.0, 1.0, 1.0]))
    tensor([0.0000, 0.6321, 0.2642])
    """,
)
igammac = pointwise(
    "igammac(input, other)",
    lambda m, a, x: m.igammac(a, x),
    partials=(
        None,
        lambda m, input, other: -m.exp((input - 1) * m.log(other) - other - m.lgamma(input)),
    ),
    refuse="bic",
    numbers="none",
    aliases=("special_gammaincc",),
    doc="""The regularised upper incomplete gamma function: 1 - `igamma`.

    >>> flambeau.igammac(flambeau.tensor([1.0, 1.0, 2.0]), flambeau.tensor([0.0, 1.0, 1.0]))
    tensor([1.0000, 0.3679, 0.7358])
    """,
)
gcd = pointwise(
    "gcd(input, other)",
    lambda m, x, y: m.gcd(x, y),
    refuse="bfc",
    excuse="integers only",
    numbers="none",
    doc="""The greatest common divisor of two integers; not negative.

    >>> flambeau.gcd(flambeau.tensor([12, -9, 0]), flambeau.tensor([18, 6, 5]))
    tensor([6, 3, 5])
    """,
)
lcm = pointwise(
    "lcm(input, other)",
    lambda m, x, y: m.lcm(x, y),
    refuse="bfc",
    excuse="integers only",
    numbers="none",
    doc="""The least common multiple of two integers; 0 where one of them is 0.

    >>> flambeau.lcm(flambeau.tensor([4, 5, 0]), flambeau.tensor([6, 7, 3]))
    tensor([12, 35,  0])
    """,
)
