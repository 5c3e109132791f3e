"""Linear algebra, under PyTorch's names."""

from __future__ import annotations

from typing import Any

from .errors import LinAlgError
from .ops.record import find
from .tensor import functions


def __getattr__(name: str) -> Any:
    if name.startswith("_") or find(f"linalg_{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(functions, f"linalg_{name}")
    return found


def __dir__() -> list[str]:
    listed = (n.removeprefix("linalg_") for n in functions.names() if n.startswith("linalg_"))
    return sorted({"LinAlgError", *listed})


__all__ = ["LinAlgError"]
