"""Elements taken, put, added and chosen by compiled kernels: what NumPy and plain loops say."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from flambeau.backends.cpu import embedding, indexing, scatter, selection
from flambeau.compiler import jit, threads
from tests.compiler.guarded import guarded

RNG = np.random.default_rng(7)
TYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int64, np.uint8, np.bool_]
TYPES += [np.complex64, np.complex128]


def values(*shape, dtype=np.float32):
    x = RNG.integers(-100, 100, shape)
    return guarded(x.astype(dtype))


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
def team(request):
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield request.param
    threads.set_num_threads(before)


def same(found, expected):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(
        np.ascontiguousarray(found).view(np.uint8), np.ascontiguousarray(expected).view(np.uint8)
    )


SHAPES = [((700,), 0), ((40, 50), 1), ((40, 50), 0), ((6, 70, 9), 1), ((3, 5, 300), 2)]


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize(("shape", "d"), SHAPES)
def test_take_along(shape, d, dtype):
    x = values(*shape, dtype=dtype)
    count = 900 if len(shape) == 1 else 31
    index = guarded(RNG.integers(0, shape[d], (*shape[:d], count, *shape[d + 1 :])))
    same(indexing.take_along(x, index, d), np.take_along_axis(x, index, d))
    same(indexing.take_along(x, index.astype(np.int32), d), np.take_along_axis(x, index, d))


@pytest.mark.parametrize("layout", ["turned", "strided", "repeated", "offset"])
def test_take_from_odd_memory(layout, team):
    base = RNG.standard_normal((70, 80)).astype(np.float32)
    x = {
        "turned": base.T,
        "strided": base[::2, ::3],
        "repeated": np.broadcast_to(base[:1], base.shape),
        "offset": base[3:, 5:],
    }[layout]
    index = RNG.integers(0, x.shape[1], (x.shape[0], 90))
    same(indexing.take_along(x, index, 1), np.take_along_axis(x, index, 1))
    rows = RNG.integers(-x.shape[0], x.shape[0], (11, 30))
    same(indexing.take_rows(x, rows, 0, True), np.take(x, rows, 0))
    columns = rows[::2, ::3] % x.shape[1]
    same(indexing.take_rows(x, columns, 1), np.take(x, columns, 1))


@pytest.mark.parametrize(("shape", "d"), [*SHAPES, ((40, 1), 0), ((9, 0, 4), 0), ((5, 2), 1)])
def test_take_rows(shape, d, team):
    x = values(*shape)
    index = guarded(RNG.integers(-shape[d], shape[d], (17, 23)))
    same(indexing.take_rows(x, index, d, True), np.take(x, index, d))
    assert indexing.take_rows(x, index, d, False) is None


@pytest.mark.parametrize("wrong", [-1, 50, -51, 2**31, -(2**62), 2**63 - 1])
@pytest.mark.parametrize("place", [0, 500, 1999])
def test_what_is_out_of_range_is_not_followed(wrong, place):
    x, index = values(50), RNG.integers(0, 50, 2000)
    index[place] = wrong
    wide, tall = index.reshape(2, 1000), index.reshape(1000, 2)
    assert indexing.take_rows(x, index, 0) is None
    assert indexing.take_along(x, index, 0) is None
    assert indexing.take_along(values(2, 50), wide, 1) is None
    assert indexing.take_along(values(50, 2), tall, 0) is None
    assert indexing.take_rows(values(50, 3), index, 0) is None
    assert scatter.combine_along(values(50), index, values(2000), 0) is False
    assert scatter.combine_along(values(2, 50), wide, values(2, 1000), 1, "sum") is False
    assert scatter.combine_along(values(50, 2), tall, values(1000, 2), 0, "amax") is False
    assert scatter.combine_along(values(60, 9), tall, values(1000, 2), 0) is (0 <= wrong < 60)
    table, bounds = values(50, 4), np.array([0, 700, 2000])
    assert embedding.sum_bags(table, index, bounds, None, -1, False) is None
    if not -50 <= wrong < 50:
        assert indexing.take_rows(x, index, 0, True) is None
        assert indexing.flat_places([index, index], (50, 50)) is None
    total = np.zeros((50, 4), np.float32)
    rows = np.ones((2000, 4), np.float32)
    if scatter.combine_rows(total, index, rows, 0, "sum"):
        inside = index[(index >= 0) & (index < 50)]
        np.testing.assert_array_equal(total[:, 0], np.bincount(inside, minlength=50))


def test_an_empty_table_has_no_rows():
    index = np.zeros(1000, np.int64)
    assert indexing.take_rows(np.zeros((0, 4), np.float32), index, 0) is None
    assert indexing.take_along(np.zeros(0, np.float32), index, 0) is None
    assert scatter.combine_along(np.zeros(0, np.float32), index, np.ones(1000, "f4"), 0) is False


def test_places_along():
    for shape in ((9,), (4, 5), (40, 50, 3)):
        everything = np.arange(np.prod(shape)).reshape(shape)
        for d in range(len(shape)):
            index = RNG.integers(0, shape[d], (*shape[:d], 6, *shape[d + 1 :]))
            places = indexing.places_along(shape, d, index.astype(np.int32))
            np.testing.assert_array_equal(
                everything.reshape(-1)[places], np.take_along_axis(everything, index, d)
            )
            rows = np.array([0, -1]).reshape(-1, *(1,) * (len(shape) - 1 - d)) % shape[d]
            sizes = (*shape[:d], 2, *shape[d + 1 :])
            places = indexing.places_along(shape, d, rows, sizes)
            np.testing.assert_array_equal(
                np.broadcast_to(places, sizes), everything.take([0, -1], d)
            )


def test_flat_places():
    i, j = RNG.integers(-30, 30, (40, 50)), RNG.integers(-8, 8, (40, 50))
    expected = np.arange(240).reshape(30, 8)[i, j]
    same(indexing.flat_places([i, j.astype(np.int32)], (30, 8)), expected)


REDUCERS = {
    None: lambda old, new: new,
    "sum": lambda old, new: old + new,
    "prod": lambda old, new: old * new,
    "amax": np.maximum,
    "amin": np.minimum,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int8])
@pytest.mark.parametrize("reduce", REDUCERS, ids=str)
@pytest.mark.parametrize("shape", [(30, 1), (4, 30), (4, 30, 70), (3, 20, 2)])
def test_combine_along(shape, reduce, dtype, team):
    d = {(30, 1): 0, (4, 30): 1}.get(shape, 1)
    out = np.asarray(values(*shape, dtype=dtype) % 5 + 1).astype(dtype)
    index = RNG.integers(0, shape[d], (*shape[:d], 300, *shape[d + 1 :]))
    given = RNG.choice([1, 1, 1, 2, -1], index.shape).astype(dtype)
    if reduce in ("amax", "amin") and dtype == np.float32:
        given[RNG.random(index.shape) < 0.05] = np.nan
    expected = out.copy()
    with np.errstate(over="ignore"):
        for at in np.ndindex(index.shape):
            to = (*at[:d], index[at], *at[d + 1 :])
            expected[to] = REDUCERS[reduce](expected[to], given[at])
    assert scatter.combine_along(out, index, given, d, reduce)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("shape", [(9,), (7, 5), (4, 6, 3), (5, 1)])
def test_few_elements(shape, dtype):
    for d in range(len(shape)):
        index = RNG.integers(0, shape[d], (*shape[:d], 4, *shape[d + 1 :]))
        x, given = (RNG.integers(0, 9, n).astype(dtype) for n in (shape, index.shape))
        same(indexing.take_along(x, index, d), np.take_along_axis(x, index, d))
        assert indexing.take_along(x, index - shape[d], d) is None
        assert scatter.combine_along(x.copy(), index + shape[d], given, d) is False
        expected, total = np.array(x, np.complex128), x.copy()
        places = tuple(index if a == d else at for a, at in enumerate(np.indices(index.shape)))
        np.add.at(expected, places, given.astype(np.complex128))
        assert scatter.combine_along(total, index, given, d, "sum")
        truth = total.dtype == np.bool_
        np.testing.assert_array_equal(total, expected != 0 if truth else expected)


@pytest.mark.parametrize("size", [40, 3000])
def test_memory_that_is_not_aligned_goes_to_numpy(size):
    def shifted(x):
        memory = np.zeros(x.nbytes + 1, np.uint8)
        found = memory[1:].view(x.dtype)
        found[...] = x
        return found

    x, given = values(50), values(size)
    index = RNG.integers(0, 50, size)
    expected = x.copy()
    np.add.at(expected, index, given)
    for arrays in ((shifted(x), index, given), (x.copy(), shifted(index), shifted(given))):
        assert scatter.combine_along(*arrays, 0, "sum")
        np.testing.assert_array_equal(arrays[0], expected)
        same(indexing.take_along(shifted(x), arrays[1], 0), x[index])


def test_scattered_sums_do_not_depend_on_threads():
    index = RNG.integers(0, 300, 20000)
    rows = RNG.standard_normal((20000, 20)).astype(np.float32)
    found = []
    for count in (1, 2, 3, 4):
        threads.set_num_threads(count)
        total, columns = np.zeros((300, 20), np.float32), np.zeros((20, 300), np.float32)
        scatter.add_rows(total, index, rows)
        if not scatter.combine_rows(columns, index, rows.T, 1, "sum"):
            assert not jit.available()
        found.append((total.tobytes(), columns.tobytes()))
    threads.set_num_threads(2)
    assert len(set(found)) == 1
    expected = np.zeros((300, 20))
    np.add.at(expected, index, rows.astype(np.float64))
    np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("factors", [True, False])
def test_bags(mean, factors, team):
    table, index = values(40, 33), guarded(RNG.integers(0, 40, 900))
    bounds = np.array([0, 5, 5, 300, 301, 900])
    by = guarded(RNG.standard_normal(900).astype(np.float32)) if factors else None
    found = embedding.sum_bags(table, index, bounds, by, 7, mean)
    for b in range(5):
        part = slice(bounds[b], bounds[b + 1])
        kept = index[part] != 7
        rows = table[index[part]].astype(np.float64) * (by[part, None] if factors else 1)
        total = rows[kept].sum(0) / (max(kept.sum(), 1) if mean else 1)
        np.testing.assert_allclose(found[b], total, rtol=1e-5, atol=1e-3)


def test_bounds_beyond_the_indices_read_nothing():
    table, index = values(40, 33), guarded(RNG.integers(0, 40, 900))
    beyond = embedding.sum_bags(table, index, np.array([0, 900, 5000]), None, -1, False)
    np.testing.assert_allclose(beyond[0], table[index].sum(0), rtol=1e-5)
    np.testing.assert_array_equal(beyond[1], 0)


# ---------------------------------------------------------------- chosen by truth values
WHERE = {
    "alike": ((60, 70), (60, 70), (60, 70)),
    "numbers": ((60, 70), (), ()),
    "rows": ((60, 1), (60, 70), (70,)),
    "columns": ((70,), (60, 70), (60, 1)),
    "attention": ((4, 1, 30, 40), (4, 3, 30, 40), ()),
    "one long": ((7919,), (7919,), (1,)),
    "narrow": ((900, 3), (900, 1), (3,)),
}


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("name", WHERE)
def test_where(name, dtype, team):
    c, a, b = WHERE[name]
    condition = RNG.random(c) < 0.5
    x, y = values(*a, dtype=dtype), values(*b, dtype=dtype)
    same(selection.where(condition, x, y), np.where(condition, x, y))


def test_where_of_odd_memory():
    base = RNG.standard_normal((80, 90)).astype(np.float32)
    condition = (base > 0)[::-1, ::2]
    for x in (base[:, ::2], base.T[:80, :45], base[::-1, 45:]):
        same(selection.where(condition, x, 0), np.where(condition, x, np.float32(0)))
    condition = np.asfortranarray(base > 0)
    same(
        selection.where(condition, base, base.T[:80, :1] * 2),
        np.where(condition, base, base.T[:80, :1] * 2),
    )


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
def test_masks(share, dtype, team):
    x = values(130, 171, dtype=dtype)
    mask = guarded(RNG.random(x.shape) < share)
    kept = x[mask]
    same(selection.masked_select(x, mask), kept)
    source = values(kept.size, dtype=dtype)
    expected = x.copy()
    expected[mask] = source
    same(selection.masked_put(x, mask, source), expected)
    if share:
        assert selection.masked_put(x, mask, source[1:]) is None


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("shape", [(7, 9), (130, 171), (0, 3)])
def test_a_number_put_where_a_mask_holds(shape, dtype, team):
    mask = guarded(RNG.random(shape) < 0.4)
    for form in ("plain", "turned", "vector"):
        x = values(*shape, dtype=dtype)
        number = np.array([7] if form == "vector" else 7, dtype)
        key = mask.T if form == "turned" else mask
        expected = x.copy()
        expected[mask] = 7
        selection.put_at(x.T if form == "turned" else x, (key,), number)
        same(x, expected)


def test_a_mask_that_overlaps_what_it_changes_is_read_first():
    x = RNG.random(9000) < 0.5
    expected = x.copy()
    expected[1:][x[:-1].copy()] = False
    selection.put_at(x[1:], (x[:-1],), np.array(False))
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize(
    "shape", [(5000,), (30,), (4, 5), (70, 80), (3, 40, 50), (2, 3, 4, 5, 60), (60, 1, 50)]
)
@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
def test_nonzero(shape, dtype, team):
    x = guarded((RNG.integers(0, 3, shape) == 0).astype(dtype))
    same(selection.nonzero(x), np.argwhere(x).astype(np.int64))
    if np.dtype(dtype).kind == "f":
        x.reshape(-1)[:3] = np.nan, -0.0, 1e-40
        same(selection.nonzero(x), np.argwhere(x).astype(np.int64))
