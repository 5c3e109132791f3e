"""``out=``: writing an op's results into tensors that the caller gives.

The result is computed first, so an output that shares memory with an input never spoils it; but
where PyTorch computes right into the output and therefore refuses such a call, it is refused here.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import is_grad_enabled
from ..ops.record import Op
from .core import TensorCore, bump
from .inplace import check_writable

_EXACT = frozenset(
    """abs addmm addmv all amax amin aminmax any argmax argmin baddbmm bitwise_not bmm bucketize
    ceil complex conj cross cummax cummin diag diff dot floor frac gather histc histogram
    index_add index_copy index_reduce index_select inner isin isneginf isposinf kthvalue
    linalg_cholesky linalg_cholesky_ex linalg_cross linalg_det linalg_eigh linalg_eigvalsh
    linalg_inv linalg_inv_ex linalg_ldl_factor linalg_ldl_factor_ex linalg_ldl_solve linalg_lu
    linalg_lu_factor linalg_lu_factor_ex linalg_lu_solve linalg_matrix_norm linalg_matrix_power
    linalg_multi_dot linalg_norm linalg_qr linalg_slogdet linalg_solve linalg_solve_ex
    linalg_solve_triangular linalg_svd linalg_svdvals linalg_vecdot linalg_vector_norm log_softmax
    logcumsumexp lu_solve lu_unpack masked_select matmul max median min mm mode msort mv
    nan_to_num nanmedian nanquantile narrow_copy neg nonzero nonzero_static ormqr polar qr
    quantile renorm round scatter scatter_add scatter_reduce searchsorted sgn sign signbit
    slice_scatter softmax sort svd take take_along_dim tensordot topk triangular_solve tril triu
    trunc vdot""".split()
)
"""Ops whose outputs must have the result's dtype; others take any that the result casts to."""
_REAL = frozenset(f"fft_{kind}fft{rank}" for kind in ("h", "ir") for rank in ("", "2", "n"))
"""Ops whose outputs may not be complex."""
_APART = frozenset(
    "cat gather index_select kthvalue masked_select stack take take_along_dim".split()
)
"""Ops whose output may not share memory with an input."""
_ALIGNED = frozenset(
    """addbmm addmm addmv addr angle baddbmm clamp cumprod cumsum deg2rad diff div index_add
    index_copy index_reduce logcumsumexp logit msort nan_to_num rad2deg renorm scatter scatter_add
    scatter_reduce subtract""".split()
)
"""Ops that, as all element-wise ones, refuse an output that shares a part of an input's memory."""


def write_out(op: Op, out: Any, result: Any, inputs: tuple[Any, ...] = ()) -> Any:
    """Put the result of `op` on `inputs` into the tensor(s) given as ``out=`` and return them."""
    if isinstance(result, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise TypeError(f"{op.name}(): out must be a tuple of {len(result)} Tensors")
        pairs = list(zip(out, result, strict=True))
        for o, r in pairs:
            _check(op, o, r, inputs)
        written = (_write_one(op, o, r) for o, r in pairs)
        return type(result)(*written) if hasattr(result, "_fields") else tuple(written)
    _check(op, out, result, inputs)
    return _write_one(op, out, result)


def _check(op: Op, out: Any, result: Any, inputs: tuple[Any, ...]) -> None:
    """TypeError or RuntimeError where `out` cannot take `result`."""
    if not isinstance(out, TensorCore):
        raise TypeError(f"{op.name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if is_grad_enabled() and (out._gf is not None or result._gf is not None):
        raise RuntimeError(
            f"{op.name}(): functions with out=... arguments don't support automatic "
            "differentiation, but one of the arguments requires grad."
        )
    if out._t is not result._t and op.name in _EXACT:
        byte = op.name in ("all", "any") and out._t in (dtypes.bool_, dtypes.uint8)
        if not byte:
            raise RuntimeError(
                f"{op.name}(): Expected out tensor to have dtype {result._t.name}, but got "
                f"{out._t.name} instead"
            )
    if op.name in _REAL and out._t.is_complex:
        raise RuntimeError(
            f"{op.name}(): expects a floating point output tensor, but got {out._t.title}"
        )
    if not dtypes.can_cast(result._t, out._t):
        raise RuntimeError(
            f"{op.name}(): result type {result._t.title} can't be cast to the desired output type "
            f"{out._t.title}"
        )
    apart = op.name in _APART
    if apart or op.family == "pointwise" or op.name in _ALIGNED:
        for x in inputs:
            for t in x if isinstance(x, (list, tuple)) else (x,):
                _check_overlap(op, out, t, apart)


def _check_overlap(op: Op, out: Any, t: Any, apart: bool) -> None:
    """RuntimeError where `out` shares memory with `t` as `op` does not allow."""
    a, b = out._d, getattr(t, "_d", None)
    if apart and out is t:
        raise RuntimeError(_SHARED.format(op.name))
    if a.__class__ is not np.ndarray or b.__class__ is not np.ndarray or not a.size:
        return
    if not (_is_dense(a) and _is_dense(b) and np.may_share_memory(a, b)):
        return
    same = a.ctypes.data == b.ctypes.data and a.shape == b.shape and a.strides == b.strides
    if apart or not same:
        raise RuntimeError(_SHARED.format(op.name))


_SHARED = (
    "{}(): unsupported operation: some elements of the input tensor and the written-to tensor "
    "refer to a single memory location. Please clone() the tensor before performing the operation."
)


def _is_dense(a: Any) -> bool:
    """Whether the elements of `a` fill a range of memory, each of them once."""
    expected = a.itemsize
    for stride, n in sorted(zip(a.strides, a.shape, strict=True)):
        if n != 1:
            if stride != expected:
                return False
            expected *= n
    return True


def _write_one(op: Op, out: Any, result: Any) -> Any:
    if out._d.shape != result._d.shape:
        if out._d.size:
            warnings.warn(
                f"An output with one or more elements was resized since it had shape "
                f"{list(out._d.shape)}, which does not match the required output shape "
                f"{list(result._d.shape)}.",
                UserWarning,
                stacklevel=4,
            )
        out._d = np.empty(result._d.shape, out._d.dtype)
    check_writable(out, op.name)
    np.copyto(out._d, result._d, casting="unsafe")
    bump(out)
    return out
