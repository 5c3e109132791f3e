"""Casts to and from the dtypes of eight bits: the bits that PyTorch gives."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

KINDS = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]
BITS = np.arange(65536, dtype=np.uint32) << 16
BITS = np.concatenate([BITS, BITS + 1, BITS - 1, BITS | 0x8000])
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    448.0,
    449.0,
    464.0,
    465.0,
    -465.0,
    57344.0,
    61440.0,
    61441.0,
    1e30,
]
SPECIAL += [240.0, 248.0, 249.0, -np.inf, np.inf, np.nan, -np.nan, 2.0**-127, 2.0**127, 1.5, 1e-9]
inf, nan = np.inf, np.nan


def bits(tensor, L):
    return tensor.view(L.uint8).tolist()


def both(call):
    return [call(L) for L in (flambeau, torch)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_exponent_and_the_middle_of_two_numbers(kind):
    ours, theirs = both(
        lambda L: L.from_numpy(BITS.view(np.float32).copy()).to(getattr(L, kind)).view(L.uint8)
    )
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.filterwarnings("ignore:Casting complex")
@pytest.mark.parametrize("source", ["float16", "bfloat16", "float64", "complex64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 200])
def test_from_other_floats(kind, source, count):
    ours, theirs = both(
        lambda L: bits(
            L.tensor(SPECIAL * count, dtype=L.float64).to(getattr(L, source)).to(getattr(L, kind)),
            L,
        )
    )
    # The sign of a NaN is not kept by every conversion on the way.
    ours, theirs = ([127 if b == 255 else b for b in found] for found in (ours, theirs))
    assert ours == theirs


@pytest.mark.parametrize("source", ["bool", "uint8", "int8", "int16", "int32", "int64", "uint16"])
@pytest.mark.parametrize("kind", KINDS)
def test_from_integers(kind, source):
    values = [0, 1, 3, 17, 120] + ([449, 500, 30000] if source[-2:] in ("16", "32", "64") else [])
    values += [-1, -120] if source[0] == "i" else []
    ours, theirs = both(
        lambda L: bits(L.tensor(values).to(getattr(L, source)).to(getattr(L, kind)), L)
    )
    assert ours == theirs


@pytest.mark.parametrize("other", ["float32", "float64", "float16", "bfloat16", *KINDS])
@pytest.mark.parametrize("kind", KINDS)
def test_to_other_floats(kind, other):
    ours, theirs = both(
        lambda L: L.arange(256, dtype=L.uint8).view(getattr(L, kind)).to(getattr(L, other)).float()
    )
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_to_integers(kind):
    def values(L):
        x = L.arange(256, dtype=L.uint8).view(getattr(L, kind))
        return x[x.float().abs() < 1e4].to(L.int32).tolist()

    ours, theirs = both(values)
    assert ours == theirs


def copied(L, t):
    x = L.zeros(4, dtype=t)
    x.copy_(L.tensor([500.0, inf, nan, 1.0], dtype=L.float64))
    return x


def assigned(L, t):
    x = L.ones(5, dtype=t)
    x[0], x[1], x[2], x[3] = 500.0, nan, -inf, L.tensor(600.0)
    x[4:] = L.tensor([-1e9])
    return x


WAYS = {
    "tensor": lambda L, t: L.tensor([500.0, inf, -inf, nan, -nan, 1.0, 0.0], dtype=t),
    "integers": lambda L, t: L.tensor([500, 1], dtype=t),
    "as_tensor": lambda L, t: L.as_tensor(L.tensor([500.0]), dtype=t),
    "scalar_tensor": lambda L, t: L.scalar_tensor(500.0, dtype=t),
    "fill_ with a tensor": lambda L, t: L.zeros(2, dtype=t).fill_(L.tensor(-500.0)),
    "copy_": copied,
    "assignment": assigned,
    "type": lambda L, t: L.tensor([600.0]).type(t),
    "double rounding": lambda L, t: L.tensor([1.0625 + 1e-12], dtype=L.float64).to(t),
    "same": lambda L, t: L.tensor([2.0]).to(t).to(t).clone(),
    "matrix": lambda L, t: L.tensor([[500.0, 1.0], [nan, -3.0]]).t().to(t).contiguous(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_ways_to_make_them(way, kind):
    ours, theirs = both(lambda L: bits(WAYS[way](L, getattr(L, kind)), L))
    assert ours == theirs


@pytest.mark.parametrize(
    "value",
    [
        0,
        1,
        -1,
        0.0,
        240.0,
        241.0,
        448.0,
        449,
        57344.0,
        57345.0,
        inf,
        -inf,
        nan,
        1e30,
        1e39,
        -1e-9,
        2.0**127,
        1.8e38,
        True,
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_fill(kind, value):
    def outcome(L):
        try:
            return bits(L.full((2,), value, dtype=getattr(L, kind)), L)
        except RuntimeError as error:
            assert "cannot be converted" in str(error)  # noqa: PT017
            return "refused"

    ours, theirs = both(outcome)
    assert ours == theirs
