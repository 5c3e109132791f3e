"""Copies into another arrangement, casts and padding by compiled kernels: what NumPy says."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from flambeau.backends.cpu import layout, padding
from flambeau.compiler import threads
from tests.compiler.guarded import guarded

TYPES = [np.float32, np.float64, np.int16, np.uint8, np.complex64, np.complex128]


@pytest.fixture(autouse=True)
def small_arrays_too(monkeypatch):
    """Let kernels also take what is too small to gain from them."""
    monkeypatch.setattr(layout, "_FEW", 1)
    monkeypatch.setattr(padding, "_FEW", 1)


@pytest.mark.parametrize("seed", range(60))
def test_assign(seed):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 6))
    sizes = rng.integers(1, {1: 9000, 2: 90, 3: 30, 4: 13, 5: 9}[rank], rank)
    base = guarded(rng.integers(0, 255, sizes).astype(TYPES[seed % 6]))
    key = tuple(slice(None, None, int(rng.choice([1, 1, 2, 3, -1, -2]))) for _ in sizes)
    x = base[key].transpose(rng.permutation(rank))
    if seed % 4 == 0:
        x = np.broadcast_to(x[..., :1], x.shape)
    order = rng.permutation(rank)
    extra = [int(rng.integers(0, 3)) for _ in range(rank)]
    memory = guarded(
        np.full([x.shape[a] + e for a, e in zip(order, extra, strict=True)], 7, x.dtype)
    )
    expected = memory.copy()
    window = tuple(slice(n) for n in x.shape)
    expected.transpose(np.argsort(order))[window] = x
    threads.set_num_threads(1 + seed % 3)
    layout.assign(memory.transpose(np.argsort(order))[window], x)
    threads.set_num_threads(2)
    np.testing.assert_array_equal(memory, expected)


SHAPES = [(64, 48), (17, 33), (5, 4), (3, 900), (900, 3), (16, 1), (130, 7)]


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("shape", SHAPES)
def test_transposed(shape, dtype):
    x = guarded(np.random.default_rng(0).integers(0, 255, (3, *shape)).astype(dtype))
    found = layout.contiguous(x.transpose(0, 2, 1))
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, x.transpose(0, 2, 1))
    np.testing.assert_array_equal(
        layout.reshaped(x.transpose(2, 0, 1), (shape[1], -1)),
        x.transpose(2, 0, 1).reshape(shape[1], -1),
    )


def test_a_reshape_that_can_be_a_view_is_one():
    x = np.zeros((60, 8, 50), np.float32)[:, 2:5]
    assert np.shares_memory(layout.reshaped(x, (6, 10, 3, 50)), x)
    assert not np.shares_memory(layout.reshaped(x, (180, 50)), x)


NUMBERS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.bool_]
NUMBERS += [np.int8, np.int16, np.int32, np.int64, np.uint8]
ODD = [0.0, -0.0, 0.4, -0.6, 1.5, 127.9, -129.0, 300.7, 65504.0, 7e4, 3e9, -1e19, 1e-42, 3e-6]


@pytest.mark.parametrize("to", NUMBERS, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("given", NUMBERS, ids=lambda t: np.dtype(t).name)
@pytest.mark.filterwarnings("ignore:overflow")
def test_cast(given, to):
    given, to = np.dtype(given), np.dtype(to)
    rng = np.random.default_rng(0)
    if given.kind in "fV":
        odd = np.array([*ODD, np.inf, -np.inf, np.nan])
        with np.errstate(over="ignore"):
            x = np.concatenate([odd, rng.standard_normal(200) * 200]).astype(given)
    else:
        x = rng.integers(-(2**40), 2**40, 217).astype(given)
    found = layout.cast(guarded(x), to)
    assert found.dtype == to
    with np.errstate(invalid="ignore", over="ignore"):
        wide = x.astype(np.int64) if given.kind in "fV" and to.kind in "iu" else x
        expected = wide.astype(to)
    if to.kind in "fV":
        found, expected = found.astype(np.float64), expected.astype(np.float64)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(40))
def test_padding(seed):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    mode = ["constant", "reflect", "replicate", "circular"][seed % 4]
    x = guarded(rng.standard_normal((2, 3, *rng.integers(3, 20, rank))).astype(TYPES[seed % 2]))
    low = -2 if mode == "constant" else 0
    edges = tuple((int(rng.integers(low, 3)), int(rng.integers(low, 3))) for _ in range(rank))
    cropped = x[
        (
            ...,
            *(
                slice(max(0, -a), n - max(0, -b))
                for n, (a, b) in zip(x.shape[2:], edges, strict=True)
            ),
        )
    ]
    width = [(0, 0), (0, 0), *((max(0, a), max(0, b)) for a, b in edges)]
    if mode == "constant":
        expected = np.pad(cropped, width, constant_values=2.5)
    else:
        expected = np.pad(cropped, width, {"replicate": "edge", "circular": "wrap"}.get(mode, mode))
    np.testing.assert_array_equal(padding.pad(x, edges, mode, 2.5), expected)
    np.testing.assert_array_equal(
        padding.pad(x.transpose(1, 0, *range(2, rank + 2)), edges, mode, 2.5),
        expected.transpose(1, 0, *range(2, rank + 2)),
    )
