"""Lazy layers become ordinary ones at their first call; each case on both libraries."""

from __future__ import annotations

import copy
import pickle

import pytest

import flambeau
from flambeau import nn

LAYERS = [
    ("LazyLinear", (3,), {}, (2, 5)),
    ("LazyLinear", (3,), {"bias": False}, (2, 5)),
    ("LazyConv1d", (4, 3), {"groups": 2}, (2, 6, 5)),
    ("LazyConv2d", (4, 3), {"padding": 1, "bias": False}, (3, 5, 5)),
    ("LazyConv3d", (4, (1, 2, 1), 2), {}, (1, 3, 4, 4, 4)),
    ("LazyConvTranspose1d", (4, 3, 2), {"groups": 2}, (2, 6, 5)),
    ("LazyConvTranspose2d", (4, 3), {"output_padding": 0}, (1, 3, 5, 5)),
    ("LazyConvTranspose3d", (4, 2), {}, (1, 3, 2, 2, 2)),
    ("LazyBatchNorm1d", (), {}, (4, 3)),
    ("LazyBatchNorm2d", (), {"affine": False}, (4, 3, 2, 2)),
    ("LazyBatchNorm3d", (), {"track_running_stats": False}, (4, 3, 2, 2, 2)),
    ("LazyInstanceNorm1d", (), {}, (2, 3, 4)),
    ("LazyInstanceNorm2d", (), {"affine": False}, (2, 3, 4, 4)),
    ("LazyInstanceNorm3d", (), {}, (2, 3, 2, 2, 2)),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS)
def test_first_call(same, name, args, kwargs, shape):
    def case(t):
        layer = getattr(t.nn, name)(*args, **kwargs)
        seen = [layer, list(layer.state_dict()), layer.has_uninitialized_params()]
        seen.append([type(p).__name__ for p in layer.parameters()])
        t.manual_seed(0)
        out = layer(t.zeros(*shape))
        seen += [layer, type(layer).__name__, tuple(out.shape)]
        seen += [[tuple(p.shape) for p in layer.parameters()], list(layer.state_dict())]
        return [*seen, t.rand(1), [type(p).__name__ for p in layer.parameters()]]

    same(case)


def test_loading_gives_the_shapes(same):
    def case(t):
        full = t.nn.Linear(4, 3).state_dict()
        layer = t.nn.LazyLinear(3)
        seen = [repr(layer.load_state_dict(full)), layer, tuple(layer.weight.shape)]
        layer(t.ones(1, 4))
        seen.append(layer)
        other = t.nn.LazyLinear(3)
        seen.append(repr(other.load_state_dict(t.nn.LazyLinear(3).state_dict())))
        return [*seen, other.has_uninitialized_params()]

    same(case)


def test_what_is_not_there_yet(same):
    def attempt(action):
        try:
            return action()
        except Exception as error:
            return type(error).__name__, str(error)

    def case(t):
        layer = t.nn.LazyLinear(3)
        return [
            repr(layer.weight),
            attempt(lambda: layer.weight.shape),
            attempt(layer.share_memory),
            attempt(lambda: t.nn.Linear(4, 3).load_state_dict(layer.state_dict())),
            attempt(lambda: t.nn.LazyConv2d(2, 3)(t.ones(3))),
            attempt(lambda: t.nn.LazyConv2d(2, 3, groups=2)(t.ones(1, 3, 4, 4))),
        ]

    same(case)


def test_copies_and_casts():
    layer = nn.LazyLinear(3).double()
    assert layer.weight.dtype is flambeau.float64
    twin = copy.deepcopy(layer)
    assert isinstance(twin.weight, nn.UninitializedParameter)
    assert twin.weight is not layer.weight
    twin(flambeau.ones(2, 4, dtype=flambeau.float64))
    assert layer.has_uninitialized_params()
    assert tuple(twin.weight.shape) == (3, 4)
    assert twin.weight.dtype is flambeau.float64
    weight = pickle.loads(pickle.dumps(layer.weight))
    assert isinstance(weight, nn.UninitializedParameter)
