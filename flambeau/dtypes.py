"""PyTorch's data types over NumPy's, and the rules by which they promote.

A `dtype` is a singleton: compare with ``is``. ``numpy_dtype`` is what the CPU backend stores;
bfloat16 and the float8 family come from ml_dtypes. complex32 has no NumPy counterpart: it can be
named and promoted, but no tensor can hold it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

BOOL, INTEGRAL, FLOATING, COMPLEX = range(4)


class dtype:
    """A tensor's element type.

    Attributes used on hot paths: ``plain`` (a real number in which NumPy computes exactly as
    PyTorch does, so that operators need no conversion), ``plain_float`` (float32 and float64) and
    ``inexact`` (floating point or complex). ``scalars`` caches 0-d arrays of Python numbers.
    """

    __slots__ = (
        "category",
        "inexact",
        "is_complex",
        "is_floating_point",
        "is_signed",
        "itemsize",
        "name",
        "numpy_dtype",
        "plain",
        "plain_float",
        "real",
        "scalars",
        "title",
    )

    def __init__(
        self, name: str, numpy_dtype: Any, category: int, itemsize: int, title: str
    ) -> None:
        self.name = name
        self.numpy_dtype = None if numpy_dtype is None else np.dtype(numpy_dtype)
        self.category = category
        self.itemsize = itemsize
        self.title = title
        self.is_floating_point = category == FLOATING
        self.is_complex = category == COMPLEX
        self.inexact = category >= FLOATING
        self.is_signed = name not in ("bool", "float8_e8m0fnu") and not name.startswith("uint")
        self.plain = name in _PLAIN
        self.plain_float = name in ("float32", "float64")
        self.scalars: dict[float, Any] = {}
        self.real: dtype = self

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (named_dtype, (self.name,))

    def to_real(self) -> dtype:
        """The real type of the same precision."""
        return self.real

    def to_complex(self) -> dtype:
        """The complex type of the same precision."""
        if self.is_complex:
            return self
        found = _COMPLEX_OF.get(self)
        if found is None:
            raise RuntimeError(f"Unknown Complex ScalarType for {self.title}")
        return found


_PLAIN = frozenset(
    ["uint8", "int8", "int16", "int32", "int64", "float32", "float64", "uint16", "uint32", "uint64"]
)

bool_ = dtype("bool", np.bool_, BOOL, 1, "Bool")
uint8 = dtype("uint8", np.uint8, INTEGRAL, 1, "Byte")
int8 = dtype("int8", np.int8, INTEGRAL, 1, "Char")
int16 = dtype("int16", np.int16, INTEGRAL, 2, "Short")
int32 = dtype("int32", np.int32, INTEGRAL, 4, "Int")
int64 = dtype("int64", np.int64, INTEGRAL, 8, "Long")
uint16 = dtype("uint16", np.uint16, INTEGRAL, 2, "UInt16")
uint32 = dtype("uint32", np.uint32, INTEGRAL, 4, "UInt32")
uint64 = dtype("uint64", np.uint64, INTEGRAL, 8, "UInt64")
float16 = dtype("float16", np.float16, FLOATING, 2, "Half")
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, FLOATING, 2, "BFloat16")
float32 = dtype("float32", np.float32, FLOATING, 4, "Float")
float64 = dtype("float64", np.float64, FLOATING, 8, "Double")
complex32 = dtype("complex32", None, COMPLEX, 4, "ComplexHalf")
complex64 = dtype("complex64", np.complex64, COMPLEX, 8, "ComplexFloat")
complex128 = dtype("complex128", np.complex128, COMPLEX, 16, "ComplexDouble")
float8_e4m3fn = dtype("float8_e4m3fn", ml_dtypes.float8_e4m3fn, FLOATING, 1, "Float8_e4m3fn")
float8_e5m2 = dtype("float8_e5m2", ml_dtypes.float8_e5m2, FLOATING, 1, "Float8_e5m2")
float8_e4m3fnuz = dtype(
    "float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, FLOATING, 1, "Float8_e4m3fnuz"
)
float8_e5m2fnuz = dtype(
    "float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, FLOATING, 1, "Float8_e5m2fnuz"
)
float8_e8m0fnu = dtype("float8_e8m0fnu", ml_dtypes.float8_e8m0fnu, FLOATING, 1, "Float8_e8m0fnu")

ALL: tuple[dtype, ...] = tuple(v for v in list(globals().values()) if isinstance(v, dtype))
_BY_NAME = {t.name: t for t in ALL}
_BY_NUMPY = {t.numpy_dtype: t for t in ALL if t.numpy_dtype is not None}
_COMPLEX_OF = {float16: complex32, float32: complex64, float64: complex128}
for _real, _complex in _COMPLEX_OF.items():
    _complex.real = _real
_COMPLEX_OF[bfloat16] = complex64
FLOAT8 = frozenset(t for t in ALL if t.name.startswith("float8"))
_FLOAT8_KINDS = frozenset(t.numpy_dtype for t in FLOAT8)
_WIDE_UNSIGNED = frozenset((uint16, uint32, uint64))
HALF = frozenset((float16, bfloat16))

# PyTorch's other spellings.
ALIASES: dict[str, dtype] = {
    "bool": bool_,
    "half": float16,
    "float": float32,
    "double": float64,
    "short": int16,
    "int": int32,
    "long": int64,
    "chalf": complex32,
    "cfloat": complex64,
    "cdouble": complex128,
}

_default: dtype = float32


def named_dtype(name: str) -> dtype:
    """The dtype called `name` (PyTorch's primary name); KeyError if there is none."""
    return _BY_NAME[name]


def from_numpy_dtype(numpy_dtype: Any) -> dtype:
    """The dtype that stores as `numpy_dtype`; TypeError where PyTorch has none."""
    found = _BY_NUMPY.get(numpy_dtype)
    if found is None:
        normal = np.dtype(numpy_dtype)
        if not normal.isnative:
            raise ValueError(
                f"the array's byte order ({normal.str}) is not this machine's: convert it first, "
                "for example with a.astype(a.dtype.newbyteorder('='))"
            )
        found = _BY_NUMPY.get(normal)
    if found is None:
        raise TypeError(
            f"can't convert np.ndarray of type {np.dtype(numpy_dtype)}. The supported types are: "
            "float64, float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, "
            "uint32, uint16, uint8, and bool."
        )
    return found


def get_default_dtype() -> dtype:
    """The floating-point dtype of new tensors made from Python floats."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Set the default floating-point dtype; TypeError unless it is float16, bfloat16 or wider."""
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point or d in FLOAT8:
        raise TypeError(f"only floating-point types are supported as the default type, not {d}")
    _default = d


def default_complex_dtype() -> dtype:
    """The complex dtype with the default dtype's precision."""
    return complex128 if _default is float64 else complex64


def is_dtype(x: object) -> bool:
    """Whether `x` is a dtype."""
    return isinstance(x, dtype)


_FLOAT_WIDTH = {float16: 1, bfloat16: 1, float32: 2, float64: 3}
_COMPLEX_FOR_WIDTH = {1: complex32, 2: complex64, 3: complex128}
_SIGNED_FOR_SIZE = {1: int8, 2: int16, 4: int32, 8: int64}


def _refuse(kind: str, a: dtype, b: dtype) -> RuntimeError:
    return RuntimeError(
        f"Promotion for {kind} is not supported, attempted to promote {a.title} and {b.title}"
    )


def _promote(a: dtype, b: dtype) -> dtype:
    if a is b:
        return a
    if a in FLOAT8 or b in FLOAT8:
        raise _refuse("Float8 Types", a, b)
    if (a in _WIDE_UNSIGNED or b in _WIDE_UNSIGNED) and not (
        a.is_floating_point or b.is_floating_point
    ):
        raise _refuse("uint16, uint32, uint64 types", a, b)
    if a.category < b.category:
        a, b = b, a
    if a.category == COMPLEX:
        if b.category < FLOATING:
            return a
        if b is bfloat16:
            return complex64 if a is complex32 else a
        wide = max(_FLOAT_WIDTH[a.real], _FLOAT_WIDTH[b.real])
        return _COMPLEX_FOR_WIDTH[wide]
    if a.category > b.category:
        return a
    if a.category == FLOATING:
        if _FLOAT_WIDTH[a] == _FLOAT_WIDTH[b]:
            return float32  # float16 with bfloat16
        return a if _FLOAT_WIDTH[a] > _FLOAT_WIDTH[b] else b
    if a.is_signed == b.is_signed:
        return a if a.itemsize > b.itemsize else b
    signed, unsigned = (a, b) if a.is_signed else (b, a)
    return signed if signed.itemsize > unsigned.itemsize else _SIGNED_FOR_SIZE[2]


_PROMOTED: dict[tuple[dtype, dtype], dtype] = {}


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype that holds both kinds and sizes; RuntimeError where PyTorch refuses."""
    found = _PROMOTED.get((type1, type2))
    if found is None:
        for place, t in enumerate((type1, type2), start=1):
            if not isinstance(t, dtype):
                raise TypeError(
                    f"promote_types(): argument 'type{place}' (position {place}) must be "
                    f"torch.dtype, not {type(t).__name__}"
                )
        found = _PROMOTED[type1, type2] = _promote(type1, type2)
    return found


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether PyTorch's casting rules let a result of `from_` be stored as `to`."""
    if from_.category == COMPLEX and to.category != COMPLEX:
        return False
    if from_.category == FLOATING and to.category < FLOATING:
        return False
    return not (from_.category == INTEGRAL and to.category == BOOL)


def check_range(values: Any, kind: Any) -> None:
    """RuntimeError where an array holds numbers that the integer NumPy dtype `kind` cannot."""
    if kind.kind not in "iu" or values.dtype == kind or values.dtype.kind == "b" or not values.size:
        return
    if values.dtype.kind in "iuf":
        most = np.iinfo(kind).max
        # Negative numbers wrap into an unsigned type as long as their absolute value fits.
        least = -most if kind.kind == "u" else np.iinfo(kind).min
        if not (least <= values.min().item() and values.max().item() <= most):
            _refuse_overflow(kind)


def is_float8(kind: Any) -> bool:
    """Whether a NumPy dtype has elements of eight bits with an exponent."""
    return kind.num >= 256 and kind in _FLOAT8_KINDS  # NumPy's own dtypes have lower numbers


def converted(array: Any, kind: Any) -> Any:
    """A copy of `array` with elements of the NumPy dtype `kind`, to and from float8 as PyTorch's.

    What has eight bits is rounded from float32: float8_e4m3fn saturates, float8_e8m0fnu takes the
    exponent of the absolute value, rounded half up. A NaN has all its bits set.
    """
    given = array.dtype
    if kind.num < 256 and given.num < 256:
        return array.astype(kind)
    if is_float8(given) and given != kind:
        array = array.astype(np.float32)
    if not is_float8(kind) or array.dtype == kind:
        return array.astype(kind)
    with np.errstate(all="ignore"):
        x = np.asarray(array.astype(np.float32))
        if kind == float8_e4m3fn.numpy_dtype:
            return np.clip(x, -448, 448).astype(kind)
        if kind == float8_e8m0fnu.numpy_dtype:
            return _exponents(x).view(kind)
        out = np.asarray(x.astype(kind))
    if kind == float8_e5m2.numpy_dtype:
        out.view(np.uint8)[...] |= np.isnan(x)
    return out


def _exponents(x: Any) -> Any:
    """The exponent bits of float32 numbers, rounded up from the middle of two powers of two."""
    bits = x.view(np.uint32) & 0x7FFFFFFF
    up = (bits & 0x7FFFFF) >= 0x400000
    up &= bits != 0x400000  # between 2**-127 and zero, the middle goes down
    return np.asarray(np.minimum((bits >> 23) + up, 255), np.uint8)


def _check_float8_range(value: Any, kind: Any) -> None:
    info, unsigned = ml_dtypes.finfo(kind), kind == float8_e8m0fnu.numpy_dtype
    if math.isinf(value) and kind == float8_e5m2.numpy_dtype:
        return
    too_low = value < float(info.min) and not (unsigned and isinstance(value, int))
    if too_low or value > float(info.max):
        _refuse_overflow(kind)


def cast_number(value: Any, kind: Any) -> Any:
    """A number as a 0-d array of the NumPy dtype `kind`; RuntimeError if that cannot hold it."""
    array = np.asarray(value)
    if kind.char in "fd" and -1e38 < value.real < 1e38:
        return array.astype(kind)
    if is_float8(kind):
        _check_float8_range(value.real, kind)
        return converted(array.real, kind)
    check_range(array, kind)
    with np.errstate(over="ignore"):
        cast = array.astype(kind)
    if kind.kind in "fV" and array.dtype.kind == "f" and np.isinf(cast) and not np.isinf(array):
        _refuse_overflow(kind)
    return cast


def _refuse_overflow(kind: Any) -> None:
    name = from_numpy_dtype(kind).title.lower()
    raise RuntimeError(f"value cannot be converted to type {name} without overflow")


def scalar_dtype(value: Any) -> dtype:
    """The dtype that stands for a Python or NumPy number in promotion."""
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, (int, np.integer)):
        return int64
    if isinstance(value, (float, np.floating)):
        return _default
    if isinstance(value, (complex, np.complexfloating)):
        return default_complex_dtype()
    raise TypeError(f"expected a number, got {type(value).__name__}")


class Operand(NamedTuple):
    """What promotion needs to know of an operand; rank is 0, 1 or 2: number, 0-d tensor, tensor."""

    dtype: dtype
    rank: int


def result_dtype(operands: list[Operand]) -> dtype:
    """PyTorch's result type: a number or 0-d tensor counts only when its category is higher."""
    best: list[dtype | None] = [None, None, None]
    for operand in operands:
        held = best[operand.rank]
        best[operand.rank] = operand.dtype if held is None else promote_types(held, operand.dtype)
    number, zero, result = best
    for lower in (zero, number):
        if lower is None:
            continue
        if result is None:
            result = lower
        elif lower.category > result.category:
            result = _lift(result, lower)
    if result is None:
        raise RuntimeError("result_type needs at least one operand")
    return result


def _lift(result: dtype, lower: dtype) -> dtype:
    # A complex number lifts float64 to complex128; a float lifts an integer to its own type.
    if lower.is_complex and result.is_floating_point:
        return promote_types(result, complex32 if result is not bfloat16 else complex64)
    return lower


class _Limits:
    """What `finfo` and `iinfo` have in common: facts that cannot be changed, and compare."""

    __slots__ = ("bits", "dtype", "max", "min")
    __hash__ = None  # type: ignore[assignment]
    bits: int
    dtype: str

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self).__name__
        raise AttributeError(f"attribute {name!r} of 'torch.{kind}' objects is not writable")

    def _enter(self, **facts: Any) -> None:
        for name, value in facts.items():
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.dtype == self.dtype


def _check_type(where: str, t: Any) -> None:
    if not isinstance(t, dtype):
        raise TypeError(
            f"{where}(): argument 'type' (position 1) must be torch.dtype, not {type(t).__name__}"
        )


class finfo(_Limits):
    """Limits of a floating-point dtype (of its real part, for a complex one)."""

    __slots__ = ("eps", "resolution", "smallest_normal", "tiny")
    eps: float
    max: float
    min: float
    resolution: float
    smallest_normal: float
    tiny: float

    def __init__(self, type: dtype | None = None) -> None:
        given = _default if type is None else type
        _check_type("finfo", given)
        t = given.to_real()
        if not t.is_floating_point:
            raise TypeError(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle "
                "'torch.finfo'"
            )
        info = ml_dtypes.finfo(t.numpy_dtype)
        # PyTorch says 1/8 here, though the next number after one is 1.25.
        eps = 0.125 if t is float8_e5m2fnuz else float(info.eps)
        tiny = float(info.smallest_normal)
        self._enter(
            bits=t.itemsize * 8, eps=eps, max=float(info.max), min=float(info.min), tiny=tiny,
            smallest_normal=tiny, resolution=10.0 ** math.ceil(math.log10(eps)), dtype=t.name,
        )  # fmt: skip

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, "
            f"dtype={self.dtype})"
        )


class iinfo(_Limits):
    """Limits of an integer dtype."""

    __slots__ = ()
    max: int
    min: int

    def __init__(self, type: dtype) -> None:
        _check_type("iinfo", type)
        if type.inexact:
            raise TypeError(
                "torch.iinfo() requires an integer input type. Use torch.finfo to handle "
                "'torch.iinfo'"
            )
        if type is bool_:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        info = np.iinfo(type.numpy_dtype)
        self._enter(bits=type.itemsize * 8, max=int(info.max), min=int(info.min), dtype=type.name)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
