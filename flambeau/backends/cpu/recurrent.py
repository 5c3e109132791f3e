"""Recurrent layers on NumPy arrays: one direction of one layer over whole sequences, and back.

Inputs (rows, size) hold all sequences step by step, longest first; ``sizes[t]`` of them run at step
t. The inputs' share of the gates is one product over all steps, the gradients of the weights are
too; what is left for each step is a product of the states with the recurrent weights and one pass
over the gates. NumPy's path computes the same step by step.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ...compiler import allocator, jit, threads
from . import recurrent_kernels as kernels
from .matmul import linear, matmul

Array = Any

_KINDS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
# With fewer sequences a product is bound by reading the weights, which two threads do twice.
_FEWEST = 6


class Layout(NamedTuple):
    """Where each step's rows begin, how many steps there are and in which direction they run."""

    starts: Array
    steps: int
    reverse: bool

    def rows(self, step: int) -> slice:
        """The rows of a step."""
        return slice(self.starts[step], self.starts[step + 1])

    def order(self) -> range:
        """The steps as they run."""
        return range(self.steps)[::-1] if self.reverse else range(self.steps)

    def before(self, step: int) -> int | None:
        """The step that runs before `step`."""
        at = step + 1 if self.reverse else step - 1
        return at if 0 <= at < self.steps else None


@functools.lru_cache(256)
def layout(sizes: tuple[int, ...], reverse: bool) -> Layout:
    """The layout of packed sequences of which ``sizes[t]`` run at step t."""
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return Layout(starts, len(sizes), reverse)


class Weights(NamedTuple):
    """The weights of one direction of a layer with G gates of H units and outputs of size P."""

    inputs: Array  # (G H, input)
    states: Array  # (G H, P)
    input_bias: Array | None = None  # (G H,)
    state_bias: Array | None = None  # (G H,)
    projection: Array | None = None  # (P, H)


class _Groups(NamedTuple):
    """How sequences are shared among threads: groups of `rows`, and the cost of one."""

    count: int
    cost: int
    rows: int


def _groups(sequences: int, steps: int, weight: Array) -> _Groups:
    rows = max(_FEWEST, -(-sequences // threads.get_num_threads()))
    return _Groups(-(-sequences // rows), rows * steps * weight.size // 10 + 1, rows)


def _is_compiled(*arrays: Array | None) -> bool:
    return jit.available() and all(
        a is None or (a.dtype in _KINDS and a.dtype == arrays[0].dtype and a.size) for a in arrays
    )


def _panels(weight: Array, turned: bool) -> Array:
    """A matrix, or its transpose, in panels of columns."""
    weight = np.ascontiguousarray(weight)
    rows, columns = weight.shape
    depth, width = (columns, rows) if turned else (rows, columns)
    count = -(-width // kernels.PANEL)
    made = np.empty(count * kernels.PANEL * depth, weight.dtype)
    kernels.pack(count, kernels.PANEL * depth, weight, made, rows, columns, turned)
    return made


def _sum_of_biases(w: Weights) -> Array | None:
    return None if w.input_bias is None else w.input_bias + w.state_bias


def _logistic(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


# Long short-term memory ---------------------------------------------------------------------------


class LSTMResult(NamedTuple):
    """Outputs, last states, and what the way back needs: gates, cells and what these show."""

    out: Array  # (rows, P)
    h: Array  # (sequences, P)
    c: Array  # (sequences, H)
    gates: Array  # (rows, 4 H): i, f, g, o
    cells: Array  # (rows, H)
    shown: Array  # (rows, H), empty without a projection


def lstm(x: Array, h: Array, c: Array, w: Weights, at: Layout) -> LSTMResult:
    """Long short-term memory over packed inputs (rows, size)."""
    hidden, size = c.shape[1], h.shape[1]
    allocator.prepare(x.shape[0] * hidden * x.itemsize)
    gates = linear(x, w.inputs, _sum_of_biases(w))
    h, c = np.array(h, order="C"), np.array(c, order="C")
    out = np.empty((x.shape[0], size), x.dtype)
    cells = np.empty((x.shape[0], hidden), x.dtype)
    shown = np.empty((x.shape[0] if w.projection is not None else 0, hidden), x.dtype)
    if not _is_compiled(x, h, c, *w):
        _lstm_steps(gates, h, c, out, cells, shown, w, at)
        return LSTMResult(out, h, c, gates, cells, shown)
    projection = None if w.projection is None else _panels(w.projection, True)
    share = _groups(h.shape[0], at.steps, w.states)
    kernels.lstm(
        share.count, share.cost, gates, _panels(w.states, True), h, c, out, cells, projection,
        None if projection is None else shown, at.starts, hidden, size, share.rows, at.steps,
        int(at.reverse),
    )  # fmt: skip
    return LSTMResult(out, h, c, gates, cells, shown)


def _lstm_steps(
    gates: Array, h: Array, c: Array, out: Array, cells: Array, shown: Array, w: Weights, at: Layout
) -> None:
    for step in at.order():
        rows = at.rows(step)
        n = rows.stop - rows.start
        block = gates[rows]
        block += np.matmul(h[:n], w.states.T)
        i, f, g, o = np.split(block, 4, 1)
        for part in (i, f, o):
            part[...] = _logistic(part)
        np.tanh(g, out=g)
        c[:n] = f * c[:n] + i * g
        cells[rows] = c[:n]
        h_new = o * np.tanh(c[:n])
        if w.projection is not None:
            shown[rows] = h_new
            h_new = np.matmul(h_new, w.projection.T)
        h[:n] = out[rows] = h_new


def lstm_back(
    grads: tuple[Array, Array, Array], x: Array, h: Array, c: Array, w: Weights,
    made: LSTMResult, at: Layout,
) -> tuple[Array, Array, Array, Weights]:  # fmt: skip
    """Gradients of inputs, first states and weights from those of outputs and last states."""
    grad = np.ascontiguousarray(grads[0]) if w.projection is None else np.array(grads[0], order="C")
    h_back, c_back = (np.array(g, order="C") for g in grads[1:])
    gates, cells = np.ascontiguousarray(made.gates), np.ascontiguousarray(made.cells)
    slopes = np.empty_like(gates)
    if not _is_compiled(x, h, c, *w):
        _lstm_steps_back(grad, h_back, c_back, slopes, c, w, made, at)
    else:
        hidden, size = c.shape[1], h.shape[1]
        projected = w.projection is not None
        share = _groups(h.shape[0], at.steps, w.states)
        kernels.lstm_back(
            share.count, 2 * share.cost, gates, cells, np.ascontiguousarray(c), grad,
            _panels(w.states, False), _panels(w.projection, False) if projected else None,
            np.empty((h.shape[0], hidden), x.dtype) if projected else None, slopes, h_back, c_back,
            at.starts, hidden, size, share.rows, at.steps, int(at.reverse),
        )  # fmt: skip
    back = _weights_back(x, h, made.out, slopes, slopes, w, at)
    if w.projection is not None:
        back = back._replace(projection=matmul(grad.T, made.shown))
    return matmul(slopes, w.inputs), h_back, c_back, back


def _lstm_steps_back(
    grad: Array, h_back: Array, c_back: Array, slopes: Array, c: Array, w: Weights,
    made: LSTMResult, at: Layout,
) -> None:  # fmt: skip
    for step in reversed(at.order()):
        rows = at.rows(step)
        n = rows.stop - rows.start
        i, f, g, o = np.split(made.gates[rows], 4, 1)
        if w.projection is None:
            back = grad[rows] + h_back[:n]
        else:
            grad[rows] += h_back[:n]
            back = np.matmul(grad[rows], w.projection)
        seen = np.tanh(made.cells[rows])
        inner = c_back[:n] + back * o * (1 - seen * seen)
        old = _states_before(c, made.cells, step, at)
        parts = (inner * g * i * (1 - i), inner * old * f * (1 - f), inner * i * (1 - g * g),
                 back * seen * o * (1 - o))  # fmt: skip
        np.concatenate(parts, 1, out=slopes[rows])
        c_back[:n] = inner * f
        h_back[:n] = np.matmul(slopes[rows], w.states)


# Gated recurrent unit -----------------------------------------------------------------------------


class GRUResult(NamedTuple):
    """Outputs, last state, and what the way back needs."""

    out: Array  # (rows, H)
    h: Array  # (sequences, H)
    gates: Array  # (rows, 3 H): r, z, n
    inner: Array  # (rows, H): the states' share of n before r


def gru(x: Array, h: Array, w: Weights, at: Layout) -> GRUResult:
    """Gated recurrent units over packed inputs (rows, size)."""
    hidden = h.shape[1]
    allocator.prepare(x.shape[0] * hidden * x.itemsize)
    bias, inner_bias = w.input_bias, None
    if w.state_bias is not None:
        bias, inner_bias = _sum_of_biases(w), np.ascontiguousarray(w.state_bias[2 * hidden :])
        bias[2 * hidden :] = w.input_bias[2 * hidden :]
    gates = linear(x, w.inputs, bias)
    h = np.array(h, order="C")
    out, inner = (np.empty((x.shape[0], hidden), x.dtype) for _ in range(2))
    if not _is_compiled(x, h, *w):
        _gru_steps(gates, h, out, inner, inner_bias, w, at)
        return GRUResult(out, h, gates, inner)
    share = _groups(h.shape[0], at.steps, w.states)
    kernels.gru(
        share.count, share.cost, gates, _panels(w.states, True), inner_bias, h, out, inner,
        np.empty((h.shape[0], 3 * hidden), x.dtype), at.starts, hidden, share.rows, at.steps,
        int(at.reverse),
    )  # fmt: skip
    return GRUResult(out, h, gates, inner)


def _gru_steps(
    gates: Array, h: Array, out: Array, inner: Array, bias: Array | None, w: Weights, at: Layout
) -> None:
    hidden = h.shape[1]
    for step in at.order():
        rows = at.rows(step)
        n = rows.stop - rows.start
        r, z, new = np.split(gates[rows], 3, 1)
        part = np.matmul(h[:n], w.states.T)
        r[...] = _logistic(r + part[:, :hidden])
        z[...] = _logistic(z + part[:, hidden : 2 * hidden])
        inner[rows] = part[:, 2 * hidden :] if bias is None else part[:, 2 * hidden :] + bias
        new[...] = np.tanh(new + r * inner[rows])
        h[:n] = out[rows] = new + z * (h[:n] - new)


def gru_back(
    grads: tuple[Array, Array], x: Array, h: Array, w: Weights, made: GRUResult, at: Layout
) -> tuple[Array, Array, Weights]:
    """Gradients of inputs, first state and weights from those of outputs and last state."""
    grad, h_back = np.ascontiguousarray(grads[0]), np.array(grads[1], order="C")
    slopes, parts = np.empty_like(made.gates), np.empty_like(made.gates)
    if not _is_compiled(x, h, *w):
        _gru_steps_back(grad, h_back, slopes, parts, h, w, made, at)
    else:
        share = _groups(h.shape[0], at.steps, w.states)
        kernels.gru_back(
            share.count, 2 * share.cost, made.gates, made.inner, np.ascontiguousarray(h),
            np.ascontiguousarray(made.out), grad, _panels(w.states, False), slopes, parts, h_back,
            at.starts, h.shape[1], share.rows, at.steps, int(at.reverse),
        )  # fmt: skip
    return matmul(slopes, w.inputs), h_back, _weights_back(x, h, made.out, slopes, parts, w, at)


def _gru_steps_back(
    grad: Array, h_back: Array, slopes: Array, parts: Array, h: Array, w: Weights,
    made: GRUResult, at: Layout,
) -> None:  # fmt: skip
    hidden = h.shape[1]
    for step in reversed(at.order()):
        rows = at.rows(step)
        n = rows.stop - rows.start
        r, z, new = np.split(made.gates[rows], 3, 1)
        g = grad[rows] + h_back[:n]
        fresh = g * (1 - z) * (1 - new * new)
        reset = fresh * made.inner[rows] * r * (1 - r)
        keep = g * (_states_before(h, made.out, step, at) - new) * z * (1 - z)
        np.concatenate((reset, keep, fresh), 1, out=slopes[rows])
        parts[rows] = slopes[rows]
        parts[rows, 2 * hidden :] *= r
        h_back[:n] = g * z + np.matmul(parts[rows], w.states)


# One gate -----------------------------------------------------------------------------------------


def elman(x: Array, h: Array, w: Weights, curved: bool, at: Layout) -> tuple[Array, Array]:
    """Outputs and last state of tanh (`curved`) or relu units over packed inputs (rows, size)."""
    allocator.prepare(x.shape[0] * h.shape[1] * x.itemsize)
    out = linear(x, w.inputs, _sum_of_biases(w))
    h = np.array(h, order="C")
    if not _is_compiled(x, h, *w):
        for step in at.order():
            rows = at.rows(step)
            n = rows.stop - rows.start
            new = out[rows] + np.matmul(h[:n], w.states.T)
            h[:n] = out[rows] = np.tanh(new) if curved else np.maximum(new, 0)
        return out, h
    share = _groups(h.shape[0], at.steps, w.states)
    kernels.elman(
        share.count, share.cost, out, _panels(w.states, True), h, at.starts, h.shape[1], share.rows,
        at.steps, int(at.reverse), curved,
    )  # fmt: skip
    return out, h


def elman_back(
    grads: tuple[Array, Array], x: Array, h: Array, w: Weights, out: Array, curved: bool,
    at: Layout,
) -> tuple[Array, Array, Weights]:  # fmt: skip
    """Gradients of inputs, first state and weights from those of outputs and last state."""
    grad, h_back = np.ascontiguousarray(grads[0]), np.array(grads[1], order="C")
    out = np.ascontiguousarray(out)
    slopes = np.empty_like(out)
    if not _is_compiled(x, h, *w):
        for step in reversed(at.order()):
            rows = at.rows(step)
            n = rows.stop - rows.start
            g = grad[rows] + h_back[:n]
            slopes[rows] = g * (1 - out[rows] ** 2) if curved else np.where(out[rows] > 0, g, 0)
            h_back[:n] = np.matmul(slopes[rows], w.states)
    else:
        share = _groups(h.shape[0], at.steps, w.states)
        kernels.elman_back(
            share.count, share.cost, out, grad, _panels(w.states, False), slopes, h_back, at.starts,
            h.shape[1], share.rows, at.steps, int(at.reverse), curved,
        )  # fmt: skip
    return matmul(slopes, w.inputs), h_back, _weights_back(x, h, out, slopes, slopes, w, at)


# Weights ------------------------------------------------------------------------------------------


def _states_before(first: Array, states: Array, step: int, at: Layout) -> Array:
    """What the sequences of a step had as their state: of the step before, else the first."""
    rows = at.rows(step)
    n, before = rows.stop - rows.start, at.before(step)
    if before is None:
        return first[:n]
    known = states[at.rows(before)][:n]
    return known if len(known) == n else np.concatenate((known, first[len(known) : n]))


def _weights_back(
    x: Array, h: Array, out: Array, slopes: Array, parts: Array, w: Weights, at: Layout
) -> Weights:
    """Gradients of the weights, from those of the inputs' and of the states' share of gates."""
    biased = w.input_bias is not None
    bias = slopes.sum(0) if biased else None
    other = bias if parts is slopes or not biased else parts.sum(0)
    states = _state_weight_back(h, out, parts, at)
    return Weights(matmul(slopes.T, x), states, bias, other)


def _state_weight_back(h: Array, out: Array, parts: Array, at: Layout) -> Array:
    """The sum over all steps of (gates' gradient).T @ (the states before the step)."""
    sequences, total = h.shape[0], out.shape[0]
    if sequences * at.steps != total:
        before = [_states_before(h, out, step, at) for step in range(at.steps)]
        return matmul(parts.T, np.concatenate(before))
    first, rest, states = slice(0, sequences), slice(sequences, total), out[: total - sequences]
    if at.reverse:
        rest, first = slice(0, total - sequences), slice(total - sequences, total)
        states = out[sequences:]
    if at.steps == 1:
        return matmul(parts[first].T, h)
    result = matmul(parts[rest].T, states)
    return result + matmul(parts[first].T, h) if h.any() else result
