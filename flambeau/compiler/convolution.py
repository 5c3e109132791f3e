"""Convolution as an implicit matrix product: the result's pixels are the columns of B.

A panel of B holds, for one vector after another of consecutive pixels, what each (channel, tap)
reads for them: a masked load, since consecutive pixels read consecutive inputs, and lanes that
fall in the padding are masked out. The input itself is never padded or unfolded in memory. Tables
made beforehand (see `geometry`) say where vectors begin and which lanes of them each tap reads.
"""

from __future__ import annotations

from llvmlite import ir

from .microkernel import (
    Tile,
    build_offset_tile,
    build_scatter,
    lower_bound,
    offset_heights,
    tile_for,
)
from .packing import PACK
from .planes import SPLIT_STEPS, build_copy, build_split, build_swap
from .routines import declare
from .target import Target
from .vectors import I64, PTR, ChunkKernel, Index, Value, Writer

# The pointers that ``conv_forward`` takes: weights, input, output, bias or null, scratch memory,
# the integers below; where each row of weights begins and where each step (channel, tap) of the
# depth lies in it; where each tap lies in the input; for each vector of pixels where its segments
# begin in the input, which lanes of them each tap reads, and where they go in the output; for each
# panel whether it is written whole.
FORWARD_POINTERS = (
    "weights", "x", "y", "bias", "work", "plan", "rows", "depths", "taps", "starts", "masks",
    "outs", "whole",
)  # fmt: skip

# Rows and channels of one group; taps; channels of a block of the depth; strides in the input
# between channels, groups and sets of images, in the output between rows, groups and sets, in the
# weights between groups; how many groups, sets and vectors of pixels there are; chunks of a set's
# pixels; pieces of the rows; segments of a vector in the input and the
# output; scratch elements of one thread; whether results below zero become zero.
FORWARD_PLAN = (
    "m", "channels", "n_taps", "c_block", "x_channel", "x_group", "x_set", "y_row", "y_group",
    "y_set", "w_group", "groups", "sets", "vectors", "blocks", "m_parts", "segments",
    "out_segments", "scratch", "relu",
)  # fmt: skip

# The same for ``conv_weight``: padded input, gradient of the output, transposed gradient of the
# weights, null, scratch; rows are (channel, tap) and begin in the input; depths are pixels.
WEIGHT_POINTERS = ("x", "g", "dw", "none", "work", "plan", "rows", "depths")
WEIGHT_PLAN = (
    "n_rows", "m", "dw_row", "dw_group", "x_group", "x_set", "g_image", "g_group", "pixels",
    "images", "sets", "p_block", "groups", "panels", "row_parts", "scratch",
)  # fmt: skip

ROUTINES = (PACK,)


def build_convolution(dtype: str, target: Target) -> ir.Module:
    """The module with ``conv_forward``, ``conv_weight``, ``conv_turn`` and ``conv_copy``."""
    module = ir.Module(f"convolution_{dtype}")
    tile = tile_for(dtype, target)
    scatter = build_scatter(module, tile)
    tiles = {
        (h, v): build_offset_tile(module, tile, h, v, scatter)
        for h in offset_heights(tile)
        for v in range(1, tile.vectors + 1)
    }
    _build_forward(module, tile, tiles)
    pack = declare(module, tile, PACK)
    _build_weight(module, tile, tiles, pack)
    _build_turn(module, tile, pack)
    build_copy(module, tile)
    for step in SPLIT_STEPS:
        build_split(module, tile, step)
    build_swap(module, tile)
    return module


Tiles = dict[tuple[int, int], ir.Function]


def _call_tile(
    w: Writer, tile: Tile, tiles: Tiles, rows: Value, vectors: Value, arguments: list[Value]
) -> None:
    """Call the tile made for as many rows and vectors as there are."""
    w.switch(
        vectors,
        range(1, tile.vectors + 1),
        lambda v: w.switch(
            rows, offset_heights(tile), lambda h: w.b.call(tiles[h, v], [*arguments, rows])
        ),
    )


# Packing pixels -----------------------------------------------------------------------------------


# Segments a vector, up to which unfolding is made for exactly so many.
_FEW_SEGMENTS = 3


def build_unfold(module: ir.Module, tile: Tile, exact: int) -> ir.Function:
    """``unfold``: pack a panel of B: the input's channels and taps for `tile.vectors` vectors.

    Takes the input, the stride between channels and how many, the taps and how many, the vectors'
    starts and masks, segments a vector (`exact` unless that is 0), and the panel.
    """
    types = [PTR, I64, I64, PTR, I64, PTR, PTR, I64, PTR]
    w = Writer(module, f"unfold_{exact}", types, tile.form)
    w.no_alias(8)
    x, x_channel, channels, taps, n_taps, starts, masks, segments, panel = w.arguments
    count = w.i(exact) if exact else segments
    with w.loop(0, channels) as c:
        channel = w.at(x, w.mul(c.index, x_channel))
        with w.loop(0, n_taps) as t:
            tap = w.word(taps, t.index)
            step = w.add(w.mul(c.index, n_taps), t.index)
            row = w.at(panel, w.mul(step, tile.columns))
            for v in range(tile.vectors):
                first = w.mul(count, v)

                def segment(
                    s: Index, otherwise: Value | None, first: Value = first, c: Value = channel,
                    t: Value = t.index, tap: Value = tap,
                ) -> Value:  # fmt: skip
                    at = w.add(first, s)
                    mask = w.mask_bits(w.small_word(masks, w.add(w.mul(at, n_taps), t)))
                    return w.load_masked(w.at(c, w.word(starts, at), tap), mask, otherwise)

                loaded = segment(0, None)
                for s in range(1, exact):
                    loaded = segment(s, loaded)
                if not exact:
                    with w.loop(1, segments, carried=[loaded]) as rest:
                        rest.next = [segment(rest.index, rest.carried[0])]
                    loaded = rest.carried[0]
                w.b.store(loaded, w.at(row, v * tile.lanes), align=w.size)
    return w.finish()


# The convolution itself ---------------------------------------------------------------------------


def _build_forward(module: ir.Module, tile: Tile, tiles: Tiles) -> ir.Function:
    """``conv_forward``: a chunk is some panels of pixels of one set and group, for some rows."""
    unfold = [build_unfold(module, tile, n) for n in range(_FEW_SEGMENTS + 1)]
    k = ChunkKernel(module, tile.form, "conv_forward", FORWARD_POINTERS, FORWARD_PLAN)
    w, p, v = k.w, k.p, k.v
    set_, group, block, part = k.split(v["groups"], v["blocks"], v["m_parts"])
    x = w.at(p["x"], w.mul(set_, v["x_set"]), w.mul(group, v["x_group"]))
    y = w.at(p["y"], w.mul(set_, v["y_set"]), w.mul(group, v["y_group"]))
    weights = w.at(p["weights"], w.mul(group, v["w_group"]))
    m0, m1 = w.share(v["m"], tile.rows, v["m_parts"], part)
    bias = w.b.select(w.is_null(p["bias"]), p["bias"], w.at(p["bias"], w.mul(group, v["m"])))
    panel = w.at(p["work"], w.mul(k.thread, v["scratch"]))
    panels = w.div(w.add(v["vectors"], tile.vectors - 1), tile.vectors)
    j0, j1 = w.share(panels, 1, v["blocks"], block)
    with w.loop(0, v["channels"], v["c_block"]) as cb:
        channels = w.min(w.sub(v["channels"], cb.index), v["c_block"])
        depth = w.mul(cb.index, v["n_taps"])
        with w.loop(j0, j1) as j:
            at = w.mul(j.index, tile.vectors)
            starts = w.words(p["starts"], w.mul(at, v["segments"]))
            entry = w.mul(w.mul(at, v["segments"]), v["n_taps"])
            masks = w.small_words(p["masks"], entry)
            arguments = [
                w.at(x, w.mul(cb.index, v["x_channel"])), v["x_channel"], channels, p["taps"],
                v["n_taps"], starts, masks, v["segments"], panel,
            ]  # fmt: skip
            w.choose(
                w.lt(_FEW_SEGMENTS, v["segments"]),
                lambda a=arguments: w.b.call(unfold[0], a),
                lambda a=arguments: w.switch(
                    v["segments"],
                    range(1, _FEW_SEGMENTS + 1),
                    lambda n: w.b.call(unfold[n], a),
                ),
            )
            vectors = w.min(w.sub(v["vectors"], at), tile.vectors)
            outs = w.words(p["outs"], w.mul(w.mul(at, v["out_segments"]), 2))
            whole = w.word(p["whole"], j.index)
            start = w.b.select(w.eq(whole, 0), w.i(0), w.word(outs))
            first = w.b.zext(w.eq(cb.index, 0), I64)
            last = w.eq(w.add(cb.index, channels), v["channels"])
            low = lower_bound(w, w.b.and_(last, k.is_on("relu")))
            with w.loop(m0, m1, tile.rows) as i:
                here = w.b.select(w.is_null(bias), bias, w.at(bias, i.index))
                c = w.at(y, w.mul(i.index, v["y_row"]), start)
                rows = w.min(w.sub(m1, i.index), tile.rows)
                _call_tile(w, tile, tiles, rows, vectors, [
                    w.mul(channels, v["n_taps"]), weights, w.words(p["rows"], i.index),
                    w.words(p["depths"], depth), panel, c, v["y_row"], here, first, whole, outs,
                    v["out_segments"], low,
                ])  # fmt: skip
    return w.finish()


# The gradient of the weights ----------------------------------------------------------------------


def _build_weight(module: ir.Module, tile: Tile, tiles: Tiles, pack: ir.Function) -> ir.Function:
    """``conv_weight``: a chunk is a panel of output channels and some (channel, tap) rows.

    Rows read the padded input number by number; the gradient of the output is transposed into
    panels, block after block of pixels.
    """
    k = ChunkKernel(module, tile.form, "conv_weight", WEIGHT_POINTERS, WEIGHT_PLAN)
    w, p, v = k.w, k.p, k.v
    group, column, part = k.split(v["panels"], v["row_parts"])
    r0, r1 = w.share(v["n_rows"], tile.rows, v["row_parts"], part)
    m0 = w.mul(column, tile.columns)
    columns = w.min(w.sub(v["m"], m0), tile.columns)
    vectors = w.div(w.add(columns, tile.lanes - 1), tile.lanes)
    panel = w.at(p["work"], w.mul(k.thread, v["scratch"]))
    dw = w.at(p["dw"], w.mul(group, v["dw_group"]), m0)
    null = ir.Constant(PTR, None)
    with w.loop(0, v["sets"]) as s, w.loop(0, v["pixels"], v["p_block"]) as pb:
        count = w.min(w.sub(v["pixels"], pb.index), v["p_block"])
        x = w.at(p["x"], w.mul(s.index, v["x_set"]), w.mul(group, v["x_group"]))
        with w.loop(0, v["images"]) as n:
            image = w.add(w.mul(s.index, v["images"]), n.index)
            g = w.at(
                p["g"], w.mul(image, v["g_image"]), w.mul(group, v["g_group"]),
                w.mul(m0, v["pixels"]), pb.index,
            )  # fmt: skip
            rows = w.at(panel, w.mul(w.mul(n.index, count), tile.columns))
            width = w.i(tile.columns)
            w.b.call(pack, [g, v["pixels"], w.i(1), count, columns, width, rows])
        first = w.b.zext(w.b.and_(w.eq(s.index, 0), w.eq(pb.index, 0)), I64)
        with w.loop(r0, r1, tile.rows) as r:
            height = w.min(w.sub(r1, r.index), tile.rows)
            _call_tile(w, tile, tiles, height, vectors, [
                w.mul(count, v["images"]), x, w.words(p["rows"], r.index),
                w.words(p["depths"], pb.index), panel,
                w.at(dw, w.mul(r.index, v["dw_row"])), v["dw_row"], null, first, w.i(1), null,
                w.i(0), ir.Constant(w.scalar, float("-inf")),
            ])  # fmt: skip
    return w.finish()


TURN_POINTERS = ("source", "result", "plan")
TURN_PLAN = ("n_rows", "columns", "source_row", "parts")


def _build_turn(module: ir.Module, tile: Tile, pack: ir.Function) -> ir.Function:
    """``conv_turn``: transpose matrices, each chunk some columns of one."""
    k = ChunkKernel(module, tile.form, "conv_turn", TURN_POINTERS, TURN_PLAN)
    w, p, v = k.w, k.p, k.v
    matrix, part = k.split(v["parts"])
    low, high = w.share(v["columns"], tile.lanes, v["parts"], part)
    source = w.at(p["source"], w.mul(matrix, w.mul(v["n_rows"], v["source_row"])), low)
    result = w.at(p["result"], w.mul(v["n_rows"], w.add(w.mul(matrix, v["columns"]), low)))
    with w.b.if_then(w.lt(low, high)):
        w.b.call(
            pack,
            [source, v["source_row"], w.i(1), w.sub(high, low), v["n_rows"], v["n_rows"], result],
        )
    return w.finish()
