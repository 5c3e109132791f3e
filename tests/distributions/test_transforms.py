"""Transforms against PyTorch's, their inverses, and their determinants by differentiation."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import distributions as dist
from flambeau.distributions import constraints, transforms
from tests.ops.compare import normal

Make = Callable[[Any, Any], Any]

# A transform of library `d`, whose tensors are made by `t`, and an argument.
CASES: dict[str, tuple[Make, Any]] = {
    "exp": (lambda d, t: d.ExpTransform(), normal(3, 4)),
    "power": (lambda d, t: d.PowerTransform(t([2.0, -0.5, 0.3, 3.0])), abs(normal(3, 4)) + 0.1),
    "power of a number": (lambda d, t: d.PowerTransform(t(1.5)), abs(normal(4)) + 0.1),
    "sigmoid": (lambda d, t: d.SigmoidTransform(), normal(3, 4) * 3),
    "softplus": (lambda d, t: d.SoftplusTransform(), normal(3, 4) * 3),
    "tanh": (lambda d, t: d.TanhTransform(), normal(3, 4)),
    "affine": (lambda d, t: d.AffineTransform(1.0, -2.5), normal(3, 4)),
    "affine by tensors": (
        lambda d, t: d.AffineTransform(t([1.0, 0.0]), t([0.3, -2.0])),
        normal(3, 2),
    ),
    "affine of vectors": (
        lambda d, t: d.AffineTransform(t([1.0, 0.0]), t([0.3, 2.0]), 1),
        normal(3, 2),
    ),
    "affine of matrices": (lambda d, t: d.AffineTransform(0.5, 2.0, event_dim=2), normal(5, 3, 2)),
    "stick breaking": (lambda d, t: d.StickBreakingTransform(), normal(3, 4)),
    "correlation": (lambda d, t: d.CorrCholeskyTransform(), normal(3, 6) * 0.5),
    "reshape": (lambda d, t: d.ReshapeTransform((2, 3), (6,)), normal(5, 2, 3)),
    "cdf": (lambda d, t: d.CumulativeDistributionTransform(d.Normal(t(0.5), t(2.0))), normal(4)),
    "inverse": (lambda d, t: d.ExpTransform().inv, abs(normal(4)) + 0.1),
    "nothing": (lambda d, t: d.identity_transform, normal(4)),
    "composed": (
        lambda d, t: d.ComposeTransform([d.AffineTransform(0.2, 0.5), d.TanhTransform()]),
        normal(3, 4),
    ),
    "composed of numbers and vectors": (
        lambda d, t: d.ComposeTransform(
            [d.AffineTransform(0.2, 0.5), d.StickBreakingTransform(), d.ExpTransform().inv]
        ),
        normal(3, 4),
    ),
    "independent": (lambda d, t: d.IndependentTransform(d.ExpTransform(), 2), normal(5, 3, 2)),
    "stacked": (
        lambda d, t: d.StackTransform([d.ExpTransform(), d.TanhTransform()], dim=1),
        normal(3, 2, 2),
    ),
    "joined": (
        lambda d, t: d.CatTransform([d.ExpTransform(), d.TanhTransform()], 1, [3, 1]),
        normal(3, 4),
    ),
    "joined vectors": (
        lambda d, t: d.CatTransform(
            [d.IndependentTransform(d.ExpTransform(), 1), d.AffineTransform(1.0, 2.0, 1)],
            -1,
            [3, 1],
        ),
        normal(3, 4),
    ),
}
MANY_TO_ONE: dict[str, tuple[Make, Any]] = {
    "abs": (lambda d, t: d.AbsTransform(), normal(3, 4)),
    "softmax": (lambda d, t: d.SoftmaxTransform(), normal(3, 4)),
    "lower cholesky": (lambda d, t: d.LowerCholeskyTransform(), normal(2, 3, 3)),
    "positive definite": (lambda d, t: d.PositiveDefiniteTransform(), normal(2, 3, 3)),
}
ALL = {**CASES, **MANY_TO_ONE}


def _built(library: Any, name: str) -> tuple[Any, Any]:
    build, x = ALL[name]
    kind = library.float64
    made = build(library.distributions, lambda values: library.tensor(values, dtype=kind))
    return made, library.from_numpy(x.copy())


@pytest.mark.parametrize("name", ALL)
def test_values_and_facts_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    (ours, x), (theirs, torch_x) = _built(flambeau, name), _built(torch, name)
    y, torch_y = ours(x), theirs(torch_x)
    np.testing.assert_allclose(y.numpy(), torch_y.numpy(), 1e-12, 1e-14)
    back = ours.inv(y).numpy()
    np.testing.assert_allclose(back, theirs.inv(torch_y).numpy(), 1e-8, 1e-10)
    assert repr(ours) == repr(theirs)
    for fact in ("domain", "codomain", "bijective"):
        assert str(getattr(ours, fact)) == str(getattr(theirs, fact))
        assert str(getattr(ours.inv, fact)) == str(getattr(theirs.inv, fact))
    for f in (lambda t: t.sign, lambda t: t.inv.sign):
        assert _or_error(lambda: np.asarray(f(ours)).tolist()) == _or_error(
            lambda: np.asarray(f(theirs)).tolist()
        )
    assert tuple(ours.forward_shape(x.shape)) == tuple(y.shape)
    assert tuple(ours.inverse_shape(y.shape)) == tuple(x.shape)


def _or_error(f: Callable[[], Any]) -> Any:
    try:
        return f()
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("name", CASES)
def test_inverses_lead_back(name):
    transform, x = _built(flambeau, name)
    assert transform.inv.inv is transform
    np.testing.assert_allclose(transform.inv(transform(x)).numpy(), x.numpy(), 1e-8, 1e-9)


@pytest.mark.parametrize("name", CASES)
def test_log_determinants_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    (ours, x), (theirs, torch_x) = _built(flambeau, name), _built(torch, name)
    for forward, backward in ((ours, theirs), (ours.inv, theirs.inv)):
        y, torch_y = forward(x), backward(torch_x)
        found = forward.log_abs_det_jacobian(x, y)
        expected = backward.log_abs_det_jacobian(torch_x, torch_y)
        assert tuple(found.shape) == tuple(expected.shape)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), 1e-8, 1e-9)
        x, torch_x = y, torch_y


def _entries(name: str, y: Any) -> Any:
    """The entries of a value that are free."""
    if name == "stick breaking":
        return y[..., :-1]
    return dist.utils.tril_matrix_to_vec(y, -1) if name == "correlation" else y


# The logarithm of a point of the simplex has an entry too many for a Jacobian.
@pytest.mark.parametrize("name", [n for n in CASES if n != "composed of numbers and vectors"])
def test_log_determinants_are_those_of_the_jacobian(name):
    transform, x = _built(flambeau, name)
    found = transform.log_abs_det_jacobian(x, transform(x)).sum()
    columns = []
    for i in range(x.numel()):
        sides = []
        for step in (1e-6, -1e-6):
            moved = x.clone()
            moved.view(-1)[i] += step
            sides.append(_entries(name, transform(moved)).numpy().reshape(-1))
        columns.append((sides[0] - sides[1]) / 2e-6)
    np.testing.assert_allclose(float(found), np.linalg.slogdet(np.array(columns))[1], 1e-6, 1e-6)


@pytest.mark.parametrize("name", ALL)
def test_values_lie_in_the_codomain(name):
    transform, x = _built(flambeau, name)
    if "joined" in name or "stacked" in name:
        return  # PyTorch's check of parts needs values of one shape
    assert bool(transform.domain.check(x).all())
    assert bool(transform.codomain.check(transform(x)).all())


def test_a_cache_gives_the_very_argument_back():
    for cached in (transforms.ExpTransform(cache_size=1), transforms.ExpTransform().with_cache()):
        x = flambeau.randn(3)
        y = cached(x)
        assert cached.inv(y) is x
        assert cached(x) is y
        assert cached.inv.with_cache(0)(y) is not x
        z = flambeau.rand(3)
        assert cached(cached.inv(z)) is z
    plain = transforms.ExpTransform()
    assert plain.inv(plain(x)) is not x
    assert plain.with_cache(0) is plain
    composed = transforms.ComposeTransform([plain, transforms.SigmoidTransform()], cache_size=1)
    y = composed(x)
    assert composed.inv(y) is x


def test_equality():
    affine = transforms.AffineTransform
    assert affine(0.0, 1.0) == affine(0.0, 1.0)
    assert affine(0.0, 1.0) != affine(0.0, 2.0)
    assert affine(flambeau.zeros(2), 1.0) == affine(flambeau.zeros(2), 1.0)
    assert transforms.ExpTransform() == transforms.ExpTransform()
    assert transforms.ExpTransform() != transforms.TanhTransform()
    assert transforms.ExpTransform().inv == transforms.ExpTransform().inv
    assert transforms.ComposeTransform([affine(0.0, 1.0)]) == transforms.ComposeTransform(
        [affine(0.0, 1.0)]
    )
    assert transforms.PowerTransform(2.0) != transforms.PowerTransform(3.0)


def test_a_transform_is_pickled_without_its_inverse():
    transform = transforms.AffineTransform(1.0, 2.0)
    inverse = transform.inv
    copy = pickle.loads(pickle.dumps(transform))
    assert copy == transform
    assert copy.inv is not inverse


@pytest.mark.parametrize(
    ("error", "act"),
    [
        (ValueError, lambda d, zeros: d.ExpTransform(cache_size=2)),
        (ValueError, lambda d, zeros: d.ReshapeTransform((2,), (3,))),
        (ValueError, lambda d, zeros: d.StickBreakingTransform().forward_shape(())),
        (ValueError, lambda d, zeros: d.CorrCholeskyTransform().forward_shape((4,))),
        (ValueError, lambda d, zeros: d.CorrCholeskyTransform().inverse_shape((4, 3))),
        (ValueError, lambda d, zeros: d.IndependentTransform(d.ExpTransform(), 1)(zeros(()))),
        (ValueError, lambda d, zeros: d.ReshapeTransform((2,), (2, 1)).forward_shape((3,))),
        (ValueError, lambda d, zeros: d.CorrCholeskyTransform().event_dim),
        (NotImplementedError, lambda d, zeros: d.SoftmaxTransform().sign),
        (NotImplementedError, lambda d, zeros: d.AbsTransform().log_abs_det_jacobian(1, 2)),
    ],
)
def test_what_is_refused(error, act):
    with pytest.raises(error):
        act(dist, flambeau.zeros)
    torch = pytest.importorskip("torch")
    with pytest.raises(error):
        act(torch.distributions, torch.zeros)


# ---------------------------------------------------------------- from constraints to transforms
CONSTRAINTS: dict[str, Callable[[Any], Any]] = {
    "real": lambda c: c.real,
    "real_vector": lambda c: c.real_vector,
    "positive": lambda c: c.positive,
    "nonnegative": lambda c: c.nonnegative,
    "greater_than": lambda c: c.greater_than(-3.0),
    "less_than": lambda c: c.less_than(2.0),
    "unit_interval": lambda c: c.unit_interval,
    "interval": lambda c: c.interval(-2.0, 5.0),
    "half_open": lambda c: c.half_open_interval(-2.0, 5.0),
    "simplex": lambda c: c.simplex,
    "corr_cholesky": lambda c: c.corr_cholesky,
    "lower_cholesky": lambda c: c.lower_cholesky,
    "positive_definite": lambda c: c.positive_definite,
    "positive_semidefinite": lambda c: c.positive_semidefinite,
    "independent": lambda c: c.independent(c.positive, 1),
    "stack": lambda c: c.stack([c.positive, c.real, c.unit_interval], -1),
    "cat": lambda c: c.cat([c.positive, c.real], -1, [2, 1]),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
def test_registered_transforms_lead_into_the_constraint(registry, name):
    torch = pytest.importorskip("torch")
    their_constraint = CONSTRAINTS[name](torch.distributions.constraints)
    constraint = CONSTRAINTS[name](constraints)
    try:
        theirs = getattr(torch.distributions, registry)(their_constraint)
    except NotImplementedError:
        with pytest.raises(NotImplementedError):
            getattr(dist, registry)(constraint)
        return
    ours = getattr(dist, registry)(constraint)
    assert repr(ours) == repr(theirs)
    x = normal(3, 3, 3)
    y = ours(flambeau.from_numpy(x.copy()))
    np.testing.assert_allclose(y.numpy(), theirs(torch.from_numpy(x)).numpy(), 1e-10, 1e-12)
    assert bool(constraint.check(y).all())


def test_a_registry_takes_new_constraints():
    class Even(constraints.Constraint):
        pass

    registry = dist.constraint_registry.ConstraintRegistry()
    with pytest.raises(NotImplementedError, match="Even"):
        registry(Even())
    registry.register(Even, lambda c: transforms.ExpTransform())
    assert registry(Even()) == transforms.ExpTransform()

    @registry.register(constraints.positive)
    def _exp(constraint: Any) -> Any:
        return transforms.SoftplusTransform()

    assert registry(constraints.greater_than(3.0)) == transforms.SoftplusTransform()
    with pytest.raises(TypeError):
        registry.register(int, lambda c: transforms.ExpTransform())
