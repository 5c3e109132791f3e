"""The loop over time of recurrent layers: one direction of one layer.

All sequences of a batch stand in rows, longest first, and step t reads as many rows as there are
sequences of that length; without padding this is all of them at every step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...tensor import functions as fl

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...tensor import Tensor

State = tuple  # (h,) or, for an LSTM, (h, c); each (rows, size)


class Weights(NamedTuple):
    """Weights of one direction of a layer with G gates of H units."""

    w_ih: Tensor  # (G H, inputs)
    w_hh: Tensor  # (G H, outputs)
    b_ih: Tensor | None = None  # (G H,)
    b_hh: Tensor | None = None  # (G H,)
    w_hr: Tensor | None = None  # (outputs, H), of an LSTM with projections


def _tanh(part: Tensor, state: State, w: Weights) -> State:
    return (fl.tanh(part + fl.linear(state[0], w.w_hh, w.b_hh)),)


def _relu(part: Tensor, state: State, w: Weights) -> State:
    return (fl.relu(part + fl.linear(state[0], w.w_hh, w.b_hh)),)


def _lstm(part: Tensor, state: State, w: Weights) -> State:
    h, c = state
    take, keep, new, show = (part + fl.linear(h, w.w_hh, w.b_hh)).chunk(4, 1)
    c = fl.sigmoid(keep) * c + fl.sigmoid(take) * fl.tanh(new)
    h = fl.sigmoid(show) * fl.tanh(c)
    return (h if w.w_hr is None else fl.linear(h, w.w_hr)), c


def _gru(part: Tensor, state: State, w: Weights) -> State:
    (h,) = state
    reset_x, keep_x, new_x = part.chunk(3, 1)
    reset_h, keep_h, new_h = fl.linear(h, w.w_hh, w.b_hh).chunk(3, 1)
    reset = fl.sigmoid(reset_x + reset_h)
    keep = fl.sigmoid(keep_x + keep_h)
    new = fl.tanh(new_x + reset * new_h)
    return (new + keep * (h - new),)


STEPS: dict[str, Callable[[Tensor, State, Weights], State]] = {
    "RNN_TANH": _tanh,
    "RNN_RELU": _relu,
    "LSTM": _lstm,
    "GRU": _gru,
}
GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def step(mode: str, x: Tensor, state: State, w: Weights) -> State:
    """The state after one input (rows, inputs)."""
    return STEPS[mode](fl.linear(x, w.w_ih, w.b_ih), state, w)


def scan(
    mode: str, data: Tensor, sizes: list[int], state: State, w: Weights, backwards: bool
) -> tuple[Tensor, State]:
    """Outputs (sum of sizes, outputs) for ``data`` (sum of sizes, inputs), and the last states.

    Step t reads the next ``sizes[t]`` rows; ``state`` has ``sizes[0]`` rows.
    """
    parts = fl.linear(data, w.w_ih, w.b_ih).split(sizes)  # all inputs in one product
    run = _scan_backwards if backwards else _scan_forwards
    outputs, last = run(STEPS[mode], parts, sizes, state, w)
    return fl.cat(outputs), last


def _scan_forwards(
    advance: Callable, parts: tuple, sizes: list[int], state: State, w: Weights
) -> tuple[list[Tensor], State]:
    outputs, ended = [], []
    rows = sizes[0]
    for part, size in zip(parts, sizes, strict=True):
        if size < rows:
            ended.append(tuple(s[size:] for s in state))
            state = tuple(s[:size] for s in state)
            rows = size
        state = advance(part, state, w)
        outputs.append(state[0])
    if ended:
        pieces = [state, *reversed(ended)]
        state = tuple(fl.cat([piece[i] for piece in pieces]) for i in range(len(state)))
    return outputs, state


def _scan_backwards(
    advance: Callable, parts: tuple, sizes: list[int], state: State, w: Weights
) -> tuple[list[Tensor], State]:
    outputs = []
    first, rows = state, sizes[-1]
    if rows < sizes[0]:
        state = tuple(s[:rows] for s in first)
    for part, size in zip(reversed(parts), reversed(sizes), strict=True):
        if size > rows:  # sequences that end here begin now
            fresh = [s[rows:size] for s in first]
            state = tuple(fl.cat(pair) for pair in zip(state, fresh, strict=True))
            rows = size
        state = advance(part, state, w)
        outputs.append(state[0])
    return outputs[::-1], state
