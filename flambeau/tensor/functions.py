"""The public tensor functions, as attributes: ``functions.add``, ``functions.softmax``, ...

An op's function is made when it is first asked for. Functions that are not ops (creation and the
like) are entered by `publish`.
"""

from __future__ import annotations

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


def publish(function: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
    """Enter a function that is not an op under its name."""
    name = name or function.__name__.rstrip("_")
    _own[name] = function
    globals()[name] = function
    return function


def __getattr__(name: str) -> Any:
    op = find(name)
    if op is None and name.endswith("_") and (op := find(name[:-1])) and op.inplace:
        from .inplace import derive_inplace

        function = derive_inplace(op, getattr(sys.modules[__name__], op.name))
        globals()[name] = function
        return function
    if op is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if op.name != name:
        function = getattr(sys.modules[__name__], op.name)
    else:
        from .derive import derive

        function = derive(op)
    globals()[name] = function
    return function


def names() -> list[str]:
    """Every public function's name."""
    return sorted({*REGISTRY, *ALIASES, *_own})


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


def dtype(x: Any) -> Any:
    """The dtype of `x`; in derivative rules."""
    return x._t
