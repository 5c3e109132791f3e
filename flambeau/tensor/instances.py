"""Making empty instances quickly: a class's allocator, called without its constructor.

``object.__new__(cls)`` spends more on its arguments than on the object. Python's own allocator of
instances, `PyType_GenericAlloc`, takes the class and a length of zero; that is how Python calls a
C function of one object and no arguments, so it can be called as one that is bound to the class.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

_NO_ARGUMENTS = 0x0004  # METH_NOARGS


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_definition: _MethodDef | None = None
"""What every allocator refers to, for as long as the process runs."""


def allocator(cls: type) -> Callable[[], Any]:
    """A function that makes an instance of `cls` with nothing in its slots."""
    general = functools.partial(object.__new__, cls)
    if sys.implementation.name != "cpython":
        return general
    global _definition
    if _definition is None:
        address = ctypes.cast(ctypes.pythonapi.PyType_GenericAlloc, ctypes.c_void_p).value
        _definition = _MethodDef(b"new", address, _NO_ARGUMENTS, None)
    prototype = ctypes.PYFUNCTYPE(
        ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p
    )
    bind = prototype(("PyCFunction_NewEx", ctypes.pythonapi))
    made: Callable[[], Any] = bind(ctypes.addressof(_definition), cls, None)
    return made if made().__class__ is cls else general
