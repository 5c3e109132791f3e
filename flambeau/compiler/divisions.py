"""Quotients and remainders, of floats and of 64-bit integers.

A remainder whose quotient has fewer digits than a float is one step, without rounding; others are
found some fifty binary digits of the quotient at a time. Integers below 2**52 are divided as
doubles. Division of an integer by zero gives zero: callers refuse it beforehand.
"""

from __future__ import annotations

from .algebra import Number, fma, where

_INFINITY = float("inf")
# The quotient up to which one step serves: its neighbours are then its only possible errors.
_QUOTIENT = {"float": 2.0**22, "double": 2.0**51}
_LARGE = 1 << 52

# |x| less as often |y| as it holds it, for finite positive numbers; see `_whole_remainder`.
_REMAINDER = """\
define internal double @flambeau.remainder(double %x, double %y) noinline {
entry:
  br label %loop
loop:
  %r = phi double [ %x, %entry ], [ %next, %step ]
  %more = fcmp oge double %r, %y
  br i1 %more, label %step, label %done
step:
  %r.exponent = call i64 @flambeau.exponent(double %r)
  %y.exponent = call i64 @flambeau.exponent(double %y)
  %apart = sub i64 %r.exponent, %y.exponent
  %surplus = sub i64 %apart, 50
  %far = icmp sgt i64 %surplus, 0
  %doublings = select i1 %far, i64 %surplus, i64 0
  %third = udiv i64 %doublings, 3
  %last = mul i64 %third, 2
  %first = sub i64 %doublings, %last
  %first.power = call double @flambeau.power(i64 %first)
  %third.power = call double @flambeau.power(i64 %third)
  %once = fmul double %y, %first.power
  %twice = fmul double %once, %third.power
  %divisor = fmul double %twice, %third.power
  %quotient = fdiv double %r, %divisor
  %whole = call double @llvm.floor.f64(double %quotient)
  %minus = fneg double %whole
  %left = call double @llvm.fma.f64(double %minus, double %divisor, double %r)
  %below = fcmp olt double %left, 0.0
  %mended = fadd double %left, %divisor
  %next = select i1 %below, double %mended, double %left
  br label %loop
done:
  ret double %r
}
define internal i64 @flambeau.exponent(double %x) alwaysinline {
  %tiny = fcmp olt double %x, 0x0010000000000000
  %larger = fmul double %x, 0x4350000000000000
  %normal = select i1 %tiny, double %larger, double %x
  %bits = bitcast double %normal to i64
  %field = lshr i64 %bits, 52
  %taken = select i1 %tiny, i64 54, i64 0
  %exponent = sub i64 %field, %taken
  ret i64 %exponent
}
define internal double @flambeau.power(i64 %n) alwaysinline {
  %biased = add i64 %n, 1023
  %bits = shl i64 %biased, 52
  %power = bitcast i64 %bits to double
  ret double %power
}
"""


def fmod(x: Number, y: Number) -> Number:
    """What is left of x after division by y, with x's sign."""
    if x.type == "i64":
        return _divided(x, y)[1]
    a, b = abs(x), abs(y)
    ratio = a / b
    whole = ratio.intrinsic("floor")
    r = fma(-whole, b, a)
    r = where(r < 0.0, r + b, r)
    r = where(r >= b, r - b, r)
    r = where(b.equals(_INFINITY) & (a < _INFINITY), a, r)
    # Too large a quotient for one step, but not infinite for being divided by zero.
    long = (ratio >= _QUOTIENT[x.type]) & (a < _INFINITY) & (b > 0.0)
    if not x.w.guard(long.value):
        r = where(long, _whole_remainder(where(long, a, 0.0), where(long, b, 1.0)), r)
    return r.with_sign_of(x)


def _whole_remainder(a: Number, b: Number) -> Number:
    w, type_ = a.w, a.type
    w.declarations |= {
        _REMAINDER,
        "declare double @llvm.fma.f64(double, double, double)",
        "declare double @llvm.floor.f64(double)",
    }
    names = ", ".join(f"double {v.to('double').value.name}" for v in (a, b))
    return Number(w, w.emit(f"call double @flambeau.remainder({names})", "double")).to(type_)


def remainder(x: Number, y: Number) -> Number:
    """What is left of x after division by y, with y's sign."""
    r = fmod(x, y)
    opposite = (r ^ y) < 0 if r.type == "i64" else (r < 0.0) ^ (y < 0.0)
    return where(r.differs(0) & opposite, r + y, r)


def floor_divide(x: Number, y: Number) -> Number:
    """x / y rounded down."""
    if x.type == "i64":
        quotient, r = _divided(x, y)
        return where(r.differs(0) & ((r ^ y) < 0), quotient - 1, quotient)
    r = fmod(x, y)
    quotient = (x - r) / y
    quotient = where(r.differs(0.0) & ((r < 0.0) ^ (y < 0.0)), quotient - 1.0, quotient)
    whole = quotient.intrinsic("floor")
    whole = where(quotient - whole > 0.5, whole + 1.0, whole)
    whole = where(quotient.equals(0.0), quotient.like(0.0).with_sign_of(x / y), whole)
    return where(y.equals(0.0), x / y, whole)


def trunc_divide(x: Number, y: Number) -> Number:
    """x / y rounded towards zero."""
    if x.type == "i64":
        return _divided(x, y)[0]
    return (x / y).intrinsic("trunc")


def _divided(x: Number, y: Number) -> tuple[Number, Number]:
    """The quotient of 64-bit integers, rounded towards zero, and the remainder."""
    zero, minus = y.equals(0), y.equals(-1)
    large = _beyond(x) | _beyond(y)
    if x.w.guard(large.value):
        quotient = (x.to_float("double") / y.to_float("double")).to_integer("i64")
    else:
        # Division by -1 may overflow, which the machine does not forgive.
        quotient = x / where(zero | minus, 1, y)
        quotient = where(minus, -x, quotient)
    quotient = where(zero, 0, quotient)
    return quotient, x - quotient * y


def _beyond(x: Number) -> Number:
    """Whether an integer is outside [-2**52, 2**52)."""
    return ((x + _LARGE).unsigned_shift(53)).differs(0)


FUNCTIONS = {
    "fmod": fmod,
    "remainder": remainder,
    "floor_divide": floor_divide,
    "trunc_divide": trunc_divide,
}
