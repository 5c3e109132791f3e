"""Discrete Fourier transforms of the array API standard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from .. import dtypes
from .. import fft as transforms
from ..tensor import Tensor, functions
from .derivation import named

Norm = Literal["backward", "ortho", "forward"]
_ALONG_ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
_ALONG_SEVERAL = ("fftn", "ifftn", "rfftn", "irfftn")


def _along_one(name: str) -> Callable[..., Tensor]:
    def function(
        x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward"
    ) -> Tensor:
        return getattr(functions, f"fft_{name}")(x, n=n, dim=axis, norm=norm)

    return named(function, name, f"fft.{name}")


def _along_several(name: str) -> Callable[..., Tensor]:
    def function(
        x: Tensor,
        /,
        *,
        s: Sequence[int] | None = None,
        axes: Sequence[int] | None = None,
        norm: Norm = "backward",
    ) -> Tensor:
        return getattr(functions, f"fft_{name}")(x, s=s, dim=axes, norm=norm)

    return named(function, name, f"fft.{name}")


globals().update({name: _along_one(name) for name in _ALONG_ONE})
globals().update({name: _along_several(name) for name in _ALONG_SEVERAL})


def _real(dtype: dtypes.dtype | None) -> dtypes.dtype | None:
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"frequencies are real floating-point numbers, not {dtype}")
    return dtype


def fftfreq(
    n: int, /, *, d: float = 1.0, dtype: dtypes.dtype | None = None, device: Any = None
) -> Tensor:
    """The frequencies of the points of `fft`, in cycles per unit of `d`, the sample spacing."""
    return transforms.fftfreq(n, d, dtype=_real(dtype), device=device)


def rfftfreq(
    n: int, /, *, d: float = 1.0, dtype: dtypes.dtype | None = None, device: Any = None
) -> Tensor:
    """The frequencies of the points of `rfft`, in cycles per unit of `d`, the sample spacing."""
    return transforms.rfftfreq(n, d, dtype=_real(dtype), device=device)


def fftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """`x` with frequency zero in the middle of the axes."""
    return functions.fft_fftshift(x, axes)


def ifftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """`x` with frequency zero back at the start of the axes."""
    return functions.fft_ifftshift(x, axes)


__all__ = ["fftfreq", "fftshift", "ifftshift", "rfftfreq"]
__all__ += list(_ALONG_ONE)
__all__ += list(_ALONG_SEVERAL)
