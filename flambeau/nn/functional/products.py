"""Products of groups of matrices that share a dimension, as layers of experts need them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ... import dtypes
from ...tensor import functions as fl

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = ["grouped_mm"]

_FLOATS = (dtypes.float32, dtypes.bfloat16, dtypes.float16)


def grouped_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    *,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: dtypes.dtype | None = None,
) -> Tensor:
    """The matrix product of each group of ``mat_a`` with the same group of ``mat_b``.

    A 3-d operand holds a matrix for each of G groups; a 2-d one is cut into groups along one
    dimension, group i ending before ``offs[i]`` (G, int32). With (M, K) and (G, K, N) the rows are
    cut and the result is (M, N), 0 in rows after the last group; with (G, M, K) and (K, N) the
    columns, giving (M, N); with (M, K) and (K, N) the dimension K, giving (G, M, N); with two 3-d
    operands there are no ``offs``. Both are float32, bfloat16 or float16. RuntimeError for operands
    or offsets that do not fit, a ``bias`` and another ``out_dtype``, as in PyTorch 2.13.
    """
    _check(mat_a, mat_b, offs, bias, out_dtype)
    if offs is None:
        return fl.bmm(mat_a, mat_b)
    groups = list(pairwise([0, *offs.tolist()]))
    if mat_a.ndim == 3:
        size = mat_b.shape[1]
    else:
        size = mat_a.shape[0] if mat_b.ndim == 3 else mat_a.shape[1]
    if any(end < start for start, end in groups) or (groups and groups[-1][1] > size):
        raise RuntimeError(
            f"grouped_mm: offs must not fall and end at {size} at most, got {offs.tolist()}"
        )
    if mat_a.ndim == mat_b.ndim:
        return fl.stack([mat_a[:, start:end] @ mat_b[start:end] for start, end in groups])
    if mat_b.ndim == 3:
        parts = [mat_a[start:end] @ b for (start, end), b in zip(groups, mat_b, strict=True)]
        rest = (size - groups[-1][1] if groups else size, mat_b.shape[2])
        return fl.cat([*parts, mat_a.new_zeros(rest)])
    parts = [a @ mat_b[:, start:end] for (start, end), a in zip(groups, mat_a, strict=True)]
    rest = (mat_a.shape[1], size - groups[-1][1] if groups else size)
    return fl.cat([*parts, mat_a.new_zeros(rest)], 1)


def _check(
    a: Tensor, b: Tensor, offs: Tensor | None, bias: Tensor | None, out_dtype: dtypes.dtype | None
) -> None:
    shapes = f"(grouped_mm: shapes {list(a.shape)} and {list(b.shape)})"
    for name, mat in (("mat_a", a), ("mat_b", b)):
        if mat.ndim not in (2, 3):
            raise RuntimeError(f"{name} has to be 2 or 3d {shapes}")
        if mat.dtype not in _FLOATS:
            raise RuntimeError(
                f"Expected {name} to be Float32, BFloat16 or Float16 matrix, got {mat.dtype}"
            )
    if a.dtype is not b.dtype:
        raise RuntimeError(f"grouped_mm: expected one dtype, got {a.dtype} and {b.dtype}")
    three = a.ndim == b.ndim == 3
    if (offs is None) is not three:
        raise RuntimeError(
            "Have to provide offsets if there is a 2d matrix, or no offset if both matrices are "
            f"3d {shapes}"
        )
    if offs is not None and (offs.dtype is not dtypes.int32 or offs.ndim != 1):
        raise RuntimeError(
            f"Offsets have to be int32, in one dimension; got {offs.dtype} of {list(offs.shape)}"
        )
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(f"contraction dimension of mat_a and mat_b must match {shapes}")
    counts = [m.shape[0] for m in (a, b) if m.ndim == 3]
    counts += [] if offs is None or not counts else [offs.shape[0]]
    if len(set(counts)) > 1:
        raise RuntimeError(f"matrix batch sizes have to match {shapes}")
    if bias is not None:
        raise RuntimeError("grouped_mm: bias is not supported")
    if out_dtype is not None and out_dtype is not a.dtype:
        raise RuntimeError("Grouped gemm output dtype must match `mat_a` dtype")
