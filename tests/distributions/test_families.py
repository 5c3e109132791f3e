"""Every family against PyTorch's: samples for a seed, densities, moments, gradients, expansion."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import flambeau
import flambeau.distributions
from tests.distributions.families import FAMILIES, make

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore:Singular sample detected")
NAMES = list(FAMILIES)
# PyTorch has the Bessel functions to seven digits, and log(n!) in float32.
ROUGH = ("von mises", "multinomial", "multinomial of logits")
# PyTorch's formula gives NaN there (ours is tested below), or takes the logarithm of -1.
NAN_BUT_DEFINED = {("generalized pareto", w) for w in ("mean", "variance", "stddev")}
NAN_BUT_DEFINED |= {("kumaraswamy", "mode")}


def same(ours: Any, theirs: Any, rtol: float = 1e-8, atol: float = 1e-10) -> None:
    """Shape, dtype and values; an error of the same class counts as a value."""
    if isinstance(theirs, type):
        assert ours is theirs
        return
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype)
    a, b = ours.detach().numpy(), theirs.detach().numpy()
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def value_or_error(f: Any) -> Any:
    """What `f` returns, or the class of what it raises."""
    try:
        return f()
    except Exception as error:
        return type(error)


def both(name: str, dtype: str = "float64") -> tuple[Any, Any]:
    """The distribution of both libraries, and their streams at the same place."""
    flambeau.manual_seed(12)
    torch.manual_seed(12)
    return make(flambeau, name, dtype), _theirs(name, dtype)


def _theirs(name: str, dtype: str) -> Any:
    p = make(torch, name, dtype)
    if name == "lkj":
        # PyTorch's rows after the second are too long, and its samples not of its density.
        steps = torch.tensor([0.0, 0.0, 0.5], dtype=p.concentration.dtype)
        rest = p.concentration.unsqueeze(-1) + 0.5 - steps
        p._beta = torch.distributions.Beta(steps + 0.5, rest)
    return p


def their_samples(name: str, dtype: str = "float64") -> Any:
    torch.manual_seed(3)
    return _theirs(name, dtype).sample((5,))


def as_ours(x: Any) -> Any:
    return flambeau.from_numpy(x.detach().numpy().copy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_samples_are_pytorchs_for_the_same_seed(name, dtype):
    ours, theirs = both(name, dtype)
    if "wishart" in name:
        # PyTorch throws its first samples away, as if they were singular.
        expected = theirs._bartlett_sampling(torch.Size([7]))
    else:
        expected = theirs.sample((7,))
    tolerance = (
        {"rtol": 1e-9, "atol": 1e-12} if dtype == "float64" else {"rtol": 3e-5, "atol": 1e-6}
    )
    same(ours.sample((7,)), expected, **tolerance)
    if "wishart" not in name:
        same(ours.sample(), theirs.sample(), **tolerance)
        same(ours.sample((2, 3)), theirs.sample((2, 3)), **tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_pytorchs(name):
    ours, theirs = both(name)
    for fact in ("batch_shape", "event_shape", "has_rsample", "has_enumerate_support", "support"):
        assert str(getattr(ours, fact)) == str(getattr(theirs, fact)), fact
    for fact in ("is_discrete", "event_dim"):
        assert getattr(ours.support, fact) == getattr(theirs.support, fact), fact
    if "mixture" not in name:
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_moments_are_pytorchs(name, dtype):
    ours, theirs = both(name, dtype)
    rtol = 1e-4 if dtype == "float32" else 1e-5 if name in ROUGH else 1e-8
    for what in ("mean", "variance", "stddev", "mode"):
        if (name, what) not in NAN_BUT_DEFINED:
            expected = value_or_error(lambda: getattr(theirs, what))
            same(value_or_error(lambda: getattr(ours, what)), expected, rtol)


@pytest.mark.parametrize("name", NAMES)
def test_entropies_and_lists_of_values_are_pytorchs(name):
    ours, theirs = both(name)
    rtol = 1e-6 if name in ROUGH else 1e-8
    for what, args in (
        ("entropy", ()),
        ("perplexity", ()),
        ("enumerate_support", ()),
        ("enumerate_support", (False,)),
    ):
        expected = value_or_error(lambda: getattr(theirs, what)(*args))
        same(value_or_error(lambda: getattr(ours, what)(*args)), expected, rtol)


@pytest.mark.parametrize("name", NAMES)
def test_densities_are_pytorchs(name):
    # PyTorch has no generalized Pareto density in float64.
    dtype, rtol = ("float32", 1e-4) if name == "generalized pareto" else ("float64", 1e-8)
    rtol = 1e-5 if name in ROUGH else rtol
    (ours, theirs), value = both(name, dtype), their_samples(name, dtype)
    same(ours.log_prob(as_ours(value)), theirs.log_prob(value), rtol)
    expected = value_or_error(lambda: theirs.cdf(value))
    same(value_or_error(lambda: ours.cdf(as_ours(value))), expected, rtol)


@pytest.mark.parametrize("name", NAMES)
def test_quantiles_are_pytorchs(name):
    ours, theirs = both(name)
    shape = theirs.batch_shape + theirs.event_shape
    p = torch.linspace(0.01, 0.99, 4 * shape.numel(), dtype=torch.float64).reshape(4, *shape)
    expected = value_or_error(lambda: theirs.icdf(p))
    same(value_or_error(lambda: ours.icdf(as_ours(p))), expected)


@pytest.mark.parametrize("name", NAMES)
def test_expanded_distributions_are_pytorchs(name):
    ours, theirs = both(name, "float32")
    ours = ours.expand((2, *ours.batch_shape))
    theirs = theirs.expand((2, *theirs.batch_shape))
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert ours.event_shape == theirs.event_shape
    if "mixture" not in name:
        assert repr(ours) == repr(theirs)
    value = theirs.sample() if "wishart" not in name else theirs._bartlett_sampling(())
    same(ours.sample(), value, 3e-5, 1e-6)
    same(ours.log_prob(as_ours(value)), theirs.log_prob(value), 2e-4, 1e-5)
    if (name, "variance") not in NAN_BUT_DEFINED:
        for moment in ("mean", "variance"):
            expected = value_or_error(lambda: getattr(theirs, moment))
            same(value_or_error(lambda: getattr(ours, moment)), expected, 1e-4)
    assert ours.expand((3, *ours.batch_shape)).batch_shape == (3, *ours.batch_shape)


# ---------------------------------------------------------------- gradients
def with_leaves(library: Any, name: str) -> tuple[Any, list[Any]]:
    """The distribution, and the tensors that it is made of, which require gradients."""
    leaves: list[Any] = []

    def tensor(values: Any) -> Any:
        kind = library.float32 if name == "generalized pareto" else library.float64
        leaves.append(library.tensor(values, dtype=kind, requires_grad=True))
        return leaves[-1]

    return FAMILIES[name](library.distributions, tensor), leaves


def gradients(out: Any, leaves: list[Any], library: Any) -> list[Any]:
    weights = np.cos(np.arange(out.numel())).reshape(tuple(out.shape))
    weighted = (out * library.from_numpy(weights).to(out.dtype)).sum()
    return library.autograd.grad(weighted, leaves, allow_unused=True)


def same_gradients(ours: Any, theirs: Any, rtol: float) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            same(a, b, rtol, 1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_densities_are_pytorchs(name):
    value = their_samples(name, "float32" if name == "generalized pareto" else "float64")
    found = []
    for library, v in ((flambeau, as_ours(value)), (torch, value)):
        p, leaves = with_leaves(library, name)
        found.append(gradients(p.log_prob(v), leaves, library))
    same_gradients(*found, rtol=2e-4 if name in ("generalized pareto", *ROUGH) else 1e-7)


# Through gamma numbers, PyTorch's derivatives are approximations of three digits or so.
BY_GAMMA = ("beta", "chi2", "dirichlet", "fisher", "gamma", "inverse gamma", "student")


@pytest.mark.parametrize(
    "name", [n for n in NAMES if make(flambeau, n).has_rsample and "wishart" not in n]
)
def test_gradients_through_samples_are_pytorchs(name):
    found = []
    for library in (flambeau, torch):
        library.manual_seed(4)
        p, leaves = with_leaves(library, name)
        sample = p.rsample((6,))
        assert sample.requires_grad
        found.append(gradients(sample, leaves, library))
    same_gradients(*found, rtol=2e-2 if name in BY_GAMMA else 1e-4 if "pareto" in name else 1e-7)


def test_gradients_through_wishart_samples():
    found = []
    for library in (flambeau, torch):
        library.manual_seed(4)
        p, leaves = with_leaves(library, "wishart")
        draw = p.rsample if library is flambeau else p._bartlett_sampling
        found.append(gradients(draw(library.Size([6])), leaves, library))
    (df, covariance), (df_of_torch, expected) = found
    same(df, df_of_torch, 1e-3)
    # The covariance is symmetric; which triangle its gradient is written to is free.
    same(covariance + covariance.mT, expected + expected.mT, 1e-7)


# ---------------------------------------------------------------- what PyTorch gets wrong
def test_moments_of_the_generalized_pareto_distribution_with_a_heavy_tail_are_infinite():
    p = flambeau.distributions.GeneralizedPareto(0.0, 1.0, flambeau.tensor([1.5, 0.7, 0.2]))
    np.testing.assert_allclose(p.mean.numpy(), [np.inf, 1 / 0.3, 1.25], rtol=1e-6)
    np.testing.assert_allclose(p.variance.numpy(), [np.inf, np.inf, 1 / 0.64 / 0.6], rtol=1e-6)


def test_the_mode_of_kumaraswamys_distribution_is_where_its_density_is_largest():
    p = flambeau.distributions.Kumaraswamy(2.0, 3.0)
    x = flambeau.linspace(0.001, 0.999, 999)
    assert abs(float(x[p.log_prob(x).argmax()]) - float(p.mode)) < 1e-3
    assert bool(flambeau.distributions.Kumaraswamy(0.5, 3.0).mode.isnan())


def test_wishart_samples_come_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(flambeau, "wishart").sample((20,))
