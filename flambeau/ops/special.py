"""Special functions: Bessel functions, the normal distribution's, zeta, orthogonal polynomials."""

from __future__ import annotations

import math
from typing import Any

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


_special(
    "airy_ai",
    """The Airy function Ai of each element, a solution of ``y'' = x y``; integers give floats.

    >>> flambeau.special.airy_ai(flambeau.tensor([0.0, 1.0]))
    tensor([0.3550, 0.1353])
    """,
)
_special(
    "bessel_j0",
    """The Bessel function of the first kind of order 0 of each element; integers give floats.

    >>> flambeau.special.bessel_j0(flambeau.tensor([0.0, 1.0]))
    tensor([1.0000, 0.7652])
    """,
)
_special(
    "bessel_j1",
    """The Bessel function of the first kind of order 1 of each element; integers give floats.

    >>> flambeau.special.bessel_j1(flambeau.tensor([0.0, 1.0]))
    tensor([0.0000, 0.4401])
    """,
)
_special(
    "bessel_y0",
    """The Bessel function of the second kind of order 0; -infinity at zero, NaN below.

    >>> flambeau.special.bessel_y0(flambeau.tensor([0.0, 1.0]))
    tensor([  -inf, 0.0883])
    """,
)
_special(
    "bessel_y1",
    """The Bessel function of the second kind of order 1; -infinity at zero, NaN below.

    >>> flambeau.special.bessel_y1(flambeau.tensor([0.0, 1.0]))
    tensor([   -inf, -0.7812])
    """,
)
_special(
    "modified_bessel_k0",
    """The modified Bessel function of the second kind of order 0; infinity at zero, NaN below.

    >>> flambeau.special.modified_bessel_k0(flambeau.tensor([0.0, 1.0]))
    tensor([   inf, 0.4210])
    """,
)
_special(
    "modified_bessel_k1",
    """The modified Bessel function of the second kind of order 1; infinity at zero, NaN below.

    >>> flambeau.special.modified_bessel_k1(flambeau.tensor([0.0, 1.0]))
    tensor([   inf, 0.6019])
    """,
)
_special(
    "scaled_modified_bessel_k0",
    """exp(input) times the modified Bessel function K0: finite where K0 vanishes.

    >>> flambeau.special.scaled_modified_bessel_k0(flambeau.tensor([1.0, 1000.0]))
    tensor([1.1445, 0.0396])
    """,
)
_special(
    "scaled_modified_bessel_k1",
    """exp(input) times the modified Bessel function K1: finite where K1 vanishes.

    >>> flambeau.special.scaled_modified_bessel_k1(flambeau.tensor([1.0, 1000.0]))
    tensor([1.6362, 0.0396])
    """,
)
_special(
    "spherical_bessel_j0",
    """sin(input) / input, 1 at zero.

    >>> flambeau.special.spherical_bessel_j0(flambeau.tensor([0.0, 1.0]))
    tensor([1.0000, 0.8415])
    """,
)
pointwise(
    "special_modified_bessel_i0(input)",
    lambda m, x: m.i0(x),
    promote=TO_FLOAT,
    refuse="c",
    method=False,
    inplace=False,
    excuse="PyTorch has no derivative for it",
    doc="""The modified Bessel function of the first kind of order 0.

    >>> flambeau.special.modified_bessel_i0(flambeau.tensor([0.0, 1.0]))
    tensor([1.0000, 1.2661])
    """,
)
pointwise(
    "special_modified_bessel_i1(input)",
    lambda m, x: m.i1(x),
    promote=TO_FLOAT,
    refuse="c",
    method=False,
    inplace=False,
    excuse="PyTorch has no derivative for it",
    doc="""The modified Bessel function of the first kind of order 1.

    >>> flambeau.special.modified_bessel_i1(flambeau.tensor([0.0, 1.0]))
    tensor([0.0000, 0.5652])
    """,
)
_special(
    "i0e",
    """exp(-|input|) times the modified Bessel function I0.

    >>> flambeau.special.i0e(flambeau.tensor([0.0, 1.0, 1000.0]))
    tensor([1.0000, 0.4658, 0.0126])
    """,
    lambda m, input, out: m.i1e(input) - m.sgn(input) * out,
)
_special(
    "i1e",
    """exp(-|input|) times the modified Bessel function I1.

    >>> flambeau.special.i1e(flambeau.tensor([0.0, 1.0, -1.0]))
    tensor([ 0.0000,  0.2079, -0.2079])
    """,
    lambda m, input, out: m.where(
        m.eq(input, 0),
        0.5,
        m.i0e(input) - out * (m.sgn(input) + 1 / m.where(m.eq(input, 0), 1, input)),
    ),
)
_special(
    "entr",
    """-input * log(input): 0 at zero, -infinity below.

    >>> flambeau.special.entr(flambeau.tensor([-1.0, 0.0, 0.5]))
    tensor([  -inf, 0.0000, 0.3466])
    """,
    lambda m, input: -m.log(input) - 1,
)
_special(
    "erfcx",
    """exp(input^2) * erfc(input): finite where erfc vanishes.

    >>> flambeau.special.erfcx(flambeau.tensor([0.0, 10.0]))
    tensor([1.0000, 0.0561])
    """,
    lambda m, input, out: 2 * input * out - 2 / math.sqrt(math.pi),
)
_special(
    "ndtr",
    """The standard normal distribution function: the probability of a value up to input.

    >>> flambeau.special.ndtr(flambeau.tensor([-1.0, 0.0, 1.0]))
    tensor([0.1587, 0.5000, 0.8413])
    """,
    lambda m, input: m.exp(-0.5 * input * input) / _ROOT_2PI,
    # The primitive `ndtr` is made for gelu: its kernel is nought far below 0.
    formula=lambda m, x: m.erfc(x * -math.sqrt(0.5)) * 0.5,
)
_special(
    "ndtri",
    """The quantile of the standard normal distribution: the inverse of `special_ndtr`.

    >>> flambeau.special.ndtri(flambeau.tensor([0.0, 0.5, 0.9]))
    tensor([  -inf, 0.0000, 1.2816])
    """,
    lambda m, out: _ROOT_2PI * m.exp(0.5 * out * out),
)
_special(
    "log_ndtr",
    """The logarithm of the standard normal distribution function, without underflow.

    >>> flambeau.special.log_ndtr(flambeau.tensor([-20.0, 0.0]))
    tensor([-203.9172,   -0.6931])
    """,
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
    doc="""Hurwitz's zeta function, the sum of (k + other)^-input over k = 0, 1, ...

    >>> flambeau.special.zeta(flambeau.tensor([2.0, 2.0]), flambeau.tensor([1.0, 2.0]))
    tensor([1.6449, 0.6449])
    """,
)


def _polynomial(name: str, doc: str) -> None:
    """``special_name(input, n)``; the primitive's name leaves out the word "polynomial"."""
    primitive = name.replace("polynomial_", "")
    pointwise(
        f"special_{name}(input, n)",
        lambda m, x, n: getattr(m, primitive)(x, n),
        promote=TO_FLOAT,
        method=False,
        inplace=False,
        refuse="c",
        numbers="one",
        excuse="PyTorch has no derivative for it",
        doc=doc,
    )


_polynomial(
    "chebyshev_polynomial_t",
    """The Chebyshev polynomial of the first kind of degree `n`: ``2 x^2 - 1`` for 2.

    >>> flambeau.special.chebyshev_polynomial_t(flambeau.tensor([0.5, 2.0]), 2)
    tensor([-0.5000,  7.0000])
    """,
)
_polynomial(
    "chebyshev_polynomial_u",
    """The Chebyshev polynomial of the second kind of degree `n`: ``4 x^2 - 1`` for 2.

    >>> flambeau.special.chebyshev_polynomial_u(flambeau.tensor([0.5, 2.0]), 2)
    tensor([ 0., 15.])
    """,
)
_polynomial(
    "chebyshev_polynomial_v",
    """The Chebyshev polynomial of the third kind of degree `n` at each element.

    >>> flambeau.special.chebyshev_polynomial_v(flambeau.tensor([0.5, 2.0]), 2)
    tensor([-1., 11.])
    """,
)
_polynomial(
    "chebyshev_polynomial_w",
    """The Chebyshev polynomial of the fourth kind of degree `n` at each element.

    >>> flambeau.special.chebyshev_polynomial_w(flambeau.tensor([0.5, 2.0]), 2)
    tensor([ 1., 19.])
    """,
)
_polynomial(
    "shifted_chebyshev_polynomial_t",
    """The Chebyshev polynomial of the first kind of degree `n` at ``2 input - 1``.

    >>> flambeau.special.shifted_chebyshev_polynomial_t(flambeau.tensor([0.5, 2.0]), 2)
    tensor([-1., 17.])
    """,
)
_polynomial(
    "shifted_chebyshev_polynomial_u",
    """The Chebyshev polynomial of the second kind of degree `n` at ``2 input - 1``.

    >>> flambeau.special.shifted_chebyshev_polynomial_u(flambeau.tensor([0.5, 2.0]), 2)
    tensor([-1., 35.])
    """,
)
_polynomial(
    "shifted_chebyshev_polynomial_v",
    """The Chebyshev polynomial of the third kind of degree `n` at ``2 input - 1``.

    >>> flambeau.special.shifted_chebyshev_polynomial_v(flambeau.tensor([0.5, 2.0]), 2)
    tensor([-1., 29.])
    """,
)
_polynomial(
    "shifted_chebyshev_polynomial_w",
    """The Chebyshev polynomial of the fourth kind of degree `n` at ``2 input - 1``.

    >>> flambeau.special.shifted_chebyshev_polynomial_w(flambeau.tensor([0.5, 2.0]), 2)
    tensor([-1., 41.])
    """,
)
_polynomial(
    "hermite_polynomial_h",
    """The physicists' Hermite polynomial of degree `n` at each element: ``4 x^2 - 2`` for 2.

    >>> flambeau.special.hermite_polynomial_h(flambeau.tensor([0.5, 2.0]), 2)
    tensor([-1., 14.])
    """,
)
_polynomial(
    "hermite_polynomial_he",
    """The probabilists' Hermite polynomial of degree `n` at each element: ``x^2 - 1`` for 2.

    >>> flambeau.special.hermite_polynomial_he(flambeau.tensor([0.5, 2.0]), 2)
    tensor([-0.7500,  3.0000])
    """,
)
_polynomial(
    "laguerre_polynomial_l",
    """The Laguerre polynomial of degree `n` at each element: ``x^2 / 2 - 2 x + 1`` for 2.

    >>> flambeau.special.laguerre_polynomial_l(flambeau.tensor([0.5, 2.0]), 2)
    tensor([ 0.1250, -1.0000])
    """,
)
_polynomial(
    "legendre_polynomial_p",
    """The Legendre polynomial of degree `n` at each element: ``(3 x^2 - 1) / 2`` for 2.

    >>> flambeau.special.legendre_polynomial_p(flambeau.tensor([0.5, 2.0]), 2)
    tensor([-0.1250,  5.5000])
    """,
)
