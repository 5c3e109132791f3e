"""Recurrent layers as single ops: against PyTorch's layers in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.backends.cpu import recurrent
from flambeau.compiler import jit
from flambeau.tensor import functions as fl
from tests.ops.compare import normal

SIZES = {
    "even": (7, 7, 7, 7, 7),
    "falling": (9, 9, 5, 2, 1),
    "one step": (3,),
    "one sequence": (1, 1, 1),
}
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1, "relu": 1}


def make(kind: str, sizes: tuple[int, ...], hidden: int, projected: int, biased: bool) -> list[Any]:
    """Input, states and weights of a layer, in double precision; None for what it has not."""
    n, size, gates = sizes[0], projected or hidden, GATES[kind]
    shapes: list[Any] = [(sum(sizes), 5), (n, size), (n, hidden) if kind == "LSTM" else None]
    shapes += [(gates * hidden, 5), (gates * hidden, size)]
    shapes += [(gates * hidden,) if biased else None] * 2
    shapes.append((projected, hidden) if projected else None)
    return [None if s is None else normal(*s, seed=i) * 0.5 for i, s in enumerate(shapes)]


def run_op(kind: str, given: list[Any], sizes: Any, backwards: bool) -> tuple[Any, ...]:
    """The op of a kind on tensors."""
    x, h, c, *weights = given
    if kind == "LSTM":
        return fl.lstm_layer(x, h, c, *weights, sizes, backwards)
    if kind == "GRU":
        return fl.gru_layer(x, h, *weights[:4], sizes, backwards)
    name = "tanh" if kind == "RNN" else "relu"
    return fl.rnn_layer(x, h, *weights[:4], sizes, backwards, name)


def run_torch(kind: str, given: list[Any], sizes: Any, backwards: bool) -> tuple[Any, ...]:
    """The same by PyTorch's layer, of whose two directions one is looked at."""
    import torch

    x, h, c, *weights = given
    options: dict[str, Any] = {"nonlinearity": "relu"} if kind == "relu" else {}
    if weights[4] is not None:
        options["proj_size"] = weights[4].shape[0]
    layer = getattr(torch.nn, "RNN" if kind == "relu" else kind)(
        5, weights[1].shape[0] // GATES[kind], bias=weights[2] is not None,
        bidirectional=backwards, **options,
    ).to(x.dtype)  # fmt: skip
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    ending = "_l0_reverse" if backwards else "_l0"
    own = {f"{n}{ending}": w for n, w in zip(names, weights, strict=True) if w is not None}

    def both(state: Any) -> Any:
        return torch.stack([torch.zeros_like(state), state] if backwards else [state])

    states = (both(h), both(c)) if kind == "LSTM" else both(h)
    packed = torch.nn.utils.rnn.PackedSequence(x, torch.tensor(sizes))
    out, last = torch.func.functional_call(layer, own, (packed, states))
    lasts = last if kind == "LSTM" else (last,)
    return out.data[:, -h.shape[1] :], *(s[-1] for s in lasts)


def differentiate(library: Any, run: Any, kind: str, arrays: Any, dtype: Any, *rest: Any) -> Any:
    """Results, then gradients of all arguments, from gradients of all results."""
    given = [
        None if a is None else library.tensor(a.astype(dtype)).requires_grad_() for a in arrays
    ]
    outs = run(kind, given, *rest)
    loss = sum(
        (o * library.tensor(normal(*o.shape, seed=20 + i).astype(dtype))).sum()
        for i, o in enumerate(outs)
    )
    loss.backward()
    return [o.detach().numpy() for o in outs] + [t.grad.numpy() for t in given if t is not None]


LAYERS = [
    ("LSTM", 70, 0, True), ("LSTM", 20, 11, True), ("LSTM", 6, 0, False), ("GRU", 33, 0, True),
    ("GRU", 6, 0, False), ("RNN", 66, 0, True), ("relu", 6, 0, True),
]  # fmt: skip


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("kind", "hidden", "projected", "biased"), LAYERS)
def test_values_and_gradients_as_in_torch(
    kind: str, hidden: int, projected: int, biased: bool, sizes: str, backwards: bool
) -> None:
    torch = pytest.importorskip("torch")
    arrays = make(kind, SIZES[sizes], hidden, projected, biased)
    rest = (SIZES[sizes], backwards)
    truth = differentiate(torch, run_torch, kind, arrays, np.float64, *rest)
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 5e-6)):
        ours = differentiate(flambeau, run_op, kind, arrays, dtype, *rest)
        for a, t in zip(ours, truth, strict=True):
            np.testing.assert_allclose(a, t, rtol=0, atol=tolerance * (1 + np.abs(t).max()))


@pytest.mark.skipif(not jit.available(), reason="nothing is compiled")
@pytest.mark.parametrize(("kind", "hidden", "projected", "biased"), LAYERS)
def test_threads_change_no_bit(kind: str, hidden: int, projected: int, biased: bool) -> None:
    sizes = (29, 29, 17, 14, 3)
    arrays = make(kind, sizes, hidden, projected, biased)
    before, results = flambeau.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            flambeau.set_num_threads(count)
            results.append(differentiate(flambeau, run_op, kind, arrays, np.float32, sizes, False))
    finally:
        flambeau.set_num_threads(before)
    for other in results[1:]:  # but for the matrix products, whose plans depend on the threads
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
        assert np.array_equal(results[0][1], other[1])


@pytest.mark.skipif(not jit.available(), reason="nothing is compiled")
@pytest.mark.parametrize("kind", GATES)
def test_kernels_agree_with_numpy(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for sizes in SIZES.values():
        arrays = make(kind, sizes, 10, 0, True)
        rest = (arrays, np.float32, sizes, True)
        compiled = differentiate(flambeau, run_op, kind, *rest)
        with monkeypatch.context() as context:
            context.setattr(recurrent, "_is_compiled", lambda *_: False)
            plain = differentiate(flambeau, run_op, kind, *rest)
        for a, b in zip(compiled, plain, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)


def test_extreme_inputs_saturate() -> None:
    arrays = make("LSTM", (2, 2), 8, 0, True)
    arrays[0] *= 1e6
    given = [None if a is None else flambeau.tensor(a.astype(np.float32)) for a in arrays]
    out = run_op("LSTM", given, (2, 2), False)[0].numpy()
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1
    arrays[0][0, 0] = np.nan
    given[0] = flambeau.tensor(arrays[0].astype(np.float32))
    out = run_op("LSTM", given, (2, 2), False)[0].numpy()
    assert np.isnan(out[[0, 2]]).all()
    assert np.isfinite(out[[1, 3]]).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_close_to_single(dtype: str) -> None:
    kind = getattr(flambeau, dtype)
    arrays = make("GRU", (4, 4, 2), 6, 0, True)
    narrow = [None if a is None else flambeau.tensor(a).to(kind) for a in arrays]
    wide = [None if a is None else a.float() for a in narrow]
    out, expected = (run_op("GRU", g, (4, 4, 2), False)[0] for g in (narrow, wide))
    assert out.dtype is kind
    np.testing.assert_allclose(out.float().numpy(), expected.numpy(), atol=4e-3)


def test_inputs_that_do_not_go_together_are_refused() -> None:
    arrays = [None if a is None else flambeau.tensor(a) for a in make("LSTM", (3, 2), 4, 0, True)]
    wrong: list[Any] = [
        (0, flambeau.ones(5, 4).double()), (1, flambeau.ones(2, 4).double()),
        (2, flambeau.ones(3, 5).double()), (3, flambeau.ones(16, 4).double()),
        (4, flambeau.ones(12, 4).double()), (5, flambeau.ones(15).double()), (6, None),
        (7, flambeau.ones(3, 3).double()), (0, flambeau.ones(5, 5)),
    ]  # fmt: skip
    for place, value in wrong:
        given = [*arrays[:place], value, *arrays[place + 1 :]]
        with pytest.raises(RuntimeError, match="lstm_layer"):
            run_op("LSTM", given, (3, 2), False)
    for sizes in ((2, 3), (3, 1), (), (6, -1)):
        with pytest.raises(RuntimeError, match="lstm_layer"):
            run_op("LSTM", arrays, sizes, False)
