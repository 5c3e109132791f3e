"""Signal processing, under PyTorch's names: window functions."""

from . import windows as windows

__all__ = ["windows"]
