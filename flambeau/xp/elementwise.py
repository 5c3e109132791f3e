"""Element-wise functions of the array API standard."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..tensor import Tensor, functions
from .data_types import convert, result_type
from .derivation import binary, pairs, unary

_UNARY = pairs(
    "abs acos acosh asin asinh atan atanh bitwise_invert:bitwise_not ceil conj cos cosh exp expm1 "
    "floor imag isfinite isinf isnan log log10 log1p log2 logical_not negative positive real "
    "reciprocal signbit sin sinh sqrt square tan tanh trunc"
)
_BINARY = pairs(
    "add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign "
    "divide equal:eq floor_divide greater:gt greater_equal:ge hypot less:lt less_equal:le "
    "logaddexp logical_and logical_or logical_xor maximum minimum multiply nextafter not_equal:ne "
    "pow remainder subtract"
)
globals().update({name: unary(name, target) for name, target in _UNARY.items()})
globals().update({name: binary(name, target) for name, target in _BINARY.items()})


def sign(x: Tensor, /) -> Tensor:
    """-1, 0 or 1 by the sign of each element, x / |x| for complex numbers; NaN for NaN."""
    if x.dtype.is_floating_point:
        return functions.where(functions.isnan(x), x, functions.sign(x))
    return functions.sgn(x)


def round(x: Tensor, /) -> Tensor:
    """The nearest integers, of two the even one; of complex numbers, part by part."""
    if x.dtype.is_complex:
        parts = functions.round(functions.real(x)), functions.round(functions.imag(x))
        return functions.complex(*parts)
    return functions.round(x)


def clip(
    x: Tensor, /, min: Tensor | float | None = None, max: Tensor | float | None = None
) -> Tensor:
    """`x` between `min` and `max`, in the data type of `x`; TypeError where kinds mix."""
    if min is None and max is None:
        return functions.clone(x)
    low, high = _bound(min, x), _bound(max, x)
    return functions.clamp(x, low, high)


def _bound(bound: Any, x: Tensor) -> Tensor | None:
    """A bound as a tensor in the type of `x`, brought into its range where it is an integer."""
    if bound is None:
        return None
    if isinstance(bound, complex):
        raise TypeError("clip: a bound is a real number")
    result_type(x, bound)
    if x.dtype.category == dtypes.INTEGRAL:
        limits = dtypes.iinfo(x.dtype)
        if isinstance(bound, int):
            bound = sorted((limits.min, bound, limits.max))[1]
        elif bound.dtype is not x.dtype:
            own = dtypes.iinfo(bound.dtype)
            low = max(limits.min, own.min)
            high = min(limits.max, own.max)
            bound = functions.clamp(bound, low, high)
    return convert(bound, x.dtype, x)


__all__ = ["clip", "round", "sign"]
__all__ += list(_UNARY)
__all__ += list(_BINARY)
