"""Matrix products of NumPy arrays: `matmul` and `linear`.

float32 and float64 run on the compiled kernels, cut up by a plan that is made once per combination
of shapes and strides. float16 and bfloat16 go to `narrow_matmul`, complex numbers to
`complex_matmul`; integers, and everything where nothing can be compiled, to NumPy.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...compiler import allocator, costs, jit, launch, target, threads
from .precision import NARROW

if TYPE_CHECKING:
    from ...compiler.blocking import Plan, Product

Array = np.ndarray
# Takes the two operands, what is added or None, and the result's array or None.
_Run = Callable[..., Array]

_COMPILED = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
_MOST_PLANS = 4096
# Nanoseconds of a multiply-add of float32 on one thread; of a product that one thread does best
# alone; of a product that is worth waking threads for.
_TIME, _ALONE, _SHARED = 0.018, 5_000, 120_000
# The most elements of A times columns of C for which the kernel of small products is asked.
_MOST_SMALL = 64 * 64 * 64

# By the looks of the operands: how to compute their product. By dtype: the kernel for small ones.
_plans: dict[Any, Callable[..., Any]] = {}
_empty = np.empty


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """Return ``a @ b`` with NumPy's rules for one, two and more dimensions.

    >>> matmul(np.ones((2, 3), np.float32), np.ones((3, 4), np.float32))[0]
    array([3., 3., 3., 3.], dtype=float32)
    """
    if out is None and (c := known_matmul(a, b)) is not None:
        return c
    key = (a.shape, b.shape, a.strides, b.strides, a.dtype, b.dtype)
    run = _plans.get(key) or _remember(key, _prepare_matmul(a, b))
    if out is None:
        return run(a, b)
    return _write_into(out, run, a, b)


def known_matmul(a: Array, b: Array) -> Array | None:
    """``a @ b`` if it is small or like a product before, whose shapes are right then; else None."""
    kind = a.dtype
    small = _plans.get(kind)
    if small is not None and b.ndim == 2:
        n = b.shape[1]
        if a.size * n <= _MOST_SMALL and a.ndim:
            c = _empty((*a.shape[:-1], n), kind)
            try:
                if small(a, b, None, c, 0, 0, 0, 1.0, 1.0):
                    return c
            except TypeError:  # of different dtypes, or not aligned
                pass
    run = _plans.get((a.shape, b.shape, a.strides, b.strides, kind, b.dtype))
    return None if run is None else run(a, b)


def linear(x: Array, w: Array, bias: Array | None = None, relu: bool = False) -> Array:
    """Return ``x @ w.T + bias``, or the larger of that and 0: (..., K), (N, K), (N) to (..., N).

    >>> linear(np.ones((1, 2), np.float32), np.eye(2, dtype=np.float32), np.ones(2, np.float32))
    array([[2., 2.]], dtype=float32)
    """
    y = known_linear(x, w, bias, relu)
    if y is not None:
        return y
    run = _remember(_linear_key(x, w, bias, relu), _prepare_linear(x, w, bias, relu))
    return run(x, w, bias)


def known_linear(x: Array, w: Array, bias: Array | None = None, relu: bool = False) -> Array | None:
    """What `linear` returns if it is small or like one before; else None."""
    kind = x.dtype
    small = _plans.get(kind)
    if small is not None and w.ndim == 2:
        n = w.shape[0]
        fits = x.size * n <= _MOST_SMALL and x.ndim
        if fits and (bias is None or bias.shape == (n,)):
            y = _empty((*x.shape[:-1], n), kind)
            try:
                if small(x, w, bias, y, 1, 0, relu, 1.0, 1.0):
                    return y
            except TypeError:  # of different dtypes, not aligned, or a bias with gaps
                pass
    run = _plans.get(_linear_key(x, w, bias, relu))
    return None if run is None else run(x, w, bias)


def add_matmul(d: Array, a: Array, b: Array, beta: Any = 1, alpha: Any = 1) -> Array:
    """Return ``beta * d + alpha * (a @ b)`` for matrices or batches; `d` broadcasts to that.

    With beta zero `d` is not read. Integers take integer factors.

    >>> add_matmul(np.ones(1), np.ones((2, 3)), np.ones((3, 2)))[0]
    array([4., 4.])
    """
    c = known_sum(d, a, b, beta, alpha)
    if c is not None:
        return c
    if alpha != 1:  # the smaller matrix is scaled
        a, b = (a * a.dtype.type(alpha), b) if a.size < b.size else (a, b * b.dtype.type(alpha))
    if beta == 0:
        return matmul(a, b)
    if beta != 1:
        d = d * d.dtype.type(beta)
    key = _sum_key(d, a, b)
    run: _Run = _plans.get(key) or _remember(key, _prepare_sum(d, a, b))
    return run(a, b, d)


def known_sum(d: Array, a: Array, b: Array, beta: Any, alpha: Any) -> Array | None:
    """What `add_matmul` returns if it is small or, without factors, like one before; else None."""
    kind = a.dtype
    small = _plans.get(kind)
    if small is not None and b.ndim == 2 and a.size * b.shape[1] <= _MOST_SMALL:
        shape = (*a.shape[:-1], b.shape[1])
        whole = d.shape == shape
        if whole or d.shape == shape[-1:]:
            c = _empty(shape, kind)
            try:
                if small(a, b, d, c, 0, whole, 0, beta, alpha):
                    return c
            except TypeError:  # of different dtypes, not aligned, or `d` has gaps
                pass
    run = _plans.get(_sum_key(d, a, b)) if alpha == beta == 1 else None
    return None if run is None else run(a, b, d)


def _sum_key(d: Array, a: Array, b: Array) -> tuple[Any, ...]:
    return (a.shape, b.shape, a.strides, b.strides, a.dtype, b.dtype, d.shape, d.strides, d.dtype)


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


def multiply_words(kind: str, a: Array, b: Array, d: Array | None, relu: bool = False) -> Array:
    """Return the products of matrices whose float32 elements hold `kind`, plus the row `d`.

    `kind` is "bfloat16x2" or "int8x4" (see `compiler.vectors`); extents are positive and fit.
    """
    like = None if d is None else (d.shape, d.strides)
    key = (kind, a.shape, b.shape, a.strides, b.strides, like, relu)
    run = _plans.get(key)
    if run is None:
        shape = _shape_of(a, b)

        def again(a: Array, b: Array, d: Array | None, c: Array | None) -> Array:
            return multiply_words(kind, a, b, d, relu)

        run = _remember(key, _plan_run(*_merged(a, b), d, relu, shape, again, kind))
    return run(a, b, d)


# NumPy's path -------------------------------------------------------------------------------------


def reference_matmul(a: Array, b: Array, added: None = None, out: Array | None = None) -> Array:
    """Return ``a @ b`` by NumPy."""
    return np.asarray(np.matmul(a, b, out=out))


def reference_linear(x: Array, w: Array, bias: Array | None = None, relu: bool = False) -> Array:
    """Return ``x @ w.T + bias`` by NumPy, or the larger of that and 0."""
    y = np.asarray(np.matmul(x, w.T))
    if bias is not None:
        y = np.asarray(y + bias)
    return np.asarray(np.maximum(y, 0)) if relu else y


def reference_sum(a: Array, b: Array, d: Array) -> Array:
    """Return ``a @ b + d``."""
    return np.asarray(matmul(a, b) + d)


# The compiled path --------------------------------------------------------------------------------


def _prepare_matmul(a: Array, b: Array) -> _Run:
    """How to compute ``a @ b`` for arrays that look like these."""
    if a.dtype in NARROW and b.dtype == a.dtype:
        from .narrow_matmul import prepare_matmul

        return prepare_matmul(a, b)
    if a.dtype.kind == b.dtype.kind == "c" and jit.available():
        from .complex_matmul import multiply

        return lambda a, b, added=None, c=None: multiply(a, b)
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
    rows, columns = _merged(rows, columns)
    return _plan_run(rows, columns, None, False, shape, lambda a, b, added, c: matmul(a, b, c))


def _prepare_sum(d: Array, a: Array, b: Array) -> _Run:
    """How to compute ``a @ b + d`` for arrays that look like these."""
    if not (a.ndim == b.ndim >= 2 and a.size and b.size and d.size and _is_compiled(a, b, d)):
        return reference_sum
    if a.shape[-1] != b.shape[-2]:
        return reference_sum
    shape = _shape_of(a, b)
    wide = np.broadcast_to(d, shape)
    if wide.strides[-1] != d.itemsize and shape[-1] > 1:
        return reference_sum
    return _plan_run(a, b, wide, False, shape, lambda a, b, d, c: add_matmul(d, a, b))


def _prepare_linear(x: Array, w: Array, bias: Array | None, relu: bool) -> _Run:
    """How to compute ``x @ w.T + bias`` for arrays that look like these."""
    present = (x, w) if bias is None else (x, w, bias)
    if x.dtype in NARROW and all(v.dtype == x.dtype for v in present):
        from .narrow_matmul import prepare_linear

        return prepare_linear(x, w, relu)
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


def _merged(rows: Array, columns: Array) -> tuple[Array, Array]:
    """The operands, a batch of A as one matrix where there is only one B."""
    if math.prod(columns.shape[:-2]) > 1:
        return rows, columns
    return _merge_rows(rows), columns.reshape(columns.shape[-2:])


def _merge_rows(a: Array) -> Array:
    """`a` as one matrix with as many rows, where its strides allow that; else `a`."""
    if a.ndim <= 2:
        return a
    try:
        return a.reshape((-1, a.shape[-1]), copy=False)
    except ValueError:
        return a


def _plan_run(
    a: Array, b: Array, d: Array | None, relu: bool, shape: tuple[int, ...], again: _Run,
    kind: str = "",
) -> _Run:  # fmt: skip
    """The function that multiplies arrays placed as the views `a` and `b` are.

    `again` starts anew when the arrays are not aligned or the number of threads has changed. `kind`
    names what the elements are, if not numbers of their dtype: words of narrower ones.
    """
    from ...compiler.blocking import plan

    if not kind:
        _plans.setdefault(a.dtype, small_kernel(a.dtype.name))
    kind = kind or a.dtype.name
    allocator.prepare(math.prod(shape) * a.itemsize)
    product = _describe(a, b, d, relu)
    swapped = _is_better_swapped(product) and kind != "int8x4"
    product = _swap(product) if swapped else product
    time = product.m * product.n * product.k * len(product.offsets) * _TIME * (a.itemsize / 4)
    count = threads.get_num_threads()

    def bind(count: int, only: int | None) -> _Run:
        return _bind(plan(product, kind, count), kind, a.dtype, only, swapped, shape, again)

    if time < _ALONE:
        return bind(1, None)
    if time >= _SHARED:
        return bind(count, count)
    alone, shared = bind(1, None), bind(count, count)

    def run(a: Array, b: Array, added: Array | None = None, c: Array | None = None) -> Array:
        one = threads.split(2, time / 2)[0] == 1
        return (alone if one else shared)(a, b, added, c)

    return run


def _bind(
    made: Plan, kind: str, dtype: np.dtype, count: int | None, swapped: bool,
    shape: tuple[int, ...], again: _Run,
) -> _Run:  # fmt: skip
    """The function that launches a plan for `count` threads only, or for any number of them."""
    launch_product = kernel(made.kernel, kind)
    pack = kernel("gemm_pack", kind) if made.pack_chunks else None
    chunks, words, work = made.chunks, made.words, made.work

    def run(a: Array, b: Array, added: Array | None = None, c: Array | None = None) -> Array:
        if count is not None and threads.get_num_threads() != count:
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

    return run


def _align(v: Array | None) -> Array | None:
    return v if v is None else np.require(v, requirements="A")


@functools.cache
def kernel(name: str, kind: str) -> Callable[..., None]:
    """The launcher of a chunk function: count of chunks, A, B, C, D, work, plan."""
    from ...compiler import gemm, routines, skinny

    if name in ("gemm_dots", "gemm_rows"):
        library = routines.load("skinny", kind, lambda: skinny.build_skinny(kind, target.host()))
    else:
        library = routines.load(
            "gemm", kind, lambda: gemm.build_gemm(kind, target.host()), gemm.ROUTINES
        )
    array = f"a:{kind if kind == 'float64' else 'float32'}"
    params = f"{array} {array} {array}:w o o a:int64"
    cost = None if name == "gemm_pack" else _cost_of_product
    return launch.bind(
        library.address(name), params, name=f"{name}_{kind}", parallel=True, cost=cost
    )


def _cost_of_product(a: Array, b: Array, c: Array, d: Any, work: Any, words: Array) -> costs.Cost:
    from ...compiler.gemm import PLAN

    m, n, k, batches = (int(words[PLAN.index(name)]) for name in ("m", "n", "k", "batches"))
    return costs.Cost(2.0 * m * n * k * batches)


@functools.cache
def small_kernel(dtype: str) -> Callable[..., int]:
    """The kernel of small products: see `compiler.small`; 0: nothing was done."""
    from ...compiler import routines, small

    library = routines.load(
        "small", dtype, lambda: small.build_small(dtype, target.host()), small.ROUTINES
    )
    params = small.PARAMETERS.format(dtype)
    return launch.bind(library.address("small"), params, name=f"small_{dtype}", returns="i")


def _describe(a: Array, b: Array, d: Array | None, relu: bool) -> Product:
    """The product of the matrices in `a` and `b` plus `d`, into a new array without gaps."""
    from ...compiler.blocking import Operand, Product

    (m, k), n = a.shape[-2:], b.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    offsets = np.zeros((math.prod(batch), 4), np.int64)
    offsets[:, 0] = _batch_offsets(a, batch)
    offsets[:, 1] = _batch_offsets(b, batch)
    offsets[:, 2] = np.arange(len(offsets)) * (m * n)
    added = None
    if d is not None:
        wide = np.broadcast_to(d, (*batch, m, n))
        offsets[:, 3] = _batch_offsets(wide, batch)
        added = Operand(*_matrix_strides(wide))
    return Product(
        m, n, k, Operand(*_matrix_strides(a)), Operand(*_matrix_strides(b)), Operand(n, 1),
        added, offsets, relu,
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
