"""Neural networks: `Module`, the layers, their functions and their initial values.

What PyTorch offers as `torch.nn` enters here, under PyTorch's paths: layers in ``modules``,
functions in ``functional``, initial values in ``init``, tools for parameters in ``utils``.
"""

from __future__ import annotations

import importlib
from typing import Any

from . import functional, init, modules, parameter, utils
from .modules import *  # noqa: F403
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

_LATER = {
    "attention": ".attention",
    "parallel": ".parallel",
    "DataParallel": ".parallel",
}
"""What is imported when it is first used."""


def __getattr__(name: str) -> Any:
    path = _LATER.get(name)
    if path is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = importlib.import_module(path, __name__)
    return found if path == f".{name}" else getattr(found, name)


__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "functional",
    "init",
    "modules",
    "parameter",
    "utils",
]
__all__ += modules.__all__
__all__ += list(_LATER)
