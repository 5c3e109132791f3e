"""Hinge losses against classes: kernels and NumPy's path against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.backends.cpu import margin_losses as kernels
from flambeau.compiler import jit

torch = pytest.importorskip("torch")

NAMES = ("losses", "gradients", "listed_losses", "listed_gradients")
ODD = np.array([[np.nan, 1.0, 2, 0], [np.inf, 0, 1, -np.inf], [1e30, -1e30, 0, 5e-310]])


@pytest.fixture(params=["kernels", "numpy"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to compute; the kernels only where they can be compiled."""
    if request.param == "numpy":
        for name in NAMES:
            monkeypatch.setattr(kernels, name, lambda *_: None)
    elif not jit.available():
        pytest.skip("kernels are off")
    return str(request.param)


def lists(rng: np.random.Generator, rows: int, classes: int) -> np.ndarray:
    """Lists of all lengths, some classes twice, with numbers after their ends."""
    found = rng.integers(0, classes, (rows, classes))
    for row, length in enumerate(rng.integers(0, classes + 1, rows)):
        found[row, length : length + 1] = -1
    return found


def both(call: Any, x: np.ndarray, *rest: Any, **options: Any) -> tuple[list[Any], list[Any]]:
    """The loss and the input's gradient, here and by PyTorch."""
    found = []
    for library in (flambeau, torch):
        leaf = library.from_numpy(x.copy()).requires_grad_()
        parts = [library.from_numpy(r) if isinstance(r, np.ndarray) else r for r in rest]
        loss = getattr(library.nn.functional, call)(leaf, *parts, **options)
        (g,) = library.autograd.grad((loss * 0.7).sum(), leaf)
        found.append([loss.detach().numpy(), g.numpy()])
    return found[0], found[1]


def agree(pair: tuple[list[Any], list[Any]], kind: type) -> None:
    precise = {"rtol": 2e-5, "atol": 1e-6} if kind is np.float32 else {"rtol": 1e-12, "atol": 1e-14}
    for ours, theirs in zip(*pair, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, **precise)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (70, 33), (3, 1000)])
def test_losses_are_pytorchs(kind: type, reduction: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    x = rng.normal(size=shape).astype(kind)
    y, w = rng.integers(0, shape[1], shape[0]), rng.random(shape[1]).astype(kind)
    for p, margin, weight in ((1, 1.0, None), (2, 0.3, w), (1, -0.5, w), (2, 2, None)):
        options = {"p": p, "margin": margin, "reduction": reduction}
        if weight is not None:
            ours, theirs = both("multi_margin_loss", x, y, p, margin, weight, reduction=reduction)
            agree((ours, theirs), kind)
        else:
            agree(both("multi_margin_loss", x, y, **options), kind)
    if shape[1] <= 40:
        labels = lists(rng, *shape)
        agree(both("multilabel_margin_loss", x, labels, reduction=reduction), kind)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_odd_numbers_and_layouts(reduction: str) -> None:
    labels = np.array([[1, -1, 0, 0], [1, 0, -1, 0], [2, 2, 3, 1]])
    for x in (ODD, np.asfortranarray(ODD), np.repeat(ODD, 2, 1)[:, ::2]):
        for y in (np.array([1, 2, 3]), np.array([1, 0, 2, 0, 3, 0])[::2]):
            agree(both("multi_margin_loss", x, y, reduction=reduction), np.float64)
        agree(both("multilabel_margin_loss", x, labels, reduction=reduction), np.float64)
        agree(both("multilabel_margin_loss", x, np.asfortranarray(labels)), np.float64)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_single_samples_and_empty_batches(reduction: str) -> None:
    x = np.random.default_rng(1).normal(size=(1, 5))
    options = {"reduction": reduction}
    agree(both("multi_margin_loss", x[0], np.array(3), **options), np.float64)
    agree(both("multi_margin_loss", x[0], np.array([3]), **options), np.float64)
    agree(both("multilabel_margin_loss", x[0], np.array([3, 1, -1, 0, 0]), **options), np.float64)
    empty = both("multilabel_margin_loss", x[:0], np.zeros((0, 5), np.int64), **options)
    agree(empty, np.float64)


@pytest.mark.usefixtures("path")
def test_targets_outside_are_refused() -> None:
    F, x = flambeau.nn.functional, flambeau.randn(2, 3)
    for wrong in ([0, 3], [-1, 0], [2**62, 0], [-(2**63), 0]):
        with pytest.raises(RuntimeError, match="target out of range"):
            F.multi_margin_loss(x, flambeau.tensor(wrong))
    for row in ([3, 0, -1], [-2, 0, 0], [-1, 0, 9]):
        with pytest.raises(RuntimeError, match="argument #2 'target' is out of range"):
            F.multilabel_margin_loss(x, flambeau.tensor([[0, 1, -1], row]))


def test_second_derivatives_and_maps() -> None:
    """What PyTorch lacks comes from the losses' pieces."""
    F = flambeau.nn.functional
    x = flambeau.randn(4, 5, dtype=flambeau.float64).requires_grad_()
    y = flambeau.tensor([0, 4, 2, 2])
    labels = flambeau.tensor([[1, 3, -1, 0, 0]] * 4)
    for call in (
        lambda v: F.multi_margin_loss(v, y, p=2),
        lambda v: F.multilabel_margin_loss(v, labels),
    ):
        assert flambeau.autograd.gradcheck(call, (x,))
        assert flambeau.autograd.gradgradcheck(call, (x,))
    many = flambeau.randn(3, 4, 5)
    found = flambeau.func.vmap(lambda v: F.multi_margin_loss(v, y))(many)
    expected = flambeau.stack([F.multi_margin_loss(v, y) for v in many])
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.skipif(not jit.available(), reason="kernels are off")
def test_threads_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(3000, 40)).astype(np.float32), rng.integers(0, 40, 3000)
    labels, count, results = lists(rng, 3000, 40), flambeau.get_num_threads(), []
    try:
        for threads in (1, 3):
            flambeau.set_num_threads(threads)
            ones = np.ones(3000)
            results.append([
                kernels.losses(x, y, None, 1, 1.0), kernels.listed_losses(x, labels),
                kernels.gradients(ones, x, y, None, 2, 1.0, 0.1),
                kernels.listed_gradients(ones, x, labels, 0.1),
            ])  # fmt: skip
    finally:
        flambeau.set_num_threads(count)
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)
