"""Connectionist temporal classification against PyTorch and against counting every alignment."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F

RNG = np.random.default_rng(3)


def log_probs(*shape):
    raw = RNG.normal(0, 1, shape)
    return raw - np.log(np.exp(raw).sum(-1, keepdims=True))


def collapse(path, blank):
    return [label for label, _ in itertools.groupby(path) if label != blank]


def by_counting(scores, target, blank):
    steps, classes = scores.shape
    total = 0.0
    for path in itertools.product(range(classes), repeat=steps):
        if collapse(path, blank) == target:
            total += math.exp(sum(scores[t, c] for t, c in enumerate(path)))
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("target", [[1], [1, 1], [1, 3], [3, 1, 3], [3, 3, 3], []])
def test_equals_the_sum_over_alignments(target, blank):
    scores = log_probs(5, 4)
    ours = F.ctc_loss(
        flambeau.from_numpy(scores),
        flambeau.tensor(target, dtype=flambeau.int64),
        [5],
        [len(target)],
        blank=blank,
        reduction="none",
    )
    assert ours.item() == pytest.approx(by_counting(scores, target, blank), rel=1e-12)


CASES = [
    # targets, input lengths, target lengths
    ([[1, 2, 3], [2, 2, 0]], [6, 5], [3, 2]),
    ([[1, 2, 3], [2, 2, 0]], [6, 3], [1, 2]),
    ([1, 2, 3, 2], [6, 6], [3, 1]),
    ([[1, 1, 1], [1, 2, 3]], [4, 4], [3, 3]),  # the first is impossible
]


@pytest.mark.parametrize("targets", CASES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("zero_infinity", [True, False])
def test_same_as_torch(targets, reduction, zero_infinity):
    torch = pytest.importorskip("torch")
    labels, inputs, sizes = targets
    raw = RNG.normal(0, 1, (6, 2, 4))
    results = []
    for library in (flambeau, torch):
        x = library.from_numpy(raw).requires_grad_()
        layer = library.nn.CTCLoss(reduction=reduction, zero_infinity=zero_infinity)
        lengths = (library.tensor(inputs), library.tensor(sizes))
        loss = layer(x.log_softmax(2), library.tensor(labels), *lengths)
        if not loss.isinf().any():
            loss.sum().backward()
        results.append([loss.detach().numpy(), x.grad])
    (ours, our_grad), (theirs, their_grad) = results
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    assert (our_grad is None) == (their_grad is None)
    if our_grad is not None:
        np.testing.assert_allclose(our_grad.numpy(), their_grad.numpy(), rtol=1e-8, atol=1e-12)


def test_gradient_is_that_of_the_logits(same):
    def case(torch):
        x = torch.full((4, 3), math.log(1 / 3), requires_grad=True)
        torch.nn.functional.ctc_loss(x, torch.tensor([1]), (3,), (1,)).backward()
        return (x.grad * 1000).round()

    same(case)


REFUSED = {
    "blank": ([[1]], [3], [1], 9),
    "count": ([[1]], [3, 3], [1], 0),
    "integers": ([[1]], [3], [1], -1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(same, name):
    targets, inputs, sizes, blank = REFUSED[name]

    def case(torch):
        x = torch.zeros(3, 1, 4)
        return torch.nn.functional.ctc_loss(x, torch.tensor(targets), inputs, sizes, blank)

    assert same(case)[0] == "raises"


@pytest.mark.parametrize(
    ("targets", "inputs", "sizes"), [([[1]], [4], [1]), ([[1]], [3], [2]), ([1, 2], [3], [1])]
)
def test_lengths_that_do_not_fit(targets, inputs, sizes):
    x = flambeau.zeros(3, 1, 4)
    with pytest.raises(RuntimeError, match="Expected"):
        F.ctc_loss(x, flambeau.tensor(targets), inputs, sizes)
