"""The register tile of a matrix product: `rows` x (`vectors` * lanes) sums kept in registers.

One step of the reduction loads a few vectors of B, broadcasts one number of A per row and does one
fused multiply-add per sum, so that the multiply-add units never wait (Goto and van de Geijn,
"Anatomy of high-performance matrix multiplication", 2008). The tile's size follows from the
number and width of the machine's vector registers.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from .target import Target
from .vectors import I64, PTR, SCALARS, Format, Value, Writer

# What every tile function takes: the depth; A and its strides; B and its row stride; C and its
# row stride; D (added to the product, or null) and its row stride; the lower bound of the result
# (-inf, or 0 for a ReLU); how many rows and columns of the tile exist.
TILE_ARGUMENTS = (
    "k", "a", "a_row", "a_col", "b", "b_row", "c", "c_row", "d", "d_row", "low", "m", "n",
)  # fmt: skip
_POINTERS = ("a", "b", "c", "d")


class Tile(NamedTuple):
    """The shape of the register tile for one element type on one machine."""

    form: Format
    rows: int
    vectors: int

    @property
    def lanes(self) -> int:
        return self.form.lanes

    @property
    def columns(self) -> int:
        return self.form.lanes * self.vectors

    @property
    def heights(self) -> tuple[int, ...]:
        """The tile heights worth a kernel of their own, rising; the last is `rows`."""
        return (*(h for h in (1, 2, 3, 4, 6, 8) if h < self.rows), self.rows)


def tile_for(dtype: str, target: Target) -> Tile:
    """The tile for `dtype` on `target`: 24 sums of 32 registers, 12 of 16.

    Six rows: few enough that rows of C a multiple of 4096 bytes apart still fit one set of an
    eight-way cache, and few enough pages for the first-level TLB.
    """
    lanes = target.vector_bytes // Format(dtype, 1).size
    fused = target.vector_bytes > 16 or target.architecture == "aarch64"
    return Tile(Format(dtype, lanes, fused), 6, 4 if target.vector_registers >= 32 else 2)


def tile_types(tile: Tile) -> list[ir.Type]:
    """The types of the arguments of a tile."""
    types = {"low": SCALARS[tile.form.dtype]} | dict.fromkeys(_POINTERS, PTR)
    return [types.get(n, I64) for n in TILE_ARGUMENTS]


def tile_writer(module: ir.Module, tile: Tile, name: str) -> tuple[Writer, dict[str, Value]]:
    """A writer for a function with the arguments of a tile, and these by name."""
    w = Writer(module, name, tile_types(tile), tile.form)
    w.no_alias(TILE_ARGUMENTS.index("a"), TILE_ARGUMENTS.index("b"))
    return w, dict(zip(TILE_ARGUMENTS, w.arguments, strict=True))


def build_packed_tile(module: ir.Module, tile: Tile, rows: int, vectors: int) -> ir.Function:
    """The tile over panels A ``[k][rows]`` and B ``[k][tile.columns]``, both without gaps."""
    w, a = tile_writer(module, tile, f"packed_{rows}x{vectors}")
    _prefetch_rows(w, a, rows, vectors)
    zeros = [w.zero()] * (rows * vectors)
    with w.loop(0, a["k"], carried=zeros) as step:
        left = w.at(a["a"], w.mul(step.index, rows))
        right = w.at(a["b"], w.mul(step.index, tile.columns))
        loaded = [w.load_vector(w.at(right, v * tile.lanes)) for v in range(vectors)]
        numbers = [w.load(w.at(left, r)) for r in range(rows)]
        step.next = multiply(w, numbers, loaded, step.carried)
    store_tile(w, tile, a, step.carried, rows, vectors)
    return w.finish()


def build_strided_tile(
    module: ir.Module, tile: Tile, rows: int, vectors: int, prefix: str = "", whole: bool = False
) -> ir.Function:
    """The tile straight from matrices in memory: A of any strides, B with contiguous rows.

    With `whole`, all columns exist.
    """
    kind = "whole" if whole else "strided"
    w, a = tile_writer(module, tile, f"{prefix}{kind}_{rows}x{vectors}")
    last = w.sub(a["m"], 1)
    lines = [w.at(a["a"], w.mul(a["a_row"], w.min(r, last) if r else 0)) for r in range(rows)]
    masks = [w.first(w.sub(a["n"], v * tile.lanes)) for v in range(vectors)]
    zeros = [w.zero()] * (rows * vectors)
    with w.loop(0, a["k"], carried=zeros) as step:
        right = w.at(a["b"], w.mul(step.index, a["b_row"]))
        depth = w.mul(step.index, a["a_col"])
        places = [w.at(right, v * tile.lanes) for v in range(vectors)]
        loaded = [
            w.load_vector(p) if whole else w.load_masked(p, mask)
            for p, mask in zip(places, masks, strict=True)
        ]
        numbers = [w.load(w.at(line, depth)) for line in lines]
        step.next = multiply(w, numbers, loaded, step.carried)
    store_tile(w, tile, a, step.carried, rows, vectors, whole)
    return w.finish()


def multiply(
    w: Writer, numbers: list[Value], loaded: list[Value], sums: list[Value]
) -> list[Value]:
    """One step of the reduction: every number of A times every vector of B, onto the sums."""
    width = len(loaded)
    return [
        w.fma(w.splat(x), y, sums[r * width + v])
        for r, x in enumerate(numbers)
        for v, y in enumerate(loaded)
    ]


def _prefetch_rows(w: Writer, a: dict[str, Value], rows: int, vectors: int) -> None:
    # The sums meet C only after the whole reduction: ask for its lines now.
    line = 64 // w.size
    for r in range(rows):
        for column in range(0, vectors * w.lanes, line):
            w.prefetch(w.at(a["c"], w.mul(a["c_row"], r), column), write=True)


def store_tile(
    w: Writer, tile: Tile, a: dict[str, Value], sums: list[Value], rows: int, vectors: int,
    whole: bool = False,
) -> None:  # fmt: skip
    """Write ``max(sums + D, low)`` to the rows and columns of C that exist, all if `whole`."""
    low = w.splat(a["low"])

    def write(masked: bool, added: bool) -> None:
        masks = [w.first(w.sub(a["n"], v * tile.lanes)) for v in range(vectors)] if masked else []
        for r in range(rows):
            if r < sure:
                write_row(r, masks, added)
            else:
                with w.b.if_then(w.lt(r, a["m"])):
                    write_row(r, masks, added)

    def write_row(r: int, masks: list[Value], added: bool) -> None:
        c = w.at(a["c"], w.mul(a["c_row"], r))
        d = w.at(a["d"], w.mul(a["d_row"], r)) if added else None
        for v in range(vectors):
            x = sums[r * vectors + v]
            if d is not None:
                p = w.at(d, v * tile.lanes)
                x = w.plus(x, w.load_masked(p, masks[v]) if masks else w.load_vector(p))
            x = w.at_least(x, low)
            p = w.at(c, v * tile.lanes)
            if masks:
                w.store_masked(x, p, masks[v])
            else:
                w.b.store(x, p, align=w.size)

    # A tile is called with more rows than the next smaller height has.
    sure = max((h for h in tile.heights if h < rows), default=0) + 1

    def write_all(masked: bool) -> None:
        w.choose(w.is_null(a["d"]), lambda: write(masked, False), lambda: write(masked, True))

    if not whole and rows == tile.rows and vectors == tile.vectors:
        all_exist = w.b.icmp_signed(">=", a["n"], w.i(vectors * tile.lanes))
        w.choose(all_exist, lambda: write_all(False), lambda: write_all(True))
    else:
        write_all(not whole)


# A tile of a convolution reads A through tables: where each row begins, and how far along the row
# each step of the depth lies. B is a panel ``[k][tile.columns]``. `bias` may be null; `first` says
# that C holds nothing yet; `outs` lists where the vectors of a row go (see `build_scatter`); `low`
# is the lower bound of the result.
OFFSET_ARGUMENTS = (
    "k", "a", "rows", "depths", "b", "c", "c_row", "bias", "first", "whole", "outs", "segments",
    "low", "m",
)  # fmt: skip
_OFFSET_POINTERS = ("a", "rows", "depths", "b", "c", "bias", "outs")


def offset_heights(tile: Tile) -> tuple[int, ...]:
    """The heights of the tiles of a convolution, rising."""
    return tuple(h for h in (1, 2, 4, tile.rows) if h <= tile.rows)


def build_offset_tile(
    module: ir.Module, tile: Tile, rows: int, vectors: int, scatter: ir.Function
) -> ir.Function:
    """The tile of a convolution; where `whole`, its vectors follow each other in C."""
    kinds = dict.fromkeys(_OFFSET_POINTERS, PTR) | {"low": SCALARS[tile.form.dtype]}
    types = [kinds.get(n, I64) for n in OFFSET_ARGUMENTS]
    w = Writer(module, f"offset_{rows}x{vectors}", types, tile.form)
    w.no_alias(OFFSET_ARGUMENTS.index("a"), OFFSET_ARGUMENTS.index("b"))
    a = dict(zip(OFFSET_ARGUMENTS, w.arguments, strict=True))
    last = w.sub(a["m"], 1)
    lines = [w.at(a["a"], w.word(a["rows"], w.min(r, last) if r else 0)) for r in range(rows)]
    zeros = [w.zero()] * (rows * vectors)
    with w.loop(0, a["k"], carried=zeros) as step:
        depth = w.word(a["depths"], step.index)
        right = w.at(a["b"], w.mul(step.index, tile.columns))
        loaded = [w.load_vector(w.at(right, v * tile.lanes)) for v in range(vectors)]
        numbers = [w.load(w.at(line, depth)) for line in lines]
        step.next = multiply(w, numbers, loaded, step.carried)
    sums = step.carried

    def store_whole() -> None:
        w.choose(
            w.b.icmp_signed("!=", a["first"], w.i(0)), lambda: _store(True), lambda: _store(False)
        )

    def _store(first: bool) -> None:
        low = w.splat(a["low"])
        for r in range(rows):
            with w.b.if_then(w.lt(r, a["m"])):
                bias = w.splat(load_bias(w, a["bias"], w.i(r))) if first else None
                for v in range(vectors):
                    p = w.at(a["c"], w.mul(a["c_row"], r), v * tile.lanes)
                    other = w.load_vector(p) if bias is None else bias
                    x = w.at_least(w.b.fadd(sums[r * vectors + v], other), low)
                    w.b.store(x, p, align=w.size)

    def store_scattered() -> None:
        for i, x in enumerate(sums):
            w.b.store(x, w.at(buffer, i * tile.lanes), align=w.size)
        w.b.call(
            scatter,
            [buffer, w.i(vectors), a["c"], a["c_row"], a["bias"], a["first"], a["outs"],
             a["segments"], a["m"], a["low"]],
        )  # fmt: skip

    with w.b.goto_entry_block():
        buffer = w.b.alloca(w.vector, rows * vectors)
    w.choose(w.b.icmp_signed("!=", a["whole"], w.i(0)), store_whole, store_scattered)
    return w.finish()


def lower_bound(w: Writer, bounded: Value) -> Value:
    """What results are at least: zero where `bounded`, minus infinity elsewhere."""
    return w.b.select(bounded, *(ir.Constant(w.scalar, x) for x in (0.0, float("-inf"))))


def load_bias(w: Writer, bias: Value, index: Value) -> Value:
    """The number `index` of `bias`, or zero where `bias` is null."""
    nothing = w.is_null(bias)
    before = w.b.block
    with w.b.if_then(w.b.not_(nothing)):
        x = w.load(w.at(bias, index))
        loaded = w.b.block
    result = w.b.phi(w.scalar)
    result.add_incoming(ir.Constant(w.scalar, 0.0), before)
    result.add_incoming(x, loaded)
    return result


def build_scatter(module: ir.Module, tile: Tile) -> ir.Function:
    """``scatter``: write the sums of a tile to C, vector by vector, each in a few segments.

    Takes the sums, vectors a row, C, its row stride, bias, first, the table of (offset, mask)
    pairs, segments a vector, the rows, and the lower bound of the result.
    """
    types = [PTR, I64, PTR, I64, PTR, I64, PTR, I64, I64, SCALARS[tile.form.dtype]]
    w = Writer(module, "scatter", types, tile.form)
    sums, vectors, c, c_row, bias, first, outs, segments, m, bound = w.arguments
    low = w.splat(bound)
    fresh = w.b.icmp_signed("!=", first, w.i(0))
    with w.loop(0, m) as r:
        added = w.splat(load_bias(w, bias, r.index))
        line = w.at(c, w.mul(c_row, r.index))
        with w.loop(0, vectors) as v:
            at = w.add(w.mul(r.index, vectors), v.index)
            x = w.load_vector(w.at(sums, w.mul(at, tile.lanes)))
            with w.loop(0, segments) as s:
                entry = w.mul(w.add(w.mul(v.index, segments), s.index), 2)
                p = w.at(line, w.word(outs, entry))
                mask = w.mask_bits(w.word(outs, w.add(entry, 1)))
                with w.b.if_else(fresh) as (then, otherwise):
                    with then:
                        w.store_masked(w.at_least(w.b.fadd(x, added), low), p, mask)
                    with otherwise:
                        total = w.b.fadd(x, w.load_masked(p, mask))
                        w.store_masked(w.at_least(total, low), p, mask)
    return w.finish()
