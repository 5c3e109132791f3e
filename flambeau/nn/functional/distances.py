"""Vectors of length one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...tensor import functions as fl

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = ["normalize"]


def normalize(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """``input`` divided by its p-norm along ``dim``, which is taken as at least ``eps``."""
    length = fl.linalg_vector_norm(input, p, dim, True).clamp(min=eps)
    return fl.div(input, length, out=out) if out is not None else input / length
