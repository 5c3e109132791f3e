"""Nested arrays: a batch of arrays whose sizes differ.

`Jagged` packs members that differ in one dimension along that dimension, one after the other, with
the offsets where they begin. `Parts` lays out members of any sizes as one flat array.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import devices
from .composed import ComposedArray

Array = Any


class RaggedSize:
    """The size of a dimension that differs among members: it equals only itself."""

    __slots__ = ("factor", "number")

    def __init__(self, number: int, factor: int = 1) -> None:
        self.number, self.factor = number, factor

    def __repr__(self) -> str:
        return f"j{self.number}" if self.factor == 1 else f"{self.factor}*j{self.number}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RaggedSize) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[int, int]:
        return self.number, self.factor

    def __mul__(self, factor: Any) -> RaggedSize:
        return RaggedSize(self.number, self.factor * int(factor))

    __rmul__ = __mul__


_numbers = itertools.count(1)
_known: dict[int, tuple[Any, RaggedSize]] = {}


def ragged_size(offsets: Array) -> RaggedSize:
    """The size that stands for these very `offsets`, the array and not its values."""
    key = id(offsets)
    held = _known.get(key)
    if held is None or held[0]() is not offsets:
        reference = weakref.ref(offsets, lambda _: _known.pop(key, None))
        held = _known[key] = (reference, RaggedSize(next(_numbers)))
    return held[1]


class NestedArray(ComposedArray):
    """The base of both kinds."""

    def added(self, other: Any, factor: Any = 1) -> Any:
        if not self.shares_pattern(other):
            raise RuntimeError("nested tensors of different members cannot be added")
        added = other.values if factor == 1 else other.values * factor
        return self.with_values(self.values + added)


class Jagged(NestedArray):
    """Members packed along one dimension.

    `values` has the members' dimensions, and `ragged` is the number of the packed one in the whole
    (so at least 1). Member i begins at ``offsets[i]``; it ends where the next begins, or after
    ``lengths[i]``.
    """

    layout = devices.jagged

    def __init__(
        self, values: Array, offsets: Array, ragged: int, lengths: Array | None = None
    ) -> None:
        self.values, self.offsets = values, offsets
        self.ragged, self.lengths = ragged, lengths

    @property
    def shape(self) -> tuple[Any, ...]:  # type: ignore[override]
        inner: list[Any] = list(self.values.shape)
        inner[self.ragged - 1] = ragged_size(self.offsets)
        return (len(self.offsets) - 1, *inner)

    @property
    def ndim(self) -> int:
        return int(self.values.ndim) + 1

    @property
    def size(self) -> int:
        if self.lengths is None:
            return int(self.values.size)
        others = math.prod(n for d, n in enumerate(self.values.shape) if d != self.ragged - 1)
        return others * int(self.lengths.sum())

    @property
    def counts(self) -> Array:
        """The members' lengths (B,)."""
        return np.diff(self.offsets) if self.lengths is None else self.lengths

    @property
    def owners(self) -> Array:
        """The number of the member that each packed place belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def moved(self, values: Array, ragged: int) -> Jagged:
        """Other values with the same members, packed along the dimension `ragged` of the whole."""
        return Jagged(values, self.offsets, ragged, self.lengths)

    def with_values(self, values: Array) -> Jagged:
        return self.moved(values, self.ragged)

    def shares_pattern(self, other: Any) -> bool:
        return (
            isinstance(other, Jagged)
            and self.ragged == other.ragged
            and (self.offsets is other.offsets or np.array_equal(self.offsets, other.offsets))
            and self.values.shape == other.values.shape
        )


class Parts(NestedArray):
    """Members of any sizes but one number of dimensions: `values` is flat, `sizes` their shapes."""

    def __init__(self, values: Array, sizes: Sequence[tuple[int, ...]]) -> None:
        self.values, self.sizes = values, tuple(tuple(s) for s in sizes)

    @property
    def shape(self) -> tuple[Any, ...]:  # type: ignore[override]
        raise RuntimeError(
            "Internal error: NestedTensorImpl doesn't support sizes. Please file an issue."
        )

    @property
    def ndim(self) -> int:
        return 1 + (len(self.sizes[0]) if self.sizes else 0)

    @property
    def size(self) -> int:
        return int(self.values.size)

    @property
    def bounds(self) -> list[int]:
        """Where each member begins among the values, and where the last one ends."""
        return [0, *itertools.accumulate(math.prod(s) for s in self.sizes)]

    def with_values(self, values: Array) -> Parts:
        return Parts(values, self.sizes)

    def shares_pattern(self, other: Any) -> bool:
        return isinstance(other, Parts) and self.sizes == other.sizes
