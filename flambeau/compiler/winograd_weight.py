"""The gradient of 3x3 filters by minimal filtering: the forward transforms turned around.

The gradient of a transformed filter is, position by position, the product over all tiles of the
transformed gradient of the output with the transformed input; the transpose of the filter's own
transform takes it back (see `winograd`).
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from .microkernel import Tile, build_strided_tile, tile_for
from .packing import build_pack
from .target import Target
from .vectors import PTR, ChunkKernel, Value, Writer
from .winograd import (
    POSITIONS,
    both_ways,
    build_gathers,
    call_gather,
    spread,
    transform_input,
)

_TAPS = 9

# Input and gradient come apart by the parity of rows and columns, each with its table. `u` holds
# `parts` sums over tiles, each ``[position][row][column]``, columns in whole panels.
WEIGHT_POINTERS = (
    "x", "g", "u", "work", "plan", "x_places", "x_starts", "x_masks", "g_places", "g_starts",
    "g_masks",
)  # fmt: skip
WEIGHT_PLAN = (
    "m", "channels", "x_channel", "x_set", "g_channel", "g_set", "sets", "vectors", "blocks",
    "x_segments", "g_segments", "parts", "m_parts", "u_row", "u_part", "scratch",
)  # fmt: skip

RESULT_POINTERS = ("u", "dw", "plan")
RESULT_PLAN = ("m", "channels", "u_row", "u_part", "sums", "parts")


def build_winograd_weight(dtype: str, target: Target) -> ir.Module:
    """The module with ``filtering_weight`` and ``filtering_result`` for `dtype` on `target`."""
    module = ir.Module(f"winograd_weight_{dtype}")
    tile = tile_for(dtype, target)
    pack = build_pack(module, tile)
    _build_products(module, tile, pack)
    _build_result(module, tile, pack)
    return module


def _gradient_line(w: Writer, y: Sequence[Value]) -> list[Value]:
    b = w.b
    return [y[0], b.fadd(y[0], y[1]), b.fsub(y[0], y[1]), b.fneg(y[1])]


def _transform_gradient(w: Writer, loaded: list[Value]) -> list[Value]:
    square = both_ways(w, [loaded[:2], loaded[2:]], _gradient_line)
    return [value for row in square for value in row]


def _result_line(w: Writer, u: Sequence[Value]) -> list[Value]:
    b, half = w.b, w.splat(ir.Constant(w.scalar, 0.5))
    total = b.fmul(half, b.fadd(u[1], u[2]))
    return [b.fadd(u[0], total), b.fmul(half, b.fsub(u[1], u[2])), b.fadd(total, u[3])]


class _Products:
    """``filtering_weight``: a chunk is one panel of channels, some rows, and some of the tiles."""

    def __init__(self, module: ir.Module, tile: Tile, pack: ir.Function) -> None:
        self.tile, self.pack = tile, pack
        self.tiles = {
            (h, n): build_strided_tile(module, tile, h, n)
            for h in tile.heights
            for n in range(1, tile.vectors + 1)
        }
        self.gathers = {
            "input": build_gathers(module, tile, "gather_input", POSITIONS, transform_input),
            "gradient": build_gathers(module, tile, "gather_gradient", 4, _transform_gradient),
        }
        self.k = k = ChunkKernel(
            module, tile.form, "filtering_weight", WEIGHT_POINTERS, WEIGHT_PLAN
        )
        self.w, self.p, self.v = k.w, k.p, k.v

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
        turned = w.at(inputs, w.mul(POSITIONS, self._step(w.i(tile.lanes))))
        gradients = w.at(turned, w.mul(POSITIONS, self._step(w.i(tile.columns))))
        with w.loop(j0, j1) as j:
            set_, block = w.div(j.index, v["blocks"]), w.rem(j.index, v["blocks"])
            at = w.mul(block, tile.vectors)
            vectors = w.min(w.sub(v["vectors"], at), tile.vectors)
            x = w.at(p["x"], w.mul(set_, v["x_set"]), w.mul(c0, v["x_channel"]))
            g = w.at(p["g"], w.mul(set_, v["g_set"]), w.mul(m0, v["g_channel"]))
            self._turn_inputs(x, at, vectors, columns, inputs, turned)
            self._call_gather("gradient", g, rows, at, vectors, gradients)
            first = w.eq(j.index, j0)
            self._multiply(gradients, turned, u, rows, columns, vectors, first)
        return w.finish()

    def _step(self, channels: Value) -> Value:
        return spread(self.tile, self.w.mul(channels, self.tile.columns), self.w)

    def _call_gather(
        self, side: str, source: Value, channels: Value, at: Value, vectors: Value, result: Value
    ) -> None:
        w, v, p, s = self.w, self.v, self.p, side[0] if side == "gradient" else "x"
        taps = POSITIONS if s == "x" else 4
        segments = v[f"{s}_segments"]
        first = w.mul(at, segments)
        arguments = [
            source, v[f"{s}_channel"], channels, p[f"{s}_places"], w.words(p[f"{s}_starts"], first),
            w.small_words(p[f"{s}_masks"], w.mul(first, taps)), segments, vectors, result,
        ]  # fmt: skip
        call_gather(w, self.gathers[side], segments, arguments)

    def _turn_inputs(
        self, x: Value, at: Value, vectors: Value, columns: Value, inputs: Value, turned: Value
    ) -> None:
        """Fill ``turned[position][tile][channel]``, a few channels at a time."""
        w, v, tile = self.w, self.v, self.tile
        count = w.mul(vectors, tile.lanes)
        with w.loop(0, columns, tile.lanes) as c:
            channels = w.min(w.sub(columns, c.index), tile.lanes)
            source = w.at(x, w.mul(c.index, v["x_channel"]))
            self._call_gather("input", source, channels, at, vectors, inputs)
            with w.loop(0, POSITIONS) as e:
                here = w.at(inputs, w.mul(e.index, self._step(channels)))
                to = w.at(turned, w.mul(e.index, self._step(w.i(tile.columns))), c.index)
                stride, width = w.i(tile.columns), w.i(tile.columns)
                w.b.call(self.pack, [here, stride, w.i(1), count, channels, width, to])

    def _multiply(
        self, gradients: Value, turned: Value, u: Value, rows: Value, columns: Value,
        vectors: Value, first: Value,
    ) -> None:  # fmt: skip
        w, v, tile = self.w, self.v, self.tile
        null, low = ir.Constant(PTR, None), ir.Constant(w.scalar, float("-inf"))
        depth, wide = w.mul(vectors, tile.lanes), w.i(tile.columns)
        u_step = spread(tile, w.mul(v["m"], v["u_row"]), w)
        full = w.mul(w.div(w.add(columns, tile.lanes - 1), tile.lanes), tile.lanes)
        with w.loop(0, POSITIONS) as e, w.loop(0, rows, tile.rows) as i:
            left = w.at(gradients, w.mul(e.index, self._step(rows)), w.mul(i.index, wide))
            right = w.at(turned, w.mul(e.index, self._step(wide)))
            to = w.at(u, w.mul(e.index, u_step), w.mul(i.index, v["u_row"]))
            height = w.min(w.sub(rows, i.index), tile.rows)
            arguments = [
                depth, left, wide, w.i(1), right, wide, to, v["u_row"],
                w.b.select(first, null, to), v["u_row"], low, height, full,
            ]  # fmt: skip
            w.switch(
                w.div(full, tile.lanes),
                range(1, tile.vectors + 1),
                lambda n, a=arguments, height=height: w.switch(
                    height, tile.heights, lambda h: w.b.call(self.tiles[h, n], a)
                ),
            )


def _build_products(module: ir.Module, tile: Tile, pack: ir.Function) -> ir.Function:
    return _Products(module, tile, pack).build()


def _build_result(module: ir.Module, tile: Tile, pack: ir.Function) -> ir.Function:
    """``filtering_result``: add the sums up and transform them back; a chunk is some rows."""
    k = ChunkKernel(module, tile.form, "filtering_result", RESULT_POINTERS, RESULT_PLAN)
    w, p, v = k.w, k.p, k.v
    buffer = w.b.alloca(w.vector, _TAPS * tile.vectors)
    low, high = w.share(v["m"], 1, v["parts"], k.index)
    step = spread(tile, w.mul(v["m"], v["u_row"]), w)
    with w.loop(low, high) as m, w.loop(0, v["channels"], tile.columns) as c:
        count = w.min(w.sub(v["channels"], c.index), tile.columns)
        with w.loop(0, count, tile.lanes) as lane:
            source = w.at(p["u"], w.mul(m.index, v["u_row"]), c.index, lane.index)
            with w.loop(0, v["sums"], carried=[w.zero()] * POSITIONS) as s:
                here = w.at(source, w.mul(s.index, v["u_part"]))
                s.next = [
                    w.b.fadd(total, w.load_vector(w.at(here, w.mul(step, e))))
                    for e, total in enumerate(s.carried)
                ]
            square = both_ways(w, [s.carried[i : i + 4] for i in (0, 4, 8, 12)], _result_line)
            for t, value in enumerate(value for row in square for value in row):
                w.b.store(value, w.at(buffer, t * tile.columns, lane.index), align=w.size)
        to = w.at(p["dw"], w.mul(w.add(w.mul(m.index, v["channels"]), c.index), _TAPS))
        taps = w.i(_TAPS)
        w.b.call(pack, [buffer, w.i(tile.columns), w.i(1), count, taps, taps, to])
    return w.finish()
