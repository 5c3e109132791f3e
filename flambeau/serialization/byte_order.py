"""The byte order of files that do not name theirs."""

from __future__ import annotations

import enum
import sys


class LoadEndianness(enum.Enum):
    """The machine's byte order, or one of the two that there are."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


_ORDERS = {LoadEndianness.LITTLE: "little", LoadEndianness.BIG: "big"}
_default: LoadEndianness | None = None


def get_default_load_endianness() -> LoadEndianness | None:
    """What `set_default_load_endianness` has set, at first None."""
    return _default


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Set the byte order of files that name none; None is the machine's. TypeError for others."""
    global _default
    if not isinstance(endianness, LoadEndianness) and endianness is not None:
        raise TypeError(
            "set_default_load_endianness() expected a LoadEndianness or None, got "
            f"{type(endianness).__name__}"
        )
    _default = endianness


def default_byte_order() -> str:
    """``little`` or ``big``: what a file without a mark is taken to be in."""
    return sys.byteorder if _default is None else _ORDERS.get(_default, sys.byteorder)


__all__ = ["LoadEndianness", "get_default_load_endianness", "set_default_load_endianness"]
