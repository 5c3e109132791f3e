"""Matrix products with few rows, bounded by the reading of B, and tiles of dot products.

Where B's rows are contiguous, rows of B are scaled and added; where its columns are, tiles of dot
products read rows of A and columns of B side by side, so that neither has to be packed.
"""

from __future__ import annotations

from llvmlite import ir

from .gemm import Chunk
from .microkernel import lower_bound, tile_for
from .target import Target
from .vectors import I64, PTR, SCALARS, Format, Value, Writer

DOT_ARGUMENTS = (
    "k", "a", "a_row", "b", "b_col", "c", "c_row", "c_col", "d", "d_row", "d_col", "low", "m", "n",
)  # fmt: skip
_POINTERS = ("a", "b", "c", "d")

DOT_ROWS, DOT_COLUMNS = 4, 4

# How many rows of B are added to the result in one pass over it.
ROWS_PER_PASS = 8


def build_dot_tile(module: ir.Module, form: Format, rows: int, columns: int) -> ir.Function:
    """``C = max(A B + D, low)`` for up to `rows` x `columns` results, each a dot product.

    Both operands are contiguous along the depth; lanes are added up once, at the end.
    """
    types = {"low": SCALARS[form.dtype]} | dict.fromkeys(_POINTERS, PTR)
    name = f"dots_{rows}x{columns}"
    w = Writer(module, name, [types.get(n, I64) for n in DOT_ARGUMENTS], form)
    w.no_alias(DOT_ARGUMENTS.index("a"), DOT_ARGUMENTS.index("b"))
    a = dict(zip(DOT_ARGUMENTS, w.arguments, strict=True))
    left = _lines(w, a["a"], a["a_row"], rows, a["m"])
    right = _lines(w, a["b"], a["b_col"], columns, a["n"])
    whole = w.mul(w.div(a["k"], w.lanes), w.lanes)

    def advance(at: Value, sums: list[Value], mask: Value | None) -> list[Value]:
        def load(line: Value) -> Value:
            p = w.at(line, at)
            return w.load_vector(p) if mask is None else w.load_masked(p, mask)

        ys = [load(line) for line in right]
        return [
            w.fma(x, y, sums[r * columns + q])
            for r, x in enumerate(map(load, left))
            for q, y in enumerate(ys)
        ]

    with w.loop(0, whole, w.lanes, [w.zero()] * (rows * columns)) as step:
        step.next = advance(step.index, step.carried, None)
    with w.loop(whole, a["k"], w.lanes, step.carried) as rest:
        rest.next = advance(rest.index, rest.carried, w.first(w.sub(a["k"], rest.index)))
    _store_dots(w, a, rest.carried, rows, columns)
    return w.finish()


def _lines(w: Writer, start: Value, stride: Value, count: int, existing: Value) -> list[Value]:
    """The addresses of `count` lines; those that do not exist repeat the last."""
    last = w.sub(existing, 1)
    return [w.at(start, w.mul(stride, w.min(r, last) if r else 0)) for r in range(count)]


def _store_dots(w: Writer, a: dict[str, Value], sums: list[Value], rows: int, columns: int) -> None:
    plain = w.is_null(a["d"])
    nothing = ir.Constant(w.scalar, 0.0)
    for r in range(rows):
        for q in range(columns):
            total = w.sum(sums[r * columns + q])
            with w.b.if_then(w.b.and_(w.lt(r, a["m"]), w.lt(q, a["n"]))):
                before = w.b.block
                with w.b.if_then(w.b.not_(plain)):
                    d = w.load(w.at(a["d"], w.mul(a["d_row"], r), w.mul(a["d_col"], q)))
                    loaded = w.b.block
                added = w.b.phi(w.scalar)
                added.add_incoming(nothing, before)
                added.add_incoming(d, loaded)
                value = w.at_least(w.plus(total, added), a["low"])
                w.store(value, w.at(a["c"], w.mul(a["c_row"], r), w.mul(a["c_col"], q)))


def build_rows(module: ir.Module, form: Format) -> ir.Function:
    """``rows``: one row ``C = max(a B + D, low)`` as a sum of scaled rows of B.

    Takes k, a and its stride, B and its row stride, C, D or null, low, and the columns n.
    """
    scalar = SCALARS[form.dtype]
    types = [I64, PTR, I64, PTR, I64, PTR, PTR, scalar, I64]
    w = Writer(module, "rows", types, form)
    w.no_alias(1, 3)
    k, a, a_col, b, b_row, c, d, low, n = w.arguments
    _start_row(w, c, d, n)
    whole = w.mul(w.div(k, ROWS_PER_PASS), ROWS_PER_PASS)
    even = w.mul(w.div(n, w.lanes), w.lanes)
    for start, stop, count in ((0, whole, ROWS_PER_PASS), (whole, k, 1)):
        with w.loop(start, stop, count) as pass_:
            depth = [w.add(pass_.index, r) for r in range(count)]
            numbers = [w.splat(w.load(w.at(a, w.mul(a_col, q)))) for q in depth]
            lines = [w.at(b, w.mul(b_row, q)) for q in depth]
            _add_rows(w, numbers, lines, c, even, n)
    bound = w.splat(low)
    bounded = w.b.fcmp_ordered("==", low, ir.Constant(scalar, 0.0))
    with w.b.if_then(bounded), w.loop(0, n, w.lanes) as j:
        mask, p = w.first(w.sub(n, j.index)), w.at(c, j.index)
        w.store_masked(w.at_least(w.load_masked(p, mask), bound), p, mask)
    return w.finish()


def _add_rows(
    w: Writer, numbers: list[Value], lines: list[Value], c: Value, even: Value, n: Value
) -> None:
    """Add the scaled rows to C: whole vectors, since masked stores delay later loads; the rest."""
    with w.loop(0, even, w.lanes) as j:
        total = w.load_vector(w.at(c, j.index))
        for x, line in zip(numbers, lines, strict=True):
            total = w.fma(x, w.load_vector(w.at(line, j.index)), total)
        w.b.store(total, w.at(c, j.index), align=w.size)
    with w.b.if_then(w.lt(even, n)):
        mask = w.first(w.sub(n, even))
        total = w.load_masked(w.at(c, even), mask)
        for x, line in zip(numbers, lines, strict=True):
            total = w.fma(x, w.load_masked(w.at(line, even), mask), total)
        w.store_masked(total, w.at(c, even), mask)


def _start_row(w: Writer, c: Value, d: Value, n: Value) -> None:
    """Fill the row with D, or with zeros."""

    def fill(given: bool) -> None:
        with w.loop(0, n, w.lanes) as j:
            mask = w.first(w.sub(n, j.index))
            x = w.load_masked(w.at(d, j.index), mask) if given else w.zero()
            w.store_masked(x, w.at(c, j.index), mask)

    # A masked load from a null pointer reads nothing, but costs hundreds of cycles.
    w.choose(w.is_null(d), lambda: fill(False), lambda: fill(True))


def build_skinny(dtype: str, target: Target) -> ir.Module:
    """The module with the chunk functions ``gemm_dots`` and ``gemm_rows``."""
    module = ir.Module(f"skinny_{dtype}")
    form = tile_for(dtype, target).form
    _build_dots(module, form)
    _build_rows(module, form)
    return module


def _build_dots(module: ir.Module, form: Format) -> ir.Function:
    """``gemm_dots``: four columns of B stay in the first cache while all rows of A pass by."""
    heights = (1, 2, DOT_ROWS)
    bodies = {h: build_dot_tile(module, form, h, DOT_COLUMNS) for h in heights}
    chunk = Chunk(module, form, "gemm_dots")
    w, v = chunk.w, chunk.v
    (m0, m1), (n0, n1) = chunk.bounds()
    added, low = chunk.is_on("added"), lower_bound(w, chunk.is_on("relu"))
    with (
        chunk.matrices() as (a, b, c, d),
        w.loop(n0, n1, DOT_COLUMNS) as j,
        w.loop(m0, m1, DOT_ROWS) as i,
    ):
        rows = w.min(w.sub(m1, i.index), DOT_ROWS)
        at_d = w.at(d, w.mul(i.index, v["d_row"]), w.mul(j.index, v["d_col"]))
        arguments = [
            v["k"],
            w.at(a, w.mul(i.index, v["a_row"])), v["a_row"],
            w.at(b, w.mul(j.index, v["b_col"])), v["b_col"],
            w.at(c, w.mul(i.index, v["c_row"]), w.mul(j.index, v["c_col"])),
            v["c_row"], v["c_col"],
            w.b.select(added, at_d, ir.Constant(PTR, None)), v["d_row"], v["d_col"],
            low, rows, w.min(w.sub(n1, j.index), DOT_COLUMNS),
        ]  # fmt: skip
        w.switch(rows, heights, lambda h: w.b.call(bodies[h], arguments))
    return w.finish()


def _build_rows(module: ir.Module, form: Format) -> ir.Function:
    """``gemm_rows``: each row of A in turn, over the chunk's columns of B."""
    body = build_rows(module, form)
    chunk = Chunk(module, form, "gemm_rows")
    w, v = chunk.w, chunk.v
    (m0, m1), (n0, n1) = chunk.bounds()
    added, low = chunk.is_on("added"), lower_bound(w, chunk.is_on("relu"))
    with chunk.matrices() as (a, b, c, d), w.loop(m0, m1) as i:
        at_d = w.at(d, w.mul(i.index, v["d_row"]), n0)
        arguments = [
            v["k"], w.at(a, w.mul(i.index, v["a_row"])), v["a_col"], w.at(b, n0), v["b_row"],
            w.at(c, w.mul(i.index, v["c_row"]), n0),
            w.b.select(added, at_d, ir.Constant(PTR, None)), low, w.sub(n1, n0),
        ]  # fmt: skip
        w.b.call(body, arguments)
    return w.finish()
