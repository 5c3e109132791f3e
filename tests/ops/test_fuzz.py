"""Random calls of all ops: PyTorch and flambeau agree on values, shapes, dtypes and refusals."""

from __future__ import annotations

import warnings

import pytest

hypothesis = pytest.importorskip("hypothesis")
torch = pytest.importorskip("torch")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import flambeau as fl  # noqa: E402
from tests.ops import fuzzing  # noqa: E402
from tests.ops.fuzz_compare import differs  # noqa: E402

OPS = sorted(fuzzing.table(torch), key=lambda op: op.name)


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_calls_agree(data):
    call = fuzzing.draw(lambda options: data.draw(st.sampled_from(options)), OPS, torch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = differs(call.run(fl), call.run(torch))
    assert not found, f"{call}: {found}"


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
