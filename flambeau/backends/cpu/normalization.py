"""Normalization on NumPy arrays: centre, divide by the deviation, scale and shift.

All of them see their input as (A, F, B): statistics are taken over A and B for every F. Batch
norm has the batch in A, channels in F and space in B; layer and group norm have their rows in F and
nothing in A. Half precision is widened by the callers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def statistics(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of (A, F, B) for each F, shape (F,)."""
    n = x.shape[0] * x.shape[2]
    mean = _sums(x) / x.dtype.type(max(n, 1))
    centred = x - mean[:, None]
    np.square(centred, out=centred)
    return mean, _sums(centred) / x.dtype.type(max(n, 1))


def _sums(x: Array) -> Array:
    """Sums of (A, F, B) over A and B."""
    if x.shape[2] == 1:
        return x[:, :, 0].sum(0)
    inner = x.sum(2)
    return inner[0] if inner.shape[0] == 1 else inner.sum(0)


def normalize(
    x: Array, mean: Array, rstd: Array, weight: Array | None, bias: Array | None
) -> Array:
    """``(x - mean) * rstd * weight + bias`` of (A, F, B) with everything else (F,)."""
    scale = rstd if weight is None else rstd * weight
    out = x - mean[:, None]
    out *= scale[:, None]
    if bias is not None:
        out += bias[:, None]
    return out


def normalize_back(
    g: Array, x: Array, mean: Array, rstd: Array, weight: Array | None, fixed: bool
) -> tuple[Array, Array, Array]:
    """The gradients of `normalize` for x, weight and bias, statistics being functions of x.

    With `fixed` the statistics do not depend on x.
    """
    n = max(x.shape[0] * x.shape[2], 1)
    normal = x - mean[:, None]
    normal *= rstd[:, None]
    bias_back = _sums(g)
    weight_back = _sums(g * normal)
    scale = rstd if weight is None else rstd * weight
    if fixed:
        return g * scale[:, None], weight_back, bias_back
    kind = x.dtype.type
    # scale * (g - mean(g) - normal * mean(g * normal))
    normal *= (weight_back / kind(n))[:, None]
    normal += (bias_back / kind(n))[:, None]
    np.subtract(g, normal, out=normal)
    normal *= scale[:, None]
    return normal, weight_back, bias_back


def rows_back(
    g: Array, x: Array, mean: Array | None, rstd: Array, weight: Array | None
) -> tuple[Array, Array | None, Array]:
    """The gradients of a row-wise norm of (R, N) with `weight` (N,): for x, weight and bias.

    Without a mean the norm is the root mean square's.
    """
    normal = x * rstd[:, None] if mean is None else (x - mean[:, None]) * rstd[:, None]
    weight_back = np.einsum("rn,rn->n", g, normal)
    bias_back = g.sum(0)
    if weight is not None:
        g = g * weight
    kind, n = x.dtype.type, max(x.shape[1], 1)
    share = np.einsum("rn,rn->r", g, normal) / kind(n)
    normal *= share[:, None]
    if mean is not None:
        normal += (g.sum(1) / kind(n))[:, None]
    np.subtract(g, normal, out=normal)
    normal *= rstd[:, None]
    return normal, weight_back, bias_back


def reciprocal_deviation(var: Array, eps: float) -> Array:
    """``1 / sqrt(var + eps)``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 / np.sqrt(var + var.dtype.type(eps))
