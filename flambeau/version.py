"""Which flambeau this is, and what it was built for."""

from __future__ import annotations

__version__ = "0.1.0"
cuda: str | None = None
"""The version of CUDA that the library uses: none."""
hip: str | None = None
"""The version of ROCm that the library uses: none."""
debug = False
