"""Kernels of the norms of rows: layer norm, root mean square norm, group norm.

T is the type of the data, S the one computed in, of statistics and parameters. Without a `mean`
rows are not centred: that is the norm by the root mean square.
"""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import Array, S, T, f64, simd, sqrt

BLOCK = 4096
"""Elements that are summed in their own precision before they meet a float64 sum."""


@inline
def sum_of(x: Any, n: Any) -> Any:
    """The sum of the first `n` elements, in float64."""
    total = f64(0.0)
    for start in range(0, n, BLOCK):
        part = 0.0
        for j in simd(start, min(start + BLOCK, n)):
            part += x[j]
        total += part
    return total


@inline
def squares_about(x: Any, n: Any, centre: Any) -> Any:
    """The sum of (x - centre)**2, in float64."""
    total = f64(0.0)
    for start in range(0, n, BLOCK):
        part = 0.0
        for j in simd(start, min(start + BLOCK, n)):
            part += (x[j] - centre) * (x[j] - centre)
        total += part
    return total


@kernel
def norm_rows(
    first: int,
    last: int,
    x: Array[T],
    weight: Array[S] | None,
    bias: Array[S] | None,
    out: Array[T],
    mean: Array[S] | None,
    rstd: Array[S],
    columns: int,
    eps: float,
) -> None:
    """Each row with mean 0 and variance 1, times weight plus bias, each (columns,)."""
    for row in range(first, last):
        p, q = x[row * columns :], out[row * columns :]
        centre = 0.0
        if mean is not None:
            centre = T(sum_of(p, columns) / columns)
            mean[row] = centre
        scale = T(1.0 / sqrt(squares_about(p, columns, centre) / columns + eps))
        rstd[row] = scale
        for j in simd(columns):
            v = (p[j] - centre) * scale
            if weight is not None:
                v = v * weight[j]
            if bias is not None:
                v = v + bias[j]
            q[j] = v


@kernel
def norm_rows_back(
    first: int,
    last: int,
    g: Array[T],
    x: Array[T],
    weight: Array[S] | None,
    mean: Array[S] | None,
    rstd: Array[S],
    out: Array[T],
    weight_parts: Array[S] | None,
    bias_parts: Array[S] | None,
    rows: int,
    columns: int,
    block: int,
) -> None:
    """The gradient for x; for weight and bias each block of rows adds up its part."""
    for item in range(first, last):
        if weight_parts is not None:
            for_weight = weight_parts[item * columns :]
            for j in simd(columns):
                for_weight[j] = 0.0
        if bias_parts is not None:
            for_bias = bias_parts[item * columns :]
            for j in simd(columns):
                for_bias[j] = 0.0
        for row in range(item * block, min(item * block + block, rows)):
            p, q, r = g[row * columns :], x[row * columns :], out[row * columns :]
            scale, centre = rstd[row], 0.0
            if mean is not None:
                centre = mean[row]
            total, product = f64(0.0), f64(0.0)
            for start in range(0, columns, BLOCK):
                part, second = 0.0, 0.0
                for j in simd(start, min(start + BLOCK, columns)):
                    v = p[j]
                    normal = (q[j] - centre) * scale
                    if weight_parts is not None:
                        for_weight[j] += v * normal
                    if bias_parts is not None:
                        for_bias[j] += v
                    if weight is not None:
                        v = v * weight[j]
                    part += v
                    second += v * normal
                total += part
                product += second
            shift = 0.0
            if mean is not None:
                shift = T(total / columns)
            slope = T(product / columns)
            for j in simd(columns):
                v = p[j]
                if weight is not None:
                    v = v * weight[j]
                r[j] = (v - shift - (q[j] - centre) * scale * slope) * scale


# ---------------------------------------------------------------- groups of channels
@kernel
def norm_groups(
    first: int,
    last: int,
    x: Array[T],
    weight: Array[S] | None,
    bias: Array[S] | None,
    out: Array[T],
    mean: Array[S],
    rstd: Array[S],
    groups: int,
    channels: int,
    space: int,
    eps: float,
) -> None:
    """Each group of `channels`, of `space` elements each, with mean 0 and variance 1.

    `weight` and `bias` are (groups * channels,).
    """
    columns = channels * space
    for row in range(first, last):
        p, q = x[row * columns :], out[row * columns :]
        centre = T(sum_of(p, columns) / columns)
        spread = squares_about(p, columns, centre) / columns
        inverse = T(1.0 / sqrt(spread + eps))
        mean[row] = centre
        rstd[row] = inverse
        for c in range(channels):
            channel = (row % groups) * channels + c
            scale = inverse * weight[channel] if weight is not None else inverse
            shift = bias[channel] if bias is not None else 0.0
            for j in simd(c * space, c * space + space):
                q[j] = (p[j] - centre) * scale + shift


@kernel
def norm_groups_back(
    first: int,
    last: int,
    g: Array[T],
    x: Array[T],
    weight: Array[S] | None,
    mean: Array[S],
    rstd: Array[S],
    out: Array[T],
    weight_parts: Array[S],
    bias_parts: Array[S],
    groups: int,
    channels: int,
    space: int,
) -> None:
    """The gradient for x, and each sample's part of those for weight and bias, (samples, C)."""
    columns = channels * space
    for row in range(first, last):
        p, q, r = g[row * columns :], x[row * columns :], out[row * columns :]
        centre, scale = mean[row], rstd[row]
        group = (row % groups) * channels
        total, product = f64(0.0), f64(0.0)
        for c in range(channels):
            whole, along = f64(0.0), f64(0.0)
            for start in range(c * space, c * space + space, BLOCK):
                part, second = 0.0, 0.0
                for j in simd(start, min(start + BLOCK, c * space + space)):
                    part += p[j]
                    second += p[j] * ((q[j] - centre) * scale)
                whole += part
                along += second
            at = row * channels + c
            weight_parts[at] = T(along)
            bias_parts[at] = T(whole)
            factor = f64(weight[group + c]) if weight is not None else f64(1.0)
            total += whole * factor
            product += along * factor
        shift, slope = T(total / columns), T(product / columns)
        for c in range(channels):
            gain = weight[group + c] if weight is not None else T(1.0)
            for j in simd(c * space, c * space + space):
                r[j] = (p[j] * gain - shift - (q[j] - centre) * scale * slope) * scale
