"""Writing LLVM IR for vector kernels: typed values, counted loops, masks and intrinsics.

A `Writer` builds one function. It knows one element type and one vector width; everything that
depends on the instruction set (masked access, prefetch) is left to LLVM's own lowering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

from llvmlite import ir

I1 = ir.IntType(1)
I8 = ir.IntType(8)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
PTR = ir.PointerType()
VOID = ir.VoidType()
# A word of two bfloat16 or four 8-bit integers has its bits in a float: it is moved like one, and
# `fma` adds the products of such words' parts to a float32 or an int32. Of four integers, those of
# the first factor are unsigned.
PAIRS, QUADS = "bfloat16x2", "int8x4"
SCALARS = {"float32": ir.FloatType(), "float64": ir.DoubleType(),
           PAIRS: ir.FloatType(), QUADS: ir.FloatType()}  # fmt: skip
_SUFFIX = {"float32": "f32", "float64": "f64", PAIRS: "f32", QUADS: "f32"}
_BYTES = {"float32": 4, "float64": 8, PAIRS: 4, QUADS: 4}
_DOTS = {PAIRS: "llvm.x86.avx512bf16.dpbf16ps", QUADS: "llvm.x86.avx512.vpdpbusd"}

Value: TypeAlias = ir.Value
Index: TypeAlias = ir.Value | int


class _BFloat(ir.Type):
    """The upper half of a float, which llvmlite does not know."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_PARTS = {PAIRS: (_BFloat(), 2), QUADS: (I8, 4)}


class Format(NamedTuple):
    """What a vector holds: elements of `dtype`, `lanes` of them; `fused` where FMA exists."""

    dtype: str
    lanes: int
    fused: bool = True

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return _BYTES[self.dtype]

    @property
    def has_mask_registers(self) -> bool:
        """Whether masked access costs what plain access does, as with vectors of AVX-512."""
        return self.lanes * self.size == 64


class Loop:
    """What the body of a counted loop sees: its index and the values carried around."""

    def __init__(self, index: Value, carried: list[Value]) -> None:
        self.index = index
        self.carried = carried
        self.next = list(carried)


class _Pointed(Value):
    """A pointer as what is called; llvmlite calls nothing but functions that it has names for."""

    def __init__(self, p: Value, function_type: ir.FunctionType) -> None:
        self.p, self.function_type, self.type = p, function_type, PTR

    def get_reference(self) -> str:
        return self.p.get_reference()


class Writer:
    """One LLVM function in the making, over vectors of one format."""

    def __init__(
        self,
        module: ir.Module,
        name: str,
        arguments: Sequence[ir.Type],
        form: Format,
        public: bool = False,
        returns: ir.Type = VOID,
    ) -> None:
        self.module = module
        self.form = form
        self.lanes, self.size = form.lanes, form.size
        self.scalar = SCALARS[form.dtype]
        self.suffix = f"v{form.lanes}{_SUFFIX[form.dtype]}"
        lanes = form.lanes
        self.vector = ir.VectorType(self.scalar, lanes)
        self.integers = ir.VectorType(I32, lanes)
        self.mask = ir.VectorType(I1, lanes)
        self.function = ir.Function(module, ir.FunctionType(returns, list(arguments)), name)
        if not public:
            self.function.linkage = "internal"
            self.function.attributes.add("noinline")
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.arguments = self.function.args

    def finish(self) -> ir.Function:
        """Close the function and return it."""
        self.b.ret_void()
        return self.function

    def no_alias(self, *positions: int) -> None:
        """Promise that the pointer arguments at `positions` overlap nothing else."""
        for p in positions:
            self.function.args[p].add_attribute("noalias")

    # -- integers ---------------------------------------------------------------------------

    def i(self, x: Index) -> Value:
        """A 64-bit integer."""
        return ir.Constant(I64, x) if isinstance(x, int) else x

    def add(self, x: Index, y: Index) -> Value:
        return self.b.add(self.i(x), self.i(y))

    def sub(self, x: Index, y: Index) -> Value:
        return self.b.sub(self.i(x), self.i(y))

    def mul(self, x: Index, y: Index) -> Value:
        return self.b.mul(self.i(x), self.i(y))

    def div(self, x: Index, y: Index) -> Value:
        return self.b.sdiv(self.i(x), self.i(y))

    def rem(self, x: Index, y: Index) -> Value:
        return self.b.srem(self.i(x), self.i(y))

    def lt(self, x: Index, y: Index) -> Value:
        return self.b.icmp_signed("<", self.i(x), self.i(y))

    def eq(self, x: Index, y: Index) -> Value:
        return self.b.icmp_signed("==", self.i(x), self.i(y))

    def min(self, x: Index, y: Index) -> Value:
        return self.b.select(self.lt(x, y), self.i(x), self.i(y))

    def max(self, x: Index, y: Index) -> Value:
        return self.b.select(self.lt(x, y), self.i(y), self.i(x))

    def round_up(self, x: Index, to: int) -> Value:
        return self.mul(self.div(self.add(x, to - 1), to), to)

    def share(self, total: Value, unit: Index, parts: Value, part: Value) -> tuple[Value, Value]:
        """The bounds of piece `part` when `total`, cut at multiples of `unit`, goes in `parts`."""
        units = self.div(self.sub(self.add(total, unit), 1), unit)
        low = self.mul(self.div(self.mul(units, part), parts), unit)
        high = self.mul(self.div(self.mul(units, self.add(part, 1)), parts), unit)
        return self.min(low, total), self.min(high, total)

    # -- memory -----------------------------------------------------------------------------

    def at(self, p: Value, *offset: Index) -> Value:
        """`p` moved by a sum of element offsets."""
        for o in offset:
            p = self.b.gep(p, [self.i(o)], source_etype=self.scalar)
        return p

    def word(self, p: Value, offset: Index = 0) -> Value:
        """The `offset`-th 64-bit integer of a table."""
        return self.b.load(self.words(p, offset), typ=I64, align=8)

    def words(self, p: Value, offset: Index) -> Value:
        """The address of the `offset`-th 64-bit integer of a table."""
        return self.b.gep(p, [self.i(offset)], source_etype=I64)

    def small_word(self, p: Value, offset: Index = 0) -> Value:
        """The `offset`-th 32-bit integer of a table, as a 64-bit one."""
        return self.b.zext(self.b.load(self.small_words(p, offset), typ=I32, align=4), I64)

    def small_words(self, p: Value, offset: Index) -> Value:
        """The address of the `offset`-th 32-bit integer of a table."""
        return self.b.gep(p, [self.i(offset)], source_etype=I32)

    def pointer(self, p: Value, offset: Index = 0) -> Value:
        """The `offset`-th pointer of a table."""
        return self.b.load(self.words(p, offset), typ=PTR, align=8)

    def load(self, p: Value) -> Value:
        return self.b.load(p, typ=self.scalar, align=self.size)

    def store(self, x: Value, p: Value) -> None:
        self.b.store(x, p, align=self.size)

    def load_vector(self, p: Value) -> Value:
        return self.b.load(p, typ=self.vector, align=self.size)

    def load_masked(self, p: Value, mask: Value, otherwise: Value | None = None) -> Value:
        """A vector whose lanes outside `mask` are not read: they take `otherwise`, or zero."""
        name = f"llvm.masked.load.{self.suffix}.p0"
        f = self.intrinsic(name, self.vector, [PTR, I32, self.mask, self.vector])
        return self.b.call(f, [p, ir.Constant(I32, self.size), mask, otherwise or self.zero()])

    def store_masked(self, x: Value, p: Value, mask: Value) -> None:
        name = f"llvm.masked.store.{self.suffix}.p0"
        f = self.intrinsic(name, VOID, [self.vector, PTR, I32, self.mask])
        self.b.call(f, [x, p, ir.Constant(I32, self.size), mask])

    def prefetch(self, p: Value, write: bool = False, locality: int = 3) -> None:
        f = self.intrinsic("llvm.prefetch.p0", VOID, [PTR, I32, I32, I32])
        c = [ir.Constant(I32, v) for v in (int(write), locality, 1)]
        self.b.call(f, [p, *c])

    def is_null(self, p: Value) -> Value:
        return self.b.icmp_unsigned("==", self.b.ptrtoint(p, I64), self.i(0))

    # -- vectors ----------------------------------------------------------------------------

    def zero(self) -> Value:
        return ir.Constant(self.vector, None)

    def splat(self, x: Value, of: ir.VectorType | None = None) -> Value:
        """`x` in every lane."""
        t = of or self.vector
        undefined = ir.Constant(t, ir.Undefined)
        one = self.b.insert_element(undefined, x, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, t.count), None)
        return self.b.shuffle_vector(one, undefined, zeros)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """``x * y + z``, rounded once where the machine can; of words, their parts' products."""
        if self.form.dtype in _DOTS:
            return self._dot(x, y, z)
        if not self.form.fused:
            return self.b.fadd(self.b.fmul(x, y), z)
        v = self.vector
        f = self.intrinsic(f"llvm.fma.{self.suffix}", v, [v, v, v])
        return self.b.call(f, [x, y, z])

    def _dot(self, x: Value, y: Value, z: Value) -> Value:
        """The products of the parts of `x` and `y`, added to `z`."""
        kind = self.form.dtype
        words = self.integers if kind == QUADS else self.vector
        parts = ir.VectorType(_PARTS[kind][0], self.lanes * _PARTS[kind][1])
        f = self.intrinsic(f"{_DOTS[kind]}.{self.lanes * 32}", words, [words, parts, parts])
        factors = [self.b.bitcast(v, parts) for v in (x, y)]
        return self.b.bitcast(self.b.call(f, [self.b.bitcast(z, words), *factors]), self.vector)

    def plus(self, x: Value, y: Value) -> Value:
        """The sum of two results of `fma`, or of vectors of them."""
        if self.form.dtype != QUADS:
            return self.b.fadd(x, y)
        kind = ir.VectorType(I32, x.type.count) if isinstance(x.type, ir.VectorType) else I32
        return self.b.bitcast(self.b.add(*(self.b.bitcast(v, kind) for v in (x, y))), x.type)

    def sum(self, x: Value) -> Value:
        """The sum of the lanes, added as a balanced tree."""
        width = self.lanes
        while width > 1:
            width //= 2
            kind = ir.VectorType(I32, width)
            halves = [
                self.b.shuffle_vector(x, x, ir.Constant(kind, list(range(s, s + width))))
                for s in (0, width)
            ]
            x = self.plus(*halves)
        return self.b.extract_element(x, ir.Constant(I32, 0))

    def at_least(self, x: Value, low: Value) -> Value:
        """The larger of `x` and `low`; a NaN in `x` stays, and so does any integer."""
        if self.form.dtype == QUADS:
            return x
        return self.b.select(self.b.fcmp_ordered("<", x, low), low, x)

    def lane_numbers(self) -> Value:
        return ir.Constant(self.integers, list(range(self.lanes)))

    def first(self, n: Value) -> Value:
        """The mask of the lanes below `n`."""
        bound = self.splat(self.b.trunc(self.max(self.min(n, self.lanes), 0), I32), self.integers)
        return self.b.icmp_signed("<", self.lane_numbers(), bound)

    def mask_bits(self, bits: Value) -> Value:
        """The mask whose lane l is bit l of the integer `bits`."""
        if self.form.has_mask_registers:
            return self.b.bitcast(self.b.trunc(bits, ir.IntType(self.lanes)), self.mask)
        # Other processors would take a mask apart bit by bit.
        kind = self.integers
        own = ir.Constant(kind, [1 << lane for lane in range(self.lanes)])
        met = self.b.and_(self.splat(self.b.trunc(bits, I32), kind), own)
        return self.b.icmp_signed("!=", met, ir.Constant(kind, None))

    def bits_of(self, mask: Value) -> Value:
        """The integer whose bit l is lane l of `mask`."""
        return self.b.zext(self.b.bitcast(mask, ir.IntType(self.lanes)), I64)

    def transpose(self, rows: Sequence[Value]) -> list[Value]:
        """The columns of a square of `lanes` rows, by log2(lanes) rounds of shuffles."""
        rows = list(rows)
        distance = self.lanes // 2
        while distance:
            low, high = _exchange(self.lanes, distance)
            for r in range(self.lanes):
                if not r & distance:
                    x, y = rows[r], rows[r | distance]
                    rows[r] = self.b.shuffle_vector(x, y, ir.Constant(self.integers, low))
                    rows[r | distance] = self.b.shuffle_vector(
                        x, y, ir.Constant(self.integers, high)
                    )
            distance //= 2
        return rows

    def intrinsic(self, name: str, returns: ir.Type, takes: Sequence[ir.Type]) -> ir.Function:
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(returns, list(takes)), name)

    def call_at(self, p: Value, takes: Sequence[ir.Type], arguments: Sequence[Value]) -> None:
        """Call the function at the pointer `p`, which takes values of the types `takes`."""
        self.b.call(_Pointed(p, ir.FunctionType(VOID, list(takes))), arguments)

    # -- control flow -----------------------------------------------------------------------

    @contextmanager
    def loop(
        self, start: Index, stop: Index, step: Index = 1, carried: Sequence[Value] = ()
    ) -> Iterator[Loop]:
        """``for index in range(start, stop, step)``; set ``.next`` to hand values on."""
        b, before = self.b, self.b.block
        head, body, after = (b.append_basic_block(n) for n in ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(self.i(start), before)
        phis = [b.phi(v.type) for v in carried]
        for phi, v in zip(phis, carried, strict=True):
            phi.add_incoming(v, before)
        b.cbranch(self.lt(index, stop), body, after)
        b.position_at_end(body)
        state = Loop(index, phis)
        yield state
        index.add_incoming(self.add(index, step), b.block)
        for phi, v in zip(phis, state.next, strict=True):
            phi.add_incoming(v, b.block)
        b.branch(head)
        b.position_at_end(after)

    def choose(self, condition: Value, yes: Callable[[], None], no: Callable[[], None]) -> None:
        """Run `yes` or `no`."""
        with self.b.if_else(condition) as (then, otherwise):
            with then:
                yes()
            with otherwise:
                no()

    def switch(self, value: Value, cases: Sequence[int], body: Callable[[int], None]) -> None:
        """Run ``body(case)`` for the smallest of the rising `cases` that is not below `value`."""
        if len(cases) == 1:
            body(cases[0])
            return
        middle = len(cases) // 2
        self.choose(
            self.b.icmp_signed("<=", value, self.i(cases[middle - 1])),
            lambda: self.switch(value, cases[:middle], body),
            lambda: self.switch(value, cases[middle:], body),
        )


class ChunkKernel:
    """A writer for a public kernel ``name(table, index, thread)``.

    `p` has the table's pointers by name; `v` has the integers that the pointer ``plan`` points to.
    """

    def __init__(
        self, module: ir.Module, form: Format, name: str, pointers: Sequence[str],
        plan: Sequence[str],
    ) -> None:  # fmt: skip
        self.w = w = Writer(module, name, [PTR, I64, I64], form, public=True)
        table, self.index, self.thread = w.arguments
        self.p = {name: w.pointer(table, i) for i, name in enumerate(pointers)}
        self.v = {name: w.word(self.p["plan"], i) for i, name in enumerate(plan)}

    def split(self, *counts: Value) -> list[Value]:
        """The chunk's coordinates in a grid whose extents after the first are `counts`."""
        w, rest, found = self.w, self.index, []
        for count in reversed(counts):
            found.append(w.rem(rest, count))
            rest = w.div(rest, count)
        return [rest, *reversed(found)]

    def is_on(self, name: str) -> Value:
        """Whether the switch `name` of the plan is on."""
        return self.w.b.icmp_signed("!=", self.v[name], self.w.i(0))


def _exchange(lanes: int, distance: int) -> tuple[list[int], list[int]]:
    """Shuffles that swap the off-diagonal blocks of side `distance` between two rows."""
    low = [k if not k & distance else lanes + (k ^ distance) for k in range(lanes)]
    high = [k ^ distance if not k & distance else lanes + k for k in range(lanes)]
    return low, high
