"""Kernels that widen, round and interleave narrow numbers before and after matrix products."""

from __future__ import annotations

from ...compiler.kernel import kernel
from ...compiler.language import Array, S, T, simd

BLOCK = 4096
"""Elements of one item of `convert`."""


@kernel
def convert(first: int, last: int, x: Array[T], out: Array[S], count: int) -> None:
    """Each of `count` elements, in blocks, rounded to the type of ``out``."""
    for block in range(first, last):
        source, target = x[block * BLOCK :], out[block * BLOCK :]
        for j in simd(min(BLOCK, count - block * BLOCK)):
            target[j] = source[j]


@kernel
def interleave_pairs(first: int, last: int, x: Array[T], out: Array[T], columns: int) -> None:
    """Rows 2 i and 2 i + 1 of ``x``, their elements in turn, as row i of ``out``."""
    for row in range(first, last):
        upper, lower = x[2 * row * columns :], x[(2 * row + 1) * columns :]
        target = out[2 * row * columns :]
        for j in simd(columns):
            target[2 * j] = upper[j]
            target[2 * j + 1] = lower[j]


@kernel
def interleave_quads(first: int, last: int, x: Array[T], out: Array[T], columns: int) -> None:
    """Rows 4 i to 4 i + 3 of ``x``, their elements in turn, as row i of ``out``."""
    for row in range(first, last):
        x0, x1 = x[4 * row * columns :], x[(4 * row + 1) * columns :]
        x2, x3 = x[(4 * row + 2) * columns :], x[(4 * row + 3) * columns :]
        target = out[4 * row * columns :]
        for j in simd(columns):
            target[4 * j] = x0[j]
            target[4 * j + 1] = x1[j]
            target[4 * j + 2] = x2[j]
            target[4 * j + 3] = x3[j]
