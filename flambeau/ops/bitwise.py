"""Bit patterns: element-wise ops on integers and bools, and hashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .promotion import unsupported
from .record import Array, Op, pointwise, reduction
from .shapes import wrap_dims


def _bits(text: str, formula: Callable[..., Any], doc: str, **options: Any) -> Op:
    options.setdefault("refuse", "fc")
    options.setdefault("numbers", "one")
    return pointwise(text, formula, excuse="integers only", doc=doc, **options)


bitwise_not = _bits("bitwise_not(input)", lambda m, x: ~x, "Every bit inverted; not, for bools.")
bitwise_and = _bits("bitwise_and(input, other)", lambda m, x, y: x & y, "Bits set in both.")
bitwise_or = _bits("bitwise_or(input, other)", lambda m, x, y: x | y, "Bits set in one or both.")
bitwise_xor = _bits("bitwise_xor(input, other)", lambda m, x, y: x ^ y, "Bits set in just one.")
bitwise_left_shift = _bits(
    "bitwise_left_shift(input, other)",
    lambda m, x, y: m.bitwise_left_shift(x, y),
    "input with its bits moved other places up.",
    refuse="bfc",
)
bitwise_right_shift = _bits(
    "bitwise_right_shift(input, other)",
    lambda m, x, y: m.bitwise_right_shift(x, y),
    "input with its bits moved other places down; the sign is kept.",
    refuse="bfc",
)


@reduction(excuse="bit patterns", out=True)
def hash_tensor(
    input: Array, dim: int | Sequence[int] = (), keepdim: bool = False, *, mode: int = 0
) -> Array:
    """The exclusive or, uint64, of the bits of all elements as float64 or int64, or along `dim`."""
    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    if input.dtype.kind == "c":
        raise unsupported("xor_sum_cpu", input)
    given = (dim,) if isinstance(dim, int) else tuple(dim or ())
    if not given and not input.size:
        raise RuntimeError(
            "hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify "
            "the reduction dim with the 'dim' argument."
        )
    wide = np.int64 if input.dtype.kind in "biu" else np.float64
    bits = np.ascontiguousarray(input, wide).view(np.uint64).reshape(input.shape)
    return np.asarray(
        np.bitwise_xor.reduce(bits, wrap_dims(given, input.ndim), keepdims=keepdim), np.uint64
    )
