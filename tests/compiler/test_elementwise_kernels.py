"""Every compiled scalar primitive against extended precision, over layouts and special values."""

from __future__ import annotations

import math
import threading

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from flambeau import settings as flags
from flambeau.backends.cpu.elementwise import Fused
from flambeau.backends.cpu.scalars import numpy_function
from flambeau.compiler import jit, loops, threads
from flambeau.compiler.expressions import PRIMITIVES, Expression, trace
from flambeau.compiler.scalar_ir import Unsupported

pytestmark = pytest.mark.skipif(not jit.available(), reason="nothing is compiled")

TYPES = [np.float32, np.float64]
TRUTHS = (
    "eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "isfinite", "signbit", "logical_and",
    "logical_or", "logical_xor", "logical_not",
)  # fmt: skip


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def thread_count(request):
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield request.param
    threads.set_num_threads(before)


def no_reference(*_):
    raise AssertionError("no kernel was used")


def kernel(name, e, names, truth=False, reference=no_reference):
    return Fused(f"test.{name}", e, list(names), reference, truth)


SPECIAL = np.array([
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-40, 1.2e-38,
    3e38, -3e38, 88.7, 88.8, 89.0, -87.3, -88.0, -103.0, -104.0, 709.7, 710.0, -745.0, -746.0,
    1e-310, 5e-324, 1e300, -1e300, 16777216.5, 2.5, 3.5, -2.5, 1e10, 0.9999999, 1.0000001,
])  # fmt: skip


def spread(dtype, seed=0, size=20_000):
    """Values of every size and sign, special ones included."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    powers = rng.uniform(np.log2(float(info.tiny)) + 2, np.log2(float(info.max)) - 2, size // 4)
    values = [
        np.exp2(powers) * rng.choice([-1, 1], powers.size),
        rng.standard_normal(size // 2),
        rng.uniform(-30, 30, size // 4),
        np.tile(SPECIAL, 5),
    ]
    with np.errstate(all="ignore"):
        return rng.permutation(np.concatenate(values)).astype(dtype)


def primitives():
    """Every primitive that has IR, with the types it has it for."""
    found = []
    for name, primitive in PRIMITIVES.items():
        names = "abc"[: primitive.arity]
        e = Expression(name, *(Expression("input", n) for n in names))
        for dtype, type_ in zip(TYPES, ("float", "double"), strict=True):
            number = {"float": "f32", "double": "f64"}[type_]
            out = loops.Operand("", "bool" if name in TRUTHS else number)
            kinds = ["bool" if name == "where" and n == "a" else number for n in names]
            operands = [loops.Operand(n, k) for n, k in zip(names, kinds, strict=True)]
            try:
                loops.render_flat("chunk", e, operands, type_, out)
            except Unsupported:
                continue
            found.append(pytest.param(name, dtype, id=f"{name}-{type_}"))
    return found


# Units in the last place by which a result may be off the truth.
ULPS = {
    "expm1": 2,
    **dict.fromkeys(("xlogy", "xlog1py", "entr"), 2),
    **dict.fromkeys(("sin", "cos", "tan", "exp2", "log2", "log10", "log1p", "hypot", "pow"), 1),
    **dict.fromkeys(
        ("asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh", "acosh", "atanh"), 1
    ),
    **dict.fromkeys(("logaddexp", "logaddexp2", "sinc", "ldexp"), 2),
    # Most of it is what the truth below is wrong by; see test_special_functions.py.
    "erfc": 4,
    "erfinv": 4,
    "lgamma": 3,
    "digamma": 16,
    "exp": 1.5,
    "log": 1.5,
    "tanh": 5,
    "sigmoid": 4,
    "erf": 4,
    "ndtr": 2,
    "rsqrt": 1.6,
    "reciprocal": 0.6,
}
# Results nearer to 0 than this are measured by its last place: those cut off on their way to 0.
SMALLEST = {"ndtr": 0.5, "logaddexp": 1, "logaddexp2": 1, "sinc": 1, "lgamma": 1, "digamma": 1}


def digamma_by_recurrence(x):
    """Reflected, moved to 60 and beyond, and summed by the asymptotic series, in long doubles."""
    pi = np.longdouble("3.14159265358979323846264338328")
    y = np.where(x < 0, 1 - x, x)
    far, shift = y > 60, 0
    for k in range(60):
        shift = shift + 1 / np.where(far, np.inf, y + k)
    z = np.where(far, y, y + 60)
    square = 1 / (z * z)
    series = square * (1 / np.longdouble(12) - square * (1 / np.longdouble(120) - square / 252))
    value = np.log(z) - 1 / (2 * z) - series - shift
    turned = value - pi / np.tan(pi * (x - np.rint(x)))
    value = np.where(x < 0, np.where(np.floor(x) == x, np.nan, turned), value)
    return np.where(x == 0, np.copysign(np.inf, -x), np.where(x == np.inf, x, value))


# Compositions, whose truth is that of their rounded parts.
ROUNDED_BETWEEN = ("floor_divide", "trunc_divide", "ldexp", "sinc")
TRUTH = {
    "xlogy": lambda x, y: np.where((x == 0) & ~np.isnan(y), 0, x * np.log(y)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": lambda x: special.erf(np.float64(x)),
    "ndtr": lambda x: special.ndtr(np.float64(x)),
    "erfinv": lambda x: special.erfinv(np.float64(x)),
    "lgamma": lambda x: np.where(
        np.abs(x) < 1e-300,
        -np.log(np.abs(x)),
        np.where(np.isinf(x), np.inf, special.gammaln(np.float64(x))),
    ),
    "entr": lambda x: np.where(x < 0, -np.inf, np.where(x == 0, 0, -x * np.log(x))),
    "xlog1py": lambda x, y: np.where((x == 0) & ~np.isnan(y), 0, x * np.log1p(y)),
    "erfc": np.vectorize(math.erfc, otypes=[np.float64]),
    "digamma": lambda x: digamma_by_recurrence(x),
}


def test_the_usual_primitives_have_kernels():
    names = {p.values[0] for p in primitives()}
    assert names >= {
        "add",
        "mul",
        "where",
        "exp",
        "log",
        "tanh",
        "sigmoid",
        "erf",
        "sqrt",
        "maximum",
    }


def moderate(dtype, seed=0, size=5000):
    """Values that no function finds hard."""
    return (np.random.default_rng(seed).standard_normal(size) * 10).astype(dtype)


@pytest.mark.parametrize("values", [spread, moderate])
@pytest.mark.parametrize(("name", "dtype"), primitives())
def test_accuracy_of_every_primitive(name, dtype, values):
    names = "abc"[: PRIMITIVES[name].arity]
    given = [values(dtype, seed) for seed in range(len(names))]
    if name == "where":
        given[0] = np.random.default_rng(5).random(given[1].size) < 0.5
    e = Expression(name, *(Expression("input", n) for n in names))
    found = kernel(name, e, names, name in TRUTHS)(*given)
    widest = dtype if name in ROUNDED_BETWEEN else np.longdouble
    wide = [a.astype(widest) if a.dtype.kind == "f" else a for a in given]
    with np.errstate(all="ignore"):
        truth = np.asarray(TRUTH.get(name, numpy_function(name))(*wide))
        rounded = truth.astype(found.dtype)
    assert found.dtype == (np.bool_ if name in TRUTHS else dtype)
    if name in TRUTHS:
        np.testing.assert_array_equal(found, truth)
        return
    np.testing.assert_array_equal(np.isnan(found), np.isnan(rounded), err_msg="NaN")
    finite = np.isfinite(rounded) & np.isfinite(found)
    np.testing.assert_array_equal(found[~finite], rounded[~finite], err_msg="infinities")
    sizes = np.maximum(np.abs(rounded[finite]), found.dtype.type(SMALLEST.get(name, 0)))
    spacing = np.spacing(sizes).astype(np.longdouble)
    errors = np.abs(found[finite].astype(np.longdouble) - truth[finite]) / spacing
    worst = int(np.argmax(errors))
    assert errors[worst] <= ULPS.get(name, 0.51), (
        f"{name}({[a[finite][worst] for a in given]}) = {found[finite][worst]!r}, "
        f"true {truth[finite][worst]!r}: {float(errors[worst]):.2f} ulps"
    )


@pytest.mark.parametrize("dtype", TYPES)
def test_signs_of_zero(dtype):
    x = np.full(9000, -0.0, dtype)
    odd = ("asin", "atan", "sinh", "asinh", "atanh")
    for name in ("neg", "abs", "sqrt", "floor", "tanh", "sign", *odd):
        found = kernel(name, Expression(name, Expression("input", "x")), "x")(x)
        expected = np.asarray(numpy_function(name)(x.astype(np.float64)))
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected), err_msg=name)


CHAIN = trace(lambda m, x, y, z: m.tanh(x * y) + m.where(z > 0, x, -y) / 3)


def chain(x, y, z):
    with np.errstate(all="ignore"):
        return np.tanh(x * y) + np.where(z > 0, x, -y) / 3


LAYOUTS = ["plain", "transposed", "strided", "offset", "reversed"]


@st.composite
def operands(draw):
    """A shape of at least 2000 elements, and for each operand the dimensions it lacks."""
    shape = draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
    while np.prod(shape) < 2000:
        shape[draw(st.integers(0, len(shape) - 1))] *= 7
    if np.prod(shape) > 400_000:
        shape = [9000]
    axes = st.sets(st.integers(0, len(shape) - 1))
    lacking = draw(st.lists(axes, min_size=2, max_size=2))
    layouts = draw(st.lists(st.sampled_from(LAYOUTS), min_size=3, max_size=3))
    return shape, [set(), *lacking], layouts, draw(st.sampled_from(TYPES))


def laid_out(a, layout):
    if layout == "transposed":
        return np.array(a.T, order="C").T
    if layout == "strided":
        every = tuple(slice(None, None, 2) for _ in a.shape)
        wide = np.zeros([2 * n for n in a.shape], a.dtype)
        wide[every] = a
        return wide[every]
    if layout == "offset":
        flat = np.zeros(a.size + 3, a.dtype)
        flat[3:] = a.ravel()
        return flat[3:].reshape(a.shape)
    if layout == "reversed":
        return np.ascontiguousarray(a[::-1])[::-1]
    return a


@settings(max_examples=60, deadline=None)
@given(operands())
def test_any_shapes_strides_and_broadcasts(case):
    shape, lacking, layouts, dtype = case
    rng = np.random.default_rng(1)
    arrays = []
    for missing, layout in zip(lacking, layouts, strict=True):
        own = [1 if i in missing else n for i, n in enumerate(shape)]
        arrays.append(laid_out(rng.standard_normal(own).astype(dtype), layout))
    run = kernel("chain", CHAIN, "xyz", reference=chain)
    before = threads.get_num_threads()
    tolerance = 3e-6 if dtype is np.float32 else 1e-14
    try:
        for count in (1, 2):
            threads.set_num_threads(count)
            found = run(*arrays)
            truth = chain(*(a.astype(np.float64) for a in arrays))
            assert found.shape == tuple(shape)
            assert found.dtype == dtype
            np.testing.assert_allclose(found, truth, tolerance, tolerance)
    finally:
        threads.set_num_threads(before)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 8191, 8192, 8193, 32768, 32769, 100_003])
def test_sizes_around_the_chunks(size, thread_count):
    x = np.arange(size, dtype=np.float32)
    found = kernel("twice", trace(lambda m, x: x * 2 + 1), "x")(x)
    np.testing.assert_array_equal(found, x * 2 + 1)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0), (100, 0, 100)])
def test_nothing_to_do(shape):
    run = kernel("empty", trace(lambda m, x: x * 2), "x", reference=lambda x: x * 2)
    assert run(np.zeros(shape, np.float32)).shape == shape


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((200, 100), (100,)),
        ((200, 100), (200, 1)),
        ((200, 100), (1, 1)),
        ((20, 10, 100), (10, 100)),
        ((20, 10, 100), (20, 1, 1)),
        ((20, 10, 100), (20, 10, 1)),
        ((1, 100), (200, 1)),
        ((200, 100), ()),
        ((2, 10000), (1,)),
        ((10000, 2), (2,)),
        ((30, 10, 100), (30, 1, 100)),
    ],
)
def test_broadcasts(left, right, thread_count):
    rng = np.random.default_rng(2)
    x, y = (np.asarray(rng.standard_normal(s), np.float32) for s in (left, right))
    run = kernel("mul", trace(lambda m, x, y: x * y), "xy")
    np.testing.assert_array_equal(run(x, y), x * y)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_results_lie_in_memory_as_numpys(layout):
    x = laid_out(np.random.default_rng(3).standard_normal((20, 30, 40)), layout)
    run = kernel("double", trace(lambda m, x: x * 2), "x", reference=lambda x: x * 2)
    assert run(x).strides == (x * 2).strides


@pytest.mark.parametrize("layout", LAYOUTS)
def test_results_may_be_written_into_an_operand(layout, thread_count):
    rng = np.random.default_rng(4)
    x, y = (laid_out(rng.standard_normal((60, 70)), layout) for _ in range(2))
    expected = x + 2 * y
    run = kernel("into", trace(lambda m, x, y: x + 2 * y), "xy")
    found = run.convert([x, y], x.dtype, x.dtype, x)
    if found is not None:  # nothing runs backwards here
        assert found is x
        np.testing.assert_array_equal(x, expected)


def test_operands_that_overlap_the_result_are_copied_first():
    x = np.random.default_rng(5).standard_normal((90, 90))
    before = x.copy()
    run = kernel("apart", trace(lambda m, x, y: x + 2 * y), "xy")
    run.convert([x, x.T], x.dtype, x.dtype, x)
    np.testing.assert_array_equal(x, before + 2 * before.T)
    flat = before.reshape(-1)
    later, earlier, expected = flat[1:], flat[:-1], flat[1:] + 2 * flat[:-1]
    run.convert([later, earlier], x.dtype, x.dtype, later)
    np.testing.assert_array_equal(later, expected)


@pytest.mark.parametrize("narrow", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_computed_in_float32(narrow):
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal(5000).astype(narrow), rng.integers(-9, 9, 5000)
    x[:3] = np.inf, np.nan, 6e-5
    run = kernel("half", trace(lambda m, x, y: x * 3 + y), "xy")
    found = run.convert([x, y], np.dtype(np.float32), x.dtype)
    expected = (x.astype(np.float32) * 3 + y.astype(np.float32)).astype(narrow)
    np.testing.assert_array_equal(found.astype(np.float32), expected.astype(np.float32))


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.arange(9000, dtype=np.uint64),
        lambda: np.arange(9000) > 5,
        lambda: np.arange(9000, dtype=np.float16),
        lambda: np.arange(9000) + 1j,
        lambda: np.arange(9000, dtype=">f4"),
        lambda: np.frombuffer(bytes(36001), np.float32, 9000, 1),
        lambda: 3.5,
    ],
    ids=["unsigned", "bool", "half", "complex", "foreign", "unaligned", "number"],
)
def test_what_has_no_kernel_is_left_to_numpy(make):
    used = []

    def reference(x):
        used.append(1)
        return x + x

    x = make()
    run = kernel("left", trace(lambda m, x: x + x), "x", reference=reference)
    np.testing.assert_array_equal(run(x), x + x)
    assert used


def test_a_plan_for_aligned_arrays_is_not_used_for_others():
    run = kernel("aligned", trace(lambda m, x: x + x), "x", reference=lambda x: x + x)
    aligned = np.arange(9000, dtype=np.float32)
    raw = np.zeros(36001, np.uint8)
    shifted = raw[1:].view(np.float32)
    shifted[...] = aligned
    for x in (aligned, shifted):
        np.testing.assert_array_equal(run(x), 2 * aligned)


def test_operands_of_two_types_are_left_to_numpy():
    x, y = np.ones(9000, np.float32), np.ones(9000)
    run = kernel("two", trace(lambda m, x, y: x + y), "xy", reference=np.add)
    assert run(x, y).dtype == np.float64


def test_a_primitive_without_ir_is_left_to_numpy():
    x = np.linspace(1, 5, 9000)
    run = kernel("i0", trace(lambda m, x: m.i0(x)), "x", reference=special.i0)
    np.testing.assert_array_equal(run(x), special.i0(x))


def test_shapes_that_do_not_broadcast_are_numpys_error():
    run = kernel("wrong", trace(lambda m, x, y: x + y), "xy", reference=np.add)
    with pytest.raises(ValueError, match="broadcast"):
        run(np.ones(9000, np.float32), np.ones(9001, np.float32))


def test_without_a_jit_everything_is_numpy(monkeypatch):
    monkeypatch.setattr(flags, "jit", False)
    used = []
    run = kernel("off", trace(lambda m, x: -x), "x", reference=lambda x: used.append(1))
    run(np.ones(9000, np.float32))
    assert used


def test_inputs_may_be_one_array_and_are_not_written():
    x = np.arange(9000, dtype=np.float32)
    before = x.copy()
    found = kernel("square", trace(lambda m, x, y: x * y), "xy")(x, x)
    np.testing.assert_array_equal(found, before * before)
    np.testing.assert_array_equal(x, before)


def test_many_threads_share_one_kernel():
    x = np.random.default_rng(4).standard_normal(50_000).astype(np.float32)
    run = kernel("shared", CHAIN, "xyz")
    truth, wrong = run(x, x, x), []

    def work():
        for _ in range(20):
            if not np.array_equal(run(x, x, x), truth):
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong


INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32]
DIVISIONS = {
    "fmod": np.fmod,
    "remainder": np.remainder,
    "floor_divide": np.floor_divide,
    "trunc_divide": lambda x, y: (x - np.fmod(x, y)) // y,
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", DIVISIONS)
def test_integer_divisions(name, dtype, large):
    rng = np.random.default_rng(7)
    info = np.iinfo(dtype)
    bound = info.max if large else min(info.max, 100)
    low = max(info.min, -bound)
    x = rng.integers(low, bound, 3000, dtype, endpoint=True)
    y = rng.integers(low, bound, 3000, dtype, endpoint=True)
    y[y == 0] = 3
    x[:4], y[:4] = (info.max, info.max - 1, info.min + 1, 0), (1, 2, 1, 5)
    e = Expression(name, Expression("input", "a"), Expression("input", "b"))
    found = kernel(name, e, "ab")(x, y)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, DIVISIONS[name](x, y))
    by_number = kernel(name, e, "ab")(x, np.array(7, dtype))
    np.testing.assert_array_equal(by_number, DIVISIONS[name](x, dtype(7)))


@pytest.mark.parametrize("name", DIVISIONS)
def test_integers_at_the_end_of_their_range_are_divided(name):
    low = np.iinfo(np.int64).min
    x, y = np.full(40, low), np.tile([-1, 1, low, 2], 10)
    e = Expression(name, Expression("input", "a"), Expression("input", "b"))
    remainder = name in ("fmod", "remainder")
    expected = np.tile([0, 0, 0, 0] if remainder else [low, low, 1, low // 2], 10)
    np.testing.assert_array_equal(kernel(name, e, "ab")(x, y), expected)


@pytest.mark.parametrize("shape", [(50,), (10, 5)])
@pytest.mark.parametrize("name", DIVISIONS)
def test_an_integer_is_not_divided_by_zero(name, shape):
    e = Expression(name, Expression("input", "a"), Expression("input", "b"))
    x, y = np.ones(shape, np.int32), np.ones(shape, np.int32)
    y[-1] = 0
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        kernel(name, e, "ab")(x, y)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        kernel(name, e, "ab")(x.T, y.T)


@pytest.mark.parametrize("dtype", TYPES)
def test_remainders_of_quotients_of_any_size_are_exact(dtype):
    x, y = spread(dtype, 1), spread(dtype, 2)
    e = Expression("fmod", Expression("input", "a"), Expression("input", "b"))
    with np.errstate(all="ignore"):
        expected = np.fmod(x, y)
    found = kernel("fmod", e, "ab")(x, y)
    np.testing.assert_array_equal(found, expected)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[known]), np.signbit(expected[known]))


@pytest.mark.parametrize("dtype", TYPES)
def test_powers_at_the_ends_of_the_range(dtype):
    ends = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 2.5, -2.5, 1e30, -1e30,
            1e-30, np.inf, -np.inf, np.nan]  # fmt: skip
    x, y = (a.reshape(-1).astype(dtype) for a in np.meshgrid(ends, ends))
    e = Expression("pow", Expression("input", "a"), Expression("input", "b"))
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    found = kernel("pow", e, "ab")(x, y)
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[known]), np.signbit(expected[known]))
