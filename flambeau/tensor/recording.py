"""Written-out nodes: for each op a class with one slot for each thing that its rules ask for.

`Recording` writes the class (its ``bw`` runs the derivative rules on arrays, its ``bwg`` on
tensors, recorded) and the statements that fill a node. Those stand in the op's own function where
it has one (structured.py), and in the function that `recorder` makes where element-wise ops go the
general way. Only what the needed gradients ask for is kept, and versions are checked when it is
used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import anomaly
from ..autograd.grad_mode import FAST
from ..autograd.node import MultiNode, OutputSlot, deliver, skip, sum_to_shape
from ..ops.readers import RAW
from ..ops.record import Op, rule_names
from . import core
from .generated import compile_source
from .instances import allocator

FREED = object()
"""Stands where a saved value was, after the node has given it up."""


# ---------------------------------------------------------------- rules
_RULES: dict[tuple[Op, str], tuple[tuple[str, ...], Any]] = {}


def rule_of(op: Op, name: str) -> tuple[tuple[str, ...], Any]:
    """The reverse rule for the tensor argument `name`, and the names it asks for."""
    found = _RULES.get((op, name))
    if found is None:
        if name in op.grad:
            found = (rule_names(op.grad[name]), op.grad[name])
        elif name in op.partials:
            partial = op.partials[name]
            code = partial.__code__
            asked = code.co_varnames[1 : code.co_argcount]

            def rule(m: Any, g: Any, *values: Any) -> Any:
                p = partial(m, *values)
                return g * (m.conj(p) if hasattr(p, "dtype") else p)

            found = (asked, rule)
        else:
            found = ((), _no_rule(op, name))
        _RULES[op, name] = found
    return found


def _no_rule(op: Op, name: str) -> Any:
    def rule(m: Any, g: Any) -> Any:
        raise RuntimeError(f"derivative for {op.name} with respect to '{name}' is not implemented")

    return rule


# ---------------------------------------------------------------- what written nodes call
def _take(n: Any, saved: Any, version: int) -> Any:
    """A saved input, if nobody has changed it since."""
    if saved is FREED:
        core.raise_freed(n.name())
    if saved is not None and core.version(saved) != version:
        core.raise_modified(saved, version, anomaly.place_of(n), n.name())
    return saved


def _take_list(n: Any, saved: Any, versions: Sequence[int], recorded: bool) -> list[Any]:
    """Saved inputs of a list argument: their arrays, or the tensors when recording."""
    if saved is FREED:
        core.raise_freed(n.name())
    taken = [_take(n, t, v) for t, v in zip(saved, versions, strict=True)]
    return taken if recorded else [None if t is None else t._d for t in taken]


def _take_out(n: Any, array: Any, storage: Any, index: int, recorded: bool) -> Any:
    """A saved output: its array, or a tensor at the same place of the tape when recording."""
    if array is FREED:
        core.raise_freed(n.name())
    if not recorded and not storage.version:
        return array
    out = core.from_array(array)
    out._s = storage
    if storage.version:
        core.raise_modified(out, 0, anomaly.place_of(n), n.name())
    if out._t.inexact:
        out._gf = n if n.outputs == 1 else OutputSlot(n, index)
    return out


def _again(op: Op, recorded: bool, *arguments: Any) -> Any:
    """The result of `op`, in place of a saved one that was changed: its array, or a constant."""
    array = op.forward(*[a._d if isinstance(a, core.TensorCore) else a for a in arguments])
    return core.from_array(array) if recorded else array


def _take_extra(n: Any, array: Any, recorded: bool) -> Any:
    """An array that the forward function made for backward."""
    if array is FREED:
        core.raise_freed(n.name())
    return core.from_array(array) if recorded and array is not None else array


def _fill(n: Any, g: list[Any], recorded: bool) -> list[Any]:
    """`g` with zeros for the outputs that no gradient came to."""
    filled = []
    for part, (shape, dtype) in zip(g, n.made, strict=True):
        if part is None and dtype.inexact:
            part = np.zeros(shape, dtype.numpy_dtype)
            part = core.from_array(part) if recorded else part
        filled.append(part)
    return filled


def _retyped(r: Any, dtype: Any) -> Any:
    """The gradient `r` in the dtype of the input it is for."""
    kind = dtype.numpy_dtype
    if r.dtype == kind:
        return r
    return (r.real if r.dtype.kind == "c" and kind.kind != "c" else r).astype(kind)


def _hand_on(e: Any, r: Any, shape: Any, dtype: Any, push: Any) -> None:
    """Pass the array `r` on to the edge `e`, in the input's shape and dtype."""
    if r is None:
        skip(e, push)
        return
    if r.shape != shape:
        r = sum_to_shape(r, shape)
    deliver(e, _retyped(r, dtype), push)


def _hand_on_recorded(e: Any, r: Any, shape: Any, dtype: Any, push: Any) -> None:
    """`_hand_on` for tensors, recorded."""
    if r is None:
        skip(e, push)
        return
    if r.shape != shape:
        r = FAST["F"].sum_to_size(r, shape)
    if r._t is not dtype:
        r = (FAST["F"].real(r) if r._t.is_complex and not dtype.is_complex else r).to(dtype)
    deliver(e, r, push)


def _hand_on_list(
    edges: Any, r: Any, shapes: Any, dtypes: Any, push: Any, hand_on: Callable[..., None]
) -> None:
    """Pass the gradients `r` on to the edges of a list argument."""
    for i, e in enumerate(edges):
        if e is not None:
            hand_on(e, None if r is None else r[i], shapes[i], dtypes[i], push)


def _differentiated(n: Any, op: Op, wanted: list[str], values: dict[str, Any], g: Any) -> Any:
    """Gradients by differentiating the op's decomposition, so that they can be differentiated."""
    from ..autograd.decomposition import differentiate

    return dict(zip(wanted, differentiate(op, values, wanted, g), strict=True))


FAST.update(
    FREED=FREED,
    MultiNode=MultiNode,
    RAW=RAW,
    again=_again,
    caller=anomaly.caller,
    differentiated=_differentiated,
    fill=_fill,
    new_slot=allocator(OutputSlot),
    new_storage=core.new_storage,
    hand_on=_hand_on,
    hand_on_list=_hand_on_list,
    hand_on_recorded=_hand_on_recorded,
    retyped=_retyped,
    skip=skip,
    take=_take,
    take_extra=_take_extra,
    take_list=_take_list,
    take_out=_take_out,
    version_of=core.version,
)


# ---------------------------------------------------------------- the writer
def indented(lines: Sequence[str], depth: int = 1) -> list[str]:
    """`lines`, further to the right."""
    return ["    " * depth + line for line in lines]


class Recording:
    """Writes the node class of `op`, and the statements that make and fill a node."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self.node = f"NODE_{op.name}"
        self.rules = {n: rule_of(op, n) for n in op.tensors if n in op.grad or n in op.partials}
        listed = [n for n in op.tensors if n in op.lists]
        if listed and (self.rules.keys() - op.lists or len(op.tensors) > 1):
            raise TypeError(f"{op.name}: a list beside other tensors cannot be differentiated")
        self.listed = bool(listed)
        self.edges = {name: f"e{i}" for i, name in enumerate(op.tensors)}
        self.asked: dict[str, list[str]] = {}
        for argument, (names, _) in self.rules.items():
            for name in names:
                self.asked.setdefault(name, []).append(argument)
        if op.decompose is not None:
            for name in op.signature.parameters:
                self.asked[name] = list(self.edges)

    def kind(self, name: str) -> str:
        """What sort of thing a rule means by `name`."""
        op = self.op
        if name in op.tensors:
            return "inputs" if name in op.lists else "input"
        if name in op.signature.parameters:
            return "parameter"
        if name in op.extras:
            return "extra"
        if name == "out" or (name.startswith("out") and name[3:].isdigit()):
            return "out"
        argument, _, what = name.rpartition("_")
        if argument in op.tensors and what in ("shape", "dtype"):
            return what
        raise TypeError(f"{op.name}: a rule asks for {name!r}, which is not to be had")

    # ------------------------------------------------------------ making a node
    def slots(self) -> list[str]:
        """Everything the node holds."""
        names = [] if self.listed else [e for e in self.edges.values() if e in ("e0", "e1")]
        if self.listed or len(self.edges) > 2:
            names.append("more")
        for name in self.asked:
            names.append(f"s_{name}")
            kind = self.kind(name)
            if kind in ("input", "inputs", "out"):
                names.append(f"v_{name}")
        for name in self.rules:
            names += [f"h_{name}", f"t_{name}"]
        if self.op.outputs != 1:
            names.append("made")
        return names

    def fill_lines(self, outs: Sequence[str]) -> list[str]:
        """Statements that make the node ``node`` of results called `outs` and of all arguments.

        They read each tensor argument's edge from ``e0``, ``e1``...
        """
        lines = [f"node = new_{self.node}()", "node.dep = 0", "node.g = None"]
        edges = list(self.edges.values())
        if self.listed:
            lines.append("node.more = e0")
        else:
            lines += [f"node.{e} = {e}" for e in edges[:2]]
            if edges[2:]:
                lines.append(f"node.more = ({', '.join(edges[2:])},)")
        for name in self.rules:
            if name in self.op.lists:
                lines.append(f"node.h_{name} = [t._d.shape for t in {name}]")
                lines.append(f"node.t_{name} = [t._t for t in {name}]")
                continue
            block = [f"node.h_{name} = {name}._d.shape", f"node.t_{name} = {name}._t"]
            lines += self._where_needed(block, [name])
        for name, askers in self.asked.items():
            lines += self._where_needed(self._save_lines(name, outs), askers)
        lines.append("node.at = caller() if TRACE is None else TRACE()")
        if self.op.outputs != 1:
            made = "".join(f"({o}._d.shape, {o}._t), " for o in outs)
            lines.append(
                f"node.made = ({made})"
                if outs
                else "node.made = [(o._d.shape, o._t) for o in results]"
            )
        if not self.op.outputs:
            lines.append("node.outputs = len(results)")
        return lines

    def _where_needed(self, block: list[str], arguments: list[str]) -> list[str]:
        """`block`, under the condition that one of `arguments` needs its gradient."""
        if len(arguments) >= len(self.edges) or not block:
            return block
        test = " or ".join(f"{self.edges[a]} is not None" for a in arguments)
        return [f"if {test}:", *indented(block)]

    def _save_lines(self, name: str, outs: Sequence[str]) -> list[str]:
        """Statements that keep what a rule calls `name`."""
        kind, holder = self.kind(name), f"node.s_{name}"
        if kind == "inputs":
            versions = f"node.v_{name} = [None if t is None else version_of(t) for t in {name}]"
            return [f"{holder} = list({name})", versions]
        if kind == "input":
            lines = [
                f"{holder} = {name}",
                f"store = {name}._s",
                f"node.v_{name} = {name}._v if store is None else store.version",
            ]
            if name in self.op.optional:
                return [f"if {name} is None:", f"    {holder} = None", "else:", *indented(lines)]
            return lines
        if kind == "out":
            out = outs[int(name[3:] or 0)]
            lines = [f"{holder} = {out}._d", f"node.v_{name} = {out}._s = store = new_storage()"]
            return [*lines, "store.version = 0", "store.changed_at = None"]
        argument, _, what = name.rpartition("_")
        if kind in ("parameter", "extra"):
            value = name if kind == "parameter" else f"x_{name}"
        elif argument in self.op.lists:
            value = f"[t.{'_d.shape' if what == 'shape' else '_t'} for t in {argument}]"
        else:
            value = f"{argument}.{'_d.shape' if what == 'shape' else '_t'}"
            if argument in self.op.optional:
                value = f"None if {argument} is None else {value}"
        return [f"{holder} = {value}"]

    # ------------------------------------------------------------ going backwards
    def node_source(self) -> str:
        """The node class."""
        op = self.op
        slots = ", ".join(repr(s) for s in self.slots())
        base = "MultiNode" if op.outputs != 1 else "Node"
        outputs = [f"outputs = {op.outputs}"] if op.outputs else []
        lines = [f"__slots__ = ({slots},)", *outputs]
        lines += ["def name(n):", f"    return {self._name()}"]
        lines += [*self._method(recorded=False), *self._method(recorded=True)]
        return "\n".join([f"class {self.node}({base}):", *indented(lines)]) + "\n"

    def _name(self) -> str:
        """The name of the node ``n``, as an expression."""
        return repr(self.op.node_name) if self.op.namer is None else f"OP_{self.op.name}.namer(n)"

    def _method(self, *, recorded: bool) -> list[str]:
        lines = []
        if self.op.outputs == 0:
            lines += ["if n.outputs == 1:", "    g = [g]"]
        if self.op.outputs != 1:
            lines.append(f"g = fill(n, g, {recorded})")
        edges = list(self.edges.items())
        if self.listed:
            lines.append("e0 = n.more")
        else:
            lines += [f"{e} = n.{e}" for _, e in edges[:2]]
            if edges[2:]:
                lines.append(f"{''.join(f'{e}, ' for _, e in edges[2:])} = n.more")
        pieces = recorded and self.op.decompose is not None
        shared = self._shared_lines(lines, recorded, pieces)
        for name, edge in edges:
            if name in self.op.lists:
                hand_on = "hand_on_recorded" if recorded else "hand_on"
                arguments = f"e0, r, n.h_{name}, n.t_{name}, push, {hand_on}"
                block = [*self._rule_lines(name, recorded, "r"), f"hand_on_list({arguments})"]
            elif name not in self.rules:
                block = [f"underivable({self.op.name!r}, {name!r})"]
            else:
                if pieces or self.rules[name][1] in shared:
                    block = [f"r = shared_{shared.get(self.rules[name][1], 0)}[{name!r}]"]
                else:
                    block = self._rule_lines(name, recorded, "r")
                block += self._deliver_lines(name, edge, recorded)
                block = [f"if {edge}.dep > 0:", *indented(block)]
                block += ["else:", f"    skip({edge}, push)"]
            if name not in self.op.lists:
                block = [f"if {edge} is not None:", *indented(block)]
            lines += block
        held = [
            f"n.s_{a}" for a in self.asked if self.kind(a) in ("input", "inputs", "out", "extra")
        ]
        if held:
            lines += ["if not keep:", f"    {' = '.join(held)} = FREED"]
        head = f"def {'bwg' if recorded else 'bw'}(n, g, push, keep):"
        return [head, *indented(lines)]

    def _shared_lines(self, lines: list[str], recorded: bool, pieces: bool) -> dict[Any, int]:
        """Run, before the edges are served, the rules that serve several arguments."""
        if pieces:
            names = list(self.op.signature.parameters)
            values = ", ".join(f"{a!r}: w_{a}" for a in names)
            wanted = ", ".join(
                f"*([{a!r}] if {self.edges[a]} is not None else ())" for a in self.rules
            )
            lines += self._load_lines(names, recorded)
            lines.append(
                f"shared_0 = differentiated(n, OP_{self.op.name}, [{wanted}], {{{values}}}, g)"
            )
            return {}
        served: dict[Any, list[str]] = {}
        for name, (_, rule) in self.rules.items():
            served.setdefault(rule, []).append(name)
        shared = {}
        for rule, names in served.items():
            if len(names) > 1:
                number = shared[rule] = len(shared)
                tests = [
                    f"({self.edges[a]} is not None and {self.edges[a]}.dep > 0)" for a in names
                ]
                lines.append(f"if {' or '.join(tests)}:")
                lines += indented(self._rule_lines(names[0], recorded, f"shared_{number}"))
        return shared

    def _load_lines(self, names: Sequence[str], recorded: bool) -> list[str]:
        """Statements that set ``w_<name>`` to what rules call each of `names`."""
        lines = []
        for name in names:
            kind, held, value = self.kind(name), f"n.s_{name}", f"w_{name}"
            if kind == "input":
                check = [
                    f"s = {value}._s",
                    f"if ({value}._v if s is None else s.version) != n.v_{name}:",
                    f"    take(n, {value}, n.v_{name})",
                ]
                if not recorded:
                    check.append(f"{value} = {value}._d")
                if name in self.op.optional:
                    check = [f"if {value} is not None:", *indented(check)]
                lines += [f"{value} = {held}", f"if {value} is FREED:", "    freed(n)", *check]
                continue
            if kind == "inputs":
                held = f"take_list(n, {held}, n.v_{name}, {recorded})"
            elif kind == "out":
                kept = f"take_out(n, {held}, n.v_{name}, {int(name[3:] or 0)}, {recorded})"
                held = f"{self._again(recorded)} if n.v_{name}.version else {kept}"
                held = held if self.op.remade else kept
            elif kind == "extra":
                held = f"take_extra(n, {held}, {recorded})"
            lines.append(f"{value} = {held}")
        return lines

    def _again(self, recorded: bool) -> str:
        """The op's result made anew from its arguments, which the rule asks for before it."""
        arguments = "".join(f", w_{a}" for a in self.op.signature.parameters)
        return f"again(OP_{self.op.name}, {recorded}{arguments})"

    def _rule_lines(self, name: str, recorded: bool, target: str) -> list[str]:
        """Statements that set `target` to what the rule for the argument `name` gives."""
        names = self.rules[name][0]
        values = "".join(f", w_{a}" for a in names)
        call = f"rule_{self.op.name}_{name}({'F' if recorded else 'RAW'}, g{values})"
        return [*self._load_lines(names, recorded), f"{target} = {call}"]

    def _deliver_lines(self, name: str, edge: str, recorded: bool) -> list[str]:
        """Statements that pass the gradient ``r`` of the argument `name` on."""
        if recorded:
            return [f"hand_on_recorded({edge}, r, n.h_{name}, n.t_{name}, push)"]
        passing = [
            f"if r.shape != n.h_{name}:",
            f"    r = sum_to(r, n.h_{name})",
            f"if r.dtype is not n.t_{name}.numpy_dtype:",
            f"    r = retyped(r, n.t_{name})",
            f"q = {edge}.g",
            f"{edge}.g = r if q is None else q + r",
            f"{edge}.dep = q = {edge}.dep - 1",
            "if not q:",
            f"    push({edge})",
        ]
        return ["if r is None:", f"    skip({edge}, push)", "else:", *indented(passing)]

    # ------------------------------------------------------------ entering it all
    def compile(self) -> None:
        """Make the node class, where the functions that fill it will find it."""
        for name, (_, rule) in self.rules.items():
            FAST[f"rule_{self.op.name}_{name}"] = rule
        FAST[f"OP_{self.op.name}"] = self.op
        compile_source(self.op.name, self.node_source(), FAST)
        FAST[self.node].__name__ = self.op.node_name
        FAST[f"new_{self.node}"] = allocator(FAST[self.node])


_RECORDERS: dict[Op, Callable[..., None]] = {}


def recorder(op: Op) -> Callable[..., None]:
    """The function ``record(out, *arguments)`` that gives the only result of `op` its node."""
    made = _RECORDERS.get(op)
    if made is None:
        writer = Recording(op)
        writer.compile()
        edges = [
            f"{e} = None if {name} is None else {name}._gf" for name, e in writer.edges.items()
        ]
        lines = [*edges, *writer.fill_lines(["out"]), "out._gf = node"]
        arguments = ", ".join(op.signature.parameters)
        source = "\n".join([f"def record_{op.name}(out, {arguments}):", *indented(lines)])
        compile_source(op.name, source + "\n", FAST)
        made = _RECORDERS[op] = FAST[f"record_{op.name}"]
    return made
