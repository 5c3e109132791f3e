"""Products of groups of matrices, against PyTorch and against a loop."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.nn import functional as F

CASES = {
    "rows": ((8, 16), (3, 16, 8), [2, 5, 8]),
    "rows, one group empty": ((8, 16), (3, 16, 8), [2, 2, 8]),
    "columns": ((3, 4, 16), (16, 16), [3, 8, 16]),
    "contraction": ((8, 16), (16, 8), [4, 8, 16]),
    "whole": ((3, 4, 16), (3, 16, 8), None),
}


def made(lib, shape, seed, dtype="float32"):
    values = np.random.default_rng(seed).standard_normal(shape)
    return lib.tensor(values.tolist(), dtype=getattr(lib, dtype), requires_grad=True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_as_in_torch(name, dtype):
    torch = pytest.importorskip("torch")
    left, right, ends = CASES[name]
    results = []
    for lib in (flambeau, torch):
        a, b = made(lib, left, 1, dtype), made(lib, right, 2, dtype)
        offs = None if ends is None else lib.tensor(ends, dtype=lib.int32)
        out = lib.nn.functional.grouped_mm(a, b, offs=offs)
        (out.float() * out.float()).sum().backward()
        results.append([t.detach().float().tolist() for t in (out, a.grad, b.grad)])
    near = {"float32": 1e-5, "bfloat16": 3e-2}[dtype]
    for got, expected in zip(*results, strict=True):
        got, expected = flambeau.tensor(got), flambeau.tensor(expected)
        assert flambeau.allclose(got, expected, rtol=near, atol=near * float(expected.abs().max()))


def test_rows_after_the_last_group_are_zero():
    a, b = made(flambeau, (7, 4), 1), made(flambeau, (2, 4, 3), 2)
    out = F.grouped_mm(a, b, offs=flambeau.tensor([2, 5], dtype=flambeau.int32))
    assert flambeau.allclose(out[:2], a[:2] @ b[0])
    assert flambeau.allclose(out[2:5], a[2:5] @ b[1])
    assert out[5:].tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(
    ("left", "right", "ends", "said"),
    [
        ((8, 16), (3, 16, 8), None, "offsets"),
        ((3, 4, 16), (3, 16, 8), [1, 2, 3], "offsets"),
        ((3, 4, 16), (3, 15, 8), None, "contraction"),
        ((8, 16), (3, 16, 8), [2, 8], "batch sizes"),
        ((8, 16), (3, 16, 8), [5, 2, 8], "must not fall"),
        ((8, 16), (3, 16, 8), [2, 5, 9], "end at 8"),
        ((16,), (3, 16, 8), None, "2 or 3d"),
    ],
)
def test_what_does_not_fit_is_refused(left, right, ends, said):
    offs = None if ends is None else flambeau.tensor(ends, dtype=flambeau.int32)
    with pytest.raises(RuntimeError, match=said):
        F.grouped_mm(made(flambeau, left, 1), made(flambeau, right, 2), offs=offs)
