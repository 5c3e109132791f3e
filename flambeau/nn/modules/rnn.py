"""Recurrent layers over whole sequences, and their single steps as cells."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import TYPE_CHECKING, Any

from ...tensor import Parameter
from ...tensor import functions as fl
from ...tensor.interception import LOCAL
from .. import functional as F
from .. import init
from ..utils.rnn import PackedSequence
from .module import Module
from .recurrence import GATES, run_by_steps, run_layer

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]


def _check_sizes(hidden_size: Any, num_layers: int, dropout: Any, proj_size: int) -> None:
    """TypeError or ValueError for arguments no recurrent layer can have."""
    number = isinstance(dropout, numbers.Number) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an "
            "element being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and "
            f"num_layers={num_layers}",
            stacklevel=5,
        )
    if not isinstance(hidden_size, int):
        raise TypeError(f"hidden_size should be of type int, got: {type(hidden_size).__name__}")
    if hidden_size <= 0:
        raise ValueError("hidden_size must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNNBase(Module):
    """What all recurrent layers share.

    Args:
        input_size: size of an input element.
        hidden_size: H, the number of units.
        num_layers: layers, each fed by the one before.
        bias: whether there are biases.
        batch_first: whether the batch is the first dimension of input and output.
        dropout: probability of dropout between layers, in training.
        bidirectional: whether a second half runs backwards in time.
        proj_size: size P of an LSTM's outputs, if they are projected; else 0.

    Attributes, for each layer k (and the same with the ending ``_reverse``):
        weight_ih_lk (G H, input), weight_hh_lk (G H, P or H), bias_ih_lk, bias_hh_lk (G H,),
        weight_hr_lk (P, H); all uniform on +-1/sqrt(H) at first.
    """

    mode: str

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if mode not in GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}")
        _check_sizes(hidden_size, num_layers, dropout, proj_size)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            for ending in ("", "_reverse") if bidirectional else ("",):
                self._add_weights(layer, ending, device, dtype)
        self.reset_parameters()

    @property
    def _out_size(self) -> int:
        return self.proj_size or self.hidden_size

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _add_weights(self, layer: int, ending: str, device: Any, dtype: Any) -> None:
        rows = GATES[self.mode] * self.hidden_size
        inputs = self.input_size if layer == 0 else self._out_size * self._directions
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, inputs),
            "weight_hh": (rows, self._out_size),
        }
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        names = []
        for kind, shape in shapes.items():
            name = f"{kind}_l{layer}{ending}"
            setattr(self, name, Parameter(fl.empty(shape, device=device, dtype=dtype)))
            names.append(name)
        self._all_weights.append(names)

    def reset_parameters(self) -> None:
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: the weights need not lie side by side."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of each direction of each layer."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [getattr(self, name) for name in self._flat_weights_names]

    def _weights(self, place: int) -> list[Any]:
        """The weights of one direction of a layer, None for those it does not have."""
        weights: list[Any] = [getattr(self, name) for name in self._all_weights[place]]
        if not self.bias:
            weights[2:2] = [None, None]
        return weights if self.mode != "LSTM" or self.proj_size else [*weights, None]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size != 0:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        for name, usual in (
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0),
            ("bidirectional", False),
        ):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("proj_size", 0)  # absent from old files
        for name in ("_flat_weights", "_flat_weights_names", "_flat_weight_refs"):
            self.__dict__.pop(name, None)  # computed here

    # -- forward -----------------------------------------------------------------------------

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.hidden_size,)

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """ValueError or RuntimeError for an input of another dtype or size than the layer's."""
        weight = self._flat_weights[0]
        if input.dtype is not weight.dtype and LOCAL.autocast is None:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: "
                f"model.to({input.dtype})"
            )
        expected = 2 if batch_sizes is not None else 3
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. Expected "
                f"{self.input_size}, got {input.size(-1)}"
            )

    def check_hidden_size(
        self, hx: Tensor, expected: tuple[int, ...], msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """RuntimeError for an initial state of another shape than expected."""
        if tuple(hx.shape) != tuple(expected):
            raise RuntimeError(msg.format(expected, list(hx.shape)))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The states (tensors or tuples of them) with their batch in another order."""
        if permutation is None:
            return hx
        if isinstance(hx, tuple):
            return tuple(self.permute_hidden(h, permutation) for h in hx)
        return hx.index_select(1, permutation)

    def _initial(self, hx: Any, batch: int, like: Tensor, packed: Any) -> tuple[Tensor, ...]:
        """Initial states (layers * directions, batch, size) each."""
        rows = self.num_layers * self._directions
        if hx is None:
            return tuple(
                fl.zeros([rows, batch, size], dtype=like.dtype, device=like.device)
                for size in self._state_sizes()
            )
        states = hx if isinstance(hx, tuple) else (hx,)
        for place, (state, size) in enumerate(zip(states, self._state_sizes(), strict=True)):
            which = f"[{place}]" if len(states) > 1 else ""
            self.check_hidden_size(
                state, (rows, batch, size), f"Expected hidden{which} size {{}}, got {{}}"
            )
        order = packed.sorted_indices if packed is not None else None
        return tuple(self.permute_hidden(state, order) for state in states)

    def _check_dims(self, input: Tensor, hx: Any) -> None:
        dims = input.dim()
        if dims not in (2, 3):
            noun = " tensor" if self.mode.startswith("RNN") else ""
            raise ValueError(
                f"{self._get_name()}: Expected input to be 2D or 3D, got {dims}D{noun} instead"
            )
        if hx is None:
            return
        states = hx if isinstance(hx, tuple) else (hx,)
        if any(state.dim() != dims for state in states):
            kind = "batched" if dims == 3 else "unbatched"
            if len(states) > 1:
                got = ", ".join(f"{state.dim()}-D" for state in states)
                raise RuntimeError(
                    f"For {kind} {dims}-D input, hx and cx should also be {dims}-D but got "
                    f"({got}) tensors"
                )
            raise RuntimeError(
                f"For {kind} {dims}-D input, hx should also be {dims}-D but got "
                f"{states[0].dim()}-D tensor"
            )

    def _run(self, data: Tensor, sizes: tuple[int, ...], states: tuple) -> tuple[Tensor, tuple]:
        """All layers over packed rows: outputs of the last layer, and all last states."""
        lasts: list[tuple] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self._directions):
                place = layer * self._directions + direction
                state = tuple(s[place] for s in states)
                out, last = run_layer(
                    self.mode, data, sizes, state, self._weights(place), direction == 1
                )
                outputs.append(out)
                lasts.append(last)
            data = outputs[0] if len(outputs) == 1 else fl.cat(outputs, 1)
            if self.dropout and self.training and layer < self.num_layers - 1:
                data = F.dropout(data, self.dropout, True)
        return data, tuple(fl.stack(list(group)) for group in zip(*lasts, strict=True))

    def _forward(self, input: Any, hx: Any) -> tuple[Any, tuple]:
        if isinstance(input, PackedSequence):
            self.check_input(input.data, input.batch_sizes)
            sizes = tuple(input.batch_sizes.tolist())
            states = self._initial(hx, sizes[0], input.data, input)
            data, last = self._run(input.data, sizes, states)
            packed = input._replace(data=data)
            return packed, self.permute_hidden(last, input.unsorted_indices)
        self._check_dims(input, hx)
        single = input.dim() == 2
        if single:
            input = input.unsqueeze(1)
            hx = _each(hx, lambda state: state.unsqueeze(1))
        elif self.batch_first:
            input = input.transpose(0, 1)
        self.check_input(input, None)
        steps, batch = input.shape[:2]
        if steps == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        states = self._initial(hx, batch, input, None)
        data, last = self._run(input.reshape(steps * batch, -1), (batch,) * steps, states)
        out = data.view(steps, batch, -1)
        if single:
            return out.squeeze(1), _each(last, lambda state: state.squeeze(1))
        return (out.transpose(0, 1) if self.batch_first else out), last

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        out, last = self._forward(input, hx)
        return out, last[0]


def _each(states: Any, function: Any) -> Any:
    """``function`` of a state, of each in a tuple, or None of None."""
    if states is None:
        return None
    return tuple(map(function, states)) if isinstance(states, tuple) else function(states)


class RNN(RNNBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu in place of tanh (Elman, 1990).

    Shape:
        (T, N, input), (N, T, input) with ``batch_first``, or (T, input); initial states
        (layers * directions, N, H), zero by default -> outputs (T, N, directions * H) and last
        states. Takes and gives a PackedSequence too.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:  # the nonlinearity stands among the positional arguments
            self.nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            self.nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{self.nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(f"RNN_{self.nonlinearity.upper()}", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent unit (Cho et al., 2014).

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr), z alike, n = tanh(W_in x + b_in + r (W_hn h +
    b_hn)), h' = (1 - z) n + z h; weights hold the rows of r, z, n in this order.

    Shape:
        As in `RNN`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997).

    i, f, o = sigmoid(W x + b + U h + d), g = tanh of the same form, c' = f c + i g,
    h' = o tanh(c'); weights hold the rows of i, f, g, o in this order. With ``proj_size`` the
    output is W_hr h' (Sak et al., 2014).

    Shape:
        Input and output as in `RNN`; states are pairs (h, c), c of size H.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def _state_sizes(self) -> tuple[int, ...]:
        return self._out_size, self.hidden_size

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        out, last = self._forward(input, hx)
        return out, last


# -- cells -----------------------------------------------------------------------------------


class RNNCellBase(Module):
    """What all cells share: one step of a recurrent layer."""

    weight_ih: Tensor
    weight_hh: Tensor
    _mode: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        place = {"device": device, "dtype": dtype}
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(fl.empty((rows, input_size), **place))
        self.weight_hh = Parameter(fl.empty((rows, hidden_size), **place))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(fl.empty(rows, **place)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        nonlinearity = self.__dict__.get("nonlinearity", "tanh")
        return text + (f", nonlinearity={nonlinearity}" if nonlinearity != "tanh" else "")

    def _check(self, input: Tensor, states: tuple | None) -> None:
        name = self._get_name()
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {input.size(-1)} expected "
                f"{self.input_size}"
            )
        for place, state in enumerate(states or ()):
            if state.dim() not in (1, 2):
                what = f"hx[{place}]" if self._mode == "LSTM" else "hidden"
                raise ValueError(
                    f"{name}: Expected {what} to be 1D or 2D, got {state.dim()}D instead"
                )
            if input.dim() == 2 and input.size(0) != state.size(0):
                raise RuntimeError(
                    f"Input batch size {input.size(0)} doesn't match hidden{place} batch size "
                    f"{state.size(0)}"
                )
            if state.size(-1) != self.hidden_size:
                raise RuntimeError(
                    f"hidden{place} has inconsistent hidden_size: got {state.size(-1)}, expected "
                    f"{self.hidden_size}"
                )

    def _advance(self, mode: str, input: Tensor, states: tuple | None, count: int) -> tuple:
        self._check(input, states)
        single = input.dim() == 1
        rows = input.unsqueeze(0) if single else input
        if states is None:
            zeros = fl.zeros(
                [rows.size(0), self.hidden_size], dtype=input.dtype, device=input.device
            )
            states = (zeros,) * count
        elif single:
            states = tuple(state.unsqueeze(0) for state in states)
        weights: list[Any] = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        if mode == "LSTM":
            weights.append(None)
        run = run_layer if LOCAL.autocast is None else run_by_steps
        _, after = run(mode, rows, (rows.size(0),), states, weights)
        return tuple(state.squeeze(0) for state in after) if single else after


class RNNCell(RNNCellBase):
    """One step of `RNN`: (N, input), (N, H) -> (N, H), or all without N."""

    _mode = "RNN"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        mode = f"RNN_{self.nonlinearity.upper()}"
        return self._advance(mode, input, None if hx is None else (hx,), 1)[0]


class GRUCell(RNNCellBase):
    """One step of `GRU`: (N, input), (N, H) -> (N, H), or all without N."""

    _mode = "GRU"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._advance("GRU", input, None if hx is None else (hx,), 1)[0]


class LSTMCell(RNNCellBase):
    """One step of `LSTM`: (N, input), pair of (N, H) -> pair of (N, H), or all without N."""

    _mode = "LSTM"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        after = self._advance("LSTM", input, hx, 2)
        return after[0], after[1]
