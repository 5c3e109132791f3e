"""Adaptive softmax, and pooling at random steps, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

RNG = np.random.default_rng(7)


def attempt(*actions):
    seen = []
    for action in actions:
        try:
            seen.append(action())
        except Exception as error:
            seen.append((type(error).__name__, str(error)))
    return seen


@pytest.mark.parametrize("head_bias", [True, False])
def test_adaptive_log_softmax(head_bias):
    torch = pytest.importorskip("torch")
    x, y = RNG.normal(0, 1, (9, 8)), RNG.integers(0, 12, 9)
    args = (8, 12, [3, 7])
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(*args, div_value=2.0, head_bias=head_bias).double()
    ours = flambeau.nn.AdaptiveLogSoftmaxWithLoss(
        *args, div_value=2.0, head_bias=head_bias
    ).double()
    assert repr(ours) == repr(theirs)
    state = theirs.state_dict()
    ours.load_state_dict({k: flambeau.from_numpy(v.numpy().copy()) for k, v in state.items()})
    results = []
    for library, layer in ((flambeau, ours), (torch, theirs)):
        inputs = library.from_numpy(x.copy()).requires_grad_()
        out = layer(inputs, library.from_numpy(y))
        (out.loss + out.output.sum()).backward()
        single = layer(inputs[0], library.tensor(5))
        grads = [inputs.grad, *(p.grad for p in layer.parameters())]
        log_prob = layer.log_prob(inputs)
        results.append([out.output, out.loss, single.output, log_prob, *grads])
        results[-1].append(layer.predict(inputs))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(results[0][3].exp().sum(1).detach().numpy(), np.ones(9))


def test_adaptive_refusals(same):
    def case(t):
        make = t.nn.AdaptiveLogSoftmaxWithLoss
        layer = make(4, 10, [2, 5])
        return attempt(
            lambda: make(4, 10, [5, 2]),
            lambda: make(4, 10, []),
            lambda: make(4, 10, [10]),
            lambda: layer(t.ones(3, 4), t.tensor([0, 3])),
            lambda: layer(t.ones(3, 4), t.tensor([0, 3, 10])),
            lambda: layer(t.ones(3, 4), t.tensor([[0, 3, 1]])),
        )

    same(case)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "shape"),
    [
        ("FractionalMaxPool2d", (2,), {"output_size": (3, 4)}, (2, 3, 7, 9)),
        ("FractionalMaxPool2d", ((2, 3),), {"output_ratio": 0.5}, (2, 3, 8, 9)),
        ("FractionalMaxPool3d", (2,), {"output_size": 2}, (1, 2, 5, 6, 5)),
    ],
)
def test_fractional_pooling(name, args, kwargs, shape):
    torch = pytest.importorskip("torch")
    x = RNG.normal(0, 1, shape)
    results = []
    for library in (flambeau, torch):
        library.manual_seed(3)
        layer = getattr(library.nn, name)(*args, return_indices=True, **kwargs)
        values, places = layer(library.from_numpy(x))
        results.append([repr(layer), values.tolist(), places.tolist()])
    assert results[0] == results[1]


def test_fractional_refusals(same):
    same(
        lambda t: attempt(
            lambda: t.nn.FractionalMaxPool2d(3),
            lambda: t.nn.FractionalMaxPool2d(3, 4, 0.5),
            lambda: t.nn.FractionalMaxPool2d(3, output_ratio=2.0),
        )
    )
