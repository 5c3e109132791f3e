"""Losses against PyTorch, fused cross-entropy above all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F
from tests.ops.compare import Case, agree, case, integers, normal, refuse, uniform

N, U, P = normal, uniform, "nn.functional."
SHAPES = [((4, 5), (4,)), ((5,), ()), ((3, 5, 2), (3, 2)), ((2, 5, 2, 3), (2, 2, 3))]
REDUCTIONS = ["mean", "sum", "none"]


def classes(shape, *, ignored=False):
    target = integers(5, *shape)
    if ignored and target.size > 1:
        target.reshape(-1)[1::3] = 2
    return target


CROSS = [
    Case(P + name, (normal(*shape), classes(target, ignored=ignore != -100)), {
        "reduction": reduction, "ignore_index": ignore,
        **({"weight": uniform(5).astype(np.float64)} if weighted else {}),
        **({"label_smoothing": smoothing} if smoothing else {}),
    })
    for name, smoothing in (("cross_entropy", 0.0), ("cross_entropy", 0.2), ("nll_loss", 0.0))
    for (shape, target), reduction, weighted, ignore in itertools.product(
        SHAPES, REDUCTIONS, (False, True), (-100, 2)
    )
]  # fmt: skip


@pytest.mark.parametrize("made", CROSS, ids=[f"{c.path[14:]}-{i}" for i, c in enumerate(CROSS)])
def test_losses_of_classes(made):
    weight = made.kwargs.pop("weight", None)
    torch = pytest.importorskip("torch")
    if weight is None:
        agree(made)
        return
    made = made._replace(kwargs=dict(made.kwargs))
    compare_weighted(torch, made, weight)
    made.kwargs["weight"] = weight


def compare_weighted(torch, made, weight):
    """PyTorch has no derivative for the weight: it is given without one."""
    seen = []
    for library in (flambeau, torch):
        x = library.tensor(made.args[0]).requires_grad_()
        y = library.tensor(made.args[1].tolist())
        loss = getattr(library.nn.functional, made.path[14:])(
            x, y, weight=library.tensor(weight), **made.kwargs
        )
        first = library.autograd.grad((loss * loss).sum(), x, create_graph=True)[0]
        second = library.autograd.grad((first * first).sum(), x)[0]
        seen.append([np.array(t.tolist()) for t in (loss, first, second)])
    for ours, theirs in zip(*seen, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def simplex(*shape):
    p = uniform(*shape, seed=4)
    return p / p.sum(1 if len(shape) > 1 else 0, keepdims=True)


OTHERS = [
    *(
        case(P + "cross_entropy", N(*s), simplex(*s), reduction=r, label_smoothing=smooth)
        for s in ((4, 5), (5,), (3, 5, 2))
        for r in REDUCTIONS
        for smooth in (0.0, 0.3)
    ),
    *(case(P + "mse_loss", N(3, 4), N(3, 4, seed=1), reduction=r) for r in REDUCTIONS),
    *(case(P + "l1_loss", N(3, 4), N(3, 4, seed=1), reduction=r) for r in REDUCTIONS),
    *(case(P + "smooth_l1_loss", N(3, 4), N(3, 4, seed=1), beta=b) for b in (0.0, 0.5, 2.0)),
    *(case(P + "huber_loss", N(3, 4), N(3, 4, seed=1), delta=d) for d in (0.5, 2.0)),
    *(case(P + "binary_cross_entropy", U(3, 4), U(3, 4, seed=1), reduction=r) for r in REDUCTIONS),
    *(
        case(P + "binary_cross_entropy_with_logits", N(3, 4), U(3, 4, seed=1), reduction=r)
        for r in REDUCTIONS
    ),
    case(P + "kl_div", N(3, 4), simplex(3, 4), reduction="batchmean"),
    case(P + "poisson_nll_loss", N(3, 4), U(3, 4)),
    case(P + "gaussian_nll_loss", N(3, 4), N(3, 4, seed=1), U(3, 4)),
]


@pytest.mark.parametrize("made", OTHERS)
def test_loss(made):
    agree(made, order=1)


@pytest.mark.parametrize("made", [OTHERS[0], OTHERS[18], OTHERS[-6]])
def test_loss_has_second_derivatives(made):
    agree(made, order=2)


def test_logits_far_out():
    x = np.array([-1e4, -50.0, 0.0, 50.0, 1e4])
    for y in (0.0, 0.3, 1.0):
        made = case(P + "binary_cross_entropy_with_logits", x, np.full(5, y), reduction="none")
        agree(made.values[0], order=1)


def test_certain_probabilities():
    x, y = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    agree(case(P + "binary_cross_entropy", x, y, reduction="none").values[0], order=0)


def test_cross_entropy_is_its_two_parts():
    x, y = flambeau.tensor(normal(6, 4), requires_grad=True), flambeau.tensor(integers(4, 6))
    whole = F.cross_entropy(x, y)
    parts = F.nll_loss(F.log_softmax(x, 1), y)
    assert float(whole) == pytest.approx(float(parts), rel=1e-12)
    first, second = (flambeau.autograd.grad(loss, x)[0].numpy() for loss in (whole, parts))
    np.testing.assert_allclose(first, second, atol=1e-15)


def test_cross_entropy_does_not_overflow():
    x = np.array([[1e5, 0.0, -1e5], [-1e5, 1e5, 3e4]])
    agree(case(P + "cross_entropy", x, np.array([2, 1]), reduction="none").values[0], order=1)


def test_all_ignored_gives_nan():
    made = case(P + "cross_entropy", N(2, 3), np.array([1, 1]), ignore_index=1).values[0]
    agree(made, order=1)


def test_half_precision():
    made = case(P + "cross_entropy", N(4, 5), integers(5, 4)).values[0]
    agree(made, dtype="bfloat16", order=1, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    "made",
    [
        case(P + "cross_entropy", N(4, 5), integers(5, 3)),
        case(P + "cross_entropy", N(4, 5), np.array([0, 1, 2, 5])),
        case(P + "cross_entropy", N(4, 5), np.array([0, 1, 2, -1])),
        case(P + "cross_entropy", N(4, 5), integers(5, 4), label_smoothing=1.5),
        case(P + "cross_entropy", N(4, 5), integers(5, 4), reduction="most"),
        case(P + "cross_entropy", N(4, 5), U(4, 5), ignore_index=2),
        case(P + "nll_loss", N(4, 5), integers(5, 4), weight=integers(5, 4)),
        case(P + "nll_loss", N(4, 5), U(4)),
        case(P + "binary_cross_entropy", N(4) * 9, U(4)),
        case(P + "binary_cross_entropy", U(4), U(3)),
        case(P + "mse_loss", integers(3, 4), integers(3, 4)),
    ],
)
def test_what_does_not_fit_is_refused(made):
    refuse(made)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ignored", [-100, 3])
def test_likelihood_of_many_targets(reduction, ignored):
    torch = pytest.importorskip("torch")
    scores, target = normal(5000, 7), integers(7, 5000)
    found = []
    for library in (flambeau, torch):
        x = library.tensor(scores).requires_grad_()
        loss = library.nn.functional.nll_loss(
            x, library.tensor(target), ignore_index=ignored, reduction=reduction
        )
        (loss * loss).sum().backward()
        found.append((loss.detach().numpy(), x.grad.numpy()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=3e-6, atol=1e-9)


@pytest.mark.parametrize("wrong", [7, -1, 2**40])
def test_a_target_that_is_no_class_is_refused(wrong):
    scores, target = flambeau.tensor(normal(3000, 7)), np.zeros(3000, np.int64)
    target[2900] = wrong
    with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds"):
        F.nll_loss(scores, flambeau.tensor(target))
