"""Constraints against PyTorch's, on values that satisfy them and on values that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.distributions import constraints

_SQUARE = [[2.0, 0.5], [0.5, 1.0]]
_MATRICES = [
    _SQUARE,
    [[1.0, 2.0], [2.0, 1.0]],
    [[1.0, 0.0], [0.3, 1.0]],
    [[1.0, 0.0], [0.6, 0.8]],
    [[1.0, 0.0], [0.5, -1.0]],
    [[1.0, 1.0], [1.0, 1.0]],
    [[0.0, 0.0], [0.0, 0.0]],
]
_NUMBERS = [-1.5, -1.0, 0.0, 0.5, 1.0, 2.0, 3.5, float("nan"), float("inf"), float("-inf")]
_VECTORS = [[0.2, 0.8], [0.5, 0.6], [1.0, 0.0], [-0.5, 1.5], [2.0, 1.0], [float("nan"), 1.0]]

CASES: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "boolean": (lambda c: c.boolean, _NUMBERS),
    "real": (lambda c: c.real, _NUMBERS),
    "positive": (lambda c: c.positive, _NUMBERS),
    "nonnegative": (lambda c: c.nonnegative, _NUMBERS),
    "nonnegative_integer": (lambda c: c.nonnegative_integer, _NUMBERS),
    "positive_integer": (lambda c: c.positive_integer, _NUMBERS),
    "unit_interval": (lambda c: c.unit_interval, _NUMBERS),
    "interval": (lambda c: c.interval(-1.0, 2.0), _NUMBERS),
    "half_open_interval": (lambda c: c.half_open_interval(-1.0, 2.0), _NUMBERS),
    "integer_interval": (lambda c: c.integer_interval(-1, 2), _NUMBERS),
    "greater_than": (lambda c: c.greater_than(0.5), _NUMBERS),
    "greater_than_eq": (lambda c: c.greater_than_eq(0.5), _NUMBERS),
    "less_than": (lambda c: c.less_than(0.5), _NUMBERS),
    "real_vector": (lambda c: c.real_vector, _VECTORS),
    "simplex": (lambda c: c.simplex, _VECTORS),
    "one_hot": (lambda c: c.one_hot, _VECTORS),
    "multinomial": (lambda c: c.multinomial(2), _VECTORS),
    "independent": (lambda c: c.independent(c.nonnegative, 1), _VECTORS),
    "of a mixture": (lambda c: c.MixtureSameFamilyConstraint(c.simplex), _VECTORS),
    "cat": (lambda c: c.cat([c.positive, c.real], -1), _VECTORS),
    "stack": (lambda c: c.stack([c.positive, c.real], -1), _VECTORS),
    "square": (lambda c: c.square, _MATRICES),
    "symmetric": (lambda c: c.symmetric, _MATRICES),
    "lower_triangular": (lambda c: c.lower_triangular, _MATRICES),
    "lower_cholesky": (lambda c: c.lower_cholesky, _MATRICES),
    "corr_cholesky": (lambda c: c.corr_cholesky, _MATRICES),
    "positive_definite": (lambda c: c.positive_definite, _MATRICES),
    "positive_semidefinite": (lambda c: c.positive_semidefinite, _MATRICES),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_checks_are_pytorchs(name, dtype):
    torch = pytest.importorskip("torch")
    build, values = CASES[name]
    ours, theirs = build(constraints), build(torch.distributions.constraints)
    assert repr(ours) == repr(theirs) or name in ("cat", "stack")
    assert ours.event_dim == theirs.event_dim
    assert ours.is_discrete == theirs.is_discrete
    outcomes = set()
    for chunk in ([v] for v in values):
        found = ours.check(flambeau.tensor(chunk, dtype=getattr(flambeau, dtype)))
        expected = theirs.check(torch.tensor(chunk, dtype=getattr(torch, dtype)))
        assert found.dtype == flambeau.bool
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
        outcomes.update(found.reshape(-1).tolist())
    assert outcomes == ({True} if name == "square" else {True, False})


def test_a_matrix_that_is_not_square():
    matrix = flambeau.ones(4, 2, 3)
    for one in (constraints.square, constraints.symmetric, constraints.positive_definite):
        assert one.check(matrix).tolist() == [False] * 4


def test_what_depends_on_other_variables_cannot_be_checked():
    dependent = constraints.dependent
    assert constraints.is_dependent(dependent)
    assert not constraints.is_dependent(constraints.real)
    with pytest.raises(ValueError, match="dependent"):
        dependent.check(flambeau.zeros(2))
    with pytest.raises(NotImplementedError):
        _ = dependent.event_dim
    with pytest.raises(NotImplementedError):
        _ = dependent.is_discrete
    told = dependent(is_discrete=True, event_dim=1)
    assert (told.is_discrete, told.event_dim) == (True, 1)
    assert told(event_dim=2).is_discrete


def test_a_dependent_property_is_a_constraint_of_the_class_and_a_value_of_the_instance():
    class Uniform:
        high = 3.0

        @constraints.dependent_property(is_discrete=False, event_dim=0)
        def support(self) -> Any:
            return constraints.interval(0.0, self.high)

        @constraints.dependent_property
        def other(self) -> Any:
            return constraints.real

    assert constraints.is_dependent(Uniform.support)
    assert Uniform.support.event_dim == 0
    assert repr(Uniform().support) == "Interval(lower_bound=0.0, upper_bound=3.0)"
    with pytest.raises(NotImplementedError):
        _ = Uniform.other.event_dim
    assert Uniform().other is constraints.real


@pytest.mark.parametrize(
    "act",
    [
        lambda c: c.independent("real", 1),
        lambda c: c.independent(c.real, -1),
        lambda c: c.stack(["real"]),
        lambda c: c.cat([c.real], lengths=[1, 2]),
        lambda c: c.real_vector.check(flambeau.tensor(1.0)),
        lambda c: c.stack([c.real], 0).check(flambeau.zeros(2)),
    ],
)
def test_what_is_refused(act):
    with pytest.raises((ValueError, TypeError)):
        act(constraints)
