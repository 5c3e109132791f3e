"""Kernels that rewrite many arrays in place: the steps of optimizers.

One call covers a table of tensors. Row ``i`` of the table has one array for each name of the rule
(the parameter, its gradient, its state), all of the same length. A chunk of work begins at an
element of one tensor and ends at an element of the same or a later one.

    words = table, arrays in it, plan, numbers, status
    table:   (address, length) of every array, row by row
    plan:    i64 pairs (row, element): where each chunk begins, and after the last, where it ends
    numbers: the rule's coefficients, float64
    status:  an i64 that becomes 1 when the arrays of a row differ in length; the row is left alone
"""

from __future__ import annotations

from collections.abc import Sequence

from .expressions import Expression
from .scalar_ir import ScalarWriter, Unsupported, Value

_SIZES = {"float": 4, "double": 8}


def render_update(
    name: str,
    results: Sequence[Expression],
    arrays: Sequence[str],
    written: Sequence[int],
    numbers: Sequence[str],
    type_: str,
) -> str:
    """The IR of ``void name(i64* words, i64 index, i64 thread)``, a chunk of an update.

    `results` are the new values of the arrays whose positions are `written`, in terms of the names
    in `arrays` and `numbers`. `type_` is "float" or "double".
    """
    inner = _render_inner(name, results, arrays, written, numbers, type_)
    return _render_chunk(name, len(arrays)) + inner


def _render_chunk(name: str, width: int) -> str:
    fields = []
    for i in range(width):
        fields += [
            f"  %address{i} = getelementptr i64, ptr %row, i64 {2 * i}",
            f"  %p{i} = load ptr, ptr %address{i}, align 8",
            f"  %length{i} = getelementptr i64, ptr %row, i64 {2 * i + 1}",
            f"  %n{i} = load i64, ptr %length{i}, align 8",
        ]
    same = "true"
    for i in range(1, width):
        fields.append(f"  %equal{i} = icmp eq i64 %n0, %n{i}")
        fields.append(f"  %same{i} = and i1 {same}, %equal{i}")
        same = f"%same{i}"
    loads = "\n".join(fields)
    pointers = ", ".join(f"ptr %p{i}" for i in range(width))
    return f"""\
define void @{name}(ptr noalias %words, i64 %index, i64 %thread) {{
entry:
  %table = load ptr, ptr %words, align 8
  %plan.word = getelementptr i64, ptr %words, i64 2
  %plan = load ptr, ptr %plan.word, align 8
  %numbers.word = getelementptr i64, ptr %words, i64 3
  %numbers = load ptr, ptr %numbers.word, align 8
  %status.word = getelementptr i64, ptr %words, i64 4
  %status = load ptr, ptr %status.word, align 8
  %entry.at = mul i64 %index, 2
  %begin = getelementptr i64, ptr %plan, i64 %entry.at
  %first = load i64, ptr %begin, align 8
  %start.word = getelementptr i64, ptr %begin, i64 1
  %start = load i64, ptr %start.word, align 8
  %last.word = getelementptr i64, ptr %begin, i64 2
  %last = load i64, ptr %last.word, align 8
  %end.word = getelementptr i64, ptr %begin, i64 3
  %end = load i64, ptr %end.word, align 8
  br label %tensors
tensors:
  %t = phi i64 [ %first, %entry ], [ %t.next, %next ]
  %row.at = mul i64 %t, {2 * width}
  %row = getelementptr i64, ptr %table, i64 %row.at
{loads}
  br i1 {same}, label %work, label %refuse
refuse:
  store i64 1, ptr %status, align 8
  br label %next
work:
  %is.first = icmp eq i64 %t, %first
  %low = select i1 %is.first, i64 %start, i64 0
  %is.last = icmp eq i64 %t, %last
  %high = select i1 %is.last, i64 %end, i64 %n0
  call void @{name}.inner({pointers}, ptr %numbers, i64 %low, i64 %high)
  br label %next
next:
  %t.next = add i64 %t, 1
  %more = icmp sle i64 %t.next, %last
  br i1 %more, label %tensors, label %done
done:
  ret void
}}
"""


def _render_inner(
    name: str,
    results: Sequence[Expression],
    arrays: Sequence[str],
    written: Sequence[int],
    numbers: Sequence[str],
    type_: str,
) -> str:
    """The loop over one tensor's elements; its pointers are declared apart, so it vectorises."""
    w = ScalarWriter()
    values: dict[str, Value] = {}
    for i, number in enumerate(numbers):
        at = w.emit(f"getelementptr double, ptr %numbers, i64 {i}", "ptr")
        value = w.emit(f"load double, ptr {at.name}, align 8", "double")
        if type_ == "float":
            value = w.emit(f"fptrunc double {value.name} to float", "float")
        values[number] = value
    w.lines += [
        "  %entered = icmp slt i64 %low, %high",
        "  br i1 %entered, label %loop, label %done",
        "loop:",
        "  %i = phi i64 [ %low, %entry ], [ %i.next, %loop ]",
    ]
    places = []
    for i, array in enumerate(arrays):
        at = w.emit(f"getelementptr {type_}, ptr %p{i}, i64 %i", "ptr")
        places.append(at)
        values[array] = w.emit(f"load {type_}, ptr {at.name}, align {_SIZES[type_]}", type_)
    new = [w.lower(e, values, type_) for e in results]
    for position, value in zip(written, new, strict=True):
        if value.type != type_:
            raise Unsupported("a truth value as the new value of an array")
        w.lines.append(
            f"  store {type_} {value.name}, ptr {places[position].name}, align {_SIZES[type_]}"
        )
    body = "\n".join(w.lines)
    pointers = ", ".join(f"ptr noalias %p{i}" for i in range(len(arrays)))
    head = f"{pointers}, ptr noalias %numbers, i64 %low, i64 %high"
    declarations = "\n".join(sorted(w.declarations))
    return f"""\
define internal void @{name}.inner({head}) noinline {{
entry:
{body}
  %i.next = add nsw i64 %i, 1
  %more = icmp slt i64 %i.next, %high
  br i1 %more, label %loop, label %done
done:
  ret void
}}
{declarations}
"""
