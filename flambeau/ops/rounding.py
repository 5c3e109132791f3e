"""Rounding, and the parts of a floating-point number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends.cpu.elementwise import Fused
from ..compiler.expressions import trace
from .record import Array, Op, pointwise, structured


def _stepped(name: str, doc: str, **options: Any) -> Op:
    """A piecewise constant function: its derivative is zero."""
    return pointwise(
        f"{name}(input)",
        lambda m, x: getattr(m, name)(x),
        partials=(lambda m: 0,),
        refuse="bc",
        doc=doc,
        **options,
    )


# ---------------------------------------------------------------- rounding
ceil = _stepped(
    "ceil",
    """Each element rounded up to an integer, in the dtype of input.

    >>> flambeau.ceil(flambeau.tensor([-1.5, 0.2, 2.0]))
    tensor([-1.,  1.,  2.])
    """,
)
floor = _stepped(
    "floor",
    """Each element rounded down to an integer, in the dtype of input.

    >>> flambeau.floor(flambeau.tensor([-1.5, 0.2, 2.0]))
    tensor([-2.,  0.,  2.])
    """,
)
trunc = _stepped(
    "trunc",
    """Each element rounded towards zero, in the dtype of input.

    >>> flambeau.trunc(flambeau.tensor([-1.5, 0.2, 2.9]))
    tensor([-1.,  0.,  2.])
    """,
    aliases=("fix",),
)
frac = pointwise(
    "frac(input)",
    lambda m, x: m.frac(x),
    partials=(lambda m: 1,),
    refuse="bic",
    doc="""What is left of input after truncation; it has input's sign.

    >>> flambeau.frac(flambeau.tensor([-1.5, 0.25, 2.0]))
    tensor([-0.5000,  0.2500,  0.0000])
    """,
)
round = pointwise(
    "round(input, *, decimals=0)",
    lambda m, x, decimals: m.round_to(x, decimals),
    partials=(lambda m: 0,),
    refuse="bc",
    aliases=("special_round",),
    doc="""input rounded to so many decimals, halves to the even neighbour.

    >>> flambeau.round(flambeau.tensor([0.5, 1.5, -2.7]))
    tensor([ 0.,  2., -3.])
    >>> flambeau.round(flambeau.tensor([1234.56]), decimals=-2)
    tensor([1200.])
    """,
)


# ---------------------------------------------------------------- what a float is made of
@structured(
    inplace=True,
    out=True,
    grad={"input": lambda m, g, input: m.where(m.isfinite(input), g, 0)},
)
def nan_to_num(
    input: Array, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Array:
    """`input` with NaN replaced by `nan` (zero) and infinities by numbers (the extreme ones).

    >>> x = flambeau.tensor([flambeau.nan, flambeau.inf, 1.0])
    >>> flambeau.nan_to_num(x, nan=-1.0, posinf=9.0)
    tensor([-1.,  9.,  1.])
    """
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
    """Mantissa in [0.5, 1) and exponent (int32) with input = mantissa * 2^exponent.

    >>> mantissa, exponent = flambeau.frexp(flambeau.tensor([8.0, -0.75]))
    >>> mantissa, exponent
    (tensor([ 0.5000, -0.7500]), tensor([4, 0], dtype=torch.int32))
    """
    if input.dtype.kind in "biuc":
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
    doc="""Whether the sign bit is set: negative numbers, and -0.0.

    >>> flambeau.signbit(flambeau.tensor([-0.0, 0.0, -3.0]))
    tensor([ True, False,  True])
    """,
)
