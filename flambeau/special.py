"""Special functions of mathematics, under PyTorch's names."""

from __future__ import annotations

from typing import Any

from .ops.record import find
from .tensor import functions

# Functions that have the same name outside this module.
_SHARED = frozenset(
    "digamma erf erfc erfinv exp2 i0 log1p log_softmax logsumexp softmax xlogy xlog1py".split()
)


def __getattr__(name: str) -> Any:
    if name in _SHARED or name == "polygamma":
        found = getattr(functions, name)
    elif not name.startswith("_") and find(f"special_{name}") is not None:
        found = getattr(functions, f"special_{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    listed = (n.removeprefix("special_") for n in functions.names() if n.startswith("special_"))
    return sorted({*_SHARED, *listed})
