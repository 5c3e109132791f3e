"""A pickle machine that can only make data: what it may call is a short list of names.

It is not a subclass of `pickle.Unpickler`, because that one lets a file set attributes of any
object that it can name, classes and singletons included. Here names stay opaque (`SafeCall`),
calling is possible for them alone, and state is given only to values that the file has made itself.
"""

from __future__ import annotations

import collections
import pickle
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from .names import SafeCall, ScalarType, build_array, check_keys, find_safe
from .storages import TensorBuilder

_MARK = object()
_LINE_LIMIT = 4096
_MADE_BY_FILE = (collections.OrderedDict, collections.Counter, collections.defaultdict)


class RestrictedUnpickler:
    """Reads one pickle from `file`, of which at most `limit` bytes may be taken at once.

    UnpicklingError for names that are not allowed and for malformed pickles, EOFError for one that
    ends early; both say where, and name `source`.
    """

    def __init__(
        self, file: BinaryIO, builder: TensorBuilder, limit: int, encoding: str = "utf-8"
    ) -> None:
        self._file, self._builder, self._limit = file, builder, limit
        self._encoding = encoding
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._read_count = 0
        self._made: dict[int, Any] = {}  # what the user's own names have made, by id

    def load(self) -> Any:
        """The value that the pickle describes."""
        code = b""
        try:
            while True:
                code = self._read(1)
                if code == b".":
                    return self._stack.pop()
                _OPERATIONS[code](self)
        except (pickle.UnpicklingError, EOFError, RuntimeError, MemoryError):
            raise
        except Exception as error:
            raise pickle.UnpicklingError(
                f"{self._builder.source}: Weights only load failed: the pickle is malformed or "
                f"not of this kind, at byte {self._read_count} (operation {code!r}): "
                f"{type(error).__name__}: {error}"
            ) from error

    # ------------------------------------------------------------------ bytes
    def _read(self, n: int) -> bytes:
        if n > self._limit:
            raise EOFError(
                f"{self._builder.source}: a pickle claims {n} bytes, more than there are"
            )
        data = self._file.read(n)
        self._read_count += len(data)
        if len(data) < n:
            raise EOFError(
                f"{self._builder.source}: the pickle ends at byte {self._read_count}: the file is "
                "empty or truncated"
            )
        return data

    def _line(self) -> str:
        line = self._file.readline(_LINE_LIMIT)
        self._read_count += len(line)
        if not line.endswith(b"\n"):
            raise ValueError("a line does not end")
        return line[:-1].decode("utf-8")

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._read(struct.calcsize(layout)))[0]

    def _since_mark(self) -> list[Any]:
        stack = self._stack
        at = len(stack) - 1
        while stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("no mark on the stack")
        items = stack[at + 1 :]
        del stack[at:]
        return items

    # ------------------------------------------------------------------ names and calls
    def _find(self, module: str, name: str) -> None:
        try:
            self._stack.append(find_safe(module, name))
        except KeyError:
            raise pickle.UnpicklingError(
                f"{self._builder.source}: Weights only load failed: GLOBAL {module}.{name} is not "
                "an allowed global. If you trust whoever made the file, allow the name with "
                f"torch.serialization.add_safe_globals([{name}]) or load with "
                "weights_only=False, which lets the file run any code."
            ) from None

    def _global(self) -> None:
        module = self._line()
        self._find(module, self._line())

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name is not text")
        self._find(module, name)

    def _call(self, function: Any, args: Any) -> Any:
        if not isinstance(function, SafeCall) or type(args) is not tuple:
            raise ValueError("the file calls something that has no name")
        if function.method:
            return getattr(self._builder, function.method)(*args)
        if function.function is None:
            raise ValueError(f"{function.name} must not be called")
        made = function.function(*args)
        if function.is_user:
            self._made[id(made)] = made
        return made

    def _reduce(self) -> None:
        args = self._stack.pop()
        self._stack[-1] = self._call(self._stack[-1], args)

    def _new_object(self) -> None:
        args, cls = self._stack.pop(), self._stack.pop()
        if not isinstance(cls, SafeCall) or cls.user_type is None:
            raise ValueError("the file makes an object of a class that was not allowed")
        made = cls.user_type.__new__(cls.user_type, *args)
        self._made[id(made)] = made
        self._stack.append(made)

    def _build(self) -> None:
        state, value = self._stack.pop(), self._stack[-1]
        if isinstance(value, ScalarType):
            value.build(state)
        elif type(value) is np.ndarray:
            build_array(value, state)
        elif type(value) in _MADE_BY_FILE:
            self._builder.set_attributes(value, state)
        elif id(value) in self._made:
            _set_state(value, state)
        else:
            raise ValueError(f"the file must not change a {type(value).__name__}")

    def _persistent(self) -> None:
        self._stack.append(self._builder.storage(self._stack.pop()))

    # ------------------------------------------------------------------ plain data
    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _text(self, layout: str) -> None:
        data = self._read(self._number(layout))
        self._push(data.decode("utf-8", "surrogatepass"))

    def _python2_text(self, layout: str) -> None:
        data = self._read(self._number(layout))
        self._push(data if self._encoding == "bytes" else data.decode(self._encoding))

    def _bytes(self, layout: str) -> None:
        self._push(self._read(self._number(layout)))

    def _long(self, layout: str) -> None:
        data = self._read(self._number(layout))
        self._push(int.from_bytes(data, "little", signed=True))

    def _tuple(self, n: int) -> None:
        if len(self._stack) < n:
            raise ValueError("the stack is too short")
        items = tuple(self._stack[len(self._stack) - n :])
        del self._stack[len(self._stack) - n :]
        self._push(items)

    def _append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in (list, collections.deque) and id(target) not in self._made:
            raise ValueError(f"expected a list, got {type(target).__name__}")
        target.extend(values)

    def _add(self, values: list[Any]) -> None:
        if type(self._stack[-1]) is not set:
            raise ValueError("expected a set")
        check_keys(values)
        self._stack[-1].update(values)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        known = type(target) is dict or type(target) in _MADE_BY_FILE
        if not known and id(target) not in self._made:
            raise ValueError(f"expected a dict, got {type(target).__name__}")
        if len(items) % 2:
            raise ValueError("a key without a value")
        check_keys(items[0::2])
        for key, value in zip(items[0::2], items[1::2], strict=True):
            target[key] = value

    def _put(self, at: int) -> None:
        self._memo[at] = self._stack[-1]

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _set_one(self) -> None:
        self._set_items([self._stack.pop(-2), self._stack.pop()])

    def _protocol(self) -> None:
        version = self._read(1)[0]
        if version > pickle.HIGHEST_PROTOCOL:
            raise ValueError(f"pickle protocol {version} is unknown")


def _set_state(value: Any, state: Any) -> None:
    """Give an instance of a class that the user allowed its state, as pickle does."""
    set_state = getattr(value, "__setstate__", None)
    if set_state is not None:
        set_state(state)
        return
    slots = None
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if state:
        value.__dict__.update(state)
    for name, part in (slots or {}).items():
        setattr(value, name, part)


_Machine = RestrictedUnpickler
_OPERATIONS: dict[bytes, Callable[[Any], None]] = {
    pickle.PROTO: _Machine._protocol,
    pickle.FRAME: lambda s: s._read(8),
    pickle.GLOBAL: _Machine._global,
    pickle.STACK_GLOBAL: _Machine._stack_global,
    pickle.REDUCE: _Machine._reduce,
    pickle.NEWOBJ: _Machine._new_object,
    pickle.BUILD: _Machine._build,
    pickle.BINPERSID: _Machine._persistent,
    pickle.MARK: lambda s: s._push(_MARK),
    pickle.POP: lambda s: s._stack.pop(),
    pickle.POP_MARK: lambda s: s._since_mark(),
    pickle.NONE: lambda s: s._push(None),
    pickle.NEWTRUE: lambda s: s._push(True),
    pickle.NEWFALSE: lambda s: s._push(False),
    pickle.BININT: lambda s: s._push(s._number("<i")),
    pickle.BININT1: lambda s: s._push(s._number("<B")),
    pickle.BININT2: lambda s: s._push(s._number("<H")),
    pickle.LONG1: lambda s: s._long("<B"),
    pickle.LONG4: lambda s: s._long("<I"),
    pickle.BINFLOAT: lambda s: s._push(s._number(">d")),
    pickle.BINUNICODE: lambda s: s._text("<I"),
    pickle.SHORT_BINUNICODE: lambda s: s._text("<B"),
    pickle.BINUNICODE8: lambda s: s._text("<Q"),
    pickle.SHORT_BINSTRING: lambda s: s._python2_text("<B"),
    pickle.BINSTRING: lambda s: s._python2_text("<I"),
    pickle.SHORT_BINBYTES: lambda s: s._bytes("<B"),
    pickle.BINBYTES: lambda s: s._bytes("<I"),
    pickle.BINBYTES8: lambda s: s._bytes("<Q"),
    pickle.BYTEARRAY8: lambda s: s._push(bytearray(s._read(s._number("<Q")))),
    pickle.EMPTY_TUPLE: lambda s: s._push(()),
    pickle.TUPLE: lambda s: s._push(tuple(s._since_mark())),
    pickle.TUPLE1: lambda s: s._tuple(1),
    pickle.TUPLE2: lambda s: s._tuple(2),
    pickle.TUPLE3: lambda s: s._tuple(3),
    pickle.EMPTY_LIST: lambda s: s._push([]),
    pickle.LIST: lambda s: s._push(s._since_mark()),
    pickle.APPEND: lambda s: s._append([s._stack.pop()]),
    pickle.APPENDS: lambda s: s._append(s._since_mark()),
    pickle.EMPTY_DICT: lambda s: s._push({}),
    pickle.SETITEM: _Machine._set_one,
    pickle.SETITEMS: lambda s: s._set_items(s._since_mark()),
    pickle.EMPTY_SET: lambda s: s._push(set()),
    pickle.ADDITEMS: lambda s: s._add(s._since_mark()),
    pickle.FROZENSET: lambda s: s._push(_frozen(s._since_mark())),
    pickle.BINPUT: lambda s: s._put(s._number("<B")),
    pickle.LONG_BINPUT: lambda s: s._put(s._number("<I")),
    pickle.MEMOIZE: _Machine._memoize,
    pickle.BINGET: lambda s: s._push(s._memo[s._number("<B")]),
    pickle.LONG_BINGET: lambda s: s._push(s._memo[s._number("<I")]),
}


def _frozen(items: list[Any]) -> frozenset[Any]:
    check_keys(items)
    return frozenset(items)
