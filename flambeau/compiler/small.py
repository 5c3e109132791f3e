"""Small matrix products in one call: shapes and strides are read from the arrays by the kernel.

For products of a few microseconds, where a plan would take as long to look up as the product.
"""

from __future__ import annotations

from llvmlite import ir

from .gemm_block import STRIDED, build_tiles, build_transpose
from .microkernel import Tile, lower_bound, tile_for
from .routines import declare
from .target import Target
from .vectors import I64, PTR, Value, Writer

# Parameters for `launch.bind`: A, B, D or None, C; whether B is transposed; whether D is as large
# as C, not a row for each of C's rows; whether results below zero become zero; beta and alpha. C
# and D have no gaps.
PARAMETERS = "A:{0} A:{0} o:{0}:c a:{0}:cw i i i f f"

ROUTINES = (STRIDED,)

# The most multiply-adds, with columns rounded up to whole vectors.
MOST = 64 * 64 * 64
# Multiply-adds of which many may be in vain.
_NEGLIGIBLE = 1 << 15
# The most elements of a B that has to be transposed first, on the stack.
_MOST_TURNED = 4096


def build_small(dtype: str, target: Target) -> ir.Module:
    """The module with ``i64 small(i64* words)``: C = beta D + alpha A B, and 1.

    A is (..., m, k) with leading dimensions that follow each other like rows; B is (k, n), or
    (n, k). For other operands, and for larger ones, it does nothing and returns 0.
    """
    module = ir.Module(f"small_{dtype}")
    _Small(module, tile_for(dtype, target)).build()
    return module


class _Small:
    def __init__(self, module: ir.Module, tile: Tile) -> None:
        self.tile = tile
        self.tiles = build_tiles(module, tile, declare(module, tile, STRIDED), "tiles")
        self.turn = build_transpose(module, tile, "turn")
        self.w = w = Writer(module, "small", [PTR], tile.form, public=True, returns=I64)
        (self.words,) = w.arguments

    def build(self) -> None:
        """Write the kernel."""
        w = self.w
        a, b = self._array(0), self._array(4)
        turned, whole, relu = (w.b.not_(w.eq(w.word(self.words, i), 0)) for i in (10, 11, 12))
        self._refuse_unless(w.lt(1, a.ndim), w.eq(b.ndim, 2))
        (n, b_col), (inner, b_row) = (b.axis(turned, 1 - i, i) for i in (0, 1))
        last, before = w.sub(a.ndim, 1), w.sub(a.ndim, 2)
        k, a_col = a.dim(last), a.stride(last)
        m, a_row = self._rows(a, before)
        self._refuse_unless(w.eq(k, inner), *(self._is_whole(s) for s in (a_row, a_col)))
        self._refuse_unless(*(self._is_whole(s) for s in (b_row, b_col)))
        padded = w.round_up(n, self.tile.lanes)
        self._refuse_unless(
            *(w.b.and_(w.lt(0, x), w.lt(x, MOST + 1)) for x in (m, padded, k)),
            self._is_worth_it(w.mul(m, k), n, padded),
        )
        shift = self.tile.form.size.bit_length() - 1
        a_row, a_col, b_row, b_col = (w.b.ashr(s, w.i(shift)) for s in (a_row, a_col, b_row, b_col))
        right, right_row = self._right(b.data, b_row, b_col, k, n)
        low = lower_bound(w, relu)
        d, c = w.pointer(self.words, 8), w.pointer(self.words, 9)
        d_row = w.b.select(whole, n, w.i(0))
        beta, alpha = (self._number(i) for i in (13, 14))
        one = ir.Constant(w.scalar, 1.0)
        scaled = w.b.or_(*(w.b.fcmp_unordered("!=", x, one) for x in (beta, alpha)))
        added = w.b.select(scaled, ir.Constant(PTR, None), d)
        w.b.call(
            self.tiles, [a.data, a_row, a_col, right, right_row, c, n, added, d_row, low, m, n, k]
        )
        with w.b.if_then(scaled):
            self._scale(c, d, d_row, m, n, beta, alpha)
        w.b.ret(w.i(1))

    def _array(self, word: int) -> _Array:
        w = self.w
        data, dims, strides = (w.pointer(self.words, word + i) for i in (0, 2, 3))
        return _Array(w, data, w.word(self.words, word + 1), dims, strides)

    def _number(self, word: int) -> Value:
        """A double among the words, rounded to the element type."""
        number = self.w.b.load(self.w.words(self.words, word), typ=ir.DoubleType(), align=8)
        short = isinstance(self.w.scalar, ir.FloatType)
        return self.w.b.fptrunc(number, self.w.scalar) if short else number

    def _scale(
        self, c: Value, d: Value, d_row: Value, m: Value, n: Value, beta: Value, alpha: Value
    ) -> None:
        """C = alpha C + beta D; with beta zero, D is not read."""
        w = self.w
        ignored = w.b.or_(w.is_null(d), w.b.fcmp_ordered("==", beta, ir.Constant(w.scalar, 0.0)))
        with w.loop(0, m) as i, w.loop(0, n, w.lanes) as j:
            mask = w.first(w.sub(n, j.index))
            p = w.at(c, w.mul(i.index, n), j.index)
            product = w.b.fmul(w.splat(alpha), w.load_masked(p, mask))

            def add(p: Value = p, product: Value = product, mask: Value = mask) -> None:
                q = w.at(d, w.mul(i.index, d_row), j.index)
                total = w.fma(w.splat(beta), w.load_masked(q, mask), product)
                w.store_masked(total, p, mask)

            w.choose(ignored, lambda: w.store_masked(product, p, mask), add)

    def _is_whole(self, stride: Value) -> Value:
        """Whether a stride in bytes is a number of elements."""
        return self.w.eq(self.w.b.and_(stride, self.w.i(self.tile.form.size - 1)), 0)

    def _refuse_unless(self, *conditions: Value) -> None:
        w = self.w
        for condition in conditions:
            with w.b.if_then(w.b.not_(condition)):
                w.b.ret(w.i(0))

    def _is_worth_it(self, elements: Value, n: Value, padded: Value) -> Value:
        """Whether the work is little, and not mostly for columns that do not exist."""
        w = self.w
        work = w.mul(elements, padded)
        dense = w.b.or_(w.lt(padded, w.mul(n, 4)), w.lt(work, _NEGLIGIBLE))
        return w.b.and_(w.lt(work, MOST + 1), dense)

    def _rows(self, a: _Array, before: Value) -> tuple[Value, Value]:
        """How many rows A has with its leading dimensions, and the stride between them."""
        w = self.w
        row = a.stride(before)
        with w.loop(0, before, carried=[a.dim(before)]) as axis:
            at = w.sub(w.sub(before, 1), axis.index)
            spaced = w.eq(a.stride(at), w.mul(axis.carried[0], row))
            self._refuse_unless(w.b.or_(spaced, w.eq(a.dim(at), 1)))
            axis.next = [w.mul(axis.carried[0], a.dim(at))]
        return axis.carried[0], row

    def _right(
        self, b: Value, b_row: Value, b_col: Value, k: Value, n: Value
    ) -> tuple[Value, Value]:
        """B with contiguous rows, transposed on the stack if need be, and its row stride."""
        w = self.w
        with w.b.goto_entry_block():
            buffer = w.b.alloca(w.scalar, _MOST_TURNED)
        plain = w.b.or_(w.eq(b_col, 1), w.eq(n, 1))
        with w.b.if_then(w.b.not_(plain)):
            fits = w.lt(w.mul(k, n), _MOST_TURNED + 1)
            self._refuse_unless(fits, w.b.or_(w.eq(b_row, 1), w.eq(k, 1)))
            w.b.call(self.turn, [b, b_col, buffer, n, n, k])
        return w.b.select(plain, b, buffer), w.b.select(plain, b_row, n)


class _Array:
    """The fields of an array: its data, its number of dimensions, extents and strides in bytes."""

    def __init__(self, w: Writer, data: Value, ndim: Value, dims: Value, strides: Value) -> None:
        self.w, self.data, self.ndim = w, data, ndim
        self._dims, self._strides = dims, strides

    def dim(self, axis: Value) -> Value:
        return self.w.word(self._dims, axis)

    def stride(self, axis: Value) -> Value:
        return self.w.word(self._strides, axis)

    def axis(self, turned: Value, plain: int, other: int) -> tuple[Value, Value]:
        """Extent and stride of the axis `plain`, or of `other` where `turned`."""
        number = self.w.b.select(turned, self.w.i(other), self.w.i(plain))
        return self.dim(number), self.stride(number)
