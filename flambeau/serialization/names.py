"""Which names of a file stand for what: PyTorch's on one side, flambeau's on the other.

Files carry PyTorch's names, so that either library reads what the other wrote.
"""

from __future__ import annotations

import _codecs
import collections
import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import devices, dtypes
from ..tensor import Buffer, Parameter, Size, Tensor

PACKAGE = __name__.partition(".")[0]
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class StorageType(NamedTuple):
    """What a file means by ``torch.FloatStorage``; no dtype: ``UntypedStorage``."""

    dtype: dtypes.dtype | None


class SafeCall(NamedTuple):
    """A name that a restricted file may call; the object itself never lies on its stack.

    ``method`` names a function of the tensor builder; ``is_user``: the user has allowed it, and
    ``user_type`` is it if it is a class.
    """

    name: str
    function: Callable[..., Any] | None = None
    method: str = ""
    is_user: bool = False
    user_type: type | None = None


class Global(NamedTuple):
    """A name to be written into a file."""

    module: str
    name: str

    def __call__(self, *_: Any) -> Any:
        raise TypeError(f"{self.module}.{self.name} can only be written")


class ScalarType:
    """A NumPy dtype under construction: its code (``f4``), then its byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not isinstance(code, str) or np.dtype(code).kind not in "biufc":
            raise ValueError("expected a NumPy dtype of numbers")
        self.code, self.order = code, "="

    def build(self, state: Any) -> None:
        """Take the byte order from dtype's pickled state."""
        if state[1] not in ("<", ">", "=", "|"):
            raise ValueError("expected a byte order")
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        """The finished dtype."""
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


def _scalar(kind: ScalarType, data: bytes) -> Any:
    dtype = kind.dtype()
    if len(data) != dtype.itemsize:
        raise ValueError(f"a {dtype} takes {dtype.itemsize} bytes, got {len(data)}")
    return np.frombuffer(data, dtype)[0]


def _empty_array(cls: Any, shape: Any, code: Any) -> Any:
    if cls != SafeCall("numpy.ndarray"):
        raise ValueError("expected numpy.ndarray")
    return np.empty(0, np.uint8)


def build_array(array: Any, state: Any) -> None:
    """Give a pickled NumPy array of numbers its shape and data."""
    version, shape, kind, is_fortran, data = state
    count = 1
    for n in shape:
        if type(n) is not int or n < 0:
            raise ValueError("expected a shape of non-negative integers")
        count *= n
    if type(data) is not bytes or len(data) != count * kind.dtype().itemsize:
        raise ValueError("an array's data and shape disagree")
    array.__setstate__((version, tuple(shape), kind.dtype(), bool(is_fortran), data))


def _encode(text: str, encoding: str = "latin1") -> bytes:
    # This is how protocol 2 spells bytes.
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise ValueError("expected text in latin1")
    return _codecs.encode(text, encoding)


def _bytearray(data: bytes | str = b"", encoding: str = "latin1") -> bytearray:
    if type(data) is str:
        data = _encode(data, encoding)
    if type(data) is not bytes:
        raise ValueError("expected bytes")
    return bytearray(data)


def _bytes(data: bytes = b"") -> bytes:
    # Protocol 2 spells empty bytes as a call.
    if type(data) is not bytes:
        raise ValueError("expected bytes")
    return data


def _filled(kind: Callable[..., Any]) -> Callable[..., Any]:
    def make(items: Any = (), *more: Any) -> Any:
        # A range is small in the file and may be endless in a set.
        if not isinstance(items, (list, tuple, dict, set, frozenset)):
            raise ValueError("expected a container")
        check_keys(items)
        return kind(items, *more)

    return make


def check_keys(keys: Any) -> None:
    """ValueError if hashing these would take forever: tuples of tuples of the same tuple..."""
    budget = 100_000
    waiting = [k for k in keys if type(k) in (tuple, frozenset)]
    while waiting:
        budget -= 1
        if budget < 0:
            raise ValueError("keys are nested too deeply")
        waiting += [k for k in waiting.pop() if type(k) in (tuple, frozenset)]


def _defaultdict(factory: Any = None, *items: Any) -> Any:
    makers: dict[str, Callable[[], Any]] = {
        "builtins.list": list,
        "builtins.dict": dict,
        "builtins.set": set,
    }
    makers |= {"builtins.int": int, "builtins.float": float, "builtins.str": str}
    if factory is not None:
        factory = makers[factory.name]
    return collections.defaultdict(factory, *map(_filled(dict), items))


def _device(*args: Any) -> devices.device:
    return devices.device(*args)


def _size(sizes: Any = ()) -> Size:
    if not all(type(n) is int for n in sizes):
        raise ValueError("expected a size of integers")
    return Size(sizes)


def _layout(name: str) -> devices.layout:
    return _LAYOUTS[name]


_LAYOUTS = {
    repr(v): v
    for v in vars(devices).values()
    if isinstance(v, devices.layout) and not isinstance(v, devices.memory_format)
}

# Methods of the tensor builder, by PyTorch's names.
REBUILDERS = {
    "torch._utils._rebuild_tensor": "rebuild_tensor",
    "torch._utils._rebuild_tensor_v2": "rebuild_tensor",
    "torch._utils._rebuild_tensor_v3": "rebuild_typed_tensor",
    "torch._utils._rebuild_parameter": "rebuild_parameter",
    "torch._utils._rebuild_sparse_tensor": "rebuild_sparse_tensor",
    "torch._utils._rebuild_nested_tensor": "rebuild_nested_tensor",
    "torch.nested._internal.nested_tensor._rebuild_njt": "rebuild_jagged_tensor",
    "torch._utils._rebuild_parameter_with_state": "rebuild_parameter",
    "torch._utils._rebuild_meta_tensor_no_storage": "rebuild_meta_tensor",
    "torch._tensor._rebuild_from_type_v2": "rebuild_from_type",
}
TENSOR_TYPES: dict[str, type] = {
    "torch.Tensor": Tensor,
    "torch.nn.parameter.Parameter": Parameter,
    "torch.nn.parameter.Buffer": Buffer,
    "torch.nested._internal.nested_tensor.NestedTensor": Tensor,
}


class CompilerNote:
    """What PyTorch's compiler has noted on a tensor of a file: it means nothing here."""

    def __setstate__(self, state: Any) -> None:
        """Keep nothing."""


# Classes of PyTorch that files may make objects of, and that do nothing.
INERT_TYPES: dict[str, type] = {"torch._dynamo.decorators._DimRange": CompilerNote}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _filled(collections.OrderedDict),
    "collections.Counter": _filled(collections.Counter),
    "collections.deque": _filled(collections.deque),
    "collections.defaultdict": _defaultdict,
    "builtins.set": _filled(set),
    "builtins.frozenset": _filled(frozenset),
    "builtins.complex": complex,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytearray,
    "builtins.range": range,
    "builtins.xrange": range,
    "builtins.slice": slice,
    "_codecs.encode": _encode,
    "numpy.dtype": ScalarType,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray._reconstruct": _empty_array,
    "torch.device": _device,
    "torch.Size": _size,
    "torch.serialization._get_layout": _layout,
}
_PLAIN_TYPES = ("list", "dict", "int", "float", "str")
_NAMES_ALONE = ("numpy.ndarray", *(f"builtins.{n}" for n in _PLAIN_TYPES))


def _make_safe_names() -> dict[str, Any]:
    table: dict[str, Any] = {f"torch.{t.name}": t for t in dtypes.ALL}
    for t in dtypes.ALL:
        table[f"torch.{t.title}Storage"] = StorageType(t)
    table["torch.storage.UntypedStorage"] = table["torch.UntypedStorage"] = StorageType(None)
    table |= {f"torch.{v.name}": v for v in vars(devices).values() if isinstance(v, devices.layout)}
    table |= {name: SafeCall(name, function) for name, function in _FUNCTIONS.items()}
    table |= {name: SafeCall(name, method=method) for name, method in REBUILDERS.items()}
    table |= {name: SafeCall(name, user_type=kind) for name, kind in INERT_TYPES.items()}
    return table | {name: SafeCall(name) for name in (*TENSOR_TYPES, *_NAMES_ALONE)}


SAFE_NAMES = _make_safe_names()
_user_names: dict[str, Any] = {}


def find_safe(module: str, name: str) -> Any:
    """What a restricted file may mean by ``module.name``; KeyError if it is not on the list."""
    key = f"{_OLD_MODULES.get(module, module)}.{name}"
    if key in SAFE_NAMES:
        return SAFE_NAMES[key]
    value = _user_names[key]
    return SafeCall(key, value, "", True, value if isinstance(value, type) else None)


# ---------------------------------------------------------------------- the user's own additions
def _keys_of(item: Any) -> dict[str, Any]:
    if isinstance(item, tuple):
        value, name = item
        return {str(name): value}
    module, name = item.__module__, item.__qualname__
    keys = [f"{module}.{name}"]
    if module.partition(".")[0] == PACKAGE:
        keys.append(f"torch{module[len(PACKAGE) :]}.{name}")
        keys += [".".join(public)] if (public := public_name(item)) else []
    return dict.fromkeys(keys, item)


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Let restricted files construct these classes and call these functions.

    Each item is a class or function, or a pair of one and the full name by which files call it.
    """
    for item in safe_globals:
        _user_names.update(_keys_of(item))


def get_safe_globals() -> list[Any]:
    """Return what `add_safe_globals` has added."""
    return list({id(value): value for value in _user_names.values()}.values())


def clear_safe_globals() -> None:
    """Take back what `add_safe_globals` has added."""
    _user_names.clear()


@contextlib.contextmanager
def _safe_globals(items: list[Any]) -> Iterator[None]:
    before = dict(_user_names)
    add_safe_globals(items)
    try:
        yield
    finally:
        _user_names.clear()
        _user_names.update(before)


class safe_globals:
    """A context in which restricted files may use `safe_globals` too."""

    def __init__(self, safe_globals: list[Any]) -> None:
        self._items = safe_globals
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> None:
        self._stack.enter_context(_safe_globals(self._items))

    def __exit__(self, *_: object) -> None:
        self._stack.close()


# ---------------------------------------------------------------------- unrestricted files
def import_name(module: str, name: str) -> Any:
    """The object of flambeau that PyTorch's ``module.name`` means; AttributeError if none does."""
    path = [PACKAGE, *module.split(".")[1:]]
    # Where a class lives below its public package is each library's own affair.
    for end in range(len(path), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(path[:end]))
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError):
            continue
        return found
    raise AttributeError(f"the file uses {module}.{name}, which flambeau does not have")


def public_name(value: Any) -> Global | None:
    """PyTorch's name for a class or function of flambeau; None if it is not flambeau's."""
    for known, kind in TENSOR_TYPES.items():
        if value is kind:
            return Global(*known.rsplit(".", 1))
    module, name = getattr(value, "__module__", None) or "", getattr(value, "__qualname__", "")
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return None
    for end in range(1, len(parts) + 1):
        found: Any = sys.modules.get(".".join(parts[:end]))
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is value:
            return Global(".".join(["torch", *parts[1:end]]), name)
    return None
