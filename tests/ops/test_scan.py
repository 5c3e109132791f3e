"""Running sums, products and extrema, differences and areas, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compare import Case, agree, case, integers, normal
from tests.ops.samples import cases_of
from tests.oracle import FAILING
from tests.oracle import agree as agree_on_script

SCANS = ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"]


@pytest.mark.parametrize("layout", ["plain", "reversed"])
@pytest.mark.parametrize("made", cases_of("scan"))
def test_value_and_two_gradients(made: Case, layout: str) -> None:
    agree(made, layout=layout)


@pytest.mark.parametrize("name", SCANS)
def test_edges(name: str) -> None:
    nan, inf = float("nan"), float("inf")
    x = np.array([[1.0, nan, 2.0, 3.0], [-inf, 1.0, inf, 2.0], [0.0, 0.0, -1.0, 0.0]])

    def script(L):
        out = getattr(L, name)(L.from_numpy(x), 1)
        return list(out) if isinstance(out, tuple) else out

    agree_on_script(script)


@pytest.mark.parametrize("name", SCANS)
def test_scalars_and_empty(name: str) -> None:
    def script(L):
        found = []
        for shape in ((), (0,), (2, 0), (0, 2)):
            out = getattr(L, name)(L.ones(shape), 0)
            found += list(out) if isinstance(out, tuple) else [out]
        return found

    agree_on_script(script)


def test_integers_and_bools() -> None:
    def script(L):
        x, b = L.from_numpy(integers(9, 3, 4)), L.tensor([True, True, False])
        return [
            x.cumsum(1), x.int().cumprod(0), b.cumsum(0), b.cumprod(0), *x.cummax(1), x.diff(),
            b.diff(), x.cumsum(0, dtype=L.float32), L.trapezoid(x), x.clone().cumsum_(0),
        ]  # fmt: skip

    agree_on_script(script)


def test_half_precision_accumulates_in_single() -> None:
    def script(L):
        x = L.from_numpy(np.abs(normal(500))).bfloat16()
        return [x.cumsum(0), x[:20].cumprod(0), x.half().cumsum(0)]

    agree_on_script(script, rtol=1e-2)


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_running_products_with_zeros_have_gradients(zeros: int) -> None:
    x = np.array([2.0, 3.0, 0.5, 4.0])
    x[1 : 1 + zeros] = 0
    agree(case("cumprod", x, 0).values[0])


def test_extrema_hand_their_gradient_to_the_last_of_equals() -> None:
    def script(L):
        x = L.tensor([1.0, 3.0, 3.0, 2.0, 5.0], requires_grad=True)
        values, places = x.cummax(0)
        (values * L.arange(5.0)).sum().backward()
        return [values, places, x.grad]

    agree_on_script(script)


REFUSED = [
    lambda L: L.ones(3).cumsum(1),
    lambda L: L.ones(()).diff(),
    lambda L: L.ones(3).diff(-1),
    lambda L: L.cummax(L.tensor([1j]), 0),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree_on_script(REFUSED[number])
