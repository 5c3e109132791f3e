"""Convolutions of arrays that have their channels last in memory, without turning them around.

Results have their channels last, too. What the kernels here do not serve, `convolution` computes
with channels first.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from ...compiler import allocator, jit, threads
from . import channels_last_kernels as kernels
from . import depthwise_kernels as depthwise
from . import winograd_plans
from .convolution_source import PAIRS, Array, Convolution
from .layout import assign, cast, contiguous
from .narrow_convolution import Way, choose
from .winograd_plans import Filter

_NARROW = frozenset({np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)})
KINDS = _NARROW | {np.dtype(np.float32), np.dtype(np.float64)}
_DEEP = 512
"""Elements of a pixel that are gathered at a time, at most, where that can be chosen."""
_BLOCK = 96
"""Pixels of a block."""
_WIDTH, _HEIGHT, _LONG = 256, 256, 256
"""Columns, rows and pixels of a block of the weights' gradient."""
_TOGETHER = 49
"""Taps that fit in a loop."""
_OUTSIDE = -(2**60)
"""A place no offset reaches: sums with it stay below zero."""
_BAND = 256
"""Pixels whose products are added up before their sum joins the others in float64."""


def turned(x: Array) -> Array:
    """`x` with its channels last in memory: (N, *spatial, C), contiguous and aligned."""
    return np.require(contiguous(np.moveaxis(x, 1, -1)), requirements="A")


class _Plan(NamedTuple):
    """The sizes that the kernels ask for."""

    shape: Array
    pixels: int
    depth: int  # channels and taps of a group
    together: int
    groups: int
    outputs: int  # of a group
    in_place: bool


@functools.lru_cache(maxsize=512)
def _plan(c: Convolution, pairs: bool = False) -> _Plan | None:
    """How to do a convolution in two dimensions; None where channels first is the better way.

    Its channels may be `pairs`.
    """
    if len(c.out) != 2 or 0 in c.x or 0 in c.w or 0 in c.out:
        return None
    channels, outputs = c.w[1], c.w[0] // c.groups
    few = 8 if pairs else 16
    if channels < few or (c.groups > 1 and min(channels, outputs) < 4 * few):
        return None
    kw, taps = c.w[3], math.prod(c.w[2:])
    span = kw if c.groups == 1 and c.dilation[1] == 1 and channels * kw <= _DEEP else 1
    segment = span * channels
    split = next((s for s in range(-(-segment // _DEEP), 9) if segment % s == 0), 1)
    unit = segment // split
    units = taps // span * split
    in_place = taps == 1 and set(c.stride) == {1} and not any(c.padding)
    shape = (
        *c.x[2:], c.x[1], *c.out, kw, *c.stride, *c.padding, *c.dilation, channels, outputs,
        c.w[0], span, split, unit, units,
    )  # fmt: skip
    return _Plan(
        np.array(shape, np.int64), c.x[0] * math.prod(c.out), taps * channels,
        max(1, _DEEP // unit), c.groups, outputs, in_place,
    )  # fmt: skip


def serves_forward(c: Convolution, dtype: Any) -> bool:
    """Whether `forward` is the best way to a convolution: no minimal filtering saves more."""
    kind = _channel_way(c, dtype).kind
    return _serves(c, dtype, kind) and not _filters(c, kind, winograd_plans.pays)


def serves_backward_input(c: Convolution, dtype: Any) -> bool:
    """Whether `backward_input` is."""
    ahead = mirrored(c)
    return ahead is not None and serves_forward(ahead, dtype)


def serves_backward_weight(c: Convolution, dtype: Any) -> bool:
    """Whether `backward_weight` is."""
    kind = choose(dtype, c.x[0]).kind
    return _serves(c, dtype) and not _filters(c, kind, winograd_plans.pays_weight)


def _serves(c: Convolution, dtype: Any, kind: str = "") -> bool:
    return dtype in KINDS and jit.available() and _plan_words(c, kind) is not None


def _filters(c: Convolution, kind: str, pays: Callable[[Filter, str], bool]) -> bool:
    if not winograd_plans.is_plain(c):
        return False
    f = winograd_plans.read_forward(c)
    return winograd_plans.applies(f) and pays(f, kind)


def _channel_way(c: Convolution, dtype: Any) -> Way:
    """How to sum over channels: by pairs only where each pixel has whole pairs."""
    return choose(dtype, 1 if c.w[1] % 2 else c.w[1])


def _plan_words(c: Convolution, kind: str) -> _Plan | None:
    """The plan for channels of `kind`: of half as many if they are pairs."""
    if kind != PAIRS:
        return _plan(c)
    x, w = (c.x[0], c.x[1] // 2, *c.x[2:]), (c.w[0], c.w[1] // 2, *c.w[2:])
    return _plan(c._replace(x=x, w=w), pairs=True)


def forward(c: Convolution, x: Array, w: Array, bias: Array | None) -> Array:
    """The output, (N, M, *spatial) with its channels last in memory."""
    words = _channel_way(c, x.dtype).prepare(w.reshape(*c.w[:2], -1))
    return _multiply(c, x, words.reshape(c.w[0], -1, *c.w[2:]).transpose(2, 3, 1, 0), bias)


def _as(w: Array, kind: Any) -> Array:
    return w if w.dtype == kind else cast(contiguous(w), kind)


def _panels(w: Array, p: _Plan) -> Array:
    """Weights (height, width, channels, all outputs) as (groups, panels, depth, COLUMNS)."""
    panels, wide = -(-p.outputs // kernels.COLUMNS), kernels.COLUMNS
    allocator.prepare(w.nbytes)
    full = np.empty((p.depth, p.groups, p.outputs), w.dtype)
    assign(full.reshape(w.shape), w)
    out = np.empty((p.groups, panels, p.depth, wide), w.dtype)
    for j in range(panels):
        count = min(wide, p.outputs - j * wide)
        assign(out[:, j, :, :count], full[:, :, j * wide : j * wide + count].swapaxes(0, 1))
    return out


def _multiply(c: Convolution, x: Array, w: Array, bias: Array | None) -> Array:
    """The convolution of x (N, C, *spatial) with w, (height, width, channels, all outputs)."""
    way = _channel_way(c, x.dtype)
    p, pairs, source = _plan_words(c, way.kind), way.kind == PAIRS, turned(x)
    assert p is not None
    source = np.require(source.view(w.dtype), requirements="A") if pairs else _as(source, w.dtype)
    matrix, count = _panels(w, p), threads.get_num_threads()
    panels = matrix.shape[1]
    allocator.prepare(p.pixels * c.w[0] * x.itemsize)
    out = np.empty((c.x[0], *c.out, c.w[0]), x.dtype)
    block = min(_BLOCK, p.pixels)
    items = -(-p.pixels // block) * p.groups
    parts = min(panels, max(1, -(-2 * count // items)))
    deep = p.together * int(p.shape[kernels.UNIT])
    work = np.empty(count * block * (deep + panels * kernels.COLUMNS), matrix.dtype)
    cost = block * p.depth * -(-panels // parts) * kernels.COLUMNS // 2
    kernels.convolve(
        items * parts, cost, source, matrix, bias if bias is None else _as(bias, w.dtype), out,
        work, p.shape, p.pixels, block, parts, p.depth, p.together, p.groups, panels, p.in_place,
        out.dtype != w.dtype, pairs,
    )  # fmt: skip
    return np.moveaxis(out, -1, 1)


def backward_weight(c: Convolution, g: Array, x: Array) -> Array:
    """The gradient of the weight, (M, C / groups, *kernel)."""
    way = choose(x.dtype, c.x[0])
    images = way.size(c.x[0])
    source, given = (
        way.prepare(v.reshape(1, c.x[0], -1)).reshape(images, *v.shape[1:])
        for v in (turned(x), turned(g))
    )
    p = _plan(c._replace(x=(images, *c.x[1:])))
    assert p is not None
    width = min(_WIDTH, p.outputs)
    column_parts = -(-p.outputs // width)
    together = min(p.together, max(1, _HEIGHT // int(p.shape[kernels.UNIT])))
    unit_parts = -(-int(p.shape[kernels.UNITS]) // together)
    block = min(_LONG, p.pixels)
    tasks = p.groups * unit_parts * column_parts
    # Fixed by the sizes alone, so that the sums do not depend on the number of threads.
    parts = min(-(-p.pixels // (4 * block)), max(1, 8 // tasks))
    sums = np.empty((parts, p.groups, p.depth, p.outputs), source.dtype)
    deep = together * int(p.shape[kernels.UNIT])
    work = np.empty(threads.get_num_threads() * block * deep, source.dtype)
    kernels.weight_gradient(
        parts * tasks, p.pixels // parts * deep * width // 2, source, given, sums, work, p.shape,
        p.pixels, block, parts, p.depth, together, p.groups, width, column_parts, p.in_place,
        way.kind == PAIRS,
    )  # fmt: skip
    total = sums[0] if parts == 1 else np.add.reduce(sums, 0)
    made = np.empty(c.w, source.dtype)
    kh, kw = c.w[2:]
    shape = (p.groups, kh, kw, c.w[1], p.outputs)
    target = made.reshape(p.groups, p.outputs, c.w[1], kh, kw).transpose(0, 3, 4, 2, 1)
    assign(target, total.reshape(shape))
    return made.astype(x.dtype, copy=False)


def backward_input(c: Convolution, g: Array, w: Array) -> Array:
    """The gradient of the input, (N, C, *spatial) with its channels last in memory."""
    ahead = mirrored(c)
    assert ahead is not None
    words = _channel_way(ahead, g.dtype).prepare(w.reshape(c.groups, ahead.w[1], -1))
    turned_words = words.reshape(c.groups, -1, *c.w[1:])[..., ::-1, ::-1]
    # (groups, outputs, channels, height, width) to (height, width, outputs, groups * channels)
    matrix = turned_words.transpose(3, 4, 1, 0, 2).reshape(*c.w[2:], -1, c.x[1])
    return _multiply(ahead, g, matrix, None)


@functools.lru_cache(maxsize=512)
def mirrored(c: Convolution) -> Convolution | None:
    """The convolution of the output's gradient that gives the input's; None with a stride."""
    padding = tuple(d * (k - 1) - p for d, k, p in zip(c.dilation, c.w[2:], c.padding, strict=True))
    if set(c.stride) != {1} or min(padding) < 0:
        return None
    return Convolution(
        (c.x[0], c.w[0], *c.out), (c.x[1], c.w[0] // c.groups, *c.w[2:]), c.x[2:], c.stride,
        padding, c.dilation, c.groups,
    )  # fmt: skip


# Depthwise ----------------------------------------------------------------------------------------


def is_depthwise(c: Convolution, dtype: Any) -> bool:
    """Whether each channel has one filter of its own, of a size that the kernels take."""
    return (
        dtype in KINDS and jit.available() and len(c.out) == 2
        and c.x[1] >= 8 and c.groups == c.x[1] == c.w[0] and c.w[1] == 1
        and math.prod(c.w[2:]) <= depthwise.MOST_TAPS and 0 not in (*c.x, *c.w, *c.out)
    )  # fmt: skip


def depthwise_forward(c: Convolution, x: Array, w: Array, bias: Array | None) -> Array:
    """The output, (N, C, *spatial) with its channels last in memory."""
    return _filter(c, x, w, bias, False)


def depthwise_backward_input(c: Convolution, g: Array, w: Array) -> Array:
    """The gradient of the input, (N, C, *spatial) with its channels last in memory."""
    return _filter(c, g, w, None, True)


class _Taps(NamedTuple):
    """What the depthwise kernels ask for: tables, bytes of an image, rows, columns, sizes."""

    down: Array
    across: Array
    image: int
    rows: int
    columns: int
    channels: int
    taps: int


@functools.lru_cache(maxsize=512)
def _plan_taps(c: Convolution, itemsize: int, back: bool) -> _Taps:
    """Where taps read in x for the output's pixels, or with `back` in g for the input's."""
    given, made = (c.out, c.x[2:]) if back else (c.x[2:], c.out)
    tables = []
    for axis, step in ((0, given[1] * c.x[1] * itemsize), (1, c.x[1] * itemsize)):
        stride, padding, dilation = c.stride[axis], c.padding[axis], c.dilation[axis]
        shift = np.arange(c.w[2 + axis]) * dilation - padding
        place = np.arange(made[axis])[:, None] * (1 if back else stride)
        place = place - shift if back else place + shift
        inside = place % stride == 0 if back else np.ones(place.shape, np.bool_)
        place = place // stride if back else place
        inside &= (place >= 0) & (place < given[axis])
        table = np.where(inside, place * step, _OUTSIDE)
        wide = table[:, :, None] if axis == 0 else table[:, None, :]
        wide = np.broadcast_to(wide, (len(table), *c.w[2:])).reshape(len(table), -1)
        tables.append(np.ascontiguousarray(wide, np.int64))
    taps = math.prod(c.w[2:])
    return _Taps(*tables, math.prod(given) * c.x[1] * itemsize, *made, c.x[1], taps)


def _together(c: Convolution) -> int:
    """How many taps are summed in registers: all, or those of a row."""
    taps = math.prod(c.w[2:])
    return taps if taps <= _TOGETHER else c.w[3] if c.w[3] <= _TOGETHER else 1


def _filter(c: Convolution, x: Array, w: Array, bias: Array | None, back: bool) -> Array:
    ahead = mirrored(c) if back else c
    if ahead is not None and _fits_tiles(ahead):
        return _filter_tiles(ahead, x, w[:, :, ::-1, ::-1] if back else w, bias)
    p, source = _plan_taps(c, x.itemsize, back), turned(x)
    kind = np.dtype(np.float32) if x.dtype in _NARROW else x.dtype
    weights = _as(contiguous(w.reshape(p.channels, p.taps).T), kind)
    zeros = np.zeros(p.channels, x.dtype)
    allocator.prepare(c.x[0] * p.rows * p.columns * p.channels * x.itemsize)
    out = np.empty((c.x[0], p.rows, p.columns, p.channels), x.dtype)
    together = _together(c)
    depthwise.filter_channels(
        c.x[0] * p.rows, 2 * p.columns * p.channels * p.taps, source, weights,
        bias if bias is None else bias.astype(kind), out, p.down, p.across, _address(source),
        p.image, _address(zeros), p.rows, p.columns, p.channels, p.taps, together,
        together == p.taps,
    )  # fmt: skip
    return np.moveaxis(out, -1, 1)


def _fits_tiles(c: Convolution) -> bool:
    """Whether tiles of a few columns and channels share what they read."""
    fits = c.out[1] >= min(depthwise.COLUMNS) and c.x[1] >= depthwise.WIDTH
    return fits and math.prod(c.w[2:]) <= _TOGETHER


@functools.lru_cache(maxsize=512)
def _plan_tiles(c: Convolution, itemsize: int) -> tuple[Array, Array]:
    """Where rows of taps read for the output's rows, and columns from the first to the last."""
    pixel = c.x[1] * itemsize
    rows = np.arange(c.out[0])[:, None] * c.stride[0] - c.padding[0]
    down = rows + np.arange(c.w[2]) * c.dilation[0]
    reach = (c.out[1] - 1) * c.stride[1] + (c.w[3] - 1) * c.dilation[1] + 1
    across = np.arange(reach) - c.padding[1]
    tables = [
        np.where((place >= 0) & (place < size), place * step, _OUTSIDE)
        for place, size, step in ((down, c.x[2], c.x[3] * pixel), (across, c.x[3], pixel))
    ]
    return tables[0], tables[1]


def _filter_tiles(c: Convolution, x: Array, w: Array, bias: Array | None) -> Array:
    (images, channels, height, width), source = c.x, turned(x)
    down, across = _plan_tiles(c, x.itemsize)
    kind = np.dtype(np.float32) if x.dtype in _NARROW else x.dtype
    taps = math.prod(c.w[2:])
    weights = _as(contiguous(w.reshape(channels, taps).T), kind)
    zeros = np.zeros(channels, x.dtype)
    allocator.prepare(images * math.prod(c.out) * channels * x.itemsize)
    out = np.empty((images, *c.out, channels), x.dtype)
    # Beside numbers that are widened, only the fewer sums fit the registers.
    sizes = depthwise.COLUMNS[1:] if kind != x.dtype else depthwise.COLUMNS
    together = min((n for n in sizes if n <= c.out[1]), key=lambda n: -(-c.out[1] // n) * n)
    places = np.empty(threads.get_num_threads() * c.w[2] * len(across), np.int64)
    depthwise.filter_tiles(
        images * c.out[0], c.out[1] * channels * taps, source, weights,
        bias if bias is None else bias.astype(kind), out, down, across, places,
        _address(source), height * width * channels * x.itemsize, _address(zeros), *c.out,
        channels, len(across), *c.w[2:], c.stride[1], c.dilation[1], together,
    )  # fmt: skip
    return np.moveaxis(out, -1, 1)


def _address(x: Array) -> int:
    return int(x.__array_interface__["data"][0])


def depthwise_backward_weight(c: Convolution, g: Array, x: Array) -> Array:
    """The gradient of the weight, (C, 1, *kernel)."""
    p, source, given = _plan_taps(c, x.itemsize, False), turned(x), turned(g)
    kind = np.dtype(np.float32) if x.dtype in _NARROW else x.dtype
    zeros = np.zeros(p.channels, x.dtype)
    rows, band = c.x[0] * p.rows, max(1, _BAND // p.columns)
    bands = -(-rows // band)
    sums = np.zeros((bands, p.taps, p.channels), kind)
    cost = 3 * band * p.columns * p.channels * p.taps
    depthwise.channel_weight_gradient(
        bands, cost, source, given, sums, p.down, p.across, _address(source), p.image,
        _address(zeros), p.rows, p.columns, p.channels, p.taps, rows, band, _together(c),
    )  # fmt: skip
    total = np.add.reduce(sums, 0, np.float64).astype(x.dtype)
    return np.ascontiguousarray(total.T).reshape(c.w)
