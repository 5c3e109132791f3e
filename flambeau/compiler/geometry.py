"""Where a convolution reads and writes: tables over vectors of consecutive output pixels.

Images of a set lie one after the other, and so do their pixels; a vector takes the next `lanes` of
them. Where consecutive pixels do not read consecutive inputs (a new row whose length differs, a
new image) the vector falls in segments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]
Array = np.ndarray


class Tap(NamedTuple):
    """One position of the kernel: which plane it reads, shifted by how much, and its number."""

    plane: int
    shift: Shape
    number: int


class Table(NamedTuple):
    """What holds for vectors v of pixels, their segments s, and taps t.

    `starts[v, s]` in the input, `masks[v, s, t]` of lanes, `outs[v, s]` as (offset, mask) in the
    output; and for each panel of vectors whether it is `whole`.
    """

    vectors: int
    starts: Array
    masks: Array
    outs: Array
    whole: Array


def strides_of(shape: Sequence[int]) -> Shape:
    """The strides in elements of an array of `shape` without gaps."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def tabulate(
    out_shape: Shape, in_shape: Shape, taps: Sequence[Tap], images: int, x_image: int,
    y_image: int, lanes: int, panel: int,
) -> Table:  # fmt: skip
    """The table for `images` images whose outputs and inputs are `y_image` and `x_image` apart.

    A tap reads the input at the pixel's own position plus its shift, or zero outside `in_shape`.
    """
    pixels = math.prod(out_shape)
    vectors = -(-images * pixels // lanes)
    total = -(-vectors // panel) * panel * lanes
    q = np.arange(total)
    valid = q < images * pixels
    image, pixel = np.divmod(np.where(valid, q, 0), pixels)
    place = np.unravel_index(pixel, out_shape)
    flat = image * x_image + sum(c * s for c, s in zip(place, strides_of(in_shape), strict=True))
    starts, lanes_in = _segment(flat, valid, lanes)
    inside = np.empty((len(taps), total), bool)
    for t, tap in enumerate(taps):
        inside[t] = valid
        for c, shift, extent in zip(place, tap.shift, in_shape, strict=True):
            inside[t] &= (c + shift >= 0) & (c + shift < extent)
    bits = _bits(inside.reshape(len(taps), -1, lanes)).T
    masks = bits[:, None, :] & lanes_in[:, :, None]
    out_starts, lanes_out = _segment(image * y_image + pixel, valid, lanes)
    whole = _find_whole(out_starts, lanes_out, lanes, panel, vectors)
    outs = np.stack([out_starts, lanes_out], -1)
    return Table(
        vectors, np.ascontiguousarray(starts), np.ascontiguousarray(masks, np.int32),
        np.ascontiguousarray(outs), whole,
    )  # fmt: skip


def tabulate_squares(out_shape: Shape, images: int, y_image: int, lanes: int, panel: int) -> Array:
    """Where the pixels of vectors of 2x2 tiles of an output plane go, as (offset, mask).

    The result is indexed by vector, row of pixels, half of the vector, and segment.
    """
    grid = tuple(-(-e // 2) for e in out_shape)
    tiles = math.prod(grid)
    vectors = -(-images * tiles // lanes)
    q = np.arange(-(-vectors // panel) * panel * lanes)
    valid = q < images * tiles
    image, tile = np.divmod(np.where(valid, q, 0), tiles)
    places = []
    for row in range(2):
        y = 2 * (tile // grid[1])[:, None] + row
        x = 2 * (tile % grid[1])[:, None] + np.arange(2)
        inside = (valid[:, None] & (y < out_shape[0]) & (x < out_shape[1])).ravel()
        flat = (image[:, None] * y_image + y * out_shape[1] + x).ravel()
        places.append(_segment(flat, inside, lanes))
    count = max(starts.shape[1] for starts, _ in places)
    outs = np.zeros((len(q) // lanes, 2, 2, count, 2), np.int64)
    for row, pair in enumerate(places):
        for i, values in enumerate(pair):
            outs[:, row, :, : values.shape[1], i] = values.reshape(len(outs), 2, -1)
    return outs


def _bits(lanes_set: Array) -> Array:
    """The integers whose bits are the last axis."""
    weights = 1 << np.arange(lanes_set.shape[-1], dtype=np.int64)
    return (lanes_set * weights).sum(-1)


def _segment(flat: Array, valid: Array, lanes: int) -> tuple[Array, Array]:
    """Cut vectors of positions in runs of consecutive ones: their starts less the lane, masks."""
    rows, ok = flat.reshape(-1, lanes), valid.reshape(-1, lanes)
    breaks = np.zeros(rows.shape, np.int64)
    breaks[:, 1:] = ok[:, 1:] & ((rows[:, 1:] != rows[:, :-1] + 1) | ~ok[:, :-1])
    number = breaks.cumsum(1)
    count = int(number.max()) + 1
    starts = np.zeros((len(rows), count), np.int64)
    masks = np.zeros((len(rows), count), np.int64)
    for s in range(count):
        mine = (number == s) & ok
        masks[:, s] = _bits(mine)
        lane = mine.argmax(1)
        starts[:, s] = rows[np.arange(len(rows)), lane] - lane
    return starts, masks


def _find_whole(starts: Array, masks: Array, lanes: int, panel: int, vectors: int) -> Array:
    """For each panel, 1 if its vectors are all full and follow each other in the output."""
    full = (1 << lanes) - 1
    good = np.zeros(-(-vectors // panel), np.int64)
    for j in range(len(good)):
        mine = slice(j * panel, min((j + 1) * panel, vectors))
        runs = starts[mine, 0] == starts[j * panel, 0] + lanes * np.arange(len(starts[mine]))
        good[j] = bool((masks[mine, 0] == full).all() and runs.all())
    return good


def group_images(count: int, pixels: int, lanes: int, limit: int = 4096) -> int:
    """How many images share vectors: a divisor of `count` that fills them best."""
    best, best_use = 1, pixels / (-(-pixels // lanes) * lanes)
    for images in range(2, count + 1):
        if count % images or images * pixels > limit:
            continue
        use = images * pixels / (-(-images * pixels // lanes) * lanes)
        if use > best_use + 0.02:
            best, best_use = images, use
    return best
