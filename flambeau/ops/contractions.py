"""Sums of products over chosen dimensions, and products of all pairs of elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu import vector_products
from .record import Array, composite, structured
from .shapes import wrap_own_dim


@composite(out=True, aliases=("ger",))
def outer(m: Any, input: Array, vec2: Array) -> Array:
    """All products of two vectors' elements, (N,), (M,) -> (N, M).

    >>> flambeau.outer(flambeau.tensor([1, 2]), flambeau.tensor([1, 10, 100]))
    tensor([[  1,  10, 100],
            [  2,  20, 200]])
    """
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(
            f"outer: Expected 1-D argument self and vec2, but got {input.ndim}-D and {vec2.ndim}-D"
        )
    kind = m.dtype(input)
    if kind is m.dtype(vec2) and kind in (dtypes.float32, dtypes.float64):
        return m.outer_product(input, vec2)
    return m.unsqueeze(input, 1) * vec2


@structured(
    method=False,
    grad={
        "input": lambda m, g, vec2: m.mv(g, vec2),
        "vec2": lambda m, g, input: m.mv(m.t(g), input),
    },
)
def outer_product(input: Array, vec2: Array) -> Array:
    """All products of two real vectors of one dtype, (N,), (M,) -> (N, M)."""
    return vector_products.outer(input, vec2)


@composite(out=True)
def inner(m: Any, input: Array, other: Array) -> Array:
    """Sums of products over the last dimension of both, or the product if one is 0-d.

    >>> flambeau.inner(flambeau.tensor([[1, 2], [3, 4]]), flambeau.tensor([10, 1]))
    tensor([12, 34])
    """
    if not input.ndim or not other.ndim:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    return m.tensordot(input, other, [[-1], [-1]])


@composite(out=True)
def kron(m: Any, input: Array, other: Array) -> Array:
    """Kronecker's product: `other` times every element of `input`, laid out in blocks.

    >>> flambeau.kron(flambeau.tensor([[1, 2]]), flambeau.tensor([[1, 1], [0, 1]]))
    tensor([[1, 1, 2, 2],
            [0, 1, 0, 2]])
    """
    n = max(input.ndim, other.ndim)
    a = (1,) * (n - input.ndim) + tuple(input.shape)
    b = (1,) * (n - other.ndim) + tuple(other.shape)
    spread_a, spread_b, shape = [], [], []
    for rows, columns in zip(a, b, strict=True):
        spread_a += (rows, 1)
        spread_b += (1, columns)
        shape.append(rows * columns)
    return m.reshape(m.reshape(input, spread_a) * m.reshape(other, spread_b), shape)


# ---------------------------------------------------------------- contractions
def _contracted(dims: Any, a: Any, b: Any) -> tuple[list[int], list[int]]:
    if isinstance(dims, (int, np.integer)):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        return list(range(a.ndim - dims, a.ndim)), list(range(dims))
    if hasattr(dims, "tolist"):
        dims = dims.tolist()
        if not isinstance(dims, list):
            return _contracted(dims, a, b)
    first, second = ([d] if isinstance(d, int) else list(d) for d in dims)
    if len(first) != len(second):
        raise RuntimeError(
            f"both dimension lists should have same length, got {first} and {second} (tensordot)"
        )
    first = [wrap_own_dim(int(d), a.ndim) for d in first]
    second = [wrap_own_dim(int(d), b.ndim) for d in second]
    for i, j in zip(first, second, strict=True):
        if a.shape[i] != b.shape[j] and 1 not in (a.shape[i], b.shape[j]):
            raise RuntimeError(
                "contracted dimensions need to match, but first has size "
                f"{a.shape[i]} in dim {i} and second has size {b.shape[j]} in dim {j}"
            )
    return first, second


@composite(out=True, method=False)
def tensordot(m: Any, a: Array, b: Array, dims: Any = 2) -> Array:
    """Sums of products over the last `dims` dimensions of `a` and the first of `b`, or over pairs.

    `dims` is a number or two lists of dimensions. RuntimeError if the sizes do not match.

    >>> a, b = flambeau.arange(6).reshape(1, 2, 3), flambeau.ones(3, 2, 4, dtype=flambeau.int64)
    >>> flambeau.tensordot(a, b, dims=([1, 2], [1, 0]))
    tensor([[15, 15, 15, 15]])
    """
    first, second = _contracted(dims, a, b)
    for i, j in zip(first, second, strict=True):  # a size of one stands for all of the other's
        if a.shape[i] != b.shape[j]:
            if a.shape[i] == 1:
                b = m.sum(b, (j,), True, dtype=m.dtype(b))
            else:
                a = m.sum(a, (i,), True, dtype=m.dtype(a))
    free_a = [d for d in range(a.ndim) if d not in first]
    free_b = [d for d in range(b.ndim) if d not in second]
    kept = [a.shape[d] for d in free_a] + [b.shape[d] for d in free_b]
    folded = math.prod([a.shape[d] for d in first])
    left = m.reshape(
        m.permute(a, tuple(free_a + first)), (math.prod([a.shape[d] for d in free_a]), folded)
    )
    right = m.reshape(
        m.permute(b, tuple(second + free_b)), (folded, math.prod([b.shape[d] for d in free_b]))
    )
    return m.reshape(m.mm(left, right), tuple(kept))


def _check_bilinear(input1: Any, input2: Any, weight: Any, bias: Any) -> None:
    if weight.ndim != 3 or not input1.ndim or not input2.ndim:
        raise RuntimeError(
            "bilinear(): the inputs need dimensions and the weight three of them, got shapes "
            f"{list(input1.shape)}, {list(input2.shape)} and {list(weight.shape)}"
        )
    for place, given in ((1, input1), (2, input2)):
        if given.shape[-1] != weight.shape[place]:
            raise RuntimeError(
                f"bilinear(): input{place} size does not match weight size: got "
                f"{given.shape[-1]} but expected {weight.shape[place]}"
            )
    if bias is not None and bias.shape[0] != weight.shape[0]:
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {bias.shape[0]} but expected "
            f"{weight.shape[0]}"
        )
    if tuple(input1.shape[:-1]) != tuple(input2.shape[:-1]):
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {list(input1.shape)} and "
            f"{list(input2.shape)}"
        )


@composite(method=False)
def bilinear(
    m: Any, input1: Array, input2: Array, weight: Array, bias: Array | None = None
) -> Array:
    """``input1 @ weight[k] @ input2 + bias[k]``: (*, I), (*, J), (K, I, J), (K,) -> (*, K).

    >>> x, y = flambeau.tensor([[1.0, 2.0]]), flambeau.tensor([[3.0, 4.0]])
    >>> F.bilinear(x, y, flambeau.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]]]))
    tensor([[11.,  4.]])
    """
    _check_bilinear(input1, input2, weight, bias)
    lead, n = tuple(input1.shape[:-1]), math.prod(input1.shape[:-1])
    first = m.reshape(input1, (n, input1.shape[-1]))
    second = m.reshape(input2, (n, input2.shape[-1]))
    half = m.tensordot(first, weight, [[1], [1]])  # (n, K, J)
    out = m.squeeze(m.bmm(half, m.unsqueeze(second, 2)), 2)
    if bias is not None:
        out = out + bias
    return m.reshape(out, (*lead, weight.shape[0]))
