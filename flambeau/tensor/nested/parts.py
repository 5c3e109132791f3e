"""What ops do with strided nested tensors: element-wise on the flat values, else by member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...autograd.grad_mode import FAST
from ...backends.nested import Parts
from ...ops.record import Op
from ...ops.shapes import wrap_dim
from ..composed import values_of, with_values
from ..core import TensorCore, array_of
from .packed import call
from .tensor import NestedTensor, members

RULES: dict[str, Callable[..., Any]] = {}
_ELEMENTWISE = ("to_dtype", "clone", "floating", "dropout_noise", "nan_to_num", "zero", "copy")


def interpret(op: Op, arguments: dict[str, Any]) -> Any:
    """The value of `op` of nested tensors; NotImplementedError where there is no rule."""
    rule = RULES.get(op.name)
    if rule is not None:
        return rule(**arguments)
    if op.family == "pointwise" or op.name in _ELEMENTWISE:
        return _elementwise(op, arguments)
    raise NotImplementedError(
        f"Could not run 'aten::{op.name}' with arguments from the 'NestedTensorCPU' backend"
    )


def from_parts(tensors: list[Any]) -> Any:
    """The nested tensor of these members, through which gradients flow."""
    sizes = [tuple(t.shape) for t in tensors]
    values = FAST["F"].cat([t.reshape(-1) for t in tensors])
    return with_values(Parts(array_of(values), sizes), values)


def _elementwise(op: Op, arguments: dict[str, Any]) -> Any:
    given = [x for n, x in arguments.items() if n in op.tensors and isinstance(x, TensorCore)]
    raw = array_of(next(x for x in given if isinstance(x, NestedTensor)))
    simple = True
    for x in given:
        if isinstance(x, NestedTensor) and getattr(array_of(x), "sizes", None) != raw.sizes:
            raise RuntimeError(
                f"{op.name} does not support broadcasting when given a NestedTensor: the members' "
                "sizes differ"
            )
        simple = simple and (isinstance(x, NestedTensor) or x.ndim == 0)
    if simple:
        flat = {n: values_of(x) if isinstance(x, NestedTensor) else x for n, x in arguments.items()}
        return with_values(raw, call(op, flat))
    spread = {
        n: list(FAST["F"].unbind(x, 0)) if isinstance(x, TensorCore) and x.ndim else x
        for n, x in arguments.items()
    }
    return from_parts(
        [
            call(op, {n: x[i] if isinstance(x, list) else x for n, x in spread.items()})
            for i in range(len(raw.sizes))
        ]
    )


def _dim(x: Any, dim: int, name: str) -> int:
    """The members' dimension that `dim` of the whole is."""
    d = wrap_dim(dim, x.ndim)
    if d == 0:
        raise RuntimeError(f"{name}: the batch dimension of a nested tensor cannot be worked on")
    return d - 1


def _mapped(x: Any, function: Callable[[Any], Any]) -> Any:
    return from_parts([function(m) for m in members(x)])


def _unbind(input: Any, dim: int = 0) -> Any:
    if dim not in (0, -input.ndim):
        raise RuntimeError("NestedTensor can only be unbound along dimension 0")
    F, raw, values = FAST["F"], array_of(input), values_of(input)
    bounds = raw.bounds
    return tuple(
        F.narrow(values, 0, a, b - a).reshape(s)
        for a, b, s in zip(bounds, bounds[1:], raw.sizes, strict=False)
    )


def _basic_index(input: Any, key: Any) -> Any:
    return input[key]


def _softmax(name: str) -> Callable[..., Any]:
    def rule(input: Any, dim: int, dtype: Any = None) -> Any:
        d = _dim(input, dim, name)
        return _mapped(input, lambda m: getattr(FAST["F"], name)(m, d, dtype))

    return rule


def _sum(input: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    if dim is None:
        return FAST["F"].sum(values_of(input), dtype=dtype)
    if not keepdim:
        raise RuntimeError("NestedTensor always requires keepdim=True for now.")
    dims = dim if isinstance(dim, (tuple, list)) else [dim]
    inner = [_dim(input, d, "sum") for d in dims]
    return _mapped(input, lambda m: m.sum(inner, True, dtype=dtype))


def _transpose(input: Any, dim0: int, dim1: int) -> Any:
    a, b = _dim(input, dim0, "transpose"), _dim(input, dim1, "transpose")
    return _mapped(input, lambda m: m.transpose(a, b))


def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    return _mapped(input, lambda m: FAST["F"].linear(m, weight, bias))


def _matmul(input: Any, other: Any) -> Any:
    F = FAST["F"]
    fits = other.ndim <= 2 or len(other) == len(input)
    if not fits or not isinstance(input, NestedTensor):
        raise RuntimeError("matmul: nested tensors of different batches cannot be multiplied")
    if not isinstance(other, NestedTensor) and other.ndim <= 2:
        return _mapped(input, lambda m: F.matmul(m, other))
    pairs = zip(members(input), F.unbind(other, 0), strict=True)
    return from_parts([F.matmul(a, b) for a, b in pairs])


def _layer_norm(input: Any, normalized_shape: Any, *args: Any, **kwargs: Any) -> Any:
    return _mapped(input, lambda m: FAST["F"].layer_norm(m, normalized_shape, *args, **kwargs))


def _embedding(weight: Any, indices: Any, **options: Any) -> Any:
    return _mapped(indices, lambda m: FAST["F"].embedding(weight, m, **options))


RULES.update(
    unbind=_unbind,
    basic_index=_basic_index,
    softmax=_softmax("softmax"),
    log_softmax=_softmax("log_softmax"),
    sum=_sum,
    transpose=_transpose,
    linear=_linear,
    matmul=_matmul,
    bmm=_matmul,
    layer_norm=_layer_norm,
    embedding=_embedding,
)
