"""From the loop language to LLVM IR: statements, functions and the frame of a kernel.

A function is read as its syntax tree; expressions are in `translate_values`. Every variable is a
slot on the stack that LLVM turns into registers; control flow is written as the basic blocks that
it is.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from .scalar_ir import Value
from .translate_values import (
    STORAGE,
    Constant,
    KernelError,
    Operand,
    Pointer,
    ValueTranslator,
    Variable,
)


@functools.cache
def parse(function: Callable[..., Any]) -> ast.FunctionDef:
    """The syntax tree of a function, with the line numbers of its file."""
    try:
        lines, start = inspect.getsourcelines(function)
    except OSError:
        raise KernelError(f"the source of {function.__name__} is not in a file") from None
    tree = ast.parse(textwrap.dedent("".join(lines)))
    ast.increment_lineno(tree, start - 1)
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    return definition


class Module:
    """The IR of a kernel and of the functions that it calls, as it comes into being."""

    def __init__(self, types: Mapping[str, str], number: str) -> None:
        self.types = dict(types)
        self.number = number
        self.functions: list[str] = []
        self.declarations: set[str] = set()
        self._texts: dict[str, str] = {}
        self._metadata: list[str] = []
        self._inlined: dict[Any, tuple[str, str]] = {}

    def call_inline(self, function: Callable[..., Any], args: list[Operand]) -> tuple[str, str]:
        """The name and result type of `function` made for arguments like `args`."""
        key = (function, tuple(a if isinstance(a, Constant) else a.kind for a in args))
        found = self._inlined.get(key)
        if found is None:
            name = f"{function.__name__}.{len(self._inlined)}"
            self._inlined[key] = (name, "recursive")
            translator = FunctionTranslator(self, function, name)
            names = [a.arg for a in parse(function).args.args]
            if len(names) != len(args):
                raise KernelError(f"{function.__name__} takes {len(names)} arguments")
            head = []
            for parameter, a in zip(names, args, strict=True):
                translator.bind(parameter, a, f"%a.{parameter}")
                if not isinstance(a, Constant):
                    head.append(f"{a.type} %a.{parameter}")
            text = translator.translate_body()
            result = translator.result or "void"
            self.functions.append(
                f"define internal {result} @{name}({', '.join(head)}) alwaysinline {{\n{text}}}\n"
            )
            found = self._inlined[key] = (name, result)
        if found[1] == "recursive":
            raise KernelError(f"{function.__name__} calls itself")
        return found

    def add_text(self, name: str, render: Callable[[], str]) -> None:
        """Let the module hold what `render` writes, once for each `name`."""
        if name not in self._texts:
            self._texts[name] = render()

    def add_independence(self) -> tuple[str, str]:
        """Marks for the memory accesses and the branch of a loop whose iterations are apart."""
        n = len(self._metadata)
        self._metadata += [
            f"!{n} = distinct !{{}}",
            f"!{n + 1} = distinct !{{!{n + 1}, !{n + 2}}}",
            f'!{n + 2} = !{{!"llvm.loop.parallel_accesses", !{n}}}',
        ]
        return f", !llvm.access.group !{n}", f", !llvm.loop !{n + 1}"

    def text(self) -> str:
        """The whole module."""
        parts = [*self.functions, *self._texts.values(), *sorted(self.declarations)]
        parts += self._metadata
        return "\n".join(parts) + "\n"


class FunctionTranslator(ValueTranslator):
    """Translates one function."""

    def __init__(self, module: Module, function: Callable[..., Any], name: str) -> None:
        super().__init__(module, function)
        self.name = name
        self.result: str | None = None
        self._loops: list[tuple[str, str]] = []

    def bind(self, name: str, value: Operand, spelling: str) -> None:
        """Give a parameter its value; `spelling` is how the function's head calls it."""
        if isinstance(value, Constant):
            self.names[name] = value
        elif isinstance(value, Pointer):
            self.names[name] = Pointer(spelling, value.element)
        else:
            self.store_variable(name, Value(spelling, value.type))

    def translate_body(self) -> str:
        """The function's blocks."""
        definition = parse(self.function)
        try:
            self.run(definition.body)
        except KernelError as error:
            raise error.at(self.function, self.line) from None
        if not self.ended:
            if self.result not in (None, "void"):
                raise KernelError("a path returns nothing").at(self.function, self.line)
            self.end("ret void")
        return "entry:\n" + "\n".join(self.slots) + "\n" + "\n".join(self.w.lines) + "\n"

    def run(self, body: list[ast.stmt]) -> None:
        """Translate statements until one leaves."""
        for statement in body:
            if self.ended:
                return
            self.line = statement.lineno
            method = getattr(self, f"do_{type(statement).__name__.lower()}", None)
            if method is None:
                raise KernelError(f"kernels have no {type(statement).__name__.lower()} statement")
            method(statement)

    # ---------------------------------------------------------------- simple statements
    def do_pass(self, node: ast.Pass) -> None:
        """Nothing."""

    def do_expr(self, node: ast.Expr) -> None:
        """A docstring or a call."""
        if not isinstance(node.value, ast.Constant):
            self.value(node.value)

    def do_assign(self, node: ast.Assign) -> None:
        """``a = b``, ``a[i] = b`` and ``a, b = c, d``."""
        (target,) = node.targets
        if isinstance(target, ast.Tuple):
            if not isinstance(node.value, ast.Tuple) or len(target.elts) != len(node.value.elts):
                raise KernelError("a tuple is assigned from a tuple of the same length")
            values = [self.value(v) for v in node.value.elts]
            for each, v in zip(target.elts, values, strict=True):
                self.assign(each, v)
        else:
            self.assign(target, self.value(node.value))

    def do_augassign(self, node: ast.AugAssign) -> None:
        """``a += b``; in `simd` loops the order of sums and products is free."""
        target = node.target
        if isinstance(target, ast.Name):
            reorder = any(target.id in known for known in self.simd)
            old = self.value(ast.Name(target.id, ast.Load()))
            new = self.arithmetic(node.op, old, self.value(node.value), reorder)
            self.assign(target, new)
        elif isinstance(target, ast.Subscript):
            address, element = self.element_address(target)
            old = self.load(address, element)
            new = self.arithmetic(node.op, old, self.value(node.value))
            self.store(address, element, new)
        else:
            raise KernelError("this cannot be assigned to")

    def assign(self, target: ast.expr, value: Operand) -> None:
        """Store `value` in a variable or an element."""
        if isinstance(target, ast.Name):
            self.store_variable(target.id, value)
        elif isinstance(target, ast.Subscript):
            address, element = self.element_address(target)
            self.store(address, element, value)
        else:
            raise KernelError("this cannot be assigned to")

    def do_return(self, node: ast.Return) -> None:
        """Leave, with a value or without."""
        if node.value is None:
            self.result = self.result or "void"
            return self.end("ret void")
        value = self.number(self.value(node.value))
        if self.result not in (None, value.type):
            raise KernelError(f"returns {value.type} here and {self.result} before")
        self.result = value.type
        return self.end(f"ret {value.type} {value.name}")

    # ---------------------------------------------------------------- control flow
    def do_if(self, node: ast.If) -> None:
        """A branch; over a constant, only the one that is taken."""
        test = self.value(node.test)
        if isinstance(test, Constant):
            return self.run(node.body if test.value else node.orelse)
        then, other, after = self.labels("then", "else", "endif")
        self.branch(self.truth(test), then, other if node.orelse else after)
        self.begin(then)
        self.run(node.body)
        self.jump(after)
        if node.orelse:
            self.begin(other)
            self.run(node.orelse)
            self.jump(after)
        return self.begin(after)

    def do_while(self, node: ast.While) -> None:
        """A loop with a condition."""
        head, body, after = self.labels("while", "body", "endwhile")
        self.jump(head)
        self.begin(head)
        self.branch(self.truth(self.value(node.test)), body, after)
        self.begin(body)
        self._loops.append((head, after))
        self.run(node.body)
        self._loops.pop()
        self.jump(head)
        self.begin(after)

    def do_break(self, node: ast.Break) -> None:
        """Leave the innermost loop."""
        self.jump(self._loops[-1][1])

    def do_continue(self, node: ast.Continue) -> None:
        """Go on with the innermost loop."""
        self.jump(self._loops[-1][0])

    def do_for(self, node: ast.For) -> None:
        """``for i in range(...)``, ``simd(...)`` or ``unrolled(...)``."""
        call, target = node.iter, node.target
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise KernelError("a for loop runs over range, simd or unrolled")
        if not isinstance(target, ast.Name) or node.orelse:
            raise KernelError("a for loop has one variable and no else")
        bounds = [self.value(a) for a in call.args]
        if call.func.id == "unrolled":
            return self._unroll(node.body, target.id, bounds)
        if call.func.id not in ("range", "simd"):
            raise KernelError("a for loop runs over range, simd or unrolled")
        return self._loop(node.body, target.id, bounds, call.func.id == "simd")

    def _unroll(self, body: list[ast.stmt], name: str, bounds: list[Operand]) -> None:
        numbers = [b.value for b in bounds if isinstance(b, Constant)]
        if len(numbers) != len(bounds):
            raise KernelError("the bounds of unrolled must be constants")
        for i in range(*numbers):
            self.names[name] = Constant(i)
            self.run(body)
        self.names.pop(name, None)

    def _loop(self, body: list[ast.stmt], name: str, bounds: list[Operand], simd: bool) -> None:
        low, high, step = Constant(0), bounds[0], Constant(1)
        if len(bounds) > 1:
            low, high = bounds[0], bounds[1]  # type: ignore[assignment]
        if len(bounds) > 2:
            step = bounds[2]  # type: ignore[assignment]
        start, stop, by = (self.convert(b, "i64") for b in (low, high, step))
        down = isinstance(step, Constant) and step.value < 0
        test = "sgt" if down else "slt"
        head, latch, after = self.labels("for", "latch", "endfor")
        before = self.block
        self.branch(self.w.compare(test, start, stop), head, after)
        self.begin(head)
        i = self.w.emit(f"phi i64 [ {start.name}, %{before} ], [ %{latch}.next, %{latch} ]", "i64")
        outer, mark = self.access, ""
        if simd:
            self.simd.append({n for n, v in self.names.items() if isinstance(v, Variable)})
            self.access, mark = self.module.add_independence()
        self.store_variable(name, i)
        self._loops.append((latch, after))
        self.run(body)
        self._loops.pop()
        self.access = outer
        if simd:
            self.simd.pop()
        self.jump(latch)
        self.begin(latch)
        self.w.lines.append(f"  %{latch}.next = add nsw i64 {i.name}, {by.name}")
        more = self.w.compare(test, Value(f"%{latch}.next", "i64"), stop)
        self.branch(more, head, after, mark)
        self.begin(after)


def render(
    name: str,
    function: Callable[..., Any],
    elements: Mapping[str, str],
    absent: frozenset[str],
    statics: Mapping[str, Any],
    types: Mapping[str, str],
) -> str:
    """The IR of ``void name(i64* words, i64 index, i64 thread)`` for a kernel.

    `elements` gives the element kind of each array that is present, `absent` names the arrays left
    out, `statics` the constants; `types` maps T and S to element kinds. The words are the number of
    items, the items of a chunk, then the arguments that are present.
    """
    first = types.get("T", "f64")
    number = STORAGE[first].compute if STORAGE[first].compute in ("float", "double") else "double"
    module = Module(types, number)
    body = FunctionTranslator(module, function, f"{name}.body")
    head, loads, arguments = ["i64 %first", "i64 %last"], [], ["i64 %first", "i64 %last"]
    parameters = parse(function).args.args
    position = 2
    for i, parameter in enumerate(parameters):
        p = parameter.arg
        if i < 2:
            body.store_variable(p, Value("%first" if i == 0 else "%last", "i64"))
        elif p == "thread":
            head.append("i64 %thread")
            arguments.append("i64 %thread")
            body.store_variable(p, Value("%thread", "i64"))
        elif p in absent:
            body.names[p] = Constant(None)
        elif p in statics:
            body.names[p] = Constant(statics[p])
        else:
            load, type_ = _load_word(position, p, elements, parameter, number)
            loads += load
            position += 1
            head.append(f"{type_}{' noalias' if type_ == 'ptr' else ''} %a.{p}")
            arguments.append(f"{type_} %w.{p}")
            if type_ == "ptr":
                body.names[p] = Pointer(f"%a.{p}", elements[p])
            else:
                body.store_variable(p, Value(f"%a.{p}", type_))
    text = body.translate_body()
    entry = _CHUNK.format(name=name, loads="\n".join(loads), arguments=", ".join(arguments))
    module.functions.append(
        f"define internal void @{name}.body({', '.join(head)}) noinline {{\n{text}}}\n"
    )
    return entry + module.text()


_CHUNK = """\
define void @{name}(ptr noalias %words, i64 %index, i64 %thread) {{
entry:
  %count = load i64, ptr %words, align 8
  %size.at = getelementptr i64, ptr %words, i64 1
  %size = load i64, ptr %size.at, align 8
  %first = mul i64 %index, %size
  %end = add i64 %first, %size
  %over = icmp sgt i64 %end, %count
  %last = select i1 %over, i64 %count, i64 %end
{loads}
  call void @{name}.body({arguments})
  ret void
}}
"""


def _load_word(
    position: int, name: str, elements: Mapping[str, str], parameter: ast.arg, number: str
) -> tuple[list[str], str]:
    """The instructions that fetch an argument into ``%w.name``, and its type in the body."""
    at = f"  %p.{name} = getelementptr i64, ptr %words, i64 {position}"
    if name in elements:
        return [at, f"  %w.{name} = load ptr, ptr %p.{name}, align 8"], "ptr"
    annotation = ast.unparse(parameter.annotation) if parameter.annotation else ""
    if annotation == "int":
        return [at, f"  %w.{name} = load i64, ptr %p.{name}, align 8"], "i64"
    if annotation != "float":
        raise KernelError(f"the parameter {name} is no int, float, Array or Static")
    load = f"  %d.{name} = load double, ptr %p.{name}, align 8"
    if number == "double":
        return [at, load.replace("%d.", "%w.")], "double"
    return [at, load, f"  %w.{name} = fptrunc double %d.{name} to float"], "float"
