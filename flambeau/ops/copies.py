"""``*_copy`` ops: what a view shows, in memory of its own."""

from __future__ import annotations

import inspect
from typing import Any

from . import complex_numbers, diagonals, joining, shape, slices  # noqa: F401 - have the views
from .record import REGISTRY, Op, register


def _copy_of(name: str, example: str) -> Op:
    """The op ``name_copy`` of the view op called `name`, with an example for its docstring."""
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
            inspect.cleandoc(f"`{name}`, copied into memory of its own.\n{example}"),
            method=False,
            where=f"{__file__}:{forward.__code__.co_firstlineno}",
        )
    )


_EXAMPLES = {
    "as_strided": """
    >>> flambeau.as_strided_copy(flambeau.arange(6), (2, 2), (1, 3))
    tensor([[0, 3],
            [1, 4]])
    """,
    "diagonal": """
    >>> flambeau.diagonal_copy(flambeau.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """,
    "expand": """
    >>> flambeau.expand_copy(flambeau.tensor([[1], [2]]), (2, 3))
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """,
    "permute": """
    >>> flambeau.permute_copy(flambeau.zeros(2, 3, 4), (2, 0, 1)).shape
    torch.Size([4, 2, 3])
    """,
    "split_with_sizes": """
    >>> flambeau.split_with_sizes_copy(flambeau.arange(5), [2, 3])
    (tensor([0, 1]), tensor([2, 3, 4]))
    """,
    "squeeze": """
    >>> flambeau.squeeze_copy(flambeau.tensor([[[1, 2]]]))
    tensor([1, 2])
    """,
    "t": """
    >>> flambeau.t_copy(flambeau.tensor([[1, 2], [3, 4]]))
    tensor([[1, 3],
            [2, 4]])
    """,
    "transpose": """
    >>> flambeau.transpose_copy(flambeau.tensor([[1, 2, 3]]), 0, 1)
    tensor([[1],
            [2],
            [3]])
    """,
    "unbind": """
    >>> flambeau.unbind_copy(flambeau.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))
    """,
    "unfold": """
    >>> flambeau.unfold_copy(flambeau.arange(5), 0, 3, 2)
    tensor([[0, 1, 2],
            [2, 3, 4]])
    """,
    "unsqueeze": """
    >>> flambeau.unsqueeze_copy(flambeau.tensor([1, 2]), 1)
    tensor([[1],
            [2]])
    """,
    "view_as_complex": """
    >>> flambeau.view_as_complex_copy(flambeau.tensor([[1.0, 2.0]]))
    tensor([1.+2.j])
    """,
    "view_as_real": """
    >>> flambeau.view_as_real_copy(flambeau.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """,
}
for _name, _example in _EXAMPLES.items():
    _copy_of(_name, _example)
