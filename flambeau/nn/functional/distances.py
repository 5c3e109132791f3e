"""Distances and similarities between vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...tensor import functions as fl

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = ["cosine_similarity", "normalize", "pairwise_distance", "pdist"]


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Cosine of the angle between ``x1`` and ``x2`` along ``dim``; norms are at least ``eps``.

    The inputs broadcast; the result lacks ``dim``.

    >>> round(cosine_similarity(fl.tensor([[3.0, 4.0]]), fl.tensor([[4.0, 3.0]])).item(), 2)
    0.96
    """
    x1, x2 = fl.broadcast_tensors(x1, x2)
    length1 = fl.linalg_vector_norm(x1, 2, dim, True).clamp(min=eps)
    length2 = fl.linalg_vector_norm(x2, 2, dim, True).clamp(min=eps)
    return ((x1 / length1) * (x2 / length2)).sum(dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """p-norm of ``x1 - x2 + eps`` along the last dimension: (N, D), (N, D) -> (N,)."""
    if x1.dim() < x2.dim():
        x1, x2, eps = x2, x1, -eps  # the last dimension is that of the wider one
    return fl.linalg_vector_norm(x1 - x2 + eps, p, -1, keepdim)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """p-norm distances of every two rows (N, D), as the N(N-1)/2 entries above the diagonal.

    Raises RuntimeError for an input that is not a matrix or a negative ``p``.
    """
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    rows = input.size(0)
    first, second = fl.triu_indices(rows, rows, 1)
    return fl.linalg_vector_norm(input[first] - input[second], p, -1, False)


def normalize(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """``input`` divided by its p-norm along ``dim``, which is taken as at least ``eps``."""
    length = fl.linalg_vector_norm(input, p, dim, True).clamp(min=eps)
    return fl.div(input, length, out=out) if out is not None else input / length
