"""Functions of one number: element-wise ops of one tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends.cpu.elementwise import Fused
from ..compiler.expressions import trace
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


def _stepped(name: str, doc: str, refuse: str = "bc", **options: Any) -> Op:
    """A piecewise constant function: its derivative is zero."""
    return pointwise(
        f"{name}(input)",
        lambda m, x: getattr(m, name)(x),
        partials=(lambda m: 0,),
        refuse=refuse,
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
    doc="-input.",
)
positive = pointwise(
    "positive(input)",
    lambda m, x: m.positive(x),
    partials=(lambda m: 1,),
    inplace=False,
    out=False,
    refuse="b",
    doc="input itself.",
)
abs = pointwise(
    "abs(input)",
    lambda m, x: m.abs(x),
    grad={"input": lambda m, g, input: g * m.sgn(input)},
    aliases=("absolute",),
    result="real",
    refuse="b",
    doc="The size of input; real for complex input.",
)
sign = _stepped("sign", "-1, 0 or 1: the sign of input; 0 for NaN.", refuse="c")
sgn = pointwise(
    "sgn(input)",
    lambda m, x: m.sgn(x),
    grad={"input": lambda m, g, input, out: _sgn_gradient(m, g, input, out)},
    doc="The direction input / |input|, zero at zero.",
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
    doc="input * input; truth values count as integers.",
)
reciprocal = _smooth("reciprocal", lambda m, out: -(out * out), "1 / input.")
sqrt = _smooth("sqrt", lambda m, out: 0.5 / out, "The square root; NaN for negative numbers.")
rsqrt = _smooth("rsqrt", lambda m, out: -0.5 * (out * out * out), "1 / sqrt(input).")

# ---------------------------------------------------------------- exponentials and logarithms
exp = _smooth("exp", lambda m, out: out, "e to the power input.")
expm1 = _smooth("expm1", lambda m, out: out + 1, "exp(input) - 1, exact for small input.",
                aliases=("special_expm1",))  # fmt: skip
exp2 = _smooth("exp2", lambda m, out: out * _LN2, "2 to the power input.")
log = _smooth("log", lambda m, input: 1 / input, "The natural logarithm.")
log1p = _smooth("log1p", lambda m, input: 1 / (input + 1), "log(1 + input), exact for small input.")
log2 = _smooth("log2", lambda m, input: 1 / (input * _LN2), "The logarithm to base 2.")
log10 = _smooth("log10", lambda m, input: 1 / (input * _LN10), "The logarithm to base 10.")

# ---------------------------------------------------------------- circular and hyperbolic
sin = _smooth("sin", lambda m, input: m.cos(input), "The sine.")
cos = _smooth("cos", lambda m, input: -m.sin(input), "The cosine.")
tan = _smooth("tan", lambda m, out: 1 + out * out, "The tangent.")
asin = _smooth("asin", lambda m, input: m.rsqrt(1 - input * input), "The inverse sine.",
               aliases=("arcsin",))  # fmt: skip
acos = _smooth("acos", lambda m, input: -m.rsqrt(1 - input * input), "The inverse cosine.",
               aliases=("arccos",))  # fmt: skip
atan = _smooth("atan", lambda m, input: 1 / (input * input + 1), "The inverse tangent.",
               aliases=("arctan",))  # fmt: skip
sinh = _smooth("sinh", lambda m, input: m.cosh(input), "The hyperbolic sine.")
cosh = _smooth("cosh", lambda m, input: m.sinh(input), "The hyperbolic cosine.")
tanh = _smooth("tanh", lambda m, out: 1 - out * out, "The hyperbolic tangent.")
asinh = _smooth("asinh", lambda m, input: m.rsqrt(input * input + 1),
                "The inverse hyperbolic sine.", aliases=("arcsinh",))  # fmt: skip
acosh = _smooth("acosh", lambda m, input: m.rsqrt(input - 1) * m.rsqrt(input + 1),
                "The inverse hyperbolic cosine.", aliases=("arccosh",))  # fmt: skip
atanh = _smooth("atanh", lambda m, input: 1 / (1 - input * input),
                "The inverse hyperbolic tangent.", aliases=("arctanh",))  # fmt: skip
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
    doc="sin(pi input) / (pi input), 1 at zero.",
)

# ---------------------------------------------------------------- sigmoid and special functions
sigmoid = _smooth("sigmoid", lambda m, out: out * (1 - out), "1 / (1 + exp(-input)).",
                  aliases=("special_expit",))  # fmt: skip
erf = _smooth("erf", lambda m, input: _TWO_OVER_ROOT_PI * m.exp(-(input * input)),
              "The error function.", real=True, aliases=("special_erf",))  # fmt: skip
erfc = _smooth("erfc", lambda m, input: -_TWO_OVER_ROOT_PI * m.exp(-(input * input)),
               "1 - erf(input).", real=True, aliases=("special_erfc",))  # fmt: skip
erfinv = _smooth("erfinv", lambda m, out: m.exp(out * out) / _TWO_OVER_ROOT_PI,
                 "The inverse of the error function.", real=True,
                 aliases=("special_erfinv",))  # fmt: skip
lgamma = _smooth("lgamma", lambda m, input: m.digamma(input), "log |Gamma(input)|.", real=True,
                 aliases=("special_gammaln",))  # fmt: skip
digamma = _smooth("digamma", lambda m, input: m.polygamma_of(input, 1),
                  "The derivative of lgamma.", real=True,
                  aliases=("special_digamma", "special_psi"))  # fmt: skip
i0 = _smooth("i0", lambda m, input: m.i1(input), "The modified Bessel function of order 0.",
             real=True, aliases=("special_i0",))  # fmt: skip
i1 = _smooth(
    "i1",
    lambda m, input, out: m.where(
        m.eq(input, 0), 0.5, m.i0(input) - out / m.where(m.eq(input, 0), 1, input)
    ),
    "The modified Bessel function of order 1.",
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
    """The derivative of order `n` of digamma at `input`."""
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return m.digamma(input) if n == 0 else m.polygamma_of(input, n)


@composite(inplace=True, out=True, aliases=("special_multigammaln",))
def mvlgamma(m: Any, input: Array, p: int) -> Array:
    """log of the multivariate gamma function of dimension `p`, for input > (p - 1) / 2."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    x = m.floating(input)
    total = m.lgamma(x) + p * (p - 1) / 4 * math.log(_PI)
    for j in range(1, p):
        total = total + m.lgamma(x - j / 2)
    return total


@composite(out=True, inplace=True, aliases=("special_logit",))
def logit(m: Any, input: Array, eps: float | None = None) -> Array:
    """log(input / (1 - input)); with `eps`, input is first clamped to [eps, 1 - eps]."""
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

# ---------------------------------------------------------------- rounding
ceil = _stepped("ceil", "input rounded up.")
floor = _stepped("floor", "input rounded down.")
trunc = _stepped("trunc", "input rounded towards zero.", aliases=("fix",))
frac = pointwise(
    "frac(input)",
    lambda m, x: m.frac(x),
    partials=(lambda m: 1,),
    refuse="bic",
    doc="What is left of input after truncation; it has input's sign.",
)
round = pointwise(
    "round(input, *, decimals=0)",
    lambda m, x, decimals: m.round_to(x, decimals),
    partials=(lambda m: 0,),
    refuse="bc",
    aliases=("special_round",),
    doc="input rounded to so many decimals, halves to the even neighbour.",
)


def _refuse_complex(m: Any, name: str, input: Any) -> None:
    if m.dtype(input).is_complex:
        raise RuntimeError(f"{name} is not supported for complex tensors.")


@composite(inplace=True, out=True)
def deg2rad(m: Any, input: Array) -> Array:
    """Degrees to radians."""
    _refuse_complex(m, "deg2rad", input)
    return m.mul(m.floating(input), _PI / 180.0)


@composite(inplace=True, out=True)
def rad2deg(m: Any, input: Array) -> Array:
    """Radians to degrees."""
    _refuse_complex(m, "rad2deg", input)
    return m.mul(m.floating(input), 180.0 / _PI)


@structured(method=False, grad={"input": lambda m, g: g})
def floating(input: Array) -> Array:
    """`input`, integers and bools as the default float."""
    return floated(input)


@structured(
    inplace=True,
    out=True,
    grad={"input": lambda m, g, input: m.where(m.isfinite(input), g, 0)},
)
def nan_to_num(
    input: Array, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Array:
    """`input` with NaN replaced by `nan` (zero) and infinities by numbers (the extreme ones)."""
    if input.dtype.kind in "biu":
        return input.copy()
    if input.dtype.kind == "c":
        out = np.empty_like(input)
        out.real = nan_to_num.forward(input.real, nan, posinf, neginf)
        out.imag = nan_to_num.forward(input.imag, nan, posinf, neginf)
        return out
    from ml_dtypes import finfo

    kind, limits = input.dtype, finfo(input.dtype)
    numbers = [
        np.asarray(given if given is not None else usual).astype(kind)
        for given, usual in ((nan, 0.0), (posinf, limits.max), (neginf, limits.min))
    ]
    if input.size >= _ORDINARY.least:
        work = np.dtype(np.float32) if kind.itemsize < 4 else kind
        found = _ORDINARY.convert([input, *numbers], work, kind)
        if found is not None:
            return found
    return _ordinary(input, *numbers)


def _ordinary(x: Array, nan: Array, high: Array, low: Array) -> Array:
    out = x.copy()
    out[np.isnan(x)] = nan
    out[x == np.inf] = high
    out[x == -np.inf] = low
    return out


_ORDINARY = Fused(
    "nan_to_num",
    trace(
        lambda m, x, nan, high, low: m.where(
            m.isnan(x), nan, m.where(x >= math.inf, high, m.where(x <= -math.inf, low, x))
        )
    ),
    ("x", "nan", "high", "low"),
    _ordinary,
)


@structured(outputs=2, fields=("mantissa", "exponent"), result="frexp", out=True,
            grad={"input": lambda m, g, out1: m.ldexp(g[0], -out1)})  # fmt: skip
def frexp(input: Array) -> tuple[Array, Array]:
    """Mantissa in [0.5, 1) and exponent (int32) with input = mantissa * 2^exponent."""
    if input.dtype.kind in "biu":
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    wide = input.astype(np.float32) if input.dtype.itemsize < 4 else input
    mantissa, exponent = np.frexp(wide)
    return mantissa.astype(input.dtype, copy=False), np.asarray(exponent, np.int32)


signbit = pointwise(
    "signbit(input)",
    lambda m, x: m.signbit(x),
    promote="compare",
    inplace=False,
    refuse="c",
    excuse="a truth value",
    doc="Whether the sign bit is set: negative numbers, and -0.0.",
)
