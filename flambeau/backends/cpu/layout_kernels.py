"""Kernels that copy elements from one arrangement in memory to another.

Items are the positions of the outer dimensions, whose `sizes` are given with two `steps` for each:
how many elements apart neighbours lie in the source, and in the target.
"""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import (
    I64,
    Array,
    S,
    Static,
    T,
    copy,
    elements_at,
    local,
    select,
    simd,
    transpose_tile,
    truncated,
    unrolled,
)

LONG = 32
"""Elements from which a row is copied as one piece of memory."""
SOURCE, TARGET = 64, 65
"""Where `at`, after the coordinates, holds the offsets in the source and in the target."""


@inline
def start_at(number: Any, sizes: Any, steps: Any, rank: Any, at: Any) -> None:
    """Go to the item of this number."""
    at[SOURCE] = 0
    at[TARGET] = 0
    for axis in range(rank - 1, -1, -1):
        here = number % sizes[axis]
        number = number // sizes[axis]
        at[axis] = here
        at[SOURCE] += here * steps[2 * axis]
        at[TARGET] += here * steps[2 * axis + 1]


@inline
def advance(sizes: Any, steps: Any, rank: Any, at: Any) -> None:
    """Go to the next item."""
    axis = rank - 1
    while axis >= 0:
        at[axis] += 1
        at[SOURCE] += steps[2 * axis]
        at[TARGET] += steps[2 * axis + 1]
        if at[axis] < sizes[axis]:
            break
        at[SOURCE] -= sizes[axis] * steps[2 * axis]
        at[TARGET] -= sizes[axis] * steps[2 * axis + 1]
        at[axis] = 0
        axis -= 1


@kernel
def copy_all(first: int, last: int, x: Array[T], out: Array[T]) -> None:
    """The elements one after the other."""
    copy(out[first:], x[first:], last - first)


@kernel
def fill(first: int, last: int, out: Array[T], value: Array[T]) -> None:
    """The only element of `value`, everywhere."""
    for j in simd(first, last):
        out[j] = value[0]


@kernel
def roll_rows(first: int, last: int, x: Array[T], out: Array[T], width: int, cut: int) -> None:
    """Rows of `width` elements of which the last `cut` come first; an item is an element."""
    row = first // width * width
    at = first - row
    while row + at < last:
        n, source = cut - at, row + at + width - cut
        if at >= cut:
            n, source = width - at, row + at - cut
        n = min(n, last - row - at)
        copy(out[row + at :], x[source:], n)
        at += n
        if at == width:
            at, row = 0, row + width


@kernel
def copy_rows(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    sizes: Array[I64],
    steps: Array[I64],
    rank: int,
    columns: int,
    step: int,
    to_step: int,
    fixed_step: Static,
    fixed_to_step: Static,
) -> None:
    """Rows of `columns` elements; a fixed step takes the place of one that is not."""
    at = local(I64, 66)
    start_at(first, sizes, steps, rank, at)
    for _ in range(first, last):
        source, target = x[at[SOURCE] :], out[at[TARGET] :]
        if fixed_step == 1 and fixed_to_step == 1 and columns >= LONG:
            copy(target, source, columns)
            advance(sizes, steps, rank, at)
            continue
        for j in simd(columns):
            here = j * step if fixed_step is None else j * fixed_step
            to = j * to_step if fixed_to_step is None else j * fixed_to_step
            target[to] = source[here]
        advance(sizes, steps, rank, at)


@kernel
def copy_tiles(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    sizes: Array[I64],
    steps: Array[I64],
    rank: int,
    rows: int,
    columns: int,
    step: int,
    to_step: int,
    size: Static,
) -> None:
    """out[i * to_step + j] = x[j * step + i] for i below `rows`, j below `columns`, by tiles.

    An item is `size` rows of a matrix; the last tiles begin earlier so as not to stick out.
    """
    at = local(I64, 66)
    blocks = (rows + size - 1) // size
    start_at(first // blocks, sizes, steps, rank, at)
    block = first % blocks
    for _ in range(first, last):
        i = min(block * size, rows - size)
        source, target = x[at[SOURCE] + i :], out[at[TARGET] + i * to_step :]
        for j in range(0, columns - size + 1, size):
            transpose_tile(source[j * step :], step, target[j:], to_step, size)
        j = columns - size
        transpose_tile(source[j * step :], step, target[j:], to_step, size)
        block += 1
        if block == blocks:
            block = 0
            advance(sizes, steps, rank, at)


@kernel
def interleave_rows(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    sizes: Array[I64],
    steps: Array[I64],
    rank: int,
    columns: int,
    step: int,
    to_step: int,
    parts: Static,
    dense: Static,
) -> None:
    """out[j * to_step + p] = x[p * step + j] for j below `columns` and each of few parts p.

    It is ``dense`` if `to_step` is the number of parts.
    """
    at = local(I64, 66)
    start_at(first, sizes, steps, rank, at)
    for _ in range(first, last):
        source, target = x[at[SOURCE] :], out[at[TARGET] :]
        for j in simd(columns):
            for p in unrolled(parts):
                to = j * parts if dense else j * to_step
                target[to + p] = source[p * step + j]
        advance(sizes, steps, rank, at)


@kernel
def join_rows(
    first: int, last: int, out: Array[T], table: Array[I64], parts: int, width: int
) -> None:
    """Rows of `width` elements, each made of the next row of every part; an item is an element.

    The table has a line for each part: its address, the width of its rows, and where they begin.
    """
    here, row = first, first // width
    at, part = first - row * width, 0
    while part + 1 < parts and table[3 * part + 5] <= at:
        part += 1
    while here < last:
        size, begin = table[3 * part + 1], at - table[3 * part + 2]
        n = min(size - begin, last - here)
        whole = elements_at(out, table[3 * part], (row + 1) * size)
        copy(out[here:], whole[row * size + begin :], n)
        here += n
        at += n
        part += 1
        if part == parts:
            part, at, row = 0, 0, row + 1


@kernel
def keep_triangle(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    rows: int,
    columns: int,
    shift: int,
    lower: Static,
) -> None:
    """Of row r of each matrix only what is before (`lower`) or from column r + shift; else 0."""
    for item in range(first, last):
        edge = min(max(item % rows + shift, 0), columns)
        source, target = x[item * columns :], out[item * columns :]
        if lower:
            for j in simd(edge):
                target[j] = source[j]
            for j in simd(edge, columns):
                target[j] = 0
        else:
            for j in simd(edge):
                target[j] = 0
            for j in simd(edge, columns):
                target[j] = source[j]


@kernel
def cast(first: int, last: int, x: Array[S], out: Array[T], wrap: Static) -> None:
    """Elements as another type; with `wrap` floats become integers by way of 64 bits.

    What is out of their range becomes the lowest of them, as x86 does it.
    """
    for j in simd(first, last):
        v = x[j]
        if wrap:
            fits = (v >= -9223372036854775808.0) & (v < 9223372036854775808.0)
            out[j] = select(fits, truncated(v), -9223372036854775808)
        else:
            out[j] = T(v)


@kernel
def pad_rows(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    fill: Array[T],
    row_places: Array[I64],
    column_places: Array[I64],
    in_rows: int,
    out_rows: int,
    width: int,
    out_width: int,
    begin: int,
    end: int,
    shift: int,
) -> None:
    """Rows with more columns before `begin` and from `end` on; an item is a row of the result.

    Row r of a plane of `out_rows` is row row_places[r] of one of `in_rows`, and likewise for
    columns; what has no place is filled. Between begin and end columns only move by `shift`.
    """
    for item in range(first, last):
        plane = item // out_rows
        row = row_places[item - plane * out_rows]
        target = out[item * out_width :]
        if row < 0:
            for j in simd(out_width):
                target[j] = fill[0]
            continue
        source = x[(plane * in_rows + row) * width :]
        for j in range(begin):
            place = column_places[j]
            target[j] = select(place < 0, fill[0], source[max(place, 0)])
        inner, seen = target[begin:], source[shift:]
        for j in simd(end - begin):
            inner[j] = seen[j]
        for j in range(end, out_width):
            place = column_places[j]
            target[j] = select(place < 0, fill[0], source[max(place, 0)])
