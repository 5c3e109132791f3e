"""Nodes of the tape.

An edge leads to the node that produced a tensor, never to the tensor; a leaf's node is an
`AccumulateGrad` holding a weak reference to it. ``dep`` and ``g`` are scratch space of one run of
the engine: gradients still expected, and their sum so far. A node's ``bw(g, push, keep)`` works on
raw arrays and adds into its edges; ``bwg`` does the same on tensors, recording what it does.

Hooks cost nothing while unused: the first one swaps the node's class for a hooked subclass.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

Push = Callable[["Node"], None]


class Node:
    """The record of one operation. ``e0``, ``e1`` and ``more`` are its edges."""

    __slots__ = ("__weakref__", "at", "dep", "g", "hooks")
    e0: Node | None = None
    e1: Node | None = None
    more: tuple[Node | None, ...] = ()
    saved_names: tuple[str, ...] = ()

    def bw(self, g: Any, push: Push, keep: bool) -> None:
        """Pass the gradient `g` (a raw array) to the edges; free what was saved unless `keep`."""
        raise NotImplementedError(f"{type(self).__name__} has no derivative")

    def bwg(self, g: Any, push: Push, keep: bool) -> None:
        """`bw` on tensors, recorded."""
        raise NotImplementedError(f"{type(self).__name__} has no second derivative")

    def edges(self) -> list[Node | None]:
        """All edges in order."""
        arity = 2 if type(self).e1 is not None else 1 if type(self).e0 is not None else 0
        return [self.e0, self.e1][:arity] + list(self.more)

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """The nodes this one passes gradients to, each with its output's number."""
        return tuple((None, 0) if e is None else e.as_edge() for e in self.edges())

    def as_edge(self) -> tuple[Node, int]:
        """The node a reader sees behind this edge, and the output it stands for."""
        return (self, 0)

    def name(self) -> str:
        """The name PyTorch gives the node, as ``MulBackward0``."""
        return type(self).__name__

    def register_hook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call ``fn(grad_inputs, grad_outputs)`` after the node has run."""
        return add_hook(self, "post", fn)

    def register_prehook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call ``fn(grad_outputs)`` before the node runs."""
        return add_hook(self, "node_pre", fn)

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for the user's own notes on the node."""
        return hooks_of(self).metadata

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


def deliver(e: Node, r: Any, push: Push) -> None:
    """Add the gradient `r` to what the edge `e` has received so far."""
    e.g = r if e.g is None else e.g + r
    e.dep -= 1
    if not e.dep:
        push(e)


def skip(e: Node, push: Push) -> None:
    """Tell the edge `e` that no gradient comes from here; without any, it does not run either."""
    stack = [e]
    while stack:
        e = stack.pop()
        e.dep -= 1
        if e.dep:
            continue
        if e.g is not None:
            push(e)
        else:
            stack.extend(below for below in e.edges() if below is not None)


class AccumulateGrad(Node):
    """The node of a leaf: adds what arrives to the leaf's ``grad``."""

    __slots__ = ("leaf",)

    def __init__(self, tensor: Any) -> None:
        self.dep, self.g, self.hooks = 0, None, None
        self.leaf = weakref.ref(tensor)

    def bw(self, g: Any, push: Push, keep: bool) -> None:
        tensor = self.leaf()
        if tensor is not None:
            tensor._accumulate(g)

    def bwg(self, g: Any, push: Push, keep: bool) -> None:
        tensor = self.leaf()
        if tensor is not None:
            tensor._grad = g if tensor._grad is None else tensor._grad + g

    @property
    def variable(self) -> Any:
        """The leaf."""
        return self.leaf()


class OutputSlot(Node):
    """One output of a node that has several: collects the gradient of that output."""

    __slots__ = ("e0", "index")

    def __init__(self, node: MultiNode, index: int) -> None:
        self.dep, self.g, self.hooks = 0, None, None
        self.e0, self.index = node, index

    def bw(self, g: Any, push: Push, keep: bool) -> None:
        node = self.e0
        if node.g is None:
            node.g = [None] * node.outputs
        held = node.g[self.index]  # from another slot of the same output
        node.g[self.index] = g if held is None else held + g
        node.dep -= 1
        if not node.dep:
            push(node)

    bwg = bw

    def as_edge(self) -> tuple[Node, int]:
        return (self.e0, self.index)


class MultiNode(Node):
    """A node with several outputs; its ``g`` is a list with None where no gradient came."""

    __slots__ = ("outputs",)


class RemovableHandle:
    """What `register_hook` returns; ``remove()`` takes the hook away."""

    _next = 0

    def __init__(self, hooks: dict[int, Any]) -> None:
        self.id = RemovableHandle._next
        RemovableHandle._next += 1
        self._hooks = hooks

    def remove(self) -> None:
        """Take the hook away; harmless when it is gone already."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Hooks:
    """The hooks of one node, and where the engine catches the gradient that passes it."""

    __slots__ = ("capture", "metadata", "node_pre", "packed", "post", "pre", "proceed", "retain")

    def __init__(self) -> None:
        self.pre: dict[int, Any] = {}
        self.node_pre: dict[int, Any] = {}
        self.post: dict[int, Any] = {}
        self.retain: Any = None
        self.capture: Callable[[Any], None] | None = None
        self.proceed = True
        self.metadata: dict[Any, Any] = {}
        self.packed: Any = None
        """What stands for the saved tensors, with ``unpack(node)`` and ``hide(node)``."""


class _Catcher(Node):
    """Stands for an edge while a node with post-hooks runs."""

    __slots__ = ()

    def __init__(self) -> None:
        self.dep, self.g = 1, None


def collect(node: Node, g: Any, keep: bool, recorded: bool) -> list[Any]:
    """Run `node` alone and return the gradient for each edge (None where there is none)."""
    plain = unhooked(type(node))
    e0, e1, more = node.e0, node.e1, node.more
    catchers = [None if e is None else _Catcher() for e in node.edges()]
    rest = list(catchers)
    if type(node).e0 is not None:
        node.e0 = rest.pop(0)
    if type(node).e1 is not None:
        node.e1 = rest.pop(0)
    if more:
        node.more = tuple(rest)
    try:
        run = plain.bwg if recorded else plain.bw
        if isinstance(node, Hooked) and node.hooks.packed is not None:
            run_packed(node, run, g, _ignore, keep)
        else:
            run(node, g, _ignore, keep)
    finally:
        if type(node).e0 is not None:
            node.e0 = e0
        if type(node).e1 is not None:
            node.e1 = e1
        if more:
            node.more = more
    return [None if c is None else c.g for c in catchers]


def _ignore(node: Node) -> None:
    return None


_HOOKED: dict[type[Node], type[Node]] = {}


class Hooked:
    """Marks the classes made by `hooked`."""

    __slots__ = ()


def unhooked(cls: type[Node]) -> type[Node]:
    """The class that `cls` is the hooked form of, or `cls`."""
    return cls.__mro__[1] if issubclass(cls, Hooked) else cls


def hooked(cls: type[Node]) -> type[Node]:
    """The subclass of `cls` that runs hooks."""
    made = _HOOKED.get(cls)
    if made is None:

        def bw(n: Any, g: Any, push: Push, keep: bool) -> None:
            run_hooked(n, cls, g, push, keep, recorded=False)

        def bwg(n: Any, g: Any, push: Push, keep: bool) -> None:
            run_hooked(n, cls, g, push, keep, recorded=True)

        space = {"__slots__": (), "bw": bw, "bwg": bwg}
        made = _HOOKED[cls] = type(cls.__name__, (cls, Hooked), space)
    return made


def wrap_gradient(g: Any) -> Any:
    """The array `g` as a Tensor; the tensor package beside this one puts its own in place."""
    raise RuntimeError("flambeau.tensor is not imported")


def unwrap_gradient(t: Any) -> Any:
    """The array of the Tensor `t`; put in place as `wrap_gradient` is."""
    raise RuntimeError("flambeau.tensor is not imported")


def _boxed(g: Any, recorded: bool) -> Any:
    if g is None or recorded:
        return g
    return wrap_gradient(g)


def _unboxed(g: Any, recorded: bool) -> Any:
    return g if g is None or recorded else unwrap_gradient(g)


def run_hooked(n: Any, cls: type[Node], g: Any, push: Push, keep: bool, *, recorded: bool) -> None:
    """Run a node of class `cls` with its hooks around it."""
    hooks: Hooks = n.hooks
    if hooks.pre or hooks.retain is not None:
        t = _boxed(g, recorded)
        for fn in list(hooks.pre.values()):
            answer = fn(t)
            if answer is not None:
                t = answer
        if hooks.retain is not None and hooks.proceed:
            hooks.retain(t)
        g = _unboxed(t, recorded)
    if hooks.capture is not None:
        hooks.capture(g)
        if not hooks.proceed:
            return
    if not hooks.post and not hooks.node_pre:
        run = cls.bwg if recorded else cls.bw
        if hooks.packed is None:
            run(n, g, push, keep)
        else:
            run_packed(n, run, g, push, keep)
        return
    _run_with_node_hooks(n, cls, g, push, keep, recorded)


def run_packed(n: Any, run: Callable[..., None], g: Any, push: Push, keep: bool) -> None:
    """Run a node whose saved tensors were packed: they are there for this time only."""
    packed = n.hooks.packed
    packed.unpack(n)
    try:
        run(n, g, push, keep)
    finally:
        if keep:
            packed.hide(n)
        else:
            n.hooks.packed = None


def _run_with_node_hooks(
    n: Any, cls: type[Node], g: Any, push: Push, keep: bool, recorded: bool
) -> None:
    hooks: Hooks = n.hooks
    many = isinstance(n, MultiNode) and n.outputs > 1
    outputs = tuple(_boxed(x, recorded) for x in (g if many else [g]))
    for fn in list(hooks.node_pre.values()):
        answer = fn(outputs)
        if answer is not None:
            outputs = answer if isinstance(answer, tuple) else (answer,)
    raw = [_unboxed(x, recorded) for x in outputs]
    if isinstance(n, AccumulateGrad):
        (cls.bwg if recorded else cls.bw)(n, raw[0], push, keep)
        for fn in list(hooks.post.values()):
            fn((), outputs)
        return
    inputs = tuple(_boxed(x, recorded) for x in collect(n, raw if many else raw[0], keep, recorded))
    for fn in list(hooks.post.values()):
        answer = fn(inputs, outputs)
        if answer is not None:
            inputs = answer if isinstance(answer, tuple) else (answer,)
    for e, r in zip(n.edges(), inputs, strict=True):
        if e is not None:
            if r is None:
                skip(e, push)
            else:
                deliver(e, _unboxed(r, recorded), push)


def hooks_of(node: Node) -> Hooks:
    """The node's hooks, made (and the class swapped) at the first call."""
    if not isinstance(node, Hooked):
        node.hooks = Hooks()
        node.__class__ = hooked(type(node))
    held: Hooks = node.hooks
    return held


def move_retention(old: Node | None, new: Node | None) -> None:
    """Let the gradient that `old` keeps for its tensor be kept by `new`, the tensor's new node."""
    if new is not None and new is not old and isinstance(old, Hooked) and old.hooks.retain:
        hooks_of(new).retain, old.hooks.retain = old.hooks.retain, None


def add_hook(node: Node, kind: str, fn: Callable[..., Any]) -> RemovableHandle:
    """Add `fn` to the hooks of this `kind`: "pre" (on the gradient), "node_pre" or "post"."""
    table: dict[int, Any] = getattr(hooks_of(node), kind)
    handle = RemovableHandle(table)
    table[handle.id] = fn
    return handle


def sum_to_shape(g: Any, shape: tuple[int, ...]) -> Any:
    """Fold the array `g` back onto the `shape` that was broadcast to it."""
    extra = g.ndim - len(shape)
    if extra:
        g = g.sum(tuple(range(extra)))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    if axes:
        g = g.sum(axes, keepdims=True)
    return np.asarray(g)
