"""Table look-up: rows by index."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends.cpu import embedding as kernels
from ..backends.cpu.scatter import add_rows
from .promotion import title, widened
from .record import Array, structured


def _embedding_rule(
    m: Any,
    g: Any,
    indices: Any,
    padding_idx: int,
    scale_grad_by_freq: bool,
    weight_shape: Any,
) -> Any:
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
    times it occurs. Gradients are dense whatever `sparse` says. IndexError for an index out of
    range.
    """
    if weight.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D (embedding: got shape {list(weight.shape)})")
    if indices.dtype.name not in ("int64", "int32"):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {title(indices)} instead (while checking arguments for embedding)"
        )
    kernels.check_indices("embedding", indices, weight.shape[0])
    return weight.take(indices, 0)


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
    if padding_idx >= 0:
        kept = flat != padding_idx
        flat, values = flat[kept], values[kept]
    if scale_grad_by_freq:
        values = values / kernels.occurrences(flat, rows)[:, None].astype(values.dtype)
    table = np.zeros((rows, grad.shape[-1]), values.dtype)
    add_rows(table, flat, values)
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
    out = weight.take(indices, 0)
    if padding_idx >= 0:
        out[indices == padding_idx] = 0
    if scale_grad_by_freq:
        counts = kernels.occurrences(indices.reshape(-1), weight.shape[0]).reshape(indices.shape)
        out /= counts[..., None].astype(out.dtype)
    return out
