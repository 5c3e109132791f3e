"""Diagonals and triangles of matrices, and writing parts back into a copy."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu.layout import triangle
from .record import Array, composite, structured, view
from .shapes import at_dim, wrap_dim


def _two_dims(ndim: int, dim1: int, dim2: int) -> tuple[int, int]:
    a, b = wrap_dim(dim1, ndim), wrap_dim(dim2, ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return a, b


@view(
    grad={
        "input": lambda m, g, input_shape, offset, dim1, dim2: m.diagonal_backward(
            g, tuple(input_shape), offset, dim1, dim2
        )
    }
)
def diagonal(input: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """The diagonal of two dimensions as the last dimension, `offset` places above, as a view.

    >>> flambeau.diagonal(flambeau.arange(9).reshape(3, 3), 1)
    tensor([1, 5])
    """
    a, b = _two_dims(input.ndim, dim1, dim2)
    if input.ndim < 2:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [-{max(input.ndim, 1)}, "
            f"{max(input.ndim, 1) - 1}], but got {dim2})"
        )
    n, k = input.shape[a], input.shape[b]
    if not -n < offset < k:
        moved = np.moveaxis(input, (a, b), (-2, -1))[..., :0, :0]
        return moved.reshape(*moved.shape[:-2], 0)
    out = np.diagonal(input, offset, a, b)
    if input.flags.writeable:
        out.flags.writeable = True
    return out


@structured(
    method=False,
    grad={
        "grad_output": lambda m, g, offset, dim1, dim2: m.diagonal(g, offset, dim1, dim2),
    },
)
def diagonal_backward(
    grad_output: Array, input_sizes: Any, offset: int, dim1: int, dim2: int
) -> Array:
    """Zeros of the given sizes with `grad_output` on a diagonal."""
    out = np.zeros(input_sizes, grad_output.dtype)
    diagonal.forward(out, offset, dim1, dim2)[...] = grad_output
    return out


@structured(grad={"input": lambda m, g, offset, dim1, dim2: m.diagonal(g, offset, dim1, dim2)})
def diag_embed(input: Array, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Array:
    """Matrices, in dimensions `dim1` and `dim2`, with the last dimension of `input` as diagonal.

    >>> flambeau.diag_embed(flambeau.tensor([[1, 2]]), offset=1)
    tensor([[[0, 1, 0],
             [0, 0, 2],
             [0, 0, 0]]])
    """
    ndim = input.ndim + 1
    a, b = _two_dims(ndim, dim1, dim2)
    side = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for d in sorted((a, b)):
        shape.insert(d, side)
    out = np.zeros(shape, input.dtype)
    diagonal.forward(out, offset, a, b)[...] = input
    return out


@composite(out=True)
def diag(m: Any, input: Array, diagonal: int = 0) -> Array:
    """A square matrix with a vector as its diagonal, or (a copy of) the diagonal of a matrix.

    >>> flambeau.diag(flambeau.tensor([5, 6]))
    tensor([[5, 0],
            [0, 6]])
    >>> flambeau.diag(flambeau.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    if input.ndim == 1:
        return m.diag_embed(input, diagonal)
    if input.ndim == 2:
        return m.clone(m.diagonal(input, diagonal))
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")


@composite()
def diagflat(m: Any, input: Array, offset: int = 0) -> Array:
    """A square matrix with all elements of `input` as its diagonal.

    >>> flambeau.diagflat(flambeau.tensor([[7, 8]]), 1)
    tensor([[0, 7, 0],
            [0, 0, 8],
            [0, 0, 0]])
    """
    return m.diag_embed(m.reshape(input, (-1,)), offset)


def _check_matrix(name: str, input: Array) -> None:
    if input.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")


@structured(inplace=True, out=True, grad={"input": lambda m, g, diagonal: m.tril(g, diagonal)})
def tril(input: Array, diagonal: int = 0) -> Array:
    """The lower triangle of each matrix, up to `diagonal`; zeros above.

    >>> flambeau.tril(flambeau.ones(2, 3))
    tensor([[1., 0., 0.],
            [1., 1., 0.]])
    """
    _check_matrix("tril", input)
    return triangle(input, diagonal, True)


@structured(inplace=True, out=True, grad={"input": lambda m, g, diagonal: m.triu(g, diagonal)})
def triu(input: Array, diagonal: int = 0) -> Array:
    """The upper triangle of each matrix, from `diagonal` on; zeros below.

    >>> flambeau.triu(flambeau.ones(2, 3), diagonal=1)
    tensor([[0., 1., 1.],
            [0., 0., 1.]])
    """
    _check_matrix("triu", input)
    return triangle(input, diagonal, False)


@composite()
def trace(m: Any, input: Array) -> Array:
    """The sum of the diagonal of a matrix.

    >>> flambeau.trace(flambeau.tensor([[1, 2], [3, 4]]))
    tensor(5)
    """
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    if m.dtype(input).category == dtypes.BOOL:
        raise NotImplementedError("trace is not implemented for 'Bool'")
    return m.sum(m.diagonal(input))


# ---------------------------------------------------------------- a part written into a copy
@structured(
    method=False,
    grad={
        "input": lambda m, g, key: m.without(g, key),
        "src": lambda m, g, key: m.basic_index(g, key),
    },
)
def with_part(input: Array, src: Array, key: Any) -> Array:
    """A copy of `input` with `src` at ``[key]``."""
    out = input.copy()
    part = out[key]
    if part.shape != src.shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = "
            f"{list(src.shape)}, slice size = {list(part.shape)}"
        )
    out[key] = src
    return out


@structured(method=False, grad={"input": lambda m, g, key: m.without(g, key)})
def without(input: Array, key: Any) -> Array:
    """A copy of `input` with zeros at ``[key]``."""
    out = input.copy()
    out[key] = 0
    return out


@composite()
def select_scatter(m: Any, input: Array, src: Array, dim: int, index: int) -> Array:
    """A copy of `input` with `src` at `index` along `dim`.

    >>> flambeau.select_scatter(flambeau.zeros(2, 3), flambeau.tensor([1.0, 2.0]), 1, -1)
    tensor([[0., 0., 1.],
            [0., 0., 2.]])
    """
    if not input.ndim:
        raise IndexError("select_scatter() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, input.ndim)
    if not -input.shape[d] <= index < input.shape[d]:
        raise IndexError(f"select_scatter(): index {index} out of range along dimension {d}")
    return m.with_part(input, src, (*at_dim(d, int(index)), ...))


@composite(out=True)
def slice_scatter(
    m: Any,
    input: Array,
    src: Array,
    dim: int = 0,
    start: Any = None,
    end: Any = None,
    step: int = 1,
) -> Array:
    """A copy of `input` with `src` in the rows ``start:end:step`` along `dim`.

    >>> flambeau.slice_scatter(flambeau.zeros(6), flambeau.ones(3), start=1, step=2)
    tensor([0., 1., 0., 1., 0., 1.])
    """
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    d = wrap_dim(dim, input.ndim)
    return m.with_part(input, src, at_dim(d, slice(start, end, step)))


@structured(
    grad={
        "input": lambda m, g, offset, dim1, dim2: (
            g
            - m.diagonal_backward(
                m.diagonal(g, offset, dim1, dim2), tuple(g.shape), offset, dim1, dim2
            )
        ),
        "src": lambda m, g, offset, dim1, dim2: m.diagonal(g, offset, dim1, dim2),
    }
)
def diagonal_scatter(
    input: Array, src: Array, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Array:
    """A copy of `input` with `src` on a diagonal.

    >>> flambeau.diagonal_scatter(flambeau.zeros(2, 3), flambeau.tensor([5.0, 6.0]), 1)
    tensor([[0., 5., 0.],
            [0., 0., 6.]])
    """
    out = input.copy()
    part = diagonal.forward(out, offset, dim1, dim2)
    if part.shape != src.shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = "
            f"{list(src.shape)}, slice size = {list(part.shape)}"
        )
    part[...] = src
    return out


@structured(method=False, excuse="integers")
def places_of(input: Array) -> Array:
    """The number of each element of `input`, int64, in its shape."""
    return np.arange(input.size).reshape(input.shape)


@composite()
def as_strided_scatter(
    m: Any, input: Array, src: Array, size: Any, stride: Any, storage_offset: int | None = None
) -> Array:
    """A copy of `input` with `src` at the elements that a strided view of it visits.

    >>> flambeau.as_strided_scatter(flambeau.zeros(5), flambeau.ones(3), (3,), (2,))
    tensor([1., 0., 1., 0., 1.])
    """
    if tuple(src.shape) != tuple(size):
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = "
            f"{list(src.shape)}, slice size = {list(size)}"
        )
    places = m.as_strided(m.places_of(m.constant(input)), size, stride, storage_offset or 0)
    put = m.put(m.reshape(input, (-1,)), m.reshape(places, (-1,)), m.reshape(src, (-1,)))
    return m.reshape(put, tuple(input.shape))
