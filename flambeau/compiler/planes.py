"""Copying planes of images: into a padded plane, apart by phase of a stride, and together again."""

from __future__ import annotations

from llvmlite import ir

from .microkernel import Tile
from .vectors import ChunkKernel, Value, Writer

# ``conv_copy`` takes source and result. For each of `planes` planes, `source_plane` and
# `result_plane` elements apart, it zeroes `cleared` elements of the result's plane and does `jobs`
# jobs: copy `rows` x `columns` elements from one place and pair of strides to another.
COPY_POINTERS = ("source", "result", "plan")
COPY_PLAN = ("planes", "parts", "source_plane", "result_plane", "cleared", "jobs")
COPY_JOB = ("from", "from_row", "from_col", "to", "to_row", "to_col", "rows", "columns")


def build_copy(module: ir.Module, tile: Tile) -> ir.Function:
    """``conv_copy``: a chunk is a part of the planes."""
    k = ChunkKernel(module, tile.form, "conv_copy", COPY_POINTERS, COPY_PLAN)
    w, p, v = k.w, k.p, k.v
    low, high = w.share(v["planes"], 1, v["parts"], k.index)
    with w.loop(low, high) as plane:
        source = w.at(p["source"], w.mul(plane.index, v["source_plane"]))
        result = w.at(p["result"], w.mul(plane.index, v["result_plane"]))
        with w.loop(0, v["cleared"], w.lanes) as i:
            mask = w.first(w.sub(v["cleared"], i.index))
            w.store_masked(w.zero(), w.at(result, i.index), mask)
        with w.loop(0, v["jobs"]) as job:
            at = w.add(len(COPY_PLAN), w.mul(job.index, len(COPY_JOB)))
            j = {name: w.word(p["plan"], w.add(at, i)) for i, name in enumerate(COPY_JOB)}
            with w.loop(0, j["rows"]) as row:
                line = w.at(source, j["from"], w.mul(row.index, j["from_row"]))
                to = w.at(result, j["to"], w.mul(row.index, j["to_row"]))
                _copy_row(w, line, j["from_col"], to, j["to_col"], j["columns"])
    return w.finish()


# ``conv_swap`` takes weights ``[rows][columns][taps]`` and a result ``[columns][rows][taps]``.
SWAP_PLAN = ("rows", "columns", "taps", "parts")
_SWAPPED = 8


def build_swap(module: ir.Module, tile: Tile) -> ir.Function:
    """``conv_swap``: swap rows and columns; a chunk is some columns, a few at a time."""
    k = ChunkKernel(module, tile.form, "conv_swap", COPY_POINTERS, SWAP_PLAN)
    w, p, v = k.w, k.p, k.v
    low, high = w.share(v["columns"], _SWAPPED, v["parts"], k.index)
    line = w.mul(v["columns"], v["taps"])
    last = w.sub(high, 1)
    with w.loop(low, high, _SWAPPED) as c, w.loop(0, v["rows"]) as r:
        source = w.at(p["source"], w.mul(r.index, line))
        with w.loop(0, v["taps"], w.lanes) as t:
            mask = w.first(w.sub(v["taps"], t.index))
            for i in range(_SWAPPED):
                column = w.min(w.add(c.index, i), last)
                x = w.load_masked(w.at(source, w.mul(column, v["taps"]), t.index), mask)
                place = w.mul(w.add(w.mul(column, v["rows"]), r.index), v["taps"])
                w.store_masked(x, w.at(p["result"], place, t.index), mask)
    return w.finish()


def _copy_row(
    w: Writer, source: Value, from_col: Value, to: Value, to_col: Value, count: Value
) -> None:
    whole = w.b.and_(w.eq(from_col, 1), w.eq(to_col, 1))
    take = w.b.and_(w.eq(from_col, 2), w.eq(to_col, 1))
    put = w.b.and_(w.eq(from_col, 1), w.eq(to_col, 2))

    def plain() -> None:
        with w.loop(0, count, w.lanes) as i:
            mask = w.first(w.sub(count, i.index))
            w.store_masked(w.load_masked(w.at(source, i.index), mask), w.at(to, i.index), mask)

    def step_by_step() -> None:
        with w.loop(0, count) as i:
            x = w.load(w.at(source, w.mul(i.index, from_col)))
            w.store(x, w.at(to, w.mul(i.index, to_col)))

    w.choose(
        whole,
        plain,
        lambda: w.choose(
            take,
            lambda: _take_even(w, source, to, count),
            lambda: w.choose(put, lambda: _put_even(w, source, to, count), step_by_step),
        ),
    )


def _take_even(w: Writer, source: Value, to: Value, count: Value) -> None:
    """Every second element of the source, side by side."""
    extent = w.sub(w.mul(count, 2), 1)
    even = ir.Constant(w.integers, list(range(0, 2 * w.lanes, 2)))
    with w.loop(0, count, w.lanes) as i:
        at = w.mul(i.index, 2)
        halves = [
            w.load_masked(w.at(source, at, h), w.first(w.sub(w.sub(extent, at), h)))
            for h in (0, w.lanes)
        ]
        mask = w.first(w.sub(count, i.index))
        w.store_masked(w.b.shuffle_vector(*halves, even), w.at(to, i.index), mask)


def _put_even(w: Writer, source: Value, to: Value, count: Value) -> None:
    """Elements that lie side by side, to every second place of the result."""
    places = ir.Constant(w.mask, [int(lane % 2 == 0) for lane in range(w.lanes)])
    with w.loop(0, count, w.lanes) as i:
        x = w.load_masked(w.at(source, i.index), w.first(w.sub(count, i.index)))
        for h in range(2):
            half = w.lanes // 2 * h
            spread = [half + lane // 2 for lane in range(w.lanes)]
            wide = w.b.shuffle_vector(x, x, ir.Constant(w.integers, spread))
            left = w.mul(w.sub(w.sub(count, i.index), half), 2)
            mask = w.b.and_(places, w.first(left))
            w.store_masked(wide, w.at(to, w.mul(i.index, 2), 2 * half), mask)
