"""`Tensor.index`: indices at named positions, against PyTorch."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

CALLS: list[Callable[[Any, Any], Any]] = [
    lambda L, x: x.index(1, 2),
    lambda L, x: x.index(-1, -1),
    lambda L, x: x.index([1], [1]),
    lambda L, x: x.index(positions=0, dims=slice(0, 1)),
    lambda L, x: x.index(0, (1,)),
    lambda L, x: x.index(0, (0, 1, 1)),
    lambda L, x: x.index(1, [[0, 2], [1, 1]]),
    lambda L, x: x.index(1, slice(None, None, 2)),
    lambda L, x: x.index(0, L.tensor(1)),
    lambda L, x: x.index(1, L.tensor([True, False, True])),
    lambda L, x: x.index(0, True),
    lambda L, x: x.index(0, None),
    lambda L, x: x.index((0, 2), (L.tensor([0, 1]), L.tensor([1, 1]))),
    lambda L, x: x.index((2, 0), (L.tensor([3, 1]), L.tensor([1, 0]))),
    lambda L, x: x.index((0, 2), (L.tensor([0, 1]), 1)),
    lambda L, x: x.index((2, 1), (slice(1, 3), L.tensor([0, 2, 2]))),
    lambda L, x: x.index((0, 0), (slice(0, 1), 1)),
    lambda L, x: x.index((1, 0, 1), (1, 0, 2)),
    lambda L, x: x.index((), ()),
    lambda L, x: x.index([], 0),
    lambda L, x: x.index([()], [0]),
    lambda L, x: x.index((0, 1), 5),
    lambda L, x: x.index([(2, 0)], [5]),
    lambda L, x: x.index([(0, 1), 2], [L.tensor([5, 0]), L.tensor([1, 1])]),
    lambda L, x: x.index([(1, 2)], [slice(0, 7, 3)]),
    lambda L, x: x.index([2, (1, 0)], [slice(1, 3), slice(2, 5)]),
    lambda L, x: x.index(1, np.int64(1)),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_an_index_gives_what_pytorch_gives(number):
    ours, theirs = (CALLS[number](L, L.arange(24.0).reshape(2, 3, 4)) for L in (flambeau, torch))
    assert ours.shape == theirs.shape
    assert ours.tolist() == theirs.tolist()


def test_random_calls():
    draw = random.Random(5)
    for _ in range(60):
        shape = [draw.randint(1, 4) for _ in range(draw.randint(1, 4))]
        positions = draw.sample(range(len(shape)), draw.randint(1, len(shape)))
        kinds = [draw.choice("isit") for _ in positions]
        values = [
            draw.randrange(shape[p])
            if kind == "i"
            else slice(draw.randint(0, 2), draw.randint(1, 4))
            if kind == "s"
            else [draw.randrange(shape[p]) for _ in range(3)]
            for p, kind in zip(positions, kinds, strict=True)
        ]
        results = []
        for L in (flambeau, torch):
            x = L.arange(float(np.prod(shape))).reshape(shape)
            indices = [L.tensor(v) if isinstance(v, list) else v for v in values]
            result = x.index(positions, indices)
            results.append((list(result.shape), result.tolist()))
        assert results[0] == results[1], (shape, positions, values)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (((0, 1), ((0, 1),)), TypeError),
        ((0.5, 0), TypeError),
        (("a", 0), TypeError),
        ((0, 2), IndexError),
        ((0, 1.5), IndexError),
        ((0, "a"), TypeError),
        (([(0, 0)], [1]), TypeError),
        ((1, slice(None, None, -1)), ValueError),
        ((0, [5]), IndexError),
    ],
)
def test_refusals(arguments, error):
    for L in (flambeau, torch):
        with pytest.raises(error):
            L.arange(24.0).reshape(2, 3, 4).index(*arguments)


def test_positions_outside_the_tensor_are_refused():
    for x, position in (
        (flambeau.ones(2, 3), 2),
        (flambeau.ones(2, 3), -3),
        (flambeau.ones(()), 0),
    ):
        with pytest.raises(IndexError):
            x.index(position, 0)


def test_an_index_has_a_gradient():
    x = flambeau.arange(6.0).reshape(2, 3).requires_grad_()
    x.index([(0, 1)], [flambeau.tensor([5, 5, 0])]).sum().backward()
    assert x.grad.tolist() == [[1, 0, 0], [0, 0, 2]]
