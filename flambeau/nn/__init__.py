"""Neural networks: `Module`, the layers, their functions and their initial values.

What PyTorch offers as `torch.nn` enters here, under PyTorch's paths: layers in ``modules``,
functions in ``functional``, initial values in ``init``, tools for parameters in ``utils``.
"""

from __future__ import annotations

from . import functional, init, modules, parameter, utils
from .modules import *  # noqa: F403
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

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
