"""One direction of one recurrent layer, by its mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...tensor import functions as fl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...tensor import Tensor

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def run_layer(
    mode: str, data: Tensor, sizes: tuple[int, ...], state: tuple, weights: Sequence[Any],
    backwards: bool = False,
) -> tuple[Tensor, tuple]:  # fmt: skip
    """Outputs (sum of sizes, outputs) for `data` (sum of sizes, inputs), and the last states.

    All sequences stand in rows, longest first: step t reads the next ``sizes[t]`` rows. `state`
    is (h,) or, for an LSTM, (h, c), each (sizes[0], size); `weights` are weight_ih, weight_hh,
    bias_ih, bias_hh and, for an LSTM, weight_hr, None for those that do not exist.
    """
    if mode == "LSTM":
        out, h, c = fl.lstm_layer(data, *state, *weights, sizes, backwards)
        return out, (h, c)
    if mode == "GRU":
        out, h = fl.gru_layer(data, *state, *weights, sizes, backwards)
    else:
        kind = "tanh" if mode == "RNN_TANH" else "relu"
        out, h = fl.rnn_layer(data, *state, *weights, sizes, backwards, kind)
    return out, (h,)
