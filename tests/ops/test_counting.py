"""Sums of integers and counts by compiled kernels, joins and triangles: what NumPy says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau as fl
from flambeau.backends.cpu import counting, reductions
from flambeau.compiler import threads
from tests.compiler.guarded import guarded

TYPES = [np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64, np.uint16]


@pytest.fixture(params=[1, 3], autouse=True)
def thread_count(request, monkeypatch):
    """Each test with one thread and with three, and kernels for few elements too."""
    monkeypatch.setattr(counting, "FEW", 1)
    monkeypatch.setattr(reductions, "SMALL", 1)
    threads.set_num_threads(request.param)
    yield
    threads.set_num_threads(2)


@pytest.mark.parametrize("seed", range(28))
def test_sums_of_integers(seed):
    rng = np.random.default_rng(seed)
    rank = 1 + seed % 4
    sizes = rng.integers(1, {1: 90000, 2: 300, 3: 60, 4: 17}[rank], rank)
    if seed % 5 == 0:
        sizes[0] = 2500
    x = guarded(rng.integers(-(2**40), 2**40, sizes).astype(TYPES[seed % 7]))
    if seed % 3 == 1:
        x = x.transpose(rng.permutation(rank))
    if seed % 3 == 2:
        x = x[..., ::2]
    for count in range(1, rank + 1):
        for axes in itertools.combinations(range(rank), count):
            for keepdims in (False, True):
                expected = np.asarray(np.add.reduce(x, axes, np.int64, keepdims=keepdims))
                found = counting.add(x, axes, keepdims)
                assert found.dtype == np.int64
                assert found.shape == expected.shape
                np.testing.assert_array_equal(found, expected)


def test_sums_wrap_around_as_int64_does():
    x = fl.full((10000,), 2**62, dtype=fl.int64)
    with np.errstate(over="ignore"):
        expected = np.full(10000, 2**62).sum()
    assert x.sum().item() == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
@pytest.mark.parametrize("size", [1, 5, 1023, 1024, 5000, 50001])
@pytest.mark.parametrize("least", [0, 300])
def test_counts_of_numbers(size, dtype, least):
    rng = np.random.default_rng(size)
    x = guarded(rng.integers(0, 100, size).astype(dtype))
    found = counting.count_numbers(x, None, least)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, np.bincount(x, minlength=least))
    weights = rng.standard_normal(size).astype(np.float32)
    found = counting.count_numbers(x, weights, least)
    expected = np.bincount(x, weights.astype(np.float64), least)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("place", [0, 700, 4999])
def test_a_negative_number_is_refused_wherever_it_is(place):
    x = fl.zeros(5000, dtype=fl.int64)
    x[place] = -1
    with pytest.raises(RuntimeError, match="1-d non-negative integral inputs"):
        fl.bincount(x)


def test_counts_of_numbers_far_apart():
    x = fl.tensor([3] * 6000 + [40000])
    np.testing.assert_array_equal(fl.bincount(x).numpy(), np.bincount(x.numpy()))


@pytest.mark.parametrize("dim", [None, 0, 1, (0, 1)])
def test_count_nonzero(dim):
    x = np.random.default_rng(0).integers(-1, 2, (90, 70)).astype(np.float32)
    x[3, 4], x[5, 5] = np.nan, -0.0
    for given in (x, x != 0, x.astype(np.complex64)):
        found = fl.count_nonzero(fl.tensor(given), dim)
        np.testing.assert_array_equal(found.numpy(), np.count_nonzero(given, axis=dim))
