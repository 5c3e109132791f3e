"""Tensor methods from op records: ``x.softmax(1)``, ``x.add_(y)``, and the few with own shapes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..autograd.grad_mode import FAST
from ..ops.record import ALIASES, REGISTRY, Op, find
from .inplace import derive_inplace

_EXTRA: dict[str, Callable[..., Any]] = {}


def method(f: Callable[..., Any]) -> Callable[..., Any]:
    """Enter a method that is not an op under its function's name."""
    _EXTRA[f.__name__] = f
    return f


def derive_method(name: str) -> Any:
    """The method called `name`, or None if no op has one."""
    if name in _EXTRA:
        return _EXTRA[name]
    op = find(name)
    if op is not None and op.method and op.tensors:
        function = getattr(FAST["F"], op.name)
        return function if op.varargs is None else _with_sizes(op, function)
    if name.endswith("_"):
        op = find(name[:-1])
        if op is not None and op.inplace:
            return derive_inplace(op, getattr(FAST["F"], op.name))
    return None


def _with_sizes(op: Op, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a method that takes its sizes one by one or as one sequence."""
    name = op.varargs

    @functools.wraps(function)
    def run(self: Any, *sizes: Any, **kwargs: Any) -> Any:
        if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
            sizes = sizes[0]
        if name in kwargs:
            return function(self, **kwargs)
        return function(self, sizes, **kwargs)

    return run


def method_names() -> list[str]:
    """The names of all derived methods."""
    found = [n for n, op in REGISTRY.items() if op.method]
    found += [n for n, target in ALIASES.items() if REGISTRY[target].method]
    found += [f"{n}_" for n, op in REGISTRY.items() if op.inplace]
    return found + list(_EXTRA)
