"""Recurrent layers: one direction of one layer over packed sequences, each as one op.

All sequences of a batch stand in rows, longest first: step t reads the next ``sizes[t]`` rows, of
the sequences that are so long. With `backwards`, steps run from the last to the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from ..backends.cpu import recurrent as kernels
from .promotion import widened
from .record import Array, structured

State = tuple


# ---------------------------------------------------------------- step by step
def _scan(
    m: Any, advance: Callable[..., State], input: Any, state: State, weights: tuple[Any, ...],
    sizes: tuple[int, ...], backwards: bool,
) -> tuple[Any, ...]:  # fmt: skip
    """The definition, in ops that have derivatives of any order: outputs and last states.

    `advance` takes the inputs' share of the gates, the states and the weights to the next states.
    """
    w_ih, b_ih = weights[0], weights[2]
    parts = m.split(m.linear(input, w_ih, b_ih), list(sizes))
    outputs: list[Any] = []
    ended: list[State] = []
    first, rows = state, sizes[-1 if backwards else 0]
    state = tuple(s[:rows] for s in first)
    steps = list(zip(parts, sizes, strict=True))
    for part, size in reversed(steps) if backwards else steps:
        if size > rows:  # sequences that end here begin now
            state = tuple(m.cat([s, f[rows:size]]) for s, f in zip(state, first, strict=True))
        elif size < rows:
            ended.append(tuple(s[size:] for s in state))
            state = tuple(s[:size] for s in state)
        rows = size
        state = advance(m, part, state, *weights)
        outputs.append(state[0])
    if ended:
        pieces = [state, *reversed(ended)]
        state = tuple(m.cat([piece[i] for piece in pieces]) for i in range(len(state)))
    return m.cat(outputs[::-1] if backwards else outputs), *state


def _lstm_step(
    m: Any, part: Any, state: State, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any
) -> State:
    h, c = state
    take, keep, new, show = m.chunk(part + m.linear(h, w_hh, b_hh), 4, 1)
    c = m.sigmoid(keep) * c + m.sigmoid(take) * m.tanh(new)
    h = m.sigmoid(show) * m.tanh(c)
    return (h if w_hr is None else m.linear(h, w_hr)), c


def _gru_step(m: Any, part: Any, state: State, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> State:
    (h,) = state
    reset_x, keep_x, new_x = m.chunk(part, 3, 1)
    reset_h, keep_h, new_h = m.chunk(m.linear(h, w_hh, b_hh), 3, 1)
    keep = m.sigmoid(keep_x + keep_h)
    new = m.tanh(new_x + m.sigmoid(reset_x + reset_h) * new_h)
    return (new + keep * (h - new),)


def _tanh_step(
    m: Any, part: Any, state: State, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any
) -> State:
    return (m.tanh(part + m.linear(state[0], w_hh, b_hh)),)


def _relu_step(
    m: Any, part: Any, state: State, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any
) -> State:
    return (m.relu(part + m.linear(state[0], w_hh, b_hh)),)


def _lstm_by_steps(
    m: Any, input: Any, h_0: Any, c_0: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any,
    bias_hh: Any, weight_hr: Any, sizes: Any, backwards: Any,
) -> Any:  # fmt: skip
    weights = (weight_ih, weight_hh, bias_ih, bias_hh, weight_hr)
    return _scan(m, _lstm_step, input, (h_0, c_0), weights, sizes, backwards)


def _gru_by_steps(
    m: Any, input: Any, h_0: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any,
    sizes: Any, backwards: Any,
) -> Any:  # fmt: skip
    weights = (weight_ih, weight_hh, bias_ih, bias_hh)
    return _scan(m, _gru_step, input, (h_0,), weights, sizes, backwards)


def _rnn_by_steps(
    m: Any, input: Any, h_0: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any,
    sizes: Any, backwards: Any, nonlinearity: Any,
) -> Any:  # fmt: skip
    weights = (weight_ih, weight_hh, bias_ih, bias_hh)
    step = _tanh_step if nonlinearity == "tanh" else _relu_step
    return _scan(m, step, input, (h_0,), weights, sizes, backwards)


# ---------------------------------------------------------------- in one piece
def _weights(*given: Any) -> kernels.Weights:
    return kernels.Weights(*(None if w is None else widened(w) for w in given))


def _check(
    name: str, input: Any, states: tuple[Any, ...], w: kernels.Weights, gates: int, sizes: Any
) -> None:
    """RuntimeError for arrays that do not go together: the kernels look at none of this."""
    hidden = w.states.shape[0] // gates
    out = hidden if w.projection is None else w.projection.shape[0]
    falling = all(a >= b for a, b in itertools.pairwise((*sizes, 0)))
    expected = [(sizes[0] if sizes else 0, size) for size in (out, hidden)]
    fits = (
        input.ndim == 2
        and sizes
        and falling
        and sum(sizes) == input.shape[0]
        and [tuple(s.shape) for s in states] == expected[: len(states)]
        and w.inputs.shape == (gates * hidden, input.shape[1])
        and w.states.shape == (gates * hidden, out)
        and all(b is None or b.shape == (gates * hidden,) for b in (w.input_bias, w.state_bias))
        and (w.input_bias is None) is (w.state_bias is None)
        and (w.projection is None or w.projection.shape == (out, hidden))
    )
    if not fits:
        raise RuntimeError(
            f"{name}: input {list(input.shape)}, states {[list(s.shape) for s in states]} and "
            f"weights {[list(v.shape) for v in w if v is not None]} do not go together"
        )
    if any(v is not None and v.dtype != input.dtype for v in (*states, *w)):
        raise RuntimeError(f"{name}: input, states and weights must have the same dtype")


def _lstm_back(
    m: Any, g: Any, input: Any, h_0: Any, c_0: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any,
    bias_hh: Any, weight_hr: Any, sizes: Any, backwards: Any, out0: Any, gates: Any, cells: Any,
    shown: Any,
) -> dict[str, Any]:  # fmt: skip
    w = _weights(weight_ih, weight_hh, bias_ih, bias_hh, weight_hr)
    made = kernels.LSTMResult(widened(out0), h_0, c_0, gates, cells, shown)
    x, h, c, *grads = (widened(a) for a in (input, h_0, c_0, *g))
    at = kernels.layout(sizes, backwards)
    x, h, c, back = kernels.lstm_back(tuple(grads), x, h, c, w, made, at)
    return {"input": x, "h_0": h, "c_0": c, **_named(back)}


def _named(back: kernels.Weights) -> dict[str, Any]:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    return dict(zip(names, back, strict=True))


@structured(
    method=False,
    outputs=3,
    extras=("gates", "cells", "shown"),
    grad=dict.fromkeys(
        (
            "input", "h_0", "c_0", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr",
        ),
        _lstm_back,
    ),
    decompose=_lstm_by_steps,
)  # fmt: skip
def lstm_layer(
    input: Array, h_0: Array, c_0: Array, weight_ih: Array, weight_hh: Array,
    bias_ih: Array | None, bias_hh: Array | None, weight_hr: Array | None, sizes: tuple[int, ...],
    backwards: bool,
) -> Any:  # fmt: skip
    """Long short-term memory (Hochreiter and Schmidhuber, 1997): outputs, last h and last c.

    Args:
        input: (sum of sizes, I).
        h_0, c_0: (sizes[0], P) and (sizes[0], H); P is H without `weight_hr`.
        weight_ih, weight_hh: (4 H, I) and (4 H, P), biases (4 H,); rows of i, f, g, o.
        weight_hr: (P, H), projects outputs (Sak et al., 2014).
    """
    w = _weights(weight_ih, weight_hh, bias_ih, bias_hh, weight_hr)
    x, h, c = (widened(a) for a in (input, h_0, c_0))
    _check("lstm_layer", x, (h, c), w, 4, sizes)
    out, h, c, *kept = kernels.lstm(x, h, c, w, kernels.layout(tuple(sizes), backwards))
    kind = input.dtype
    return *(a.astype(kind, copy=False) for a in (out, h, c)), *kept


def _gru_back(
    m: Any, g: Any, input: Any, h_0: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any,
    bias_hh: Any, sizes: Any, backwards: Any, out0: Any, gates: Any, inner: Any,
) -> dict[str, Any]:  # fmt: skip
    w = _weights(weight_ih, weight_hh, bias_ih, bias_hh)
    made = kernels.GRUResult(widened(out0), h_0, gates, inner)
    x, h, *grads = (widened(a) for a in (input, h_0, *g))
    x, h, back = kernels.gru_back(tuple(grads), x, h, w, made, kernels.layout(sizes, backwards))
    return {"input": x, "h_0": h, **_named(back)}


_GIVEN = ("input", "h_0", "weight_ih", "weight_hh", "bias_ih", "bias_hh")


@structured(
    method=False,
    outputs=2,
    extras=("gates", "inner"),
    grad=dict.fromkeys(_GIVEN, _gru_back),
    decompose=_gru_by_steps,
)
def gru_layer(
    input: Array, h_0: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array | None,
    bias_hh: Array | None, sizes: tuple[int, ...], backwards: bool,
) -> Any:  # fmt: skip
    """Gated recurrent units (Cho et al., 2014): outputs and the last state.

    As `lstm_layer`, with weights (3 H, *) whose rows are those of r, z, n.
    """
    w = _weights(weight_ih, weight_hh, bias_ih, bias_hh)
    x, h = widened(input), widened(h_0)
    _check("gru_layer", x, (h,), w, 3, sizes)
    out, h, *kept = kernels.gru(x, h, w, kernels.layout(tuple(sizes), backwards))
    return out.astype(input.dtype, copy=False), h.astype(input.dtype, copy=False), *kept


def _rnn_back(
    m: Any, g: Any, input: Any, h_0: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any,
    bias_hh: Any, sizes: Any, backwards: Any, nonlinearity: Any, out0: Any,
) -> dict[str, Any]:  # fmt: skip
    w = _weights(weight_ih, weight_hh, bias_ih, bias_hh)
    x, h, out, *grads = (widened(a) for a in (input, h_0, out0, *g))
    at = kernels.layout(sizes, backwards)
    x, h, back = kernels.elman_back(tuple(grads), x, h, w, out, nonlinearity == "tanh", at)
    return {"input": x, "h_0": h, **_named(back)}


@structured(method=False, outputs=2, grad=dict.fromkeys(_GIVEN, _rnn_back), decompose=_rnn_by_steps)
def rnn_layer(
    input: Array, h_0: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array | None,
    bias_hh: Array | None, sizes: tuple[int, ...], backwards: bool, nonlinearity: str,
) -> Any:  # fmt: skip
    """Units of one gate, "tanh" or "relu" (Elman, 1990): outputs and the last state.

    As `lstm_layer`, with weights (H, *).
    """
    w = _weights(weight_ih, weight_hh, bias_ih, bias_hh)
    x, h = widened(input), widened(h_0)
    _check("rnn_layer", x, (h,), w, 1, sizes)
    at = kernels.layout(tuple(sizes), backwards)
    out, h = kernels.elman(x, h, w, nonlinearity == "tanh", at)
    return out.astype(input.dtype, copy=False), h.astype(input.dtype, copy=False)
