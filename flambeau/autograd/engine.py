"""The engine: runs the tape backwards.

Pass one counts, in the nodes' own slots, how many gradients each node waits for; pass two runs
every node whose gradients have all arrived. One run at a time has the slots (a lock); a run started
from inside another one (a hook, a checkpoint) puts the outer run's slots aside for its own
duration.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..compiler import allocator
from . import anomaly
from .grad_mode import switch
from .node import Node, hooks_of

_lock = threading.RLock()
_depth = 0
_NEVER = -(1 << 60)


class _Root(Node):
    """Stands above several roots, so that each of them may depend on another."""

    __slots__ = ("more",)

    def __init__(self, roots: Iterable[Node]) -> None:
        self.dep, self.g, self.hooks = 0, None, None
        self.more = tuple(roots)


def _count(root: Node) -> None:
    stack = [root]
    push, pop = stack.append, stack.pop
    while stack:
        n = pop()
        e = n.e0
        if e is not None:
            if not e.dep:
                push(e)
            e.dep += 1
        e = n.e1
        if e is not None:
            if not e.dep:
                push(e)
            e.dep += 1
        for e in n.more:
            if e is not None:
                if not e.dep:
                    push(e)
                e.dep += 1


def _reachable(root: Node) -> list[Node]:
    seen, stack, found = {id(root)}, [root], []
    while stack:
        n = stack.pop()
        found.append(n)
        for e in (n.e0, n.e1, *n.more):
            if e is not None and id(e) not in seen:
                seen.add(id(e))
                stack.append(e)
    return found


def _clear(root: Node) -> None:
    for n in _reachable(root):
        n.dep, n.g = 0, None


def _needed(root: Node, targets: set[int]) -> set[int]:
    """The nodes from which a target can be reached, targets included."""
    needed: set[int] = set()
    state: dict[int, int] = {}
    stack: list[Node] = [root]
    while stack:
        n = stack[-1]
        edges = [e for e in (n.e0, n.e1, *n.more) if e is not None]
        if state.get(id(n), 0) == 0:
            state[id(n)] = 1
            stack.extend(e for e in edges if state.get(id(e), 0) == 0)
            continue
        stack.pop()
        if state[id(n)] == 1:
            state[id(n)] = 2
            if id(n) in targets or any(id(e) in needed for e in edges):
                needed.add(id(n))
    return needed


def _run(ready: list[Node], keep: bool, create: bool) -> None:
    push, pop = ready.append, ready.pop
    try:
        if anomaly.is_enabled():
            while ready:
                n = pop()
                g, n.g = n.g, None
                anomaly.run_checked(n, g, push, keep, create)
        elif create:
            while ready:
                n = pop()
                g, n.g = n.g, None
                n.bwg(g, push, keep)
        else:
            while ready:
                n = pop()
                g = n.g
                n.g = None
                n.bw(g, push, keep)
    except MemoryError as error:
        raise allocator.out_of_memory(f"backward: {error}") from None


def execute(roots: Sequence[Node], grads: Sequence[Any], keep: bool, create: bool) -> None:
    """Run the tape from `roots`, whose gradients are `grads`, down to the leaves.

    Gradients are raw arrays, or Tensors when `create` says that the run is itself recorded.
    """
    global _depth
    if len(roots) == 1 and not _depth:
        with _lock:
            root = roots[0]
            _depth += 1
            before = switch(create)
            try:
                _count(root)
                root.g = grads[0]
                _run([root], keep, create)
            except BaseException:
                _clear(root)
                raise
            finally:
                switch(*before)
                _depth -= 1
        return
    _execute_general(_Root(roots), roots, grads, keep, create, None)


def _execute_general(
    root: _Root,
    roots: Sequence[Node],
    grads: Sequence[Any],
    keep: bool,
    create: bool,
    targets: set[int] | None,
    record: bool | None = None,
) -> None:
    global _depth
    with _lock:
        stash = [(n, n.dep, n.g) for n in _reachable(root)] if _depth else []
        for n, _, _ in stash:
            n.dep, n.g = 0, None
        _depth += 1
        before = switch(create if record is None else record)
        try:
            _count(root)
            if targets is not None:
                needed = _needed(root, targets)
                for n in _reachable(root):
                    if id(n) not in needed:
                        n.dep = _NEVER
            ready: list[Node] = []
            for n, g in zip(roots, grads, strict=True):
                n.g = g if n.g is None else n.g + g
                n.dep -= 1
                if n.dep == 0:
                    ready.append(n)
            _run(ready, keep, create)
        finally:
            _clear(root)
            for n, dep, held in stash:
                n.dep, n.g = dep, held
            switch(*before)
            _depth -= 1


def gradients(
    roots: Sequence[Node],
    grads: Sequence[Any],
    targets: Sequence[Node],
    keep: bool,
    create: bool,
    record: bool | None = None,
) -> list[Any]:
    """The gradients that arrive at the `targets`; no leaf is touched. None where none arrives.

    `create` says that gradients are Tensors, `record` that the run is recorded (as `create`, if
    not given).
    """
    caught: dict[int, Any] = {}
    root = _Root(roots)
    ids = {id(t) for t in targets}
    below = {
        id(t)
        for t in targets
        if any(id(n) in ids for e in t.edges() if e is not None for n in _reachable(e))
    }

    def catch(node: Node) -> None:
        hooks = hooks_of(node)
        hooks.capture = lambda g: caught.__setitem__(id(node), g)
        hooks.proceed = id(node) in below

    with _lock:
        # An outer run, whose hook started this one, may be after the same nodes.
        before = [(h, h.capture, h.proceed) for h in map(hooks_of, targets)]
        for t in targets:
            catch(t)
        try:
            _execute_general(root, roots, grads, keep, create, ids, record)
        finally:
            for hooks, capture, proceed in before:
                hooks.capture, hooks.proceed = capture, proceed
    return [caught.get(id(t)) for t in targets]


def ones_like(array: Any) -> Any:
    """The gradient a scalar root starts from."""
    return np.ones(array.shape, array.dtype)
