"""How ops run on a device: one package or module for each, chosen by the array's type.

Enter here: kernels and what they need to know of a device. `cuda`, `cudnn`, `mkl`, `mkldnn`, `mps`
and `openmp` hold PyTorch's switches for hardware and libraries that this build does not use.
"""

from __future__ import annotations

from . import cuda, cudnn, mkl, mkldnn, mps, openmp

__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]
