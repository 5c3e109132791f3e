"""Indexing: gathering elements by index and putting them back."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..backends.cpu import indexing as kernels
from ..backends.cpu import selection as selection_kernels
from ..backends.cpu.scatter import add_at, add_rows, combine_along, combine_rows
from .promotion import is_number, title
from .record import Array, composite, structured, writing
from .shapes import at_dim, wrap_dim, wrap_own_dim


# ---------------------------------------------------------------- x[index] and its inverse
def _raw(key: Any) -> tuple[Any, ...]:
    """A key of arrays and slices from one that may hold tensors and None."""
    items = key if isinstance(key, (tuple, list)) else (key,)
    found = []
    for item in items:
        array = getattr(item, "_d", item)
        if array is None:
            array = slice(None)
        elif not isinstance(array, (slice, type(Ellipsis))):
            array = np.asarray(array)
            if array.dtype == np.uint8:
                array = array.astype(bool)
        found.append(array)
    return tuple(found)


@structured(
    method=False,
    node="IndexBackward0",
    grad={
        "input": lambda m, g, key, input_shape: m.advanced_index_back(g, key, tuple(input_shape))
    },
)
def advanced_index(input: Array, key: Any) -> Array:
    """``input[key]`` where `key` holds slices and index arrays."""
    if _names_few_places(key, 4096):
        return np.asarray(input[key], order="C")
    rows = _as_rows(input.shape, key)
    if rows is not None:
        found = kernels.take_rows(input.reshape(rows.shape), rows.places, rows.axis, rows.wrap)
        if found is not None:
            return found
    if _is_mask(key, input):
        return selection_kernels.masked_select(input, key[0])
    return input[key]


def _is_mask(key: Any, x: Array) -> bool:
    """Whether `key` is one mask of the shape of `x`."""
    if len(key) != 1 or not x.ndim:
        return False
    return bool(key[0].dtype == bool and key[0].shape == x.shape)


def _names_few_places(key: Any, few: int) -> bool:
    """Whether `key` is several arrays and nothing else, the first of which is of few elements."""
    if len(key) < 2 or any(k.__class__ is not np.ndarray for k in key):
        return False
    return bool(key[0].size < few)


class _Rows(NamedTuple):
    """An index in the form ``x.reshape(shape).take(places, axis)``."""

    shape: tuple[int, ...]
    places: Array
    axis: int
    wrap: bool


def _as_rows(shape: tuple[int, ...], key: Any) -> _Rows | None:
    """`key` as numbers of rows, if its index arrays are neighbours, and else it is slices of all.

    None where it is not so, or where it selects too little to matter.
    """
    if len(key) == 1 and key[0].dtype.kind == "i":
        return _Rows(shape, key[0], 0, True)
    where = [i for i, k in enumerate(key) if isinstance(k, np.ndarray)]
    first, last = where[0], where[-1] + 1
    arrays = key[first:last]
    sizes = shape[first:last]
    if len(where) != last - first or any(a.dtype.kind != "i" for a in arrays):
        return None
    if any(not isinstance(k, slice) or k != slice(None) for k in (*key[:first], *key[last:])):
        return None
    if len(arrays) == 1:
        return _Rows(shape, arrays[0], first, True)
    if any(a.shape != arrays[0].shape for a in arrays):
        try:
            arrays = np.broadcast_arrays(*arrays)
        except ValueError:
            return None
    places = kernels.flat_places(arrays, sizes)
    if places is None:
        return None
    return _Rows((*shape[:first], math.prod(sizes), *shape[last:]), places, first, False)


@structured(method=False, grad={"input": lambda m, g, key: m.advanced_index(g, key)})
def advanced_index_back(input: Array, key: Any, shape: Any) -> Array:
    """Zeros of `shape` with `input` added at ``[key]``: the derivative of `advanced_index`."""
    out = np.zeros(shape, input.dtype)
    if _is_mask(key, out) and input.ndim == 1:
        put = selection_kernels.masked_put(out, key[0], input)
        assert put is not None
        return put
    _add_at_key(out, key, input)
    return out


def _add_at_key(out: Array, key: Any, values: Array) -> None:
    arrays = [k for k in key if isinstance(k, np.ndarray)]
    if all(k.dtype == bool for k in arrays):
        out[key] += values
        return
    if _names_few_places(key, 1024) and out.dtype.itemsize > 2:
        np.add.at(out, key, values)
        return
    rows = _as_rows(out.shape, key) if out.flags.c_contiguous else None
    if rows is None:
        _add_at_places(out, key, values)
        return
    places = _wrapped(rows.places, rows.shape[rows.axis]) if rows.wrap else rows.places
    if not kernels.is_inside(places, rows.shape[rows.axis]):
        _add_at_places(out, key, values)  # NumPy names the index that is out of range
        return
    outer, inner = rows.shape[: rows.axis], rows.shape[rows.axis + 1 :]
    shape = (*outer, *places.shape, *inner)
    spread = values if values.shape == shape else np.broadcast_to(values, shape)
    flat = spread.reshape(*outer, places.size, *inner)
    add_rows_along(out.reshape(rows.shape), rows.axis, places.reshape(-1), flat)


def _wrapped(index: Array, n: int) -> Array:
    return np.where(index < 0, index + n, index)


def _add_at_places(out: Array, key: Any, values: Array) -> None:
    places = np.arange(out.size).reshape(out.shape)[key]
    flat = out.reshape(-1)
    spread = np.broadcast_to(values, places.shape).reshape(-1)
    add_at(flat, places.reshape(-1), spread)
    if not out.flags.c_contiguous:
        out[...] = flat.reshape(out.shape)


@writing(
    inplace=True,
    node="IndexPutBackward0",
    grad={
        "input": lambda m, g, indices, accumulate: g if accumulate else m.emptied(g, _raw(indices)),
        "values": lambda m, g, indices: m.advanced_index(g, _raw(indices)),
    },
)
def index_put(input: Array, indices: Any, values: Array, accumulate: bool = False) -> None:
    """`input` with `values` at ``[indices]``, or added there.

    >>> rows, columns = flambeau.tensor([0, 1]), flambeau.tensor([2, 0])
    >>> flambeau.index_put(flambeau.zeros(2, 3), (rows, columns), flambeau.tensor([5.0, 6.0]))
    tensor([[0., 0., 5.],
            [6., 0., 0.]])
    """
    key = _raw(indices)
    if accumulate:
        _add_at_key(input, key, values.astype(input.dtype, copy=False))
    else:
        selection_kernels.put_at(input, key, values)


@writing(method=False, grad={"input": lambda m, g, key: m.emptied(g, key)})
def emptied(input: Array, key: Any) -> None:
    """`input` with zeros at ``[key]``."""
    selection_kernels.put_at(input, key, np.zeros((), input.dtype))


# ---------------------------------------------------------------- along a dimension
def check_index(name: str, index: Array, n: int, d: int) -> None:
    """Refuse indices that are no integers or lie outside [0, n)."""
    if index.dtype.kind not in "iu" or index.dtype.itemsize < 4:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, got {title(index)}")
    if not kernels.is_inside(index, n):
        bad = index[(index < 0) | (index >= n)].reshape(-1)[0]
        kind = RuntimeError if name.startswith(("gather", "scatter")) else IndexError
        raise kind(f"{name}(): index {bad} is out of bounds for dimension {d} with size {n}")


def _aligned(name: str, input: Array, dim: int, index: Array) -> tuple[Array, Array, int]:
    """`input` cut to the size of `index` in all other dimensions; both with a dimension."""
    d = wrap_dim(dim, input.ndim)
    if input.ndim != index.ndim and max(input.ndim, 1) != max(index.ndim, 1):
        raise RuntimeError(
            f"Index tensor must have the same number of dimensions as input tensor ({name}: "
            f"shapes {list(index.shape)} and {list(input.shape)})"
        )
    x = input if input.ndim else input.reshape(1)
    i = index if index.ndim else index.reshape(1)
    if i.dtype.kind not in "iu" or i.dtype.itemsize < 4:
        check_index(name, i, x.shape[d], d)
    if x.ndim == 1 or x.shape == i.shape:
        return x, i, d
    for axis, (n, k) in enumerate(zip(x.shape, i.shape, strict=True)):
        if axis != d and k > n:
            raise RuntimeError(
                f"Size does not match at dimension {axis} expected index {list(index.shape)} to be "
                f"no larger than self {list(input.shape)} apart from dimension {d}"
            )
    x = x[tuple(slice(None) if axis == d else slice(k) for axis, k in enumerate(i.shape))]
    return x, i, d


@structured(
    out=True,
    grad={
        "input": lambda m, g, dim, index, sparse_grad, input_shape: (
            m.sparse_elements if sparse_grad else m.gather_back
        )(g, dim, index, tuple(input_shape))
    },
)
def gather(input: Array, dim: int, index: Array, *, sparse_grad: bool = False) -> Array:
    """The elements of `input` at `index` along `dim`; the result has the shape of `index`.

    RuntimeError for an index that is out of range or no integer.

    >>> scores = flambeau.tensor([[10, 11, 12], [20, 21, 22]])
    >>> flambeau.gather(scores, 1, flambeau.tensor([[2, 2], [0, 1]]))
    tensor([[12, 12],
            [20, 21]])
    """
    if not index.size:
        wrap_dim(dim, input.ndim)
        return np.empty(index.shape, input.dtype)
    x, i, d = _aligned("gather", input, dim, index)
    found = kernels.take_along(x, i, d)
    if found is None:
        check_index("gather", i, x.shape[d], d)
    return found.reshape(index.shape)


@structured(method=False, grad={"input": lambda m, g, dim, index: m.gather(g, dim, index)})
def gather_back(input: Array, dim: int, index: Array, shape: Any) -> Array:
    """Zeros of `shape` with `input` added at `index` along `dim`: the derivative of `gather`."""
    out = np.zeros(shape, input.dtype)
    add_along(out, dim, index, input)
    return out


def add_along(out: Array, dim: int, index: Array, values: Array) -> None:
    """Add `values` into the contiguous array `out` at `index` along `dim`."""
    if not index.size:
        return
    if not out.ndim:
        flat = values.reshape(-1)
        add_at(out.reshape(1), np.zeros(flat.size, np.int64), flat)
        return
    i = index if index.ndim else index.reshape(1)
    d = wrap_dim(dim, out.ndim)
    if not combine_along(out, i, np.broadcast_to(values, i.shape), d, "sum"):
        check_index("scatter_add", i, out.shape[d], d)


@structured(
    method=False,
    grad={"input": lambda m, g, index, dim: m.gather(g, dim, index)},
)
def put_along(input: Array, index: Array, dim: int, shape: Any) -> Array:
    """Zeros of `shape` with `input` at `index` along `dim`; no index may repeat."""
    out = np.zeros(shape, input.dtype)
    combine_along(out, index, input, wrap_dim(dim, out.ndim))
    return out


@structured(
    out=True,
    grad={
        "input": lambda m, g, dim, index, input_shape: m.index_select_back(
            g, dim, index, tuple(input_shape)
        )
    },
)
def index_select(input: Array, dim: int, index: Array) -> Array:
    """The rows of `input` along `dim` whose numbers are in the 1-d tensor `index`.

    IndexError for a number out of range.

    >>> flambeau.index_select(flambeau.tensor([[1, 2, 3], [4, 5, 6]]), 1, flambeau.tensor([2, 0]))
    tensor([[3, 1],
            [6, 4]])
    """
    d = wrap_dim(dim, input.ndim)
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if not input.ndim or index.dtype.kind not in "iu" or index.dtype.itemsize < 4:
        check_index("index_select", index, input.shape[d] if input.ndim else 1, d)
        return input.copy()
    found = kernels.take_rows(input, index.reshape(-1), d)
    if found is None:
        check_index("index_select", index, input.shape[d], d)
    return found


@structured(
    method=False,
    grad={"input": lambda m, g, dim, index: m.index_select(g, dim, index)},
)
def index_select_back(input: Array, dim: int, index: Array, shape: Any) -> Array:
    """Zeros of `shape` with rows added at `index`: the derivative of `index_select`."""
    if not shape:
        return input.reshape(-1).sum(keepdims=True).reshape(())
    out = np.zeros(shape, input.dtype)
    add_rows_along(out, wrap_dim(dim, len(shape)), index.reshape(-1), input)
    return out


def add_rows_along(out: Array, d: int, index: Array, rows: Array) -> None:
    """Add `rows` into `out` at `index` along dimension `d`, in place."""
    if out.dtype != rows.dtype or not combine_rows(out, index, rows, d, "sum"):
        add_rows(np.moveaxis(out, d, 0), index, np.moveaxis(rows, d, 0))


@structured(
    grad={"input": lambda m, g, index, input_shape: m.take_back(g, index, tuple(input_shape))},
    out=True,
)
def take(input: Array, index: Array) -> Array:
    """The elements of `input`, seen as flat, at `index`; negative ones count from the end.

    >>> flambeau.take(flambeau.tensor([[1, 2, 3], [4, 5, 6]]), flambeau.tensor([0, 4, -1]))
    tensor([1, 5, 6])
    """
    if index.dtype != np.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {title(index)}")
    if index.size and not input.size:
        raise IndexError("take(): tried to take from an empty tensor")
    found = kernels.take_rows(input.reshape(-1), index, 0, True)
    return np.asarray(input.reshape(-1)[index]) if found is None else found


@structured(method=False, grad={"input": lambda m, g, index: m.take(g, index)})
def take_back(input: Array, index: Array, shape: Any) -> Array:
    """Zeros of `shape` with `input` added at flat places: the derivative of `take`."""
    out = np.zeros(shape, input.dtype)
    add_at(out.reshape(-1), _wrapped(index.reshape(-1), out.size), input.reshape(-1))
    return out


@composite(out=True)
def take_along_dim(m: Any, input: Array, indices: Array, dim: int | None = None) -> Array:
    """The elements at `indices` along `dim` (or of the flat tensor); other sizes broadcast.

    >>> x = flambeau.tensor([[3, 1, 2], [5, 6, 4]])
    >>> flambeau.take_along_dim(x, x.argsort(dim=1), dim=1)
    tensor([[1, 2, 3],
            [4, 5, 6]])
    """
    if dim is None:
        return m.gather(m.reshape(input, (-1,)), 0, m.cast(m.reshape(indices, (-1,)), dtypes.int64))
    if m.dtype(indices) is not dtypes.int64:
        raise RuntimeError(
            f"torch.take_along_dim(): dtype of indices should be Long but got {m.dtype(indices)}"
        )
    if input.ndim != indices.ndim:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, "
            f"but got {input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
        )
    d = wrap_own_dim(dim, input.ndim)
    places = m.counted_from_start(indices, input.shape[d])
    a, b = tuple(input.shape), tuple(indices.shape)
    if a != b:
        common = np.broadcast_shapes((*a[:d], *a[d + 1 :]), (*b[:d], *b[d + 1 :]))
        input = m.expand(input, (*common[:d], a[d], *common[d:]))
        places = m.expand(places, (*common[:d], b[d], *common[d:]))
    return m.gather(input, d, places)


@structured(method=False, excuse="indices")
def counted_from_start(input: Array, size: int) -> Array:
    """Indices of a dimension of `size`, of which the negative ones count from its end."""
    few = input.size < kernels.FEW
    places = None if few else kernels.flat_places([input], (size,))
    return _wrapped(input, size) if places is None else places


@structured(method=False, excuse="classes")
def one_hot_rows(input: Array, classes: int) -> Array:
    """Rows of as many `classes` that are 1 at a class of `input` and 0 elsewhere, int64.

    IndexError for a number that is no class.
    """
    if not kernels.is_inside(input, classes):
        raise IndexError(f"one_hot_rows(): a number of input {list(input.shape)} is no class")
    out = np.zeros((*input.shape, classes), np.int64)
    starts = np.arange(0, out.size, classes)
    out.reshape(-1)[starts + input.reshape(-1)] = 1
    return out


# ---------------------------------------------------------------- writing rows
def _check_rows(name: str, input: Array, dim: int, index: Array) -> int:
    d = wrap_dim(dim, input.ndim)
    if index.ndim > 1:
        raise IndexError(f"{name}(): Index should have dimension 1 or 0 (got {index.ndim})")
    check_index(name, index, input.shape[d] if input.ndim else 1, d)
    return d


def _check_source(name: str, input: Array, d: int, index: Array, source: Array) -> None:
    if input.dtype != source.dtype:
        raise RuntimeError(
            f"{name}(): self and source expected to have the same dtype, but got (self) "
            f"{title(input)} and (source) {title(source)}"
        )
    if input.ndim and not source.ndim and (name == "index_add" or index.size != 1):
        kind = IndexError if name == "index_copy" else RuntimeError
        raise kind(
            f"{name}(): a source without dimensions is for one place of a self without dimensions, "
            f"got self of shape {list(input.shape)} and {index.size} places"
        )
    if input.ndim > 1 or (input.ndim and source.ndim):
        expected = (*input.shape[:d], index.size, *input.shape[d + 1 :])
        if source.shape != expected:
            raise RuntimeError(
                f"{name}(): expected source of shape {list(expected)} for self of shape "
                f"{list(input.shape)} along dimension {d}, but got {list(source.shape)}"
            )


@writing(
    inplace=True,
    out=True,
    grad={
        "input": lambda m, g: g,
        "source": lambda m, g, dim, index, alpha, source_shape: m.mul(
            m.reshape(m.index_select(g, dim, index), tuple(source_shape)), alpha
        ),
    },
)
def index_add(input: Array, dim: int, index: Array, source: Array, *, alpha: Any = 1) -> None:
    """`input` with ``alpha * source`` added to the rows along `dim` that `index` names.

    >>> x = flambeau.zeros(3)
    >>> flambeau.index_add(x, 0, flambeau.tensor([0, 2, 2]), flambeau.tensor([1.0, 2.0, 3.0]))
    tensor([1., 0., 5.])
    """
    d = _check_rows("index_add", input, dim, index)
    _check_source("index_add", input, d, index, source)
    rows = source if alpha == 1 else (source * source.dtype.type(alpha)).astype(source.dtype)
    if input.ndim and source.ndim:
        add_rows_along(input, d, index.reshape(-1), rows)
    else:
        out = input if input.ndim else input.reshape(1)
        add_rows(out, index.reshape(-1), rows.reshape(-1))


@writing(
    inplace=True,
    out=True,
    grad={
        "input": lambda m, g, dim, index: m.index_fill_number(g, dim, index, 0),
        "source": lambda m, g, dim, index, source_shape: m.reshape(
            m.index_select(g, dim, index), tuple(source_shape)
        ),
    },
)
def index_copy(input: Array, dim: int, index: Array, source: Array) -> None:
    """`input` with the rows along `dim` that `index` names replaced by those of `source`.

    >>> rows = flambeau.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> flambeau.index_copy(flambeau.zeros(3, 2), 0, flambeau.tensor([2, 0]), rows)
    tensor([[3., 4.],
            [0., 0.],
            [1., 2.]])
    """
    if index.dtype != np.int64:
        raise RuntimeError(
            f"index_copy_(): Expected a long tensor for index, but got {title(index)}"
        )
    d = _check_rows("index_copy", input, dim, index)
    _check_source("index_copy", input, d, index, source)
    if not input.ndim:
        input[...] = source.reshape(())
    elif not combine_rows(input, index.reshape(-1), source, d):
        input[at_dim(d, index.reshape(-1))] = source


@writing(
    method=False,
    node="IndexFillBackward0",
    grad={"input": lambda m, g, dim, index: m.index_fill_number(g, dim, index, 0)},
)
def index_fill_number(input: Array, dim: int, index: Array, value: Any) -> None:
    """`input` with the rows along `dim` that `index` names set to a number."""
    d = wrap_dim(dim, input.ndim)
    n = input.shape[d] if input.ndim else 1
    wrapped = _wrapped(index, n)
    check_index("index_fill", wrapped, n, d)
    key = at_dim(d, wrapped.reshape(-1)) if input.ndim else ...
    input[key] = np.asarray(value).astype(input.dtype)


@writing(
    method=False,
    node="IndexFillBackward1",
    grad={
        "input": lambda m, g, dim, index: m.index_fill_number(g, dim, index, 0),
        # A row that is named twice counts once.
        "value": lambda m, g, dim, index: m.sum(g - m.index_fill_number(g, dim, index, 0)),
    },
)
def index_fill_tensor(input: Array, dim: int, index: Array, value: Array) -> None:
    """`input` with the rows along `dim` that `index` names set to a 0-d tensor."""
    if value.ndim:
        raise RuntimeError(
            "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value.ndim} dimension(s)."
        )
    assert index_fill_number.writer is not None
    index_fill_number.writer(input, dim, index, value)


@composite(inplace=True, out=True, through=True)
def index_fill(m: Any, input: Array, dim: int, index: Array, value: Any) -> Array:
    """`input` with the rows along `dim` that `index` names set to `value`.

    >>> flambeau.index_fill(flambeau.zeros(2, 3), 1, flambeau.tensor([0, 2]), 7)
    tensor([[7., 0., 7.],
            [7., 0., 7.]])
    """
    if m.dtype(index) is not dtypes.int64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if index.ndim > 1:
        raise RuntimeError("index_fill_(): Index has to be a vector/scalar")
    if isinstance(value, complex) and not m.dtype(input).is_complex:
        raise RuntimeError(
            "index_fill_(): Converting complex Scalar to non-complex type is not supported"
        )
    if is_number(value):
        return m.index_fill_number(input, dim, index, value)
    return m.index_fill_tensor(input, dim, index, value)


@writing(
    inplace=True,
    grad={
        "input": lambda m, g, index, accumulate: g if accumulate else m.put_zeros(g, index),
        "source": lambda m, g, index, source_shape: m.reshape(
            m.take(g, index), tuple(source_shape)
        ),
    },
)
def put(input: Array, index: Array, source: Array, accumulate: bool = False) -> None:
    """`input`, seen as flat, with `source` at `index`, or added there.

    >>> x = flambeau.tensor([[1, 2], [3, 4]])
    >>> x.put(flambeau.tensor([0, -1]), flambeau.tensor([10, 40]))
    tensor([[10,  2],
            [ 3, 40]])
    """
    if index.dtype != np.int64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got {title(index)}")
    if index.size != source.size:
        raise RuntimeError(
            "put_(): Expected source and index to have the same number of elements, but got source "
            f"with {source.size} elements and index with {index.size}"
        )
    if input.dtype != source.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = "
            f"{title(input)} and source.dtype = {title(source)}"
        )
    flat = input.reshape(-1)
    if index.size and not flat.size:
        raise IndexError("put_(): Expected a non-empty self tensor")
    if accumulate and kernels.is_inside(index, flat.size, True):
        add_at(flat, _wrapped(index.reshape(-1), flat.size), source.reshape(-1))
    else:
        flat[index.reshape(-1)] = source.reshape(-1)


@writing(method=False, grad={"input": lambda m, g, index: m.put_zeros(g, index)})
def put_zeros(input: Array, index: Array) -> None:
    """`input`, seen as flat, with zeros at `index`."""
    input.reshape(-1)[index.reshape(-1)] = 0
