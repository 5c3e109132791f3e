"""Normalization on NumPy arrays: centre, divide by the deviation, scale and shift.

All of them see their input as (A, F, B): statistics are taken over A and B for every F. Batch
norm has the batch in A, channels in F and space in B; layer and group norm have their rows in F and
nothing in A. Half precision is widened by the callers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def centre(x: Array) -> tuple[Array, Array, Array]:
    """Mean (F,), biased variance (F,) and ``x - mean`` of (A, F, B)."""
    n = x.dtype.type(max(x.shape[0] * x.shape[2], 1))
    mean = _sums(x) / n
    centred = x - mean[:, None]
    return mean, _products(centred, centred) / n, centred


def _sums(x: Array) -> Array:
    """Sums of (A, F, B) over A and B."""
    if x.shape[2] == 1:
        return np.add.reduce(x[:, :, 0], 0)
    inner = np.add.reduce(x, 2)
    return inner[0] if inner.shape[0] == 1 else np.add.reduce(inner, 0)


def _products(x: Array, y: Array) -> Array:
    """Sums of ``x * y`` of (A, F, B) over A and B."""
    if x.shape[2] == 1:
        return np.add.reduce(x[:, :, 0] * y[:, :, 0], 0)
    inner = np.vecdot(x, y)
    return inner[0] if inner.shape[0] == 1 else np.add.reduce(inner, 0)


def scale_and_shift_(
    centred: Array, rstd: Array, weight: Array | None, bias: Array | None
) -> Array:
    """``centred * rstd * weight + bias`` of (A, F, B) with everything else (F,), in place."""
    scale = rstd if weight is None else rstd * weight
    centred *= scale[:, None]
    if bias is not None:
        centred += bias[:, None]
    return centred


def normalize_rows(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """Each row of (R, N) with mean 0 and variance 1, times weight plus bias (N,); mean and rstd."""
    n = x.dtype.type(max(x.shape[1], 1))
    mean = np.add.reduce(x, 1) / n
    out = x - mean[:, None]
    rstd = reciprocal_deviation(np.vecdot(out, out) / n, eps)
    out *= rstd[:, None]
    if weight is not None:
        out *= weight
    if bias is not None:
        out += bias
    return out, mean, rstd


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
    weight_back = _products(g, normal)
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
    share = np.vecdot(g, normal) / kind(n)
    normal *= share[:, None]
    if mean is not None:
        normal += (g.sum(1) / kind(n))[:, None]
    np.subtract(g, normal, out=normal)
    normal *= rstd[:, None]
    return normal, weight_back, bias_back


def reciprocal_deviation(var: Array, eps: float) -> Array:
    """``1 / sqrt(var + eps)``."""
    return 1 / np.sqrt(var + var.dtype.type(eps))
