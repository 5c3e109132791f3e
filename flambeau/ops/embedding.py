"""Table look-up: rows by index."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends.cpu import embedding as kernels
from ..backends.cpu.indexing import take_rows
from ..backends.cpu.scatter import add_rows, combine_rows
from .promotion import title, widened
from .record import Array, structured


def _embedding_rule(
    m: Any,
    g: Any,
    indices: Any,
    padding_idx: int,
    scale_grad_by_freq: bool,
    sparse: bool,
    weight_shape: Any,
) -> Any:
    if sparse:
        if scale_grad_by_freq:
            raise RuntimeError(
                "embedding_backward: scale_grad_by_freq not supported with sparse gradients"
            )
        return m.sparse_rows(g, indices, tuple(weight_shape), padding_idx)
    return m.embedding_back(g, indices, weight_shape[0], padding_idx, scale_grad_by_freq)


@structured(method=False, grad={"weight": _embedding_rule})
def embedding(
    weight: Array,
    indices: Array,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Array:
    """Rows of `weight` (V, D) at the integers `indices` (*): (*, D).

    The row `padding_idx` gets no gradient; `scale_grad_by_freq` divides a row's gradient by the
    times it occurs; `sparse` makes it a sparse tensor. IndexError for an index out of range.

    >>> table = flambeau.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    >>> F.embedding(flambeau.tensor([2, 0]), table)
    tensor([[4., 5.],
            [0., 1.]])
    """
    if weight.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D (embedding: got shape {list(weight.shape)})")
    if indices.dtype != np.int64 and indices.dtype != np.int32:
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {title(indices)} instead (while checking arguments for embedding)"
        )
    found = take_rows(weight, indices, 0)
    if found is None:
        kernels.refuse_indices("embedding", indices, weight.shape[0])
    return found


@structured(
    method=False,
    grad={
        "grad": lambda m, g, indices, padding_idx, scale_grad_by_freq: m.embedding_share(
            g, indices, padding_idx, scale_grad_by_freq
        )
    },
)
def embedding_back(
    grad: Array, indices: Array, rows: int, padding_idx: int, scale_grad_by_freq: bool
) -> Array:
    """The gradient of `embedding` for its table of `rows` rows."""
    flat = indices.reshape(-1)
    values = widened(grad).reshape(math.prod(indices.shape), grad.shape[-1])
    if scale_grad_by_freq:
        values = values / kernels.occurrences(flat, rows)[:, None].astype(values.dtype)
    table = np.zeros((rows, grad.shape[-1]), values.dtype)
    if not combine_rows(table, flat, values, 0, "sum", padding_idx):
        kept = flat != padding_idx
        add_rows(table, flat[kept], values[kept])
    return table.astype(grad.dtype, copy=False)


@structured(
    method=False,
    grad={
        "weight": lambda m, g, indices, padding_idx, scale_grad_by_freq, weight_shape: (
            m.embedding_back(g, indices, weight_shape[0], padding_idx, scale_grad_by_freq)
        )
    },
)
def embedding_share(
    weight: Array, indices: Array, padding_idx: int, scale_grad_by_freq: bool
) -> Array:
    """The adjoint of `embedding_back`: rows, scaled as there, with zeros for the padding."""
    out = take_rows(weight, indices, 0)
    if padding_idx >= 0:
        out[indices == padding_idx] = 0
    if scale_grad_by_freq:
        counts = kernels.occurrences(indices.reshape(-1), weight.shape[0]).reshape(indices.shape)
        out /= counts[..., None].astype(out.dtype)
    return out


# ---------------------------------------------------------------- bags
def _empty(x: Array, *shape: int) -> Array:
    return np.broadcast_to(np.zeros((), x.dtype), shape)


@structured(
    node="EmbeddingBagBackward0",
    method=False,
    meta=lambda weight, indices, bounds, factors=None, padding_idx=-1, mean=False, by_freq=False: (
        _empty(weight, len(bounds) - 1, weight.shape[1])
    ),
    grad={
        "weight": lambda m, g, indices, bounds, factors, padding_idx, mean, by_freq, weight_shape: (
            m.embedding_bags_back(
                g, indices, bounds, factors, weight_shape[0], padding_idx, mean, by_freq
            )
        ),
        "factors": lambda m, g, weight, indices, bounds, padding_idx: m.embedding_bags_factors(
            g, weight, indices, bounds, padding_idx
        ),
    },
)
def embedding_bags(
    weight: Array,
    indices: Array,
    bounds: Array,
    factors: Array | None = None,
    padding_idx: int = -1,
    mean: bool = False,
    by_freq: bool = False,
) -> Array:
    """Sums (or means) of the rows of `weight` (V, D) in each bag: (B, D).

    Bag b has the `indices` (N,) from ``bounds[b]`` to ``bounds[b + 1]``, but for `padding_idx`;
    `factors` (N,) multiply them. `by_freq` divides a row's gradient by the times it occurs.
    IndexError for an index out of range.
    """
    found = kernels.sum_bags(weight, indices, bounds, factors, padding_idx, mean)
    if found is None:
        kernels.refuse_indices("embedding_bag", indices, weight.shape[0])
    return found


@structured(
    method=False,
    meta=lambda grad, indices, bounds, factors, rows, padding_idx=-1, mean=False, by_freq=False: (
        _empty(grad, rows, grad.shape[1])
    ),
    grad={
        "grad": lambda m, g, indices, bounds, factors, padding_idx, mean: m.embedding_bags(
            g, indices, bounds, factors, padding_idx, mean
        ),
        "factors": lambda m, g, grad, indices, bounds, padding_idx: m.embedding_bags_factors(
            grad, g, indices, bounds, padding_idx
        ),
    },
)
def embedding_bags_back(
    grad: Array,
    indices: Array,
    bounds: Array,
    factors: Array | None = None,
    rows: int = 0,
    padding_idx: int = -1,
    mean: bool = False,
    by_freq: bool = False,
) -> Array:
    """The gradient of `embedding_bags` for its table of `rows` rows."""
    shares = grad
    if mean:
        sizes = kernels.bag_sizes(indices, bounds, padding_idx)
        shares = (grad / sizes[:, None]).astype(grad.dtype)
    values = take_rows(shares, kernels.bag_numbers(bounds), 0)
    if factors is not None:
        values = values * factors[:, None]
    return embedding_back.forward(values, indices, rows, padding_idx, by_freq)


@structured(
    method=False,
    meta=lambda grad, weight, indices, bounds, padding_idx=-1: _empty(grad, *indices.shape),
    grad={
        "grad": lambda m, g, weight, indices, bounds, padding_idx: m.embedding_bags(
            weight, indices, bounds, g, padding_idx
        ),
        "weight": lambda m, g, grad, indices, bounds, padding_idx, weight_shape: (
            m.embedding_bags_back(grad, indices, bounds, g, weight_shape[0], padding_idx)
        ),
    },
)
def embedding_bags_factors(
    grad: Array, weight: Array, indices: Array, bounds: Array, padding_idx: int = -1
) -> Array:
    """The gradient of `embedding_bags` for its factors: (N,)."""
    shares = take_rows(grad, kernels.bag_numbers(bounds), 0)
    out = np.asarray((shares * take_rows(weight, indices, 0)).sum(1), grad.dtype)
    out[indices == padding_idx] = 0
    return out
