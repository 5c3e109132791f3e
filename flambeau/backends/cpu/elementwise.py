"""Scalar expressions over whole arrays: compiled for large ones, NumPy for all others.

`Fused` is one expression with one compiled kernel for each combination of element types and memory
patterns it meets. Whatever it has no kernel for (other dtypes, a primitive without IR) it computes
with the expression's rendering in NumPy.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...compiler import allocator, costs, jit, launch, loops, threads
from ...compiler.elements import KINDS, STORAGE
from ...compiler.expressions import (
    PRIMITIVES,
    Expression,
    inputs_of,
    render_python,
    simplified,
    substitute,
)
from ...compiler.scalar_ir import Unsupported
from .scalars import numpy_function

_ndarray = np.ndarray
_lock = threading.Lock()
_kinds: dict[Any, str | None] = {}


@functools.cache
def _alike(count: int) -> Callable[..., int]:
    """Whether `count` arrays are contiguous and of one shape; see `loops.render_alike`."""
    if not jit.available():
        return lambda *_: -1
    with _lock:
        name = f"alike{count}"
        library = jit.load_or_build(name, name, lambda: loops.render_alike("alike", count))
        parameters = " ".join(["i", *["A"] * count])
        return launch.bind(library.address("alike"), parameters, name=name, returns="i")


def threshold(e: Expression) -> int:
    """The number of elements from which the kernel of `e` beats NumPy.

    NumPy's loops over the simplest operations are as fast as ours (but for extrema): only threads
    and fused operations beat those.
    """
    if e.op in _INEXACT:
        return 0
    work = costs.nanoseconds(e, 0)
    steps = costs.count_flops(e)
    if steps == 1 and work < 0.1 and e.op not in _SLOW:
        return 32768
    most = 4096 if steps < 3 else 1024
    return int(min(max(costs.break_even(e), 256), most))


# Of the operations that cost a kernel next to nothing, those that cost NumPy more.
_SLOW = (
    *("maximum", "minimum", "sign", "sgn", "where", "heaviside", "trunc_divide"),
    *("logical_and", "logical_or", "logical_xor", "logical_not"),
)

# Functions of SciPy that are wrong in more than their last places: NumPy never computes them.
_INEXACT = ("lgamma", "erfc", "erfinv")


def _kind_of(dtype: Any) -> str | None:
    """The kind of elements that kernels know `dtype` as."""
    if dtype not in _kinds:
        known = dtype.isnative and dtype != np.uint64
        _kinds[dtype] = KINDS.get(dtype.name) if known else None
    return _kinds[dtype]


def _is_computed_with(dtype: Any) -> bool:
    """Whether formulas are computed in `dtype` itself."""
    return dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize >= 4)


class _Nest(NamedTuple):
    """Loops over arrays: `lengths` outermost first, and for each array its steps in bytes.

    The result is the last of the arrays; `shape` is its shape and `order` its dimensions as they
    lie in memory (none where that is their own order).
    """

    lengths: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]
    order: tuple[int, ...]

    def step_of(self, array: int, itemsize: int) -> str:
        """How an array moves along the innermost loop."""
        step = self.steps[array][-1] if self.lengths[-1] > 1 else itemsize
        return "fixed" if step == 0 else "unit" if step == itemsize else "strided"


def _nest(arrays: Sequence[Any], out: Any, kind: Any) -> _Nest | None:
    """The loops that NumPy would run: dimensions in the order of memory, merged where they can be.

    None where there is nothing to loop over, or where NumPy would run backwards.
    """
    access: Any = [["readonly"] for _ in arrays]
    access.append(["writeonly", "allocate", "no_broadcast"])
    kinds = [*(None for _ in arrays), kind if out is None else None]
    it = np.nditer([*arrays, out], ["external_loop", "zerosize_ok"], access, kinds)
    views, operands = it.itviews, it.operands
    if not views[0].size or any(
        v.ctypes.data != a.ctypes.data for v, a in zip(views, operands, strict=True)
    ):
        return None
    made = operands[-1]
    order: tuple[int, ...] = ()
    if not made.flags.c_contiguous and out is None:
        order = tuple(sorted(range(made.ndim), key=lambda d: -made.strides[d]))
    lengths = views[0].shape or (1,)
    return _Nest(lengths, tuple(v.strides or (0,) for v in views), made.shape, order)


def _lie_apart(a: Any, b: Any) -> bool:
    """Whether it is plain that two arrays share no memory: they lie in two that own theirs."""
    mine, other = a if a.base is None else a.base, b if b.base is None else b.base
    owned = mine.__class__ is other.__class__ is np.ndarray and mine.base is other.base is None
    return owned and mine is not other


def _apart(a: Any, out: Any) -> Any:
    """`a`, copied if writing to `out` element by element could change it before it is read."""
    if a is out or _lie_apart(a, out) or not np.may_share_memory(a, out):
        return a
    same = a.ctypes.data == out.ctypes.data and a.dtype == out.dtype
    return a if same and (a.shape, a.strides) == (out.shape, out.strides) else a.copy()


def _divisors(e: Expression, names: Sequence[str]) -> tuple[int, ...] | None:
    """Which operands integers are divided by; None if it is by anything else."""
    if e.op in ("input", "const"):
        return ()
    found: set[int] = set()
    if e.op in ("fmod", "remainder", "floor_divide", "trunc_divide"):
        divisor = e.args[1]
        if divisor.op == "input":
            found.add(names.index(divisor.args[0]))
        elif divisor.op != "const" or not divisor.args[0]:
            return None
    for a in e.args:
        below = _divisors(a, names)
        if below is None:
            return None
        found.update(below)
    return tuple(sorted(found))


_SHORT_POWERS = {2, 3, 4, 5, 0.5, 1.5, -0.5, -1, -2}


def _in_powers(e: Expression) -> set[str]:
    """The operands that stand alone, or with a number, as a power's base or exponent."""
    if e.op in ("input", "const"):
        return set()
    found = set().union(*map(_in_powers, e.args))
    return found | set().union(*map(inputs_of, e.args)) if e.op == "pow" else found


def _evaluate(e: Expression, names: Sequence[str]) -> Callable[..., Any]:
    """The expression in NumPy."""
    rendered = render_python(e, {n: n for n in names}, "N_")
    body = "".join(f"    {line}\n" for line in rendered.statements)
    space = {f"N_{n.op}": numpy_function(n.op) for n in costs.nodes_of(e) if n.op in PRIMITIVES}
    exec(f"def reference({', '.join(names)}):\n{body}    return {rendered.text}\n", space)
    reference: Callable[..., Any] = space["reference"]
    return reference


def _refuse_zero(arrays: Sequence[Any], divisors: tuple[int, ...]) -> None:
    """RuntimeError if an integer would be divided by zero."""
    if not all(a.size for a in arrays if hasattr(a, "size")):
        return
    for i in divisors:
        if np.count_nonzero(arrays[i]) != arrays[i].size:
            raise RuntimeError("ZeroDivisionError")


def _allocator(shape: tuple[int, ...], order: tuple[int, ...], kind: Any) -> Callable[[], Any]:
    """What makes an empty array of this shape, its dimensions in this order in memory."""
    empty = np.empty
    allocator.prepare(math.prod(shape) * kind.itemsize)
    if not order:
        return lambda: empty(shape, kind)
    lying = tuple(shape[d] for d in order)
    back = tuple(order.index(d) for d in range(len(order)))
    return lambda: empty(lying, kind).transpose(back)


class Fused:
    """An expression of named arrays, callable on arrays in the order of `names`.

    `is_truth` says that the result is bool. `reference` computes the same in NumPy.
    """

    def __init__(
        self,
        label: str,
        expression: Expression,
        names: Sequence[str],
        reference: Callable[..., Any],
        is_truth: bool = False,
    ) -> None:
        self.label, self.expression, self.names = label, expression, tuple(names)
        self.reference, self.is_truth = reference, is_truth
        self.least = threshold(expression)
        self._divisors = _divisors(expression, names)
        self._powers = _in_powers(expression)
        self._short: dict[tuple[str, float], Fused | None] = {}
        self._plans: dict[Any, Callable[..., Any] | None] = {}
        self._flat: dict[Any, Callable[..., Any] | None] = {}
        self._alike: Callable[..., int] = self._find_alike

    def __call__(self, *arrays: Any, out: Any = None) -> Any:
        """The result, for arrays of one dtype (and truth values), in that dtype or bool.

        With `out`, which is of that dtype, it is written there, if a kernel serves.
        """
        first = arrays[0]
        if first.__class__ is _ndarray and (out is None or (out is first and out.ndim)):
            dtype = first.dtype
            for a in arrays:
                if a.__class__ is not _ndarray or a.dtype is not dtype:
                    break
            else:
                code = self._alike(dtype.itemsize, *arrays)
                if code > 15:
                    run = self._flat.get((dtype, code & 15), self)
                    if run is self:
                        run = self._remember_flat((dtype, code & 15), arrays)
                    if run is not None:
                        return run(code >> 4, arrays, out)  # type: ignore[operator]
        if out is None:
            return self._call_any(arrays)
        found = self.convert(arrays, out.dtype, out.dtype, out)
        return self.reference(*arrays) if found is None else found

    def _find_alike(self, itemsize: int, *arrays: Any) -> int:
        """The function `_alike` gives for so many arrays, which takes this one's place, at work."""
        many = len(self.names) > 4
        self._alike = (lambda *_: -1) if many else _alike(len(self.names))
        return self._alike(itemsize, *arrays)

    def _remember_flat(self, key: Any, arrays: Sequence[Any]) -> Any:
        """How to compute from contiguous arrays of one shape, and numbers, of one dtype."""
        dtype, numbers = key
        plan = None
        if _is_computed_with(dtype):
            plan = self._plan_flat(dtype, dtype, numbers, arrays)
        if self._powers and numbers:
            plan = self._by_number(plan)
        self._flat[key] = plan
        return plan

    def _by_number(self, general: Any) -> Any:
        """A plan that looks for a shorter formula for the numbers of a call."""

        def plan(count: int, given: Any, out: Any) -> Any:
            short = self._shorter(given)
            if short is not None:
                return short[0](*short[1], out=out)
            if general is not None:
                return general(count, given, out)
            result = self.reference(*given)
            if out is None:
                return result
            np.copyto(out, result, casting="unsafe")
            return out

        return plan

    def _shorter(self, arrays: Sequence[Any]) -> tuple[Fused, list[Any]] | None:
        """A formula without a power, and its operands, where a base or exponent is a number."""
        for i, name in enumerate(self.names):
            if name in self._powers and not arrays[i].ndim and len(arrays) > 1:
                value = arrays[i].item()
                if value not in _SHORT_POWERS or (value < 0 and arrays[i].dtype.kind != "f"):
                    return None
                if (name, value) not in self._short:
                    self._short[name, value] = self._shorten(name, value)
                short = self._short[name, value]
                rest = [*arrays[:i], *arrays[i + 1 :]]
                return None if short is None else (short, rest)
        return None

    def _shorten(self, name: str, value: float) -> Fused | None:
        """The formula where the operand `name` is `value`, if that spares the power."""
        e = simplified(substitute(self.expression, {name: value}))
        names = [n for n in self.names if n != name]
        if inputs_of(e) != set(names) or e.op == "input" or _in_powers(e):
            return None
        return Fused(self.label, e, names, _evaluate(e, names), self.is_truth)

    def _plan_flat(self, work: Any, kind: Any, numbers: int, arrays: Sequence[Any]) -> Any:
        """`convert` for contiguous arrays of one shape; the bits of `numbers` tell who is 0-d."""
        plan = None
        if self._plan(arrays, work, kind) is not None:
            kind = np.dtype(np.bool_) if self.is_truth else kind
            steps = ["fixed" if numbers & (1 << i) else "unit" for i in range(len(arrays))]
            stored, element = _kind_of(kind), _kind_of(work)
            assert stored is not None
            assert element is not None
            operands = [
                loops.Operand(n, _kind_of(a.dtype) or "", s)
                for n, a, s in zip(self.names, arrays, steps, strict=True)
            ]
            kernel = self._launcher(
                operands, STORAGE[element].compute, loops.Operand("", stored), 0
            )
            cost = costs.nanoseconds(self.expression, len(arrays) + 1, max(4, work.itemsize))
            shaped = steps.index("unit")
            empty, split, alone = np.empty, threads.split, threads.alone(cost)
            divisors = self._divisors if work.kind in "iu" else None

            def plan(count: int, given: Any, out: Any) -> Any:
                if divisors:
                    _refuse_zero(given, divisors)
                if out is None:
                    out = empty(given[shaped].shape, kind)
                else:
                    for a in given:
                        if a is not out and not _lie_apart(a, out):
                            given = [_apart(b, out) for b in given]
                            break
                if count < alone:
                    kernel(1, count, count, out, *given)
                    return out
                chunks, size = split(count, cost, 64)
                kernel(chunks, count, size, out, *given)
                return out

        return plan

    def _call_any(self, arrays: Sequence[Any]) -> Any:
        for a in arrays:
            if a.__class__ is not np.ndarray:
                return self.reference(*arrays)
        key = tuple([(a.shape, a.strides, a.dtype) for a in arrays])
        run = self._plans.get(key, self)
        if run is self:
            if self._powers and (short := self._shorter(arrays)) is not None:
                return short[0]._call_any(short[1])
            run = self._remember(key, lambda: self._plan_alike(arrays))
        return self.reference(*arrays) if run is None else run(arrays)  # type: ignore[operator]

    def into(self, out: Any, *arrays: Any) -> Any:
        """`out`, with the result written there; without a kernel, the result as a new array.

        ValueError if `out` is read-only.
        """
        if not out.flags.writeable:
            raise ValueError("output array is read-only")
        return self(*arrays, out=out)

    def convert(self, arrays: Sequence[Any], work: Any, kind: Any, out: Any = None) -> Any:
        """The result in the dtype `kind`, for arrays of any dtypes computed with in `work`.

        With `out` it is written there, and `out` is returned; an operand may be `out` itself. None
        where no kernel serves.
        """
        if self._powers and (short := self._shorter(arrays)) is not None:
            return short[0].convert(short[1], work, kind, out)
        if work.kind == "f" and (out is None or (out is arrays[0] and out.flags.writeable)):
            found = self.convert_alike(arrays, work, kind, out)
            if found is not None:
                return found
        if out is not None:
            arrays = [_apart(a, out) for a in arrays]
        key = (work, kind, *[(a.shape, a.strides, a.dtype) for a in arrays])
        if out is not None:
            key = (*key, out.shape, out.strides)
        run = self._plans.get(key, self)
        if run is self:
            run = self._remember(key, lambda: self._plan(arrays, work, kind, out))
        return None if run is None else run(arrays, out)  # type: ignore[operator]

    def convert_alike(self, arrays: Sequence[Any], work: Any, kind: Any, out: Any = None) -> Any:
        """`convert` for contiguous arrays of one shape in `kind`, and numbers in `work`.

        `work` is floating-point, and `out` the first array. None where the arrays are others, or no
        kernel serves.
        """
        for a in arrays:
            if a.__class__ is not _ndarray or a.dtype is not (kind if a.ndim else work):
                return None
        code = self._alike(kind.itemsize, *arrays)
        if code < 16:
            return None
        key = (work, kind, code & 15)
        run = self._flat.get(key, self)
        if run is self:
            run = self._flat[key] = self._plan_flat(work, kind, code & 15, arrays)
        return None if run is None else run(code >> 4, arrays, out)  # type: ignore[operator]

    def _remember(self, key: Any, make: Callable[[], Any]) -> Any:
        if len(self._plans) > 1024:
            self._plans.clear()
        plan = self._plans[key] = make()
        return plan

    def _plan_alike(self, arrays: Sequence[Any]) -> Callable[[Any], Any] | None:
        dtypes = {a.dtype for a in arrays if a.dtype != np.bool_}
        if len(dtypes) != 1:
            return None
        (work,) = dtypes
        return self._plan(arrays, work, work) if _is_computed_with(work) else None

    def _plan(
        self, arrays: Sequence[Any], work: Any, kind: Any, out: Any = None
    ) -> Callable[..., Any] | None:
        """How to compute from arrays like these; see `convert`."""
        if self.is_truth:
            kind = np.dtype(np.bool_)
        given = [*arrays, out] if out is not None else arrays
        plain = all(a.__class__ is np.ndarray and a.flags.aligned for a in given)
        kinds = [_kind_of(a.dtype) for a in arrays]
        computed, stored = _kind_of(work), _kind_of(kind)
        if not jit.available() or not plain or None in kinds or not computed or not stored:
            return None
        type_ = STORAGE[computed].compute
        type_ = "i64" if type_ == "i1" else type_
        if type_ == "i64" and self._divisors is None:
            return None
        try:
            nest = _nest(arrays, out, kind)
            if nest is None:
                return None
            run = self._prepare(nest, arrays, kinds, type_, kind)
        except (Unsupported, ValueError):
            return None
        divisors = self._divisors
        if type_ != "i64" or not divisors:
            return run

        def run_checked(given: Any, out: Any = None) -> Any:
            _refuse_zero(given, divisors)
            return run(given, out)

        return run_checked

    def _prepare(
        self, nest: _Nest, arrays: Any, kinds: Any, type_: str, kind: Any
    ) -> Callable[..., Any]:
        operands = [
            loops.Operand(name, k, nest.step_of(i, a.itemsize))
            for i, (name, k, a) in enumerate(zip(self.names, kinds, arrays, strict=True))
        ]
        stored = _kind_of(kind)
        assert stored is not None
        result = loops.Operand("", stored, nest.step_of(len(arrays), kind.itemsize))
        itemsize = max(4, *(a.itemsize for a in arrays))
        cost = costs.nanoseconds(self.expression, len(operands) + 1, itemsize)
        if any(o.step == "strided" for o in (*operands, result)) and len(nest.lengths) == 1:
            nest = nest._replace(
                lengths=(1, *nest.lengths), steps=tuple((0, *s) for s in nest.steps)
            )
        outer = len(nest.lengths) - 1
        kernel = self._launcher(operands, type_, result, outer)
        allocate = _allocator(nest.shape, nest.order, kind)
        split, columns = threads.split, nest.lengths[-1]
        if not outer:

            def run_flat(given: Any, out: Any = None) -> Any:
                if out is None:
                    out = allocate()
                chunks, size = split(columns, cost, 64)
                kernel(chunks, columns, size, out, *given)
                return out

            return run_flat
        rows = math.prod(nest.lengths[:-1])
        last_first = [nest.steps[-1], *nest.steps[:-1]]
        table = np.array(
            [columns, *nest.lengths[1:-1], *(s for steps in last_first for s in steps)], np.int64
        )

        def run_nest(given: Any, out: Any = None) -> Any:
            if out is None:
                out = allocate()
            chunks, size = split(rows, columns * cost)
            kernel(chunks, rows, size, table, out, *given)
            return out

        return run_nest

    def _launcher(
        self, operands: list[loops.Operand], type_: str, result: loops.Operand, outer: int
    ) -> Any:
        form = "nest" if outer else "flat"
        key = f"{form} {self.expression!r} {operands} {type_} {result} {outer}"
        # Rendering also finds out whether every primitive has IR, so it is not left to a cache
        # miss.
        if form == "flat":
            ir = loops.render_flat("chunk", self.expression, operands, type_, result)
        else:
            ir = loops.render_nest("chunk", self.expression, operands, type_, result, outer)
        each = costs.count_flops(self.expression)

        def cost(items: int, share: int, *rest: Any) -> costs.Cost:
            return costs.Cost(each * items * (int(rest[0][0]) if outer else 1))

        with _lock:
            library = jit.load_or_build(
                f"{self.label}.{form}", key, lambda: ir, source=self.expression.__repr__
            )
            return launch.bind(library.address("chunk"), name=self.label, parallel=True, cost=cost)
