"""Kernels of convolutions whose arrays have their channels last in memory.

A convolution is a matrix product of pixels by weights: rows of A are pixels, gathered block after
block in a thread's own memory (or read where they lie, if the kernel is one pixel large), B is the
weights. What a tap reads of one image row is contiguous, for all channels at once.
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
    multiply_block,
    multiply_pairs,
    simd,
)

# Where the sizes are in `shape`: those of the image, the result and the kernel; of a group and of
# all outputs; how many taps side by side are gathered together as a segment (SPAN); in how many
# units of how many elements a segment is cut, and how many units there are.
(HEIGHT, WIDTH, CHANNELS, OUT_HEIGHT, OUT_WIDTH, KERNEL_WIDTH, STRIDE, STRIDE_X, PADDING,
 PADDING_X, DILATION, DILATION_X, GROUP_CHANNELS, GROUP_OUTPUTS, OUTPUTS, SPAN, SPLIT, UNIT,
 UNITS) = range(19)  # fmt: skip
COLUMNS = 64
"""Outputs of a panel of weights."""


@inline
def gather(x: Any, shape: Any, pixel: Any, group: Any, begin: Any, end: Any, row: Any) -> None:
    """What the units from `begin` to `end` read for a pixel of the result, one after the other."""
    plane = shape[OUT_HEIGHT] * shape[OUT_WIDTH]
    image = pixel // plane
    place = pixel - image * plane
    y = place // shape[OUT_WIDTH]
    top = y * shape[STRIDE] - shape[PADDING]
    left = (place - y * shape[OUT_WIDTH]) * shape[STRIDE_X] - shape[PADDING_X]
    channels, span = shape[GROUP_CHANNELS], shape[SPAN]
    across = shape[KERNEL_WIDTH] // span
    at = 0
    for unit in range(begin, end):
        segment = unit // shape[SPLIT]
        skipped = (unit - segment * shape[SPLIT]) * shape[UNIT]
        size = min(shape[UNIT], span * channels - skipped)
        tap_row = segment // across
        here = top + tap_row * shape[DILATION]
        column = left + (segment - tap_row * across) * span * shape[DILATION_X]
        low = min(max(-column, 0), span) * channels
        high = max(min(shape[WIDTH] - column, span) * channels, low)
        if here < 0 or here >= shape[HEIGHT]:
            low, high = size, size
        low, high = min(low, size), min(high, size)
        target = row[at:]
        for j in simd(low):
            target[j] = 0.0
        line = (image * shape[HEIGHT] + here) * shape[WIDTH] + column
        source = x[line * shape[CHANNELS] + group * channels + skipped :]
        for j in simd(low, high):
            target[j] = source[j]
        for j in simd(high, size):
            target[j] = 0.0
        at += size


@inline
def gather_block(
    x: Any, shape: Any, start: Any, count: Any, group: Any, begin: Any, end: Any, size: Any,
    rows: Any,
) -> None:  # fmt: skip
    """`gather` for `count` pixels from `start` on, as rows of `size`."""
    for i in range(count):
        gather(x, shape, start + i, group, begin, end, rows[i * size :])


@inline
def multiply_panels(
    source: Any, source_row: Any, matrix: Any, depth: Any, target: Any, row: Any, count: Any,
    low: Any, high: Any, outputs: Any, size: Any, added: Any, pairs: Any,
) -> None:  # fmt: skip
    """Rows of pixels times the panels of weights from `low` to `high`, of which `size` rows."""
    for j in range(low, high):
        multiply(
            source, source_row, 1, matrix[j * depth * COLUMNS :], COLUMNS, target[j * COLUMNS :],
            row, count, min(COLUMNS, outputs - j * COLUMNS), size, added, pairs,
        )  # fmt: skip


@inline
def multiply(
    a: Any, a_row: Any, a_col: Any, b: Any, b_row: Any, c: Any, c_row: Any, m: Any, n: Any, k: Any,
    accumulate: Any, pairs: Any,
) -> None:  # fmt: skip
    """`multiply_block`, or `multiply_pairs` if elements are `pairs`."""
    if pairs:
        multiply_pairs(a, a_row, a_col, b, b_row, c, c_row, m, n, k, accumulate)
    else:
        multiply_block(a, a_row, a_col, b, b_row, c, c_row, m, n, k, accumulate)


@inline
def copy_rows(
    source: Any, source_row: Any, target: Any, row: Any, count: Any, low: Any, high: Any
) -> None:
    """The columns from `low` to `high` of rows, to others of perhaps another type."""
    for i in range(count):
        given, line = source[i * source_row :], target[i * row :]
        for j in simd(low, high):
            line[j] = given[j]


@kernel
def convolve(
    first: int, last: int, thread: int, x: Array[T], weights: Array[T], bias: Array[T] | None,
    out: Array[S], work: Array[T], shape: Array[I64], pixels: int, block: int, parts: int,
    depth: int, together: int, groups: int, panels: int, in_place: Static, narrow: Static,
    pairs: Static,
) -> None:  # fmt: skip
    """An item is a `block` of pixels, a group, and one of the `parts` of the group's panels.

    The weights are (groups, panels, depth, COLUMNS). `together` units are gathered at a time.
    Where the results are `narrow` they are made in `work` first; ``in_place`` x is its own A.
    Elements of x and of the weights may be `pairs` of bfloat16.
    """
    deep, outputs = together * shape[UNIT], shape[GROUP_OUTPUTS]
    rows = work[thread * block * (deep + panels * COLUMNS) :]
    sums = rows[block * deep :]
    share = (panels + parts - 1) // parts
    for item in range(first, last):
        step = item // parts
        part, number = item - step * parts, step // groups
        group, start = step - number * groups, number * block
        count = min(block, pixels - start)
        low, high = part * share, min((part + 1) * share, panels)
        end = min(high * COLUMNS, outputs)
        result = out[start * shape[OUTPUTS] + group * outputs :]
        if narrow:
            target, row = sums[0:], panels * COLUMNS
        else:
            target, row = result[0:], shape[OUTPUTS]
        if bias is not None:
            copy_rows(bias[group * outputs :], 0, target, row, count, low * COLUMNS, end)
        done = 0
        for unit in range(0, shape[UNITS], together):
            size = min(deep, depth - done)
            if in_place:
                source = x[start * shape[CHANNELS] + group * shape[GROUP_CHANNELS] + done :]
                source_row = shape[CHANNELS]
            else:
                stop = min(unit + together, shape[UNITS])
                gather_block(x, shape, start, count, group, unit, stop, size, rows)
                source, source_row = rows[0:], size
            added = 1 if bias is not None else min(done, 1)
            matrix = weights[(group * panels * depth + done) * COLUMNS :]
            multiply_panels(
                source, source_row, matrix, depth, target, row, count, low, high, outputs, size,
                added, pairs,
            )  # fmt: skip
            done += size
        if narrow:
            copy_rows(sums, row, result, shape[OUTPUTS], count, low * COLUMNS, end)


@kernel
def weight_gradient(
    first: int, last: int, thread: int, x: Array[T], g: Array[T], out: Array[T], work: Array[T],
    shape: Array[I64], pixels: int, block: int, parts: int, depth: int, together: int,
    groups: int, width: int, column_parts: int, in_place: Static, pairs: Static,
) -> None:  # fmt: skip
    """An item is one of `parts` of the pixels, a group, some units, and `width` outputs.

    The result is (parts, groups, depth, outputs of a group), in blocks of `block` pixels. Elements
    of x and g may be `pairs` of bfloat16.
    """
    deep, outputs = together * shape[UNIT], shape[GROUP_OUTPUTS]
    rows = work[thread * block * deep :]
    unit_parts = (shape[UNITS] + together - 1) // together
    share = (pixels + parts - 1) // parts
    for item in range(first, last):
        step = item // column_parts
        column, number = (item - step * column_parts) * width, step // unit_parts
        unit, part = (step - number * unit_parts) * together, number // groups
        group, done = number - part * groups, unit * shape[UNIT]
        stop, end = min(unit + together, shape[UNITS]), min((part + 1) * share, pixels)
        size, columns = min(deep, depth - done), min(width, outputs - column)
        target = out[(number * depth + done) * outputs + column :]
        for start in range(part * share, end, block):
            count = min(block, end - start)
            added = min(start - part * share, 1)
            if in_place:
                source = x[start * shape[CHANNELS] + group * shape[GROUP_CHANNELS] + done :]
                source_row = shape[CHANNELS]
            else:
                gather_block(x, shape, start, count, group, unit, stop, size, rows)
                source, source_row = rows[0:], size
            given = g[start * shape[OUTPUTS] + group * outputs + column :]
            multiply(
                source, 1, source_row, given, shape[OUTPUTS], target, outputs, size, columns,
                count, added, pairs,
            )  # fmt: skip
