"""Distances between every two rows of two matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.cpu.matmul import matmul
from .promotion import widened
from .record import Array, composite, structured

_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)


def _share(m: Any, g: Any, out: Any) -> Any:
    """``g / out``, 0 where the distance is 0."""
    return m.where(out == 0, 0.0, g / m.where(out == 0, 1.0, out))


@structured(
    method=False,
    grad={
        "x1": lambda m, g, x1, x2, out: (
            x1 * m.sum(_share(m, g, out), (-1,), True) - m.matmul(_share(m, g, out), x2)
        ),
        "x2": lambda m, g, x1, x2, out: (
            x2 * m.unsqueeze(m.sum(_share(m, g, out), (-2,)), -1)
            - m.matmul(m.transpose(_share(m, g, out), -1, -2), x1)
        ),
    },
)
def euclidean_distances(x1: Array, x2: Array) -> Array:
    """Distances of every two rows by one matrix product: (*, P, M), (*, R, M) -> (*, P, R)."""
    a, b = widened(x1), widened(x2)
    squares = np.square(a).sum(-1)[..., :, None] + np.square(b).sum(-1)[..., None, :]
    squares -= 2 * matmul(a, b.swapaxes(-1, -2))
    return np.sqrt(np.maximum(squares, 0)).astype(x1.dtype, copy=False)


@composite(method=False)
def cdist(
    m: Any,
    x1: Array,
    x2: Array,
    p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Array:
    """p-norm distances of every two rows: (*, P, M), (*, R, M) -> (*, P, R); batches broadcast.

    For more than 25 rows on a side the Euclidean distance comes from a matrix product, which is
    faster and less exact. RuntimeError for shapes that do not fit and for a negative `p`.
    """
    shapes = f"{list(x1.shape)} and {list(x2.shape)}"
    if x1.ndim < 2 or x2.ndim < 2:
        raise RuntimeError(f"cdist only supports at least 2D tensors, got shapes {shapes}")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: "
            f"{x2.shape[-1]} (cdist of {shapes})"
        )
    if not p >= 0:
        raise RuntimeError(f"cdist only supports non-negative p values, got {p}")
    if compute_mode not in _MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    many = compute_mode == _MODES[1] or (
        compute_mode == _MODES[0] and max(x1.shape[-2], x2.shape[-2]) > 25
    )
    if p == 2 and many:
        return m.euclidean_distances(x1, x2)
    if not x1.shape[-1]:
        return m.sum(m.unsqueeze(x1, -2) - m.unsqueeze(x2, -3), (-1,))
    return m.linalg_vector_norm(m.unsqueeze(x1, -2) - m.unsqueeze(x2, -3), p, -1)
