"""Tensor methods from op records: ``x.softmax(1)``, ``x.add_(y)``, and the few with own shapes.

A method is derived when it is first looked up. Until then the class holds an `Underived` of its
name: an ordinary attribute, because a class with a ``__getattr__`` has every look-up slowed down.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..autograd.grad_mode import FAST
from ..ops.record import ALIASES, REGISTRY, Op, find, watchers
from .functions import newcomers
from .inplace import derive_inplace
from .tensor import Tensor

_EXTRA: dict[str, Callable[..., Any]] = {}


def method(f: Callable[..., Any]) -> Callable[..., Any]:
    """Enter a method that is not an op under its function's name."""
    _EXTRA[f.__name__] = f
    return f


def _derive(name: str) -> Callable[..., Any]:
    """The method called `name`, of the op of that name or in place."""
    op = find(name)
    if op is not None and op.method and op.tensors:
        function = getattr(FAST["F"], op.name)
        return function if op.varargs is None else _with_sizes(op, function)
    op = REGISTRY[ALIASES.get(name[:-1], name[:-1])]
    return derive_inplace(op, getattr(FAST["F"], op.name))


def _with_sizes(op: Op, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a method that takes its sizes one by one or as one sequence."""
    name = op.varargs
    assert name is not None

    def run(self: Any, *sizes: Any, **kwargs: Any) -> Any:
        if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
            (sizes,) = sizes
        if not kwargs:
            return function(self, sizes)
        if name in kwargs:
            return function(self, **kwargs)
        return function(self, sizes, **kwargs)

    first, *rest = inspect.signature(function).parameters.values()
    others = [p.replace(kind=p.KEYWORD_ONLY) for p in rest if p.name != name]
    sizes = inspect.Parameter(name, inspect.Parameter.VAR_POSITIONAL)
    functools.update_wrapper(run, function)
    run.__signature__ = inspect.Signature([first, sizes, *others])  # type: ignore[attr-defined]
    return run


class Underived:
    """Stands in the class for the method called `name` and is replaced by it when looked up."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        derived = _derive(self.name)
        setattr(Tensor, self.name, derived)
        for tell in newcomers:
            tell(self.name, derived)
        return derived.__get__(instance, owner)


def install_methods() -> None:
    """Give the class the methods of all ops, of those too that are declared from now on."""
    for name in _EXTRA.keys() - vars(Tensor).keys():
        setattr(Tensor, name, _EXTRA[name])
    for op in REGISTRY.values():
        _install(op)
    watchers.append(_install)


def _install(op: Op) -> None:
    """Give the class the methods of `op`, but for those that it has."""
    names = (op.name, *op.aliases)
    wanted = list(names) if op.method and op.tensors else []
    if op.inplace:
        wanted += [f"{name}_" for name in names]
    for name in wanted:
        if name not in vars(Tensor):
            setattr(Tensor, name, Underived(name))
