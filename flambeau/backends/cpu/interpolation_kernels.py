"""Kernels that resample arrays: weighted sums of neighbours along one axis, or along two at once.

An axis has a table of `places`, the inputs that each output sees, and one of `weights`; without
weights an output is the one input that it sees. A place below zero is of no input: tables are
filled up with such.
"""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import (
    I32,
    I64,
    Array,
    Static,
    T,
    floor,
    local,
    nearest,
    select,
    simd,
    truncated,
    unrolled,
)

WIDEST = 4096
"""Elements of a row that `resample_planes` can take."""


@inline
def blend_rows(
    x: Any, places: Any, weights: Any, width: Any, taps: Any, ragged: Any, out: Any
) -> None:
    """out = the sum of the weighted rows of `x`, of `width`, that one output sees."""
    if weights is None:
        source = x[places[0] * width :]
        for j in simd(width):
            out[j] = source[j]
        return
    if not ragged:
        low, high = x[places[0] * width :], x[places[min(1, taps - 1)] * width :]
        a, b = weights[0], weights[min(1, taps - 1)]
        if taps == 2:
            for j in simd(width):
                out[j] = low[j] * a + high[j] * b
            return
    for j in simd(width):
        out[j] = 0.0
    for t in range(taps):
        place = places[t]
        if ragged and place < 0:
            continue
        row, part = x[place * width :], weights[t]
        for j in simd(width):
            out[j] += row[j] * part


@inline
def blend_columns(
    row: Any, places: Any, weights: Any, count: Any, taps: Any, ragged: Any, out: Any
) -> None:
    """out[o] = the sum of the weighted elements of a row that output `o` sees.

    Tables are by taps: places[t * count + o].
    """
    if weights is None:
        for o in simd(count):
            out[o] = row[places[o]]
        return
    for o in simd(count):
        total = 0.0
        for t in range(taps):
            at = t * count + o
            place = places[at]
            if ragged:
                total += select(place < 0, 0.0, row[max(place, 0)] * weights[at])
            else:
                total += row[place] * weights[at]
        out[o] = total


@inline
def blend_many(row: Any, places: Any, weights: Any, count: Any, taps: Any, out: Any) -> None:
    """`blend_columns` for many taps. Tables are by outputs: places[o * taps + t]."""
    for o in range(count):
        seen, shares = places[o * taps :], weights[o * taps :]
        total = 0.0
        for t in simd(taps):
            place = seen[t]
            total += select(place < 0, 0.0, row[max(place, 0)] * shares[t])
        out[o] = total


@kernel
def resample_rows(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    places: Array[I32],
    weights: Array[T] | None,
    size: int,
    count: int,
    width: int,
    taps: int,
    ragged: Static,
) -> None:
    """(outer, size, width) to (outer, count, width); an item is a row of the result."""
    for item in range(first, last):
        a, o = item // count, item % count
        shares = weights if weights is None else weights[o * taps :]
        source, target = x[a * size * width :], out[item * width :]
        blend_rows(source, places[o * taps :], shares, width, taps, ragged, target)


@kernel
def resample_lines(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    places: Array[I32],
    weights: Array[T] | None,
    size: int,
    count: int,
    many: int,
    taps: Static,
    ragged: Static,
) -> None:
    """(outer, size) to (outer, count); an item is a row.

    Tables are by taps; or by outputs if `taps` is None and there are `many`.
    """
    for a in range(first, last):
        if taps is None:
            blend_many(x[a * size :], places, weights, count, many, out[a * count :])
        else:
            source, target = x[a * size :], out[a * count :]
            blend_columns(source, places, weights, count, taps, ragged, target)


@kernel
def resample_planes(
    first: int,
    last: int,
    x: Array[T],
    out: Array[T],
    places: Array[I32],
    weights: Array[T] | None,
    column_places: Array[I32],
    column_weights: Array[T] | None,
    height: int,
    width: int,
    count: int,
    column_count: int,
    taps: int,
    column_taps: Static,
    ragged: Static,
) -> None:
    """(planes, height, width) to (planes, count, column_count); an item is a row of the result."""
    row = local(T, 4096)
    for item in range(first, last):
        plane, o = item // count, item % count
        shares = weights if weights is None else weights[o * taps :]
        source = x[plane * height * width :]
        blend_rows(source, places[o * taps :], shares, width, taps, ragged, row)
        target = out[item * column_count :]
        blend_columns(row, column_places, column_weights, column_count, column_taps, ragged, target)


@inline
def pixel_of(at: Any, size: Any, aligned: Any, border: Any) -> Any:
    """The pixel at a position from -1 to 1."""
    n = T(size)
    p = (at + 1.0) * ((n - 1.0) * 0.5) if aligned else ((at + 1.0) * n - 1.0) * 0.5
    if border:
        return select(p > 0.0, select(p > n - 1.0, n - 1.0, p), 0.0)
    return p


@kernel
def find_corners(
    first: int,
    last: int,
    grid: Array[T],
    places: Array[I64],
    weights: Array[T],
    points: int,
    block: int,
    height: int,
    width: int,
    aligned: Static,
    border: Static,
    taps: Static,
) -> None:
    """The four pixels around each point, -1 for one outside, and its shares of them.

    With one of `taps` it is the nearest pixel alone, halves to the even one.

    An item is a `block` of an image's points.
    """
    blocks = (points + block - 1) // block
    for item in range(first, last):
        image = item // blocks
        begin = (item - image * blocks) * block
        given = grid[(image * points + begin) * 2 :]
        at = image * taps * points + begin
        for p in simd(min(block, points - begin)):
            x = pixel_of(given[2 * p], width, aligned, border)
            y = pixel_of(given[2 * p + 1], height, aligned, border)
            left = nearest(x) if taps == 1 else floor(x)
            top = nearest(y) if taps == 1 else floor(y)
            part, down = x - left, y - top
            for corner in unrolled(taps):
                across = left + 1.0 if corner % 2 else left
                below = top + 1.0 if corner // 2 else top
                inside = (across >= 0.0) & (across <= T(width - 1))
                inside = inside & (below >= 0.0) & (below <= T(height - 1))
                place = truncated(select(inside, below * T(width) + across, -1.0))
                places[at + corner * points + p] = place
                share = part if corner % 2 else 1.0 - part
                other = down if corner // 2 else 1.0 - down
                weights[at + corner * points + p] = other * share if taps == 4 else 1.0


@kernel
def blend_points(
    first: int,
    last: int,
    x: Array[T],
    places: Array[I64],
    weights: Array[T],
    out: Array[T],
    channels: int,
    size: int,
    points: int,
    taps: Static,
) -> None:
    """out[n, c, p] = sum over t of x[n, c, places[n, t, p]] * weights[n, t, p]; item (n, c).

    A place outside [0, size) is of no element.
    """
    for item in range(first, last):
        at = item // channels * taps * points
        source, target = x[item * size :], out[item * points :]
        seen, shares = places[at:], weights[at:]
        for p in simd(points):
            total = 0.0
            for t in unrolled(taps):
                place = seen[t * points + p]
                inside = (place >= 0) & (place < size)
                value = source[select(inside, place, 0)] * shares[t * points + p]
                total += select(inside, value, 0.0)
            target[p] = total


@kernel
def blend_points_back(
    first: int,
    last: int,
    g: Array[T],
    places: Array[I64],
    weights: Array[T],
    out: Array[T],
    channels: int,
    size: int,
    points: int,
    taps: int,
) -> None:
    """The adjoint of `blend_points` for its first array, added to `out`; item (n, c)."""
    for item in range(first, last):
        at = item // channels * taps * points
        source, target = g[item * points :], out[item * size :]
        for t in range(taps):
            seen, shares = places[at + t * points :], weights[at + t * points :]
            for p in range(points):
                place = seen[p]
                if place >= 0 and place < size:
                    target[place] += source[p] * shares[p]


@kernel
def blend_points_shares(
    first: int,
    last: int,
    g: Array[T],
    x: Array[T],
    places: Array[I64],
    out: Array[T],
    channels: int,
    size: int,
    points: int,
    taps: int,
) -> None:
    """The adjoint of `blend_points` for its weights: (n, t, p); item (n, t)."""
    for item in range(first, last):
        n = item // taps
        seen, target = places[item * points :], out[item * points :]
        for p in simd(points):
            target[p] = 0.0
        for c in range(channels):
            source = x[(n * channels + c) * size :]
            line = g[(n * channels + c) * points :]
            for p in simd(points):
                place = seen[p]
                inside = (place >= 0) & (place < size)
                value = source[select(inside, place, 0)] * line[p]
                target[p] += select(inside, value, 0.0)
