"""Discrete Fourier transforms, under PyTorch's names."""

from __future__ import annotations

from typing import Any

from . import dtypes
from .ops.record import find
from .tensor import Tensor as Tensor
from .tensor import functions


def fftfreq(n: int, d: float = 1.0, *, out: Any = None, **options: Any) -> Any:
    """The frequencies of the points of `fft`, in cycles per unit of `d`, the sample spacing.

    >>> import flambeau as torch
    >>> torch.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    positive = functions.arange((n + 1) // 2, **_made_like(options))
    negative = functions.arange(-(n // 2), 0, **_made_like(options))
    points = functions.cat([positive, negative])
    return _deliver(points * (1.0 / (n * d) if n else 1.0), out, options)


def rfftfreq(n: int, d: float = 1.0, *, out: Any = None, **options: Any) -> Any:
    """The frequencies of the points of `rfft`, in cycles per unit of `d`, the sample spacing.

    >>> import flambeau as torch
    >>> torch.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    points = functions.arange(n // 2 + 1, **_made_like(options))
    return _deliver(points * (1.0 / (n * d) if n else 1.0), out, options)


def _made_like(options: dict[str, Any]) -> dict[str, Any]:
    dtype = options.get("dtype") or dtypes.get_default_dtype()
    return {"dtype": dtype, "device": options.get("device")}


def _deliver(result: Any, out: Any, options: dict[str, Any]) -> Any:
    if options.get("requires_grad"):
        result.requires_grad_()
    if out is None:
        return result
    out.resize_(result.shape)
    return out.copy_(result)


def __getattr__(name: str) -> Any:
    if name.startswith("_") or find(f"fft_{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(functions, f"fft_{name}")
    return found


def __dir__() -> list[str]:
    listed = (n.removeprefix("fft_") for n in functions.names() if n.startswith("fft_"))
    return sorted({"fftfreq", "rfftfreq", *listed} - {"c2c", "r2c", "c2r"})
