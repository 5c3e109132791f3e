"""Files: `save` and `load` in PyTorch's ``.pt`` format, in both directions.

archive.py knows zip records, names.py which names mean what, restricted.py the pickle machine that
runs no code, storages.py how tensors come out of bytes; reader.py and writer.py put them together.
safetensors.py is the other format, complete in itself. What enters here reads or writes files of
tensors.
"""

from __future__ import annotations

from .byte_order import (
    LoadEndianness,
    get_default_load_endianness,
    set_default_load_endianness,
)
from .names import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from .reader import get_unsafe_globals_in_checkpoint, load
from .writer import save

__all__ = [
    "LoadEndianness",
    "add_safe_globals",
    "clear_safe_globals",
    "get_default_load_endianness",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "safe_globals",
    "save",
    "set_default_load_endianness",
]
