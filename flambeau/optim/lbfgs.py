"""Limited-memory BFGS, with a line search for the strong Wolfe conditions.

Method: Nocedal and Wright, Numerical Optimization (2nd ed. 2006), algorithms 7.4, 7.5, 3.5 and 3.6,
with the safeguards of Schmidt's minFunc (2005).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..autograd import enable_grad, no_grad
from ..tensor import Tensor
from ..tensor import functions as fl
from .checks import check_lr
from .optimizer import Optimizer, ParamsT

__all__ = ["LBFGS"]

SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9


class LBFGS(Optimizer):
    """Limited-memory BFGS (Liu and Nocedal 1989) over all parameters as one vector.

    ``step`` needs a closure that clears the gradients, computes the loss, calls backward and
    returns the loss; it is called up to `max_eval` times (default ``max_iter * 5 // 4``).
    `line_search_fn` is None (a fixed step `lr`) or ``"strong_wolfe"``. There can be one parameter
    group only (ValueError otherwise).
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Minimise from here by up to `max_iter` iterations; returns the loss at the start.

        Raises RuntimeError for a line search of another name.
        """
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        evaluate = enable_grad()(closure)
        first_loss = evaluate()
        state["func_evals"] += 1
        gradient = self._gather_gradient()
        if _largest(gradient) > group["tolerance_grad"]:
            self._iterate_(evaluate, float(first_loss), gradient, group, state)
        return first_loss

    def _iterate_(
        self,
        evaluate: Callable[[], Any],
        loss: float,
        gradient: Tensor,
        group: dict[str, Any],
        state: dict[str, Any],
    ) -> None:
        evaluations = 1
        lr, tolerance = float(group["lr"]), group["tolerance_change"]
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = _next_direction_(state, gradient, group["history_size"])
            previous_loss = loss
            state["prev_flat_grad"], state["prev_loss"] = gradient.clone(), loss
            first = state["n_iter"] == 1
            t = min(1.0, 1.0 / float(gradient.abs().sum())) * lr if first else lr
            slope = gradient.dot(direction)
            state["d"], state["t"] = direction, t
            if slope > -tolerance:
                return
            last = iteration == group["max_iter"]
            spent = 0
            if group["line_search_fn"] is not None:
                _check_search(group["line_search_fn"])
                start = _Point(0.0, loss, gradient, slope)
                left = group["max_eval"] - evaluations
                t, loss, gradient, spent = self._search_(
                    evaluate, start, t, direction, tolerance, left
                )
                state["t"] = t
            else:
                self._move_(t, direction)
                if not last:
                    loss, gradient, spent = float(evaluate()), self._gather_gradient(), 1
            evaluations += spent
            state["func_evals"] += spent
            if (
                last
                or evaluations >= group["max_eval"]
                or _largest(gradient) <= group["tolerance_grad"]
                or _largest(direction.mul(t)) <= tolerance
                or abs(loss - previous_loss) < tolerance
            ):
                return

    def _search_(
        self,
        evaluate: Callable[[], Any],
        start: _Point,
        t: float,
        direction: Tensor,
        tolerance: float,
        budget: int,
    ) -> tuple[float, float, Tensor, int]:
        """Find a step along `direction`, take it; returns it with its loss, gradient and cost."""
        origin = [p.clone() for p in self._params]
        count = 0

        def probe(at: float) -> _Point:
            nonlocal count
            count += 1
            self._move_(at, direction)
            value, gradient = float(evaluate()), self._gather_gradient()
            for p, kept in zip(self._params, origin, strict=True):
                p.copy_(kept)
            return _Point(at, value, gradient, gradient.dot(direction))

        found = _strong_wolfe(probe, start, t, _largest(direction), tolerance, budget)
        self._move_(found.t, direction)
        return found.t, found.loss, found.gradient, count

    @property
    def _params(self) -> list[Tensor]:
        params: list[Tensor] = self.param_groups[0]["params"]
        return params

    def _gather_gradient(self) -> Tensor:
        """All gradients as one vector; a missing one counts as zero, a complex one as pairs."""
        pieces = []
        for p in self._params:
            g = fl.zeros_like(p) if p.grad is None else p.grad
            pieces.append((fl.view_as_real(g) if g.is_complex() else g).reshape(-1))
        return fl.cat(pieces, 0)

    def _move_(self, t: float, direction: Tensor) -> None:
        """Add ``t * direction`` to the parameters."""
        start = 0
        for p in self._params:
            target = fl.view_as_real(p) if p.is_complex() else p
            piece = direction[start : start + target.numel()]
            target.add_(piece.view_as(target), alpha=t)
            start += target.numel()


def _largest(x: Tensor) -> float:
    return float(x.abs().max())


def _check_search(name: str) -> None:
    if name != "strong_wolfe":
        raise RuntimeError("only 'strong_wolfe' is supported")


def _next_direction_(state: dict[str, Any], gradient: Tensor, history_size: int) -> Tensor:
    """The direction of descent; the last step enters the history that approximates the Hessian."""
    if state["n_iter"] == 1:
        state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
        return -gradient
    y = gradient - state["prev_flat_grad"]
    s = state["d"] * state["t"]
    ys = y.dot(s)
    differences, steps, inverses = state["old_dirs"], state["old_stps"], state["ro"]
    if ys > 1e-10:
        if len(differences) == history_size:
            for history in (differences, steps, inverses):
                history.pop(0)
        differences.append(y)
        steps.append(s)
        inverses.append(1.0 / ys)
        state["H_diag"] = ys / y.dot(y)
    # The two-loop recursion. The coefficients live in the state because PyTorch's format has them.
    if "al" not in state:
        state["al"] = [None] * history_size
    al = state["al"]
    q = -gradient
    for i in reversed(range(len(steps))):
        al[i] = steps[i].dot(q) * inverses[i]
        q = q - al[i] * differences[i]
    r = q * state["H_diag"]
    for i in range(len(steps)):
        r = r + (al[i] - differences[i].dot(r) * inverses[i]) * steps[i]
    return r


class _Point(NamedTuple):
    """A step length with the loss, gradient and directional derivative found there."""

    t: float
    loss: float
    gradient: Tensor
    slope: Tensor


def _strong_wolfe(
    probe: Callable[[float], _Point],
    start: _Point,
    t: float,
    size: float,
    tolerance: float,
    budget: int,
) -> _Point:
    """A step from `start` that fulfils the strong Wolfe conditions, or the best one found.

    `size` is the largest component of the direction: the search ends when the bracket times it
    falls below `tolerance`, or after `budget` probes beyond the first.
    """
    bracket, budget = _bracket_minimum(probe, start, t, budget)
    if len(bracket) == 1:
        return bracket[0]
    low, high = sorted(bracket, key=lambda point: point.loss)
    stalled = False
    for _ in range(budget):
        left, right = sorted((low.t, high.t))
        if (right - left) * size < tolerance:
            break
        t, stalled = _keep_off_ends(_cubic_minimum(low, high), left, right, stalled)
        point = probe(t)
        if _too_high(point, start) or point.loss >= low.loss:
            low, high = sorted((low, point), key=lambda point: point.loss)
            continue
        if _is_flat(point, start):
            return point
        if point.slope * (high.t - low.t) >= 0:
            high = low
        low = point
    return low


def _bracket_minimum(
    probe: Callable[[float], _Point], start: _Point, t: float, budget: int
) -> tuple[list[_Point], int]:
    """Two points around an acceptable step, or that step alone; and how many probes are left."""
    previous, point = start, probe(t)
    for i in range(budget):
        if _too_high(point, start) or (i > 1 and point.loss >= previous.loss):
            return [previous, point], budget - i
        if _is_flat(point, start):
            return [point], 0
        if point.slope >= 0:
            return [previous, point], budget - i
        nearest = point.t + 0.01 * (point.t - previous.t)
        t = _cubic_minimum(previous, point, (nearest, point.t * 10))
        previous, point = point, probe(t)
    return [start, point], 0


def _too_high(point: _Point, start: _Point) -> bool:
    return bool(point.loss > start.loss + SUFFICIENT_DECREASE * point.t * start.slope)


def _is_flat(point: _Point, start: _Point) -> bool:
    return bool(abs(point.slope) <= -CURVATURE * start.slope)


def _keep_off_ends(t: float, left: float, right: float, stalled: bool) -> tuple[float, bool]:
    """`t`, moved inwards if it fell near an end of the bracket twice in a row or outside."""
    margin = 0.1 * (right - left)
    if min(right - t, t - left) >= margin:
        return t, False
    if stalled or t >= right or t <= left:
        return (right - margin if abs(t - right) < abs(t - left) else left + margin), False
    return t, True


def _cubic_minimum(a: _Point, b: _Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points' values and slopes is least, within the bounds."""
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    ga, gb = float(a.slope), float(b.slope)
    d1 = ga + gb - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - ga * gb
    if not square >= 0:
        return (low + high) / 2.0
    d2 = math.sqrt(square)
    if a.t <= b.t:
        at = b.t - (b.t - a.t) * ((gb + d2 - d1) / (gb - ga + 2 * d2))
    else:
        at = a.t - (a.t - b.t) * ((ga + d2 - d1) / (ga - gb + 2 * d2))
    return min(max(at, low), high)
