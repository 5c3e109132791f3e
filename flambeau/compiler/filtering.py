"""Minimal filtering: a few outputs of a filter from fewer products than taps times outputs.

Two outputs of three taps take 4 products instead of 6, two of two taps 3 instead of 4 (Winograd,
"Arithmetic Complexity of Computations", 1980). A longer filter, and each phase of a stride, is cut
in pieces of at most three taps, whose products are added up before the last transform: all pieces
share it. A filter in several dimensions is the product of lines, one for each dimension.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import NamedTuple

# A sum of values times factors, as (number of the value, factor); all factors have one magnitude.
Terms = tuple[tuple[int, float], ...]


class Product(NamedTuple):
    """A sum of inputs times a sum of taps, added up in `position`."""

    position: int
    inputs: Terms
    taps: Terms


class Line(NamedTuple):
    """The algorithm in one dimension: `outputs` results of `taps` taps from `reads` inputs."""

    taps: int
    stride: int
    reads: int
    products: tuple[Product, ...]
    outputs: tuple[Terms, ...]

    @property
    def parts(self) -> tuple[int, ...]:
        """How many products each position adds up."""
        positions = [p.position for p in self.products]
        return tuple(positions.count(e) for e in range(max(positions) + 1))


# Pieces of three, two and one tap: what products are made of, counted from the piece's first input
# and tap. y0 = p0 + p1 + p2 and y1 = p1 - p2 - p3 for every piece.
_PIECES: dict[int, tuple[Product, ...]] = {
    3: (
        Product(0, ((0, 1), (2, -1)), ((0, 1),)),
        Product(1, ((1, 1), (2, 1)), ((0, 0.5), (2, 0.5), (1, 0.5))),
        Product(2, ((2, 1), (1, -1)), ((0, 0.5), (2, 0.5), (1, -0.5))),
        Product(3, ((1, 1), (3, -1)), ((2, 1),)),
    ),
    2: (
        Product(0, ((0, 1), (1, -1)), ((0, 1),)),
        Product(1, ((1, 1),), ((0, 1), (1, 1))),
        Product(3, ((1, 1), (2, -1)), ((1, 1),)),
    ),
    1: (Product(0, ((0, 1),), ((0, 1),)), Product(3, ((1, 1),), ((0, -1),))),
}
_OUTPUTS = (((0, 1.0), (1, 1.0), (2, 1.0)), ((1, 1.0), (2, -1.0), (3, -1.0)))


@functools.cache
def find_line(taps: int, stride: int) -> Line:
    """The line of two outputs for `taps` taps; of one output if there is but one tap."""
    if taps == 1:
        return find_sum(1, stride)
    products = []
    for phase in range(min(stride, taps)):
        first = 0
        for size in _cut(len(range(phase, taps, stride))):
            for p in _PIECES[size]:
                inputs, filters = (
                    tuple((phase + stride * (first + i), f) for i, f in terms)
                    for terms in (p.inputs, p.taps)
                )
                products.append(Product(p.position, inputs, filters))
            first += size
    products.sort(key=lambda p: p.position)
    # Pieces of one and two taps alone leave a position out.
    used = {e: i for i, e in enumerate(sorted({p.position for p in products}))}
    numbered = tuple(p._replace(position=used[p.position]) for p in products)
    outputs = tuple(tuple((used[e], f) for e, f in terms if e in used) for terms in _OUTPUTS)
    return Line(taps, stride, stride + taps, numbered, outputs)


def find_sum(taps: int, stride: int) -> Line:
    """The line that multiplies every tap, for one output at a time."""
    products = tuple(Product(0, ((i, 1),), ((i, 1),)) for i in range(taps))
    return Line(taps, stride, taps, products, (((0, 1.0),),))


def _cut(taps: int) -> list[int]:
    """Pieces of three and two taps, and of one if there is but one."""
    if taps < 2:
        return [1] * taps
    threes = {0: taps // 3, 1: taps // 3 - 1, 2: taps // 3}[taps % 3]
    return [3] * threes + [2] * ((taps - 3 * threes) // 2)


class Layout(NamedTuple):
    """Where products go: how many each position adds up; position and part of each product."""

    parts: tuple[int, ...]
    places: tuple[tuple[int, int], ...]


def lay_apart(products: int) -> Layout:
    """The layout where every product has a position of its own."""
    return Layout((1,) * products, tuple((i, 0) for i in range(products)))


class Filtering(NamedTuple):
    """The algorithm in several dimensions; products count the last dimension's fastest."""

    lines: tuple[Line, ...]

    @property
    def reads(self) -> tuple[int, ...]:
        """The inputs of a tile in each dimension."""
        return tuple(line.reads for line in self.lines)

    @property
    def tile(self) -> tuple[int, ...]:
        """The outputs of a tile in each dimension."""
        return tuple(len(line.outputs) for line in self.lines)

    @property
    def products(self) -> int:
        """How many products a tile takes."""
        return math.prod(len(line.products) for line in self.lines)

    @property
    def layout(self) -> Layout:
        """Products of one position lie side by side."""
        parts = tuple(map(math.prod, itertools.product(*(line.parts for line in self.lines))))
        seen = [0] * len(parts)
        places = []
        for chosen in itertools.product(*(line.products for line in self.lines)):
            e = 0
            for product, line in zip(chosen, self.lines, strict=True):
                e = e * len(line.parts) + product.position
            places.append((e, seen[e]))
            seen[e] += 1
        return Layout(parts, tuple(places))


@functools.cache
def find_filtering(taps: tuple[int, ...], stride: tuple[int, ...]) -> Filtering:
    """The algorithm for kernels of `taps` taps: minimal in the last two dimensions."""
    lines = [
        (find_line if axis >= len(taps) - 2 else find_sum)(n, s)
        for axis, (n, s) in enumerate(zip(taps, stride, strict=True))
    ]
    return Filtering(tuple(lines))


# Three by three taps without a stride.
PLAIN = find_filtering((3, 3), (1, 1))
