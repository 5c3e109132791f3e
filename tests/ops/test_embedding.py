"""Table look-up against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F
from tests.ops.compare import agree, case, integers, normal, refuse

N, P = normal, "nn.functional."
CASES = [
    case(P + "embedding", integers(6, 4), N(6, 3)),
    case(P + "embedding", integers(6, 2, 5), N(6, 3)),
    case(P + "embedding", np.array(4), N(6, 3)),
    case(P + "embedding", integers(6, 0, 2), N(6, 3)),
    case(P + "embedding", integers(3, 2, 7), N(3, 3), padding_idx=1),
    case(P + "embedding", integers(3, 2, 7), N(3, 3), padding_idx=-1),
    case(P + "embedding_bag", integers(6, 3, 4), N(6, 3)),
    case(P + "embedding_bag", integers(6, 9), N(6, 3), np.array([0, 3, 3, 7]), mode="sum"),
]


@pytest.mark.parametrize("made", CASES)
def test_embedding(made):
    agree(made, order=1)


@pytest.mark.parametrize("made", CASES[:6])
def test_embedding_has_second_derivatives(made):
    indices, table = made.args
    weight = flambeau.tensor(table).requires_grad_()
    at = flambeau.tensor(indices.tolist(), dtype=flambeau.int64).reshape(indices.shape)

    def cubed(w):
        return F.embedding(at, w, **made.kwargs) ** 3

    assert flambeau.autograd.gradgradcheck(cubed, (weight,))


def test_gradients_are_scaled_by_frequency():
    made = case(P + "embedding", integers(3, 2, 7), N(3, 3), scale_grad_by_freq=True, padding_idx=0)
    agree(made.values[0], order=1)


def test_long_rows_are_shortened_in_place():
    torch = pytest.importorskip("torch")
    seen = []
    for library in (flambeau, torch):
        table = library.tensor(normal(5, 3) * 3)
        at = library.tensor([[0, 2], [2, 4]])
        out = library.nn.functional.embedding(at, table, max_norm=1.5)
        seen.append((np.array(out.tolist()), np.array(table.tolist())))
    np.testing.assert_allclose(seen[0][0], seen[1][0])
    np.testing.assert_allclose(seen[0][1], seen[1][1])


def test_many_repeats_add_up():
    at = integers(7, 1000)
    table = flambeau.zeros(7, 2, dtype=flambeau.float64, requires_grad=True)
    F.embedding(flambeau.tensor(at), table).sum().backward()
    np.testing.assert_array_equal(table.grad.numpy()[:, 0], np.bincount(at, minlength=7))


@pytest.mark.parametrize(
    "made",
    [
        case(P + "embedding", np.array([0, 6]), N(6, 3)),
        case(P + "embedding", np.array([0, -1]), N(6, 3)),
        case(P + "embedding", N(3), N(6, 3)),
        case(P + "embedding", integers(6, 3), N(6)),
        case(P + "embedding", integers(6, 3), N(6, 3), padding_idx=6),
    ],
)
def test_what_does_not_fit_is_refused(made):
    refuse(made)
