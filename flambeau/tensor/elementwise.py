"""The short element-wise functions, written out from a record's scalar expression.

An op of up to three tensors becomes a function that a reader could have written by hand: unwrap,
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
from ..backends.cpu.elementwise import Fused
from ..compiler.expressions import (
    BUILDER,
    Expression,
    Rendering,
    inputs_of,
    lift,
    parameters,
    render_python,
    substitute,
)
from ..compiler.expressions import apply as combine
from ..ops.readers import NumpyNames
from ..ops.record import COMPARE, TO_FLOAT, Op
from . import apply, core
from .arguments import argument_text
from .constants import Constants, fits_all, name_constants
from .generated import compile_source
from .instances import allocator
from .storage import INFERENCE, Storage

REAL = frozenset((float, int))


def scalar_array(t: dtypes.dtype, value: float) -> Any:
    """`value` as a 0-d array of dtype `t`, remembered."""
    key: Any = value or str(value)  # 0.0 and -0.0 are equal
    found = t.scalars.get(key)
    if found is None:
        found = np.asarray(value).astype(t.numpy_dtype)
        if len(t.scalars) < 4096:
            t.scalars[key] = found
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
    INFERENCE=INFERENCE,
    freed=lambda n: core.raise_freed(n.name()),
    BOOL=dtypes.bool_,
    Node=Node,
    OutputSlot=OutputSlot,
    apply=apply,
)


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


_TENSORS, _ARRAYS = ("self", "o", "z"), "abh"
"""The operands in the source, and their arrays."""


class _Elementwise:
    """Writes the Python of one element-wise op with up to three tensors at default parameters.

    In the source, ``self``, ``o`` and ``z`` are the tensors, ``a``, ``b`` and ``h`` their arrays,
    ``d`` the result's. With `scalar`, the last operand is a Python number, its array 0-d.
    """

    def __init__(self, op: Op, *, scalar: bool, given: bool = False) -> None:
        self.op, self.scalar = op, scalar
        self.operands = _TENSORS[: len(op.tensors)]
        self.others = self.operands[1 : len(op.tensors) - scalar]
        self.given = op.params if given else ()
        self.defaults = {p: op.defaults[p] for p in op.params if p not in self.given}
        self.names = dict(zip(op.tensors, _ARRAYS, strict=False))
        self.names |= {p: f"p_{p}" for p in self.given}
        graded = op.tensors[: 1 + len(self.others)]
        self.edges = [(f"e{i}", name) for i, name in enumerate(graded)]
        self.rules: dict[str, Expression | None] = {}
        for _, name in self.edges:
            rule = reverse_expression(op, name)
            self.rules[name] = (
                None if rule is None else _without_conj(substitute(rule, self.defaults))
            )
        self.reads = {
            name: set() if rule is None else inputs_of(rule) for name, rule in self.rules.items()
        }
        self.read: set[str] = set().union(*self.reads.values())
        self.node = f"{self.form}_Backward0"

    @property
    def differentiable(self) -> bool:
        return any(r is not None for r in self.rules.values())

    def forward_text(self) -> str:
        expression = substitute(self.op.expression, self.defaults)
        truth = self.op.promote == COMPARE
        sized = _ARRAYS[: 1 + len(self.others)]
        return self._compute(
            "d", expression, self.names, sized, f"forward_{self.form}", "    ", truth
        )

    @property
    def form(self) -> str:
        """What distinguishes this form's function from the others of the op."""
        scalar, given = "_scalar" if self.scalar else "", "_with" if self.given else ""
        return f"{self.op.name}{scalar}{given}"

    @property
    def arguments(self) -> str:
        """The function's arguments: the operands and the parameters that are given."""
        return ", ".join([*self.operands, *self.given])

    @property
    def number(self) -> tuple[str, str]:
        """The last operand's array and the operand, which may be a number."""
        last = len(self.operands) - 1
        return _ARRAYS[last], _TENSORS[last]

    def number_lines(self) -> list[str]:
        """Statements that make arrays of the operands and parameters that are numbers."""
        lines = []
        pairs = [self.number] if self.scalar else []
        for array, number in [*pairs, *((f"p_{p}", p) for p in self.given)]:
            lines += [f"{array} = t.scalars.get({number})", f"if {array} is None:"]
            lines.append(f"    {array} = scalar_array(t, {number})")
        return lines

    def _compute(
        self,
        target: str,
        e: Expression,
        names: dict[str, str],
        sized: str,
        label: str,
        indent: str,
        truth: bool = False,
    ) -> str:
        """Statements that set `target` to the value of `e`: NumPy, or a large array's kernel.

        An array is large if one of those is whose letters are in `sized`.
        """
        if e.op == "input":
            return f"{indent}{target} = {names[e.args[0]]}\n"
        rendered = self.rendered(e, names, label, f"{sized[0]}.dtype")
        used = [n for n in names if n in inputs_of(e)]
        arguments = ", ".join(names[n] for n in used)
        fused = FAST[f"large_{label}"] = _fused(label, e, used, truth)
        lines = [f"if {' and '.join(f'{x}.size < {fused.least}' for x in sized)}:"]
        lines += [f"    {line}" for line in rendered.statements]
        lines += [f"    {target} = {rendered.text}", "else:"]
        lines.append(f"    {target} = large_{label}({arguments})")
        return "".join(f"{indent}{line}\n" for line in lines)

    def rendered(self, e: Expression, names: dict[str, str], label: str, dtype: str) -> Rendering:
        """`e` as NumPy's functions compute it, in the dtype that the source `dtype` says."""
        real = self.guard() == "not t.plain_float"
        e, constants = name_constants(e, lambda v: fits_all(v) or (real and v.__class__ is float))
        if not constants:
            return render_python(e, names, "N_")
        FAST[f"constants_{label}"] = Constants(list(constants.values()))
        rendered = render_python(e, {**names, **{k: k for k in constants}}, "N_")
        load = f"{', '.join(constants)}, = constants_{label}[{dtype}]"
        return Rendering([load, *rendered.statements], rendered.text)

    def guard(self) -> str:
        """When the dtype ``t`` is one for the general way."""
        if "f" in self.op.refuse:
            return "t.plain_float or not t.plain"
        if self.op.promote == TO_FLOAT or self.given or "i" in self.op.refuse:
            return "not t.plain_float"
        if self.scalar:  # integers stay integers beside an int alone
            return f"not t.plain_float and ({self.number[1]}.__class__ is not int or not t.plain)"
        return "not t.plain"

    def function_source(self) -> str:
        op, arguments = self.op, self.arguments
        given = "_with" if self.given else ""
        general = f"general_{op.name}{given}({arguments})"
        lines = [f"def {self.form}({arguments}):"]
        if self.others and not self.scalar:
            for_number = (
                general if op.numbers == "none" else f"{op.name}_scalar{given}({arguments})"
            )
            test = "c is int" if "f" in op.refuse else "c is float or c is int"
            lines += [f"    c = {self.number[1]}.__class__", f"    if {test}:"]
            lines.append(f"        return {for_number}")
        lines += ["    try:", "        a = self._d", "        t = self._t"]
        types = dict(zip(self.others, "uv", strict=False))
        for array, (tensor, kind) in zip(_ARRAYS[1:], types.items(), strict=False):
            lines += [f"        {array} = {tensor}._d", f"        {kind} = {tensor}._t"]
        lines += ["    except AttributeError:", f"        return {general}"]
        same = "".join(f"t is not {kind} or " for kind in types.values())
        lines += [f"    if {same}{self.guard()}:", f"        return {general}"]
        lines += [f"    {line}" for line in self.number_lines()]
        text = "\n".join(lines) + "\n"
        compute = "".join("    " + line + "\n" for line in self.forward_text().splitlines())
        operands = f"({', '.join(('self', *self.others))})" if self.others else "(self,)"
        text += f"    try:\n{compute}    except (ValueError, MemoryError) as error:\n"
        text += f"        raise explain_{op.name}({operands}, error) from None\n"
        return text + self._wrap_source()

    def _wrap_source(self) -> str:
        result = "BOOL" if self.op.promote == COMPARE else "t"
        text = f"""\
    if d.__class__ is not nd:
        d = box(d)
    out = new_tensor()
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
        edges = [edge for edge, _ in self.edges]
        if self.others:
            pairs = zip(edges, self.operands, strict=False)
            head = "".join(f"    {edge} = {tensor}._gf\n" for edge, tensor in pairs)
            tests = [" or ".join(f"{edge} is not None" for edge in edges)]
        saves = [f"n = new_{self.node}()", "n.dep = 0", "n.g = None"]
        saves += [f"n.{edge} = {edge}" for edge in edges[:2]]
        saves += ["n.more = (e2,)"] if edges[2:] else []
        saves += self._save_lines()
        saves += ["if TRACE is not None:", "    n.at = TRACE()", "out._gf = n", "return out"]
        body = "".join(f"            {line}\n" for line in saves)
        return f"{head}    if {tests[0]}:\n        if PLAIN or recording():\n{body}"

    def _holders(self) -> list[tuple[str, str, str]]:
        """(letter, tensor variable, edge of the rule that reads it) for each saved argument."""
        variables = dict(zip(_ARRAYS, _TENSORS, strict=True))
        letters = [(self.names[name], name) for _, name in self.edges]
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
        own = [(self.names[name], edge) for edge, name in self.edges]
        return [pair for pair in own if pair not in held]

    def _save_lines(self) -> list[str]:
        lines: list[str] = []
        both = len(self.edges) > 1
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
        lines += [f"n.{v} = {v}" for v in self._kept_numbers(self.read)]
        if "out" in self.read:
            lines += [
                "n.d = d",
                "n.s = out._s = s = new_storage()",
                "s.version = 0",
                "s.changed_at = None",
            ]
        return lines

    def _kept_numbers(self, read: set[str]) -> list[str]:
        """The arrays of numbers among what is `read`."""
        kept = [self.number[0]] if self.scalar and self.op.tensors[-1] in read else []
        return kept + [f"p_{p}" for p in self.given if p in read]

    def slots(self) -> list[str]:
        names = ["e0", "e1", "more"][: len(self.edges)]
        for letter in sorted({letter for letter, _, _ in self._holders()}):
            names += [f"x{letter}", f"v{letter}"]
        names += [f"s{letter}" for letter, _ in self._shapes_needed()]
        names += self._kept_numbers(self.read)
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
        for v in self._kept_numbers(self.reads[name]):
            lines.append(f"{v} = from_array(n.{v})" if recorded else f"{v} = n.{v}")
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
        for (edge, name), letter in zip(self.edges, _ARRAYS, strict=False):
            rule = self.rules[name]
            held = "more[0]" if edge == "e2" else edge
            lines += [f"e = n.{held}", "if e is not None:"]
            if rule is None:
                lines.append(f"    underivable({self.op.name!r}, {name!r})")
                continue
            block = self._load_lines(edge, name, recorded)
            if recorded:
                rendered = render_python(rule, names, prefix)
                block += [*rendered.statements, f"r = {rendered.text}"]
            else:
                label = f"backward_{self.form}_{name}"
                block += self._compute("r", rule, names, "g", label, "").splitlines()
            if self.others:
                kept = (letter, edge) in self._shapes_needed()
                shape = f"n.s{letter}" if kept else f"{letter}.shape"
                fold = "F.sum_to_size" if recorded else "sum_to"
                block += [f"if r.shape != {shape}:", f"    r = {fold}(r, {shape})"]
            block += ["q = e.g", "e.g = r if q is None else q + r", "q = e.dep - 1"]
            block += ["e.dep = q", "if not q:", "    push(e)"]
            lines += [f"    {line}" for line in block]
        saved = [f"n.{slot}" for slot in self.slots() if slot in ("xa", "xb", "xh", "d")]
        if saved:
            lines += ["if not keep:", f"    {' = '.join(saved)} = None"]
        body = "".join(f"        {line}\n" for line in lines) or "        pass\n"
        return f"    def {method}(n, g, push, keep):\n{body}"


_CHANGE_LINES = """\
    if s is None and TRACE is None:
        self._v += 1
    else:
        note_change(self, {name!r})
    return self
"""


def _inplace_source(form: _Elementwise) -> str:
    """The short function that writes the value of `form` into ``self``, recording nothing."""
    op, name = form.op, f"inplace_{form.form}"
    named = "".join(f", {p}={p}" for p in form.given)
    general = f"return inplace_{op.name}_general({', '.join(form.operands)}{named})"
    lines = [f"def {name}({form.arguments}):"]
    if form.others and not form.scalar:
        scalar = f"inplace_{op.name}_scalar{'_with' if form.given else ''}({form.arguments})"
        for_number = general if op.numbers == "none" else f"return {scalar}"
        lines.append(f"    c = {form.number[1]}.__class__")
        lines += ["    if c is float or c is int:", f"        {for_number}"]
    lines += ["    try:", "        a = self._d", "        t = self._t", "        s = self._s"]
    guard = form.guard() if form.scalar and "f" not in op.refuse else "not t.plain_float"
    tests = [guard, "a.__class__ is not nd", "s is INFERENCE"]
    graded = " or ".join(f"{x}._gf is not None" for x in ("self", *form.others))
    graded = f"({graded})" if form.others else graded
    lines += [f"        {array} = {x}._d" for array, x in zip("bh", form.others, strict=False)]
    tests = [*(f"{x}._t is not t" for x in form.others), *tests]
    tests.append(f"{graded} and (PLAIN or recording())")
    lines += ["    except AttributeError:", f"        {general}"]
    # `renew_views` counts who holds the storage.
    lines += [f"    if {' or '.join(tests)}:", "        s = None", f"        {general}"]
    lines += [f"    {line}" for line in form.number_lines()]
    e = substitute(op.expression, form.defaults)
    rendered = form.rendered(e, form.names, name, "a.dtype")
    into = isinstance(FAST.get(f"N_{e.op}"), np.ufunc) and rendered.text.startswith(f"N_{e.op}(")
    value = f"d = {rendered.text[:-1]}, out=a)" if into else f"d = {rendered.text}"
    used = ", ".join(form.names[n] for n in form.names if n in inputs_of(e))
    fused = FAST[f"large_forward_{form.form}"]
    lines += ["    try:", f"        if a.size < {fused.least}:"]
    lines += [f"            {line}" for line in (*rendered.statements, value)]
    lines += ["        else:", f"            d = large_forward_{form.form}.into(a, {used})"]
    lines += ["        if d is not a:", "            if d.shape != a.shape:"]
    lines += [f"                {general}", "            a[...] = d"]
    lines += ["    except (ValueError, TypeError, MemoryError):", f"        {general}"]
    return "\n".join(lines) + "\n" + _CHANGE_LINES.format(name=f"{op.name}_")


def derive_short_inplace(op: Op, general: Callable[..., Any]) -> Callable[..., Any]:
    """The method ``op_`` of an element-wise op; `general` is for what its short form leaves out."""
    half = () if "f" in op.refuse else dtypes.HALF

    def general_or_half(self: Any, *others: Any, **named: Any) -> Any:
        simple = self.__class__ is core.Tensor and self._t in half and not named
        if simple and apply.pointwise_half_into(op, (self, *others)):
            FAST["note_change"](self, f"{op.name}_")
            return self
        return general(self, *others, **named)

    FAST[f"inplace_{op.name}_general"] = general_or_half
    for form in _forms(op):
        compile_source(f"{op.name}_", _inplace_source(form), FAST)
    operands = ", ".join(op.tensors)
    named = "".join(f", {p}={p}" for p in op.params)
    space = {
        "DEFAULTS": op.defaults,
        "REAL": REAL,
        "general": general,
        "given": FAST.get(f"inplace_{op.name}_with"),
        "short": FAST[f"inplace_{op.name}"],
        "__name__": "flambeau.tensor.generated",
    }
    source = (
        f"def {op.name}_({argument_text(op, method=True)}):\n{short_lines(op, operands, [])}"
        f"    return general({operands}{named})\n"
    )
    compile_source(f"{op.name}_", source, space)
    method: Callable[..., Any] = space[f"{op.name}_"]
    return method


def short_lines(op: Op, operands: str, conditions: list[str]) -> str:
    """Statements that take the short way, with default or given parameters, where one serves."""
    plain = [f"{p} is DEFAULTS[{p!r}]" for p in op.params]
    test = " and ".join([*plain, *conditions]) or "True"
    text = f"    if {test}:\n        return short({operands})\n"
    if op.params:
        numbers = [f"{p}.__class__ in REAL" for p in op.params]
        usual = " and ".join(f"{p} == DEFAULTS[{p!r}]" for p in op.params)
        text += f"    if {' and '.join([*numbers, *conditions])}:\n"
        text += f"        if {usual}:\n            return short({operands})\n"
        text += f"        return given({operands}, {', '.join(op.params)})\n"
    return text


def has_short_form(op: Op) -> bool:
    """Whether `derive_elementwise` can write a function of `op`."""
    plain = len(op.tensors) <= 3 and all(p in op.defaults for p in op.params)
    return op.family == "pointwise" and plain and op.expression.op != "input"


def _forms(op: Op) -> list[_Elementwise]:
    """The forms an op's short function has: with a number, and with parameters given."""
    scalars = (False, True) if len(op.tensors) > 1 and op.numbers != "none" else (False,)
    both = (False, True) if op.params else (False,)
    return [_Elementwise(op, scalar=s, given=g) for g in both for s in scalars]


def derive_elementwise(op: Op) -> Callable[..., Any]:
    """The short function of an element-wise op at default parameters.

    That for given ones, which must be numbers, goes by the op's name and ``_with``.
    """
    count = len(op.tensors)
    params = {p: op.defaults[p] for p in op.params}
    half = () if "f" in op.refuse else dtypes.HALF

    def general(*tensors: Any) -> Any:
        first = tensors[0]
        if first.__class__ is core.Tensor and first._t in half:
            found = apply.pointwise_half(op, tensors, params)
            if found is not None:
                return found
        return dispatch_pointwise(op, tensors, params)

    def general_with(*values: Any) -> Any:
        given = dict(zip(op.params, values[count:], strict=True))
        return dispatch_pointwise(op, values[:count], given)

    FAST[f"general_{op.name}"] = general
    FAST[f"general_{op.name}_with"] = general_with
    FAST[f"explain_{op.name}"] = lambda tensors, error: apply.explain(op, tensors, error)
    FAST["from_array"] = core.from_array
    for form in _forms(op):
        if form.differentiable:
            compile_source(op.name, form.node_source(), FAST)
            FAST[form.node].__name__ = op.node_name
            FAST[f"new_{form.node}"] = allocator(FAST[form.node])
        compile_source(op.name, form.function_source(), FAST)
    function: Callable[..., Any] = FAST[op.name]
    return function


def dispatch_pointwise(op: Op, tensors: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """The general way of an element-wise op, after those who interpret ops had their say."""
    for x in tensors:
        interpret = getattr(x, "_interpret", None)
        if interpret is not None:
            return interpret(op, tensors, params)
    try:
        return apply.pointwise(op, tensors, params)
    except TypeError as error:
        from .interception import redirected

        return redirected(op, dict(zip(op.tensors, tensors, strict=True)) | params, error)
