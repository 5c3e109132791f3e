"""Matrix products of NumPy arrays: `matmul` and `linear`.

float32 and float64 run on the compiled kernels, cut up by a plan that is made once per combination
of shapes and strides. Integers, complex numbers, and everything where nothing can be compiled go
to NumPy; float16 and bfloat16 are computed in float32 and rounded once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from ...compiler import jit, launch, target, threads

if TYPE_CHECKING:
    from ...compiler.blocking import Plan, Product

Array = np.ndarray
# Takes the two operands, what is added or None, and the result's array or None.
_Run = Callable[..., Array]

_COMPILED = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
_NARROW = frozenset({np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)})
# The IR is scheduled by hand: LLVM's passes over it cost time and gain nothing.
_OPTIONS = jit.Options(level=0, vectorize=False, slp=False, unroll=False)
_MOST_PLANS = 4096
# Multiply-adds below which a plan does not depend on the number of threads.
_ALONE = 80_000

_plans: dict[Any, _Run] = {}
_empty = np.empty


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """Return ``a @ b`` with NumPy's rules for one, two and more dimensions.

    >>> matmul(np.ones((2, 3), np.float32), np.ones((3, 4), np.float32))[0]
    array([3., 3., 3., 3.], dtype=float32)
    """
    key = (a.shape, b.shape, a.strides, b.strides, a.dtype, b.dtype)
    run = _plans.get(key)
    if run is None:
        run = _remember(key, _prepare_matmul(a, b))
    if out is None:
        return run(a, b)
    return _write_into(out, run, a, b)


def linear(x: Array, w: Array, bias: Array | None = None, relu: bool = False) -> Array:
    """Return ``x @ w.T + bias``, or the larger of that and 0: (..., K), (N, K), (N) to (..., N).

    >>> linear(np.ones((1, 2), np.float32), np.eye(2, dtype=np.float32), np.ones(2, np.float32))
    array([[2., 2.]], dtype=float32)
    """
    run = planned_linear(x, w, bias, relu)
    if run is None:
        key = _linear_key(x, w, bias, relu)
        run = _remember(key, _prepare_linear(x, w, bias, relu))
    return run(x, w, bias)


def planned_linear(
    x: Array, w: Array, bias: Array | None = None, relu: bool = False
) -> _Run | None:
    """What `linear` has planned for arrays that look like these; their shapes are right then."""
    return _plans.get(_linear_key(x, w, bias, relu))


def _linear_key(x: Array, w: Array, bias: Array | None, relu: bool) -> tuple[Any, ...]:
    if bias is None:
        return (x.shape, w.shape, x.strides, w.strides, x.dtype, w.dtype, relu)
    return (x.shape, w.shape, x.strides, w.strides, x.dtype, w.dtype, relu, bias.strides,
            bias.shape, bias.dtype)  # fmt: skip


def _remember(key: Any, run: _Run) -> _Run:
    if len(_plans) >= _MOST_PLANS:
        _plans.clear()
    _plans[key] = run
    return run


def _write_into(out: Array, run: _Run, a: Array, b: Array) -> Array:
    if run is reference_matmul:
        return run(a, b, None, out)
    apart = not (np.may_share_memory(out, a) or np.may_share_memory(out, b))
    if apart and out.flags.c_contiguous and out.dtype == a.dtype and out.flags.aligned:
        c = run(a, b, None, None if out.shape != _shape_of(a, b) else out)
    else:
        c = run(a, b)
    if c is not out:
        if c.shape != out.shape:
            raise ValueError(f"matmul: out has shape {out.shape}, the product {c.shape}")
        out[...] = c
    return out


def _shape_of(a: Array, b: Array) -> tuple[int, ...]:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return batch + a.shape[-2:-1] + (b.shape[-1:] if b.ndim > 1 else ())


# NumPy's path -------------------------------------------------------------------------------------


def reference_matmul(a: Array, b: Array, added: None = None, out: Array | None = None) -> Array:
    """Return ``a @ b`` by NumPy; narrow floats are computed in float32 and rounded once."""
    if a.dtype in _NARROW and b.dtype == a.dtype:
        c = matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)
        if out is None:
            return c
        out[...] = c
        return out
    return np.asarray(np.matmul(a, b, out=out))


def reference_linear(x: Array, w: Array, bias: Array | None = None, relu: bool = False) -> Array:
    """Return ``x @ w.T + bias`` by NumPy, or the larger of that and 0."""
    if x.dtype in _NARROW and w.dtype == x.dtype:
        wide = [None if v is None else v.astype(np.float32) for v in (x, w, bias)]
        return linear(*wide, relu).astype(x.dtype)
    y = np.asarray(np.matmul(x, w.T))
    if bias is not None:
        y = np.asarray(y + bias)
    return np.asarray(np.maximum(y, 0)) if relu else y


# The compiled path --------------------------------------------------------------------------------


def _prepare_matmul(a: Array, b: Array) -> _Run:
    """How to compute ``a @ b`` for arrays that look like these."""
    if not a.ndim or not b.ndim or not _is_compiled(a, b):
        return reference_matmul
    inner = b.shape[0] if b.ndim == 1 else b.shape[-2]
    if a.shape[-1] != inner or not a.size or not b.size:
        return reference_matmul  # which raises, or has nothing to add up
    try:
        shape = _shape_of(a, b)
    except ValueError:
        return reference_matmul
    rows = a if a.ndim > 1 else a[None]
    columns = b if b.ndim > 1 else b[:, None]
    if math.prod(columns.shape[:-2]) == 1:
        columns = columns.reshape(columns.shape[-2:])
        rows = _merge_rows(rows)
    return _plan_run(rows, columns, None, False, shape, lambda a, b, added, c: matmul(a, b, c))


def _prepare_linear(x: Array, w: Array, bias: Array | None, relu: bool) -> _Run:
    """How to compute ``x @ w.T + bias`` for arrays that look like these."""
    present = (x, w) if bias is None else (x, w, bias)
    compiled = x.ndim and w.ndim == 2 and (bias is None or bias.shape == w.shape[:1])
    if not compiled or x.shape[-1] != w.shape[1] or not _is_compiled(*present):
        return functools.partial(reference_linear, relu=relu)
    if not x.size or not w.size:
        return functools.partial(reference_linear, relu=relu)
    if bias is not None and bias.strides[0] != bias.itemsize and bias.size > 1:
        return lambda x, w, bias: linear(x, w, np.ascontiguousarray(bias), relu)
    rows = _merge_rows(x if x.ndim > 1 else x[None])
    shape = x.shape[:-1] + w.shape[:1]
    return _plan_run(rows, w.T, bias, relu, shape, lambda x, w, added, c: linear(x, w, added, relu))


def _is_compiled(*arrays: Array) -> bool:
    """Whether kernels exist for these arrays: one dtype, and strides that are whole elements."""
    dtype = arrays[0].dtype
    return (
        dtype in _COMPILED
        and all(v.dtype == dtype for v in arrays)
        and all(s % dtype.itemsize == 0 for v in arrays for s in v.strides)
        and jit.available()
    )


def _merge_rows(a: Array) -> Array:
    """`a` as one matrix with as many rows, where its strides allow that; else `a`."""
    if a.ndim <= 2:
        return a
    try:
        return a.reshape((-1, a.shape[-1]), copy=False)
    except ValueError:
        return a


def _plan_run(
    a: Array, b: Array, bias: Array | None, relu: bool, shape: tuple[int, ...], again: _Run
) -> _Run:
    """The function that multiplies arrays placed as the views `a` and `b` are.

    `again` starts anew when the arrays are not aligned or the number of threads has changed.
    """
    from ...compiler.blocking import plan

    count = threads.get_num_threads()
    product = _describe(a, b, bias, relu)
    swapped = _is_better_swapped(product)
    made = plan(_swap(product) if swapped else product, a.dtype.name, count)
    alone = not made.work and product.m * product.n * product.k * len(product.offsets) < _ALONE
    return _bind(made, a.dtype, None if alone else count, swapped, shape, again)


def _bind(
    made: Plan, dtype: np.dtype, count: int | None, swapped: bool, shape: tuple[int, ...],
    again: _Run,
) -> _Run:  # fmt: skip
    """The function that launches a plan made for `count` threads; None: for any number."""
    launch_product = kernel(made.kernel, dtype.name)
    pack = kernel("gemm_pack", dtype.name) if made.pack_chunks else None
    chunks, words, work = made.chunks, made.words, made.work

    def run(a: Array, b: Array, added: Array | None = None, c: Array | None = None) -> Array:
        if c is None:
            c = _empty(shape, dtype)
        try:
            if swapped:
                launch_product(chunks, b, a, c, added, None, words)
            else:
                launch_product(chunks, a, b, c, added, None, words)
        except TypeError:
            return again(*map(_align, (a, b, added)), c)
        return c

    def run_by_threads(
        a: Array, b: Array, added: Array | None = None, c: Array | None = None
    ) -> Array:
        if threads.get_num_threads() != count:
            _plans.clear()
            return again(a, b, added, c)
        if c is None:
            c = _empty(shape, dtype)
        panels = _empty(work, dtype) if work else None
        left, right = (b, a) if swapped else (a, b)
        try:
            if pack is not None:
                pack(made.pack_chunks, left, right, c, added, panels, words)
            launch_product(chunks, left, right, c, added, panels, words)
        except TypeError:
            return again(*map(_align, (a, b, added)), c)
        return c

    return run if count is None else run_by_threads


def _align(v: Array | None) -> Array | None:
    return v if v is None else np.require(v, requirements="A")


@functools.cache
def kernel(name: str, dtype: str) -> Callable[..., None]:
    """The launcher of a chunk function: count of chunks, A, B, C, D, work, plan."""
    from ...compiler.gemm import build_gemm
    from ...compiler.skinny import build_skinny

    build = build_skinny if name in ("gemm_dots", "gemm_rows") else build_gemm
    title = f"{build.__name__.removeprefix('build_')}_{dtype}"
    library = jit.load_or_build(
        title, "1", lambda: str(build(dtype, target.host())), options=_OPTIONS
    )
    array = f"a:{dtype}"
    params = f"{array} {array} {array}:w o o a:int64"
    return launch.bind(library.address(name), params, name=f"{name}_{dtype}", parallel=True)


def _describe(a: Array, b: Array, bias: Array | None, relu: bool) -> Product:
    """The product of the matrices in `a` and `b`, into a new array that has no gaps."""
    from ...compiler.blocking import Operand, Product

    (m, k), n = a.shape[-2:], b.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    offsets = np.zeros((math.prod(batch), 4), np.int64)
    offsets[:, 0] = _batch_offsets(a, batch)
    offsets[:, 1] = _batch_offsets(b, batch)
    offsets[:, 2] = np.arange(len(offsets)) * (m * n)
    return Product(
        m, n, k, Operand(*_matrix_strides(a)), Operand(*_matrix_strides(b)), Operand(n, 1),
        None if bias is None else Operand(0, 1), offsets, relu,
    )  # fmt: skip


def _matrix_strides(a: Array) -> tuple[int, int]:
    """The last two strides in elements; that of an extent of 1 means nothing and is called 1."""
    row, col = (
        s // a.itemsize if e > 1 else 1 for e, s in zip(a.shape[-2:], a.strides[-2:], strict=True)
    )
    return row, col


def _batch_offsets(a: Array, batch: tuple[int, ...]) -> Array:
    """Where each matrix of the batch begins, in elements from the first."""
    wide = np.broadcast_to(a, batch + a.shape[-2:])
    offsets = np.zeros(batch, np.int64)
    for axis, extent in enumerate(batch):
        steps = np.arange(extent) * (wide.strides[axis] // a.itemsize)
        offsets += steps.reshape((-1,) + (1,) * (len(batch) - axis - 1))
    return offsets.ravel()


def _is_better_swapped(p: Product) -> bool:
    """Whether to compute the transpose: few columns, and the kernels for few rows fit it."""
    if p.d is not None or p.n > 8 or p.n >= p.m:
        return False
    deep = p.a.col == 1 and p.b.row == 1 and p.k >= 64
    return deep or (p.n == 1 and p.a.row == 1)


def _swap(p: Product) -> Product:
    a, b = p.b[::-1], p.a[::-1]
    operand = type(p.a)
    return p._replace(
        m=p.n, n=p.m, a=operand(*a), b=operand(*b), c=operand(*p.c[::-1]),
        offsets=p.offsets[:, [1, 0, 2, 3]],
    )  # fmt: skip
