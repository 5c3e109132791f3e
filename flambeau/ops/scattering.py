"""Scattering: writing elements to places given by index along a dimension."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu.scatter import combine_along
from .indexing import check_index
from .promotion import is_number, title, widened
from .record import Array, composite, writing
from .shapes import wrap_dim


def _checked(name: str, input: Array, dim: int, index: Array, src: Array | None) -> int:
    d = wrap_dim(dim, input.ndim)
    if src is not None and input.dtype != src.dtype:
        raise RuntimeError(
            f"{name}(): Expected self.dtype to be equal to src.dtype, but got {title(input)} "
            f"and {title(src)}"
        )
    if not index.size:
        return d
    if input.ndim != index.ndim and max(input.ndim, 1) != max(index.ndim, 1):
        raise RuntimeError(
            f"Index tensor must have the same number of dimensions as self tensor ({name}: shapes "
            f"{list(index.shape)} and {list(input.shape)})"
        )
    if src is not None:
        if src.ndim != index.ndim and max(src.ndim, 1) != max(index.ndim, 1):
            raise RuntimeError(
                f"Index tensor must have the same number of dimensions as src tensor ({name}: "
                f"shapes {list(index.shape)} and {list(src.shape)})"
            )
        if index.shape != src.shape and any(
            k > n for k, n in zip(index.shape, src.shape or (1,), strict=False)
        ):
            raise RuntimeError(
                f"Expected index {list(index.shape)} to be no larger than src {list(src.shape)} "
                f"({name})"
            )
    for axis, k in enumerate(index.shape if index.shape != input.shape else ()):
        if axis != d and input.ndim and k > input.shape[axis]:
            raise RuntimeError(
                f"Expected index {list(index.shape)} to be no larger than self "
                f"{list(input.shape)} apart from dimension {d} ({name})"
            )
    if index.dtype.kind not in "iu" or index.dtype.itemsize < 4:
        check_index(name, index, input.shape[d] if input.ndim else 1, d)
    return d


def _fold_in(name: str, out: Array, d: int, index: Array, src: Array, reduce: str | None) -> None:
    """`src` put into `out` at `index` along `d`, or `reduce` of both."""
    if not out.ndim:
        out, index, src = out.reshape(1), index.reshape(-1), src.reshape(-1)
    if not combine_along(out, index, src, d, reduce):
        check_index(name, index, out.shape[d], d)


def _cut(src: Array, index: Array) -> Array:
    if index.ndim != src.ndim or index.shape == src.shape:
        return src
    return src[tuple(slice(k) for k in index.shape)]


def _source_gradient(m: Any, g: Any, dim: int, index: Any, shape: Any) -> Any:
    if not 0 < len(shape) == index.ndim or tuple(index.shape) == tuple(shape):
        return m.gather(g, dim, index)
    key = tuple(slice(k) for k in index.shape)
    return m.basic_index_back(m.gather(g, dim, index), key, tuple(shape))


@writing(
    method=False,
    node="ScatterBackward0",
    grad={
        "input": lambda m, g, dim, index: m.scatter_number(g, dim, index, 0),
        "src": lambda m, g, dim, index, src_shape: _source_gradient(m, g, dim, index, src_shape),
    },
)
def scatter_tensor(input: Array, dim: int, index: Array, src: Array) -> None:
    """`input` with the elements at `index` along `dim` replaced by those of `src`."""
    d = _checked("scatter", input, dim, index, src)
    if index.size:
        _fold_in("scatter", input, d, index, _cut(src, index), None)


@writing(
    method=False,
    node="ScatterBackward1",
    grad={"input": lambda m, g, dim, index: m.scatter_number(g, dim, index, 0)},
)
def scatter_number(input: Array, dim: int, index: Array, value: Any) -> None:
    """`input` with the elements at `index` along `dim` set to a number."""
    d = _checked("scatter", input, dim, index, None)
    if index.size:
        _fold_in("scatter", input, d, index, np.asarray(value).astype(input.dtype), None)


@composite(inplace=True, out=True, through=True)
def scatter(
    m: Any,
    input: Array,
    dim: int,
    index: Array,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Array:
    """`input` with the elements at `index` along `dim` replaced by `src` (a tensor or a number).

    `reduce` "add" or "multiply" combines them with what is there.

    >>> flambeau.zeros(4).scatter(0, flambeau.tensor([3, 1]), flambeau.tensor([5.0, 6.0]))
    tensor([0., 6., 0., 5.])
    >>> flambeau.ones(3).scatter(0, flambeau.tensor([0, 2]), 4.0, reduce="multiply")
    tensor([4., 1., 4.])
    """
    src = value if src is None else src
    if src is None:
        raise TypeError('scatter() missing 1 required positional arguments: "src"')
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise RuntimeError("reduce argument must be either add or multiply.")
        if is_number(src):
            src = m.expand(m.number(src, input), tuple(index.shape))
        return m.scatter_reduce(input, dim, index, m.cast(src, m.dtype(input)),
                                "sum" if reduce == "add" else "prod")  # fmt: skip
    if is_number(src):
        return m.scatter_number(input, dim, index, src)
    return m.scatter_tensor(input, dim, index, src)


@writing(
    inplace=True,
    out=True,
    grad={
        "input": lambda m, g: g,
        "src": lambda m, g, dim, index, src_shape: _source_gradient(m, g, dim, index, src_shape),
    },
)
def scatter_add(input: Array, dim: int, index: Array, src: Array) -> None:
    """`input` with the elements of `src` added at `index` along `dim`; indices may repeat.

    >>> src = flambeau.tensor([1.0, 2.0, 3.0])
    >>> flambeau.zeros(3).scatter_add(0, flambeau.tensor([0, 2, 0]), src)
    tensor([4., 0., 2.])
    """
    d = _checked("scatter_add", input, dim, index, src)
    index, src = (x if x.ndim or not input.ndim else x.reshape(1) for x in (index, src))
    if index.size:
        _fold_in("scatter_add", input, d, index, _cut(src, index), "sum")


# ---------------------------------------------------------------- with any reduction
_REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")
_START = {"sum": 0, "mean": 0, "prod": 1}


def _extreme_start(kind: Any, reduce: str) -> Any:
    if kind.kind == "f" or kind.kind == "V":
        return -np.inf if reduce == "amax" else np.inf
    if kind.kind == "b":
        return reduce == "amin"
    info = np.iinfo(kind)
    return info.min if reduce == "amax" else info.max


def _combine(
    out: Array, d: int, index: Array, values: Array, reduce: str, include_self: bool
) -> None:
    """`values` folded into the float or integer array `out` at `index` along `d`."""
    name = "scatter_reduce"
    if not include_self:
        start = _START[reduce] if reduce in _START else _extreme_start(out.dtype, reduce)
        _fold_in(name, out, d, index, np.asarray(start, out.dtype), None)
    _fold_in(name, out, d, index, values, "sum" if reduce == "mean" else reduce)
    if reduce == "mean":
        counts = np.full(out.shape, int(include_self), np.int64)
        _fold_in(name, counts, d, index, np.ones((), np.int64), "sum")
        np.maximum(counts, 1, out=counts)
        out[...] = out // counts if out.dtype.kind in "iu" else out / counts


def _scatter_reduce_gradients(
    m: Any, g: Any, wanted: str, x: Any, dim: int, index: Any, src: Any, out: Any,
    reduce: str, include_self: bool,
) -> Any:  # fmt: skip
    """The gradient of `x` ("input") or `src`, by the rule of the reduction."""
    if not index.ndim:
        index, back = m.reshape(index, (1,)), True
        x, src, out, g = (m.reshape(v, (1,)) for v in (x, src, out, g))
    else:
        back = False
    shape = tuple(src.shape)
    key = tuple(slice(k) for k in index.shape)
    part = m.basic_index(src, key) if tuple(index.shape) != shape else src
    mine, theirs = _reduce_shares(m, g, x, dim, index, part, out, reduce, include_self)
    if wanted == "input":
        kept = mine if include_self else m.scatter_number(mine, dim, index, 0)
        return m.reshape(kept, ()) if back else kept
    if tuple(index.shape) != shape:
        theirs = m.basic_index_back(theirs, key, shape)
    return m.reshape(theirs, ()) if back else theirs


def _reduce_shares(
    m: Any, g: Any, x: Any, dim: int, index: Any, src: Any, out: Any, reduce: str, own: bool
) -> tuple[Any, Any]:
    if reduce == "sum":
        return g, m.gather(g, dim, index)
    zeros = m.mul(m.constant(x), 0)
    if reduce == "mean":
        ones = m.mul(m.constant(src), 0) + 1
        counts = m.scatter_add(zeros + 1 if own else zeros, dim, index, ones)
        share = g / m.clamp_min(counts, 1)
        return share, m.gather(share, dim, index)
    if reduce == "prod":
        return _product_shares(m, g, x, dim, index, src, out, own)
    there = m.gather(out, dim, index)
    hit = m.cast(m.eq(src, there), m.dtype(src))
    self_hit = m.cast(m.eq(x, out), m.dtype(x))
    if not own:
        self_hit = m.scatter_number(self_hit, dim, index, 0)
    number = m.scatter_add(self_hit, dim, index, hit)
    share = g / m.where(m.eq(number, 0), 1, number)
    touched = m.scatter_number(zeros, dim, index, 1)
    mine = m.where(m.eq(touched, 0), g, share * self_hit)
    return mine, m.gather(share, dim, index) * hit


def _product_shares(
    m: Any, g: Any, x: Any, dim: int, index: Any, src: Any, out: Any, own: bool
) -> tuple[Any, Any]:
    # Zeros are left out of the product and counted; one zero alone gets the product of the others.
    zeros = m.mul(m.constant(x), 0)
    none = m.eq(src, 0)
    count = m.scatter_add(
        m.cast(m.eq(x, 0), m.dtype(x)) if own else zeros, dim, index, m.cast(none, m.dtype(src))
    )
    start = m.where(m.eq(x, 0), 1, x) if own else zeros + 1
    rest = m.scatter_reduce(start, dim, index, m.where(none, 1, src), "prod")
    mine = m.where(m.eq(x, 0), m.where(m.eq(count, 1), rest, 0), out / m.where(m.eq(x, 0), 1, x))
    if not own:
        mine = zeros + 1
    alone = m.where(m.eq(m.gather(count, dim, index), 1), m.gather(rest, dim, index), 0)
    theirs = m.where(none, alone, m.gather(out, dim, index) / m.where(none, 1, src))
    return g * mine, m.gather(g, dim, index) * theirs


@writing(
    inplace=True,
    out=True,
    grad={
        "input": lambda m, g, input, dim, index, src, out, reduce, include_self: (
            _scatter_reduce_gradients(
                m, g, "input", input, dim, index, src, out, reduce, include_self
            )
        ),
        "src": lambda m, g, input, dim, index, src, out, reduce, include_self: (
            _scatter_reduce_gradients(
                m, g, "src", input, dim, index, src, out, reduce, include_self
            )
        ),
    },
)
def scatter_reduce(
    input: Array, dim: int, index: Array, src: Array, reduce: str, *, include_self: bool = True
) -> None:
    """`input` with `src` folded in at `index` along `dim` by sum, prod, mean, amax or amin.

    >>> x, index = flambeau.tensor([5, 5]), flambeau.tensor([0, 0, 1])
    >>> x.scatter_reduce(0, index, flambeau.tensor([9, 7, 3]), "amax")
    tensor([9, 5])
    >>> x.scatter_reduce(0, index, flambeau.tensor([9, 7, 3]), "prod", include_self=False)
    tensor([63,  3])
    """
    if reduce not in _REDUCTIONS:
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    d = _checked("scatter_reduce", input, dim, index, src)
    index, src = (x if x.ndim or not input.ndim else x.reshape(1) for x in (index, src))
    if not index.size:
        return
    wide = widened(input)
    _combine(wide, d, index, _cut(src, index).astype(wide.dtype, copy=False), reduce, include_self)
    if wide is not input:
        input[...] = wide


def _rows_as_places(m: Any, index: Any, d: int, shape: Any) -> Any:
    """A 1-d index of rows as an index of elements along dimension `d`, of the given shape."""
    n = len(shape)
    spread = m.reshape(index, tuple(-1 if i == d else 1 for i in range(n)))
    return m.expand(spread, tuple(shape))


@composite(inplace=True, out=True, through=True)
def index_reduce(
    m: Any,
    input: Array,
    dim: int,
    index: Array,
    source: Array,
    reduce: str,
    *,
    include_self: bool = True,
) -> Array:
    """`input` with the rows of `source` folded in at `index` by prod, mean, amax or amin.

    >>> rows = flambeau.tensor([[2.0, 3.0], [4.0, 5.0]])
    >>> flambeau.ones(2, 2).index_reduce(0, flambeau.tensor([0, 0]), rows, "prod")
    tensor([[ 8., 15.],
            [ 1.,  1.]])
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be prod, mean, amax or amin but got {reduce}."
        )
    if not include_self and m.dtype(input) is dtypes.bool_:
        raise NotImplementedError(
            "index_reduce(): include_self=False is not there for truth values"
        )
    if index.ndim > 1:
        raise IndexError(
            f"index_reduce_(): Index is supposed to be a vector, but got dim: {index.ndim}"
        )
    rows = source.shape[wrap_dim(dim, source.ndim)] if source.ndim else 1
    if math.prod(index.shape) != rows:
        raise RuntimeError(
            f"index_reduce_(): Number of indices ({math.prod(index.shape)}) should be equal to "
            f"source.size(dim): ({rows}), for dim: {dim}"
        )
    if not input.ndim:
        wrap_dim(dim, 0)
        index = m.reshape(index, ())
        return m.scatter_reduce(input, 0, index, m.reshape(source, ()), reduce,
                                include_self=include_self)  # fmt: skip
    d = wrap_dim(dim, input.ndim)
    places = _rows_as_places(m, index, d, source.shape)
    return m.scatter_reduce(input, d, places, source, reduce, include_self=include_self)
