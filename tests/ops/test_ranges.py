"""Evenly spaced numbers by kernels and by NumPy: PyTorch's, and exact ones rounded."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from flambeau.backends.cpu import ranges
from flambeau.compiler import threads

ENDS = [(0, 1), (-3.3, 7.7), (1e-3, 5), (5, -2), (1e30, -1e30), (4, 4)]
COUNTS = [2, 3, 17, 2047, 2048, 5001, 70000]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("ends", ENDS, ids=str)
@pytest.mark.parametrize("few", [1, 10**9])
def test_linspace_in_float32_is_pytorchs_to_the_bit(ends, count, few, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(ranges, "_FEW", few)
    found = ranges.linspace(*ends, count, np.dtype(np.float32))
    np.testing.assert_array_equal(found, torch.linspace(*ends, count).numpy())


@pytest.mark.parametrize(
    "kind", [np.float64, np.float16, np.int32, np.complex64, ml_dtypes.bfloat16]
)
@pytest.mark.parametrize("few", [1, 10**9])
def test_linspace_in_other_dtypes(kind, few, monkeypatch):
    monkeypatch.setattr(ranges, "_FEW", few)
    kind = np.dtype(kind)
    found = ranges.linspace(-3, 900, 4000, kind)
    assert found.dtype == kind
    exact = -3 + np.arange(4000, dtype=np.longdouble) * 903 / 3999
    accuracy = {"float64": 1e-15, "int32": 0, "complex64": 1e-6, "float16": 1e-3}
    near = 1e-2 if kind.name == "bfloat16" else accuracy[kind.name]
    limit = near * 900 + (1 if kind.name == "int32" else 0)
    assert np.abs(found.astype(np.complex128) - exact).max() <= limit
    assert found[-1] == np.array(900).astype(kind)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16], ids=lambda k: k.__name__)
@pytest.mark.parametrize(("start", "step"), [(0, 1), (-3, 0.0017), (9, -1.5), (0.5, 0.1)])
@pytest.mark.parametrize("count", [0, 1, 100, 2048, 9999])
def test_steps(start, step, count, kind):
    found = ranges.steps_from(float(start), float(step), count, np.dtype(kind))
    assert found.dtype == kind
    exact = start + np.arange(count, dtype=np.longdouble) * np.longdouble(step)
    with np.errstate(over="ignore"):
        nearest = exact.astype(kind)
    spacing = np.spacing(np.abs(nearest) + np.finfo(kind).tiny)
    assert (np.abs(found - nearest) <= np.maximum(spacing, 1e-15 * abs(start))).all()


def test_the_number_of_threads_changes_nothing():
    for kind in (np.float32, np.float64):
        results = []
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            results.append(ranges.linspace(-1.7, 3.1, 300001, np.dtype(kind)))
            results.append(ranges.linspace(-1.7, 3.1, 300001, np.dtype(kind)))
        threads.set_num_threads(2)
        assert all((r == results[0]).all() for r in results)
