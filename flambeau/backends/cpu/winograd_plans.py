"""Convolutions by minimal filtering, planned once a shape: kernels without dilation, one group."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...compiler import allocator, launch, target
from ...compiler.filtering import Filtering, find_filtering
from ...compiler.geometry import Table, group_images, strides_of, tabulate, tabulate_tiles
from .convolution_source import (
    PAIRS,
    Array,
    Convolution,
    Launch,
    Sizes,
    Source,
    find_lanes,
    find_panel,
    list_both,
    list_words,
    plan_merge,
    plan_split,
    read_input,
)

if TYPE_CHECKING:
    from ...compiler.microkernel import Tile

# Takes the input apart; None: the input is read where it lies.
Split = Callable[[Array], Array] | None


class Filter(NamedTuple):
    """A convolution of one group: input, rows of weights, output.

    Output o reads the input at stride o + dilation tap - padding. `row` and `depth` are the strides
    of the weights between rows and channels, `taps` how many lie there a channel, `numbers` which
    of them the kernel's are; `y_row` and `y_image` are the strides of the output.
    """

    x: Sizes
    m: int
    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    out: Sizes
    row: int
    depth: int
    taps: int
    numbers: tuple[int, ...]
    y_row: int
    y_image: int

    @property
    def form(self) -> Filtering:
        """The algorithm."""
        return find_filtering(self.kernel, self.stride)

    @property
    def periods(self) -> Sizes:
        """How far apart the outputs of a tile lie: they must read the same inputs."""
        return tuple(d if n > 1 else 1 for d, n in zip(self.dilation, self.form.tile, strict=True))


def read_forward(c: Convolution) -> Filter:
    """The convolution itself."""
    taps, pixels = math.prod(c.w[2:]), math.prod(c.out)
    return Filter(
        c.x, c.w[0], c.w[2:], c.stride, c.padding, c.dilation, c.out,
        c.w[1] * taps, taps, taps,
        tuple(range(taps)), pixels, c.w[0] * pixels,
    )  # fmt: skip


def read_backward(c: Convolution, phase: Sizes, out: Sizes, row: int) -> Filter:
    """What gives the input's gradient at every stride-th place from `phase` on, `row` a channel.

    The taps that reach these places run backwards.
    """
    shifts = []
    for a, p, k, s, d in zip(phase, c.padding, c.w[2:], c.stride, c.dilation, strict=True):
        places = {t: a + p - d * t for t in reversed(range(k))}
        shifts.append({q // s: t for t, q in places.items() if q % s == 0})
    taps, strides = math.prod(c.w[2:]), strides_of(c.w[2:])
    numbers = tuple(
        sum(t * stride for t, stride in zip(chosen, strides, strict=True))
        for chosen in itertools.product(*(s.values() for s in shifts))
    )
    return Filter(
        (c.x[0], c.w[0], *c.out), c.x[1], tuple(map(len, shifts)), (1,) * len(out),
        tuple(-min(s, default=0) for s in shifts), c.dilation, out, taps, c.w[1] * taps, taps,
        numbers, row, c.x[1] * row,
    )  # fmt: skip


def is_plain(c: Convolution) -> bool:
    """Whether filtering applies: one group, and not both stride and dilation."""
    return c.groups == 1 and (set(c.dilation) == {1} or set(c.stride) == {1})


def applies(f: Filter) -> bool:
    """Whether there are kernels for as many taps: what a tile reads must fit the registers."""
    from ...compiler.winograd import MOST_TAPS

    return math.prod(f.kernel) > 1 and f.taps <= MOST_TAPS and math.prod(f.form.reads) <= 81


def pays(f: Filter, dtype: str) -> bool:
    """Whether minimal filtering saves time, by the cycles that either way would take.

    It adds and subtracts numbers before it multiplies them: words of pairs have none to add.
    """
    if dtype == PAIRS:
        return False
    pixels = -(-f.x[0] * math.prod(f.out) // find_lanes(dtype))
    plain = math.prod(f.kernel) * f.x[1] * pixels * (f.m + 10)
    if f.depth > f.row and f.m * f.x[1] * f.taps * np.dtype(dtype).itemsize > target.host().l2:
        plain += 25 * f.m * f.x[1]  # large weights are read across, or transposed before
    return _cost(f, dtype) < 0.9 * plain


def _cost(f: Filter, dtype: str) -> float:
    """Cycles, about: of the products, and of the transforms of inputs, outputs and filters."""
    form, channels = f.form, f.x[1]
    tiles = -(-f.x[0] * math.prod(_grid(f)) // find_lanes(dtype))
    positions, reads = len(form.layout.parts), math.prod(form.reads)
    products = form.products * channels * f.m * tiles
    calls = positions * f.m * tiles * 2
    inputs = channels * tiles * (2.5 * reads + 2 * form.products)
    outputs = f.m * tiles * (3 * positions + 4 * math.prod(form.tile))
    filters = channels * f.m * 0.4 * (math.prod(f.kernel) + form.products)
    # The phases of a dilation are computed apart and put together, slowly unless there are two.
    together = {1: 0, 2: 8}.get(f.periods[-1], 40) * f.m * tiles * math.prod(form.tile)
    return products + calls + inputs + outputs + filters + together


@functools.cache
def _find_kernel(name: str, dtype: str, form: Filtering, arrays: str) -> Callable[..., None]:
    """The launcher of a chunk function made for `form`."""
    from ...compiler import routines, winograd, winograd_weight

    title, needs, build = "winograd", winograd.ROUTINES, winograd.build_winograd
    if name.startswith("filtering"):
        title, needs = "winograd_weight", winograd_weight.ROUTINES
        build = winograd_weight.build_winograd_weight
    library = routines.load(
        f"{title}_{_name(form)}", dtype, lambda: build(dtype, target.host(), form), needs
    )
    return launch.bind(library.address(name), arrays, name=f"{name}_{dtype}", parallel=True)


@functools.cache
def _find_gather(dtype: str, form: Filtering, side: str, segments: int) -> int:
    """The address of what transforms `side` of vectors of so many segments."""
    from ...compiler import routines
    from ...compiler.winograd_transforms import MOST_EXACT, build_gather

    exact = segments if segments <= MOST_EXACT else 0
    library = routines.load(
        f"gather_{side}_{_name(form)}_{exact}", dtype,
        lambda: build_gather(dtype, target.host(), form, side, exact),
    )  # fmt: skip
    return library.address("gather")


def _name(form: Filtering) -> str:
    return "_".join(f"{line.taps}s{line.stride}" for line in form.lines)


def _tile(dtype: str) -> Tile:
    from ...compiler.microkernel import tile_for

    return tile_for(dtype, target.host())


class _Reads(NamedTuple):
    """Where tiles lie: the input's planes and how they come about, sets of images, the table."""

    source: Source
    split: Split
    sets: int
    images: int
    table: Table


def _plan_reads(
    x: Sizes, reads: Sizes, steps: Sizes, padding: Sizes, dilation: Sizes, grid: Sizes,
    dtype: str,
) -> _Reads:  # fmt: skip
    """How a grid of tiles, `steps` apart in each dimension, reads `reads` inputs each."""
    tiles = Convolution(x, (1, x[1], *reads), grid, steps, padding, dilation, 1)
    source = read_input(tiles)
    lanes, panel = find_lanes(dtype), find_panel(dtype)
    images = group_images(x[0], math.prod(grid), lanes, panel)
    image = x[1] * source.channel
    table = tabulate(grid, source.reads, images, image, 0, lanes, panel)
    return _Reads(source, plan_split(tiles, source, dtype), x[0] // images, images, table)


def _plan_inputs(f: Filter, dtype: str) -> _Reads:
    steps = tuple(n * s * d for n, s, d in zip(f.form.tile, f.stride, f.periods, strict=True))
    return _plan_reads(f.x, f.form.reads, steps, f.padding, f.dilation, _grid(f), dtype)


def _grid(f: Filter) -> Sizes:
    """How many tiles there are in each dimension."""
    return tuple(-(-e // n) for e, n in zip(f.out, f.form.tile, strict=True))


def plan_filter(f: Filter, dtype: str, count: int) -> tuple[Split, Launch]:
    """What takes the input apart, and what computes the output from weights, that, and bias."""
    return (None, _plan_apart(f, dtype, count)) if set(f.periods) != {1} else _plan(f, dtype, count)


def _plan_apart(f: Filter, dtype: str, count: int) -> Launch:
    """Outputs a dilation apart read the same inputs: they are convolutions of their own."""
    plane = math.prod(-(-e // n) for e, n in zip(f.out, f.periods, strict=True))
    phases = list(itertools.product(*map(range, f.periods)))
    row, parts, steps = len(phases) * plane, [], []
    for i, phase in enumerate(phases):
        extents = tuple(-(-(e - a) // n) for e, a, n in zip(f.out, phase, f.periods, strict=True))
        if min(extents) < 1:
            continue
        padding = tuple(p - a for p, a in zip(f.padding, phase, strict=True))
        one = f._replace(padding=padding, out=extents, y_row=row, y_image=f.m * row)
        steps.append((i * plane, *_plan(one, dtype, count)))
        parts.append((i, phase, extents))
    merge = plan_merge(f.x[0] * f.m, f.out, f.periods, plane, row, parts, dtype)

    def run(w: Array, x: Array, y: Array, bias: Array | None, relu: bool) -> None:
        planes = np.empty(f.x[0] * f.m * row, y.dtype)
        for offset, split, launch_phase in steps:
            launch_phase(w, split(x) if split else x, planes[offset:], bias, relu)
        merge(planes, y)

    return run


def _plan(f: Filter, dtype: str, count: int) -> tuple[Split, Launch]:
    """The same where the outputs of a tile lie side by side, at places `periods` apart."""
    reads = _plan_inputs(f, dtype)
    lanes, panel = find_lanes(dtype), find_panel(dtype)
    outs = tabulate_tiles(f.out, f.form.tile, _grid(f), reads.images, f.y_image, lanes, panel)
    values = {
        "m": f.m, "channels": f.x[1], "row": f.row, "depth": f.depth, "taps": f.taps,
        "x_channel": reads.source.channel, "x_set": reads.images * f.x[1] * reads.source.channel,
        "y_row": f.y_row, "y_set": reads.images * f.y_image, "vectors": reads.table.vectors,
        "blocks": len(reads.table.whole), "segments": reads.table.starts.shape[1],
        "out_segments": outs.shape[2], "sets": reads.sets,
        "gather": _find_gather(dtype, f.form, "inputs", reads.table.starts.shape[1]),
    }  # fmt: skip
    filters = f.form.products * f.m * f.x[1] * np.dtype(dtype).itemsize
    panels = reads.sets * len(reads.table.whole)
    allocator.prepare(filters)
    if goes_by_rows(panels, filters):
        return reads.split, _plan_rows(f, reads, values, outs, dtype, count)
    return reads.split, _plan_panels(f, reads, values, outs, dtype, count)


def goes_by_rows(panels: int, filters: int) -> bool:
    """Whether so many panels' products stay in the second cache, and the filters' bytes do not."""
    return panels <= 4 and filters > target.host().l2


def _plan_panels(
    f: Filter, reads: _Reads, values: dict[str, int], outs: Array, dtype: str, count: int
) -> Launch:
    """Panel by panel, with all filters transformed before."""
    from ...compiler.winograd import FILTER_PLAN, WINOGRAD_PLAN, filter_block
    from ...compiler.winograd_transforms import extent_of, gap

    tile, layout = _tile(dtype), f.form.layout
    block, channels, panels = filter_block(tile), f.x[1], reads.sets * values["blocks"]
    m_blocks = -(-f.m // block)
    m_parts = min(m_blocks, -(-2 * count // panels))
    products = len(layout.parts) * (block * tile.columns + gap(tile))
    scratch = extent_of(layout, tile, channels, tile.columns) + products
    words = list_both(WINOGRAD_PLAN, values | {"m_parts": m_parts, "scratch": scratch})
    parts = 1 if f.m * channels < 2000 else max(1, min(-(-channels // 16), 4 * count // m_blocks))
    filter_words = list_words(FILTER_PLAN, values | {"parts": parts})
    size = m_blocks * extent_of(layout, tile, channels, block)
    transform = _find_kernel("winograd_filter", dtype, f.form, "aaaa")
    kernel = _find_kernel("winograd", dtype, f.form, "aaaoaaaaaa")
    chunks, places, table = panels * m_parts, reads.source.reads.offsets(), reads.table
    numbers = np.array(f.numbers, np.int64)

    def run(w: Array, x: Array, y: Array, bias: Array | None, relu: bool) -> None:
        u = np.empty(size, y.dtype)
        transform(m_blocks * parts, w, u, filter_words, numbers)
        work = np.empty(count * scratch, y.dtype)
        kernel(chunks, u, x, y, bias, work, words[relu], places, table.starts, table.masks, outs)

    return run


def _plan_rows(
    f: Filter, reads: _Reads, values: dict[str, int], outs: Array, dtype: str, count: int
) -> Launch:
    """Rows by rows, with all tiles transformed before."""
    from ...compiler.winograd import INPUT_PLAN, ROWS_PLAN, filter_block
    from ...compiler.winograd_transforms import extent_of, gap

    tile, layout = _tile(dtype), f.form.layout
    block, channels, panels = filter_block(tile), f.x[1], reads.sets * values["blocks"]
    products = panels * len(layout.parts) * (block * tile.columns + gap(tile))
    c_block = min(channels, block)
    scratch = products + extent_of(layout, tile, block, block)
    parts = min(channels, -(-4 * count // panels))
    panel = extent_of(layout, tile, channels, tile.columns)
    # As many pieces as threads or a multiple, of at most one block.
    m_parts = count * -(-f.m // (block * count))
    values = values | {
        "parts": parts, "panel": panel, "m_parts": m_parts, "c_block": c_block,
        "products": products, "scratch": scratch,
    }  # fmt: skip
    words, input_words = list_both(ROWS_PLAN, values), list_words(INPUT_PLAN, values)
    transform = _find_kernel("winograd_input", dtype, f.form, "aaaaaa")
    kernel = _find_kernel("winograd_rows", dtype, f.form, "aaaoaaaa")
    places, table = reads.source.reads.offsets(), reads.table
    numbers = np.array(f.numbers, np.int64)

    def run(w: Array, x: Array, y: Array, bias: Array | None, relu: bool) -> None:
        v = np.empty(panels * panel, y.dtype)
        transform(panels * parts, x, v, input_words, places, table.starts, table.masks)
        work = np.empty(count * scratch, y.dtype)
        kernel(m_parts, w, v, y, bias, work, words[relu], numbers, outs)

    return run


# The gradient of the weight -----------------------------------------------------------------------


def pays_weight(f: Filter, dtype: str) -> bool:
    """Whether minimal filtering saves time for the gradient of the weight."""
    if min(f.m, f.x[1]) < 16 or set(f.periods) != {1} or not pays(f, dtype):
        return False
    # Both operands are transformed and the sums kept in memory: a third fewer products is too few.
    if f.form.products > 0.6 * math.prod(f.kernel) * math.prod(f.form.tile):
        return False
    tiles = f.x[0] * math.prod(_grid(f))
    memory = f.form.products * f.m * f.x[1] * np.dtype(dtype).itemsize
    # Each sum over tiles is written once and read once, whatever the number of tiles.
    return tiles >= 64 and memory <= tiles * target.host().l2 // 64


def plan_weight(f: Filter, dtype: str, count: int) -> Callable[[Array, Array, Array], None]:
    """The function that computes the weight's gradient from that of the output, and the input."""
    from ...compiler.winograd_transforms import gap
    from ...compiler.winograd_weight import WEIGHT_PLAN

    tile, products = _tile(dtype), f.form.products
    reads = _plan_inputs(f, dtype)
    nowhere, ones = (0,) * len(f.out), (1,) * len(f.out)
    outputs = (f.x[0], f.m, *f.out)
    writes = _plan_reads(outputs, f.form.tile, f.form.tile, nowhere, ones, _grid(f), dtype)
    columns = find_lanes(dtype) * find_panel(dtype)
    m, channels = f.m, f.x[1]
    sets, blocks = reads.sets, len(reads.table.whole)
    panels, m_parts = -(-channels // columns), -(-m // 64)
    # The pieces of the sum follow from the shape alone, and so does the order of summation.
    parts = min(sets * blocks, -(-8 // (panels * m_parts)))
    units = -(-m // tile.rows)
    tallest = -(-units // m_parts) * tile.rows
    u_row = panels * columns
    u_part = products * (m * u_row + gap(tile))
    scratch = products * (columns * (tile.lanes + columns + tallest) + 3 * gap(tile))
    words = list_words(WEIGHT_PLAN, {
        "m": m, "channels": channels, "x_channel": reads.source.channel,
        "x_set": reads.images * channels * reads.source.channel, "g_channel": writes.source.channel,
        "g_set": reads.images * m * writes.source.channel, "sets": sets,
        "vectors": reads.table.vectors, "blocks": blocks,
        "x_segments": reads.table.starts.shape[1], "g_segments": writes.table.starts.shape[1],
        "parts": parts, "m_parts": m_parts, "u_row": u_row, "u_part": u_part, "scratch": scratch,
        "x_gather": _find_gather(dtype, f.form, "inputs apart", reads.table.starts.shape[1]),
        "g_gather": _find_gather(dtype, f.form, "gradients", writes.table.starts.shape[1]),
    })  # fmt: skip
    kernel = _find_kernel("filtering_weight", dtype, f.form, "a" * 11)
    finish = _plan_result(f, u_row, u_part, parts, dtype, count)
    chunks = panels * m_parts * parts
    tables = [
        v
        for r in (reads, writes)
        for v in (r.source.reads.offsets(), r.table.starts, r.table.masks)
    ]

    def run(g: Array, x: Array, dw: Array) -> None:
        planes = reads.split(x) if reads.split else x
        gradients = writes.split(g) if writes.split else g
        u, work = np.empty(parts * u_part, g.dtype), np.empty(count * scratch, g.dtype)
        kernel(chunks, planes, gradients, u, work, words, *tables)
        finish(u, dw)

    return run


def _plan_result(
    f: Filter, u_row: int, u_part: int, sums: int, dtype: str, count: int
) -> Callable[[Array, Array], None]:
    """The function that transforms the sums over tiles to the gradient of the weight."""
    from ...compiler.winograd_weight import RESULT_PLAN

    parts = 1 if f.m * f.x[1] < 2000 else min(f.m, 4 * count)
    words = list_words(RESULT_PLAN, {
        "m": f.m, "channels": f.x[1], "u_row": u_row, "u_part": u_part, "sums": sums,
        "parts": parts,
    })  # fmt: skip
    kernel = _find_kernel("filtering_result", dtype, f.form, "aaa")
    return lambda u, dw: kernel(parts, u, dw, words)
