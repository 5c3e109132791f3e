"""What each name of the loop language is in LLVM IR."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from . import gemm_block, language
from .scalar_ir import Value
from .translate_values import (
    MARKERS,
    STORAGE,
    Constant,
    KernelError,
    Operand,
    Pointer,
    ValueTranslator,
)

Translator = ValueTranslator


def _float(t: Translator, v: Operand) -> Value:
    """An operand as a float of the type it has, or of the kernel's."""
    v = t.number(v)
    return v if v.type in ("float", "double") else t.widen(v, t.module.number)


def _unary(method: str) -> Callable[..., Value]:
    return lambda t, x: getattr(t.w, method)(_float(t, x))


def _intrinsic(name: str) -> Callable[..., Value]:
    return lambda t, x: t.w.intrinsic(name, _float(t, x))


def _to(type_: str) -> Callable[..., Value]:
    return lambda t, x: t.cast(x, type_)


def _to_element(letter: str) -> Callable[..., Value]:
    def convert(t: Translator, x: Operand) -> Value:
        if letter not in t.module.types:
            raise KernelError(f"no array of this kernel has elements {letter}")
        return t.cast(x, STORAGE[t.module.types[letter]].compute)

    return convert


def _pair(t: Translator, a: Operand, b: Operand) -> tuple[Value, Value]:
    return t.meet_or_pair(a, b)


def _choose(floating: str, integer: str) -> Callable[..., Operand]:
    """Python's min or max: the first operand unless the second is strictly beyond it."""

    def lower(t: Translator, a: Operand, b: Operand) -> Operand:
        if isinstance(a, Constant) and isinstance(b, Constant):
            return Constant((max if floating == "ogt" else min)(a.value, b.value))
        x, y = _pair(t, a, b)
        beyond = t.w.compare(floating if x.type in ("float", "double") else integer, y, x)
        return t.w.select(beyond, y, x)

    return lower


def _extremum(predicate: str) -> Callable[..., Value]:
    def lower(t: Translator, a: Operand, b: Operand) -> Value:
        x, y = _pair(t, a, b)
        if x.type == "i64":
            return t.w.select(t.w.compare({"ogt": "sgt", "olt": "slt"}[predicate], x, y), x, y)
        return t.w.extremum(x, y, predicate)

    return lower


def _fold(predicate: str, integer: str) -> Callable[..., Value]:
    """A maximum or minimum that LLVM recognises as a fold of a vector loop."""

    def lower(t: Translator, a: Operand, b: Operand) -> Value:
        x, y = _pair(t, a, b)
        if x.type == "i64":
            return t.w.select(t.w.compare(integer, x, y), x, y)
        beyond = t.w.emit(f"fcmp nnan nsz {predicate} {x.type} {x.name}, {y.name}", "i1")
        return t.w.emit(
            f"select nnan nsz i1 {beyond.name}, {x.type} {x.name}, {y.type} {y.name}", x.type
        )

    return lower


def _absolute(t: Translator, v: Operand) -> Operand:
    if isinstance(v, Constant):
        return Constant(abs(v.value))
    if v.type == "i64":
        return t.w.select(t.w.compare("slt", v, Value("0", "i64")), _minus(t, v), v)
    return t.w.intrinsic("fabs", v)


def _local(t: Translator, element: Operand, size: Operand) -> Pointer:
    if not isinstance(size, Constant) or not isinstance(element, Constant):
        raise KernelError("local needs an element type and a constant size")
    if element.value in (language.T, language.S):
        kind = t.module.types[element.value.__name__]
        kind = {"float": "f32", "double": "f64"}.get(STORAGE[kind].compute, kind)
    else:
        kind = MARKERS[element.value]
    address = f"%local.{len(t.slots)}"
    memory = STORAGE[kind].memory
    t.slots.append(f"  {address} = alloca [{size.value} x {memory}], align 64")
    return Pointer(address, kind)


def _elements_at(t: Translator, like: Operand, address: Operand, count: Operand) -> Pointer:
    if not isinstance(like, Pointer):
        raise KernelError("elements_at needs an array whose element type it takes")
    word = t.convert(address, "i64")
    return Pointer(t.w.emit(f"inttoptr i64 {word.name} to ptr", "ptr").name, like.element)


def _copy(t: Translator, target: Operand, source: Operand, count: Operand) -> Operand:
    if target.type != "ptr" or source.type != "ptr" or target.element != source.element:
        raise KernelError("copy takes two arrays of one element type")
    n = t.arithmetic(ast.Mult(), count, Constant(STORAGE[target.element].size))
    size = t.convert(n, "i64")
    t.module.add_text("copy_bytes", lambda: _COPY_BYTES)
    t.w.lines.append(
        f"  call void @copy_bytes(ptr {target.name}, ptr {source.name}, i64 {size.name})"
    )
    return Constant(None)


# A load is held up by an earlier store whose address agrees with its own in the last twelve bits.
# Where the target is that little ahead of the source, copying from the end on avoids it.
_COPY_BYTES = """
define internal void @copy_bytes(ptr %to, ptr %from, i64 %n) {
entry:
  %t = ptrtoint ptr %to to i64
  %f = ptrtoint ptr %from to i64
  %apart = sub i64 %t, %f
  %ahead = and i64 %apart, 4095
  %less = sub i64 %ahead, 1
  %near = icmp ult i64 %less, 1023
  %long = icmp uge i64 %n, 256
  %turn = and i1 %near, %long
  br i1 %turn, label %back, label %plain
plain:
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %n, i1 false)
  ret void
back:
  %left = phi i64 [%n, %entry], [%at, %back]
  %down = sub i64 %left, 256
  %short = icmp slt i64 %down, 0
  %at = select i1 %short, i64 0, i64 %down
  %p = getelementptr i8, ptr %from, i64 %at
  %q = getelementptr i8, ptr %to, i64 %at
  %v = load <256 x i8>, ptr %p, align 1
  store <256 x i8> %v, ptr %q, align 1
  %more = icmp sgt i64 %at, 0
  br i1 %more, label %back, label %done
done:
  ret void
}
"""


def _fma(t: Translator, a: Operand, b: Operand, c: Operand) -> Value:
    x, y = _pair(t, a, b)
    x, z = _pair(t, x, c)
    y = t.convert(y, x.type)
    return t.w.fma(x, y, z)


def _libm(t: Translator, function: Operand, *arguments: Operand) -> Value:
    if not isinstance(function, Constant) or not isinstance(function.value, str):
        raise KernelError("libm takes the name of a function")
    values = [t.convert(a, "double") for a in arguments]
    types = ", ".join(v.type for v in values)
    t.module.declarations.add(f"declare double @{function.value}({types})")
    passed = ", ".join(f"double {v.name}" for v in values)
    return t.w.emit(f"call double @{function.value}({passed})", "double")


def _isnan(t: Translator, v: Operand) -> Value:
    v = t.number(v)
    return t.w.compare("uno", v, v) if v.type in ("float", "double") else Value("false", "i1")


def _select(t: Translator, condition: Operand, a: Operand, b: Operand) -> Value:
    x, y = _pair(t, a, b)
    return t.w.select(t.truth(condition), x, y)


def _shift_right(t: Translator, v: Operand, by: Operand) -> Value:
    x, n = t.convert(v, "i64"), t.convert(by, "i64")
    return t.w.emit(f"lshr i64 {x.name}, {n.name}", "i64")


def _bits(t: Translator, v: Operand) -> Value:
    v = t.number(v)
    if v.type == "double":
        return t.w.emit(f"bitcast double {v.name} to i64", "i64")
    narrow = t.w.emit(f"bitcast float {v.name} to i32", "i32")
    return t.w.emit(f"sext i32 {narrow.name} to i64", "i64")


def _transpose_tile(
    t: Translator, source: Operand, step: Operand, target: Operand, to_step: Operand, size: Operand
) -> Operand:
    """Rows as vectors, whose lanes are exchanged over distances 1, 2, 4, ... (Eklundh, 1972)."""
    n, memory = size.value, STORAGE[source.element].memory
    vector, align = f"<{n} x {memory}>", STORAGE[source.element].size

    def row(p: Operand, by: Operand, r: int) -> str:
        at = t.arithmetic(ast.Mult(), by, Constant(r))
        return t.offset(p, t.convert(at, "i64")).name

    rows = [t.w.emit(f"load {vector}, ptr {row(source, step, r)}, align {align}", vector)
            for r in range(n)]  # fmt: skip
    distance = 1
    while distance < n:
        for i in (i for i in range(n) if not i & distance):
            a, b = rows[i], rows[i + distance]
            low = [j + n - distance if j & distance else j for j in range(n)]
            high = [j + n if j & distance else j + distance for j in range(n)]
            rows[i], rows[i + distance] = (
                t.w.emit(
                    f"shufflevector {vector} {a.name}, {vector} {b.name}, <{n} x i32> "
                    f"<{', '.join(f'i32 {lane}' for lane in lanes)}>",
                    vector,
                )
                for lanes in (low, high)
            )
        distance *= 2
    for r, v in enumerate(rows):
        t.w.lines.append(f"  store {vector} {v.name}, ptr {row(target, to_step, r)}, align {align}")
    return Constant(None)


def _minus(t: Translator, v: Value) -> Operand:
    return t.arithmetic(ast.Sub(), Constant(0), v)


def _block(
    render: Callable[[str, str], str], names: tuple[str, ...], words: str = ""
) -> Callable[..., Operand]:
    """A call of a function of `gemm_block`, whose text joins the module.

    `words` names what float32 elements hold, if not numbers (see `vectors`).
    """

    def lower(t: Translator, *args: Operand) -> Operand:
        if len(args) != len(names):
            raise KernelError(f"a block takes {', '.join(names)}")
        kinds = {a.element for a in args if isinstance(a, Pointer)}
        dtype = {"f32": "float32", "f64": "float64"}.get(kinds.pop()) if len(kinds) == 1 else None
        if dtype is None:
            raise KernelError("the matrices of a block are all float32 or all float64")
        if words:
            if dtype != "float32":
                raise KernelError(f"{words} are held by float32")
            dtype = words
        name = f"{render.__name__}.{dtype}"
        t.module.add_text(name, lambda: render(name, dtype))
        given = [a if isinstance(a, Pointer) else t.convert(a, "i64") for a in args]
        t.w.lines.append(f"  call void @{name}({', '.join(f'{v.type} {v.name}' for v in given)})")
        return Constant(None)

    return lower


LOWERINGS: dict[Any, Callable[..., Operand]] = {
    language.multiply_block: _block(gemm_block.render_block, gemm_block.BLOCK_ARGUMENTS),
    language.multiply_pairs: _block(
        gemm_block.render_block, gemm_block.BLOCK_ARGUMENTS, "bfloat16x2"
    ),
    language.transpose_block: _block(gemm_block.render_transpose, gemm_block.TRANSPOSE_ARGUMENTS),
    language.exp: _unary("exp"),
    language.decay: _unary("decay"),
    language.log: _unary("log"),
    language.tanh: _unary("tanh"),
    language.sigmoid: _unary("sigmoid"),
    language.erf: _unary("erf"),
    language.sqrt: _intrinsic("sqrt"),
    language.floor: _intrinsic("floor"),
    language.ceil: _intrinsic("ceil"),
    language.nearest: _intrinsic("roundeven"),
    language.fma: _fma,
    language.libm: _libm,
    language.rounded: _intrinsic("arithmetic.fence"),
    language.maximum: _extremum("ogt"),
    language.minimum: _extremum("olt"),
    language.larger: _fold("ogt", "sgt"),
    language.smaller: _fold("olt", "slt"),
    language.isnan: _isnan,
    language.select: _select,
    language.shift_right: _shift_right,
    language.bits: _bits,
    language.local: _local,
    language.copy: _copy,
    language.elements_at: _elements_at,
    language.transpose_tile: _transpose_tile,
    language.truncated: lambda t, v: t.w.emit(f"fptosi {v.type} {v.name} to i64", "i64"),
    language.f32: _to("float"),
    language.f64: _to("double"),
    language.T: _to_element("T"),
    language.S: _to_element("S"),
    abs: _absolute,
    int: _to("i64"),
    float: lambda t, v: t.cast(v, t.module.number),
    bool: _to("i1"),
    max: _choose("ogt", "sgt"),
    min: _choose("olt", "slt"),
}
