"""The IR of loop nests: it parses, verifies, runs right, and knows no machine."""

from __future__ import annotations

import ctypes
import dataclasses
import math

import numpy as np
import pytest

from flambeau.compiler import jit, loops, target
from flambeau.compiler.expressions import Expression, trace
from flambeau.compiler.loops import Operand
from flambeau.compiler.scalar_ir import ScalarWriter, Unsupported
from flambeau.ops.record import REGISTRY
from tests.compiler.guarded import guarded

llvm = pytest.importorskip("llvmlite.binding")
pytestmark = pytest.mark.skipif(not jit.available(), reason="nothing is compiled")

TRIPLES = {
    "here": None,
    "aarch64": "aarch64-unknown-linux-gnu",
    "wasm": "wasm32-unknown-unknown",
    "riscv": "riscv64-unknown-linux-gnu",
}
EXPRESSIONS = {
    "sum": trace(lambda m, x, y: x + y * 2),
    "transcendental": trace(lambda m, x, y: m.exp(x) * m.tanh(y) + m.sigmoid(x)),
    "where": trace(lambda m, x, y: m.where(x > y, x, m.maximum(y, 0))),
    "rounding": trace(lambda m, x, y: m.floor(x) + m.round(y) - m.trunc(x)),
    "roots": trace(lambda m, x, y: m.sqrt(m.abs(x)) + m.rsqrt(m.square(y))),
}
TYPES = {"float": np.float32, "double": np.float64}


def both(type_):
    return [Operand("x", type_, False), Operand("y", type_, False)]


def modules(type_):
    for name, e in EXPRESSIONS.items():
        yield name, loops.render_flat("chunk", e, both(type_), type_, type_)
        fixed = [Operand("x", type_, False), Operand("y", type_, True)]
        yield f"{name} rows", loops.render_rows("chunk", e, fixed, type_, type_)
        for fold in ("sum", "maximum", "minimum"):
            text = loops.render_row_reduction("chunk", e, both(type_), type_, fold)
            yield f"{name} {fold}", text


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("where", TRIPLES)
def test_the_ir_verifies_for_every_machine(where, type_):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for name, text in modules(type_):
        module = llvm.parse_assembly(text)
        module.verify()
        if TRIPLES[where] is not None and name in ("transcendental", "sum rows", "where maximum"):
            machine = llvm.Target.from_triple(TRIPLES[where]).create_target_machine(opt=2)
            module.triple, module.data_layout = TRIPLES[where], str(machine.target_data)
            assert machine.emit_object(module)


@pytest.mark.parametrize("type_", TYPES)
def test_the_ir_names_no_machine(type_):
    for _, text in modules(type_):
        for word in ("x86", "avx", "neon", "<4 x", "<8 x", "<16 x", "target triple"):
            assert word not in text


def test_every_op_with_ir_verifies():
    seen = 0
    for op in REGISTRY.values():
        if op.family != "pointwise":
            continue
        for type_ in TYPES:
            operands = [Operand(n, type_, False) for n in op.signature.parameters]
            out = "i8" if op.promote == "compare" else type_
            try:
                text = loops.render_flat("chunk", op.expression, operands, type_, out)
            except Unsupported:
                continue
            llvm.parse_assembly(text).verify()
            seen += 1
    assert seen > 60


def run(text, words, chunks):
    """Run a kernel chunk by chunk through ctypes."""
    built = jit.load_or_build("test.loops", text, lambda: text)
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
        built.address("chunk")
    )
    array = np.array(words, np.int64)
    for index in range(chunks):
        kernel(array.ctypes.data, index, 0)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("count", [1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 1000])
def test_flat_loops_touch_their_elements_and_no_others(type_, count):
    rng = np.random.default_rng(count)
    dtype = TYPES[type_]
    x, y = (guarded(rng.standard_normal(count).astype(dtype)) for _ in range(2))
    out = guarded(np.full(count, 7, dtype))
    text = loops.render_flat("chunk", EXPRESSIONS["sum"], both(type_), type_, type_)
    chunk = -(-count // 3)
    chunks = -(-count // chunk)
    run(text, [count, chunk, out.ctypes.data, x.ctypes.data, y.ctypes.data], chunks)
    np.testing.assert_allclose(out, x + y * 2, 1e-6)


def test_a_chunk_leaves_the_others_alone():
    x = np.arange(100, dtype=np.float32)
    out = np.full(100, -1, np.float32)
    text = loops.render_flat("chunk", EXPRESSIONS["sum"], both("float"), "float", "float")
    words = np.array([100, 30, out.ctypes.data, x.ctypes.data, x.ctypes.data], np.int64)
    built = jit.load_or_build("test.loops", text, lambda: text)
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
        built.address("chunk")
    )
    kernel(words.ctypes.data, 1, 0)
    np.testing.assert_array_equal(out[:30], -1)
    np.testing.assert_array_equal(out[30:60], 3 * x[30:60])
    np.testing.assert_array_equal(out[60:], -1)
    kernel(words.ctypes.data, 3, 0)
    np.testing.assert_array_equal(out[60:90], -1)
    np.testing.assert_array_equal(out[90:], 3 * x[90:])


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 5), (5, 64), (2, 67), (7, 129)])
def test_rows_repeat_what_is_fixed(type_, rows, columns):
    rng = np.random.default_rng(rows * columns)
    dtype = TYPES[type_]
    size = np.dtype(dtype).itemsize
    x = guarded(rng.standard_normal((rows, columns)).astype(dtype))
    per_row = guarded(rng.standard_normal(rows).astype(dtype))
    per_column = guarded(rng.standard_normal(columns).astype(dtype))
    e = trace(lambda m, x, r, c: x * r + c)
    operands = [Operand("x", type_, False), Operand("r", type_, True), Operand("c", type_, False)]
    text = loops.render_rows("chunk", e, operands, type_, type_)
    out = guarded(np.zeros((rows, columns), dtype))
    pointers = [a.ctypes.data for a in (out, x, per_row, per_column)]
    run(text, [rows, 2, columns, *pointers, columns * size, size, 0], -(-rows // 2))
    np.testing.assert_allclose(out, x * per_row[:, None] + per_column, 1e-6, 1e-6)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("fold", ["sum", "maximum", "minimum"])
@pytest.mark.parametrize("columns", [1, 5, 64, 1023, 1024, 1025, 5000])
def test_rows_are_folded(type_, fold, columns):
    rng = np.random.default_rng(columns)
    dtype = TYPES[type_]
    x = guarded(rng.standard_normal((3, columns)).astype(dtype))
    text = loops.render_row_reduction(
        "chunk", Expression("input", "x"), [Operand("x", type_, False)], type_, fold
    )
    out = guarded(np.zeros(3, np.float64 if fold == "sum" else dtype))
    run(text, [3, 1, columns, out.ctypes.data, x.ctypes.data], 3)
    truth = {"sum": np.sum, "maximum": np.max, "minimum": np.min}[fold](x.astype(np.float64), 1)
    np.testing.assert_allclose(out, truth, 1e-5 if type_ == "float" else 1e-13, atol=1e-5)


@pytest.mark.parametrize("fold", ["maximum", "minimum"])
def test_nan_wins_a_fold(fold):
    x = np.arange(30, dtype=np.float32).reshape(3, 10)
    x[1, 4] = np.nan
    text = loops.render_row_reduction(
        "chunk", Expression("input", "x"), [Operand("x", "float", False)], "float", fold
    )
    out = np.zeros(3, np.float32)
    run(text, [3, 3, 10, out.ctypes.data, x.ctypes.data], 1)
    np.testing.assert_array_equal(np.isnan(out), [False, True, False])


def test_an_empty_row_sums_to_zero():
    x = np.zeros((2, 0), np.float32)
    text = loops.render_row_reduction(
        "chunk", Expression("input", "x"), [Operand("x", "float", False)], "float", "sum"
    )
    out = np.full(2, 5.0)
    run(text, [2, 2, 0, out.ctypes.data, x.ctypes.data], 1)
    np.testing.assert_array_equal(out, 0)


def test_a_long_float_sum_loses_nothing_to_its_length():
    x = np.full((1, 3_000_000), 0.1, np.float32)
    text = loops.render_row_reduction(
        "chunk", Expression("input", "x"), [Operand("x", "float", False)], "float", "sum"
    )
    out = np.zeros(1)
    run(text, [1, 1, x.size, out.ctypes.data, x.ctypes.data], 1)
    assert out[0] == pytest.approx(np.float64(np.float32(0.1)) * x.size, rel=1e-6)


def test_truth_values_are_read_and_written_as_bytes():
    mask = np.array([True, False] * 40)
    x = np.arange(80, dtype=np.float32)
    e = trace(lambda m, c, x: m.where(c, x, 0) > 10)
    text = loops.render_flat(
        "chunk", e, [Operand("c", "i8", False), Operand("x", "float", False)], "float", "i8"
    )
    out = np.zeros(80, bool)
    run(text, [80, 80, out.ctypes.data, mask.ctypes.data, x.ctypes.data], 1)
    np.testing.assert_array_equal(out, np.where(mask, x, 0) > 10)


@pytest.mark.parametrize(
    ("f", "type_"),
    [
        (lambda m, x: m.lgamma(x), "float"),
        (lambda m, x: m.erfinv(x), "double"),
        (lambda m, x: x * 1j, "float"),
        (lambda m, x: m.gcd(x, x), "float"),
    ],
)
def test_what_has_no_ir_says_so(f, type_):
    with pytest.raises(Unsupported):
        loops.render_flat("chunk", trace(f), [Operand("x", type_, False)], type_, type_)


def test_types_that_do_not_fit_are_refused():
    x = Expression("input", "x")
    with pytest.raises(Unsupported):
        loops.render_flat("chunk", x, [Operand("x", "double", False)], "float", "float")
    with pytest.raises(Unsupported):
        loops.render_flat("chunk", x, [Operand("x", "float", False)], "float", "i8")


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize(
    "value", [0.0, -0.0, 1.5, 0.1, 1e-40, 1e-320, 1e300, -1e300, math.inf, math.nan]
)
def test_constants_are_what_the_type_can_hold(type_, value):
    e = Expression("where", Expression("gt", Expression("input", "x"), Expression("const", 9)),
                   Expression("input", "x"), Expression("const", value))  # fmt: skip
    text = loops.render_flat("chunk", e, [Operand("x", type_, False)], type_, type_)
    x = np.zeros(20, TYPES[type_])
    out = np.ones(20, TYPES[type_])
    run(text, [20, 20, out.ctypes.data, x.ctypes.data], 1)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(out, np.full(20, np.float64(value).astype(TYPES[type_])))


def test_shared_parts_are_computed_once():
    def f(m, x):
        t = m.exp(x)
        return t / (1 + t) + t

    writer = ScalarWriter()
    e = trace(f)
    from flambeau.compiler.scalar_ir import Value

    writer.lower(e, {"x": Value("%x", "float")}, "float")
    assert sum("roundeven" in line for line in writer.lines) == 1


def test_object_code_belongs_to_one_cpu(monkeypatch):
    def digest():
        jit._environment.cache_clear()
        return jit._digest("name", "key", jit.Options())

    here = target.host()
    mine = digest()
    for changed in ({"cpu": "another"}, {"features": here.features + ",+none"}):
        other = dataclasses.replace(here, **changed)
        monkeypatch.setattr(target, "host", lambda other=other: other)
        assert digest() != mine
    monkeypatch.undo()
    assert digest() == mine


def test_the_host_is_described():
    here = target.host()
    assert here.vector_bytes in (8, 16, 32, 64, 128)
