"""What PyTorch keeps under ``torch.utils``: loading of samples, checkpoints and the like.

What may enter: PyTorch's own members of ``torch.utils``. All but `data` is imported when it is
first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from ..tensor.subclassing import swap_tensors
from . import data

_LATER = frozenset(["_python_dispatch", "_pytree", "checkpoint", "dlpack", "hooks"])


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f".{name}", __name__)


__all__ = ["checkpoint", "data", "dlpack", "hooks", "swap_tensors"]
