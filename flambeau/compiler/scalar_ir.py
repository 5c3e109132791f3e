"""Scalar expressions as LLVM IR: one line of IR per primitive, polynomials for the transcendentals.

Loops are written over single elements; LLVM vectorises them, so the code here knows nothing of
vector widths or instruction sets. Floating-point operations carry ``contract nsz``; NaN and
infinities behave as in IEEE 754.

Accuracy in units of the last place (float32): exp 1.0, log 0.9, tanh 2.5, erf 1.2; ndtr is within
1e-7 of the truth, and nought below -6.3. Polynomials are
weighted least-squares fits on Chebyshev nodes; the reductions are those of Cody and Waite,
*Software Manual for the Elementary Functions* (1980). Functions that take more than a few lines
have modules of their own: `angles`, `circular`, `divisions`, `error_functions`, `gamma_functions`,
`hyperbolic`, `powers`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from . import (
    angles,
    circular,
    divisions,
    error_functions,
    gamma_functions,
    hyperbolic,
    powers,
    target,
)
from .algebra import Number
from .expressions import Expression

FLAGS = "contract nsz"


class Value(NamedTuple):
    """An SSA value: its spelling and LLVM type."""

    name: str
    type: str


class Unsupported(Exception):
    """An expression has a primitive, or a type, that has no IR here."""


_SUFFIX = {"float": "f32", "double": "f64"}
_COMPARE = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "true_divide": "fdiv"}
_INTEGER = {
    "add": "add", "sub": "sub", "mul": "mul", "bitwise_and": "and", "bitwise_or": "or",
    "bitwise_xor": "xor",
}  # fmt: skip
_INTEGER_COMPARE = {"eq": "eq", "ne": "ne", "lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge"}
_LOGIC = {
    "logical_and": "and", "logical_or": "or", "logical_xor": "xor", "logical_not": "not",
}  # fmt: skip
_BITS = {"bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor", "bitwise_not": "not"}
_INTRINSICS = {
    "abs": "fabs",
    "sqrt": "sqrt",
    "floor": "floor",
    "ceil": "ceil",
    "trunc": "trunc",
    "round": "roundeven",
}

_LOG2E = math.log2(math.e)
_LN2 = {
    "float": (0.693359375, -2.12194440054690581e-4),
    "double": (6.93147180369123816490e-01, 1.90821492927058770002e-10),
}
_EXP = {
    "float": (0.00139506003, 0.0083689537, 0.0416662042, 0.166665183, 0.50000001),
    "double": (
        2.0914686968086876e-09,
        2.5105217004720745e-08,
        2.75572736431103e-07,
        2.7557255400206422e-06,
        2.4801587325547743e-05,
        0.00019841269874820627,
        0.0013888888888883748,
        0.008333333333326136,
        0.04166666666666667,
        0.1666666666666667,
        0.5,
    ),
}
# Where the result is 0 or infinity, and two steps of scaling still reach it.
_EXP_RANGE = {"float": (-105.0, 90.0), "double": (-750.0, 711.0)}
_LOG = (-0.0763442991, 0.1276155036, -0.1316019505, 0.1420176247, -0.1662335648, 0.2000122667,
        -0.2500082106, 0.3333333171)  # fmt: skip
_LOG_ODD = (0.1479695896056556, 0.15313936541474302, 0.181835694518003, 0.22222198457093684,
            0.285714287437626, 0.39999999999406793, 0.6666666666666736)  # fmt: skip
_ERF_SMALL = (7.889119538889475e-05, -0.0008020841282027485, 0.005189535339604001,
              -0.02685444459204489, 0.11283600176260423, -0.3761262713596604,
              0.12837916591375131)  # fmt: skip
_ERF_LARGE = (-3.5570055527001335e-06, 2.843535919656817e-05, 0.000138749720604603,
              -0.003182015669267941, 0.023091642133420295, -0.10566906108092211,
              -0.635410118703324, -0.12859958543540834)  # fmt: skip

# log2(ndtr(-a)) is this polynomial times a, less 1; 2**r for |r| <= 1/2.
_TAIL = (-2.15277329e-08, 6.76198648e-07, -9.05833066e-06, 6.56176273e-05, -0.000243305511,
         -7.33881829e-05, 0.00703392695, -0.0524979215, -0.459203283, -1.15110601)  # fmt: skip
_TAIL_END = 6.3
_EXP2 = (0.000153533618, 0.00133988744, 0.00961843736, 0.0555033247, 0.240226479, 0.693147203,
         1.0)  # fmt: skip


class ScalarWriter:
    """Writes the instructions of one function body into ``lines`` and ``declarations``.

    A function that is slow for rare arguments may have a quick way for all others. If the writer is
    `quick`, that alone is written, and `guards` tell for each whether it is not to be trusted.
    """

    def __init__(self, prefix: str = "v", quick: bool = False) -> None:
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self.quick = quick
        self.guards: list[Value] = []
        self._prefix = prefix
        self._count = 0

    def emit(self, text: str, type_: str) -> Value:
        """Write an instruction and return its value."""
        self._count += 1
        name = f"%{self._prefix}{self._count}"
        self.lines.append(f"  {name} = {text}")
        return Value(name, type_)

    def const(self, value: float, type_: str) -> Value:
        """A constant of a floating-point type or of i1/i32/i64."""
        if type_ in _SUFFIX:
            if type_ == "float" and math.isfinite(value):
                largest = 3.4028235677973366e38  # from here on, rounding gives infinity
                narrow = abs(value) < largest
                value = (
                    struct.unpack("f", struct.pack("f", value))[0]
                    if narrow
                    else math.copysign(math.inf, value)
                )
            return Value(f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}", type_)
        return Value(str(int(value)), type_)

    def binary(self, op: str, a: Value, b: Value) -> Value:
        """A floating-point or integer instruction of two operands."""
        flags = f" {FLAGS}" if op in ("fadd", "fsub", "fmul", "fdiv") else ""
        return self.emit(f"{op}{flags} {a.type} {a.name}, {b.name}", a.type)

    def compare(self, predicate: str, a: Value, b: Value) -> Value:
        """A comparison, of type i1."""
        kind = "fcmp" if a.type in _SUFFIX else "icmp"
        return self.emit(f"{kind} {predicate} {a.type} {a.name}, {b.name}", "i1")

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """`a` where `condition`, else `b`."""
        return self.emit(
            f"select i1 {condition.name}, {a.type} {a.name}, {b.type} {b.name}", a.type
        )

    def intrinsic(self, name: str, *args: Value) -> Value:
        """An overloaded LLVM intrinsic of one floating-point type."""
        t = args[0].type
        full = f"llvm.{name}.{_SUFFIX[t]}"
        self.declarations.add(f"declare {t} @{full}({', '.join(a.type for a in args)})")
        return self.emit(f"call {t} @{full}({', '.join(f'{a.type} {a.name}' for a in args)})", t)

    def convert(self, x: Value, type_: str) -> Value:
        """`x`, a truth value, an integer or a float, as a number of another type."""
        if x.type == type_:
            return x
        if type_ == "i64":
            op = "zext" if x.type == "i1" else "fptosi"
            return self.emit(f"{op} {x.type} {x.name} to i64", type_)
        if x.type in _SUFFIX:
            op = "fpext" if type_ == "double" else "fptrunc"
        else:
            op = "uitofp" if x.type == "i1" else "sitofp"
        return self.emit(f"{op} {x.type} {x.name} to {type_}", type_)

    def guard(self, rare: Value) -> bool:
        """Whether the quick way alone is to be written, which is wrong where `rare` holds."""
        if self.quick:
            self.guards.append(rare)
        return self.quick

    def table(self, name: str, words: tuple[int, ...], index: Value) -> Value:
        """The entry at `index` of a constant table of 64-bit words."""
        entries = ", ".join(f"i64 {word}" for word in words)
        kind = f"[{len(words)} x i64]"
        self.declarations.add(f"@{name} = private unnamed_addr constant {kind} [{entries}]")
        p = self.emit(f"getelementptr {kind}, ptr @{name}, i64 0, i64 {index.name}", "ptr")
        return self.emit(f"load i64, ptr {p.name}, align 8", "i64")

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c with one rounding."""
        return self.intrinsic("fma", a, b, c)

    def polynomial(self, x: Value, coefficients: tuple[float, ...]) -> Value:
        """Horner's rule; the highest power first."""
        out = self.const(coefficients[0], x.type)
        for c in coefficients[1:]:
            out = self.fma(out, x, self.const(c, x.type))
        return out

    def two_chains(self, x: Value, coefficients: tuple[float, ...]) -> Value:
        """Horner's rule for the even and the odd powers apart: half the waiting, one step more."""
        square = self.binary("fmul", x, x)
        odd = self.polynomial(square, coefficients[-2::-2][::-1])
        return self.fma(odd, x, self.polynomial(square, coefficients[::-2][::-1]))

    def clamp(self, x: Value, low: float, high: float) -> Value:
        """`x` within bounds; NaN stays."""
        lo, hi = self.const(low, x.type), self.const(high, x.type)
        x = self.select(self.compare("olt", x, lo), lo, x)
        return self.select(self.compare("ogt", x, hi), hi, x)

    # -------------------------------------------------------- transcendental functions
    def power_less_one(self, x: Value) -> tuple[Value, Value]:
        """n and expm1(r), where x = n ln 2 + r and |r| <= ln 2 / 2."""
        t = x.type
        n = self.intrinsic("roundeven", self.binary("fmul", x, self.const(_LOG2E, t)))
        high, low = _LN2[t]
        r = self.fma(n, self.const(-high, t), x)
        r = self.fma(n, self.const(-low, t), r)
        q = self.polynomial(r, _EXP[t])
        return n, self.fma(q, self.binary("fmul", r, r), r)

    def scale(self, y: Value, n: Value) -> Value:
        """y * 2**n for integral n; NaN for two NaN."""
        if target.host().has("avx512f"):  # which scales by powers of two in one instruction
            return self._scale_at_once(y, n)
        return self._scale_in_steps(y, n)

    def _scale_in_steps(self, y: Value, n: Value) -> Value:
        """y * 2**n for integral n, in two steps so that neither overflows early."""
        half = self.intrinsic("floor", self.binary("fmul", n, self.const(0.5, n.type)))
        rest = self.binary("fsub", n, half)
        return self.binary("fmul", self.binary("fmul", y, self._power(half)), self._power(rest))

    def _scale_at_once(self, y: Value, n: Value) -> Value:
        """y * 2**n for integral n by one instruction; NaN for two NaN."""
        i = self.emit(f"fptosi {n.type} {n.name} to i32", "i32")
        i = self.emit(f"freeze i32 {i.name}", "i32")
        name = f"llvm.ldexp.{_SUFFIX[y.type]}.i32"
        self.declarations.add(f"declare {y.type} @{name}({y.type}, i32)")
        return self.emit(f"call {y.type} @{name}({y.type} {y.name}, i32 {i.name})", y.type)

    def _power(self, n: Value) -> Value:
        """2**n for integral n in the normal range."""
        integer, shift, bias = ("i32", 23, 127) if n.type == "float" else ("i64", 52, 1023)
        i = self.emit(f"fptosi {n.type} {n.name} to {integer}", integer)
        i = self.emit(f"freeze {integer} {i.name}", integer)
        i = self.emit(f"add {integer} {i.name}, {bias}", integer)
        i = self.emit(f"shl {integer} {i.name}, {shift}", integer)
        return self.emit(f"bitcast {integer} {i.name} to {n.type}", n.type)

    def exp(self, x: Value) -> Value:
        """e**x over the whole range, denormals included."""
        safe = self.clamp(x, *_EXP_RANGE[x.type])
        n, p = self.power_less_one(safe)
        return self.scale(self.binary("fadd", p, self.const(1.0, x.type)), n)

    def decay(self, x: Value) -> Value:
        """e**x for x up to 80: half the work of `exp`; 0 where the result is below normal range."""
        t, f = x.type, self.const
        one, least = (127 << 23, -87.33) if t == "float" else (1023 << 52, -708.39)
        bits, y = self._split_power(x)
        bits = self.emit(f"add {bits.type} {bits.name}, {one}", bits.type)
        power = self.emit(f"bitcast {bits.type} {bits.name} to {t}", t)
        y = self.fma(y, power, power)
        return self.select(self.compare("olt", x, f(least, t)), f(0.0, t), y)

    def _split_power(self, x: Value) -> tuple[Value, Value]:
        """The bits of 2**n over those of 1, and expm1(r), for x = n ln 2 + r of moderate size."""
        t, f = x.type, self.const
        # Added to a number, `magic` leaves its integral part in the lowest bits.
        integer, shift, magic = (
            ("i32", 23, 1.5 * 2**23) if t == "float" else ("i64", 52, 1.5 * 2**52)
        )
        shifted = self.fma(x, f(_LOG2E, t), f(magic, t))
        n = self.binary("fsub", shifted, f(magic, t))
        high, low = _LN2[t]
        r = self.fma(n, f(-high, t), x)
        r = self.fma(n, f(-low, t), r)
        y = self.fma(self.polynomial(r, _EXP[t]), self.binary("fmul", r, r), r)
        i = self.emit(f"bitcast {t} {shifted.name} to {integer}", integer)
        return self.emit(f"shl {integer} {i.name}, {shift}", integer), y

    def expm1_of_positive(self, x: Value) -> Value:
        """e**x - 1 for 0 <= x < 88."""
        n, p = self.power_less_one(x)
        s = self._power(n)
        return self.fma(p, s, self.binary("fsub", s, self.const(1.0, x.type)))

    def expm1(self, x: Value) -> Value:
        """e**x - 1, exact for small x."""
        t, f = x.type, self.const
        bits, p = self._split_power(self.clamp(x, -40.0, 89.0 if t == "float" else 710.0))
        # Half of 2**n does not overflow where the result does not.
        half = 126 << 23 if t == "float" else 1022 << 52
        bits = self.emit(f"add {bits.type} {bits.name}, {half}", bits.type)
        s = self.emit(f"bitcast {bits.type} {bits.name} to {t}", t)
        y = self.fma(p, s, self.binary("fsub", s, f(0.5, t)))
        return self.binary("fadd", y, y)  # NaN for NaN, as p is

    def log(self, x: Value) -> Value:
        """The natural logarithm."""
        t, f = x.type, self.const
        # `low` is the smallest normal number, `root` the bits of the square root of 1/2.
        integer, digits, low, root = (
            ("i32", 23, 2.0**-126, 0x3F3504F3)
            if t == "float"
            else ("i64", 52, 2.0**-1022, 0x3FE6A09E667F3BCD)
        )
        tiny = self.compare("olt", x, f(low, t))
        scaled = self.select(tiny, self.binary("fmul", x, f(2.0**digits, t)), x)
        bits = self.emit(f"bitcast {t} {scaled.name} to {integer}", integer)
        shifted = self.emit(f"sub {integer} {bits.name}, {root}", integer)
        e = self.emit(f"ashr {integer} {shifted.name}, {digits}", integer)
        back = self.emit(f"shl {integer} {e.name}, {digits}", integer)
        mantissa = self.emit(f"sub {integer} {bits.name}, {back.name}", integer)
        m = self.emit(f"bitcast {integer} {mantissa.name} to {t}", t)
        ef = self.emit(f"sitofp {integer} {e.name} to {t}", t)
        ef = self.binary("fsub", ef, self.select(tiny, f(float(digits), t), f(0.0, t)))
        r = self.binary("fsub", m, f(1.0, t))
        y = self._log_near_one(r, ef)
        y = self.select(self.compare("oeq", x, f(0.0, t)), f(-math.inf, t), y)
        y = self.select(self.compare("olt", x, f(0.0, t)), f(math.nan, t), y)
        finite = self.compare("olt", x, f(math.inf, t))
        return self.select(finite, y, self.select(self.compare("uno", x, x), x, f(math.inf, t)))

    def _log_near_one(self, r: Value, e: Value) -> Value:
        """log(1 + r) + e ln 2 for 1 + r between the roots of 1/2 and 2."""
        t, f = r.type, self.const
        high, low = _LN2[t]
        r2 = self.binary("fmul", r, r)
        if t == "float":
            y = self.binary("fmul", self.polynomial(r, _LOG), r)
            y = self.fma(y, r2, self.binary("fmul", e, f(low, t)))
            y = self.binary("fadd", self.fma(r2, f(-0.5, t), y), r)
            return self.fma(e, f(high, t), y)
        # With s = r / (2 + r) it is the odd series of (1 + s) / (1 - s).
        s = self.binary("fdiv", r, self.binary("fadd", r, f(2.0, t)))
        s2 = self.binary("fmul", s, s)
        half = self.binary("fmul", r2, f(0.5, t))
        y = self.fma(self.polynomial(s2, _LOG_ODD), s2, half)
        y = self.fma(s, y, self.binary("fmul", e, f(low, t)))
        y = self.binary("fsub", half, y)
        return self.fma(e, f(high, t), self.binary("fsub", r, y))

    def tanh(self, x: Value) -> Value:
        """The hyperbolic tangent, from expm1 of 2|x|."""
        t = x.type
        limit = self.const(10.0 if t == "float" else 20.0, t)
        a = self.intrinsic("fabs", x)
        a = self.select(self.compare("olt", a, limit), a, limit)
        e = self.expm1_of_positive(self.binary("fadd", a, a))
        y = self.binary("fdiv", e, self.binary("fadd", e, self.const(2.0, t)))
        y = self.intrinsic("copysign", y, x)
        return self.select(self.compare("uno", x, x), x, y)

    def sigmoid(self, x: Value) -> Value:
        """1 / (1 + e**-x)."""
        one = self.const(1.0, x.type)
        return self.binary("fdiv", one, self.binary("fadd", self.exp(self.negate(x)), one))

    def erf(self, x: Value) -> Value:
        """The error function (float32)."""
        t, f = x.type, self.const
        a = self.intrinsic("fabs", x)
        s = self.binary("fmul", x, x)
        small = self.fma(self.polynomial(s, _ERF_SMALL), x, x)
        bound = self.select(self.compare("olt", a, f(4.0, t)), a, f(4.0, t))
        power = self.polynomial(bound, _ERF_LARGE)
        power = self.fma(power, bound, self.negate(bound))
        large = self.binary("fsub", f(1.0, t), self.decay(power))
        large = self.intrinsic("copysign", large, x)
        y = self.select(self.compare("olt", a, f(1.0, t)), small, large)
        return self.select(self.compare("uno", x, x), x, y)

    def ndtr(self, x: Value) -> Value:
        """The standard normal distribution function (float32), from log2 of its lower tail."""
        t, f = x.type, self.const
        a, end = self.intrinsic("fabs", x), f(_TAIL_END, t)
        a = self.select(self.compare("ogt", a, end), end, a)
        power = self.fma(self.two_chains(a, _TAIL), a, f(-1.0, t))
        # Added to a number, `magic` leaves its integral part in the lowest bits.
        magic = f(1.5 * 2**23, t)
        shifted = self.binary("fadd", power, magic)
        r = self.binary("fsub", power, self.binary("fsub", shifted, magic))
        y = self.polynomial(r, _EXP2)
        n = self.emit(f"bitcast {t} {shifted.name} to i32", "i32")
        n = self.emit(f"shl i32 {n.name}, 23", "i32")
        bits = self.emit(f"bitcast {t} {y.name} to i32", "i32")
        scaled = self.emit(f"add i32 {bits.name}, {n.name}", "i32")
        y = self.emit(f"bitcast i32 {scaled.name} to {t}", t)
        beyond = self.binary("fsub", a, a)  # 0, or NaN for NaN
        y = self.select(self.compare("olt", a, end), y, beyond)
        return self.select(self.compare("ogt", x, f(0.0, t)), self.binary("fsub", f(1.0, t), y), y)

    def negate(self, x: Value) -> Value:
        """-x."""
        return self.emit(f"fneg {x.type} {x.name}", x.type)

    def extremum(self, x: Value, y: Value, predicate: str) -> Value:
        """The larger or smaller of two values; NaN if either is."""
        best = self.select(self.compare(predicate, y, x), y, x)  # x if it is NaN
        return self.select(self.compare("uno", y, y), y, best)

    # -------------------------------------------------------- expressions
    def lower(self, e: Expression, inputs: dict[str, Value], type_: str) -> Value:
        """The value of an expression whose numbers are of floating-point type `type_`."""
        known: dict[int, Value] = {}

        def visit(node: Expression) -> Value:
            found = known.get(id(node))
            if found is None:
                found = known[id(node)] = self._lower_one(node, visit, inputs, type_)
            return found

        return visit(e)

    def _lower_one(
        self,
        node: Expression,
        visit: Callable[[Expression], Value],
        inputs: dict[str, Value],
        type_: str,
    ) -> Value:
        if node.op == "input":
            return inputs[node.args[0]]
        if node.op == "const":
            return self._constant(node.args[0], type_)
        args = [visit(a) for a in node.args]
        if node.op == "where":
            chosen = (self._number(a, type_) for a in args[1:])
            return self.select(self._truth(args[0]), *chosen)
        if node.op in _BITS and all(a.type == "i1" for a in args):
            return self._logic(_BITS[node.op], *args)
        if node.op in _LOGIC:
            return self._logic(_LOGIC[node.op], *(self._truth(a) for a in args))
        if type_ == "i64":
            return self._lower_integer(node.op, args)
        if node.op in _ARITHMETIC:
            a, b = (self._number(x, type_) for x in args)
            return self.binary(_ARITHMETIC[node.op], a, b)
        if node.op in _COMPARE:
            a, b = (self._number(x, type_) for x in args)
            return self.compare(_COMPARE[node.op], a, b)
        if node.op in _INTRINSICS and args[0].type == type_:
            return self.intrinsic(_INTRINSICS[node.op], args[0])
        if node.op in _FUNCTIONS:
            return _FUNCTIONS[node.op](self, *(self._number(a, type_) for a in args))
        raise Unsupported(node.op)

    def _constant(self, value: Any, type_: str) -> Value:
        if isinstance(value, complex):
            raise Unsupported("a complex constant")
        if type_ == "i64" and isinstance(value, float) and not value.is_integer():
            raise Unsupported("a fraction among integers")
        return self.const(float(value) if type_ != "i64" else value, type_)

    def _logic(self, op: str, *args: Value) -> Value:
        if op == "not":
            return self.emit(f"xor i1 {args[0].name}, true", "i1")
        return self.emit(f"{op} i1 {args[0].name}, {args[1].name}", "i1")

    def _lower_integer(self, op: str, args: list[Value]) -> Value:
        """An operation of 64-bit integers, whose low bits are also right for narrower ones."""
        values = [self._number(a, "i64") for a in args]
        if op in divisions.FUNCTIONS:
            return _FUNCTIONS[op](self, *values)
        if op in _COMPARE:
            return self.compare(_INTEGER_COMPARE[op], *values)
        if op in _INTEGER:
            return self.binary(_INTEGER[op], *values)
        if op in ("maximum", "minimum"):
            first = self.compare("sgt" if op == "maximum" else "slt", *values)
            return self.select(first, *values)
        if op in ("positive", "conj", "real"):
            return values[0]
        zero = self.const(0, "i64")
        if op in ("neg", "abs"):
            minus = self.binary("sub", zero, values[0])
            return (
                minus
                if op == "neg"
                else self.select(self.compare("slt", values[0], zero), minus, values[0])
            )
        if op == "square":
            return self.binary("mul", values[0], values[0])
        raise Unsupported(op)

    def _truth(self, x: Value) -> Value:
        if x.type == "i1":
            return x
        return self.compare("ne" if x.type == "i64" else "une", x, self.const(0.0, x.type))

    def _number(self, x: Value, type_: str) -> Value:
        return x if x.type != "i1" else self.convert(x, type_)


def _one_over(w: ScalarWriter, x: Value) -> Value:
    return w.binary("fdiv", w.const(1.0, x.type), x)


def _sign(w: ScalarWriter, x: Value) -> Value:
    zero, one = w.const(0.0, x.type), w.const(1.0, x.type)
    # NaN has no sign: PyTorch gives 0.
    return w.select(w.compare("one", x, zero), w.intrinsic("copysign", one, x), zero)


def _is_infinite(w: ScalarWriter, x: Value) -> Value:
    return w.compare("oeq", w.intrinsic("fabs", x), w.const(math.inf, x.type))


def _is_finite(w: ScalarWriter, x: Value) -> Value:
    return w.compare("olt", w.intrinsic("fabs", x), w.const(math.inf, x.type))


def _sign_bit(w: ScalarWriter, x: Value) -> Value:
    integer = "i32" if x.type == "float" else "i64"
    bits = w.emit(f"bitcast {x.type} {x.name} to {integer}", integer)
    return w.compare("slt", bits, Value("0", integer))


def _known(predicate: str) -> Callable[[ScalarWriter, Value, Value], Value]:
    """The larger or smaller of two values; where one is NaN, the other."""

    def lower(w: ScalarWriter, x: Value, y: Value) -> Value:
        best = w.select(w.compare(predicate, x, y), x, y)
        return w.select(w.compare("uno", y, y), x, best)

    return lower


def _x_log_y(w: ScalarWriter, x: Value, y: Value) -> Value:
    product = w.binary("fmul", x, w.log(y))
    nothing = w.select(w.compare("uno", y, y), y, w.const(0.0, x.type))
    return w.select(w.compare("oeq", x, w.const(0.0, x.type)), nothing, product)


def _formula(f: Callable[..., Number]) -> Callable[..., Value]:
    """A function of `Number` as one of values."""
    return lambda w, *args: f(*(Number(w, a) for a in args)).value


def _by_width(single: Callable[..., Value], double: Any) -> Callable[..., Value]:
    """One function for float32, and another for float64 if there is one."""

    def lower(w: ScalarWriter, *args: Value) -> Value:
        f = single if args[0].type == "float" else double
        if f is None:
            raise Unsupported("a function of float64")
        return f(w, *args)

    return lower


_MODULES = (angles, circular, divisions, error_functions, gamma_functions, hyperbolic, powers)
_FUNCTIONS: dict[str, Callable[..., Value]] = {
    **{name: _formula(f) for module in _MODULES for name, f in module.FUNCTIONS.items()},
    "neg": lambda w, x: w.negate(x),
    "positive": lambda w, x: x,
    "to_float": lambda w, x: x,
    "conj": lambda w, x: x,
    "real": lambda w, x: x,
    "square": lambda w, x: w.binary("fmul", x, x),
    "reciprocal": _one_over,
    "rsqrt": lambda w, x: _one_over(w, w.intrinsic("sqrt", x)),
    "sign": _sign,
    "sgn": _sign,
    "exp": lambda w, x: w.exp(x),
    "expm1": lambda w, x: w.expm1(x),
    "log": lambda w, x: w.log(x),
    "tanh": lambda w, x: w.tanh(x),
    "sigmoid": lambda w, x: w.sigmoid(x),
    "erf": _by_width(lambda w, x: w.erf(x), _formula(error_functions.erf)),
    "ndtr": _by_width(lambda w, x: w.ndtr(x), _formula(error_functions.ndtr)),
    "lgamma": _by_width(_formula(gamma_functions.lgamma), _formula(gamma_functions.precise_lgamma)),
    "maximum": lambda w, x, y: w.extremum(x, y, "ogt"),
    "minimum": lambda w, x, y: w.extremum(x, y, "olt"),
    "copysign": lambda w, x, y: w.intrinsic("copysign", x, y),
    "fmax": _known("ogt"),
    "fmin": _known("olt"),
    "frac": lambda w, x: w.binary("fsub", x, w.intrinsic("trunc", x)),
    "xlogy": _x_log_y,
    "isnan": lambda w, x: w.compare("uno", x, x),
    "isinf": _is_infinite,
    "isfinite": _is_finite,
    "signbit": _sign_bit,
}
