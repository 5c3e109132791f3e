"""Kernels for bags of rows of tables."""

from __future__ import annotations

from ...compiler.kernel import kernel
from ...compiler.language import I64, Array, S, Static, T, simd


@kernel
def sum_bags(
    first: int,
    last: int,
    table: Array[T],
    indices: Array[S],
    bounds: Array[I64],
    factors: Array[T] | None,
    out: Array[T],
    wrong: Array[I64],
    total: int,
    rows: int,
    width: int,
    skipped: int,
    mean: Static,
) -> None:
    """Each bag's sum (or mean) of rows; bag b has the indices from bounds[b] to bounds[b + 1].

    There are `total` indices, whatever the bounds say.

    Indices that are `skipped` count for nothing; of one out of range ``wrong[0]`` tells.
    """
    for bag in range(first, last):
        target = out[bag * width :]
        for j in simd(width):
            target[j] = 0.0
        count = 0
        for k in range(max(bounds[bag], 0), min(bounds[bag + 1], total)):
            i = indices[k]
            if i < 0 or i >= rows:
                wrong[0] = 1
            elif i != skipped:
                count += 1
                source = table[i * width :]
                if factors is None:
                    for j in simd(width):
                        target[j] += source[j]
                else:
                    by = factors[k]
                    for j in simd(width):
                        target[j] += source[j] * by
        if mean and count > 1:
            for j in simd(width):
                target[j] = target[j] / T(count)
