"""Window functions of `M` samples: symmetric ones, or periodic ones that fit a Fourier transform.

A periodic window (`sym` false) is a symmetric one of one more sample without its last. The formulas
are those of Harris, "On the use of windows for harmonic analysis with the discrete Fourier
transform" (1978), and Nuttall (1981). Every function raises ValueError for a negative length and
for dtypes other than float32 and float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..tensor import functions
from ..tensor.windows import cosines, half_circle, triangle


def _make(
    name: str,
    M: int,
    sym: bool,
    options: dict[str, Any],
    shape: Callable[[Any, int], Any],
) -> Any:
    """The window whose sample n of 0 ... last has the value ``shape(n, last)``."""
    dtype = options["dtype"] or dtypes.get_default_dtype()
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if options["layout"] not in (None, devices.strided):
        raise ValueError(
            f"{name} is implemented for strided tensors only, got: {options['layout']}"
        )
    if dtype not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    values = np.ones(M)
    if M > 1:
        values = shape(np.arange(M, dtype=np.float64), M - 1 if sym else M)
    return functions.tensor(
        values, dtype=dtype, device=options["device"], requires_grad=options["requires_grad"]
    )


def bartlett(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """A triangle with zeros at its ends."""
    return _make("bartlett", M, sym, _options(dtype, layout, device, requires_grad),
                 triangle)  # fmt: skip


def blackman(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """Three cosines: 0.42, 0.5, 0.08."""
    return _make("blackman", M, sym, _options(dtype, layout, device, requires_grad),
                 cosines(0.42, 0.5, 0.08))  # fmt: skip


def cosine(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """Half a sine wave that nowhere reaches zero."""
    return _make("cosine", M, sym, _options(dtype, layout, device, requires_grad),
                 lambda n, last: np.sin(np.pi * (n + 0.5) / (last + 1)))  # fmt: skip


def exponential(
    M: int,
    *,
    center: float | None = None,
    tau: float = 1.0,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """Exponential decay with the constant `tau` on both sides of `center` (default: the middle)."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    return _make("exponential", M, sym, _options(dtype, layout, device, requires_grad),
                 lambda n, last: np.exp(-np.abs(n - (last / 2 if center is None else center)) / tau)
                 )  # fmt: skip


def gaussian(
    M: int,
    *,
    std: float = 1.0,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """A bell of standard deviation `std`, in samples."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    return _make("gaussian", M, sym, _options(dtype, layout, device, requires_grad),
                 lambda n, last: np.exp(-(((n - last / 2) / std) ** 2) / 2))  # fmt: skip


def general_cosine(
    M: int,
    *,
    a: Iterable[float],
    sym: bool = True,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """A sum of cosines with the weights `a`, whose signs alternate."""
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    weights = tuple(a)
    if not weights:
        raise ValueError("Coefficients cannot be empty")
    return _make("general_cosine", M, sym, _options(dtype, layout, device, requires_grad),
                 cosines(*weights))  # fmt: skip


def general_hamming(
    M: int,
    *,
    alpha: float = 0.54,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """A cosine on a pedestal: the weights `alpha` and 1 - `alpha`."""
    return _make("general_hamming", M, sym, _options(dtype, layout, device, requires_grad),
                 cosines(alpha, 1 - alpha))  # fmt: skip


def hamming(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """A cosine on a pedestal of 0.08."""
    return _make("hamming", M, sym, _options(dtype, layout, device, requires_grad),
                 cosines(0.54, 0.46))  # fmt: skip


def hann(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """A cosine on a pedestal, zero at the ends."""
    return _make("hann", M, sym, _options(dtype, layout, device, requires_grad),
                 cosines(0.5, 0.5))  # fmt: skip


def kaiser(
    M: int,
    *,
    beta: float = 12.0,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """Kaiser's window of shape `beta`: Bessel functions of an ellipse."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return _make(
        "kaiser", M, sym, _options(dtype, layout, device, requires_grad), half_circle(beta)
    )


def nuttall(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """Four cosines with low side lobes."""
    return _make("nuttall", M, sym, _options(dtype, layout, device, requires_grad),
                 cosines(0.3635819, 0.4891775, 0.1365995, 0.0106411))  # fmt: skip


def _options(dtype: Any, layout: Any, device: Any, requires_grad: bool) -> dict[str, Any]:
    return {"dtype": dtype, "layout": layout, "device": device, "requires_grad": requires_grad}


__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]
