"""Kernels that choose elements by truth values."""

from __future__ import annotations

from ...compiler.kernel import kernel
from ...compiler.language import I64, Array, Bool, S, Static, T, local, select, simd, unrolled


@kernel
def choose(
    first: int,
    last: int,
    condition: Array[Bool],
    a: Array[T],
    b: Array[T],
    out: Array[T],
    sizes: Array[I64],
    steps: Array[I64],
    columns: int,
    rank: int,
    c_moves: Static,
    a_moves: Static,
    b_moves: Static,
) -> None:
    """out = a where the condition holds, else b, row by row.

    `sizes` are those of the dimensions before the last, and `steps` how many elements apart their
    neighbours lie in condition, a and b. What moves along a row has its moves 1, else 0.
    """
    at = local(I64, 3)
    for row in range(first, last):
        for operand in unrolled(3):
            at[operand] = 0
        number = row
        for axis in range(rank - 1, -1, -1):
            here = number % sizes[axis]
            number = number // sizes[axis]
            for operand in unrolled(3):
                at[operand] += here * steps[operand * rank + axis]
        c, p, q, target = condition[at[0] :], a[at[1] :], b[at[2] :], out[row * columns :]
        for j in simd(columns):
            x, y = p[j * a_moves], q[j * b_moves]
            target[j] = select(c[j * c_moves], x, y)


@kernel
def fill_where(
    first: int,
    last: int,
    x: Array[T],
    mask: Array[Bool],
    value: Array[T],
    total: int,
    block: int,
) -> None:
    """The one value put into blocks of `x` where the mask holds."""
    for b in range(first, last):
        target, line, new = x[b * block :], mask[b * block :], value[0]
        for j in simd(min(block, total - b * block)):
            old = target[j]
            target[j] = select(line[j], new, old)


@kernel
def count_true(
    first: int, last: int, mask: Array[S], counts: Array[I64], total: int, block: int
) -> None:
    """How many elements of each block of the mask are not zero."""
    for b in range(first, last):
        low = b * block
        line = mask[low:]
        found = 0
        for j in simd(min(block, total - low)):
            found += select(line[j] != 0, 1, 0)
        counts[b] = found


@kernel
def compress(
    first: int,
    last: int,
    x: Array[T],
    mask: Array[Bool],
    starts: Array[I64],
    out: Array[T],
    total: int,
    block: int,
) -> None:
    """The elements of `x` where the mask holds; those of a block begin at starts[block]."""
    kept = local(T, 1032)
    for b in range(first, last):
        target = out[starts[b] :]
        for low in range(b * block, min((b + 1) * block, total), 1024):
            source, line = x[low:], mask[low:]
            count = 0
            for j in range(min(1024, total - low)):
                kept[count] = source[j]
                count += int(line[j])
            for j in simd(count):
                target[j] = kept[j]
            target = target[count:]


@kernel
def expand(
    first: int,
    last: int,
    x: Array[T],
    mask: Array[Bool],
    starts: Array[I64],
    source: Array[T],
    out: Array[T],
    total: int,
    block: int,
    limit: int,
) -> None:
    """`x`, with the elements of `source` in order where the mask holds; the inverse of `compress`.

    `limit` is the last element of the source, which is read in vain where the mask ends.
    """
    for b in range(first, last):
        low = b * block
        at = starts[b]
        for j in range(low, min(low + block, total)):
            new, old = source[min(at, limit)], x[j]
            out[j] = select(mask[j], new, old)
            at += int(mask[j])


@kernel
def coordinates(
    first: int,
    last: int,
    mask: Array[S],
    starts: Array[I64],
    sizes: Array[I64],
    out: Array[I64],
    columns: int,
    rank: int,
) -> None:
    """The coordinates of the elements of each row that are not zero, `rank` numbers for each.

    Those of a row begin with element starts[row]; `sizes` are those of the dimensions before the
    last.
    """
    kept = local(I64, 1032)
    outer = local(I64, 64)
    for row in range(first, last):
        number = row
        for axis in range(rank - 2, -1, -1):
            outer[axis] = number % sizes[axis]
            number = number // sizes[axis]
        target = out[starts[row] * rank :]
        for low in range(0, columns, 1024):
            line = mask[row * columns + low :]
            count = 0
            for j in range(min(1024, columns - low)):
                kept[count] = low + j
                count += select(line[j] != 0, 1, 0)
            for k in range(count):
                for axis in range(rank - 1):
                    target[k * rank + axis] = outer[axis]
                target[k * rank + rank - 1] = kept[k]
            target = target[count * rank :]
