"""Vector-Jacobian products through levels: the tape lies below all of them.

A gradient "at a level of `vmap`" is one gradient per example: the tensor it is taken with respect
to is spread over the examples first (`fresh`), and examples do not mix. A gradient of a dual
tensor is dual: derivatives commute, so its tangent is the gradient of the tangent. What remains
when both are peeled off is a run of the engine, over arrays or, where a gradient is itself wrapped
or has to be differentiable, over tensors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..tensor.core import from_array, storage_of
from . import engine
from .grad_mode import FAST, is_grad_enabled
from .levels import Wrapped, batched_levels, leaves, level_of
from .node import AccumulateGrad, Node, Push, deliver


class Start(Node):
    """The identity with which a differentiated function's argument begins.

    It is `open` while the function runs: what is computed inside can be differentiated for it, and
    its `past` is hidden, so that a run of the engine inside does not walk through all of it.
    """

    __slots__ = ("e0", "open", "past")

    def __init__(self, past: Node | None) -> None:
        self.dep, self.g, self.hooks = 0, None, None
        self.e0 = self.past = past
        self.open = False

    def bw(self, g: Any, push: Push, keep: bool) -> None:
        if self.e0 is not None:
            deliver(self.e0, g, push)

    bwg = bw


def spread(x: Any, level: Any) -> Any:
    """`x` as a tensor of the `level` of `vmap`, the same for every example."""
    number = level_of(x)
    if number > level.number:
        return x.with_part(spread(x.part, level))
    if number == level.number:
        return x
    return level.wrap(x.unsqueeze(0).expand(level.size, *x.shape))


def spread_over(x: Any, numbers: set[int]) -> Any:
    """`x` spread over the running levels of `vmap` that have these numbers."""
    for level in batched_levels():
        if level.number in numbers:
            x = spread(x, level)
    return x


def levels_in(values: Any) -> set[int]:
    """The numbers of all levels that the tensors in `values` are of."""
    found = set()
    for x in leaves(values):
        while isinstance(x, Wrapped):
            found.add(x.level)
            x = x.part
    return found


def fresh(x: Any, *, connected: bool) -> Any:
    """A tensor equal to `x` that begins a tape of its own, `connected` with the past or not."""
    if isinstance(x, Wrapped):
        return x.with_part(fresh(x.part, connected=connected))
    out = from_array(x._d)
    out._s = storage_of(x)
    out._gf = Start(x._gf if connected else None)
    return out


def begin(x: Any, *, connected: bool | None = None) -> Any:
    """`fresh` with one value for each example of the levels of `vmap` that run."""
    for level in batched_levels():
        x = spread(x, level)
    return fresh(x, connected=is_grad_enabled() if connected is None else connected)


@contextlib.contextmanager
def running(starts: Sequence[Any]) -> Iterator[None]:
    """The time in which the function that `starts` are the arguments of runs, or its backward."""
    nodes = [bottom(s)._gf for s in starts]
    for n in nodes:
        n.open, n.e0 = True, None
    try:
        yield
    finally:
        for n in nodes:
            n.open, n.e0 = False, n.past


def bottom(x: Any) -> Any:
    """The ordinary tensor that facts of `x` are read from in the end."""
    while isinstance(x, Wrapped):
        x = x.part
    return x


# ---------------------------------------------------------------- gradients
Gradients = list[Any]
Pull = Callable[[Sequence[Any], Sequence[Any], Sequence[Any]], Gradients]


def pull(
    outs: Sequence[Any], sources: Sequence[Any], cotangents: Sequence[Any], *, create: bool
) -> Gradients:
    """The gradients of `outs` for `sources` along `cotangents`; None where there is none.

    The tape is kept. `create` says whether what is done is recorded.
    """
    top = max([level_of(x) for x in (*outs, *sources)], default=0)
    if not top:
        return _run(outs, sources, cotangents, create)
    wrapped = next(x for x in (*outs, *sources) if level_of(x) == top)

    def below(o: Sequence[Any], s: Sequence[Any], v: Sequence[Any]) -> Gradients:
        return pull(o, s, v, create=create)

    found: Gradients = wrapped.pull_at(top, outs, sources, cotangents, below)
    return found


def _run(
    outs: Sequence[Any], sources: Sequence[Any], cotangents: Sequence[Any], create: bool
) -> Gradients:
    pairs = [
        (o, v) for o, v in zip(outs, cotangents, strict=True) if o._gf is not None and v is not None
    ]
    targets = [s._gf for s in sources]
    if not pairs or not any(targets):
        return [None] * len(sources)
    recorded = create or any(isinstance(v, Wrapped) for _, v in pairs)
    grads = [v if recorded else v._d for _, v in pairs]
    live = [t for t in targets if t is not None]
    found = iter(engine.gradients([o._gf for o, _ in pairs], grads, live, True, recorded, create))
    caught = [None if t is None else next(found) for t in targets]
    if recorded:
        return caught if create else [None if g is None else detached(g) for g in caught]
    return [None if g is None else from_array(g) for g in caught]


def depends_on_others(outs: Sequence[Any], starts: Sequence[Any]) -> bool:
    """Whether the tape of `outs` leads to anything but `starts` that can receive a gradient."""
    own = {id(bottom(s)._gf) for s in starts}
    stack = [x._gf for o in outs for x in _ordinary(o) if x._gf is not None]
    seen: set[int] = set()
    while stack:
        n = stack.pop()
        if id(n) in seen:
            continue
        seen.add(id(n))
        if isinstance(n, AccumulateGrad):
            return True
        if isinstance(n, Start):
            # That of a function which has ended passes gradients on, but nobody asks for its own.
            mine = id(n) in own
            if (n.open and not mine) or (n.past is not None and mine):
                return True
            if n.past is not None:
                stack.append(n.past)
            continue
        stack.extend(e for e in n.edges() if e is not None)
    return False


def _ordinary(x: Any) -> list[Any]:
    """The ordinary tensors that `x` is made of."""
    if not isinstance(x, Wrapped):
        return [x]
    return [y for part in x.parts() for y in _ordinary(part)]


def zeros_like(x: Any) -> Any:
    """Zeros for a gradient of `x`."""
    return FAST["F"].zeros_like(x)


def detached(x: Any) -> Any:
    """`x` off the tape, with the levels that it has."""
    return x.rewrapped(detached) if isinstance(x, Wrapped) else x.detach()
