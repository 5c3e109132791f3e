"""From a record to its public function; generated once, when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from ..autograd.grad_mode import FAST
from ..ops.record import Op
from .arguments import MISSING, argument_text, call_text, missing_argument, rename_lines
from .elementwise import REAL, derive_elementwise, dispatch_pointwise, short_lines
from .generated import compile_source, source_of
from .outputs import write_out
from .structured import derive_structured


def derive_composite(op: Op) -> Callable[..., Any]:
    """The function of an op that is declared as a function of other ops."""
    inputs = "".join(f"{n}, " for n in op.tensors)
    store = f"    if out is not None:\n        return write_out(OP, out, result, ({inputs}))\n"
    store = store if op.out else ""
    named = "    result = tuple.__new__(RESULT, result)\n" if op.fields else ""
    source = (
        f"def {op.name}({argument_text(op)}):\n{rename_lines(op)}"
        f"    result = forward(F, {call_text(op, False)})\n"
        f"{named}{store}    return result\n"
    )
    space = {
        "OP": op,
        "DEFAULTS": op.defaults,
        "MISSING": MISSING,
        "missing_argument": missing_argument,
        "forward": op.forward,
        "RESULT": op.result_class,
        "F": FAST["F"],
        "write_out": write_out,
        "__name__": "flambeau.tensor.generated",
    }
    compile_source(op.name, source, space)
    made: Callable[..., Any] = space[op.name]
    return made


def derive_pointwise(op: Op) -> Callable[..., Any]:
    """The public function of an element-wise op: all parameters, and ``out``."""
    short = len(op.tensors) <= 3 and all(p in op.defaults for p in op.params)
    tensors = "".join(f"{n}, " for n in op.tensors)
    params = ", ".join(f"{p!r}: {p}" for p in op.params)
    space: dict[str, Any] = {
        "OP": op,
        "DEFAULTS": op.defaults,
        "MISSING": MISSING,
        "missing_argument": missing_argument,
        "general": dispatch_pointwise,
        "write_out": write_out,
        "__name__": "flambeau.tensor.generated",
    }
    if short:
        space["short"] = derive_elementwise(op)
        space["given"] = FAST.get(f"{op.name}_with")
        space["REAL"] = REAL
        if not op.params and not op.out:
            return _with_names(space["short"], op)
    operands = ", ".join(op.tensors)
    fast = short_lines(op, operands, ["out is None"] if op.out else []) if short else ""
    store = f"    if out is not None:\n        return write_out(OP, out, result, ({tensors}))\n"
    store = store if op.out else ""
    source = (
        f"def {op.name}({argument_text(op)}):\n{fast}"
        f"    result = general(OP, ({tensors}), {{{params}}})\n{store}    return result\n"
    )
    compile_source(op.name, source, space)
    made: Callable[..., Any] = space[op.name]
    return made


def _with_names(function: Any, op: Op) -> Callable[..., Any]:
    """The same code with the op's own names for the tensors."""
    code = function.__code__
    names = (*op.tensors, *code.co_varnames[len(op.tensors) :])
    return FunctionType(code.replace(co_varnames=names), function.__globals__, op.name)


def derive(op: Op) -> Callable[..., Any]:
    """The public function of `op`."""
    if op.family == "pointwise":
        function = derive_pointwise(op)
    elif op.family == "composite":
        function = derive_composite(op)
    else:
        function = derive_structured(op)
    function.__doc__ = op.doc or None
    function.__module__ = FAST["F"].__name__  # where pickle finds it
    return function


__all__ = ["derive", "source_of"]
