"""Views: results that share memory with their input, and what in-place changes do to their history.

A view knows the tensor it looks at and the op that made it, so the path from the base can be
replayed on any array of the base's shape. When a view is changed in place, the base gets a
`CopySlices` node, and every other live view is given a fresh history from the new base.
"""

from __future__ import annotations

import gc
from sys import getrefcount
from typing import Any

import numpy as np

from ..autograd.grad_mode import FAST, is_grad_enabled
from ..autograd.node import Node, Push, collect, deliver, move_retention, skip
from ..ops.record import Op
from . import core
from .core import base_of, from_array, is_leaf_node, storage_of


def shares_memory(a: Any, b: Any) -> bool:
    """Whether NumPy made `a` as a view of `b` or of what `b` is a view of."""
    base = a.base
    return base is not None and (base is b or base is b.base or _root(a) is _root(b))


def _root(a: Any) -> Any:
    while isinstance(a.base, np.ndarray):
        a = a.base
    return a if a.base is None else a.base  # which may be any object that has memory


def link(out: Any, source: Any, op: Op, args: tuple[Any, ...], number: int | None) -> None:
    """Make `out` a view of `source`: output `number` of `op` with `args` after the tensor."""
    s = source._s
    if s is None:
        s = source._s = storage_of(source)
    out._s = s
    recorded = FAST["PLAIN"] or is_grad_enabled()
    out._view = (source, op if recorded else None, args, number)


def view_outside_tape(t: Any, d: Any, op: Op, args: tuple[Any, ...]) -> Any:
    """The tensor over `d`, which `op` with `args` made as a view of the plain tensor `t`."""
    s = t._s
    if s is None:
        s = storage_of(t)
    out = core.new_tensor()
    out._d = d
    out._t = t._t
    out._s = s
    out._v = 0
    out._gf = out._grad = None
    out._view = (t, op if FAST["PLAIN"] or is_grad_enabled() else None, args, None)
    return out


Path = list[tuple[Op, tuple[Any, ...], int | None]]


def path_of(view: Any) -> Path:
    """The steps from the base to `view`: each an op, its arguments and the number of its output."""
    steps: Path = []
    while view._view is not None:
        steps.append(view._view[1:])
        view = view._view[0]
    return steps[::-1]


def replay(path: Path, array: Any) -> Any:
    """The view that `path` leads to, taken of an array like the base's."""
    for op, args, number in path:
        array = op.forward(array, **dict(zip(_names(op), args, strict=True)))
        if number is not None:
            array = array[number]
    return array


def _names(op: Op) -> list[str]:
    return [n for n in op.signature.parameters if n != op.tensors[0]]


def replay_on_tensor(path: Path, base: Any) -> Any:
    """The view that `path` leads to, taken of the tensor `base`."""
    for op, args, number in path:
        base = getattr(FAST["F"], op.name)(base, **dict(zip(_names(op), args, strict=True)))
        if number is not None:
            base = base[number]
    return base


def memory_order(d: Any) -> tuple[int, ...]:
    """The axes of `d` from the longest stride to the shortest; () where that is the usual order."""
    if d.flags.c_contiguous:
        return ()
    return tuple(sorted(range(d.ndim), key=lambda axis: -d.strides[axis]))


class CopySlices(Node):
    """The base's node after a view of it was changed in place by the operation ``inner``."""

    __slots__ = ("e0", "inner", "more", "order", "path")

    def __init__(self, before: Node | None, inner: Node, view: Any) -> None:
        self.dep, self.g, self.hooks = 0, None, None
        self.e0, self.inner, self.path = before, inner, path_of(view)
        # The path may be one that only memory in the base's order can go.
        self.order = memory_order(base_of(view)._d)
        # The inner node's first edge is the view's own past; it is reached through the base.
        self.more = tuple(inner.edges())

    def bw(self, g: Any, push: Push, keep: bool) -> None:
        order = self.order
        whole = g.transpose(order).copy().transpose(np.argsort(order)) if order else g.copy()
        part = replay(self.path, whole)
        results = collect(self.inner, part.copy(), keep, recorded=False)
        # What flows to the view's past lies in the base's gradient: the first edge that is not None
        # belongs to the view exactly when the view had a past.
        part[...] = 0
        self._pass(whole, part, results, push)

    def _pass(self, whole: Any, part: Any, results: list[Any], push: Push) -> None:
        past = self.e0
        for position, (e, r) in enumerate(zip(self.more, results, strict=True)):
            if e is None:
                continue
            if position == 0 and isinstance(e, _ViewPast):
                if r is not None:
                    part[...] = r
                e.dep -= 1
                continue
            if r is None:
                skip(e, push)
            else:
                deliver(e, r, push)
        if past is not None:
            deliver(past, whole, push)

    def bwg(self, g: Any, push: Push, keep: bool) -> None:
        F = FAST["F"]
        holder, order = g, self.order
        if order:
            holder = F.permute(
                F.clone(F.permute(g, order).contiguous()), np.argsort(order).tolist()
            )
        else:
            holder = F.clone(g.contiguous())
        part = replay_on_tensor(self.path, holder)
        results = collect(self.inner, F.clone(part), keep, recorded=True)
        first = results[0] if results and isinstance(self.more[0], _ViewPast) else None
        if first is None:
            part.zero_()
        else:
            part.copy_(first)
        for e, r in zip(self.more, results, strict=True):
            if e is None or isinstance(e, _ViewPast):
                continue
            if r is None:
                skip(e, push)
            else:
                deliver(e, r, push)
        if self.e0 is not None:
            deliver(self.e0, holder, push)


class _ViewPast(Node):
    """Marks, inside an in-place operation on a view, the edge that leads to the view's own past."""

    __slots__ = ()

    def __init__(self) -> None:
        self.dep, self.g, self.hooks = 0, None, None

    def bw(self, g: Any, push: Push, keep: bool) -> None:
        return None

    bwg = bw


def view_alias(view: Any) -> Any:
    """A tensor over the view's memory whose only past is the marker that `CopySlices` looks for."""
    alias = from_array(view._d)
    alias._gf = _ViewPast()
    return alias


def rebase(view: Any, inner: Node | None, where: str) -> None:
    """Give the base of `view` the history of an in-place change by `inner`, and renew views."""
    check_view(view, where)
    base = base_of(view)
    if inner is not None:
        node = CopySlices(base._gf, inner, view)
        move_retention(base._gf, node)
        base._gf = node
    renew_views(base, view)


def check_view(view: Any, where: str) -> None:
    """Refuse in-place changes of views that the tape cannot follow."""
    t = view
    while t._view is not None:
        _, op, _, number = t._view
        if op is None:
            raise RuntimeError(
                f"A view was created in no_grad mode and is being modified inplace by {where} "
                "with grad mode enabled. Given that this use case is ambiguous and error-prone, it "
                "is forbidden. You can clarify your code by moving both the view and the inplace "
                "either both inside the no_grad block (if you don't want the inplace to be tracked)"
                " or both outside (if you want the inplace to be tracked)."
            )
        if number is not None:
            raise RuntimeError(
                f"Output {number} of {op.name} is a view and is being modified inplace by {where}. "
                "This view is the output of a function that returns multiple views. Such functions "
                "do not allow the output views to be modified inplace. You should replace the "
                "inplace operation by an out-of-place one."
            )
        t = t._view[0]
    if is_leaf_node(t._gf):
        raise RuntimeError(
            "a view of a leaf Variable that requires grad is being used in an in-place operation "
            f"({where})."
        )


def renew_views(base: Any, changed: Any = None, owned: int = 0) -> None:
    """Give every live view of `base` a fresh history, after it or its view `changed` changed.

    Views are not registered anywhere, which keeps making them cheap: those between the base and
    `changed` are known, and when the storage has still more owners than these and the `owned`
    that are no views, the garbage collector is asked.
    """
    s = base._s
    if s is None:
        return
    known = []
    while changed is not None and changed is not base:
        known.append(changed)
        changed = changed._view[0]
    owners = known
    if getrefcount(s) > 3 + len(known) + owned:
        owners = [v for v in gc.get_referrers(s) if isinstance(v, core.TensorCore)]
    for v in owners:
        if v._view is None or v._view[1] is None or base_of(v) is not base:
            continue
        if base._gf is None:
            v._gf = None
        elif v._t.inexact:
            node = replay_on_tensor(path_of(v), base)._gf
            move_retention(v._gf, node)
            v._gf = node
