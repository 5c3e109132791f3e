"""How gamma, beta and Dirichlet draws move with their parameters, against quantiles' slopes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

import flambeau
from flambeau.distributions import Beta, Dirichlet, Gamma


def _slope(quantile, a, step=1e-5):
    """The derivative of a function by Richardson's rule, relative steps."""
    h = step * a

    def central(h):
        return (quantile(a + h) - quantile(a - h)) / (2 * h)

    return (4 * central(h / 2) - central(h)) / 3


def _gamma_grad(a, x):
    return flambeau._standard_gamma_grad(flambeau.from_numpy(a), flambeau.from_numpy(x)).numpy()


def _beta_grad(x, a, b):
    given = (flambeau.from_numpy(v) for v in (x, a, a + b))
    return flambeau._dirichlet_grad(*given).numpy() * (1 - x)


@pytest.mark.parametrize("scale", [0.05, 0.5, 2.0, 30.0, 1000.0])
def test_gamma_draws_move_as_their_quantiles_do(scale):
    rng = np.random.default_rng(0)
    a = scale * rng.uniform(0.5, 1.5, 200)
    p = rng.uniform(0.01, 0.99, 200)
    x = scipy.special.gammaincinv(a, p)
    # Below SciPy's tiny quantiles rounding is all that is left.
    ok = x > 1e-200
    expected = _slope(lambda v: scipy.special.gammaincinv(v, p), a, 1e-4)
    np.testing.assert_allclose(_gamma_grad(a, x)[ok], expected[ok], 2e-6, 1e-12)


@pytest.mark.parametrize("a_scale", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("b_scale", [0.1, 1.0, 20.0])
def test_beta_draws_move_as_their_quantiles_do(a_scale, b_scale):
    rng = np.random.default_rng(1)
    a, b = (s * rng.uniform(0.5, 1.5, 200) for s in (a_scale, b_scale))
    p = rng.uniform(0.02, 0.98, 200)
    x = scipy.special.betaincinv(a, b, p)
    ok = (x > 1e-12) & (x < 1 - 1e-3)
    expected = _slope(lambda v: scipy.special.betaincinv(v, b, p), a, 1e-4)
    np.testing.assert_allclose(_beta_grad(x, a, b)[ok], expected[ok], 1e-5, 1e-10)


def test_derivatives_are_no_further_from_the_truth_than_pytorchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    a = 10 ** rng.uniform(-1, 3, 500)
    p = rng.uniform(0.01, 0.99, 500)
    x = scipy.special.gammaincinv(a, p)
    expected = _slope(lambda v: scipy.special.gammaincinv(v, p), a, 1e-4)
    theirs = torch._standard_gamma_grad(torch.from_numpy(a), torch.from_numpy(x)).numpy()
    ours = _gamma_grad(a, x)
    assert abs(ours / expected - 1).max() < 1e-2 * abs(theirs / expected - 1).max()


def test_far_values_give_finite_derivatives():
    a = np.array([1e-3, 1e-3, 1.0, 1.0, 1e6, 1e6, 1e20])
    x = np.array([0.0, 50.0, 1e-300, 700.0, 9e5, 1.1e6, 1e20])
    for dtype in (np.float32, np.float64):
        found = _gamma_grad(a.astype(dtype), x.astype(dtype))
        assert found.dtype == dtype
        assert np.isfinite(found).all()
        assert (found >= 0).all()
    found = _beta_grad(
        np.array([0.0, 1.0, 0.5]), np.array([0.1, 2.0, 1e8]), np.array([2.0, 0.1, 1e8])
    )
    assert np.isfinite(found).all()


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 5), (5000,)])
def test_any_shape_of_concentrations(shape):
    flambeau.manual_seed(0)
    a = (flambeau.rand(shape) + 0.5).requires_grad_()
    x = Gamma(a, 1.0).rsample()
    assert x.shape == a.shape
    (grad,) = flambeau.autograd.grad(x.sum(), a)
    expected = _gamma_grad(a.detach().numpy(), x.detach().numpy())
    np.testing.assert_allclose(grad.numpy(), expected, 1e-6)


def test_strided_concentrations():
    a = (flambeau.rand(4, 6).T[::2] + 0.5).requires_grad_()
    flambeau.manual_seed(1)
    x = Gamma(a, 1.0).rsample()
    flambeau.manual_seed(1)
    b = a.detach().contiguous().requires_grad_()
    y = Gamma(b, 1.0).rsample()
    assert x.tolist() == y.tolist()
    assert flambeau.autograd.grad(x.sum(), a)[0].tolist() == (
        flambeau.autograd.grad(y.sum(), b)[0].tolist()
    )


def test_the_gradient_of_an_expectation():
    flambeau.manual_seed(0)
    a = flambeau.tensor([0.5, 3.0], dtype=flambeau.float64, requires_grad=True)
    Gamma(a, 2.0).rsample((20_000,)).square().mean(0).sum().backward()
    # E[x^2] = a (a + 1) / rate^2
    np.testing.assert_allclose(a.grad.numpy(), (2 * a.detach().numpy() + 1) / 4, rtol=0.05)
    c = flambeau.tensor([0.5, 3.0, 1.5], dtype=flambeau.float64, requires_grad=True)
    mean = Dirichlet(c).rsample((20_000,)).mean(0)
    jacobian = np.array([flambeau.autograd.grad(m, c, retain_graph=True)[0].numpy() for m in mean])
    values = c.detach().numpy()
    expected = np.eye(3) / values.sum() - values[:, None] / values.sum() ** 2
    np.testing.assert_allclose(jacobian, expected, atol=0.01)


def test_beta_draws_are_the_first_entries_of_dirichlet_draws():
    a = flambeau.tensor([0.7, 2.0], requires_grad=True)
    flambeau.manual_seed(5)
    x = Beta(a, 1.5).rsample((3,))
    flambeau.manual_seed(5)
    y = Dirichlet(flambeau.stack([a, flambeau.full_like(a, 1.5)], -1)).rsample((3,))[..., 0]
    assert x.tolist() == y.tolist()
