"""Kernels that move elements to and from places given by index.

An index out of range is not followed: the kernel sets ``wrong[0]`` instead and goes on.
"""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import I64, Array, S, Static, T, copy, maximum, minimum, select, simd


@inline
def wrapped(i: Any, size: Any, wrap: Any) -> Any:
    """`i`, counted from the end if it is negative and `wrap` allows that."""
    if wrap:
        return select(i < 0, i + size, i)
    return i


@kernel
def add_coordinate(
    first: int,
    last: int,
    index: Array[S],
    places: Array[I64],
    wrong: Array[I64],
    size: int,
    fresh: Static,
) -> None:
    """places * size + index: one more coordinate of flat places; negative ones wrap."""
    bad = 0
    for j in simd(first, last):
        i = wrapped(index[j], size, True)
        inside = (i >= 0) & (i < size)
        bad |= select(inside, 0, 1)
        at = select(inside, i, 0)
        if fresh:
            places[j] = at
        else:
            places[j] = places[j] * size + at
    if bad != 0:
        wrong[0] = 1


@kernel
def take_rows(
    first: int,
    last: int,
    x: Array[T],
    index: Array[S],
    out: Array[T],
    wrong: Array[I64],
    size: int,
    count: int,
    width: int,
    wrap: Static,
) -> None:
    """out[a, k] = x[a, index[k]]: rows of `width`, of a table of `size` rows for each a."""
    for row in range(first, last):
        a = row // count
        i = wrapped(index[row - a * count], size, wrap)
        if i >= 0 and i < size:
            source, target = x[(a * size + i) * width :], out[row * width :]
            if width < 16:
                for j in simd(width):
                    target[j] = source[j]
            else:
                copy(target, source, width)
        else:
            wrong[0] = 1


@kernel
def take_elements(
    first: int,
    last: int,
    x: Array[T],
    index: Array[S],
    out: Array[T],
    wrong: Array[I64],
    size: int,
    count: int,
    total: int,
    span: int,
    step: int,
    wrap: Static,
) -> None:
    """out[a, k] = x[a * span + index[a * step + k]], `count` elements k for each a.

    `size` is what an index must be below. The `total` may end within the last a's elements. With
    ``step`` 0 all a share one index, which is looked through once.
    """
    for a in range(first, last):
        source, line, target = x[a * span :], index[a * step :], out[a * count :]
        n = min(count, total - a * count)
        signs = 0
        if step != 0 or a == first:
            for k in simd(n):
                i = wrapped(line[k], size, wrap)
                signs |= i | (size - 1 - i)
        if signs < 0:
            wrong[0] = 1
            break
        for k in simd(n):
            target[k] = source[wrapped(line[k], size, wrap)]


@kernel
def take_columns(
    first: int,
    last: int,
    x: Array[T],
    index: Array[S],
    out: Array[T],
    wrong: Array[I64],
    size: int,
    count: int,
    width: int,
    block: int,
) -> None:
    """out[a, k, b] = x[a, index[a, k, b], b]; an item is a block of columns b of one a."""
    blocks = (width + block - 1) // block
    for item in range(first, last):
        a = item // blocks
        low = (item - a * blocks) * block
        source = x[a * size * width + low :]
        bad = 0
        for k in range(count):
            at = (a * count + k) * width + low
            line, target = index[at:], out[at:]
            for b in simd(min(block, width - low)):
                i = line[b]
                inside = (i >= 0) & (i < size)
                bad |= select(inside, 0, 1)
                target[b] = source[select(inside, i, 0) * width + b]
        if bad != 0:
            wrong[0] = 1


@inline
def replace(old: Any, new: Any) -> Any:
    """The new value."""
    return new


@inline
def add(old: Any, new: Any) -> Any:
    """The sum."""
    return old + new


@inline
def multiply(old: Any, new: Any) -> Any:
    """The product."""
    return old * new


@inline
def take_larger(old: Any, new: Any) -> Any:
    """The larger one; NaN if either is."""
    return maximum(old, new)


@inline
def take_smaller(old: Any, new: Any) -> Any:
    """The smaller one; NaN if either is."""
    return minimum(old, new)


@kernel
def put_elements(
    first: int,
    last: int,
    out: Array[T],
    index: Array[S],
    values: Array[T],
    wrong: Array[I64],
    size: int,
    count: int,
    index_step: int,
    step: int,
    combine: Static,
) -> None:
    """out[a, index[a * index_step + k]] becomes its combination with values[a, k], k after k.

    With ``step`` 0 there is one value for all.
    """
    for a in range(first, last):
        target = out[a * size :]
        for low in range(0, count, 1024):
            n = min(1024, count - low)
            line, given = index[a * index_step + low :], values[(a * count + low) * step :]
            signs = 0
            for k in simd(n):
                signs |= line[k] | (size - 1 - line[k])
            if signs < 0:
                wrong[0] = 1
                for k in range(n):
                    i = line[k]
                    if i >= 0 and i < size:
                        target[i] = combine(target[i], given[k * step])
            else:
                for k in range(n):
                    target[line[k]] = combine(target[line[k]], given[k * step])


@kernel
def put_columns(
    first: int,
    last: int,
    out: Array[T],
    index: Array[S],
    values: Array[T],
    wrong: Array[I64],
    size: int,
    count: int,
    width: int,
    block: int,
    step: int,
    combine: Static,
) -> None:
    """out[a, index[a, k, b], b] becomes its combination with values[a, k, b], k after k.

    An item is a block of columns b of one a, so that threads share no element of `out`. With
    ``step`` 0 there is one value for all.
    """
    blocks = (width + block - 1) // block
    for item in range(first, last):
        a = item // blocks
        low = (item - a * blocks) * block
        target = out[a * size * width + low :]
        for k in range(count):
            at = (a * count + k) * width + low
            for b in range(min(block, width - low)):
                i = index[at + b]
                if i >= 0 and i < size:
                    to = i * width + b
                    target[to] = combine(target[to], values[(at + b) * step])
                else:
                    wrong[0] = 1


@kernel
def put_rows(
    first: int,
    last: int,
    out: Array[T],
    index: Array[S],
    rows: Array[T],
    size: int,
    count: int,
    width: int,
    step: int,
    skipped: int,
    combine: Static,
) -> None:
    """out[a, index[k]] becomes its combination with rows[a, k], k after k.

    The items are the rows of all tables of `size` rows. Each chunk of them looks through all
    indices for its own, so that the result does not depend on the chunks; an index that is
    `skipped` or out of range is nobody's. With ``step`` 0 there is one row for all.
    """
    for a in range(first // size, (last + size - 1) // size):
        low, high = max(first - a * size, 0), min(last - a * size, size)
        for k in range(count):
            i = index[k]
            if i >= low and i < high and i != skipped:
                target, source = out[(a * size + i) * width :], rows[(a * count + k) * step :]
                for j in simd(width):
                    target[j] = combine(target[j], source[j])
