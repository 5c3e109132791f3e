"""Products of vectors, matrices and their powers; tensors seen as matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..backends.cpu import vector_products
from ..backends.cpu.precision import widened
from .record import Array, composite, structured
from .shapes import wrap_dim, wrap_own_dim


@composite(out=True)
def cross(m: Any, input: Array, other: Array, dim: int | None = None) -> Array:
    """The cross product of vectors along `dim`, by default the first dimension of size three.

    >>> flambeau.cross(flambeau.tensor([1, 0, 0]), flambeau.tensor([0, 1, 0]), dim=0)
    tensor([0, 0, 1])
    """
    if dim is None:
        dim = next((d for d, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError(f"no dimension of size 3 in input (of shape {list(input.shape)})")
    return m.linalg_cross(input, other, dim=dim)


@composite(method=False, out=True)
def linalg_cross(m: Any, input: Array, other: Array, *, dim: int = -1) -> Array:
    """The cross product of vectors of three elements along `dim`.

    >>> flambeau.linalg.cross(flambeau.tensor([[1, 0, 0], [0, 2, 0]]), flambeau.tensor([[0, 0, 1]]))
    tensor([[ 0, -1,  0],
            [ 2,  0,  0]])
    """
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    d = wrap_own_dim(dim, input.ndim)
    if input.shape[d] != 3 or other.shape[d] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[d]} and "
            f"{other.shape[d]}"
        )
    a, b = m.dtype(input), m.dtype(other)
    if a is not b:
        kind = dtypes.promote_types(a, b)
        input, other = m.cast(input, kind), m.cast(other, kind)
    if input.shape != other.shape:
        input, other = m.broadcast_tensors(input, other)
    return m.cross_product(input, other, d - input.ndim)


@structured(
    method=False,
    grad={
        "input": lambda m, g, other, dim: m.cross_product(m.conj(other), g, dim),
        "other": lambda m, g, input, dim: m.cross_product(g, m.conj(input), dim),
    },
)
def cross_product(input: Array, other: Array, dim: int) -> Array:
    """The cross product of vectors along `dim`, counted from the back, of one shape and dtype."""
    x, y = widened(input), widened(other)
    return vector_products.cross(x, y, x.ndim + dim).astype(input.dtype, copy=False)


@composite(method=False, out=True)
def linalg_vecdot(m: Any, x: Array, y: Array, *, dim: int = -1) -> Array:
    """The dot products of vectors along `dim`, the first conjugated.

    >>> flambeau.linalg.vecdot(flambeau.tensor([[1.0, 2.0], [3.0, 4.0]]), flambeau.ones(2))
    tensor([3., 7.])
    """
    t, other = m.dtype(x), m.dtype(y)
    if not t.inexact:
        raise RuntimeError(
            f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {t.title}"
        )
    if other is not t:
        raise RuntimeError(
            f"linalg.vecdot: Expected x and y to have the same dtype, but found x of type {t.title}"
            f" and y of type {other.title} instead"
        )
    return m.sum(m.conj(x) * y, dim)


@composite(method=False, out=True)
def linalg_multi_dot(m: Any, tensors: Sequence[Any]) -> Array:
    """The product of two or more matrices, in the cheapest order (vectors may be at the ends).

    >>> a, b = flambeau.tensor([1, 2]), flambeau.tensor([[1, 0], [1, 1]])
    >>> flambeau.linalg.multi_dot([a, b, flambeau.tensor([[5], [7]])])
    tensor([29])
    """
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    first, last = tensors[0].ndim == 1, tensors[-1].ndim == 1
    chain = list(tensors)
    if first:
        chain[0] = m.unsqueeze(chain[0], 0)
    if last:
        chain[-1] = m.unsqueeze(chain[-1], -1)
    for i, t in enumerate(chain):
        if t.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {i} must be 2D but got {t.ndim}D")
    sizes = [chain[0].shape[0], *(t.shape[1] for t in chain)]
    product = _cheapest(m, chain, _splits(sizes), 0, len(chain) - 1)
    product = m.squeeze(product, 0) if first else product
    return m.squeeze(product, -1) if last else product


def _splits(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """Where to split each run of matrices (Cormen et al., Introduction to Algorithms, 15.2)."""
    n = len(sizes) - 1
    cost = {(i, i): 0 for i in range(n)}
    where: dict[tuple[int, int], int] = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            options = {
                k: cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1]
                for k in range(i, j)
            }
            where[i, j] = min(options, key=lambda k: options[k])
            cost[i, j] = options[where[i, j]]
    return where


def _cheapest(m: Any, chain: Sequence[Any], where: Any, i: int, j: int) -> Any:
    if i == j:
        return chain[i]
    k = where[i, j]
    return m.matmul(_cheapest(m, chain, where, i, k), _cheapest(m, chain, where, k + 1, j))


def _rising_powers(m: Any, x: Any, count: int) -> Any:
    """The powers 0 to count - 1 of each element, in a new last dimension."""
    if not m.dtype(x).inexact:
        x = m.cast(x, dtypes.int64)
    ones = m.ones_like(m.unsqueeze(m.constant(x), -1))
    if count < 2:
        return m.narrow(ones, -1, 0, count)
    powers = m.expand(m.unsqueeze(x, -1), (*x.shape, count - 1))
    return m.cat([ones, m.cumprod(powers, -1)], -1)


@composite(method=False)
def linalg_vander(m: Any, x: Array, N: int | None = None) -> Array:
    """The powers 0 to N - 1 of the elements of the last dimension, in rows.

    >>> flambeau.linalg.vander(flambeau.tensor([2, 3]), N=4)
    tensor([[ 1,  2,  4,  8],
            [ 1,  3,  9, 27]])
    """
    x = m.reshape(x, (1,)) if not x.ndim else x
    if N is not None and N <= 1:
        raise RuntimeError(f"N must be greater than 1, but got {N}")
    return _rising_powers(m, x, x.shape[-1] if N is None else N)


@composite(method=False)
def vander(m: Any, x: Array, N: int | None = None, increasing: bool = False) -> Array:
    """The matrix of powers of a vector's elements, falling unless `increasing`.

    >>> flambeau.vander(flambeau.tensor([2, 3]), N=3)
    tensor([[4, 2, 1],
            [9, 3, 1]])
    """
    if x.ndim != 1:
        raise RuntimeError(f"x must be a one-dimensional tensor, got shape {list(x.shape)}")
    powers = _rising_powers(m, x, x.shape[0] if N is None else N)
    return powers if increasing else m.flip(powers, (1,))


def _size(shape: Sequence[int]) -> int:
    return math.prod(shape)


@composite(spellings={"input": "A"}, method=False, out=True)
def linalg_tensorinv(m: Any, A: Array, ind: int = 2) -> Array:
    """The inverse of A seen as a matrix from its last dimensions to its first `ind`.

    >>> A = flambeau.eye(6).reshape(2, 3, 6) * 4
    >>> flambeau.linalg.tensorinv(A).shape, flambeau.linalg.tensorinv(A)[0, 0, 0]
    (torch.Size([6, 2, 3]), tensor(0.2500))
    """
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    front, back = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    if _size(front) != _size(back):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            f"prod(self.shape[:ind]), but got {_size(back)} != {_size(front)}"
        )
    inverse = m.linalg_inv(m.reshape(A, (_size(front), _size(back))))
    return m.reshape(inverse, (*back, *front))


@composite(spellings={"input": "A", "other": "B"}, method=False, out=True)
def linalg_tensorsolve(m: Any, A: Array, B: Array, dims: Any = None) -> Array:
    """X with tensordot(A, X) = B over all dimensions of X.

    >>> A = 2 * flambeau.eye(4).reshape(4, 2, 2)
    >>> flambeau.linalg.tensorsolve(A, flambeau.tensor([2.0, 4.0, 6.0, 8.0]))
    tensor([[1., 2.],
            [3., 4.]])
    """
    if dims is not None:
        moved = [wrap_dim(d, A.ndim) for d in dims]
        A = m.movedim(A, moved, list(range(A.ndim - len(moved), A.ndim)))
    rest = tuple(A.shape[B.ndim :])
    if _size(B.shape) != _size(rest):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {_size(rest)} != {_size(B.shape)}"
        )
    square = m.reshape(A, (_size(B.shape), _size(rest)))
    return m.reshape(m.linalg_solve(square, m.reshape(B, (-1,))), rest)


@composite(method=False)
def linalg_diagonal(m: Any, A: Array, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Array:
    """The diagonals of the matrices in two dimensions, by default the last.

    >>> flambeau.linalg.diagonal(flambeau.tensor([[1, 2, 3], [4, 5, 6]]), offset=1)
    tensor([2, 6])
    """
    return m.diagonal(A, offset, dim1, dim2)
