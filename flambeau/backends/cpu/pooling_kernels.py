"""Kernels that pool windows: rows of outputs at a time, their columns side by side.

Planes have three dimensions, the first ones of size one where there are fewer. ``axes`` holds six
numbers for each: size, count, kernel, stride, padding and dilation (`windows.Axis`). For the last
dimension `Static` numbers say the same again: ``stride``, and ``taps``, the kernel if it is not
dilated; they are None where they are large.
"""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import (
    I64,
    Array,
    Static,
    T,
    isnan,
    local,
    maximum,
    select,
    simd,
)

SIZE, COUNT, KERNEL, STRIDE, PADDING, DILATION = range(6)
WIDEST, OUTPUTS = 4096, 1024
"""Inputs that a block of a row of outputs may see, and outputs in a block."""


@inline
def fold_max(a: Any, b: Any) -> Any:
    """The larger one; NaN if either is."""
    return maximum(a, b)


@inline
def fold_sum(a: Any, b: Any) -> Any:
    """The sum."""
    return a + b


@inline
def fold_rows(
    x: Any, axes: Any, plane: Any, d: Any, h: Any, begin: Any, n: Any, empty: Any, seen: Any,
    fold: Any,
) -> None:  # fmt: skip
    """Fold what the output row (d, h) sees over all but the last dimension.

    ``seen[i]`` becomes that of the column ``begin + i``, `empty` outside the input.
    """
    depth, height, width = axes[SIZE], axes[6 + SIZE], axes[12 + SIZE]
    low, high = min(max(0, -begin), n), max(min(n, width - begin), 0)
    for i in range(low):
        seen[i] = empty
    for i in range(high, n):
        seen[i] = empty
    fresh = True
    for td in range(axes[KERNEL]):
        z = d * axes[STRIDE] - axes[PADDING] + td * axes[DILATION]
        if z < 0 or z >= depth:
            continue
        for th in range(axes[6 + KERNEL]):
            y = h * axes[6 + STRIDE] - axes[6 + PADDING] + th * axes[6 + DILATION]
            if y < 0 or y >= height:
                continue
            line = x[((plane * depth + z) * height + y) * width + begin :]
            if fresh:
                for i in simd(low, high):
                    seen[i] = line[i]
                fresh = False
            else:
                for i in simd(low, high):
                    seen[i] = fold(seen[i], line[i])


@inline
def fold_columns(
    seen: Any, target: Any, n: Any, axes: Any, taps: Any, stride: Any, fold: Any
) -> None:
    """target[j] = the folded columns that output `j` of `n` sees."""
    step = axes[12 + STRIDE] if stride is None else stride
    count = axes[12 + KERNEL] if taps is None else taps
    apart = axes[12 + DILATION] if taps is None else 1
    for j in simd(n):
        best = seen[j * step]
        for t in range(1, count):
            best = fold(best, seen[j * step + t * apart])
        target[j] = best


@kernel
def max_rows(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    lowest: Array[T],
    axes: Array[I64],
    block: int,
    taps: Static,
    stride: Static,
) -> None:
    """The largest value of each window; an item is a row of outputs."""
    seen = local(T, 4096)
    columns = axes[12 + COUNT]
    step, span = axes[12 + STRIDE], (axes[12 + KERNEL] - 1) * axes[12 + DILATION] + 1
    for item in range(first, last):
        h, rest = item % axes[6 + COUNT], item // axes[6 + COUNT]
        d, plane = rest % axes[COUNT], rest // axes[COUNT]
        for low in range(0, columns, block):
            n = min(block, columns - low)
            begin = low * step - axes[12 + PADDING]
            width = (n - 1) * step + span
            fold_rows(x, axes, plane, d, h, begin, width, lowest[0], seen, fold_max)
            fold_columns(seen, out[item * columns + low :], n, axes, taps, stride, fold_max)


@kernel
def mean_rows(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    divisors: Array[T],
    axes: Array[I64],
    block: int,
    divisor_step: int,
    taps: Static,
    stride: Static,
) -> None:
    """The sum of each window over its divisor; an item is a row of outputs.

    There is a divisor for each place of a plane, or with ``divisor_step`` 0 one for all.
    """
    seen, sums = local(T, 4096), local(T, 1024)
    columns = axes[12 + COUNT]
    step, span = axes[12 + STRIDE], (axes[12 + KERNEL] - 1) * axes[12 + DILATION] + 1
    rows = axes[COUNT] * axes[6 + COUNT]
    for item in range(first, last):
        h, rest = item % axes[6 + COUNT], item // axes[6 + COUNT]
        d, plane = rest % axes[COUNT], rest // axes[COUNT]
        for low in range(0, columns, block):
            n = min(block, columns - low)
            begin = low * step - axes[12 + PADDING]
            fold_rows(x, axes, plane, d, h, begin, (n - 1) * step + span, 0.0, seen, fold_sum)
            fold_columns(seen, sums, n, axes, taps, stride, fold_sum)
            target = out[item * columns + low :]
            if divisor_step == 0:
                by = divisors[0]
                for j in simd(n):
                    target[j] = sums[j] / by
            else:
                each = divisors[(item % rows) * columns + low :]
                for j in simd(n):
                    target[j] = sums[j] / each[j]


@kernel
def spread_planes(
    first: int,
    last: int,
    g: Array[T],
    out: Array[T],
    divisors: Array[T],
    axes: Array[I64],
    block: int,
    divisor_step: int,
    taps: Static,
    stride: Static,
) -> None:
    """The adjoint of `mean_rows`, added to `out`; an item is a plane."""
    shares, seen = local(T, 1024), local(T, 4096)
    columns = axes[12 + COUNT]
    depth, height, width = axes[SIZE], axes[6 + SIZE], axes[12 + SIZE]
    step = axes[12 + STRIDE] if stride is None else stride
    count = axes[12 + KERNEL] if taps is None else taps
    apart = axes[12 + DILATION] if taps is None else 1
    rows = axes[COUNT] * axes[6 + COUNT]
    for plane in range(first, last):
        for row in range(rows):
            h, d = row % axes[6 + COUNT], row // axes[6 + COUNT]
            for low in range(0, columns, block):
                n = min(block, columns - low)
                source = g[(plane * rows + row) * columns + low :]
                each = divisors[(row * columns + low) * divisor_step :]
                if divisor_step == 0:
                    by = divisors[0]
                    for j in simd(n):
                        shares[j] = source[j] / by
                else:
                    for j in simd(n):
                        shares[j] = source[j] / each[j]
                begin = low * step - axes[12 + PADDING]
                wide = (n - 1) * step + (count - 1) * apart + 1
                for i in simd(wide):
                    seen[i] = 0.0
                for t in range(count):
                    for j in simd(n):
                        seen[j * step + t * apart] += shares[j]
                left, right = min(max(0, -begin), wide), max(min(wide, width - begin), 0)
                for td in range(axes[KERNEL]):
                    z = d * axes[STRIDE] - axes[PADDING] + td * axes[DILATION]
                    for th in range(axes[6 + KERNEL]):
                        y = h * axes[6 + STRIDE] - axes[6 + PADDING] + th * axes[6 + DILATION]
                        if z >= 0 and z < depth and y >= 0 and y < height:
                            line = out[((plane * depth + z) * height + y) * width + begin :]
                            for i in simd(left, right):
                                line[i] += seen[i]


@inline
def find_winners(
    x: Any, axes: Any, plane: Any, d: Any, h: Any, low: Any, n: Any, best: Any, places: Any,
    stride: Any,
) -> None:  # fmt: skip
    """The largest values that `n` outputs see, the first of equal ones or the last NaN.

    ``places[j]`` becomes where that of output ``low + j`` lies in the plane.
    """
    depth, height, width = axes[SIZE], axes[6 + SIZE], axes[12 + SIZE]
    step = axes[12 + STRIDE] if stride is None else stride
    for j in simd(n):
        best[j] = 0
        places[j] = -1
    for td in range(axes[KERNEL]):
        z = d * axes[STRIDE] - axes[PADDING] + td * axes[DILATION]
        for th in range(axes[6 + KERNEL]):
            y = h * axes[6 + STRIDE] - axes[6 + PADDING] + th * axes[6 + DILATION]
            if z < 0 or z >= depth or y < 0 or y >= height:
                continue
            row = (z * height + y) * width
            for t in range(axes[12 + KERNEL]):
                shift = low * step - axes[12 + PADDING] + t * axes[12 + DILATION]
                left = min(max(0, (step - 1 - shift) // step), n)
                right = min(n, (width - 1 - shift + step) // step)
                line = x[plane * depth * height * width + row + shift :]
                for j in simd(left, right):
                    v, old = line[j * step], best[j]
                    better = (v > old) | isnan(v) | (places[j] < 0)
                    best[j] = select(better, v, old)
                    places[j] = select(better, row + shift + j * step, places[j])


@kernel
def max_rows_with_places(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    indices: Array[I64],
    axes: Array[I64],
    stride: Static,
) -> None:
    """`max_rows`, and where each value lies in its plane."""
    best, places = local(T, 1024), local(I64, 1024)
    columns = axes[12 + COUNT]
    for item in range(first, last):
        h, rest = item % axes[6 + COUNT], item // axes[6 + COUNT]
        d, plane = rest % axes[COUNT], rest // axes[COUNT]
        for low in range(0, columns, OUTPUTS):
            n = min(OUTPUTS, columns - low)
            find_winners(x, axes, plane, d, h, low, n, best, places, stride)
            values, found = out[item * columns + low :], indices[item * columns + low :]
            for j in simd(n):
                values[j] = best[j]
            for j in simd(n):
                found[j] = places[j]


@kernel
def max_back_planes(
    first: int,
    last: int,
    g: Array[T],
    x: Array[T],
    out: Array[T],
    axes: Array[I64],
    stride: Static,
) -> None:
    """The gradient of `max_rows`, added to `out`; an item is a plane."""
    best, places = local(T, 1024), local(I64, 1024)
    columns, rows = axes[12 + COUNT], axes[COUNT] * axes[6 + COUNT]
    area = axes[SIZE] * axes[6 + SIZE] * axes[12 + SIZE]
    for plane in range(first, last):
        target = out[plane * area :]
        for row in range(rows):
            h, d = row % axes[6 + COUNT], row // axes[6 + COUNT]
            for low in range(0, columns, OUTPUTS):
                n = min(OUTPUTS, columns - low)
                find_winners(x, axes, plane, d, h, low, n, best, places, stride)
                source = g[(plane * rows + row) * columns + low :]
                for j in range(n):
                    target[places[j]] += source[j]


@kernel
def max_parts(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    indices: Array[I64],
    axes: Array[I64],
) -> None:
    """The largest value of each even part and its place; `axes` holds the sizes and counts.

    A row of the input has at most as many elements as there are outputs in a block.
    """
    best, places = local(T, 1024), local(I64, 1024)
    depth, height, width = axes[SIZE], axes[6 + SIZE], axes[12 + SIZE]
    deep, high, wide = axes[COUNT], axes[6 + COUNT], axes[12 + COUNT]
    for item in range(first, last):
        plane = item // (deep * high)
        d, h = (item // high) % deep, item % high
        source = x[plane * depth * height * width :]
        for i in simd(width):
            best[i] = 0
            places[i] = -1
        for z in range(d * depth // deep, ((d + 1) * depth + deep - 1) // deep):
            for y in range(h * height // high, ((h + 1) * height + high - 1) // high):
                row = (z * height + y) * width
                for i in simd(width):
                    v, old = source[row + i], best[i]
                    better = (v > old) | isnan(v) | (places[i] < 0)
                    best[i] = select(better, v, old)
                    places[i] = select(better, row + i, places[i])
        for w in range(wide):
            start = w * width // wide
            top, place = best[start], places[start]
            for i in range(start + 1, ((w + 1) * width + wide - 1) // wide):
                v, at = best[i], places[i]
                # The first of equal ones in the order of the plane, but the last NaN.
                better = (v > top) | ((v == top) & (at < place))
                better = better | (isnan(v) & ((top == top) | (at > place)))
                top = select(better, v, top)
                place = select(better, at, place)
            out[item * wide + w] = top
            indices[item * wide + w] = place


@inline
def taps_before(at: Any, axes: Any, place: Any) -> Any:
    """How many taps of output `at` lie before the input's `place`."""
    distance = max(place - (at * axes[STRIDE] - axes[PADDING]), 0)
    return min((distance + axes[DILATION] - 1) // axes[DILATION], axes[KERNEL])


@kernel
def pool_channels(
    first: int,
    last: int,
    x: Array[T],
    divisors: Array[T] | None,
    out: Array[T],
    lowest: Array[T],
    axes: Array[I64],
    channels: int,
    divisor_step: int,
    fold: Static,
) -> None:
    """Windows over (images, height, width, channels), all channels at once; an item is a row.

    ``lowest`` is what a window of nothing holds. With divisors the results are divided, by those
    of their places, or with ``divisor_step`` 0 by one.
    """
    rows, columns = axes[6 + COUNT], axes[12 + COUNT]
    down, across = axes[6:], axes[12:]
    for item in range(first, last):
        image = item // rows
        h = item - image * rows
        top, bottom = taps_before(h, down, 0), taps_before(h, down, down[SIZE])
        for w in range(columns):
            left, right = taps_before(w, across, 0), taps_before(w, across, across[SIZE])
            target = out[(item * columns + w) * channels :]
            fresh = True
            for th in range(top, bottom):
                y = h * down[STRIDE] - down[PADDING] + th * down[DILATION]
                for tw in range(left, right):
                    at = w * across[STRIDE] - across[PADDING] + tw * across[DILATION]
                    seen = x[((image * down[SIZE] + y) * across[SIZE] + at) * channels :]
                    if fresh:
                        for c in simd(channels):
                            target[c] = seen[c]
                        fresh = False
                    else:
                        for c in simd(channels):
                            target[c] = fold(target[c], seen[c])
            if fresh:
                for c in simd(channels):
                    target[c] = lowest[0]
            if divisors is not None:
                by = divisors[(h * columns + w) * divisor_step]
                for c in simd(channels):
                    target[c] = target[c] / by
