"""Comparing tensors and making random ones, for tests.

What may enter: PyTorch's own members of ``torch.testing``.
"""

from __future__ import annotations

from .comparison import assert_allclose, assert_close
from .random_tensors import make_tensor

__all__ = ["assert_allclose", "assert_close", "make_tensor"]
