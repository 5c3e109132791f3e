"""How many threads the BLAS libraries inside NumPy and SciPy take for our own calls.

Such a library has a pool of its own, as large as the machine, that knows nothing of `threads`. A
factorization of a small matrix wakes that pool hundreds of times for pieces of a few microseconds;
where other programs use the cores each of these may wait for a whole time slice of the scheduler,
and 0.2 ms become 100. So `for_matrices` lowers the count while one of our calls runs: to one thread
for small matrices, to the number of threads of `threads` for others. It never raises a count, and
puts back what it found, so that a program's own calls of NumPy keep their setting (but for those
that another Python thread makes at that very moment: the setting is the library's, not a
thread's).

OpenBLAS, MKL and BLIS are known; Accelerate has no such number. A library that is not found, and
one that has one thread, is left alone.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from . import threads

# From this many multiplications on (a square matrix of 512) a matrix gets more than one thread.
# A blocked factorization of n columns makes some n / 64 * 4 calls that are worth sharing, and each
# may cost a wake-up of 5 to 55 us on top: for n = 512 up to 2 ms, which is no more than the second
# thread gains on the 9 to 20 ms that such a matrix takes one.
_SHARED = 512**3

# Up to this many rows and columns no library was seen to share anything; a context takes 2 us.
_ALONE = 16
_AS_IT_IS = nullcontext()

_NAMES = (
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),
    ("scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"),
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("openblas_get_num_threads", "openblas_set_num_threads"),
    ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
    ("bli_thread_get_num_threads", "bli_thread_set_num_threads"),
)

# The extension modules that do linear algebra; the search finds what they are linked with.
_EXTENSIONS = ("numpy.linalg._umath_linalg", "scipy.linalg._flapack")


class Library(NamedTuple):
    """A library's count of threads: how to read and how to set it."""

    read: Callable[[], int]
    write: Callable[[int], None]


class _Lowered(NamedTuple):
    """A library whose count was `before` and may not be above that."""

    library: Library
    before: int


_lock = threading.Lock()
_lowered: list[_Lowered] = []
_running = 0
_count = 0


def libraries() -> tuple[Library, ...]:
    """The BLAS libraries of NumPy and, once it is imported, of SciPy."""
    return _libraries(_EXTENSIONS[1] in sys.modules)


def for_matrices(a: Any) -> AtMost | nullcontext[None]:
    """A context in which BLAS takes as many threads as the matrices in `a` are worth.

    They are in the last two dimensions.
    """
    if a.ndim > 1:
        rows, columns = a.shape[-2:]
        if rows <= _ALONE and columns <= _ALONE:
            return _AS_IT_IS
        if rows * columns * min(rows, columns) >= _SHARED:
            return AtMost(threads.get_num_threads())
    return AtMost(1)


class AtMost:
    """A context in which BLAS takes no more than `count` threads.

    Where contexts of several Python threads overlap, the largest count holds until the last ends.
    """

    __slots__ = ("_count",)

    def __init__(self, count: int) -> None:
        self._count = count

    def __enter__(self) -> None:
        global _running, _count
        with _lock:
            if not _running:
                _count = self._count
                for library in libraries():
                    before = library.read()
                    if before > _count:
                        library.write(_count)
                        _lowered.append(_Lowered(library, before))
            elif self._count > _count:
                _count = self._count
                for library, before in _lowered:
                    library.write(min(before, _count))
            _running += 1

    def __exit__(self, *_: object) -> None:
        global _running
        with _lock:
            _running -= 1
            if not _running:
                _restore()


def _restore() -> None:
    for library, before in _lowered:
        library.write(before)
    _lowered.clear()


@functools.cache
def _libraries(with_scipy: bool) -> tuple[Library, ...]:
    _watch_forks()
    found: dict[int, Library] = {}
    for name in _EXTENSIONS[: 1 + with_scipy]:
        for library in _linked(getattr(sys.modules.get(name), "__file__", None)):
            for read, write in _NAMES:
                _add(found, library, read, write)
    return tuple(found.values())


def _linked(extension: str | None) -> Iterator[ctypes.CDLL]:
    """What symbols of an extension's libraries can be asked from.

    Elsewhere than on Windows that is the extension itself: the system's loader searches what it is
    linked with. The GIL is kept, since these calls take nanoseconds.
    """
    if extension is None:
        return
    places = [Path(extension)]
    if sys.platform == "win32":
        package = next(p for p in places[0].parents if p.name in ("numpy", "scipy"))
        places = sorted((package.parent / f"{package.name}.libs").glob("*openblas*.dll"))
    for place in places:
        try:
            yield ctypes.PyDLL(str(place))
        except OSError:
            continue


def _add(found: dict[int, Library], library: ctypes.CDLL, read: str, write: str) -> None:
    """Add the functions of these names, if the library has them, by their address."""
    try:
        reader, writer = getattr(library, read), getattr(library, write)
    except AttributeError:
        return
    reader.argtypes, reader.restype = (), ctypes.c_int
    writer.argtypes, writer.restype = (ctypes.c_int,), None
    address = ctypes.cast(writer, ctypes.c_void_p).value
    found.setdefault(address or 0, Library(reader, writer))


def _after_fork_in_child() -> None:
    """No other thread has survived that would end its context."""
    global _lock, _running
    _lock, _running = threading.Lock(), 0
    _restore()


@functools.cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork_in_child)
