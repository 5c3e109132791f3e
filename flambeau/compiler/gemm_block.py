"""Small matrix products and transposes as functions that other kernels call.

Attention and recurrent networks multiply blocks that lie in the caches, in the middle of their own
work. They append the text of `render_block` to the text of their module and call the function: it
needs no packing, no scratch memory and no declaration of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from . import target
from .microkernel import Tile, build_strided_tile, tile_for, tile_types, tile_writer
from .packing import build_squares
from .routines import Routine
from .target import Target
from .vectors import I64, PTR, SCALARS, Writer

# Strides in elements. `accumulate` other than 0: the product is added to what C holds.
BLOCK_ARGUMENTS = (
    "a", "a_row", "a_col", "b", "b_row", "c", "c_row", "m", "n", "k", "accumulate",
)  # fmt: skip
TRANSPOSE_ARGUMENTS = ("source", "source_row", "result", "result_row", "rows", "columns")
TILES_ARGUMENTS = (
    "a", "a_row", "a_col", "b", "b_row", "c", "c_row", "d", "d_row", "low", "m", "n", "k",
)  # fmt: skip
_POINTERS = frozenset({"a", "b", "c", "d", "source", "result"})


def render_block(name: str, dtype: str, machine: Target | None = None) -> str:
    """Return the IR text of ``void @name(BLOCK_ARGUMENTS)``: C = A B, or C += A B.

    A is (m, k) with strides (a_row, a_col), B is (k, n) with strides (b_row, 1), C is (m, n) with
    strides (c_row, 1) and overlaps neither; extents may be 0. Pointers are `ptr`, aligned to an
    element, the rest `i64`; `dtype` is "float32" or "float64". The function is internal and
    reads and writes nothing beyond its operands. Append the text to a module once for each name.
    """
    module = ir.Module(name)
    tile = tile_for(dtype, machine or target.host())
    _build_block(module, tile, name)
    return _definitions(module)


def render_transpose(name: str, dtype: str, machine: Target | None = None) -> str:
    """Return the IR text of ``void @name(TRANSPOSE_ARGUMENTS)``: result[j, i] = source[i, j].

    The source is (rows, columns), the result (columns, rows), both with contiguous rows and
    apart; extents may be 0. It makes the B of a product with a transposed matrix.
    """
    module = ir.Module(name)
    build_transpose(module, tile_for(dtype, machine or target.host()), name)
    return _definitions(module)


def build_transpose(module: ir.Module, tile: Tile, name: str) -> ir.Function:
    """The internal function of TRANSPOSE_ARGUMENTS."""
    whole, part = build_squares(module, tile, f"{name}.")
    w = _writer(module, tile, name, TRANSPOSE_ARGUMENTS)
    source, source_row, result, result_row, rows, columns = w.arguments
    even = w.mul(w.div(columns, w.lanes), w.lanes)
    with w.loop(0, rows, w.lanes) as group:
        there = w.min(w.sub(rows, group.index), w.lanes)
        p, q = w.at(source, w.mul(group.index, source_row)), w.at(result, group.index)
        done = w.b.select(w.eq(there, w.lanes), even, w.i(0))
        with w.b.if_then(w.lt(0, done)):
            w.b.call(whole, [p, source_row, there, done, there, result_row, q])
        with w.b.if_then(w.lt(done, columns)):
            rest = w.at(q, w.mul(done, result_row))
            left = w.sub(columns, done)
            w.b.call(part, [w.at(p, done), source_row, there, left, there, result_row, rest])
    return w.finish()


def _writer(module: ir.Module, tile: Tile, name: str, arguments: tuple[str, ...]) -> Writer:
    return Writer(module, name, [PTR if n in _POINTERS else I64 for n in arguments], tile.form)


def _definitions(module: ir.Module) -> str:
    """The functions of a module without its header; LLVM knows its own intrinsics undeclared."""
    return "\n".join(str(f) for f in module.functions if not f.is_declaration) + "\n"


def _build_block(module: ir.Module, tile: Tile, name: str) -> None:
    widths = [v for v in (1, 2, 4) if v <= tile.vectors]
    strided = _build_strided(module, tile, widths, f"{name}.")
    tiles = build_tiles(module, tile, strided, f"{name}.tiles")
    w = _writer(module, tile, name, BLOCK_ARGUMENTS)
    a, a_row, a_col, b, b_row, c, c_row, m, n, k, accumulate = w.arguments
    added = w.b.select(w.eq(accumulate, 0), ir.Constant(PTR, None), c)
    low = ir.Constant(w.scalar, float("-inf"))
    w.b.call(tiles, [a, a_row, a_col, b, b_row, c, c_row, added, c_row, low, m, n, k])
    w.finish()


def build_tiles(module: ir.Module, tile: Tile, strided: ir.Function, name: str) -> ir.Function:
    """The internal function of TILES_ARGUMENTS: C = max(A B + D, low), D may be null."""
    types = {"low": SCALARS[tile.form.dtype]} | dict.fromkeys(_POINTERS, PTR)
    w = Writer(module, name, [types.get(n, I64) for n in TILES_ARGUMENTS], tile.form)
    a, a_row, a_col, b, b_row, c, c_row, d, d_row, low, m, n, k = w.arguments
    plain = w.is_null(d)
    with w.loop(0, n, tile.columns) as j, w.loop(0, m, tile.rows) as i:
        rows, columns = w.min(w.sub(m, i.index), tile.rows), w.sub(n, j.index)
        left, right = w.at(a, w.mul(i.index, a_row)), w.at(b, j.index)
        result = w.at(c, w.mul(i.index, c_row), j.index)
        added = w.b.select(plain, d, w.at(d, w.mul(i.index, d_row), j.index))
        w.b.call(strided, [
            k, left, a_row, a_col, right, b_row, result, c_row, added, d_row, low, rows, columns,
        ])  # fmt: skip
    return w.finish()


def _build_strided(
    module: ir.Module, tile: Tile, widths: Sequence[int] = (), prefix: str = ""
) -> ir.Function:
    """``strided``: one tile straight from matrices in memory, of at most `tile.rows` rows.

    There is a kernel for each height, and for each of the `widths`, or any number of vectors; where
    masks have no registers, also one for all columns.
    """
    widths = widths or range(1, tile.vectors + 1)
    tiles = {
        (h, v): build_strided_tile(module, tile, h, v, prefix) for h in tile.heights for v in widths
    }
    whole = {
        h: build_strided_tile(module, tile, h, tile.vectors, prefix, whole=True)
        for h in tile.heights
        if not tile.form.has_mask_registers
    }
    w, a = tile_writer(module, tile, f"{prefix}strided")

    def call(kernels: Callable[[int], ir.Function]) -> None:
        w.switch(a["m"], tile.heights, lambda h: w.b.call(kernels(h), w.arguments, tail=True))

    def call_masked() -> None:
        vectors = w.div(w.add(w.min(a["n"], tile.columns), tile.lanes - 1), tile.lanes)
        w.switch(vectors, widths, lambda v: call(lambda h: tiles[h, v]))

    if whole:
        w.choose(w.lt(a["n"], tile.columns), call_masked, lambda: call(whole.__getitem__))
    else:
        call_masked()
    return w.finish()


STRIDED = Routine("strided", tile_types, _build_strided)
