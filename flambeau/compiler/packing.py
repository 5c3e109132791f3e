"""Copying pieces of matrices into panels that a register tile reads from end to end.

A panel of `width` rows and depth k is stored as ``[k][width]``. The rows of A and the columns of B
are packed by the same function: only the strides change places.
"""

from __future__ import annotations

from llvmlite import ir

from .microkernel import Tile
from .routines import Routine
from .vectors import I64, PTR, Value, Writer

# What a packing function takes: the source, the stride between rows and along the depth, the depth,
# the rows that exist, the width of the panel, and the panel.
PACK_ARGUMENTS = ("source", "row", "depth", "k", "rows", "width", "panel")
_TYPES = (PTR, I64, I64, I64, I64, I64, PTR)

# Panels that are filled together where a row of A's columns has all their numbers side by side:
# the rows may be pages apart, and few lines of so many fit the first cache.
GROUP = 4
# How many vectors ahead each of the many rows of a transpose is asked for: more rows than a
# processor follows by itself.
_AHEAD = 4


def _build_pack(module: ir.Module, tile: Tile) -> ir.Function:
    """``pack``: fills one panel, of any width; rows that are missing hold anything."""
    whole, part = build_squares(module, tile)
    w, a = _writer(module, tile, "pack")
    groups = range(0, max(tile.rows, tile.columns), tile.lanes)
    w.choose(
        w.eq(a["row"], 1),
        lambda: _copy(w, a, groups),
        lambda: w.choose(
            w.eq(a["depth"], 1), lambda: _transpose(w, a, whole, part), lambda: _gather(w, a)
        ),
    )
    return w.finish()


PACK = Routine("pack", lambda tile: _TYPES, _build_pack)


def build_group_pack(module: ir.Module, tile: Tile) -> ir.Function:
    """``pack_group``: GROUP panels of whole rows that lie side by side, read a line at a time.

    Takes the source, the stride along its depth, the depth and the first panel.
    """
    w = Writer(module, "pack_group", [PTR, I64, I64, PTR], tile.form)
    w.no_alias(0, 3)
    source, depth, k, panel = w.arguments
    masks = {at: w.first(w.i(tile.rows - at)) for at in range(0, tile.rows, tile.lanes)}
    with w.loop(0, k) as step:
        line = w.at(source, w.mul(step.index, depth))
        to = w.at(panel, w.mul(step.index, tile.rows))
        for p in range(GROUP):
            for at, mask in masks.items():
                x = w.load_masked(w.at(line, p * tile.rows + at), mask)
                w.store_masked(x, w.at(to, w.mul(k, p * tile.rows), at), mask)
    return w.finish()


def build_squares(
    module: ir.Module, tile: Tile, prefix: str = ""
) -> tuple[ir.Function, ir.Function]:
    """The transposes of `lanes` whole rows and of any part, with the arguments of a packing.

    `depth` is how many rows of the panel are stored, `width` the stride from step to step.
    """
    whole = _build_whole_square(module, tile, prefix)
    return whole, _build_part_square(module, tile, prefix)


def _writer(module: ir.Module, tile: Tile, name: str) -> tuple[Writer, dict[str, Value]]:
    w = Writer(module, name, _TYPES, tile.form)
    w.no_alias(PACK_ARGUMENTS.index("source"), PACK_ARGUMENTS.index("panel"))
    return w, dict(zip(PACK_ARGUMENTS, w.arguments, strict=True))


def _copy(w: Writer, a: dict[str, Value], groups: range) -> None:
    """Rows lie side by side: each step of the depth is a few whole vectors."""
    present = [w.first(w.sub(a["rows"], g)) for g in groups]
    wanted = [w.first(w.sub(a["width"], g)) for g in groups]
    with w.loop(0, a["k"]) as step:
        source = w.at(a["source"], w.mul(step.index, a["depth"]))
        panel = w.at(a["panel"], w.mul(step.index, a["width"]))
        for g, p, q in zip(groups, present, wanted, strict=True):
            w.store_masked(w.load_masked(w.at(source, g), p), w.at(panel, g), q)


def _transpose(w: Writer, a: dict[str, Value], whole: ir.Function, part: ir.Function) -> None:
    """The depth is contiguous: squares of `lanes` rows are transposed in registers."""
    with w.loop(0, a["width"], w.lanes) as group:
        g = group.index
        source, panel = w.at(a["source"], w.mul(g, a["row"])), w.at(a["panel"], g)
        rows = w.min(w.sub(a["rows"], g), w.lanes)
        stored = w.min(w.sub(a["width"], g), w.lanes)
        square = w.b.and_(w.eq(rows, w.lanes), w.eq(stored, w.lanes))
        multiple = w.mul(w.div(a["k"], w.lanes), w.lanes)
        done = w.b.select(square, multiple, w.i(0))
        with w.b.if_then(w.lt(0, done)):
            w.b.call(whole, [source, a["row"], stored, done, rows, a["width"], panel])
        with w.b.if_then(w.b.and_(w.lt(done, a["k"]), w.lt(0, rows))):
            rest = w.at(panel, w.mul(done, a["width"]))
            left = w.sub(a["k"], done)
            w.b.call(part, [w.at(source, done), a["row"], stored, left, rows, a["width"], rest])


def _build_whole_square(module: ir.Module, tile: Tile, prefix: str) -> ir.Function:
    """``pack_whole``: `lanes` rows, to a depth that is a multiple of `lanes`."""
    w, a = _writer(module, tile, f"{prefix}pack_whole")
    lines = [w.at(a["source"], w.mul(a["row"], r)) for r in range(w.lanes)]
    with w.loop(0, a["k"], w.lanes) as step:
        for line in lines:
            w.prefetch(w.at(line, step.index, _AHEAD * w.lanes))
        columns = w.transpose([w.load_vector(w.at(line, step.index)) for line in lines])
        panel = w.at(a["panel"], w.mul(step.index, a["width"]))
        for q, column in enumerate(columns):
            w.b.store(column, w.at(panel, w.mul(a["width"], q)), align=w.size)
    return w.finish()


def _build_part_square(module: ir.Module, tile: Tile, prefix: str) -> ir.Function:
    """``pack_part``: fewer rows than lanes, `depth` of them stored, or an odd depth."""
    w, a = _writer(module, tile, f"{prefix}pack_part")
    last = w.sub(a["rows"], 1)
    lines = [w.at(a["source"], w.mul(a["row"], w.min(r, last))) for r in range(w.lanes)]
    wanted = w.first(a["depth"])
    with w.loop(0, a["k"], w.lanes) as step:
        left = w.sub(a["k"], step.index)
        mask = w.first(left)
        columns = w.transpose([w.load_masked(w.at(line, step.index), mask) for line in lines])
        panel = w.at(a["panel"], w.mul(step.index, a["width"]))
        for q, column in enumerate(columns):
            with w.b.if_then(w.lt(q, left)):
                w.store_masked(column, w.at(panel, w.mul(a["width"], q)), wanted)
    return w.finish()


def _gather(w: Writer, a: dict[str, Value]) -> None:
    """No stride is one: element by element."""
    nothing = ir.Constant(w.scalar, 0.0)
    with w.loop(0, a["k"]) as step:
        source = w.at(a["source"], w.mul(step.index, a["depth"]))
        panel = w.at(a["panel"], w.mul(step.index, a["width"]))
        with w.loop(0, a["rows"]) as row:
            w.store(w.load(w.at(source, w.mul(row.index, a["row"]))), w.at(panel, row.index))
        with w.loop(a["rows"], a["width"]) as row:
            w.store(nothing, w.at(panel, row.index))
