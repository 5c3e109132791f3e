"""What PyTorch keeps under ``torch.utils``; so far `data`, the loading of samples.

What may enter: PyTorch's own members of ``torch.utils``.
"""

from __future__ import annotations

from . import data

__all__ = ["data"]
