"""3x3 convolutions by the minimal filtering algorithm F(2x2, 3x3), with 2.25 times fewer products.

Four by four inputs give two by two outputs through 16 products instead of 36 (Lavin and Gray,
"Fast Algorithms for Convolutional Neural Networks", 2016): input and filter are transformed by
additions, multiplied position by position (16 matrix products over the channels), and transformed
back. Vectors hold consecutive tiles of outputs. The input comes apart by the parity of rows and
columns, so that the 16 inputs of consecutive tiles are consecutive, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from .microkernel import Tile, build_strided_tile, load_bias, tile_for
from .packing import build_pack
from .target import Target
from .vectors import I64, PTR, ChunkKernel, Index, Value, Writer

POSITIONS = 16
_TAPS = 9
# Filters are transformed for so many input channels at a time.
_CHANNELS = 16

FILTER_POINTERS = ("weights", "u", "plan")
# Rows and channels; strides in the weights between them; whether the taps run backwards; chunks.
FILTER_PLAN = ("m", "channels", "row", "depth", "flip", "parts")

WINOGRAD_POINTERS = (
    "u", "x", "y", "bias", "work", "plan", "taps", "starts", "masks", "outs",
)  # fmt: skip
WINOGRAD_PLAN = (
    "m", "channels", "x_channel", "x_set", "y_row", "y_set", "vectors", "blocks", "m_parts",
    "segments", "out_segments", "scratch",
)  # fmt: skip


def filter_block(tile: Tile) -> int:
    """How many rows a block of transformed filters has: whole vectors, and whole tiles."""
    return 3 * tile.lanes


def spread(tile: Tile, extent: Value, w: Writer) -> Value:
    """The distance between two positions that hold `extent` elements each.

    A little more than that: lines at multiples of 4096 bytes fight for one set of the cache.
    """
    return w.add(extent, 3 * tile.lanes)


def build_winograd(dtype: str, target: Target) -> ir.Module:
    """The module with ``winograd_filter`` and ``winograd`` for `dtype` on `target`."""
    module = ir.Module(f"winograd_{dtype}")
    tile = tile_for(dtype, target)
    _build_filter(module, tile, build_pack(module, tile))
    _build_product(module, tile)
    return module


# The three transforms
# --------------------------------------------------------------------------------

Line = Callable[[Writer, Sequence[Value]], list[Value]]


def both_ways(w: Writer, square: list[list[Value]], line: Line) -> list[list[Value]]:
    """Transform the columns of a square of vectors, then its rows."""
    columns = [line(w, column) for column in zip(*square, strict=True)]
    return [line(w, row) for row in zip(*columns, strict=True)]


def _input_line(w: Writer, d: Sequence[Value]) -> list[Value]:
    b = w.b
    return [b.fsub(d[0], d[2]), b.fadd(d[1], d[2]), b.fsub(d[2], d[1]), b.fsub(d[1], d[3])]


def _output_line(w: Writer, m: Sequence[Value]) -> list[Value]:
    b = w.b
    return [b.fadd(b.fadd(m[0], m[1]), m[2]), b.fsub(b.fsub(m[1], m[2]), m[3])]


def _filter_line(w: Writer, g: Sequence[Value]) -> list[Value]:
    b, half = w.b, w.splat(ir.Constant(w.scalar, 0.5))
    ends = b.fadd(g[0], g[2])
    return [g[0], b.fmul(half, b.fadd(ends, g[1])), b.fmul(half, b.fsub(ends, g[1])), g[2]]


# Filters
# -------------------------------------------------------------------------------------------


def _build_filter(module: ir.Module, tile: Tile, pack: ir.Function) -> ir.Function:
    """``winograd_filter``: a chunk is some channels of one block of rows.

    The result lies as ``[position][block of rows][channel][row of the block]``.
    """
    k = ChunkKernel(module, tile.form, "winograd_filter", FILTER_POINTERS, FILTER_PLAN)
    w, p, v = k.w, k.p, k.v
    width = filter_block(tile)
    buffer = w.b.alloca(w.vector, _CHANNELS * _TAPS * 3)
    block, part = k.split(v["parts"])
    low, high = w.share(v["channels"], _CHANNELS, v["parts"], part)
    m0 = w.mul(block, width)
    rows = w.min(w.sub(v["m"], m0), width)
    source = w.at(p["weights"], w.mul(m0, v["row"]))
    blocks = w.div(w.add(v["m"], width - 1), width)
    with w.loop(low, high, _CHANNELS) as cb:
        count = w.min(w.sub(high, cb.index), _CHANNELS)

        def unpack(first: Value, taps: Value, to: Value) -> None:
            here = w.at(source, w.mul(first, v["depth"]))
            w.b.call(pack, [here, v["row"], w.i(1), taps, rows, w.i(width), to])

        def one_by_one(start: Value = cb.index, count: Value = count) -> None:
            with w.loop(0, count) as c:
                to = w.at(buffer, w.mul(c.index, _TAPS * width))
                unpack(w.add(start, c.index), w.i(_TAPS), to)

        w.choose(
            w.eq(v["depth"], _TAPS),
            lambda s=cb.index, n=count: unpack(s, w.mul(n, _TAPS), buffer),
            one_by_one,
        )
        with w.loop(0, count) as c:
            channel = w.mul(w.add(w.mul(block, v["channels"]), w.add(cb.index, c.index)), width)
            taps = w.at(buffer, w.mul(c.index, _TAPS * width))
            step = spread(tile, w.mul(w.mul(blocks, v["channels"]), width), w)
            with w.loop(0, width, w.lanes) as lane:
                _transform_filter(
                    w, w.at(taps, lane.index), width, k.is_on("flip"),
                    w.at(p["u"], channel, lane.index), step,
                )  # fmt: skip
    return w.finish()


def _transform_filter(
    w: Writer, taps: Value, width: int, flip: Value, u: Value, step: Value
) -> None:
    numbers = [w.b.select(flip, w.i((_TAPS - 1 - t) * width), w.i(t * width)) for t in range(_TAPS)]
    loaded = [w.load_vector(w.at(taps, n)) for n in numbers]
    square = both_ways(w, [loaded[i : i + 3] for i in (0, 3, 6)], _filter_line)
    for i, x in enumerate(x for row in square for x in row):
        w.b.store(x, w.at(u, w.mul(step, i)), align=w.size)


# Tiles of inputs, products, tiles of outputs
# ---------------------------------------------------------


def _build_product(module: ir.Module, tile: Tile) -> ir.Function:
    """``winograd``: a chunk is one panel of tiles of one set of images, for some blocks of rows."""
    tiles = {
        (h, n): build_strided_tile(module, tile, h, n)
        for h in tile.heights
        for n in range(1, tile.vectors + 1)
    }
    gather = build_gathers(module, tile, "gather", POSITIONS, transform_input)
    scatter = _build_output(module, tile)
    k = ChunkKernel(module, tile.form, "winograd", WINOGRAD_POINTERS, WINOGRAD_PLAN)
    w, p, v = k.w, k.p, k.v
    set_, panel, part = k.split(v["blocks"], v["m_parts"])
    at = w.mul(panel, tile.vectors)
    vectors = w.min(w.sub(v["vectors"], at), tile.vectors)
    own = w.at(p["work"], w.mul(k.thread, v["scratch"]))
    panels = spread(tile, w.mul(v["channels"], tile.columns), w)
    products = w.at(own, w.mul(panels, POSITIONS))
    first = w.mul(at, v["segments"])
    arguments = [
        w.at(p["x"], w.mul(set_, v["x_set"])), v["x_channel"], v["channels"], p["taps"],
        w.words(p["starts"], first), w.small_words(p["masks"], w.mul(first, POSITIONS)),
        v["segments"], vectors, own,
    ]  # fmt: skip
    call_gather(w, gather, v["segments"], arguments)
    block = filter_block(tile)
    m0, m1 = w.share(v["m"], block, v["m_parts"], part)
    outs = w.words(p["outs"], w.mul(at, w.mul(v["out_segments"], 8)))
    y = w.at(p["y"], w.mul(set_, v["y_set"]))
    with w.loop(m0, m1, block) as i:
        rows = w.min(w.sub(m1, i.index), block)
        _multiply_block(w, tile, tiles, k, own, products, i.index, rows, vectors)
        bias = w.b.select(w.is_null(p["bias"]), p["bias"], w.at(p["bias"], i.index))
        line = w.at(y, w.mul(i.index, v["y_row"]))
        w.b.call(
            scatter, [products, rows, vectors, line, v["y_row"], bias, outs, v["out_segments"]]
        )
    return w.finish()


def _multiply_block(
    w: Writer, tile: Tile, tiles: dict[tuple[int, int], ir.Function], k: ChunkKernel,
    own: Value, products: Value, m0: Value, rows: Value, vectors: Value,
) -> None:  # fmt: skip
    """The products of one block of filters with the panel, position by position."""
    v, block = k.v, filter_block(tile)
    size = w.mul(v["channels"], block)
    blocks = w.div(w.add(v["m"], block - 1), block)
    low = ir.Constant(w.scalar, float("-inf"))
    step = spread(tile, w.mul(size, blocks), w)
    panels = spread(tile, w.mul(v["channels"], tile.columns), w)
    with w.loop(0, POSITIONS) as e:
        filters = w.at(k.p["u"], w.mul(step, e.index), w.mul(size, w.div(m0, block)))
        inputs = w.at(own, w.mul(e.index, panels))
        result = w.at(products, w.mul(e.index, spread(tile, w.i(block * tile.columns), w)))
        with w.loop(0, rows, tile.rows) as i:
            height = w.min(w.sub(rows, i.index), tile.rows)
            arguments = [
                v["channels"], w.at(filters, i.index), w.i(1), w.i(block), inputs,
                w.i(tile.columns), w.at(result, w.mul(i.index, tile.columns)),
                w.i(tile.columns), ir.Constant(PTR, None), w.i(0), low, height,
                w.mul(vectors, tile.lanes),
            ]  # fmt: skip
            w.switch(
                vectors,
                range(1, tile.vectors + 1),
                lambda n, a=arguments, height=height: w.switch(
                    height, tile.heights, lambda h: w.b.call(tiles[h, n], a)
                ),
            )


def build_gather(
    module: ir.Module, tile: Tile, name: str, taps: int, exact: int,
    transform: Callable[[Writer, list[Value]], list[Value]],
) -> ir.Function:  # fmt: skip
    """Transform what a panel of tiles reads, to ``[position][channel][tile]``.

    The function takes the input, the stride between channels and how many, where the values of a
    tile lie, the vectors' starts and masks, segments a vector (`exact` unless that is 0), the
    vectors, and the result.
    """
    types = [PTR, I64, I64, PTR, PTR, PTR, I64, I64, PTR]
    w = Writer(module, f"{name}_{exact}", types, tile.form)
    w.no_alias(8)
    x, x_channel, channels, places, starts, masks, segments, vectors, result = w.arguments
    count = w.i(exact) if exact else segments
    step = spread(tile, w.mul(channels, tile.columns), w)

    def load(channel: Value, first: Value, t: int) -> Value:
        def segment(s: Index, otherwise: Value | None) -> Value:
            at = w.add(first, s)
            mask = w.mask_bits(w.small_word(masks, w.add(w.mul(at, taps), t)))
            return w.load_masked(w.at(channel, w.word(starts, at), place), mask, otherwise)

        place = w.word(places, t)
        loaded = segment(0, None)
        for s in range(1, exact):
            loaded = segment(s, loaded)
        if exact:
            return loaded
        with w.loop(1, segments, carried=[loaded]) as rest:
            rest.next = [segment(rest.index, rest.carried[0])]
        return rest.carried[0]

    with w.loop(0, channels) as c, w.loop(0, vectors) as n:
        channel, first = w.at(x, w.mul(c.index, x_channel)), w.mul(n.index, count)
        to = w.at(result, w.mul(c.index, tile.columns), w.mul(n.index, tile.lanes))
        values = transform(w, [load(channel, first, t) for t in range(taps)])
        for e, value in enumerate(values):
            w.b.store(value, w.at(to, w.mul(step, e)), align=w.size)
    return w.finish()


Gathers = dict[int, ir.Function]
# How many segments a vector gathers are made for; 0 stands for any number.
_EXACT = (1, 2, 0)


def build_gathers(
    module: ir.Module, tile: Tile, name: str, taps: int,
    transform: Callable[[Writer, list[Value]], list[Value]],
) -> Gathers:  # fmt: skip
    """The gathers for one, two, and any number of segments a vector."""
    return {n: build_gather(module, tile, name, taps, n, transform) for n in _EXACT}


def call_gather(w: Writer, gathers: Gathers, segments: Value, arguments: list[Value]) -> None:
    """Call the gather made for as many segments."""
    w.choose(
        w.eq(segments, 1),
        lambda: w.b.call(gathers[1], arguments),
        lambda: w.choose(
            w.eq(segments, 2),
            lambda: w.b.call(gathers[2], arguments),
            lambda: w.b.call(gathers[0], arguments),
        ),
    )


def transform_input(w: Writer, loaded: list[Value]) -> list[Value]:
    """The 16 values that stand for the 4x4 inputs of a tile."""
    square = both_ways(w, [loaded[i : i + 4] for i in (0, 4, 8, 12)], _input_line)
    return [value for row in square for value in row]


def _build_output(module: ir.Module, tile: Tile) -> ir.Function:
    """``scatter``: transform the products of a block of rows and write the pixels.

    Takes the products, rows, vectors, the result and its row stride, bias or null, and for each
    vector, row of pixels and half its segments (offset, mask), and how many there are.
    """
    types = [PTR, I64, I64, PTR, I64, PTR, PTR, I64]
    w = Writer(module, "scatter", types, tile.form)
    products, rows, vectors, y, y_row, bias, outs, segments = w.arguments
    half = w.lanes // 2
    pairs = [[start + i // 2 + (i % 2) * w.lanes for i in range(w.lanes)] for start in (0, half)]
    step = spread(tile, w.i(filter_block(tile) * tile.columns), w)
    with w.loop(0, rows) as r:
        added = w.splat(load_bias(w, bias, r.index))
        line = w.at(y, w.mul(r.index, y_row))
        with w.loop(0, vectors) as n:
            source = w.at(products, w.mul(r.index, tile.columns), w.mul(n.index, tile.lanes))
            loaded = [w.load_vector(w.at(source, w.mul(step, e))) for e in range(POSITIONS)]
            square = both_ways(w, [loaded[i : i + 4] for i in (0, 4, 8, 12)], _output_line)
            for row, (even, odd) in enumerate(square):
                even, odd = w.b.fadd(even, added), w.b.fadd(odd, added)
                for side, places in enumerate(pairs):
                    pixels = w.b.shuffle_vector(even, odd, ir.Constant(w.integers, places))
                    where = w.mul(w.add(w.mul(n.index, 4), 2 * row + side), segments)
                    with w.loop(0, segments) as s:
                        entry = w.mul(w.add(where, s.index), 2)
                        mask = w.mask_bits(w.word(outs, w.add(entry, 1)))
                        w.store_masked(pixels, w.at(line, w.word(outs, entry)), mask)
    return w.finish()
