"""Special functions of float64 to less than a unit in the last place, against more digits."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau.backends.cpu.elementwise import Fused
from flambeau.compiler import jit
from flambeau.compiler.expressions import Expression

mp = pytest.importorskip("mpmath")
pytestmark = pytest.mark.skipif(not jit.available(), reason="nothing is compiled")


def kernel(name):
    def no_reference(*_):
        raise AssertionError("no kernel was used")

    return Fused(f"test.{name}", Expression(name, Expression("input", "x")), ["x"], no_reference)


def uniform(low, high, size=400):
    return np.random.default_rng(7).uniform(low, high, size)


def powers(low, high, size=400):
    """Numbers of any size between two powers of two."""
    return np.exp2(uniform(low, high, size))


ARGUMENTS = {
    "erf": [uniform(-3, 3), powers(-1000, 1), uniform(0.9, 1.1)],
    "erfc": [uniform(-6, 6), uniform(0.4, 0.6), uniform(6, 26), powers(-60, 2)],
    "erfinv": [uniform(-1, 1), powers(-1000, -1), 1 - powers(-50, -2), uniform(0.45, 0.55)],
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_errors_are_below_a_unit_or_so(name):
    x = np.concatenate(ARGUMENTS[name])
    with mp.workdps(40):
        truth = [getattr(mp, name)(mp.mpf(v)) for v in x.tolist()]
        found = kernel(name)(x)
        errors = [
            float(abs(mp.mpf(y) - t)) / np.spacing(abs(float(t)))
            for y, t in zip(found.tolist(), truth, strict=True)
        ]
    worst = int(np.argmax(errors))
    assert errors[worst] < 1.2, f"{name}({x[worst]!r}) = {found[worst]!r}, true {truth[worst]}"


def true_lgamma(x):
    return mp.log(abs(mp.gamma(x))) if abs(x) < 100 else mp.loggamma(x).real


@pytest.mark.parametrize(
    ("x", "most"),
    [
        (uniform(0, 3, 1000), 2),
        (np.concatenate([1 + powers(-45, -5), 1 - powers(-45, -5)]), 1),
        (np.concatenate([2 + powers(-45, -5), 2 - powers(-45, -5)]), 1),
        (uniform(3, 30), 1),
        (powers(4, 60), 1.2),
        (powers(-1000, -4), 1),
        (-powers(-1000, -0.5), 1),
        (np.array([-0.5, -1.5, -5.5, -20.25, -99.75, -1000.5, -(2.0**51) - 0.5]), 1.2),
    ],
    ids=["small", "near 1", "near 2", "middle", "large", "tiny", "minus", "negative"],
)
def test_lgamma(x, most):
    found = kernel("lgamma")(x)
    with mp.workdps(60):
        truth = [true_lgamma(mp.mpf(v)) for v in x.tolist()]
        errors = [
            float(abs(mp.mpf(y) - t)) / np.spacing(abs(float(t)))
            for y, t in zip(found.tolist(), truth, strict=True)
        ]
    worst = int(np.argmax(errors))
    assert errors[worst] < most, f"lgamma({x[worst]!r}) = {found[worst]!r}, true {truth[worst]}"


def test_lgamma_where_it_is_zero_below_zero():
    x = uniform(-40, 0, 1000)
    found = kernel("lgamma")(x)
    truth = [float(true_lgamma(mp.mpf(v))) for v in x.tolist()]
    np.testing.assert_allclose(found, truth, rtol=4e-16, atol=3e-17 * 40)


def test_ends_of_lgamma():
    x = np.array([0.0, -0.0, 1, 2, -1, -7, np.inf, -np.inf, 2.557e305, -1e308, np.nan, 2.5563e305])
    found = kernel("lgamma")(x)
    expected = [np.inf, np.inf, 0, 0, *[np.inf] * 6, np.nan]
    np.testing.assert_array_equal(found[:-1], expected)
    assert found[-1] == pytest.approx(1.7951029165623062e308, rel=1e-15)
    tiny = np.array([5e-324, -5e-324, 1e-308, -1e-30])
    np.testing.assert_allclose(kernel("lgamma")(tiny), -np.log(np.abs(tiny)))


def test_ends_of_the_error_functions():
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 30.0, -30.0, 27.3, 5e-324])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(kernel("erf")(x)[:7], [0, 0, 1, -1, np.nan, 1, -1])
        np.testing.assert_array_equal(kernel("erfc")(x)[:7], [1, 1, 0, 2, np.nan, 0, 2])
    assert kernel("erf")(x)[8] == 5e-324
    y = np.array([1.0, -1.0, 1.5, -np.inf, np.nan, 0.0, -0.0, 5e-324, 1 - 2**-53])
    found = kernel("erfinv")(y)
    np.testing.assert_array_equal(found[:6], [np.inf, -np.inf, np.nan, np.nan, np.nan, 0])
    assert np.signbit(found[6])
    assert found[8] == pytest.approx(5.863584748755167, rel=1e-15)
