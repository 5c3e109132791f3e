"""LLVM IR of the random streams: the Mersenne Twister, uniforms, Box-Muller blocks, the shuffle.

`render` returns one module. Its kernels take ``i64* words`` (see launch.py):

| kernel      | arguments                                   |
|-------------|---------------------------------------------|
| words       | state, out u32, n                           |
| uniform32   | state, out f32, n, low, span                |
| uniform64   | state, out f64, n, low, span                |
| normal32/64 | blocks of 16 uniforms, count, mean, std     |
| pairs64     | pairs of uniforms, count                    |
| affine64    | values f64, n, factor, offset               |
| integers    | state, out i64, n, span, low                |
| shuffle     | order i64 (n), words u32 (n - 1), n         |

``state`` is 624 words and the position of the next one, as NumPy's MT19937 keeps them. Arithmetic
is as flambeau/box_muller.py defines it: no reassociation, a multiply-add fused where it says so.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from .. import box_muller

LANES = 8
_WORDS, _MIDDLE = 624, 397
_CHUNK = 2048  # elements made of raw words at a time, while these are in the first-level cache


def _hex(value: float) -> str:
    return "0x" + struct.pack(">d", value).hex().upper()


def _single(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


class _Lines:
    """IR text that names its own values."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def let(self, text: str) -> str:
        """Add an instruction; the name of its value."""
        name = f"%v{len(self.lines)}"
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Add an instruction without a value."""
        self.lines.append(f"  {text}")

    def text(self) -> str:
        return "\n".join(self.lines)


class _Vector(_Lines):
    """Eight single-precision lanes."""

    f, i = f"<{LANES} x float>", f"<{LANES} x i32>"

    def number(self, value: Any) -> str:
        return f"splat (float {_hex(_single(value))})"

    def whole(self, value: int) -> str:
        return f"splat (i32 {value})"

    def float_op(self, op: str, a: str, b: str) -> str:
        return self.let(f"{op} {self.f} {a}, {b}")

    def int_op(self, op: str, a: str, b: str) -> str:
        return self.let(f"{op} {self.i} {a}, {b}")

    def fma(self, a: str, b: str, c: str) -> str:
        call = f"@llvm.fma.v{LANES}f32({self.f} {a}, {self.f} {b}, {self.f} {c})"
        return self.let(f"call {self.f} {call}")

    def bits(self, a: str) -> str:
        return self.let(f"bitcast {self.f} {a} to {self.i}")

    def from_bits(self, a: str) -> str:
        return self.let(f"bitcast {self.i} {a} to {self.f}")

    def polynomial(self, x: str, coefficients: Sequence[float]) -> str:
        y = self.number(coefficients[0])
        for c in coefficients[1:]:
            y = self.fma(y, x, self.number(c))
        return y


def _radius(v: _Vector, u: str) -> str:
    """sqrt(-2 log(1 - u))."""
    x = v.bits(v.float_op("fsub", v.number(1), u))
    exponent = v.int_op("ashr", v.int_op("sub", x, v.whole(0x3F3504F3)), v.whole(23))
    e = v.let(f"sitofp {v.i} {exponent} to {v.f}")
    x = v.from_bits(v.int_op("sub", x, v.int_op("shl", exponent, v.whole(23))))
    x = v.float_op("fsub", x, v.number(1))
    z = v.float_op("fmul", x, x)
    y = v.float_op("fmul", v.polynomial(x, box_muller.LOG), x)
    y = v.fma(y, z, v.float_op("fmul", e, v.number(box_muller.LN2_LOW)))
    y = v.fma(z, v.number(-0.5), y)
    x = v.fma(e, v.number(box_muller.LN2_HIGH), v.float_op("fadd", x, y))
    x = v.float_op("fmul", x, v.number(-2))
    return v.let(f"call {v.f} @llvm.sqrt.v{LANES}f32({v.f} {x})")


def _cosine_and_sine(v: _Vector, u: str) -> tuple[str, str]:
    """cos(2 pi u) and sin(2 pi u)."""
    x = v.float_op("fmul", u, v.number(box_muller.TWO_PI))
    octant = v.let(
        f"fptosi {v.f} {v.float_op('fmul', x, v.number(box_muller.FOUR_OVER_PI))} to {v.i}"
    )
    octant = v.int_op("and", v.int_op("add", octant, v.whole(1)), v.whole(-2))
    y = v.let(f"sitofp {v.i} {octant} to {v.f}")
    for part in box_muller.QUARTER_PI:
        x = v.fma(y, v.number(part), x)
    z = v.float_op("fmul", x, x)
    s = v.float_op("fmul", v.polynomial(z, box_muller.SIN), z)
    s = v.fma(s, x, x)
    c = v.float_op("fmul", v.polynomial(z, box_muller.COS), z)
    c = v.fma(c, z, v.float_op("fmul", z, v.number(-0.5)))
    c = v.float_op("fadd", c, v.number(1))
    odd = v.int_op("and", octant, v.whole(2))
    swap = v.let(f"icmp ne {v.i} {odd}, zeroinitializer")
    masks = f"<{LANES} x i1> {swap}"
    sine = v.bits(v.let(f"select {masks}, {v.f} {c}, {v.f} {s}"))
    cosine = v.bits(v.let(f"select {masks}, {v.f} {s}, {v.f} {c}"))
    sign = v.int_op("and", v.int_op("shl", octant, v.whole(29)), v.whole(-(2**31)))
    sine = v.from_bits(v.int_op("xor", sine, sign))
    turned = v.int_op("shl", v.int_op("sub", octant, v.whole(2)), v.whole(29))
    sign = v.int_op("and", v.int_op("xor", turned, v.whole(-1)), v.whole(-(2**31)))
    return v.from_bits(v.int_op("xor", cosine, sign)), sine


def _normal_block32() -> str:
    v = _Vector()
    first = v.let(f"load {v.f}, ptr %block, align 4")
    place = v.let(f"getelementptr float, ptr %block, i64 {LANES}")
    second = v.let(f"load {v.f}, ptr {place}, align 4")
    radius = _radius(v, first)
    for value, at in zip(_cosine_and_sine(v, second), ("%block", place), strict=True):
        scaled = v.fma(v.float_op("fmul", radius, value), "%stds", "%means")
        v.do(f"store {v.f} {scaled}, ptr {at}, align 4")
    return v.text()


def _mixed(w: _Lines, at: str, following: str, middle: str) -> None:
    """key[at] = key[middle] ^ twist(key[at], key[following]); the arguments are pointers."""
    high = w.let(f"and i32 {w.let(f'load i32, ptr {at}')}, -2147483648")
    low_word = w.let(f"load i32, ptr {following}")
    y = w.let(f"or i32 {high}, {w.let(f'and i32 {low_word}, 2147483647')}")
    odd = w.let(f"sub i32 0, {w.let(f'and i32 {low_word}, 1')}")
    constant = w.let(f"and i32 {odd}, {0x9908B0DF - 2**32}")
    y = w.let(f"xor i32 {w.let(f'lshr i32 {y}, 1')}, {constant}")
    value = w.let(f"xor i32 {y}, {w.let(f'load i32, ptr {middle}')}")
    w.do(f"store i32 {value}, ptr {at}")


def _tempered(w: _Lines, y: str) -> str:
    y = w.let(f"xor i32 {y}, {w.let(f'lshr i32 {y}, 11')}")
    for shift, mask in ((7, 0x9D2C5680), (15, 0xEFC60000)):
        part = w.let(f"and i32 {w.let(f'shl i32 {y}, {shift}')}, {mask - 2**32}")
        y = w.let(f"xor i32 {y}, {part}")
    return w.let(f"xor i32 {y}, {w.let(f'lshr i32 {y}, 18')}")


def _twist_loop(start: int, end: int, offset: int) -> str:
    """A loop over key[start:end], whose middle words lie `offset` away."""
    w = _Lines()
    at = w.let("getelementptr i32, ptr %key, i64 %i")
    following = w.let(f"getelementptr i32, ptr {at}, i64 1")
    _mixed(w, at, following, w.let(f"getelementptr i32, ptr {at}, i64 {offset}"))
    return _loop(f"twist{start}", "ptr %key", str(start), str(end), w.text())


def _loop(name: str, parameters: str, start: str, end: str, body: str) -> str:
    """A function that runs `body` for %i from `start` to `end` (exclusive)."""
    return f"""
define internal void @{name}({parameters}) {{
entry:
  %some = icmp ult i64 {start}, {end}
  br i1 %some, label %loop, label %end
loop:
  %i = phi i64 [ {start}, %entry ], [ %next, %loop ]
{body}
  %next = add nuw nsw i64 %i, 1
  %more = icmp ult i64 %next, {end}
  br i1 %more, label %loop, label %end
end:
  ret void
}}
"""


def _render_twister() -> str:
    last = _Lines()
    pointers = [
        last.let(f"getelementptr i32, ptr %key, i64 {at}") for at in (_WORDS - 1, 0, _MIDDLE - 1)
    ]
    _mixed(last, *pointers)
    copied = _Lines()
    source = copied.let("getelementptr i32, ptr %source, i64 %i")
    value = _tempered(copied, copied.let(f"load i32, ptr {source}"))
    target = copied.let("getelementptr i32, ptr %target, i64 %i")
    copied.do(f"store i32 {value}, ptr {target}")
    split = _WORDS - _MIDDLE
    return (
        _twist_loop(0, split, _MIDDLE)
        + _twist_loop(split, _WORDS - 1, -split)
        + _loop("temper", "ptr %source, ptr noalias %target, i64 %n", "0", "%n", copied.text())
        + f"""
define internal void @twist(ptr %key) {{
  call void @twist0(ptr %key)
  call void @twist{split}(ptr %key)
{last.text()}
  ret void
}}

define internal void @fill(ptr %key, ptr noalias %out, i64 %n) {{
entry:
  %place = getelementptr i32, ptr %key, i64 {_WORDS}
  %start = load i32, ptr %place
  br label %loop
loop:
  %done = phi i64 [ 0, %entry ], [ %done.next, %some ]
  %at = phi i32 [ %start, %entry ], [ %at.next, %some ]
  %left = sub i64 %n, %done
  %more = icmp ne i64 %left, 0
  br i1 %more, label %check, label %end
check:
  %empty = icmp uge i32 %at, {_WORDS}
  br i1 %empty, label %renew, label %some
renew:
  call void @twist(ptr %key)
  br label %some
some:
  %from = phi i32 [ %at, %check ], [ 0, %renew ]
  %from64 = zext i32 %from to i64
  %have = sub i64 {_WORDS}, %from64
  %take = call i64 @llvm.umin.i64(i64 %have, i64 %left)
  %source = getelementptr i32, ptr %key, i64 %from64
  %target = getelementptr i32, ptr %out, i64 %done
  call void @temper(ptr %source, ptr %target, i64 %take)
  %done.next = add i64 %done, %take
  %taken = add i64 %from64, %take
  %at.next = trunc i64 %taken to i32
  br label %loop
end:
  store i32 %at, ptr %place
  ret void
}}
"""
    )


def _arguments(*types: str) -> str:
    """Load kernel arguments from %words into %a0, %a1...; ``float`` comes from a double's bits."""
    lines = []
    for i, kind in enumerate(types):
        lines.append(f"  %p{i} = getelementptr i64, ptr %words, i64 {i}")
        loaded = "double" if kind == "float" else kind
        name = f"%d{i}" if kind == "float" else f"%a{i}"
        lines.append(f"  {name} = load {loaded}, ptr %p{i}")
        if kind == "float":
            lines.append(f"  %a{i} = fptrunc double %d{i} to float")
    return "\n".join(lines)


def _render_uniform(bits: int) -> str:
    kind, word, mantissa = ("float", "i32", 24) if bits == 32 else ("double", "i64", 53)
    w = _Lines()
    at = w.let(f"getelementptr {word}, ptr %out, i64 %i")
    value = w.let(f"load {word}, ptr {at}")
    if bits == 64:  # the first of two words is the high one
        value = w.let(f"call i64 @llvm.fshl.i64(i64 {value}, i64 {value}, i64 32)")
    value = w.let(f"and {word} {value}, {2**mantissa - 1}")
    value = w.let(f"sitofp {word} {value} to {kind}")
    value = w.let(f"fmul {kind} {value}, {_hex(2.0**-mantissa)}")
    terms = f"{kind} {value}, {kind} %span, {kind} %low"
    value = w.let(f"call {kind} @llvm.fma.f{bits}({terms})")
    w.do(f"store {kind} {value}, ptr {at}")
    parameters = f"ptr %out, i64 %n, {kind} %low, {kind} %span"
    return (
        _loop(f"scale{bits}", parameters, "0", "%n", w.text())
        + f"""
define void @uniform{bits}(ptr %words) {{
entry:
{_arguments("ptr", "ptr", "i64", kind, kind)}
  br label %loop
loop:
  %done = phi i64 [ 0, %entry ], [ %done.next, %some ]
  %left = sub i64 %a2, %done
  %more = icmp ne i64 %left, 0
  br i1 %more, label %some, label %end
some:
  %take = call i64 @llvm.umin.i64(i64 %left, i64 {_CHUNK})
  %count = mul i64 %take, {bits // 32}
  %part = getelementptr {kind}, ptr %a1, i64 %done
  call void @fill(ptr %a0, ptr %part, i64 %count)
  call void @scale{bits}(ptr %part, i64 %take, {kind} %a3, {kind} %a4)
  %done.next = add i64 %done, %take
  br label %loop
end:
  ret void
}}
"""
    )


def _render_normal32() -> str:
    v, lines = _Vector(), _Lines()
    for name, argument in (("means", "%mean"), ("stds", "%std")):
        first = f"insertelement {v.f} poison, float {argument}, i64 0"
        lines.lines.append(f"  %{name}.one = {first}")
        shuffle = f"shufflevector {v.f} %{name}.one, {v.f} poison, {v.i} zeroinitializer"
        lines.lines.append(f"  %{name} = {shuffle}")
    body = f"{lines.text()}\n  %block = getelementptr float, ptr %blocks, i64 %at\n"
    body = "  %at = mul i64 %i, 16\n" + body + _normal_block32()
    parameters = "ptr %blocks, i64 %n, float %mean, float %std"
    return (
        _loop("transform32", parameters, "0", "%n", body)
        + f"""
define void @normal32(ptr %words) {{
{_arguments("ptr", "i64", "float", "float")}
  call void @transform32(ptr %a0, i64 %a1, float %a2, float %a3)
  ret void
}}
"""
    )


# The C library's functions, one at a time: their last bits are part of the stream.
def _render_pairs64() -> str:
    w = _Lines()
    first = w.let(f"getelementptr double, ptr %pairs, i64 {w.let('shl i64 %i, 1')}")
    second = w.let(f"getelementptr double, ptr {first}, i64 1")
    a, b = w.let(f"load double, ptr {first}"), w.let(f"load double, ptr {second}")
    logarithm = w.let(f"call double @log1p(double {w.let(f'fneg double {b}')})")
    square = w.let(f"fmul double {logarithm}, {_hex(-2.0)}")
    radius = w.let(f"call double @llvm.sqrt.f64(double {square})")
    angle = w.let(f"fmul double {a}, {_hex(2 * math.pi)}")
    for function, at in (("cos", first), ("sin", second)):
        value = w.let(f"call double @{function}(double {angle})")
        w.do(f"store double {w.let(f'fmul double {radius}, {value}')}, ptr {at}")
    body = _loop("transform_pairs", "ptr %pairs, i64 %n", "0", "%n", w.text())
    return (
        body
        + f"""
define void @pairs64(ptr %words) {{
{_arguments("ptr", "i64")}
  call void @transform_pairs(ptr %a0, i64 %a1)
  ret void
}}
"""
    )


def _render_affine64() -> str:
    w = _Lines()
    at = w.let("getelementptr double, ptr %values, i64 %i")
    value = w.let(f"load double, ptr {at}")
    terms = f"double {value}, double %factor, double %offset"
    w.do(f"store double {w.let(f'call double @llvm.fma.f64({terms})')}, ptr {at}")
    parameters = "ptr %values, i64 %n, double %factor, double %offset"
    return (
        _loop("affine_loop", parameters, "0", "%n", w.text())
        + f"""
define void @affine64(ptr %words) {{
{_arguments("ptr", "i64", "double", "double")}
  call void @affine_loop(ptr %a0, i64 %a1, double %a2, double %a3)
  ret void
}}
"""
    )


def _render_integers() -> str:
    """Remainders of words by a span below 2**28: the quotient in double precision is exact."""
    w = _Lines()
    word = w.let("getelementptr i32, ptr %drawn, i64 %i")
    word = w.let(f"zext i32 {w.let(f'load i32, ptr {word}')} to i64")
    ratio = w.let(f"fdiv double {w.let(f'sitofp i64 {word} to double')}, %divisor")
    quotient = w.let(f"fptosi double {ratio} to i64")
    value = w.let(f"sub i64 {word}, {w.let(f'mul i64 {quotient}, %span')}")
    target = w.let("getelementptr i64, ptr %out, i64 %i")
    w.do(f"store i64 {w.let(f'add i64 {value}, %low')}, ptr {target}")
    parameters = "ptr %drawn, ptr %out, i64 %n, i64 %span, double %divisor, i64 %low"
    return (
        _loop("remainders", parameters, "0", "%n", w.text())
        + f"""
define void @integers(ptr %words) {{
{_arguments("ptr", "ptr", "i64", "i64", "i64")}
  %drawn = getelementptr i32, ptr %a1, i64 %a2
  call void @fill(ptr %a0, ptr %drawn, i64 %a2)
  %divisor = sitofp i64 %a3 to double
  call void @remainders(ptr %drawn, ptr %a1, i64 %a2, i64 %a3, double %divisor, i64 %a4)
  ret void
}}
"""
    )


def _render_normal64() -> str:
    w = _Lines()
    block = w.let(f"mul i64 {w.let('lshr i64 %i, 3')}, 16")
    lane = w.let(f"add i64 {block}, {w.let('and i64 %i, 7')}")
    first = w.let(f"getelementptr double, ptr %blocks, i64 {lane}")
    second = w.let(f"getelementptr double, ptr {first}, i64 8")
    a, b = w.let(f"load double, ptr {first}"), w.let(f"load double, ptr {second}")
    rest = w.let(f"fsub double {_hex(1.0)}, {a}")
    logarithm = w.let(f"call double @log(double {rest})")
    square = w.let(f"fmul double {logarithm}, {_hex(-2.0)}")
    radius = w.let(f"call double @llvm.sqrt.f64(double {square})")
    angle = w.let(f"fmul double {b}, {_hex(2 * math.pi)}")
    for function, at in (("cos", first), ("sin", second)):
        value = w.let(f"call double @{function}(double {angle})")
        value = w.let(f"fmul double {radius}, {value}")
        terms = f"double {value}, double %std, double %mean"
        w.do(f"store double {w.let(f'call double @llvm.fma.f64({terms})')}, ptr {at}")
    parameters = "ptr %blocks, i64 %n, double %mean, double %std"
    return (
        _loop("transform64", parameters, "0", "%n", w.text())
        + f"""
define void @normal64(ptr %words) {{
{_arguments("ptr", "i64", "double", "double")}
  %lanes = mul i64 %a1, 8
  call void @transform64(ptr %a0, i64 %lanes, double %a2, double %a3)
  ret void
}}
"""
    )


def _render_shuffle() -> str:
    w = _Lines()
    word = w.let(f"load i32, ptr {w.let('getelementptr i32, ptr %words, i64 %i')}")
    left = w.let("trunc i64 " + w.let("sub i64 %n, %i") + " to i32")
    offset = w.let(f"zext i32 {w.let(f'urem i32 {word}, {left}')} to i64")
    here = w.let("getelementptr i64, ptr %order, i64 %i")
    there = w.let(f"getelementptr i64, ptr {here}, i64 {offset}")
    a, b = w.let(f"load i64, ptr {here}"), w.let(f"load i64, ptr {there}")
    w.do(f"store i64 {b}, ptr {here}")
    w.do(f"store i64 {a}, ptr {there}")
    swaps = _loop("swap", "ptr %order, ptr %words, i64 %n, i64 %n1", "0", "%n1", w.text())
    return (
        swaps
        + f"""
define void @shuffle(ptr %words) {{
{_arguments("ptr", "ptr", "i64")}
  %n1 = sub i64 %a2, 1
  call void @swap(ptr %a0, ptr %a1, i64 %a2, i64 %n1)
  ret void
}}
"""
    )


def key() -> str:
    """Return text that differs whenever the module might."""
    numbers = [v for k, v in sorted(vars(box_muller).items()) if k.isupper()]
    return f"random streams {numbers!r}"


def render() -> str:
    """Return the module's text."""
    f = _Vector.f
    return (
        f"""
declare {f} @llvm.fma.v{LANES}f32({f}, {f}, {f})
declare {f} @llvm.sqrt.v{LANES}f32({f})
declare float @llvm.fma.f32(float, float, float)
declare double @llvm.fma.f64(double, double, double)
declare double @llvm.sqrt.f64(double)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.fshl.i64(i64, i64, i64)
declare double @log(double)
declare double @log1p(double)
declare double @cos(double)
declare double @sin(double)
"""
        + _render_twister()
        + f"""
define void @words(ptr %words) {{
{_arguments("ptr", "ptr", "i64")}
  call void @fill(ptr %a0, ptr %a1, i64 %a2)
  ret void
}}
"""
        + _render_uniform(32)
        + _render_uniform(64)
        + _render_normal32()
        + _render_normal64()
        + _render_pairs64()
        + _render_affine64()
        + _render_integers()
        + _render_shuffle()
    )
