"""Histograms in one and more dimensions, and hashes, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from tests.ops.compare import integers, normal, uniform
from tests.oracle import FAILING, Scripts
from tests.oracle import agree as agree_on_script

NAN = float("nan")
scripts = Scripts()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_histogram(weighted: bool, density: bool, dtype: str) -> None:
    def script(L):
        kind = getattr(L, dtype)
        x, w = (L.from_numpy(f(5, 40)).to(kind) for f in (normal, uniform))
        edges = L.tensor([-1.5, -1, 0.25, 0.5, 3], dtype=kind)
        more = {"weight": w if weighted else None, "density": density}
        found = [L.histogram(x, edges, **more), L.histogram(x.mT, edges, density=density)]
        if dtype in ("float32", "float64"):
            found += [L.histogram(x, 7, **more), L.histogram(x, 3, range=(0.0, 0.7), **more)]
        return found

    narrow = dtype in ("float16", "bfloat16")
    agree_on_script(script, rtol=2e-2 if narrow else 1e-5, atol=1e-2 if narrow else 1e-6)


@scripts
def edges_that_do_not_rise(L):
    x = L.from_numpy(normal(300))
    return [L.histogram(x, L.from_numpy(normal(n, seed=n))) for n in range(2, 40)]


@scripts
def values_on_edges_and_none(L):
    x = L.tensor([0.0, 1, 2, 3, NAN, 5, -1, 3])
    edges = L.tensor([0.0, 1, 2, 3])
    empty = L.zeros(0)
    return [
        L.histogram(x, edges), L.histogram(x[:4], 3, range=(1.0, 1.0)), L.histogram(empty, 3),
        L.histogram(empty, edges), L.histogram(empty, 3, density=True), L.histogram(x[0], 2),
    ]  # fmt: skip


@scripts
def more_dimensions(L):
    x, w = L.from_numpy(uniform(4, 30, 3)), L.from_numpy(uniform(4, 30, seed=2))
    edges = [L.tensor([0.0, 0.5, 1], dtype=x.dtype), L.tensor([0.2, 0.9], dtype=x.dtype)]
    return [
        L.histogramdd(x, 3), L.histogramdd(x, [2, 3, 4], weight=w, density=True),
        L.histogramdd(x[..., :2], edges), L.histogramdd(x[..., :2], edges, weight=w),
        L.histogramdd(x[..., :1], [4], range=[0.25, 0.75]),
    ]  # fmt: skip


@scripts
def hashes(L):
    x = L.from_numpy(normal(3, 4, 5))
    numbers = [x, x.float(), x.half(), x.bfloat16(), L.from_numpy(integers(9, 3, 4, 5)) - 2, x > 0]
    found = [
        [L.hash_tensor(t), L.hash_tensor(t.mT, 1), t.hash_tensor((0, 2), keepdim=True)]
        for t in numbers
    ]
    return [[h.view(L.int64) for h in f] for f in found] + [str(found[0][0].dtype)]


REFUSED = [
    lambda L: L.histogram(L.ones(3), L.ones(1)),
    lambda L: L.histogram(L.ones(3), L.ones(1, 2)),
    lambda L: L.histogram(L.ones(3), L.ones(2).double()),
    lambda L: L.histogram(L.ones(3) * NAN, 3),
    lambda L: L.histogram(L.ones(3), 0),
    lambda L: L.histogram(L.ones(3), 3, range=(2.0, 1.0)),
    lambda L: L.histogram(L.ones(3), 3, range=(2.0,)),
    lambda L: L.histogram(L.ones(3), 3, weight=L.ones(4)),
    lambda L: L.histogram(L.ones(3), 3, weight=L.ones(3).double()),
    lambda L: L.histogram(L.ones(3).long(), 3),
    lambda L: L.histogramdd(L.ones(3), 3),
    lambda L: L.histogramdd(L.ones(3, 2), [3]),
    lambda L: L.histogramdd(L.ones(3, 2), 3, range=[0.0, 1, 2]),
    lambda L: L.histc(L.tensor([1, 2, 3])),
    lambda L: L.hash_tensor(L.ones(3) + 1j),
    lambda L: L.hash_tensor(L.ones(3), mode=1),
    lambda L: L.hash_tensor(L.ones(0)),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number: int) -> None:
    FAILING.add(REFUSED[number])
    agree_on_script(REFUSED[number])


@pytest.mark.parametrize("script", scripts.cases)
def test_script(script) -> None:
    agree_on_script(script, rtol=1e-6, atol=1e-8)


def test_every_point_is_counted_once() -> None:
    x = normal(1000)
    edges = np.sort(normal(9, seed=4))
    found = flambeau.histogram(flambeau.from_numpy(x), flambeau.from_numpy(edges)).hist
    np.testing.assert_array_equal(found.numpy(), np.histogram(x, edges)[0])
