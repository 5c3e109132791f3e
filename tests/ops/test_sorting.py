"""Sorting, searching and unique elements, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.compare import Case, agree, distinct, integers
from tests.ops.samples import cases_of
from tests.oracle import FAILING
from tests.oracle import agree as agree_on_script


@pytest.mark.filterwarnings("ignore:torch.searchsorted")
@pytest.mark.parametrize("layout", ["plain", "reversed"])
@pytest.mark.parametrize("made", cases_of("sorting"))
def test_value_and_two_gradients(made: Case, layout: str) -> None:
    agree(made, layout=layout)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", "uint8 int32 int64 float16 bfloat16 float32".split())
def test_equal_elements_keep_their_order(dtype: str, descending: bool) -> None:
    def script(L):
        x = L.from_numpy(integers(5, 3, 40)).to(getattr(L, dtype))
        return [
            *L.sort(x, dim=1, descending=descending, stable=True),
            L.argsort(x, dim=0, descending=descending, stable=True),
        ]

    agree_on_script(script)


@pytest.mark.parametrize("descending", [False, True])
def test_nan_is_the_largest(descending: bool) -> None:
    def script(L):
        nan, inf = float("nan"), float("inf")
        x = L.tensor([3.0, nan, -inf, 1.0, inf, nan, -2.0])
        return [
            *x.sort(descending=descending, stable=True),
            x.topk(4, largest=descending).values,
            L.msort(x),
        ]

    agree_on_script(script)


@pytest.mark.parametrize("k", [0, 1, 3, 20, 40])
@pytest.mark.parametrize("largest", [True, False])
def test_top_elements(k: int, largest: bool) -> None:
    agree_on_script(lambda L: list(L.topk(L.from_numpy(distinct(4, 40)), k, 1, largest)))


def test_scalars_and_empty() -> None:
    def script(L):
        x, e = L.tensor(3.0), L.zeros(0, 3)
        return [
            *x.sort(), x.argsort(), *x.topk(1), *e.sort(0), *e.sort(1), e.argsort(),
            L.unique(L.zeros(0)), L.unique_consecutive(L.zeros(0)), *x.kthvalue(1), *x.max(0),
        ]  # fmt: skip

    agree_on_script(script)


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("out_int32", [False, True])
def test_searching(right: bool, out_int32: bool) -> None:
    def script(L):
        edges = L.tensor([1.0, 2.0, 2.0, 5.0])
        x = L.tensor([[0.0, 2.0, 9.0], [1.0, 5.0, 3.0]])
        order = L.tensor([3, 0, 1, 2])
        return [
            L.searchsorted(edges, x, right=right, out_int32=out_int32),
            L.bucketize(x, edges, right=right, out_int32=out_int32),
            L.searchsorted(edges[L.tensor([1, 2, 3, 0])], x, right=right, sorter=order),
            L.searchsorted(edges.expand(2, 4), x, side="right" if right else "left"),
            L.searchsorted(edges, 2.0, right=right),
            L.bucketize(L.tensor([1, 2, 3]), L.tensor([1, 3]), right=right),
        ]

    agree_on_script(script)


@pytest.mark.parametrize("dim", [None, 0, 1])
def test_unique(dim: int | None) -> None:
    def script(L):
        x = L.from_numpy(integers(2, 6, 3))
        found = [L.unique(x, dim=dim), L.unique_consecutive(x, dim=dim)]
        for function in (L.unique, L.unique_consecutive):
            found += function(x, return_inverse=True, return_counts=True, dim=dim)
        return found

    agree_on_script(script)


def test_unique_keeps_every_nan() -> None:
    agree_on_script(lambda L: L.unique(L.tensor([float("nan"), 1.0, float("nan"), 1.0])))


def test_gradients_return_to_where_elements_came_from() -> None:
    def script(L):
        x = L.from_numpy(distinct(3, 5)).requires_grad_()
        w = L.from_numpy(np.arange(15.0).reshape(3, 5))
        (x.sort(1)[0] * w + x.sort(0, True).values * w).sum().backward()
        (x.topk(2, 0).values * w[:2]).sum().backward()
        return x.grad

    agree_on_script(script)


REFUSED = [
    lambda L: L.ones(3).sort(1),
    lambda L: L.ones(3).topk(4),
    lambda L: L.ones(3).topk(-1),
    lambda L: L.sort(L.tensor([1j, 2.0])),
    lambda L: L.searchsorted(L.ones(2, 3), L.ones(3, 3)),
    lambda L: L.searchsorted(L.ones(3), L.ones(3), side="middle"),
    lambda L: L.searchsorted(L.ones(3), L.ones(3), side="left", right=True),
    lambda L: L.bucketize(L.ones(3), L.ones(2, 2)),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree_on_script(REFUSED[number])
