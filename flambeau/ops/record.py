"""What an op is: one record, from which everything else is derived.

Six families. A *pointwise* op is a scalar expression. A *structured*, *reduction* or *random* op is
a function of arrays with the op's public signature. A *view* returns a NumPy view of its input. A
*composite* is a function of a reader ``m`` that calls other ops. Arguments annotated ``Array``,
``Array | None`` or ``Arrays`` are tensors; all others are parameters.

Derivative rules. ``partials`` (pointwise) are scalar expressions of named inputs and ``out``; the
reverse rule is ``g * conj(p)`` and the forward rule ``t * p``. ``grad`` maps a tensor argument to
a rule ``(m, g, *names)``: the names a rule asks for decide what the op saves. They are tensor
arguments, parameters, ``out``, extras of the forward function, or ``<argument>_shape``. In a rule
``m`` has every op by its name; it works on raw arrays in an ordinary backward and on tensors when
the backward itself is recorded, so rules use ``m.op(...)``, operators and ``.shape`` only.
A rule that serves several arguments at once stands under each of their names and returns a dict.
"""

from __future__ import annotations

import functools
import inspect
from collections import namedtuple
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..compiler.expressions import Expression, parameters, trace

Array = Any
"""In an op's declaration: a tensor argument."""
Arrays = Any
"""In an op's declaration: a sequence of tensors."""

Rule = Callable[..., Any]

SAME, TO_FLOAT, COMPARE, KEEP = "same", "to_float", "compare", "keep"
"""Promotion: to the common type; the same with integers to the default float; compute in the
common type and give bool; leave every input as it is."""


@dataclass(eq=False)
class Op:
    """One op of the library; see the module's docstring for the meaning of the rules.

    ``retypes`` marks views of another dtype, ``may_copy`` views that copy where they must,
    ``through`` composites that return what one op makes of their first tensor in place.
    ``remade`` ops are run again where backward needs a result that was changed in place since.
    ``writer`` is the function that changes its first array, which is in C order, where that is
    the whole op; `forward` gives it a copy.
    ``outputs`` is the number of results (0: as many as the forward function returns), ``fields``
    the names by which a tuple of results can be read (``result`` its type's name), ``node`` the
    name on the tape where it is not the op's own, ``namer`` a function that gives this name for a
    node, where what it keeps decides. ``refuse`` lists the kinds of numbers an
    element-wise op does not take: "b" bool ("B": even as one operand of several), "i" integers,
    "f" real and "c" complex floating point; "d": tensors of different dtypes,
    "q": only integers after the first tensor.
    ``spellings`` gives other names under which arguments are taken by keyword: ``{other: own}``.
    ``numbers`` says which of its tensor arguments may be numbers: those to the "right" of the
    first, the "last", "one" (any, but not all), "both" or "none".
    """

    name: str
    family: str
    signature: inspect.Signature
    forward: Callable[..., Any]
    doc: str = ""
    promote: str = KEEP
    grad: dict[str, Rule] = field(default_factory=dict)
    partials: dict[str, Rule] = field(default_factory=dict)
    formula: Rule | None = None
    outputs: int = 1
    extras: tuple[str, ...] = ()
    decompose: Rule | None = None
    meta: Callable[..., Any] | None = None
    method: bool = True
    inplace: bool = False
    out: bool = False
    aliases: tuple[str, ...] = ()
    excuse: str = ""
    result: str = ""
    varargs: str | None = None
    fields: tuple[str, ...] = ()
    fixed: tuple[int, ...] = ()
    node: str = ""
    namer: Callable[..., str] | None = None
    refuse: str = ""
    numbers: str = "right"
    spellings: dict[str, str] = field(default_factory=dict)
    retypes: bool = False
    may_copy: bool = False
    through: bool = False
    remade: bool = False
    writer: Callable[..., None] | None = None
    where: str = ""

    @cached_property
    def tensors(self) -> tuple[str, ...]:
        """The names of the tensor arguments, in order."""
        return tuple(
            name for name, p in self.signature.parameters.items() if _is_tensor(p.annotation)
        )

    @cached_property
    def lists(self) -> frozenset[str]:
        """Those of `tensors` that take a sequence."""
        return frozenset(
            name for name in self.tensors if "Arrays" in self.signature.parameters[name].annotation
        )

    @cached_property
    def optional(self) -> frozenset[str]:
        """Those of `tensors` that may be None."""
        return frozenset(
            n for n in self.tensors if "None" in self.signature.parameters[n].annotation
        )

    @cached_property
    def params(self) -> tuple[str, ...]:
        """The names of the other arguments, in order."""
        return tuple(n for n in self.signature.parameters if n not in self.tensors)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The arguments that have a default."""
        return {
            n: p.default
            for n, p in self.signature.parameters.items()
            if p.default is not inspect.Parameter.empty
        }

    @cached_property
    def expression(self) -> Expression:
        """The traced formula of a pointwise op."""
        assert self.formula is not None
        return trace(self.formula)

    @cached_property
    def node_name(self) -> str:
        """What the op's node is called on the tape, as ``MulBackward0``."""
        title = "".join(part.capitalize() for part in self.name.split("_"))
        return self.node or f"{title}Backward0"

    @cached_property
    def result_class(self) -> type[tuple[Any, ...]]:
        """The kind of tuple that several results come in: a named one where they have names."""
        if not self.fields:
            return tuple
        made = namedtuple(self.result or self.name, self.fields)  # type: ignore[misc]
        made.__module__ = "torch.return_types"
        made.__repr__ = _shown_by_lines  # type: ignore[method-assign]
        return made

    @property
    def differentiable(self) -> bool:
        """Whether any derivative rule is declared."""
        return bool(self.grad or self.partials or self.decompose)


def _shown_by_lines(results: Any) -> str:
    pairs = zip(results._fields, results, strict=True)
    lines = ",\n".join(f"{name}={value!r}" for name, value in pairs)
    return f"torch.return_types.{type(results).__name__}(\n{lines})"


def _is_tensor(annotation: Any) -> bool:
    return isinstance(annotation, str) and annotation.split(" ")[0] in ("Array", "Arrays")


REGISTRY: dict[str, Op] = {}
"""Every op by its name."""
ALIASES: dict[str, str] = {}
"""Other spellings of an op's function and method."""


watchers: list[Callable[[Op], None]] = []
"""Called with each op that is declared from now on."""


def register(op: Op) -> Op:
    """Enter `op` into the registry; a second op of the same name is a mistake."""
    for name in (op.name, *op.aliases):
        if name in REGISTRY or name in ALIASES:
            raise ValueError(f"op {name!r} is declared twice")
    REGISTRY[op.name] = op
    for alias in op.aliases:
        ALIASES[alias] = op.name
    for tell in watchers:
        tell(op)
    return op


def find(name: str) -> Op | None:
    """The op called `name` or that has this alias."""
    return REGISTRY.get(ALIASES.get(name, name))


def parse_signature(text: str, tensors: int | None) -> tuple[str, inspect.Signature]:
    """Name and signature of ``"lerp(input, end, weight)"``.

    The first `tensors` arguments are tensors, by default the positional ones without a default.
    """
    name, _, rest = text.partition("(")
    space: dict[str, Any] = {}
    exec(f"def {name}({rest}: pass", space)
    signature = inspect.signature(space[name])
    if tensors is None:
        tensors = sum(
            p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty
            for p in signature.parameters.values()
        )
    marked = [
        p.replace(annotation="Array" if i < tensors else "float")
        for i, p in enumerate(signature.parameters.values())
    ]
    return name, signature.replace(parameters=marked)


def pointwise(
    text: str,
    formula: Rule,
    *,
    partials: Iterable[Rule | None] = (),
    grad: dict[str, Rule] | None = None,
    promote: str = SAME,
    inplace: bool = True,
    out: bool = True,
    method: bool = True,
    tensors: int | None = None,
    aliases: tuple[str, ...] = (),
    result: str = "",
    excuse: str = "",
    node: str = "",
    refuse: str = "",
    numbers: str = "right",
    doc: str = "",
) -> Op:
    """Declare an element-wise op by its scalar expression.

    `partials` are given in the order of the tensor arguments (None: no derivative). `tensors` is
    the number of tensor arguments, by default those without a default value. `result` "real" says
    that complex input gives a real result, "number" that bools count as integers.
    """
    name, signature = parse_signature(text, tensors)
    names = [n for n, p in signature.parameters.items() if p.annotation == "Array"]
    rules = {n: rule for n, rule in zip(names, partials, strict=False) if rule is not None}
    traced = _by_name(formula, list(signature.parameters))
    return register(
        Op(
            name=name,
            family="pointwise",
            signature=signature,
            forward=_no_forward,
            doc=inspect.cleandoc(doc),
            promote=promote,
            grad=grad or {},
            partials=rules,
            formula=traced,
            inplace=inplace,
            out=out,
            method=method,
            aliases=aliases,
            result=result,
            excuse=excuse,
            node=node,
            refuse=refuse,
            numbers=numbers,
            where=_declared_in(formula),
        )
    )


def _by_name(formula: Rule, names: list[str]) -> Rule:
    """`formula` with its positional letters replaced by the op's argument names."""
    letters = parameters(formula)
    if len(letters) != len(names):
        raise TypeError(f"the formula takes {letters}, the signature {names}")

    def renamed(m: Any, *values: Any) -> Any:
        return formula(m, *values)

    renamed.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("reader", *names)]
    )
    return renamed


def _no_forward(*_: Any) -> Any:
    raise TypeError("a pointwise op is evaluated from its formula")


def _declared_in(f: Callable[..., Any]) -> str:
    code = f.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _declare(family: str, options: dict[str, Any]) -> Callable[[Callable[..., Any]], Op]:
    def declare(f: Callable[..., Any]) -> Op:
        signature = inspect.signature(f)
        if family == "composite":
            signature = signature.replace(parameters=list(signature.parameters.values())[1:])
        doc = inspect.getdoc(f) or ""
        name = options.pop("name", f.__name__.rstrip("_"))
        return register(Op(name, family, signature, f, doc, where=_declared_in(f), **options))

    return declare


def structured(**options: Any) -> Callable[[Callable[..., Any]], Op]:
    """Declare an op by a function of arrays."""
    return _declare("structured", options)


def writing(**options: Any) -> Callable[[Callable[..., None]], Op]:
    """Declare a structured op by a function that changes its first array, which is in C order.

    No other array shares memory with the first. Where the function raises an error, an op in place
    leaves the tensor as far changed as it is by then.
    """

    def declare(f: Callable[..., None]) -> Op:
        @functools.wraps(f)
        def forward(input: Array, *args: Any, **kwargs: Any) -> Array:
            out = np.array(input, order="C")  # a gradient may be one of NumPy's scalars
            f(out, *args, **kwargs)
            return out

        op = _declare("structured", {**options, "writer": f})(forward)
        op.where = _declared_in(f)
        return op

    return declare


def reduction(**options: Any) -> Callable[[Callable[..., Any]], Op]:
    """Declare an op that folds dimensions away, by a function of arrays."""
    return _declare("reduction", options)


def view(**options: Any) -> Callable[[Callable[..., Any]], Op]:
    """Declare an op whose result shares its input's memory, by a function of arrays."""
    return _declare("view", options)


def random(**options: Any) -> Callable[[Callable[..., Any]], Op]:
    """Declare an op that draws random numbers, by a function of arrays."""
    return _declare("random", options)


def composite(**options: Any) -> Callable[[Callable[..., Any]], Op]:
    """Declare an op that is written with other ops, by a function whose first argument is ``m``."""
    return _declare("composite", options)


def shape_from_values(**_: Any) -> Any:
    """The meta function of ops whose result's shape depends on values: always an error."""
    raise NotImplementedError(
        "the shape of the result depends on the input's values, which a meta tensor does not have"
    )


_RULE_NAMES: dict[Rule, tuple[str, ...]] = {}


def rule_names(rule: Rule) -> tuple[str, ...]:
    """What a derivative rule asks for after ``(m, g)``."""
    names = _RULE_NAMES.get(rule)
    if names is None:
        code = rule.__code__
        names = _RULE_NAMES[rule] = code.co_varnames[2 : code.co_argcount]
    return names
