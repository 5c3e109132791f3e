"""Discrete Fourier transforms, under PyTorch's names."""

from __future__ import annotations

from typing import Any

from . import dtypes
from .ops.record import find
from .tensor import Tensor as Tensor
from .tensor import functions


def fftfreq(
    n: int,
    d: float = 1.0,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """The frequencies of the points of `fft`, in cycles per unit of `d`, the sample spacing.

    >>> import flambeau as torch
    >>> torch.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    kind = {"dtype": dtype or dtypes.get_default_dtype(), "device": device}
    positive = functions.arange((n + 1) // 2, **kind)
    points = functions.cat([positive, functions.arange(-(n // 2), 0, **kind)])
    return _frequencies(points, n, d, out, requires_grad)


def rfftfreq(
    n: int,
    d: float = 1.0,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """The frequencies of the points of `rfft`, in cycles per unit of `d`, the sample spacing.

    >>> import flambeau as torch
    >>> torch.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    kind = dtype or dtypes.get_default_dtype()
    points = functions.arange(n // 2 + 1, dtype=kind, device=device)
    return _frequencies(points, n, d, out, requires_grad)


def _frequencies(points: Any, n: int, d: float, out: Any, requires_grad: bool) -> Any:
    result = points * (1.0 / (n * d) if n else 1.0)
    if out is not None:
        out.resize_(result.shape)
        return out.copy_(result)
    return result.requires_grad_() if requires_grad else result


def __getattr__(name: str) -> Any:
    if name.startswith("_") or find(f"fft_{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(functions, f"fft_{name}")
    return found


def __dir__() -> list[str]:
    listed = (n.removeprefix("fft_") for n in functions.names() if n.startswith("fft_"))
    return sorted({"fftfreq", "rfftfreq", *listed} - {"c2c", "r2c", "c2r"})
