"""Copies in another arrangement: flipped, rolled, repeated, combined."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np

from ..backends.cpu.layout import flipped, repeated, rolled
from ..devices import contiguous_format
from .promotion import common_dtype, is_number
from .record import Array, Arrays, composite, shape_from_values, structured
from .shapes import wrap_dim, wrap_dims


@structured(varargs="dims", grad={"input": lambda m, g, dims: m.flip(g, dims)})
def flip(input: Array, dims: Any) -> Array:
    """`input` with the order of its elements reversed along `dims`.

    >>> flambeau.flip(flambeau.tensor([[1, 2, 3], [4, 5, 6]]), (0, 1))
    tensor([[6, 5, 4],
            [3, 2, 1]])
    """
    if not isinstance(dims, (tuple, list)):
        raise TypeError(f"flip(): argument 'dims' must be tuple of ints, not {type(dims).__name__}")
    axes = wrap_dims(dims, input.ndim) if dims else ()
    return flipped(input, axes) if axes and input.size else input.copy()


@composite()
def fliplr(m: Any, input: Array) -> Array:
    """`input` with its second dimension reversed.

    >>> flambeau.fliplr(flambeau.tensor([[1, 2, 3], [4, 5, 6]]))
    tensor([[3, 2, 1],
            [6, 5, 4]])
    """
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return m.flip(input, (1,))


@composite()
def flipud(m: Any, input: Array) -> Array:
    """`input` with its first dimension reversed.

    >>> flambeau.flipud(flambeau.tensor([[1, 2, 3], [4, 5, 6]]))
    tensor([[4, 5, 6],
            [1, 2, 3]])
    """
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return m.flip(input, (0,))


def _negated(shifts: Any) -> Any:
    return tuple(-s for s in shifts) if isinstance(shifts, (tuple, list)) else -shifts


@structured(grad={"input": lambda m, g, shifts, dims: m.roll(g, _negated(shifts), dims)})
def roll(input: Array, shifts: Any, dims: Any = ()) -> Array:
    """`input` shifted around along `dims`, or (without dims) as if it were flat.

    >>> flambeau.roll(flambeau.tensor([[1, 2, 3], [4, 5, 6]]), 1, 1)
    tensor([[3, 1, 2],
            [6, 4, 5]])
    """
    shifts = tuple(shifts) if isinstance(shifts, (tuple, list)) else (shifts,)
    if dims is None or dims == () or dims == []:
        if len(shifts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:0")
        return rolled(input.reshape(-1), shifts, (0,)).reshape(input.shape)
    if not input.size:
        return input.copy()
    dims = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    if len(shifts) != len(dims):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}"
        )
    if not input.ndim:
        raise IndexError(f"Dimension specified as {dims[0]} but tensor has no dimensions")
    return rolled(input, shifts, [wrap_dim(d, input.ndim) for d in dims])


@composite()
def rot90(m: Any, input: Array, k: int = 1, dims: Any = (0, 1)) -> Array:
    """`input` turned by `k` quarter turns in the plane of two dimensions.

    >>> flambeau.rot90(flambeau.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    a, b = (wrap_dim(d, input.ndim) for d in dims)
    if a == b:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    k %= 4
    if k == 0:
        return m.clone(input)
    if k == 2:
        return m.flip(input, (a, b))
    turned = m.flip(input, (b,)) if k == 1 else m.flip(input, (a,))
    return m.transpose(turned, a, b)


# ---------------------------------------------------------------- repeated
def _fold_repeats(m: Any, g: Any, repeats: Any, shape: Any) -> Any:
    extra = len(repeats) - len(shape)
    sizes: list[int] = []
    for r, n in zip(repeats, [1] * extra + list(shape), strict=True):
        sizes += [r, n]
    folded = m.sum(m.reshape(g, sizes), tuple(range(0, len(sizes), 2))) if sizes else g
    return m.reshape(folded, tuple(shape))


@structured(
    varargs="repeats",
    grad={"input": lambda m, g, repeats, input_shape: _fold_repeats(m, g, repeats, input_shape)},
)
def repeat(input: Array, repeats: Any) -> Array:
    """`input` repeated so many times along each dimension; new dimensions come in front.

    >>> flambeau.tensor([1, 2]).repeat(2, 3)
    tensor([[1, 2, 1, 2, 1, 2],
            [1, 2, 1, 2, 1, 2]])
    """
    times = [int(r) for r in repeats]
    if len(times) < input.ndim:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    if any(r < 0 for r in times):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {times}")
    return repeated(input, times)


@composite(varargs="dims")
def tile(m: Any, input: Array, dims: Any) -> Array:
    """`input` repeated along its last dimensions, as NumPy's tile does.

    >>> flambeau.tile(flambeau.tensor([[1], [2]]), (3,))
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    times = (1,) * (input.ndim - len(dims)) + tuple(dims)
    return m.repeat(input, times)


@structured(method=False, meta=shape_from_values, excuse="indices")
def repeated_indices(repeats: Array, output_size: int | None = None) -> Array:
    """Each index i repeated ``repeats[i]`` times, in the dtype of `repeats`."""
    if repeats.ndim > 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    if repeats.dtype.kind not in "iu":
        raise RuntimeError("repeats has to be Long or Int tensor")
    if (repeats < 0).any():
        raise RuntimeError("repeats can not be negative")
    return np.repeat(np.arange(repeats.size, dtype=repeats.dtype), repeats.reshape(-1))


@composite()
def repeat_interleave(
    m: Any, input: Array, repeats: Any = None, dim: int | None = None, *, output_size: Any = None
) -> Array:
    """Each element (or row along `dim`) repeated next to itself; alone: indices from counts.

    >>> flambeau.repeat_interleave(flambeau.tensor([7, 8, 9]), flambeau.tensor([1, 0, 3]))
    tensor([7, 9, 9, 9])
    >>> flambeau.repeat_interleave(flambeau.tensor([1, 0, 3]))
    tensor([0, 2, 2, 2])
    """
    if repeats is None:
        return m.repeated_indices(input)
    if isinstance(repeats, (tuple, list)):
        raise TypeError("repeat_interleave(): repeats must be a number or a Tensor")
    if dim is None:
        input, dim = m.reshape(input, (-1,)), 0
    elif not input.ndim:
        input = m.reshape(input, (1,))
    d = wrap_dim(dim, input.ndim)
    if not is_number(repeats) and math.prod(repeats.shape) == 1:
        repeats = int(repeats)
    if is_number(repeats):
        if repeats < 0:
            raise RuntimeError("repeats can not be negative")
        shape = tuple(input.shape)
        wide = m.expand(m.unsqueeze(input, d + 1), (*shape[: d + 1], repeats, *shape[d + 1 :]))
        # A copy even of a single row, whose repetitions could be seen in place.
        copied = m.clone(wide, memory_format=contiguous_format)
        return m.reshape(copied, (*shape[:d], shape[d] * repeats, *shape[d + 1 :]))
    if repeats.ndim == 1 and repeats.shape[0] != input.shape[d]:
        raise RuntimeError("repeats must have the same size as input along dim")
    return m.index_select(input, d, m.repeated_indices(repeats))


# ---------------------------------------------------------------- combined
@composite(method=False)
def meshgrid(m: Any, *tensors: Any, indexing: str | None = None) -> tuple[Array, ...]:
    """Coordinates of a grid: for each 1-d tensor one tensor that spreads it over all others.

    >>> rows, columns = flambeau.meshgrid(flambeau.arange(2), flambeau.arange(3), indexing="ij")
    >>> rows * 10 + columns
    tensor([[ 0,  1,  2],
            [10, 11, 12]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if indexing is None:
        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing "
            "argument.",
            UserWarning,
            stacklevel=3,
        )
        indexing = "ij"
    if indexing not in ("ij", "xy"):
        raise RuntimeError(
            'torch.meshgrid: indexing must be one of "xy" or "ij", but received: ' + indexing
        )
    for t in tensors:
        if t.ndim > 1:
            raise RuntimeError(
                f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {t.ndim}D"
            )
        if m.dtype(t) is not m.dtype(tensors[0]):
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    swap = indexing == "xy" and len(tensors) >= 2
    lines = [t if t.ndim else m.reshape(t, (1,)) for t in tensors]
    order = [1, 0, *range(2, len(lines))] if swap else list(range(len(lines)))
    shape = tuple(lines[i].shape[0] for i in order)
    grids = []
    for number, line in enumerate(lines):
        if number != order[-1]:
            line = m.reshape(line, [-1 if i == number else 1 for i in order])
        grids.append(m.expand(line, shape))
    return tuple(grids)


@composite(method=False)
def cartesian_prod(m: Any, *tensors: Any) -> Array:
    """All tuples with one element of each 1-d tensor, in rows; a vector if there is one tensor.

    >>> flambeau.cartesian_prod(flambeau.tensor([1, 2]), flambeau.tensor([8, 9]))
    tensor([[1, 8],
            [1, 9],
            [2, 8],
            [2, 9]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    for t in tensors:
        if t.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    grids = m.meshgrid(*tensors, indexing="ij")
    return m.stack([m.reshape(g, (-1,)) for g in grids], 1)


@composite(method=False)
def combinations(m: Any, input: Array, r: int = 2, with_replacement: bool = False) -> Array:
    """All ways to choose `r` elements of a vector, in rows.

    >>> flambeau.combinations(flambeau.tensor([5, 6, 7]))
    tensor([[5, 6],
            [5, 7],
            [6, 7]])
    """
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    n = input.shape[0]
    if r == 0:
        return m.reshape(m.narrow(input, 0, 0, 0), (0,))
    chosen = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(chosen(range(n), r)), np.int64).reshape(-1, r)
    picked = m.index_select(input, 0, m.from_numpy(rows.reshape(-1)))
    return m.reshape(picked, (rows.shape[0], r))


@composite(method=False)
def block_diag(m: Any, *tensors: Any) -> Array:
    """A matrix with the given matrices along its diagonal and zeros elsewhere.

    >>> flambeau.block_diag(flambeau.tensor([[1, 2]]), flambeau.tensor([[3], [4]]))
    tensor([[1, 2, 0],
            [0, 0, 3],
            [0, 0, 4]])
    """
    if not tensors:
        return m.reshape(m.from_numpy(np.zeros((1, 0), np.float32)), (1, 0))
    for i, t in enumerate(tensors):
        if t.ndim > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has "
                f"{t.ndim} dimensions"
            )
    return m.block_diag_of([m.at_least_2d(t) for t in tensors])


@structured(
    method=False,
    grad={"tensors": lambda m, g, tensors_shape: _blocks(m, g, tensors_shape)},
)
def block_diag_of(tensors: Arrays) -> Array:
    """Matrices along the diagonal of a matrix of zeros."""
    shape = tuple(np.sum([t.shape for t in tensors], axis=0))
    out = np.zeros(shape, common_dtype(tensors))
    row = column = 0
    for t in tensors:
        out[row : row + t.shape[0], column : column + t.shape[1]] = t
        row, column = row + t.shape[0], column + t.shape[1]
    return out


def _blocks(m: Any, g: Any, shapes: Any) -> list[Any]:
    parts, row, column = [], 0, 0
    for rows, columns in shapes:
        parts.append(m.narrow(m.narrow(g, 0, row, rows), 1, column, columns))
        row, column = row + rows, column + columns
    return parts
