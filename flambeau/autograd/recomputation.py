"""Functions whose intermediate values are computed again in backward instead of being kept.

The tape of the first run is walked once, to find the tensors outside that it leads to, and thrown
away; one node takes its place. Backward runs the function again and takes the gradients at those
tensors from the new tape (Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import anomaly, engine
from .grad_mode import FAST, enable_grad
from .node import MultiNode, Node, OutputSlot, Push, deliver, skip

Facts = tuple[tuple[int, ...], Any]


class CheckpointError(RuntimeError):
    """A function that was run again in backward did not do what it did in forward."""


class CheckpointNode(MultiNode):
    """Stands for the tape of a function that ``again`` runs once more."""

    __slots__ = ("again", "check", "facts", "more")
    again: Callable[[], Any] | None

    def bw(self, g: Any, push: Push, keep: bool) -> None:
        self._run(g, push, keep, False)

    def bwg(self, g: Any, push: Push, keep: bool) -> None:
        self._run(g, push, keep, True)

    def _run(self, g: Any, push: Push, keep: bool, recorded: bool) -> None:
        if self.again is None:
            from ..tensor.core import raise_freed

            raise_freed(self.name())
            return
        with enable_grad():
            tensors = _recorded_tensors(self.again())
        self._compare(tensors)
        parts = g if self.outputs > 1 else [g]
        pairs = [(t._gf, p) for t, p in zip(tensors, parts, strict=True) if p is not None]
        roots, grads = [node for node, _ in pairs], [p for _, p in pairs]
        found = engine.gradients(roots, grads, self.more, recorded, recorded)
        if not keep:
            self.again = None
        for e, r in zip(self.more, found, strict=True):
            if r is None:
                skip(e, push)
            else:
                deliver(e, r, push)

    def _compare(self, tensors: list[Any]) -> None:
        """CheckpointError unless the second run's results are like the first one's."""
        if not self.check:
            return
        if len(tensors) != len(self.facts):
            raise CheckpointError(
                "A different number of tensors was computed during the original forward and "
                f"recomputation: {len(self.facts)} and {len(tensors)}"
            )
        for i, (t, fact) in enumerate(zip(tensors, self.facts, strict=True)):
            if _fact(t) != fact:
                raise CheckpointError(
                    "Recomputed values for the following tensors have different metadata than "
                    f"during the forward pass: tensor at position {i}: {fact} then, {_fact(t)} now"
                )


def _fact(t: Any) -> Facts:
    return tuple(t.shape), t._t


def _recorded_tensors(value: Any) -> list[Any]:
    """The distinct tensors with a history in nested tuples, lists and dicts."""
    found: dict[int, Any] = {}

    def visit(t: Any) -> Any:
        if t._gf is not None and t._gf.edges():
            found.setdefault(id(t), t)
        return t

    _mapped(value, visit)
    return list(found.values())


def _mapped(value: Any, f: Callable[[Any], Any]) -> Any:
    """`value` with `f` applied to each tensor in its nested tuples, lists and dicts."""
    from ..tensor.core import TensorCore

    if isinstance(value, TensorCore):
        return f(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_mapped(v, f) for v in value))
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(v, f) for v in value)
    if isinstance(value, dict):
        return {k: _mapped(v, f) for k, v in value.items()}
    return value


def _is_inside(n: Node, mark: Any) -> bool:
    """Whether `n` was recorded while `mark` was the place of everything recorded."""
    inner = getattr(n, "inner", None)  # of an in-place change of a view
    if isinstance(inner, Node):
        n = inner
    if isinstance(n, OutputSlot):
        n = n.e0
    return getattr(n, "at", None) is mark


def _boundary(roots: list[Node], mark: Any) -> tuple[Node, ...]:
    """The nodes outside to which the tape below `roots` leads."""
    seen, stack, found = {id(n) for n in roots}, list(roots), []
    while stack:
        n = stack.pop()
        if not _is_inside(n, mark):
            found.append(n)
            continue
        for e in n.edges():
            if e is not None and id(e) not in seen:
                seen.add(id(e))
                stack.append(e)
    return tuple(found)


def recomputed(run: Callable[[], Any], again: Callable[[], Any], check: bool = True) -> Any:
    """What `run` returns; its backward calls `again`, which must compute the same.

    Nothing that `run` saves for its derivatives is kept. Results that it passes on as they came
    keep their history. In backward CheckpointError is raised, if `check`, where the results of
    `again` have other shapes or dtypes.
    """
    mark = (recomputed.__code__, 0)
    before = FAST["TRACE"]
    FAST["TRACE"] = lambda: mark
    try:
        result = run()
    finally:
        FAST["TRACE"] = before
    tensors = [t for t in _recorded_tensors(result) if _is_inside(t._gf, mark)]
    edges = _boundary([t._gf for t in tensors], mark)
    if not edges:
        return result
    node: Any = object.__new__(CheckpointNode)
    node.dep, node.g, node.hooks, node.outputs = 0, None, None, len(tensors)
    node.at = anomaly.caller() if before is None else before()
    node.more, node.again, node.check = edges, again, check
    node.facts = [_fact(t) for t in tensors]
    replaced: dict[int, Any] = {}
    for i, t in enumerate(tensors):
        replaced[id(t)] = fresh = t.detach()
        fresh._gf = node if len(tensors) == 1 else OutputSlot(node, i)
    return _mapped(result, lambda t: replaced.get(id(t), t))
