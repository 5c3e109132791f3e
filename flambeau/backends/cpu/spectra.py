"""Discrete Fourier transforms by SciPy's pocketfft, shared among threads where they are long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...compiler import allocator, threads
from ...compiler.kernel import kernel, serves
from ...compiler.language import Array, T, select, simd

_MANY = 1 << 16
"""Elements from which threads share a transform."""
_FEW = 2048
"""Elements below which NumPy is faster."""


def _workers(x: Any) -> int:
    """How many threads transform `x`, whose result is about to be allocated."""
    if x.size < _MANY:
        return 1
    allocator.prepare(2 * x.nbytes)
    return threads.get_num_threads()


def to_half(x: Any, axes: Sequence[int], norm: str) -> Any:
    """The forward transform of real numbers; of the last axis the first n // 2 + 1 points."""
    from scipy import fft

    if len(axes) == 1:
        return fft.rfft(x, axis=axes[0], norm=norm, workers=_workers(x))
    return fft.rfftn(x, axes=axes, norm=norm, workers=_workers(x))


def from_half(x: Any, sizes: Sequence[int], axes: Sequence[int], norm: str) -> Any:
    """The backward transform of a half spectrum to real numbers, `sizes` along `axes`."""
    from scipy import fft

    if len(axes) == 1:
        return fft.irfft(x, sizes[0], axis=axes[0], norm=norm, workers=_workers(x))
    return fft.irfftn(x, s=sizes, axes=axes, norm=norm, workers=_workers(x))


def whole(x: Any, axes: Sequence[int], norm: str, forward: bool) -> Any:
    """The transform of complex or real numbers along `axes`, complex."""
    real = x.dtype.kind == "f"
    if real and forward and x.size >= _FEW and tuple(axes) == (x.ndim - 1,):
        half = to_half(x, axes, norm)
        if serves(parts := half.view(half.real.dtype)):
            return _with_image(parts, x.shape)
    from scipy import fft

    if len(axes) == 1:
        transform = fft.fft if forward else fft.ifft
        out = transform(x, axis=axes[0], norm=norm, workers=_workers(x))
    else:
        transform = fft.fftn if forward else fft.ifftn
        out = transform(x, axes=axes, norm=norm, workers=_workers(x))
    if real:
        _unsign_zeros(out, axes, forward)
    return out


def _with_image(half: Any, shape: Any) -> Any:
    """The spectrum of real rows from half of it, whose points are pairs of numbers."""
    n = shape[-1]
    out = np.empty((*shape[:-1], 2 * n), half.dtype)
    mirror_rows(out.size // (2 * n), 8 * n, half, out, n)
    return out.view(np.result_type(half.dtype, np.complex64))


@kernel
def mirror_rows(first: int, last: int, half: Array[T], out: Array[T], n: int) -> None:
    """Rows of n points from their first n // 2 + 1, a point beside its conjugate image.

    Imaginary zeros become positive, and negative in the image.
    """
    points = n // 2 + 1
    for row in range(first, last):
        source, target = half[row * 2 * points :], out[row * 2 * n :]
        for k in simd(points):
            imaginary = source[2 * k + 1]
            target[2 * k] = source[2 * k]
            target[2 * k + 1] = select(imaginary == 0.0, 0.0, imaginary)
        for k in simd(points, n):
            target[2 * k] = source[2 * (n - k)]
            target[2 * k + 1] = -source[2 * (n - k) + 1]


def _unsign_zeros(out: Any, axes: Sequence[int], forward: bool) -> None:
    """Make the imaginary zeros of a real array's transform positive where PyTorch's are so.

    Half of it is computed and the rest its conjugate image, which has negative zeros. PyTorch
    leaves those in the image, and only where one dimension is transformed.
    """
    if len(axes) == 1:
        if not forward:
            return
        axis = axes[0]
        out = out[(*(slice(None),) * axis, slice(out.shape[axis] // 2 + 1))]
    imaginary = out.imag
    imaginary += 0.0
