"""Masked reductions against NumPy's on what the mask leaves, and against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import masked
from tests.oracle import agree

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 7))
MASK = RNG.random((5, 7)) > 0.4
MASK[3] = False


def _rows(f: Any, empty: float) -> Any:
    return [f(row[m]) if m.any() else empty for row, m in zip(X, MASK, strict=True)]


EXPECTED = {
    "sum": _rows(np.sum, 0),
    "prod": _rows(np.prod, 1),
    "amax": _rows(np.max, -np.inf),
    "amin": _rows(np.min, np.inf),
    "mean": _rows(np.mean, np.nan),
    "logsumexp": _rows(lambda r: np.log(np.exp(r).sum()), -np.inf),
    "median": _rows(lambda r: np.sort(r)[(len(r) - 1) // 2], np.nan),
    "norm": _rows(np.linalg.norm, 0),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_reductions_see_what_the_mask_leaves(name: str) -> None:
    x, m = flambeau.tensor(X), flambeau.tensor(MASK)
    found = getattr(masked, name)(x, dim=1, mask=m)
    np.testing.assert_allclose(found.numpy(), EXPECTED[name], rtol=1e-12)
    kept = getattr(masked, name)(x, dim=1, mask=m, keepdim=True)
    assert kept.shape == (5, 1)


@pytest.mark.parametrize("correction", [0, 1])
def test_variance(correction: int) -> None:
    x, m = flambeau.tensor(X), flambeau.tensor(MASK)
    expected = _rows(lambda r: np.var(r, ddof=correction), np.nan)
    found = masked.var(x, 1, correction=correction, mask=m)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    spread = masked.std(x, 1, unbiased=bool(correction), mask=m)
    np.testing.assert_allclose(spread.numpy(), np.sqrt(expected), rtol=1e-12)


def test_softmax_gives_nothing_to_masked_elements() -> None:
    x, m = flambeau.tensor(X[:3]), flambeau.tensor(MASK[:3])
    found = masked.softmax(x, 1, mask=m).numpy()
    assert (found[~MASK[:3]] == 0).all()
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_allclose(masked.log_softmax(x, 1, mask=m).exp().numpy(), found)
    np.testing.assert_allclose(masked.softmin(-x, 1, mask=m).numpy(), found)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_scans_pass_over_masked_elements(name: str) -> None:
    neutral = 0 if name == "cumsum" else 1
    expected = getattr(np, name)(np.where(MASK, X, neutral), 1)
    found = getattr(masked, name)(flambeau.tensor(X), 1, mask=flambeau.tensor(MASK))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_gradients_reach_unmasked_elements_only() -> None:
    x = flambeau.tensor(X, requires_grad=True)
    masked.mean(x, 1, mask=flambeau.tensor(MASK))[0].backward()
    expected = np.where(MASK[0], 1 / MASK[0].sum(), 0)
    np.testing.assert_allclose(x.grad[0].numpy(), expected)
    assert (x.grad[1:] == 0).all()


@pytest.mark.parametrize("name", ["argmax", "argmin", "normalize", "logaddexp"])
def test_others_are_pytorchs(name: str) -> None:
    pytest.importorskip("torch")

    def script(L: Any) -> Any:
        import importlib

        f = getattr(importlib.import_module(f"{L.__name__}.masked"), name)
        x, m = L.tensor(X[:3]), L.tensor(MASK[:3])
        if name == "logaddexp":
            return f(x, x.flip(0), input_mask=m, other_mask=~m).tolist()
        arguments = (2.0, 1) if name == "normalize" else (1,)
        return f(x, *arguments, mask=m).tolist()

    agree(script)


def test_a_mask_that_does_not_fit_is_refused() -> None:
    x = flambeau.ones(3)
    with pytest.raises(IndexError, match="dimensionality"):
        masked.sum(x, mask=flambeau.ones(2, 3) > 0)
    with pytest.raises(RuntimeError):
        masked.sum(x, mask=flambeau.ones(2) > 0)
    with pytest.raises(ValueError, match="mean"):
        masked.mean(flambeau.arange(3), mask=x > 0)
