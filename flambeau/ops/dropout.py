"""Dropout: zeros at random places, the rest scaled up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends.cpu.layout import in_memory_order
from ..generator import default_generator
from .record import Array, composite, random

# The negative of SELU's lower limit, lambda * alpha (Klambauer et al., 2017).
_SELU_FLOOR = 1.7580993408473766


def _kept(like: Any, p: float, channels: bool) -> Any:
    """Where `like` is kept: drawn in memory order, for each element or for each channel."""
    if channels:
        shape = (*like.shape[:2], *(1,) * (like.ndim - 2))
        return default_generator.bernoulli(1 - p, math.prod(shape)).reshape(shape)
    mask = np.empty_like(like, np.bool_, subok=False)
    ordered = in_memory_order(mask)
    ordered[...] = default_generator.bernoulli(1 - p, mask.size).reshape(ordered.shape)
    return mask


def _check(name: str, input: Any, p: float, channels: bool = False) -> None:
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p} ({name})")
    if channels and input.ndim < 2:
        raise RuntimeError(
            f"Feature dropout requires at least 2 dimensions in the input ({name}: got "
            f"{list(input.shape)})"
        )


def _times_noise(m: Any, g: Any, noise: Any) -> Any:
    return g * noise


@random(method=False, extras=("noise",), grad={"input": _times_noise})
def dropout_noise(input: Array, p: float, channels: bool) -> Array:
    """`input` times 0 with probability `p` and ``1 / (1 - p)`` else, by elements or by channels."""
    _check("dropout", input, p, channels)
    kind = input.dtype.type
    if p == 1:
        return np.zeros_like(input) * input, np.zeros_like(input)
    noise = (_kept(input, p, channels) * kind(1 / kind(1 - p))).astype(input.dtype, copy=False)
    return input * noise, noise


@random(method=False, extras=("noise",), grad={"input": _times_noise})
def alpha_noise(input: Array, p: float, channels: bool) -> Array:
    """`alpha_dropout` in training, by elements or by channels."""
    _check("alpha_dropout", input, p, channels)
    kind = input.dtype.type
    if p == 1:
        return input * kind(0), np.zeros_like(input)
    kept = _kept(input, p, channels)
    # What is dropped goes to SELU's lower limit; scale and shift restore mean and variance.
    scale = 1.0 / math.sqrt((_SELU_FLOOR**2 * p + 1) * (1 - p))
    lower = _SELU_FLOOR * scale
    shift = np.where(kept, kind(lower * p), kind(lower * p - lower))
    noise = kept * kind(scale)
    return input * noise + shift, noise


def _noisy(m: Any, noise: Any, input: Any, p: float, train: bool, channels: bool) -> Any:
    """`noise` of `input`, but nothing is drawn where nothing or everything is kept."""
    if not train or p == 0 or 0 in tuple(input.shape):
        return input
    return m.mul(input, m.zeros_like(input)) if p == 1 else noise(input, p, channels)


@composite(method=False, inplace=True)
def dropout(m: Any, input: Array, p: float = 0.5, train: bool = True) -> Array:
    """`input` with each element zeroed with probability `p` and the rest divided by ``1 - p``.

    Not in training it is `input` itself. RuntimeError for `p` outside [0, 1].

    >>> sorted(set(F.dropout(flambeau.ones(100), p=0.75).tolist()))
    [0.0, 4.0]
    """
    _check("dropout", input, p)
    return _noisy(m, m.dropout_noise, input, p, train, False)


@composite(method=False, inplace=True)
def feature_dropout(m: Any, input: Array, p: float = 0.5, train: bool = True) -> Array:
    """`dropout` of whole channels of (N, C, ...).

    >>> kept = flambeau.feature_dropout(flambeau.ones(1, 64, 3), 0.5, True)
    >>> sorted(set(kept.sum(-1).flatten().tolist()))
    [0.0, 6.0]
    """
    _check("feature_dropout", input, p)
    return _noisy(m, m.dropout_noise, input, p, train, True)


@composite(method=False, inplace=True)
def alpha_dropout(m: Any, input: Array, p: float = 0.5, train: bool = False) -> Array:
    """Dropout that keeps the mean 0 and variance 1 of `selu` networks (Klambauer et al., 2017).

    >>> dropped = F.alpha_dropout(flambeau.zeros(100), p=0.5, training=True)
    >>> [round(x, 4) for x in sorted(set(dropped.tolist()))]
    [-0.7792, 0.7792]
    """
    _check("alpha_dropout", input, p)
    return _noisy(m, m.alpha_noise, input, p, train, False)


@composite(method=False, inplace=True)
def feature_alpha_dropout(m: Any, input: Array, p: float = 0.5, train: bool = False) -> Array:
    """`alpha_dropout` of whole channels of (N, C, ...).

    >>> dropped = F.feature_alpha_dropout(flambeau.zeros(1, 64, 3), p=0.5, training=True)
    >>> len(set(dropped[0].sum(-1).tolist()))
    2
    """
    _check("feature_alpha_dropout", input, p)
    return _noisy(m, m.alpha_noise, input, p, train, True)
