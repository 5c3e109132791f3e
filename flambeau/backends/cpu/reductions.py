"""Reductions over any dimensions: compiled for large floating-point arrays, else NumPy.

A plan is made once for each kind of reduction, layout and set of axes, and remembered. It views the
array as rows or columns (see `reduction_kernels`), lets a kernel make partial results, and adds up
those in NumPy where there are several.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...compiler import costs, jit, threads
from ...compiler.expressions import Expression, trace
from ...compiler.scalar_ir import Unsupported
from . import reduction_kernels as kernels
from .precision import FLOATS, NARROW, widened

SMALL = 2048
"""Elements below which NumPy is faster."""
_PIECE = 16384
"""Elements of a long row that one partial result stands for."""
_BAND = kernels.BAND
_TALL = 256
"""Rows of a tall matrix that one partial result stands for."""

ITSELF = trace(lambda m, x: x)
SIZE = trace(lambda m, x: m.abs(x))
SQUARE = trace(lambda m, x: x * x)
UNLESS_NAN = trace(lambda m, x: m.where(m.isnan(x), 0, x))


class Layout(NamedTuple):
    """How axes of an array lie for a reduction.

    Folded along rows: `rows` rows of `columns` elements, `step` elements apart, in `pieces` of
    `piece` elements. Folded along columns: a stack of `stack` matrices, `stack_step` elements
    apart, of `rows` rows in `pieces` of `piece` rows. `partial` is the shape of the partial
    results, of which the axes `rest` are still to be folded; `shape` is that of the result, `kept`
    its dimensions in the order of memory, and `order` the axes that put those in place (none if
    they are).
    """

    along_rows: bool
    rows: int
    columns: int
    step: int
    stack: int
    stack_step: int
    piece: int
    pieces: int
    partial: tuple[int, ...]
    rest: tuple[int, ...]
    shape: tuple[int, ...]
    kept: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def bands(self) -> int:
        """How many bands of columns a matrix has."""
        return -(-self.columns // _BAND)

    @property
    def numbers(self) -> tuple[int, ...]:
        """What the kernels of rows, or those of columns, ask for."""
        if self.along_rows:
            return self.columns, self.step, self.piece, self.pieces
        steps = self.step, self.stack_step
        return self.rows, self.columns, *steps, self.piece, self.pieces, self.bands

    @property
    def items(self) -> int:
        """How many pieces there are."""
        if self.along_rows:
            return self.rows * self.pieces
        return self.stack * self.pieces * self.bands

    def cost(self, each: float) -> float:
        """What a piece takes, in nanoseconds, where an element takes `each`."""
        return each * self.piece * (1 if self.along_rows else min(_BAND, self.columns))

    def shaped(self, result: Any) -> Any:
        """A result, whose dimensions are in the order of memory, as it shall be."""
        if self.order:
            result = result.reshape(self.kept).transpose(self.order)
        return result.reshape(self.shape)

    @property
    def counts(self) -> Any:
        """How many elements each piece folds."""
        whole = self.columns if self.along_rows else self.rows
        counts = np.full(self.pieces, self.piece)
        counts[-1] = whole - self.piece * (self.pieces - 1)
        return counts if self.along_rows else counts[:, None]


def lay_out(x: Any, axes: tuple[int, ...], keepdims: bool, cut: bool = True) -> Layout | None:
    """The layout of `x` for a reduction over `axes`; None if its memory is in no such order.

    Without `cut` a row or column is one piece.
    """
    size = x.itemsize
    order = sorted(range(x.ndim), key=lambda d: -abs(x.strides[d]) if x.shape[d] > 1 else 0)
    groups: list[list[Any]] = []  # [length, elements from one to the next, folded, lengths]
    for d in order:
        n, stride, folded = x.shape[d], x.strides[d] // size, d in axes
        if n == 1:
            continue
        last = groups[-1] if groups else None
        if last and last[2] == folded and last[1] == n * stride:
            last[0], last[1] = last[0] * n, stride
        else:
            groups.append([n, stride, folded])
    if not groups or groups[-1][1] != 1:
        return None
    kept = [d for d in order if d not in axes]
    shape = tuple(x.shape[d] for d in (range(x.ndim) if keepdims else sorted(kept)))
    if keepdims:
        shape = tuple(1 if d in axes else n for d, n in enumerate(shape))
    back = tuple(kept.index(d) for d in sorted(kept))
    inner = groups.pop()
    rows, step = 1, 0
    if not inner[2]:
        if not groups or not groups[-1][2]:
            return None
        rows, step, _ = groups.pop()
    outer = _merge(groups)
    if outer is None:
        return None
    stack, stack_step = outer
    counts = tuple(g[0] for g in groups)
    rest = tuple(i for i, g in enumerate(groups) if g[2])
    if inner[2]:
        piece = _PIECE if cut and inner[0] > 2 * _PIECE else inner[0]
        pieces = -(-inner[0] // piece)
        partial, rows, step, stack, stack_step = (*counts, pieces), stack, stack_step, 1, 0
    else:
        few = stack * -(-inner[0] // _BAND) < 16
        piece = _TALL if cut and few and rows > 2 * _TALL else rows
        pieces = -(-rows // piece)
        partial = (*counts, pieces, inner[0])
    rest = (*rest, len(counts)) if pieces > 1 else rest
    return Layout(
        bool(inner[2]), rows, inner[0], step, stack, stack_step, piece, pieces, partial, rest,
        shape, tuple(x.shape[d] for d in kept), () if back == tuple(sorted(back)) else back,
    )  # fmt: skip


def _merge(groups: Sequence[Sequence[Any]]) -> tuple[int, int] | None:
    """Several dimensions as one of even steps: its length and step; None if they are not."""
    length, step = 1, 0
    for n, stride, _ in reversed(groups):
        if length == 1:
            step = stride
        elif stride != length * step:
            return None
        length *= n
    return length, step


def _is_for_kernels(x: Any) -> bool:
    return x.dtype in FLOATS and x.__class__ is np.ndarray and jit.available()


_MOST_PLANS = 4096
Run = Callable[[Any], Any]


class Planned:
    """An op over dimensions whose launches are remembered by its input's layout and its arguments.

    `plan` makes the launch for an input and arguments; None where no kernel serves.
    """

    def __init__(self, plan: Callable[..., Run | None]) -> None:
        self._plan = plan
        self._known: dict[Any, Run | None] = {}

    def __call__(self, x: Any, dim: Any, *rest: Any) -> Any:
        """The result; None where no kernel serves, or none was looked for."""
        if x.size < SMALL:
            return None
        if dim.__class__ is not int and dim is not None:
            if dim.__class__ not in (tuple, list) or {d.__class__ for d in dim} - {int}:
                return None
            dim = tuple(dim)
        key = x.dtype, x.shape, x.strides, dim, rest
        run = self._known.get(key, self)
        if run is self:
            if len(self._known) > _MOST_PLANS:
                self._known.clear()
            run = self._known[key] = self._plan(x, dim, *rest)
        try:
            return None if run is None else run(x)
        except TypeError:
            if x.flags.aligned:
                raise
            return None


# ---------------------------------------------------------------- sums of expressions
def fold(
    expression: Expression,
    arrays: Sequence[Any],
    axes: tuple[int, ...],
    keepdims: bool = False,
    dtype: Any = None,
    finish: Any = kernels.as_it_is,
) -> Any:
    """The sum of `expression` over `axes` in `dtype` (the arrays' own), or None without a kernel.

    The expression's inputs are called x, y and z; `arrays` are as many arrays, of one shape, one
    floating-point dtype and one memory layout. `finish` is what becomes of a total:
    `reduction_kernels.as_it_is`, `over_count` or `root`.
    """
    x = arrays[0]
    layout = x.shape, x.strides, x.dtype
    if not _is_for_kernels(x):
        return None
    for a in arrays:
        if (a.shape, a.strides, a.dtype) != layout or not a.flags.aligned:
            return None
    key = (expression, *layout, axes, keepdims, dtype, finish)
    run = _folds.get(key, _folds)
    if run is _folds:
        if len(_folds) > _MOST_PLANS:
            _folds.clear()
        kind = dtype or x.dtype
        run = _folds[key] = _plan_fold(expression, arrays, axes, keepdims, kind, finish)
    return None if run is None else run(*arrays)


_folds: dict[Any, Any] = {}


def _plan_fold(
    expression: Expression, arrays: Any, axes: Any, keepdims: bool, dtype: Any, finish: Any
) -> Callable[..., Any] | None:
    x = arrays[0]
    p = lay_out(x, axes, keepdims)
    if p is None:
        return None
    count = math.prod(x.shape[d] for d in axes)
    missing = (None,) * (3 - len(arrays))
    # Partial results are added up in float64 and finished here, whole ones by the kernel.
    ending = kernels.as_it_is if p.rest else finish
    kind = np.dtype(np.float64) if p.rest else dtype
    kernel = kernels.sum_rows if p.along_rows else kernels.sum_columns
    numbers = (*p.numbers, count)
    try:
        launch = kernel.prepare(*arrays, *missing, np.empty(1, kind), *numbers, expression, ending)
    except Unsupported:
        return None
    items, cost = p.items, p.cost(costs.nanoseconds(expression, len(arrays), max(x.itemsize, 4)))
    split, empty, shape = threads.split, np.empty, p.shape
    if not p.rest and not p.order:

        def run_whole(*given: Any) -> Any:
            out = empty(shape, dtype)
            chunks, share = split(items, cost) if items > 1 else (1, 1)
            launch(chunks, items, share, *given, out, *numbers)
            return out

        return run_whole

    def run(*given: Any) -> Any:
        out = empty(p.partial, kind)
        chunks, share = split(items, cost)
        launch(chunks, items, share, *given, out, *numbers)
        if p.rest:
            out = np.asarray(finish(np.add.reduce(out, p.rest), count)).astype(dtype)
        return p.shaped(out)

    return run


def plan_total(
    x: Any, axes: tuple[int, ...], dtype: Any, keepdims: bool, expression: Expression, finish: Any
) -> Run | None:
    """The launch for sums of `expression` over `axes`, computed in `dtype`, meeting in float64."""
    if not _is_for_kernels(x) or not (x.dtype == dtype or x.dtype in NARROW):
        return None
    return _plan_fold(expression, (x,), axes, keepdims, dtype, finish)


def plan_product(x: Any, axes: tuple[int, ...], dtype: Any, keepdims: bool) -> Run | None:
    """The launch for products over `axes`, computed in `dtype`; they meet in float64."""
    p = lay_out(x, axes, keepdims) if _is_for_kernels(x) and x.dtype == dtype else None
    if p is None or not p.along_rows:
        return None
    kind = np.dtype(np.float64) if p.rest else dtype
    launch = kernels.multiply_rows.prepare(x, np.empty(1, kind), *p.numbers)
    start = _start(p, launch, p.numbers)

    def run(x: Any) -> Any:
        out = np.empty(p.partial, kind)
        start(x, out)
        if p.rest:
            with np.errstate(over="ignore", under="ignore"):
                out = np.multiply.reduce(out, p.rest).astype(dtype)
        return p.shaped(out)

    return run


def _start(
    p: Layout, launch: Callable[..., Any], numbers: Sequence[Any], each: float = 0.1
) -> Callable[..., None]:
    """`launch` for all pieces of arrays, where an element takes `each` nanoseconds."""
    items, cost = p.items, p.cost(each)

    def start(*arrays: Any) -> None:
        chunks, share = threads.split(items, cost) if items > 1 else (1, 1)
        launch(chunks, items, share, *arrays, *numbers)

    return start


# ---------------------------------------------------------------- norms
def norm(x: Any, order: float, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The norm of real `x` of order 1, 2, inf or -inf over `axes`; None without a kernel."""
    if x.size < SMALL:
        return None
    if order == 2:
        return fold(SQUARE, (x,), axes, keepdims, None, kernels.root)
    if order == 1:
        return fold(SIZE, (x,), axes, keepdims)
    if math.isinf(order):
        return _largest_size(x, axes, np.maximum if order > 0 else np.minimum, keepdims)
    return None


_largest_size = Planned(lambda x, *rest: plan_extreme(x, *rest, SIZE))


# ---------------------------------------------------------------- extrema
def plan_extreme(
    x: Any, axes: tuple[int, ...], ufunc: Any, keepdims: bool, expression: Expression = ITSELF
) -> Run | None:
    """The launch for the largest (np.maximum) or smallest (np.minimum) over `axes`; NaN wins."""
    p = lay_out(x, axes, keepdims) if _is_for_kernels(x) else None
    if p is None:
        return None
    dtype, largest = x.dtype, ufunc is np.maximum
    if p.along_rows:
        kernel, pick = kernels.extreme_rows, kernels.larger_of if largest else kernels.smaller_of
    else:
        kernel, pick = kernels.extreme_columns, kernels.is_above if largest else kernels.is_below
    launch = kernel.prepare(x, np.empty(1, dtype), *p.numbers, expression, pick)
    start, whole = _start(p, launch, p.numbers), not p.rest and not p.order
    shape = p.shape if whole else p.partial

    def run(x: Any) -> Any:
        out = np.empty(shape, dtype)
        start(x, out)
        return out if whole else p.shaped(ufunc.reduce(out, p.rest) if p.rest else out)

    return run


def plan_locate(
    x: Any, axis: int | None, largest: bool, keepdims: bool, values: bool
) -> Run | None:
    """The launch for the extremes of `x` along `axis`, and their first places; NaN wins.

    If no `values` are wanted, the first result is None, and the axis may be None: the place is one
    in the flattened array.
    """
    if not _is_for_kernels(x):
        return None
    if axis is None:
        return _plan_place(x, largest, keepdims) if x.flags.c_contiguous and not values else None
    p = lay_out(x, (axis,), keepdims, cut=False)
    if p is None or p.rest:
        return None
    dtype = x.dtype
    if p.along_rows:
        numbers: tuple[int, ...] = (p.columns, p.step)
        kernel, pick = kernels.locate_rows, kernels.larger_of if largest else kernels.smaller_of
    else:
        numbers = (p.rows, p.columns, p.step, p.stack_step, p.bands)
        kernel, pick = kernels.locate_columns, kernels.is_above if largest else kernels.is_below
    example = np.empty(1, dtype) if values else None
    launch = kernel.prepare(x, example, np.empty(1, np.int64), *numbers, pick)
    start = _start(p, launch, numbers, 0.15)

    def run(x: Any) -> tuple[Any, Any]:
        places = np.empty(p.partial, np.int64)
        best = np.empty(p.partial, dtype) if values else None
        start(x, *((best, places) if values else (places,)))
        return best if best is None else p.shaped(best), p.shaped(places)

    return run


def _plan_place(x: Any, largest: bool, keepdims: bool) -> Callable[..., Any]:
    """The place in a whole array: the best of its pieces, then the place in that piece."""
    shape = (1,) * x.ndim if keepdims else ()
    width = min(_PIECE, x.size)
    pieces = -(-x.size // width)
    pick = kernels.larger_of if largest else kernels.smaller_of
    numbers = (x.size, x.size, width, pieces)
    launch = kernels.extreme_rows.prepare(x, np.empty(1, x.dtype), *numbers, ITSELF, pick)
    choose, dtype = (np.argmax if largest else np.argmin), x.dtype

    def run(x: Any) -> tuple[Any, Any]:
        best = np.empty(pieces, dtype)
        chunks, share = threads.split(pieces, width * 0.1)
        launch(chunks, pieces, share, x, best, *numbers)
        start = int(choose(widened(best))) * width
        place = start + int(choose(widened(x.reshape(-1)[start : start + width])))
        return None, np.full(shape, place, np.int64)

    return run


# ---------------------------------------------------------------- spreads
def _plan_spread(x: Any, axes: tuple[int, ...], keepdims: bool) -> Callable[..., Any] | None:
    p = lay_out(x, axes, keepdims) if _is_for_kernels(x) else None
    if p is None:
        return None
    kernel = kernels.spread_rows if p.along_rows else kernels.spread_columns
    statics = (ITSELF,) if p.along_rows else ()
    wide = np.empty(1)
    launch = kernel.prepare(x, wide, wide, *p.numbers, *statics)
    start = _start(p, launch, p.numbers, 0.2)

    def run(x: Any) -> tuple[Any, Any]:
        means, spreads = np.empty(p.partial), np.empty(p.partial)
        start(x, means, spreads)
        if p.rest:
            weights = np.broadcast_to(p.counts, p.partial)
            count = np.add.reduce(weights, p.rest, keepdims=True)
            center = np.add.reduce(means * weights, p.rest, keepdims=True) / count
            apart = np.square(means - center) * weights
            spreads, means = np.add.reduce(spreads + apart, p.rest), center
        return p.shaped(spreads), p.shaped(means)

    return run


spread = Planned(_plan_spread)
"""The sum of squared distances of x from the mean over axes, and the mean, in float64.

Takes the axes and `keepdims`. Partial results are joined as Chan, Golub and LeVeque, *Updating
Formulae and a Pairwise Algorithm for Computing Sample Variances* (1979), show.
"""
