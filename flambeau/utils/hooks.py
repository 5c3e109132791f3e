"""What hooks are removed with, under PyTorch's path."""

from __future__ import annotations

from ..autograd.node import RemovableHandle

__all__ = ["RemovableHandle"]
