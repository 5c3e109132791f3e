"""Distances between vectors: of every two rows, of pairs, and by angle."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
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

    >>> flambeau.cdist(flambeau.tensor([[0.0, 0.0], [3.0, 0.0]]), flambeau.tensor([[3.0, 4.0]]))
    tensor([[5.],
            [4.]])
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
    for name, x in (("X1", x1), ("X2", x2)):
        if not m.dtype(x).is_floating_point:
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {name} got: {m.dtype(x).title}"
            )
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


@composite(method=False)
def pdist(m: Any, input: Array, p: float = 2.0) -> Array:
    """p-norm distances of every two rows (N, D), as the N(N-1)/2 entries above the diagonal.

    Raises RuntimeError for an input that is not a matrix or a negative ``p``.

    >>> F.pdist(flambeau.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 0.0]]))
    tensor([5., 3., 4.])
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    if not m.dtype(input).is_floating_point:
        raise RuntimeError("pdist only supports floating-point dtypes")
    if input.shape[0] < 2 or not input.shape[1]:
        count = input.shape[0] * (input.shape[0] - 1) // 2
        return m.expand(
            m.reshape(m.sum(m.narrow(m.reshape(input, (-1,)), 0, 0, 0)), (1,)), (count,)
        )
    first, second = np.triu_indices(input.shape[0], 1)
    rows = [m.index_select(input, 0, m.from_numpy(i)) for i in (first, second)]
    return m.linalg_vector_norm(rows[0] - rows[1], p, -1, False)


@composite(method=False)
def pairwise_distance(
    m: Any, x1: Array, x2: Array, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Array:
    """p-norm of ``x1 - x2 + eps`` along the last dimension: (N, D), (N, D) -> (N,).

    >>> x, y = flambeau.tensor([[1.0, 1.0]]), flambeau.tensor([[4.0, 5.0]])
    >>> F.pairwise_distance(x, y), F.pairwise_distance(x, y, p=1)
    (tensor([5.0000]), tensor([7.0000]))
    """
    if x1.ndim < x2.ndim:
        x1, x2, eps = x2, x1, -eps  # the last dimension is that of the wider one
    return m.linalg_vector_norm(m.sub(x1, x2) + eps, p, -1, keepdim)


@composite(method=False)
def cosine_similarity(m: Any, x1: Array, x2: Array, dim: int = 1, eps: float = 1e-8) -> Array:
    """Cosine of the angle between ``x1`` and ``x2`` along ``dim``; norms are at least ``eps``.

    The inputs broadcast; the result lacks ``dim``.

    >>> round(fl.cosine_similarity(fl.tensor([[3.0, 4.0]]), fl.tensor([[4.0, 3.0]])).item(), 2)
    0.96
    """
    common = dtypes.promote_types(m.dtype(x1), m.dtype(x2))
    if not common.is_floating_point:
        raise RuntimeError(
            "cosine_similarity: expected common dtype to be floating point, yet common dtype is "
            f"{common.title}"
        )
    x1, x2 = (t if m.dtype(t) is common else m.cast(t, common) for t in (x1, x2))
    if x1.shape != x2.shape:
        x1, x2 = m.broadcast_tensors(x1, x2)
    first = m.clamp_min(m.linalg_vector_norm(x1, 2, dim, True), eps)
    second = m.clamp_min(m.linalg_vector_norm(x2, 2, dim, True), eps)
    return m.sum((x1 / first) * (x2 / second), dim)
