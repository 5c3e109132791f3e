"""The switches that programs set for NVIDIA's library; without a GPU nothing reads them."""

from __future__ import annotations

enabled = True
benchmark = False
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """Whether cuDNN can be used."""
    return False


def version() -> int | None:
    """The version of cuDNN, as a number: there is none."""
    return None
