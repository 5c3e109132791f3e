"""The public tensor functions, as attributes: ``functions.add``, ``functions.softmax``, ...

An op's function is made when it is first asked for. Functions that are not ops (creation and the
like) are entered by `publish`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.grad_mode import FAST
from ..ops.readers import number_array
from ..ops.record import ALIASES, REGISTRY, find

FAST["F"] = sys.modules[__name__]
recorded = True

_own: dict[str, Callable[..., Any]] = {}

newcomers: list[Callable[[str, Callable[..., Any]], None]] = []
"""Called with the name and the function of each op that is derived from now on."""
offered: list[dict[str, Callable[..., Any]]] = []
"""The functions, by name, of the packages that are built on these."""


def offer(named: dict[str, Callable[..., Any]]) -> None:
    """Enter functions of another package among those that tensors may override."""
    offered.append(named)
    for tell in newcomers:
        for name, function in named.items():
            tell(name, function)


def publish(function: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
    """Enter a function that is not an op under its name."""
    name = name or function.__name__.rstrip("_")
    _own[name] = function
    globals()[name] = function
    return function


_late: dict[str, str] = {}


def publish_late(module: str, *names: str) -> None:
    """Enter functions of a module beside this one that is imported when one is asked for."""
    _late.update(dict.fromkeys(names, module))


def __getattr__(name: str) -> Any:
    if name in _late:
        found = getattr(importlib.import_module(_late[name], __package__), name)
        globals()[name] = found
        return found
    op = find(name)
    if op is None and name.endswith("_") and (op := find(name[:-1])) and op.inplace:
        from .inplace import derive_inplace

        function = derive_inplace(op, getattr(sys.modules[__name__], op.name))
        _enter(name, function)
        return function
    if op is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if op.name != name:
        function = getattr(sys.modules[__name__], op.name)
    else:
        from .derive import derive

        function = derive(op)
    _enter(name, function)
    return function


def _enter(name: str, function: Callable[..., Any]) -> None:
    globals()[name] = function
    for tell in newcomers:
        tell(name, function)


def names() -> list[str]:
    """Every public function's name."""
    return sorted({*REGISTRY, *ALIASES, *_own, *_late})


def __dir__() -> list[str]:
    return names()


def cast(x: Any, dtype: Any) -> Any:
    """`x` in another dtype; in derivative rules."""
    return x.to(dtype)


def number(value: Any, like: Any = None) -> Any:
    """A Python number as a 0-d tensor of the dtype it takes beside `like`; in composites."""
    from .core import from_array

    if like is not None:
        like = np.empty((0,) * like.ndim, like._t.numpy_dtype)  # not every tensor has an array
    return from_array(number_array(value, like))


def constant(x: Any) -> Any:
    """`x`, through which no derivative flows; in derivative rules."""
    return x.detach()


def sparse_rows(rows: Any, indices: Any, shape: Any, padding_idx: int) -> Any:
    """A sparse tensor with `rows` added at the rows `indices`; in derivative rules."""
    from .sparse.lookups import rows_at

    return rows_at(rows, indices, shape, padding_idx)


def sparse_elements(values: Any, dim: int, index: Any, shape: Any) -> Any:
    """A sparse tensor with `values` added at `index` along `dim`; in derivative rules."""
    from .sparse.lookups import elements_at

    return elements_at(values, dim, index, shape)


def holds(x: Any) -> bool:
    """Whether the 0-d tensor `x` is true, for all that it stands for; in composites' checks."""
    return bool(x) if x._interpret is None else x.everywhere()


def dtype(x: Any) -> Any:
    """The dtype of `x`; in derivative rules."""
    return x._t
