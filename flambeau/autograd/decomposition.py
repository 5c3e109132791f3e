"""Differentiating one op's decomposition: second derivatives of fused ops come from here."""

from __future__ import annotations

from typing import Any

from . import engine
from .grad_mode import FAST, enable_grad, is_grad_enabled
from .node import Node, Push, deliver


class _Gate(Node):
    """An identity whose edge stays hidden while the decomposition is differentiated."""

    __slots__ = ("e0",)

    def __init__(self) -> None:
        self.dep, self.g, self.hooks = 0, None, None
        self.e0 = None

    def bw(self, g: Any, push: Push, keep: bool) -> None:
        if self.e0 is not None:
            deliver(self.e0, g, push)

    bwg = bw


def differentiate(op: Any, values: dict[str, Any], wanted: list[str], g: Any) -> list[Any]:
    """Gradients of `op` at the argument `values`, recorded in terms of these values and of `g`."""
    from ..tensor.core import from_array, storage_of

    gates: dict[str, _Gate] = {}
    stand_ins = dict(values)
    for name in wanted:
        alias = from_array(values[name]._d)
        alias._s = storage_of(values[name])
        gates[name] = alias._gf = _Gate()
        stand_ins[name] = alias
    with enable_grad():
        out = op.decompose(FAST["F"], **stand_ins)
    outs, grads = (list(out), list(g)) if isinstance(out, tuple) else ([out], [g])
    pairs = [(o._gf, h) for o, h in zip(outs, grads, strict=True) if o._gf is not None]
    recording = is_grad_enabled()
    results = engine.gradients(
        [n for n, _ in pairs], [h for _, h in pairs], [gates[n] for n in wanted], True, True,
        recording,
    )  # fmt: skip
    for name, gate in gates.items():
        gate.e0 = values[name]._gf if recording else None
    return results
