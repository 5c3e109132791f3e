"""The matrix product C = max(A B + D, low) as a module of kernels around one register tile.

The loops are those of Goto and van de Geijn: columns, depth and rows are cut in blocks that stay in
the caches, and inside a block tiles of registers are filled one after the other. An operand is
used where it lies ("direct"), copied into panels by the thread that needs it ("private"), or
copied into panels once for all threads before the product begins ("shared").
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from .gemm_block import STRIDED
from .microkernel import Tile, build_packed_tile, lower_bound, tile_for
from .packing import GROUP, PACK, build_group_pack
from .routines import declare
from .target import Target
from .vectors import PTR, ChunkKernel, Format, Value, Writer

DIRECT, PRIVATE, SHARED = 0, 1, 2

# The table of pointers that every kernel takes; `plan` points to the integers named below.
POINTERS = ("a", "b", "c", "d", "work", "plan")

# Extents and strides in elements; blocks of the loops; how the results are cut in chunks
# (`*_parts` pieces at multiples of `*_unit`) and the batch; how operands are read; where panels
# lie in `work` (in elements: shared panels of A at 0, of B at `b_shared`; then `private_size` for
# each thread from `private`, the panels of B at `b_private` in there).
PLAN = (
    "m", "n", "k", "a_row", "a_col", "b_row", "b_col", "c_row", "c_col", "d_row", "d_col",
    "m_block", "n_block", "k_block", "m_parts", "n_parts", "m_unit", "n_unit",
    "batches", "batch_parts",
    "a_mode", "b_mode", "relu", "added",
    "b_shared", "private", "private_size", "b_private", "pack_parts",
)  # fmt: skip

ROUTINES = (PACK, STRIDED)

# After the plan, one row per matrix of a batch: the offsets of A, B, C and D in elements.
BATCH_COLUMNS = 4


class Chunk(ChunkKernel):
    """A writer for one public kernel of matrix products."""

    def __init__(self, module: ir.Module, form: Format, name: str) -> None:
        super().__init__(module, form, name, POINTERS, PLAN)

    def bounds(self) -> tuple[tuple[Value, Value], tuple[Value, Value]]:
        """The rows and the columns that the chunk computes, in each of its matrices."""
        w, v = self.w, self.v
        part = w.rem(self.index, w.mul(v["m_parts"], v["n_parts"]))
        row, column = w.div(part, v["n_parts"]), w.rem(part, v["n_parts"])
        return self._share("m", row), self._share("n", column)

    @contextmanager
    def matrices(self) -> Iterator[list[Value]]:
        """For each of the chunk's matrices of the batch: where A, B, C and D begin."""
        w, v, p = self.w, self.v, self.p
        part = w.div(self.index, w.mul(v["m_parts"], v["n_parts"]))
        low, high = w.share(v["batches"], 1, v["batch_parts"], part)
        with w.loop(low, high) as batch:
            offsets = w.words(p["plan"], w.add(len(PLAN), w.mul(batch.index, BATCH_COLUMNS)))
            yield [w.at(p[name], w.word(offsets, i)) for i, name in enumerate("abcd")]

    def _share(self, extent: str, part: Value) -> tuple[Value, Value]:
        v = self.v
        return self.w.share(v[extent], v[f"{extent}_unit"], v[f"{extent}_parts"], part)


def build_gemm(dtype: str, target: Target) -> ir.Module:
    """The module with the chunk functions ``gemm`` and, to run before it, ``gemm_pack``."""
    module = ir.Module(f"gemm_{dtype}")
    tile = tile_for(dtype, target)
    pack = _Packing(module, tile)
    _build_shared_packing(module, tile, pack)
    _Product(module, tile, pack).build()
    return module


class _Packing:
    """How panels of A and of B are filled."""

    def __init__(self, module: ir.Module, tile: Tile) -> None:
        self.tile = tile
        self._panel, self._group = declare(module, tile, PACK), build_group_pack(module, tile)

    def right(
        self, w: Writer, source: Value, row: Value, depth: Value, kc: Value, columns: Value,
        panel: Value,
    ) -> None:  # fmt: skip
        """A panel of B, of which `columns` exist."""
        there, width = w.min(columns, self.tile.columns), w.i(self.tile.columns)
        w.b.call(self._panel, [source, row, depth, kc, there, width, panel])

    def left(
        self, w: Writer, source: Value, row: Value, depth: Value, kc: Value, at: Value,
        left: Value, panel: Value,
    ) -> None:  # fmt: skip
        """The panel `at` rows after A's first, with `left` rows to come, or a group from it on."""
        tile, size = self.tile, GROUP * self.tile.rows
        offset = w.rem(at, size)
        grouped = w.b.and_(w.eq(row, 1), w.lt(size - 1, w.add(left, offset)))

        def fill_group() -> None:
            with w.b.if_then(w.eq(offset, 0)):
                w.b.call(self._group, [source, depth, kc, panel])

        def fill_panel() -> None:
            rows = w.min(left, tile.rows)
            height = _height(w, tile, rows)
            w.b.call(self._panel, [source, row, depth, kc, rows, height, panel])

        w.choose(grouped, fill_group, fill_panel)


def _height(w: Writer, tile: Tile, rows: Value) -> Value:
    """The smallest tile height that holds `rows`."""
    height = w.i(tile.rows)
    for h in reversed(tile.heights[:-1]):
        height = w.b.select(w.b.icmp_signed("<=", rows, w.i(h)), w.i(h), height)
    return height


def _build_shared_packing(module: ir.Module, tile: Tile, packing: _Packing) -> ir.Function:
    """``gemm_pack``: chunk `index` of `pack_parts` fills its part of the shared panels."""
    c = Chunk(module, tile.form, "gemm_pack")
    w, v, p = c.w, c.v, c.p

    def pack(mode: str, extent: str, unit: int, start: Value, side: str) -> None:
        row, depth = (v["a_row"], v["a_col"]) if side == "a" else (v["b_col"], v["b_row"])
        with w.b.if_then(w.eq(v[mode], SHARED)):
            low, high = w.share(v[extent], unit, v["pack_parts"], c.index)
            padded = w.round_up(v[extent], unit)
            with w.loop(0, v["k"], v["k_block"]) as kb:
                kc = w.min(w.sub(v["k"], kb.index), v["k_block"])
                block = w.at(start, w.mul(padded, kb.index))
                with w.loop(low, high, unit) as at:
                    source = w.at(p[side], w.mul(at.index, row), w.mul(kb.index, depth))
                    panel = w.at(block, w.mul(at.index, kc))
                    left = w.sub(high, at.index)
                    if side == "a":
                        done = w.sub(at.index, low)
                        packing.left(w, source, row, depth, kc, done, left, panel)
                    else:
                        packing.right(w, source, row, depth, kc, left, panel)

    pack("a_mode", "m", tile.rows, p["work"], "a")
    pack("b_mode", "n", tile.columns, w.at(p["work"], v["b_shared"]), "b")
    return w.finish()


class _Product:
    """The loops of one chunk of a product, from the outermost inwards."""

    def __init__(self, module: ir.Module, tile: Tile, packing: _Packing) -> None:
        self.tile, self.packing = tile, packing
        self.packed = build_packed_tile(module, tile, tile.rows, tile.vectors)
        self.strided = declare(module, tile, STRIDED)
        self.chunk = c = Chunk(module, tile.form, "gemm")
        self.w, self.v, self.p = w, v, p = c.w, c.v, c.p
        (self.m0, self.m1), (self.n0, self.n1) = c.bounds()
        own = w.at(p["work"], v["private"], w.mul(c.thread, v["private_size"]))
        self.a_private, self.b_private = own, w.at(own, v["b_private"])
        self.b_shared = w.at(p["work"], v["b_shared"])

    def build(self) -> ir.Function:
        w = self.w
        with self.chunk.matrices() as (self.a, self.b, self.c, self.d):
            self._matrix()
        return w.finish()

    def _matrix(self) -> None:
        w, v = self.w, self.v
        with w.loop(self.n0, self.n1, v["n_block"]) as nb:
            n_end = w.min(w.add(nb.index, v["n_block"]), self.n1)
            with w.loop(0, v["k"], v["k_block"]) as kb:
                kc = w.min(w.sub(v["k"], kb.index), v["k_block"])
                with w.loop(self.m0, self.m1, v["m_block"]) as mb:
                    m_end = w.min(w.add(mb.index, v["m_block"]), self.m1)
                    self._block(nb.index, n_end, kb.index, kc, mb.index, m_end)

    def _block(self, n0: Value, n1: Value, k0: Value, kc: Value, m0: Value, m1: Value) -> None:
        """Rows m0..m1 and columns n0..n1, over the depths k0..k0+kc."""
        w, v, tile = self.w, self.v, self.tile
        added, added_row, low = self._epilogue(k0, kc)
        with w.loop(n0, n1, tile.columns) as j:
            columns = w.sub(n1, j.index)
            fresh = w.eq(m0, self.m0)
            right, right_row = self._columns(j.index, n0, columns, k0, kc, fresh)
            with w.loop(m0, m1, tile.rows) as i:
                rows = w.min(w.sub(m1, i.index), tile.rows)
                fresh = w.eq(j.index, n0)
                left, left_row, left_col = self._rows(i.index, m0, m1, k0, kc, fresh)
                c = w.at(self.c, w.mul(i.index, v["c_row"]), j.index)
                d = w.b.select(
                    w.is_null(added),
                    added,
                    w.at(added, w.mul(i.index, added_row), j.index),
                )
                self._tile(
                    [kc, left, left_row, left_col, right, right_row, c, v["c_row"], d, added_row],
                    low, rows, columns,
                )  # fmt: skip

    def _epilogue(self, k0: Value, kc: Value) -> tuple[Value, Value, Value]:
        """What is added to this block's sums, its row stride, and the result's lower bound."""
        w, v = self.w, self.v
        first = w.eq(k0, 0)
        null = ir.Constant(PTR, None)
        given = w.b.select(self.chunk.is_on("added"), self.d, null)
        added = w.b.select(first, given, self.c)
        added_row = w.b.select(first, v["d_row"], v["c_row"])
        last = w.eq(w.add(k0, kc), v["k"])
        return added, added_row, lower_bound(w, w.b.and_(last, self.chunk.is_on("relu")))

    def _columns(
        self, j: Value, n0: Value, columns: Value, k0: Value, kc: Value, fresh: Value
    ) -> tuple[Value, Value]:
        """Where the columns of B from `j` on are read, and the stride of their rows."""
        w, v, tile = self.w, self.v, self.tile
        direct = w.at(self.b, w.mul(k0, v["b_row"]), w.mul(j, v["b_col"]))
        private = w.at(self.b_private, w.mul(w.sub(j, n0), kc))
        padded = w.round_up(v["n"], tile.columns)
        shared = w.at(self.b_shared, w.mul(padded, k0), w.mul(j, kc))
        is_private, is_direct = w.eq(v["b_mode"], PRIVATE), w.eq(v["b_mode"], DIRECT)
        with w.b.if_then(w.b.and_(is_private, fresh)):
            self.packing.right(w, direct, v["b_col"], v["b_row"], kc, columns, private)
        p = w.b.select(is_direct, direct, w.b.select(is_private, private, shared))
        return p, w.b.select(is_direct, v["b_row"], w.i(tile.columns))

    def _rows(
        self, i: Value, m0: Value, m1: Value, k0: Value, kc: Value, fresh: Value
    ) -> tuple[Value, Value, Value]:
        """Where the rows of A from `i` on are read, and the strides there."""
        w, v, tile = self.w, self.v, self.tile
        direct = w.at(self.a, w.mul(i, v["a_row"]), w.mul(k0, v["a_col"]))
        private = w.at(self.a_private, w.mul(w.sub(i, m0), kc))
        shared = w.at(self.p["work"], w.mul(w.round_up(v["m"], tile.rows), k0), w.mul(i, kc))
        is_private, is_direct = w.eq(v["a_mode"], PRIVATE), w.eq(v["a_mode"], DIRECT)
        at, left = w.sub(i, m0), w.sub(m1, i)
        height = _height(w, tile, w.min(left, tile.rows))
        with w.b.if_then(w.b.and_(is_private, fresh)):
            self.packing.left(w, direct, v["a_row"], v["a_col"], kc, at, left, private)
        p = w.b.select(is_direct, direct, w.b.select(is_private, private, shared))
        row = w.b.select(is_direct, v["a_row"], w.i(1))
        return p, row, w.b.select(is_direct, v["a_col"], height)

    def _tile(self, head: list[Value], low: Value, rows: Value, columns: Value) -> None:
        """Call the kernel made for as many rows and columns as there are."""
        w, v, tile = self.w, self.v, self.tile
        arguments = [*head, low, rows, columns]
        packed = w.b.and_(
            w.b.icmp_signed("!=", v["a_mode"], w.i(DIRECT)),
            w.b.icmp_signed("!=", v["b_mode"], w.i(DIRECT)),
        )
        tall = w.eq(rows, tile.rows)
        wide = w.lt((tile.vectors - 1) * tile.lanes, columns)
        w.choose(
            w.b.and_(packed, w.b.and_(tall, wide)),
            lambda: w.b.call(self.packed, arguments),
            lambda: w.b.call(self.strided, arguments),
        )
