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
from collections.abc import Sequence

from llvmlite import ir

from .filtering import PLAIN, Filtering
from .microkernel import Tile, load_bias, lower_bound, tile_for
from .packing import PACK
from .routines import declare
from .target import Target
from .vectors import I64, PTR, SCALARS, ChunkKernel, Value, Writer
from .winograd_products import POSITION
from .winograd_transforms import call_gather, gap, position_of, store_products, transform

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
    "segments", "out_segments", "scratch", "gather", "relu",
)  # fmt: skip

INPUT_POINTERS = ("x", "v", "plan", *_READS)
INPUT_PLAN = (
    "channels", "x_channel", "x_set", "vectors", "blocks", "parts", "segments", "panel", "gather",
)  # fmt: skip
ROWS_POINTERS = ("weights", "v", "y", "bias", "work", "plan", "numbers", "outs")
ROWS_PLAN = (
    "m", "channels", *_LAYOUT, "y_row", "y_set", "vectors", "blocks", "sets", "m_parts",
    "out_segments", "panel", "c_block", "products", "scratch", "relu",
)  # fmt: skip

ROUTINES = (PACK, POSITION)


def filter_block(tile: Tile) -> int:
    """How many rows a block of transformed filters has: whole vectors, and whole tiles."""
    return 3 * tile.lanes


def build_winograd(dtype: str, target: Target, form: Filtering = PLAIN) -> ir.Module:
    """The module with ``winograd``, ``winograd_filter``, ``winograd_input``, ``winograd_rows``.

    The integer ``gather`` of a plan is the address of what transforms the inputs.
    """
    module = ir.Module(f"winograd_{dtype}")
    _Winograd(module, tile_for(dtype, target), form).build()
    return module


# The kernels --------------------------------------------------------------------------------------


class _Winograd:
    """The functions of one module, for one form of filtering."""

    def __init__(self, module: ir.Module, tile: Tile, form: Filtering) -> None:
        self.module, self.tile, self.form = module, tile, form
        self.layout, self.block = form.layout, filter_block(tile)
        self.positions, self.reads = len(self.layout.parts), math.prod(form.reads)

    def build(self) -> None:
        module, tile = self.module, self.tile
        self.filters = self._build_filters(declare(module, tile, PACK))
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
        tile, layout = self.tile, self.layout
        one = declare(self.module, tile, POSITION)
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
        call_gather(w, w.b.inttoptr(v["gather"], PTR), [
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
