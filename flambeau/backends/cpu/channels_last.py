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
from .convolution_source import Array, Convolution
from .layout import assign, cast, contiguous
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
def _plan(c: Convolution) -> _Plan | None:
    """How to do a convolution in two dimensions; None where channels first is the better way."""
    if len(c.out) != 2 or 0 in c.x or 0 in c.w or 0 in c.out:
        return None
    channels, outputs = c.w[1], c.w[0] // c.groups
    if channels < 16 or (c.groups > 1 and min(channels, outputs) < 64):
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
    return _serves(c, dtype) and not _filters(c, dtype, winograd_plans.pays)


def serves_backward_input(c: Convolution, dtype: Any) -> bool:
    """Whether `backward_input` is."""
    ahead = mirrored(c)
    return ahead is not None and serves_forward(ahead, dtype)


def serves_backward_weight(c: Convolution, dtype: Any) -> bool:
    """Whether `backward_weight` is."""
    return _serves(c, dtype) and not _filters(c, dtype, winograd_plans.pays_weight)


def _serves(c: Convolution, dtype: Any) -> bool:
    return dtype in KINDS and jit.available() and _plan(c) is not None


def _filters(c: Convolution, dtype: Any, pays: Callable[[Filter, str], bool]) -> bool:
    if not winograd_plans.is_plain(c):
        return False
    f = winograd_plans.read_forward(c)
    name = "float64" if dtype == np.float64 else "float32"
    return winograd_plans.applies(f) and pays(f, name)


def forward(c: Convolution, x: Array, w: Array, bias: Array | None) -> Array:
    """The output, (N, M, *spatial) with its channels last in memory."""
    p = _plan(c)
    assert p is not None
    source = turned(x)
    kind = np.dtype(np.float32) if x.dtype in _NARROW else x.dtype
    narrow = kind != x.dtype
    matrix = _panels(_as(w, kind).transpose(2, 3, 1, 0), p, kind)
    return _multiply(c, p, source, matrix, bias if bias is None else bias.astype(kind), narrow)


def _as(w: Array, kind: Any) -> Array:
    return w if w.dtype == kind else cast(contiguous(w), kind)


def _panels(w: Array, p: _Plan, kind: Any) -> Array:
    """Weights (height, width, channels, all outputs) as (groups, panels, depth, COLUMNS)."""
    panels, wide = -(-p.outputs // kernels.COLUMNS), kernels.COLUMNS
    allocator.prepare(w.size * kind.itemsize)
    full = np.empty((p.depth, p.groups, p.outputs), kind)
    assign(full.reshape(w.shape), w)
    out = np.empty((p.groups, panels, p.depth, wide), kind)
    for j in range(panels):
        count = min(wide, p.outputs - j * wide)
        assign(out[:, j, :, :count], full[:, :, j * wide : j * wide + count].swapaxes(0, 1))
    return out


def _multiply(
    c: Convolution, p: _Plan, x: Array, matrix: Array, bias: Array | None, narrow: bool
) -> Array:
    panels, count = matrix.shape[1], threads.get_num_threads()
    allocator.prepare(p.pixels * c.w[0] * x.itemsize)
    out = np.empty((c.x[0], *c.out, c.w[0]), x.dtype)
    block = min(_BLOCK, p.pixels)
    items = -(-p.pixels // block) * p.groups
    parts = min(panels, max(1, -(-2 * count // items)))
    in_place = p.in_place and not narrow
    deep = p.together * int(p.shape[kernels.UNIT])
    work = np.empty(count * block * (deep + panels * kernels.COLUMNS), matrix.dtype)
    cost = block * p.depth * -(-panels // parts) * kernels.COLUMNS // 2
    kernels.convolve(
        items * parts, cost, x, matrix, bias, out, work, p.shape, p.pixels, block, parts, p.depth,
        p.together, p.groups, panels, in_place, narrow,
    )  # fmt: skip
    return np.moveaxis(out, -1, 1)


def backward_weight(c: Convolution, g: Array, x: Array) -> Array:
    """The gradient of the weight, (M, C / groups, *kernel)."""
    p = _plan(c)
    assert p is not None
    kind = np.dtype(np.float32) if x.dtype in _NARROW else x.dtype
    narrow, count = kind != x.dtype, threads.get_num_threads()
    width = min(_WIDTH, p.outputs)
    column_parts = -(-p.outputs // width)
    together = min(p.together, max(1, _HEIGHT // int(p.shape[kernels.UNIT])))
    unit_parts = -(-int(p.shape[kernels.UNITS]) // together)
    block = min(_LONG, p.pixels)
    tasks = p.groups * unit_parts * column_parts
    # Fixed by the sizes alone, so that the sums do not depend on the number of threads.
    parts = min(-(-p.pixels // (4 * block)), max(1, 8 // tasks))
    sums = np.empty((parts, p.groups, p.depth, p.outputs), kind)
    deep = together * int(p.shape[kernels.UNIT])
    work = np.empty(count * block * (deep + width), kind)
    kernels.weight_gradient(
        parts * tasks, p.pixels // parts * deep * width // 2, turned(x), turned(g), sums, work,
        p.shape, p.pixels, block, parts, p.depth, together, p.groups, width, column_parts,
        p.in_place and not narrow, narrow,
    )  # fmt: skip
    total = sums[0] if parts == 1 else np.add.reduce(sums, 0)
    made = np.empty(c.w, kind)
    kh, kw = c.w[2:]
    shape = (p.groups, kh, kw, c.w[1], p.outputs)
    target = made.reshape(p.groups, p.outputs, c.w[1], kh, kw).transpose(0, 3, 4, 2, 1)
    assign(target, total.reshape(shape))
    return made.astype(x.dtype, copy=False)


def backward_input(c: Convolution, g: Array, w: Array) -> Array:
    """The gradient of the input, (N, C, *spatial) with its channels last in memory."""
    turned_c = mirrored(c)
    p = None if turned_c is None else _plan(turned_c)
    assert turned_c is not None
    assert p is not None
    kind = np.dtype(np.float32) if g.dtype in _NARROW else g.dtype
    grouped = _as(w, kind).reshape(c.groups, p.depth // math.prod(c.w[2:]), *c.w[1:])[
        ..., ::-1, ::-1
    ]
    # (groups, outputs, channels, height, width) to (height, width, outputs, groups * channels)
    matrix = grouped.transpose(3, 4, 1, 0, 2).reshape(*c.w[2:], -1, c.x[1])
    return _multiply(turned_c, p, turned(g), _panels(matrix, p, kind), None, kind != g.dtype)


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
        table = np.where(inside, place * step, -(2**60))
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
    p, source = _plan_taps(c, x.itemsize, back), turned(x)
    kind = np.dtype(np.float32) if x.dtype in _NARROW else x.dtype
    weights = np.ascontiguousarray(w.reshape(p.channels, p.taps).T, kind)
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
