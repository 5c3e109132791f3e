"""Normalization: over a batch, over features, over groups of channels."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..backends.cpu import batch_norm as batches
from ..backends.cpu import normalization as kernels
from ..backends.cpu.precision import wide_dtype
from .promotion import title, unsupported
from .record import Array, composite, structured

_BY_PIECES = "a recorded backward differentiates the norm's pieces instead"


def _check_inexact(name: str, x: Any) -> None:
    if x.dtype.kind not in "fV":
        raise unsupported(name, x)


def _check_parameters(x: Any, *parameters: Any) -> None:
    """Refuse weights of another dtype than `x`; only halves may have those of float32."""
    for p in parameters:
        if p is None or p.dtype == x.dtype or (x.dtype.itemsize == 2 and p.dtype == np.float32):
            continue
        raise RuntimeError(
            f"mixed dtype (CPU): expect parameter to have scalar type of Float, got {title(p)} for "
            f"an input of {title(x)}"
        )


def _check_channels(name: str, count: int, **given: Any) -> None:
    for label, x in given.items():
        if x is not None and x.shape != (count,):
            raise RuntimeError(
                f"{name}: {label} should contain {count} elements not {x.size} (shape "
                f"{list(x.shape)})"
            )


def _check_alike(name: str, grad: Any, input: Any) -> None:
    if grad.shape != input.shape:
        raise RuntimeError(
            f"{name}: Expected a gradient of shape {list(input.shape)}, got {list(grad.shape)}"
        )


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
        kind = m.dtype(input)
        centred = input - m.cast(m.reshape(running_mean, shape), kind)
        var = m.cast(m.reshape(running_var, shape), kind)
    out = centred * m.rsqrt(var + eps)
    if weight is not None:
        out = out * m.reshape(weight, shape)
    return out if bias is None else out + m.reshape(bias, shape)


@structured(
    method=False,
    extras=("mean", "rstd"),
    grad=dict.fromkeys(("input", "weight", "bias"), _batch_norm_rule),
    decompose=_batch_norm_pieces,
    node="NativeBatchNormBackward0",
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

    >>> x = flambeau.tensor([[0.0, 5.0], [2.0, 5.0]])
    >>> F.batch_norm(x, None, None, training=True)
    tensor([[-1.0000,  0.0000],
            [ 1.0000,  0.0000]])
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
    return batches.batch_norm(
        input, weight, bias, running_mean, running_var, training, momentum, eps
    )


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
    _check_alike("batch_norm_back", grad, input)
    _check_channels("batch_norm_back", input.shape[1], weight=weight, mean=mean, rstd=rstd)
    return batches.batch_norm_back(grad, input, weight, mean, rstd, fixed)


# ---------------------------------------------------------------- norms of rows
def _split(name: str, input: Any, normalized_shape: Any, **given: Any) -> tuple[int, int]:
    """The number of rows and their length; RuntimeError if the shapes do not fit."""
    sizes = tuple(normalized_shape)
    for label, x in given.items():
        if x is not None and x.shape != sizes:
            raise RuntimeError(
                f"{name}: Expected {label} to be of same shape as normalized_shape, but got "
                f"{label} of shape {list(x.shape)} and normalized_shape = {list(sizes)}"
            )
    return _rows_and_length(name, input.shape, sizes)


@functools.lru_cache(maxsize=1024)
def _rows_and_length(name: str, given: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, int]:
    if not sizes:
        raise RuntimeError(
            f"{name}: Expected normalized_shape to be at least 1-dimensional, i.e., containing at "
            f"least one element, but got normalized_shape = {list(sizes)}"
        )
    if given[max(len(given) - len(sizes), 0) :] != sizes:
        raise RuntimeError(
            f"{name}: Given normalized_shape={list(sizes)}, expected input with shape [*, "
            f"{', '.join(map(str, sizes))}], but got input of size {list(given)}"
        )
    length = math.prod(int(n) for n in sizes)
    return math.prod(given[: len(given) - len(sizes)]), length


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
    m: Any,
    g: Any,
    input: Any,
    normalized_shape: Any,
    weight: Any,
    mean: Any,
    rstd: Any,
    bias_dtype: Any,
) -> dict[str, Any]:
    with_bias = bias_dtype is not None
    parts = m.row_norm_back(g, input, weight, mean, rstd, tuple(normalized_shape), with_bias)
    return dict(zip(("input", "weight", "bias"), parts, strict=True))


@structured(
    method=False,
    extras=("mean", "rstd"),
    grad=dict.fromkeys(("input", "weight", "bias"), _layer_norm_rule),
    decompose=_layer_norm_pieces,
    node="NativeLayerNormBackward0",
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

    >>> F.layer_norm(flambeau.tensor([[0.0, 2.0], [7.0, 3.0]]), (2,))
    tensor([[-1.0000,  1.0000],
            [ 1.0000, -1.0000]])
    """
    _check_inexact("LayerNormKernelImpl", input)
    _check_parameters(input, weight, bias)
    rows, length = _split("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    scale, shift = (None if v is None else v.reshape(-1) for v in (weight, bias))
    x = input.reshape(rows, length)
    out, mean, rstd = kernels.norm_rows(x, scale, shift, eps, True)
    return out.reshape(input.shape), mean, rstd


@structured(method=False, outputs=3, excuse=_BY_PIECES)
def row_norm_back(
    grad: Array,
    input: Array,
    weight: Array | None,
    mean: Array | None,
    rstd: Array,
    normalized_shape: Any,
    with_bias: bool,
) -> Array:
    """The gradients of `layer_norm` (of `rms_norm` without a mean): for input, weight and bias.

    Without a weight, or `with_bias` False, there is an empty array in the gradient's place.
    """
    _check_alike("row_norm_back", grad, input)
    rows, length = _split("row_norm_back", input, normalized_shape, weight=weight)
    _check_channels("row_norm_back", rows, mean=mean, rstd=rstd)
    shape = (rows, length)
    g, x = grad.reshape(shape), input.reshape(shape)
    flat = None if weight is None else weight.reshape(-1)
    wanted = (weight is not None, with_bias)
    parts = kernels.norm_rows_back(g, x, mean, rstd, flat, wanted)
    shaped = tuple(normalized_shape)
    return parts[0].reshape(input.shape), *(
        np.empty(0, rstd.dtype) if p is None else p.reshape(shaped) for p in parts[1:]
    )


def _rms_norm_rule(
    m: Any, g: Any, input: Any, normalized_shape: Any, weight: Any, rstd: Any
) -> dict[str, Any]:
    parts = m.row_norm_back(g, input, weight, None, rstd, tuple(normalized_shape), False)
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
    scale = None if weight is None else weight.reshape(-1)
    bound = _epsilon(input.dtype) if eps is None else eps
    out, _, rstd = kernels.norm_rows(input.reshape(rows, length), scale, None, bound, False)
    return out.reshape(input.shape), rstd


@functools.lru_cache(maxsize=8)
def _epsilon(dtype: Any) -> float:
    return float(np.finfo(wide_dtype(dtype)).eps)


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

    >>> F.rms_norm(flambeau.tensor([[1.0, -7.0]]), (2,))
    tensor([[ 0.2000, -1.4000]])
    """
    if m.dtype(input).is_complex:
        return _rms_norm_pieces(m, input, normalized_shape, weight, eps)
    return m.rms_norm_rows(input, normalized_shape, weight, eps)


def _group_norm_rule(
    m: Any, g: Any, input: Any, num_groups: int, weight: Any, mean: Any, rstd: Any
) -> dict[str, Any]:
    parts = m.group_norm_back(g, input, num_groups, weight, mean, rstd)
    return dict(zip(("input", "weight", "bias"), parts, strict=True))


def _group_norm_pieces(
    m: Any,
    input: Any,
    num_groups: int,
    weight: Any,
    bias: Any,
    eps: float,
    cudnn_enabled: bool,
) -> Any:
    shape = tuple(input.shape)
    length = math.prod(shape[1:]) // num_groups
    rows = m.reshape(input, (shape[0], num_groups, length))
    out = m.reshape(m.layer_norm(rows, (length,), None, None, eps), shape)
    along = (shape[1],) + (1,) * (len(shape) - 2)
    if weight is not None:
        out = out * m.reshape(weight, along)
    return out if bias is None else out + m.reshape(bias, along)


@structured(
    method=False,
    extras=("mean", "rstd"),
    grad=dict.fromkeys(("input", "weight", "bias"), _group_norm_rule),
    decompose=_group_norm_pieces,
    node="NativeGroupNormBackward0",
)
def group_norm(
    input: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Array:
    """Each sample's channels of (N, C, ...), in `num_groups` groups, with mean 0, variance 1.

    `weight` and `bias` are (C,) (Wu and He, 2018). RuntimeError when the channels do not divide.

    >>> F.group_norm(flambeau.tensor([[0.0, 2.0, 10.0, 30.0]]), num_groups=2)
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """
    _check_inexact("GroupNormKernelImpl", input)
    _check_parameters(input, weight, bias)
    shape = input.shape
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
        if x is not None and x.shape != shape[1:2]:
            raise RuntimeError(
                f"Expected {label} to be a vector of size equal to the number of channels in "
                f"input, but got {label} of shape {list(x.shape)} and input of shape {list(shape)}"
            )
    x = input.reshape(*shape[:2], math.prod(shape[2:]))
    out, mean, rstd = kernels.norm_groups(x, num_groups, weight, bias, eps)
    return out.reshape(shape), mean, rstd


@structured(method=False, outputs=3, excuse=_BY_PIECES)
def group_norm_back(
    grad: Array,
    input: Array,
    num_groups: int,
    weight: Array | None,
    mean: Array,
    rstd: Array,
) -> Array:
    """The gradients of `group_norm` for input, weight and bias."""
    _check_alike("group_norm_back", grad, input)
    _check_channels("group_norm_back", input.shape[1], weight=weight)
    _check_channels("group_norm_back", input.shape[0] * num_groups, mean=mean, rstd=rstd)
    shape = (*input.shape[:2], math.prod(input.shape[2:]))
    parts = kernels.norm_groups_back(
        grad.reshape(shape), input.reshape(shape), num_groups, mean, rstd, weight
    )
    return parts[0].reshape(input.shape), *parts[1:]
