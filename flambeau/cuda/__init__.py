"""What programs ask of GPUs before they use one; there is none in this build."""

from __future__ import annotations

import importlib
from typing import Any


def is_available() -> bool:
    """Whether a GPU can be used."""
    return False


def device_count() -> int:
    """How many GPUs there are."""
    return 0


def is_initialized() -> bool:
    """Whether a GPU has been used."""
    return False


def manual_seed(seed: int) -> None:
    """Seed the current GPU's stream; silently nothing without one, as in PyTorch."""


def manual_seed_all(seed: int) -> None:
    """Seed all GPUs' streams; silently nothing without any, as in PyTorch."""


def empty_cache() -> None:
    """Return cached GPU memory; nothing without one."""


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether a GPU computes in bfloat16."""
    return False


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors take on a GPU: 0 without one, as in PyTorch."""
    return 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors took on a GPU: 0 without one, as in PyTorch."""
    return 0


def memory_reserved(device: Any = None) -> int:
    """Bytes that are held for tensors on a GPU: 0 without one, as in PyTorch."""
    return 0


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes that were held for tensors on a GPU: 0 without one, as in PyTorch."""
    return 0


def get_rng_state_all() -> list[Any]:
    """The states of all GPUs' streams of random numbers: none."""
    return []


def synchronize(device: Any = None) -> None:
    """Wait for the GPU; RuntimeError without one."""
    raise RuntimeError("no CUDA device is available: this build of flambeau has the CPU and meta")


def current_device() -> int:
    """The GPU in use; RuntimeError without one."""
    raise RuntimeError("no CUDA device is available: this build of flambeau has the CPU and meta")


def get_device_name(device: Any = None) -> str:
    """A GPU's name; RuntimeError without one."""
    raise RuntimeError("no CUDA device is available: this build of flambeau has the CPU and meta")


def __getattr__(name: str) -> Any:
    if name != "amp":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(".amp", __name__)
