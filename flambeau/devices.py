"""Devices, memory formats and layouts: plain names, no behaviour."""

from __future__ import annotations

import re
from _thread import get_ident
from typing import Any

_PATTERN = re.compile(r"^([a-z]+)(?::(\d+))?$")
TYPES = ("cpu", "meta", "cuda", "xla", "mps", "xpu")
_AVAILABLE = ("cpu", "meta")


class device:
    """Where a tensor lives: ``device("cpu")``, ``device("cuda:0")``, ``device("cuda", 0)``."""

    __slots__ = ("index", "type")
    index: int | None
    type: str

    def __init__(
        self,
        type: str | device | int | None = None,
        index: int | None = None,
        *,
        device: str | device | int | None = None,
    ) -> None:
        type = device if type is None else type
        if isinstance(type, self.__class__):
            self.type, self.index = type.type, type.index
            return
        if isinstance(type, int):
            index, type = type, "cuda"
        if not isinstance(type, str):
            raise TypeError(f"device() expected a str, an int or a device, got {type!r}")
        match = _PATTERN.match(type)
        if match is None:
            raise RuntimeError(f"Invalid device string: '{type}'")
        if match[1] not in TYPES:
            raise RuntimeError(
                f"Expected one of {', '.join(TYPES)} device type at start of device string: "
                f"{match[1]}"
            )
        if match[2] is not None and index is not None:
            raise RuntimeError(
                f"type (string) must not include an index because index was passed explicitly: "
                f"{type}"
            )
        self.type = match[1]
        self.index = int(match[2]) if match[2] is not None else index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (device, (str(self),))

    def __enter__(self) -> device:
        _entered.setdefault(get_ident(), []).append(_context[0](self))
        _entered[get_ident()][-1].__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        _entered[get_ident()].pop().__exit__()


_context: list[Any] = []
_entered: dict[int, list[Any]] = {}


def entered_by(context: Any) -> None:
    """Say which class makes, of a device, the context in which tensors are made on it."""
    _context[:] = [context]


CPU, META = device("cpu"), device("meta")


def resolve_device(value: Any) -> device:
    """The device meant by `value` (None, str, int or device); RuntimeError if it is not here."""
    found = CPU if value is None else value if isinstance(value, device) else device(value)
    if found.type == "cpu":
        return CPU
    if found.type not in _AVAILABLE:
        raise RuntimeError(
            f"device '{found}' is not available: this build of flambeau has the devices "
            f"{', '.join(_AVAILABLE)}"
        )
    return found


class layout:
    """How a tensor's elements are laid out."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class memory_format(layout):
    """The order in which a tensor's dimensions follow each other in memory."""


strided = layout("strided")
sparse_coo = layout("sparse_coo")
sparse_csr = layout("sparse_csr")
sparse_csc = layout("sparse_csc")
sparse_bsr = layout("sparse_bsr")
sparse_bsc = layout("sparse_bsc")
jagged = layout("jagged")
contiguous_format = memory_format("contiguous_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
preserve_format = memory_format("preserve_format")
