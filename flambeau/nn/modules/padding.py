"""Padding layers: of the last one, two or three dimensions, in four modes.

Sizes are a number for all sides, or (left, right), (left, right, top, bottom) and so on: the last
dimension first. Batches (N, C, ...) and single samples (C, ...) are taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import functional as F
from .module import Module
from .sizes import spread

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    _dims: int
    _mode: str
    padding: tuple[int, ...]

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = spread(padding, 2 * self._dims)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Pads (N, C, L) with ``value``."""

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """Pads (N, C, H, W) with ``value``."""

    _dims = 2


class ConstantPad3d(_ConstantPad):
    """Pads (N, C, D, H, W) with ``value``."""

    _dims = 3


class ZeroPad1d(ConstantPad1d):
    """Pads (N, C, L) with zeros."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Pads (N, C, H, W) with zeros."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Pads (N, C, D, H, W) with zeros."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ReflectionPad(_Pad):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPad):
    """Pads (N, C, L) with its mirror image, the border itself not repeated."""

    _dims = 1


class ReflectionPad2d(_ReflectionPad):
    """Pads (N, C, H, W) with its mirror image, the border itself not repeated."""

    _dims = 2


class ReflectionPad3d(_ReflectionPad):
    """Pads (N, C, D, H, W) with its mirror image, the border itself not repeated."""

    _dims = 3


class _ReplicationPad(_Pad):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPad):
    """Pads (N, C, L) by repeating its border."""

    _dims = 1


class ReplicationPad2d(_ReplicationPad):
    """Pads (N, C, H, W) by repeating its border."""

    _dims = 2


class ReplicationPad3d(_ReplicationPad):
    """Pads (N, C, D, H, W) by repeating its border."""

    _dims = 3


class _CircularPad(_Pad):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        n = self._dims
        if input.dim() not in (n + 1, n + 2):
            raise ValueError(f"expected {n + 1}D or {n + 2}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """Pads (N, C, L) with its other end, as if it were a ring."""

    _dims = 1


class CircularPad2d(_CircularPad):
    """Pads (N, C, H, W) with its other end, as if it were a ring in each dimension."""

    _dims = 2


class CircularPad3d(_CircularPad):
    """Pads (N, C, D, H, W) with its other end, as if it were a ring in each dimension."""

    _dims = 3
