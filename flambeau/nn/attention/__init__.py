"""Attention beside the layers: choice of kernels, causal biases, scores changed by functions.

What enters has PyTorch's path ``torch.nn.attention``. One kernel computes attention here, so that a
choice is kept and reported and changes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import Enum

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(Enum):
    """The kernels among which PyTorch chooses."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __int__(self) -> int:
        return int(self.value)


_chosen: list[SDPBackend] = [b for b in SDPBackend if b is not SDPBackend.ERROR]


def _cur_sdpa_kernel_backends() -> list[SDPBackend]:
    """The kernels that are admitted at present."""
    return list(_chosen)


@contextlib.contextmanager
def sdpa_kernel(
    backends: list[SDPBackend] | SDPBackend, set_priority: bool = False
) -> Iterator[None]:
    """Inside, only the given kernels are admitted for `scaled_dot_product_attention`.

    AssertionError for what is no kernel; RuntimeError, on entry, where none of them runs on a CPU.
    """
    listed = [backends] if isinstance(backends, SDPBackend) else backends
    if not isinstance(listed, list) or not all(isinstance(b, SDPBackend) for b in listed):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{type(backends).__name__}"
        )
    if SDPBackend.MATH not in listed and SDPBackend.FLASH_ATTENTION not in listed:
        raise RuntimeError(
            "No viable backend for scaled_dot_product_attention was found: on a CPU these are "
            f"MATH and FLASH_ATTENTION, given were {[b.name for b in listed]}"
        )
    global _chosen
    before = _chosen
    _chosen = list(dict.fromkeys(listed))
    try:
        yield
    finally:
        _chosen = before
