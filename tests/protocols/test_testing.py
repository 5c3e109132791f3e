"""`assert_close` says what PyTorch's says; `make_tensor` draws PyTorch's numbers."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as fl

torch = pytest.importorskip("torch")

NAN, INF = float("nan"), float("inf")


def cases(L):
    """Pairs and options, by name."""
    t, P = L.tensor, L.nn.Parameter
    f3 = t([1.0, 2.0, 3.0])
    return {
        "one_off": ((f3, t([1.0, 2.5, 3.0])), {}),
        "tolerances": ((f3, t([1.0, 2.5, 3.5])), {"rtol": 0.1, "atol": 0.0}),
        "exact": ((t([[1.0, 2.0]]), t([[1.0, 2.1]])), {"rtol": 0, "atol": 0}),
        "shape": ((f3, t([1.0, 2.5])), {}),
        "dtype": ((f3, f3.double()), {}),
        "any_dtype": ((f3, f3.double()), {"check_dtype": False}),
        "integers": ((t([1, 2, 3]), t([1, 2, 4])), {}),
        "unsigned": ((t([1, 2], dtype=L.uint8), t([2, 1], dtype=L.uint8)), {}),
        "wide": ((t([2**62]), t([-(2**62)])), {}),
        "bools": ((t([True, False]), t([True, True])), {}),
        "scalar": ((t(1.0), t(2.0)), {}),
        "whole_scalar": ((t(2**60), t(2**60 + 1)), {}),
        "nan": ((t([NAN]), t([NAN])), {}),
        "equal_nan": ((t([NAN]), t([NAN])), {"equal_nan": True}),
        "inf": ((t([INF, 1.0]), t([-INF, 1.0])), {}),
        "inf_same": ((t([INF, 1.0]), t([INF, 2.0])), {}),
        "complex": ((t([1 + 1j]), t([1 + 2j])), {}),
        "half": ((t([1.0], dtype=L.float16), t([1.01], dtype=L.float16)), {}),
        "bfloat16": ((t([1.0], dtype=L.bfloat16), t([1.01], dtype=L.bfloat16)), {}),
        "mixed": ((t([1.0], dtype=L.float16), t([1.01])), {"check_dtype": False}),
        "zero": ((L.zeros(3), L.ones(3)), {}),
        "by_zero": ((L.ones(3), L.zeros(3)), {}),
        "empty": ((L.ones(0), L.ones(0)), {}),
        "meta": ((L.ones(3, device="meta"), L.ones(3, device="meta")), {}),
        "device": ((L.ones(3), L.ones(3, device="meta")), {}),
        "strides": ((L.ones(2, 3), L.ones(3, 2).t()), {"check_stride": True}),
        "graded": ((t([2.0]), t([1.0], requires_grad=True)), {}),
        "numbers": ((1.0, 1.1), {}),
        "zero_number": ((1.1, 0.0), {}),
        "whole": ((1, 2), {}),
        "kinds": ((1, 1.0), {}),
        "any_kind": ((1, 1.0), {"check_dtype": False}),
        "complex_number": ((1 + 1j, 1 + 2j), {}),
        "nan_number": ((NAN, NAN), {}),
        "inf_number": ((INF, 1.0), {}),
        "truth": ((True, False), {}),
        "none": ((None, None), {}),
        "none_of_one": ((None, 1), {}),
        "list": (([t([1.0]), t([2.0])], [t([1.0]), t([3.0])]), {}),
        "tuple": (((t([1.0]),), [t([1.0])]), {}),
        "lengths": (([t([1.0])], [t([1.0]), t([3.0])]), {}),
        "mapping": (({"a": t([1.0])}, {"a": t([2.0])}), {}),
        "keys": (({1: 2, "a": 3}, {1: 2, "b": 3, "c": 4}), {}),
        "nested": (({"a": [t([1.0]), {"c": 1.0}]}, {"a": [t([1.0]), {"c": 2.0}]}), {}),
        "unrelated": ((t([1.0]), "x"), {}),
        "text": (("a", "a"), {}),
        "tensor_and_list": ((t([1.0]), [1.0]), {}),
        "numpy": ((np.ones(2), np.zeros(2)), {}),
        "numpy_and_tensor": ((np.ones(2), L.ones(2)), {}),
        "numpy_numbers": ((np.float32(1.0), np.float32(2.0)), {}),
        "message": ((t([1.0]), t([2.0])), {"msg": "hello"}),
        "made_message": ((t([1.0]), t([2.0])), {"msg": lambda m: "X:" + m}),
        "half_a_tolerance": ((t([1.0]), t([2.0])), {"rtol": 1.0}),
        "other_half": ((t([1.0]), t([2.0])), {"atol": 1.0}),
        "strict_classes": ((P(L.ones(2)), L.ones(2)), {"allow_subclasses": False}),
        "classes": ((P(L.ones(2)), L.ones(2)), {}),
    }


def said(lib, name):
    (actual, expected), options = cases(lib)[name]
    try:
        lib.testing.assert_close(actual, expected, **options)
    except (AssertionError, TypeError, ValueError) as error:
        text = str(error).replace("flambeau.Tensor", "torch.Tensor")
        text = text.replace("flambeau.tensor.parameter.", "torch.nn.parameter.")
        return f"{type(error).__name__}: {text}"
    return "fine"


@pytest.mark.parametrize("name", cases(fl))
def test_assert_close_says_what_pytorchs_says(name):
    assert said(fl, name) == said(torch, name)


def test_the_old_name_warns():
    with pytest.warns(FutureWarning, match="assert_close"):
        fl.testing.assert_allclose([1.0], fl.ones(1, dtype=fl.float64))
    with pytest.warns(FutureWarning), pytest.raises(AssertionError):
        fl.testing.assert_allclose([1.0], [2.0])


OPTIONS = {
    "plain": {},
    "range": {"low": 2, "high": 5},
    "fractions": {"low": 1.5, "high": 4.5},
    "apart": {"noncontiguous": True},
    "no_zero": {"low": -1, "high": 2, "exclude_zero": True},
    "huge": {"low": -1e40, "high": 1e40},
}
DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128"


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", DTYPES.split())
def test_make_tensor_draws_pytorchs_numbers(name, option):
    found = []
    for lib in (fl, torch):
        lib.manual_seed(3)
        try:
            t = lib.testing.make_tensor(
                3, 4, dtype=getattr(lib, name), device="cpu", **OPTIONS[option]
            )
            found.append((t.tolist(), t.stride()))
        except (ValueError, RuntimeError) as error:
            found.append(type(error))
    if option == "fractions" and name == "bool":
        return  # torch has an error of its generator here
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "options",
    [
        {"low": 5, "high": 2},
        {"low": NAN},
        {"noncontiguous": True, "memory_format": "channels_last"},
        {"requires_grad": True, "dtype": "int64"},
        {"low": 300, "high": 400, "dtype": "uint8"},
    ],
)
def test_make_tensor_refuses(options):
    for lib in (fl, torch):
        given = {"dtype": "float32", **options}
        given["dtype"] = getattr(lib, given["dtype"])
        if "memory_format" in given:
            given["memory_format"] = getattr(lib, given["memory_format"])
        with pytest.raises(ValueError):
            lib.testing.make_tensor(2, device="cpu", **given)


def test_make_tensor_takes_shapes_and_grads():
    t = fl.testing.make_tensor((2, 3), dtype=fl.float32, device="cpu", requires_grad=True)
    assert t.shape == (2, 3)
    assert t.requires_grad
    assert t.is_leaf
    t = fl.testing.make_tensor(
        (1, 2, 2, 2), dtype=fl.float32, device="cpu", memory_format=fl.channels_last
    )
    assert t.is_contiguous(memory_format=fl.channels_last)
