"""Sorting, selecting and searching by compiled kernels: what NumPy's stable sort says."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau.backends.cpu import sorting
from flambeau.compiler import threads
from tests.compiler.guarded import guarded

TYPES = [np.float32, np.float64, np.float16, np.bool_]
TYPES += [np.int8, np.uint8, np.int16, np.int32, np.int64]


def rows_of(dtype, rows, columns, kind, seed=0):
    """Rows with many ties ("ties"), of all values ("wide"), or with NaN, infinities and zeros."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind in "biu":
        if kind == "ties" or dtype.kind == "b":
            return guarded(rng.integers(0, 5, (rows, columns)).astype(dtype))
        return guarded(rng.integers(0, 256, (rows, columns * dtype.itemsize), np.uint8).view(dtype))
    x = rng.standard_normal((rows, columns)) * 10.0 ** rng.integers(-3, 4, (rows, columns))
    if kind == "ties":
        x = np.round(x / 100)
    if kind == "odd":
        with np.errstate(over="ignore"):
            odd = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45]
            x = np.where(rng.random(x.shape) < 0.5, rng.choice(odd, x.shape), x)
    with np.errstate(over="ignore"):
        return guarded(x.astype(dtype))


def stable_order(x, descending):
    """By Python's sort: NaN last, equal elements in order; descending the other way around."""
    out = np.empty(x.shape, np.int64)
    for row, line in zip(out, x, strict=True):
        numbers = [float(v) if x.dtype.kind == "f" else int(v) for v in line]
        keys = [(v != v, 0.0 if v != v else v) for v in numbers]
        sign = -1 if descending else 1
        row[:] = sorted(range(len(keys)), key=lambda i: (sign * keys[i][0], sign * keys[i][1]))
    return out


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("kind", ["ties", "wide", "odd"])
@pytest.mark.parametrize("columns", [1, 7, 24, 25, 127, 128, 129, 300])
def test_order(columns, kind, dtype):
    x = rows_of(dtype, 11, columns, kind)
    for descending in (False, True):
        values, order = sorting.sort_rows(x, descending)
        np.testing.assert_array_equal(order, stable_order(x, descending))
        np.testing.assert_array_equal(values, np.take_along_axis(x, order, 1))
        np.testing.assert_array_equal(
            np.signbit(values), np.signbit(np.take_along_axis(x, order, 1))
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int64])
@pytest.mark.parametrize("kind", ["ties", "wide", "odd"])
def test_long_rows_in_parts(dtype, kind, monkeypatch):
    monkeypatch.setattr(sorting, "_LONG", 100)
    monkeypatch.setattr(sorting, "_BLOCK", 64)
    x = rows_of(dtype, 2, 1000, kind)
    for count in (1, 3):
        threads.set_num_threads(count)
        for descending in (False, True):
            found = sorting.sort_rows(x, descending)[1]
            np.testing.assert_array_equal(found, stable_order(x, descending))
    threads.set_num_threads(2)


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("kind", ["ties", "wide", "odd"])
@pytest.mark.parametrize(
    ("rows", "columns", "k"), [(9, 400, 1), (9, 400, 37), (9, 400, 45), (2, 5000, 6)]
)
def test_smallest_and_largest(rows, columns, k, kind, dtype):
    x = rows_of(dtype, rows, columns, kind)
    for largest in (False, True):
        values, found = sorting.smallest(x, k, largest)
        if np.dtype(dtype).kind in "biu" or kind != "odd":
            np.testing.assert_array_equal(np.sort(found, 1)[:, 0] >= 0, True)
        np.testing.assert_array_equal(values, np.take_along_axis(x, found, 1))
        ranked = np.take_along_axis(x, stable_order(x, largest)[:, :k], 1)
        np.testing.assert_array_equal(np.take_along_axis(x, found, 1), ranked)
        assert all(len(set(row)) == k for row in found.tolist())


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("kind", ["ties", "wide", "odd"])
def test_selection_by_rank(kind, dtype):
    x = rows_of(dtype, 13, 301, kind)
    order = stable_order(x, False)
    for rank in (0, 1, 150, 300):
        found = np.take_along_axis(x, sorting.nth(x, rank)[:, None], 1)
        np.testing.assert_array_equal(found[:, 0], x[np.arange(13), order[:, rank]])
    missing = np.isnan(x.astype(np.float64)).sum(1)
    known = 301 - missing
    first_nan = np.where(missing > 0, known, 150)
    np.testing.assert_array_equal(
        x[np.arange(13), sorting.median(x, False)],
        x[np.arange(13), order[np.arange(13), first_nan]],
    )
    middle = np.maximum(known - 1, 0) // 2
    np.testing.assert_array_equal(
        x[np.arange(13), sorting.median(x, True)], x[np.arange(13), order[np.arange(13), middle]]
    )


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("kind", ["ties", "wide", "odd"])
@pytest.mark.parametrize("columns", [3, 100, 301])
def test_mode(columns, kind, dtype):
    x = rows_of(dtype, 13, columns, kind)
    for line, found in zip(x, sorting.mode(x), strict=True):
        plain = [float(v) if x.dtype.kind == "f" else int(v) for v in line]
        most = max(plain.count(v) if v == v else 1 for v in plain)
        # A NaN equals nothing, and comes after all others.
        often = [v for v in plain if v == v and plain.count(v) == most]
        if often:
            assert found == max(i for i, v in enumerate(plain) if v == min(often))
        else:
            assert found == next(i for i, v in enumerate(plain) if v != v)


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("kind", ["ties", "wide", "odd"])
def test_unique(kind, dtype):
    x = rows_of(dtype, 1, 3000, kind)[0]
    values, inverse, counts = sorting.unique(x)
    plain = [float(v) if x.dtype.kind == "f" else int(v) for v in x]
    known = sorted({v for v in plain if v == v})
    nans = sum(v != v for v in plain)
    assert [float(v) for v in values[: len(known)]] == [float(v) for v in known]
    assert len(values) == len(known) + nans  # no NaN equals another
    np.testing.assert_array_equal(values[inverse], x)
    np.testing.assert_array_equal(counts, np.bincount(inverse, minlength=len(values)))


@pytest.mark.parametrize("dtype", TYPES[:3] + TYPES[4:], ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 700])
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_search(n, dtype, kind):
    table = np.sort(rows_of(dtype, 3, n, "ties").astype(np.float64), 1).astype(dtype)
    values = rows_of(dtype, 3, 1700, "odd", 1)
    for right in (False, True):
        side = "right" if right else "left"
        wide = table.astype(np.float64), values.astype(np.float64)
        if np.dtype(dtype).kind in "iu":
            wide = table, values
        one = sorting.search(guarded(table[0]), values, right, kind)
        assert one.dtype == kind
        np.testing.assert_array_equal(one, np.searchsorted(wide[0][0], wide[1], side))
        many = sorting.search(guarded(table), values, right, kind)
        for found, row, line in zip(many, *wide, strict=True):
            np.testing.assert_array_equal(found, np.searchsorted(row, line, side))
