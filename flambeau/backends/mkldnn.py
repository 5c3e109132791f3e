"""Intel's library of network layers: not used, the library has its own kernels."""

from __future__ import annotations


def is_available() -> bool:
    """Whether the library is used."""
    return False
