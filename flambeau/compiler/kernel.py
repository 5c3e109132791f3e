"""Kernels written in the loop language: compiled for the element types of a call, and launched.

`kernel` and `inline` mark functions; see `language` for what they may say. A `Kernel` is called
with the number of items to share among threads, the cost of one (elements it touches, an exp counts
as five or so), and the arguments after ``first`` and ``last``; it compiles itself for types it has
not met.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import jit, launch, threads
from .elements import KINDS
from .expressions import Expression
from .translate_values import MARKERS, resolve

_NAMED = {marker.__name__: kind for marker, kind in MARKERS.items()}
UNIT = 0.05
"""Nanoseconds of a unit of cost: one float32 element loaded and added in a vector loop."""
_lock = threading.Lock()


class Inline:
    """A function that kernels may call; called from Python it is the plain function."""

    is_inline = True

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def inline(function: Callable[..., Any]) -> Inline:
    """Let kernels call `function`, whose arguments may be arrays, numbers and constants."""
    return Inline(function)


class _Parameter:
    """What a kernel's parameter is: "array", "int", "float", "static"; and its element letter."""

    def __init__(self, name: str, annotation: str) -> None:
        self.name = name
        text = annotation.removesuffix(" | None")
        self.optional = text != annotation
        self.element = ""
        self.is_static = text.endswith("Static")
        if text.startswith("Array["):
            self.element = text[6:-1]
            if self.element not in ("T", "S") and self.element not in _NAMED:
                raise TypeError(f"{name}: {self.element} is no element type")
        elif text not in ("int", "float") and not self.is_static:
            raise TypeError(f"{name}: a kernel's parameter is no {annotation}")
        self.letter = "a" if self.element else {"int": "i", "float": "f"}.get(text, "")


class Kernel:
    """A function of the loop language, callable on NumPy arrays."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__name__ = self.name = function.__name__
        self.__doc__ = function.__doc__
        hints = list(function.__annotations__.items())
        self._parameters = [
            _Parameter(name, str(hint))
            for name, hint in hints[2:]
            if name not in ("return", "thread")
        ]
        self._arrays = [i for i, p in enumerate(self._parameters) if p.element]
        self._statics = [i for i, p in enumerate(self._parameters) if p.is_static]
        self._passed = [i for i, p in enumerate(self._parameters) if not p.is_static]
        self._launchers: dict[Any, Callable[..., Any]] = {}
        self._prepared: dict[Any, Callable[..., Any]] = {}

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"

    def __call__(self, items: int, cost: int, *args: Any) -> None:
        """Run over `items`, sharing them among threads where `cost` for each makes that pay."""
        key = tuple(self._kinds(args))
        launcher = self._launchers.get(key) or self._specialise(key, args)
        chunks, size = threads.split(items, cost * UNIT)
        if self._statics:
            args = tuple([args[i] for i in self._passed])
        launcher(chunks, items, size, *args)

    def prepare(self, *args: Any, as_words: bool = False) -> Callable[..., Any]:
        """Compile for arguments like `args`, for whoever launches it often.

        The function returned takes the number of chunks, of items and of items in a chunk, then
        the arguments that are neither Static nor None. With `as_words` it takes any arrays of
        elements as large as T, and leaves it to the caller that they are aligned.
        """
        key = (as_words, *self._kinds(args))
        launch = self._prepared.get(key)
        if launch is None:
            launch = self._prepared[key] = self._bind(args, as_words)[0]
        return launch

    def _kinds(self, args: tuple[Any, ...]) -> list[Any]:
        """What of the arguments tells one specialisation from another."""
        kinds = [None if args[i] is None else args[i].dtype for i in self._arrays]
        return kinds + [args[i] for i in self._statics]

    def python(self, items: int, *args: Any) -> None:
        """Compute the same in plain Python, one element after the other, on flat arrays."""
        arguments = [a.reshape(-1) if isinstance(a, np.ndarray) else a for a in args]
        self.function(0, items, *arguments)

    def _specialise(self, key: Any, args: tuple[Any, ...]) -> Callable[..., Any]:
        bound, kept, count = self._bind(args)
        launcher = bound
        if len(kept) < count:
            # Words of arrays that were left out are not passed on.
            def launcher(chunks: int, *words: Any) -> None:
                bound(chunks, *[words[i] for i in kept])

        self._launchers[key] = launcher
        return launcher

    def _bind(
        self, args: tuple[Any, ...], as_words: bool = False
    ) -> tuple[Callable[..., Any], list[int], int]:
        """The machine code for arguments like `args`, which words it takes, and of how many."""
        if len(args) != len(self._parameters):
            raise TypeError(f"{self.name} takes {len(self._parameters)} arguments, got {len(args)}")
        types: dict[str, str] = {}
        elements: dict[str, str] = {}
        letters = ["i", "i"]
        absent = set()
        for p, a in zip(self._parameters, args, strict=True):
            if p.is_static:
                continue
            if p.element and a is None:
                if not p.optional:
                    raise TypeError(f"{self.name}: {p.name} is missing")
                absent.add(p.name)
                letters.append("o")
                continue
            if p.element:
                elements[p.name] = self._element(p, a, types)
                loose = as_words and p.element == "T"
                letters.append("a" if loose else f"a:{_spell(a.dtype)}")
            else:
                letters.append(p.letter)
        statics = {p.name: a for p, a in zip(self._parameters, args, strict=True) if p.is_static}
        kept = [i for i, letter in enumerate(letters) if letter != "o"]
        bound = self._build(types, elements, frozenset(absent), statics, [letters[i] for i in kept])
        return bound, kept, len(letters)

    def _element(self, p: _Parameter, a: Any, types: dict[str, str]) -> str:
        kind = KINDS.get(a.dtype.name)
        if kind is None or not a.dtype.isnative:
            raise TypeError(f"{self.name}: {p.name} has elements {a.dtype}")
        expected = _NAMED.get(p.element) or types.setdefault(p.element, kind)
        if kind != expected:
            raise TypeError(f"{self.name}: {p.name} has elements {kind}, expected {expected}")
        return kind

    def _build(
        self,
        types: Mapping[str, str],
        elements: Mapping[str, str],
        absent: frozenset[str],
        statics: Mapping[str, Any],
        letters: list[str],
    ) -> Callable[..., Any]:
        identity = repr((sorted(elements.items()), sorted(absent), sorted(types.items())))
        constants = repr(sorted((k, fingerprint(v)) for k, v in statics.items()))
        with _lock:
            library = jit.load_or_build(
                self.name,
                f"{fingerprint(self)} {identity} {constants}",
                lambda: _render(self.function, elements, absent, statics, types),
                source=functools.partial(inspect.getsource, self.function),
            )
            return launch.bind(
                library.address("chunk"), " ".join(letters), name=self.name, parallel=True
            )


def _render(function: Callable[..., Any], *facts: Any) -> str:
    """The IR, for a kernel that is not in the cache: the translator is imported only then."""
    from . import translate

    return translate.render("chunk", function, *facts)


def kernel(function: Callable[..., Any]) -> Kernel:
    """Make a kernel of a function whose first parameters are the ``first`` and ``last`` item."""
    return Kernel(function)


def serves(*arrays: Any) -> bool:
    """Whether kernels can take these arrays: C-contiguous, aligned, native, and the JIT is on."""
    if not jit.available():
        return False
    for a in arrays:
        dtype, flags = a.dtype, a.flags
        known = _served.get(dtype)
        if known is None:  # a dtype's name takes microseconds
            known = _served[dtype] = dtype.name in KINDS and dtype.isnative
        if not (known and flags.c_contiguous and flags.aligned):
            return False
    return True


_served: dict[Any, bool] = {}


def _spell(dtype: Any) -> str:
    return "" if dtype.name == "bfloat16" else dtype.name


def fingerprint(thing: Any) -> str:
    """Text that differs for things from which different machine code would come."""
    if isinstance(thing, (Kernel, Inline)):
        return _fingerprint_function(thing.function)
    if isinstance(thing, (bool, int, float, str, Expression, type(None))):
        return repr(thing)
    if isinstance(thing, (list, tuple)):
        return repr([fingerprint(item) for item in thing])
    return getattr(thing, "__qualname__", type(thing).__name__)


def _fingerprint_function(function: Callable[..., Any]) -> str:
    code = function.__code__
    parts: list[Any] = [
        code.co_code.hex(),
        code.co_varnames,
        sorted(function.__annotations__.items()),
    ]
    parts += [repr(c) for c in code.co_consts if not inspect.iscode(c)]
    for name in (*code.co_names, *code.co_freevars):
        parts.append((name, fingerprint(resolve(function, name, None))))
    return repr(parts)
