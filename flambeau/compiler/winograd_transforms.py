"""The transforms of minimal filtering, and what gathers the tiles of images for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from llvmlite import ir

from .filtering import Filtering, Layout, Terms, lay_apart
from .microkernel import Tile, tile_for
from .target import Target
from .vectors import I64, PTR, Index, Value, Writer


def gap(tile: Tile) -> int:
    """What is left free after each position: lines 4096 bytes apart fight for one cache set."""
    return 3 * tile.lanes


def extent_of(layout: Layout, tile: Tile, channels: int, width: int) -> int:
    """How many elements the transforms of `width` tiles or filters of `channels` channels take."""
    return sum(layout.parts) * channels * width + len(layout.parts) * gap(tile)


def transform(w: Writer, square: Sequence[Value], lines: Sequence[Sequence[Terms]]) -> list[Value]:
    """Replace, dimension by dimension, each line of values by the sums that `lines` asks for."""
    shape = [1 + max(i for terms in line for i, _ in terms) for line in lines]
    values = np.empty(shape, object)
    for at, value in zip(np.ndindex(*shape), square, strict=True):
        values[at] = value
    for axis in reversed(range(len(lines))):
        rows = np.moveaxis(values, axis, -1)
        result = np.empty((*rows.shape[:-1], len(lines[axis])), object)
        for at in np.ndindex(*rows.shape[:-1]):
            known: dict[Terms, Value] = {}
            for i, terms in enumerate(lines[axis]):
                result[(*at, i)] = _add_up(w, list(rows[at]), terms, known)
        values = np.moveaxis(result, -1, axis)
    return list(values.ravel())


def _add_up(w: Writer, values: Sequence[Value], terms: Terms, known: dict[Terms, Value]) -> Value:
    """The sum that `terms` asks for; sums that begin alike share that beginning."""
    total = None
    for size in dict.fromkeys(abs(factor) for _, factor in terms):
        same = tuple((i, factor) for i, factor in terms if abs(factor) == size)
        for n, (i, factor) in enumerate(same, 1):
            if same[:n] in known:
                continue
            if n > 1:
                add = w.b.fadd if factor > 0 else w.b.fsub
                known[same[:n]] = add(known[same[: n - 1]], values[i])
            else:
                known[same[:n]] = values[i] if factor > 0 else w.b.fneg(values[i])
        x = known[same]
        x = x if size == 1 else w.b.fmul(x, w.splat(ir.Constant(w.scalar, size)))
        total = x if total is None else w.b.fadd(total, x)
    assert total is not None
    return total


def turn(lines: list[list[Terms]]) -> list[list[Terms]]:
    """The transposes of the matrices that `lines` give row by row."""
    turned = []
    for rows in lines:
        count = 1 + max(i for terms in rows for i, _ in terms)
        columns: list[list[tuple[int, float]]] = [[] for _ in range(count)]
        for row, terms in enumerate(rows):
            for i, factor in terms:
                columns[i].append((row, factor))
        turned.append([tuple(terms) for terms in columns])
    return turned


def position_of(
    w: Writer, tile: Tile, layout: Layout, p: Value, e: int, channels: Value, width: int
) -> Value:
    """Where position `e` begins in what `store_products` writes at `p`."""
    return w.at(p, w.mul(channels, sum(layout.parts[:e]) * width), e * gap(tile))


def store_products(
    w: Writer, tile: Tile, layout: Layout, values: list[Value], to: Value, channels: Value,
    channel: Value, width: int,
) -> None:  # fmt: skip
    """Store the factors of one vector, for one of `channels` channels, rows `width` apart."""
    for (e, part), value in zip(layout.places, values, strict=True):
        start = position_of(w, tile, layout, to, e, channels, width)
        row = w.mul(channel, layout.parts[e] * width)
        w.b.store(value, w.at(start, row, part * width), align=w.size)


# A gather transforms what the tiles of a panel read, to ``[position][channel][part][tile]``. It
# takes the input, the stride between channels, the first channel, the last, and how many there are;
# where the values of a tile lie, the vectors' starts and masks, segments a vector, the vectors, and
# the result.
_TYPES = (PTR, I64, I64, I64, I64, PTR, PTR, PTR, I64, I64, PTR)
# The most segments a vector for which gathers are made for exactly so many.
MOST_EXACT = 4


def call_gather(w: Writer, gather: Value, arguments: list[Value]) -> None:
    """Call the gather at the address `gather`."""
    w.call_at(gather, _TYPES, arguments)


def build_gather(
    dtype: str, target: Target, form: Filtering, side: str, segments: int
) -> ir.Module:
    """The module with ``gather``, for so many segments a vector, or for any number if that is 0.

    `side` is what it reads, "inputs" or "gradients" of outputs; from "inputs apart", every product
    gets a position of its own.
    """
    module, tile = ir.Module(f"gather_{dtype}"), tile_for(dtype, target)
    if side == "gradients":
        lines = turn([list(line.outputs) for line in form.lines])
        layout, reads = lay_apart(len(form.layout.parts)), math.prod(form.tile)
    else:
        lines = [[p.inputs for p in line.products] for line in form.lines]
        layout = form.layout if side == "inputs" else lay_apart(form.products)
        reads = math.prod(form.reads)
    w = Writer(module, "gather", _TYPES, tile.form, public=True)
    w.no_alias(10)
    x, x_channel, low, high, channels, places, starts, masks, count, vectors, result = w.arguments
    with w.loop(low, high) as c, w.loop(0, vectors) as n:
        channel = w.at(x, w.mul(c.index, x_channel))
        first = w.mul(n.index, segments or count)
        values = [
            _read(w, (channel, places, starts, masks), first, count, t, reads, segments)
            for t in range(reads)
        ]
        to = w.at(result, w.mul(n.index, tile.lanes))
        values = transform(w, values, lines)
        store_products(w, tile, layout, values, to, channels, c.index, tile.columns)
    w.finish()
    return module


def _read(
    w: Writer, source: tuple[Value, ...], first: Value, count: Value, t: int, reads: int, exact: int
) -> Value:
    """A vector's input `t`: its segments, `exact` of them or `count`, from the `first` on."""
    channel, places, starts, masks = source
    place = w.word(places, t)

    def segment(s: Index, otherwise: Value | None) -> Value:
        at = w.add(first, s)
        mask = w.mask_bits(w.small_word(masks, w.add(w.mul(at, reads), t)))
        return w.load_masked(w.at(channel, w.word(starts, at), place), mask, otherwise)

    loaded = segment(0, None)
    for s in range(1, exact):
        loaded = segment(s, loaded)
    if exact:
        return loaded
    with w.loop(1, count, carried=[loaded]) as rest:
        rest.next = [segment(rest.index, rest.carried[0])]
    return rest.carried[0]
