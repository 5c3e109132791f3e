"""What ops do with jagged tensors: most compute on the packed values as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...autograd.grad_mode import FAST
from ...backends.nested import Jagged
from ...ops.record import Op
from ...ops.shapes import wrap_dim
from ..composed import values_of, with_values
from ..core import TensorCore, array_of, from_array
from .tensor import NestedTensor, members

RULES: dict[str, Callable[..., Any]] = {}


def interpret(op: Op, arguments: dict[str, Any]) -> Any:
    """The value of `op` of jagged tensors; NotImplementedError where there is no rule."""
    rule = RULES.get(op.name)
    if rule is not None:
        return rule(**arguments)
    if op.family == "pointwise" or op.name in _ELEMENTWISE:
        return _elementwise(op, arguments)
    raise NotImplementedError(f"aten.{op.name}.default is not implemented for jagged tensors")


def compacted(x: Any) -> Any:
    """`x` with nothing between its members."""
    raw = array_of(x)
    if raw.lengths is None:
        return x
    return from_members(members(x), raw.ragged)


def from_members(parts: list[Any], ragged: int, like: Any = None) -> Any:
    """The jagged tensor of `parts`, packed along dimension `ragged` of the whole.

    `like` is a jagged array with members of the same lengths: its ragged size is kept.
    """
    values = FAST["F"].cat(parts, ragged - 1)
    if like is not None and like.lengths is None:
        return with_values(like.moved(array_of(values), ragged), values)
    ends = np.cumsum([0, *(p.shape[ragged - 1] for p in parts)]).astype(np.int64)
    return with_values(Jagged(array_of(values), ends, ragged), values)


def _with(raw: Any, values: Any, ragged: int | None = None) -> Any:
    """Other values with the members of `raw`."""
    moved = raw.moved(array_of(values), raw.ragged if ragged is None else ragged)
    return with_values(moved, values)


def _jagged(x: Any) -> bool:
    return isinstance(x, NestedTensor) and isinstance(array_of(x), Jagged)


# ---------------------------------------------------------------- element by element
_ELEMENTWISE = (
    *("to_dtype", "clone", "select_where", "masked_fill_number", "masked_fill_tensor"),
    *("nan_to_num", "isclose", "floating", "dropout_noise", "zero", "copy", "fill"),
)


def _elementwise(op: Op, arguments: dict[str, Any]) -> Any:
    tensors = [x for n, x in arguments.items() if n in op.tensors and isinstance(x, TensorCore)]
    nested = [x for x in tensors if _jagged(x)]
    if len(nested) != sum(isinstance(x, NestedTensor) for x in tensors):
        raise RuntimeError(f"{op.name}: jagged and strided nested tensors cannot be combined")
    first = nested[0]
    raw = array_of(first)
    given = {
        n: _fitted(op, x, raw, first) if n in op.tensors and isinstance(x, TensorCore) else x
        for n, x in arguments.items()
    }
    return _with(raw, call(op, given))


def call(op: Op, arguments: dict[str, Any]) -> Any:
    """The public function of `op`, called by the names of its parameters."""
    positional, keyword = [], {}
    for n, p in op.signature.parameters.items():
        if n in arguments:
            if p.kind is p.KEYWORD_ONLY or keyword:
                keyword[n] = arguments[n]
            else:
                positional.append(arguments[n])
    return getattr(FAST["F"], op.name)(*positional, **keyword)


def _fitted(op: Op, x: Any, raw: Any, first: Any) -> Any:
    """The operand `x` in a shape that goes with the packed values of `raw`."""
    if isinstance(x, NestedTensor):
        other = array_of(x)
        if other.offsets is raw.offsets and other.ragged == raw.ragged:
            return values_of(x)
        raise _unfit(op, first, x)
    from_end = raw.ndim - raw.ragged  # which dimension, counted from the end, is the ragged one
    sized = x.ndim >= from_end and x.shape[-from_end] != 1
    if sized or x.ndim > raw.ndim:
        raise _unfit(op, first, x)
    if x.ndim < raw.ndim or x.shape[0] == 1:
        return x if x.ndim < raw.ndim else x.squeeze(0)
    if x.shape[0] != len(raw.offsets) - 1:
        raise _unfit(op, first, x)
    rows = x.squeeze(raw.ragged)
    spread = FAST["F"].index_select(rows, 0, from_array(raw.owners))
    return spread if raw.ragged == 1 else FAST["F"].movedim(spread, 0, raw.ragged - 1)


def _unfit(op: Op, a: Any, b: Any) -> RuntimeError:
    return RuntimeError(
        f"cannot call binary pointwise function {op.name}.Tensor with inputs of shapes "
        f"{tuple(a.shape)} and {tuple(b.shape)}"
    )


# ---------------------------------------------------------------- reductions
def _inner(x: Any, dim: int) -> int:
    """The dimension of the values that `dim` of the whole is."""
    return wrap_dim(dim, x.ndim) - 1


def _reduction(name: str) -> Callable[..., Any]:
    def rule(input: Any, dim: Any = None, keepdim: bool = False, **rest: Any) -> Any:
        F = FAST["F"]
        function = getattr(F, name)
        x = compacted(input)
        raw = array_of(x)
        if dim is None or (isinstance(dim, (tuple, list)) and not dim):
            return function(values_of(x), **rest)
        dims = dim if isinstance(dim, (tuple, list)) else [dim]
        chosen = {wrap_dim(d, x.ndim) for d in dims}
        if 0 in chosen and raw.ragged not in chosen:
            raise RuntimeError(
                f"{name}(): reducing along the batch dimension but not the ragged dimension is not "
                "supported for nested tensors"
            )
        if raw.ragged in chosen:
            if 0 in chosen:
                inner = [d - 1 for d in chosen if d]
                out = function(values_of(x), inner, keepdim, **rest)
                return out.unsqueeze(0) if keepdim else out
            if len(chosen) > 1:
                raise RuntimeError(
                    f"{name}(): reducing along a ragged and non-batch dimension is not supported "
                    "for nested tensors"
                )
            d = raw.ragged - 1
            return _stacked([function(m, d, keepdim, **rest) for m in members(x)])
        inner = [d - 1 for d in chosen]
        where = inner if isinstance(dim, (tuple, list)) else inner[0]
        out = function(values_of(x), where, keepdim, **rest)
        gone = 0 if keepdim else sum(d < raw.ragged for d in chosen)
        if isinstance(out, tuple):
            return type(out)(*(_with(raw, o, raw.ragged - gone) for o in out))
        return _with(raw, out, raw.ragged - gone)

    return rule


def _stacked(results: list[Any]) -> Any:
    F = FAST["F"]
    if not isinstance(results[0], tuple):
        return F.stack(results)
    return type(results[0])(*(F.stack(list(c)) for c in zip(*results, strict=True)))


def _all_of(name: str) -> Callable[..., Any]:
    return lambda input: getattr(FAST["F"], name)(values_of(compacted(input)))


def _softmax(name: str) -> Callable[..., Any]:
    def rule(input: Any, dim: int, dtype: Any = None) -> Any:
        function = getattr(FAST["F"], name)
        raw = array_of(input)
        d = wrap_dim(dim, input.ndim)
        if d == 0:
            raise RuntimeError(
                f"{name}(): not supported when reducing across the batch dimension for NestedTensor"
            )
        if d != raw.ragged:
            return _with(raw, function(values_of(input), d - 1, dtype))
        parts = [function(m, d - 1, dtype) for m in members(input)]
        return from_members(parts, raw.ragged, raw)

    return rule


# ---------------------------------------------------------------- networks
def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    raw = array_of(input)
    if not _jagged(input) or raw.ragged == raw.ndim - 1:
        raise RuntimeError("linear(): the ragged dimension cannot be the last one")
    return _with(raw, FAST["F"].linear(values_of(input), weight, bias))


def _matmul(input: Any, other: Any) -> Any:
    if _jagged(input) and not isinstance(other, NestedTensor) and other.ndim <= 2:
        raw = array_of(input)
        if raw.ragged < raw.ndim - 1 and (other.ndim == 2 or raw.ndim == 2):
            return _with(raw, FAST["F"].matmul(values_of(input), other))
    return _by_member("matmul", input, other)


def _by_member(name: str, input: Any, other: Any) -> Any:
    """A product of each member of one operand with the member, or slice, of the other."""
    F = FAST["F"]
    a, b = (list(F.unbind(t, 0)) for t in (input, other))
    shapes = f"{tuple(input.shape)} and {other.shape}"
    if len(a) != len(b) or (not input.ndim == other.ndim >= 3):
        raise RuntimeError(f"{name}(): not supported between inputs of shapes {shapes}")
    ragged = [array_of(t).ragged - t.ndim if _jagged(t) else None for t in (input, other)]
    if ragged[0] == -2 and ragged[1] == -1:
        raise RuntimeError(f"{name}(): not supported between inputs of shapes {shapes}")
    products = [F.matmul(x, y) for x, y in zip(a, b, strict=True)]
    raw = array_of(input if _jagged(input) else other)
    outer = [r for r in ragged if r is not None and r < -2]
    if ragged[0] == -2 or outer:
        return from_members(products, raw.ragged, raw)
    if ragged[1] == -1:
        return from_members(products, other.ndim - 1, array_of(other))
    return F.stack(products)


def _bmm(input: Any, mat2: Any) -> Any:
    return _by_member("bmm", input, mat2)


def _norm(name: str) -> Callable[..., Any]:
    def rule(input: Any, normalized_shape: Any, *args: Any, **kwargs: Any) -> Any:
        raw = array_of(input)
        if raw.ragged > raw.ndim - 1 - len(tuple(normalized_shape)):
            raise RuntimeError(
                f"{name}(): normalizing over the ragged dimension not supported for nested tensors"
            )
        values = getattr(FAST["F"], name)(values_of(input), normalized_shape, *args, **kwargs)
        return _with(raw, values)

    return rule


def _embedding(weight: Any, indices: Any, **options: Any) -> Any:
    if not _jagged(indices):
        raise RuntimeError("embedding(): the table cannot be nested")
    return _with(array_of(indices), FAST["F"].embedding(weight, values_of(indices), **options))


_ATTENTION = "scaled_dot_product_attention"


def attended(query: Any, key: Any, value: Any, mask: Any, options: dict[str, Any]) -> Any:
    """Attention of each member of the query to the same member of key and value."""
    if mask is not None:
        raise RuntimeError(f"{_ATTENTION}: a mask is not supported for nested tensors")
    tensors = (query, key, value)
    if not all(isinstance(t, NestedTensor) for t in tensors):
        raise RuntimeError(f"{_ATTENTION}: query, key and value must all be nested")
    if len({t.ndim for t in tensors}) != 1 or query.ndim not in (3, 4):
        raise RuntimeError(f"{_ATTENTION}: expected nested tensors of 3 or 4 dimensions")
    raw = array_of(query)
    lists = [members(t) for t in tensors]
    if len({len(m) for m in lists}) != 1:
        raise RuntimeError(f"{_ATTENTION}: the batches differ in size")
    function = FAST["F"].scaled_dot_product_attention
    parts = [
        function(*(t.unsqueeze(0) for t in three), **options).squeeze(0)
        for three in zip(*lists, strict=True)
    ]
    if isinstance(raw, Jagged):
        return from_members(parts, raw.ragged, raw)
    from .parts import from_parts

    return from_parts(parts)


RULES.update(
    {name: _reduction(name) for name in ("sum", "mean", "amax", "amin", "prod", "any", "all")},
    argmax=_reduction("argmax"),
    argmin=_reduction("argmin"),
    max_all=_all_of("max"),
    min_all=_all_of("min"),
    max_dim=_reduction("max"),
    min_dim=_reduction("min"),
    softmax=_softmax("softmax"),
    log_softmax=_softmax("log_softmax"),
    linear=_linear,
    matmul=_matmul,
    mm=_matmul,
    bmm=_bmm,
    layer_norm=_norm("layer_norm"),
    rms_norm_rows=_norm("rms_norm_rows"),
    embedding=_embedding,
)

from . import shapes  # noqa: E402  (its rules need those above)

RULES.update(shapes.RULES)
