"""The gradient of filters by minimal filtering: the forward transforms turned around.

The gradient of a transformed filter is, product by product, the sum over all tiles of the
transformed gradient of the output times the transformed input; the transpose of the filter's own
transform takes it back (see `winograd`).
"""

from __future__ import annotations

import math

from llvmlite import ir

from .filtering import PLAIN, Filtering
from .gemm_block import STRIDED
from .microkernel import Tile, tile_for
from .packing import PACK
from .routines import declare
from .target import Target
from .vectors import I64, PTR, ChunkKernel, Value, Writer
from .winograd_transforms import call_gather, gap, transform, turn

# Input and gradient come apart by the phases of the tiles' stride, each with its table. `u` holds
# `parts` sums over tiles, each ``[product][row][column]``, columns in whole panels.
WEIGHT_POINTERS = (
    "x", "g", "u", "work", "plan", "x_places", "x_starts", "x_masks", "g_places", "g_starts",
    "g_masks",
)  # fmt: skip
WEIGHT_PLAN = (
    "m", "channels", "x_channel", "x_set", "g_channel", "g_set", "sets", "vectors", "blocks",
    "x_segments", "g_segments", "parts", "m_parts", "u_row", "u_part", "scratch",
    "x_gather", "g_gather",
)  # fmt: skip

RESULT_POINTERS = ("u", "dw", "plan")
RESULT_PLAN = ("m", "channels", "u_row", "u_part", "sums", "parts")

ROUTINES = (PACK, STRIDED)


def build_winograd_weight(dtype: str, target: Target, form: Filtering = PLAIN) -> ir.Module:
    """The module with ``filtering_weight`` and ``filtering_result`` for `dtype` on `target`."""
    module = ir.Module(f"winograd_weight_{dtype}")
    tile = tile_for(dtype, target)
    pack = declare(module, tile, PACK)
    _Products(module, tile, pack, form).build()
    _build_result(module, tile, pack, form)
    return module


class _Products:
    """``filtering_weight``: a chunk is one panel of channels, some rows, and some of the tiles."""

    def __init__(self, module: ir.Module, tile: Tile, pack: ir.Function, form: Filtering) -> None:
        self.tile, self.pack = tile, pack
        self.products, self.layout = form.products, form.layout
        self.positions = len(self.layout.parts)
        self.reads = {"x": math.prod(form.reads), "g": math.prod(form.tile)}
        self.strided = declare(module, tile, STRIDED)
        self.k = k = ChunkKernel(
            module, tile.form, "filtering_weight", WEIGHT_POINTERS, WEIGHT_PLAN
        )
        self.w, self.p, self.v = k.w, k.p, k.v
        self.product = self._build_product(module)

    def build(self) -> ir.Function:
        w, v, p, tile = self.w, self.v, self.p, self.tile
        column, part, share = self.k.split(v["m_parts"], v["parts"])
        c0 = w.mul(column, tile.columns)
        columns = w.min(w.sub(v["channels"], c0), tile.columns)
        m0, m1 = w.share(v["m"], tile.rows, v["m_parts"], part)
        rows = w.sub(m1, m0)
        j0, j1 = w.share(w.mul(v["sets"], v["blocks"]), 1, v["parts"], share)
        u = w.at(p["u"], w.mul(share, v["u_part"]), w.mul(m0, v["u_row"]), c0)
        inputs = w.at(p["work"], w.mul(self.k.thread, v["scratch"]))
        turned = w.at(inputs, w.mul(self.products, self._step(w.i(tile.lanes))))
        gradients = w.at(turned, w.mul(self.products, self._step(w.i(tile.columns))))
        with w.loop(j0, j1) as j:
            set_, block = w.div(j.index, v["blocks"]), w.rem(j.index, v["blocks"])
            at = w.mul(block, tile.vectors)
            vectors = w.min(w.sub(v["vectors"], at), tile.vectors)
            x = w.at(p["x"], w.mul(set_, v["x_set"]), w.mul(c0, v["x_channel"]))
            g = w.at(p["g"], w.mul(set_, v["g_set"]), w.mul(m0, v["g_channel"]))
            self._turn_inputs(x, at, vectors, columns, inputs, turned)
            self._call_gather("g", g, rows, at, vectors, gradients)
            first = w.eq(j.index, j0)
            self._multiply(gradients, turned, u, rows, columns, vectors, first)
        return w.finish()

    def _step(self, channels: Value) -> Value:
        return self.w.add(self.w.mul(channels, self.tile.columns), gap(self.tile))

    def _call_gather(
        self, s: str, source: Value, channels: Value, at: Value, vectors: Value, result: Value
    ) -> None:
        w, v, p = self.w, self.v, self.p
        segments = v[f"{s}_segments"]
        first = w.mul(at, segments)
        masks = w.small_words(p[f"{s}_masks"], w.mul(first, self.reads[s]))
        call_gather(w, w.b.inttoptr(v[f"{s}_gather"], PTR), [
            source, v[f"{s}_channel"], w.i(0), channels, channels, p[f"{s}_places"],
            w.words(p[f"{s}_starts"], first), masks, segments, vectors, result,
        ])  # fmt: skip

    def _turn_inputs(
        self, x: Value, at: Value, vectors: Value, columns: Value, inputs: Value, turned: Value
    ) -> None:
        """Fill ``turned[product][tile][channel]``, a few channels at a time."""
        w, v, tile = self.w, self.v, self.tile
        count = w.mul(vectors, tile.lanes)
        with w.loop(0, columns, tile.lanes) as c:
            channels = w.min(w.sub(columns, c.index), tile.lanes)
            source = w.at(x, w.mul(c.index, v["x_channel"]))
            self._call_gather("x", source, channels, at, vectors, inputs)
            with w.loop(0, self.products) as e:
                here = w.at(inputs, w.mul(e.index, self._step(channels)))
                to = w.at(turned, w.mul(e.index, self._step(w.i(tile.columns))), c.index)
                stride, width = w.i(tile.columns), w.i(tile.columns)
                w.b.call(self.pack, [here, stride, w.i(1), count, channels, width, to])

    def _multiply(
        self, gradients: Value, turned: Value, u: Value, rows: Value, columns: Value,
        vectors: Value, first: Value,
    ) -> None:  # fmt: skip
        w, v = self.w, self.v
        u_step = w.add(w.mul(v["m"], v["u_row"]), gap(self.tile))
        depth = w.mul(vectors, self.tile.lanes)
        for i, (e, _) in enumerate(self.layout.places):
            w.b.call(self.product, [
                w.at(gradients, w.mul(self._step(rows), e)),
                w.at(turned, w.mul(self._step(w.i(self.tile.columns)), i)),
                w.at(u, w.mul(u_step, i)), v["u_row"], rows, columns, depth,
                w.b.zext(first, I64),
            ])  # fmt: skip

    def _build_product(self, module: ir.Module) -> ir.Function:
        """``product``: takes gradients, inputs, result and its row stride, rows, columns, depth."""
        tile = self.tile
        w = Writer(module, "product", [PTR, PTR, PTR, I64, I64, I64, I64, I64], tile.form)
        gradients, inputs, result, row, rows, columns, depth, first = w.arguments
        null, low = ir.Constant(PTR, None), ir.Constant(w.scalar, float("-inf"))
        vectors, wide = w.div(w.add(columns, tile.lanes - 1), tile.lanes), w.i(tile.columns)
        with w.loop(0, rows, tile.rows) as i:
            to = w.at(result, w.mul(i.index, row))
            height = w.min(w.sub(rows, i.index), tile.rows)
            w.b.call(self.strided, [
                depth, w.at(gradients, w.mul(i.index, wide)), wide, w.i(1), inputs, wide, to, row,
                w.b.select(w.eq(first, 0), to, null), row, low, height, w.mul(vectors, tile.lanes),
            ])  # fmt: skip
        return w.finish()


def _build_result(module: ir.Module, tile: Tile, pack: ir.Function, form: Filtering) -> ir.Function:
    """``filtering_result``: add the sums up and transform them back; a chunk is some rows."""
    k = ChunkKernel(module, tile.form, "filtering_result", RESULT_POINTERS, RESULT_PLAN)
    w, p, v = k.w, k.p, k.v
    taps = math.prod(line.taps for line in form.lines)
    lines = turn([[p.taps for p in line.products] for line in form.lines])
    buffer = w.b.alloca(w.vector, taps * tile.vectors)
    low, high = w.share(v["m"], 1, v["parts"], k.index)
    step = w.add(w.mul(v["m"], v["u_row"]), gap(tile))
    with w.loop(low, high) as m, w.loop(0, v["channels"], tile.columns) as c:
        count = w.min(w.sub(v["channels"], c.index), tile.columns)
        with w.loop(0, count, tile.lanes) as lane:
            source = w.at(p["u"], w.mul(m.index, v["u_row"]), c.index, lane.index)
            with w.loop(0, v["sums"], carried=[w.zero()] * form.products) as s:
                here = w.at(source, w.mul(s.index, v["u_part"]))
                s.next = [
                    w.b.fadd(total, w.load_vector(w.at(here, w.mul(step, i))))
                    for i, total in enumerate(s.carried)
                ]
            for t, value in enumerate(transform(w, s.carried, lines)):
                w.b.store(value, w.at(buffer, t * tile.columns, lane.index), align=w.size)
        to = w.at(p["dw"], w.mul(w.add(w.mul(m.index, v["channels"]), c.index), taps))
        w.b.call(pack, [buffer, w.i(tile.columns), w.i(1), count, w.i(taps), w.i(taps), to])
    return w.finish()
