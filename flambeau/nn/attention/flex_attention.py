"""Attention whose scores go through a function of one's own (Dong et al., 2024).

``score_mod(score, b, h, q, kv)`` changes each score, ``mask_mod(b, h, q, kv)`` says which pairs are
admitted. Both are called once, with index tensors that broadcast to (B, H, L, S), so whatever
they do must be element-wise; indexing a tensor with the index tensors is.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ...dtypes import bool_, int32
from ...tensor import functions as fl

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = [
    "AuxOutput",
    "AuxRequest",
    "BlockMask",
    "and_masks",
    "create_block_mask",
    "create_mask",
    "flex_attention",
    "noop_mask",
    "or_masks",
]

_BLOCK = 128
Mask = Callable[..., Any]


class AuxRequest(NamedTuple):
    """Which results beside the output are asked for."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """The results beside the output: log-sum-exp and largest score of each row, (B, H, L)."""

    lse: Any = None
    max_scores: Any = None


# ---------------------------------------------------------------- masks
def noop_mask(batch: Any, head: Any, token_q: Any, token_kv: Any) -> Any:
    """Admits every pair."""
    return batch.new_ones(size=(), dtype=bool_)


def _combined(mask_mods: tuple[Mask, ...], start: bool, join: Callable[[Any, Any], Any]) -> Mask:
    if not all(callable(f) for f in mask_mods):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mask_mods}")

    def mask(b: Any, h: Any, q: Any, kv: Any) -> Any:
        found = b.new_full((), start, dtype=bool_)
        for f in mask_mods:
            found = join(found, f(b, h, q, kv))
        return found

    return mask


def and_masks(*mask_mods: Mask) -> Mask:
    """A mask that admits what all of `mask_mods` admit."""
    return _combined(mask_mods, True, lambda a, b: a & b)


def or_masks(*mask_mods: Mask) -> Mask:
    """A mask that admits what one of `mask_mods` admits."""
    return _combined(mask_mods, False, lambda a, b: a | b)


def _indices(batch: int, heads: int, queries: int, keys: int) -> tuple[Tensor, ...]:
    """The numbers of batch, head, query and key, which broadcast to (B, H, L, S)."""
    shapes = [(-1, 1, 1, 1), (1, -1, 1, 1), (1, 1, -1, 1), (1, 1, 1, -1)]
    counts = (batch, heads, queries, keys)
    return tuple(fl.arange(n).reshape(s) for n, s in zip(counts, shapes, strict=True))


def create_mask(
    mod_fn: Callable[..., Any],
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
) -> Tensor:
    """The mask (B, H, L, S) of a ``mask_mod``, or of a ``score_mod`` where scores stay finite."""
    shape = (B or 1, H or 1, Q_LEN, KV_LEN)
    index = _indices(*shape)
    if len(inspect.signature(mod_fn).parameters) == 5:
        scores = mod_fn(fl.zeros(shape), *index)
        return fl.where(fl.isneginf(scores.expand(shape)), False, True)
    found = mod_fn(*index)
    mask: Tensor = fl.as_tensor(found).to(bool_).expand(shape).clone()
    return mask


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of each row are set, and the blocks' numbers, those that are set first."""
    counts = blocks.sum(-1).to(int32)
    order = fl.argsort(blocks.to(int32), dim=-1, descending=True, stable=True).to(int32)
    return counts, order


class BlockMask:
    """A mask in blocks: which of them hold admitted pairs, which admit all of theirs.

    ``kv_num_blocks`` (B, H, rows) and ``kv_indices`` (B, H, rows, columns) list each row's partial
    blocks, ``full_kv_num_blocks`` and ``full_kv_indices`` the full ones; ``q_...`` list columns'.
    """

    def __init__(
        self,
        seq_lengths: tuple[int, int],
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None = None,
        full_kv_indices: Tensor | None = None,
        q_num_blocks: Tensor | None = None,
        q_indices: Tensor | None = None,
        full_q_num_blocks: Tensor | None = None,
        full_q_indices: Tensor | None = None,
        BLOCK_SIZE: tuple[int, int] = (_BLOCK, _BLOCK),
        mask_mod: Mask = noop_mask,
    ) -> None:
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        self.seq_lengths = seq_lengths
        self.kv_num_blocks, self.kv_indices = kv_num_blocks, kv_indices
        self.full_kv_num_blocks, self.full_kv_indices = full_kv_num_blocks, full_kv_indices
        self.q_num_blocks, self.q_indices = q_num_blocks, q_indices
        self.full_q_num_blocks, self.full_q_indices = full_q_num_blocks, full_q_indices
        self.BLOCK_SIZE = BLOCK_SIZE
        self.mask_mod = mask_mod

    @classmethod
    def from_kv_blocks(
        cls,
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None = None,
        full_kv_indices: Tensor | None = None,
        BLOCK_SIZE: int | tuple[int, int] = _BLOCK,
        mask_mod: Mask | None = None,
        seq_lengths: tuple[int, int] | None = None,
        compute_q_blocks: bool = True,
    ) -> BlockMask:
        """A mask from the lists of each row's blocks; the columns' lists follow from them."""
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        if (full_kv_num_blocks is None) != (full_kv_indices is None):
            raise AssertionError(
                "full_kv_num_blocks and full_kv_indices must be both provided or omitted"
            )
        size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
        columns: list[Any] = [None] * 4
        if compute_q_blocks:
            columns[:2] = _ordered(_dense(kv_num_blocks, kv_indices).transpose(-2, -1))
            if full_kv_num_blocks is not None and full_kv_indices is not None:
                full = _dense(full_kv_num_blocks, full_kv_indices)
                columns[2:] = _ordered(full.transpose(-2, -1))
        if seq_lengths is None:
            seq_lengths = (kv_indices.shape[-2] * size[0], kv_indices.shape[-1] * size[1])
        return cls(
            seq_lengths, kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices,
            *columns, BLOCK_SIZE=size, mask_mod=mask_mod or noop_mask,
        )  # fmt: skip

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, H, L, S)."""
        return (*self.kv_indices.shape[:-2], *self.seq_lengths)

    def numel(self) -> int:
        """How many pairs there are."""
        return math.prod(self.shape)

    def to_dense(self) -> Tensor:
        """int32 (B, H, rows, columns): 1 for each block that holds an admitted pair."""
        dense = _dense(self.kv_num_blocks, self.kv_indices)
        if self.full_kv_num_blocks is not None and self.full_kv_indices is not None:
            dense = dense | _dense(self.full_kv_num_blocks, self.full_kv_indices)
        return dense.to(int32)

    def sparsity(self) -> float:
        """The percentage of pairs that lie in blocks without an admitted one."""
        blocks = int(self.kv_num_blocks.sum())
        if self.full_kv_num_blocks is not None:
            blocks += int(self.full_kv_num_blocks.sum())
        held = blocks * self.BLOCK_SIZE[0] * self.BLOCK_SIZE[1]
        return 100 * (1 - held / self.numel())

    def __repr__(self) -> str:
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%)"


def _dense(counts: Tensor, indices: Tensor) -> Tensor:
    """Where blocks are, from their number in each row and their columns: bool, like `indices`."""
    columns = indices.shape[-1]
    listed = fl.arange(columns) < counts.unsqueeze(-1)
    dense = fl.zeros(indices.shape, dtype=int32)
    found: Tensor = dense.scatter_add(-1, indices.long(), listed.to(int32)) > 0
    return found


def create_block_mask(
    mask_mod: Mask,
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
    BLOCK_SIZE: int | tuple[int, int] = _BLOCK,
    _compile: bool = False,
    separate_full_blocks: bool = True,
) -> BlockMask:
    """The blocks of the mask that `mask_mod` gives for (B, H, L, S); None: alike for all."""
    size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
    mask = create_mask(mask_mod, B, H, Q_LEN, KV_LEN)
    rows, columns = -(-Q_LEN // size[0]), -(-KV_LEN // size[1])
    margin = (0, columns * size[1] - KV_LEN, 0, rows * size[0] - Q_LEN)
    padded = fl.pad(mask.to(int32), margin)
    blocks = padded.reshape(*mask.shape[:2], rows, size[0], columns, size[1]).sum((-3, -1))
    full = blocks == size[0] * size[1]
    part = (blocks > 0) & ~full if separate_full_blocks else blocks > 0
    lists = _ordered(full) if separate_full_blocks else (None, None)
    return BlockMask.from_kv_blocks(
        *_ordered(part), *lists, BLOCK_SIZE=size, mask_mod=mask_mod, seq_lengths=(Q_LEN, KV_LEN)
    )


# ---------------------------------------------------------------- attention
def _check(query: Tensor, key: Tensor, value: Tensor, block_mask: Any, enable_gqa: bool) -> None:
    if query.dim() != 4 or key.dim() != 4 or value.dim() != 4:
        raise NotImplementedError("NYI: query, key, and value must be 4D tensors")
    heads, kv_heads = query.size(1), key.size(1)
    if not enable_gqa and heads != kv_heads:
        raise ValueError(
            "Expect query and key/value to have the same number of heads but got "
            f"Hq={heads} and Hkv={kv_heads}. Try setting enable_gqa=True for GQA."
        )
    if enable_gqa and heads % kv_heads:
        raise ValueError(
            "Expect number of query heads to be a multiple of kv heads for GQA but got "
            f"Hq={heads} and Hkv={kv_heads}."
        )
    if query.size(0) != key.size(0) and (block_mask is None or key.size(0) != 1):
        raise ValueError(
            "Expect query and key/value to have the same batch size, or non-none block_mask, but "
            f"got block_mask={block_mask}, Bq={query.size(0)}, and Bkv={key.size(0)}."
        )
    if block_mask is not None and block_mask.shape[-2:] != (query.size(-2), key.size(-2)):
        raise ValueError(
            f"block_mask was created for block_mask.shape={block_mask.shape} but got "
            f"q_len={query.size(-2)} and kv_len={key.size(-2)}: create one of the right lengths"
        )


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Callable[..., Any] | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: Any = None,
    *,
    return_aux: AuxRequest | None = None,
) -> Any:
    """Attention (B, H, L, E), (B, H, S, E), (B, H, S, Ev) -> (B, H, L, Ev) over changed scores.

    Args:
        score_mod: changes the scores, which are products times `scale` (default 1 / sqrt(E)).
        block_mask: says which pairs are admitted; a row without any gives zeros.
        enable_gqa: whether there may be fewer heads of keys and values, shared evenly.
        return_lse: whether the log-sum-exp of each row (B, H, L) is returned, too.
        return_aux: asks for results beside the output, returned as `AuxOutput`.

    Raises ValueError or NotImplementedError for shapes that do not fit.
    """
    _check(query, key, value, block_mask, enable_gqa)
    if enable_gqa:
        shared = query.size(1) // key.size(1)
        key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    factor = 1.0 / math.sqrt(query.size(-1)) if scale is None else scale
    scores = fl.matmul(query * factor, key.transpose(-2, -1))
    shape = tuple(scores.shape)
    index = _indices(*shape)
    if score_mod is not None:
        scores = score_mod(scores, *index).to(query.dtype)
    if block_mask is not None:
        admitted = fl.as_tensor(block_mask.mask_mod(*index)).expand(shape)
        kept = block_mask.to_dense().bool()
        for dim, size in ((-2, block_mask.BLOCK_SIZE[0]), (-1, block_mask.BLOCK_SIZE[1])):
            kept = kept.repeat_interleave(size, dim)
        kept = kept[..., : shape[-2], : shape[-1]]
        scores = scores.masked_fill(~(admitted & kept), -math.inf)
    largest = scores.amax(-1, keepdim=True)
    empty = fl.isneginf(largest)
    weights = fl.softmax(scores.masked_fill(empty, 0.0), -1).masked_fill(empty, 0.0)
    out = fl.matmul(weights, value)
    if return_aux is not None:
        lse = fl.logsumexp(scores, -1) if return_aux.lse else None
        return out, AuxOutput(lse, largest.squeeze(-1) if return_aux.max_scores else None)
    return (out, fl.logsumexp(scores, -1)) if return_lse else out
