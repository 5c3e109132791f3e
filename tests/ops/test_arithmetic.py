"""Arithmetic of two and three tensors, against PyTorch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau
from tests.ops.compare import Case, agree, case, integers, normal, refuse
from tests.ops.samples import cases_of
from tests.oracle import FAILING
from tests.oracle import agree as agree_on_script

EDGES = np.array([0.0, -0.0, 1.0, -1.0, 2.5, -7.5, np.inf, -np.inf, np.nan, 1e-30])
BINARY = """add sub mul true_divide floor_divide remainder fmod maximum minimum fmax fmin hypot
atan2 copysign nextafter logaddexp logaddexp2 xlogy pow""".split()
DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64".split()


@pytest.mark.parametrize("layout", ["plain", "reversed"])
@pytest.mark.parametrize("made", cases_of("arithmetic"))
def test_value_and_two_gradients(made: Case, layout: str) -> None:
    if made.path.startswith("igamma"):
        pytest.skip("has no derivative for its first argument")
    agree(made, layout=layout)


@pytest.mark.parametrize("name", BINARY)
def test_edges(name: str) -> None:
    a, b = (x.ravel() for x in np.meshgrid(EDGES, EDGES))
    agree_on_script(lambda L: getattr(L, name)(L.from_numpy(a), L.from_numpy(b)))


@pytest.mark.parametrize("name", [n for n in BINARY if n != "floor_divide"])
def test_gradients_at_edges(name: str) -> None:
    a, b = (x.ravel() for x in np.meshgrid(EDGES, EDGES))
    agree(case(name, a, b).values[0], order=1)


@pytest.mark.parametrize("name", ["add", "mul", "true_divide", "eq"])
def test_types_promote(name: str) -> None:
    def script(L):
        found = []
        for one, two in itertools.product(DTYPES, DTYPES):
            if "float16" in (one, two) and "complex64" in (one, two):
                continue  # that would be complex32, which cannot be stored
            a = L.tensor([1, 1, 0]).to(getattr(L, one))
            b = L.tensor([1, 1, 1]).to(getattr(L, two))
            for x, y in ((a, b), (a, b[0]), (a, 2), (a, 1.5), (a[0], 1.5)):
                out = getattr(L, name)(x, y)
                found.append((one, two, str(out.dtype)))
        return found

    agree_on_script(script)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["add", "mul", "true_divide", "maximum", "hypot", "pow"])
def test_half_precision_rounds_once(name: str, dtype: str) -> None:
    a, b = np.abs(normal(50)) + 0.1, np.abs(normal(50, seed=1)) + 0.1
    ulp = 2.0**-10 if dtype == "float16" else 2.0**-7
    agree(case(name, a, b).values[0], dtype=dtype, order=1, rtol=4 * ulp, atol=1e-3)


def test_integers_wrap() -> None:
    def script(L):
        x = L.tensor([120, -120, 5], dtype=L.int8)
        return [x + 100, x * 3, -x, x - 100, x + 300, x // 7, x % 7, x**2]

    agree_on_script(script)


@pytest.mark.parametrize("mode", [None, "floor", "trunc"])
def test_division_modes(mode: str | None) -> None:
    def script(L):
        a, b = L.tensor([7, -7, 7, -7]), L.tensor([2, 2, -2, -2])
        return [L.div(a, b, rounding_mode=mode), L.div(a.float(), b, rounding_mode=mode)]

    agree_on_script(script)


def test_operators_with_numbers_on_either_side() -> None:
    def script(L):
        x, i = L.tensor([1.5, -2.5, 4.0]), L.tensor([3, -4, 5])
        return [
            2 - x, 2 / x, 2**x, 7 // x, 7 % x, 2 - i, 7 / i, 7 // i, 7 % i, 2 ** i.abs(),
            x + True, i + 1.5, i * 2, i / 2, x - 1j, -x, abs(x), +x, divmod(7, 2),
        ]  # fmt: skip

    agree_on_script(script)


def test_in_place_and_out() -> None:
    def script(L):
        x = L.tensor([1.5, -2.5, 4.0])
        x.add_(1).mul_(2).sub_(0.5).div_(3).clamp_(-0.5, 2).pow_(2)
        y = L.empty(3)
        L.add(x, 1, alpha=3, out=y)
        i = L.tensor([1, 2, 3])
        i.add_(2).floor_divide_(2)
        return [x, y, i, L.clip(x, max=0.5), x.clamp_min(0.1), x.lerp_(y, 0.25), x.addcmul_(x, y)]

    agree_on_script(script)


def test_gradient_of_in_place_chain() -> None:
    def script(L):
        x = L.tensor([1.5, 2.5, 4.0], requires_grad=True)
        y = (x * 2).mul_(x).add_(1).div_(x).clamp_(max=6.0).pow_(2)
        y.sum().backward()
        return [y, x.grad]

    agree_on_script(script)


def test_extrema_share_a_tie() -> None:
    def script(L):
        a = L.tensor([1.0, 2.0, 3.0], requires_grad=True)
        b = L.tensor([1.0, 5.0, 0.0], requires_grad=True)
        (L.maximum(a, b) + 2 * L.minimum(a, b) + 3 * L.fmax(a, b)).sum().backward()
        return [a.grad, b.grad]

    agree_on_script(script)


REFUSED = [
    lambda L: L.add(L.ones(2, 3), L.ones(2, 4)),
    lambda L: L.ones(2, dtype=L.int64).add_(1.5),
    lambda L: L.ones(2).bool() - L.ones(2).bool(),
    lambda L: -L.ones(2).bool(),
    lambda L: L.tensor([1, 2]) // 0,
    lambda L: L.tensor([1, 2]) % L.tensor([0, 1]),
    lambda L: L.tensor([2, 3]) ** -1,
    lambda L: L.div(L.ones(2), 2, rounding_mode="up"),
    lambda L: L.clamp(L.ones(2)),
    lambda L: L.maximum(L.ones(2) + 1j, L.ones(2)),
    lambda L: L.add(L.ones(2), "two"),
    lambda L: L.add(L.ones(2), None),
    lambda L: L.atan2(L.ones(2), 1),
    lambda L: L.pow(2, 3),
    lambda L: L.ones(2).add_(L.ones(3, 2)),
    lambda L: L.gcd(L.ones(2), L.ones(2)),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree_on_script(REFUSED[number])


def test_refused_shapes_are_named() -> None:
    refuse(case("mul", normal(2, 3), integers(3, 4)).values[0])


EXPONENTS = [2, 3, 4, 0.5, -0.5, -1, -2, 1.5, 2.5, 5, 0, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_large_arrays_to_the_usual_powers(exponent, dtype):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(3).uniform(0.1, 4, 9000)
    found = []
    for library in (flambeau, torch):
        x = library.tensor(values).to(getattr(library, dtype)).requires_grad_()
        y = library.pow(x, exponent)
        y.sum().backward()
        found.append([v.detach().double().numpy() for v in (y, x.grad)])
    tolerance = {"float32": 5e-7, "float64": 2e-15, "bfloat16": 2e-2}[dtype]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def test_whole_numbers_to_negative_powers_are_refused_at_any_size():
    for size in (3, 50_000):
        with pytest.raises(RuntimeError, match="negative integer powers"):
            flambeau.pow(flambeau.ones(size, dtype=flambeau.int64), -1)


def test_heaviside_of_truth_values():
    x, values = flambeau.tensor([True, False, False]), flambeau.tensor([False, True, False])
    assert flambeau.heaviside(x, values).tolist() == [True, True, False]
    with pytest.raises(RuntimeError, match="one dtype"):
        flambeau.heaviside(x, values.float())
