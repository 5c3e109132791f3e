"""One call of `flambeau.xp` and of array-api-strict, the standard's minimal implementation."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import xp

strict = pytest.importorskip("array_api_strict", reason="compares with array-api-strict")

REAL = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
KINDS = {"b": ("bool",), "i": INTEGERS, "f": REAL, "c": COMPLEX}
# The kinds of numbers that the standard defines each function for.
UNARY = {
    "abs": "ifc",
    "acos": "fc",
    "acosh": "fc",
    "asin": "fc",
    "asinh": "fc",
    "atan": "fc",
    "atanh": "fc",
    "bitwise_invert": "bi",
    "ceil": "if",
    "conj": "ifc",
    "cos": "fc",
    "cosh": "fc",
    "exp": "fc",
    "expm1": "fc",
    "floor": "if",
    "imag": "c",
    "isfinite": "ifc",
    "isinf": "ifc",
    "isnan": "ifc",
    "log": "fc",
    "log10": "fc",
    "log1p": "fc",
    "log2": "fc",
    "logical_not": "b",
    "negative": "ifc",
    "positive": "ifc",
    "real": "c",
    "reciprocal": "fc",
    "round": "ifc",
    "sign": "ifc",
    "signbit": "f",
    "sin": "fc",
    "sinh": "fc",
    "sqrt": "fc",
    "square": "ifc",
    "tan": "fc",
    "tanh": "fc",
    "trunc": "if",
}
BINARY = {
    "add": "ifc",
    "atan2": "f",
    "bitwise_and": "bi",
    "bitwise_left_shift": "i",
    "bitwise_or": "bi",
    "bitwise_right_shift": "i",
    "bitwise_xor": "bi",
    "copysign": "f",
    "divide": "fc",
    "equal": "bifc",
    "floor_divide": "if",
    "greater": "if",
    "greater_equal": "if",
    "hypot": "f",
    "less": "if",
    "less_equal": "if",
    "logaddexp": "f",
    "logical_and": "b",
    "logical_or": "b",
    "logical_xor": "b",
    "maximum": "if",
    "minimum": "if",
    "multiply": "ifc",
    "nextafter": "f",
    "not_equal": "bifc",
    "pow": "ifc",
    "remainder": "if",
    "subtract": "ifc",
}
REFUSALS = (TypeError, ValueError, OverflowError, IndexError, RuntimeError)
NOT_STANDARD = {
    *("set_array_api_strict_flags", "get_array_api_strict_flags", "reset_array_api_strict_flags"),
    *("ArrayAPIStrictFlags", "__version__", "Device"),
}


def functions(theirs, prefix):
    return [
        prefix + name
        for name in theirs.__all__
        if callable(getattr(theirs, name))
        and not isinstance(getattr(theirs, name), (type, strict._dtypes.DType))
        and name not in NOT_STANDARD
    ]


NAMES = [
    *functions(strict, ""),
    *functions(strict.linalg, "linalg."),
    *functions(strict.fft, "fft."),
]


def find(namespace, name):
    for part in name.split("."):
        namespace = getattr(namespace, part)
    return namespace


def array(name, shape, seed=0, low=-4, high=5):
    """Return random values of a data type as a NumPy array."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(name)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        return rng.integers(0 if dtype.kind == "u" else low, high, shape).astype(dtype)
    values = rng.uniform(low, high, shape)
    if dtype.kind == "c":
        values = values + 1j * rng.uniform(low, high, shape)
    return np.asarray(values, dtype)


def ours(x):
    """Return what stands for `x` here: NumPy arrays become tensors, dtypes ours."""
    return translated(x, xp, lambda a: xp.asarray(a, copy=True))


def theirs(x):
    return translated(x, strict, lambda a: strict.asarray(a, copy=True))


def translated(x, namespace, convert):
    if isinstance(x, np.ndarray):
        return convert(x)
    if isinstance(x, np.dtype):
        return getattr(namespace, x.name)
    if isinstance(x, tuple | list):
        return type(x)(translated(v, namespace, convert) for v in x)
    if isinstance(x, dict):
        return {k: translated(v, namespace, convert) for k, v in x.items()}
    return x


def check(name, *args, **options):
    """Compare one call here and there: values, shapes, data types, or that both refuse."""
    try:
        with np.errstate(all="ignore"):
            expected = find(strict, name)(*theirs(args), **theirs(options))
    except REFUSALS as error:
        with pytest.raises(REFUSALS):
            find(xp, name)(*ours(args), **ours(options))
        return type(error)
    compare(find(xp, name)(*ours(args), **ours(options)), expected)
    return None


def compare(got, expected):
    if isinstance(expected, tuple | list):
        assert isinstance(got, tuple)
        assert len(got) == len(expected)
        if hasattr(expected, "_fields"):
            assert got._fields == expected._fields
        for g, e in zip(got, expected, strict=True):
            compare(g, e)
    elif isinstance(expected, strict._dtypes.DType):
        assert got is getattr(xp, expected._np_dtype.name)
    elif hasattr(expected, "_array"):
        assert isinstance(got, flambeau.Tensor)
        assert got.dtype is getattr(xp, expected.dtype._np_dtype.name)
        e = np.asarray(expected._array)
        assert tuple(got.shape) == e.shape
        scale = 1e-12 if e.dtype in (np.float64, np.complex128) else 2e-5
        np.testing.assert_allclose(got.numpy(), e, rtol=scale, atol=scale)
    else:
        assert got == expected
