"""What element-wise ops do with sparse tensors. RULES holds the rules of all kinds of op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import devices
from ...autograd.grad_mode import FAST
from ...backends.sparse import COMPRESSED, Coordinates, places, to_coordinates
from ..composed import record, renamed, values_of, with_values
from ..core import TensorCore, array_of, from_array
from . import products, structure
from .layouts import coalesce, elements, settled
from .tensor import SparseTensor, unsupported

RULES: dict[str, Callable[..., Any]] = {}

# These give 0 for 0. The linear ones act on each of several values at one place by itself.
_LINEAR = ("neg", "positive", "conj", "conj_physical", "deg2rad", "rad2deg", "floating")
_ZERO_TO_ZERO = (
    *("abs", "angle", "asin", "asinh", "atan", "atanh", "ceil", "erf", "erfinv", "expm1"),
    *("floor", "frac", "isinf", "isnan", "isneginf", "isposinf", "log1p", "nan_to_num", "relu"),
    *("round", "sgn", "sign", "signbit", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc"),
)


def _unary(name: str, linear: bool) -> Callable[..., Any]:
    def rule(input: Any, **params: Any) -> Any:
        x = settled(input) if linear else coalesce(input)
        values = getattr(FAST["F"], name)(values_of(x), **params)
        title = "".join(part.capitalize() for part in name.split("_"))
        return renamed(with_values(array_of(x), values), f"{title}Backward0")

    return rule


RULES.update({name: _unary(name, True) for name in _LINEAR})
RULES.update({name: _unary(name, False) for name in _ZERO_TO_ZERO})


# ---------------------------------------------------------------- two operands
def _is_number(x: Any) -> bool:
    return not isinstance(x, TensorCore) or (x.ndim == 0 and not isinstance(x, SparseTensor))


def _on_values(name: str, x: Any, other: Any, label: str, **params: Any) -> Any:
    """`x` with the values ``op(values, other)`` for a number `other`."""
    x = settled(x)
    values = getattr(FAST["F"], name)(values_of(x), other, **params)
    return renamed(with_values(array_of(x), values), label)


def _add(input: Any, other: Any, alpha: Any = 1) -> Any:
    if not isinstance(other, TensorCore) or not isinstance(input, TensorCore):
        x = input if isinstance(input, TensorCore) else other
        if x.layout is devices.sparse_coo:
            raise RuntimeError(
                "add(sparse, dense) is not supported. Use add(dense, sparse) instead."
            )
        raise RuntimeError(
            "add: expected 'self' and 'other' to have same size, but self has size [] while other "
            f"has size {list(x.shape)} (FYI: op2-sparse addition does not currently support "
            "broadcasting)"
        )
    if not isinstance(other, SparseTensor):
        if input.layout is devices.sparse_coo:
            raise RuntimeError(
                "add(sparse, dense) is not supported. Use add(dense, sparse) instead."
            )
        return _dense_plus(other * alpha if alpha != 1 else other, input, 1)
    if not isinstance(input, SparseTensor):
        return _dense_plus(input, other, alpha)
    _check_same_size("add", input, other)
    dtype = FAST["F"].result_type(input, other)
    a, b = (t if t.dtype is dtype else t.to(dtype) for t in (input, other))
    out = from_array(array_of(a).added(array_of(b), alpha))
    scaled = _scaling(alpha)
    return record(out, "AddBackward0", [(a, lambda g: g), (b, scaled)])


def _scaling(alpha: Any) -> Callable[[Any], Any]:
    """The rule for an operand that was multiplied by a number."""
    factor = alpha.conjugate() if isinstance(alpha, complex) else alpha
    return lambda g: g if alpha == 1 else g * factor


def _check_same_size(name: str, a: Any, b: Any) -> None:
    if a.shape != b.shape:
        raise RuntimeError(
            f"{name}: expected sizes of 'self' and 'other' to match, but {list(a.shape)} != "
            f"{list(b.shape)}"
        )


def _dense_plus(dense: Any, x: Any, alpha: Any) -> Any:
    if dense.shape != x.shape:
        raise RuntimeError(
            "add: expected 'self' and 'other' to have same size, but self has size "
            f"{list(dense.shape)} while other has size {list(x.shape)} (FYI: dense-sparse addition "
            "does not currently support broadcasting)"
        )
    dtype = FAST["F"].result_type(dense, x)
    a = dense.to(dtype)
    total = array_of(a).copy()
    array_of(x.to(dtype)).added_to(total, alpha)
    rules = [(a, lambda g: g), (x, _scaling(alpha))]
    return record(from_array(total), "AddBackward0", rules)


def _sub(input: Any, other: Any, alpha: Any = 1) -> Any:
    compressed = any(getattr(t, "layout", None) in COMPRESSED for t in (input, other))
    if compressed and isinstance(input, SparseTensor):
        raise RuntimeError(f"unsupported tensor layout: {input.layout} (sub)")
    return renamed(_add(input, other, -alpha), "SubBackward0")


def _rsub(input: Any, other: Any, alpha: Any = 1) -> Any:
    return _sub(other, input, alpha)


def _mul(input: Any, other: Any) -> Any:
    x, y = (input, other) if isinstance(input, SparseTensor) else (other, input)
    if _is_number(y):
        return _on_values("mul", x, y, "MulBackward0")
    if not isinstance(y, SparseTensor):
        shape = FAST["F"].broadcast_shapes(tuple(x.shape), tuple(y.shape))
        if tuple(shape) != tuple(x.shape):
            raise RuntimeError(
                f"mul(sparse, dense): the sparse tensor of shape {list(x.shape)} cannot be "
                f"broadcast to {list(shape)}"
            )
        x = settled(x)
        raw = array_of(x)
        values = values_of(x) * SparseTensor.pick(y.expand(shape), raw)
        return renamed(with_values(raw, values), "MulBackward0")
    return renamed(_intersection(x, y), "MulBackward0")


def _intersection(x: Any, y: Any) -> Any:
    """The product of two sparse tensors, where both have elements."""
    if x.shape != y.shape:
        raise RuntimeError(
            f"mul operands have incompatible sizes: {list(x.shape)} and {list(y.shape)}"
        )
    x, y = settled(x), coalesce(y)
    raw, right = array_of(x), array_of(y)
    if raw.shares_pattern(right) and raw.is_unique:
        return with_values(raw, values_of(x) * values_of(y))
    if raw.layout in COMPRESSED and right.layout not in COMPRESSED:
        raise unsupported("mul", raw.layout)
    at, values = elements(x)
    sizes = raw.sparse_sizes
    known = places(to_coordinates(right).indices, sizes)
    kept = np.flatnonzero(np.isin(places(at, sizes), known))
    values = FAST["F"].index_select(values, 0, from_array(kept))
    coo = to_coordinates(raw)
    part = Coordinates(at[:, kept], array_of(values), raw.shape, coo.coalesced)
    product = with_values(part, values * SparseTensor.pick(y, part))
    return product if raw.layout not in COMPRESSED else product.to_sparse(layout=raw.layout)


def _divided(name: str, label: str) -> Callable[..., Any]:
    def rule(input: Any, other: Any) -> Any:
        if not isinstance(input, SparseTensor) or not _is_number(other):
            got = list(getattr(other, "shape", ()))
            raise RuntimeError(
                "Sparse division requires a scalar or zero-dim dense tensor divisor (got shape "
                f"{got} for divisor)"
            )
        if input.layout in COMPRESSED:
            raise RuntimeError(f"unsupported tensor layout: {input.layout} ({name})")
        x = input if name == "true_divide" else coalesce(input)
        return _on_values(name, x, other, label)

    return rule


def _pow(input: Any, exponent: Any) -> Any:
    if not isinstance(input, SparseTensor) or not _is_number(exponent):
        raise unsupported("pow", devices.sparse_coo)
    if input.layout in COMPRESSED:
        raise unsupported("pow", input.layout)
    if float(exponent) == 0:
        raise RuntimeError(
            "pow: cannot raise to zeroth power on sparse tensor; it would make the result tensor "
            "dense"
        )
    return _on_values("pow", coalesce(input), exponent, "PowBackward0")


def _to_dtype(input: Any, dtype: Any) -> Any:
    x = settled(input)
    return renamed(
        with_values(array_of(x), FAST["F"].to_dtype(values_of(x), dtype)), "ToCopyBackward0"
    )


def _clone(input: Any, memory_format: Any = None) -> Any:
    raw = array_of(input)
    out = from_array(raw.with_values(raw.values.copy()))
    return record(out, "CloneBackward0", [(input, lambda g: g)])


def _zero(input: Any) -> Any:
    return structure.empty_like(input)


def _copy(input: Any, src: Any, non_blocking: bool = False) -> Any:
    if not isinstance(input, SparseTensor) or not isinstance(src, SparseTensor):
        kinds = (input.type(), src.type())
        raise RuntimeError(
            "copy_() between dense and sparse Tensors is not implemented! Found self type = "
            f"{kinds[0]} and src type = {kinds[1]}"
        )
    if input.layout is not src.layout:
        raise RuntimeError("copy_: only sparse tensors of the same layout can be copied")
    return _clone(src.to(input.dtype))


def _reshape(input: Any, shape: Any) -> Any:
    raise RuntimeError("reshape is not implemented for sparse tensors")


RULES.update(
    reshape=_reshape,
    add=_add,
    sub=_sub,
    rsub=_rsub,
    mul=_mul,
    true_divide=_divided("true_divide", "DivBackward0"),
    floor_divide=_divided("floor_divide", "FloorDivideBackward0"),
    pow=_pow,
    to_dtype=_to_dtype,
    clone=_clone,
    zero=_zero,
    copy=_copy,
    **structure.RULES,
    **products.RULES,
)
