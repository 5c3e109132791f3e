"""Apple's GPUs: not supported."""

from __future__ import annotations


def is_available() -> bool:
    """Whether an Apple GPU can be used."""
    return False


def is_built() -> bool:
    """Whether this build supports one."""
    return False
