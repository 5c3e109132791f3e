"""``*_copy`` ops: what a view shows, in memory of its own."""

from __future__ import annotations

from typing import Any

from . import complex_numbers, diagonals, joining, shape  # noqa: F401 - their views are looked up
from .record import REGISTRY, Op, register


def _copy_of(name: str) -> Op:
    """The op ``name_copy`` of the view op called `name`."""
    source = REGISTRY[name]

    def forward(m: Any, *args: Any, **kwargs: Any) -> Any:
        seen = getattr(m, name)(*args, **kwargs)
        return tuple(map(m.clone, seen)) if isinstance(seen, tuple) else m.clone(seen)

    return register(
        Op(
            f"{name}_copy",
            "composite",
            source.signature,
            forward,
            f"`{name}`, copied into memory of its own.",
            method=False,
            where=f"{__file__}:{forward.__code__.co_firstlineno}",
        )
    )


for _name in (
    "as_strided",
    "diagonal",
    "expand",
    "permute",
    "split_with_sizes",
    "squeeze",
    "t",
    "transpose",
    "unbind",
    "unfold",
    "unsqueeze",
    "view_as_complex",
    "view_as_real",
):
    _copy_of(_name)
