"""Numbers whose operators write instructions, and exact arithmetic in two parts.

Functions of one element are written with them as formulas: ``horner(x * x, SERIES) * x``. A Python
number beside a `Number` is a constant of its type.

Sums and products in two parts are those of Knuth, *The Art of Computer Programming* 2 (1969), and
Dekker, "A floating-point technique for extending the available precision" (1971).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .scalar_ir import ScalarWriter, Value

_FLOATING = ("float", "double")
_INTEGER_OF = {"float": "i32", "double": "i64"}
_ORDERS = {"lt": ("olt", "slt"), "le": ("ole", "sle"), "gt": ("ogt", "sgt"), "ge": ("oge", "sge"),
           "eq": ("oeq", "eq"), "ne": ("une", "ne")}  # fmt: skip


class Number:
    """An SSA value of a floating-point or integer type, or a truth value (i1)."""

    __slots__ = ("value", "w")

    def __init__(self, w: ScalarWriter, value: Value) -> None:
        self.w, self.value = w, value

    @property
    def type(self) -> str:
        """The LLVM type."""
        return self.value.type

    def like(self, other: Any) -> Number:
        """`other`, a number or a constant, as a value of this one's type."""
        if isinstance(other, Number):
            return other
        return Number(self.w, self.w.const(other, self.type))

    def _binary(self, floating: str, integer: str, other: Any) -> Number:
        op = floating if self.type in _FLOATING else integer
        return Number(self.w, self.w.binary(op, self.value, self.like(other).value))

    def _compare(self, order: str, other: Any) -> Number:
        floating, integer = _ORDERS[order]
        predicate = floating if self.type in _FLOATING else integer
        return Number(self.w, self.w.compare(predicate, self.value, self.like(other).value))

    def __add__(self, other: Any) -> Number:
        return self._binary("fadd", "add", other)

    def __radd__(self, other: Any) -> Number:
        return self.like(other) + self

    def __sub__(self, other: Any) -> Number:
        return self._binary("fsub", "sub", other)

    def __rsub__(self, other: Any) -> Number:
        return self.like(other) - self

    def __mul__(self, other: Any) -> Number:
        return self._binary("fmul", "mul", other)

    def __rmul__(self, other: Any) -> Number:
        return self.like(other) * self

    def __truediv__(self, other: Any) -> Number:
        return self._binary("fdiv", "sdiv", other)

    def __rtruediv__(self, other: Any) -> Number:
        return self.like(other) / self

    def __neg__(self) -> Number:
        if self.type in _FLOATING:
            return Number(self.w, self.w.negate(self.value))
        return self.like(0) - self

    def __abs__(self) -> Number:
        if self.type in _FLOATING:
            return self.intrinsic("fabs")
        return where(self < 0, -self, self)

    def __and__(self, other: Any) -> Number:
        return self._binary("and", "and", other)

    def __or__(self, other: Any) -> Number:
        return self._binary("or", "or", other)

    def __xor__(self, other: Any) -> Number:
        return self._binary("xor", "xor", other)

    def __invert__(self) -> Number:
        return self ^ (1 if self.type == "i1" else -1)

    def __lshift__(self, other: Any) -> Number:
        return self._binary("shl", "shl", other)

    def __rshift__(self, other: Any) -> Number:
        """Of a signed integer."""
        return self._binary("ashr", "ashr", other)

    def unsigned_shift(self, by: Any) -> Number:
        """An integer's bits moved towards the low end; zeros come in."""
        return self._binary("lshr", "lshr", by)

    def __lt__(self, other: Any) -> Number:
        return self._compare("lt", other)

    def __le__(self, other: Any) -> Number:
        return self._compare("le", other)

    def __gt__(self, other: Any) -> Number:
        return self._compare("gt", other)

    def __ge__(self, other: Any) -> Number:
        return self._compare("ge", other)

    def equals(self, other: Any) -> Number:
        """Whether the two are equal; NaN is not."""
        return self._compare("eq", other)

    def differs(self, other: Any) -> Number:
        """Whether the two are not equal; NaN differs from all."""
        return self._compare("ne", other)

    def is_nan(self) -> Number:
        """Whether it is NaN."""
        return self.differs(self)

    def intrinsic(self, name: str, *others: Any) -> Number:
        """LLVM's function of this and other floating-point numbers."""
        values = [self.like(o).value for o in others]
        return Number(self.w, self.w.intrinsic(name, self.value, *values))

    def with_sign_of(self, other: Number) -> Number:
        """This size with that sign."""
        return self.intrinsic("copysign", other)

    def to(self, type_: str) -> Number:
        """The number in another floating-point type, or a truth value as 0 or 1."""
        return Number(self.w, self.w.convert(self.value, type_))

    def to_integer(self, type_: str) -> Number:
        """A float as an integer, towards zero; anything where that does not hold it."""
        v = self.w.emit(f"fptosi {self.type} {self.value.name} to {type_}", type_)
        return Number(self.w, self.w.emit(f"freeze {type_} {v.name}", type_))

    def extended(self, type_: str, signed: bool = True) -> Number:
        """An integer in a wider type."""
        op = "sext" if signed else "zext"
        return Number(self.w, self.w.emit(f"{op} {self.type} {self.value.name} to {type_}", type_))

    def narrowed(self, type_: str) -> Number:
        """The low bits of an integer."""
        return Number(self.w, self.w.emit(f"trunc {self.type} {self.value.name} to {type_}", type_))

    def to_float(self, type_: str, signed: bool = True) -> Number:
        """An integer as a floating-point number."""
        op = "sitofp" if signed else "uitofp"
        return Number(self.w, self.w.emit(f"{op} {self.type} {self.value.name} to {type_}", type_))

    def bits(self) -> Number:
        """The pattern of a float, as an integer of its width."""
        return self._pattern(_INTEGER_OF[self.type])

    def as_float(self) -> Number:
        """The float that has these bits."""
        return self._pattern({"i32": "float", "i64": "double"}[self.type])

    def _pattern(self, type_: str) -> Number:
        text = f"bitcast {self.type} {self.value.name} to {type_}"
        return Number(self.w, self.w.emit(text, type_))


def where(condition: Number, a: Any, b: Any) -> Number:
    """`a` where `condition`, else `b`; at most one of them a Python number."""
    a = a if isinstance(a, Number) else b.like(a)
    return Number(a.w, a.w.select(condition.value, a.value, a.like(b).value))


def fma(a: Number, b: Any, c: Any) -> Number:
    """a * b + c with one rounding."""
    return Number(a.w, a.w.fma(a.value, a.like(b).value, a.like(c).value))


def horner(x: Number, coefficients: Sequence[float]) -> Number:
    """The polynomial in `x`, the highest power first."""
    return Number(x.w, x.w.polynomial(x.value, tuple(coefficients)))


def in_chains(x: Number, coefficients: Sequence[float], doublings: int = 1) -> Number:
    """The polynomial in `x` by 2**doublings chains of Horner's rule side by side: less waiting.

    A loop whose body is one long chain waits more than it computes.
    """
    if not doublings:
        return horner(x, coefficients)
    square = x * x
    odd = in_chains(square, coefficients[-2::-2][::-1], doublings - 1)
    return fma(odd, x, in_chains(square, coefficients[::-2][::-1], doublings - 1))


def exactly(op: str, a: Number, b: Any) -> Number:
    """``fadd``, ``fsub`` or ``fmul`` that nothing around it may be merged with."""
    text = f"{op} {a.type} {a.value.name}, {a.like(b).value.name}"
    return Number(a.w, a.w.emit(text, a.type))


def two_sum(a: Number, b: Number) -> tuple[Number, Number]:
    """a + b rounded, and what rounding took (Knuth)."""
    s = exactly("fadd", a, b)
    part = exactly("fsub", s, a)
    rest = exactly("fsub", a, exactly("fsub", s, part))
    return s, exactly("fadd", rest, exactly("fsub", b, part))


def quick_two_sum(a: Number, b: Number) -> tuple[Number, Number]:
    """a + b rounded, and what rounding took, where b is no larger than a in size (Dekker)."""
    s = exactly("fadd", a, b)
    return s, exactly("fsub", b, exactly("fsub", s, a))


def two_product(a: Number, b: Any) -> tuple[Number, Number]:
    """a * b rounded, and what rounding took."""
    p = exactly("fmul", a, b)
    return p, fma(a, b, -p)


def scale(x: Number, power: Number) -> Number:
    """x * 2**power for an integral `power` (a float), in range or on the way to 0 or infinity."""
    return Number(x.w, x.w.scale(x.value, power.value))
