"""Batch norm of arrays (N, C, ...), forward and backward; statistics are taken for each channel.

Kernels for contiguous data and for data with the channels last, NumPy for all other. float16 and
bfloat16 are computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...compiler import allocator, threads
from ...compiler.kernel import serves
from . import batch_norm_kernels as kernels
from .normalization import parameter, reciprocal_deviation
from .precision import FLOATS, wide_dtype, widened

Array = Any

_WIDE_SPACE = 48
"""Space from which on a channel is folded plane by plane; below, its elements are columns."""
_ROWS = 512
"""Rows of a column that are folded in one piece at most."""


def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Array, Array, Array]:
    """Each channel normalised, times `weight` plus `bias`; its mean and reciprocal deviation.

    In training the running statistics follow in place by `momentum`; else they are used.
    """
    kind = wide_dtype(x.dtype)
    allocator.prepare(x.nbytes)
    flat = _flat(x) if x.size and x.dtype in FLOATS else None
    if flat is None:
        return _reference(x, weight, bias, running_mean, running_var, training, momentum, eps)
    weight, bias = parameter(weight, kind), parameter(bias, kind)
    moved_mean, moved_var = parameter(running_mean, kind), parameter(running_var, kind)
    if training:
        mean, rstd = np.empty((2, x.shape[1]), kind)
    else:
        mean, rstd = moved_mean.copy(), reciprocal_deviation(moved_var, eps)
        moved_mean = moved_var = None
    values = flat, weight, bias, moved_mean, moved_var
    run = (_norm_planes, _norm_bands, _norm_columns)[_way(flat)]
    out = run(*values, mean, rstd, momentum, eps, not training)
    if training:
        for running, moved in ((running_mean, moved_mean), (running_var, moved_var)):
            if running is not None and moved is not running:
                running[...] = moved
    return _restored(out, x), mean, rstd


def batch_norm_back(
    g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, fixed: bool
) -> tuple[Array, Array, Array]:
    """The gradients of `batch_norm` for x, weight and bias; `fixed`: not in training."""
    allocator.prepare(x.nbytes)
    flat = _flat(x) if x.size and x.dtype in FLOATS and g.dtype == x.dtype else None
    if flat is None:
        return _reference_back(g, x, weight, mean, rstd, fixed)
    like = np.moveaxis(g, 1, -1) if flat.ndim == 2 else g
    gradient = np.ascontiguousarray(like).reshape(flat.shape)
    kind = wide_dtype(x.dtype)
    weight, mean, rstd = (parameter(v, kind) for v in (weight, mean, rstd))
    run = (_norm_planes_back, _norm_bands_back, _norm_columns_back)[_way(flat)]
    for_input, for_weight, for_bias = run(gradient, flat, weight, mean, rstd, fixed)
    return _restored(for_input, x), for_weight, for_bias


def _flat(x: Array) -> Array | None:
    """`x` as (samples, channels, space), or as (rows, channels) where the channels lie last."""
    if x.ndim > 2 and not x.flags.c_contiguous:
        last = np.moveaxis(x, 1, -1)
        if last.flags.c_contiguous:
            return last.reshape(-1, x.shape[1]) if serves(last) else None
    if not x.flags.c_contiguous:
        x = np.ascontiguousarray(x)
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:])) if serves(x) else None


def _restored(flat: Array, x: Array) -> Array:
    """A result that is laid out as `_flat` says in the shape of `x`."""
    if flat.ndim == 3:
        return flat.reshape(x.shape)
    return np.moveaxis(flat.reshape(x.shape[0], *x.shape[2:], x.shape[1]), -1, 1)


def _norm_planes(
    x: Array, weight: Any, bias: Any, running_mean: Any, running_var: Any, mean: Array, rstd: Array,
    momentum: float, eps: float, fixed: bool,
) -> Array:  # fmt: skip
    samples, channels, space = x.shape
    out = np.empty(x.shape, x.dtype)
    if fixed:
        kernels.scale_planes(
            samples * channels, space * 2, x, weight, bias, out, mean, rstd, channels, space
        )
    else:
        kernels.norm_planes(
            channels, samples * space * 4, x, weight, bias, running_mean, running_var, out, mean,
            rstd, samples, channels, space, momentum, eps,
        )  # fmt: skip
    return out


def _norm_bands(
    x: Array, weight: Any, bias: Any, running_mean: Any, running_var: Any, mean: Array, rstd: Array,
    momentum: float, eps: float, fixed: bool,
) -> Array:  # fmt: skip
    rows, channels, width, together, bands = _bands_of(x)
    out = np.empty(x.shape, x.dtype)
    arrays = x, weight, bias, running_mean, running_var, out, mean, rstd
    numbers = rows, channels, width, together, momentum, eps
    key = (x.dtype, fixed, *[a is None for a in arrays])
    launch = _launchers.get(key)
    if launch is None:
        launch = _launchers[key] = kernels.norm_bands.prepare(*arrays, *numbers, fixed)
    chunks, share = threads.split(bands, rows * together * width * 0.2)
    launch(chunks, bands, share, *[a for a in arrays if a is not None], *numbers)
    return out


_launchers: dict[Any, Callable[..., Any]] = {}


def _norm_columns(
    x: Array, weight: Any, bias: Any, running_mean: Any, running_var: Any, mean: Array, rstd: Array,
    momentum: float, eps: float, fixed: bool,
) -> Array:  # fmt: skip
    rows, channels, width, columns, piece, pieces = _pieces(x)
    parts = np.empty((2, 1 if fixed else pieces, columns), mean.dtype)
    table = np.empty((3, columns), mean.dtype)
    if not fixed:
        bands, cost = _bands(columns, piece)
        kernels.column_statistics(pieces * bands, 3 * cost, x, *parts, rows, columns, piece)
    kernels.join_columns(
        channels, pieces * width * 4, *parts, np.empty((2, columns)), weight, bias, running_mean,
        running_var, table, mean, rstd, rows, channels, width, piece, momentum, eps, fixed,
    )  # fmt: skip
    out = np.empty(x.shape, x.dtype)
    kernels.norm_columns(rows, columns * 2, x, table, out, columns)
    return out


def _norm_planes_back(
    g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, fixed: bool
) -> tuple[Array, Array, Array]:
    samples, channels, space = x.shape
    out = np.empty(x.shape, x.dtype)
    for_weight, for_bias = np.empty((2, channels), mean.dtype)
    kernels.norm_planes_back(
        channels, samples * space * 6, g, x, weight, mean, rstd, out, for_weight, for_bias,
        samples, channels, space, fixed,
    )  # fmt: skip
    return out, for_weight, for_bias


def _norm_bands_back(
    g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, fixed: bool
) -> tuple[Array, Array, Array]:
    rows, channels, width, together, bands = _bands_of(x)
    out = np.empty(x.shape, x.dtype)
    for_weight, for_bias = np.empty((2, channels), mean.dtype)
    kernels.norm_bands_back(
        bands, rows * together * width * 6, g, x, weight, mean, rstd, out, for_weight, for_bias,
        rows, channels, width, together, fixed,
    )  # fmt: skip
    return out, for_weight, for_bias


def _norm_columns_back(
    g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, fixed: bool
) -> tuple[Array, Array, Array]:
    rows, channels, width, columns, piece, pieces = _pieces(x)
    parts = np.empty((2, pieces, columns), mean.dtype)
    bands, cost = _bands(columns, piece)
    kernels.column_products(
        pieces * bands, 3 * cost, g, x, mean, *parts, rows, columns, width, piece
    )
    table = np.empty((4, columns), mean.dtype)
    for_weight, for_bias = np.empty((2, channels), mean.dtype)
    kernels.join_products(
        channels, pieces * width * 4, *parts, np.empty((2, columns)), weight, mean, rstd, table,
        for_weight, for_bias, rows, channels, width, pieces, fixed,
    )  # fmt: skip
    out = np.empty(x.shape, x.dtype)
    kernels.norm_columns_back(rows, columns * 3, g, x, table, out, columns)
    return out, for_weight, for_bias


def _way(flat: Array) -> int:
    """0: plane by plane; 1: as bands of columns; 2: as columns that are cut into pieces."""
    if flat.ndim == 3 and flat.shape[2] >= _WIDE_SPACE:
        return 0
    return 1 if flat.shape[0] <= _ROWS else 2


def _bands_of(x: Array) -> tuple[int, int, int, int, int]:
    """Rows, channels, columns of a channel, channels that are folded together, bands of them."""
    rows, channels = x.shape[:2]
    width = x.shape[2] if x.ndim == 3 else 1
    together = min(kernels.BAND // width, channels)
    return rows, channels, width, together, -(-channels // together)


def _pieces(x: Array) -> tuple[int, int, int, int, int, int]:
    """Rows, channels, columns of a channel, columns, rows of a piece, pieces; by shape alone."""
    rows, channels = x.shape[:2]
    width = x.shape[2] if x.ndim == 3 else 1
    columns = channels * width
    piece = min(_ROWS, max(32, 8192 // min(columns, kernels.BAND)))
    return rows, channels, width, columns, piece, -(-rows // piece)


def _bands(columns: int, piece: int) -> tuple[int, int]:
    """How many bands columns make, and the elements of a band's piece."""
    return -(-columns // kernels.BAND), min(columns, kernels.BAND) * piece


# ---------------------------------------------------------------- in NumPy
def _reference(
    given: Array, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool,
    momentum: float, eps: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    x = widened(given).reshape(*given.shape[:2], math.prod(given.shape[2:]))
    count = x.shape[0] * x.shape[2]
    if training:
        mean = _sums(x) / x.dtype.type(max(count, 1))
        out = x - mean[:, None]
        var = _products(out, out) / x.dtype.type(max(count, 1))
        if count:
            _move(running_mean, mean, momentum)
            _move(running_var, var * (count / (count - 1)) if count > 1 else var, momentum)
    else:
        mean, var = (v.astype(x.dtype) for v in (running_mean, running_var))
        out = x - mean[:, None]
    rstd = reciprocal_deviation(var, eps)
    out *= (rstd if weight is None else rstd * widened(weight))[:, None]
    if bias is not None:
        out += widened(bias)[:, None]
    return out.reshape(given.shape).astype(given.dtype, copy=False), mean, rstd


def _move(running: Any, value: Any, momentum: float) -> None:
    if running is not None:
        running += ((value - running) * momentum).astype(running.dtype, copy=False)


def _reference_back(
    grad: Array, given: Array, weight: Array | None, mean: Array, rstd: Array, fixed: bool
) -> tuple[Array, Array, Array]:
    shape = (*given.shape[:2], math.prod(given.shape[2:]))
    x, g = widened(given).reshape(shape), widened(grad).reshape(shape)
    kind = x.dtype.type
    count = kind(max(x.shape[0] * x.shape[2], 1))
    normal = (x - mean[:, None]) * rstd[:, None]
    for_bias, for_weight = _sums(g), _products(g, normal)
    scale = rstd if weight is None else rstd * widened(weight)
    if fixed:
        return (g * scale[:, None]).reshape(given.shape), for_weight, for_bias
    # scale * (g - mean(g) - normal * mean(g * normal))
    normal *= (for_weight / count)[:, None]
    normal += (for_bias / count)[:, None]
    np.subtract(g, normal, out=normal)
    normal *= scale[:, None]
    return normal.reshape(given.shape), for_weight, for_bias


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
