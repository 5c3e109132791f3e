"""The short element-wise functions, written out from a record's scalar expression.

An op of one or two tensors becomes a function that a reader could have written by hand: unwrap,
test dtypes, compute, wrap, make a node. Its node class gets the rendered derivative for arrays
(``bw``) and for tensors (``bwg``). What the short function does not cover, it passes on to
`apply.pointwise`. The generated source can be read: ``generated.source_of("mul")``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import FAST, is_grad_enabled
from ..autograd.node import Node, OutputSlot, sum_to_shape
from ..backends.cpu.elementwise import LARGE, Fused
from ..compiler.expressions import (
    BUILDER,
    Expression,
    inputs_of,
    lift,
    parameters,
    render_python,
)
from ..compiler.expressions import apply as combine
from ..ops.readers import NumpyNames
from ..ops.record import COMPARE, TO_FLOAT, Op
from . import apply, core
from .generated import compile_source
from .storage import Storage


def scalar_array(t: dtypes.dtype, value: float) -> Any:
    """`value` as a 0-d array of dtype `t`, remembered."""
    found = t.scalars.get(value)
    if found is None:
        found = np.asarray(value).astype(t.numpy_dtype)
        if value and len(t.scalars) < 4096:  # 0.0 and -0.0 are one key
            t.scalars[value] = found
    return found


def _out_tensor(n: Any) -> Any:
    """The saved output of an element-wise node as a tensor at its place of the tape."""
    out = core.from_array(n.d)
    out._s = n.s
    out._gf = n
    return out


def _modified(x: Any, expected: int, n: Any) -> None:
    core.raise_modified(x, expected, getattr(n, "at", None), n.name())


def _modified_out(n: Any) -> None:
    stand_in = core.from_array(n.d)
    stand_in._s = n.s
    core.raise_modified(stand_in, 0, getattr(n, "at", None), n.name())


def _underivable(op: str, argument: str) -> None:
    raise RuntimeError(f"derivative for {op} with respect to '{argument}' is not implemented")


FAST.update(NumpyNames())
FAST.update(
    __name__="flambeau.tensor.generated",
    new=core.new,
    nd=np.ndarray,
    box=core.box,
    mark=core.mark,
    recording=is_grad_enabled,
    Storage=Storage,
    scalar_array=scalar_array,
    sum_to=sum_to_shape,
    modified=_modified,
    modified_out=_modified_out,
    out_tensor=_out_tensor,
    underivable=_underivable,
    freed=lambda n: core.raise_freed(n.name()),
    BOOL=dtypes.bool_,
    Node=Node,
    OutputSlot=OutputSlot,
    apply=apply,
)


def _substitute(e: Expression, values: dict[str, Any]) -> Expression:
    if e.op == "input":
        return lift(values[e.args[0]]) if e.args[0] in values else e
    if e.op == "const":
        return e
    return combine(e.op, *(_substitute(a, values) for a in e.args))


def _without_conj(e: Expression) -> Expression:
    if e.op in ("input", "const"):
        return e
    args = [_without_conj(a) for a in e.args]
    return args[0] if e.op == "conj" else combine(e.op, *args)


def reverse_expression(op: Op, name: str) -> Expression | None:
    """The gradient of the tensor argument `name` as a scalar expression of g and what is saved."""
    if name in op.grad:
        rule = op.grad[name]
        return lift(rule(BUILDER, *(Expression("input", p) for p in parameters(rule))))
    if name in op.partials:
        rule = op.partials[name]
        p = lift(rule(BUILDER, *(Expression("input", q) for q in parameters(rule))))
        return combine("mul", Expression("input", "g"), combine("conj", p))
    return None


def _fused(label: str, e: Expression, names: list[str], truth: bool) -> Fused:
    """The kernel of an expression, with its NumPy rendering to fall back on."""
    rendered = render_python(e, {n: n for n in names}, "N_")
    body = "".join(f"    {line}\n" for line in rendered.statements)
    source = f"def reference({', '.join(names)}):\n{body}    return {rendered.text}\n"
    space = dict(FAST)
    exec(compile(source, f"<reference of {label}>", "exec"), space)
    return Fused(label, e, names, space["reference"], truth)


class _Elementwise:
    """Writes the Python of one element-wise op with one or two tensors at default parameters.

    In the source, ``self`` and ``o`` are the tensors, ``a`` and ``b`` their arrays, ``d`` the
    result's. With `scalar`, ``o`` is a Python number and ``b`` its 0-d array.
    """

    def __init__(self, op: Op, scalar: bool) -> None:
        self.op, self.scalar = op, scalar
        self.binary = len(op.tensors) == 2
        self.defaults = {p: op.defaults[p] for p in op.params}
        self.names = dict(zip(op.tensors, "ab", strict=False))
        self.edges = [("e0", op.tensors[0])]
        if self.binary and not scalar:
            self.edges.append(("e1", op.tensors[1]))
        self.rules: dict[str, Expression | None] = {}
        for _, name in self.edges:
            rule = reverse_expression(op, name)
            self.rules[name] = (
                None if rule is None else _without_conj(_substitute(rule, self.defaults))
            )
        self.reads = {
            name: set() if rule is None else inputs_of(rule) for name, rule in self.rules.items()
        }
        self.read = set().union(*self.reads.values())
        self.node = f"{op.name}_{'Scalar' if scalar else ''}Backward0"

    @property
    def differentiable(self) -> bool:
        return any(r is not None for r in self.rules.values())

    def forward_text(self) -> str:
        expression = _substitute(self.op.expression, self.defaults)
        truth = self.op.promote == COMPARE
        return self._compute(
            "d", expression, self.names, "a", f"forward_{self._form}", "    ", truth
        )

    @property
    def _form(self) -> str:
        return f"{self.op.name}{'_scalar' if self.scalar else ''}"

    def _compute(
        self,
        target: str,
        e: Expression,
        names: dict[str, str],
        size_of: str,
        label: str,
        indent: str,
        truth: bool = False,
    ) -> str:
        """Statements that set `target` to the value of `e`: NumPy, or a large array's kernel."""
        rendered = render_python(e, names, "N_")
        if e.op == "input":
            return f"{indent}{target} = {rendered.text}\n"
        used = [n for n in names if n in inputs_of(e)]
        arguments = ", ".join(names[n] for n in used)
        FAST[f"large_{label}"] = _fused(label, e, used, truth)
        lines = [f"if {size_of}.size < {LARGE}:"]
        lines += [f"    {line}" for line in rendered.statements]
        lines += [f"    {target} = {rendered.text}", "else:"]
        lines.append(f"    {target} = large_{label}({arguments})")
        return "".join(f"{indent}{line}\n" for line in lines)

    def guard(self) -> str:
        """When the dtype ``t`` is one for the general way."""
        if "f" in self.op.refuse:
            return "t.plain_float or not t.plain"
        if self.op.promote == TO_FLOAT or self.scalar or "i" in self.op.refuse:
            return "not t.plain_float"
        return "not t.plain"

    def function_source(self) -> str:
        op, name = self.op, f"{self.op.name}{'_scalar' if self.scalar else ''}"
        arguments = "self, o" if self.binary else "self"
        general = f"general_{op.name}({arguments})"
        lines = [f"def {name}({arguments}):"]
        if self.binary and not self.scalar:
            for_number = general if op.numbers == "none" else f"{op.name}_scalar(self, o)"
            lines += ["    c = o.__class__", "    if c is float or c is int:"]
            lines.append(f"        return {for_number}")
        lines += ["    try:", "        a = self._d", "        t = self._t"]
        if self.binary and not self.scalar:
            lines += ["        b = o._d", "        u = o._t"]
        lines += ["    except AttributeError:", f"        return {general}"]
        same = "t is not u or " if self.binary and not self.scalar else ""
        lines += [f"    if {same}{self.guard()}:", f"        return {general}"]
        if self.scalar:
            lines += ["    b = t.scalars.get(o)", "    if b is None:"]
            lines += ["        b = scalar_array(t, o)"]
        text = "\n".join(lines) + "\n"
        if self.binary and not self.scalar:
            compute = "".join("    " + line + "\n" for line in self.forward_text().splitlines())
            text += f"    try:\n{compute}    except ValueError as error:\n"
            text += f"        raise explain_{op.name}((self, o), error) from None\n"
        else:
            text += self.forward_text()
        return text + self._wrap_source()

    def _wrap_source(self) -> str:
        result = "BOOL" if self.op.promote == COMPARE else "t"
        text = f"""\
    if d.__class__ is not nd:
        d = box(d)
    out = new(Tensor)
    out._d = d
    out._t = {result}
    out._v = 0
    out._s = out._view = out._grad = None
"""
        if self.differentiable:
            text += self._record_source()
        return text + "    out._gf = None\n    if not PLAIN:\n        mark(out)\n    return out\n"

    def _record_source(self) -> str:
        tests = ["(e0 := self._gf) is not None"]
        head = ""
        if len(self.edges) == 2:
            head = "    e0 = self._gf\n    e1 = o._gf\n"
            tests = ["e0 is not None or e1 is not None"]
        saves = [f"n = new({self.node})", "n.dep = 0", "n.g = None", "n.e0 = e0"]
        if len(self.edges) == 2:
            saves.append("n.e1 = e1")
        saves += self._save_lines()
        saves += ["if TRACE is not None:", "    n.at = TRACE()", "out._gf = n", "return out"]
        body = "".join(f"            {line}\n" for line in saves)
        return f"{head}    if {tests[0]}:\n        if PLAIN or recording():\n{body}"

    def _holders(self) -> list[tuple[str, str, str]]:
        """(letter, tensor variable, edge of the rule that reads it) for each saved argument."""
        variables = {"a": "self", "b": "o"}
        letters = list(zip("ab", self.op.tensors, strict=False))
        if self.scalar:
            letters = letters[:1]
        return [
            (letter, variables[letter], edge)
            for letter, argument in letters
            for edge, name in self.edges
            if argument in self.reads[name]
        ]

    def _shapes_needed(self) -> list[tuple[str, str]]:
        """(letter, edge) of the inputs whose shape must be kept for summing back."""
        if len(self.edges) == 1:
            return []
        held = {(letter, edge) for letter, _, edge in self._holders()}
        own = [("a", "e0"), ("b", "e1")]
        return [pair for pair in own if pair not in held]

    def _save_lines(self) -> list[str]:
        lines: list[str] = []
        both = len(self.edges) == 2
        for edge, _ in self.edges:
            block = []
            for letter, variable, reader in self._holders():
                if reader == edge:
                    block += [
                        f"n.x{letter} = {variable}",
                        f"s = {variable}._s",
                        f"n.v{letter} = {variable}._v if s is None else s.version",
                    ]
            block += [
                f"n.s{q} = {q}.shape" for q, reader in self._shapes_needed() if reader == edge
            ]
            if both and block:
                lines.append(f"if {edge} is not None:")
                block = [f"    {line}" for line in block]
            lines += block
        if self.scalar and self.op.tensors[1] in self.read:
            lines.append("n.b = b")
        if "out" in self.read:
            lines += ["n.d = d", "n.s = out._s = Storage(0)"]
        return lines

    def slots(self) -> list[str]:
        names = [e for e, _ in self.edges]
        for letter in sorted({letter for letter, _, _ in self._holders()}):
            names += [f"x{letter}", f"v{letter}"]
        names += [f"s{letter}" for letter, _ in self._shapes_needed()]
        if self.scalar and self.op.tensors[1] in self.read:
            names.append("b")
        if "out" in self.read:
            names += ["d", "s"]
        return names

    def node_source(self) -> str:
        slots = ", ".join(repr(s) for s in self.slots())
        return (
            f"class {self.node}(Node):\n    __slots__ = ({slots},)\n    outputs = 1\n"
            f"    def name(n):\n        return '{self.op.node_name}'\n"
            f"{self._backward_source('bw', 'N_')}{self._backward_source('bwg', 'F.')}"
        )

    def _load_lines(self, edge: str, name: str, recorded: bool) -> list[str]:
        lines = []
        for letter, _, reader in self._holders():
            if reader == edge:
                lines += [
                    f"x{letter} = n.x{letter}",
                    f"if x{letter} is None:",
                    "    freed(n)",
                    f"s = x{letter}._s",
                    f"if (x{letter}._v if s is None else s.version) != n.v{letter}:",
                    f"    modified(x{letter}, n.v{letter}, n)",
                    f"{letter} = x{letter}" + ("" if recorded else "._d"),
                ]
        if self.scalar and self.op.tensors[1] in self.reads[name]:
            lines.append("b = from_array(n.b)" if recorded else "b = n.b")
        if "out" in self.reads[name]:
            lines += ["d = n.d", "if d is None:", "    freed(n)", "if n.s.version:"]
            lines += ["    modified_out(n)"]
            if recorded:
                lines.append("d = out_tensor(n)")
        return lines

    def _backward_source(self, method: str, prefix: str) -> str:
        recorded = prefix == "F."
        names = {**self.names, "g": "g", "out": "d"}
        lines: list[str] = []
        for (edge, name), letter in zip(self.edges, "ab", strict=False):
            rule = self.rules[name]
            lines += [f"e = n.{edge}", "if e is not None:"]
            if rule is None:
                lines.append(f"    underivable({self.op.name!r}, {name!r})")
                continue
            block = self._load_lines(edge, name, recorded)
            if recorded:
                rendered = render_python(rule, names, prefix)
                block += [*rendered.statements, f"r = {rendered.text}"]
            else:
                label = f"backward_{self._form}_{name}"
                block += self._compute("r", rule, names, "g", label, "").splitlines()
            if len(self.edges) == 2:
                kept = (letter, edge) in self._shapes_needed()
                shape = f"n.s{letter}" if kept else f"{letter}.shape"
                fold = "F.sum_to_size" if recorded else "sum_to"
                block += [f"if r.shape != {shape}:", f"    r = {fold}(r, {shape})"]
            block += ["q = e.g", "e.g = r if q is None else q + r", "q = e.dep - 1"]
            block += ["e.dep = q", "if not q:", "    push(e)"]
            lines += [f"    {line}" for line in block]
        held = [f"n.{slot}" for slot in self.slots() if slot in ("xa", "xb", "d")]
        if held:
            lines += ["if not keep:", f"    {' = '.join(held)} = None"]
        body = "".join(f"        {line}\n" for line in lines) or "        pass\n"
        return f"    def {method}(n, g, push, keep):\n{body}"


def derive_elementwise(op: Op) -> Callable[..., Any]:
    """The short function of an element-wise op at default parameters."""
    forms = [_Elementwise(op, scalar=False)]
    if len(op.tensors) == 2:
        forms.append(_Elementwise(op, scalar=True))
    params = {p: op.defaults[p] for p in op.params}

    def general(*tensors: Any) -> Any:
        return dispatch_pointwise(op, tensors, params)

    FAST[f"general_{op.name}"] = general
    FAST[f"explain_{op.name}"] = lambda tensors, error: apply.explain(op, tensors, error)
    FAST["from_array"] = core.from_array
    for form in forms:
        if form.differentiable:
            compile_source(op.name, form.node_source(), FAST)
        source = form.function_source().replace(f"def {op.name}", f"def {op.name}", 1)
        compile_source(op.name, source, FAST)
    function: Callable[..., Any] = FAST[op.name]
    return function


def dispatch_pointwise(op: Op, tensors: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """The general way of an element-wise op, after those who interpret ops had their say."""
    for x in tensors:
        interpret = getattr(x, "_interpret", None)
        if interpret is not None:
            return interpret(op, tensors, params)
    return apply.pointwise(op, tensors, params)
