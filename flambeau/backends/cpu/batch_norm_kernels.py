"""Kernels of batch norm: over channels that lie in planes, and over channels that lie side by side.

The plane kernels see their data as [samples, channels, space] and take one channel after the other.
The column kernels see it as [rows, columns] and fold the columns: data with the channels last, data
without space, and data with little space, where each channel has several columns next to each
other. T is the type of the data, S the one computed in, of statistics and parameters.

Statistics are taken in pieces that a cache holds, mean first, then squares about it, and the
pieces joined as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
computing sample variances" (1979).
"""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import F64, Array, S, Static, T, f64, local, simd, sqrt

BLOCK = 4096
"""Elements of a channel that make up a piece; also those that a float32 sum runs over."""
BAND = 256
"""Columns that are folded together."""
RUN = 32
"""Rows of a column that are added up before they meet the sum of the others."""


@inline
def note(
    c: Any, centre: Any, variance: Any, count: Any, eps: Any, momentum: Any, mean: Any, rstd: Any,
    running_mean: Any, running_var: Any,
) -> None:  # fmt: skip
    """Write down a channel's statistics, and let the running ones follow."""
    mean[c] = S(centre)
    rstd[c] = S(1.0 / sqrt(variance + eps))
    if running_mean is not None:
        running_mean[c] += S((centre - running_mean[c]) * momentum)
    if running_var is not None:
        unbiased = variance * (f64(count) / max(count - 1, 1))
        running_var[c] += S((unbiased - running_var[c]) * momentum)


# ---------------------------------------------------------------- planes
@inline
def measure(statistics: Any, x: Any, samples: Any, step: Any, space: Any) -> None:
    """Mean and sum of squares about it of planes that lie `step` apart, into `statistics`."""
    statistics[0], statistics[1] = 0.0, 0.0
    seen = 0
    group = max(BLOCK // space, 1)
    for sample in range(0, samples, group):
        stop = min(sample + group, samples)
        for at in range(0, space, BLOCK):
            length = min(BLOCK, space - at)
            count = length * (stop - sample)
            total = f64(0.0)
            for n in range(sample, stop):
                p = x[n * step + at :]
                part = 0.0
                for j in simd(length):
                    part += p[j]
                total += part
            middle = T(total / count)
            squares = f64(0.0)
            for n in range(sample, stop):
                p = x[n * step + at :]
                part = 0.0
                for j in simd(length):
                    part += (p[j] - middle) * (p[j] - middle)
                squares += part
            difference = middle - statistics[0]
            share = count / f64(seen + count)
            statistics[0] += difference * share
            statistics[1] += squares + difference * difference * (seen * share)
            seen += count


@kernel
def norm_planes(
    first: int,
    last: int,
    x: Array[T],
    weight: Array[S] | None,
    bias: Array[S] | None,
    running_mean: Array[S] | None,
    running_var: Array[S] | None,
    out: Array[T],
    mean: Array[S],
    rstd: Array[S],
    samples: int,
    channels: int,
    space: int,
    momentum: float,
    eps: float,
) -> None:
    """Each channel with mean 0 and variance 1, times weight plus bias."""
    statistics = local(F64, 2)
    for c in range(first, last):
        measure(statistics, x[c * space :], samples, channels * space, space)
        count = samples * space
        note(
            c, statistics[0], statistics[1] / count, count, eps, momentum, mean, rstd, running_mean,
            running_var,
        )  # fmt: skip
        scale = rstd[c] * weight[c] if weight is not None else rstd[c]
        shift = bias[c] if bias is not None else T(0.0)
        centre = mean[c]
        for n in range(samples):
            at = (n * channels + c) * space
            p, q = x[at:], out[at:]
            for j in simd(space):
                q[j] = (p[j] - centre) * scale + shift


@kernel
def scale_planes(
    first: int,
    last: int,
    x: Array[T],
    weight: Array[S] | None,
    bias: Array[S] | None,
    out: Array[T],
    mean: Array[S],
    rstd: Array[S],
    channels: int,
    space: int,
) -> None:
    """`norm_planes` by given statistics; an item is a plane."""
    for plane in range(first, last):
        c = plane % channels
        scale = rstd[c] * weight[c] if weight is not None else rstd[c]
        shift = bias[c] if bias is not None else T(0.0)
        centre = mean[c]
        p, q = x[plane * space :], out[plane * space :]
        for j in simd(space):
            q[j] = (p[j] - centre) * scale + shift


@kernel
def norm_planes_back(
    first: int,
    last: int,
    g: Array[T],
    x: Array[T],
    weight: Array[S] | None,
    mean: Array[S],
    rstd: Array[S],
    out: Array[T],
    for_weight: Array[S],
    for_bias: Array[S],
    samples: int,
    channels: int,
    space: int,
    fixed: Static,
) -> None:
    """The gradients for x, weight and bias; `fixed`: the statistics are no functions of x."""
    for c in range(first, last):
        centre = mean[c]
        total, product = f64(0.0), f64(0.0)
        for n in range(samples):
            at = (n * channels + c) * space
            for start in range(at, at + space, BLOCK):
                part, second = 0.0, 0.0
                for j in simd(start, min(start + BLOCK, at + space)):
                    part += g[j]
                    second += g[j] * (x[j] - centre)
                total += part
                product += second
        product *= rstd[c]
        for_bias[c] = S(total)
        for_weight[c] = S(product)
        scale = rstd[c] * weight[c] if weight is not None else rstd[c]
        shift, slope = 0.0, 0.0
        if not fixed:
            shift = T(total / (samples * space))
            slope = T(product * rstd[c] / (samples * space))
        for n in range(samples):
            at = (n * channels + c) * space
            for j in simd(at, at + space):
                if fixed:
                    out[j] = g[j] * scale
                else:
                    out[j] = (g[j] - shift - (x[j] - centre) * slope) * scale


# ---------------------------------------------------------------- sums of columns
@inline
def clear(values: Any, n: Any) -> None:
    """Zero in the first `n` places."""
    for j in simd(n):
        values[j] = 0.0


@inline
def measure_columns(
    centre: Any, squares: Any, part: Any, second: Any, x: Any, step: Any, rows: Any, width: Any
) -> None:
    """Mean and sum of squares about it of each of `width` columns, whose rows lie `step` apart.

    The deviations from the first mean are added up too: what they do not cancel is its error.
    """
    off = part
    clear(centre, width)
    for start in range(0, rows, RUN):
        clear(part, width)
        for i in range(start, min(start + RUN, rows)):
            p = x[i * step :]
            for j in simd(width):
                part[j] += p[j]
        for j in simd(width):
            centre[j] += part[j]
    share = T(1.0 / f64(rows))
    for j in simd(width):
        centre[j] = centre[j] * share
    clear(squares, width)
    clear(off, width)
    for start in range(0, rows, RUN):
        clear(second, width)
        for i in range(start, min(start + RUN, rows)):
            p = x[i * step :]
            for j in simd(width):
                d = p[j] - centre[j]
                off[j] += d
                second[j] += d * d
        for j in simd(width):
            squares[j] += second[j]
    for j in simd(width):
        error = off[j] * share
        centre[j] += error
        squares[j] -= off[j] * error


@inline
def multiply_columns(
    total: Any, product: Any, part: Any, second: Any, g: Any, x: Any, centre: Any, step: Any,
    rows: Any, width: Any,
) -> None:  # fmt: skip
    """The sums of g and of g * (x - centre) over each column."""
    clear(total, width)
    clear(product, width)
    for start in range(0, rows, RUN):
        clear(part, width)
        clear(second, width)
        for i in range(start, min(start + RUN, rows)):
            p, q = g[i * step :], x[i * step :]
            for j in simd(width):
                part[j] += p[j]
                second[j] += p[j] * (q[j] - centre[j])
        for j in simd(width):
            total[j] += part[j]
            product[j] += second[j]


# ---------------------------------------------------------------- bands of channels
@inline
def spread(values: Any, value: Any, start: Any, width: Any) -> None:
    """Give `width` places from `start` on one value."""
    for j in range(start, start + width):
        values[j] = value


@kernel
def norm_bands(
    first: int,
    last: int,
    x: Array[T],
    weight: Array[S] | None,
    bias: Array[S] | None,
    running_mean: Array[S] | None,
    running_var: Array[S] | None,
    out: Array[T],
    mean: Array[S],
    rstd: Array[S],
    rows: int,
    channels: int,
    width: int,
    together: int,
    momentum: float,
    eps: float,
    fixed: Static,
) -> None:
    """`norm_planes` of few rows; a channel has `width` columns, `together` are done at a time."""
    centre, scale = local(T, BAND), local(T, BAND)
    shift, part = local(T, BAND), local(T, BAND)
    for item in range(first, last):
        low, high = item * together, min(item * together + together, channels)
        many, left = (high - low) * width, low * width
        if not fixed:
            measure_columns(centre, scale, shift, part, x[left:], channels * width, rows, many)
            for c in range(low, high):
                middle, squares = f64(0.0), f64(0.0)
                for j in range((c - low) * width, (c - low) * width + width):
                    middle += centre[j]
                middle = middle / width
                for j in range((c - low) * width, (c - low) * width + width):
                    difference = centre[j] - middle
                    squares += scale[j] + difference * difference * rows
                count = rows * width
                note(
                    c, middle, squares / count, count, eps, momentum, mean, rstd, running_mean,
                    running_var,
                )  # fmt: skip
        for c in range(low, high):
            at = (c - low) * width
            spread(centre, mean[c], at, width)
            spread(scale, rstd[c] * weight[c] if weight is not None else rstd[c], at, width)
            spread(shift, bias[c] if bias is not None else T(0.0), at, width)
        for i in range(rows):
            p, q = x[i * channels * width + left :], out[i * channels * width + left :]
            for j in simd(many):
                q[j] = (p[j] - centre[j]) * scale[j] + shift[j]


@kernel
def norm_bands_back(
    first: int,
    last: int,
    g: Array[T],
    x: Array[T],
    weight: Array[S] | None,
    mean: Array[S],
    rstd: Array[S],
    out: Array[T],
    for_weight: Array[S],
    for_bias: Array[S],
    rows: int,
    channels: int,
    width: int,
    together: int,
    fixed: Static,
) -> None:
    """`norm_planes_back` of what `norm_bands` is for."""
    centre, scale = local(T, BAND), local(T, BAND)
    shift, slope = local(T, BAND), local(T, BAND)
    part, second = local(T, BAND), local(T, BAND)
    for item in range(first, last):
        low, high = item * together, min(item * together + together, channels)
        many, left = (high - low) * width, low * width
        for c in range(low, high):
            spread(centre, mean[c], (c - low) * width, width)
        step = channels * width
        multiply_columns(shift, slope, part, second, g[left:], x[left:], centre, step, rows, many)
        for c in range(low, high):
            at = (c - low) * width
            total, product = f64(0.0), f64(0.0)
            for j in range(at, at + width):
                total += shift[j]
                product += slope[j]
            product *= rstd[c]
            for_bias[c] = S(total)
            for_weight[c] = S(product)
            count = f64(0.0 if fixed else 1.0) / (rows * width)
            spread(shift, T(total * count), at, width)
            spread(slope, T(product * rstd[c] * count), at, width)
            spread(scale, rstd[c] * weight[c] if weight is not None else rstd[c], at, width)
        for i in range(rows):
            at = i * channels * width + left
            p, q, r = g[at:], x[at:], out[at:]
            for j in simd(many):
                r[j] = (p[j] - shift[j] - (q[j] - centre[j]) * slope[j]) * scale[j]


# ---------------------------------------------------------------- columns
@kernel
def column_statistics(
    first: int,
    last: int,
    x: Array[T],
    means: Array[S],
    squares: Array[S],
    rows: int,
    columns: int,
    piece: int,
) -> None:
    """Means and squares about them, (pieces, columns), over each `piece` rows of a column."""
    centre, total = local(T, BAND), local(T, BAND)
    part, second = local(T, BAND), local(T, BAND)
    bands = (columns + BAND - 1) // BAND
    for item in range(first, last):
        block = item // bands
        left = (item - block * bands) * BAND
        width = min(BAND, columns - left)
        count = min(piece, rows - block * piece)
        p = x[block * piece * columns + left :]
        measure_columns(centre, total, part, second, p, columns, count, width)
        at = block * columns + left
        for j in simd(width):
            means[at + j] = centre[j]
            squares[at + j] = total[j]


@inline
def fill_table(
    table: Any, c: Any, channels: Any, width: Any, mean: Any, rstd: Any, weight: Any, bias: Any
) -> None:
    """Centre, scale and shift of each of a channel's columns, into a table (3, columns)."""
    columns = channels * width
    scale = rstd[c] * weight[c] if weight is not None else rstd[c]
    shift = bias[c] if bias is not None else S(0.0)
    for j in range(c * width, c * width + width):
        table[j] = mean[c]
        table[columns + j] = scale
        table[2 * columns + j] = shift


@kernel
def join_columns(
    first: int,
    last: int,
    means: Array[S],
    squares: Array[S],
    joined: Array[F64],
    weight: Array[S] | None,
    bias: Array[S] | None,
    running_mean: Array[S] | None,
    running_var: Array[S] | None,
    table: Array[S],
    mean: Array[S],
    rstd: Array[S],
    rows: int,
    channels: int,
    width: int,
    piece: int,
    momentum: float,
    eps: float,
    fixed: Static,
) -> None:
    """The statistics of each channel, of `width` columns, from those of their pieces."""
    columns = channels * width
    if not fixed:
        centre, total = joined, joined[columns:]
        for j in simd(first * width, last * width):
            centre[j] = 0.0
            total[j] = 0.0
        for top in range(0, rows, piece):
            count = min(piece, rows - top)
            share = count / f64(top + count)
            at = (top // piece) * columns
            for j in simd(first * width, last * width):
                difference = means[at + j] - centre[j]
                centre[j] += difference * share
                total[j] += squares[at + j] + difference * difference * (top * share)
        for c in range(first, last):
            middle, spread = f64(0.0), f64(0.0)
            for j in range(c * width, c * width + width):
                middle += centre[j]
            middle = middle / width
            for j in range(c * width, c * width + width):
                difference = centre[j] - middle
                spread += total[j] + difference * difference * rows
            count = rows * width
            note(
                c, middle, spread / count, count, eps, momentum, mean, rstd, running_mean,
                running_var,
            )  # fmt: skip
    for c in range(first, last):
        fill_table(table, c, channels, width, mean, rstd, weight, bias)


@kernel
def norm_columns(
    first: int, last: int, x: Array[T], table: Array[S], out: Array[T], columns: int
) -> None:
    """(x - centre) * scale + shift, all three given by the table for each column."""
    centre, scale, shift = table, table[columns:], table[2 * columns :]
    for row in range(first, last):
        p, q = x[row * columns :], out[row * columns :]
        for j in simd(columns):
            q[j] = (p[j] - centre[j]) * scale[j] + shift[j]


@kernel
def column_products(
    first: int,
    last: int,
    g: Array[T],
    x: Array[T],
    mean: Array[S],
    totals: Array[S],
    products: Array[S],
    rows: int,
    columns: int,
    width: int,
    piece: int,
) -> None:
    """Sums of g and of g * (x - mean), (pieces, columns), over each `piece` rows of a column."""
    centre, total, product = local(T, BAND), local(T, BAND), local(T, BAND)
    part, second = local(T, BAND), local(T, BAND)
    bands = (columns + BAND - 1) // BAND
    for item in range(first, last):
        block = item // bands
        left = (item - block * bands) * BAND
        many = min(BAND, columns - left)
        for j in range(many):
            centre[j] = mean[(left + j) // width] if width > 1 else mean[left + j]
        at = block * piece * columns + left
        count = min(piece, rows - block * piece)
        multiply_columns(total, product, part, second, g[at:], x[at:], centre, columns, count, many)
        place = block * columns + left
        for j in simd(many):
            totals[place + j] = total[j]
            products[place + j] = product[j]


@kernel
def join_products(
    first: int,
    last: int,
    totals: Array[S],
    products: Array[S],
    joined: Array[F64],
    weight: Array[S] | None,
    mean: Array[S],
    rstd: Array[S],
    table: Array[S],
    for_weight: Array[S],
    for_bias: Array[S],
    rows: int,
    channels: int,
    width: int,
    pieces: int,
    fixed: Static,
) -> None:
    """The gradients for weight and bias, and what `norm_columns_back` needs, (4, columns)."""
    columns = channels * width
    whole, along = joined, joined[columns:]
    for j in simd(first * width, last * width):
        whole[j] = 0.0
        along[j] = 0.0
    for piece in range(pieces):
        at = piece * columns
        for j in simd(first * width, last * width):
            whole[j] += totals[at + j]
            along[j] += products[at + j]
    for c in range(first, last):
        total, product = f64(0.0), f64(0.0)
        for j in range(c * width, c * width + width):
            total += whole[j]
            product += along[j]
        product *= rstd[c]
        for_bias[c] = S(total)
        for_weight[c] = S(product)
        shift, slope = S(0.0), S(0.0)
        if not fixed:
            shift = S(total / (rows * width))
            slope = S(product * rstd[c] / (rows * width))
        scale = rstd[c] * weight[c] if weight is not None else rstd[c]
        for j in range(c * width, c * width + width):
            table[j] = mean[c]
            table[columns + j] = scale
            table[2 * columns + j] = shift
            table[3 * columns + j] = slope


@kernel
def norm_columns_back(
    first: int,
    last: int,
    g: Array[T],
    x: Array[T],
    table: Array[S],
    out: Array[T],
    columns: int,
) -> None:
    """(g - shift - (x - centre) * slope) * scale, all four given for each column."""
    centre, scale = table, table[columns:]
    shift, slope = table[2 * columns :], table[3 * columns :]
    for row in range(first, last):
        p, q, r = g[row * columns :], x[row * columns :], out[row * columns :]
        for j in simd(columns):
            r[j] = (p[j] - shift[j] - (q[j] - centre[j]) * slope[j]) * scale[j]
