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
import os
import sys
import sysconfig
import warnings
from typing import Any

import numpy as np

from .. import settings
from . import allocator_ir, jit

HANDLER_NAME = "flambeau"

# Index of PyDataMem_SetHandler in NumPy's C API table, the same in every NumPy 2.
_SET_HANDLER = 304

_installed: contextvars.ContextVar[bool] = contextvars.ContextVar("flambeau_allocator")


def prepare(nbytes: int) -> None:
    """Install the allocator in this thread if an array of `nbytes` is about to be worth it."""
    if nbytes >= allocator_ir.LARGE and not _installed.get(False):
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
    return before - memory_stats()["cached"]


def memory_stats() -> dict[str, int]:
    """Return the process's counters, all zero until the allocator is first installed.

    Bytes in arrays now (`current`) and at most (`peak`), bytes `cached` and the `limit` on them,
    numbers of `allocations`, of `frees`, of blocks `reused`, and of `strays`: blocks freed twice
    or overwritten, which are leaked and should not exist.
    """
    if not _loaded():
        return dict.fromkeys(allocator_ir.COUNTERS, 0)
    return dict(zip(allocator_ir.COUNTERS, map(int, _counters()), strict=True))


def reset_peak_memory_stats() -> None:
    """Let `peak` start again from the bytes that arrays hold now."""
    if _loaded():
        counters = _counters()
        counters[allocator_ir.COUNTERS.index("peak")] = counters[
            allocator_ir.COUNTERS.index("current")
        ]


def set_cache_limit(nbytes: int) -> None:
    """Keep at most `nbytes` of freed memory; ValueError if negative."""
    if nbytes < 0:
        raise ValueError(f"the cache limit must not be negative, got {nbytes}")
    if _capsule() is not None:
        _counters()[allocator_ir.COUNTERS.index("limit")] = nbytes


def _default_limit() -> int:
    """Return a quarter of the memory that this process may use, or 1 GB where nobody tells."""
    if settings.allocator_limit > 0:
        return settings.allocator_limit
    names = getattr(os, "sysconf_names", {})
    total = 4 << 30
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            total = min(total, int(file.read()))
    except (OSError, ValueError):
        pass
    return total // 4


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
    _counters()[allocator_ir.COUNTERS.index("limit")] = _default_limit()
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


def _after_fork_in_child() -> None:
    """The thread that may have held the lock does not exist in the child."""
    if _loaded():
        ctypes.CFUNCTYPE(None)(_library().address("cache_unlock"))()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
