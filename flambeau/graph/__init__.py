"""Whole programs: what takes a function or a module and not one op.

Enter here: `compile`, which is `flambeau.compile`.
"""

from __future__ import annotations

from .compile import OptimizedModule, compile  # noqa: A004

__all__ = ["OptimizedModule", "compile"]
