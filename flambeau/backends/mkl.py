"""Intel's mathematics library: not used."""

from __future__ import annotations


def is_available() -> bool:
    """Whether the library is used."""
    return False
