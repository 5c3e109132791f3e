"""Copies into another arrangement, casts and padding by compiled kernels: what NumPy says."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from flambeau import devices
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


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("seed", range(24))
def test_joined(seed, count, monkeypatch):
    monkeypatch.setattr(layout, "_MANY", 4)
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 5))
    shape = list(rng.integers(1, {1: 5000, 2: 90, 3: 30, 4: 13}[rank], rank))
    axis = int(rng.integers(-rank, rank))
    arrays = []
    for _ in range(int(rng.integers(2, 7))):
        size = list(shape)
        size[axis] = int(rng.integers(0, 70))
        x = guarded(rng.integers(0, 255, size).astype(TYPES[seed % 6]))
        arrays.append(x if seed % 3 else x[..., ::-1])
    threads.set_num_threads(count)
    found = layout.joined(arrays, axis)
    threads.set_num_threads(2)
    np.testing.assert_array_equal(found, np.concatenate(arrays, axis))


def test_joined_arrays_must_fit(monkeypatch):
    monkeypatch.setattr(layout, "_MANY", 4)
    with pytest.raises(ValueError, match="match exactly"):
        layout.joined([np.ones((40, 50)), np.ones((41, 50))], 1)
    with pytest.raises(IndexError):
        layout.joined([np.ones((40, 50))] * 2, 2)


@pytest.mark.parametrize("axis", range(4))
def test_what_is_joined_of_channels_last_is_channels_last(axis):
    x = np.random.default_rng(0).standard_normal((3, 6, 5, 4)).transpose(0, 3, 1, 2)
    found = layout.joined([x, x], axis)
    assert layout.is_contiguous(found, devices.channels_last)
    np.testing.assert_array_equal(found, np.concatenate([x, x], axis))


def test_copies_of_all_lengths_at_all_distances():
    memory = np.empty(3 * 4096 + 8, np.uint8)
    x = np.random.default_rng(0).integers(1, 255, 4096 + 600).astype(np.uint8)
    base = -(x.ctypes.data - memory.ctypes.data) % 4096
    for ahead in (0, 1, 4, 12, 64, 200, 1000, 1023, 1024, 4090):
        for size in (32, 255, 256, 257, 511, 512, 1000, 2049, 4096):
            memory[:] = 0
            start = (4096 - base + ahead) % 4096
            layout.assign(memory[start : start + size], x[:size])
            np.testing.assert_array_equal(memory[start : start + size], x[:size])
            assert not memory[:start].any()
            assert not memory[start + size :].any()


@pytest.mark.parametrize("seed", range(12))
def test_rolled_and_repeated(seed):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 5))
    x = rng.integers(0, 255, rng.integers(1, 12, rank)).astype(TYPES[seed % 6])
    x = x.transpose(rng.permutation(rank))
    axes = rng.integers(0, rank, 3)
    shifts = rng.integers(-30, 30, 3)
    found = layout.rolled(x, shifts.tolist(), axes.tolist())
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, np.roll(x, shifts, axes))
    times = rng.integers(0 if seed % 4 == 0 else 1, 4, rank + seed % 3).tolist()
    np.testing.assert_array_equal(layout.repeated(x, times), np.tile(x, times))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("seed", range(18))
def test_rolled_along_one_axis(seed, count):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    sizes = rng.integers(1, {1: 90000, 2: 300, 3: 40}[rank], rank)
    x = guarded(rng.integers(0, 255, sizes).astype(TYPES[seed % 6]))
    axis, shift = int(rng.integers(0, rank)), int(rng.integers(-400, 400))
    threads.set_num_threads(count)
    found = layout.rolled(x, [shift], [axis])
    threads.set_num_threads(2)
    np.testing.assert_array_equal(found, np.roll(x, shift, axis))


@pytest.mark.parametrize("seed", range(24))
def test_flipped_and_copied(seed, monkeypatch):
    monkeypatch.setattr(layout, "_LARGE", 1)
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 5))
    sizes = rng.integers(1, {1: 70000, 2: 200, 3: 30, 4: 13}[rank], rank)
    x = guarded(rng.integers(0, 255, sizes).astype(TYPES[seed % 6]))
    if seed % 3 == 1:
        x = x.transpose(rng.permutation(rank))
    if seed % 3 == 2:
        x = x[..., ::2]
    axes = rng.permutation(rank)[: int(rng.integers(1, rank + 1))].tolist()
    found = layout.flipped(x, axes)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, np.flip(x, axes))
    found = layout.copied(x)
    assert not np.shares_memory(found, x)
    np.testing.assert_array_equal(found, x)


def test_what_is_copied_keeps_its_order_where_it_fills_its_memory():
    x = np.random.default_rng(0).random((60, 70, 5), np.float32)
    turned = x.transpose(1, 2, 0)
    assert layout.copied(turned).strides == turned.strides
    assert layout.copied(turned[::2]).flags.c_contiguous


@pytest.mark.parametrize("seed", range(4))
def test_unaligned_memory_is_copied(seed):
    x = np.empty(40001, np.uint8)[1:].view(np.float32).reshape(100, 100)
    x[...] = np.random.default_rng(seed).standard_normal((100, 100))
    assert not x.flags.aligned
    np.testing.assert_array_equal(layout.flipped(x, [0]), x[::-1])
    np.testing.assert_array_equal(layout.rolled(x, [3], [1]), np.roll(x, 3, 1))
    np.testing.assert_array_equal(layout.cast(x, np.dtype(np.float64)), x.astype(np.float64))
    expected = np.pad(x, ((1, 2), (0, 3)))
    np.testing.assert_array_equal(padding.pad(x, ((1, 2), (0, 3)), "constant"), expected)


FILLED = [*TYPES, np.bool_, np.float16, ml_dtypes.bfloat16, np.int64]


@pytest.mark.parametrize("shape", [(0, 3), (), 5, (40, 1, 30), 70001, (130, 1001)])
@pytest.mark.parametrize("dtype", FILLED, ids=lambda t: np.dtype(t).name)
def test_filled(dtype, shape):
    kind = np.dtype(dtype)
    found = layout.filled(shape, kind, 1)
    assert found.dtype == kind
    np.testing.assert_array_equal(found.astype(complex), np.ones(shape))
    if kind.kind == "f":
        assert np.isnan(layout.filled(shape, kind, np.nan)).all()
        assert np.signbit(layout.filled(shape, kind, -0.0)).all()


@pytest.mark.parametrize("edges", [((5, -8),), ((-8, 5),), ((2, -1), (-5, 1)), ((-1, 0), (0, 3))])
@pytest.mark.parametrize("few", [1, 10**9])
def test_padding_and_cropping_at_once(edges, few, monkeypatch):
    monkeypatch.setattr(padding, "_FEW", few)
    x = np.random.default_rng(0).standard_normal((2, 9, 6))
    expected = x
    for axis, (before, after) in enumerate(edges, 3 - len(edges)):
        at = np.arange(-before, x.shape[axis] + after)
        seen = np.take(expected, np.clip(at, 0, x.shape[axis] - 1), axis)
        inside = ((at >= 0) & (at < x.shape[axis])).reshape(-1, *[1] * (2 - axis))
        expected = np.where(inside, seen, 2.5)
    np.testing.assert_array_equal(padding.pad(x, edges, "constant", 2.5), expected)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_is_padded(shape):
    found = padding.pad(np.zeros(shape), ((1, 1), (2, 0)), "constant", 7)
    np.testing.assert_array_equal(
        found, np.pad(np.zeros(shape), ((1, 1), (2, 0)), constant_values=7)
    )


@pytest.mark.parametrize("diagonal", [-(2**40), -300, -17, -1, 0, 1, 5, 33, 2**40])
@pytest.mark.parametrize(
    "shape", [(17, 33), (33, 17), (3, 20, 20), (2, 1, 300), (2, 300, 1), (9, 9)]
)
def test_triangles(shape, diagonal):
    x = guarded(np.random.default_rng(0).standard_normal(shape))
    x.reshape(-1)[7] = np.nan
    bound = max(-1000, min(diagonal, 1000))
    np.testing.assert_array_equal(layout.triangle(x, diagonal, True), np.tril(x, bound))
    np.testing.assert_array_equal(layout.triangle(x, diagonal, False), np.triu(x, bound))
    turned = x.swapaxes(-1, -2)
    np.testing.assert_array_equal(layout.triangle(turned, diagonal, True), np.tril(turned, bound))
