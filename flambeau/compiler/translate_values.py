"""Expressions of the loop language as LLVM IR: numbers, arrays, conversions, calls."""

from __future__ import annotations

import ast
import builtins
import inspect
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from . import language
from .elements import STORAGE, load_element, store_element
from .expressions import Expression, inputs_of
from .scalar_ir import FLAGS, ScalarWriter, Value


class KernelError(Exception):
    """A kernel says what the loop language does not have."""

    def at(self, function: Callable[..., Any], line: int) -> KernelError:
        """The same complaint with its place."""
        if getattr(self, "placed", False):
            return self
        file = os.path.basename(inspect.getsourcefile(function) or "?")
        error = KernelError(f"{file}:{line}, in kernel {function.__name__}: {self}")
        error.placed = True  # type: ignore[attr-defined]
        return error


MARKERS = {
    language.F32: "f32",
    language.F64: "f64",
    language.I64: "i64",
    language.I32: "i32",
    language.U8: "u8",
    language.I8: "i8",
    language.Bool: "bool",
}


class Constant(NamedTuple):
    """A value that is known now: a number, None, a function, an expression, an element type."""

    value: Any

    @property
    def type(self) -> str:
        """No type until it meets a value."""
        return "constant"

    @property
    def kind(self) -> str:
        """What tells one specialisation of a function from another."""
        return f"constant {self.value!r}"


class Pointer(NamedTuple):
    """An address of elements of one kind."""

    name: str
    element: str

    @property
    def type(self) -> str:
        """The LLVM type."""
        return "ptr"

    @property
    def kind(self) -> str:
        """What tells one specialisation of a function from another."""
        return f"ptr {self.element}"


class Number(Value):
    """An SSA value that is a number."""

    @property
    def kind(self) -> str:
        """What tells one specialisation of a function from another."""
        return self.type


class Variable(NamedTuple):
    """A slot on the stack; `element` is set where it holds an address."""

    address: str
    type: str
    element: str = ""


Operand = Any
"""Constant, Pointer or Value."""

_COMPARE = {
    ast.Eq: ("oeq", "eq"),
    ast.NotEq: ("une", "ne"),
    ast.Lt: ("olt", "slt"),
    ast.LtE: ("ole", "sle"),
    ast.Gt: ("ogt", "sgt"),
    ast.GtE: ("oge", "sge"),
}
_FLOAT = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_INTEGER = {
    ast.Add: "add nsw",
    ast.Sub: "sub nsw",
    ast.Mult: "mul",
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.BitXor: "xor",
    ast.LShift: "shl",
    ast.RShift: "ashr",
}
_FOLD: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.Pow: lambda a, b: a**b,
    ast.LShift: lambda a, b: a << b,
    ast.RShift: lambda a, b: a >> b,
    ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b,
    ast.BitXor: lambda a, b: a ^ b,
}
_RANK = {"i1": 0, "i64": 1, "float": 2, "double": 3}


class ValueTranslator:
    """Translates expressions; statements build on it."""

    def __init__(self, module: Any, function: Callable[..., Any]) -> None:
        self.module = module
        self.function = function
        self.w = ScalarWriter()
        self.w.declarations = module.declarations
        self.slots: list[str] = []
        self.names: dict[str, Any] = {}
        self.simd: list[set[str]] = []
        self.access = ""
        self.line = 0
        self.block = "entry"
        self.ended = False
        self._labels = 0

    # ---------------------------------------------------------------- blocks
    def labels(self, *names: str) -> list[str]:
        """Fresh labels."""
        self._labels += 1
        return [f"{name}.{self._labels}" for name in names]

    def begin(self, label: str) -> None:
        """Open a block."""
        self.w.lines.append(f"{label}:")
        self.block, self.ended = label, False

    def end(self, instruction: str) -> None:
        """Close the block."""
        if not self.ended:
            self.w.lines.append(f"  {instruction}")
            self.ended = True

    def jump(self, label: str) -> None:
        """Close the block by going to `label`."""
        self.end(f"br label %{label}")

    def branch(self, condition: Value, yes: str, no: str, mark: str = "") -> None:
        """Close the block by going to one of two."""
        self.end(f"br i1 {condition.name}, label %{yes}, label %{no}{mark}")

    # ---------------------------------------------------------------- variables and memory
    def store_variable(self, name: str, value: Operand) -> None:
        """Assign; the first value decides the type."""
        known = self.names.get(name)
        if isinstance(value, Constant) and not isinstance(value.value, (bool, int, float)):
            self.names[name] = value
            return
        if not isinstance(known, Variable):
            known = self.names[name] = self._new_variable(name, value)
        if isinstance(value, Pointer):
            if known.element != value.element:
                raise KernelError(f"{name} is an array of {known.element or 'no'} elements")
            self.w.lines.append(f"  store ptr {value.name}, ptr {known.address}, align 8")
            return
        v = self.convert(value, known.type, name)
        self.w.lines.append(f"  store {v.type} {v.name}, ptr {known.address}")

    def _new_variable(self, name: str, value: Operand) -> Variable:
        address = f"%slot.{name}.{len(self.slots)}"
        if isinstance(value, Pointer):
            self.slots.append(f"  {address} = alloca ptr, align 8")
            return Variable(address, "ptr", value.element)
        type_ = self.number(value).type if isinstance(value, Constant) else value.type
        self.slots.append(f"  {address} = alloca {type_}")
        return Variable(address, type_)

    def element_address(self, node: ast.Subscript) -> tuple[Value, str]:
        """Where ``x[i]`` lies, and its element kind."""
        base = self.value(node.value)
        if not isinstance(base, Pointer):
            raise KernelError("only arrays have elements")
        index = self.convert(self.value(node.slice), "i64", "an index")
        return self.offset(base, index), base.element

    def offset(self, base: Pointer, index: Value) -> Value:
        """The address of element `index`."""
        memory = STORAGE[base.element].memory
        return self.w.emit(
            f"getelementptr inbounds {memory}, ptr {base.name}, i64 {index.name}", "ptr"
        )

    def load(self, address: Value, element: str) -> Value:
        """An element in its compute type."""
        return load_element(self.w, address, element, self.access)

    def store(self, address: Value, element: str, value: Operand) -> None:
        """Put a value where an element lies."""
        v = self.convert(value, STORAGE[element].compute, f"an element of {element}")
        store_element(self.w, address, element, v, self.access)

    # ---------------------------------------------------------------- conversions
    def number(self, v: Operand) -> Value:
        """A value with a type; constants take the type their kind has alone."""
        if isinstance(v, Constant):
            if isinstance(v.value, bool):
                return Value(str(int(v.value)), "i1")
            if isinstance(v.value, int):
                return Value(str(v.value), "i64")
            if isinstance(v.value, float):
                return self.w.const(v.value, self.module.number)
            raise KernelError(f"{v.value!r} is no number")
        if isinstance(v, Pointer):
            raise KernelError("an array where a number is needed")
        return v  # type: ignore[no-any-return]

    def truth(self, v: Operand) -> Value:
        """A value as a condition."""
        v = self.number(v)
        if v.type == "i1":
            return v
        return self.w.compare("une" if v.type != "i64" else "ne", v, self.w.const(0, v.type))

    def convert(self, v: Operand, type_: str, what: str = "a value") -> Value:
        """`v` as a value of `type_`, where nothing is lost but a double's precision as constant."""
        if isinstance(v, Constant) and isinstance(v.value, (bool, int, float)):
            if type_ in ("float", "double"):
                return self.w.const(float(v.value), type_)
            if isinstance(v.value, float):
                raise KernelError(f"{what} is an integer, got {v.value}")
            if type_ == "i64":
                return Value(str(int(v.value)), "i64")
        v = self.number(v)
        if v.type == type_:
            return v
        if _RANK[v.type] > _RANK[type_]:
            raise KernelError(f"{what} is {type_}, got {v.type}: convert it")
        return self.widen(v, type_)

    def widen(self, v: Value, type_: str) -> Value:
        """The same number in a type that holds it."""
        if v.type == "i1":
            op = "zext" if type_ == "i64" else "uitofp"
        else:
            op = "sitofp" if v.type == "i64" else "fpext"
        return self.w.emit(f"{op} {v.type} {v.name} to {type_}", type_)

    def cast(self, v: Operand, type_: str) -> Value:
        """`v` in `type_`, whatever it loses; floats beyond an integer's range saturate."""
        if isinstance(v, Constant):
            python = float if type_ in ("float", "double") else int
            return self.convert(Constant(python(v.value)), type_)
        if v.type == type_ or _RANK[v.type] < _RANK[type_]:
            return v if v.type == type_ else self.widen(v, type_)
        if type_ == "i1":
            return self.truth(v)
        if type_ == "float":
            return self.w.emit(f"fptrunc double {v.name} to float", "float")
        suffix = {"float": "f32", "double": "f64"}[v.type]
        name = f"llvm.fptosi.sat.i64.{suffix}"
        self.module.declarations.add(f"declare i64 @{name}({v.type})")
        return self.w.emit(f"call i64 @{name}({v.type} {v.name})", "i64")

    def meet(self, a: Operand, b: Operand) -> tuple[Value, Value]:
        """Two operands in one type."""
        for one, other in ((a, b), (b, a)):
            if isinstance(one, Constant) and not isinstance(other, Constant):
                type_ = self.number(other).type
                if isinstance(one.value, float) and type_ in ("i64", "i1"):
                    type_ = self.module.number
                elif type_ == "i1" and not isinstance(one.value, bool):
                    type_ = "i64"
                pair = self.convert(one, type_), self.convert(other, type_)
                return pair if one is a else pair[::-1]
        x, y = self.number(a), self.number(b)
        type_ = x.type if _RANK[x.type] >= _RANK[y.type] else y.type
        return self.convert(x, type_), self.convert(y, type_)

    # ---------------------------------------------------------------- expressions
    def value(self, node: ast.expr) -> Operand:
        """The operand that an expression is."""
        method = getattr(self, f"see_{type(node).__name__.lower()}", None)
        if method is None:
            raise KernelError(f"kernels have no {type(node).__name__.lower()} expression")
        return method(node)

    def see_constant(self, node: ast.Constant) -> Operand:
        """A literal."""
        return Constant(node.value)

    def see_name(self, node: ast.Name) -> Operand:
        """A variable, else what the function's surroundings call so."""
        found = self.names.get(node.id)
        if isinstance(found, Variable):
            if found.element:
                v = self.w.emit(f"load ptr, ptr {found.address}, align 8", "ptr")
                return Pointer(v.name, found.element)
            return self.w.emit(f"load {found.type}, ptr {found.address}", found.type)
        return found if found is not None else Constant(resolve(self.function, node.id))

    def see_subscript(self, node: ast.Subscript) -> Operand:
        """``x[i]`` or ``x[k:]``."""
        if isinstance(node.slice, ast.Slice):
            base = self.value(node.value)
            if not isinstance(base, Pointer) or node.slice.upper or node.slice.step:
                raise KernelError("a slice of an array is written x[start:]")
            start = self.value(node.slice.lower) if node.slice.lower else Constant(0)
            at = self.offset(base, self.convert(start, "i64", "an index"))
            return Pointer(at.name, base.element)
        return self.load(*self.element_address(node))

    def see_unaryop(self, node: ast.UnaryOp) -> Operand:
        """-x, not x, ~x."""
        v = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            if isinstance(v, Constant):
                return Constant(not v.value)
            return self.w.emit(f"xor i1 {self.truth(v).name}, true", "i1")
        if isinstance(v, Constant):
            return Constant(-v.value if isinstance(node.op, ast.USub) else ~v.value)
        if isinstance(node.op, ast.USub):
            if v.type in ("float", "double"):
                return self.w.negate(v)
            return self.arithmetic(ast.Sub(), Constant(0), v)
        return self.arithmetic(ast.BitXor(), v, Constant(-1))

    def see_binop(self, node: ast.BinOp) -> Operand:
        """Arithmetic."""
        return self.arithmetic(node.op, self.value(node.left), self.value(node.right))

    def arithmetic(
        self, op: ast.operator, a: Operand, b: Operand, reorder: bool = False
    ) -> Operand:
        """``a op b``, in the wider of the two types; integers are divided into floats."""
        if isinstance(a, Constant) and isinstance(b, Constant):
            return Constant(_FOLD[type(op)](a.value, b.value))
        x, y = self.meet(a, b)
        if x.type == "i1" and not isinstance(op, (ast.BitAnd, ast.BitOr, ast.BitXor)):
            x, y = self.widen(x, "i64"), self.widen(y, "i64")
        if isinstance(op, ast.Div) and x.type == "i64":
            x, y = self.widen(x, self.module.number), self.widen(y, self.module.number)
        if x.type in ("float", "double"):
            if type(op) not in _FLOAT:
                raise KernelError(f"floats have no {type(op).__name__.lower()}")
            flags = f"{'reassoc ' if reorder else ''}{FLAGS}"
            return self.w.emit(f"{_FLOAT[type(op)]} {flags} {x.type} {x.name}, {y.name}", x.type)
        if isinstance(op, (ast.FloorDiv, ast.Mod)):
            return self._divide(x, y, isinstance(op, ast.Mod))
        if type(op) not in _INTEGER:
            raise KernelError(f"integers have no {type(op).__name__.lower()}")
        return self.w.emit(f"{_INTEGER[type(op)]} {x.type} {x.name}, {y.name}", x.type)

    def _divide(self, x: Value, y: Value, remainder: bool) -> Value:
        """Python's // and %: the quotient goes down, the remainder has the divisor's sign."""
        w = self.w
        r = w.emit(f"srem i64 {x.name}, {y.name}", "i64")
        signs = w.emit(f"xor i64 {r.name}, {y.name}", "i64")
        other = w.compare("slt", signs, Value("0", "i64"))
        inexact = w.compare("ne", r, Value("0", "i64"))
        fix = w.emit(f"and i1 {other.name}, {inexact.name}", "i1")
        if remainder:
            moved = w.emit(f"add i64 {r.name}, {y.name}", "i64")
            return w.select(fix, moved, r)
        q = w.emit(f"sdiv i64 {x.name}, {y.name}", "i64")
        down = w.emit(f"sext i1 {fix.name} to i64", "i64")
        return w.emit(f"add i64 {q.name}, {down.name}", "i64")

    def see_compare(self, node: ast.Compare) -> Operand:
        """Comparisons, chained as in Python; ``is None`` asks for an array that was left out."""
        result: Operand = None
        left = self.value(node.left)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.value(comparator)
            one = self._compare(op, left, right)
            result = one if result is None else self._both(result, one)
            left = right
        return result

    def _compare(self, op: ast.cmpop, a: Operand, b: Operand) -> Operand:
        if isinstance(op, (ast.Is, ast.IsNot)):
            same = isinstance(a, Constant) and a.value is None
            return Constant(same if isinstance(op, ast.Is) else not same)
        if isinstance(a, Constant) and isinstance(b, Constant):
            return Constant(bool(eval_compare(op, a.value, b.value)))
        x, y = self.meet(a, b)
        floating, integer = _COMPARE[type(op)]
        return self.w.compare(floating if x.type in ("float", "double") else integer, x, y)

    def _both(self, a: Operand, b: Operand) -> Operand:
        if isinstance(a, Constant) or isinstance(b, Constant):
            constant, other = (a, b) if isinstance(a, Constant) else (b, a)
            return other if constant.value else Constant(False)
        return self.w.emit(f"and i1 {a.name}, {b.name}", "i1")

    def see_boolop(self, node: ast.BoolOp) -> Operand:
        """``and`` and ``or``; what reads memory is evaluated only when it counts."""
        conjunction = isinstance(node.op, ast.And)
        result = self.value(node.values[0])
        for operand in node.values[1:]:
            if isinstance(result, Constant):
                if bool(result.value) != conjunction:
                    return result
                result = self.value(operand)
            elif _reads(operand):
                result = self._guarded(self.truth(result), operand, conjunction)
            else:
                v = self.value(operand)
                op = "and" if conjunction else "or"
                a, b = self.truth(result), self.truth(v)
                result = self.w.emit(f"{op} i1 {a.name}, {b.name}", "i1")
        return result

    def _guarded(self, first: Value, operand: ast.expr, conjunction: bool) -> Value:
        second, after = self.labels("operand", "decided")
        before = self.block
        self.branch(first, *((second, after) if conjunction else (after, second)))
        self.begin(second)
        v = self.truth(self.value(operand))
        origin = self.block
        self.jump(after)
        self.begin(after)
        known = "false" if conjunction else "true"
        return self.w.emit(f"phi i1 [ {known}, %{before} ], [ {v.name}, %{origin} ]", "i1")

    def see_ifexp(self, node: ast.IfExp) -> Operand:
        """``a if c else b``; a branch where an arm reads memory, else a selection."""
        test = self.value(node.test)
        if isinstance(test, Constant):
            return self.value(node.body if test.value else node.orelse)
        condition = self.truth(test)
        if not _reads(node.body) and not _reads(node.orelse):
            a, b = self.meet_or_pair(self.value(node.body), self.value(node.orelse))
            return self.w.select(condition, a, b)
        yes, no, after = self.labels("yes", "no", "chosen")
        self.branch(condition, yes, no)
        self.begin(yes)
        a = self.number(self.value(node.body))
        origin_a = self.block
        self.jump(after)
        self.begin(no)
        b = self.convert(self.value(node.orelse), a.type, "the other arm")
        origin_b = self.block
        self.jump(after)
        self.begin(after)
        return self.w.emit(
            f"phi {a.type} [ {a.name}, %{origin_a} ], [ {b.name}, %{origin_b} ]", a.type
        )

    def meet_or_pair(self, a: Operand, b: Operand) -> tuple[Value, Value]:
        """`meet`, also of two constants."""
        if isinstance(a, Constant) and isinstance(b, Constant):
            return self.meet(self.number(a), self.number(b))
        return self.meet(a, b)

    def see_call(self, node: ast.Call) -> Operand:
        """A name of the language, an inline function, or an expression."""
        from .translate_calls import LOWERINGS

        target = self.value(node.func)
        if not isinstance(target, Constant):
            raise KernelError("this cannot be called")
        f = target.value
        args = [self.value(a) for a in node.args]
        if isinstance(f, Expression):
            return self._evaluate(f, args, {k.arg: self.value(k.value) for k in node.keywords})
        if node.keywords:
            raise KernelError("arguments of a call have no names here")
        if f in LOWERINGS:
            return LOWERINGS[f](self, *args)
        if getattr(f, "is_inline", False):
            name, type_ = self.module.call_inline(f.function, [_kinded(a) for a in args])
            text = ", ".join(f"{a.type} {a.name}" for a in args if not isinstance(a, Constant))
            if type_ == "void":
                self.w.lines.append(f"  call void @{name}({text})")
                return Constant(None)
            return self.w.emit(f"call {type_} @{name}({text})", type_)
        raise KernelError(f"{getattr(f, '__name__', f)} is not for kernels")

    def _evaluate(self, e: Expression, args: list[Operand], named: dict[Any, Operand]) -> Value:
        if args:
            raise KernelError("an expression's inputs are given by name")
        missing = inputs_of(e) - set(named)
        if missing:
            raise KernelError(f"the expression also needs {', '.join(sorted(missing))}")
        type_ = self.module.number
        inputs = {
            name: self.number(v) if _is_truth(v) else self.convert(v, type_)
            for name, v in named.items()
        }
        return self.w.lower(e, inputs, type_)


def _kinded(a: Operand) -> Operand:
    return a if isinstance(a, (Constant, Pointer)) else Number(*a)


def _is_truth(v: Operand) -> bool:
    return not isinstance(v, Constant) and v.type == "i1"


def _reads(node: ast.expr) -> bool:
    return any(isinstance(n, (ast.Subscript, ast.Call)) for n in ast.walk(node))


def eval_compare(op: ast.cmpop, a: Any, b: Any) -> bool:
    """A comparison of two constants."""
    return {
        ast.Eq: a == b,
        ast.NotEq: a != b,
        ast.Lt: not isinstance(op, (ast.Eq, ast.NotEq)) and a < b,
        ast.LtE: not isinstance(op, (ast.Eq, ast.NotEq)) and a <= b,
        ast.Gt: not isinstance(op, (ast.Eq, ast.NotEq)) and a > b,
        ast.GtE: not isinstance(op, (ast.Eq, ast.NotEq)) and a >= b,
    }[type(op)]


def resolve(function: Callable[..., Any], name: str, *default: Any) -> Any:
    """What `name` is where `function` was written, else the default, else KernelError."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    free = {variable: cell.cell_contents for variable, cell in cells}
    for scope in (free, function.__globals__, vars(builtins)):
        if name in scope:
            return scope[name]
    if default:
        return default[0]
    raise KernelError(f"{name} is not known here")
