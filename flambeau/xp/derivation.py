"""The standard's functions from this library's, where only names differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor, functions
from .data_types import promoted

Function = Callable[..., Any]


def pairs(text: str) -> dict[str, str]:
    """A table from words: ``"abs acos bitwise_invert:bitwise_not"``, the standard's name first."""
    return {name: target or name for name, _, target in (w.partition(":") for w in text.split())}


def named(function: Function, name: str, target: str) -> Function:
    """`function` under the standard's name, with a docstring that says what it is here."""
    function.__name__ = function.__qualname__ = name
    function.__module__ = "flambeau.xp"
    function.__doc__ = f"The array API standard's `{name}`: `{target}` by the standard's rules."
    return function


def unary(name: str, target: str) -> Function:
    """A function of one tensor."""

    def function(x: Tensor, /) -> Tensor:
        return getattr(functions, target)(_tensor(x, name))

    return named(function, name, target)


def binary(name: str, target: str) -> Function:
    """A function of two tensors, or of one and a Python scalar, in their common type."""

    def function(x1: Tensor | complex, x2: Tensor | complex, /) -> Tensor:
        return getattr(functions, target)(*promoted(x1, x2))

    return named(function, name, target)


def reduction(name: str, target: str) -> Function:
    """A reduction over `axis`: an int, a tuple of them, or None for all."""

    def function(
        x: Tensor, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
    ) -> Tensor:
        return reduce(target, _tensor(x, name), axis, keepdims)

    return named(function, name, target)


def reduce(target: str, x: Tensor, axis: Any, keepdims: bool, **options: Any) -> Tensor:
    """Run one of this library's reductions over the standard's `axis`."""
    if axis is None:
        axis = tuple(range(x.ndim))
    if isinstance(axis, tuple) and not axis:
        # Here an empty tuple means all dimensions; there, none. One of length 1 is as good as none.
        x, axis, keepdims = x[None], 0, False
    return getattr(functions, target)(x, dim=axis, keepdim=keepdims, **options)


def _tensor(x: Any, name: str) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(x).__name__}")
    return x
