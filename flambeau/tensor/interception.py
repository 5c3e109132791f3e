"""Functions that ask before they run: what stands behind ``__torch_function__`` and the modes.

As long as nobody overrides anything, the public functions are what they are. The first instance of
a subclass that overrides them, or the first mode, *arms* them: each function object stays the same,
but its code is exchanged for a few lines that look at the arguments' classes and at the state of
the thread, and else run the code that was there. So nothing is paid before, and whoever holds a
function already holds the armed one.

A call goes through layers: the thread's function modes, the overrides of its arguments, autocast,
the dispatch modes; then the original runs. `Gate` knows all that there is to know of one function.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.grad_mode import FAST
from ..ops.record import Op, find
from . import functions
from .core import TensorCore
from .shape import Size
from .tensor import Tensor


class _Shared:
    """The state of the process: `calm` while no thread has a mode or autocast."""

    __slots__ = ("armed", "calm", "held", "lock")

    def __init__(self) -> None:
        self.armed, self.calm, self.held = False, True, 0
        self.lock = threading.Lock()


class _Local(threading.local):
    """The state of a thread: its modes, innermost last, and what is switched off."""

    def __init__(self) -> None:
        self.modes: list[Any] = []
        self.dispatch_modes: list[Any] = []
        self.off = 0
        self.autocast: Any = None


SHARED = _Shared()
LOCAL = _Local()
ON, NO_SUBCLASSES, NOTHING = range(3)
"""What of the function layers works in a thread: all, only modes, nothing (`_Local.off`)."""


def hold() -> None:
    """Count a thread's entering of a mode: armed functions must ask from now on."""
    with SHARED.lock:
        SHARED.held += 1
        SHARED.calm = False


def release() -> None:
    """Count a thread's leaving of a mode."""
    with SHARED.lock:
        SHARED.held -= 1
        SHARED.calm = not SHARED.held


class Gate:
    """One armed function: what callers know it by, its original, and its layers."""

    __slots__ = ("function", "op", "original", "policy", "scans")

    def __init__(self, function: Any, original: Any) -> None:
        self.function, self.original = function, original
        self.op = ""
        self.scans = True
        self.policy: Any = None


# ---------------------------------------------------------------- who overrides
PLAIN: set[type] = {
    *(Tensor, int, float, bool, complex, str, type(None), slice, type(Ellipsis)),
    *(dtypes.dtype, devices.device, devices.memory_format, devices.layout, Size, np.ndarray),
}
"""Classes whose instances override nothing, and hold nothing that could."""


_DEFAULT: Any = Tensor.__torch_function__.__func__  # type: ignore[attr-defined]
_LIBRARY = __name__.split(".")[0] + "."


class _Disabled:
    """See `disabled`; an object and no function, so that it does not bind to a class."""

    __name__ = "_disabled_torch_function_impl"

    def __call__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        with DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


disabled = _Disabled()
"""A ``__torch_function__`` that leaves all as it is; instances of classes with it override nothing.

Called, it runs `func` outside of all overrides.
"""


def overrides(cls: type) -> bool:
    """Whether instances of `cls` want to be asked when they are arguments of a function."""
    if cls is Tensor:
        return False
    found = getattr(cls, "__torch_function__", None)
    if found is None or found is disabled or getattr(cls, "_interpret", None) is not None:
        return False
    own = getattr(found, "__func__", None) is _DEFAULT and cls.__module__.startswith(_LIBRARY)
    return not own  # the library's own kinds of tensors have rules of their own


def overloaded(arguments: Iterable[Any]) -> list[Any]:
    """Those of `arguments` that override, one of each class, subclasses before their bases."""
    found: list[Any] = []
    seen: list[type] = []
    for x in arguments:
        cls = x.__class__
        if cls in PLAIN or cls in seen or cls is type:
            continue
        if cls is list or cls is tuple:
            for y in overloaded(x):
                _insert(found, seen, y)
        elif overrides(cls):
            _insert(found, seen, x)
        elif issubclass(cls, TensorCore) and getattr(cls, "__torch_dispatch__", None) is None:
            PLAIN.add(cls)
    return found


def _insert(found: list[Any], seen: list[type], x: Any) -> None:
    cls = x.__class__
    if cls in seen:
        return
    place = next((i for i, other in enumerate(seen) if issubclass(cls, other)), len(seen))
    found.insert(place, x)
    seen.insert(place, cls)


class DisableTorchFunctionSubclass:
    """A context in which arguments override nothing; modes still do."""

    level = NO_SUBCLASSES

    def __enter__(self) -> None:
        self._before = LOCAL.off
        LOCAL.off = max(LOCAL.off, self.level)

    def __exit__(self, *_: object) -> None:
        LOCAL.off = self._before


class DisableTorchFunction(DisableTorchFunctionSubclass):
    """A context in which neither arguments nor modes override anything."""

    level = NOTHING


class EnableTorchFunction:
    """A context in which arguments and modes override again."""

    def __enter__(self) -> None:
        self._before, LOCAL.off = LOCAL.off, ON

    def __exit__(self, *_: object) -> None:
        LOCAL.off = self._before


# ---------------------------------------------------------------- the layers of a call
def _ask_innermost(modes: list[Any], hook: str, *call: Any) -> Any:
    """What the innermost mode's `hook` makes of a call; the mode does not see what it calls."""
    mode = modes.pop()
    try:
        return getattr(mode, hook)(*call)
    finally:
        modes.append(mode)


def ask(
    function: Any, relevant: Iterable[Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What the thread's innermost mode or the `relevant` arguments make of a call of `function`.

    ``NotImplemented`` if there is nobody to ask; TypeError if nobody gave an answer.
    """
    off = LOCAL.off
    found = overloaded(relevant) if off < NO_SUBCLASSES else []
    types = tuple(type(x) for x in found)
    modes = LOCAL.modes
    asked = bool(modes) and off < NOTHING
    if asked:
        result = _ask_innermost(modes, "__torch_function__", function, types, args, kwargs)
        if result is not NotImplemented:
            return result
    for x in found:
        result = x.__torch_function__(function, types, args, kwargs)
        if result is not NotImplemented:
            return result
    if not found and not asked:
        return NotImplemented
    name = getattr(function, "__name__", function)
    who = "" if not asked else " nor in the active mode"
    raise TypeError(
        f"Multiple dispatch failed for 'torch.{name}'; all __torch_function__ handlers returned "
        f"NotImplemented on types {[t.__name__ for t in types]}{who}"
    )


def pass_through(gate: Gate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an armed function: ask the layers from the outermost to the innermost."""
    off = LOCAL.off
    plain = _are_plain(args) and (not kwargs or _are_plain(kwargs.values()))
    if off < NOTHING and (LOCAL.modes or (gate.scans and not plain)):
        relevant = (*args, *kwargs.values()) if gate.scans else ()
        result = ask(gate.function, relevant, args, kwargs)
        if result is not NotImplemented:
            return result
    if gate.scans or plain or off:
        return _run(gate, args, kwargs, plain)
    with DisableTorchFunctionSubclass():
        return _run(gate, args, kwargs, plain)


def _are_plain(values: Iterable[Any]) -> bool:
    """Whether all `values` are of classes that override nothing."""
    for x in values:  # noqa: SIM110 (twice as quick as all() with a generator)
        if x.__class__ not in PLAIN:
            return False
    return True


def _run(gate: Gate, args: tuple[Any, ...], kwargs: dict[str, Any], plain: bool) -> Any:
    """The layers below the function modes and overrides."""
    if gate.policy is not None and LOCAL.autocast is not None:
        return LOCAL.autocast.run(gate.policy, gate.original, args, kwargs)
    if gate.op and (LOCAL.dispatch_modes or not plain):
        result = _dispatch(gate, args, kwargs)
        if result is not NotImplemented:
            return result
    return gate.original(*args, **kwargs)


def _dispatch(gate: Gate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the innermost dispatch mode, or an argument's ``__torch_dispatch__``, makes of an op."""
    modes = LOCAL.dispatch_modes
    flat = [y for x in (*args, *kwargs.values()) for y in (x if type(x) in (list, tuple) else (x,))]
    holders = [type(x) for x in flat if getattr(type(x), "__torch_dispatch__", None) is not None]
    classes = tuple(dict.fromkeys(c for c in holders if issubclass(c, TensorCore)))
    if not modes and not classes:
        return NotImplemented
    from .overloads import overload_of

    overload = overload_of(gate.op, gate.function, args, kwargs)
    if modes:
        result = _ask_innermost(modes, "__torch_dispatch__", overload, classes, args, kwargs)
        if result is not NotImplemented:
            return result
    for cls in classes:
        result = cls.__torch_dispatch__(overload, classes, args, kwargs)
        if result is not NotImplemented:
            return result
    raise TypeError(f"Multiple dispatch failed for '{overload}': nobody implements it")


# ---------------------------------------------------------------- exchanging the code
GATES: dict[Any, Gate] = {}
"""The gate of every armed function."""

_SOURCE = """
def outer({names}):
    def armed(*args, **kwargs):
        if 0:
            {names}
        shared = "SHARED"
        if shared.calm:
            for a in args:
                if a.__class__ not in "PLAIN":
                    break
            else:
                if not kwargs:
                    original = "ORIGINAL"
                    return original(*args)
        pass_through = "PASS"
        return pass_through("GATE", args, kwargs)
"""
"""The code that all armed functions get, with objects in place of the texts."""


@functools.cache
def _template(names: tuple[str, ...]) -> CodeType:
    """The armed code for functions with the free variables `names`, which it must have too."""
    source = _SOURCE.replace("{names}", ", ".join(names), 1)
    source = source.replace("{names}", "; ".join(names) or "pass", 1)
    code = compile(source, "<flambeau armed>", "exec")
    for _ in range(2):
        code = next(c for c in code.co_consts if isinstance(c, CodeType))
    return code


def _armed_code(code: CodeType, gate: Gate) -> CodeType:
    """The armed code for `gate`, fit for a function with the closure of `code`."""
    known = {
        "SHARED": SHARED, "PLAIN": PLAIN, "ORIGINAL": gate.original, "PASS": pass_through,
        "GATE": gate,
    }  # fmt: skip
    template = _template(code.co_freevars)
    consts = tuple(known.get(c, c) if isinstance(c, str) else c for c in template.co_consts)
    return template.replace(co_consts=consts, co_name=code.co_name, co_qualname=code.co_qualname)


def plain(function: Any) -> Any:
    """The function that runs where `function` is armed and nobody asks; else itself."""
    gate = GATES.get(function)
    return function if gate is None else gate.original


def arm_function(function: Any, *, known_as: Any = None) -> Gate | None:
    """Arm one function written in Python; its gate, or None for what cannot be armed."""
    gate = GATES.get(function) if isinstance(function, FunctionType) else None
    if gate is not None or not isinstance(function, FunctionType):
        return gate
    code = function.__code__
    original = FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    original.__kwdefaults__ = function.__kwdefaults__
    original.__qualname__ = function.__qualname__
    if "__signature__" not in vars(function):
        function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    gate = GATES[function] = Gate(known_as or function, original)
    function.__code__ = _armed_code(code, gate)
    return gate


# ---------------------------------------------------------------- what is armed
POLICIES: dict[str, Any] = {}
"""What autocast does with the function of a name; see autocasting.py."""

CREATION = frozenset(
    "empty empty_permuted empty_strided ones arange bartlett_window blackman_window eye full "
    "hamming_window hann_window kaiser_window linspace logspace rand randn randint randperm range "
    "tril_indices triu_indices zeros asarray tensor as_tensor scalar_tensor fft_fftfreq "
    "fft_rfftfreq sparse_coo_tensor sparse_csr_tensor sparse_csc_tensor sparse_bsr_tensor "
    "sparse_bsc_tensor sparse_compressed_tensor".split()
)
"""Functions that make tensors from none; modes see them, their arguments override nothing."""

UNASKED = frozenset(
    "are_deterministic_algorithms_enabled broadcast_shapes from_dlpack from_numpy frombuffer "
    "get_default_device get_num_interop_threads get_num_threads get_printoptions get_rng_state "
    "initial_seed is_tensor manual_seed seed set_default_tensor_type set_flush_denormal "
    "set_num_threads set_num_interop_threads set_printoptions set_rng_state typename from_file "
    "use_deterministic_algorithms set_default_device get_device_module is_storage set_warn_always "
    "get_float32_matmul_precision set_float32_matmul_precision get_deterministic_debug_mode "
    "set_deterministic_debug_mode is_warn_always_enabled".split()
)
"""Functions about the process or about plain Python objects: nobody is asked."""

_OWN_AFFAIRS = frozenset(
    "__new__ __init__ __init_subclass__ __hash__ __iter__ __torch_function__ __torch_dispatch__ "
    "_make_subclass _make_wrapper_subclass as_subclass __array_wrap__ __dir__ __setstate__ "
    "_accumulate _as _interpret is_shared __reduce__".split()
)
"""What Python or the class itself calls: never armed."""

_METHODS = {
    "__getitem__": "index", "__setitem__": "index_put_", "view": "view", "to": "_to_copy",
    "detach": "detach", "resize_": "resize_", "set_": "set_", "contiguous": "contiguous",
    "item": "_local_scalar_dense", "__rsub__": "rsub", "__eq__": "eq", "__rpow__": "pow",
    "__floordiv__": "floor_divide", "__rfloordiv__": "floor_divide", "__rmod__": "remainder",
    "__rtruediv__": "div", "__and__": "bitwise_and", "__or__": "bitwise_or",
    "__xor__": "bitwise_xor", "__invert__": "bitwise_not", "__lshift__": "bitwise_left_shift",
    "__rshift__": "bitwise_right_shift", "__rmatmul__": "matmul",
}  # fmt: skip
"""Methods that are no ops by themselves, and what dispatch modes see them as."""

_SYMMETRIC = {
    "__radd__": "add", "__rmul__": "mul", "__rand__": "bitwise_and", "__ror__": "bitwise_or",
    "__rxor__": "bitwise_xor", "__add__": "add", "__sub__": "sub", "__mul__": "mul",
    "__truediv__": "div", "__mod__": "remainder", "__pow__": "pow", "__ne__": "ne",
    "__lt__": "lt", "__le__": "le", "__gt__": "gt", "__ge__": "ge", "__matmul__": "matmul",
    "__neg__": "neg", "__pos__": "positive", "__abs__": "abs", "__iadd__": "add_",
    "__isub__": "sub_", "__imul__": "mul_", "__itruediv__": "div_", "__imod__": "remainder_",
    "__ifloordiv__": "floor_divide_", "__ipow__": "pow_", "__rtruediv__": "__rdiv__",
}  # fmt: skip
"""Operators that overrides see as the method of this name."""


def _arm_offered(name: str, function: Any) -> None:
    """Arm a function that calls ops and is none."""
    gate = arm_function(function)
    if gate is not None:
        gate.policy = POLICIES.get(name)


def arm_public(name: str, function: Any) -> None:
    """Arm the public function `name`, as far as functions of its kind ask anybody."""
    if name in UNASKED:
        return
    gate = arm_function(function)
    if gate is None:
        return
    gate.scans = name not in CREATION
    gate.op = gate.op or (name if _is_dispatched(name) else "")
    gate.policy = POLICIES.get(name)


def _is_dispatched(name: str) -> bool:
    if name in CREATION or name.endswith("_like"):
        return True
    return bool(find(name) or (name.endswith("_") and find(name[:-1])))


def _arm_member(name: str, member: Any) -> None:
    """Arm the method or property `name` of the tensor class."""
    if name in _OWN_AFFAIRS:
        return
    if isinstance(member, property):
        for part, kind in ((member.fget, "__get__"), (member.fset, "__set__")):
            arm_function(part, known_as=getattr(member, kind))
        arm_function(member.fdel, known_as=member.__delete__)
        return
    gate = arm_function(member)
    if gate is None:
        return
    known = _METHODS.get(name) or _SYMMETRIC.get(name, name)
    gate.op = gate.op or (known if name in _METHODS or _is_dispatched(known) else "")
    if name in _SYMMETRIC:
        gate.function = _as_method(name, gate.function)
    elif name.startswith("__"):
        member.__name__ = name


def _as_method(name: str, function: Any) -> Any:
    known = _SYMMETRIC[name]
    found = getattr(Tensor, known, None)
    return function if found is None else found


def arm() -> None:
    """Arm every public function and method, those too that are made from now on."""
    if SHARED.armed:
        return
    with SHARED.lock:
        if SHARED.armed:
            return
        SHARED.armed = True
    _watch()
    for name in functions.names():
        function = vars(functions).get(name)
        if function is not None:
            arm_public(name, function)
    for offered in functions.offered:
        for name, function in offered.items():
            _arm_offered(name, function)
    for name, member in list(vars(Tensor).items()):
        _arm_member(name, member)


_wanted: set[str] = set()
"""Names of public functions that must be armed, though not all must."""


def arm_some(names: Iterable[str]) -> None:
    """Arm only the public functions called `names`; enough for what concerns no others."""
    _watch()
    _wanted.update(names)
    for name in names:
        function = getattr(functions, name, None)
        if function is not None:
            arm_public(name, function)
        for offered in functions.offered:
            if name in offered:
                _arm_offered(name, offered[name])


def _watch() -> None:
    """Hear of functions that are made from now on."""
    if _arm_newcomer not in functions.newcomers:
        functions.newcomers.append(_arm_newcomer)


def _arm_newcomer(name: str, function: Any) -> None:
    """Arm a function or method that was made after the arming."""
    if not SHARED.armed and name not in _wanted:
        return
    if name.startswith("__"):
        _arm_member(name, function)
    elif any(function is named.get(name) for named in functions.offered):
        _arm_offered(name, function)
    else:
        arm_public(name, function)


# ---------------------------------------------------------------- foreign objects
def redirected(op: Op, values: dict[str, Any], error: Exception) -> Any:
    """What the arguments of `op` that are no tensors make of a call, if they override it.

    Else `error`, which they have caused, is raised. The first such call arms all functions.
    """
    listed = list(values.values())
    if LOCAL.off or not overloaded(listed):
        raise error
    arm()
    named = {n: v for n, v in values.items() if n not in op.defaults or op.defaults[n] is not v}
    positional, keyword, gap = [], {}, False
    for n, p in op.signature.parameters.items():
        if n not in named:
            gap = True
        elif gap or p.kind is p.KEYWORD_ONLY:
            keyword[n] = named[n]
        else:
            positional.append(named[n])
    function: Callable[..., Any] = getattr(FAST["F"], op.name)
    return ask(function, listed, tuple(positional), keyword)
