"""Functions of one number: element-wise ops of one tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .promotion import floated
from .record import TO_FLOAT, Array, Op, composite, pointwise, structured

_LN2, _LN10 = math.log(2.0), math.log(10.0)
_PI = math.pi
_TWO_OVER_ROOT_PI = 2.0 / math.sqrt(math.pi)


def _smooth(
    name: str, partial: Callable[..., Any], doc: str, *, real: bool = False, **options: Any
) -> Op:
    """A function with values in floating point, whose scalar primitive has the same name."""
    return pointwise(
        f"{name}(input)",
        lambda m, x: getattr(m, name)(x),
        partials=(partial,),
        promote=TO_FLOAT,
        refuse="c" if real else "",
        doc=doc,
        **options,
    )


# ---------------------------------------------------------------- sign and size
neg = pointwise(
    "neg(input)",
    lambda m, x: -x,
    partials=(lambda m: -1,),
    aliases=("negative",),
    refuse="b",
    doc="""The negative of each element; RuntimeError for truth values.

    >>> flambeau.neg(flambeau.tensor([1.5, -2.0]))
    tensor([-1.5000,  2.0000])
    """,
)
positive = pointwise(
    "positive(input)",
    lambda m, x: m.positive(x),
    partials=(lambda m: 1,),
    inplace=False,
    out=False,
    refuse="b",
    doc="""`input` itself; RuntimeError for truth values.

    >>> flambeau.positive(flambeau.tensor([1, -2]))
    tensor([ 1, -2])
    """,
)
abs = pointwise(
    "abs(input)",
    lambda m, x: m.abs(x),
    grad={"input": lambda m, g, input: g * m.sgn(input)},
    aliases=("absolute",),
    result="real",
    refuse="b",
    doc="""The size of each element; real for complex input.

    >>> flambeau.abs(flambeau.tensor([-3, 4])), flambeau.abs(flambeau.tensor([3 + 4j]))
    (tensor([3, 4]), tensor([5.]))
    """,
)
sign = pointwise(
    "sign(input)",
    lambda m, x: m.sign(x),
    partials=(lambda m: 0,),
    refuse="c",
    doc="""-1, 0 or 1: the sign of each element; 0 for NaN. RuntimeError for complex input.

    >>> flambeau.sign(flambeau.tensor([-2.5, 0.0, flambeau.inf]))
    tensor([-1.,  0.,  1.])
    """,
)
sgn = pointwise(
    "sgn(input)",
    lambda m, x: m.sgn(x),
    grad={"input": lambda m, g, input, out: _sgn_gradient(m, g, input, out)},
    doc="""The direction input / |input|, zero at zero.

    >>> flambeau.sgn(flambeau.tensor([3 + 4j, 0j])), flambeau.sgn(flambeau.tensor([-7]))
    (tensor([0.6000+0.8000j, 0.0000+0.0000j]), tensor([-1]))
    """,
)


def _sgn_gradient(m: Any, g: Any, x: Any, out: Any) -> Any:
    # For real input the direction does not change: g - out * real(g * conj(out)) is zero.
    size = m.abs(x)
    turned = g - out * m.real(g * m.conj(out))
    return m.where(m.eq(size, 0), 0, turned / m.where(m.eq(size, 0), 1, size))


square = pointwise(
    "square(input)",
    lambda m, x: m.square(x),
    partials=(lambda m, input: 2 * input,),
    node="PowBackward0",
    result="number",
    doc="""input * input; truth values count as integers.

    >>> flambeau.square(flambeau.tensor([-3, 4]))
    tensor([ 9, 16])
    """,
)
reciprocal = _smooth(
    "reciprocal",
    lambda m, out: -(out * out),
    """1 / input; integers give floats.

    >>> flambeau.reciprocal(flambeau.tensor([4, -2, 0]))
    tensor([ 0.2500, -0.5000,     inf])
    """,
)
sqrt = _smooth(
    "sqrt",
    lambda m, out: 0.5 / out,
    """The square root of each element; NaN for negative numbers, integers give floats.

    >>> flambeau.sqrt(flambeau.tensor([9, 2, -1]))
    tensor([3.0000, 1.4142,    nan])
    """,
)
rsqrt = _smooth(
    "rsqrt",
    lambda m, out: -0.5 * (out * out * out),
    """1 / sqrt(input); integers give floats.

    >>> flambeau.rsqrt(flambeau.tensor([4, 16, 0]))
    tensor([0.5000, 0.2500,    inf])
    """,
)

# ---------------------------------------------------------------- exponentials and logarithms
exp = _smooth(
    "exp",
    lambda m, out: out,
    """e to the power of each element; integers give floats.

    >>> flambeau.exp(flambeau.tensor([0, 1, -1]))
    tensor([1.0000, 2.7183, 0.3679])
    """,
)
expm1 = _smooth(
    "expm1",
    lambda m, out: out + 1,
    """exp(input) - 1, exact for small input.

    >>> flambeau.expm1(flambeau.tensor([0.0, 1.0]))
    tensor([0.0000, 1.7183])
    >>> flambeau.expm1(flambeau.tensor(1e-10)) > 0, flambeau.exp(flambeau.tensor(1e-10)) - 1 > 0
    (tensor(True), tensor(False))
    """,
    aliases=("special_expm1",),
)
exp2 = _smooth(
    "exp2",
    lambda m, out: out * _LN2,
    """2 to the power of each element; integers give floats.

    >>> flambeau.exp2(flambeau.tensor([-1, 0, 3]))
    tensor([0.5000, 1.0000, 8.0000])
    """,
)
log = _smooth(
    "log",
    lambda m, input: 1 / input,
    """The natural logarithm of each element; -infinity at zero, NaN below.

    >>> flambeau.log(flambeau.tensor([1.0, 2.0, 0.0, -1.0]))
    tensor([0.0000, 0.6931,   -inf,    nan])
    """,
)
log1p = _smooth(
    "log1p",
    lambda m, input: 1 / (input + 1),
    """log(1 + input), exact for small input.

    >>> flambeau.log1p(flambeau.tensor([0.0, 1.0, -1.0]))
    tensor([0.0000, 0.6931,   -inf])
    """,
)
log2 = _smooth(
    "log2",
    lambda m, input: 1 / (input * _LN2),
    """The logarithm of each element to base 2; -infinity at zero, NaN below.

    >>> flambeau.log2(flambeau.tensor([8.0, 0.3, 0.0]))
    tensor([ 3.0000, -1.7370,    -inf])
    """,
)
log10 = _smooth(
    "log10",
    lambda m, input: 1 / (input * _LN10),
    """The logarithm of each element to base 10; -infinity at zero, NaN below.

    >>> flambeau.log10(flambeau.tensor([0.5, 20.0]))
    tensor([-0.3010,  1.3010])
    """,
)

# ---------------------------------------------------------------- circular and hyperbolic
sin = _smooth(
    "sin",
    lambda m, input: m.cos(input),
    """The sine of each element, in radians.

    >>> flambeau.sin(flambeau.tensor([0.0, flambeau.pi / 6, flambeau.pi / 2]))
    tensor([0.0000, 0.5000, 1.0000])
    """,
)
cos = _smooth(
    "cos",
    lambda m, input: -m.sin(input),
    """The cosine of each element, in radians.

    >>> flambeau.cos(flambeau.tensor([0.0, flambeau.pi / 3, flambeau.pi]))
    tensor([ 1.0000,  0.5000, -1.0000])
    """,
)
tan = _smooth(
    "tan",
    lambda m, out: 1 + out * out,
    """The tangent of each element, in radians.

    >>> flambeau.tan(flambeau.tensor([0.0, flambeau.pi / 4, 1.0]))
    tensor([0.0000, 1.0000, 1.5574])
    """,
)
asin = _smooth(
    "asin",
    lambda m, input: m.rsqrt(1 - input * input),
    """The angle in [-pi/2, pi/2] with this sine; NaN outside [-1, 1].

    >>> flambeau.asin(flambeau.tensor([0.5, 1.0, 2.0]))
    tensor([0.5236, 1.5708,    nan])
    """,
    aliases=("arcsin",),
)
acos = _smooth(
    "acos",
    lambda m, input: -m.rsqrt(1 - input * input),
    """The angle in [0, pi] with this cosine; NaN outside [-1, 1].

    >>> flambeau.acos(flambeau.tensor([1.0, 0.5, -1.0]))
    tensor([0.0000, 1.0472, 3.1416])
    """,
    aliases=("arccos",),
)
atan = _smooth(
    "atan",
    lambda m, input: 1 / (input * input + 1),
    """The angle in [-pi/2, pi/2] with this tangent.

    >>> flambeau.atan(flambeau.tensor([0.0, 1.0, -flambeau.inf]))
    tensor([ 0.0000,  0.7854, -1.5708])
    """,
    aliases=("arctan",),
)
sinh = _smooth(
    "sinh",
    lambda m, input: m.cosh(input),
    """The hyperbolic sine of each element.

    >>> flambeau.sinh(flambeau.tensor([0.0, 1.0]))
    tensor([0.0000, 1.1752])
    """,
)
cosh = _smooth(
    "cosh",
    lambda m, input: m.sinh(input),
    """The hyperbolic cosine of each element.

    >>> flambeau.cosh(flambeau.tensor([0.0, 1.0]))
    tensor([1.0000, 1.5431])
    """,
)
tanh = _smooth(
    "tanh",
    lambda m, out: 1 - out * out,
    """The hyperbolic tangent of each element, between -1 and 1.

    >>> flambeau.tanh(flambeau.tensor([0.0, 1.0, -100.0]))
    tensor([ 0.0000,  0.7616, -1.0000])
    """,
)
asinh = _smooth(
    "asinh",
    lambda m, input: m.rsqrt(input * input + 1),
    """The inverse hyperbolic sine of each element.

    >>> flambeau.asinh(flambeau.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8814])
    """,
    aliases=("arcsinh",),
)
acosh = _smooth(
    "acosh",
    lambda m, input: m.rsqrt(input - 1) * m.rsqrt(input + 1),
    """The inverse hyperbolic cosine of each element; NaN below 1.

    >>> flambeau.acosh(flambeau.tensor([1.0, 2.0, 0.0]))
    tensor([0.0000, 1.3170,    nan])
    """,
    aliases=("arccosh",),
)
atanh = _smooth(
    "atanh",
    lambda m, input: 1 / (1 - input * input),
    """The inverse hyperbolic tangent of each element; infinite at -1 and 1, NaN outside.

    >>> flambeau.atanh(flambeau.tensor([0.0, 0.5, 1.0]))
    tensor([0.0000, 0.5493,    inf])
    """,
    aliases=("arctanh",),
)
sinc = pointwise(
    "sinc(input)",
    lambda m, x: m.sinc(x),
    partials=(
        lambda m, input: m.where(
            m.eq(input, 0),
            0,
            (_PI * input * m.cos(_PI * input) - m.sin(_PI * input)) / (_PI * input * input),
        ),
    ),
    promote=TO_FLOAT,
    aliases=("special_sinc",),
    doc="""sin(pi input) / (pi input), 1 at zero.

    >>> flambeau.sinc(flambeau.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])
    """,
)

# ---------------------------------------------------------------- sigmoid and special functions
sigmoid = _smooth(
    "sigmoid",
    lambda m, out: out * (1 - out),
    """1 / (1 + exp(-input)), between 0 and 1; integers give floats.

    >>> flambeau.sigmoid(flambeau.tensor([-1, 0, 1]))
    tensor([0.2689, 0.5000, 0.7311])
    """,
    aliases=("special_expit",),
)
erf = _smooth(
    "erf",
    lambda m, input: _TWO_OVER_ROOT_PI * m.exp(-(input * input)),
    """The error function of each element, between -1 and 1; real input only.

    >>> flambeau.erf(flambeau.tensor([0.0, 0.5, 10.0]))
    tensor([0.0000, 0.5205, 1.0000])
    """,
    real=True,
    aliases=("special_erf",),
)
erfc = _smooth(
    "erfc",
    lambda m, input: -_TWO_OVER_ROOT_PI * m.exp(-(input * input)),
    """1 - erf(input), without cancellation for large input.

    >>> flambeau.erfc(flambeau.tensor([0.0, 0.5, 1.0]))
    tensor([1.0000, 0.4795, 0.1573])
    >>> flambeau.erfc(flambeau.tensor(5.0)) > 0, 1 - flambeau.erf(flambeau.tensor(5.0)) > 0
    (tensor(True), tensor(False))
    """,
    real=True,
    aliases=("special_erfc",),
)
erfinv = _smooth(
    "erfinv",
    lambda m, out: m.exp(out * out) / _TWO_OVER_ROOT_PI,
    """The inverse of the error function; infinite at -1 and 1, NaN outside.

    >>> flambeau.erfinv(flambeau.tensor([0.0, 0.5, -1.0]))
    tensor([0.0000, 0.4769,   -inf])
    """,
    real=True,
    aliases=("special_erfinv",),
)
lgamma = _smooth(
    "lgamma",
    lambda m, input: m.digamma(input),
    """log |Gamma(input)|; infinite at 0, -1, -2, ...

    >>> flambeau.lgamma(flambeau.tensor([1.0, 5.0, 0.5]))
    tensor([0.0000, 3.1781, 0.5724])
    """,
    real=True,
    aliases=("special_gammaln",),
)
digamma = _smooth(
    "digamma",
    lambda m, input: m.polygamma_of(input, 1),
    """The derivative of lgamma; NaN at -1, -2, ...

    >>> flambeau.digamma(flambeau.tensor([1.0, 2.0]))
    tensor([-0.5772,  0.4228])
    """,
    real=True,
    aliases=("special_digamma", "special_psi"),
)
i0 = _smooth(
    "i0",
    lambda m, input: m.i1(input),
    """The modified Bessel function of the first kind of order 0.

    >>> flambeau.i0(flambeau.tensor([0.0, 1.0, 2.0]))
    tensor([1.0000, 1.2661, 2.2796])
    """,
    real=True,
    aliases=("special_i0",),
)
i1 = _smooth(
    "i1",
    lambda m, input, out: m.where(
        m.eq(input, 0), 0.5, m.i0(input) - out / m.where(m.eq(input, 0), 1, input)
    ),
    """The modified Bessel function of the first kind of order 1.

    >>> flambeau.special.i1(flambeau.tensor([0.0, 1.0, -1.0]))
    tensor([ 0.0000,  0.5652, -0.5652])
    """,
    real=True,
    method=False,
    inplace=False,
    aliases=("special_i1",),
)
polygamma_of = pointwise(
    "polygamma_of(input, n)",
    lambda m, x, n: m.polygamma_of(x, n),
    partials=(lambda m, input, n: m.polygamma_of(input, n + 1), None),
    promote=TO_FLOAT,
    method=False,
    inplace=False,
    refuse="c",
    node="PolygammaBackward0",
    doc="The derivative of order n of digamma.",
)


@composite(method=False, out=True, aliases=("special_polygamma",))
def polygamma(m: Any, n: int, input: Array) -> Array:
    """The derivative of order `n` of digamma at `input`.

    >>> flambeau.polygamma(1, flambeau.tensor([1.0, 2.0]))
    tensor([1.6449, 0.6449])
    """
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return m.digamma(input) if n == 0 else m.polygamma_of(input, n)


@composite(inplace=True, out=True, aliases=("special_multigammaln",))
def mvlgamma(m: Any, input: Array, p: int) -> Array:
    """log of the multivariate gamma function of dimension `p`, for input > (p - 1) / 2.

    >>> flambeau.mvlgamma(flambeau.tensor([2.0, 3.0]), p=2)
    tensor([0.4516, 1.5502])
    """
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    x = m.floating(input)
    total = m.lgamma(x) + p * (p - 1) / 4 * math.log(_PI)
    for j in range(1, p):
        total = total + m.lgamma(x - j / 2)
    return total


@composite(out=True, inplace=True, aliases=("special_logit",))
def logit(m: Any, input: Array, eps: float | None = None) -> Array:
    """log(input / (1 - input)); with `eps`, input is first clamped to [eps, 1 - eps].

    >>> flambeau.logit(flambeau.tensor([0.5, 0.9]))
    tensor([0.0000, 2.1972])
    >>> flambeau.logit(flambeau.tensor([0.0]), eps=0.25)
    tensor([-1.0986])
    """
    x = m.floating(input)
    if eps is not None:
        x = m.clamp(x, eps, 1 - eps)
    return m.logit_of(x)


logit_of = pointwise(
    "logit_of(input)",
    lambda m, x: m.log(x / (1 - x)),
    # Outside (0, 1) there is no logit, and no slope either.
    partials=(
        lambda m, input: m.where(
            m.logical_or(input < 0, input > 1), math.nan, 1 / (input * (1 - input))
        ),
    ),
    promote=TO_FLOAT,
    method=False,
    inplace=False,
    refuse="c",
    node="LogitBackward0",
    doc="log(input / (1 - input)).",
)


# ---------------------------------------------------------------- angles and types
def _refuse_complex(m: Any, name: str, input: Any) -> None:
    if m.dtype(input).is_complex:
        raise RuntimeError(f"{name} is not supported for complex tensors.")


@composite(inplace=True, out=True)
def deg2rad(m: Any, input: Array) -> Array:
    """Degrees to radians.

    >>> flambeau.deg2rad(flambeau.tensor([0, 90, -180]))
    tensor([ 0.0000,  1.5708, -3.1416])
    """
    _refuse_complex(m, "deg2rad", input)
    return m.mul(m.floating(input), _PI / 180.0)


@composite(inplace=True, out=True)
def rad2deg(m: Any, input: Array) -> Array:
    """Radians to degrees.

    >>> flambeau.rad2deg(flambeau.tensor([0.0, flambeau.pi]))
    tensor([  0., 180.])
    """
    _refuse_complex(m, "rad2deg", input)
    return m.mul(m.floating(input), 180.0 / _PI)


@structured(method=False, grad={"input": lambda m, g: g})
def floating(input: Array) -> Array:
    """`input`, integers and bools as the default float."""
    return floated(input)
