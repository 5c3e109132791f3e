"""The numbers in a formula as arrays: NumPy's functions take those in half the time of Python's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.grad_mode import FAST
from ..compiler.expressions import Expression


class Constants(dict[Any, tuple[Any, ...]]):
    """For each NumPy dtype asked for, `values` as 0-d arrays of it."""

    def __init__(self, values: list[Any]) -> None:
        super().__init__()
        self._values = values

    def __missing__(self, dtype: Any) -> tuple[Any, ...]:
        made = self[dtype] = tuple([np.array(value, dtype) for value in self._values])
        return made


def fits_all(value: Any) -> bool:
    """Whether every dtype of real numbers holds `value`, a constant of a formula."""
    return value.__class__ is int and 0 <= value < 128


def name_constants(e: Expression, fits: Callable[[Any], bool]) -> tuple[Expression, dict[str, Any]]:
    """`e` with inputs ``k0``, ``k1``... for numbers that `fits`, and what they stand for.

    Only those beside other operands of NumPy's own functions are named.
    """
    names: dict[str, str] = {}
    values: dict[str, Any] = {}
    known: dict[int, Expression] = {}

    def name(node: Expression) -> Expression:
        if node.op != "const" or not fits(node.args[0]):
            return visit(node)
        value = node.args[0]
        found = names.setdefault(repr(value), f"k{len(names)}")
        values[found] = value
        return Expression("input", found)

    def visit(node: Expression) -> Expression:
        if node.op in ("input", "const"):
            return node
        if id(node) not in known:
            own = node.op == "where" or isinstance(FAST[f"N_{node.op}"], np.ufunc)
            named = own and any(a.op != "const" for a in node.args)
            known[id(node)] = Expression(node.op, *map(name if named else visit, node.args))
        return known[id(node)]

    return visit(e), values
