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
        _clear(w, result, v["cleared"])
        with w.loop(0, v["jobs"]) as job:
            at = w.add(len(COPY_PLAN), w.mul(job.index, len(COPY_JOB)))
            j = {name: w.word(p["plan"], w.add(at, i)) for i, name in enumerate(COPY_JOB)}
            with w.loop(0, j["rows"]) as row:
                line = w.at(source, j["from"], w.mul(row.index, j["from_row"]))
                to = w.at(result, j["to"], w.mul(row.index, j["to_row"]))
                _copy_row(w, line, j["from_col"], to, j["to_col"], j["columns"])
    return w.finish()


# ``conv_split_2``, ``_4``... take planes of images apart by the phases of a stride: so much across,
# `row_step` down. Phase f goes to the `numbers[f]`-th of the smaller planes, or nowhere if that is
# negative.
SPLIT_POINTERS = ("source", "result", "plan", "numbers")
SPLIT_PLAN = (
    "planes", "parts", "height", "width", "row_step", "result_plane", "cleared", "plane", "row",
)  # fmt: skip
SPLIT_STEPS = (2, 4, 8, 16)


def build_split(module: ir.Module, tile: Tile, step: int) -> ir.Function:
    """``conv_split_{step}``: a chunk is a part of the planes."""
    k = ChunkKernel(module, tile.form, f"conv_split_{step}", SPLIT_POINTERS, SPLIT_PLAN)
    w, p, v = k.w, k.p, k.v
    low, high = w.share(v["planes"], 1, v["parts"], k.index)
    with w.loop(low, high) as plane:
        source = w.at(p["source"], w.mul(plane.index, w.mul(v["height"], v["width"])))
        result = w.at(p["result"], w.mul(plane.index, v["result_plane"]))
        _clear(w, result, v["cleared"])
        with w.loop(0, v["row_step"]) as a, w.loop(0, v["width"], step * w.lanes) as x:
            left = w.sub(v["width"], x.index)
            reads = [w.first(w.sub(left, h * w.lanes)) for h in range(step)]
            writes = [w.first(w.div(w.add(left, step - 1 - b), step)) for b in range(step)]
            numbers = [w.word(p["numbers"], w.add(w.mul(a.index, step), b)) for b in range(step)]
            planes = [
                w.at(result, w.mul(number, v["plane"]), w.div(x.index, step)) for number in numbers
            ]
            with w.loop(a.index, v["height"], v["row_step"]) as y:
                line = w.at(source, w.mul(y.index, v["width"]), x.index)
                loaded = [
                    w.load_masked(w.at(line, h * w.lanes), mask) for h, mask in enumerate(reads)
                ]
                row = w.mul(w.div(y.index, v["row_step"]), v["row"])
                for b, values in enumerate(_take_apart(w, loaded)):
                    with w.b.if_then(w.lt(-1, numbers[b])):
                        w.store_masked(values, w.at(planes[b], row), writes[b])
    return w.finish()


def _take_apart(w: Writer, vectors: list[Value]) -> list[Value]:
    """Phase by phase, every n-th element of n vectors (a power of two)."""
    if len(vectors) == 1:
        return vectors
    found: list[list[Value]] = []
    for phase in range(2):
        places = ir.Constant(w.integers, list(range(phase, 2 * w.lanes, 2)))
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        found.append(_take_apart(w, [w.b.shuffle_vector(*pair, places) for pair in pairs]))
    return [values for pair in zip(*found, strict=True) for values in pair]


def _clear(w: Writer, p: Value, count: Value) -> None:
    with w.loop(0, count, w.lanes) as i:
        w.store_masked(w.zero(), w.at(p, i.index), w.first(w.sub(count, i.index)))


# ``conv_swap`` takes weights ``[rows][columns][taps]`` and a result ``[columns][rows][taps]``.
SWAP_PLAN = ("rows", "columns", "taps", "parts")
# Columns read of one row before the next, and how many at once.
_SWAPPED, _AT_ONCE = 32, 8


def build_swap(module: ir.Module, tile: Tile) -> ir.Function:
    """``conv_swap``: swap rows and columns; a chunk is some columns, a few at a time."""
    k = ChunkKernel(module, tile.form, "conv_swap", COPY_POINTERS, SWAP_PLAN)
    w, p, v = k.w, k.p, k.v
    low, high = w.share(v["columns"], _AT_ONCE, v["parts"], k.index)
    line = w.mul(v["columns"], v["taps"])
    last = w.sub(high, 1)
    with w.loop(low, high, _SWAPPED) as block, w.loop(0, v["rows"]) as r:
        source = w.at(p["source"], w.mul(r.index, line))
        end = w.min(w.add(block.index, _SWAPPED), high)
        with w.loop(block.index, end, _AT_ONCE) as c, w.loop(0, v["taps"], w.lanes) as t:
            mask = w.first(w.sub(v["taps"], t.index))
            for i in range(_AT_ONCE):
                column = w.min(w.add(c.index, i), last)
                x = w.load_masked(w.at(source, w.mul(column, v["taps"]), t.index), mask)
                place = w.mul(w.add(w.mul(column, v["rows"]), r.index), v["taps"])
                w.store_masked(x, w.at(p["result"], place, t.index), mask)
    return w.finish()


def _copy_row(
    w: Writer, source: Value, from_col: Value, to: Value, to_col: Value, count: Value
) -> None:
    whole = w.b.and_(w.eq(from_col, 1), w.eq(to_col, 1))
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
        lambda: w.choose(put, lambda: _put_even(w, source, to, count), step_by_step),
    )


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
