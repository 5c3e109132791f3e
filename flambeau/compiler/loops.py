"""Loop nests around scalar expressions: element-wise kernels and reductions of rows.

A kernel is ``void chunk(i64* words, i64 index, i64 thread)``; chunk ``index`` covers ``words[1]``
of the ``words[0]`` iterations. Loops are plain and scalar: LLVM vectorises and unrolls them.

Element-wise, flat (all operands contiguous, or one element):
    words = count, chunk, out, operand...
Element-wise, rows (an operand may repeat along rows or columns):
    words = rows, chunk, columns, out, operand..., step of each operand from row to row (bytes)
Reduction of contiguous rows:
    words = rows, chunk, columns, out, operand...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .expressions import Expression
from .scalar_ir import FLAGS, ScalarWriter, Unsupported, Value

_SIZES = {"float": 4, "double": 8, "i8": 1}


class Operand(NamedTuple):
    """An input: its name in the expression, its type in memory, and whether it is one number.

    `type` is "float", "double" or "i8" (a truth value). A `fixed` operand does not move along the
    inner loop.
    """

    name: str
    type: str
    fixed: bool


class _Function:
    """The text of a kernel in the making."""

    def __init__(self, name: str, type_: str) -> None:
        self.writer = ScalarWriter()
        self.name = name
        self.type = type_

    def word(self, number: int) -> Value:
        """The 64-bit word `number` of the arguments."""
        p = self.writer.emit(f"getelementptr i64, ptr %words, i64 {number}", "ptr")
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

    def load(self, operand: Operand, address: Value, index: Value | None) -> Value:
        """An element of `operand`; truth values become i1."""
        w = self.writer
        if index is not None:
            address = w.emit(
                f"getelementptr {operand.type}, ptr {address.name}, i64 {index.name}", "ptr"
            )
        v = w.emit(
            f"load {operand.type}, ptr {address.name}, align {_SIZES[operand.type]}", operand.type
        )
        if operand.type == "i8":
            return w.emit(f"icmp ne i8 {v.name}, 0", "i1")
        if operand.type != self.type:
            raise Unsupported(f"{operand.type} among {self.type}")
        return v

    def store(self, value: Value, out: Value, index: Value, out_type: str) -> None:
        """Put `value` at ``out[index]``."""
        w = self.writer
        if out_type == "i8":
            if value.type != "i1":
                raise Unsupported("a number as truth value")
            value = w.emit(f"zext i1 {value.name} to i8", "i8")
        elif value.type == "i1":
            value = w.emit(f"uitofp i1 {value.name} to {out_type}", out_type)
        elif value.type != out_type:
            value = w.emit(f"fpext {value.type} {value.name} to {out_type}", out_type)
        p = w.emit(f"getelementptr {out_type}, ptr {out.name}, i64 {index.name}", "ptr")
        w.lines.append(f"  store {out_type} {value.name}, ptr {p.name}, align {_SIZES[out_type]}")

    def open_loop(self, label: str, low: Value, high: Value, before: str) -> Value:
        """Begin ``for i in low..high``; the caller ends it with `close_loop`."""
        w = self.writer
        entered = w.compare("slt", low, high)
        w.lines += [
            f"  br i1 {entered.name}, label %{label}, label %{label}.done",
            f"{label}:",
            f"  %{label}.i = phi i64 [ {low.name}, %{before} ], [ %{label}.next, %{label}.latch ]",
        ]
        return Value(f"%{label}.i", "i64")

    def close_loop(self, label: str, high: Value) -> None:
        """End the loop `label`."""
        self.writer.lines += [
            f"  br label %{label}.latch",
            f"{label}.latch:",
            f"  %{label}.next = add nsw i64 %{label}.i, 1",
            f"  %{label}.more = icmp slt i64 %{label}.next, {high.name}",
            f"  br i1 %{label}.more, label %{label}, label %{label}.done",
            f"{label}.done:",
        ]

    def text(self) -> str:
        """The module."""
        body = "\n".join(self.writer.lines)
        declarations = "\n".join(sorted(self.writer.declarations))
        return (
            f"define void @{self.name}(ptr noalias %words, i64 %index, i64 %thread) {{\nentry:\n"
            f"{body}\n  ret void\n}}\n{declarations}\n"
        )


def render_flat(
    name: str, e: Expression, operands: Sequence[Operand], type_: str, out_type: str
) -> str:
    """The IR of an element-wise kernel over contiguous operands.

    The loop sits in a function of its own whose pointers are declared not to overlap, which is what
    lets LLVM vectorise it.
    """
    f = _Function(name, type_)
    low, high = f.bounds()
    pointers = [f.pointer(2 + i) for i in range(len(operands) + 1)]
    _call_inner(f, pointers, [], low, high)
    inner = _render_inner(name, e, operands, type_, out_type)
    return f.text() + inner


def _call_inner(
    f: _Function, pointers: Sequence[Value], extra: Sequence[Value], low: Value, high: Value
) -> None:
    arguments = [f"ptr {p.name}" for p in pointers] + [f"i64 {v.name}" for v in (*extra, low, high)]
    f.writer.lines.append(f"  call void @{f.name}.inner({', '.join(arguments)})")


def _render_inner(
    name: str, e: Expression, operands: Sequence[Operand], type_: str, out_type: str
) -> str:
    f = _Function(f"{name}.inner", type_)
    low, high = Value("%low", "i64"), Value("%high", "i64")
    values = {
        o.name: f.load(o, Value(f"%p{i}", "ptr"), None) for i, o in enumerate(operands) if o.fixed
    }
    index = f.open_loop("loop", low, high, "entry")
    for i, o in enumerate(operands):
        if not o.fixed:
            values[o.name] = f.load(o, Value(f"%p{i}", "ptr"), index)
    result = f.writer.lower(e, values, type_)
    f.store(result, Value("%out", "ptr"), index, out_type)
    f.close_loop("loop", high)
    parameters = ["ptr noalias %out"] + [f"ptr noalias %p{i}" for i in range(len(operands))]
    head = ", ".join([*parameters, "i64 %low", "i64 %high"])
    body = "\n".join(f.writer.lines)
    return (
        f"define internal void @{f.name}({head}) noinline {{\nentry:\n{body}\n  ret void\n}}\n"
        + "\n".join(sorted(f.writer.declarations))
        + "\n"
    )


def render_rows(
    name: str, e: Expression, operands: Sequence[Operand], type_: str, out_type: str
) -> str:
    """The IR of an element-wise kernel whose operands step from row to row as they please."""
    f = _Function(name, type_)
    w = f.writer
    low, high = f.bounds()
    columns, out = f.word(2), f.pointer(3)
    pointers = [f.pointer(4 + i) for i in range(len(operands))]
    steps = [f.word(4 + len(operands) + i) for i in range(len(operands))]
    row = f.open_loop("rows", low, high, "entry")
    start = w.emit(f"mul i64 {row.name}, {columns.name}", "i64")
    target = w.emit(f"getelementptr {out_type}, ptr {out.name}, i64 {start.name}", "ptr")
    sources = []
    for p, step in zip(pointers, steps, strict=True):
        offset = w.emit(f"mul i64 {row.name}, {step.name}", "i64")
        sources.append(w.emit(f"getelementptr i8, ptr {p.name}, i64 {offset.name}", "ptr"))
    _call_inner(f, [target, *sources], [], Value("0", "i64"), columns)
    f.close_loop("rows", high)
    return f.text() + _render_inner(name, e, operands, type_, out_type)


BLOCK = 512
"""Elements that are folded in the operand's own precision before they meet the wide accumulator."""


def render_row_reduction(
    name: str, e: Expression, operands: Sequence[Operand], type_: str, fold: str
) -> str:
    """The IR of a kernel that folds each row of the expression's values by `fold`.

    `fold` is "sum" (out is float64: blocks of `BLOCK` are added in the operand's type, the blocks
    in float64), "maximum" or "minimum" (NaN wins; rows must not be empty).
    """
    out_type = "double" if fold == "sum" else type_
    f = _Function(name, type_)
    w = f.writer
    low, high = f.bounds()
    columns, out = f.word(2), f.pointer(3)
    pointers = [f.pointer(4 + i) for i in range(len(operands))]
    row = f.open_loop("rows", low, high, "entry")
    start = w.emit(f"mul i64 {row.name}, {columns.name}", "i64")
    sources = [
        p if o.fixed else w.emit(f"getelementptr {o.type}, ptr {p.name}, i64 {start.name}", "ptr")
        for o, p in zip(operands, pointers, strict=True)
    ]
    arguments = ", ".join([*(f"ptr {s.name}" for s in sources), f"i64 {columns.name}"])
    result = w.emit(f"call {out_type} @{name}.row({arguments})", out_type)
    f.store(result, out, row, out_type)
    f.close_loop("rows", high)
    if fold == "sum":
        return f.text() + _render_row_sum(name, e, operands, type_)
    return f.text() + _render_fold(f"{name}.row", e, operands, type_, fold, type_)


def _head(name: str, operands: Sequence[Operand], type_: str) -> str:
    parameters = [f"ptr noalias %p{i}" for i in range(len(operands))]
    return f"define internal {type_} @{name}({', '.join([*parameters, 'i64 %n'])}) {{\nentry:\n"


def _render_row_sum(name: str, e: Expression, operands: Sequence[Operand], type_: str) -> str:
    moved = "\n".join(
        f"  %q{i} = getelementptr {o.type}, ptr %p{i}, i64 {0 if o.fixed else '%at'}"
        for i, o in enumerate(operands)
    )
    arguments = ", ".join([*(f"ptr %q{i}" for i in range(len(operands))), "i64 %length"])
    widen = "  %wide = fpext float %part to double" if type_ == "float" else (
        "  %wide = fadd double %part, 0.0"
    )  # fmt: skip
    body = f"""\
  %empty = icmp sle i64 %n, 0
  br i1 %empty, label %none, label %loop
none:
  ret double 0.0
loop:
  %at = phi i64 [ 0, %entry ], [ %next, %loop ]
  %total = phi double [ 0.0, %entry ], [ %sum, %loop ]
  %left = sub i64 %n, %at
  %long = icmp sgt i64 %left, {BLOCK}
  %length = select i1 %long, i64 {BLOCK}, i64 %left
{moved}
  %part = call {type_} @{name}.block({arguments})
{widen}
  %sum = fadd double %total, %wide
  %next = add i64 %at, {BLOCK}
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret double %sum
}}
"""
    return (
        _head(f"{name}.row", operands, "double")
        + body
        + _render_fold(f"{name}.block", e, operands, type_, "sum", type_)
    )


def _render_fold(
    name: str, e: Expression, operands: Sequence[Operand], type_: str, fold: str, out_type: str
) -> str:
    f = _Function(name, type_)
    w = f.writer
    identity = {"sum": 0.0, "maximum": float("-inf"), "minimum": float("inf")}[fold]
    values = {
        o.name: f.load(o, Value(f"%p{i}", "ptr"), None) for i, o in enumerate(operands) if o.fixed
    }
    high = Value("%n", "i64")
    entered = w.compare("slt", Value("0", "i64"), high)
    start = w.const(identity, type_)
    w.lines += [
        f"  br i1 {entered.name}, label %loop, label %loop.done",
        "loop:",
        "  %loop.i = phi i64 [ 0, %entry ], [ %loop.next, %loop.latch ]",
        f"  %folded = phi {type_} [ {start.name}, %entry ], [ %new, %loop.latch ]",
    ]
    for i, o in enumerate(operands):
        if not o.fixed:
            values[o.name] = f.load(o, Value(f"%p{i}", "ptr"), Value("%loop.i", "i64"))
    v = w.lower(e, values, type_)
    if fold == "sum":
        w.lines.append(f"  %new = fadd reassoc {FLAGS} {type_} %folded, {v.name}")
    else:
        suffix = {"float": "f32", "double": "f64"}[type_]
        w.declarations.add(f"declare {type_} @llvm.{fold}.{suffix}({type_}, {type_})")
        w.lines.append(
            f"  %new = call {type_} @llvm.{fold}.{suffix}({type_} %folded, {type_} {v.name})"
        )
    f.close_loop("loop", high)
    w.lines += [
        f"  %result = phi {type_} [ {start.name}, %entry ], [ %new, %loop.latch ]",
        f"  ret {type_} %result",
    ]
    return (
        _head(name, operands, out_type)
        + "\n".join(w.lines)
        + "\n}\n"
        + "\n".join(sorted(w.declarations))
        + "\n"
    )
