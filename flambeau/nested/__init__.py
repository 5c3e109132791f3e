"""Nested tensors: batches of tensors of different sizes without padding, as in ``torch.nested``.

With ``layout=jagged`` the members may differ in one dimension, along which they are packed; most
ops work on the packed values. With the default, strided layout they may differ in all.
"""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..tensor import nested as tensors
from ..tensor.nested import as_nested_tensor, nested_tensor

__all__ = [
    "as_nested_tensor",
    "masked_select",
    "narrow",
    "nested_tensor",
    "nested_tensor_from_jagged",
    "to_padded_tensor",
]


def nested_tensor_from_jagged(
    values: Tensor,
    offsets: Tensor | None = None,
    lengths: Tensor | None = None,
    jagged_dim: int | None = None,
    min_seqlen: int | None = None,
    max_seqlen: int | None = None,
) -> Any:
    """A jagged tensor over packed `values` (total, *), which it shares; gradients flow to them.

    Member i begins at ``offsets[i]`` (B + 1,) and has ``lengths[i]`` (B,) rows; one of the two is
    enough. `jagged_dim` is the packed dimension in the result, 1 by default. RuntimeError for
    offsets outside the values. The extreme lengths are known without being given.
    """
    return tensors.from_jagged(values, offsets, lengths, jagged_dim)


def to_padded_tensor(
    input: Any, padding: float, output_size: Any = None, out: Tensor | None = None
) -> Any:
    """The members filled up with `padding` to the largest, or to `output_size`: a dense tensor."""
    if not isinstance(input, tensors.NestedTensor):
        raise NotImplementedError("to_padded_tensor: expected a nested tensor, got a dense one")
    found = input.to_padded_tensor(padding, output_size)
    return found if out is None else out.copy_(found)


def narrow(tensor: Tensor, dim: int, start: Any, length: Any, layout: Any = None) -> Any:
    """A nested tensor whose member i is ``tensor[i]`` from ``start[i]`` on, ``length[i]`` long.

    `start` and `length` are numbers or tensors (B,), `dim` is 1. With ``layout=jagged`` the memory
    is shared.
    """
    return tensors.narrowed(tensor, dim, start, length, layout)


def masked_select(tensor: Tensor, mask: Tensor) -> Any:
    """The elements of each row of `tensor` where `mask` holds, as a jagged tensor (B, j)."""
    return tensors.masked(tensor, mask)
