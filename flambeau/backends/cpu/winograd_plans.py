"""3x3 convolutions without stride or dilation by minimal filtering, planned once a shape."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...compiler.geometry import group_images, tabulate, tabulate_squares
from .convolution_source import (
    Array,
    Convolution,
    Launch,
    Sizes,
    find_kernel,
    find_lanes,
    find_panel,
    list_words,
    plan_split,
    read_input,
)


def suits(c: Convolution) -> bool:
    """Whether minimal filtering pays: 3x3 taps side by side, enough channels and pixels."""
    return (
        c.w[2:] == (3, 3) and c.stride == (1, 1) and c.dilation == (1, 1) and c.groups == 1
        and min(c.w[0], c.w[1]) >= 16 and min(c.out) >= 4
    )  # fmt: skip


def plan_forward(c: Convolution, dtype: str, count: int) -> Launch:
    """The function that computes the output from weights, input, result and bias."""
    depth = c.w[1] * 9
    return _plan(c.x, c.w[0], c.out, c.padding, (depth, 9, 0), dtype, count)


def plan_backward_input(c: Convolution, dtype: str, count: int) -> Launch:
    """The function that computes the input's gradient from weights and the output's gradient."""
    x = (c.x[0], c.w[0], *c.out)
    padding = tuple(2 - p for p in c.padding)
    return _plan(x, c.x[1], c.x[2:], padding, (9, c.w[1] * 9, 1), dtype, count)


def _plan(
    x: Sizes, m: int, out: Sizes, padding: Sizes, layout: tuple[int, int, int], dtype: str,
    count: int,
) -> Launch:  # fmt: skip
    """A convolution of `x` to `m` channels; `layout` is the weights' strides, and whether to flip."""
    from ...compiler.winograd import POSITIONS, WINOGRAD_PLAN, filter_block

    tile_reads = Convolution(x, (m, x[1], 4, 4), out, (2, 2), padding, (1, 1), 1)
    source = read_input(tile_reads)
    lanes, panel = find_lanes(dtype), find_panel(dtype)
    grid = tuple(-(-e // 2) for e in out)
    images = group_images(x[0], math.prod(grid), lanes)
    x_channel = source.planes * source.plane
    y_row = math.prod(out)
    table = tabulate(
        grid, source.extents, source.taps, images, x[1] * x_channel, m * y_row, lanes, panel
    )
    outs = tabulate_squares(out, images, m * y_row, lanes, panel)
    sets, blocks = x[0] // images, len(table.whole)
    block = filter_block(_tile(dtype))
    m_blocks = -(-m // block)
    m_parts = min(m_blocks, -(-2 * count // (sets * blocks)))
    scratch = POSITIONS * (lanes * panel * (x[1] + block) + 6 * lanes)
    words = list_words(WINOGRAD_PLAN, {
        "m": m, "channels": x[1], "x_channel": x_channel, "x_set": images * x[1] * x_channel,
        "y_row": y_row, "y_set": images * m * y_row, "vectors": table.vectors, "blocks": blocks,
        "m_parts": m_parts, "segments": table.starts.shape[1], "out_segments": outs.shape[3],
        "scratch": scratch,
    })  # fmt: skip
    chunks, offsets = sets * blocks * m_parts, source.offsets()
    split = plan_split(tile_reads, source, dtype)
    transform = _plan_filter(m, x[1], layout, dtype, count)
    kernel = find_kernel("winograd", dtype, "aaaoaaaaaa")

    def launch(w: Array, x: Array, y: Array, bias: Array | None) -> None:
        u = transform(w)
        planes = split(x) if split else x
        work = np.empty(count * scratch, y.dtype)
        kernel(chunks, u, planes, y, bias, work, words, offsets, table.starts, table.masks, outs)

    return launch


def _tile(dtype: str):  # noqa: ANN202
    from ...compiler import target
    from ...compiler.microkernel import tile_for

    return tile_for(dtype, target.host())


def _plan_filter(
    m: int, channels: int, layout: tuple[int, int, int], dtype: str, count: int
) -> Callable[[Array], Array]:
    """The function that transforms the weights of `m` rows and `channels` channels."""
    from ...compiler.winograd import FILTER_PLAN, POSITIONS, filter_block

    block = filter_block(_tile(dtype))
    m_blocks = -(-m // block)
    parts = 1 if m * channels < 2000 else max(1, min(-(-channels // 16), 4 * count // m_blocks))
    row, depth, flip = layout
    words = list_words(FILTER_PLAN, {
        "m": m, "channels": channels, "row": row, "depth": depth, "flip": flip, "parts": parts,
    })  # fmt: skip
    kernel = find_kernel("winograd_filter", dtype, "aaa")
    size = POSITIONS * (m_blocks * block * channels + block)

    def transform(w: Array) -> Array:
        u = np.empty(size, w.dtype)
        kernel(m_blocks * parts, w, u, words)
        return u

    return transform
