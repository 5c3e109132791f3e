"""Window functions for spectra: Hann, Hamming, Blackman, Bartlett and Kaiser.

A periodic window is a symmetric one of one more element without its last: it fits the Fourier
transform.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from .creation import place, storage_dtype
from .functions import publish


def _window(
    window_length: int,
    periodic: bool,
    shape: Callable[[Any, int], Any],
    dtype: dtypes.dtype | None,
    device: Any,
    requires_grad: bool,
    pin_memory: bool,
) -> Any:
    if window_length < 0:
        raise RuntimeError(f"window_length must be non-negative, got {window_length}")
    kind = storage_dtype(dtype or dtypes.get_default_dtype())
    if not dtypes.from_numpy_dtype(kind).is_floating_point:
        raise RuntimeError(f"a window needs a floating point dtype, got {dtype}")
    if window_length <= 1:
        values = np.ones(window_length)
    else:
        last = window_length if periodic else window_length - 1
        values = shape(np.arange(window_length, dtype=np.float64), last)
    return place(values.astype(kind), None, device, requires_grad, pin_memory)


def cosines(*weights: float) -> Callable[[Any, int], Any]:
    """A sum of cosines with alternating signs, of sample n of 0 ... last."""

    def shape(n: Any, last: int) -> Any:
        turn = 2 * np.pi * n / last
        return sum((-1) ** k * w * np.cos(k * turn) for k, w in enumerate(weights))

    return shape


def triangle(n: Any, last: int) -> Any:
    """Zero at the ends, one in the middle."""
    return 1 - np.abs(2 * n / last - 1)


def half_circle(beta: float) -> Callable[[Any, int], Any]:
    """Kaiser's window: Bessel's I0 over a half circle."""

    def shape(n: Any, last: int) -> Any:
        return np.i0(beta * np.sqrt(np.maximum(1 - (2 * n / last - 1) ** 2, 0))) / np.i0(beta)

    return shape


@publish
def hann_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """Half a cosine wave on a pedestal: zero at the ends."""
    shape = cosines(0.5, 0.5)
    return _window(window_length, periodic, shape, dtype, device, requires_grad, pin_memory)


@publish
def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """alpha - beta cos: a Hann window that does not quite reach zero."""
    shape = cosines(alpha, beta)
    return _window(window_length, periodic, shape, dtype, device, requires_grad, pin_memory)


@publish
def blackman_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """A sum of two cosines with very low side lobes."""
    shape = cosines(0.42, 0.5, 0.08)
    return _window(window_length, periodic, shape, dtype, device, requires_grad, pin_memory)


@publish
def bartlett_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """A triangle: zero at the ends, one in the middle."""
    return _window(window_length, periodic, triangle, dtype, device, requires_grad, pin_memory)


@publish
def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """Bessel's I0 over a half circle; a larger `beta` has lower side lobes, a wider main lobe."""
    shape = half_circle(beta)
    return _window(window_length, periodic, shape, dtype, device, requires_grad, pin_memory)
