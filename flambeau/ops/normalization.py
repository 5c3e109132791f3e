"""Normalization: over a batch, over features, over groups of channels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends.cpu import normalization as kernels
from .promotion import unsupported, widened
from .record import Array, composite, structured

_BY_PIECES = "a recorded backward differentiates the norm's pieces instead"


def _check_inexact(name: str, x: Any) -> None:
    if x.dtype.kind not in "fV":
        raise unsupported(name, x)


def _check_channels(name: str, count: int, **given: Any) -> None:
    for label, x in given.items():
        if x is not None and x.shape != (count,):
            raise RuntimeError(
                f"{name}: {label} should contain {count} elements not {x.size} (shape "
                f"{list(x.shape)})"
            )


def _wide(x: Any) -> Any:
    return None if x is None else widened(x)


# ---------------------------------------------------------------- batch norm
def _batch_norm_rule(
    m: Any, g: Any, input: Any, weight: Any, mean: Any, rstd: Any, training: bool
) -> dict[str, Any]:
    for_input, for_weight, for_bias = m.batch_norm_back(g, input, weight, mean, rstd, not training)
    return {"input": for_input, "weight": for_weight, "bias": for_bias}


def _batch_norm_pieces(
    m: Any,
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Any:
    dims = tuple(d for d in range(input.ndim) if d != 1)
    shape = tuple(-1 if d == 1 else 1 for d in range(input.ndim))
    if training:
        centred = input - m.mean(input, dims, True)
        var = m.mean(centred * centred, dims, True)
    else:
        centred = input - m.reshape(running_mean, shape)
        var = m.reshape(running_var, shape)
    out = centred * m.rsqrt(var + eps)
    if weight is not None:
        out = out * m.reshape(weight, shape)
    return out if bias is None else out + m.reshape(bias, shape)


@structured(
    method=False,
    extras=("mean", "rstd"),
    grad=dict.fromkeys(("input", "weight", "bias"), _batch_norm_rule),
    decompose=_batch_norm_pieces,
)
def batch_norm(
    input: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn_enabled: bool = False,
) -> Array:
    """Each channel of (N, C, ...) with mean 0 and variance 1, times `weight` plus `bias`, all (C,).

    In training with the batch's statistics, which also move the running ones in place by
    `momentum`; else with the running ones (Ioffe and Szegedy, 2015).
    """
    _check_inexact("batch_norm", input)
    if input.shape == (0,):
        return input.copy(), *np.zeros((2, 0), input.dtype)
    if input.ndim < 2:
        raise RuntimeError(f"batch_norm: expected at least 2 dimensions, got {list(input.shape)}")
    _check_channels(
        "batch_norm", input.shape[1], running_mean=running_mean, running_var=running_var,
        weight=weight, bias=bias,
    )  # fmt: skip
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError(
            "batch_norm: Expected running_mean and running_var to be given when training is False"
        )
    x = widened(input).reshape(*input.shape[:2], math.prod(input.shape[2:]))
    if training:
        mean, var, centred = kernels.centre(x)
        _move(running_mean, mean, momentum)
        count = x.shape[0] * x.shape[2]
        _move(running_var, var * (count / (count - 1)) if count > 1 else var, momentum)
    else:
        mean, var = (v.astype(x.dtype) for v in (running_mean, running_var))
        centred = x - mean[:, None]
    rstd = kernels.reciprocal_deviation(var, eps)
    out = kernels.scale_and_shift_(centred, rstd, _wide(weight), _wide(bias))
    return out.reshape(input.shape).astype(input.dtype, copy=False), mean, rstd


def _move(running: Any, value: Any, momentum: float) -> None:
    if running is not None:
        running += ((value - running) * momentum).astype(running.dtype, copy=False)


@structured(method=False, outputs=3, excuse=_BY_PIECES)
def batch_norm_back(
    grad: Array,
    input: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    fixed: bool,
) -> Array:
    """The gradients of `batch_norm` for input, weight and bias; `fixed`: not in training."""
    if input.shape == (0,):
        return grad, *np.zeros((2, 0), grad.dtype)
    shape = (*input.shape[:2], math.prod(input.shape[2:]))
    x, g = widened(input).reshape(shape), widened(grad).reshape(shape)
    for_input, for_weight, for_bias = kernels.normalize_back(g, x, mean, rstd, _wide(weight), fixed)
    return for_input.reshape(input.shape), for_weight, for_bias


# ---------------------------------------------------------------- norms of rows
def _split(name: str, input: Any, normalized_shape: Any, **given: Any) -> tuple[int, int]:
    """The number of rows and their length; RuntimeError if the shapes do not fit."""
    shape = tuple(int(n) for n in normalized_shape)
    if not shape:
        raise RuntimeError(
            f"{name}: Expected normalized_shape to be at least 1-dimensional, i.e., containing at "
            f"least one element, but got normalized_shape = {list(shape)}"
        )
    for label, x in given.items():
        if x is not None and x.shape != shape:
            raise RuntimeError(
                f"{name}: Expected {label} to be of same shape as normalized_shape, but got "
                f"{label} of shape {list(x.shape)} and normalized_shape = {list(shape)}"
            )
    if input.ndim < len(shape) or input.shape[input.ndim - len(shape) :] != shape:
        raise RuntimeError(
            f"{name}: Given normalized_shape={list(shape)}, expected input with shape [*, "
            f"{', '.join(map(str, shape))}], but got input of size {list(input.shape)}"
        )
    return math.prod(input.shape[: input.ndim - len(shape)]), math.prod(shape)


def _layer_norm_pieces(
    m: Any,
    input: Any,
    normalized_shape: Any,
    weight: Any,
    bias: Any,
    eps: float,
    cudnn_enable: bool,
) -> Any:
    dims = tuple(range(-len(normalized_shape), 0))
    centred = input - m.mean(input, dims, True)
    out = centred * m.rsqrt(m.mean(centred * centred, dims, True) + eps)
    if weight is not None:
        out = out * weight
    return out if bias is None else out + bias


def _layer_norm_rule(
    m: Any, g: Any, input: Any, normalized_shape: Any, weight: Any, mean: Any, rstd: Any
) -> dict[str, Any]:
    parts = m.row_norm_back(g, input, weight, mean, rstd, tuple(normalized_shape))
    return dict(zip(("input", "weight", "bias"), parts, strict=True))


@structured(
    method=False,
    extras=("mean", "rstd"),
    grad=dict.fromkeys(("input", "weight", "bias"), _layer_norm_rule),
    decompose=_layer_norm_pieces,
)
def layer_norm(
    input: Array,
    normalized_shape: Any,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Array:
    """The last dimensions, `normalized_shape`, with mean 0 and variance 1 together.

    `weight` and `bias` have that shape (Ba et al., 2016). RuntimeError for shapes that do not fit.
    """
    _check_inexact("LayerNormKernelImpl", input)
    rows, length = _split("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    x = widened(input).reshape(rows, length)
    scale, shift = (None if v is None else _wide(v).reshape(-1) for v in (weight, bias))
    out, mean, rstd = kernels.normalize_rows(x, scale, shift, eps)
    return out.reshape(input.shape).astype(input.dtype, copy=False), mean, rstd


@structured(method=False, outputs=3, excuse=_BY_PIECES)
def row_norm_back(
    grad: Array,
    input: Array,
    weight: Array | None,
    mean: Array | None,
    rstd: Array,
    normalized_shape: Any,
) -> Array:
    """The gradients of `layer_norm` (of `rms_norm` without a mean): for input, weight and bias."""
    shape = (rstd.size, math.prod(normalized_shape))
    g, x = widened(grad).reshape(shape), widened(input).reshape(shape)
    flat = None if weight is None else _wide(weight).reshape(-1)
    for_input, for_weight, for_bias = kernels.rows_back(g, x, mean, rstd, flat)
    shaped = tuple(normalized_shape)
    return for_input.reshape(input.shape), for_weight.reshape(shaped), for_bias.reshape(shaped)


def _rms_norm_rule(
    m: Any, g: Any, input: Any, normalized_shape: Any, weight: Any, rstd: Any
) -> dict[str, Any]:
    parts = m.row_norm_back(g, input, weight, None, rstd, tuple(normalized_shape))
    return {"input": parts[0], "weight": parts[1]}


def _rms_norm_pieces(m: Any, input: Any, normalized_shape: Any, weight: Any, eps: Any) -> Any:
    dims = tuple(range(-len(normalized_shape), 0))
    bound = np.finfo(m.dtype(input).numpy_dtype).eps if eps is None else eps
    out = input * m.rsqrt(m.mean(input * input, dims, True) + float(bound))
    return out if weight is None else out * weight


@structured(
    method=False,
    extras=("rstd",),
    grad=dict.fromkeys(("input", "weight"), _rms_norm_rule),
    decompose=_rms_norm_pieces,
)
def rms_norm_rows(
    input: Array,
    normalized_shape: Any,
    weight: Array | None = None,
    eps: float | None = None,
) -> Array:
    """`rms_norm` of real numbers."""
    _check_inexact("rms_norm", input)
    rows, length = _split("rms_norm", input, normalized_shape, weight=weight)
    x = widened(input).reshape(rows, length)
    squares = np.vecdot(x, x) / x.dtype.type(max(length, 1))
    rstd = kernels.reciprocal_deviation(squares, np.finfo(x.dtype).eps if eps is None else eps)
    out = x * rstd[:, None]
    if weight is not None:
        out *= _wide(weight).reshape(-1)
    return out.reshape(input.shape).astype(input.dtype, copy=False), rstd


@composite(method=False)
def rms_norm(
    m: Any,
    input: Array,
    normalized_shape: Any,
    weight: Array | None = None,
    eps: float | None = None,
) -> Array:
    """The last dimensions, `normalized_shape`, divided by their root mean square.

    `eps` is the machine epsilon of the dtype computed in by default (Zhang and Sennrich, 2019).
    """
    if m.dtype(input).is_complex:
        return _rms_norm_pieces(m, input, normalized_shape, weight, eps)
    return m.rms_norm_rows(input, normalized_shape, weight, eps)


@composite(method=False)
def group_norm(
    m: Any,
    input: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Array:
    """Each sample's channels of (N, C, ...), in `num_groups` groups, with mean 0, variance 1.

    `weight` and `bias` are (C,) (Wu and He, 2018). RuntimeError when the channels do not divide.
    """
    shape = tuple(input.shape)
    if len(shape) < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {len(shape)}"
        )
    if num_groups <= 0 or shape[1] % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(shape)} and num_groups={num_groups}"
        )
    for label, x in (("weight", weight), ("bias", bias)):
        if x is not None and tuple(x.shape) != shape[1:2]:
            raise RuntimeError(
                f"Expected {label} to be a vector of size equal to the number of channels in "
                f"input, but got {label} of shape {list(x.shape)} and input of shape {list(shape)}"
            )
    length = math.prod(shape[1:]) // num_groups
    out = m.layer_norm(m.reshape(input, (shape[0], num_groups, length)), (length,), None, None, eps)
    out = m.reshape(out, shape)
    along = (shape[1],) + (1,) * (len(shape) - 2)
    if weight is not None:
        out = out * m.reshape(weight, along)
    return out if bias is None else out + m.reshape(bias, along)
