"""The NumPy function behind each scalar primitive: the reference every kernel is tested against.

SciPy is imported when a special function is first asked for. Functions keep the input's dtype where
PyTorch does, and accept ``out=`` only where they are plain ufuncs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..meta import MetaArray, elementwise
from .polynomials import FAMILIES, polynomial

_UFUNCS = """abs arccos arccosh arcsin arcsinh arctan arctanh ceil conj cos cosh exp exp2 expm1
floor isfinite isinf isnan log log10 log1p log2 logical_not reciprocal sign signbit sin sinh sqrt
square tan tanh trunc positive arctan2 copysign fmax fmin fmod hypot logaddexp logaddexp2
logical_and logical_or logical_xor maximum minimum nextafter heaviside gcd lcm add subtract
multiply true_divide equal not_equal less less_equal greater greater_equal bitwise_and bitwise_or
bitwise_xor left_shift right_shift negative invert where real imag angle"""
_RENAMED = {
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atanh": "arctanh",
    "atan2": "arctan2",
    "sub": "subtract",
    "mul": "multiply",
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "neg": "negative",
    "bitwise_not": "invert",
    "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift",
}
_SCIPY = {
    "erf": "erf",
    "erfc": "erfc",
    "erfinv": "erfinv",
    "digamma": "psi",
    "i0": "i0",
    "i1": "i1",
    "xlogy": "xlogy",
    "xlog1py": "xlog1py",
    "i0e": "i0e",
    "i1e": "i1e",
    "bessel_j0": "j0",
    "bessel_j1": "j1",
    "bessel_y0": "y0",
    "bessel_y1": "y1",
    "modified_bessel_k0": "k0",
    "modified_bessel_k1": "k1",
    "scaled_modified_bessel_k0": "k0e",
    "scaled_modified_bessel_k1": "k1e",
    "entr": "entr",
    "erfcx": "erfcx",
    "ndtr": "ndtr",
    "ndtri": "ndtri",
    "log_ndtr": "log_ndtr",
    "igamma": "gammainc",
    "igammac": "gammaincc",
    "zeta": "zeta",
}
SPECIAL = (*_SCIPY, "polygamma_of", "airy_ai", "lgamma")
"""Primitives whose NumPy function lives in SciPy."""


def _one_element_of_meta(f: Callable[..., Any]) -> Callable[..., Any]:
    """Let `f`, which does more than call ufuncs, take meta arrays."""

    @functools.wraps(f)
    def run(*args: Any) -> Any:
        for a in args:
            if isinstance(a, MetaArray):
                return elementwise(f, args)
        return f(*args)

    return run


_ONES = {np.dtype(kind): np.array(1, kind) for kind in (np.float32, np.float64)}
"""1 as NumPy takes it fastest."""


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), which overflows to the right limit on both sides."""
    one = _ONES.get(x.dtype, 1)
    return np.divide(one, np.add(np.exp(np.negative(x)), one))


def rsqrt(x: Any) -> Any:
    """1 / sqrt(x)."""
    return np.divide(_ONES.get(x.dtype, 1), np.sqrt(x))


def frac(x: Any) -> Any:
    """What is left of x after truncation."""
    return x - np.trunc(x)


@_one_element_of_meta
def sign(x: Any) -> Any:
    """-1, 0 or 1; a truth value is its own sign, and NaN has none (0)."""
    if x.dtype.kind == "b":
        return x.copy()
    out = np.asarray(np.sign(x))
    if x.dtype.kind == "f":
        out[np.isnan(x)] = 0
    return out


def sgn(x: Any) -> Any:
    """The direction x / |x|, zero at zero."""
    if x.dtype.kind != "c":
        return sign(x)
    size = np.abs(x)
    return np.where(size == 0, 0, x / np.where(size == 0, 1, size)).astype(x.dtype)


@_one_element_of_meta
def polygamma_of(x: Any, n: Any) -> Any:
    """The derivative of order n of digamma."""
    from scipy import special

    return special.polygamma(np.asarray(n).astype(np.int64), x).astype(x.dtype)


@_one_element_of_meta
def airy_ai(x: Any) -> Any:
    """The Airy function Ai."""
    from scipy import special

    return special.airy(x)[0].astype(x.dtype)


def spherical_bessel_j0(x: Any) -> Any:
    """sin(x) / x, 1 at zero and 0 at infinity."""
    safe = np.where(x == 0, x.dtype.type(1), x)
    return np.where(x == 0, x.dtype.type(1), np.where(np.isinf(x), 0, np.sin(safe) / safe)).astype(
        x.dtype
    )


def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x)."""
    turned = np.pi * np.where(x == 0, x.dtype.type(1), x)
    return np.where(x == 0, x.dtype.type(1), np.sin(turned) / turned).astype(x.dtype, copy=False)


def lgamma(x: Any) -> Any:
    """log |Gamma(x)|."""
    from scipy import special

    return np.where(np.isinf(x), np.abs(x), special.gammaln(x))


def round_(x: Any) -> Any:
    """x rounded to integers, halves to the even neighbour."""
    return np.rint(x) if x.dtype.kind in "fc" else x.copy()


def round_to(x: Any, decimals: int) -> Any:
    """x rounded to so many decimals; a negative number rounds before the point."""
    if not decimals:
        return round_(x)
    if x.dtype.kind in "biu":
        return np.round(x, decimals) if decimals < 0 else x.copy()
    scale = x.dtype.type(10.0 ** abs(decimals))
    return np.rint(x * scale) / scale if decimals > 0 else np.rint(x / scale) * scale


def to_float(x: Any) -> Any:
    """A truth value as the number 0 or 1; in formulas with masks."""
    return x.astype(np.float32) if x.dtype.kind == "b" else x


def power(x: Any, y: Any) -> Any:
    """x ** y; integers to negative powers give what truncation gives (1, -1 or 0)."""
    integral = all(
        isinstance(v, int) or getattr(getattr(v, "dtype", None), "kind", "f") in "iub"
        for v in (x, y)
    )
    if not integral:
        return _float_power(x, y)
    exponent = np.asarray(y)
    if not (exponent < 0).any():
        return np.power(x, y)
    if np.ndim(x) and not exponent.ndim:
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    base = np.asarray(x)
    odd = np.where(exponent % 2 == 0, 1, -1)
    ones = np.where(base == 1, 1, np.where(base == -1, odd, 0))
    return np.where(exponent < 0, ones, np.power(base, np.maximum(exponent, 0))).astype(
        np.result_type(x, y)
    )


def _float_power(x: Any, y: Any) -> Any:
    if getattr(y, "ndim", 0) == 0 and isinstance(x, np.ndarray):
        # The usual exponents have much faster functions of their own.
        short = _SHORT_POWERS.get(complex(y))
        if short is not None:
            return short(x)
    return np.power(x, y)


_SHORT_POWERS: dict[complex, Callable[[Any], Any]] = {
    2: np.square,
    1: np.positive,
    0.5: np.sqrt,
    3: lambda x: x * x * x,
    -1: np.reciprocal,
    -2: lambda x: np.reciprocal(np.square(x)),
}


@_one_element_of_meta
def remainder(x: Any, y: Any) -> Any:
    """Python's modulus: the sign is the divisor's."""
    _check_divisor(x, y)
    return np.remainder(x, y)


@_one_element_of_meta
def fmod(x: Any, y: Any) -> Any:
    """C's modulus: the sign is the dividend's."""
    _check_divisor(x, y)
    return np.fmod(x, y)


@_one_element_of_meta
def floor_divide(x: Any, y: Any) -> Any:
    """The quotient rounded down; an integer division by zero is an error."""
    _check_divisor(x, y)
    if np.result_type(x, y).kind not in "f":
        return np.floor_divide(x, y)
    # NumPy gives NaN where a finite number is divided by zero; PyTorch gives the infinity.
    return np.where(np.equal(y, 0), np.true_divide(x, y), np.floor_divide(x, y))


@_one_element_of_meta
def trunc_divide(x: Any, y: Any) -> Any:
    """The quotient rounded towards zero; an integer division by zero is an error."""
    _check_divisor(x, y)
    if np.result_type(x, y).kind == "f":
        return np.trunc(np.true_divide(x, y))
    quotient = np.floor_divide(x, y)
    return quotient + ((quotient < 0) & (quotient * y != x)).astype(quotient.dtype)


def logaddexp(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)), without overflow."""
    if np.result_type(x, y).kind != "c":
        return np.logaddexp(x, y)
    larger = np.where(np.real(x) >= np.real(y), x, y)
    smaller = np.where(np.real(x) >= np.real(y), y, x)
    sums = larger + np.log1p(np.exp(smaller - larger))
    return np.where(np.isinf(larger.real) & (larger == smaller), larger, sums)


@_one_element_of_meta
def heaviside(x: Any, values: Any) -> Any:
    """0 below zero, values at zero, 1 above."""
    step = (x > 0).astype(np.result_type(x, values))
    return np.where(x == 0, values, step)


def ldexp(x: Any, y: Any) -> Any:
    """x * 2**y."""
    return x * np.exp2(y)


def _shifted(family: str, x: Any, n: Any) -> Any:
    return polynomial(family, 2 * x - 1, n)


def _check_divisor(x: Any, y: Any) -> None:
    if x.__class__ is np.ndarray and x.dtype.kind == "f":
        return
    if np.result_type(x, y).kind in "iub" and np.size(x) and np.equal(y, 0).any():
        raise RuntimeError("ZeroDivisionError")


_OWN: dict[str, Callable[..., Any]] = {
    "sigmoid": sigmoid,
    "rsqrt": rsqrt,
    "frac": frac,
    "sign": sign,
    "sgn": sgn,
    "polygamma_of": polygamma_of,
    "sinc": sinc,
    "round": round_,
    "round_to": round_to,
    "to_float": to_float,
    "pow": power,
    "remainder": remainder,
    "fmod": fmod,
    "floor_divide": floor_divide,
    "trunc_divide": trunc_divide,
    "ldexp": ldexp,
    "heaviside": heaviside,
    "airy_ai": airy_ai,
    "lgamma": lgamma,
    "spherical_bessel_j0": spherical_bessel_j0,
    "logaddexp": logaddexp,
}


for _family in FAMILIES:
    _OWN[_family] = functools.partial(polynomial, _family)
    _OWN[f"shifted_{_family}"] = functools.partial(_shifted, _family)


def numpy_function(name: str) -> Callable[..., Any]:
    """The NumPy function that computes the scalar primitive `name` on arrays."""
    if name in _OWN:
        return _OWN[name]
    if name in _SCIPY:
        from scipy import special

        function: Callable[..., Any] = getattr(special, _SCIPY[name])
        return function
    result: Callable[..., Any] = getattr(np, _RENAMED.get(name, name))
    return result
