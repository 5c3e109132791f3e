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


LAYOUTS = ("dense", "coo", "csr")
ONES = {"coo": [[1, 1, 1], [1, 1, 0], [0, 0, 0]], "csr": [[1, 1, 1], [1, 1, 0], [0, 0, 1]]}


def _laid(t: Any, layout: str) -> Any:
    return {"dense": t, "coo": t.to_sparse(), "csr": t.to_sparse_csr()}[layout]


def _seen(t: Any) -> Any:
    """The layout, dtype, places and values of a tensor."""
    if str(t.layout) == "torch.strided":
        return "strided", str(t.dtype), [], t.tolist()
    places = t.to_sparse_coo().coalesce().indices()
    return str(t.layout), str(t.dtype), places.tolist(), t.to_dense().tolist()


@pytest.mark.filterwarnings("ignore:Sparse CSR", "ignore:Sparse invariant")
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("name", ["sum", "prod", "amin", "amax", "mean", "norm", "softmax"])
def test_sparse_inputs_and_masks(name: str, dim: Any, keepdim: bool) -> None:
    torch = pytest.importorskip("torch")
    import torch.masked as reference

    numbers = [[1.0, 0.0, 3.0], [0.0, 2.0, 5.0], [0.0, 0.0, 0.0]]
    for layout in LAYOUTS:
        for kind in (None, *LAYOUTS):
            found = []
            for L, M in ((flambeau, masked), (torch, reference)):
                x = _laid(L.tensor(numbers), layout)
                mask = (
                    None
                    if kind is None
                    else _laid(L.tensor(ONES["csr" if layout == "csr" else "coo"]).bool(), kind)
                )
                options = {} if name == "softmax" else {"keepdim": keepdim}
                where = (1 if dim is None else dim,) if name == "softmax" else (dim,)
                where = (2.0, *where) if name == "norm" else where
                try:
                    found.append(_seen(getattr(M, name)(x, *where, mask=mask, **options)))
                except (ValueError, RuntimeError, AssertionError) as error:
                    found.append((type(error).__name__, "", [], 0))
            ours, theirs = found
            assert ours[:2] == theirs[:2], (layout, kind)
            np.testing.assert_allclose(ours[3], theirs[3], 1e-6)
            if dim is not None:
                assert ours[2] == theirs[2], (layout, kind)
