"""The functions of ops that are declared as functions of arrays: unwrap, compute, wrap, record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.grad_mode import FAST, is_grad_enabled
from ..ops.record import Op
from . import apply, core
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
from .storage import Storage


def _unwrap_lines(op: Op) -> list[str]:
    lines = []
    for name in op.tensors:
        if name in op.lists:
            lines.append(f"if isinstance({name}, TensorCore):")
            lines.append(f"    raise_not_a_list(OP, {name!r})")
            lines.append(f"a_{name} = [t._d for t in {name}]")
        elif name in op.optional:
            lines.append(f"a_{name} = None if {name} is None else {name}._d")
        else:
            lines.append(f"a_{name} = {name}._d")
    return lines


def _short_view_lines(op: Op) -> str:
    """Wrapping a view that nothing is recorded for, written out."""
    first = op.tensors[0]
    args = "".join(f"{n}, " for n in op.signature.parameters if n != first)
    test = f"{first}._gf is None and d.__class__ is nd"
    if op.retypes:
        test += f" and d.dtype is a_{first}.dtype"
    if op.retypes or op.may_copy:
        test += f" and (d.base is a_{first} or (d.base is not None and d.base is a_{first}.base))"
    return f"""\
    if {test}:
        s = {first}._s
        if s is None:
            s = {first}._s = Storage({first}._v)
        out = new(Tensor)
        out._d = d
        out._t = {first}._t
        out._s = s
        out._v = 0
        out._gf = out._grad = None
        if FAST["PLAIN"] or recording():
            out._view = ({first}, OP, ({args}), None)
        else:
            out._view = ({first}, None, (), None)
        return out
"""


def _short_lines(op: Op) -> str:
    """Wrapping a single result that nothing is recorded for, written out."""
    if op.family == "view" or op.outputs != 1 or op.extras:
        return ""
    tests = ["out is None"] if op.out else []
    for name in op.tensors:
        if name in op.lists:
            tests.append(f"all(t._gf is None for t in {name})")
        elif name in op.optional:
            tests.append(f"({name} is None or {name}._gf is None)")
        else:
            tests.append(f"{name}._gf is None")
    if not op.tensors:
        return ""
    return f"    if {' and '.join(tests)}:\n        return from_array(d)\n"


MISTAKES = (ValueError, TypeError, AttributeError, RuntimeError, IndexError)
"""What a forward function raises on wrong arguments, by itself or by NumPy."""


def _foreign(op: Op, name: str) -> str:
    """The test whether the argument `name` is held by another device than the CPU."""
    if name in op.lists:
        return f"any(a.__class__ is not nd for a in a_{name})"
    absent = f"a_{name} is not None and " if name in op.optional else ""
    return f"({absent}a_{name}.__class__ is not nd)"


def derive_structured(op: Op) -> Callable[..., Any]:
    """The function of an op that is declared as a function of arrays."""
    foreign = " or ".join(_foreign(op, name) for name in op.tensors)
    values = ", ".join(f"{n!r}: {n}" for n in op.signature.parameters)
    tensors = "".join(f"{n}, " for n in op.tensors)
    unwrap = "".join(f"        {line}\n" for line in _unwrap_lines(op)) or "        pass\n"
    test = f"    if {foreign}:\n        return otherwise(OP, {{{values}}})\n"
    finish = "finish_view" if op.family == "view" else "finish"
    store = "    if out is not None:\n        return write_out(OP, out, result)\n" if op.out else ""
    source = f"""\
def {op.name}({argument_text(op)}):
{rename_lines(op)}    try:
{unwrap}    except AttributeError:
        return otherwise(OP, {{{values}}})
{test if foreign else ""}    try:
        d = forward({call_text(op, array=True)})
    except MISTAKES as error:
        raise explain(OP, ({tensors}), error) from None
{_short_view_lines(op) if op.family == "view" and not op.out else _short_lines(op)}\
    result = {finish}(OP, d, ({tensors}), {{{values}}})
{store}    return result
"""
    from . import inplace, views

    space = {
        "OP": op,
        "DEFAULTS": op.defaults,
        "MISSING": MISSING,
        "missing_argument": missing_argument,
        "forward": op.forward,
        "finish": apply.finish,
        "from_array": core.from_array,
        "finish_view": views.finish_view,
        "write_out": inplace.write_out,
        "explain": apply.explain,
        "otherwise": other_arguments,
        "nd": np.ndarray,
        "TensorCore": core.TensorCore,
        "raise_not_a_list": raise_not_a_list,
        "MISTAKES": MISTAKES,
        "FAST": FAST,
        "Storage": Storage,
        "Tensor": core.Tensor,
        "new": core.new,
        "recording": is_grad_enabled,
        "__name__": "flambeau.tensor.generated",
    }
    compile_source(op.name, source, space)
    made: Callable[..., Any] = space[op.name]
    return made
