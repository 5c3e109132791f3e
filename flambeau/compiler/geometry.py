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


class Reads(NamedTuple):
    """How pixels read: the input's extents, strides in elements, the distance of planes, taps.

    A pixel's own position is its place in each dimension times `scales`.
    """

    extents: Shape
    steps: Shape
    scales: Shape
    plane: int
    taps: Sequence[Tap]

    def offsets(self) -> Array:
        """Where each tap reads, from a pixel's own position in the first plane."""
        return np.array(
            [
                t.plane * self.plane + sum(a * b for a, b in zip(t.shift, self.steps, strict=True))
                for t in self.taps
            ],
            np.int64,
        )


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
    out_shape: Shape, reads: Reads, images: int, x_image: int, y_image: int, lanes: int,
    panel: int,
) -> Table:  # fmt: skip
    """The table for `images` images whose outputs and inputs are `y_image` and `x_image` apart.

    A tap reads the input at the pixel's own position plus its shift, or zero outside of it.
    """
    pixels = math.prod(out_shape)
    vectors = -(-images * pixels // lanes)
    total = -(-vectors // panel) * panel * lanes
    q = np.arange(total)
    valid = q < images * pixels
    image, pixel = np.divmod(np.where(valid, q, 0), pixels)
    place = [
        c * scale for c, scale in zip(np.unravel_index(pixel, out_shape), reads.scales, strict=True)
    ]
    flat = image * x_image + sum(c * s for c, s in zip(place, reads.steps, strict=True))
    starts, lanes_in = _segment(flat, valid, lanes)
    inside = np.empty((len(reads.taps), total), bool)
    for t, tap in enumerate(reads.taps):
        inside[t] = valid
        for c, shift, extent in zip(place, tap.shift, reads.extents, strict=True):
            inside[t] &= (c + shift >= 0) & (c + shift < extent)
    bits = _bits(inside.reshape(len(reads.taps), -1, lanes)).T
    masks = bits[:, None, :] & lanes_in[:, :, None]
    out_starts, lanes_out = _segment(image * y_image + pixel, valid, lanes)
    whole = _find_whole(out_starts, lanes_out, lanes, panel, vectors)
    outs = np.stack([out_starts, lanes_out], -1)
    return Table(
        vectors, np.ascontiguousarray(starts), np.ascontiguousarray(masks, np.int32),
        np.ascontiguousarray(outs), whole,
    )  # fmt: skip


def tabulate_rows(out_shape: Shape, row: int, lanes: int, panel: int) -> tuple[Array, Array]:
    """For panels of vectors that lie below each other, in a plane with `row` inputs a row: starts.

    And outs: `outs[v]` is as a table's. The last panels repeat rows of those before; where there
    are fewer rows than a panel has, its other vectors write nothing.
    """
    height, width = out_shape
    tops = np.minimum(np.arange(0, height, panel), max(0, height - panel))
    y, x, down = (v.ravel() for v in np.meshgrid(
        tops, np.arange(0, width, lanes), np.arange(panel), indexing="ij"
    ))  # fmt: skip
    y = y + down
    masks = np.where(y < height, (1 << np.minimum(lanes, width - x)) - 1, 0)
    outs = np.stack([np.where(y < height, y * width + x, 0), masks], -1)
    return y * row + x, np.ascontiguousarray(outs)


def tabulate_tiles(
    out_shape: Shape, tile: Shape, grid: Shape, images: int, y_image: int, lanes: int, panel: int
) -> Array:
    """Where the pixels of a grid of tiles of an output plane go, as (offset, mask).

    A vector of tiles is, for each row of its tiles, as many vectors of pixels as a tile is wide.
    The result is indexed by vector of tiles, vector of pixels, and segment.
    """
    tiles = math.prod(grid)
    vectors = -(-images * tiles // lanes)
    q = np.arange(-(-vectors // panel) * panel * lanes)
    valid = q < images * tiles
    image, number = np.divmod(np.where(valid, q, 0), tiles)
    corner = [c * n for c, n in zip(np.unravel_index(number, grid), tile, strict=True)]
    found = []
    for row in np.ndindex(*tile[:-1]):
        flat, inside = image[:, None] * y_image, valid[:, None]
        shifts = [*row, np.arange(tile[-1])]
        for c, shift, e, stride in zip(
            corner, shifts, out_shape, strides_of(out_shape), strict=True
        ):
            place = c[:, None] + shift
            flat, inside = flat + place * stride, inside & (place < e)
        found.append(_segment(flat.ravel(), inside.ravel(), lanes))
    count = max(starts.shape[1] for starts, _ in found)
    outs = np.zeros((len(q) // lanes, len(found), tile[-1], count, 2), np.int64)
    for i, pair in enumerate(found):
        for kind, values in enumerate(pair):
            shape = (len(outs), tile[-1], values.shape[1])
            outs[:, i, :, : shape[2], kind] = values.reshape(shape)
    return outs.reshape(len(outs), -1, count, 2)


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


def group_images(count: int, pixels: int, lanes: int, panel: int, limit: int = 4096) -> int:
    """How many images share vectors: a divisor of `count` that fills vectors best, and panels."""

    def use(images: int) -> float:
        vectors = -(-images * pixels // lanes)
        # A tile of few vectors reads more numbers a product; one that is full has none of that.
        full, rest = divmod(vectors, panel)
        cost = full * panel + (rest + 1 if rest else 0)
        return images * pixels / (cost * lanes)

    best = 1
    for images in range(2, count + 1):
        if count % images == 0 and images * pixels <= limit and use(images) > use(best) + 0.02:
            best = images
    return best
