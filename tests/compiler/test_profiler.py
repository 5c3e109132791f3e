"""Profiles: every launch is seen, nothing is seen outside, and the figures are the kernel's."""

from __future__ import annotations

import re

import numpy as np
import pytest

from flambeau.backends.cpu import matmul
from flambeau.compiler import costs, expressions, jit, launch, machine, profile, threads
from tests.compiler import process

pytestmark = pytest.mark.skipif(not jit.available(), reason="nothing is compiled here")

# Adds word 1 to each of the two numbers of a chunk.
IR = """
define void @raise(ptr %w, i64 %i, i64 %thread) {
  %out = load ptr, ptr %w
  %bp = getelementptr i64, ptr %w, i64 1
  %by = load i64, ptr %bp
  %p = getelementptr i64, ptr %out, i64 %i
  %v = load i64, ptr %p
  %s = add i64 %v, %by
  store i64 %s, ptr %p
  ret void
}
"""


@pytest.fixture
def kernel():
    library = jit.load_or_build("raise", "1", lambda: IR, source=lambda: "out[i] += by")
    return launch.bind(
        library.address("raise"),
        "a:int64 i",
        name="raise",
        parallel=True,
        cost=lambda out, by: costs.Cost(float(out.size)),
    )


def test_launches_are_recorded_inside_the_block_alone(kernel):
    out = np.zeros(4, np.int64)
    kernel(4, out, 1)
    with profile() as p:
        kernel(4, out, 10)
        kernel(2, out, 100)
    kernel(4, out, 1000)
    assert out.tolist() == [1111, 1111, 1011, 1011]
    assert [(r.name, r.shapes, r.chunks) for r in p.records] == [
        ("raise", "i64[4]", 4),
        ("raise", "i64[4]", 2),
    ]
    assert all(r.seconds > 0 and r.flops == 4 and r.bytes == 32 for r in p.records)
    assert p.seconds >= sum(r.seconds for r in p.records)


def test_kernels_made_inside_and_before_are_alike(kernel):
    out = np.zeros(1, np.int64)
    address = jit.compile_ir("raise_late", IR).address("raise")
    with profile() as p:
        late = launch.bind(address, None, name="late", parallel=True)
        late(1, out, 5)
    late(1, out, 6)
    assert out.tolist() == [11]
    assert [r.name for r in p.records] == ["late"]
    assert p.records[0].flops == 0


def raise_after(kernel, out):
    kernel(1, out, 1)
    kernel(1, "no array", 1)


def test_profiles_nest_and_end_with_an_error(kernel):
    out = np.zeros(1, np.int64)
    with profile() as outer:
        inner = profile()
        with pytest.raises(TypeError), inner:
            raise_after(kernel, out)
        kernel(1, out, 1)
    kernel(1, out, 1)
    assert (len(inner.records), len(outer.records)) == (1, 2)


def test_a_record_shows_what_the_kernel_is(kernel):
    with profile() as p:
        kernel(1, np.zeros(1, np.int64), 1)
    record = p.records[0]
    assert record.source() == "out[i] += by"
    assert record.ir() == IR
    assert "raise" in record.assembly()
    assert "define" not in record.assembly()


def test_a_product_counts_its_operations():
    a, b = (np.ones(shape, np.float32) for shape in ((70, 90), (90, 110)))
    with profile() as p:
        c = matmul.matmul(a, b)
    assert (c == 90).all()
    counted = [r.flops for r in p.records if r.flops]
    assert counted in ([], [2.0 * 70 * 90 * 110])  # a small product may have a kernel of its own


def test_the_table_has_a_row_for_each_kernel_and_shape(kernel):
    with profile() as p:
        for size in (4, 4, 8):
            kernel(1, np.zeros(size, np.int64), 1)
    lines = p.table().splitlines()
    assert lines[0].split()[:3] == ["kernel", "calls", "ms"]
    assert sorted(line.split()[1] for line in lines[1:3]) == ["1", "2"]
    assert re.match(r"3 launches, .* ms; machine: \d+ GFLOP/s \(float32\), .* GB/s", lines[-1])
    assert len(p.table(limit=1).splitlines()) == 3
    assert profile().table().splitlines()[1].startswith("0 launches")


def test_the_roof_of_the_machine():
    peak = machine.peak()
    assert peak is machine.peak()
    # From one multiply-add in 100 cycles to what no machine has.
    assert 1e8 < peak.flops < 1e14
    assert 1e8 < peak.bandwidth < 1e13


def test_operations_of_an_expression_are_counted_once():
    e = expressions.trace(lambda m, x, y: (lambda s: s * s + 1)(m.exp(x) - y))
    assert costs.count_flops(e) == 4
    light = expressions.trace(lambda m, x, y: x + y)
    assert costs.nanoseconds(light, 3) < costs.nanoseconds(e, 3)
    assert costs.nanoseconds(e, 3, 8) == 2 * costs.nanoseconds(e, 3, 4)


@pytest.mark.parametrize("fastcall", ["0", "1"])
def test_the_debug_setting_prints_launches(fastcall):
    code = """
import numpy as np
from flambeau.backends.cpu import matmul
matmul.matmul(np.ones((200, 200), np.float32), np.ones((200, 200), np.float32))
"""
    _, err = process.run(code, FLAMBEAU_DEBUG="1", FLAMBEAU_FASTCALL=fastcall)
    line = r"run \w+ [\d.]+ us ([\d.]+ GFLOP/s )?[\d.]+ GB/s (f32\[200,200\] ){3}"
    assert re.search(line, err)
    assert "compile" not in err


def test_launches_from_many_threads_are_seen(kernel):
    threads.set_num_threads(threads.get_num_threads())
    out = np.zeros((3, 64), np.int64)
    with profile() as p:
        for row in out:
            kernel(64, row, 2)
    assert (out == 2).all()
    assert len(p.records) == 3
