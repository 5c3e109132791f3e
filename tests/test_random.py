"""Random tensors: the numbers PyTorch draws for the same seed, in the same places."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau
from tests.oracle import FAILING, Scripts, agree

scripts = Scripts()


@scripts
def uniform_numbers(L):
    L.manual_seed(0)
    return [L.rand(3), L.rand((2, 5)), L.rand(size=(4,)), L.rand(5, dtype=L.float64), L.rand(()),
            L.rand(3, dtype=L.bfloat16), L.rand(3, dtype=L.complex64)]  # fmt: skip


@scripts
def normal_numbers(L):
    L.manual_seed(1)
    return [L.randn(3), L.randn(5, 7), L.randn(40, dtype=L.float64), L.randn(3, dtype=L.float16)]


@scripts
def integers(L):
    L.manual_seed(2)
    return [L.randint(10, (5,)), L.randint(-3, 3, (2, 4)), L.randint(0, 2**40, (3,)),
            L.randint(5, (3,), dtype=L.int8), L.randint(0, 9, (2,), dtype=L.float32),
            L.randint(low=1, high=4, size=(6,))]  # fmt: skip


@scripts
def permutations(L):
    L.manual_seed(3)
    return [L.randperm(10), L.randperm(1), L.randperm(0), L.randperm(300), L.randperm(4).dtype,
            L.randperm(5, dtype=L.int32)]  # fmt: skip


@scripts
def like_another_tensor(L):
    L.manual_seed(4)
    x = L.zeros(3, 4)
    return [L.rand_like(x), L.randn_like(x.double()), L.randint_like(x, 5), L.rand_like(x.t()),
            L.randint_like(x.long(), 2, 9), L.randn_like(x, dtype=L.float64)]  # fmt: skip


@scripts
def filling_in_memory_order(L):
    L.manual_seed(5)
    x = L.empty(4, 5).t()
    y = L.empty(2, 3, 4, 4).to(memory_format=L.channels_last)
    z = L.zeros(6, 6)[::2, 1:4]
    return [x.uniform_(-1, 1), y.normal_(), z.uniform_(), L.empty(3, 2).random_(7),
            L.empty(30).t().normal_(2, 3)]  # fmt: skip


@scripts
def in_place(L):
    L.manual_seed(6)
    e = lambda: L.empty(4, dtype=L.float64)  # noqa: E731
    return [
        e().uniform_(2, 5), e().normal_(1, 2), e().bernoulli_(0.3), e().exponential_(1.5),
        e().geometric_(0.4), e().cauchy_(1, 2), e().log_normal_(0.5, 0.2), e().random_(),
        L.empty(4, dtype=L.int64).random_(3, 9), e().bernoulli_(L.full((4,), 0.5)),
        L.empty(4, dtype=L.int32).random_(), L.empty(5, dtype=L.bool).bernoulli_(0.5),
    ]  # fmt: skip


@scripts
def choices(L):
    L.manual_seed(7)
    w = L.tensor([[1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    return [
        L.bernoulli(w.clamp(max=1) * 0.5), w.clamp(max=1).bernoulli(0.5), L.multinomial(w, 2),
        w.multinomial(5, replacement=True), L.multinomial(w[0], 1), L.poisson(w), w.dtype,
    ]  # fmt: skip


@scripts
def normal_of_tensors(L):
    L.manual_seed(8)
    m, s = L.arange(4.0), L.tensor([0.5, 1.0, 2.0, 0.0])
    return [L.normal(m, s), L.normal(m, 2.0), L.normal(0.5, s), L.normal(1.0, 2.0, (3, 2)),
            L.normal(mean=m), L.normal(0.0, 1.0, size=(2,))]  # fmt: skip


@scripts
def own_generators(L):
    g = L.Generator().manual_seed(11)
    h = L.Generator()
    h.set_state(g.get_state())
    return [L.rand(3, generator=g), L.randperm(4, generator=h), g.initial_seed(),
            L.empty(2).normal_(generator=h), L.randn(2, generator=g), g.get_state()[:40],
            g.device]  # fmt: skip


@scripts
def states(L):
    L.manual_seed(12)
    L.rand(5)
    state = L.get_rng_state()
    a = L.randn(20)
    L.set_rng_state(state)
    with L.random.fork_rng():
        L.rand(100)
    return [a, L.randn(20), L.initial_seed(), state.shape, state.dtype]


@scripts
def gradients_start_here(L):
    L.manual_seed(13)
    x = L.rand(3, requires_grad=True)
    p = (x * 1).bernoulli()
    return [x.requires_grad, x.is_leaf, p.requires_grad]


@scripts.raises
def refuses_a_leaf(L):
    L.rand(3, requires_grad=True).uniform_()


REFUSED = [
    lambda L: L.rand(3, dtype=L.int64),
    lambda L: L.randint(5, 5, (2,)),
    lambda L: L.randperm(-1),
    lambda L: L.empty(2).uniform_(2, 1),
    lambda L: L.empty(2).normal_(0, -1),
    lambda L: L.empty(2).exponential_(0),
    lambda L: L.empty(2).geometric_(1.5),
    lambda L: L.empty(2).bernoulli_(1.5),
    lambda L: L.bernoulli(L.tensor([2.0])),
    lambda L: L.multinomial(L.ones(3), 4),
    lambda L: L.multinomial(L.ones(3), 0),
    lambda L: L.multinomial(L.tensor([1.0, -1.0]), 1),
    lambda L: L.multinomial(L.ones(3).long(), 1),
    lambda L: L.normal(0.0, -1.0, (2,)),
    lambda L: L.empty(2, dtype=L.int64).normal_(),
]


@pytest.mark.parametrize("script", scripts.cases)
def test_same_numbers(script) -> None:
    agree(script, rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree(REFUSED[number])


def test_seeds_from_the_system_differ() -> None:
    assert flambeau.seed() != flambeau.seed()


def moments(x: flambeau.Tensor) -> tuple[float, float]:
    return float(x.double().mean()), float(x.double().std())


@pytest.mark.parametrize(
    ("draw", "mean", "std"),
    [
        (lambda n: flambeau.rand(n), 0.5, math.sqrt(1 / 12)),
        (lambda n: flambeau.randn(n), 0, 1),
        (lambda n: flambeau.empty(n).exponential_(2), 0.5, 0.5),
        (lambda n: flambeau.empty(n).geometric_(0.25), 4, math.sqrt(12)),
        (lambda n: flambeau.poisson(flambeau.full((n,), 3.5)), 3.5, math.sqrt(3.5)),
        (lambda n: flambeau.empty(n).log_normal_(0, 0.5), math.exp(0.125), 0.6039),
        (lambda n: flambeau.randint(0, 10, (n,)), 4.5, math.sqrt(99 / 12)),
    ],
)
def test_moments(draw, mean: float, std: float) -> None:
    flambeau.manual_seed(42)
    found = moments(draw(20000))
    np.testing.assert_allclose(found, (mean, std), rtol=0.05, atol=0.03)
