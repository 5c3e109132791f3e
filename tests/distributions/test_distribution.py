"""What all distributions share: checks and their errors, expansion of subclasses, laziness."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import distributions as dist
from flambeau.distributions import constraints, utils
from tests.distributions.families import FAMILIES, make

# Each is refused by both libraries, with an error of the same class and the same beginning.
REFUSED: dict[str, Any] = {
    "scale below 0": lambda d, t: d.Normal(t([0.0]), t([-1.0])),
    "NaN": lambda d, t: d.Normal(t([float("nan")]), t([1.0])),
    "text": lambda d, t: d.Normal("a", 1.0),
    "probability above 1": lambda d, t: d.Bernoulli(t([1.5])),
    "nothing": lambda d, t: d.Bernoulli(),
    "both": lambda d, t: d.Bernoulli(t([0.5]), t([0.0])),
    "nothing of categorical": lambda d, t: d.Categorical(),
    "concentration 0": lambda d, t: d.Gamma(t([0.0]), t([1.0])),
    "low above high": lambda d, t: d.Uniform(t([1.0]), t([0.0])),
    "low is high": lambda d, t: d.Uniform(1.0, 1.0),
    "no choices": lambda d, t: d.Dirichlet(t(1.0)),
    "no choices of categorical": lambda d, t: d.Categorical(t(1.0)),
    "no choices by logits": lambda d, t: d.Categorical(logits=t(1.0)),
    "negative weight": lambda d, t: d.Categorical(t([-0.5, 1.5])),
    "geometric of 0": lambda d, t: d.Geometric(t([0.0, 0.5])),
    "counts": lambda d, t: d.Multinomial(t([2, 3]), t([[0.5, 0.5], [0.5, 0.5]])),
    "half a count": lambda d, t: d.Binomial(t([2.5]), t([0.5])),
    "few degrees": lambda d, t: d.Wishart(t(0.5), t([[1.0, 0.0], [0.0, 1.0]])),
    "flat wishart": lambda d, t: d.Wishart(t(3.0), t([1.0, 2.0])),
    "one variable": lambda d, t: d.LKJCholesky(1),
    "a number for a vector": lambda d, t: d.MultivariateNormal(t(0.0), t([[1.0]])),
    "no covariance": lambda d, t: d.MultivariateNormal(t([0.0, 0.0])),
    "flat covariance": lambda d, t: d.MultivariateNormal(t([0.0, 0.0]), t([1.0, 1.0])),
    "indefinite": lambda d, t: d.MultivariateNormal(t([0.0, 0.0]), t([[1.0, 2.0], [2.0, 1.0]])),
    "not symmetric": lambda d, t: d.MultivariateNormal(t([0.0, 0.0]), t([[1.0, 0.5], [0.0, 1.0]])),
    "upper factor": lambda d, t: d.MultivariateNormal(
        t([0.0, 0.0]), scale_tril=t([[1.0, 0.5], [0.0, 1.0]])
    ),
    "factor of another size": lambda d, t: d.LowRankMultivariateNormal(
        t([0.0, 0.0]), t([[1.0], [1.0], [1.0]]), t([1.0, 1.0])
    ),
    "diagonal of another size": lambda d, t: d.LowRankMultivariateNormal(
        t([0.0, 0.0]), t([[1.0], [1.0]]), t([1.0, 1.0, 1.0])
    ),
    "too many dimensions": lambda d, t: d.Independent(d.Normal(0.0, 1.0), 1),
    "no transform": lambda d, t: d.TransformedDistribution(d.Normal(0.0, 1.0), 3),
    "too few dimensions": lambda d, t: d.TransformedDistribution(
        d.Normal(0.0, 1.0), d.StickBreakingTransform()
    ),
    "no mixture": lambda d, t: d.MixtureSameFamily(d.Normal(0.0, 1.0), d.Normal(t([0.0]), 1.0)),
    "no components": lambda d, t: d.MixtureSameFamily(d.Categorical(t([1.0, 1.0])), 3),
    "other components": lambda d, t: d.MixtureSameFamily(
        d.Categorical(t([1.0, 1.0])), d.Normal(t([0.0, 0.0, 0.0]), 1.0)
    ),
    "other batches": lambda d, t: d.MixtureSameFamily(
        d.Categorical(t([[1.0, 1.0], [1.0, 1.0]])), d.Normal(t([[0.0, 0.0]] * 3), 1.0)
    ),
    "value of another shape": lambda d, t: d.Normal(t([0.0, 0.0]), 1.0).log_prob(t([0.0] * 3)),
    "value that is a number": lambda d, t: d.Normal(0.0, 1.0).log_prob(3),
    "value outside": lambda d, t: d.Gamma(t([1.0]), 1.0).log_prob(t([-1.0])),
    "value of another event": lambda d, t: d.Dirichlet(t([1.0, 1.0])).log_prob(t([0.2, 0.3, 0.5])),
    "value off the simplex": lambda d, t: d.Dirichlet(t([1.0, 1.0])).log_prob(t([0.2, 0.3])),
    "cdf outside": lambda d, t: d.Exponential(1.0).cdf(t(-1.0)),
    "different counts": lambda d, t: d.Binomial(t([2.0, 3.0]), t(0.5)).enumerate_support(),
    "entropy of different counts": lambda d, t: d.Binomial(t([2.0, 3.0]), t(0.5)).entropy(),
    "no entropy": lambda d, t: d.NegativeBinomial(2.0, t(0.5)).entropy(),
    "no samples with gradients": lambda d, t: d.Poisson(1.0).rsample(),
    "no values": lambda d, t: d.Normal(0.0, 1.0).enumerate_support(),
    "values of a product": lambda d, t: d.Independent(
        d.Bernoulli(t([0.5, 0.5])), 1
    ).enumerate_support(),
    "a default that is no bool": lambda d, t: d.Distribution.set_default_validate_args("yes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_as_by_pytorch(name):
    with pytest.raises(Exception) as ours:
        REFUSED[name](dist, flambeau.tensor)
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception) as theirs:
        REFUSED[name](torch.distributions, torch.tensor)
    assert ours.type is theirs.type
    beginning = str(theirs.value).split("\n")[0][:40]
    if beginning and name != "a default that is no bool" and not issubclass(ours.type, TypeError):
        assert str(ours.value).startswith(beginning)


def test_checks_can_be_turned_off():
    assert dist.Normal(0.0, -1.0, validate_args=False).scale == -1.0
    loose = dist.Gamma(1.0, 1.0, validate_args=False)
    assert float(loose.log_prob(flambeau.tensor(-1.0))) == 1.0
    assert dist.Distribution._validate_args
    dist.Distribution.set_default_validate_args(False)
    try:
        assert dist.Normal(0.0, -1.0).scale == -1.0
        with pytest.raises(ValueError, match="scale"):
            dist.Normal(0.0, -1.0, validate_args=True)
    finally:
        dist.Distribution.set_default_validate_args(True)
    with pytest.raises(ValueError, match="scale"):
        dist.Normal(0.0, -1.0)


def test_a_copy_checks_as_its_original_does():
    loose = dist.Gamma(1.0, 1.0, validate_args=False).expand((2,))
    loose.log_prob(flambeau.tensor(-1.0))
    with pytest.raises(ValueError, match="support"):
        dist.Gamma(1.0, 1.0).expand((2,)).log_prob(flambeau.tensor(-1.0))


class Shifted(dist.Normal):
    """A user's family with a constructor of its own."""

    def __init__(self, shift: float) -> None:
        self.shift = shift
        super().__init__(shift, 1.0)


class ShiftedAndExpanded(Shifted):
    """The same, with the `expand` that PyTorch asks for."""

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(ShiftedAndExpanded, _instance)
        new.shift = self.shift + 1
        return super().expand(batch_shape, _instance=new)


class Renamed(dist.Normal):
    """A user's family with the constructor of its parent."""


def test_expansion_of_subclasses():
    assert isinstance(Renamed(0.0, 1.0).expand((2,)), Renamed)
    with pytest.raises(NotImplementedError, match="Shifted of Normal"):
        Shifted(1.0).expand((2,))
    wide = ShiftedAndExpanded(1.0).expand((3,))
    assert type(wide) is ShiftedAndExpanded
    assert (wide.shift, wide.batch_shape, wide.loc.shape) == (2.0, (3,), (3,))


class Own(dist.Distribution):
    """A user's family that only declares what the constructor needs."""

    arg_constraints = {"rate": constraints.positive}
    support = constraints.positive

    def __init__(self, rate: Any) -> None:
        (self.rate,) = utils.broadcast_all(rate)
        super().__init__(self.rate.shape)

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self.rate.expand(self._extended_shape(sample_shape))


def test_a_family_of_the_users_own():
    p = Own(flambeau.tensor([1.0, 2.0], requires_grad=True))
    assert p.rsample((3,)).requires_grad
    assert not p.sample((3,)).requires_grad
    assert repr(p) == "Own(rate: torch.Size([2]))"
    with pytest.raises(ValueError, match="rate"):
        Own(-1.0)
    for f in (p.entropy, lambda: p.mean, lambda: p.mode, lambda: p.expand((2,))):
        with pytest.raises(NotImplementedError):
            f()
    with pytest.warns(FutureWarning):
        assert p.sample_n(4).shape == (4, 2)


def test_a_family_that_declares_nothing_is_warned_of():
    class Bare(dist.Distribution):
        pass

    with pytest.warns(UserWarning, match="arg_constraints"):
        p = Bare()
    with pytest.warns(UserWarning, match="support"):
        p._validate_sample(flambeau.tensor(0.0))


def test_the_other_parameter_is_computed_when_it_is_read():
    p = dist.Bernoulli(logits=flambeau.tensor([0.0, 1.0], requires_grad=True))
    assert "probs" not in p.__dict__
    with flambeau.no_grad():
        probs = p.probs  # keeps its gradient, whoever reads it first
    assert probs.requires_grad
    assert p.probs is probs
    assert "probs" in p.__dict__
    assert isinstance(dist.Bernoulli.probs, utils.lazy_property)


@pytest.mark.parametrize("name", FAMILIES)
def test_expansion_shares_memory_and_copies_are_independent(name):
    p = make(flambeau, name)
    wide = p.expand((4, *p.batch_shape))
    assert wide.event_shape == p.event_shape
    for key, value in p.__dict__.items():
        if isinstance(value, flambeau.Tensor) and value.numel() and key in wide.__dict__:
            assert wide.__dict__[key].data_ptr() == value.data_ptr()
    flambeau.manual_seed(0)
    expected = p.sample((2,))
    for twin in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        flambeau.manual_seed(0)
        assert twin.sample((2,)).tolist() == expected.tolist()


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_satisfy_the_support(name):
    flambeau.manual_seed(1)
    p = make(flambeau, name)
    x = p.sample((20,))
    assert x.shape == (20, *p.batch_shape, *p.event_shape)
    assert bool(p.support.check(x).all())
    assert p.log_prob(x).shape == (20, *p.batch_shape)
    assert not x.requires_grad


def test_members_and_their_arguments_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in torch.distributions.__all__:
        theirs, ours = (getattr(m.distributions, name) for m in (torch, flambeau))
        for member, function in inspect.getmembers(theirs):
            if member.startswith("_") and member != "__init__":
                continue
            assert hasattr(ours, member), (name, member)
            if inspect.isclass(theirs) and inspect.isroutine(function):
                expected = list(inspect.signature(function).parameters)
                found = list(inspect.signature(getattr(ours, member)).parameters)
                assert found == expected, (name, member)


def test_each_family_can_be_imported_from_pytorchs_module():
    torch = pytest.importorskip("torch")
    for name in torch.distributions.__all__:
        theirs = getattr(torch.distributions, name)
        if inspect.isclass(theirs):
            module = importlib.import_module(theirs.__module__.replace("torch", "flambeau", 1))
            assert getattr(module, name) is getattr(dist, name)


FAMILIES_OF_EXPONENTIALS = {
    "normal": dist.Normal(flambeau.tensor([0.5, -1.0]), 2.0),
    "gamma": dist.Gamma(flambeau.tensor([0.5, 3.0]), 2.0),
    "exponential": dist.Exponential(flambeau.tensor([0.5, 3.0])),
    "beta": dist.Beta(flambeau.tensor([0.5, 3.0]), 2.0),
    "dirichlet": dist.Dirichlet(flambeau.tensor([[0.5, 3.0, 1.0], [2.0, 2.0, 2.0]])),
    "bernoulli": dist.Bernoulli(flambeau.tensor([0.2, 0.7])),
    "continuous bernoulli": dist.ContinuousBernoulli(flambeau.tensor([0.2, 0.4999])),
    "poisson": dist.Poisson(flambeau.tensor([0.5, 3.0])),
}


@pytest.mark.parametrize("name", FAMILIES_OF_EXPONENTIALS)
def test_divergences_of_natural_parameters_are_those_of_the_formulas(name):
    p = FAMILIES_OF_EXPONENTIALS[name]
    q = p.expand((2, *p.batch_shape))
    other = type(p)(**{n: getattr(p, n).flip(0) * 0.7 for n in _given_names(p)})
    bregman = dist.kl._registry[dist.ExponentialFamily, dist.ExponentialFamily]
    expected = dist.kl_divergence(q, other)
    np.testing.assert_allclose(bregman(q, other).detach().numpy(), expected.numpy(), 2e-4, 2e-5)


def _given_names(p: Any) -> list[str]:
    return [n for n in p.arg_constraints if n != "logits"]


@pytest.mark.parametrize("name", ["normal", "exponential", "bernoulli", "continuous bernoulli"])
def test_entropies_of_natural_parameters_are_those_of_the_formulas(name):
    p = FAMILIES_OF_EXPONENTIALS[name]
    found = dist.ExponentialFamily.entropy(p).detach().numpy()
    np.testing.assert_allclose(found, p.entropy().numpy(), 1e-4, 1e-5)


def test_what_an_exponential_family_must_give():
    class Nothing(dist.ExponentialFamily):
        arg_constraints: Any = {}

    with pytest.raises(NotImplementedError):
        Nothing().entropy()
    with pytest.raises(NotImplementedError):
        dist.Poisson(2.0).entropy()


@pytest.mark.parametrize("name", ["_standard_gamma", "_sample_dirichlet"])
def test_gamma_numbers_come_in_full_precision_only(name):
    for dtype in (flambeau.float16, flambeau.bfloat16, flambeau.int64):
        with pytest.raises(NotImplementedError, match="not implemented for"):
            getattr(flambeau, name)(flambeau.ones(3, dtype=dtype))


def test_normal_numbers_are_no_integers():
    with pytest.raises(NotImplementedError, match="Long"):
        dist.Normal(flambeau.tensor([1, 2]), flambeau.tensor([1, 1])).sample()


# ---------------------------------------------------------------- distributions.utils
def test_numbers_take_the_dtype_of_tensors():
    half = flambeau.tensor([1.0, 2.0], dtype=flambeau.float64)
    a, b = utils.broadcast_all(half, 3)
    assert (b.dtype, b.tolist()) == (flambeau.float64, [3.0, 3.0])
    assert a is half or a.tolist() == half.tolist()
    (c,) = utils.broadcast_all(3)
    assert c.dtype == flambeau.float32
    assert dist.Normal(half, 1).scale.dtype == flambeau.float64


@pytest.mark.parametrize("diag", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("n", [3, 4, 6])
def test_triangles_as_vectors(n, diag):
    matrix = np.random.default_rng(0).normal(size=(2, n, n))
    vector = utils.tril_matrix_to_vec(flambeau.from_numpy(matrix), diag)
    rows, columns = np.tril_indices(n, diag)
    np.testing.assert_array_equal(vector.numpy(), matrix[:, rows, columns])
    back = utils.vec_to_tril_matrix(vector, diag)
    np.testing.assert_array_equal(back.numpy(), np.tril(matrix, diag))


def test_a_vector_that_is_no_triangle():
    with pytest.raises(ValueError, match="lower triangular"):
        utils.vec_to_tril_matrix(flambeau.zeros(5))
    with pytest.raises(ValueError, match="outside"):
        utils.tril_matrix_to_vec(flambeau.zeros(3, 3), 3)


@pytest.mark.parametrize("is_binary", [True, False])
def test_log_odds_and_probabilities(is_binary):
    torch = pytest.importorskip("torch")
    probs = [[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]]
    ours = utils.probs_to_logits(flambeau.tensor(probs), is_binary)
    theirs = torch.distributions.utils.probs_to_logits(torch.tensor(probs), is_binary)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), 1e-6)
    back = utils.logits_to_probs(ours, is_binary)
    np.testing.assert_allclose(back.numpy(), np.array(probs), atol=1e-6)
