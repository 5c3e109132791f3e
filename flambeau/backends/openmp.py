"""OpenMP: not used, kernels run on a pool of threads of their own."""

from __future__ import annotations


def is_available() -> bool:
    """Whether kernels run on OpenMP."""
    return False
