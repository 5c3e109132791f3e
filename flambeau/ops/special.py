"""Special functions: Bessel functions, the normal distribution's, zeta, orthogonal polynomials."""

from __future__ import annotations

import math
from typing import Any

from ..backends.cpu.polynomials import FAMILIES
from .record import TO_FLOAT, Op, pointwise

_ROOT_2PI = math.sqrt(2 * math.pi)
_ROOT_2 = math.sqrt(2.0)


def _special(name: str, doc: str, partial: Any = None, formula: Any = None, **options: Any) -> Op:
    """``special_name(input)``, whose scalar primitive is `name` unless there is a `formula`."""
    if name in ("i0e", "i1e", "erfcx", "ndtr"):  # the names by which derivatives call them
        options["aliases"] = (name,)
    excuse = "" if partial else "PyTorch has no derivative for it"
    return pointwise(
        f"special_{name}(input)",
        formula or (lambda m, x: getattr(m, name)(x)),
        partials=(partial,),
        promote=TO_FLOAT,
        method=False,
        inplace=False,
        refuse="c",
        excuse=excuse,
        doc=doc,
        **options,
    )


_special("airy_ai", "The Airy function Ai.")
_special("bessel_j0", "The Bessel function of the first kind of order 0.")
_special("bessel_j1", "The Bessel function of the first kind of order 1.")
_special("bessel_y0", "The Bessel function of the second kind of order 0.")
_special("bessel_y1", "The Bessel function of the second kind of order 1.")
_special("modified_bessel_k0", "The modified Bessel function of the second kind of order 0.")
_special("modified_bessel_k1", "The modified Bessel function of the second kind of order 1.")
_special("scaled_modified_bessel_k0", "exp(input) times the modified Bessel function K0.")
_special("scaled_modified_bessel_k1", "exp(input) times the modified Bessel function K1.")
_special("spherical_bessel_j0", "sin(input) / input, 1 at zero.")
pointwise(
    "special_modified_bessel_i0(input)",
    lambda m, x: m.i0(x),
    promote=TO_FLOAT,
    method=False,
    inplace=False,
    excuse="PyTorch has no derivative for it",
    doc="The modified Bessel function of the first kind of order 0.",
)
pointwise(
    "special_modified_bessel_i1(input)",
    lambda m, x: m.i1(x),
    promote=TO_FLOAT,
    method=False,
    inplace=False,
    excuse="PyTorch has no derivative for it",
    doc="The modified Bessel function of the first kind of order 1.",
)
_special(
    "i0e",
    "exp(-|input|) times the modified Bessel function I0.",
    lambda m, input, out: m.i1e(input) - m.sgn(input) * out,
)
_special(
    "i1e",
    "exp(-|input|) times the modified Bessel function I1.",
    lambda m, input, out: m.where(
        m.eq(input, 0),
        0.5,
        m.i0e(input) - out * (m.sgn(input) + 1 / m.where(m.eq(input, 0), 1, input)),
    ),
)
_special(
    "entr",
    "-input * log(input): 0 at zero, -infinity below.",
    lambda m, input: -m.log(input) - 1,
)
_special(
    "erfcx",
    "exp(input^2) * erfc(input).",
    lambda m, input, out: 2 * input * out - 2 / math.sqrt(math.pi),
)
_special(
    "ndtr",
    "The standard normal distribution function.",
    lambda m, input: m.exp(-0.5 * input * input) / _ROOT_2PI,
    # The primitive `ndtr` is made for gelu: its kernel is nought far below 0.
    formula=lambda m, x: m.erfc(x * -math.sqrt(0.5)) * 0.5,
)
_special(
    "ndtri",
    "The quantile of the standard normal distribution.",
    lambda m, out: _ROOT_2PI * m.exp(0.5 * out * out),
)
_special(
    "log_ndtr",
    "The logarithm of the standard normal distribution function.",
    lambda m, input: math.sqrt(2 / math.pi) / m.erfcx(input / -_ROOT_2),
)
zeta = pointwise(
    "special_zeta(input, other)",
    lambda m, x, q: m.zeta(x, q),
    partials=(None, lambda m, input, other: -input * m.zeta(input + 1, other)),
    promote=TO_FLOAT,
    method=False,
    inplace=False,
    refuse="c",
    numbers="one",
    aliases=("zeta",),
    doc="Hurwitz's zeta function, the sum of (k + other)^-input over k = 0, 1, ...",
)


def _polynomial(family: str, title: str, shifted: bool = False) -> None:
    kind, _, letter = family.partition("_")
    name = f"special_{'shifted_' if shifted else ''}{kind}_polynomial_{letter}"
    primitive = f"{'shifted_' if shifted else ''}{family}"
    pointwise(
        f"{name}(input, n)",
        lambda m, x, n: getattr(m, primitive)(x, n),
        promote=TO_FLOAT,
        method=False,
        inplace=False,
        refuse="c",
        numbers="one",
        excuse="PyTorch has no derivative for it",
        doc=f"The {title} polynomial of degree n{' at 2 input - 1' if shifted else ''}.",
    )


for _family in FAMILIES:
    _polynomial(_family, _family.split("_")[0].capitalize())
    if _family.startswith("chebyshev"):
        _polynomial(_family, "Chebyshev", shifted=True)
