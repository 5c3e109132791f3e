"""The CPU backend: kernels that the compiler makes, and NumPy where those are not needed.

Enter here: how an op runs on a CPU. Importing the package gives the random generator its compiled
loops.
"""

from __future__ import annotations

from . import random_streams

__all__ = ["random_streams"]
