"""Functions without side effects, and a look at what a wrapped tensor is made of."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..autograd.levels import Wrapped
from ..tensor import Tensor
from ..utils._pytree import tree_map


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """`func` on copies of its arguments, whose changes in place are then written to the arguments.

    `remove` is "mutations" or "mutations_and_views"; ValueError for another.
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}. "
            'Valid options are:\n     remove="mutations"\n     remove="mutations_and_views"\n'
        )

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        pairs: list[tuple[Any, Any, int]] = []

        def copied(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            for original, copy, _ in pairs:
                if original is x:
                    return copy
            made = x.clone()
            pairs.append((x, made, made._version))
            return made

        output = func(*tree_map(copied, args), **tree_map(copied, kwargs))
        for original, copy, version in pairs:
            if copy._version != version:
                original.copy_(copy)
        return output

    return wrapped


def debug_unwrap(tensor: Any, *, recurse: bool = True) -> Any:
    """What the `tensor` of a transformation is made of, in the end or (not `recurse`) at once."""
    while isinstance(tensor, Wrapped):
        tensor = tensor.part
        if not recurse:
            break
    return tensor


__all__ = ["debug_unwrap", "functionalize"]
