"""One number per spatial dimension, from a number or a sequence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def spread(value: Any, dims: int) -> tuple:
    """``value`` for each of ``dims`` dimensions, or its own elements if it is a sequence."""
    return tuple(value) if isinstance(value, Iterable) else (value,) * dims


def paddings(sizes: tuple) -> tuple:
    """Padding before and after each dimension, the last first, as `functional.pad` takes it."""
    return tuple(size for size in reversed(sizes) for _ in range(2))
