"""Causal masks for queries and keys of different lengths, to give as ``attn_mask``."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from ...tensor import Tensor
from ...tensor import functions as fl

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(IntEnum):
    """Which corner of the matrix of pairs the triangle of admitted ones starts from."""

    UPPER_LEFT = 1
    LOWER_RIGHT = 2

    def __repr__(self) -> str:
        return f"<CausalVariant.{self.name}: {self.value}>"


class CausalBias(Tensor):
    """A mask (L, S) that is True where a query may look at a key.

    AssertionError for a lower right triangle over fewer keys than queries.
    """

    variant: CausalVariant
    seq_len_q: int
    seq_len_kv: int

    def __new__(cls, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> Any:
        """The mask of the given variant for so many queries and keys."""
        if not isinstance(variant, CausalVariant):
            raise AssertionError(f"Expected CausalVariant, got {type(variant)}")
        shift = seq_len_kv - seq_len_q if variant == CausalVariant.LOWER_RIGHT else 0
        mask = fl.ones(seq_len_q, seq_len_kv, dtype=fl.result_type(True, True)).tril(shift)
        mask.__class__ = cls
        mask.variant, mask.seq_len_q, mask.seq_len_kv = variant, seq_len_q, seq_len_kv
        return mask

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> None:
        """All is done when the tensor is made."""

    def _materialize(self, device: Any = None) -> Tensor:
        """The mask as an ordinary tensor."""
        return self.detach()


def causal_upper_left(*size: int) -> CausalBias:
    """Query i looks at the keys up to i; AssertionError unless `size` is (L, S)."""
    if len(size) != 2:
        raise AssertionError("causal_upper_left only supports 2D tensors")
    return CausalBias(CausalVariant.UPPER_LEFT, *size)


def causal_lower_right(*size: int) -> CausalBias:
    """The last query looks at all keys, each before at one less; `size` is (L, S)."""
    if len(size) != 2:
        raise AssertionError("causal_lower_right only supports 2D tensors")
    return CausalBias(CausalVariant.LOWER_RIGHT, *size)
