"""Multi-head attention with its projections and masks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...dtypes import bool_
from ...tensor import functions as fl
from .activations import softmax
from .dropouts import dropout

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = ["multi_head_attention_forward"]


def float_mask(mask: Tensor | None, name: str, dtype: Any) -> Tensor | None:
    """A mask to add: -inf where a bool mask is True; AssertionError for an integer mask."""
    if mask is None or mask.is_floating_point():
        return mask
    if mask.dtype is not bool_:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return fl.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(mask, -math.inf)


def _check_dims(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
) -> None:
    """AssertionError for numbers of dimensions that do not go together."""
    dims = query.dim()
    if dims not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {dims}-D query tensor"
        )
    for_query = f"For {'batched (3-D)' if dims == 3 else 'unbatched (2-D)'} `query`, expected"
    if key.dim() != dims or value.dim() != dims:
        raise AssertionError(
            f"{for_query} `key` and `value` to be {dims}-D but found {key.dim()}-D and "
            f"{value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != dims - 1:
        raise AssertionError(
            f"{for_query} `key_padding_mask` to be `None` or {dims - 1}-D but found "
            f"{key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None and attn_mask.dim() not in (2, 3):
        raise AssertionError(
            f"{for_query} `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D "
            "tensor instead"
        )


def _project(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    in_proj_weight: Tensor | None,
    separate: tuple[Tensor | None, Tensor | None, Tensor | None] | None,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values through their projections."""
    size = query.size(-1)
    if separate is None:
        assert in_proj_weight is not None
        if key is value and query is key:  # all in one product
            return fl.linear(query, in_proj_weight, bias).chunk(3, -1)
        weights = in_proj_weight.split(size)
    else:
        weights = separate
        if any(weight is None for weight in weights):
            raise AssertionError(
                "use_separate_proj_weight is True but q_proj_weight, k_proj_weight or "
                "v_proj_weight is None"
            )
    biases = (None, None, None) if bias is None else bias.split(size)
    parts = zip((query, key, value), weights, biases, strict=True)
    q, k, v = (fl.linear(x, weight, b) for x, weight, b in parts)
    return q, k, v


class _Masks:
    """The masks of one call, as numbers to add: of pairs (*, L, S) and of keys (N, S)."""

    def __init__(self, pairs: Tensor | None, keys: Tensor | None, dtype: Any) -> None:
        self.pairs = float_mask(pairs, "attn_mask", dtype)
        self.keys = float_mask(keys, "key_padding_mask", dtype)

    def check_pairs(self, rows: int, length: int, keys: int) -> None:
        """RuntimeError unless the mask of pairs is (L, S) or (N * heads, L, S)."""
        if self.pairs is None:
            return
        dims = self.pairs.dim()
        expected = (length, keys) if dims == 2 else (rows, length, keys)
        if tuple(self.pairs.shape) != expected:
            raise RuntimeError(
                f"The shape of the {dims}D attn_mask is {self.pairs.shape}, but should be "
                f"{expected}."
            )

    def check_padding(self, batch: int, keys: int) -> None:
        """AssertionError unless the mask of keys is (N, S)."""
        if self.keys is None:
            return
        for dim, expected in enumerate((batch, keys)):
            if self.keys.size(dim) != expected:
                raise AssertionError(
                    f"Expected key_padded_mask.shape[{dim}] to be {expected}, but got "
                    f"{self.keys.size(dim)}"
                )

    def admit_one(self) -> None:
        """Makes room for one key more, which is not left out."""
        self.pairs = None if self.pairs is None else fl.pad(self.pairs, (0, 1))
        self.keys = None if self.keys is None else fl.pad(self.keys, (0, 1))

    def combined(self, batch: int, heads: int) -> Tensor | None:
        """Both in one, to broadcast with (N, heads, L, S)."""
        pairs, keys = self.pairs, self.keys
        if pairs is not None:
            lead = (1, 1) if pairs.dim() == 2 else (batch, heads)
            pairs = pairs.view(*lead, *pairs.shape[-2:])
        if keys is None:
            return pairs
        keys = keys.view(batch, 1, 1, -1)
        return keys if pairs is None else pairs + keys


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of several heads over projected queries, keys and values (Vaswani et al., 2017).

    Args:
        query: (L, N, E) or (L, E); key and value: (S, N, *) or (S, *).
        key_padding_mask: (N, S) or (S,), True or -inf for keys to leave out.
        attn_mask: (L, S) or (N * heads, L, S), True or -inf for pairs to leave out.
        static_k, static_v: (N * heads, S, E / heads), in place of projected keys and values.
        is_causal: a hint that ``attn_mask`` is the causal one, which must be given.

    Returns outputs in the query's shape, and with ``need_weights`` the attention (N, L, S), or
    (N, heads, L, S) unless averaged. Raises AssertionError or RuntimeError for wrong shapes.
    """
    _check_dims(query, key, value, key_padding_mask, attn_mask)
    _check_sizes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    single = query.dim() == 2
    if single:
        query, key, value = _with_batch(query, key, value)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    masks = _Masks(attn_mask, key_padding_mask, query.dtype)
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    q, k, v = _project(query, key, value, in_proj_weight, separate, in_proj_bias)
    length, batch, size = query.shape
    masks.check_pairs(batch * num_heads, length, k.size(0))
    if bias_k is not None and bias_v is not None:
        k = fl.cat([k, bias_k.repeat(1, batch, 1)])
        v = fl.cat([v, bias_v.repeat(1, batch, 1)])
        masks.admit_one()
    heads = _split_heads((q, k, v), (None, static_k, static_v), batch, num_heads)
    if add_zero_attn:
        heads[1:] = [fl.pad(x, (0, 0, 0, 1)) for x in heads[1:]]
        masks.admit_one()
    masks.check_padding(batch, heads[1].size(2))
    mask, p = masks.combined(batch, num_heads), dropout_p if training else 0.0
    out, weights = _attend(*heads, mask, p, need_weights)
    out = out.permute(2, 0, 1, 3).reshape(length * batch, size)
    out = fl.linear(out, out_proj_weight, out_proj_bias).view(length, batch, -1)
    if weights is not None:
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights.squeeze(0) if single else weights
    return (out.squeeze(1) if single else out), weights


def _with_batch(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three with a batch of one; what was one tensor stays one."""
    turned = {id(x): x.unsqueeze(1) for x in (query, key, value)}
    return turned[id(query)], turned[id(key)], turned[id(value)]


def _check_sizes(
    query: Tensor, key: Tensor, value: Tensor, size: int, heads: int, separate: bool
) -> None:
    """AssertionError for sizes that do not go together."""
    if query.size(-1) != size:
        raise AssertionError(
            f"was expecting embedding dimension of {size}, but got {query.size(-1)}"
        )
    if size % heads:
        raise AssertionError(f"embed_dim {size} not divisible by num_heads {heads}")
    if separate and key.shape[:-1] != value.shape[:-1]:
        raise AssertionError(
            f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
        )
    if not separate and key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")


def _split_heads(
    projected: tuple[Tensor, ...], given: tuple[Tensor | None, ...], batch: int, heads: int
) -> list[Tensor]:
    """Each (L, N, E) as (N, heads, L, E / heads), or what is given (N heads, L, E / heads)."""
    split = []
    for x, static in zip(projected, given, strict=True):
        if static is not None:
            split.append(static.view(batch, heads, *static.shape[1:]))
        else:
            split.append(x.reshape(x.size(0), batch, heads, -1).permute(1, 2, 0, 3))
    return split


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float, need_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """Outputs (N, heads, L, D), and the weights after dropout if they are asked for."""
    if not need_weights:
        return fl.scaled_dot_product_attention(q, k, v, mask, p), None
    scores = fl.matmul(q * math.sqrt(1.0 / q.size(-1)), k.transpose(-2, -1))
    weights = softmax(scores if mask is None else scores + mask, -1)
    if p > 0.0:
        weights = dropout(weights, p)
    return fl.matmul(weights, v), weights
