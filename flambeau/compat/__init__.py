"""Running programs written for PyTorch as they are.

Enter here: what lets foreign code find flambeau under another name.
"""

from __future__ import annotations

from .alias import install, uninstall

__all__ = ["install", "uninstall"]
