"""One direction of one recurrent layer, by its mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...ops.record import REGISTRY
from ...tensor import functions as fl
from ...tensor.interception import LOCAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...tensor import Tensor

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}
_LAYERS = {
    "RNN_TANH": "rnn_layer", "RNN_RELU": "rnn_layer", "LSTM": "lstm_layer", "GRU": "gru_layer"
}  # fmt: skip


def run_layer(
    mode: str, data: Tensor, sizes: tuple[int, ...], state: tuple, weights: Sequence[Any],
    backwards: bool = False,
) -> tuple[Tensor, tuple]:  # fmt: skip
    """Outputs (sum of sizes, outputs) for `data` (sum of sizes, inputs), and the last states.

    All sequences stand in rows, longest first: step t reads the next ``sizes[t]`` rows. `state`
    is (h,) or, for an LSTM, (h, c), each (sizes[0], size); `weights` are weight_ih, weight_hh,
    bias_ih, bias_hh and, for an LSTM, weight_hr, None for those that do not exist. Inside autocast
    only an LSTM runs in one piece: elsewhere the products alone are in half precision.
    """
    if LOCAL.autocast is not None and mode != "LSTM":
        return run_by_steps(mode, data, sizes, state, weights, backwards)
    out, *after = getattr(fl, _LAYERS[mode])(data, *state, *weights, sizes, backwards, *_kind(mode))
    return out, tuple(after)


def run_by_steps(
    mode: str, data: Tensor, sizes: tuple[int, ...], state: tuple, weights: Sequence[Any],
    backwards: bool = False,
) -> tuple[Tensor, tuple]:  # fmt: skip
    """`run_layer` in the ops that its definition names."""
    op = REGISTRY[_LAYERS[mode]]
    assert op.decompose is not None
    out, *after = op.decompose(fl, data, *state, *weights, sizes, backwards, *_kind(mode))
    return out, tuple(after)


def _kind(mode: str) -> tuple[str, ...]:
    return (mode[4:].lower(),) if mode.startswith("RNN") else ()
