"""The argument lists of generated functions, and arguments that are not plain CPU tensors."""

from __future__ import annotations

import inspect
from typing import Any

from ..ops.record import Op
from . import core

MISSING: Any = object()
"""Stands for an argument that must be given under one of two names."""
_NUMPY_NAMES = {"dim": "axis", "keepdim": "keepdims"}


def _other_names(op: Op) -> dict[str, list[str]]:
    """Other spellings of the op's parameters: the declared ones, and NumPy's."""
    found = {ours: [theirs] for ours, theirs in _numpy_names(op).items()}
    for theirs, ours in op.spellings.items():
        found.setdefault(ours, []).append(theirs)
    return found


def _numpy_names(op: Op) -> dict[str, str]:
    """NumPy's spellings of the op's parameters, which PyTorch takes as well."""
    names = list(op.signature.parameters)
    required = [n for n in names if n not in op.defaults]
    found = {
        ours: theirs
        for ours, theirs in _NUMPY_NAMES.items()
        if ours in op.params and theirs not in names and required[-1:] in ([ours], [op.tensors[-1]])
    }
    return {k: v for k, v in found.items() if k in op.defaults or required[-1] == k}


def _late_checked(op: Op) -> list[str]:
    """Required arguments whose absence the function itself must notice.

    They are those with other spellings, and the positional ones after the first of those.
    """
    others, found, following = _other_names(op), [], False
    for p in op.signature.parameters.values():
        following = following or (p.name in others and p.name not in op.defaults)
        if p.name in op.defaults or p.kind is p.VAR_POSITIONAL:
            continue
        if p.name in others or (following and p.kind is p.POSITIONAL_OR_KEYWORD):
            found.append(p.name)
    return found


def rename_lines(op: Op) -> str:
    """Statements that give other spellings of arguments their own names."""
    text, checked, others = "", _late_checked(op), _other_names(op)
    for ours in op.signature.parameters:
        word = "if"
        for theirs in others.get(ours, ()):
            text += f"    {word} {theirs} is not None:\n        {ours} = {theirs}\n"
            word = "elif"
        if ours in checked:
            text += f"    {word} {ours} is MISSING:\n"
            text += f"        missing_argument({op.name!r}, {ours!r})\n"
    return text


def missing_argument(op: str, name: str) -> None:
    """Report that the argument `name` of `op` was given under neither of its names."""
    raise TypeError(f"{op}() missing 1 required positional argument: '{name}'")


def raise_not_a_list(op: Op, name: str) -> None:
    """Report a tensor where a sequence of tensors belongs."""
    raise TypeError(f"{op.name}(): argument '{name}' must be tuple of Tensors, not Tensor")


def argument_text(op: Op, *, method: bool = False) -> str:
    """The argument list of the op's function, or of a method that takes no ``out``."""
    parts, keyword_only = [], False
    renamed, checked = _other_names(op), _late_checked(op)
    for p in op.signature.parameters.values():
        if p.kind is inspect.Parameter.VAR_POSITIONAL:
            parts.append(f"*{p.name}")
            keyword_only = True
            continue
        if p.kind is inspect.Parameter.KEYWORD_ONLY and not keyword_only:
            parts.append("*")
            keyword_only = True
        has = p.default is not inspect.Parameter.empty
        missing = f"{p.name}=MISSING" if p.name in checked else p.name
        parts.append(f"{p.name}=DEFAULTS[{p.name!r}]" if has else missing)
    extra = [f"{theirs}=None" for others in renamed.values() for theirs in others]
    if op.out and not method:
        extra.append("out=None")
    if extra and not keyword_only:
        parts.append("*")
    return ", ".join(parts + extra)


def call_text(op: Op, array: bool) -> str:
    """The arguments with which the op's forward function is called."""
    parts = []
    for p in op.signature.parameters.values():
        value = p.name
        if array and p.name in op.tensors:
            value = f"a_{p.name}"
        if p.kind is inspect.Parameter.VAR_POSITIONAL:
            value = f"*{value}"
        parts.append(f"{p.name}={value}" if p.kind is inspect.Parameter.KEYWORD_ONLY else value)
    return ", ".join(parts)


def other_arguments(op: Op, values: dict[str, Any]) -> Any:
    """An op whose arguments are not all plain CPU tensors: interpreters, meta tensors, mistakes."""
    tensors: list[Any] = []
    for name in op.tensors:
        value = values[name]
        tensors.extend(value if name in op.lists else [value])
    for x in tensors:
        interpret = getattr(x, "_interpret", None)
        if interpret is not None:
            return interpret(op, tuple(values[n] for n in op.tensors), values)
    for name in op.tensors:
        value = values[name]
        listed = value if name in op.lists and isinstance(value, (list, tuple)) else [value]
        for x in listed:
            if not isinstance(x, core.TensorCore) and x is not None:
                from .interception import redirected

                error = f"{op.name}(): argument '{name}' must be Tensor, not {type(x).__name__}"
                return redirected(op, values, TypeError(error))
            if x is None and name not in op.optional:
                raise TypeError(f"{op.name}(): argument '{name}' must be Tensor, not None")
    from . import meta

    return meta.run(op, values)
