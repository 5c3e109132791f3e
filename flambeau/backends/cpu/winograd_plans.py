"""3x3 convolutions without stride or dilation by minimal filtering, planned once a shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ...compiler import target
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

if TYPE_CHECKING:
    from ...compiler.microkernel import Tile

# The inputs of a tile, and as many products.
POSITIONS = 16
# Cycles that the transform of one filter costs: from the second cache, and from memory.
_NEAR, _FAR = 10, 36


def suits(c: Convolution, out: Sizes, dtype: str) -> bool:
    """Whether minimal filtering pays for results of extents `out`.

    It does for 3x3 taps side by side, 16 channels and more, and pixels enough for the transform of
    the filters: per filter, 16 products for each vector of tiles instead of 9 for each of pixels.
    """
    plain = c.w[2:] == (3, 3) and c.stride == c.dilation == (1, 1) and c.groups == 1
    if not plain or min(c.w[:2]) < 16:
        return False
    lanes, size = find_lanes(dtype), np.dtype(dtype).itemsize
    tiles, pixels = (-(-c.x[0] * math.prod(-(-e // step) for e in out) // lanes) for step in (2, 1))
    memory = POSITIONS * c.w[0] * c.w[1] * size
    transform = _NEAR if memory <= 4 * target.host().l2 else _FAR
    return POSITIONS * tiles + transform < 8 * pixels


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
    """A convolution of `x` to `m` channels; `layout`: the weights' strides, whether to flip."""
    from ...compiler.winograd import WINOGRAD_PLAN, filter_block

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


def _tile(dtype: str) -> Tile:
    from ...compiler.microkernel import tile_for

    return tile_for(dtype, target.host())


def _plan_filter(
    m: int, channels: int, layout: tuple[int, int, int], dtype: str, count: int
) -> Callable[[Array], Array]:
    """The function that transforms the weights of `m` rows and `channels` channels."""
    from ...compiler.winograd import FILTER_PLAN, filter_block

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


# The gradient of the weight -----------------------------------------------------------------------


def suits_weight(c: Convolution, dtype: str) -> bool:
    """Whether minimal filtering pays for the gradient of the weight."""
    plain = c.w[2:] == (3, 3) and c.stride == c.dilation == (1, 1) and c.groups == 1
    if not plain or min(c.w[:2]) < 16:
        return False
    tiles = c.x[0] * math.prod(-(-e // 2) for e in c.out)
    memory = POSITIONS * c.w[0] * c.w[1] * np.dtype(dtype).itemsize
    # Each sum over tiles is written once and read once, whatever the number of tiles.
    return tiles >= 64 and memory <= tiles * target.host().l2 // 64


def plan_weight(c: Convolution, dtype: str, count: int) -> Callable[[Array, Array, Array], None]:
    """The function that computes the weight's gradient from that of the output, and the input."""
    from ...compiler.winograd_weight import WEIGHT_PLAN

    reads = c._replace(w=(*c.w[:2], 4, 4), stride=(2, 2))
    writes = Convolution(
        (c.x[0], c.w[0], *c.out), (1, 1, 2, 2), c.out, (2, 2), (0, 0), (1, 1), 1
    )  # fmt: skip
    lanes, panel = find_lanes(dtype), find_panel(dtype)
    columns = lanes * panel
    grid = tuple(-(-e // 2) for e in c.out)
    images = group_images(c.x[0], math.prod(grid), lanes)
    sides = []
    for geometry in (reads, writes):
        source = read_input(geometry)
        channel = source.planes * source.plane
        image = geometry.x[1] * channel
        table = tabulate(grid, source.extents, source.taps, images, image, 0, lanes, panel)
        sides.append((plan_split(geometry, source, dtype), source.offsets(), table, channel))
    (split_x, x_places, x_table, x_channel), (split_g, g_places, g_table, g_channel) = sides
    m, channels = c.w[:2]
    sets, blocks = c.x[0] // images, len(x_table.whole)
    panels, m_parts = -(-channels // columns), -(-m // 64)
    # The pieces of the sum follow from the shape alone, and so does the order of summation.
    parts = min(sets * blocks, -(-8 // (panels * m_parts)))
    rows = _tile(dtype).rows
    units = -(-m // rows)
    tallest = -(-units // m_parts) * rows
    u_row = panels * columns
    u_part = POSITIONS * (m * u_row + 3 * lanes)
    scratch = POSITIONS * (columns * (lanes + columns + tallest) + 9 * lanes)
    words = list_words(WEIGHT_PLAN, {
        "m": m, "channels": channels, "x_channel": x_channel,
        "x_set": images * channels * x_channel, "g_channel": g_channel,
        "g_set": images * m * g_channel, "sets": sets, "vectors": x_table.vectors,
        "blocks": blocks, "x_segments": x_table.starts.shape[1],
        "g_segments": g_table.starts.shape[1], "parts": parts, "m_parts": m_parts,
        "u_row": u_row, "u_part": u_part, "scratch": scratch,
    })  # fmt: skip
    kernel = find_kernel("filtering_weight", dtype, "a" * 11)
    finish = _plan_result(m, channels, u_row, u_part, parts, dtype, count)
    chunks = panels * m_parts * parts

    def launch(g: Array, x: Array, dw: Array) -> None:
        planes, gradients = split_x(x), split_g(g)
        u, work = np.empty(parts * u_part, g.dtype), np.empty(count * scratch, g.dtype)
        kernel(chunks, planes, gradients, u, work, words, x_places, x_table.starts, x_table.masks,
               g_places, g_table.starts, g_table.masks)  # fmt: skip
        finish(u, dw)

    return launch


def _plan_result(
    m: int, channels: int, u_row: int, u_part: int, sums: int, dtype: str, count: int
) -> Callable[[Array, Array], None]:
    """The function that transforms the sums over tiles to the gradient of the weight."""
    from ...compiler.winograd_weight import RESULT_PLAN

    parts = 1 if m * channels < 2000 else min(m, 4 * count)
    words = list_words(RESULT_PLAN, {
        "m": m, "channels": channels, "u_row": u_row, "u_part": u_part, "sums": sums,
        "parts": parts,
    })  # fmt: skip
    kernel = find_kernel("filtering_result", dtype, "aaa")
    return lambda u, dw: kernel(parts, u, dw, words)
