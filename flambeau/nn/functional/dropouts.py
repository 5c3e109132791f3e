"""Dropout in its forms: of elements, of whole channels, and the self-normalizing kind."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ...tensor import functions as fl

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = [
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
]


def _check_probability(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes each element with probability ``p`` and divides the rest by ``1 - p``.

    Does nothing when not ``training``. Raises ValueError for a ``p`` outside [0, 1].
    """
    _check_probability(p)
    return input.dropout_(p, training) if inplace else fl.dropout(input, p, training)


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps the mean 0 and variance 1 of `selu` networks (Klambauer et al., 2017)."""
    _check_probability(p)
    return input.alpha_dropout_(p, training) if inplace else fl.alpha_dropout(input, p, training)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, ...)."""
    _check_probability(p)
    if inplace:
        return input.feature_alpha_dropout_(p, training)
    return fl.feature_alpha_dropout(input, p, training)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zeroes whole channels of (N, C, L) or (C, L) with probability ``p``.

    Raises RuntimeError for an input of other dimensions.
    """
    _check_probability(p)
    dims = input.dim()
    if dims not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {dims}D input. Note that "
            "dropout1d exists to provide channel-wise dropout on inputs with 1 spatial "
            "dimension, a channel dimension, and an optional batch dimension (i.e. 2D or 3D "
            "inputs)."
        )
    return _drop_channels(input, p, training, inplace, batched=dims == 3)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zeroes whole channels of (N, C, H, W) with probability ``p``.

    A 3-d input is read as (N, C, L), with a warning.
    """
    _check_probability(p)
    dims = input.dim()
    if dims not in (3, 4):
        _warn_dims("dropout2d", dims, "3D or 4D")
    elif dims == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D "
            "dropout behavior is desired - input is interpreted as shape (N, C, L), where C is "
            "the channel dim. Please use dropout1d instead.",
            stacklevel=2,
        )
    return _drop_channels(input, p, training, inplace, batched=True)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zeroes whole channels of (N, C, D, H, W) or (C, D, H, W) with probability ``p``."""
    _check_probability(p)
    dims = input.dim()
    if dims not in (4, 5):
        _warn_dims("dropout3d", dims, "4D or 5D")
    return _drop_channels(input, p, training, inplace, batched=dims != 4)


def _warn_dims(name: str, dims: int, expected: str) -> None:
    warnings.warn(
        f"{name}: Received a {dims}-D input to {name}, which is deprecated and will result in an "
        f"error in a future release. To retain the behavior and silence this warning, please use "
        f"dropout instead; {name} is for {expected} inputs.",
        stacklevel=3,
    )


def _drop_channels(input: Tensor, p: float, training: bool, inplace: bool, batched: bool) -> Tensor:
    batch = input if batched else input.unsqueeze(0)
    if inplace:
        batch.feature_dropout_(p, training)
        return input
    dropped = fl.feature_dropout(batch, p, training)
    return dropped if batched else dropped.squeeze(0)
