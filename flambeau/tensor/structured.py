"""The functions of ops that are declared as functions of arrays: unwrap, compute, wrap, record.

Each is written out as straight lines: what an op does not have (optional arguments, lists, several
results, a derivative, ``out``) is not in its function. ``generated.source_of("softmax")`` shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..autograd.grad_mode import FAST
from ..ops.record import Op
from . import apply, core, outputs, views
from .arguments import (
    MISSING,
    argument_text,
    call_text,
    missing_argument,
    other_arguments,
    raise_not_a_list,
    rename_lines,
)
from .generated import compile_source
from .recording import Recording, indented

MISTAKES = (ValueError, TypeError, AttributeError, RuntimeError, IndexError, MemoryError)
"""What a forward function raises on wrong arguments, by itself or by NumPy."""

FAST.update(
    BY_NUMPY=dtypes._BY_NUMPY,
    MISSING=MISSING,
    MISTAKES=MISTAKES,
    TensorCore=core.TensorCore,
    explain=apply.explain,
    from_array=core.from_array,
    missing_argument=missing_argument,
    number_type=dtypes.from_numpy_dtype,
    otherwise=other_arguments,
    raise_not_a_list=raise_not_a_list,
    shares_memory=views.shares_memory,
    tuple_new=tuple.__new__,
    write_out=outputs.write_out,
)


class _Structured:
    """Writes the function of one op; ``arr`` is what its forward function returns.

    For each result ``arr``, ``kind`` and ``res`` are its array, its dtype and its tensor (``arr0``,
    ``kind0``, ``res0``... where there are several); ``a_<name>`` is the array of a tensor argument.
    """

    def __init__(self, op: Op) -> None:
        self.op = op
        self.recording = Recording(op) if op.differentiable else None
        self.marks = [""] if op.outputs == 1 else [str(i) for i in range(op.outputs)]

    def source(self) -> str:
        """The whole function."""
        op = self.op
        values = ", ".join(f"{n!r}: {n}" for n in op.signature.parameters)
        general = f"return otherwise(OP_{op.name}, {{{values}}})"
        foreign = " or ".join(self._foreign(name) for name in op.tensors)
        tensors = "".join(f"{n}, " for n in op.tensors)
        lines = []
        if op.family == "random":
            lines = ["if random_levels:", f"    decider = drawing(({tensors}))"]
            lines += ["    if decider is not None:"]
            lines += [f"        return decider.draw_op(OP_{op.name}, {{{values}}})"]
        lines += ["try:", *indented(self._unwrap_lines()), "except AttributeError:"]
        lines += [f"    {general}", f"if {foreign}:", f"    {general}", "try:"]
        lines += [f"    arr = forward_{op.name}({call_text(op, array=True)})"]
        lines += ["except MISTAKES as error:"]
        lines += [f"    raise explain(OP_{op.name}, ({tensors}), error) from None"]
        lines += self._many_lines() if op.outputs == 0 else self._result_lines()
        head = f"def structured_{op.name}({argument_text(op)}):\n{rename_lines(op)}"
        return head + "\n".join(indented(lines)) + "\n"

    def _unwrap_lines(self) -> list[str]:
        lines = []
        for name in self.op.tensors:
            if name in self.op.lists:
                lines.append(f"if isinstance({name}, TensorCore):")
                lines.append(f"    raise_not_a_list(OP_{self.op.name}, {name!r})")
                lines.append(f"a_{name} = [t._d for t in {name}]")
            elif name in self.op.optional:
                lines.append(f"a_{name} = None if {name} is None else {name}._d")
            else:
                lines.append(f"a_{name} = {name}._d")
        return lines

    def _foreign(self, name: str) -> str:
        """The test whether the argument `name` is held by another device than the CPU."""
        if name in self.op.lists:
            return f"[a for a in a_{name} if a.__class__ is not nd]"
        absent = f"a_{name} is not None and " if name in self.op.optional else ""
        return f"({absent}a_{name}.__class__ is not nd)"

    # ------------------------------------------------------------ a known number of results
    def _result_lines(self) -> list[str]:
        op = self.op
        parts = [f"arr{i}" for i in self.marks] + [f"x_{name}" for name in op.extras]
        lines = [] if parts == ["arr"] else [f"{', '.join(parts)} = arr"]
        for i in self.marks:
            lines += self._wrap_lines(i)
        if op.family == "view":
            lines += self._view_lines("res", "None")
        if self.recording is not None:
            attach = ["res._gf = node"] if op.outputs == 1 else []
            for i in self.marks if op.outputs > 1 else ():
                if int(i) not in op.fixed:
                    attach += [f"if kind{i}.inexact:", *indented(_slot_lines(f"res{i}", i))]
            lines += self._record_lines(self.recording, [f"res{i}" for i in self.marks], attach)
        if op.family != "view":
            lines += ["if not PLAIN:", *[f"    mark(res{i})" for i in self.marks]]
        result = "res"
        if op.outputs != 1:
            result = f"({''.join(f'res{i}, ' for i in self.marks)})"
            if op.fields:
                result = f"tuple_new(RESULT_{op.name}, {result})"
        if op.out:
            inputs = "".join(f"{name}, " for name in op.tensors)
            stored = f"write_out(OP_{op.name}, out, {result}, ({inputs}))"
            lines += ["if out is not None:", f"    return {stored}"]
        return [*lines, f"return {result}"]

    def _wrap_lines(self, i: str) -> list[str]:
        """Statements that make the tensor of the result `i`."""
        op = self.op
        lines = [f"if arr{i}.__class__ is not nd:", f"    arr{i} = box(arr{i})"]
        lines += [f"res{i} = new_tensor()", f"res{i}._d = arr{i}"]
        if op.family == "view" and not op.retypes:
            lines.append(f"res{i}._t = kind{i} = {op.tensors[0]}._t")
        else:
            lines += [
                f"stored = arr{i}.dtype",
                f"res{i}._t = kind{i} = BY_NUMPY.get(stored) or number_type(stored)",
            ]
        return [
            *lines,
            f"res{i}._v = 0",
            f"res{i}._s = res{i}._view = res{i}._grad = res{i}._gf = None",
        ]

    def _view_lines(self, out: str, number: str) -> list[str]:
        """Statements that link `out` with the tensor it looks at, as output `number` of the op."""
        op, first = self.op, self.op.tensors[0]
        args = "".join(f"{n}, " for n in op.signature.parameters if n != first)
        lines = [
            f"store = {first}._s",
            "if store is None:",
            f"    store = {first}._s = new_storage()",
            f"    store.version = {first}._v",
            "    store.changed_at = None",
            f"{out}._s = store",
            f"seen = OP_{op.name} if PLAIN or recording() else None",
            f"{out}._view = ({first}, seen, ({args}), {number})",
        ]
        if not (op.retypes or op.may_copy):
            return lines
        near = f"arr.base is a_{first} or (arr.base is not None and arr.base is a_{first}.base)"
        test = f"if arr is a_{first} or {near} or shares_memory(arr, a_{first}):"
        return [test, *indented(lines), "elif not PLAIN:", "    mark(res)"]

    def _record_lines(self, writer: Recording, outs: list[str], attach: list[str]) -> list[str]:
        """Statements that make a node, if an argument needs one, and `attach` it to the results."""
        op = self.op
        if writer.listed:
            (name,) = op.tensors
            lines = [f"e0 = tuple([t._gf for t in {name}])"]
            needed = "[e for e in e0 if e is not None]"
        else:
            absent = {
                n: f"None if {n} is None else " if n in op.optional else "" for n in op.tensors
            }
            lines = [f"{e} = {absent[n]}{n}._gf" for n, e in writer.edges.items()]
            needed = " or ".join(f"{e} is not None" for e in writer.edges.values())
        if len(writer.edges) > 1:
            needed = f"({needed})"
        inexact = " and kind.inexact" if op.outputs == 1 else ""
        lines.append(f"if {needed} and (PLAIN or recording()){inexact}:")
        return [*lines, *indented([*writer.fill_lines(outs), *attach])]

    # ------------------------------------------------------------ as many results as there are
    def _many_lines(self) -> list[str]:
        op = self.op
        lines = ["results = []"]
        if op.family != "view":
            lines += ["for part in arr:", "    results.append(from_array(part))"]
            return [*lines, "return tuple(results)"]
        body = [*self._wrap_lines(""), *self._view_lines("res", "place"), "results.append(res)"]
        lines += ["place = 0", "for arr in arr:", *indented([*body, "place += 1"])]
        if self.recording is not None:
            one = ["if place == 1:", "    res._gf = node", "else:"]
            one += ["    place = 0", "    for res in results:"]
            attach = [*one, *indented([*_slot_lines("res", "place"), "place += 1"], 2)]
            attach = ["if results and kind.inexact:", *indented(attach)]
            lines += self._record_lines(self.recording, [], attach)
        return [*lines, "return tuple(results)"]


def _slot_lines(out: str, index: str) -> list[str]:
    """Statements that lead `out` to the node ``node`` as its output `index`."""
    lines = ["slot = new_slot()", "slot.dep = 0", "slot.g = None", "slot.e0 = node"]
    return [*lines, f"slot.index = {index}", f"{out}._gf = slot"]


def derive_structured(op: Op) -> Callable[..., Any]:
    """The function of an op that is declared as a function of arrays."""
    writer = _Structured(op)
    if writer.recording is not None:
        writer.recording.compile()
    FAST[f"OP_{op.name}"] = op
    FAST[f"forward_{op.name}"] = op.forward
    if op.fields:
        FAST[f"RESULT_{op.name}"] = op.result_class
    FAST["DEFAULTS"] = op.defaults  # read once, while the function is made
    compile_source(op.name, writer.source(), FAST)
    made: Callable[..., Any] = FAST[f"structured_{op.name}"]
    made.__name__ = made.__qualname__ = op.name
    return made
