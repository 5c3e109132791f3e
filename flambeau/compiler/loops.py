"""Loop nests around scalar expressions: the element-wise kernels.

A kernel is ``void chunk(i64* words, i64 index, i64 thread)``; chunk ``index`` covers ``words[1]``
of the ``words[0]`` iterations. Loops are plain and scalar: LLVM vectorises and unrolls them.

Flat (every operand is contiguous, or one element):
    words = count, chunk, out, operand...
Nest of loops (operands step as they please along each dimension):
    words = rows, chunk, table, out, operand...
where `table` has the length of the innermost loop, the lengths of the others from the second on,
and for each array, the result first, its steps in bytes, the outermost first.

The result may be one of the operands, element for element; it must not overlap any otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .elements import STORAGE, load_element, store_element
from .expressions import Expression
from .scalar_ir import ScalarWriter, Unsupported, Value

# Every access of the inner loop belongs to one group, and iterations are independent in it.
_NOTE = ", !llvm.access.group !0"
_METADATA = """\
!0 = distinct !{}
!1 = distinct !{!1, !2}
!2 = !{!"llvm.loop.parallel_accesses", !0}
"""


class Operand(NamedTuple):
    """An array: its name in the expression, its kind of elements, its step in the inner loop.

    `step` is "unit" (contiguous), "fixed" (one element for the whole inner loop) or "strided".
    """

    name: str
    kind: str
    step: str = "unit"


class _Function:
    """The text of a function in the making."""

    def __init__(self, quick: bool = False) -> None:
        self.writer = ScalarWriter(quick=quick)

    def word(self, number: int, base: str = "%words") -> Value:
        """The 64-bit word `number` of the arguments, or of another table."""
        p = self.writer.emit(f"getelementptr i64, ptr {base}, i64 {number}", "ptr")
        return self.writer.emit(f"load i64, ptr {p.name}, align 8", "i64")

    def pointer(self, number: int) -> Value:
        """The word `number` as an address."""
        return self.writer.emit(f"inttoptr i64 {self.word(number).name} to ptr", "ptr")

    def bounds(self) -> tuple[Value, Value]:
        """First iteration of this chunk, and the one after the last."""
        w, total, chunk = self.writer, self.word(0), self.word(1)
        low = w.emit(f"mul i64 %index, {chunk.name}", "i64")
        end = w.emit(f"add i64 {low.name}, {chunk.name}", "i64")
        over = w.compare("sgt", end, total)
        return low, w.select(over, total, end)

    def open_loop(self, label: str, low: Value, high: Value) -> Value:
        """Begin ``for i in low..high``, out of the block ``entry``."""
        entered = self.writer.compare("slt", low, high)
        self.writer.lines += [
            f"  br i1 {entered.name}, label %{label}, label %{label}.done",
            f"{label}:",
            f"  %{label}.i = phi i64 [ {low.name}, %entry ], [ %{label}.next, %{label}.latch ]",
        ]
        return Value(f"%{label}.i", "i64")

    def close_loop(self, label: str, high: Value, note: str = "") -> None:
        """End the loop `label`."""
        self.writer.lines += [
            f"  br label %{label}.latch",
            f"{label}.latch:",
            f"  %{label}.next = add nsw i64 %{label}.i, 1",
            f"  %{label}.more = icmp slt i64 %{label}.next, {high.name}",
            f"  br i1 %{label}.more, label %{label}, label %{label}.done{note}",
            f"{label}.done:",
        ]

    def text(self, head: str, end: str = "ret void") -> str:
        """The function, without what it declares."""
        body = "\n".join(self.writer.lines)
        return f"define {head} {{\nentry:\n{body}\n  {end}\n}}\n"


def render_flat(
    name: str, e: Expression, operands: Sequence[Operand], type_: str, out: Operand
) -> str:
    """The IR of an element-wise kernel over contiguous operands, computed in `type_`."""
    f = _Function()
    low, high = f.bounds()
    pointers = [f.pointer(2 + i) for i in range(len(operands) + 1)]
    _call_inner(f, name, pointers, [], low, high)
    return _module(name, f, e, operands, type_, out)


def render_nest(
    name: str, e: Expression, operands: Sequence[Operand], type_: str, out: Operand, outer: int
) -> str:
    """The IR of an element-wise kernel of `outer` loops around the inner one."""
    f = _Function()
    w = f.writer
    low, high = f.bounds()
    arrays = (out, *operands)
    table = f.pointer(2)
    columns = f.word(0, table.name)
    lengths = [f.word(1 + k, table.name) for k in range(outer - 1)]
    steps = [
        [f.word(outer + a * (outer + 1) + k, table.name) for k in range(outer + 1)]
        for a in range(len(arrays))
    ]
    bases = [f.pointer(3 + i) for i in range(len(arrays))]
    row = f.open_loop("rows", low, high)
    places = _places(w, row, lengths)
    pointers = []
    for base, own in zip(bases, steps, strict=True):
        for place, step in zip(places, own, strict=False):
            offset = w.emit(f"mul i64 {place.name}, {step.name}", "i64")
            base = w.emit(f"getelementptr i8, ptr {base.name}, i64 {offset.name}", "ptr")
        pointers.append(base)
    strides = [own[-1] for a, own in zip(arrays, steps, strict=True) if a.step == "strided"]
    _call_inner(f, name, pointers, strides, Value("0", "i64"), columns)
    f.close_loop("rows", high)
    return _module(name, f, e, operands, type_, out)


def _places(w: ScalarWriter, row: Value, lengths: Sequence[Value]) -> list[Value]:
    """The index along each outer dimension of the iteration `row`."""
    places = []
    for length in reversed(lengths):
        places.append(w.emit(f"urem i64 {row.name}, {length.name}", "i64"))
        row = w.emit(f"udiv i64 {row.name}, {length.name}", "i64")
    return [row, *reversed(places)]


def _call_inner(
    f: _Function, name: str, pointers: Sequence[Value], strides: Sequence[Value],
    low: Value, high: Value,
) -> None:  # fmt: skip
    words = [f"i64 {v.name}" for v in (*strides, low, high)]
    arguments = ", ".join([*(f"ptr {p.name}" for p in pointers), *words])
    f.writer.lines.append(f"  call void @{name}.inner({arguments})")


def _module(
    name: str, f: _Function, e: Expression, operands: Sequence[Operand], type_: str, out: Operand
) -> str:
    outer = f.text(f"void @{name}(ptr noalias %words, i64 %index, i64 %thread)")
    text, declarations = _render_inner(f"{name}.inner", e, operands, type_, out)
    return "\n".join([outer + text, *sorted(declarations), _METADATA])


def _render_inner(
    name: str, e: Expression, operands: Sequence[Operand], type_: str, out: Operand
) -> tuple[str, set[str]]:
    """The inner loop, a function of its own: void (out, operand..., stride..., low, high).

    With it come the declarations. Where the expression has a quick way, blocks of elements are
    looked through first, and take the long way only if one of theirs needs it.
    """
    names = _inner_parameters(operands, out)
    head = ", ".join(names)
    loop, quick = _inner_loop(e, operands, type_, out, quick=True)
    if not quick.guards:
        return loop.text(f"internal void @{name}({head}) noinline"), quick.declarations
    full, long = _inner_loop(e, operands, type_, out, quick=False)
    guard, seen = _guard_loop(e, operands, type_)
    texts = [
        loop.text(f"internal void @{name}.quick({head}) noinline"),
        full.text(f"internal void @{name}.full({head}) noinline"),
        guard.text(f"internal i64 @{name}.guard({head}) noinline", "ret i64 %rare"),
        _BLOCKS.format(name=name, head=head, block=_BLOCK, names=", ".join(names[:-2])),
    ]
    return "".join(texts), quick.declarations | long.declarations | seen.declarations


_BLOCK = 512
"""Elements that are looked through, and then computed, while they are in the nearest cache."""
_BLOCKS = """\
define internal void @{name}({head}) noinline {{
entry:
  %some = icmp slt i64 %low, %high
  br i1 %some, label %block, label %done
block:
  %from = phi i64 [ %low, %entry ], [ %next, %latch ]
  %next = add nsw i64 %from, {block}
  %over = icmp sgt i64 %next, %high
  %to = select i1 %over, i64 %high, i64 %next
  %rare = call i64 @{name}.guard({names}, i64 %from, i64 %to)
  %any = icmp ne i64 %rare, 0
  br i1 %any, label %long, label %short
long:
  call void @{name}.full({names}, i64 %from, i64 %to)
  br label %latch
short:
  call void @{name}.quick({names}, i64 %from, i64 %to)
  br label %latch
latch:
  %more = icmp slt i64 %next, %high
  br i1 %more, label %block, label %done
done:
  ret void
}}
"""


def _inner_parameters(operands: Sequence[Operand], out: Operand) -> list[str]:
    strides = [
        f"i64 {p}.step"
        for p, o in (("%out", out), *((f"%p{i}", o) for i, o in enumerate(operands)))
        if o.step == "strided"
    ]
    pointers = ["ptr %out", *(f"ptr %p{i}" for i in range(len(operands)))]
    return [*pointers, *strides, "i64 %low", "i64 %high"]


def _loaded(
    w: ScalarWriter, operands: Sequence[Operand], type_: str, index: Value, fixed: dict[str, Value]
) -> dict[str, Value]:
    """The operands' elements as numbers to compute with."""
    values = dict(fixed)
    for i, o in enumerate(operands):
        if o.step != "fixed":
            values[o.name] = load_element(w, _address(w, o, f"%p{i}", index), o.kind, _NOTE)
    return {n: v if v.type == "i1" else w.convert(v, type_) for n, v in values.items()}


def _fixed(w: ScalarWriter, operands: Sequence[Operand]) -> dict[str, Value]:
    return {
        o.name: load_element(w, Value(f"%p{i}", "ptr"), o.kind)
        for i, o in enumerate(operands)
        if o.step == "fixed"
    }


def _inner_loop(
    e: Expression, operands: Sequence[Operand], type_: str, out: Operand, *, quick: bool
) -> tuple[_Function, ScalarWriter]:
    f = _Function(quick)
    w = f.writer
    low, high = Value("%low", "i64"), Value("%high", "i64")
    fixed = _fixed(w, operands)
    index = f.open_loop("loop", low, high)
    numbers = _loaded(w, operands, type_, index, fixed)
    result = _as_stored(w, w.lower(e, numbers, type_), out.kind)
    store_element(w, _address(w, out, "%out", index), out.kind, result, _NOTE)
    f.close_loop("loop", high, ", !llvm.loop !1")
    return f, w


def _guard_loop(
    e: Expression, operands: Sequence[Operand], type_: str
) -> tuple[_Function, ScalarWriter]:
    """The loop that finds whether any element is one that the quick way is wrong for."""
    f = _Function(quick=True)
    w = f.writer
    low, high = Value("%low", "i64"), Value("%high", "i64")
    found = w.emit("alloca i64", "ptr")
    w.lines.append(f"  store i64 0, ptr {found.name}, align 8")
    fixed = _fixed(w, operands)
    index = f.open_loop("loop", low, high)
    w.lower(e, _loaded(w, operands, type_, index, fixed), type_)
    before = w.emit(f"load i64, ptr {found.name}, align 8", "i64")
    for rare in w.guards:
        word = w.emit(f"zext i1 {rare.name} to i64", "i64")
        before = w.binary("or", before, word)
    w.lines.append(f"  store i64 {before.name}, ptr {found.name}, align 8")
    f.close_loop("loop", high)
    w.lines.append(f"  %rare = load i64, ptr {found.name}, align 8")
    return f, w


def _address(w: ScalarWriter, o: Operand, base: str, index: Value) -> Value:
    """Where element `index` of an operand lies."""
    if o.step == "unit":
        memory = STORAGE[o.kind].memory
        return w.emit(f"getelementptr {memory}, ptr {base}, i64 {index.name}", "ptr")
    offset = w.emit(f"mul i64 {index.name}, {base}.step", "i64")
    return w.emit(f"getelementptr i8, ptr {base}, i64 {offset.name}", "ptr")


def _as_stored(w: ScalarWriter, value: Value, kind: str) -> Value:
    """`value` in the compute type of an element."""
    type_ = STORAGE[kind].compute
    if type_ == "i1" and value.type != "i1":
        raise Unsupported("a number as truth value")
    if value.type in ("float", "double") and type_ == "i64":
        raise Unsupported("a float as integer")
    return w.convert(value, type_)


def render_alike(name: str, count: int) -> str:
    """The IR of ``i64 name(i64* words)``: whether arrays are contiguous and of one shape.

    The words are the bytes of an element, then for each of `count` arrays its address, rank,
    lengths and steps. The answer is -1 if not, else 16 times the number of elements, plus a bit for
    each array (at most four, the first the lowest) that is a single number, which fits any shape.
    """
    loads = "\n".join(
        f"  %{word}{i}.at = getelementptr i64, ptr %words, i64 {1 + 4 * i + k}\n"
        f"  %{word}{i} = load {type_}, ptr %{word}{i}.at, align 8"
        for i in range(count)
        for k, word, type_ in ((1, "rank", "i64"), (2, "lengths", "ptr"), (3, "steps", "ptr"))
    )
    calls = "\n".join(
        f"  %s{i + 1} = call i64 @{name}.join(i64 {f'%s{i}' if i else 0}, i64 %size, "
        f"i64 %rank{i}, ptr %lengths{i}, ptr %steps{i}, ptr %like, i64 {1 << i})"
        for i in range(count)
    )
    return f"""\
define i64 @{name}(ptr %words) {{
  %like = alloca [2 x i64], align 8
  store i64 -1, ptr %like, align 8
  %size = load i64, ptr %words, align 8
{loads}
{calls}
  ret i64 %s{count}
}}
{_JOIN.replace("@join", f"@{name}.join")}"""


# One more array: `sum` is the answer so far, `like` holds the rank and the lengths to be met.
_JOIN = """\
define internal i64 @join(i64 %sum, i64 %size, i64 %rank, ptr %lengths, ptr %steps, ptr %like,
                          i64 %bit) {
entry:
  %refused = icmp slt i64 %sum, 0
  br i1 %refused, label %no, label %some
some:
  %number = icmp eq i64 %rank, 0
  br i1 %number, label %mark, label %shaped
mark:
  %marked = or i64 %sum, %bit
  ret i64 %marked
shaped:
  %known = load i64, ptr %like, align 8
  %first = icmp slt i64 %known, 0
  %fits = icmp eq i64 %known, %rank
  %go = or i1 %first, %fits
  %model.at = getelementptr i64, ptr %like, i64 1
  br i1 %go, label %model, label %no
model:
  br i1 %first, label %set, label %get
set:
  store i64 %rank, ptr %like, align 8
  store ptr %lengths, ptr %model.at, align 8
  br label %get
get:
  %others = load ptr, ptr %model.at, align 8
  %top = sub i64 %rank, 1
  br label %axis
axis:
  %k = phi i64 [ %top, %get ], [ %below, %next ]
  %step = phi i64 [ %size, %get ], [ %wider, %next ]
  %a.at = getelementptr i64, ptr %lengths, i64 %k
  %b.at = getelementptr i64, ptr %others, i64 %k
  %s.at = getelementptr i64, ptr %steps, i64 %k
  %a = load i64, ptr %a.at, align 8
  %b = load i64, ptr %b.at, align 8
  %s = load i64, ptr %s.at, align 8
  %same = icmp eq i64 %a, %b
  %dense = icmp eq i64 %s, %step
  %one = icmp eq i64 %a, 1
  %loose = or i1 %dense, %one
  %ok = and i1 %same, %loose
  br i1 %ok, label %next, label %no
next:
  %wider = mul i64 %step, %a
  %below = sub i64 %k, 1
  %more = icmp sge i64 %below, 0
  br i1 %more, label %axis, label %yes
yes:
  %count = sdiv i64 %wider, %size
  %shifted = shl i64 %count, 4
  %bits = and i64 %sum, 15
  %all = or i64 %shifted, %bits
  ret i64 %all
no:
  ret i64 -1
}
"""
