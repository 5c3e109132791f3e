"""Normalization over a batch, over features, over groups and over neighbouring channels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...tensor import functions as fl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...tensor import Tensor

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "rms_norm",
]


def _check_values_per_channel(size: Sequence[int]) -> None:
    if size[0] * math.prod(size[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {size}"
        )


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of (N, C, ...) with mean 0 and variance 1, times ``weight`` plus ``bias``.

    In training with the batch's statistics, which also move the running ones (both (C,)) by
    ``momentum``; else with the running ones (Ioffe and Szegedy, 2015). Raises ValueError when
    training on a single value per channel.
    """
    if training and input.ndim > 1 and input.numel() <= input.size(1):
        _check_values_per_channel(input.size())
    return fl.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`batch_norm` over each sample's channel alone (Ulyanov et al., 2016).

    Raises ValueError for a single spatial element with ``use_input_stats``.
    """
    if use_input_stats and math.prod(input.shape[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {input.size()}"
        )
    batch, channels = input.shape[:2]
    # The batch folds into the channels, so that each sample's channel has its own statistics.
    folded = input.reshape(1, batch * channels, *input.shape[2:])
    mean, var = (
        None if stat is None else stat.repeat(batch) for stat in (running_mean, running_var)
    )
    scale, shift = (None if t is None else t.repeat(batch) for t in (weight, bias))
    out = fl.batch_norm(folded, scale, shift, mean, var, use_input_stats, momentum, eps)
    if use_input_stats:
        for stat, moved in ((running_mean, mean), (running_var, var)):
            if stat is not None:
                stat.copy_(moved.view(batch, channels).mean(0))
    return out.view(input.shape)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """The last dimensions, ``normalized_shape``, with mean 0 and variance 1 together.

    ``weight`` and ``bias`` have that shape (Ba et al., 2016).
    """
    return fl.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Each sample's channels of (N, C, ...), in ``num_groups`` groups, with mean 0, variance 1.

    ``weight`` and ``bias`` are (C,) (Wu and He, 2018). Raises RuntimeError when the channels do
    not divide into the groups.
    """
    if input.dim() < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {input.dim()}"
        )
    batch, channels, *space = input.shape
    _check_values_per_channel([batch * channels // num_groups, num_groups, *space])
    return fl.group_norm(input, num_groups, weight, bias, eps)


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """The last dimensions, ``normalized_shape``, divided by their root mean square.

    ``eps`` is the dtype's machine epsilon by default (Zhang and Sennrich, 2019).
    """
    return fl.rms_norm(input, normalized_shape, weight, eps)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """``x / (k + alpha * mean of x^2 over size neighbouring channels) ** beta``.

    ``input`` is (N, C, ...), at least 3-d (Krizhevsky et al., 2012).
    """
    if input.dim() < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)"
        )
    if input.numel() == 0:
        return input
    squares = (input * input).reshape(input.size(0), 1, input.size(1), -1)
    padded = fl.pad(squares, (0, 0, size // 2, (size - 1) // 2))
    mean = fl.avg_pool2d(padded, (size, 1), stride=1).view(input.shape)
    return input / (mean * alpha + k) ** beta
