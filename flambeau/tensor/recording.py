"""Written-out nodes for ops with one result and no lists of tensors.

`derive_recorder` writes, for such an op, a node class with one slot for each thing its rules ask
for, and the function that fills it. It does what `apply.OpNode` does in general, without
dictionaries: only what the needed gradients ask for is kept, and versions are checked when it is
used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd import anomaly
from ..autograd.grad_mode import FAST
from ..autograd.node import Node, skip
from ..ops.readers import RAW
from ..ops.record import Op
from . import core
from .generated import compile_source
from .storage import Storage

FREED = object()
"""Stands where a saved value was, after the node has given it up."""


def take(n: Any, saved: Any, version: int, recorded: bool) -> Any:
    """A saved input: its array (the tensor when recording), if nobody has changed it since."""
    if saved is FREED:
        core.raise_freed(n.name())
    if saved is None:
        return None
    s = saved._s
    if (saved._v if s is None else s.version) != version:
        core.raise_modified(saved, version, anomaly.place_of(n), n.name())
    return saved if recorded else saved._d


def take_output(n: Any, recorded: bool) -> Any:
    """The saved output, as `take` gives an input."""
    if n.s_out is FREED:
        core.raise_freed(n.name())
    if n.store.version:
        stand_in = core.from_array(n.s_out)
        stand_in._s = n.store
        core.raise_modified(stand_in, 0, anomaly.place_of(n), n.name())
    if not recorded:
        return n.s_out
    out = core.from_array(n.s_out)
    out._s = n.store
    out._gf = n
    return out


def take_extra(n: Any, saved: Any, recorded: bool) -> Any:
    """An array that the forward function made for backward."""
    if saved is FREED:
        core.raise_freed(n.name())
    return core.from_array(saved) if recorded and saved is not None else saved


def refuse_inference() -> None:
    """Report that a tensor made in inference mode would have to be saved."""
    raise RuntimeError(
        "Inference tensors cannot be saved for backward. Please do not use Tensors created in "
        "inference mode in computation tracked by autograd. To work around this, you can make a "
        "clone to get a normal tensor and use it in autograd."
    )


class _Writer:
    """Writes the node and its recorder; ``rules`` are (names asked for, rule) by argument."""

    def __init__(self, op: Op, rules: dict[str, tuple[tuple[str, ...], Any]]) -> None:
        self.op, self.rules = op, rules
        self.arguments = list(op.signature.parameters)
        self.edges = {name: f"e{i}" for i, name in enumerate(op.tensors)}
        self.asked: dict[str, list[str]] = {}
        for argument, (names, _) in rules.items():
            for name in names:
                self.asked.setdefault(name, []).append(argument)

    def kind(self, name: str) -> str:
        """What sort of thing a rule means by `name`."""
        if name in self.op.tensors:
            return "input"
        if name in self.arguments:
            return "parameter"
        if name in self.op.extras:
            return "extra"
        if name == "out":
            return "out"
        argument, _, what = name.rpartition("_")
        if argument in self.op.tensors and what in ("shape", "dtype"):
            return what
        raise TypeError(f"{self.op.name}: a rule asks for {name!r}, which is not to be had")

    def slots(self) -> list[str]:
        """Everything the node holds."""
        names = ["more"]
        for name in self.asked:
            names.append(f"s_{name}")
            if self.kind(name) == "input":
                names.append(f"v_{name}")
        if "out" in self.asked:
            names.append("store")
        for name in self.rules:
            names += [f"h_{name}", f"t_{name}"]
        return names

    def save_lines(self, name: str) -> list[str]:
        """Statements that keep what a rule calls `name`."""
        kind, holder = self.kind(name), f"n.s_{name}"
        if kind == "input":
            lines = [f"s = {name}._s", f"n.v_{name} = {name}._v if s is None else s.version"]
            lines = [f"{holder} = {name}", *lines, f"if {name}._v < 0:", "    refuse_inference()"]
            if name in self.op.optional:
                body = [f"    {line}" for line in lines]
                return [f"if {name} is None:", f"    {holder} = n.v_{name} = None", "else:", *body]
            return lines
        argument = name.rpartition("_")[0]
        value = {
            "parameter": name,
            "extra": f"extras[{self.op.extras.index(name) if kind == 'extra' else 0}]",
            "out": "out._d",
            "shape": f"{argument}._d.shape",
            "dtype": f"{argument}._t",
        }[kind]
        if kind in ("shape", "dtype") and argument in self.op.optional:
            value = f"None if {argument} is None else {value}"
        lines = [f"{holder} = {value}"]
        return [*lines, "n.store = out._s = Storage(0)"] if kind == "out" else lines

    def recorder(self) -> str:
        """The function that makes the node of one application."""
        lines = ["n = new(NODE)", "n.dep = 0", "n.g = None"]
        for name, edge in self.edges.items():
            absent = f"None if {name} is None else " if name in self.op.optional else ""
            lines.append(f"{edge} = {absent}{name}._gf")
        lines.append(f"n.more = ({', '.join(self.edges.values())},)")
        for name in self.rules:
            lines.append(f"if {self.edges[name]} is not None:")
            lines += [f"    n.h_{name} = {name}._d.shape", f"    n.t_{name} = {name}._t"]
        for name, askers in self.asked.items():
            block = self.save_lines(name)
            if len(askers) < len(self.edges):
                test = " or ".join(f"{self.edges[a]} is not None" for a in askers)
                lines.append(f"if {test}:")
                block = [f"    {line}" for line in block]
            lines += block
        lines += ["n.at = caller() if FAST['TRACE'] is None else FAST['TRACE']()", "out._gf = n"]
        body = "".join(f"    {line}\n" for line in lines)
        return f"def record(out, extras, {', '.join(self.arguments)}):\n{body}"

    def take_text(self, name: str, recorded: bool) -> str:
        """The expression that reads what a rule calls `name`."""
        kind = self.kind(name)
        if kind == "input":
            return f"take(n, n.s_{name}, n.v_{name}, {recorded})"
        if kind == "out":
            return f"take_output(n, {recorded})"
        return f"take_extra(n, n.s_{name}, {recorded})" if kind == "extra" else f"n.s_{name}"

    def backward(self, recorded: bool) -> str:
        """The method that passes a gradient on."""
        method, reader = ("bwg", "F") if recorded else ("bw", "RAW")
        lines = [f"{', '.join(self.edges.values())}, = n.more"]
        for name, edge in self.edges.items():
            if name not in self.rules:
                lines += [f"if {edge} is not None:", f"    underivable({name!r})"]
                continue
            values = "".join(f", {self.take_text(a, recorded)}" for a in self.rules[name][0])
            lines += [
                f"if {edge} is not None:",
                f"    if {edge}.dep > 0:",
                f"        r = rule_{name}({reader}, g{values})",
                f"        hand_on({edge}, r, n.h_{name}, n.t_{name}, push, {recorded})",
                "    else:",
                f"        skip({edge}, push)",
            ]
        held = [f"n.s_{a}" for a in self.asked if self.kind(a) in ("input", "out", "extra")]
        if held:
            lines += ["if not keep:", f"    {' = '.join(held)} = FREED"]
        body = "".join(f"        {line}\n" for line in lines)
        return f"    def {method}(n, g, push, keep):\n{body}"

    def node(self) -> str:
        """The node class."""
        slots = ", ".join(repr(s) for s in self.slots())
        return (
            f"class NODE(Node):\n    __slots__ = ({slots},)\n    outputs = 1\n"
            f"    def name(n):\n        return {self.op.node_name!r}\n"
            f"{self.backward(False)}{self.backward(True)}"
        )


def derive_recorder(
    op: Op, rules: dict[str, tuple[tuple[str, ...], Any]], hand_on: Callable[..., None]
) -> Callable[..., None]:
    """The function ``record(out, extras, *arguments)`` that gives `out` its node."""

    def underivable(name: str) -> None:
        raise RuntimeError(f"derivative for {op.name} with respect to '{name}' is not implemented")

    space: dict[str, Any] = {
        "FAST": FAST,
        "FREED": FREED,
        "F": FAST["F"],
        "Node": Node,
        "RAW": RAW,
        "Storage": Storage,
        "caller": anomaly.caller,
        "hand_on": hand_on,
        "new": core.new,
        "refuse_inference": refuse_inference,
        "skip": skip,
        "take": take,
        "take_extra": take_extra,
        "take_output": take_output,
        "underivable": underivable,
        "__name__": "flambeau.tensor.generated",
        **{f"rule_{name}": rule for name, (_, rule) in rules.items()},
    }
    writer = _Writer(op, rules)
    compile_source(f"{op.name} node", writer.node() + writer.recorder(), space)
    made: Callable[..., None] = space["record"]
    return made
