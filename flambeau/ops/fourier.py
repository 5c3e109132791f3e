"""Discrete Fourier transforms: three primitives over SciPy's pocketfft, and what is made of them.

A transform goes forward (exponent -i) or backward (exponent +i). Its `norm` says how it is scaled:
"backward" leaves the forward one alone and divides the backward one by the number of points,
"forward" the other way round, "ortho" divides both by the square root. The adjoint of a transform
is the opposite one with the same scale, which is what the opposite name stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu import spectra
from .record import Array, composite, structured

_OPPOSITE = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


# ---------------------------------------------------------------- primitives
@structured(
    method=False,
    node="FftC2CBackward0",
    grad={
        "input": lambda m, g, dim, norm, forward: m.fft_c2c(g, dim, _OPPOSITE[norm], not forward)
    },
)
def fft_c2c(input: Array, dim: Sequence[int], norm: str, forward: bool) -> Array:
    """The transform of complex (or real) numbers along the dimensions `dim`, complex."""
    if not input.size or not dim:
        return input.astype(np.result_type(input.dtype, np.complex64))
    return spectra.whole(input, dim, norm, forward)


def _from_half(m: Any, g: Any, dim: Any, norm: str, shape: Any) -> Any:
    full = _resized(m, g, dim[-1:], [shape[dim[-1]]])
    return m.real(m.fft_c2c(full, dim, _OPPOSITE[norm], False))


@structured(
    method=False,
    node="FftR2CBackward0",
    grad={"input": lambda m, g, dim, norm, input_shape: _from_half(m, g, dim, norm, input_shape)},
)
def fft_r2c(input: Array, dim: Sequence[int], norm: str) -> Array:
    """The forward transform of real numbers; of the last of `dim` the first n // 2 + 1 points."""
    if not input.size:
        shape = list(input.shape)
        shape[dim[-1]] = shape[dim[-1]] // 2 + 1
        return np.zeros(shape, np.result_type(input.dtype, np.complex64))
    return spectra.to_half(input, dim, norm)


def _to_half(m: Any, g: Any, dim: Any, norm: str) -> Any:
    half = m.fft_r2c(g, dim, _OPPOSITE[norm])
    last, n = dim[-1], g.shape[dim[-1]]
    points = half.shape[last]
    twice = n - points
    # All points but the first (and the last of an even number) stand for a conjugate pair.
    parts = [m.narrow(half, last, 0, 1)]
    if twice:
        parts.append(m.narrow(half, last, 1, twice) * 2)
    if points > twice + 1:
        parts.append(m.narrow(half, last, twice + 1, points - twice - 1))
    return m.cat(parts, last)


@structured(
    method=False,
    node="FftC2RBackward0",
    grad={"input": lambda m, g, dim, norm: _to_half(m, g, dim, norm)},
)
def fft_c2r(input: Array, dim: Sequence[int], norm: str, last_dim_size: int) -> Array:
    """The backward transform of a half spectrum to `last_dim_size` real numbers."""
    if not input.size:
        shape = list(input.shape)
        shape[dim[-1]] = last_dim_size
        return np.zeros(shape, input.real.dtype)
    sizes = [*(input.shape[d] for d in dim[:-1]), last_dim_size]
    return spectra.from_half(input, sizes, dim, norm)


# ---------------------------------------------------------------- arguments
def _norm(norm: str | None) -> str:
    if norm is None:
        return "backward"
    if norm not in _OPPOSITE:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return norm


def _axis(dim: int, ndim: int) -> int:
    if not ndim:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    if not -ndim <= dim < ndim:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], "
            f"but got {dim})"
        )
    return dim % ndim


def _check_points(n: int) -> int:
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return n


def _axes(input: Any, s: Any, dim: Any) -> tuple[list[int], list[int]]:
    """The dimensions to transform, and how many points each is to have."""
    ndim = len(input.shape)
    if dim is not None:
        dims = [_axis(d, ndim) for d in ((dim,) if isinstance(dim, int) else dim)]
        if len(set(dims)) < len(dims):
            raise RuntimeError("FFT dims must be unique")
    if s is None:
        dims = dims if dim is not None else list(range(ndim))
        return dims, [_check_points(input.shape[d]) for d in dims]
    sizes = [s] if isinstance(s, int) else list(s)
    if dim is None:
        if len(sizes) > ndim:
            raise RuntimeError(
                f"Got shape with {len(sizes)} values but input tensor only has {ndim} dimensions."
            )
        dims = list(range(ndim - len(sizes), ndim))
    elif len(dims) != len(sizes):
        raise RuntimeError("When given, dim and shape arguments must have the same length")
    sizes = [input.shape[d] if n == -1 else n for d, n in zip(dims, sizes, strict=True)]
    return dims, [_check_points(n) for n in sizes]


def _resized(m: Any, x: Any, dims: Sequence[int], sizes: Sequence[int]) -> Any:
    """`x` cut or padded with zeros at the end of each dimension."""
    for d, n in zip(dims, sizes, strict=True):
        have = x.shape[d]
        if have > n:
            x = m.narrow(x, d, 0, n)
        elif have < n:
            x = m.constant_pad_nd(x, [0, 0] * (len(x.shape) - 1 - d) + [0, n - have])
    return x


def _floating(m: Any, x: Any) -> Any:
    """`x` in a floating-point type that transforms exist for."""
    t = m.dtype(x)
    if t in dtypes.HALF:
        raise RuntimeError(f"Unsupported dtype {t.title}")
    return x if t.is_floating_point or t.is_complex else m.cast(x, dtypes.get_default_dtype())


def _real(m: Any, name: str, x: Any) -> Any:
    if m.dtype(x).is_complex:
        raise RuntimeError(f"{name} expects a real input tensor, but got {m.dtype(x).title}")
    return _floating(m, x)


def _complex(m: Any, x: Any) -> Any:
    x = _floating(m, x)
    return x if m.dtype(x).is_complex else m.cast(x, m.dtype(x).to_complex())


def _some(name: str, dims: Sequence[int]) -> None:
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")


# ---------------------------------------------------------------- transforms of any dimensions
def _c2c(m: Any, x: Any, s: Any, dim: Any, norm: str | None, forward: bool) -> Any:
    x = _floating(m, x)
    dims, sizes = _axes(x, s, dim)
    if not dims:
        return _complex(m, x)
    return m.fft_c2c(_resized(m, x, dims, sizes), tuple(dims), _norm(norm), forward)


def _r2c(m: Any, name: str, x: Any, s: Any, dim: Any, norm: str | None) -> Any:
    x = _real(m, name, x)
    dims, sizes = _axes(x, s, dim)
    _some(name, dims)
    return m.fft_r2c(_resized(m, x, dims, sizes), tuple(dims), _norm(norm))


def _c2r(m: Any, name: str, x: Any, s: Any, dim: Any, norm: str | None) -> Any:
    x = _complex(m, x)
    given = None if s is None else ([s] if isinstance(s, int) else list(s))
    # The last dimension is a half spectrum: its size is not the number of points.
    if given is not None and given[-1:] == [-1]:
        given[-1] = 0
        dims, _ = _axes(x, [1] * len(given), dim)
        given[-1] = 2 * (x.shape[dims[-1]] - 1)
    if given is None:
        ndim = len(x.shape)
        some = range(ndim) if dim is None else ((dim,) if isinstance(dim, int) else dim)
        last = [_axis(d, ndim) for d in some]
        _some(name, last)
        given = [x.shape[d] for d in last]
        given[-1] = 2 * (x.shape[last[-1]] - 1)
        dim = last if len(set(last)) == len(last) else dim
    dims, sizes = _axes(x, given, dim)
    _some(name, dims)
    halves = [*sizes[:-1], sizes[-1] // 2 + 1]
    x = _resized(m, x, dims, halves)
    return m.fft_c2r(x, tuple(dims), _norm(norm), sizes[-1])


def _flipped(norm: str | None) -> str:
    return _OPPOSITE[_norm(norm)]


@composite(method=False, out=True)
def fft_fftn(m: Any, input: Array, s: Any = None, dim: Any = None, norm: Any = None) -> Array:
    """The discrete Fourier transform over several dimensions (default: all), complex.

    >>> flambeau.fft.fftn(flambeau.tensor([[1.0, 2.0], [3.0, 4.0]])).real
    tensor([[10., -2.],
            [-4.,  0.]])
    """
    return _c2c(m, input, s, dim, norm, True)


@composite(method=False, out=True)
def fft_ifftn(m: Any, input: Array, s: Any = None, dim: Any = None, norm: Any = None) -> Array:
    """The inverse of `fftn`.

    >>> flambeau.fft.ifftn(flambeau.tensor([[8.0, 0.0], [0.0, 0.0]])).real
    tensor([[2., 2.],
            [2., 2.]])
    """
    return _c2c(m, input, s, dim, norm, False)


@composite(method=False, out=True)
def fft_rfftn(m: Any, input: Array, s: Any = None, dim: Any = None, norm: Any = None) -> Array:
    """`fftn` of real numbers; the last dimension keeps its n // 2 + 1 independent points.

    >>> flambeau.fft.rfftn(flambeau.ones(2, 4))
    tensor([[8.+0.j, 0.+0.j, 0.+0.j],
            [0.+0.j, 0.+0.j, 0.+0.j]])
    """
    return _r2c(m, "rfftn", input, s, dim, norm)


@composite(method=False, out=True)
def fft_irfftn(m: Any, input: Array, s: Any = None, dim: Any = None, norm: Any = None) -> Array:
    """The inverse of `rfftn`: real numbers, an even number of points unless `s` says otherwise.

    >>> flambeau.fft.irfftn(flambeau.tensor([[4.0, 4.0], [0.0, 0.0]]))
    tensor([[2., 0.],
            [2., 0.]])
    """
    return _c2r(m, "irfftn", input, s, dim, norm)


@composite(method=False, out=True)
def fft_hfftn(m: Any, input: Array, s: Any = None, dim: Any = None, norm: Any = None) -> Array:
    """The transform of a signal that is its own conjugate mirrored in time: real numbers.

    >>> flambeau.fft.hfftn(flambeau.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[10., -2.],
            [-4.,  0.]])
    """
    return _c2r(m, "hfftn", m.conj(_complex(m, input)), s, dim, _flipped(norm))


@composite(method=False, out=True)
def fft_ihfftn(m: Any, input: Array, s: Any = None, dim: Any = None, norm: Any = None) -> Array:
    """The inverse of `hfftn`: the half of a conjugate-symmetric signal.

    >>> flambeau.fft.ihfftn(flambeau.tensor([[8.0, 0.0], [0.0, 0.0]])).real
    tensor([[2., 2.],
            [2., 2.]])
    """
    return m.conj(_r2c(m, "ihfftn", input, s, dim, _flipped(norm)))


# ---------------------------------------------------------------- one dimension
def _single(m: Any, x: Any, n: int | None, dim: int) -> tuple[Any, tuple[int, ...]]:
    return (None if n is None else (_check_points(n),)), (_axis(dim, len(x.shape)),)


@composite(method=False, out=True)
def fft_fft(m: Any, input: Array, n: int | None = None, dim: int = -1, norm: Any = None) -> Array:
    """The discrete Fourier transform of `n` points along `dim`, complex.

    >>> flambeau.fft.fft(flambeau.tensor([0.0, 1.0, 0.0, 0.0])).real
    tensor([ 1.,  0., -1.,  0.])
    >>> flambeau.fft.fft(flambeau.ones(3), n=4, norm="forward").real
    tensor([0.7500, 0.0000, 0.2500, 0.0000])
    """
    return _c2c(m, input, *_single(m, input, n, dim), norm, True)


@composite(method=False, out=True)
def fft_ifft(m: Any, input: Array, n: int | None = None, dim: int = -1, norm: Any = None) -> Array:
    """The inverse of `fft`.

    >>> flambeau.fft.ifft(flambeau.fft.fft(flambeau.tensor([1.0, 5.0]))).real
    tensor([1., 5.])
    """
    return _c2c(m, input, *_single(m, input, n, dim), norm, False)


@composite(method=False, out=True)
def fft_rfft(m: Any, input: Array, n: int | None = None, dim: int = -1, norm: Any = None) -> Array:
    """`fft` of real numbers: the n // 2 + 1 independent points.

    >>> flambeau.fft.rfft(flambeau.tensor([1.0, 2.0, 3.0, 2.0])).real
    tensor([ 8., -2.,  0.])
    """
    return _r2c(m, "rfft", input, *_single(m, input, n, dim), norm)


@composite(method=False, out=True)
def fft_irfft(m: Any, input: Array, n: int | None = None, dim: int = -1, norm: Any = None) -> Array:
    """The inverse of `rfft`, of `n` real points (default: 2 (points - 1)).

    >>> flambeau.fft.irfft(flambeau.tensor([4.0, 0.0, 0.0]))
    tensor([1., 1., 1., 1.])
    >>> flambeau.fft.irfft(flambeau.tensor([6.0, 0.0]), n=3)
    tensor([2., 2., 2.])
    """
    return _c2r(m, "irfft", input, *_single(m, input, n, dim), norm)


@composite(method=False, out=True)
def fft_hfft(m: Any, input: Array, n: int | None = None, dim: int = -1, norm: Any = None) -> Array:
    """`hfftn` of one dimension.

    >>> flambeau.fft.hfft(flambeau.tensor([1.0, 2.0, 3.0]))
    tensor([ 8., -2.,  0., -2.])
    """
    x = m.conj(_complex(m, input))
    return _c2r(m, "hfft", x, *_single(m, x, n, dim), _flipped(norm))


@composite(method=False, out=True)
def fft_ihfft(m: Any, input: Array, n: int | None = None, dim: int = -1, norm: Any = None) -> Array:
    """`ihfftn` of one dimension.

    >>> flambeau.fft.ihfft(flambeau.tensor([8.0, 0.0, 0.0, 0.0])).real
    tensor([2., 2., 2.])
    """
    return m.conj(_r2c(m, "ihfft", input, *_single(m, input, n, dim), _flipped(norm)))


# ---------------------------------------------------------------- two dimensions
_PLANE = (-2, -1)


@composite(method=False, out=True)
def fft_fft2(m: Any, input: Array, s: Any = None, dim: Any = _PLANE, norm: Any = None) -> Array:
    """`fftn` of two dimensions, by default the last two.

    >>> flambeau.fft.fft2(flambeau.ones(3, 2, 2))[0].real
    tensor([[4., 0.],
            [0., 0.]])
    """
    return m.fft_fftn(input, s, dim, norm)


@composite(method=False, out=True)
def fft_ifft2(m: Any, input: Array, s: Any = None, dim: Any = _PLANE, norm: Any = None) -> Array:
    """`ifftn` of two dimensions, by default the last two.

    >>> flambeau.fft.ifft2(flambeau.tensor([[4.0, 0.0], [4.0, 0.0]])).real
    tensor([[2., 2.],
            [0., 0.]])
    """
    return m.fft_ifftn(input, s, dim, norm)


@composite(method=False, out=True)
def fft_rfft2(m: Any, input: Array, s: Any = None, dim: Any = _PLANE, norm: Any = None) -> Array:
    """`rfftn` of two dimensions, by default the last two.

    >>> flambeau.fft.rfft2(flambeau.ones(8, 6)).shape
    torch.Size([8, 4])
    """
    return m.fft_rfftn(input, s, dim, norm)


@composite(method=False, out=True)
def fft_irfft2(m: Any, input: Array, s: Any = None, dim: Any = _PLANE, norm: Any = None) -> Array:
    """`irfftn` of two dimensions, by default the last two.

    >>> flambeau.fft.irfft2(flambeau.tensor([[4.0, 0.0], [4.0, 0.0]]))
    tensor([[2., 2.],
            [0., 0.]])
    """
    return m.fft_irfftn(input, s, dim, norm)


@composite(method=False, out=True)
def fft_hfft2(m: Any, input: Array, s: Any = None, dim: Any = _PLANE, norm: Any = None) -> Array:
    """`hfftn` of two dimensions, by default the last two.

    >>> flambeau.fft.hfft2(flambeau.ones(2, 2))
    tensor([[4., 0.],
            [0., 0.]])
    """
    return m.fft_hfftn(input, s, dim, norm)


@composite(method=False, out=True)
def fft_ihfft2(m: Any, input: Array, s: Any = None, dim: Any = _PLANE, norm: Any = None) -> Array:
    """`ihfftn` of two dimensions, by default the last two.

    >>> flambeau.fft.ihfft2(flambeau.ones(8, 6)).shape
    torch.Size([8, 4])
    """
    return m.fft_ihfftn(input, s, dim, norm)


# ---------------------------------------------------------------- order of the frequencies
def _rolled(m: Any, x: Any, dim: Any, half: Any) -> Any:
    dims = range(len(x.shape)) if dim is None else ((dim,) if isinstance(dim, int) else dim)
    axes = tuple(_axis(d, len(x.shape)) for d in dims)
    return m.roll(x, tuple(half(x.shape[d]) for d in axes), axes) if axes else x


@composite(method=False)
def fft_fftshift(m: Any, input: Array, dim: Any = None) -> Array:
    """The spectrum with frequency zero in the middle of each dimension.

    >>> flambeau.fft.fftshift(flambeau.fft.fftfreq(4, d=0.25))
    tensor([-2., -1.,  0.,  1.])
    """
    return _rolled(m, input, dim, lambda n: n // 2)


@composite(method=False)
def fft_ifftshift(m: Any, input: Array, dim: Any = None) -> Array:
    """The inverse of `fftshift`.

    >>> flambeau.fft.ifftshift(flambeau.tensor([-2, -1, 0, 1, 2]))
    tensor([ 0,  1,  2, -2, -1])
    """
    return _rolled(m, input, dim, lambda n: (n + 1) // 2)
