"""The loop language: compiled kernels do what the same functions do as plain Python."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.special

from flambeau.compiler import jit, threads
from flambeau.compiler.expressions import trace
from flambeau.compiler.kernel import fingerprint, inline, kernel, serves
from flambeau.compiler.language import (
    F64,
    I64,
    Array,
    Bool,
    S,
    Static,
    T,
    bits,
    ceil,
    copy,
    decay,
    elements_at,
    erf,
    exp,
    f64,
    floor,
    fma,
    inf,
    isnan,
    larger,
    libm,
    local,
    log,
    maximum,
    minimum,
    multiply_block,
    nearest,
    rounded,
    select,
    shift_right,
    sigmoid,
    simd,
    smaller,
    sqrt,
    tanh,
    transpose_block,
    transpose_tile,
    truncated,
    unrolled,
)
from flambeau.compiler.translate_values import KernelError

pytestmark = pytest.mark.skipif(not jit.available(), reason="the JIT is off")

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


@inline
def row_maximum(x: Any, n: Any) -> Any:
    high = -inf
    for j in simd(n):
        high = larger(high, x[j])
    return high


@kernel
def softmax(first: int, last: int, x: Array[T], out: Array[T], columns: int) -> None:
    for row in range(first, last):
        source, target = x[row * columns :], out[row * columns :]
        high = row_maximum(source, columns)
        total = 0.0
        for j in simd(columns):
            e = exp(source[j] - high)
            target[j] = e
            total += e
        for j in simd(columns):
            target[j] = target[j] / total


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 17), (64, 1000)])
def test_softmax_agrees_with_scipy(dtype: Any, shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    out = np.empty_like(x)
    softmax(shape[0], shape[1] * 64, x, out, shape[1])
    expected = scipy.special.softmax(x.astype(np.float64), 1)
    # bfloat16 and float16 are stored unnormalised in between, so two roundings meet.
    info = ml_dtypes.finfo(dtype)
    rtol = 4 * float(info.eps) + (3e-6 if dtype is np.float32 else 1e-13)
    np.testing.assert_allclose(
        out.astype(np.float64), expected, rtol=rtol, atol=2 * float(info.smallest_subnormal)
    )


@kernel
def everything(
    first: int, last: int, x: Array[F64], index: Array[I64], out: Array[F64], by: float
) -> None:
    """One branch for each construct; item `i` writes out[i]."""
    for i in range(first, last):
        v, k = x[i], index[i]
        if k == 0:
            out[i] = -v + by * 2 - v / 3
        elif k == 1:
            out[i] = k // 2 + (-7) // (k + 1) + (-7) % (k + 2) + 7 % -(k + 2)
        elif (k == 2 and v > 0) or k == 20:
            out[i] = maximum(v, by) + minimum(v, by) + max(v, by) - min(v, by)
        elif k == 3:
            total = 0
            j = 0
            while True:
                j += 1
                if j == 4:
                    continue
                if j > 9:
                    break
                total += j
            out[i] = total
        elif k == 4:
            out[i] = sqrt(abs(v)) + floor(v) + ceil(v) + nearest(v * 3) + exp(v) + tanh(v)
        elif k == 5:
            out[i] = fma(v, v, by) + sigmoid(v) + (0.25 if -1 < v <= 1 else x[0])
        elif k == 6:
            out[i] = (5 << 3) ^ (k & 3) | 64
        elif k == 7:
            for j in range(10, 0, -3):
                out[i] = j + shift_right(256, 4)
        elif k == 8:
            buffer = local(F64, 4)
            for j in unrolled(4):
                buffer[j] = v * j
            out[i] = buffer[1] + buffer[3] + int(v * 100) + int(inf > v) + float(not isnan(v))
        elif k == 9:
            rest = x[i:]
            rest = rest[1:]
            out[i] = rest[0] + select(v > 0, 1, 2)
        elif k == 10:
            for _ in range(5, 5):
                out[i] = 3
            out[i] += smaller(v, 0.5) * larger(v, -0.5)
        else:
            out[i] = -1


def test_every_construct_agrees_with_python() -> None:
    rng = np.random.default_rng(1)
    index = np.tile(np.arange(12), 6)
    x = rng.normal(size=index.size + 1) * 2
    compiled, plain = np.zeros(index.size), np.zeros(index.size)
    everything(index.size, 1, x, index, compiled, 0.7)
    everything.python(index.size, x, index, plain, 0.7)
    np.testing.assert_allclose(compiled, plain, rtol=1e-14)


@kernel
def functions(first: int, last: int, x: Array[T], out: Array[T]) -> None:
    for i in simd(first, last):
        out[i] = log(x[i]) + erf(x[i])


def test_functions_agree_with_scipy() -> None:
    x = np.linspace(0.1, 3, 1000, dtype=np.float32)
    out = np.empty_like(x)
    functions(1000, 64, x, out)
    np.testing.assert_allclose(out, np.log(x) + scipy.special.erf(x), rtol=1e-5, atol=1e-6)


@kernel
def gather(
    first: int, last: int, x: Array[T], index: Array[S], mask: Array[Bool] | None, out: Array[T]
) -> None:
    for i in range(first, last):
        if mask is None or mask[i]:
            out[i] = x[index[i]]
        else:
            out[i] = T(7)


@pytest.mark.parametrize("value", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.float32])
@pytest.mark.parametrize("index", [np.int32, np.int64, np.uint8])
def test_element_types_and_arrays_left_out(value: Any, index: Any) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 200, 50).astype(value)
    i = rng.integers(0, 50, 33).astype(index)
    mask = rng.random(33) > 0.5
    out = np.empty(33, value)
    gather(33, 1, x, i, None, out)
    np.testing.assert_array_equal(out, x[i])
    gather(33, 1, x, i, mask, out)
    np.testing.assert_array_equal(out, np.where(mask, x[i], 7))


@kernel
def fold(first: int, last: int, x: Array[T], out: Array[F64], n: int, f: Static, k: Static) -> None:
    for row in range(first, last):
        total = f64(0.0)
        for j in simd(n):
            total += f64(f(x=x[row * n + j]))
        out[row] = total if k > 2 else -total


def test_static_expressions_and_constants() -> None:
    x = np.random.default_rng(3).normal(size=(5, 300)).astype(np.float32)
    out = np.empty(5)
    square, twice = trace(lambda m, x: x * x), trace(lambda m, x: x + x)
    fold(5, 300, x, out, 300, square, 3)
    np.testing.assert_allclose(out, (x.astype(np.float64) ** 2).sum(1), rtol=1e-6)
    fold(5, 300, x, out, 300, twice, 1)
    np.testing.assert_allclose(out, -2 * x.astype(np.float64).sum(1), rtol=1e-4, atol=1e-4)


@kernel
def narrow(first: int, last: int, x: Array[F64], out: Array[T]) -> None:
    for i in range(first, last):
        out[i] = T(x[i])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.int32, np.bool_])
def test_conversions_round_as_numpy_does(dtype: Any) -> None:
    x = np.concatenate([np.random.default_rng(4).normal(size=2000) * 100, [0.0, -0.0, 1e-7]])
    x = x.astype(np.float32).astype(np.float64)
    out = np.empty(x.size, dtype)
    narrow(x.size, 1, x, out)
    np.testing.assert_array_equal(out, x.astype(np.float32).astype(dtype))


def test_bfloat16_keeps_nan_and_infinity() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 3.4e38])
    out = np.empty(4, ml_dtypes.bfloat16)
    narrow(4, 1, x, out)
    np.testing.assert_array_equal(out.astype(np.float64), [np.nan, np.inf, -np.inf, np.inf])


def test_integers_saturate() -> None:
    x = np.array([1e30, -1e30, np.nan, 2.9, -2.9])
    out = np.empty(5, np.int64)
    narrow(5, 1, x, out)
    top = np.iinfo(np.int64)
    assert out.tolist() == [top.max, top.min, 0, 2, -2]


@kernel
def patterns(first: int, last: int, x: Array[T], out: Array[I64]) -> None:
    for i in range(first, last):
        out[i] = bits(x[i])


def test_bits() -> None:
    for dtype, whole in ((np.float32, np.int32), (np.float64, np.int64)):
        x = np.array([1.5, -2.0, np.inf], dtype)
        out = np.empty(3, np.int64)
        patterns(3, 1, x, out)
        np.testing.assert_array_equal(out, x.view(whole))


@kernel
def workers(first: int, last: int, thread: int, out: Array[I64]) -> None:
    for i in range(first, last):
        out[i] = thread


def test_the_result_does_not_depend_on_threads() -> None:
    x = np.random.default_rng(5).normal(size=(1000, 300)).astype(np.float32)
    results = []
    before = threads.get_num_threads()
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            out, seen = np.empty_like(x), np.full(1000, -1)
            softmax(1000, 300 * 64, x, out, 300)
            workers(1000, 1000, seen)
            assert 0 <= seen.min() <= seen.max() < count
            results.append(out)
    finally:
        threads.set_num_threads(before)
    assert all(np.array_equal(results[0], other) for other in results[1:])


def test_no_items_write_nothing() -> None:
    out = np.full(4, 9.0)
    softmax(0, 1, np.empty((0, 4)), out, 4)
    assert (out == 9).all()


def _refused(function: Any, *args: Any) -> str:
    with pytest.raises((KernelError, TypeError)) as caught:
        kernel(function)(1, 1, *args)
    return str(caught.value)


def test_mistakes_are_named_with_their_line() -> None:
    def lossy(first: int, last: int, x: Array[F64]) -> None:
        count = 0
        for i in range(first, last):
            count = x[i]
        x[0] = count

    def unknown(first: int, last: int, x: Array[F64]) -> None:
        x[0] = np.cos(x[0])

    def listed(first: int, last: int, x: Array[F64]) -> None:
        x[0] = [1]

    def typed(first: int, last: int, x: Array[F64]) -> None:
        x[0] = 1

    x = np.zeros(3)
    assert "count is i64, got double" in _refused(lossy, x)
    assert "test_language.py" in _refused(lossy, x)
    assert "attribute" in _refused(unknown, x)
    assert "list" in _refused(listed, x)
    assert "expected f64" in _refused(typed, np.zeros(3, np.float32))
    assert "missing" in _refused(typed, None)
    assert "takes 1 arguments" in _refused(typed, x, x)


def test_fingerprints_see_what_a_kernel_calls() -> None:
    def make(factor: float) -> Any:
        @inline
        def scaled(v: Any) -> Any:
            return v * factor

        @kernel
        def scale(first: int, last: int, x: Array[F64]) -> None:
            for i in range(first, last):
                x[i] = scaled(x[i])

        return scale

    two, three = make(2.0), make(3.0)
    assert fingerprint(two) != fingerprint(three)
    assert fingerprint(two) == fingerprint(make(2.0))
    x = np.ones(4)
    two(4, 1, x)
    three(4, 1, x)
    assert (x == 6).all()


def test_serves() -> None:
    x = np.zeros((4, 4), np.float32)
    assert serves(x, x[1:])
    for other in (x.T, x.astype(">f4"), x.astype(complex)):
        assert not serves(other)


@kernel
def gram(first: int, last: int, x: Array[T], turned: Array[T], out: Array[T], k: int) -> None:
    rows = last - first
    transpose_block(x[first * k :], k, turned, rows, rows, k)
    multiply_block(x[first * k :], k, 1, turned, rows, out[first * rows :], rows, rows, rows, k, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_of_matrices(dtype: Any) -> None:
    x = np.random.default_rng(0).normal(size=(21, 13)).astype(dtype)
    turned, out = np.empty((13, 21), dtype), np.empty((21, 21), dtype)
    gram(21, 0, x, turned, out, 13)
    np.testing.assert_allclose(out, x @ x.T, atol=1e-5)
    assert np.array_equal(turned, x.T)
    plain = np.empty_like(out)
    gram.python(21, x, turned, plain, 13)
    np.testing.assert_allclose(plain, out, atol=1e-5)
    with pytest.raises(KernelError, match="all float32 or all float64"):
        gram(21, 0, x.astype(np.float16), turned.astype(np.float16), out.astype(np.float16), 13)


@kernel
def decays(first: int, last: int, x: Array[T], out: Array[T]) -> None:
    for i in simd(first, last):
        out[i] = decay(x[i])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decay_is_the_exponential_of_what_is_not_large(dtype: Any) -> None:
    least = np.log(float(np.finfo(dtype).tiny))
    x = np.concatenate([np.linspace(least, 80, 4999), [0.0, -0.0]]).astype(dtype)
    out = np.empty_like(x)
    decays(x.size, 1, x, out)
    truth = np.exp(x.astype(np.longdouble))
    off = np.abs(out - truth) / truth
    assert np.max(off[truth > 2 * np.finfo(dtype).tiny]) < 1.5 * np.finfo(dtype).eps
    x = np.array([-np.inf, -1e30, 2 * least, np.nan], dtype)
    out = np.empty_like(x)
    decays(4, 1, x, out)
    np.testing.assert_array_equal(out, [0, 0, 0, np.nan])


@kernel
def butterfly(first: int, last: int, x: Array[T], half: int) -> None:
    for row in range(first, last):
        p = x[row * 2 * half :]
        for j in simd(half):
            a, b = p[j], p[half + j]
            p[j] = a + b
            p[half + j] = a - b


@pytest.mark.parametrize("half", [1, 5, 16, 67])
def test_simd_loops_may_write_several_parts_of_one_array(half: int) -> None:
    x = np.random.default_rng(half).normal(size=(3, 2, half)).astype(np.float32)
    expected = np.stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]], 1)
    butterfly(3, 2 * half, x, half)
    assert np.array_equal(x, expected)


@kernel
def turn_tiles(first: int, last: int, x: Array[T], out: Array[T], size: Static) -> None:
    for tile in range(first, last):
        at = tile * size * (size + 3)
        transpose_tile(x[at:], size + 3, out[tile * size * size :], size, size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("size", [2, 4, 8, 16])
def test_tiles_are_transposed(size: int, dtype: Any) -> None:
    x = np.random.default_rng(0).integers(-99, 99, (3, size, size + 3)).astype(dtype)
    out = np.empty((3, size, size), dtype)
    turn_tiles(3, 1, x, out, size)
    assert np.array_equal(out, x[:, :, :size].transpose(0, 2, 1))
    turn_tiles.python(3, x, slow := np.empty_like(out).reshape(-1), size)
    assert np.array_equal(slow, out.reshape(-1))


@kernel
def truncations(first: int, last: int, x: Array[T], out: Array[I64]) -> None:
    for j in simd(first, last):
        out[j] = truncated(x[j])


@pytest.mark.parametrize("dtype", FLOATS)
def test_truncation_is_towards_zero(dtype: Any) -> None:
    x = np.array([0.0, -0.5, 0.99, -1.99, 7.5, -100.25, 4096.0], dtype)
    out = np.empty(x.size, np.int64)
    truncations(x.size, 1, x, out)
    assert out.tolist() == [int(v) for v in x.tolist()]


@kernel
def join_parts(
    first: int, last: int, x: Array[T], out: Array[T], addresses: Array[I64], size: int
) -> None:
    """Pieces of `size` elements from addresses, half of each by `copy`."""
    for item in range(first, last):
        source, target = elements_at(x, addresses[item], size), out[item * size :]
        half = size // 2
        copy(target, source, half)
        for j in simd(half, size):
            target[j] = source[j]


@pytest.mark.parametrize("size", [1, 7, 64, 500, 3000])
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.float64, ml_dtypes.bfloat16])
def test_elements_at_addresses_are_copied(dtype, size):
    parts = [np.arange(i, i + size).astype(np.int8).astype(dtype) for i in range(5)]
    addresses = np.array([p.ctypes.data for p in parts])
    compiled, plain = np.zeros(5 * size, dtype), np.zeros(5 * size, dtype)
    if jit.available():
        join_parts(5, size, parts[0], compiled, addresses, size)
        np.testing.assert_array_equal(compiled, np.concatenate(parts))
    join_parts.python(5, parts[0], plain, addresses, size)
    np.testing.assert_array_equal(plain, np.concatenate(parts))


@pytest.mark.skipif(not jit.available(), reason="says what compiling refuses")
def test_copy_takes_arrays_of_one_type():
    @kernel
    def mixed(first: int, last: int, x: Array[T], out: Array[S]) -> None:
        copy(out, x, last)

    with pytest.raises(KernelError, match="one element type"):
        mixed(1, 1, np.zeros(1, np.float32), np.zeros(1))


@kernel
def apart(first: int, last: int, x: Array[F64], y: Array[F64], out: Array[F64]) -> None:
    for i in range(first, last):
        out[2 * i] = rounded(x[i] * y[i]) - 1.0
        out[2 * i + 1] = libm("pow", libm("lgamma", x[i]), y[i])


def test_products_are_rounded_and_functions_are_the_c_library_s() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(3, 9, 400), rng.uniform(0.1, 3, 400)
    y[:200] = 1 / x[:200]
    results = np.empty(800), np.empty(800)
    apart(400, 10, x, y, results[0])
    apart.python(400, x, y, results[1])
    np.testing.assert_array_equal(results[0][0::2], x * y - 1.0)
    # The logarithm of gamma is Python's own there.
    np.testing.assert_allclose(results[0], results[1], rtol=1e-14, atol=0)
