"""Softmax and its kin, and attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends.cpu import softmax as kernels
from .promotion import floated, lifted, unsupported, widened
from .record import Array, composite, structured
from .shapes import restore_dims, wrap_dim, wrap_dims


def _prepared(name: str, input: Array, dtype: Any) -> tuple[Any, Any]:
    """`input` in the dtype to compute in, and the dtype of the result."""
    if dtype is not None:
        return widened(input.astype(dtype.numpy_dtype, copy=False)), dtype.numpy_dtype
    if input.dtype.kind != "f" and input.dtype.kind != "V":
        raise unsupported(f"{name}_lastdim_kernel_impl", input)
    return widened(input), input.dtype


def _along(name: str, function: Any, input: Array, dim: int, dtype: Any) -> Array:
    axis = wrap_dim(dim, input.ndim)
    wide, kind = _prepared(name, input, dtype)
    out = function(wide if wide.ndim else wide.reshape(1), axis)
    return out.reshape(input.shape).astype(kind, copy=False)


@structured(
    grad={
        "input": lambda m, g, out, dim, input_dtype: m.cast(
            m.softmax_back(g, out, dim), input_dtype
        )
    }
)
def softmax(input: Array, dim: int, dtype: Any = None) -> Array:
    """``exp(input)`` divided by its sum along `dim`; computed in `dtype` if that is given.

    >>> fl.softmax(fl.zeros(4), 0).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    return _along("softmax", kernels.softmax, input, dim, dtype)


@structured(
    grad={
        "input": lambda m, g, out, dim, input_dtype: m.cast(
            m.log_softmax_back(g, out, dim), input_dtype
        )
    }
)
def log_softmax(input: Array, dim: int, dtype: Any = None) -> Array:
    """The logarithm of `softmax`, computed without overflow."""
    return _along("log_softmax", kernels.log_softmax, input, dim, dtype)


def _softmax_back_output(m: Any, g: Any, grad: Any, output: Any, dim: int) -> Any:
    if not output.ndim:
        return g * 0
    return g * (grad - m.sum(grad * output, (dim,), True)) - grad * m.sum(g * output, (dim,), True)


@structured(
    method=False,
    grad={
        "grad": lambda m, g, output, dim: m.softmax_back(g, output, dim),
        "output": _softmax_back_output,
    },
)
def softmax_back(grad: Array, output: Array, dim: int) -> Array:
    """The gradient of `softmax` from that of its result."""
    return _back(kernels.softmax_back, grad, output, dim)


def _fold(m: Any, x: Any, dim: int) -> Any:
    return m.sum(x, (dim,), True) if x.ndim else x


@structured(
    method=False,
    grad={
        "grad": lambda m, g, output, dim: g - _fold(m, g * m.exp(output), dim),
        "output": lambda m, g, grad, output, dim: -(g * m.exp(output) * _fold(m, grad, dim)),
    },
)
def log_softmax_back(grad: Array, output: Array, dim: int) -> Array:
    """The gradient of `log_softmax` from that of its result."""
    return _back(kernels.log_softmax_back, grad, output, dim)


def _back(function: Any, grad: Array, output: Array, dim: int) -> Array:
    if not output.ndim:
        return np.zeros_like(output)
    r = function(widened(grad), widened(output), wrap_dim(dim, output.ndim))
    return r.astype(output.dtype, copy=False)


@composite(method=False)
def softmin(m: Any, input: Array, dim: int, dtype: Any = None) -> Array:
    """`softmax` of ``-input``."""
    return m.softmax(-input, dim, dtype)


def _logsumexp_back(m: Any, g: Any, input: Any, out: Any, dim: Any, keepdim: bool) -> Any:
    shape = tuple(input.shape)
    g, out = (restore_dims(m, v, shape, dim, keepdim) for v in (g, out))
    # Where everything is -inf the difference is not a number, but nothing there has a share.
    finite = m.where(out == -math.inf, 0.0, out)
    share = m.exp(input - finite)
    return g * (m.conj(share) if m.dtype(share).is_complex else share)


@structured(out=True, grad={"input": _logsumexp_back}, aliases=("special_logsumexp",))
def logsumexp(input: Array, dim: Any, keepdim: bool = False) -> Array:
    """The logarithm of the sum of ``exp(input)`` over `dim`, computed without overflow."""
    axes = wrap_dims(dim, input.ndim)
    wide = widened(floated(input))
    out = np.asarray(kernels.logsumexp(wide, axes, keepdim))
    return out.astype(floated(input).dtype, copy=False)


# ---------------------------------------------------------------- attention
def _check_attention(query: Any, key: Any, value: Any) -> None:
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


def _score_mask(m: Any, scores: Any, attn_mask: Any, is_causal: bool) -> Any:
    if is_causal:
        return m.causal_scores(scores)
    if attn_mask is None:
        return scores
    if str(m.dtype(attn_mask)).endswith("bool"):
        return m.where(attn_mask, scores, -math.inf)
    return scores + attn_mask


@structured(method=False, grad={"input": lambda m, g: m.tril(g)})
def causal_scores(input: Array) -> Array:
    """-inf above the diagonal, which starts at the first row and column whatever the sizes."""
    return np.where(np.tri(*input.shape[-2:], dtype=np.bool_), input, input.dtype.type(-np.inf))


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
    """
    _check_attention(query, key, value)
    if is_causal and attn_mask is not None:
        raise RuntimeError(
            "scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
        )
    if enable_gqa:
        key, value = (_repeat_heads(m, x, query.shape[-3]) for x in (key, value))
    kind = m.dtype(query)
    query, key, value = lifted(m, query, key, value)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = m.matmul(query * factor, m.transpose(key, -2, -1))
    masked = attn_mask is not None
    weights = m.softmax(_score_mask(m, scores, attn_mask, is_causal), -1)
    if masked:  # a row without any key attends to nothing
        weights = m.where(weights == weights, weights, 0.0)
    if dropout_p > 0:
        weights = m.dropout(weights, dropout_p, True)
    out = m.matmul(weights, value)
    return out if m.dtype(out) is kind else m.cast(out, kind)


def _repeat_heads(m: Any, x: Any, heads: int) -> Any:
    own = x.shape[-3]
    if heads % own:
        raise RuntimeError(
            f"scaled_dot_product_attention: {heads} query heads are not a multiple of {own} heads"
        )
    shape = tuple(x.shape)
    spread = (*shape[:-3], own, heads // own, *shape[-2:])
    return m.reshape(m.expand(m.unsqueeze(x, -3), spread), (*shape[:-3], heads, *shape[-2:]))
