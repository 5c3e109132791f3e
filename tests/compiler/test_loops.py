"""The IR of loop nests: it parses, verifies, runs right, and knows no machine."""

from __future__ import annotations

import ctypes
import dataclasses
import math

import ml_dtypes
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
KINDS = {"float": "f32", "double": "f64"}


def both(type_, *steps):
    x, y = steps or ("unit", "unit")
    return [Operand("x", KINDS[type_], x), Operand("y", KINDS[type_], y)]


def result(type_, step="unit"):
    return Operand("", KINDS[type_], step)


def flat(e, operands, type_, out=None):
    return loops.render_flat("chunk", e, operands, type_, out or result(type_))


def modules(type_):
    for name, e in EXPRESSIONS.items():
        yield name, flat(e, both(type_), type_)
        mixed = both(type_, "strided", "fixed")
        yield (
            f"{name} nest",
            loops.render_nest("chunk", e, mixed, type_, result(type_, "strided"), 3),
        )
        narrow = [Operand("x", "bf16"), Operand("y", "i16", "strided")]
        yield f"{name} mixed", flat(e, narrow, type_, Operand("", "f16"))


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("where", TRIPLES)
def test_the_ir_verifies_for_every_machine(where, type_):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for name, text in modules(type_):
        module = llvm.parse_assembly(text)
        module.verify()
        if TRIPLES[where] is not None and name in ("transcendental", "sum nest"):
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
            operands = [Operand(n, KINDS[type_]) for n in op.signature.parameters]
            out = Operand("", "bool") if op.promote == "compare" else result(type_)
            try:
                text = flat(op.expression, operands, type_, out)
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
    text = flat(EXPRESSIONS["sum"], both(type_), type_)
    chunk = -(-count // 3)
    chunks = -(-count // chunk)
    run(text, [count, chunk, out.ctypes.data, x.ctypes.data, y.ctypes.data], chunks)
    np.testing.assert_allclose(out, x + y * 2, 1e-6)


def test_a_chunk_leaves_the_others_alone():
    x = np.arange(100, dtype=np.float32)
    out = np.full(100, -1, np.float32)
    text = flat(EXPRESSIONS["sum"], both("float"), "float")
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
@pytest.mark.parametrize("lengths", [(1, 1), (3, 5), (2, 67), (2, 3, 4), (3, 1, 2, 33)])
def test_nests_step_as_their_table_says(type_, lengths):
    rng = np.random.default_rng(sum(lengths))
    dtype = TYPES[type_]
    x = guarded(rng.standard_normal(lengths).astype(dtype))
    turned = guarded(rng.standard_normal(lengths[::-1]).astype(dtype)).T
    row = np.broadcast_to(guarded(rng.standard_normal((*lengths[:-1], 1)).astype(dtype)), lengths)
    e = trace(lambda m, x, t, r: x * r + t)
    kind = KINDS[type_]
    operands = [Operand("x", kind), Operand("t", kind, "strided"), Operand("r", kind, "fixed")]
    outer = len(lengths) - 1
    out = guarded(np.zeros(lengths, dtype))
    text = loops.render_nest("chunk", e, operands, type_, result(type_), outer)
    steps = [s for a in (out, x, turned, row) for s in a.strides]
    table = np.array([lengths[-1], *lengths[1:-1], *steps], np.int64)
    rows = int(np.prod(lengths[:-1]))
    pointers = [a.ctypes.data for a in (table, out, x, turned, row)]
    run(text, [rows, 2, *pointers], -(-rows // 2))
    np.testing.assert_allclose(out, x * row + turned, 1e-6, 1e-6)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("count", [1, 15, 64, 1000])
def test_the_result_may_be_an_operand(type_, count):
    x = guarded(np.random.default_rng(count).standard_normal(count).astype(TYPES[type_]))
    y = guarded(np.arange(count, dtype=TYPES[type_]))
    expected = x + y * 2
    text = flat(EXPRESSIONS["sum"], both(type_), type_)
    run(text, [count, count, x.ctypes.data, x.ctypes.data, y.ctypes.data], 1)
    np.testing.assert_allclose(x, expected, 1e-6)


NARROW = {
    "f16": np.float16, "bf16": ml_dtypes.bfloat16, "i8": np.int8, "i16": np.int16, "i32": np.int32,
    "i64": np.int64, "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "bool": np.bool_,
}  # fmt: skip


@pytest.mark.parametrize("kind", NARROW)
def test_elements_of_every_kind_become_numbers(kind):
    x = np.random.default_rng(1).integers(-300, 300, 77).astype(NARROW[kind])
    y = np.linspace(-1, 1, 77, dtype=np.float32)
    out = np.zeros(77, np.float32)
    text = flat(EXPRESSIONS["sum"], [Operand("x", kind), Operand("y", "f32")], "float")
    run(text, [77, 30, out.ctypes.data, x.ctypes.data, y.ctypes.data], 3)
    np.testing.assert_array_equal(out, x.astype(np.float32) + y * 2)


@pytest.mark.parametrize("kind", ["i8", "i16", "i32", "i64", "u8", "u16", "u32"])
def test_integers_wrap_around(kind):
    dtype = NARROW[kind]
    rng = np.random.default_rng(2)
    info = np.iinfo(dtype)
    x, y = (rng.integers(info.min, info.max, 99, dtype, endpoint=True) for _ in range(2))
    x[:2] = info.min, info.max
    e = trace(lambda m, x, y: m.where(x > y, x * y - 3, m.abs(x) + m.minimum(-y, x)) & 1023)
    out = np.zeros(99, dtype)
    text = flat(e, [Operand("x", kind), Operand("y", kind)], "i64", Operand("", kind))
    run(text, [99, 99, out.ctypes.data, x.ctypes.data, y.ctypes.data], 1)
    wide_x, wide_y = x.astype(np.int64), y.astype(np.int64)
    chosen = np.where(x > y, wide_x * wide_y - 3, np.abs(wide_x) + np.minimum(-wide_y, wide_x))
    np.testing.assert_array_equal(out, (chosen & 1023).astype(dtype))


def test_truth_values_are_read_and_written_as_bytes():
    mask = np.array([True, False] * 40)
    x = np.arange(80, dtype=np.float32)
    e = trace(lambda m, c, x: m.where(c, x, 0) > 10)
    text = flat(e, [Operand("c", "bool"), Operand("x", "f32")], "float", Operand("", "bool"))
    out = np.zeros(80, bool)
    run(text, [80, 80, out.ctypes.data, mask.ctypes.data, x.ctypes.data], 1)
    np.testing.assert_array_equal(out, np.where(mask, x, 0) > 10)


@pytest.mark.parametrize(
    ("f", "type_"),
    [
        (lambda m, x: m.zeta(x, x), "float"),
        (lambda m, x: m.i0(x), "double"),
        (lambda m, x: x * 1j, "float"),
        (lambda m, x: m.gcd(x, x), "float"),
    ],
)
def test_what_has_no_ir_says_so(f, type_):
    with pytest.raises(Unsupported):
        flat(trace(f), [Operand("x", KINDS[type_])], type_)


def test_types_that_do_not_fit_are_refused():
    x = Expression("input", "x")
    with pytest.raises(Unsupported):
        flat(x, [Operand("x", "f32")], "float", Operand("", "bool"))
    with pytest.raises(Unsupported):
        flat(x, [Operand("x", "f32")], "float", Operand("", "i64"))
    with pytest.raises(Unsupported):
        flat(trace(lambda m, x: x * 1.5), [Operand("x", "i64")], "i64", Operand("", "i64"))


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize(
    "value", [0.0, -0.0, 1.5, 0.1, 1e-40, 1e-320, 1e300, -1e300, math.inf, math.nan]
)
def test_constants_are_what_the_type_can_hold(type_, value):
    e = Expression("where", Expression("gt", Expression("input", "x"), Expression("const", 9)),
                   Expression("input", "x"), Expression("const", value))  # fmt: skip
    text = flat(e, [Operand("x", KINDS[type_])], type_)
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


def test_arrays_of_one_shape_are_told_from_others():
    from flambeau.compiler import launch

    text = loops.render_alike("alike", 3)
    library = jit.load_or_build("test.alike", text, lambda: text)
    alike = launch.bind(library.address("alike"), "i A A A", name="alike", returns="i")
    x = np.zeros((30, 40), np.float32)
    number = np.zeros((), np.float32)
    assert alike(4, x, x + 1, x + 2) == 1200 * 16
    assert alike(4, x, number, x) == 1200 * 16 + 2
    assert alike(4, number, number, x) == 1200 * 16 + 3
    assert alike(4, number, number, number) == 7
    assert alike(4, x[:1], x[3:4], number) == 40 * 16 + 4
    for other in (x.T, x[:, :39], x[0], x[None], x[:, ::-1], x.reshape(40, 30), x[::2]):
        for given in ((x, other, x), (other, x, x), (number, x, other)):
            assert alike(4, *given) == -1
    strided = x[:, ::2]
    assert alike(4, strided, strided, strided) == -1
    assert alike(4, x.T, x.T, x.T) == -1
    assert alike(8, x, x, x) == -1
    empty = x[:0]
    assert alike(4, empty, empty, empty) <= 7
