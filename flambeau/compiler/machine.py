"""What this machine can do at most: the roof under which every kernel works."""

from __future__ import annotations

import functools
import time
from typing import NamedTuple

import numpy as np

from . import jit, launch, target, threads

_STEPS = 200_000  # multiply-adds of each accumulator, some 0.1 ms
_CHAINS = 12  # independent accumulators, enough to hide the latency of a multiply-add
_STREAM = 64 << 20  # bytes copied, beyond any cache
_REPEATS = 5


class Peak(NamedTuple):
    """Float32 operations and bytes to or from memory, per second, with all threads in use."""

    flops: float
    bandwidth: float


def peak() -> Peak:
    """Return what the machine does at most with the threads in use; measured once, in 0.3 s."""
    return _measure(threads.get_num_threads())


@functools.cache
def _measure(count: int) -> Peak:
    lanes = target.host().lanes(4)
    library = jit.load_or_build("peak", str(lanes), lambda: _render(lanes))
    multiply = launch.bind(library.address("multiply"), "a:float32:cw i", parallel=True)
    copy = launch.bind(library.address("copy"), "a:uint8:c a:uint8:cw i", parallel=True)
    out = np.empty((count, lanes), np.float32)
    source, copied = np.zeros(_STREAM, np.uint8), np.zeros(_STREAM, np.uint8)
    watching = launch.observe(None)
    try:
        fastest = min(_time(multiply, count, out, _STEPS) for _ in range(_REPEATS))
        quickest = min(
            _time(copy, count, source, copied, _STREAM // count) for _ in range(_REPEATS)
        )
    finally:
        launch.observe(watching)
    flops = 2.0 * _STEPS * _CHAINS * lanes * count
    return Peak(flops / fastest, 2.0 * (_STREAM // count * count) / quickest)


def _time(kernel: object, *args: object) -> float:
    start = time.perf_counter()
    kernel(*args)  # type: ignore[operator]
    return time.perf_counter() - start


def _render(lanes: int) -> str:
    """Return the IR of `multiply` (words: out, steps) and `copy` (from, to, bytes of a chunk)."""
    v = f"<{lanes} x float>"
    starts = [
        f"  %a{c} = phi {v} [zeroinitializer, %entry], [%b{c}, %loop]" for c in range(_CHAINS)
    ]
    steps = [
        f"  %b{c} = call {v} @llvm.fma.v{lanes}f32({v} %a{c}, {v} %f, {v} %f)"
        for c in range(_CHAINS)
    ]
    sums = [f"  %s0 = fadd {v} %b0, %b1"] + [
        f"  %s{c} = fadd {v} %s{c - 1}, %b{c + 1}" for c in range(1, _CHAINS - 1)
    ]
    newline = "\n"
    return f"""
declare {v} @llvm.fma.v{lanes}f32({v}, {v}, {v})
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define void @multiply(ptr %words, i64 %index, i64 %thread) {{
entry:
  %out = load ptr, ptr %words
  %np = getelementptr i64, ptr %words, i64 1
  %n = load i64, ptr %np
  %row = getelementptr {v}, ptr %out, i64 %index
  %one = insertelement {v} poison, float 5.0e-1, i64 0
  %f = shufflevector {v} %one, {v} poison, <{lanes} x i32> zeroinitializer
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%i1, %loop]
{newline.join(starts)}
{newline.join(steps)}
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %n
  br i1 %more, label %loop, label %done
done:
{newline.join(sums)}
  store {v} %s{_CHAINS - 2}, ptr %row, align 4
  ret void
}}

define void @copy(ptr %words, i64 %index, i64 %thread) {{
  %from = load ptr, ptr %words
  %tp = getelementptr i64, ptr %words, i64 1
  %to = load ptr, ptr %tp
  %np = getelementptr i64, ptr %words, i64 2
  %n = load i64, ptr %np
  %start = mul i64 %index, %n
  %p = getelementptr i8, ptr %from, i64 %start
  %q = getelementptr i8, ptr %to, i64 %start
  call void @llvm.memcpy.p0.p0.i64(ptr %q, ptr %p, i64 %n, i1 false)
  ret void
}}
"""
