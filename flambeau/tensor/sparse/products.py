"""Matrix products with sparse matrices; SciPy's compiled loops compute them.

`flambeau.mm` and ``@`` give a sparse operand a dense gradient, `flambeau.sparse.mm` one where it
has elements: ``masked`` tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import devices, dtypes
from ...autograd.grad_mode import FAST
from ...backends.cpu.scatter import add_rows
from ...backends.sparse import BLOCKS, COMPRESSED, Compressed, Coordinates, places
from ..composed import is_recorded, record, renamed, values_of, with_values
from ..core import array_of, from_array
from .layouts import coalesce, elements, settled
from .tensor import TITLES, SparseTensor

RULES: dict[str, Callable[..., Any]] = {}
_FEW = 1 << 22
"""Elements of intermediate results that are computed at a time."""
_SMALL = 1 << 12
"""Products of so few numbers take longer to hand to SciPy than to compute."""


# ---------------------------------------------------------------- arrays
def _wide(d: Any) -> Any:
    """The array `d` in a dtype that SciPy computes in."""
    return d.astype(np.float32) if d.dtype.kind == "V" or d.dtype == np.float16 else _plain(d)


def _plain(d: Any) -> Any:
    return d if d.dtype.isbuiltin == 1 else d.astype(np.float32)


def matrix(raw: Any) -> Any:
    """The SciPy matrix of a two-dimensional sparse array; its indices are checked."""
    from scipy import sparse

    if len(raw.shape) != 2:
        raise RuntimeError(
            f"expected a sparse matrix with two sparse dimensions, got the shape {list(raw.shape)}"
        )
    at = raw.elements()
    places(at, raw.sparse_sizes)
    if isinstance(raw, Compressed) and raw.layout not in BLOCKS:
        kind = sparse.csr_array if raw.is_by_row else sparse.csc_array
        return kind((_wide(raw.values), raw.indices, raw.ends), shape=raw.shape)
    return sparse.coo_array((_wide(raw.flat_values()), (at[0], at[1])), shape=raw.shape).tocsr()


def _times(raw: Any, dense: Any) -> Any:
    """The product of a two-dimensional sparse array and a matrix."""
    if raw.count * dense.shape[1] > _SMALL or isinstance(raw, Compressed):
        return np.asarray(matrix(raw) @ dense)
    at = raw.elements()
    if len(at) != 2:
        return np.asarray(matrix(raw) @ dense)  # which says what is wrong
    places(at, raw.sparse_sizes)
    terms = _wide(raw.flat_values())[:, None] * dense[at[1]]
    out = np.zeros((raw.shape[0], dense.shape[1]), terms.dtype)
    add_rows(out, np.ascontiguousarray(at[0]), terms)
    return out


def _check_product(a: Any, b: Any) -> None:
    if a.ndim != 2 or b.ndim != 2:
        raise RuntimeError(f"mm: expected matrices, got {a.ndim}-D and {b.ndim}-D tensors")
    if a.shape[1] != b.shape[0]:
        shapes = f"{a.shape[0]}x{a.shape[1]} and {b.shape[0]}x{b.shape[1]}"
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({shapes})")
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"mm: expected both matrices to have one dtype, got {a.dtype} and {b.dtype}"
        )


def _adjoint(x: Any) -> Any:
    F = FAST["F"]
    x = F.transpose(x, 0, 1)
    return F.conj_physical(x) if x.dtype.is_complex else x


# ---------------------------------------------------------------- products
def multiply(a: Any, b: Any, masked: bool) -> Any:
    """``a @ b`` of two matrices of which at least one is sparse.

    Sparse times sparse is sparse. The gradient of a sparse operand stands where it has elements if
    `masked`, else it is dense.
    """
    _check_product(a, b)
    left, right = isinstance(a, SparseTensor), isinstance(b, SparseTensor)
    if left and right:
        return _sparse_by_sparse(a, b)
    label = "SparseAddmmBackward0" if masked else "MmBackward0"
    if left:
        d = _times(array_of(a), _wide(array_of(b)))
    else:
        d = np.asarray((matrix(array_of(b)).T @ _wide(array_of(a)).T).T)
    out = from_array(np.ascontiguousarray(d.astype(a.dtype.numpy_dtype, copy=False)))
    if not is_recorded(a, b):
        return out
    rules = [(a, _toward(a, b, masked, True)), (b, _toward(b, a, masked, False))]
    return record(out, label, rules)


def _toward(x: Any, other: Any, masked: bool, is_left: bool) -> Callable[[Any], Any]:
    """The rule for the operand `x` of a product: the gradient times the adjoint of `other`."""

    def dense(g: Any) -> Any:
        F, back = FAST["F"], _adjoint(other)
        pair = (g, back) if is_left else (back, g)
        if isinstance(other, SparseTensor):
            return multiply(*pair, masked)
        return F.mm(*pair)

    def sampled(g: Any) -> Any:
        pattern = array_of(coalesce(x.detach()))
        back = _adjoint(other)
        return with_values(pattern, samples(pattern, *((g, back) if is_left else (back, g))))

    return sampled if masked and isinstance(x, SparseTensor) else dense


def samples(pattern: Any, a: Any, b: Any) -> Any:
    """The elements of ``a @ b`` at the places of `pattern`, as its values."""
    F = FAST["F"]
    rows, columns = pattern.elements()[-2:]
    row, column = from_array(np.ascontiguousarray(rows)), from_array(np.ascontiguousarray(columns))
    across = F.transpose(b, 0, 1)
    if is_recorded(a, b):
        found = (F.index_select(a, 0, row) * F.index_select(across, 0, column)).sum(1)
    else:
        x, y = _wide(array_of(a)), _wide(array_of(across))
        out = np.empty(len(rows), np.result_type(x, y))
        step = max(1, _FEW // max(1, x.shape[1]))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            np.einsum("ij,ij->i", x[rows[part]], y[columns[part]], out=out[part])
        found = from_array(out.astype(a.dtype.numpy_dtype, copy=False))
    shape = pattern.values.shape
    return found if tuple(found.shape) == shape else found.reshape(shape)


def _sparse_by_sparse(a: Any, b: Any) -> Any:
    by_row = (devices.sparse_csr, devices.sparse_csc)
    if (a.layout in COMPRESSED) != (b.layout in COMPRESSED):
        raise RuntimeError(
            f"addmm: computation on CPU is not implemented for {TITLES[a.layout]} + "
            f"{TITLES[a.layout]} @ {TITLES[b.layout]}"
        )
    product = (matrix(array_of(a)) @ matrix(array_of(b))).tocsr()
    product.sum_duplicates()
    values = product.data.astype(a.dtype.numpy_dtype, copy=False)
    shape = (a.shape[0], b.shape[1])
    ends, columns = (i.astype(np.int64) for i in (product.indptr, product.indices))
    raw = Compressed(devices.sparse_csr, ends, columns, values, shape)
    if a.layout is devices.sparse_coo:
        out = from_array(Coordinates(raw.elements(), values, shape, True))
    else:
        out = from_array(raw)
        if a.layout in by_row and a.layout is b.layout and a.layout is not raw.layout:
            out = out.to_sparse(layout=a.layout)
    if not is_recorded(a, b):
        return out

    def kept(x: Any, product_of: Callable[[Any], Any]) -> Callable[[Any], Any]:
        pattern = array_of(coalesce(x.detach()))
        return lambda g: with_values(pattern, SparseTensor.pick(product_of(g), pattern))

    def by(g: Any, other: Any, is_left: bool) -> Any:
        back = _adjoint(other)
        if isinstance(g, SparseTensor) and g.layout is not back.layout:
            g, back = g.to_sparse(), back.to_sparse()
        return multiply(*((g, back) if is_left else (back, g)), True)

    rules = [(a, kept(a, lambda g: by(g, b, True))), (b, kept(b, lambda g: by(g, a, False)))]
    return record(out, "SparseSparseMatmulBackward0", rules)


def add_product(
    input: Any, mat1: Any, mat2: Any, beta: Any, alpha: Any, masked: bool, name: str = "addmm"
) -> Any:
    """``beta * input + alpha * (mat1 @ mat2)``; a dense result for a dense `input`."""
    if input.layout is devices.sparse_coo:
        raise RuntimeError(
            f"addmm_sparse_dense: expected strided result tensor, got tensor with layout "
            f"{TITLES[input.layout]}"
        )
    if mat1.ndim == 2 and mat2.ndim == 2 and mat1.shape[1] != mat2.shape[0]:
        raise RuntimeError(
            f"{name}: Argument #3 (dense): Expected dim 0 size {mat1.shape[1]}, got {mat2.shape[0]}"
        )
    product = multiply(mat1, mat2, masked)
    product = product if alpha == 1 else product * alpha
    if not isinstance(product, SparseTensor) and not isinstance(input, SparseTensor):
        input = FAST["F"].broadcast_to(input, tuple(product.shape))
    elif not isinstance(input, SparseTensor):
        return product + input if input.layout in COMPRESSED else input * beta + product
    if beta == 0:
        return product
    return (input if beta == 1 else input * beta) + product


# ---------------------------------------------------------------- rules
def _mm(input: Any, mat2: Any) -> Any:
    return multiply(input, mat2, False)


def _mv(input: Any, vec: Any) -> Any:
    if isinstance(vec, SparseTensor):
        raise RuntimeError("mv: the vector must be dense")
    if input.ndim != 2 or vec.ndim != 1 or input.shape[1] != vec.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({list(input.shape)}), vec ({list(vec.shape)}) (mv)"
        )
    return renamed(multiply(input, vec.unsqueeze(1), False).squeeze(1), "MvBackward0")


def _matmul(input: Any, other: Any) -> Any:
    if input.ndim == 2 and other.ndim == 1:
        return _mv(input, other)
    if input.ndim == 1 and other.ndim == 2 and not isinstance(input, SparseTensor):
        return multiply(input.unsqueeze(0), other, False).squeeze(0)
    if input.ndim == 2 and other.ndim == 2:
        return _mm(input, other)
    if input.ndim == 3 and other.ndim == 3:
        return _bmm(input, other)
    raise RuntimeError(
        f"matmul of sparse tensors is for matrices, got shapes {list(input.shape)} and "
        f"{list(other.shape)}"
    )


def _addmm(input: Any, mat1: Any, mat2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    return add_product(input, mat1, mat2, beta, alpha, False)


def _bmm(input: Any, mat2: Any) -> Any:
    """A batch of sparse matrices times one of dense ones: one matrix with them as its blocks."""
    if not isinstance(input, SparseTensor) or isinstance(mat2, SparseTensor):
        raise RuntimeError("bmm: Tensor 'mat2' must be dense, and the first operand sparse")
    if input.ndim != 3 or mat2.ndim != 3:
        raise RuntimeError("bmm: expected 3-D tensors")
    if input.shape[0] != mat2.shape[0] or input.shape[2] != mat2.shape[1]:
        raise RuntimeError(
            f"bmm: shapes {list(input.shape)} and {list(mat2.shape)} cannot be multiplied"
        )
    count, rows, columns = input.shape
    at, values = elements(settled(input))
    places(at, tuple(input.shape))
    wide = np.stack([at[0] * rows + at[1], at[0] * columns + at[2]])
    pattern = Coordinates(wide, array_of(values), (count * rows, count * columns), False)
    flat = mat2.reshape(count * columns, mat2.shape[2])
    out = multiply(with_values(pattern, values), flat, True)
    return out.reshape(count, rows, mat2.shape[2])


def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    F = FAST["F"]
    if isinstance(weight, SparseTensor) and not isinstance(input, SparseTensor):
        flat = input.reshape(-1, input.shape[-1])
        out = multiply(flat, F.transpose(weight, 0, 1), False)
        out = out.reshape(*input.shape[:-1], weight.shape[0])
    else:
        out = multiply(input, F.transpose(weight, 0, 1), False)
    return out if bias is None else out + bias


RULES.update(mm=_mm, mv=_mv, matmul=_matmul, addmm=_addmm, bmm=_bmm, linear=_linear)


# ---------------------------------------------------------------- named functions
def rows_product(x: Any, dense: Any) -> Any:
    """``x @ dense`` as a tensor with one sparse dimension: the rows that are not empty."""
    x = coalesce(x)
    at = array_of(x).elements()
    rows = np.unique(at[0])
    product = FAST["F"].index_select(multiply(x, dense, True), 0, from_array(rows))
    pattern = Coordinates(rows[None], array_of(product), (x.shape[0], dense.shape[1]), False)
    return with_values(pattern, product, "HspmmBackward0")


def sparse_product(x: Any, dense: Any) -> Any:
    """``x @ dense`` in coordinates: all columns of the rows that are not empty."""
    part = rows_product(x, dense)
    raw = array_of(part)
    width = dense.shape[1]
    rows = np.repeat(raw.indices[0], width)
    columns = np.tile(np.arange(width), raw.count)
    values = values_of(part).reshape(-1)
    pattern = Coordinates(np.stack([rows, columns]), array_of(values), raw.shape, False)
    return with_values(pattern, values, "SspaddmmBackward0")


def sampled_product(x: Any, a: Any, b: Any, beta: Any, alpha: Any) -> Any:
    """``alpha * (a @ b) + beta * x`` at the places of the CSR tensor `x`; see sampled_addmm."""
    if x.layout is not devices.sparse_csr:
        raise NotImplementedError(
            f"sampled_addmm: expected a tensor of layout SparseCsr, got {TITLES[x.layout]}"
        )
    if any(isinstance(t, SparseTensor) for t in (a, b)):
        raise RuntimeError("sampled_addmm: Expected mat1 and mat2 to be strided tensors")
    sizes = (*a.shape[:-1], b.shape[-1])
    if a.ndim < 2 or a.shape[-1] != b.shape[-2] or tuple(x.shape) != sizes:
        raise RuntimeError(
            f"sampled_addmm: shapes {list(x.shape)}, {list(a.shape)} and {list(b.shape)} do not "
            "fit together"
        )
    if not x.dtype is a.dtype is b.dtype:
        raise RuntimeError("sampled_addmm: Expected all tensors to have the same dtype")
    pattern = array_of(x)
    if a.ndim > 2:
        picked = SparseTensor.pick(FAST["F"].matmul(a, b), pattern)
    else:
        picked = samples(pattern, a, b)
    values = picked * alpha + (values_of(x) * beta if beta else 0)
    return renamed(with_values(pattern, values), "SparseSampledAddmmBackward0")


_FOLDS: dict[str, Any] = {"sum": np.add, "mean": np.add, "amax": np.maximum, "amin": np.minimum}


def reduced_product(x: Any, dense: Any, reduce: str) -> Any:
    """For each row of the CSR matrix `x`, the sum, mean or extremum of its weighted rows of dense.

    Rows without an element give zeros.
    """
    F = FAST["F"]
    if reduce not in _FOLDS:
        raise RuntimeError(
            f"sparse_mm_reduce: reduce type of {reduce} has not been enabled."
            if reduce == "prod"
            else "reduce argument must be either sum, prod, mean, amax or amin, got " + reduce
        )
    if x.layout is not devices.sparse_csr:
        raise RuntimeError(
            f"sparse_mm_reduce: expected a tensor of layout SparseCsr, got {TITLES[x.layout]}"
        )
    _check_product(x, dense)
    at, values = elements(x)
    places(at, tuple(x.shape))
    row, column = from_array(at[0].copy()), from_array(at[1].copy())
    if reduce == "sum":
        return multiply(x, dense, True)
    if reduce == "mean":
        counts = np.maximum(np.bincount(at[0], minlength=x.shape[0]), 1)
        share = from_array(counts.astype(x.dtype.numpy_dtype)).unsqueeze(1)
        return multiply(x, dense, True) / share
    terms = values.unsqueeze(1) * F.index_select(dense, 0, column)
    empty = F.zeros((x.shape[0], dense.shape[1]), dtype=x.dtype)
    number = row.unsqueeze(1).expand(terms.shape)
    return F.scatter_reduce(empty, 0, number, terms, reduce, include_self=False)


def solved(x: Any, b: Any) -> Any:
    """The vector v with ``x @ v == b`` for a square sparse matrix `x`."""
    from scipy.sparse import linalg

    if x.ndim != 2 or x.shape[0] != x.shape[1] or b.shape[0] != x.shape[0]:
        raise RuntimeError(
            f"spsolve: expected a square matrix and a vector, got {list(x.shape)} and "
            f"{list(b.shape)}"
        )
    if x.dtype not in (dtypes.float32, dtypes.float64, dtypes.complex64, dtypes.complex128):
        raise RuntimeError(f"spsolve: not implemented for {x.dtype}")
    found = linalg.spsolve(matrix(array_of(x)).tocsc(), array_of(b))
    out = from_array(np.asarray(found, b.dtype.numpy_dtype).reshape(b.shape))
    if not is_recorded(x, b):
        return out
    fixed = out

    def toward_b(g: Any) -> Any:
        return solved(_adjoint(x), g)

    def toward_x(g: Any) -> Any:
        pattern = array_of(coalesce(x.detach()))
        column = -solved(_adjoint(x), g).unsqueeze(1)
        return with_values(pattern, samples(pattern, column, fixed.detach().conj().unsqueeze(0)))

    return record(out, "SpsolveBackward0", [(x, toward_x), (b, toward_b)])
