"""The products of minimal filtering at one position: a block of filters times a panel of tiles."""

from __future__ import annotations

from llvmlite import ir

from .microkernel import Tile, multiply
from .routines import Routine
from .vectors import I64, PTR, Writer

# Depth; filters, their strides between rows and along the depth; inputs and their stride; products,
# rows, vectors, whether the products hold nothing; what is to be brought near meanwhile: lines at a
# place, their stride, elements of each.
_TYPES = (I64, PTR, I64, I64, PTR, I64, PTR, I64, I64, I64, PTR, I64, I64, I64)


def _build_position(module: ir.Module, tile: Tile) -> ir.Function:
    """``position``: the product at one position, or of one part of it."""
    tiles = {
        (h, n): _build_tile(module, tile, h, n)
        for h in tile.heights
        for n in range(1, tile.vectors + 1)
    }
    w = Writer(module, "position", _TYPES, tile.form)
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


def _build_tile(module: ir.Module, tile: Tile, rows: int, vectors: int) -> ir.Function:
    """The sums of some rows and vectors; takes what `position` takes, up to `first`.

    Blocks of filters and products have whole tiles: rows that are missing hold anything.
    """
    types = [I64, PTR, I64, I64, PTR, I64, PTR, I64]
    w = Writer(module, f"tile_{rows}x{vectors}", types, tile.form)
    w.no_alias(1, 4)
    depth, filters, row, column, inputs, x_row, result, first = w.arguments
    lines = [w.at(filters, w.mul(row, r)) for r in range(rows)]
    places = [
        w.at(result, r * tile.columns + v * tile.lanes) for r in range(rows) for v in range(vectors)
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


POSITION = Routine("position", lambda tile: _TYPES, _build_position)
