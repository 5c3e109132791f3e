"""Limits of dtypes, settings of the process, and what Python asks of tensors."""

from __future__ import annotations

import math
import warnings

import pytest

import flambeau as fl

torch = pytest.importorskip("torch")

DTYPES = (
    "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 "
    "complex32 complex64 complex128 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz "
    "float8_e8m0fnu"
).split()


def outcome(call):
    """The result, or the error's type and text."""
    try:
        return call()
    except Exception as error:
        return type(error).__name__, str(error)


def limits(lib, name):
    dtype = getattr(lib, name)

    def floating():
        i = lib.finfo(dtype)
        numbers = (i.bits, i.eps, i.max, i.min, i.tiny, i.smallest_normal, i.resolution)
        return str(i), numbers, i.dtype

    def whole():
        i = lib.iinfo(dtype)
        return str(i), i.bits, i.max, i.min, i.dtype

    return [
        outcome(floating),
        outcome(whole),
        outcome(lambda: str(dtype.to_complex())),
        (dtype.itemsize, dtype.is_signed, dtype.is_complex, dtype.is_floating_point),
        str(dtype.to_real()),
    ]


@pytest.mark.parametrize("name", DTYPES)
def test_limits(name):
    assert limits(fl, name) == limits(torch, name)


@pytest.mark.parametrize("name", DTYPES)
def test_promotion(name):
    found = []
    for lib in (fl, torch):
        a = getattr(lib, name)
        others = [getattr(lib, n) for n in DTYPES]
        promoted = [str(outcome(lambda b=b, a=a, lib=lib: lib.promote_types(a, b))) for b in others]
        found.append((promoted, [lib.can_cast(a, b) for b in others]))
    assert found[0] == found[1]


def test_limits_are_values():
    for lib in (fl, torch):
        assert lib.finfo(lib.float32) == lib.finfo(lib.float32) == lib.finfo()
        assert lib.finfo(lib.float32) != lib.finfo(lib.float64)
        with pytest.raises(AttributeError, match="not writable"):
            lib.finfo(lib.float32).bits = 3
        with pytest.raises(TypeError):
            hash(lib.iinfo(lib.int8))
        with pytest.raises(TypeError, match="must be torch.dtype, not int"):
            lib.finfo(3)


def test_settings_of_the_process():
    found = []
    for lib in (fl, torch):
        steps = []
        lib.use_deterministic_algorithms(True, warn_only=True)
        steps.append(lib.get_deterministic_debug_mode())
        steps.append(lib.is_deterministic_algorithms_warn_only_enabled())
        for mode in ("error", 1, "default", "x", 5, 1.5):
            result = outcome(lambda lib=lib, mode=mode: lib.set_deterministic_debug_mode(mode))
            steps.append((result, lib.get_deterministic_debug_mode()))
        lib.set_deterministic_debug_mode(0)
        lib.set_float32_matmul_precision("high")
        steps.append(lib.get_float32_matmul_precision())
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            outcome(lambda lib=lib: lib.set_float32_matmul_precision("odd"))
        steps.append(lib.get_float32_matmul_precision())
        lib.set_float32_matmul_precision("highest")
        lib.set_warn_always(True)
        steps.append(lib.is_warn_always_enabled())
        lib.set_warn_always(False)
        steps.append(lib.get_device_module("cpu").__name__.rpartition(".")[2])
        steps.append(lib.get_device(lib.ones(1)))
        found.append(steps)
    assert found[0] == found[1]


def asked(L):
    x, one = L.arange(4), L.tensor(1.5)
    return {
        "reversed": lambda: [v.item() for v in reversed(x)],
        "reversed_whole": lambda: x.__reversed__().tolist(),
        "rlshift": lambda: (2 << x).tolist(),
        "rrshift": lambda: (64 >> x).tolist(),
        "index": lambda: [10, 20, 30][x[2]],
        "index_of_bool": lambda: range(L.tensor(True)),
        "index_of_float": lambda: one.__index__(),
        "index_of_many": lambda: x.__index__(),
        "contains": lambda: (2 in x, 9 in x, L.tensor(2) in x),
        "contains_text": lambda: "a" in x,
        "format": lambda: (f"{one:.3f}", f"{one}", f"{x}", f"{L.tensor(1 + 1j):.2f}"),
        "format_many": lambda: f"{x:.3f}",
        "int": lambda: int(L.tensor(2.7)),
        "int_of_many": lambda: int(x),
        "float": lambda: float(L.tensor([[1.0]])),
        "float_of_complex": lambda: float(L.tensor(1 + 0j)),
        "complex": lambda: complex(one),
        "sqrt": lambda: math.sqrt(L.tensor(4.0)),
        "sum": lambda: sum(x).item(),
        "max": lambda: max(x).item(),
        "sorted": lambda: [v.item() for v in sorted(x, reverse=True)],
        "list": lambda: [v.item() for v in x],
        "len": lambda: len(L.tensor(1)),
        "iter": lambda: iter(L.tensor(1)),
        "bool": lambda: bool(x),
        "item": lambda: L.ones(0).item(),
        "none": lambda: (x == None, x != "a"),  # noqa: E711
        "order": lambda: x < "a",
        "round": lambda: round(one),
        "divmod": lambda: divmod(x, 2),
        "hash": lambda: hash(x) == id(x),
        "attribute": lambda: x.nothing_of_that_name,
        "is_cpu": lambda: (x.is_cpu, L.ones(1, device="meta").is_cpu, x.is_xla),
        "is_nonzero": lambda: (one.is_nonzero(), L.tensor(0).is_nonzero()),
        "const_data_ptr": lambda: x.const_data_ptr() == x.data_ptr(),
        "dim_order": lambda: (
            L.ones(2, 3).dim_order(),
            L.ones(2, 3, 4, 5).to(memory_format=L.channels_last).dim_order(),
        ),
        "stride": lambda: (L.zeros(0, 3).stride(), L.zeros(2, 0, 3).stride(), L.ones(1).stride()),
        "fork": lambda: sorted(n for n in dir(x) if n in ("add", "_d", "shape")),
    }


TEXT_MATTERS = {"contains_text", "index_of_float", "format_many", "bool", "item", "attribute"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", asked(fl))
def test_python_is_answered_as_by_torch(name):
    ours, theirs = outcome(asked(fl)[name]), outcome(asked(torch)[name])
    if isinstance(theirs, tuple) and isinstance(theirs[0], str) and name not in TEXT_MATTERS:
        ours, theirs = ours[0], theirs[0]
    assert ours == theirs
