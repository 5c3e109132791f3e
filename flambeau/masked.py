"""Reductions and normalisations that leave masked elements out.

A `mask` is a tensor of truth values that broadcasts to the input's shape; true elements count. What
nothing is left of has the value of the empty reduction (0 for sums, 1 for products, the lowest
number for maxima, NaN for means). Errors are those of the function without a mask, and RuntimeError
or IndexError for masks that do not fit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from . import dtypes
from .devices import strided
from .tensor import functions as fl

Dims = int | Sequence[int] | None


# ---------------------------------------------------------------- masks, dimensions and dtypes
def _mask_of(input: Any, mask: Any, name: str) -> Any:
    """The mask in the input's shape, or None if there is none."""
    if mask is None:
        return None
    if mask.ndim > input.ndim:
        raise IndexError(
            f"{name} expected broadcastable mask (got mask dimensionality higher than of the input)"
        )
    if mask.layout is not strided:
        mask = mask.to_dense()
    return fl.broadcast_to(mask.to(dtypes.bool_), input.shape)


def _fill(input: Any, mask: Any, value: Any, name: str) -> Any:
    """`input` with `value` where it is masked out."""
    _check_strided(input, name)
    mask = _mask_of(input, mask, name)
    return input if mask is None else fl.where(mask, input, fl.full_like(input, value))


def _dims(dim: Dims, ndim: int) -> tuple[int, ...]:
    if dim is None:
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if not dims:
        return tuple(range(ndim))
    wrapped = []
    for d in dims:
        if not -max(ndim, 1) <= d < max(ndim, 1):
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-max(ndim, 1)}, "
                f"{max(ndim, 1) - 1}], but got {d})"
            )
        d %= max(ndim, 1)
        if d in wrapped:
            raise RuntimeError(f"dim={d} appears multiple times in the list of dims")
        wrapped.append(d)
    return tuple(wrapped)


def _is_floating(dtype: Any) -> bool:
    return bool(dtype.is_floating_point or dtype.is_complex)


def _summed(input: Any, dtype: Any) -> Any:
    """The dtype of sums: integers become int64."""
    return dtype or (input.dtype if _is_floating(input.dtype) else dtypes.int64)


def _floating(input: Any, dtype: Any) -> Any:
    return dtype or (input.dtype if _is_floating(input.dtype) else dtypes.float32)


def _lowest(dtype: Any) -> Any:
    return -math.inf if dtype.is_floating_point else dtypes.iinfo(dtype).min


def _highest(dtype: Any) -> Any:
    return math.inf if dtype.is_floating_point else dtypes.iinfo(dtype).max


# ---------------------------------------------------------------- sparse tensors
def _check_strided(input: Any, name: str) -> None:
    if input.layout is not strided:
        raise ValueError(f"masked {name} expects strided tensor (got {input.layout} tensor)")


def _takes_sparse(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, a reduction of strided tensors, also of COO and CSR ones: a result of their layout.

    What nothing is left of is not specified in the result.
    """

    @functools.wraps(f)
    def reduce(
        input: Any, dim: Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
    ) -> Any:
        if input.layout is strided:
            return f(input, dim, keepdim=keepdim, dtype=dtype, mask=mask)
        _check_sparse(f.__name__, input, keepdim, mask)
        given = mask
        if mask is None:
            known = input.coalesce() if input.is_sparse else input.to_sparse_coo()
            ones = fl.ones_like(known.values(), dtype=dtypes.bool_)
            given = fl.sparse_coo_tensor(known.indices(), ones, known.shape)
        given = _mask_of(input, given, f.__name__)
        dense = f(input.to_dense(), dim, keepdim=keepdim, dtype=dtype, mask=given)
        left = sum(given, dim, keepdim=keepdim) > 0
        places = fl.nonzero(left).T
        out = fl.sparse_coo_tensor(places, dense[left], dense.shape)
        out = out.coalesce()
        return out if input.is_sparse else out.to_sparse_csr()

    return reduce


def _check_sparse(name: str, input: Any, keepdim: bool, mask: Any) -> None:
    """Refuse what there is no sparse reduction for."""
    if name == "mean" and input.is_sparse:
        raise ValueError(
            f"masked mean expects strided or sparse_csr tensor (got {input.layout} tensor)"
        )
    if not input.is_sparse and not input.is_sparse_csr:
        raise ValueError(f"masked {name} expects strided tensor (got {input.layout} tensor)")
    if mask is None and name != "sum":
        kind = str(input.layout).removeprefix("torch.")
        raise ValueError(f"masked {name} expects explicit mask for {kind} tensor input")
    if input.is_sparse_csr and not keepdim:
        kind_of_error = RuntimeError if name in ("sum", "prod") else AssertionError
        raise kind_of_error("reduction operations on CSR tensors with keepdim=False is unsupported")


# ---------------------------------------------------------------- reductions
@_takes_sparse
def sum(
    input: Any, dim: Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The sum of the unmasked elements along `dim` (default: all)."""
    x = _fill(input.to(_summed(input, dtype)), mask, 0, "sum")
    return fl.sum(x, _dims(dim, input.ndim), keepdim, dtype=x.dtype)


@_takes_sparse
def prod(
    input: Any, dim: Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The product of the unmasked elements along `dim` (default: all)."""
    x = _fill(input.to(_summed(input, dtype)), mask, 1, "prod")
    for d in sorted(_dims(dim, input.ndim), reverse=True):
        x = fl.prod(x, d, bool(keepdim)) if input.ndim else x
    return x


@_takes_sparse
def amax(
    input: Any, dim: Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The largest unmasked element along `dim` (default: all)."""
    x = input if dtype is None else input.to(dtype)
    x = _fill(x, mask, _lowest(x.dtype), "amax")
    return fl.amax(x, _dims(dim, input.ndim), bool(keepdim))


@_takes_sparse
def amin(
    input: Any, dim: Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The smallest unmasked element along `dim` (default: all)."""
    x = input if dtype is None else input.to(dtype)
    x = _fill(x, mask, _highest(x.dtype), "amin")
    return fl.amin(x, _dims(dim, input.ndim), bool(keepdim))


def argmax(
    input: Any,
    dim: int | None = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Any = None,
) -> Any:
    """The index of the largest unmasked element along `dim` (default: of the flat input).

    PyTorch gives it in the input's dtype (or `dtype`), and so does this.
    """
    x = input if dtype is None else input.to(dtype)
    return fl.argmax(_fill(x, mask, _lowest(x.dtype), "argmax"), dim, bool(keepdim)).to(x.dtype)


def argmin(
    input: Any,
    dim: int | None = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Any = None,
) -> Any:
    """The index of the smallest unmasked element along `dim` (default: of the flat input)."""
    x = input if dtype is None else input.to(dtype)
    return fl.argmin(_fill(x, mask, _highest(x.dtype), "argmin"), dim, bool(keepdim)).to(x.dtype)


def _count(input: Any, mask: Any, dims: tuple[int, ...], keepdim: bool, dtype: Any) -> Any:
    """How many elements each reduction sees."""
    ones = fl.ones_like(input, dtype=dtypes.int64)
    return sum(ones, dims, keepdim=keepdim, mask=mask).to(dtype)


@_takes_sparse
def mean(
    input: Any, dim: Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The mean of the unmasked elements along `dim` (default: all); floats or complex only."""
    dtype = dtype or input.dtype
    if not _is_floating(dtype):
        raise ValueError(
            "mean(): Could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {input.dtype}"
        )
    dims = _dims(dim, input.ndim)
    if mask is None:
        return fl.mean(input, dims, bool(keepdim), dtype=dtype)
    total = sum(input, dims, keepdim=keepdim, dtype=dtype, mask=mask)
    return total / _count(input, mask, dims, bool(keepdim), total.dtype)


def median(
    input: Any, dim: int = -1, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The lower median of the unmasked elements along `dim`; NaN where there is none."""
    _check_strided(input, "median")
    x = input.to(dtype or input.dtype)
    if not x.dtype.is_floating_point:
        raise ValueError(f"median() expects a floating point input, got {x.dtype}")
    if mask is None:
        return fl.nanmedian(x, dim, keepdim)[0]
    if not fl.holds(fl.logical_not(fl.isnan(x).any())):
        raise ValueError("masked.median expected no NaN values in its input")
    return fl.nanmedian(_fill(x, mask, math.nan, "median"), dim, keepdim)[0]


def logsumexp(
    input: Any, dim: Dims = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The logarithm of the sum of exponentials of the unmasked elements along `dim`."""
    x = input.to(_floating(input, dtype))
    x = _fill(x, mask, -math.inf, "logsumexp")
    return fl.logsumexp(x, _dims(dim, input.ndim), bool(keepdim)).to(dtype or input.dtype)


def norm(
    input: Any,
    ord: float | None = 2.0,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Any = None,
) -> Any:
    """The vector norm of order `ord` of the unmasked elements along `dim` (default: all)."""
    x = input.to(_floating(input, dtype))
    power = 2.0 if ord is None else ord
    x = _fill(x, mask, math.inf if power < 0 else 0, "norm")
    return fl.linalg_vector_norm(x, power, _dims(dim, input.ndim), bool(keepdim))


def _variance(
    input: Any, dim: Dims, correction: float, keepdim: bool, dtype: Any, mask: Any
) -> Any:
    _check_strided(input, "std/var")
    x = input.to(_floating(input, dtype))
    dims = _dims(dim, input.ndim)
    count = _count(input, mask, dims, True, x.dtype)
    centred = x - sum(x, dims, keepdim=True, mask=mask) / count
    squares = (centred * centred.conj()).real if x.dtype.is_complex else centred * centred
    total = sum(squares, dims, keepdim=keepdim, mask=mask)
    freedom = _count(input, mask, dims, keepdim, total.dtype) - correction
    return (total / fl.maximum(freedom, fl.zeros_like(freedom))).to(x.dtype)


def _correction(unbiased: bool | None, correction: float | None) -> float:
    if unbiased is not None and correction is not None:
        raise ValueError("Only one of unbiased and correction may be given")
    if correction is not None:
        return correction
    return 0 if unbiased is False else 1


def var(
    input: Any,
    dim: Dims = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Any = None,
) -> Any:
    """The variance of the unmasked elements along `dim` (default: all)."""
    free = _correction(unbiased, correction)
    return _variance(input, dim, free, bool(keepdim), dtype, mask)


def std(
    input: Any,
    dim: Dims = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Any = None,
) -> Any:
    """The standard deviation of the unmasked elements along `dim` (default: all)."""
    free = _correction(unbiased, correction)
    return fl.sqrt(_variance(input, dim, free, bool(keepdim), dtype, mask))


# ---------------------------------------------------------------- scans and normalisations
def cumsum(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """Running sums along `dim`, as if masked elements were 0."""
    return fl.cumsum(_fill(input.to(_summed(input, dtype)), mask, 0, "cumsum"), dim)


def cumprod(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """Running products along `dim`, as if masked elements were 1."""
    return fl.cumprod(_fill(input.to(_summed(input, dtype)), mask, 1, "cumprod"), dim)


def softmax(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """The softmax of the unmasked elements along `dim`; masked ones get 0."""
    x = input.to(_floating(input, dtype))
    return fl.softmax(_fill(x, mask, -math.inf, "softmax"), dim)


def log_softmax(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """The logarithm of `softmax`; masked elements get minus infinity."""
    x = input.to(_floating(input, dtype))
    return fl.log_softmax(_fill(x, mask, -math.inf, "log_softmax"), dim)


def softmin(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """The softmax of the negated unmasked elements along `dim`; masked ones get 0."""
    x = input.to(_floating(input, dtype))
    return fl.softmax(-_fill(x, mask, math.inf, "softmin"), dim)


def normalize(
    input: Any, ord: float, dim: int, *, eps: float = 1e-12, dtype: Any = None, mask: Any = None
) -> Any:
    """The unmasked elements over their norm along `dim` (at least `eps`); masked ones get 0."""
    x = _fill(input.to(_floating(input, dtype)), mask, 0, "normalize")
    length = norm(x, ord, dim, keepdim=True, mask=mask)
    return x / fl.clamp(length, min=eps)


def logaddexp(
    input: Any, other: Any, *, dtype: Any = None, input_mask: Any = None, other_mask: Any = None
) -> Any:
    """log(exp(input) + exp(other)); a masked element counts as minus infinity."""
    dtype = dtype or input.dtype
    if input.dtype != other.dtype:
        raise ValueError(f"logaddexp: the inputs have dtypes {input.dtype} and {other.dtype}")
    x = _fill(input.to(dtype), input_mask, -math.inf, "logaddexp")
    y = _fill(other.to(dtype), other_mask, -math.inf, "logaddexp")
    return fl.logaddexp(x, y)


__all__ = [
    "amax",
    "amin",
    "argmax",
    "argmin",
    "cumprod",
    "cumsum",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "mean",
    "median",
    "norm",
    "normalize",
    "prod",
    "softmax",
    "softmin",
    "std",
    "sum",
    "var",
]
