"""Recurrent layers, cells and packed sequences against PyTorch with the same weights."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(5)


def attempt(*actions):
    seen = []
    for action in actions:
        try:
            seen.append(action())
        except Exception as error:
            seen.append((type(error).__name__, str(error)))
    return seen


def pair_of(name, *args, **kwargs):
    theirs = getattr(torch.nn, name)(*args, **kwargs).double()
    ours = getattr(flambeau.nn, name)(*args, **kwargs).double()
    state = {k: flambeau.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    assert repr(ours) == repr(theirs)
    return ours, theirs


def flatten(value):
    if isinstance(value, (tuple, list)):
        return [t for v in value for t in flatten(v)]
    return [value]


def compare(ours, theirs, call, *arrays):
    """Outputs and gradients of ``call(library, layer, *tensors)``."""
    results = []
    for library, layer in ((flambeau, ours), (torch, theirs)):
        library.manual_seed(3)
        layer.zero_grad()
        leaves = [library.from_numpy(a.copy()).requires_grad_() for a in arrays]
        outputs = [t for t in flatten(call(library, layer, *leaves)) if t.is_floating_point()]
        total = sum((o * o * (i + 1)).sum() + o.sum() for i, o in enumerate(outputs))
        total.backward()
        grads = [t.grad for t in [*leaves, *layer.parameters()]]
        results.append([*(o.detach() for o in outputs), *grads])
    assert len(results[0]) == len(results[1])
    for a, b in zip(*results, strict=True):
        if b is None:
            assert a is None
            continue
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-8, atol=1e-10)


CONFIGS = [
    {},
    {"bias": False},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 2, "dropout": 0.4, "batch_first": True},
]


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("config", CONFIGS)
def test_sequences(name, config):
    ours, theirs = pair_of(name, 3, 4, **config)
    x = RNG.normal(0, 1, (5, 2, 3))
    rows = config.get("num_layers", 1) * (2 if config.get("bidirectional") else 1)
    batch = 5 if config.get("batch_first") else 2
    h = RNG.normal(0, 1, (rows, batch, 4))
    compare(ours, theirs, lambda t, layer, x: layer(x), x)
    if name == "LSTM":
        compare(ours, theirs, lambda t, layer, x, h: layer(x, (h, h * 2)), x, h)
    else:
        compare(ours, theirs, lambda t, layer, x, h: layer(x, h), x, h)
    compare(ours.eval(), theirs.eval(), lambda t, layer, x: layer(x), x)
    compare(ours, theirs, lambda t, layer, x: layer(x), x[:, 0])


def test_relu_and_projections():
    ours, theirs = pair_of("RNN", 3, 4, nonlinearity="relu", num_layers=2)
    compare(ours, theirs, lambda t, layer, x: layer(x), RNG.normal(0, 1, (5, 2, 3)))
    pair_of("RNN", 3, 4, 2, "relu", False, True)
    ours, theirs = pair_of("LSTM", 3, 4, num_layers=2, proj_size=2, bidirectional=True)
    x, h, c = (RNG.normal(0, 1, s) for s in ((5, 2, 3), (4, 2, 2), (4, 2, 4)))
    compare(ours, theirs, lambda t, layer, x, h, c: layer(x, (h, c)), x, h, c)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("is_sorted", [True, False])
def test_packed(name, is_sorted):
    ours, theirs = pair_of(name, 3, 4, num_layers=2, bidirectional=True)
    lengths = [5, 3, 3, 1] if is_sorted else [3, 1, 5, 3]

    def call(library, layer, x, h):
        tools = library.nn.utils.rnn
        packed = tools.pack_padded_sequence(x, lengths, enforce_sorted=is_sorted)
        out, last = layer(packed, (h, h * 2) if name == "LSTM" else h)
        return [*tools.pad_packed_sequence(out), *flatten(last)]

    compare(ours, theirs, call, RNG.normal(0, 1, (5, 4, 3)), RNG.normal(0, 1, (4, 4, 4)))


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("RNNCell", {}),
        ("RNNCell", {"nonlinearity": "relu"}),
        ("GRUCell", {"bias": False}),
        ("LSTMCell", {}),
    ],
)
def test_cells(name, kwargs):
    ours, theirs = pair_of(name, 3, 4, **kwargs)
    x, h = RNG.normal(0, 1, (2, 3)), RNG.normal(0, 1, (2, 4))
    compare(ours, theirs, lambda t, layer, x: layer(x), x)
    compare(ours, theirs, lambda t, layer, x: layer(x), x[0])
    pair = name == "LSTMCell"
    compare(ours, theirs, lambda t, layer, x, h: layer(x, (h, -h) if pair else h), x, h)
    compare(ours, theirs, lambda t, layer, x, h: layer(x, (h, -h) if pair else h), x[0], h[0])


def test_initial_weights_and_copies():
    for name in ("RNN", "LSTM", "GRU", "LSTMCell"):
        states = []
        for library in (flambeau, torch):
            library.manual_seed(1)
            states.append(getattr(library.nn, name)(3, 4).state_dict())
        for ours, theirs in zip(states[0].values(), states[1].values(), strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)
    layer = flambeau.nn.LSTM(3, 4)
    twin = copy.deepcopy(layer)
    assert [len(w) for w in twin.all_weights] == [4]
    assert twin.all_weights[0][0] is twin.weight_ih_l0


CONSTRUCTION = [
    (("LSTM", 3, 4), {"dropout": 2.0}),
    (("LSTM", 3, 4), {"dropout": True}),
    (("LSTM", 3, 4.0), {}),
    (("LSTM", 3, 0), {}),
    (("LSTM", 3, 4, 0), {}),
    (("LSTM", 3, 4), {"proj_size": -1}),
    (("LSTM", 3, 4), {"proj_size": 5}),
    (("GRU", 3, 4), {"proj_size": 2}),
    (("RNN", 3, 4), {"nonlinearity": "x"}),
    (("RNNBase", "x", 3, 4), {}),
    (("LSTM", 3, 4), {"dropout": 0.5}),
]


@pytest.mark.parametrize("line", CONSTRUCTION)
def test_construction(same, line):
    (name, *args), kwargs = line
    same(lambda t: getattr(t.nn, name)(*args, **kwargs))


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_wrong_inputs(same, name):
    def case(t):
        layer = getattr(t.nn, name)(3, 4)

        def h(*shape):
            return (t.zeros(*shape),) * 2 if name == "LSTM" else t.zeros(*shape)

        return attempt(
            lambda: layer(t.zeros(3)),
            lambda: layer(t.zeros(2, 2, 2, 3)),
            lambda: layer(t.zeros(5, 2, 9)),
            lambda: layer(t.zeros(5, 3), h(1, 2, 4)),
            lambda: layer(t.zeros(5, 2, 3), h(1, 4)),
            lambda: layer(t.zeros(5, 2, 3), h(1, 3, 4)),
            lambda: layer(t.zeros(5, 2, 3).double()),
            lambda: layer(t.zeros(0, 2, 3)),
        )

    same(case)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_wrong_inputs_of_cells(same, name):
    def case(t):
        cell = getattr(t.nn, name)(3, 4)

        def h(*shape):
            return (t.zeros(*shape),) * 2 if name == "LSTMCell" else t.zeros(*shape)

        return attempt(
            lambda: cell(t.zeros(2, 2, 3)),
            lambda: cell(t.zeros(2, 9)),
            lambda: cell(t.zeros(2, 3), h(3, 4)),
            lambda: cell(t.zeros(2, 3), h(2, 5)),
            lambda: cell(t.zeros(2, 3), h(4)),
            lambda: cell(t.zeros(2, 3), h(1, 2, 4)),
        )

    same(case)


def test_packing(same):
    def case(t):
        tools = t.nn.utils.rnn
        x = t.arange(24.0).reshape(3, 4, 2)
        packed = tools.pack_padded_sequence(x, [2, 4, 1], True, enforce_sorted=False)
        plain = tools.pack_padded_sequence(x, t.tensor([4, 4, 1]), batch_first=True)
        parts = [t.ones(3), t.zeros(1), t.full((2,), 5.0)]
        return [
            list(packed),
            list(plain),
            tools.pad_packed_sequence(packed),
            tools.pad_packed_sequence(packed, True, 9.0, 6),
            list(tools.pack_sequence(parts, enforce_sorted=False)),
            tools.unpack_sequence(tools.pack_sequence(parts, enforce_sorted=False)),
            tools.unpad_sequence(x, t.tensor([1, 3, 2, 1])),
            list(packed.double()),
            packed.to(t.float32) is packed,
            list(packed.to(t.float64))[:1],
            tools.invert_permutation(t.tensor([2, 0, 1])),
            tools.invert_permutation(None),
        ]

    same(case)


def test_padding(same):
    def case(t):
        pad = t.nn.utils.rnn.pad_sequence
        parts = [t.ones(2, 2), t.zeros(3, 2)]
        made = [
            pad(parts, first, 7.0, side)
            for first, side in itertools.product((True, False), ("left", "right"))
        ]
        return made + attempt(
            lambda: pad(parts, padding_side="x"), lambda: pad([]), lambda: pad(t.ones(2, 3))
        )

    same(case)


def test_packing_errors(same):
    def case(t):
        tools = t.nn.utils.rnn
        x = t.zeros(4, 2, 1)
        packed = tools.pack_padded_sequence(x, [4, 2])
        return attempt(
            lambda: tools.pack_padded_sequence(x, [2, 4]),
            lambda: tools.pack_padded_sequence(x, [4, 0]),
            lambda: tools.pack_padded_sequence(x, [4, 4, 4]),
            lambda: tools.pad_packed_sequence(packed, total_length=3),
        )

    same(case)
