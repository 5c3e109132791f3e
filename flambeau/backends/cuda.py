"""The switches that programs set for NVIDIA's GPUs; without one nothing reads them."""

from __future__ import annotations

from types import SimpleNamespace

matmul = SimpleNamespace(
    allow_tf32=False,
    allow_fp16_reduced_precision_reduction=True,
    allow_bf16_reduced_precision_reduction=True,
    allow_fp16_accumulation=False,
)

_attention = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


def is_built() -> bool:
    """Whether this build can use such a GPU."""
    return False


def flash_sdp_enabled() -> bool:
    """Whether attention may use the flash kernel of a GPU."""
    return _attention["flash"]


def enable_flash_sdp(enabled: bool) -> None:
    """Say whether attention may use the flash kernel of a GPU."""
    _attention["flash"] = enabled


def mem_efficient_sdp_enabled() -> bool:
    """Whether attention may use the memory-efficient kernel of a GPU."""
    return _attention["mem_efficient"]


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Say whether attention may use the memory-efficient kernel of a GPU."""
    _attention["mem_efficient"] = enabled


def math_sdp_enabled() -> bool:
    """Whether attention may be composed of products on a GPU."""
    return _attention["math"]


def enable_math_sdp(enabled: bool) -> None:
    """Say whether attention may be composed of products on a GPU."""
    _attention["math"] = enabled


def cudnn_sdp_enabled() -> bool:
    """Whether attention may use cuDNN's kernel."""
    return _attention["cudnn"]


def enable_cudnn_sdp(enabled: bool) -> None:
    """Say whether attention may use cuDNN's kernel."""
    _attention["cudnn"] = enabled
