"""`ElementwiseOptimizer`: what is left of an optimizer when its update is one rule per element."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from ..autograd import enable_grad, no_grad
from ..tensor import Tensor
from ..tensor import functions as fl
from ..tensor.updates import Row, Rule, apply_rule_, apply_to_tensors_, count_
from .optimizer import Optimizer, evaluate, scalar_state

__all__ = ["ElementwiseOptimizer", "lerp"]


def lerp(a: Any, b: Any, weight: Any, late: bool) -> Any:
    """``a`` moved towards ``b`` by `weight`, or, if `late`, to `weight` short of ``b``.

    The late form is for moves by half and more: like PyTorch's, it gives ``b`` for a whole move.
    """
    return b + weight * (a - b) if late else a + weight * (b - a)


class ElementwiseOptimizer(Optimizer):
    """An optimizer whose step applies one scalar `rule` to every element of every parameter.

    A subclass gives the rule, the names of its state tensors, how the step count and other scalars
    advance, and the rule's coefficients. PyTorch's options ``foreach``, ``fused`` and
    ``capturable`` choose between implementations; here there is one, so they are accepted and
    change nothing. ``differentiable`` records the step, as in PyTorch.
    """

    rule: Rule
    sparse_hint = ""

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        """Names of the state tensors shaped like the parameter, in the order of the rule."""
        return ()

    def begin(self, group: dict[str, Any], p: Tensor) -> dict[str, Any]:
        """The state of a parameter that is updated for the first time."""
        buffers = {name: fl.zeros_like(p) for name in self.buffers(group)}
        return {"step": scalar_state(0.0), **buffers}

    def state_of(self, group: dict[str, Any], p: Tensor) -> dict[str, Any]:
        """The state of `p`, made by `begin` where there is none."""
        state = self.state[p]
        if not state:
            state.update(self.begin(group, p))
        return state

    def advance_(self, group: dict[str, Any], p: Tensor, state: dict[str, Any]) -> Hashable:
        """Count one more step; returns what the coefficients depend on besides the options."""
        return count_(state["step"])

    def coefficients(self, group: dict[str, Any], key: Any) -> dict[str, Any]:
        """The rule's keyword arguments for the parameters whose `advance_` returned `key`."""
        raise NotImplementedError

    def take_sparse_(self, group: dict[str, Any], p: Tensor, g: Tensor) -> None:
        """Change `p` once by its sparse gradient; RuntimeError where the algorithm has no way."""
        raise RuntimeError(
            f"{type(self).__name__} does not support sparse gradients{self.sparse_hint}"
        )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once by their gradients; returns ``closure()`` if that is given."""
        loss = evaluate(closure)
        for group in self.param_groups:
            self._update_group_(group)
        return loss

    def _update_group_(self, group: dict[str, Any]) -> None:
        names = self.buffers(group)
        batches: dict[Hashable, list[Row]] = {}
        for p in group["params"]:
            g = p.grad
            if g is None:
                continue
            if g.is_sparse:
                with no_grad():
                    self.take_sparse_(group, p, g)
                continue
            state = self.state_of(group, p)
            key = self.advance_(group, p, state)
            batches.setdefault(key, []).append((p, g, *[state[name] for name in names]))
        recorded = group.get("differentiable", False)
        for key, rows in batches.items():
            options = group if recorded else _plain_options(group)
            coefficients = self.coefficients(options, key)
            if recorded:
                with enable_grad():
                    for row in rows:
                        apply_to_tensors_(self.rule, row, coefficients)
            else:
                apply_rule_(self.rule, rows, coefficients, together=not self._repeats)


def _plain_options(group: dict[str, Any]) -> dict[str, Any]:
    """A group's options with plain numbers in place of 0-d tensors and NumPy scalars."""
    return {name: _plain(value) for name, value in group.items() if name != "params"}


def _plain(value: Any) -> Any:
    if value is None or type(value) in (bool, float, int, str):
        return value
    if isinstance(value, tuple):
        return tuple(_plain(v) for v in value)
    item = getattr(value, "item", None)  # NumPy scalars are strongly typed, unlike Python's numbers
    return value if item is None else item()
