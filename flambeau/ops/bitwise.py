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


bitwise_not = _bits(
    "bitwise_not(input)",
    lambda m, x: ~x,
    """Every bit inverted; not, for bools. Integers and bools only.

    >>> flambeau.bitwise_not(flambeau.tensor([0, 5, -1]))
    tensor([-1, -6,  0])
    """,
)
bitwise_and = _bits(
    "bitwise_and(input, other)",
    lambda m, x, y: x & y,
    """The bits that are set in both; and, for bools. Integers and bools only.

    >>> flambeau.bitwise_and(flambeau.tensor([12, 7]), flambeau.tensor([10, 2]))
    tensor([8, 2])
    """,
)
bitwise_or = _bits(
    "bitwise_or(input, other)",
    lambda m, x, y: x | y,
    """The bits that are set in one or both; or, for bools. Integers and bools only.

    >>> flambeau.bitwise_or(flambeau.tensor([12, 7]), flambeau.tensor([10, 8]))
    tensor([14, 15])
    """,
)
bitwise_xor = _bits(
    "bitwise_xor(input, other)",
    lambda m, x, y: x ^ y,
    """The bits that are set in just one of the two. Integers and bools only.

    >>> flambeau.bitwise_xor(flambeau.tensor([12, 7]), flambeau.tensor([10, 7]))
    tensor([6, 0])
    """,
)
bitwise_left_shift = _bits(
    "bitwise_left_shift(input, other)",
    lambda m, x, y: m.bitwise_left_shift(x, y),
    """`input` with its bits moved `other` places up, as if multiplied by 2^`other`.

    >>> flambeau.bitwise_left_shift(flambeau.tensor([1, 3, -5]), 2)
    tensor([  4,  12, -20])
    """,
    refuse="bfc",
)
bitwise_right_shift = _bits(
    "bitwise_right_shift(input, other)",
    lambda m, x, y: m.bitwise_right_shift(x, y),
    """`input` with its bits moved `other` places down; the sign is kept.

    >>> flambeau.bitwise_right_shift(flambeau.tensor([9, 12, -8]), 2)
    tensor([ 2,  3, -2])
    """,
    refuse="bfc",
)


@reduction(excuse="bit patterns", out=True)
def hash_tensor(
    input: Array, dim: int | Sequence[int] = (), keepdim: bool = False, *, mode: int = 0
) -> Array:
    """The exclusive or, uint64, of the bits of all elements as float64 or int64, or along `dim`.

    >>> flambeau.hash_tensor(flambeau.tensor([[1, 2], [4, 7]]), dim=1)
    tensor([3, 3], dtype=torch.uint64)
    """
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
