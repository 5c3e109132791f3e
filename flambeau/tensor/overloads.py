"""What a dispatch mode is told of an op: its name, its variant, and a way to run it.

PyTorch names variants of an operator by what they take, as ``aten::add.Tensor``; `Overload` bears
such a name. One is made of every op by its public name: an op is dispatched as the user called it,
and not taken apart into smaller ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .core import TensorCore


class Packet:
    """An operator with all its variants: ``aten.add``."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.__name__ = self._qualified_op_name = name
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='aten.{self.__name__}')>"

    def __str__(self) -> str:
        return f"aten.{self.__name__}"


class Overload:
    """One variant of an operator, called like the function it stands for."""

    namespace = "aten"

    def __init__(self, name: str, variant: str, function: Callable[..., Any]) -> None:
        self.overloadpacket = Packet(name, function)
        self._overloadname = variant
        self.__name__ = f"{name}.{variant}"
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def name(self) -> str:
        """The qualified name: ``aten::add.Tensor``, without the variant where it is the default."""
        packet = self.overloadpacket.__name__
        variant = "" if self._overloadname == "default" else f".{self._overloadname}"
        return f"aten::{packet}{variant}"

    def __repr__(self) -> str:
        op = self.overloadpacket.__name__
        return f"<OpOverload(op='aten.{op}', overload='{self._overloadname}')>"

    def __str__(self) -> str:
        return f"aten.{self.__name__}"


_WITH_TENSOR = frozenset(
    "add sub mul div remainder fmod true_divide floor_divide copysign bitwise_and bitwise_or "
    "bitwise_xor bitwise_left_shift bitwise_right_shift".split()
)
_COMPARISONS = frozenset("eq ne lt le gt ge".split())
_ALONG = {"sum": "dim_IntList", "mean": "dim", "max": "dim", "min": "dim", "prod": "dim_int",
          "all": "dim", "any": "dim", "median": "dim", "std": "dim", "var": "dim"}  # fmt: skip
_FIXED = {"transpose": "int", "split": "Tensor", "unbind": "int", "slice": "Tensor",
          "select": "int", "index": "Tensor", "rsub": "Scalar", "where": "self"}  # fmt: skip
_RENAMED = {"true_divide": "div", "softmax": "_softmax", "log_softmax": "_log_softmax"}


def _variant(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str]:
    """The operator's name and the variant that fits the arguments."""
    inplace = "_" if name.endswith("_") else ""
    stem = name.removesuffix("_") if inplace else name
    second = args[1] if len(args) > 1 else kwargs.get("other", kwargs.get("dim"))
    is_tensor = isinstance(second, TensorCore)
    if stem == "index" and len(args) > 1:
        stem, variant = _index_variant(args[1])
    elif stem in _WITH_TENSOR:
        variant = "Tensor" if not kwargs.get("rounding_mode") else "Tensor_mode"
    elif stem in _COMPARISONS:
        variant = "Tensor" if is_tensor else "Scalar"
    elif stem == "pow":
        first = isinstance(args[0], TensorCore) if args else True
        variant = "Tensor_Tensor" if is_tensor and first else "Tensor_Scalar" if first else "Scalar"
    elif stem in _ALONG:
        variant = _ALONG[stem] if second is not None and not is_tensor else "default"
    else:
        variant = _FIXED.get(stem, "default")
    return _RENAMED.get(stem, stem) + inplace, variant


def _index_variant(index: Any) -> tuple[str, str]:
    if isinstance(index, int) and not isinstance(index, bool):
        return "select", "int"
    parts = index if isinstance(index, tuple) else (index,)
    plain = all(p is None or p is Ellipsis or isinstance(p, (int, slice)) for p in parts)
    return ("slice", "Tensor") if plain else ("index", "Tensor")


_MADE: dict[tuple[str, str], Overload] = {}


def overload_of(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Overload:
    """The variant of the op called `name` that a call of `function` is."""
    key = _variant(name, args, kwargs)
    found = _MADE.get(key)
    if found is None:
        found = _MADE[key] = Overload(*key, function)
    return found
