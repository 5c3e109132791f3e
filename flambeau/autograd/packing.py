"""Packing what nodes save: the hooks that `saved_tensors_hooks` sets.

A node is filled by written-out code, which then asks where it was made (anomaly.py). While hooks
are set, that question hands the node here: its saved tensors are packed, and their slots emptied
until backward unpacks them for the time that the node runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from ..tensor.core import TensorCore, from_array, is_tensor, storage_of, version
from ..tensor.recording import FREED
from ..tensor.storage import Storage
from . import anomaly
from .grad_mode import no_grad
from .node import AccumulateGrad, hooks_of

Pack = Callable[[Any], Any]


class _State(threading.local):
    def __init__(self) -> None:
        self.hooks: list[tuple[Pack, Pack]] = []
        self.refused: str | None = None


state = _State()
_users = 0
_lock = threading.Lock()


def push(pack: Pack, unpack: Pack) -> None:
    """Set a pair of hooks for this thread."""
    global _users
    if state.refused is not None:
        raise RuntimeError(state.refused)
    state.hooks.append((pack, unpack))
    with _lock:
        _users += 1
        anomaly.choose_trace(_pack_node)


def pop() -> None:
    """Take the last pair away."""
    global _users
    state.hooks.pop()
    with _lock:
        _users -= 1
        if not _users:
            anomaly.stop_packing()


def current() -> tuple[Pack, Pack] | None:
    """The pair of hooks that new nodes of this thread use."""
    return state.hooks[-1] if state.hooks else None


# ---------------------------------------------------------------- one tensor
class Packed:
    """What the hooks made of one saved tensor."""

    __slots__ = ("edge", "unpack", "value")

    def __init__(self, tensor: Any, edge: Any, hooks: tuple[Pack, Pack]) -> None:
        pack, self.unpack = hooks
        self.edge = edge
        before = version(tensor)
        held, state.hooks = state.hooks, []
        try:
            with no_grad():
                self.value = pack(tensor)
        finally:
            state.hooks = held
        if version(tensor) != before:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as "
                "input to pack hook cannot be modified by in-place operations as this can lead to "
                "unexpected side-effects. Please open an issue if you need to perform in-place "
                "operations on the input to a pack hook."
            )

    def tensor(self) -> Any:
        """The saved tensor at its place of the tape."""
        found = self.unpack(self.value)
        if not is_tensor(found):
            raise TypeError(
                "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                f"{type(found).__name__}"
            )
        out = from_array(found._d)
        out._s = storage_of(found)
        out._gf = self.edge
        return out

    def get(self, node: Any, recorded: bool) -> Any:
        """The tensor (or its array), as saved inputs and outputs of functions give it."""
        out = self.tensor()
        return out if recorded else out._d


def pack_input(tensor: Any, hooks: tuple[Pack, Pack]) -> Packed:
    """Pack an input of a node."""
    given = tensor
    if tensor._gf is not None and not isinstance(tensor._gf, AccumulateGrad):
        given = from_array(tensor._d)
        given._s, given._gf = storage_of(tensor), tensor._gf
    return Packed(given, tensor._gf, hooks)


def pack_array(array: Any, hooks: tuple[Pack, Pack]) -> Packed:
    """Pack an output of a node, or what was computed on the way to it."""
    return Packed(from_array(array), None, hooks)


# ---------------------------------------------------------------- one node
class _Slots:
    """The packed slots of one node, by name."""

    def __init__(self) -> None:
        self.inputs: dict[str, Packed] = {}
        self.lists: dict[str, list[Packed | None]] = {}
        self.arrays: dict[str, Packed] = {}

    def unpack(self, n: Any) -> None:
        """Put the tensors back into the node's slots."""
        for name, packed in self.inputs.items():
            found = packed.tensor()
            setattr(n, name, found)
            setattr(n, _version_slot(name), version(found))
        for name, several in self.lists.items():
            tensors = [None if p is None else p.tensor() for p in several]
            setattr(n, name, tensors)
            setattr(n, f"v_{name[2:]}", [None if t is None else version(t) for t in tensors])
        for name, packed in self.arrays.items():
            setattr(n, name, packed.tensor()._d)
            holder = "s" if name == "d" else f"v_{name[2:]}"
            if hasattr(n, holder):
                setattr(n, holder, _new_storage())

    def hide(self, n: Any) -> None:
        """Empty the slots again."""
        for name in (*self.inputs, *self.lists, *self.arrays):
            setattr(n, name, FREED if name.startswith("s_") else None)


def _new_storage() -> Storage:
    s = Storage.__new__(Storage)
    s.version, s.changed_at = 0, None
    return s


def _version_slot(name: str) -> str:
    return f"v_{name[2:]}" if name.startswith("s_") else f"v{name[1:]}"


def _pack_node(frame: FrameType) -> None:
    """Pack what the node that `frame` has just filled saves."""
    hooks = current()
    if hooks is None:
        return
    found = frame.f_locals
    n: Any = found.get("node", found.get("n"))
    if n is None or "ctx" in type(n).__slots__:  # a custom function packs for itself
        return
    slots = _Slots()
    for name in type(n).__slots__:
        value = getattr(n, name, None)
        if name in ("xa", "xb") or name.startswith("s_"):
            _pack_slot(slots, name, value, hooks)
        elif name == "d" and isinstance(value, np.ndarray):
            slots.arrays[name] = pack_array(value, hooks)
    if slots.inputs or slots.lists or slots.arrays:
        hooks_of(n).packed = slots
        slots.hide(n)


def _pack_slot(slots: _Slots, name: str, value: Any, hooks: tuple[Pack, Pack]) -> None:
    if isinstance(value, TensorCore):
        slots.inputs[name] = pack_input(value, hooks)
    elif isinstance(value, np.ndarray):
        slots.arrays[name] = pack_array(value, hooks)
    elif isinstance(value, list) and any(isinstance(x, TensorCore) for x in value):
        slots.lists[name] = [None if x is None else pack_input(x, hooks) for x in value]


def pack_saved(saved: list[Any]) -> list[Any]:
    """What a custom function saved, packed where hooks are set."""
    hooks = current()
    if hooks is None:
        return saved
    packed: list[Any] = []
    for entry in saved:
        if entry is None:
            packed.append(None)
        elif hasattr(entry, "tensor"):
            packed.append(pack_input(entry.tensor, hooks))
        else:
            packed.append(pack_array(entry.array, hooks))
    return packed
