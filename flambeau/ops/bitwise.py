"""Bit patterns: element-wise ops on integers and bools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .record import Op, pointwise


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
