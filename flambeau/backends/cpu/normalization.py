"""Norms of rows (R, N) and of groups of channels (N, C, B), forward and backward.

Kernels for contiguous data, NumPy for all other. float16 and bfloat16 are computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...compiler import allocator, threads
from ...compiler.kernel import serves
from . import row_norm_kernels as kernels
from .precision import FLOATS, wide_dtype, widened

Array = Any


def parameter(v: Array | None, kind: Any) -> Array | None:
    """A vector as kernels take it, in the dtype `kind`."""
    if v is None or (v.dtype == kind and v.flags.c_contiguous and v.flags.aligned):
        return v
    return np.require(v, kind, ("C", "A"))


def reciprocal_deviation(var: Array, eps: float) -> Array:
    """``1 / sqrt(var + eps)``."""
    return 1 / np.sqrt(var + var.dtype.type(eps))


# ---------------------------------------------------------------- rows
def norm_rows(
    x: Array, weight: Array | None, bias: Array | None, eps: float, centred: bool
) -> tuple[Array, Array | None, Array]:
    """Each row of (R, N) with variance 1, times weight plus bias (N,); its mean and rstd (R,).

    `centred` rows have mean 0, others are divided by their root mean square, and the mean is None.
    """
    if not (x.size and x.dtype in FLOATS and serves(x)):
        return _reference_rows(x, weight, bias, eps, centred)
    shape, dtype = x.shape, x.dtype
    rows, columns = shape
    kind = wide_dtype(dtype)
    allocator.prepare(x.nbytes)
    out, rstd = np.empty(shape, dtype), np.empty(rows, kind)
    mean = np.empty(rows, kind) if centred else None
    weight, bias = parameter(weight, kind), parameter(bias, kind)
    arrays = [v for v in (x, weight, bias, out, mean, rstd) if v is not None]
    key = dtype, weight is None, bias is None, centred
    launch = _launchers.get(key)
    if launch is None:
        launch = _launchers[key] = kernels.norm_rows.prepare(
            x, weight, bias, out, mean, rstd, columns, eps
        )
    chunks, share = threads.split(rows, columns * 0.2)
    launch(chunks, rows, share, *arrays, columns, eps)
    return out, mean, rstd


_launchers: dict[Any, Callable[..., Any]] = {}


def norm_rows_back(
    g: Array, x: Array, mean: Array | None, rstd: Array, weight: Array | None, wanted: Any
) -> tuple[Array, Array | None, Array | None]:
    """The gradients of `norm_rows` for x, and for weight and bias where the pair `wanted` says so.

    Without a mean the norm is the root mean square's.
    """
    if not (x.size and x.dtype in FLOATS and x.dtype == g.dtype and serves(g, x)):
        return _reference_rows_back(g, x, mean, rstd, weight, wanted)
    rows, columns = x.shape
    block = min(max(-(-rows // 64), 16), 1024)
    blocks = -(-rows // block)
    allocator.prepare(x.nbytes)
    out = np.empty(x.shape, x.dtype)
    kind = wide_dtype(x.dtype)
    parts = [np.empty((blocks, columns), kind) if each else None for each in wanted]
    weight, mean, rstd = (parameter(v, kind) for v in (weight, mean, rstd))
    kernels.norm_rows_back(
        blocks, block * columns * 8, g, x, weight, mean, rstd, out, *parts, rows, columns, block
    )
    return out, *(None if p is None else np.add.reduce(p, 0) for p in parts)


def _reference_rows(
    given: Array, weight: Array | None, bias: Array | None, eps: float, centred: bool
) -> tuple[Array, Array | None, Array]:
    x = widened(given)
    n = x.dtype.type(max(x.shape[1], 1))
    mean = np.add.reduce(x, 1) / n if centred else None
    out = x.copy() if mean is None else x - mean[:, None]
    rstd = reciprocal_deviation(np.vecdot(out, out) / n, eps)
    out *= rstd[:, None]
    if weight is not None:
        out *= widened(weight)
    if bias is not None:
        out += widened(bias)
    return out.astype(given.dtype, copy=False), mean, rstd


def _reference_rows_back(
    grad: Array, given: Array, mean: Array | None, rstd: Array, weight: Array | None, wanted: Any
) -> tuple[Array, Array | None, Array | None]:
    g, x = widened(grad), widened(given)
    normal = x * rstd[:, None] if mean is None else (x - mean[:, None]) * rstd[:, None]
    for_weight = np.einsum("rn,rn->n", g, normal) if wanted[0] else None
    for_bias = g.sum(0) if wanted[1] else None
    if weight is not None:
        g = g * widened(weight)
    kind, n = x.dtype.type, max(x.shape[1], 1)
    share = np.vecdot(g, normal) / kind(n)
    normal *= share[:, None]
    if mean is not None:
        normal += (g.sum(1) / kind(n))[:, None]
    np.subtract(g, normal, out=normal)
    normal *= rstd[:, None]
    return normal, for_weight, for_bias


# ---------------------------------------------------------------- groups of channels
def norm_groups(
    x: Array, groups: int, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """Each group of channels of (N, C, B) with mean 0 and variance 1, times weight plus bias (C,).

    Also the groups' mean and rstd, (N * groups,).
    """
    if not (x.size and x.dtype in FLOATS and serves(x)):
        return _reference_groups(x, groups, weight, bias, eps)
    samples, channels, space = x.shape
    rows, each = samples * groups, channels // groups
    kind = wide_dtype(x.dtype)
    allocator.prepare(x.nbytes)
    out, (mean, rstd) = np.empty(x.shape, x.dtype), np.empty((2, rows), kind)
    kernels.norm_groups(
        rows, each * space * 4, x, parameter(weight, kind), parameter(bias, kind), out, mean, rstd,
        groups, each, space, eps,
    )  # fmt: skip
    return out, mean, rstd


def norm_groups_back(
    g: Array, x: Array, groups: int, mean: Array, rstd: Array, weight: Array | None
) -> tuple[Array, Array, Array]:
    """The gradients of `norm_groups` for x, weight and bias."""
    if not (x.size and x.dtype in FLOATS and x.dtype == g.dtype and serves(g, x)):
        return _reference_groups_back(g, x, groups, mean, rstd, weight)
    samples, channels, space = x.shape
    each = channels // groups
    allocator.prepare(x.nbytes)
    out = np.empty(x.shape, x.dtype)
    kind = wide_dtype(x.dtype)
    for_weight, for_bias = np.empty((2, samples, channels), kind)
    weight, mean, rstd = (parameter(v, kind) for v in (weight, mean, rstd))
    kernels.norm_groups_back(
        samples * groups, each * space * 6, g, x, weight, mean, rstd, out, for_weight, for_bias,
        groups, each, space,
    )  # fmt: skip
    return out, np.add.reduce(for_weight, 0), np.add.reduce(for_bias, 0)


def _reference_groups(
    x: Array, groups: int, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    flat = widened(x).reshape(x.shape[0] * groups, -1 if x.size else 0)
    out, mean, rstd = _reference_rows(flat, None, None, eps, True)
    out = out.reshape(x.shape)
    if weight is not None:
        out *= widened(weight)[:, None]
    if bias is not None:
        out += widened(bias)[:, None]
    return out.astype(x.dtype, copy=False), mean, rstd


def _reference_groups_back(
    grad: Array, given: Array, groups: int, mean: Array, rstd: Array, weight: Array | None
) -> tuple[Array, Array, Array]:
    g, x = widened(grad), widened(given)
    rows = (rstd.size, -1 if x.size else 0)
    normal = ((x.reshape(rows) - mean[:, None]) * rstd[:, None]).reshape(x.shape)
    for_weight, for_bias = np.einsum("ncb,ncb->c", g, normal), g.sum((0, 2))
    scaled = g if weight is None else g * widened(weight)[:, None]
    flat = scaled.reshape(rows), x.reshape(rows)
    for_input = _reference_rows_back(*flat, mean, rstd, None, (False, False))[0]
    return for_input.reshape(x.shape), for_weight, for_bias
