"""Convolutions on the compiled kernels: tables, launches and scratch memory, planned once a shape.

One dimension is two with a height of one. The gradient of the input of a convolution with a stride
comes phase by phase and is put together by the kernel that took the input apart.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...compiler import allocator, target, threads
from ...compiler.geometry import Table, Tap, group_images, strides_of, tabulate, tabulate_rows
from . import winograd_plans
from .convolution_source import (
    NAMES,
    Array,
    Convolution,
    Launch,
    Sizes,
    Source,
    find_kernel,
    find_lanes,
    find_panel,
    find_size,
    list_both,
    list_words,
    plan_copy,
    plan_merge,
    plan_split,
    read_input,
    read_whole,
)
from .layout import contiguous


@functools.lru_cache(maxsize=1024)
def _flat(c: Convolution) -> Convolution:
    """The same convolution in at least two dimensions."""
    if len(c.out) > 1:
        return c
    return Convolution(
        (*c.x[:2], 1, *c.x[2:]), (*c.w[:2], 1, *c.w[2:]), (1, *c.out), (1, *c.stride),
        (0, *c.padding), (1, *c.dilation), c.groups,
    )  # fmt: skip


def run_forward(
    c: Convolution, x: Array, w: Array, bias: Array | None, relu: bool = False, kind: str = ""
) -> Array:
    """Return the output, with `relu` at least 0; float32 or float64, no size of which is zero.

    `kind` names what the elements of `x` and `w` are, if not numbers of their dtype.
    """
    y = _empty((c.x[0], c.w[0], *c.out), x)
    piece = _cut_images(c, x.itemsize)
    plan = _plan_forward(_flat(piece), kind or NAMES[x.dtype], threads.get_num_threads())
    w, bias = _tidy(w), None if bias is None else _tidy(bias)
    for images in _images(c, piece):
        source = _tidy(x[images])
        plan.step(w, plan.split(source) if plan.split else source, y[images], bias, relu)
    return y


def run_backward_input(c: Convolution, g: Array, w: Array, kind: str = "") -> Array:
    """Return the gradient of the input; float32 or float64, no size of which is zero."""
    dx = _empty(c.x, g)
    piece = _cut_images(c, g.itemsize)
    count = threads.get_num_threads()
    plan = _plan_backward_input(_flat(piece), kind or NAMES[g.dtype], count)
    w = _tidy(w)
    turned = plan.turn(w) if plan.turn else w
    for images in _images(c, piece):
        _run_phases(plan, _tidy(g[images]), w, turned, dx[images])
    return dx


def _run_phases(plan: _BackwardInput, g: Array, w: Array, turned: Array, dx: Array) -> None:
    result = dx if plan.merge is None else np.empty(plan.planes, g.dtype)
    flat = result.reshape(-1)
    planes = {split: split(g) if split else g for split in {step.split for step in plan.steps}}
    for step in plan.steps:
        source = planes[step.split]
        step.launch(turned if step.turned else w, source, flat[step.offset :], None, False)
    if plan.merge is not None:
        plan.merge(result, dx)


def run_backward_weight(c: Convolution, g: Array, x: Array, kind: str = "") -> Array:
    """Return the gradient of the weight; float32 or float64, no size of which is zero."""
    dw = _empty(c.w, g)
    piece = _cut_images(c, g.itemsize)
    direct = c.groups > 1 and c.w[0] // c.groups <= 4
    plan = (_plan_direct_weight if direct else _plan_weight)(
        _flat(piece), kind or NAMES[g.dtype], threads.get_num_threads()
    )
    for images in _images(c, piece):
        part = dw if not images.start else np.empty_like(dw)
        plan(_tidy(g[images]), _tidy(x[images]), part)
        if part is not dw:
            dw += part
    return dw


# Bytes of an input, or of an output, that are taken apart or padded at a time; and of one from
# which so few products are made that reading it again from far takes longer than they do.
_PIECE, _NEAR = 8 << 20, 2 << 20


@functools.lru_cache(maxsize=1024)
def _cut_images(c: Convolution, size: int) -> Convolution:
    """The convolution of as many images as are taken apart at a time: that takes memory.

    No more than the third cache holds, but enough for the weights' own transforms not to count.
    """
    image = max(math.prod(c.x[1:]), c.w[0] * math.prod(c.out)) * size
    near = c.w[1] * c.w[0] <= 4 * c.groups
    if c.x[0] * image <= (_NEAR if near else 2 * _PIECE):
        return c
    wanted = max(_NEAR if near else _PIECE, 4 * math.prod(c.w) * size) // image
    count = max((n for n in range(1, c.x[0] + 1) if c.x[0] % n == 0 and n <= wanted), default=1)
    return c._replace(x=(count, *c.x[1:]))


def _images(c: Convolution, piece: Convolution) -> Iterator[slice]:
    """The images of each piece."""
    for start in range(0, c.x[0], piece.x[0]):
        yield slice(start, start + piece.x[0])


def _empty(shape: Sizes, like: Array) -> Array:
    """A new array of `like`'s type; the scratch memory made after it is as large as that, too."""
    allocator.prepare(max(like.nbytes, math.prod(shape) * like.itemsize))
    return np.empty(shape, like.dtype)


def _tidy(x: Array) -> Array:
    x = contiguous(x)
    return x if x.flags.aligned else np.require(x, requirements="CA")


# One convolution without a stride -----------------------------------------------------------------


class _Side(NamedTuple):
    """The rows of a product: how many a group, where they and their depths lie in the weights."""

    m: int
    channels: int
    rows: Array
    depths: Array
    w_group: int


class _Step(NamedTuple):
    """What a convolution without a stride goes over, in images, channels and memory."""

    images: int
    groups: int
    out: Sizes
    y_row: int  # between channels of the output
    y_image: int


def _plan_step(side: _Side, source: Source, step: _Step, dtype: str, count: int) -> Launch:
    """The function that launches ``conv_forward`` on weights, source, result and bias."""
    if step.groups > 1 and side.m <= 2:
        return _plan_direct(side, source, step, dtype, count)
    from ...compiler.convolution import FORWARD_PLAN

    lanes, panel = find_lanes(dtype), find_panel(dtype)
    pixels, n_taps = math.prod(step.out), len(source.reads.taps)
    images = group_images(step.images, pixels, lanes, panel)
    x_channel = source.channel
    x_image = step.groups * side.channels * x_channel
    table = tabulate(step.out, source.reads, images, x_image, step.y_image, lanes, panel)
    sets = step.images // images
    c_block = _channel_block(side.channels, n_taps, dtype)
    blocks, m_parts = _cut(side, n_taps, sets * step.groups, table, dtype, count)
    scratch = c_block * n_taps * lanes * panel
    words = list_both(FORWARD_PLAN, {
        "m": side.m, "channels": side.channels, "n_taps": n_taps, "c_block": c_block,
        "x_channel": x_channel, "x_group": side.channels * x_channel, "x_set": images * x_image,
        "y_row": step.y_row, "y_group": side.m * step.y_row, "y_set": images * step.y_image,
        "w_group": side.w_group, "groups": step.groups, "sets": sets, "vectors": table.vectors,
        "blocks": blocks, "m_parts": m_parts, "segments": table.starts.shape[1],
        "out_segments": table.outs.shape[1], "scratch": scratch,
    })  # fmt: skip
    chunks = sets * step.groups * blocks * m_parts
    offsets, kernel = source.reads.offsets(), find_kernel("conv_forward", dtype, "aaao" + "a" * 9)

    def launch_step(w: Array, x: Array, y: Array, bias: Array | None, relu: bool) -> None:
        work = np.empty(count * scratch, y.dtype)
        kernel(chunks, w, x, y, bias, work, words[relu], side.rows, side.depths, offsets,
               table.starts, table.masks, table.outs, table.whole)  # fmt: skip

    return launch_step


def _channel_block(channels: int, n_taps: int, dtype: str) -> int:
    """How many channels go into one block of the depth, of about 1.5 KB a row."""
    deep = channels * n_taps * find_size(dtype)
    return -(-channels // max(1, -(-deep // 1536)))


def _cut(
    side: _Side, n_taps: int, units: int, table: Table, dtype: str, count: int
) -> tuple[int, int]:
    """In how many blocks to cut the pixels of a set, and in how many parts its rows."""
    size = find_size(dtype)
    panels = len(table.whole)
    l2 = target.host().l2
    # The rows of a block's result stay in the second cache from one block of channels to the next.
    tall = side.m * find_lanes(dtype) * find_panel(dtype) * size
    blocks = min(panels, -(-panels * tall // (l2 // 4)))
    work = units * side.m * side.channels * n_taps * table.vectors * find_lanes(dtype)
    wanted = 1 if work < 50_000 else 4 * count
    missing = -(-wanted // units)
    if blocks >= missing:
        return blocks, 1
    small = side.m * side.channels * n_taps * size <= l2
    if small and panels >= missing // 2:
        return min(panels, missing), 1
    # Each part of the rows unfolds the input anew, each block of pixels reads all weights anew.
    blocks = max(blocks, min(panels, -(-missing // 2)))
    return blocks, max(1, min(-(-missing // blocks), side.m // 24))


def _plan_direct(side: _Side, source: Source, step: _Step, dtype: str, count: int) -> Launch:
    """The function that launches ``direct_forward``: few rows a group."""
    apart = len(step.out) > 2 or len(source.phases) > 1
    if not apart and len(source.reads.taps) >= _MANY_TAPS and _are_dense(source.reads.taps):
        return _plan_padded(side, source, step, dtype, count)
    table, values = _direct_table(side, source, step, dtype)
    parts = _direct_parts(values["m"], step.images, math.prod(step.out), count)
    words = _direct_words(values, parts)
    single = "_single" if table.starts.shape[1] == 1 else ""
    kernel = find_kernel("direct_forward" + single, dtype, "aaao" + "a" * 6)
    offsets = source.reads.offsets()

    def launch_step(w: Array, x: Array, y: Array, bias: Array | None, relu: bool) -> None:
        kernel(step.images * parts, w, x, y, bias, words[relu], side.depths, offsets, table.starts,
               table.masks, table.outs)  # fmt: skip

    return launch_step


# Taps from which it pays to pad an input first that is not taken apart.
_MANY_TAPS = 16


def _are_dense(taps: Sequence[Tap]) -> bool:
    """Whether rows of taps follow each other without gaps, all with the same columns."""
    rows, columns = ({tap.shift[axis] for tap in taps} for axis in (0, 1))
    full = len(rows) * len(columns) == len(taps)
    return full and max(rows) - min(rows) == len(rows) - 1


def _plan_padded(side: _Side, source: Source, step: _Step, dtype: str, count: int) -> Launch:
    """The function that pads the input and launches ``direct_forward_padded``."""
    from ...compiler.depthwise import VECTORS

    reads, lanes = source.reads, find_lanes(dtype)
    order = sorted(range(len(reads.taps)), key=lambda t: reads.taps[t].shift)
    taps = [reads.taps[t] for t in order]
    depths = np.ascontiguousarray(side.depths.reshape(-1, len(taps))[:, order])
    before, wide = [], []
    sizes = max(step.out[0], VECTORS), step.out[1]
    for axis, (extent, size) in enumerate(zip(reads.extents, sizes, strict=True)):
        shifts = [tap.shift[axis] for tap in taps]
        first = max(0, -min(shifts))
        before.append(first)
        wide.append(first + max(extent, size + max(shifts)))
    row, area = wide[1], math.prod(wide)
    planes = step.images * step.groups * side.channels
    job = (0, reads.extents[1], 1, before[0] * row + before[1], row, 1, *reads.extents)
    pad = plan_copy(planes, math.prod(reads.extents), area, area, [job], dtype)
    starts, outs = tabulate_rows((step.out[0], step.out[1]), row, lanes, VECTORS)
    _, values = _direct_table(side, source._replace(channel=area), step, dtype)
    parts = _direct_parts(values["m"], step.images, math.prod(step.out), count)
    columns = len({tap.shift[1] for tap in taps})
    words = _direct_words(
        values | {"vectors": len(starts), "segments": 1, "tap_columns": columns, "x_row": row},
        parts,
    )
    kernel = find_kernel("direct_forward_padded", dtype, "aaao" + "a" * 6)
    corner = before[0] * row + before[1]
    offsets = reads._replace(steps=(row, 1), taps=taps).offsets() + corner

    def launch_step(w: Array, x: Array, y: Array, bias: Array | None, relu: bool) -> None:
        # The last vectors read beyond the last row.
        work = np.empty(planes * area + lanes, y.dtype)
        pad(x, work)
        kernel(step.images * parts, w, work, y, bias, words[relu], depths, offsets, starts,
               starts, outs)  # fmt: skip

    return launch_step


def _direct_table(
    side: _Side, source: Source, step: _Step, dtype: str
) -> tuple[Table, dict[str, int]]:
    """The table and the plan's values that the direct kernels share."""
    table = tabulate(step.out, source.reads, 1, 0, 0, find_lanes(dtype), 4)
    x_channel = source.channel
    return table, {
        "m": side.m * step.groups, "group_m": side.m, "channels": side.channels,
        "n_taps": len(source.reads.taps), "x_channel": x_channel,
        "x_group": side.channels * x_channel,
        "x_image": step.groups * side.channels * x_channel, "y_row": step.y_row,
        "y_image": step.y_image, "w_row": int(side.rows[-1]) // max(1, side.m - 1),
        "w_group": side.w_group, "vectors": table.vectors, "segments": table.starts.shape[1],
        "images": step.images, "tap_columns": 0, "x_row": 0,
    }  # fmt: skip


def _direct_words(values: dict[str, int], parts: int) -> tuple[Array, Array]:
    from ...compiler.depthwise import DIRECT_PLAN

    return list_both(DIRECT_PLAN, values | {"parts": parts})


def _direct_parts(channels: int, units: int, pixels: int, count: int) -> int:
    if channels * units * pixels < 10_000:
        return 1
    return max(1, min(channels, -(-4 * count // units)))


# Forward ------------------------------------------------------------------------------------------


class _Forward(NamedTuple):
    split: Callable[[Array], Array] | None
    step: Launch


@functools.lru_cache(maxsize=512)
def _plan_forward(c: Convolution, dtype: str, count: int) -> _Forward:
    if winograd_plans.is_plain(c):
        f = winograd_plans.read_forward(c)
        if winograd_plans.applies(f) and winograd_plans.pays(f, dtype):
            return _Forward(*winograd_plans.plan_filter(f, dtype, count))
    source = read_input(c)
    m, channels, kernel = c.w[0] // c.groups, c.w[1], math.prod(c.w[2:])
    depth = channels * kernel
    side = _Side(m, channels, np.arange(m) * depth, np.arange(depth), m * depth)
    pixels = math.prod(c.out)
    step = _Step(c.x[0], c.groups, c.out, pixels, c.w[0] * pixels)
    return _Forward(plan_split(c, source, dtype), _plan_step(side, source, step, dtype, count))


# The gradient of the input ------------------------------------------------------------------------


class _Phase(NamedTuple):
    """What computes one phase: where it begins, what it reads the gradient apart by, weights."""

    offset: int
    split: Callable[[Array], Array] | None
    turned: bool
    launch: Launch


class _BackwardInput(NamedTuple):
    steps: list[_Phase]
    turn: Callable[[Array], Array] | None
    planes: int
    merge: Callable[[Array, Array], None] | None


@functools.lru_cache(maxsize=512)
def _plan_backward_input(c: Convolution, dtype: str, count: int) -> _BackwardInput:
    plane = math.prod(-(-e // s) for e, s in zip(c.x[2:], c.stride, strict=True))
    phases = list(itertools.product(*map(range, c.stride)))
    row = len(phases) * plane
    steps, parts = [], []
    for f, phase in enumerate(phases):
        extents = tuple(-(-(e - a) // s) for e, a, s in zip(c.x[2:], phase, c.stride, strict=True))
        taps = _gradient_taps(c, phase)
        if not taps or min(extents) < 1:
            continue
        step = _Step(c.x[0], c.groups, extents, row, c.x[1] * row)
        steps.append(_plan_phase(c, taps, phase, step, dtype, count)._replace(offset=f * plane))
        parts.append((f, phase, extents))
    turn = _plan_turn(c, dtype, count) if any(step.turned for step in steps) else None
    merge = None
    if len(phases) > 1:
        planes = c.x[0] * c.x[1]
        merge = plan_merge(planes, c.x[2:], c.stride, plane, row, parts, dtype)
    return _BackwardInput(steps, turn, c.x[0] * c.x[1] * row, merge)


def _plan_phase(
    c: Convolution, taps: list[Tap], phase: Sizes, step: _Step, dtype: str, count: int
) -> _Phase:
    """What computes one phase; weights too large to be read across it wants transposed."""
    if winograd_plans.is_plain(c):
        f = winograd_plans.read_backward(c, phase, step.out, step.y_row)
        if winograd_plans.applies(f) and winograd_plans.pays(f, dtype):
            split, launch = winograd_plans.plan_filter(f, dtype, count)
            return _Phase(0, split, False, launch)
    large = math.prod(c.w) * find_size(dtype) > target.host().l2 // 2
    turned = c.groups == 1 and large and len(taps) == math.prod(c.w[2:])
    side = _gradient_side(c, taps, turned)
    launch = _plan_step(side, read_whole(c.out, taps), step, dtype, count)
    return _Phase(0, None, turned, launch)


def _plan_turn(c: Convolution, dtype: str, count: int) -> Callable[[Array], Array]:
    """The function that swaps rows and channels of the weights."""
    from ...compiler.planes import SWAP_PLAN

    parts = 4 * count
    swap = find_kernel("conv_swap", dtype, "aaa")
    words = list_words(SWAP_PLAN, {
        "rows": c.w[0], "columns": c.w[1], "taps": math.prod(c.w[2:]), "parts": parts,
    })  # fmt: skip

    def turn(w: Array) -> Array:
        turned = np.empty(w.size, w.dtype)
        swap(parts, w, turned, words)
        return turned

    return turn


def _gradient_taps(c: Convolution, phase: Sizes) -> list[Tap]:
    """The taps that reach inputs of this phase, as shifts in the output's gradient."""
    taps = []
    for number, position in enumerate(itertools.product(*map(range, c.w[2:]))):
        places = [
            a + p - k * d for a, p, k, d in zip(phase, c.padding, position, c.dilation, strict=True)
        ]
        if all(q % s == 0 for q, s in zip(places, c.stride, strict=True)):
            shift = tuple(q // s for q, s in zip(places, c.stride, strict=True))
            taps.append(Tap(0, shift, number))
    return taps


def _gradient_side(c: Convolution, taps: list[Tap], turned: bool) -> _Side:
    """Rows are the input's channels, the depth the output's: the weights read across."""
    m, kernel = c.w[1], math.prod(c.w[2:])
    channels = c.w[0] // c.groups
    row, channel = (channels * kernel, kernel) if turned else (kernel, m * kernel)
    numbers = np.array([t.number for t in taps], np.int64)
    depths = (np.arange(channels)[:, None] * channel + numbers).ravel()
    return _Side(m, channels, np.arange(m) * row, depths, channels * m * kernel)


# The gradient of the weight -----------------------------------------------------------------------


@functools.lru_cache(maxsize=512)
def _plan_direct_weight(
    c: Convolution, dtype: str, count: int
) -> Callable[[Array, Array, Array], None]:
    source = read_input(c)
    m, pixels = c.w[0] // c.groups, math.prod(c.out)
    depth = c.w[1] * math.prod(c.w[2:])
    side = _Side(m, c.w[1], np.arange(m) * depth, np.arange(depth), m * depth)
    step = _Step(c.x[0], c.groups, c.out, pixels, c.w[0] * pixels)
    table, values = _direct_table(side, source, step, dtype)
    parts = _direct_parts(c.w[0], 1, c.x[0] * pixels, count)
    words, offsets = _direct_words(values, parts)[0], source.reads.offsets()
    single = "_single" if table.starts.shape[1] == 1 else ""
    kernel = find_kernel("direct_weight" + single, dtype, "aaaoaoaaaa")
    split = plan_split(c, source, dtype)

    def launch_direct(g: Array, x: Array, dw: Array) -> None:
        planes = split(x) if split else x
        kernel(parts, g, planes, dw, None, words, None, offsets, table.starts, table.masks,
               table.outs)  # fmt: skip

    return launch_direct


@functools.lru_cache(maxsize=512)
def _plan_weight(c: Convolution, dtype: str, count: int) -> Callable[[Array, Array, Array], None]:
    from ...compiler.convolution import TURN_PLAN, WEIGHT_PLAN

    if winograd_plans.is_plain(c):
        f = winograd_plans.read_forward(c)
        if winograd_plans.applies(f) and winograd_plans.pays_weight(f, dtype):
            return winograd_plans.plan_weight(f, dtype, count)
    lanes, columns = find_lanes(dtype), find_lanes(dtype) * find_panel(dtype)
    m, pixels = c.w[0] // c.groups, math.prod(c.out)
    extents = tuple(e + 2 * p for e, p in zip(c.x[2:], c.padding, strict=True))
    rows, depths, images = _weight_tables(c, extents)
    x_image = c.x[1] * math.prod(extents)
    p_block = pixels if images > 1 else -(-pixels // -(-pixels // 384))
    panels = -(-m // columns)
    dw_row = -(-m // lanes) * lanes
    wanted = 1 if len(rows) * c.w[0] * pixels * c.x[0] < 50_000 else 2 * count
    row_parts = max(1, min(len(rows) // 12, -(-wanted // (c.groups * panels))))
    scratch = images * p_block * columns
    words = list_words(WEIGHT_PLAN, {
        "n_rows": len(rows), "m": m, "dw_row": dw_row, "dw_group": len(rows) * dw_row,
        "x_group": c.w[1] * math.prod(extents), "x_set": images * x_image,
        "g_image": c.w[0] * pixels, "g_group": m * pixels, "pixels": pixels, "images": images,
        "sets": c.x[0] // images, "p_block": p_block, "groups": c.groups, "panels": panels,
        "row_parts": row_parts, "scratch": scratch,
    })  # fmt: skip
    turn_parts = 1 if len(rows) * m < 20_000 else count
    turn_words = list_words(TURN_PLAN, {
        "n_rows": len(rows), "columns": m, "source_row": dw_row, "parts": turn_parts,
    })  # fmt: skip
    kernel = find_kernel("conv_weight", dtype, "aaaoaaaa")
    turn = find_kernel("conv_turn", dtype, "aaa")
    pad = _plan_pad(c, extents, dtype)
    chunks = c.groups * panels * row_parts

    def launch_weight(g: Array, x: Array, dw: Array) -> None:
        wide = pad(x) if pad else x
        work = np.empty(count * scratch, g.dtype)
        turned = np.empty(c.groups * len(rows) * dw_row, g.dtype)
        kernel(chunks, wide, g, turned, None, work, words, rows, depths)
        turn(c.groups * turn_parts, turned, dw, turn_words)

    return launch_weight


def _weight_tables(c: Convolution, extents: Sizes) -> tuple[Array, Array, int]:
    """Where (channel, tap) rows and pixels lie in the padded input, and the images of a set."""
    plane, steps = math.prod(extents), strides_of(extents)
    pixels = math.prod(c.out)

    def places(counts: Sizes, spacing: Sizes) -> Array:
        grid = np.indices(counts).reshape(len(counts), -1)
        factors = [s * d for s, d in zip(steps, spacing, strict=True)]
        return np.asarray(factors) @ grid

    images = max(
        i for i in range(1, c.x[0] + 1) if c.x[0] % i == 0 and (i == 1 or i * pixels <= 384)
    )
    rows = (np.arange(c.w[1])[:, None] * plane + places(c.w[2:], c.dilation)).ravel()
    image = np.arange(images)[:, None] * (c.x[1] * plane)
    depths = (image + places(c.out, c.stride)).ravel()
    return rows.astype(np.int64), depths.astype(np.int64), images


def _plan_pad(c: Convolution, extents: Sizes, dtype: str) -> Callable[[Array], Array] | None:
    """The function that pads an input with zeros, if it is padded at all."""
    if not any(c.padding):
        return None
    shape = (*c.x[:2], *extents)
    (height, width), row, plane = c.x[-2:], extents[-1], math.prod(extents)
    start = sum(p * step for p, step in zip(c.padding, strides_of(extents), strict=True))
    jobs = [
        (i * height * width, width, 1, start + i * math.prod(extents[-2:]), row, 1, height, width)
        for i in range(math.prod(c.x[2:-2]))
    ]
    copy = plan_copy(c.x[0] * c.x[1], math.prod(c.x[2:]), plane, plane, jobs, dtype)

    def pad(x: Array) -> Array:
        wide = np.empty(shape, x.dtype)
        copy(x, wide)
        return wide

    return pad
