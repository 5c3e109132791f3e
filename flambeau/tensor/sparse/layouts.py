"""From one layout to another: dense, coordinates, compressed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import devices
from ...autograd.grad_mode import FAST
from ...backends.sparse import (
    BLOCKS,
    COMPRESSED,
    Coordinates,
    compress,
    compressed_pattern,
    to_coordinates,
)
from ..composed import is_recorded, record, values_of, with_values
from ..core import array_of, from_array
from .tensor import TITLES, SparseTensor


def coalesce(x: Any) -> Any:
    """`x` with sorted places of which none repeats; itself where it is so, and if compressed."""
    raw = array_of(x)
    if raw.is_unique:
        return x
    return record(from_array(raw.coalesce()), "CoalesceBackward0", [(x, lambda g: g)])


def settled(x: Any) -> Any:
    """`x`, coalesced if derivatives are to be found through its values."""
    return coalesce(x) if is_recorded(x) else x


def elements(x: Any) -> tuple[Any, Any]:
    """The indices (S, N) of the stored elements, an array, and their values (N, *dense)."""
    raw, values = array_of(x), values_of(x)
    shape = raw.flat_values().shape
    return raw.elements(), values if values.shape == shape else values.reshape(shape)


def to_dense(x: Any, masked_grad: bool | None = None) -> Any:
    """The dense tensor of the same elements.

    Gradients come back where `x` has elements, or dense if not `masked_grad`.
    """
    raw = array_of(x)
    out = from_array(raw.to_dense())
    if not is_recorded(x):
        return out
    if masked_grad is False:
        return record(out, "ToDenseBackward0", [(x, _like(x))])
    kept = raw.with_values(raw.values)

    def masked(g: Any) -> Any:
        pattern = kept if kept.is_unique else kept.coalesce()
        return with_values(pattern, SparseTensor.pick(g, pattern))

    return record(out, "ToDenseBackward0", [(x, masked)])


def _like(x: Any) -> Any:
    """A function that puts a dense tensor into the layout of `x`."""
    layout, sparse_dim, dense_dim = x.layout, x.sparse_dim(), x.dense_dim()
    block = array_of(x).block if layout in BLOCKS else None
    if layout is devices.sparse_coo:
        return lambda g: from_dense(g, sparse_dim)
    return lambda g: to_layout(g, layout, block, dense_dim)


def masked(x: Any, mask: Any) -> Any:
    """The elements of `x` at the places of the sparse tensor `mask`."""
    if x.shape != mask.shape:
        raise RuntimeError(
            f"sparse_mask(): operands have incompatible sizes; self has size {list(x.shape)} but "
            f"mask has size {list(mask.shape)}"
        )
    pattern = array_of(mask)
    if isinstance(x, SparseTensor):
        compressed = (x.layout in COMPRESSED, mask.layout in COMPRESSED)
        if compressed == (True, False):
            raise RuntimeError(
                "sparse_mask_sparse_compressed expects mask to have sparse compressed layout, got "
                f"{TITLES[mask.layout]}"
            )
        x = settled(x)
    return with_values(pattern, SparseTensor.pick(x, pattern), "SparseMaskBackward0")


# ---------------------------------------------------------------- into a layout
def to_layout(x: Any, layout: Any, block: tuple[int, int] | None, dense_dim: int | None) -> Any:
    """A dense or sparse tensor in a sparse `layout`; itself where it has it."""
    if block is not None and layout not in BLOCKS:
        raise RuntimeError(
            f"to_sparse: conversion from {TITLES[x.layout]} to {TITLES[layout]} does not use "
            "specified blocksize"
        )
    if not isinstance(x, SparseTensor):
        if layout is devices.sparse_coo:
            return from_dense(x, x.ndim - (dense_dim or 0))
        return _compressed_from_dense(x, layout, block, dense_dim or 0)
    if dense_dim is not None and dense_dim != x.dense_dim():
        raise RuntimeError(
            f"to_sparse: conversion from {TITLES[x.layout]} to {TITLES[layout]} with dense_dim "
            "argument !=self.dense_dim() is not supported"
        )
    raw = array_of(x)
    if x.layout is layout and (layout not in BLOCKS or block in (None, raw.block)):
        return x
    source = coalesce(x)
    raw = array_of(source)
    if layout is devices.sparse_coo:
        return _to_coordinates(source)
    block = _checked_block(layout, block, x)
    return _compressed(source, raw.elements(), layout, block)


def _to_coordinates(x: Any) -> Any:
    raw = array_of(x)
    ordered = to_coordinates(raw)
    if is_recorded(x):
        pattern = Coordinates(ordered.indices, ordered.values, raw.shape, False).merged()[0]
        return with_values(pattern, SparseTensor.pick(x, pattern), "ToSparseBackward0")
    return from_array(ordered.coalesce())


def _checked_block(layout: Any, block: Any, x: Any) -> tuple[int, int]:
    if layout not in BLOCKS:
        return (1, 1)
    if block is None:
        if isinstance(x, SparseTensor) and x.layout in BLOCKS:
            return array_of(x).block  # type: ignore[no-any-return]
        raise RuntimeError(
            f"to_sparse: conversion from {TITLES[x.layout]} to {TITLES[layout]} for expected "
            "blocksize argument"
        )
    high, wide = (int(n) for n in block)
    if high <= 0 or wide <= 0:
        raise RuntimeError(f"blocksize needs to be > 0 but got ({high}, {wide})")
    return high, wide


def _compressed(x: Any, at: Any, layout: Any, block: tuple[int, int]) -> Any:
    """The elements of `x` at distinct indices `at`, among all those in their blocks."""
    name = str(layout).removeprefix("torch.sparse_")
    sizes = tuple(x.shape[len(at) - 2 : len(at)])
    if sizes[0] % block[0] or sizes[1] % block[1]:
        shown = f"({sizes[0]},{sizes[1]}) must be divisible by given blocksize"
        raise RuntimeError(
            f"dense_to_sparse_{name}: tensor sparse size {shown} ({block[0]},{block[1]})"
        )
    if isinstance(x, SparseTensor) and not is_recorded(x):
        raw = array_of(x)
        return from_array(compress(at, raw.flat_values(), raw.shape, layout, block))
    pattern, _ = compressed_pattern(at, tuple(x.shape), layout, block, x.dtype.numpy_dtype)
    picked = SparseTensor.pick(x, pattern)
    return with_values(pattern, picked, f"ToSparse{name.capitalize()}Backward0")


def from_dense(x: Any, sparse_dim: int) -> Any:
    """The dense tensor `x` as coordinates in its first `sparse_dim` dimensions."""
    if not 0 <= sparse_dim <= x.ndim or (x.ndim > 0 and sparse_dim == 0):
        low = 1 if x.ndim else 0
        raise RuntimeError(
            f"dense_to_sparse: sparse_dim argument must be in [{low},{x.ndim}] range, but "
            f"{sparse_dim} is given"
        )
    d = array_of(x)
    if not x.ndim:
        indices = np.empty((0, int(d != 0)), np.int64)
        picked = x.unsqueeze(0) if indices.shape[1] else FAST["F"].zeros((0,), dtype=x.dtype)
    else:
        indices = _nonzero(d, sparse_dim)
        picked = FAST["F"].advanced_index(x, tuple(indices))
    pattern = Coordinates(indices, array_of(picked), d.shape, True)
    return with_values(pattern, picked, "ToSparseBackward1")


def _nonzero(d: Any, sparse_dim: int) -> Any:
    """The indices (sparse_dim, N) of the parts of `d` that are not all zero."""
    is_set = d != 0
    if sparse_dim < d.ndim:
        is_set = is_set.any(axis=tuple(range(sparse_dim, d.ndim)))
    return np.stack(np.nonzero(is_set)).astype(np.int64, copy=False)


def _compressed_from_dense(x: Any, layout: Any, block: Any, dense_dim: int) -> Any:
    sparse_dim = x.ndim - dense_dim
    if sparse_dim < 2:
        raise RuntimeError(
            f"dense_to_sparse_{str(layout).removeprefix('torch.sparse_')}: expected a tensor of at "
            f"least {2 + dense_dim} dimensions (dense_dim is {dense_dim}), got {x.ndim}"
        )
    block = _checked_block(layout, block, x)
    return _compressed(x, _nonzero(array_of(x), sparse_dim), layout, block)


__all__ = [
    "coalesce",
    "elements",
    "from_dense",
    "masked",
    "settled",
    "to_dense",
    "to_layout",
]
