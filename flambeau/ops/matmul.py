"""Products of vectors and matrices, and what is written with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu import matmul as kernels
from ..backends.cpu import reductions
from ..backends.cpu.narrow_matmul import int_matmul
from ..compiler.expressions import trace
from .promotion import lifted, title, unsupported
from .readers import RAW
from .record import Array, composite, structured


# ---------------------------------------------------------------- pieces of the derivative rules
def conjugate(m: Any, x: Any) -> Any:
    """The complex conjugate of `x`; `x` itself, uncopied, if it is real."""
    return m.conj(x) if m.dtype(x).is_complex else x


def adjoint(m: Any, x: Any) -> Any:
    """The conjugate transpose of the matrices in `x`."""
    return conjugate(m, m.transpose(x, -1, -2))


def _as_rows(m: Any, x: Any) -> Any:
    return x if x.ndim == 2 else m.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def _left_back(m: Any, g: Any, other: Any, input_shape: Any) -> Any:
    if other.ndim == 1:
        return (m.unsqueeze(g, -1) if g.ndim else g) * conjugate(m, other)
    if len(input_shape) == 1:
        r = m.matmul(adjoint(m, m.transpose(other, -1, -2)), m.unsqueeze(g, -1))
        return m.squeeze(r, -1)
    return m.matmul(g, adjoint(m, other))


def _right_back(m: Any, g: Any, input: Any, other_shape: Any) -> Any:
    if len(other_shape) == 1:
        if input.ndim == 1:
            return g * conjugate(m, input)
        rows = _as_rows(m, input)
        return m.matmul(m.reshape(g, (rows.shape[0],)), conjugate(m, rows))
    if input.ndim == 1:
        return m.unsqueeze(conjugate(m, input), -1) * m.unsqueeze(g, -2)
    if len(other_shape) == 2:  # one matrix for the whole batch: one product sums over it
        return m.matmul(adjoint(m, _as_rows(m, input)), _as_rows(m, g))
    return m.matmul(adjoint(m, input), g)


_PRODUCT_RULES = {"input": _left_back, "other": _right_back}


def _rank(node: Any, name: str) -> int:
    """The number of dimensions of an argument, of which the node knows the shape or the tensor."""
    shape = getattr(node, f"h_{name}", None)
    return len(shape) if shape is not None else getattr(getattr(node, f"s_{name}"), "ndim", 2)


def _product_name(node: Any) -> str:
    """What a matrix product is called on the tape."""
    names = {(1, 1): "Dot", (2, 1): "Mv", (2, 2): "Mm", (1, 2): "Squeeze"}
    name = names.get((_rank(node, "input"), _rank(node, "other")), "UnsafeView")
    return f"{name}Backward{4 if name == 'Squeeze' else 0}"


def _layer_name(node: Any) -> str:
    """What a linear layer is called on the tape."""
    biased = getattr(node, "h_bias", None) is not None
    if _rank(node, "input") == 2:
        return "AddmmBackward0" if biased else "MmBackward0"
    return "ViewBackward0" if biased else "UnsafeViewBackward0"


_MM_RULES = {
    "input": lambda m, g, mat2: m.matmul(g, adjoint(m, mat2)),
    "mat2": lambda m, g, input: m.matmul(adjoint(m, input), g),
}


def _check_dtypes(name: str, a: Any, b: Any) -> None:
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"{name}(): expected both operands to have the same dtype, but got: "
            f"{title(a)} != {title(b)} (shapes {list(a.shape)} and {list(b.shape)})"
        )
    if a.dtype.kind == "b":
        raise unsupported(f"{name}_impl_cpu_", a)


def _check_ranks(name: str, a: Any, ranks: tuple[int, int], b: Any) -> None:
    for label, x, rank in (("self", a, ranks[0]), ("the second tensor", b, ranks[1])):
        if x.ndim != rank:
            raise RuntimeError(
                f"{name}(): {label} must be a {rank}-D tensor, got shapes {list(a.shape)} and "
                f"{list(b.shape)}"
            )


def _check_inner(name: str, a: Any, b: Any, axis: int) -> None:
    if a.shape[-1] != b.shape[axis]:
        spell = "x".join
        raise RuntimeError(
            f"{name}(): mat1 and mat2 shapes cannot be multiplied "
            f"({spell(map(str, a.shape))} and {spell(map(str, b.shape))})"
        )


def _check_mm(name: str, a: Any, b: Any) -> None:
    _check_ranks(name, a, (2, 2), b)
    _check_inner(name, a, b, 0)
    _check_dtypes(name, a, b)


def _check_bmm(name: str, a: Any, b: Any) -> None:
    for number, x in ((1, a), (2, b)):
        if x.ndim != 3:
            raise RuntimeError(f"batch{number} must be a 3D tensor ({name}: got {list(x.shape)})")
    if a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{a.shape[0]}, {a.shape[2]}] but got: [{b.shape[0]}, {b.shape[1]}]."
        )
    _check_dtypes(name, a, b)


# ---------------------------------------------------------------- products
@structured(out=True, grad=_MM_RULES)
def mm(input: Array, mat2: Array) -> Array:
    """The matrix product (N, K), (K, M) -> (N, M); RuntimeError for other shapes.

    >>> flambeau.mm(flambeau.tensor([[1, 2], [3, 4]]), flambeau.tensor([[0, 1], [1, 0]]))
    tensor([[2, 1],
            [4, 3]])
    """
    if input.ndim == mat2.ndim == 2:
        out = kernels.known_matmul(input, mat2)
        if out is not None:
            return out
    _check_mm("mm", input, mat2)
    return kernels.matmul(input, mat2)


@structured(out=True, grad=_MM_RULES)
def bmm(input: Array, mat2: Array) -> Array:
    """The products of two batches of matrices, (B, N, K), (B, K, M) -> (B, N, M).

    >>> flambeau.bmm(flambeau.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), flambeau.ones(2, 2, 1)).tolist()
    [[[3.0]], [[7.0]]]
    """
    if input.ndim == mat2.ndim == 3 and input.shape[0] == mat2.shape[0]:
        out = kernels.known_matmul(input, mat2)
        if out is not None:
            return out
    _check_bmm("bmm", input, mat2)
    return kernels.matmul(input, mat2)


@structured(out=True, method=False)
def _int_mm(input: Array, mat2: Array) -> Array:
    """The int32 product of an int8 or uint8 and an int8 matrix, (N, K), (K, M) -> (N, M).

    >>> a = flambeau.tensor([[100, 100]], dtype=flambeau.int8)
    >>> flambeau._int_mm(a, a.T)
    tensor([[20000]], dtype=torch.int32)
    """
    for label, x, kinds in (("self", input, ("int8", "uint8")), ("mat2", mat2, ("int8",))):
        if x.ndim != 2:
            raise RuntimeError(f"_int_mm: Expected {label} to be of dimension 2 but got {x.ndim}")
        if x.dtype not in kinds:
            raise RuntimeError(
                f"_int_mm: Expected {label} dtype to be {' or '.join(kinds)} but got {title(x)}"
            )
    if input.shape[1] != mat2.shape[0]:
        raise RuntimeError(
            f"_int_mm: self.size(1) needs to match mat2.size(0) but got {input.shape[1]} and "
            f"{mat2.shape[0]}"
        )
    return int_matmul(input, mat2)


@structured(
    out=True,
    grad={
        "input": lambda m, g, vec: m.unsqueeze(g, 1) * conjugate(m, vec),
        "vec": lambda m, g, input: m.matmul(g, conjugate(m, input)),
    },
)
def mv(input: Array, vec: Array) -> Array:
    """The product of a matrix and a vector, (N, K), (K,) -> (N,).

    >>> flambeau.mv(flambeau.tensor([[1, 2], [3, 4]]), flambeau.tensor([1, -1]))
    tensor([-1, -1])
    """
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(
            f"vector + matrix @ vector expected, got 1, {input.ndim}, {vec.ndim} (mv)"
        )
    if input.shape[1] != vec.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({input.shape[0]}), mat "
            f"({input.shape[0]}x{input.shape[1]}), vec ({vec.shape[0]})"
        )
    _check_dtypes("mv", input, vec)
    return kernels.matmul(input, vec)


def _check_vectors(name: str, a: Any, b: Any) -> None:
    if a.ndim != 1 or b.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {a.ndim}D and {b.ndim}D tensors ({name})")
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"{name} : expected both vectors to have same dtype, but found {title(a)} and "
            f"{title(b)}"
        )
    if a.shape != b.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{a.shape[0]}] and src [{b.shape[0]}] to "
            f"have the same number of elements, but got {a.shape[0]} and {b.shape[0]} elements "
            "respectively"
        )


_PRODUCT = trace(lambda m, x, y: x * y)
_LONG = 1 << 16
"""Elements of vectors that are worth several threads, where BLAS takes one."""


def _sum_of_products(a: Array, b: Array) -> Array:
    shared = a.size >= _LONG and a.dtype.itemsize > 2
    total = reductions.fold(_PRODUCT, (a, b), (0,)) if shared else None
    return np.asarray(kernels.matmul(a, b)) if total is None else total


@structured(out=True, grad={
    "input": lambda m, g, tensor: g * conjugate(m, tensor),
    "tensor": lambda m, g, input: g * conjugate(m, input),
})  # fmt: skip
def dot(input: Array, tensor: Array) -> Array:
    """The sum of products of two vectors of one length.

    >>> flambeau.dot(flambeau.tensor([1, 2, 3]), flambeau.tensor([4, 5, 6]))
    tensor(32)
    """
    _check_vectors("dot", input, tensor)
    _check_dtypes("dot", input, tensor)
    return _sum_of_products(input, tensor)


@structured(out=True, grad={
    "input": lambda m, g, other: conjugate(m, g) * other,
    "other": lambda m, g, input: g * input,
})  # fmt: skip
def vdot(input: Array, other: Array) -> Array:
    """`dot` with the first vector conjugated.

    >>> a, b = flambeau.tensor([2j]), flambeau.tensor([3j])
    >>> flambeau.vdot(a, b), flambeau.dot(a, b)
    (tensor(6.+0.j), tensor(-6.+0.j))
    """
    _check_vectors("vdot", input, other)
    _check_dtypes("vdot", input, other)
    return _sum_of_products(np.conj(input) if input.dtype.kind == "c" else input, other)


@structured(out=True, grad=_PRODUCT_RULES, namer=_product_name, aliases=("linalg_matmul",))
def matmul(input: Array, other: Array) -> Array:
    """The matrix product; vectors are rows on the left, columns on the right; batches broadcast.

    >>> fl.matmul(fl.ones(2, 3), fl.ones(3)).tolist()
    [3.0, 3.0]
    """
    out = kernels.known_matmul(input, other)
    if out is not None:
        return out
    if not input.ndim or not other.ndim:
        raise RuntimeError(
            "both arguments to matmul need to be at least 1D, but they are "
            f"{input.ndim}D and {other.ndim}D"
        )
    _check_dtypes("matmul", input, other)
    if input.shape[-1] != other.shape[-2 if other.ndim > 1 else 0]:
        if input.ndim == other.ndim == 1:
            _check_vectors("dot", input, other)
        _check_inner("matmul", input, other, -2 if other.ndim > 1 else 0)
    return np.asarray(kernels.matmul(input, other))


def _weight_back(m: Any, g: Any, input: Any, weight_shape: Any) -> Any:
    if len(weight_shape) == 1:
        return _right_back(m, g, input, weight_shape)
    if input.ndim == 1:
        return m.unsqueeze(g, -1) * conjugate(m, input)
    return m.matmul(m.transpose(_as_rows(m, g), 0, 1), conjugate(m, _as_rows(m, input)))


def _linear_back(m: Any, g: Any, weight: Any) -> Any:
    if weight.ndim == 1:
        return (m.unsqueeze(g, -1) if g.ndim else g) * conjugate(m, weight)
    return m.matmul(g, conjugate(m, weight))


@structured(
    method=False,
    grad={
        "input": _linear_back,
        "weight": _weight_back,
        "bias": lambda m, g: m.sum(g, tuple(range(g.ndim - 1))) if g.ndim > 1 else g,
    },
    namer=_layer_name,
)
def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    """``input @ weight.T + bias``: (*, K), (N, K), (N,) -> (*, N).

    >>> weight = flambeau.tensor([[1.0, 1.0], [3.0, 0.0], [0.0, 5.0]])
    >>> F.linear(flambeau.tensor([1.0, 2.0]), weight, flambeau.tensor([0.0, 10.0, 0.0]))
    tensor([ 3., 13., 10.])
    """
    out = kernels.known_linear(input, weight, bias)
    if out is not None:
        return out
    if not input.ndim or input.shape[-1] != weight.shape[-1]:
        raise RuntimeError(
            "linear(): mat1 and mat2 shapes cannot be multiplied (input "
            f"{'x'.join(map(str, input.shape))} and weight {'x'.join(map(str, weight.shape))})"
        )
    _check_dtypes("linear", input, weight)
    if bias is not None:
        _check_dtypes("linear", input, bias)
    if weight.ndim == 1 or (bias is not None and bias.shape != weight.shape[:1]):
        out = np.asarray(kernels.matmul(input, weight.T))
        return out if bias is None else out + bias
    return kernels.linear(input, weight, bias)


# ---------------------------------------------------------------- products added to something
def _blend(m: Any, input: Any, product: Any, beta: Any, alpha: Any) -> Any:
    """``beta * input + alpha * product``; with beta zero, NaN in `input` does not count."""
    kind = m.dtype(product)
    if not kind.inexact:
        alpha, beta = int(alpha), int(beta)
        if str(kind).endswith("bool"):
            product = product & bool(alpha)
            return product | input if beta else product
    if alpha != 1:
        product = product * alpha
    if beta == 0:
        return product if product.shape == input.shape else m.expand(product, product.shape)
    return product + (input if beta == 1 else input * beta)


def _check_fits(name: str, m: Any, input: Any, product: Any) -> None:
    _check_sum(name, input, tuple(product.shape), m.dtype(input), m.dtype(product))


def _check_sum(name: str, input: Any, target: tuple[int, ...], kind: Any, wanted: Any) -> None:
    """Whether `input`, of dtype `kind`, may be added to products of shape `target`."""
    shape = tuple(input.shape)
    fits = len(shape) <= len(target) and all(
        a in (1, b) for a, b in zip(shape[::-1], target[::-1], strict=False)
    )
    if not fits:
        raise RuntimeError(
            f"{name}(): input of shape {list(shape)} cannot be broadcast to the result's shape "
            f"{list(target)}"
        )
    if kind is not wanted:
        raise RuntimeError(
            f"{name}(): self and the matrices must have the same dtype, but got "
            f"{kind.title} and {wanted.title}"
        )


def _scaled_sum(name: str, input: Array, a: Array, b: Array, beta: Any, alpha: Any) -> Array:
    """``beta * input + alpha * (a @ b)``; with beta zero, NaN in `input` does not count."""
    shape = (*a.shape[:-1], b.shape[-1])
    _check_sum(name, input, shape, RAW.dtype(input), RAW.dtype(a))
    if a.dtype.kind in "iub":
        if input.dtype.kind == "u":
            beta, alpha = (int(v) % (1 << 8 * input.dtype.itemsize) for v in (beta, alpha))
        return np.asarray(_blend(RAW, input, kernels.matmul(a, b), beta, alpha))
    return kernels.add_matmul(input, a, b, beta, alpha)


def _times(g: Any, scale: Any) -> Any:
    """`g` times the conjugate of a number."""
    return g if scale == 1 else g * (scale.conjugate() if isinstance(scale, complex) else scale)


@structured(inplace=True, out=True, grad={
    "input": lambda m, g, beta: _times(g, beta),
    "mat1": lambda m, g, mat2, alpha: _times(m.matmul(g, adjoint(m, mat2)), alpha),
    "mat2": lambda m, g, mat1, alpha: _times(m.matmul(adjoint(m, mat1), g), alpha),
})  # fmt: skip
def addmm(input: Array, mat1: Array, mat2: Array, *, beta: Any = 1, alpha: Any = 1) -> Array:
    """``beta * input + alpha * (mat1 @ mat2)``; `input` broadcasts to (N, M).

    >>> a, b = flambeau.eye(2), flambeau.tensor([[3.0, 4.0], [5.0, 6.0]])
    >>> flambeau.addmm(flambeau.tensor([1.0, 2.0]), a, b, beta=10)
    tensor([[13., 24.],
            [15., 26.]])
    """
    if mat1.ndim == mat2.ndim == 2:
        out = kernels.known_sum(input, mat1, mat2, beta, alpha)
        if out is not None:
            return out
    _check_mm("addmm", mat1, mat2)
    return _scaled_sum("addmm", input, mat1, mat2, beta, alpha)


@composite(inplace=True, out=True)
def addmv(m: Any, input: Array, mat: Array, vec: Array, *, beta: Any = 1, alpha: Any = 1) -> Array:
    """``beta * input + alpha * (mat @ vec)``; `input` broadcasts to (N,).

    >>> a, v = flambeau.tensor([[1.0, 2.0], [3.0, 4.0]]), flambeau.tensor([1.0, 0.0])
    >>> flambeau.addmv(flambeau.tensor([1.0, 1.0]), a, v, alpha=2)
    tensor([3., 7.])
    """
    product = m.mv(mat, vec)
    _check_fits("addmv", m, input, product)
    return _blend(m, input, product, beta, alpha)


@structured(inplace=True, out=True, grad={
    "input": lambda m, g, beta: _times(g, beta),
    "batch1": lambda m, g, batch2, alpha: _times(m.matmul(g, adjoint(m, batch2)), alpha),
    "batch2": lambda m, g, batch1, alpha: _times(m.matmul(adjoint(m, batch1), g), alpha),
})  # fmt: skip
def baddbmm(input: Array, batch1: Array, batch2: Array, *, beta: Any = 1, alpha: Any = 1) -> Array:
    """``beta * input + alpha * (batch1 @ batch2)`` for batches (B, N, K), (B, K, M).

    >>> a, b = flambeau.tensor([[[2.0, 3.0]]]), flambeau.tensor([[[4.0], [5.0]]])
    >>> flambeau.baddbmm(flambeau.ones(1, 1, 1), a, b, beta=-1)
    tensor([[[22.]]])
    """
    if batch1.ndim == batch2.ndim == 3:
        out = kernels.known_sum(input, batch1, batch2, beta, alpha)
        if out is not None:
            return out
    _check_bmm("baddbmm", batch1, batch2)
    return _scaled_sum("baddbmm", input, batch1, batch2, beta, alpha)


@composite(inplace=True, out=True)
def addbmm(
    m: Any, input: Array, batch1: Array, batch2: Array, *, beta: Any = 1, alpha: Any = 1
) -> Array:
    """``beta * input + alpha * sum over the batch of (batch1 @ batch2)``: (N, M).

    >>> a, b = flambeau.tensor([[[2.0]], [[3.0]]]), flambeau.tensor([[[10.0]], [[100.0]]])
    >>> flambeau.addbmm(flambeau.zeros(1, 1), a, b)
    tensor([[320.]])
    """
    for number, x in ((1, batch1), (2, batch2)):
        if x.ndim != 3:
            raise RuntimeError(f"addbmm: batch{number} must be a 3D tensor, got {list(x.shape)}")
    if batch1.shape[0] != batch2.shape[0] or batch1.shape[2] != batch2.shape[1]:
        raise RuntimeError(
            f"addbmm: batch1 {list(batch1.shape)} and batch2 {list(batch2.shape)} must have the "
            "same number of batches and sizes that can be multiplied"
        )
    # The sum over the batch is one product of matrices that hold the batch in their inner sizes.
    folded = batch1.shape[0] * batch1.shape[2]
    wide = m.reshape(m.permute(batch1, (1, 0, 2)), (batch1.shape[1], folded))
    tall = m.reshape(batch2, (folded, batch2.shape[2]))
    product = m.mm(wide, tall)
    _check_fits("addbmm", m, input, product)
    return _blend(m, input, product, beta, alpha)


@composite(inplace=True, out=True)
def addr(m: Any, input: Array, vec1: Array, vec2: Array, *, beta: Any = 1, alpha: Any = 1) -> Array:
    """``beta * input + alpha * outer(vec1, vec2)``: (N, M).

    >>> a, b = flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0, 4.0])
    >>> flambeau.addr(flambeau.ones(2, 2), a, b, beta=0.5)
    tensor([[3.5000, 4.5000],
            [6.5000, 8.5000]])
    """
    if vec1.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(
            f"addr: Expected 1-D argument vec1 and vec2, but got {vec1.ndim}-D and {vec2.ndim}-D"
        )
    kind = m.dtype(input)
    for vector in (vec1, vec2):
        kind = dtypes.promote_types(kind, m.dtype(vector))
    input, vec1, vec2 = lifted(m, input, vec1, vec2)
    out = _blend(m, input, m.outer(vec1, vec2), beta, alpha)
    return m.cast(out, kind) if kind.is_floating_point else out
