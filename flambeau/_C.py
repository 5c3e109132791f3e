"""The few names of PyTorch's extension module that programs import."""

from __future__ import annotations

from typing import Any

from .errors import LinAlgError as _LinAlgError
from .generator import Generator
from .tensor import Size
from .tensor import Tensor as TensorBase
from .tensor.interception import (
    LOCAL,
    NO_SUBCLASSES,
    NOTHING,
    DisableTorchFunction,
    DisableTorchFunctionSubclass,
    disabled,
)
from .tensor.interception import EnableTorchFunction as _EnableTorchFunction
from .tensor.storages import StorageBase

_disabled_torch_function_impl = disabled
_TensorBase = TensorBase


def _is_torch_function_enabled() -> bool:
    """Whether arguments may override functions in this thread."""
    return LOCAL.off < NO_SUBCLASSES


def _is_torch_function_all_disabled() -> bool:
    """Whether neither arguments nor modes override functions in this thread."""
    return LOCAL.off == NOTHING


def _is_torch_function_mode_enabled() -> bool:
    """Whether a function mode is on in this thread."""
    return bool(LOCAL.modes) and LOCAL.off < NOTHING


def _len_torch_function_stack() -> int:
    """How many function modes are on in this thread."""
    return len(LOCAL.modes)


def _get_function_stack_at(index: int) -> Any:
    """The function mode at a place of this thread's stack, outermost first."""
    return LOCAL.modes[index]


__all__ = [
    "DisableTorchFunction",
    "DisableTorchFunctionSubclass",
    "Generator",
    "Size",
    "StorageBase",
    "TensorBase",
    "_EnableTorchFunction",
    "_LinAlgError",
    "_TensorBase",
    "_disabled_torch_function_impl",
    "_get_function_stack_at",
    "_is_torch_function_all_disabled",
    "_is_torch_function_enabled",
    "_is_torch_function_mode_enabled",
    "_len_torch_function_stack",
]
