"""Compiled kernels as Python callables that cost a few nanoseconds to call.

A kernel is machine code of type `void (i64* words)`: every argument is one or more 64-bit words.
`bind` gives it a Python face. The face is one builtin function, compiled once and shared by all
kernels, which reads the fields of ndarrays and numbers by itself; a descriptor in its `self` says
what to expect. Whatever it does not expect, exactly, it hands to the same binding written in
Python over ctypes, which converts it or raises the error. Where this interpreter's object layout
is unknown, or FLAMBEAU_FASTCALL is 0, the Python form is all there is.

Parameters, one letter each, separated by spaces if any has a suffix:

| letter | accepts                   | words                                             |
|--------|---------------------------|---------------------------------------------------|
| a      | ndarray                   | data pointer                                      |
| A      | ndarray                   | data, ndim, dims pointer, strides pointer (bytes) |
| o      | ndarray or None           | data pointer or 0                                 |
| t      | list or tuple of ndarrays | pointer to rows (data, element count), row count  |
| i      | int                       | the value, signed                                 |
| f      | float or int              | the bits of a double                              |
| p      | int, an address           | the value, unsigned                               |

An array letter may continue with `:dtype` and flags: `a:float32:cw` asks for float32 (and for
aligned memory in native byte order), C-contiguous (c) and writeable (w). `a:` plus `:c` alone
leaves the dtype open: `a::c`. Without any parameter string each argument speaks for itself:
ndarray, int, bool, float, or None (a zero word). A list must not change while its kernel runs
without the GIL.
"""

from __future__ import annotations

import ctypes
import functools
import operator
import struct
import sys
import sysconfig
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import settings
from . import jit, launch_ir, threads
from .costs import Cost

_ALIGNED, _WRITEABLE, _C_CONTIGUOUS = 0x100, 0x400, 0x1
_NAMES = {
    "a": "an ndarray",
    "A": "an ndarray",
    "o": "an ndarray or None",
    "t": "a list or tuple of ndarrays",
    "i": "an int",
    "f": "a float",
    "p": "an address",
}


class _Parameter(NamedTuple):
    letter: str
    dtype: np.dtype[Any] | None
    flags: int

    def __str__(self) -> str:
        wanted = _NAMES[self.letter]
        details = [] if self.dtype is None else [str(self.dtype)]
        details += ["C-contiguous"] if self.flags & _C_CONTIGUOUS else []
        details += ["writeable"] if self.flags & _WRITEABLE else []
        return f"{wanted} ({', '.join(details)})" if details else wanted


def bind(
    address: int,
    params: str | None = None,
    *,
    name: str = "kernel",
    release_gil: bool = False,
    returns: str | None = None,
    parallel: bool = False,
    cost: Callable[..., Cost] | None = None,
) -> Callable[..., Any]:
    """Return a Python callable that launches the machine code at `address`.

    With `returns` "i" or "f" the kernel is `i64 (i64*)` or `double (i64*)` and its result is the
    call's. With `parallel` it is `void (i64* words, i64 index, i64 thread)`, the call's first
    argument is a count of chunks, and the thread pool runs it for index 0 to count - 1; `thread`
    is below `get_num_threads()` and distinct among chunks of the call that run at once.
    `release_gil` lets other Python threads run meanwhile (it costs some 50 ns; the pool always
    does). Raises TypeError when an argument does not fit `params`, OverflowError for an int
    beyond 64 bits.

    `cost`, a function of the call's arguments, tells what profiles want to know; without it the
    bytes are those of the arrays.
    """
    if returns not in (None, "i", "f"):
        raise ValueError(f"{name}: returns must be None, 'i' or 'f', got {returns!r}")
    if parallel and returns:
        raise ValueError(f"{name}: a parallel kernel returns nothing")
    parameters = None if params is None else _parse(name, params)
    binding = Binding(address, parameters, name, release_gil, returns, parallel)
    binding.cost = cost
    if settings.debug and _observer is None:
        from .profiler import print_launch

        observe(print_launch)
    return _accelerate(binding) if fastcall_available() else binding


class Launch(NamedTuple):
    """One run of a kernel, as an observer sees it."""

    kernel: Binding
    args: tuple[Any, ...]
    chunks: int
    seconds: float


_observer: Callable[[Launch], None] | None = None


def observe(observer: Callable[[Launch], None] | None) -> Callable[[Launch], None] | None:
    """Let `observer` see every launch from now on, or nobody; return who saw them before.

    Until then launches pay nothing for it. From then on they take the way through Python.
    """
    global _observer
    before, _observer = _observer, observer
    for binding in list(_bindings):
        _set_entry(binding)
    return before


def _parse(name: str, params: str) -> tuple[_Parameter, ...]:
    tokens = params.split() if " " in params.strip() or ":" in params else list(params.strip())
    return tuple(_parse_one(name, token) for token in tokens)


def _parse_one(name: str, token: str) -> _Parameter:
    letter, dtype, flags = (token + "::").split(":")[:3]
    if letter not in _NAMES or (letter in "ifp" and (dtype or flags)) or set(flags) - set("cw"):
        raise ValueError(f"{name}: {token!r} is no parameter; see flambeau.compiler.launch")
    bits = _ALIGNED if dtype else 0
    bits |= _C_CONTIGUOUS if "c" in flags else 0
    bits |= _WRITEABLE if "w" in flags else 0
    return _Parameter(letter, np.dtype(dtype) if dtype else None, bits)


# The binding in Python: the definition, and the slow path of the fast one -------------------------


class Binding:
    """A kernel callable through ctypes."""

    cost: Callable[..., Cost] | None = None
    method: _MethodDef | None = None
    entry = 0

    def __init__(
        self,
        address: int,
        parameters: tuple[_Parameter, ...] | None,
        name: str,
        release_gil: bool,
        returns: str | None,
        parallel: bool,
    ) -> None:
        self.address = address
        self.parameters = parameters
        self.name = self.__name__ = name
        self.release_gil = release_gil
        self.returns = returns
        self.parallel = parallel
        prototype = ctypes.CFUNCTYPE if release_gil else ctypes.PYFUNCTYPE
        result = {None: None, "i": ctypes.c_int64, "f": ctypes.c_double}[returns]
        self._function = prototype(result, ctypes.c_void_p)(address)

    def __repr__(self) -> str:
        return f"<kernel {self.name} at {self.address:#x}>"

    def __call__(self, *args: Any) -> Any:
        chunks = 0
        if self.parallel:
            if not args or isinstance(args[0], np.ndarray):
                raise TypeError(f"{self.name}: expected the number of chunks, then the arguments")
            chunks, args = _as_int(args[0]), args[1:]
        words: list[int] = []
        kept: list[Any] = []
        for position, (kind, value) in enumerate(self._pair(args)):
            if not _append(words, kept, kind, value):
                raise TypeError(self._complaint(position, kind, value))
        packed = (ctypes.c_uint64 * max(len(words), 1))(*words)
        if _observer is None:
            return self._launch(ctypes.addressof(packed), chunks)
        start = time.perf_counter()
        result = self._launch(ctypes.addressof(packed), chunks)
        _observer(Launch(self, args, chunks, time.perf_counter() - start))
        return result

    def _launch(self, words: int, chunks: int) -> Any:
        return threads.run(self.address, words, chunks) if self.parallel else self._function(words)

    def _pair(self, args: tuple[Any, ...]) -> list[tuple[_Parameter, Any]]:
        if self.parameters is None:
            return [(_speaks_for_itself(value), value) for value in args]
        if len(args) != len(self.parameters):
            raise TypeError(
                f"{self.name}: expected {len(self.parameters)} arguments, got {len(args)}"
            )
        return list(zip(self.parameters, args, strict=True))

    def _complaint(self, position: int, kind: _Parameter, value: Any) -> str:
        got = type(value).__name__
        if isinstance(value, np.ndarray):
            flags = value.flags
            got = f"{got} of {value.dtype}, shape {value.shape}, strides {value.strides}"
            got += "" if flags.writeable else ", read-only"
            got += "" if flags.aligned else ", unaligned"
        return f"{self.name}: argument {position + 1} must be {kind}, got {got}"


def _speaks_for_itself(value: Any) -> _Parameter:
    if value is None or isinstance(value, np.ndarray):
        return _Parameter("o", None, 0)
    return _Parameter("f" if isinstance(value, float) else "i", None, 0)


def _append(words: list[int], kept: list[Any], kind: _Parameter, value: Any) -> bool:
    """Append the words of one argument, and to `kept` what must outlive the call; False: misfit."""
    letter = kind.letter
    if letter in "aAo":
        if value is None and letter == "o":
            words.append(0)
            return True
        if not _fits(kind, value):
            return False
        words.append(value.ctypes.data)
        if letter == "A":
            shape, strides = value.ctypes.shape, value.ctypes.strides
            kept += [shape, strides]
            words += [value.ndim, ctypes.addressof(shape), ctypes.addressof(strides)]
        return True
    if letter == "t":
        if not isinstance(value, (list, tuple)) or not all(_fits(kind, item) for item in value):
            return False
        rows = [word for item in value for word in (item.ctypes.data, item.size)]
        table = (ctypes.c_uint64 * max(len(rows), 1))(*rows)
        kept.append(table)
        words += [ctypes.addressof(table), len(value)]
        return True
    if letter == "f":
        if not isinstance(value, (float, int, np.floating, np.integer)):
            return False
        words.append(struct.unpack("<Q", struct.pack("<d", float(value)))[0])
        return True
    if not hasattr(value, "__index__") or isinstance(value, np.ndarray):
        return False
    words.append(_as_int(value, unsigned=letter == "p") & 0xFFFFFFFFFFFFFFFF)
    return True


def _fits(kind: _Parameter, value: Any) -> bool:
    if not isinstance(value, np.ndarray):
        return False
    flags = value.flags
    return (
        (kind.dtype is None or value.dtype == kind.dtype)
        and (not kind.flags & _ALIGNED or flags.aligned)
        and (not kind.flags & _C_CONTIGUOUS or flags.c_contiguous)
        and (not kind.flags & _WRITEABLE or flags.writeable)
    )


def _as_int(value: Any, unsigned: bool = False) -> int:
    number = operator.index(value)
    low, high = (-(1 << 63), 1 << 64) if unsigned else (-(1 << 63), 1 << 63)
    if not low <= number < high:
        raise OverflowError(f"{number} does not fit in 64 bits")
    return number


# The binding as a builtin function ---------------------------------------------------------------


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("method", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class _Descriptor(bytes):
    """What the compiled launcher reads; its attributes keep alive what it points to."""

    binding: Binding


_METH_FASTCALL = 0x80
_bindings: weakref.WeakSet[Binding] = weakref.WeakSet()


def _accelerate(binding: Binding) -> Callable[..., Any]:
    symbol = "launch_any" if binding.parameters is None else "launch_typed"
    binding.entry = _launchers().address(symbol)
    binding.method = _MethodDef(binding.name.encode(), None, _METH_FASTCALL, None)
    _set_entry(binding)
    _bindings.add(binding)
    descriptor = _Descriptor(_describe(binding))
    descriptor.binding = binding
    create = ctypes.pythonapi.PyCFunction_NewEx
    create.restype = ctypes.py_object
    create.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    return create(ctypes.addressof(binding.method), descriptor, None)


def _set_entry(binding: Binding) -> None:
    """Choose where a call of the builtin goes, now and for those who already have it."""
    assert binding.method is not None
    slow = _observer is not None
    binding.method.method = _launchers().address("launch_slowly") if slow else binding.entry


def _describe(binding: Binding) -> bytes:
    parameters = binding.parameters or ()
    flags = launch_ir.RELEASE if binding.release_gil else 0
    flags |= {None: 0, "i": launch_ir.RETURNS_INT, "f": launch_ir.RETURNS_FLOAT}[binding.returns]
    run = ready = 0
    if binding.parallel:
        flags |= launch_ir.PARALLEL
        run, ready = threads.native_addresses()
    if any(parameter.letter == "t" for parameter in parameters):
        flags |= launch_ir.TABLES
    words = sum(launch_ir.WORDS.get(parameter.letter, 1) for parameter in parameters)
    header = (binding.address, id(binding), len(parameters), words, flags, run, ready, 0)
    body = [word for parameter in parameters for word in _describe_one(parameter)]
    return struct.pack(f"={len(header) + len(body)}Q", *header, *body)


def _describe_one(parameter: _Parameter) -> tuple[int, int]:
    kind = launch_ir.KINDS[parameter.letter] | parameter.flags << 32
    if parameter.dtype is None:
        return kind, 0
    return kind, _descr_word(parameter.dtype) & launch_ir.DESCR_MASK | launch_ir.CHECK_DTYPE


def _descr_word(dtype: np.dtype[Any]) -> int:
    return ctypes.c_uint64.from_address(id(dtype) + launch_ir.DESCR_KIND).value


@functools.lru_cache(maxsize=1)
def _launchers() -> jit.Library:
    return jit.load_or_build("launch", "1", launch_ir.render_launchers, launch_ir.SYMBOLS)


def fastcall_available() -> bool:
    """Tell whether `bind` makes builtin functions; the first call checks this interpreter."""
    return settings.fastcall and jit.available() and _layout_is_known() and _self_check()


@functools.lru_cache(maxsize=1)
def _layout_is_known() -> bool:
    """Compare the ndarray of this process with the layout that launchers assume, untouched."""
    version = sys.version_info[:2]
    if sys.implementation.name != "cpython" or not (3, 11) <= version <= (3, 14):
        return False
    if sysconfig.get_config_var("Py_GIL_DISABLED") or struct.calcsize("P") != 8:
        return False
    if sys.byteorder != "little" or np.__version__.split(".")[0] != "2":
        return False
    probe = np.zeros((3, 5), np.int16)[:, ::2]
    fields = struct.unpack("=Qi", ctypes.string_at(id(probe) + launch_ir.DATA, 12))
    descr, flags = struct.unpack("=Qi", ctypes.string_at(id(probe) + launch_ir.DESCR, 12))
    if fields != (probe.ctypes.data, probe.ndim) or descr != id(probe.dtype):
        return False
    number = ctypes.c_int32.from_address(id(probe.dtype) + launch_ir.DESCR_KIND + 4).value
    return number == probe.dtype.num and flags & 0xFFF == probe.flags.num & 0xFFF


@functools.lru_cache(maxsize=1)
def _self_check() -> bool:
    """Launch a probe that tells the words it was given, and look at each of them."""
    try:
        address = _launchers().address("probe")
        if _typed_probe_is_right(address) and _untyped_probe_is_right(address):
            return True
        reason = "the launcher's self-check failed"
    except (RuntimeError, OSError) as error:
        reason = str(error)
    warnings.warn(f"kernels are launched through ctypes: {reason}", RuntimeWarning, stacklevel=2)
    return False


def _typed_probe_is_right(address: int) -> bool:
    out, view = np.zeros(12, np.int64), np.zeros((3, 5), np.float32)[:, ::2]
    parameters = _parse("probe", "a:int64:cw i A:float32 f p o t")
    call = _accelerate(Binding(address, parameters, "probe", False, None, False))
    call(out, 11, view, 1.5, 1 << 63, None, [view])
    words = out.view(np.uint64).tolist()
    half = struct.unpack("<Q", struct.pack("<d", 1.5))[0]
    known = words[:4] + words[6:9] + words[10:]
    if known != [out.ctypes.data, 11, view.ctypes.data, 2, half, 1 << 63, 0, 1, 0]:
        return False
    dims, strides = (tuple((ctypes.c_int64 * 2).from_address(word)) for word in words[4:6])
    return (dims, strides) == (view.shape, view.strides)


def _untyped_probe_is_right(address: int) -> bool:
    out = np.zeros(6, np.int64)
    call = _accelerate(Binding(address, None, "probe", True, None, False))
    call(out, 5, -1, 1.5, None)
    half = struct.unpack("<q", struct.pack("<d", 1.5))[0]
    return out.tolist() == [out.ctypes.data, 5, -1, half, 0, 0]
