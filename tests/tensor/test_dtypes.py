"""Data types: facts, promotion in operations, limits, the default type."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()
NAMES = """bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128
uint16 uint32 uint64 float8_e4m3fn float8_e5m2""".split()
USUAL = NAMES[:12]


@pytest.mark.parametrize("name", NAMES)
def test_facts(name):
    def script(L):
        d = getattr(L, name)
        return (
            repr(d), str(d), d.itemsize, d.is_floating_point, d.is_complex, d.is_signed,
            d is getattr(L, name), {d: 1}[d], pickle.loads(pickle.dumps(d)) is d,
            copy.deepcopy(d) is d, repr(d.to_real()), isinstance(d, L.dtype),
        )  # fmt: skip

    agree(script)


@scripts
def other_spellings(L):
    pairs = "half float16 float float32 double float64 short int16 int int32 long int64 cfloat complex64"
    words = pairs.split()
    return [getattr(L, a) is getattr(L, b) for a, b in zip(words[::2], words[1::2], strict=True)]


@scripts
def promotion_of_types(L):
    found = []
    for a, b in itertools.product(USUAL, USUAL):
        try:
            found.append(str(L.promote_types(getattr(L, a), getattr(L, b))))
        except RuntimeError:
            found.append("refused")
    return found


@scripts
def casting_rules(L):
    return [L.can_cast(getattr(L, a), getattr(L, b)) for a, b in itertools.product(USUAL, USUAL)]


@pytest.mark.parametrize("op", ["add", "mul", "div", "sub", "pow", "eq", "maximum", "where"])
def test_promotion_of_tensors_numbers_and_scalars(op):
    names = [n for n in USUAL if n != "float16"]

    def script(L):
        found = []
        for name, other in itertools.product(names[op == "pow" :], names):
            t, u = (L.tensor([1, 1]).to(getattr(L, n)) for n in (name, other))
            for right in (u, u[0], 1, 1.0, True, 1j)[: 2 if op == "maximum" else 6]:
                try:
                    if op == "where":
                        result = L.where(L.tensor([True, False]), t, right)
                    else:
                        result = getattr(L, op)(t, right)
                    found.append((name, other, str(result.dtype)))
                except (RuntimeError, NotImplementedError, TypeError):
                    found.append((name, other, "refused"))
        return found

    agree(script)


@pytest.mark.parametrize(
    "op",
    [
        "sum",
        "mean",
        "prod",
        "exp",
        "abs",
        "neg",
        "sqrt",
        "sign",
        "floor",
        "cumsum",
        "max",
        "argmax",
    ],
)
def test_types_of_results(op):
    def script(L):
        found = []
        for name in USUAL[op == "argmax" :]:
            try:
                t = L.tensor([1, 1]).to(getattr(L, name))
                r = getattr(L, op)(t, 0) if op == "cumsum" else getattr(L, op)(t)
                found.append((name, str(r.dtype)))
            except (RuntimeError, NotImplementedError, TypeError):
                found.append((name, "refused"))
        return found

    agree(script)


@scripts
def limits(L):
    found = []
    for name in ("float16", "bfloat16", "float32", "float64", "complex64"):
        f = L.finfo(getattr(L, name))
        found += [f.bits, f.eps, f.max, f.min, f.tiny, f.smallest_normal, f.resolution, f.dtype]
    for name in ("uint8", "int8", "int16", "int32", "int64"):
        i = L.iinfo(getattr(L, name))
        found += [i.bits, i.max, i.min, i.dtype]
    return found


@scripts.raises
def integer_limits_of_floats(L):
    L.iinfo(L.float32)


@scripts.raises
def float_limits_of_integers(L):
    L.finfo(L.int32)


@scripts
def default_dtype(L):
    before = L.get_default_dtype()
    try:
        L.set_default_dtype(L.float64)
        found = [
            str(t.dtype)
            for t in (
                L.tensor(1.5), L.zeros(1), L.tensor([1, 2]) / 2, L.arange(3.0), L.tensor(1j), L.eye(1),
                L.tensor([1]) * 1.5, L.linspace(0, 1, 2), L.tensor([1, 2]).sqrt(), L.full((1,), 2.0),
                L.rand(1), L.nn.Linear(1, 1).weight,
            )
        ]  # fmt: skip
    finally:
        L.set_default_dtype(before)
    return found, str(L.tensor(1.5).dtype)


@scripts.raises
def default_dtype_of_integers(L):
    L.set_default_dtype(L.int64)


@scripts
def half_precision_rounds_once(L):
    found = []
    for name in ("float16", "bfloat16"):
        t = (L.arange(1.0, 9.0) / 3).to(getattr(L, name))
        found += [t, t * t + t, t / 3, t.sum(), t.mean(), t.exp(), t.softmax(0), t.sqrt()]
    return found


@scripts
def casts_round_to_nearest_even(L):
    t = L.tensor([1.0 + 2**-8, 1.0 + 3 * 2**-8, 1e-8, 70000.0, float("inf"), float("nan")])
    return t.to(L.bfloat16), t.to(L.float16), t.to(L.bfloat16).to(L.float64)


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script, rtol=1e-2 if script is half_precision_rounds_once else 1e-6)


@pytest.mark.parametrize("name", USUAL)
def test_arithmetic_wraps_and_saturates_as_the_type_does(name):
    def script(L):
        d = getattr(L, name)
        t = L.tensor([1, 2, 3]).to(d)
        if name == "bool":
            return t + t, t * t, t | t
        info = None if d.is_complex else (L.finfo(d) if d.is_floating_point else L.iinfo(d))
        top = t * 0 + (0 if info is None else info.max)
        return top + t, top * t, t - t, -top if d.is_signed else t, t * t

    agree(script, rtol=1e-2)


def test_every_dtype_is_reachable_from_the_library():
    for name in NAMES:
        assert repr(getattr(flambeau, name)) == f"torch.{name}"
