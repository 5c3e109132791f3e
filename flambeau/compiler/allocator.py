"""A caching allocator under NumPy: freed memory stays warm and goes to the next array of its size.

A large array fresh from the system costs a page fault per page, often more than the arithmetic on
it. `install` gives NumPy (through PyDataMem_SetHandler) the allocator of `allocator_ir`: free lists
of four size classes per power of two, data aligned to 64 bytes, huge pages from 2 MB up. Views,
reshapes and ufunc results work by construction, since NumPy itself does the asking.

A header of 64 bytes before the data records the class and the bytes asked for, because the sizes
that NumPy passes to free are not always those it allocated (arrays of size zero).

NumPy keeps its handler in a context variable: a new thread starts with NumPy's own allocator until
it calls `install` too. Any handler may be current when an array is freed; NumPy uses the one that
made it. Since the code comes through llvmlite, whose import (30 ms) takes longer than the first
few large arrays do, `prepare` puts the allocator off until an array is worth it: whoever is about
to make one, or to call what makes one, says its size.
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
import importlib
import math
import os
import sys
import sysconfig
import warnings
from typing import Any

import numpy as np

from .. import settings
from ..errors import OutOfMemoryError
from . import allocator_ir, jit

HANDLER_NAME = "flambeau"

# Index of PyDataMem_SetHandler in NumPy's C API table, the same in every NumPy 2.
_SET_HANDLER = 304

# Bytes from which the C library may map fresh pages for each array, and give them back.
MAPPED = 1 << 17

_installed: contextvars.ContextVar[bool] = contextvars.ContextVar("flambeau_allocator")


def prepare(nbytes: int) -> None:
    """Install the allocator in this thread if an array of `nbytes` is about to be worth it."""
    if nbytes < MAPPED or _installed.get(False):
        return
    if nbytes >= allocator_ir.LARGE or "llvmlite" in sys.modules:
        install()


def install() -> bool:
    """Let NumPy allocate from the cache in this thread (context); return whether it does.

    It does not when FLAMBEAU_ALLOCATOR or FLAMBEAU_JIT is 0, without llvmlite, or when NumPy is
    not one whose C API is known.
    """
    if _installed.get(False):
        return True
    if not settings.allocator:
        return False
    capsule = _capsule()
    if capsule is None:
        return False
    _set_handler(capsule)
    _installed.set(True)
    # In a context that holds anything, looking up an absent variable is slow, and every ufunc
    # looks up its error state: so make that one present too, unchanged.
    np.seterr(**np.geterr())
    return True


def uninstall() -> None:
    """Give this thread (context) NumPy's own allocator back; arrays already made stay valid."""
    if _installed.get(False):
        _set_handler(None)
        _installed.set(False)


def empty_cache() -> int:
    """Return all cached memory to the system; the result is its size in bytes."""
    if not _loaded():
        return 0
    before = memory_stats()["cached"]
    ctypes.PYFUNCTYPE(None)(_library().address("cache_flush"))()
    # What libc has been given back it keeps, unless asked.
    trim = getattr(ctypes.pythonapi, "malloc_trim", None)
    if trim is not None:
        trim(0)
    return before - memory_stats()["cached"]


def memory_stats() -> dict[str, int]:
    """Return the process's counters, all zero until the allocator is first installed.

    Bytes in arrays now (`current`), at most (`peak`) and in all of them ever (`allocated`); bytes
    had from the system now (`reserved`, in whole blocks), at most (`reserved_peak`) and ever
    (`obtained`); bytes `cached`, the `limit` on them, and the `budget` of reserved bytes (0:
    none); numbers of `allocations`, of `frees`, of blocks `reused`, of `retries` after emptying
    the cache, of `refusals`, and of `strays`: blocks freed twice or overwritten, which are leaked
    and should not exist.
    """
    if not _loaded():
        return dict.fromkeys(allocator_ir.COUNTERS, 0)
    return dict(zip(allocator_ir.COUNTERS, map(int, _counters()), strict=True))


def census() -> list[tuple[int, int, int]]:
    """Return (bytes of a block, blocks in arrays, blocks cached) of each size class in use."""
    if not _loaded():
        return []
    table = ctypes.c_int64 * allocator_ir.CLASSES
    owned, free = table(), table()
    count = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    count(_library().address("cache_census"))(ctypes.addressof(owned), ctypes.addressof(free))
    return [
        (allocator_ir.size_of_class(k), owned[k] - free[k], free[k])
        for k in range(allocator_ir.CLASSES)
        if owned[k]
    ]


def reset_peak_memory_stats() -> None:
    """Let both peaks start again from what is held now."""
    if _loaded():
        _set("peak", memory_stats()["current"])
        _set("reserved_peak", memory_stats()["reserved"])


def set_cache_limit(nbytes: int) -> None:
    """Keep at most `nbytes` of freed memory; ValueError if negative."""
    if nbytes < 0:
        raise ValueError(f"the cache limit must not be negative, got {nbytes}")
    if _capsule() is not None:
        _set("limit", nbytes)


def set_budget(nbytes: int) -> bool:
    """Refuse arrays for which more than `nbytes` would be had from the system; 0: none is refused.

    Return whether the allocator is there to hold to it; ValueError if `nbytes` is negative.
    """
    if nbytes < 0:
        raise ValueError(f"the memory limit must not be negative, got {nbytes}")
    if not install():
        return False
    _set("budget", nbytes)
    return True


def out_of_memory(request: object) -> OutOfMemoryError:
    """Return the error for `request`, a text or NumPy's error, that tells what is in use."""
    books = memory_stats()
    text = str(request)
    if _loaded():
        text += f"; {format_bytes(books['current'])} are in arrays"
        text += f" and {format_bytes(books['reserved'])} reserved"
        if books["budget"]:
            text += f", of at most {format_bytes(books['budget'])}"
    return OutOfMemoryError(text)


def format_bytes(count: float) -> str:
    """Return a size as people write it, in powers of 1024: "1.50 GiB"."""
    if count < 1024:
        return f"{count:.0f} B"
    units = ("KiB", "MiB", "GiB", "TiB")
    power = min(int(math.log2(count)) // 10, len(units))
    return f"{count / 1024**power:.2f} {units[power - 1]}"


def physical_memory() -> int:
    """Return the bytes of memory that this process may use, or 4 GiB where nobody tells."""
    names = getattr(os, "sysconf_names", {})
    total = 4 << 30
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            total = min(total, int(file.read()))
    except (OSError, ValueError):
        pass
    return total


# The handler -------------------------------------------------------------------------------------


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler, version 1."""

    _fields_ = [
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("ctx", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    ]


@functools.lru_cache(maxsize=1)
def _capsule() -> Any:
    """Return the capsule that NumPy wants, or None where there is to be no allocator."""
    known = sys.implementation.name == "cpython" and np.__version__.split(".")[0] == "2"
    if not (known and jit.available() and sys.maxsize > 1 << 32):
        return None
    try:
        library = _library()
    except (RuntimeError, OSError) as error:
        warnings.warn(f"NumPy keeps its own allocator: {error}", RuntimeWarning, stacklevel=3)
        return None
    functions = (library.address("cache_" + verb) for verb in ("malloc", "calloc", "realloc"))
    handler = _Handler(HANDLER_NAME.encode(), 1, None, *functions, library.address("cache_free"))
    _set("limit", settings.allocator_limit or physical_memory() // 4)
    api = ctypes.pythonapi
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    name = ctypes.c_char_p(b"mem_handler")
    capsule = api.PyCapsule_New(ctypes.addressof(handler), name, None)
    # Arrays freed by a dying interpreter still come here.
    for owner in (handler, name, capsule):
        api.Py_IncRef(ctypes.py_object(owner))
    return capsule


def _set_handler(capsule: Any) -> None:
    """Call PyDataMem_SetHandler, with None for NumPy's own."""
    module = importlib.import_module("numpy._core._multiarray_umath")
    api = ctypes.pythonapi
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    table = api.PyCapsule_GetPointer(module._ARRAY_API, None)
    address = ctypes.c_void_p.from_address(table + _SET_HANDLER * 8).value
    assert address is not None
    # A null pointer and the object None are different arguments to ctypes.
    kind = ctypes.c_void_p if capsule is None else ctypes.py_object
    ctypes.PYFUNCTYPE(ctypes.py_object, kind)(address)(capsule)


@functools.lru_cache(maxsize=1)
def _library() -> jit.Library:
    locked = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    return jit.load_or_build(
        "allocator", f"{sys.platform} {locked}", lambda: allocator_ir.render_allocator(locked)
    )


def _loaded() -> bool:
    return bool(_library.cache_info().currsize)


@functools.lru_cache(maxsize=1)
def _counters() -> Any:
    address = ctypes.CFUNCTYPE(ctypes.c_void_p)(_library().address("cache_counters"))()
    return (ctypes.c_int64 * len(allocator_ir.COUNTERS)).from_address(address)


def _set(name: str, value: int) -> None:
    _counters()[allocator_ir.COUNTERS.index(name)] = value


def _after_fork_in_child() -> None:
    """The thread that may have held the lock does not exist in the child."""
    if _loaded():
        ctypes.CFUNCTYPE(None)(_library().address("cache_unlock"))()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
