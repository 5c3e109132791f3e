"""Functions of one tensor, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from tests.ops.compare import Case, agree, case, normal
from tests.ops.samples import cases_of
from tests.oracle import FAILING
from tests.oracle import agree as agree_on_script

EDGES = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, 1e-30, -1e30, np.inf, -np.inf, np.nan])
SMOOTH = """reciprocal sqrt rsqrt exp expm1 exp2 log log1p log2 log10 sin cos tan asin acos atan
sinh cosh tanh asinh acosh atanh sinc sigmoid erf erfc lgamma digamma""".split()
OTHER = "neg abs sign sgn square ceil floor trunc round deg2rad rad2deg nan_to_num".split()
COMPLEX = """neg abs sgn square reciprocal sqrt rsqrt exp expm1 log log2 log10 log1p sin cos tan
sinh cosh tanh asin acos atan asinh acosh atanh sigmoid real imag conj angle""".split()
SPECIAL = """airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 modified_bessel_i0 modified_bessel_i1
modified_bessel_k0 modified_bessel_k1 scaled_modified_bessel_k0 scaled_modified_bessel_k1
spherical_bessel_j0""".split()


@pytest.mark.parametrize("layout", ["plain", "reversed"])
@pytest.mark.parametrize("made", cases_of("unary", "complex_numbers"))
def test_value_and_two_gradients(made: Case, layout: str) -> None:
    if layout == "reversed" and made.path == "view_as_complex":
        pytest.skip("needs pairs that are neighbours in memory")
    agree(made, layout=layout)


@pytest.mark.parametrize("name", [*SMOOTH, *OTHER, "frac"])
def test_edges(name: str) -> None:
    agree(case(name, EDGES).values[0], order=0)


@pytest.mark.parametrize("name", [*SMOOTH, *OTHER])
def test_integers_and_bools(name: str) -> None:
    def script(L):
        found = [getattr(L, name)(L.tensor([1, 2, 5]))]
        if name not in ("neg", "abs", "nan_to_num", "ceil", "floor", "trunc", "round"):
            found.append(getattr(L, name)(L.tensor([True, False])))
        return found

    agree_on_script(script)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sigmoid", "sqrt", "erf", "sin"])
def test_low_precision(name: str, dtype: str) -> None:
    rtol = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-6}[dtype]
    agree(case(name, np.abs(normal(200)) + 0.1).values[0], dtype=dtype, order=1, rtol=rtol,
          atol=rtol)  # fmt: skip


@pytest.mark.parametrize("name", COMPLEX)
def test_complex(name: str) -> None:
    def script(L):
        z = L.from_numpy(normal(4, 3) + 1j * normal(4, 3, seed=1)).requires_grad_()
        w = L.from_numpy(normal(4, 3, seed=2))
        out = getattr(L, name)(z)
        (abs(out) * w).sum().backward()
        return [out, z.grad]

    agree_on_script(script)


@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions(name: str) -> None:
    x = np.linspace(0.1, 9, 60)
    agree_on_script(lambda L: getattr(L.special, name)(L.from_numpy(x)), rtol=1e-9)


@pytest.mark.parametrize("name", ["i0", "i0e", "i1", "i1e", "erfcx", "ndtr", "log_ndtr"])
def test_special_functions_with_gradients(name: str) -> None:
    agree(case(f"special.{name}", np.linspace(-4, 4, 33) + 0.01).values[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["ndtri", "entr", "logit", "erfinv"])
def test_special_functions_of_probabilities(name: str) -> None:
    agree(case(f"special.{name}", np.linspace(0.05, 0.95, 19)).values[0], rtol=1e-6)


@pytest.mark.parametrize("letter", "tuvw")
def test_chebyshev_polynomials(letter: str) -> None:
    def script(L):
        x, n = L.linspace(-1, 1, 9, dtype=L.float64), L.arange(-1, 7).reshape(-1, 1)
        return getattr(L.special, f"chebyshev_polynomial_{letter}")(x, n)

    agree_on_script(script, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["hermite_polynomial_h", "hermite_polynomial_he",
                                  "laguerre_polynomial_l", "legendre_polynomial_p"])  # fmt: skip
def test_other_polynomials(name: str) -> None:
    def script(L):
        x, n = L.linspace(-1, 1, 9, dtype=L.float64), L.arange(-1, 7).reshape(-1, 1)
        return getattr(L.special, name)(x, n)

    agree_on_script(script, rtol=1e-9, atol=1e-12)


def test_zeta_and_incomplete_gamma() -> None:
    def script(L):
        a, x = L.tensor([0.5, 1.5, 3.0]).double(), L.tensor([0.2, 2.0, 3.5]).double()
        x.requires_grad_()
        found = [L.special.zeta(a + 1.1, x), L.special.gammainc(a, x), L.igammac(a, x)]
        (found[0] + 2 * found[1] + found[2] ** 2).sum().backward()
        return [*found, x.grad]

    agree_on_script(script)


def test_powers_with_short_cuts() -> None:
    def script(L):
        found = []
        for p in (0, 0.5, 1, 2, 3, -1, -2, 2.5):
            x = L.tensor([0.5, 1.0, 3.0], dtype=L.float64, requires_grad=True)
            y = x**p
            (g,) = L.autograd.grad(y.sum(), x, create_graph=True)
            found += [y, g, *(L.autograd.grad(g.sum(), x, allow_unused=True) if p > 1 else ())]
        return found

    agree_on_script(script)


def test_in_place_forms() -> None:
    def script(L):
        x = L.tensor([0.3, 1.2, 2.5])
        return [
            getattr(x.clone(), f"{n}_")()
            for n in "exp log sqrt sin tanh sigmoid neg abs floor round reciprocal erf".split()
        ]

    agree_on_script(script)


def test_parts_of_complex_numbers_are_views() -> None:
    def script(L):
        z = L.tensor([1 + 2j, 3 - 4j])
        z.real[0] = 5
        z.imag.mul_(2)
        L.view_as_real(z)[1, 0] = 7
        return [z, L.view_as_complex(L.view_as_real(z)), z.abs(), z.angle()]

    agree_on_script(script)


def test_nan_to_num_takes_replacements() -> None:
    def script(L):
        x = L.tensor([float("nan"), float("inf"), -float("inf"), 1.5], requires_grad=True)
        y = x.nan_to_num(0.5, 9.0, -9.0)
        y.sum().backward()
        return [y, x.grad, x.detach().half().nan_to_num(), x.detach().double().nan_to_num()]

    agree_on_script(script)


REFUSED = [
    lambda L: L.neg(L.tensor([True])),
    lambda L: L.floor(L.tensor([1j])),
    lambda L: L.imag(L.ones(2)),
    lambda L: L.view_as_complex(L.ones(3)),
    lambda L: L.polar(L.ones(2), L.ones(2).double()),
    lambda L: L.exp(3.0),
    lambda L: L.ones(2, dtype=L.int64).exp_(),
    lambda L: L.polygamma(-1, L.ones(2)),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree_on_script(REFUSED[number])


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("numbers", [{}, {"nan": 1.5, "posinf": 2.0}, {"neginf": -3.0}])
def test_nan_to_num_of_large_arrays(dtype, numbers):
    torch = pytest.importorskip("torch")
    values = np.tile([1.0, np.nan, np.inf, -np.inf, -0.0, 2.5], 2000)
    ours, theirs = (
        library.nan_to_num(library.tensor(values).to(getattr(library, dtype)), **numbers)
        for library in (flambeau, torch)
    )
    np.testing.assert_array_equal(ours.double().numpy(), theirs.double().numpy())
