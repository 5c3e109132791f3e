"""Comparisons, logic and bit patterns, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compare import Case, agree
from tests.ops.samples import cases_of
from tests.oracle import FAILING
from tests.oracle import agree as agree_on_script

EDGES = np.array([0.0, -0.0, 1.0, -1.0, 2.5, np.inf, -np.inf, np.nan])


@pytest.mark.parametrize("layout", ["plain", "reversed"])
@pytest.mark.parametrize("made", cases_of("comparison", "bitwise"))
def test_value(made: Case, layout: str) -> None:
    agree(made, layout=layout)


@pytest.mark.parametrize("name", "eq ne lt le gt ge logical_and logical_or logical_xor".split())
def test_edges(name: str) -> None:
    a, b = (x.ravel() for x in np.meshgrid(EDGES, EDGES))
    agree_on_script(lambda L: getattr(L, name)(L.from_numpy(a), L.from_numpy(b)))


def test_operators() -> None:
    def script(L):
        x, i, b = L.tensor([1.0, 2.0, 3.0]), L.tensor([1, 2, 3]), L.tensor([True, False, True])
        return [
            x < 2, x <= 2, x > 2, x >= 2, x == 2, x != 2, x > 2, i < 1.5, i == 2, i & 3, i | 4,
            i ^ 1, ~i, ~b, b & b, b | False, b ^ True, i << 2, i >> 1, 6 & i, 6 | i, 6 ^ i, x == i,
            b == 1,
        ]  # fmt: skip

    agree_on_script(script)


def test_comparing_with_something_else() -> None:
    def script(L):
        x = L.tensor([1.0])
        return [x == None, x != None, x == "a"]  # noqa: E711

    agree_on_script(script)


def test_in_place() -> None:
    def script(L):
        x, i = L.tensor([1.0, 2.0, 0.0]), L.tensor([6, 5, 3])
        found = [x.clone().gt_(1), x.clone().logical_not_(), x.clone().eq_(2)]
        i &= 6
        i |= 1
        i ^= 2
        i <<= 2
        i >>= 1
        return [*found, i]

    agree_on_script(script)


@pytest.mark.parametrize("equal_nan", [False, True])
def test_close_at_edges(equal_nan: bool) -> None:
    a, b = (x.ravel() for x in np.meshgrid(EDGES, EDGES))

    def script(L):
        x, y = L.from_numpy(a), L.from_numpy(b)
        close = L.isclose(x, y, rtol=0.1, atol=0.2, equal_nan=equal_nan)
        return [
            close,
            L.allclose(x, y, equal_nan=equal_nan),
            L.isclose(L.arange(9), L.arange(9) ** 2 // 4),
        ]

    agree_on_script(script)


def test_questions() -> None:
    def script(L):
        x = L.from_numpy(EDGES)
        z = L.tensor([1j, 1 + 0j, complex("nan"), complex("inf")])
        return [
            x.isnan(), x.isinf(), x.isfinite(), x.isposinf(), x.isneginf(), x.signbit(),
            x.isreal(), z.isreal(), z.isnan(), z.isinf(), L.isnan(L.tensor([1, 2])),
            L.equal(x, x), L.equal(L.ones(2), L.ones(2)), L.equal(L.ones(2), L.ones(3)),
        ]  # fmt: skip

    agree_on_script(script)


REFUSED = [
    lambda L: L.tensor([1j]) < 1,
    lambda L: L.ones(2) & L.ones(2),
    lambda L: ~L.ones(2),
    lambda L: L.isclose(L.ones(2), L.ones(2).double()),
    lambda L: L.isclose(L.ones(2), L.ones(2), rtol=-1.0),
    lambda L: L.ones(2) < L.ones(3),
    lambda L: L.ones(2) < "a",
    lambda L: L.logical_and(L.ones(2), 1),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree_on_script(REFUSED[number])
