"""Convolutions by minimal filtering: 3x3 taps take 2.25 times fewer products.

Four by four inputs give two by two outputs through 16 products instead of 36 (Lavin and Gray,
"Fast Algorithms for Convolutional Neural Networks", 2016): input and filter are transformed by
additions, multiplied position by position (matrix products over the channels), and transformed
back. Other kernels and strides go the same way (see `filtering`); what a position adds up lies side
by side, as if it were more channels. Vectors hold consecutive tiles of outputs. The input comes
apart by the phases of the tiles' stride, so that inputs of consecutive tiles are consecutive, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir

from .filtering import PLAIN, Filtering, Layout, Terms
from .microkernel import Tile, load_bias, lower_bound, multiply, tile_for
from .packing import build_pack
from .target import Target
from .vectors import I64, PTR, SCALARS, ChunkKernel, Index, Value, Writer

# Taps of filters that are unpacked at a time.
MOST_TAPS = 144

# How the weights lie: strides between rows and between channels, taps of a channel; and, in
# ``numbers``, which of these taps the filtering's are.
_LAYOUT = ("row", "depth", "taps")
FILTER_POINTERS = ("weights", "u", "plan", "numbers")
FILTER_PLAN = ("m", "channels", *_LAYOUT, "parts")

# Both forms of the product read an input by tables: where a tile's inputs lie, where vectors of
# tiles start, and which lanes each input reads; and write by one (see `tabulate_squares`).
_READS = ("places", "starts", "masks")
WINOGRAD_POINTERS = ("u", "x", "y", "bias", "work", "plan", *_READS, "outs")
WINOGRAD_PLAN = (
    "m", "channels", "x_channel", "x_set", "y_row", "y_set", "vectors", "blocks", "m_parts",
    "segments", "out_segments", "scratch", "relu",
)  # fmt: skip

INPUT_POINTERS = ("x", "v", "plan", *_READS)
INPUT_PLAN = (
    "channels", "x_channel", "x_set", "vectors", "blocks", "parts", "segments", "panel",
)  # fmt: skip
ROWS_POINTERS = ("weights", "v", "y", "bias", "work", "plan", "numbers", "outs")
ROWS_PLAN = (
    "m", "channels", *_LAYOUT, "y_row", "y_set", "vectors", "blocks", "sets", "m_parts",
    "out_segments", "panel", "c_block", "products", "scratch", "relu",
)  # fmt: skip


def filter_block(tile: Tile) -> int:
    """How many rows a block of transformed filters has: whole vectors, and whole tiles."""
    return 3 * tile.lanes


def gap(tile: Tile) -> int:
    """What is left free after each position: lines 4096 bytes apart fight for one cache set."""
    return 3 * tile.lanes


def extent_of(layout: Layout, tile: Tile, channels: int, width: int) -> int:
    """How many elements the transforms of `width` tiles or filters of `channels` channels take."""
    return sum(layout.parts) * channels * width + len(layout.parts) * gap(tile)


def build_winograd(dtype: str, target: Target, form: Filtering = PLAIN) -> ir.Module:
    """The module with ``winograd``, ``winograd_filter``, ``winograd_input``, ``winograd_rows``."""
    module = ir.Module(f"winograd_{dtype}")
    _Winograd(module, tile_for(dtype, target), form).build()
    return module


# The transforms -----------------------------------------------------------------------------------


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


def input_lines(form: Filtering) -> list[list[Terms]]:
    """What makes a tile's inputs the factors of its products."""
    return [[p.inputs for p in line.products] for line in form.lines]


Transform = Callable[[Writer, list[Value]], list[Value]]
Gathers = dict[int, ir.Function]
# How many segments a vector gathers are made for; 0 stands for any number.
_EXACT = (1, 2, 3, 4, 0)


def build_gathers(
    module: ir.Module, tile: Tile, name: str, reads: int, layout: Layout, change: Transform
) -> Gathers:
    """Functions that transform what a panel of tiles reads, to ``[position][channel][part][tile]``.

    They take the input, the stride between channels, the first channel, the last, and how many
    there are; where the values of a tile lie, the vectors' starts and masks, segments a vector, the
    vectors, and the result. One is for one segment, one for two, one for any number.
    """
    return {n: _build_gather(module, tile, f"{name}_{n}", reads, layout, change, n) for n in _EXACT}


def _build_gather(
    module: ir.Module, tile: Tile, name: str, reads: int, layout: Layout, change: Transform,
    exact: int,
) -> ir.Function:  # fmt: skip
    types = [PTR, I64, I64, I64, I64, PTR, PTR, PTR, I64, I64, PTR]
    w = Writer(module, name, types, tile.form)
    w.no_alias(10)
    x, x_channel, low, high, channels, places, starts, masks, segments, vectors, result = (
        w.arguments
    )
    count = w.i(exact) if exact else segments

    def load(channel: Value, first: Value, t: int) -> Value:
        def segment(s: Index, otherwise: Value | None) -> Value:
            at = w.add(first, s)
            mask = w.mask_bits(w.small_word(masks, w.add(w.mul(at, reads), t)))
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

    with w.loop(low, high) as c, w.loop(0, vectors) as n:
        channel, first = w.at(x, w.mul(c.index, x_channel)), w.mul(n.index, count)
        values = change(w, [load(channel, first, t) for t in range(reads)])
        to = w.at(result, w.mul(n.index, tile.lanes))
        store_products(w, tile, layout, values, to, channels, c.index, tile.columns)
    return w.finish()


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


def call_gather(w: Writer, gathers: Gathers, segments: Value, arguments: list[Value]) -> None:
    """Call the gather made for as many segments."""
    most = max(gathers)
    w.choose(
        w.lt(most, segments),
        lambda: w.b.call(gathers[0], arguments),
        lambda: w.switch(segments, range(1, most + 1), lambda n: w.b.call(gathers[n], arguments)),
    )


# The kernels --------------------------------------------------------------------------------------


class _Winograd:
    """The functions of one module, for one form of filtering."""

    def __init__(self, module: ir.Module, tile: Tile, form: Filtering) -> None:
        self.module, self.tile, self.form = module, tile, form
        self.layout, self.block = form.layout, filter_block(tile)
        self.positions, self.reads = len(self.layout.parts), math.prod(form.reads)

    def build(self) -> None:
        module, tile, form = self.module, self.tile, self.form
        self.filters = self._build_filters(build_pack(module, tile))
        self.gathers = build_gathers(
            module, tile, "gather", self.reads, self.layout,
            lambda w, d: transform(w, d, input_lines(form)),
        )  # fmt: skip
        self.product = self._build_product()
        self.scatter = self._build_scatter()
        self._build_filter()
        self._build_winograd()
        self._build_input()
        self._build_rows()

    def _kernel(
        self, name: str, pointers: Sequence[str], plan: Sequence[str]
    ) -> tuple[ChunkKernel, Writer, dict[str, Value], dict[str, Value]]:
        k = ChunkKernel(self.module, self.tile.form, name, pointers, plan)
        return k, k.w, k.p, k.v

    # -- filters ----------------------------------------------------------------------------

    def _build_filters(self, pack: ir.Function) -> ir.Function:
        """``filters``: transform a block of rows to ``[position][channel][part][row]``.

        Takes the weights, the strides between rows and channels, taps of a channel, which of these
        the filtering's are, rows, the first channel, the last, how many the result holds, and it.
        """
        tile, width = self.tile, self.block
        w = Writer(
            self.module, "filters", [PTR, I64, I64, I64, PTR, I64, I64, I64, I64, PTR], tile.form
        )
        w.no_alias(9)
        weights, row, depth, taps, numbers, rows, low, high, channels, u = w.arguments
        buffer = w.b.alloca(w.vector, MOST_TAPS * width // tile.lanes)
        step = w.div(w.i(MOST_TAPS), taps)
        with w.loop(low, high, step) as cb:
            count = w.min(w.sub(high, cb.index), step)

            def unpack(first: Value, length: Value, to: Value) -> None:
                here = w.at(weights, w.mul(first, depth))
                w.b.call(pack, [here, row, w.i(1), length, rows, w.i(width), to])

            def one_by_one(start: Value = cb.index, count: Value = count) -> None:
                with w.loop(0, count) as c:
                    to = w.at(buffer, w.mul(w.mul(c.index, taps), width))
                    unpack(w.add(start, c.index), taps, to)

            w.choose(
                w.eq(depth, taps),
                lambda s=cb.index, n=count: unpack(s, w.mul(n, taps), buffer),
                one_by_one,
            )
            with w.loop(0, count) as c, w.loop(0, rows, w.lanes) as lane:
                here = w.at(buffer, w.mul(w.mul(c.index, taps), width), lane.index)
                self._transform_filter(
                    w, here, numbers, w.at(u, lane.index), channels, w.add(cb.index, c.index)
                )
        return w.finish()

    def _transform_filter(
        self, w: Writer, taps: Value, numbers: Value, u: Value, channels: Value, channel: Value
    ) -> None:
        count = math.prod(line.taps for line in self.form.lines)
        places = (w.mul(w.word(numbers, t), self.block) for t in range(count))
        loaded = [w.load_vector(w.at(taps, place)) for place in places]
        lines = [[p.taps for p in line.products] for line in self.form.lines]
        values = transform(w, loaded, lines)
        store_products(w, self.tile, self.layout, values, u, channels, channel, self.block)

    def _build_filter(self) -> None:
        """``winograd_filter``: a chunk is some channels of one block of rows."""
        k, w, p, v = self._kernel("winograd_filter", FILTER_POINTERS, FILTER_PLAN)
        block, part = k.split(v["parts"])
        low, high = w.share(v["channels"], 16, v["parts"], part)
        m0 = w.mul(block, self.block)
        rows = w.min(w.sub(v["m"], m0), self.block)
        w.b.call(self.filters, [
            w.at(p["weights"], w.mul(m0, v["row"])), v["row"], v["depth"], v["taps"], p["numbers"],
            rows, low, high, v["channels"], w.at(p["u"], w.mul(block, self._extent(w, v))),
        ])  # fmt: skip
        w.finish()

    def _extent(self, w: Writer, v: dict[str, Value]) -> Value:
        """The elements of the transformed filters of one block of rows."""
        whole = w.mul(v["channels"], self.form.products * self.block)
        return w.add(whole, self.positions * gap(self.tile))

    # -- products ---------------------------------------------------------------------------

    def _build_product(self) -> ir.Function:
        """``product``: a block of rows times a panel of tiles, position by position.

        Takes filters and the channels they hold, inputs and the channels they hold, the first of
        the channels and how many, products, rows, vectors, whether the products hold nothing, and
        whether rows and channels of the filters have changed places; also what is to be brought
        near meanwhile: lines at a place, their stride, elements of each.
        """
        one = self._build_position()
        tile, layout = self.tile, self.layout
        types = [PTR, I64, PTR, I64, I64, I64, PTR, I64, I64, I64, I64, PTR, I64, I64, I64]
        w = Writer(self.module, "product", types, tile.form)
        u, u_channels, x, channels, start, count, products, rows, vectors, first = w.arguments[:10]
        turned, ahead, lines, stride, length = w.arguments[10:]
        across = w.eq(turned, 0)
        for e, parts in enumerate(layout.parts):
            filters = position_of(w, tile, layout, u, e, u_channels, self.block)
            inputs = position_of(w, tile, layout, x, e, channels, tile.columns)
            inputs = w.at(inputs, w.mul(start, parts * tile.columns))
            result = w.at(products, e * (self.block * tile.columns + gap(tile)))
            low, high = w.share(lines, 1, w.i(self.positions), w.i(e))
            # Where filters lie ``[row][part][channel]``, each part is a product of its own.
            with w.loop(0, w.b.select(across, w.i(1), w.i(parts))) as part:
                again = w.lt(0, part.index)
                w.b.call(one, [
                    w.b.select(across, w.mul(count, parts), count),
                    w.at(filters, w.mul(part.index, self.block)),
                    w.b.select(across, w.i(1), w.i(parts * self.block)),
                    w.b.select(across, w.i(self.block), w.i(1)),
                    w.at(inputs, w.mul(part.index, tile.columns)),
                    w.b.select(across, w.i(tile.columns), w.i(parts * tile.columns)),
                    result, rows, vectors, w.b.select(again, w.i(0), first),
                    w.at(ahead, w.mul(low, stride)),
                    w.b.select(again, w.i(0), w.sub(high, low)), stride, length,
                ])  # fmt: skip
        return w.finish()

    def _build_position(self) -> ir.Function:
        """``position``: the product at one position, or of one part of it.

        Takes the depth, filters and their strides, inputs and their stride, and the rest as
        `product`.
        """
        tile = self.tile
        tiles = {
            (h, n): self._build_tile(h, n) for h in tile.heights for n in range(1, tile.vectors + 1)
        }
        types = [I64, PTR, I64, I64, PTR, I64, PTR, I64, I64, I64, PTR, I64, I64, I64]
        w = Writer(self.module, "position", types, tile.form)
        depth, filters, row, column, inputs, x_row, result, rows, vectors, first = w.arguments[:10]
        ahead, lines, stride, length = w.arguments[10:]
        line = 64 // w.size
        parts = w.div(w.add(rows, tile.rows - 1), tile.rows)
        with w.loop(0, rows, tile.rows) as i:
            near, far = w.share(length, line, parts, w.div(i.index, tile.rows))
            with w.loop(0, lines) as o, w.loop(near, far, line) as a:
                w.prefetch(w.at(ahead, w.mul(o.index, stride), a.index), locality=2)
            height = w.min(w.sub(rows, i.index), tile.rows)
            arguments = [
                depth, w.at(filters, w.mul(i.index, row)), row, column, inputs, x_row,
                w.at(result, w.mul(i.index, tile.columns)), first,
            ]  # fmt: skip
            w.switch(
                vectors,
                range(1, tile.vectors + 1),
                lambda n, a=arguments, height=height: w.switch(
                    height, tile.heights, lambda h: w.b.call(tiles[h, n], a)
                ),
            )
        return w.finish()

    def _build_tile(self, rows: int, vectors: int) -> ir.Function:
        """The sums of some rows and vectors; takes what `position` takes, up to `first`.

        Blocks of filters and products have whole tiles: rows that are missing hold anything.
        """
        tile = self.tile
        types = [I64, PTR, I64, I64, PTR, I64, PTR, I64]
        w = Writer(self.module, f"tile_{rows}x{vectors}", types, tile.form)
        w.no_alias(1, 4)
        depth, filters, row, column, inputs, x_row, result, first = w.arguments
        lines = [w.at(filters, w.mul(row, r)) for r in range(rows)]
        places = [
            w.at(result, r * tile.columns + v * tile.lanes)
            for r in range(rows)
            for v in range(vectors)
        ]
        with w.loop(0, depth, carried=[w.zero()] * len(places)) as step:
            right = w.at(inputs, w.mul(step.index, x_row))
            loaded = [w.load_vector(w.at(right, v * tile.lanes)) for v in range(vectors)]
            numbers = [w.load(w.at(line, w.mul(step.index, column))) for line in lines]
            step.next = multiply(w, numbers, loaded, step.carried)
        sums = step.carried

        def write(known: bool) -> None:
            for p, x in zip(places, sums, strict=True):
                w.b.store(w.b.fadd(x, w.load_vector(p)) if known else x, p, align=w.size)

        w.choose(w.eq(first, 0), lambda: write(True), lambda: write(False))
        return w.finish()

    def _build_winograd(self) -> None:
        """``winograd``: a chunk is a panel of tiles of a set of images, for some blocks of rows."""
        k, w, p, v = self._kernel("winograd", WINOGRAD_POINTERS, WINOGRAD_PLAN)
        tile = self.tile
        set_, panel, part = k.split(v["blocks"], v["m_parts"])
        own = w.at(p["work"], w.mul(k.thread, v["scratch"]))
        inputs = w.add(
            w.mul(v["channels"], self.form.products * tile.columns), self.positions * gap(tile)
        )
        products = w.at(own, inputs)
        self._gather(k, set_, panel, w.i(0), v["channels"], own)
        vectors = w.min(w.sub(v["vectors"], w.mul(panel, tile.vectors)), tile.vectors)
        m0, m1 = w.share(v["m"], self.block, v["m_parts"], part)
        with w.loop(m0, m1, self.block) as i:
            rows = w.min(w.sub(m1, i.index), self.block)
            block = w.div(i.index, self.block)
            u = w.at(p["u"], w.mul(block, self._extent(w, v)))
            w.b.call(self.product, [
                u, v["channels"], own, v["channels"], w.i(0), v["channels"], products, rows,
                vectors, w.i(1), w.i(0), u, w.i(0), w.i(0), w.i(0),
            ])  # fmt: skip
            self._write(k, set_, panel, i.index, rows, products)
        w.finish()

    def _gather(
        self, k: ChunkKernel, set_: Value, panel: Value, low: Value, high: Value, result: Value
    ) -> None:
        w, p, v, tile = k.w, k.p, k.v, self.tile
        at = w.mul(panel, tile.vectors)
        first = w.mul(at, v["segments"])
        masks = w.small_words(p["masks"], w.mul(first, self.reads))
        call_gather(w, self.gathers, v["segments"], [
            w.at(p["x"], w.mul(set_, v["x_set"])), v["x_channel"], low, high, v["channels"],
            p["places"], w.words(p["starts"], first), masks, v["segments"],
            w.min(w.sub(v["vectors"], at), tile.vectors), result,
        ])  # fmt: skip

    def _write(
        self, k: ChunkKernel, set_: Value, panel: Value, m0: Value, rows: Value, products: Value
    ) -> None:
        w, p, v, tile = k.w, k.p, k.v, self.tile
        at = w.mul(panel, tile.vectors)
        entries = w.mul(v["out_segments"], 2 * math.prod(self.form.tile))
        bias = w.b.select(w.is_null(p["bias"]), p["bias"], w.at(p["bias"], m0))
        line = w.at(p["y"], w.mul(set_, v["y_set"]), w.mul(m0, v["y_row"]))
        w.b.call(self.scatter, [
            products, rows, w.min(w.sub(v["vectors"], at), tile.vectors), line, v["y_row"], bias,
            w.words(p["outs"], w.mul(at, entries)), v["out_segments"],
            lower_bound(w, k.is_on("relu")),
        ])  # fmt: skip

    # -- few tiles and many filters ---------------------------------------------------------

    def _build_input(self) -> None:
        """``winograd_input``: transform all tiles; a chunk is some channels of a panel."""
        k, w, p, v = self._kernel("winograd_input", INPUT_POINTERS, INPUT_PLAN)
        set_, panel, part = k.split(v["blocks"], v["parts"])
        low, high = w.share(v["channels"], 1, v["parts"], part)
        place = w.add(w.mul(set_, v["blocks"]), panel)
        self._gather(k, set_, panel, low, high, w.at(p["v"], w.mul(place, v["panel"])))
        w.finish()

    def _build_rows(self) -> None:
        """``winograd_rows``: a chunk is all tiles, for some rows.

        Filters are transformed where they are used, a few channels at a time, and never stored.
        """
        k, w, p, v = self._kernel("winograd_rows", ROWS_POINTERS, ROWS_PLAN)
        tile = self.tile
        m0, m1 = w.share(v["m"], tile.lanes, v["m_parts"], k.index)
        products = w.at(p["work"], w.mul(k.thread, v["scratch"]))
        u = w.at(products, v["products"])
        rows, panels = w.sub(m1, m0), w.mul(v["sets"], v["blocks"])
        size = self.positions * (self.block * tile.columns + gap(tile))
        weights = w.at(p["weights"], w.mul(m0, v["row"]))
        with w.loop(0, v["channels"], v["c_block"]) as cb:
            count = w.min(w.sub(v["channels"], cb.index), v["c_block"])
            # Squares of the weights are transposed along their longer stride.
            turned = w.lt(v["row"], v["depth"])
            near, far, these, those, held = (
                w.b.select(turned, y, x)
                for x, y in ((v["depth"], v["row"]), (v["row"], v["depth"]), (rows, count),
                             (count, rows), (v["c_block"], w.i(self.block)))
            )  # fmt: skip
            w.b.call(self.filters, [
                w.at(weights, w.mul(cb.index, v["depth"])), far, near, v["taps"], p["numbers"],
                these, w.i(0), those, held, u,
            ])  # fmt: skip
            first = w.b.zext(w.eq(cb.index, 0), I64)
            # The first panel's products bring the next channels' weights to the second cache.
            after = w.add(cb.index, count)
            left = w.min(w.sub(v["channels"], after), v["c_block"])
            lines = w.b.select(turned, left, rows)
            length = w.mul(w.b.select(turned, rows, left), v["taps"])
            ahead = w.at(weights, w.mul(after, v["depth"]))
            with w.loop(0, panels) as j:
                wanted = w.b.select(w.eq(j.index, 0), lines, w.i(0))
                at = w.mul(w.rem(j.index, v["blocks"]), tile.vectors)
                w.b.call(self.product, [
                    u, held, w.at(p["v"], w.mul(j.index, v["panel"])), v["channels"], cb.index,
                    count, w.at(products, w.mul(j.index, size)), rows,
                    w.min(w.sub(v["vectors"], at), tile.vectors), first, w.b.zext(turned, I64),
                    ahead, wanted, far, length,
                ])  # fmt: skip
        with w.loop(0, panels) as j:
            set_, panel = w.div(j.index, v["blocks"]), w.rem(j.index, v["blocks"])
            self._write(k, set_, panel, m0, rows, w.at(products, w.mul(j.index, size)))
        w.finish()

    # -- results ----------------------------------------------------------------------------

    def _build_scatter(self) -> ir.Function:
        """``scatter``: transform the products of a block of rows and write the pixels.

        Takes the products, rows, vectors, the result and its row stride, bias or null, and for each
        vector, row of pixels and part of it its segments (offset, mask), and how many there are;
        the lower bound of results.
        """
        tile = self.tile
        types = [PTR, I64, I64, PTR, I64, PTR, PTR, I64, SCALARS[tile.form.dtype]]
        w = Writer(self.module, "scatter", types, tile.form)
        products, rows, vectors, y, y_row, bias, outs, segments, bound = w.arguments
        low = w.splat(bound)
        step = self.block * tile.columns + gap(tile)
        lines = [line.outputs for line in self.form.lines]
        outputs = math.prod(self.form.tile)
        with w.loop(0, rows) as r:
            added = w.splat(load_bias(w, bias, r.index))
            line = w.at(y, w.mul(r.index, y_row))
            with w.loop(0, vectors) as n:
                source = w.at(products, w.mul(r.index, tile.columns), w.mul(n.index, tile.lanes))
                loaded = [w.load_vector(w.at(source, e * step)) for e in range(self.positions)]
                sums = transform(w, loaded, lines)
                found = [w.at_least(w.b.fadd(x, added), low) for x in sums]
                for i, pixels in enumerate(_interleave(w, found, self.form.tile[-1])):
                    where = w.mul(w.add(w.mul(n.index, outputs), i), segments)
                    with w.loop(0, segments) as s:
                        entry = w.mul(w.add(where, s.index), 2)
                        mask = w.mask_bits(w.word(outs, w.add(entry, 1)))
                        w.store_masked(pixels, w.at(line, w.word(outs, entry)), mask)
        return w.finish()


def _interleave(w: Writer, values: list[Value], across: int) -> list[Value]:
    """Vectors of consecutive pixels from those of every `across`-th one (1 or 2)."""
    if across == 1:
        return values
    found = []
    for pair, start in itertools.product(range(0, len(values), 2), (0, w.lanes // 2)):
        places = [start + i // 2 + (i % 2) * w.lanes for i in range(w.lanes)]
        found.append(
            w.b.shuffle_vector(values[pair], values[pair + 1], ir.Constant(w.integers, places))
        )
    return found
