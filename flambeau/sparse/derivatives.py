"""Checking derivatives of functions of sparse tensors against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..devices import sparse_bsc, sparse_bsr, sparse_coo
from ..tensor import functions as fl
from ..tensor.composed import with_values
from ..tensor.core import array_of
from ..tensor.sparse import SparseTensor, coalesce

__all__ = ["as_sparse_gradcheck"]


def as_sparse_gradcheck(gradcheck: Callable[..., bool]) -> Callable[..., bool]:
    """`gradcheck` for functions of sparse tensors.

    With ``masked=True`` only the stored elements are moved, else every element is stored first.
    """

    def checked(func: Callable[..., Any], inputs: Any, **kwargs: Any) -> bool:
        masked = bool(kwargs.pop("masked", False))
        given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        taken = [_taken_apart(x, masked) for x in given]

        def of_parts(*parts: Any) -> Any:
            return _dense(func(*(make(p) for (make, _), p in zip(taken, parts, strict=True))))

        return gradcheck(of_parts, tuple(part for _, part in taken), **kwargs)

    return checked


def _taken_apart(x: Any, masked: bool) -> tuple[Callable[[Any], Any], Any]:
    """A function that makes `x` of a dense tensor, and that tensor."""
    if not isinstance(x, SparseTensor) or not x.requires_grad:
        return (lambda part: part), x
    held = coalesce(x.detach())
    raw = array_of(held)
    if masked:
        values = held.values().clone().requires_grad_()
        return (lambda part: with_values(raw, part)), values
    dense = held.to_dense().requires_grad_()
    if held.layout is sparse_coo:
        full = fl.ones_like(dense).to_sparse(held.sparse_dim())
    else:
        block = raw.block if held.layout in (sparse_bsr, sparse_bsc) else None
        full = fl.ones_like(dense).to_sparse(
            layout=held.layout, blocksize=block, dense_dim=held.dense_dim()
        )
    return (lambda part: part.sparse_mask(full)), dense


def _dense(out: Any) -> Any:
    if isinstance(out, (tuple, list)):
        return tuple(_dense(o) for o in out)
    return out.to_dense() if isinstance(out, SparseTensor) else out
