"""From LLVM IR to addresses of machine code, kept on disk between runs.

`compile_ir` takes IR text; `load_or_build` takes a key and a function that writes the IR, which is
not even called when the object code for that key is on disk. llvmlite is imported by the first
library, never before, and not at all when FLAMBEAU_JIT is 0.

A cache entry is named after everything its content depends on: the key or the IR, the options, the
target, the versions of LLVM, Python and NumPy, and the source of this package. It carries a
checksum, is written beside its place and moved there whole: readers and writers of any number of
processes need no lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import itertools
import os
import re
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from .. import settings
from . import target

_MAGIC = b"flambeau1"
_DIGEST_BYTES = 16

# CPython functions and objects that generated code may name; addresses differ in every process.
_PYTHON_OBJECTS: dict[str, object] = {
    "_Py_NoneStruct": None,
    "PyFloat_Type": float,
    "PyLong_Type": int,
    "PyBool_Type": bool,
    "PyList_Type": list,
    "PyTuple_Type": tuple,
}


class Options(NamedTuple):
    """How a module is optimised; turn off what would undo a hand-scheduled kernel."""

    level: int = 3
    vectorize: bool = True
    slp: bool = True
    unroll: bool = True


DEFAULT = Options()


class Library:
    """Machine code in memory, for as long as the process lives."""

    __slots__ = ("name", "_addresses", "_build", "_options", "_source")

    def __init__(
        self, name: str, source: Callable[[], str], build: Callable[[], str], options: Options
    ) -> None:
        self.name = name
        self._source, self._build, self._options = source, build, options
        self._addresses: dict[str, int] = {}

    def source(self) -> str:
        """Return what it was made from, as its author would say it; "" if only the IR says it."""
        return self._source()

    def ir(self) -> str:
        """Return the LLVM IR, written anew if the object code came from the cache."""
        return self._build()

    def assembly(self) -> str:
        """Return the machine code as text; it is compiled anew for it."""
        module, machine = _optimise(self.name, self._build(), self._options)
        return str(machine.emit_assembly(module))

    def address(self, symbol: str) -> int:
        """Return where the function `symbol` begins; KeyError names the ones that exist."""
        try:
            return self._addresses[symbol]
        except KeyError:
            known = ", ".join(sorted(self._addresses)) or "none"
            raise KeyError(f"{self.name} has no function {symbol!r}; it has: {known}") from None

    def defines(self, address: int) -> bool:
        """Tell whether one of the library's functions begins at `address`."""
        return address in self._addresses.values()

    def symbols(self) -> tuple[str, ...]:
        """Return the names of all functions that the library defines."""
        return tuple(sorted(self._addresses))

    def __repr__(self) -> str:
        return f"Library({self.name!r}, {len(self._addresses)} functions)"


class Statistics:
    """Counts and seconds since the process began."""

    def __init__(self) -> None:
        self.compiled = 0
        self.compile_seconds = 0.0
        self.loaded = 0
        self.load_seconds = 0.0

    def add(self, found: bool, seconds: float) -> None:
        """Book one library, found on disk or compiled."""
        if found:
            self.loaded += 1
            self.load_seconds += seconds
        else:
            self.compiled += 1
            self.compile_seconds += seconds


statistics = Statistics()
_lock = threading.RLock()
_libraries: dict[str, Library] = {}
_serial = itertools.count()
_engine: Any = None
_warned: set[str] = set()


@functools.lru_cache(maxsize=1)
def _has_llvm() -> bool:
    return importlib.util.find_spec("llvmlite") is not None


def available() -> bool:
    """Tell whether kernels can be compiled: FLAMBEAU_JIT is not 0 and llvmlite is installed."""
    return settings.jit and _has_llvm()


def compile_ir(
    name: str,
    ir: str,
    symbols: Iterable[str] = (),
    *,
    options: Options = DEFAULT,
    bindings: Mapping[str, int] | None = None,
) -> Library:
    """Return the library for the LLVM IR text `ir`.

    `symbols` are names the IR declares that belong to CPython or are `PyArray_Type`; `bindings`
    gives addresses of any others. What the C library has needs no mention. Raises RuntimeError
    for IR that LLVM refuses, for a symbol nobody defines, and when the JIT is off.
    """
    return load_or_build(name, ir, lambda: ir, symbols, options=options, bindings=bindings)


def load_or_build(
    name: str,
    key: str,
    build: Callable[[], str],
    symbols: Iterable[str] = (),
    *,
    options: Options = DEFAULT,
    bindings: Mapping[str, int] | None = None,
    source: Callable[[], str] = str,
) -> Library:
    """Return the library for `key`, calling `build` for its IR only if it is not in the cache.

    `key` has to tell all that `build` depends on, save the target and the source files of
    flambeau's compiler, which are part of every key. `source` says to who asks what a kernel
    computes.
    """
    if not available():
        raise RuntimeError(f"cannot compile {name}: FLAMBEAU_JIT is 0 or llvmlite is missing")
    digest = _digest(name, key, options)
    library = _libraries.get(digest)
    if library is not None:
        return library
    with _lock:
        library = _libraries.get(digest)
        if library is None:
            library = Library(name, source, build, options)
            _fill(library, digest, _resolve(symbols, bindings))
            _libraries[digest] = library
    return library


def library_at(address: int) -> Library | None:
    """Return the library that has a function at `address`."""
    return next((lib for lib in list(_libraries.values()) if lib.defines(address)), None)


def _fill(library: Library, digest: str, bindings: dict[str, int]) -> None:
    """Give a library its code, from the cache or from the compiler."""
    start = time.perf_counter()
    name = library.name
    path = _entry_path(name, digest)
    entry = _read_entry(path) if path and settings.debug < 4 else None
    found = entry is not None
    if entry is None:
        entry = _compile(name, library._build(), library._options)
        if path:
            _write_entry(path, entry)
    library._addresses = _link(name, entry, bindings)
    seconds = time.perf_counter() - start
    statistics.add(found, seconds)
    _report(2, f"{'load' if found else 'compile'} {name} {seconds * 1e3:.2f} ms")
    if settings.debug >= 3 and library.source():
        _report(3, f"source of {name}:\n{library.source()}")


# Compiling and linking -------------------------------------------------------------------------


class _Entry(NamedTuple):
    functions: tuple[str, ...]
    code: bytes


def _compile(name: str, ir: str, options: Options) -> _Entry:
    _report(4, ir)
    module, machine = _optimise(name, ir, options)
    functions = tuple(
        function.name
        for function in module.functions
        if not function.is_declaration and function.linkage.name == "external"
    )
    if settings.debug >= 5:
        _report(5, machine.emit_assembly(module))
    return _Entry(functions, machine.emit_object(module))


def _optimise(name: str, ir: str, options: Options) -> tuple[Any, Any]:
    """Return LLVM's module for `ir`, verified and optimised, and the machine it is for."""
    import llvmlite.binding as llvm

    machine = target.create_machine(target.host())
    try:
        module = llvm.parse_assembly(ir)
        module.triple = target.host().triple
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise RuntimeError(f"LLVM refuses the IR of {name}: {error}") from None
    tuning = llvm.create_pipeline_tuning_options(options.level)
    tuning.loop_vectorization = options.vectorize
    tuning.loop_interleaving = options.vectorize
    tuning.slp_vectorization = options.slp
    tuning.loop_unrolling = options.unroll
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return module, machine


def _link(name: str, entry: _Entry, bindings: Mapping[str, int]) -> dict[str, int]:
    """Put object code in memory, for good, and return the addresses of its functions."""
    import llvmlite.binding as llvm

    unit = llvm.JITLibraryBuilder().add_object_img(entry.code).add_current_process()
    for function in entry.functions:
        unit.export_symbol(function)
    for symbol, address in bindings.items():
        unit.import_symbol(symbol, address)
    try:
        tracker = unit.link(_lljit(), f"{name}.{next(_serial)}")
    except RuntimeError as error:
        raise RuntimeError(f"cannot link {name}: {error}") from None
    addresses = {function: tracker[function] for function in entry.functions}
    _immortalise(tracker)
    return addresses


def _lljit() -> Any:
    global _engine
    if _engine is None:
        import llvmlite.binding as llvm

        # JITLink keeps an object's sections together, which small-model code relies on.
        _engine = llvm.create_lljit_compiler(
            target.create_machine(target.host()), use_jit_link=True
        )
        _immortalise(_engine)
    return _engine


def _immortalise(owner: object) -> None:
    """Keep code mapped to the very end: arrays freed by a dying interpreter still call it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))


def _resolve(symbols: Iterable[str], bindings: Mapping[str, int] | None) -> dict[str, int]:
    addresses = {symbol: symbol_address(symbol) for symbol in symbols}
    addresses.update(bindings or {})
    return addresses


@functools.cache
def symbol_address(symbol: str) -> int:
    """Return the address of a CPython function or object, or of NumPy's `PyArray_Type`."""
    if symbol == "PyArray_Type":
        import numpy

        return id(numpy.ndarray)
    if symbol in _PYTHON_OBJECTS:
        return id(_PYTHON_OBJECTS[symbol])
    try:
        if symbol.startswith("PyExc_"):
            return ctypes.addressof(ctypes.c_void_p.in_dll(ctypes.pythonapi, symbol))
        return ctypes.cast(getattr(ctypes.pythonapi, symbol), ctypes.c_void_p).value or 0
    except (AttributeError, ValueError):
        raise RuntimeError(f"this Python does not export {symbol}") from None


# The cache on disk -----------------------------------------------------------------------------


def _digest(name: str, key: str, options: Options) -> str:
    text = "\0".join((name, key, repr(tuple(options)), _environment()))
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


@functools.lru_cache(maxsize=1)
def _environment() -> str:
    """Describe all that object code depends on besides its key."""
    import llvmlite
    import llvmlite.binding as llvm
    import numpy

    host = target.host()
    parts = (
        host.triple,
        host.cpu,
        host.features,
        repr(host),
        llvmlite.__version__,
        repr(llvm.llvm_version_info),
        sys.implementation.cache_tag or sys.version,
        numpy.__version__.split(".")[0],
        _source_digest(),
    )
    return "\0".join(parts)


def _source_digest() -> str:
    """Hash the code generator itself, so that a changed generator finds nothing of its past."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    folder = os.path.dirname(os.path.abspath(__file__))
    for file in sorted(os.listdir(folder)):
        if file.endswith(".py"):
            with open(os.path.join(folder, file), "rb") as source:
                digest.update(source.read())
    return digest.hexdigest()


def _entry_path(name: str, digest: str) -> str | None:
    if not settings.cache:
        return None
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:60]
    return os.path.join(settings.cache_dir(), "objects", f"{readable}-{digest}.bin")


def _read_entry(path: str) -> _Entry | None:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        _warn_once("read", f"cannot read the kernel cache: {error}")
        return None
    body = data[len(_MAGIC) + _DIGEST_BYTES :]
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : -len(body) or None] != _checksum(body):
        _warn_once("corrupt", f"the kernel cache entry {path} is damaged; compiling it anew")
        return None
    (size,) = struct.unpack_from("<I", body)
    names = body[4 : 4 + size].decode()
    return _Entry(tuple(names.split("\n")) if names else (), body[4 + size :])


def _write_entry(path: str, entry: _Entry) -> None:
    names = "\n".join(entry.functions).encode()
    body = struct.pack("<I", len(names)) + names + entry.code
    folder = os.path.dirname(path)
    # The name is this writer's alone: tempfile would add 10 ms to every import of flambeau.
    temporary = os.path.join(folder, f".new-{os.getpid()}-{next(_serial)}")
    try:
        os.makedirs(folder, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(_MAGIC + _checksum(body) + body)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _prune(folder)
    except OSError as error:
        _warn_once("write", f"cannot write the kernel cache: {error}")


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _prune(folder: str) -> None:
    """Drop the oldest entries once the cache outgrows its limit; looked at every 64 writes."""
    if statistics.compiled % 64:
        return
    entries = []
    for file in os.scandir(folder):
        with contextlib.suppress(OSError):
            status = file.stat()
            entries.append((status.st_mtime, status.st_size, file.path))
    excess = sum(size for _, size, _ in entries) - settings.cache_limit
    for _, size, path in sorted(entries):
        if excess <= 0:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
            excess -= size


def clear_cache() -> int:
    """Delete all object code on disk and return how many entries there were."""
    folder = os.path.join(settings.cache_dir(), "objects")
    count = 0
    if os.path.isdir(folder):
        for file in os.listdir(folder):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, file))
                count += 1
    return count


def _warn_once(kind: str, message: str) -> None:
    if kind not in _warned:
        _warned.add(kind)
        warnings.warn(message, RuntimeWarning, stacklevel=4)


def _report(level: int, text: str) -> None:
    if settings.debug >= level:
        sys.stderr.write(text + "\n")


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    # A child must not inherit a half-done compilation of another thread.
    os.register_at_fork(
        before=lambda: _lock.acquire(),
        after_in_parent=lambda: _lock.release(),
        after_in_child=_renew_lock,
    )
