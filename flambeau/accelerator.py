"""What programs ask of accelerators of whatever kind; there is none in this build.

>>> import flambeau as torch
>>> torch.accelerator.is_available(), torch.accelerator.current_accelerator()
(False, None)
"""

from __future__ import annotations

from typing import Any, NoReturn

from .devices import device as Device

__all__ = [
    "current_accelerator",
    "current_device_index",
    "current_stream",
    "device_count",
    "empty_cache",
    "is_available",
    "memory_allocated",
    "memory_reserved",
    "set_device_index",
    "set_stream",
    "synchronize",
]


def is_available() -> bool:
    """Whether an accelerator can be used."""
    return False


def device_count() -> int:
    """How many accelerators there are."""
    return 0


def current_accelerator(check_available: bool = False) -> Device | None:
    """The kind of accelerator that this build has, as a device without a number, or None."""
    return None


def _refuse() -> NoReturn:
    raise RuntimeError("Cannot access accelerator device when none is available.")


def current_device_index() -> int:
    """The number of the accelerator in use; RuntimeError without one."""
    _refuse()


def set_device_index(device: Any, /) -> None:
    """Use another accelerator; RuntimeError without one."""
    _refuse()


def current_stream(device: Any = None, /) -> Any:
    """The queue of work of an accelerator; RuntimeError without one."""
    _refuse()


def set_stream(stream: Any) -> None:
    """Put work into another queue; RuntimeError without an accelerator."""
    _refuse()


def synchronize(device: Any = None, /) -> None:
    """Wait for an accelerator's work; RuntimeError without one."""
    _refuse()


def empty_cache() -> None:
    """Give unused memory of the accelerator back; RuntimeError without one."""
    _refuse()


def memory_allocated(device_index: Any = None, /) -> int:
    """Bytes that tensors take on an accelerator; RuntimeError without one."""
    _refuse()


def memory_reserved(device_index: Any = None, /) -> int:
    """Bytes that are held for tensors on an accelerator; RuntimeError without one."""
    _refuse()
