"""Random calls of all ops: PyTorch and flambeau agree on values, shapes, dtypes and refusals."""

from __future__ import annotations

import random
import warnings

import pytest

torch = pytest.importorskip("torch")

import flambeau as fl  # noqa: E402
from tests.ops import fuzzing  # noqa: E402
from tests.ops.fuzz_compare import differs  # noqa: E402

OPS = sorted(fuzzing.table(torch), key=lambda op: op.name)


def test_calls_agree():
    chance, found = random.Random(0), {}
    for _ in range(400):
        call = fuzzing.draw(chance.choice, OPS, torch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            difference = differs(call.run(fl), call.run(torch))
        if difference:
            found[str(call)] = difference
    assert not found


def test_a_difference_is_found():
    a, b = fl.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0])
    assert not differs(a, b)
    assert differs(a, b + 1).startswith("values")
    assert differs(a, b.double()).startswith("dtype")
    assert differs(a, b[:1]).startswith("shape")
    assert differs((a, a), (b,)).startswith("structure")
    assert differs(RuntimeError("no"), b).startswith("refused")
    assert differs(a, RuntimeError("no")).startswith("taken")
    assert differs(KeyError("no"), RuntimeError("no")).startswith("error")
    assert not differs(IndexError("no"), RuntimeError("no"))
