"""The little language of scalar expressions, and its rendering as Python source.

An element-wise op is one lambda over a *reader* ``m``. Traced with `Builder`, the lambda becomes an
`Expression`; that tree is rendered as Python source over NumPy functions (the eager path and the
reference), as Python source over tensor functions (double backward), and as LLVM IR (the code
generator). Names are PyTorch's.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Primitive(NamedTuple):
    """One scalar operation: its arity and, where Python has one, its operator symbol."""

    name: str
    arity: int
    symbol: str = ""


_UNARY = """abs acos acosh asin asinh atan atanh ceil conj cos cosh digamma erf erfc erfinv exp exp2
expm1 floor frac i0 isfinite isinf isnan lgamma log log10 log1p log2 logical_not reciprocal round
rsqrt sigmoid sign signbit sin sinh sqrt square tan tanh trunc imag real positive sgn angle
to_float sinc i1 i0e i1e airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 modified_bessel_k0
modified_bessel_k1 scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0 entr
erfcx ndtr ndtri log_ndtr"""
_BINARY = """atan2 copysign fmax fmin fmod hypot logaddexp logaddexp2 logical_and logical_or
logical_xor maximum minimum nextafter remainder floor_divide trunc_divide xlogy heaviside gcd lcm
ldexp polygamma_of round_to xlog1py igamma igammac zeta chebyshev_t chebyshev_u chebyshev_v
chebyshev_w shifted_chebyshev_t shifted_chebyshev_u shifted_chebyshev_v shifted_chebyshev_w
hermite_h hermite_he laguerre_l legendre_p"""
_OPERATORS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "true_divide": "/",
    "pow": "**",
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "bitwise_and": "&",
    "bitwise_or": "|",
    "bitwise_xor": "^",
    "bitwise_left_shift": "<<",
    "bitwise_right_shift": ">>",
}
PRIMITIVES: dict[str, Primitive] = {
    **{name: Primitive(name, 1) for name in _UNARY.split()},
    **{name: Primitive(name, 2) for name in _BINARY.split()},
    **{name: Primitive(name, 2, symbol) for name, symbol in _OPERATORS.items()},
    "neg": Primitive("neg", 1, "-"),
    "bitwise_not": Primitive("bitwise_not", 1, "~"),
    "where": Primitive("where", 3),
}


class Expression:
    """A node of a scalar expression: ``op`` is a primitive's name, "input" or "const"."""

    __slots__ = ("args", "op")

    def __init__(self, op: str, *args: Any) -> None:
        self.op = op
        self.args = args

    def __add__(self, other: Any) -> Expression:
        return apply("add", self, other)

    def __radd__(self, other: Any) -> Expression:
        return apply("add", other, self)

    def __sub__(self, other: Any) -> Expression:
        return apply("sub", self, other)

    def __rsub__(self, other: Any) -> Expression:
        return apply("sub", other, self)

    def __mul__(self, other: Any) -> Expression:
        return apply("mul", self, other)

    def __rmul__(self, other: Any) -> Expression:
        return apply("mul", other, self)

    def __truediv__(self, other: Any) -> Expression:
        return apply("true_divide", self, other)

    def __rtruediv__(self, other: Any) -> Expression:
        return apply("true_divide", other, self)

    def __pow__(self, other: Any) -> Expression:
        return apply("pow", self, other)

    def __rpow__(self, other: Any) -> Expression:
        return apply("pow", other, self)

    def __neg__(self) -> Expression:
        return apply("neg", self)

    def __lt__(self, other: Any) -> Expression:
        return apply("lt", self, other)

    def __le__(self, other: Any) -> Expression:
        return apply("le", self, other)

    def __gt__(self, other: Any) -> Expression:
        return apply("gt", self, other)

    def __ge__(self, other: Any) -> Expression:
        return apply("ge", self, other)

    def __and__(self, other: Any) -> Expression:
        return apply("bitwise_and", self, other)

    def __or__(self, other: Any) -> Expression:
        return apply("bitwise_or", self, other)

    def __xor__(self, other: Any) -> Expression:
        return apply("bitwise_xor", self, other)

    def __invert__(self) -> Expression:
        return apply("bitwise_not", self)

    def __repr__(self) -> str:
        if self.op in ("input", "const"):
            return str(self.args[0])
        return f"{self.op}({', '.join(map(repr, self.args))})"


def lift(value: Any) -> Expression:
    """`value` as an expression; Python numbers become constants."""
    return value if isinstance(value, Expression) else Expression("const", value)


def is_constant(e: Expression, value: float) -> bool:
    """Whether `e` is the constant `value`."""
    return e.op == "const" and e.args[0] == value


def apply(name: str, *args: Any) -> Expression:
    """The expression ``name(*args)``, without what does nothing: factors of 1, nought decimals."""
    lifted = tuple(map(lift, args))
    if name == "round_to" and is_constant(lifted[1], 0):
        return Expression("round", lifted[0])
    if name in ("mul", "true_divide") and is_constant(lifted[1], 1):
        return lifted[0]
    if name == "mul":
        if is_constant(lifted[0], 1):
            return lifted[1]
        for one, other in (lifted, lifted[::-1]):
            if is_constant(one, -1):
                return Expression("neg", other)
    return Expression(name, *lifted)


class Builder:
    """The reader that records what a lambda does instead of doing it."""

    def __getattr__(self, name: str) -> Callable[..., Expression]:
        if name not in PRIMITIVES:
            raise AttributeError(f"no scalar primitive is called {name!r}")
        arity = PRIMITIVES[name].arity

        def build(*args: Any) -> Expression:
            if len(args) != arity:
                raise TypeError(f"m.{name} takes {arity} arguments, got {len(args)}")
            return apply(name, *args)

        self.__dict__[name] = build
        return build


BUILDER = Builder()


def parameters(f: Callable[..., Any]) -> list[str]:
    """The names a lambda takes after its reader."""
    return list(inspect.signature(f).parameters)[1:]


def trace(f: Callable[..., Any]) -> Expression:
    """The expression computed by `f`, a function of a reader and of named scalars."""
    return lift(f(BUILDER, *(Expression("input", name) for name in parameters(f))))


def substitute(e: Expression, values: Mapping[str, Any]) -> Expression:
    """`e` with the inputs that `values` names replaced by numbers or expressions."""
    if e.op == "input":
        return lift(values[e.args[0]]) if e.args[0] in values else e
    if e.op == "const":
        return e
    return apply(e.op, *(substitute(a, values) for a in e.args))


def simplified(e: Expression) -> Expression:
    """`e` with what is constant computed, and powers that are products, roots or quotients."""
    if e.op in ("input", "const"):
        return e
    args = [simplified(a) for a in e.args]
    if e.op == "where" and args[0].op == "const":
        return args[1] if args[0].args[0] else args[2]
    if e.op in _FOLDED and all(a.op == "const" for a in args):
        return Expression("const", _FOLDED[e.op](*(a.args[0] for a in args)))
    if e.op == "pow" and args[1].op == "const" and args[1].args[0] in _POWERS:
        return _POWERS[args[1].args[0]](args[0])
    if e.op == "pow" and is_constant(args[0], 2):
        return apply("exp2", args[1])
    return apply(e.op, *args)


_FOLDED: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "neg": operator.neg,
    "eq": operator.eq,
}
_POWERS: dict[float, Callable[[Expression], Expression]] = {
    1: lambda x: x,
    2: lambda x: x * x,
    3: lambda x: x * x * x,
    4: lambda x: apply("square", x * x),
    0.5: lambda x: apply("sqrt", x),
    -0.5: lambda x: apply("rsqrt", x),
    -1: lambda x: apply("reciprocal", x),
    -2: lambda x: apply("reciprocal", x * x),
}


def inputs_of(e: Expression) -> set[str]:
    """The names of the inputs that `e` reads."""
    if e.op == "input":
        return {e.args[0]}
    if e.op == "const":
        return set()
    return set().union(*map(inputs_of, e.args))


def _count(e: Expression, uses: dict[int, int]) -> None:
    uses[id(e)] = uses.get(id(e), 0) + 1
    if uses[id(e)] == 1 and e.op not in ("input", "const"):
        for a in e.args:
            _count(a, uses)


class Rendering(NamedTuple):
    """Python source: statements that bind shared subexpressions, then the final expression."""

    statements: list[str]
    text: str


def render_python(e: Expression, names: dict[str, str], prefix: str) -> Rendering:
    """`e` as Python source; inputs are spelled by `names`, functions as ``prefix + name``.

    `prefix` is ``"N_"`` for NumPy functions and ``"F."`` for tensor functions.
    """
    uses: dict[int, int] = {}
    _count(e, uses)
    statements: list[str] = []
    bound: dict[int, str] = {}

    def visit(node: Expression) -> str:
        if id(node) in bound:
            return bound[id(node)]
        if node.op == "input":
            return names[node.args[0]]
        if node.op == "const":
            return _constant(node.args[0])
        text = _spell(node.op, [visit(a) for a in node.args], prefix)
        if uses[id(node)] > 1:
            name = f"_{len(bound)}"
            statements.append(f"{name} = {text}")
            bound[id(node)] = name
            return name
        return text

    text = visit(e)
    return Rendering(statements, text)


def _constant(value: Any) -> str:
    text = repr(value)
    if text in ("inf", "nan", "-inf"):
        return f'float("{text}")'
    return f"({text})" if text.startswith("-") else text


def _spell(op: str, args: list[str], prefix: str) -> str:
    symbol = PRIMITIVES[op].symbol
    # NumPy's ** and the Tensor's differ on integers and scalars; the function says what is meant.
    # A NumPy function costs some 40 ns less than the operator that calls it.
    if symbol and op != "pow" and not (prefix == "N_" and args[0].isidentifier()):
        return f"({symbol}{args[0]})" if len(args) == 1 else f"({args[0]} {symbol} {args[1]})"
    return f"{prefix}{op}({', '.join(args)})"
