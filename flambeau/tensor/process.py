"""Functions about the whole process: threads, print options' neighbours, deterministic mode."""

from __future__ import annotations

import warnings
from typing import Any

from .. import devices, dtypes
from ..compiler import threads
from .core import TensorCore
from .functions import publish


@publish
def get_num_threads() -> int:
    """How many threads a kernel may use."""
    return threads.get_num_threads()


@publish
def set_num_threads(num: int) -> None:
    """Set how many threads a kernel may use."""
    if not isinstance(num, int) or isinstance(num, bool):
        raise TypeError(f"set_num_threads expects an int, but got {type(num).__name__}")
    if num <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    threads.set_num_threads(num)


@publish
def get_num_interop_threads() -> int:
    """How many operations run at once: one."""
    return 1


_deterministic = {"mode": False, "warn_only": False}


@publish
def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for deterministic algorithms; on the CPU there are no others here."""
    _deterministic.update(mode=bool(mode), warn_only=bool(warn_only))


@publish
def are_deterministic_algorithms_enabled() -> bool:
    """Whether `use_deterministic_algorithms` asked for them."""
    return _deterministic["mode"]


@publish
def typename(obj: Any) -> str:
    """The type of `obj` with its module: ``torch.FloatTensor`` for a tensor."""
    if isinstance(obj, TensorCore):
        return obj.type()  # type: ignore[attr-defined, no-any-return]
    module = getattr(obj, "__module__", "") or ""
    name = getattr(obj, "__qualname__", "") or type(obj).__qualname__
    return name if module in ("", "builtins") else f"{module}.{name}"


@publish
def get_default_device() -> devices.device:
    """The device of new tensors."""
    return devices.CPU


@publish
def set_default_tensor_type(t: Any) -> None:
    """Set the default dtype by the name of an old tensor type, as ``torch.DoubleTensor``."""
    name = t if isinstance(t, str) else f"{t.__module__}.{t.__name__}"
    short = name.rpartition(".")[2].removesuffix("Tensor")
    by_title = {d.title: d for d in dtypes.ALL}
    if short not in by_title:
        raise TypeError(f"invalid type object: {name}")
    dtypes.set_default_dtype(by_title[short])


@publish
def set_flush_denormal(mode: bool) -> bool:
    """Ask for denormal numbers to be flushed to zero: not supported, so False is returned."""
    if mode:
        warnings.warn("denormal numbers are kept: flushing is not supported", stacklevel=2)
    return False
