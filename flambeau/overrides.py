"""What programs ask and say about overriding functions: ``__torch_function__`` and its modes."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from .tensor import Tensor, functions
from .tensor.core import TensorCore
from .tensor.interception import (
    CREATION,
    GATES,
    LOCAL,
    NO_SUBCLASSES,
    NOTHING,
    UNASKED,
    arm,
    ask,
    overloaded,
)
from .tensor.modes import BaseTorchFunctionMode, TorchFunctionMode
from .tensor.subclassing import nowrap_functions

__all__ = [
    "BaseTorchFunctionMode",
    "TorchFunctionMode",
    "enable_reentrant_dispatch",
    "get_default_nowrap_functions",
    "get_ignored_functions",
    "get_overridable_functions",
    "get_testing_overrides",
    "handle_torch_function",
    "has_torch_function",
    "has_torch_function_unary",
    "has_torch_function_variadic",
    "is_tensor_like",
    "is_tensor_method_or_property",
    "redispatch_function",
    "resolve_name",
    "wrap_torch_function",
]


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether one of the arguments overrides functions here, or a function mode is on."""
    if LOCAL.off == NOTHING:
        return False
    if LOCAL.modes:
        return True
    return LOCAL.off < NO_SUBCLASSES and bool(overloaded(relevant_args))


def has_torch_function_unary(relevant_arg: Any) -> bool:
    """`has_torch_function` of one argument."""
    return has_torch_function((relevant_arg,))


def has_torch_function_variadic(*relevant_args: Any) -> bool:
    """`has_torch_function` of the arguments one by one."""
    return has_torch_function(relevant_args)


def handle_torch_function(
    public_api: Callable[..., Any], relevant_args: Iterable[Any], *args: Any, **kwargs: Any
) -> Any:
    """What the modes and the `relevant_args` make of ``public_api(*args, **kwargs)``.

    TypeError if every one of them answers ``NotImplemented``, or if there is none.
    """
    result = ask(public_api, tuple(relevant_args), args, kwargs)
    if result is NotImplemented:
        raise TypeError(
            f"no implementation found for '{public_api.__module__}.{public_api.__name__}': no "
            "argument overrides it"
        )
    return result


def wrap_torch_function(
    dispatcher: Callable[..., Iterable[Any]],
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: arguments that ``dispatcher(*args, **kwargs)`` names may override the function.

    >>> @wrap_torch_function(lambda a: (a,))
    ... def double(a):
    ...     return a * 2
    """

    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            relevant = tuple(dispatcher(*args, **kwargs))
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return func(*args, **kwargs)

        return wrapped

    return decorate


def redispatch_function(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `func`, as it is, from inside an override."""
    return func(*args, **kwargs)


class enable_reentrant_dispatch:
    """A context in which a ``__torch_dispatch__`` may call functions that dispatch again."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def is_tensor_like(inp: Any) -> bool:
    """Whether `inp` is a tensor, or of a class with ``__torch_function__``."""
    return type(inp) is Tensor or hasattr(inp, "__torch_function__")


# ---------------------------------------------------------------- the vocabulary
def _modules() -> list[tuple[str, Any]]:
    from . import fft, linalg, special
    from .nn import functional

    found = [("torch.nn.functional", functional), ("torch.linalg", linalg)]
    return [*found, ("torch.fft", fft), ("torch.special", special)]


def get_default_nowrap_functions() -> set[Callable[..., Any]]:
    """Functions whose results the default override leaves in their class."""
    return nowrap_functions()


@functools.cache
def _all_overridable() -> dict[Any, list[Callable[..., Any]]]:
    arm()
    found: dict[Any, list[Callable[..., Any]]] = {}
    root = sys.modules[__name__.rpartition(".")[0]]
    ignored = UNASKED | CREATION
    found[root] = [
        f
        for n in functions.names()
        if n not in ignored and isinstance(f := getattr(functions, n, None), FunctionType)
    ]
    for _, module in _modules():
        members = (getattr(module, n, None) for n in dir(module) if not n.startswith("_"))
        found[module] = [f for f in members if f in GATES]
    methods: list[Callable[..., Any]] = []
    for name in dir(Tensor):
        member = getattr(Tensor, name)
        if isinstance(member, property):
            methods.append(member.__get__)
        elif isinstance(member, FunctionType) and member in GATES:
            methods.append(member)
    found[Tensor] = methods
    return found


def get_overridable_functions() -> dict[Any, list[Callable[..., Any]]]:
    """The functions that can be overridden, by the module or class that they are found in."""
    return {place: list(members) for place, members in _all_overridable().items()}


def get_ignored_functions() -> set[Callable[..., Any]]:
    """Public functions that no argument can override: those that make tensors, or take none."""
    named = (getattr(functions, name, None) for name in UNASKED | CREATION)
    own = (vars(Tensor).get(n) for n in ("__new__", "__init_subclass__", "__hash__", "as_subclass"))
    return {f for f in (*named, *own) if callable(f)}


def get_testing_overrides() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For every overridable function one with the same signature that returns -1."""
    import inspect

    found: dict[Callable[..., Any], Callable[..., Any]] = {}
    for members in _all_overridable().values():
        for function in members:
            found[function] = _answering(function, inspect)
    return found


def _answering(function: Callable[..., Any], inspect: Any) -> Callable[..., Any]:
    def answer(*args: Any, **kwargs: Any) -> int:
        return -1

    with contextlib.suppress(TypeError, ValueError):
        answer.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return answer


@functools.cache
def _tensor_members() -> frozenset[Any]:
    return frozenset(_all_overridable()[Tensor])


def is_tensor_method_or_property(func: Callable[..., Any]) -> bool:
    """Whether `func` is a method of Tensor, or the getter of one of its properties."""
    return func in _tensor_members() or getattr(func, "__name__", None) == "__get__"


def resolve_name(f: Callable[..., Any]) -> str | None:
    """The dotted name under which an overridable function is found, or None."""
    for name in dir(Tensor):
        member = getattr(Tensor, name)
        if isinstance(member, property) and f == member.__get__:
            return f"torch.Tensor.{name}.__get__"
    places: list[tuple[str, Any]] = [("torch", functions), *_modules(), ("torch.Tensor", Tensor)]
    for prefix, place in places:
        for name in (getattr(f, "__name__", ""), *dir(place)):
            if name and getattr(place, name, None) is f:
                return f"{prefix}.{name}"
    text = str(f)
    return text if isinstance(f, TensorCore) or hasattr(f, "overloadpacket") else None
