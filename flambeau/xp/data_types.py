"""Data types of the array API standard, and how they promote.

Unlike PyTorch's rules, the standard's depend on data types alone, never on values or shapes, and do
not mix kinds: integers and floating-point numbers together are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import dtypes
from ..tensor import Tensor

KINDS: dict[str, tuple[dtypes.dtype, ...]] = {
    "bool": (dtypes.bool_,),
    "signed integer": (dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64),
    "unsigned integer": (dtypes.uint8, dtypes.uint16, dtypes.uint32, dtypes.uint64),
    "real floating": (dtypes.float32, dtypes.float64),
    "complex floating": (dtypes.complex64, dtypes.complex128),
}
KINDS["integral"] = KINDS["signed integer"] + KINDS["unsigned integer"]
KINDS["numeric"] = KINDS["integral"] + KINDS["real floating"] + KINDS["complex floating"]

_SIGNED = {t.itemsize: t for t in KINDS["signed integer"]}


@dataclass(frozen=True)
class FloatInfo:
    """The limits of a floating-point type: `bits`, `eps`, `max`, `min`, `smallest_normal`."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: dtypes.dtype


@dataclass(frozen=True)
class IntegerInfo:
    """The limits of an integer type: `bits`, `max`, `min`."""

    bits: int
    max: int
    min: int
    dtype: dtypes.dtype


def dtype_of(x: Any) -> dtypes.dtype:
    """The data type of a tensor, or `x` if it is one; TypeError for anything else."""
    if isinstance(x, Tensor):
        return x.dtype
    if isinstance(x, dtypes.dtype):
        return x
    raise TypeError(f"expected a tensor or a dtype, got {type(x).__name__}")


def _promote(a: dtypes.dtype, b: dtypes.dtype) -> dtypes.dtype:
    if a is b:
        return a
    integral = a.category == dtypes.INTEGRAL
    if integral != (b.category == dtypes.INTEGRAL) or dtypes.bool_ in (a, b):
        raise TypeError(f"{a} and {b} are of different kinds and do not promote together")
    if not integral:
        return dtypes.promote_types(a, b)
    if a.is_signed == b.is_signed:
        return a if a.itemsize > b.itemsize else b
    signed, unsigned = (a, b) if a.is_signed else (b, a)
    found = _SIGNED.get(max(signed.itemsize, 2 * unsigned.itemsize))
    if found is None:
        raise TypeError(f"{a} and {b} have no common integer type")
    return found


def _with_scalar(dtype: dtypes.dtype, value: Any) -> dtypes.dtype:
    """The type that a Python scalar takes beside `dtype`; TypeError where kinds would mix."""
    if isinstance(value, bool):
        fits = dtype is dtypes.bool_
    elif isinstance(value, int):
        fits = dtype is not dtypes.bool_
    else:
        fits = dtype.inexact
    if not fits:
        raise TypeError(f"a Python {type(value).__name__} does not promote with {dtype}")
    if isinstance(value, complex) and not dtype.is_complex:
        return dtype.to_complex()
    return dtype


def result_type(*arrays_and_dtypes: Tensor | dtypes.dtype | complex) -> dtypes.dtype:
    """The data type that the tensors, data types and Python scalars promote to.

    >>> from flambeau import xp
    >>> xp.result_type(xp.int8, xp.uint16)
    torch.int32

    Raises TypeError where kinds mix, ValueError if all are Python scalars.
    """
    scalars = [a for a in arrays_and_dtypes if isinstance(a, bool | int | float | complex)]
    found = [dtype_of(a) for a in arrays_and_dtypes if not isinstance(a, int | float | complex)]
    if not found:
        raise ValueError("result_type needs at least one tensor or dtype")
    result = found[0]
    for dtype in found[1:]:
        result = _promote(result, dtype)
    for value in scalars:
        result = _promote(result, _with_scalar(result, value))
    return result


def convert(value: Any, dtype: dtypes.dtype, like: Tensor) -> Tensor:
    """A tensor in `dtype`, or a Python scalar as a 0-d tensor of it on the device of `like`.

    Raises OverflowError for an integer that the type cannot hold.
    """
    if isinstance(value, Tensor):
        return value if value.dtype is dtype else value.to(dtype)
    if dtype.category == dtypes.INTEGRAL:
        limits = dtypes.iinfo(dtype)
        if not limits.min <= value <= limits.max:
            raise OverflowError(f"{value} is out of bounds for {dtype}")
    return like.new_full((), value, dtype=dtype)


def promoted(*values: Any) -> list[Tensor]:
    """Tensors and Python scalars as tensors of their common type; one must be a tensor."""
    first = next((v for v in values if isinstance(v, Tensor)), None)
    if first is None:
        raise TypeError("at least one argument must be a tensor")
    for v in values:
        if not isinstance(v, Tensor | int | float | complex):
            raise TypeError(f"expected a tensor or a Python scalar, got {type(v).__name__}")
    if all(isinstance(v, Tensor) and v.dtype is first.dtype for v in values):
        return list(values)
    dtype = result_type(*values)
    return [convert(v, dtype, first) for v in values]


def astype(x: Tensor, dtype: dtypes.dtype, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """`x` in another data type; TypeError from complex to real numbers."""
    if x.dtype.is_complex and not dtype.is_complex:
        raise TypeError(f"{x.dtype} has imaginary parts that {dtype} cannot hold")
    return x.to(device=x.device if device is None else device, dtype=dtype, copy=copy)


def can_cast(from_: Tensor | dtypes.dtype, to: dtypes.dtype, /) -> bool:
    """Whether `from_` promotes to exactly `to`."""
    try:
        return _promote(dtype_of(from_), dtype_of(to) if isinstance(to, dtypes.dtype) else to) is to
    except TypeError:
        if not isinstance(to, dtypes.dtype):
            raise
        dtype_of(from_)
        return False


def finfo(type: Tensor | dtypes.dtype, /) -> FloatInfo:
    """The limits of a floating-point type; of a complex type, of its parts."""
    dtype = dtype_of(type).to_real()
    found = dtypes.finfo(dtype)
    eps, high, low = float(found.eps), float(found.max), float(found.min)
    return FloatInfo(found.bits, eps, high, low, float(found.smallest_normal), dtype)


def iinfo(type: Tensor | dtypes.dtype, /) -> IntegerInfo:
    """The limits of an integer type."""
    dtype = dtype_of(type)
    found = dtypes.iinfo(dtype)
    return IntegerInfo(found.bits, found.max, found.min, dtype)


def isdtype(dtype: dtypes.dtype, kind: dtypes.dtype | str | tuple[dtypes.dtype | str, ...]) -> bool:
    """Whether a data type is of a kind, such as ``"real floating"``, or of one of several.

    >>> from flambeau import xp
    >>> xp.isdtype(xp.float32, ("integral", "real floating"))
    True
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, dtypes.dtype):
        return dtype is kind
    if kind not in KINDS:
        raise ValueError(f"unknown kind of data type: {kind!r}")
    return dtype in KINDS[kind]


__all__ = ["astype", "can_cast", "finfo", "iinfo", "isdtype", "result_type"]
