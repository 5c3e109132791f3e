"""How ops run on a device: one package or module for each, chosen by the array's type.

Enter here: kernels and what they need to know of a device. `cudnn` and `mps` hold PyTorch's
switches for hardware that this build has no backend for.
"""

from __future__ import annotations

from . import cudnn, mps

__all__ = ["cudnn", "mps"]
