"""Attention: every query's average of the values, weighted by how well the keys fit it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu import attention as kernels
from .promotion import lifted, widened
from .record import Array, composite, structured

_FLOATS = (*dtypes.HALF, dtypes.float32, dtypes.float64)


def _check(query: Any, key: Any, value: Any, enable_gqa: bool) -> None:
    shapes = f"{list(query.shape)}, {list(key.shape)} and {list(value.shape)}"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query, key, and value to all be at least 2 "
            f"dimensional, but got shapes {shapes}"
        )
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            "scaled_dot_product_attention: query and key must have the same last size, key and "
            f"value the same last but one; got shapes {shapes}"
        )
    if enable_gqa and (min(query.ndim, key.ndim) < 3 or query.shape[-3] % key.shape[-3]):
        raise RuntimeError(
            "scaled_dot_product_attention: the query's heads are not a multiple of the key's; got "
            f"shapes {shapes}"
        )
    own = -3 if enable_gqa else -2
    try:
        np.broadcast_shapes(*(tuple(x.shape[:own]) for x in (query, key, value)))
    except ValueError:
        raise RuntimeError(
            "scaled_dot_product_attention: the leading sizes of query, key and value do not match; "
            f"got shapes {shapes}"
        ) from None


# ---------------------------------------------------------------- written out
def _score_mask(m: Any, scores: Any, attn_mask: Any, is_causal: bool) -> Any:
    if is_causal:
        scores = m.causal_scores(scores)
    if attn_mask is None:
        return scores
    if str(m.dtype(attn_mask)).endswith("bool"):
        return m.where(attn_mask, scores, -math.inf)
    return scores + attn_mask


@structured(method=False, grad={"input": lambda m, g: m.tril(g)})
def causal_scores(input: Array) -> Array:
    """-inf above the diagonal, which starts at the first row and column whatever the sizes."""
    return np.where(np.tri(*input.shape[-2:], dtype=np.bool_), input, input.dtype.type(-np.inf))


def _attend_by_pieces(
    m: Any, query: Any, key: Any, value: Any, attn_mask: Any, is_causal: bool, scale: float,
    dropout_p: float = 0.0,
) -> Any:  # fmt: skip
    """The definition, in ops that have derivatives of any order."""
    kind = m.dtype(query)
    query, key, value = lifted(m, query, key, value)
    if _is_grouped(query, key, value):
        key, value = (_repeat_heads(m, x, query.shape[-3]) for x in (key, value))
    scores = m.matmul(query * scale, m.transpose(key, -2, -1))
    weights = m.softmax(_score_mask(m, scores, attn_mask, is_causal), -1)
    if attn_mask is not None:  # a row without any key attends to nothing
        weights = m.where(weights == weights, weights, 0.0)
    if dropout_p > 0:
        weights = m.dropout(weights, dropout_p, True)
    out = m.matmul(weights, value)
    return out if m.dtype(out) is kind else m.cast(out, kind)


def _is_grouped(query: Any, key: Any, value: Any) -> bool:
    """Whether one key head serves several query heads."""
    if min(query.ndim, key.ndim, value.ndim) < 3 or key.shape[-3] != value.shape[-3]:
        return False
    heads, own = query.shape[-3], key.shape[-3]
    return heads != own and own > 0 and heads % own == 0


def _repeat_heads(m: Any, x: Any, heads: int) -> Any:
    shape, own = tuple(x.shape), x.shape[-3]
    spread = (*shape[:-3], own, heads // own, *shape[-2:])
    return m.reshape(m.expand(m.unsqueeze(x, -3), spread), (*shape[:-3], heads, *shape[-2:]))


# ---------------------------------------------------------------- in one piece
def _spread(query: Array, key: Array, value: Array) -> list[Array]:
    """All three in the dtype to compute in, with the same leading dimensions.

    Where one key head serves several query heads, there are as many fewer key heads.
    """
    xs = [widened(x) for x in (query, key, value)]
    own = -3 if _is_grouped(query, key, value) else -2
    lead = np.broadcast_shapes(*(x.shape[:own] for x in xs))
    return [x if x.shape[:own] == lead else np.broadcast_to(x, lead + x.shape[own:]) for x in xs]


def _four(x: Array) -> Array:
    """`x` as (batch, heads, length, size)."""
    if x.ndim > 4:
        return x.reshape(-1, *x.shape[-3:])
    return x[(None,) * (4 - x.ndim)] if x.ndim < 4 else x


def _added(attn_mask: Array | None, lead: tuple[int, ...], kind: Any) -> Array | None:
    """The mask as numbers to add to scores, to broadcast with (batch, heads, queries, keys)."""
    if attn_mask is None:
        return None
    if attn_mask.dtype == np.bool_:
        attn_mask = np.where(attn_mask, kind.type(0), kind.type(-np.inf))
    attn_mask = attn_mask.astype(kind, copy=False)
    if len(lead) <= 2 or attn_mask.ndim <= 2:
        return attn_mask
    return _four(np.broadcast_to(attn_mask, (*lead, *attn_mask.shape[-2:])))


def _back(
    m: Any, g: Any, query: Any, key: Any, value: Any, attn_mask: Any, out: Any, sums: Any,
    is_causal: Any, scale: Any,
) -> dict[str, Any]:  # fmt: skip
    xs = _spread(query, key, value)
    mask = _added(attn_mask, out.shape[:-2], xs[0].dtype)
    given, made, *parts = (_four(x) for x in (widened(g), widened(out), *xs))
    grads = kernels.attention_back(given, *parts, mask, made, sums, is_causal, scale)
    pairs = zip(("query", "key", "value"), grads, xs, strict=True)
    return {name: grad.reshape(x.shape) for name, grad, x in pairs}


def _mask_back(
    m: Any, g: Any, query: Any, key: Any, value: Any, attn_mask: Any, out: Any, sums: Any,
    is_causal: Any, scale: Any,
) -> Any:  # fmt: skip
    xs = _spread(query, key, value)
    mask = _added(attn_mask, out.shape[:-2], xs[0].dtype)
    given, made, *parts = (_four(x) for x in (widened(g), widened(out), *xs))
    slopes = kernels.attention_mask_back(given, *parts, mask, made, sums, is_causal, scale)
    return slopes.reshape(*out.shape[:-1], slopes.shape[-1])


@structured(
    method=False,
    extras=("sums",),
    grad={**dict.fromkeys(("query", "key", "value"), _back), "attn_mask": _mask_back},
    decompose=_attend_by_pieces,
)
def fused_attention(
    query: Array, key: Array, value: Array, attn_mask: Array | None, is_causal: bool, scale: float
) -> Any:
    """`scaled_dot_product_attention` without dropout: in tiles, in memory linear in the length."""
    xs = _spread(query, key, value)
    lead = xs[0].shape[:-2]
    mask = _added(attn_mask, lead, xs[0].dtype)
    out, sums = kernels.attention(*(_four(x) for x in xs), mask, is_causal, scale)
    shape = (*lead, query.shape[-2], value.shape[-1])
    return out.reshape(shape).astype(query.dtype, copy=False), sums


def _fits(m: Any, query: Any, key: Any, value: Any, attn_mask: Any) -> bool:
    """Whether these go through `fused_attention`; what does not gets its errors elsewhere."""
    kind = m.dtype(query)
    if kind not in _FLOATS or m.dtype(key) is not kind or m.dtype(value) is not kind:
        return False
    if attn_mask is None:
        return True
    return m.dtype(attn_mask) in (kind, dtypes.bool_) and attn_mask.ndim <= query.ndim


@composite(method=False)
def scaled_dot_product_attention(
    m: Any,
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Array:
    """``softmax(query @ key.T * scale + mask) @ value`` (Vaswani et al., 2017).

    Args:
        query: (*, L, E); with `enable_gqa` it has a multiple of the key's heads in dimension -3.
        key: (*, S, E).
        value: (*, S, V).
        attn_mask: bool (True: takes part) or added to the scores; broadcasts to (*, L, S).
        dropout_p: probability with which a weight is dropped.
        is_causal: query i sees the keys up to i only; not together with `attn_mask`.
        scale: 1 / sqrt(E) by default.

    Without dropout the scores are never stored (Dao et al., "FlashAttention", 2022).

    >>> x = flambeau.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> F.scaled_dot_product_attention(x, x, x, is_causal=True)
    tensor([[[1.0000, 0.0000],
             [0.3302, 0.6698]]])
    """
    if getattr(query, "is_nested", False):
        return query.attended(key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    _check(query, key, value, enable_gqa)
    if is_causal and attn_mask is not None:
        raise RuntimeError(
            "scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
        )
    factor = 1 / math.sqrt(query.shape[-1] or 1) if scale is None else scale
    if dropout_p > 0 or not _fits(m, query, key, value, attn_mask):
        return _attend_by_pieces(m, query, key, value, attn_mask, is_causal, factor, dropout_p)
    return m.fused_attention(query, key, value, attn_mask, is_causal, factor)
