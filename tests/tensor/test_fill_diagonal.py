"""`fill_diagonal_`, against PyTorch."""

from __future__ import annotations

import pytest

import flambeau

torch = pytest.importorskip("torch")

SHAPES = [
    (3, 3),
    (2, 5),
    (5, 2),
    (7, 2),
    (8, 3),
    (0, 3),
    (3, 0),
    (1, 1),
    (4, 1),
    (3, 3, 3),
    (2,) * 4,
]


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values(shape, wrap):
    ours, theirs = (L.zeros(shape).fill_diagonal_(3, wrap) for L in (flambeau, torch))
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("L", [flambeau, torch], ids=["flambeau", "torch"])
def test_views_and_dtypes(L):
    x = L.zeros(4, 6, dtype=L.int64)
    assert x.t()[::2].fill_diagonal_(1.5) is not x
    assert x.tolist() == [[1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0], [0] * 6]
    assert L.zeros(2, 2, dtype=L.bool).fill_diagonal_(L.tensor(2.0)).tolist() == [
        [True, False],
        [False, True],
    ]
    assert L.zeros(2, 2, dtype=L.complex64).fill_diagonal_(fill_value=1j)[1, 1] == 1j


@pytest.mark.parametrize("L", [flambeau, torch], ids=["flambeau", "torch"])
def test_the_filled_places_have_no_gradient(L):
    x = L.ones(5, 2, requires_grad=True)
    y = x * 2
    y.fill_diagonal_(7, wrap=True)
    y.sum().backward()
    assert y._version == 2
    assert x.grad.tolist() == [[0, 2], [2, 0], [2, 2], [0, 2], [2, 0]]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda L: L.zeros(3).fill_diagonal_(1), RuntimeError),
        (lambda L: L.zeros(3, 3, 2).fill_diagonal_(1), RuntimeError),
        (lambda L: L.zeros(2, 2, dtype=L.int64).fill_diagonal_(1j), RuntimeError),
        (lambda L: L.ones(2, 2, requires_grad=True).fill_diagonal_(1), RuntimeError),
        (lambda L: L.zeros(2, 2).fill_diagonal_(L.ones(2)), TypeError),
        (lambda L: L.zeros(2, 2).fill_diagonal_(L.tensor(1.0, requires_grad=True)), TypeError),
        (lambda L: L.zeros(2, 2).fill_diagonal_("1"), TypeError),
    ],
)
def test_refusals(call, error):
    for L in (flambeau, torch):
        with pytest.raises(error):
            call(L)
