"""The tape as a graph: its edges, hooks on what it saves, hooks on several gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..dtypes import float32
from ..tensor.core import bump
from . import packing
from .node import Node, RemovableHandle, add_hook


class _Edge(NamedTuple):
    node: Node
    output_nr: int
    ownership_token: Any = None


class GradientEdge(_Edge):
    """An edge of the tape: output `output_nr` of `node`, whose gradient flows there."""

    facts: Any = ((), float32)
    """The shape and the dtype of the gradient."""


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """The edge through which the gradient of `tensor` flows, to be used in its place.

    RuntimeError for a tensor that does not require a gradient.
    """
    edge = tensor._gf
    if edge is None:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients"
        )
    node, number = edge.as_edge()
    made = GradientEdge(node, number, None if node is edge else edge)
    made.facts = (tuple(tensor.shape), tensor.dtype)
    return made


def increment_version(tensor: Any) -> None:
    """Count a change of a tensor's memory, or of several tensors', that nothing else counted."""
    several = isinstance(tensor, Iterable) and not hasattr(tensor, "_version")
    for t in tensor if several else (tensor,):
        bump(t)


# ---------------------------------------------------------------- what is saved
class saved_tensors_hooks:
    """Inside, ``pack_hook(tensor)`` is kept in place of each tensor saved for backward.

    ``unpack_hook`` gives the tensor back when backward needs it.
    """

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        packing.push(self.pack_hook, self.unpack_hook)

    def __exit__(self, *_: object) -> None:
        packing.pop()


class save_on_cpu(saved_tensors_hooks):
    """Inside, tensors saved for backward are kept in the CPU's memory."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(tensor: Any) -> tuple[Any, Any]:
            if tensor.device.type == "cpu":
                return tensor.device, tensor.detach().clone()
            return tensor.device, tensor.cpu()

        def unpack(packed: tuple[Any, Any]) -> Any:
            device, tensor = packed
            return tensor.to(device)

        super().__init__(pack, unpack)


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Inside, setting hooks on saved tensors is a RuntimeError with this message."""
    before = packing.state.refused
    if packing.current() is not None:
        raise RuntimeError(error_message)
    packing.state.refused = error_message
    try:
        yield
    finally:
        packing.state.refused = before


class _AllowMutationOnSavedContext:
    """What `allow_mutation_on_saved_tensors` keeps: copies of the tensors that were saved."""

    def __init__(self) -> None:
        self.cloned: dict[int, Any] = {}
        self.open = True

    def clear(self) -> None:
        """Forget the copies; backward through what was recorded is an error from now on."""
        self.cloned.clear()

    def pack(self, tensor: Any) -> int:
        """Keep a copy."""
        number = len(self.cloned)
        self.cloned[number] = tensor.detach().clone()
        return number

    def unpack(self, number: int) -> Any:
        """The copy."""
        if number not in self.cloned:
            raise AssertionError(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context"
                "in which the graph was originally recorded."
            )
        return self.cloned[number]


_allowing: list[_AllowMutationOnSavedContext] = []


@contextlib.contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[_AllowMutationOnSavedContext]:
    """Inside, tensors saved for backward may be changed in place: copies of them are kept.

    Backward must run inside as well. RuntimeError when nested.
    """
    if _allowing:
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    context = _AllowMutationOnSavedContext()
    _allowing.append(context)
    try:
        with saved_tensors_hooks(context.pack, context.unpack):
            yield context
    finally:
        context.clear()
        _allowing.remove(context)


# ---------------------------------------------------------------- several gradients
class _MultiHandle(RemovableHandle):
    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        super().__init__({})
        self._handles = tuple(handles)

    def remove(self) -> None:
        """Take all the hooks away."""
        for handle in self._handles:
            handle.remove()


class _Together:
    """Collects the gradients of several nodes in one run of the engine."""

    def __init__(self, nodes: Sequence[Node], fn: Callable[..., None], mode: str) -> None:
        self.nodes, self.fn, self.mode = list(nodes), fn, mode
        self.seen: dict[int, Any] = {}

    def hook(self, place: int) -> Callable[[Any], None]:
        def note(grad: Any) -> None:
            if place in self.seen:  # of a run that failed
                self.seen.clear()
            first = not self.seen
            self.seen[place] = grad
            waiting = any(
                k not in self.seen and (n.dep > 0 or n.g is not None)
                for k, n in enumerate(self.nodes)
            )
            if self.mode == "any":
                if not waiting:
                    self.seen.clear()
                if first:
                    self.fn(grad)
                return
            if not waiting:
                grads = [self.seen.get(k) for k in range(len(self.nodes))]
                self.seen.clear()
                self.fn(grads)

        return note


def register_multi_grad_hook(
    tensors: Sequence[Any], fn: Callable[..., None], *, mode: str = "all"
) -> RemovableHandle:
    """Call `fn` once in a backward for several tensors.

    In the `mode` "all" with the list of their gradients (None: none came) when all are known, in
    the mode "any" with the first of them. ValueError for another mode.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    if any(t._gf is None for t in tensors):
        raise AssertionError("Expected gradient function to be set")
    nodes = [t._gf for t in tensors]
    together = _Together(nodes, fn, mode)
    return _MultiHandle([add_hook(n, "pre", together.hook(k)) for k, n in enumerate(nodes)])


# ---------------------------------------------------------------- settings without effect here
_settings = {"stream mismatch": True, "stale capture stream": False}


def set_warn_on_accumulate_grad_stream_mismatch(enabled: bool) -> None:
    """Whether to warn of gradients that come from another stream; the CPU has but one."""
    _settings["stream mismatch"] = bool(enabled)


def set_override_stale_capture_stream(enabled: bool) -> None:
    """Whether gradients leave a stream whose capture has ended; the CPU has but one."""
    _settings["stale capture stream"] = bool(enabled)


__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
    "set_override_stale_capture_stream",
    "set_warn_on_accumulate_grad_stream_mismatch",
]
