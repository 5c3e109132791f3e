"""`flambeau.xp` against array-api-strict: names, arguments, types, element-wise functions."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

import flambeau
from flambeau import xp
from tests.xp.comparison import (
    BINARY,
    COMPLEX,
    INTEGERS,
    KINDS,
    NAMES,
    NOT_STANDARD,
    REAL,
    UNARY,
    array,
    check,
    compare,
    find,
    strict,
)


def parameters(function):
    return [
        (p.name, p.kind, p.default)
        for p in inspect.signature(function).parameters.values()
        if p.name != "self"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_the_standards(name):
    got, expected = parameters(find(xp, name)), parameters(find(strict, name))
    if name in ("from_dlpack", "astype"):  # theirs mark absence with an object of their own
        got, expected = [p[:2] for p in got], [p[:2] for p in expected]
    assert got == expected


def test_nothing_but_the_standards_names_is_offered():
    extra = {n for n in xp.__all__ if not hasattr(strict, n)}
    assert not extra
    missing = {n for n in strict.__all__ if n not in xp.__all__} - NOT_STANDARD
    assert missing <= {"__array_api_version__"}
    assert xp.__array_api_version__ == "2024.12"
    assert (xp.pi, xp.e, xp.inf, xp.newaxis) == (math.pi, math.e, math.inf, None)
    assert math.isnan(xp.nan)


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -0.5, 1.5, 2.5, 1.0])


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_tensor(name):
    for kind in UNARY[name]:
        for dtype in KINDS[kind]:
            check(name, array(dtype, (3, 4)))
            if kind == "f":
                check(name, SPECIAL.astype(dtype))


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_tensors_in_every_pair_of_types(name):
    for kind in BINARY[name]:
        for a in KINDS[kind]:
            for b in KINDS[kind]:
                low = 1 if kind == "i" else -4
                check(name, array(a, (3, 1), low=low) + np.asarray(kind == "i", a), array(b, (4,), 1, low) + np.asarray(kind == "i", b))  # fmt: skip
        if kind == "f":
            check(name, SPECIAL[:, None], SPECIAL)
    assert check(name, array("float32", 2), array("int32", 2)) is TypeError


@pytest.mark.parametrize("name", BINARY)
def test_python_scalars_take_the_tensors_type(name):
    for dtype in ("bool", "uint8", "int32", "float32", "complex64"):
        kind = {"u": "i"}.get(np.dtype(dtype).kind, np.dtype(dtype).kind)
        if kind not in BINARY[name]:
            continue
        for scalar in (True, 2, 300, 1.5, *([2j] if "c" in BINARY[name] else [])):
            check(name, array(dtype, 3) if kind != "i" else np.asarray([1, 2, 3], dtype), scalar)
        check(name, 1 if kind != "b" else True, np.asarray([1, 2, 3], dtype))
    with pytest.raises(TypeError):
        getattr(xp, name)(1, 2)


def test_clip_keeps_the_type_and_its_range():
    for dtype in (*INTEGERS, *REAL):
        x = array(dtype, (3, 4))
        for low, high in ((None, None), (1, 3), (-1, None), (None, 2), (-1000, 1000)):
            check("clip", x, low, high)
            check("clip", x, min=low, max=high)
    check("clip", array("float32", 3), 0.5, 1.5)
    check("clip", array("float32", (3, 4)), array("float64", 4, 1, -4, 0), array("float32", (3, 1), 2, 0, 4))  # fmt: skip
    assert check("clip", array("int32", 3), 0.5) is TypeError
    assert check("clip", array("float32", 3), array("int32", 3)) is TypeError


def test_every_pair_of_types_promotes_as_the_standard_says():
    names = [n for group in KINDS.values() for n in group]
    for a in names:
        for b in names:
            check("result_type", np.dtype(a), np.dtype(b))
            check("can_cast", np.dtype(a), np.dtype(b))
        for scalar in (True, 1, 1.5, 1j):
            check("result_type", np.dtype(a), scalar)
    check("result_type", array("float32", ()), np.dtype("float64"), 1)
    assert check("result_type", 1, 2.0) is ValueError
    assert check("result_type", "float32") is not None


def test_limits_and_kinds():
    for name in (*REAL, *COMPLEX):
        got, expected = xp.finfo(getattr(xp, name)), strict.finfo(getattr(strict, name))
        for field in ("bits", "eps", "max", "min", "smallest_normal"):
            assert getattr(got, field) == getattr(expected, field)
            assert type(getattr(got, field)) is type(getattr(expected, field))
        compare(got.dtype, expected.dtype)
    for name in INTEGERS:
        got, expected = xp.iinfo(getattr(xp, name)), strict.iinfo(getattr(strict, name))
        assert (got.bits, got.max, got.min) == (expected.bits, expected.max, expected.min)
        compare(got.dtype, expected.dtype)
    kinds = ("bool", "signed integer", "unsigned integer", "integral", "real floating")
    for kind in (*kinds, "complex floating", "numeric", ("bool", "integral"), "none"):
        for name in [n for group in KINDS.values() for n in group]:
            check("isdtype", np.dtype(name), kind)


def test_astype():
    names = [n for group in KINDS.values() for n in group]
    for a in names:
        for b in names:
            check("astype", array(a, 3, low=0), np.dtype(b))
    x = xp.ones(2)
    assert xp.astype(x, xp.float32, copy=False) is x
    assert xp.astype(x, xp.float32) is not x


def test_inspection():
    got, expected = xp.__array_namespace_info__(), strict.__array_namespace_info__()
    assert got.capabilities() == expected.capabilities()
    assert got.default_device() in got.devices()
    for kind in (None, "bool", "integral", "numeric", ("bool", "real floating")):
        names = got.dtypes(kind=kind)
        assert set(names) == set(expected.dtypes(kind=kind))
        assert all(getattr(xp, name) is dtype for name, dtype in names.items())
    with pytest.raises(ValueError, match="kind"):
        got.dtypes(kind="quaternion")
    assert set(got.default_dtypes()) == set(expected.default_dtypes())
    assert got.default_dtypes()["real floating"] is xp.zeros(1).dtype


def test_tensors_name_their_namespace():
    x = flambeau.ones(2)
    assert x.__array_namespace__() is xp
    assert x.__array_namespace__(api_version="2024.12") is xp
    with pytest.raises(ValueError, match="1999"):
        x.__array_namespace__(api_version="1999.01")
    assert x.to_device("cpu") is x


def test_gradients_flow():
    x = flambeau.tensor([1.0, 2.0], requires_grad=True)
    xp.sum(xp.multiply(x, 3.0)).backward()
    assert x.grad.tolist() == [3.0, 3.0]
