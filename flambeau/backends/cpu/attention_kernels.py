"""Attention in tiles: scores never leave the caches, memory grows with the length, not its square.

The forward kernel carries, for each query of a tile, the largest score so far, the sum of the
exponentials and the weighted sum of values, and corrects all three when a block of keys brings a
larger score; the backward kernel computes the weights again from maxima and sums (Dao et al.,
"FlashAttention", 2022). Tiles of scores lie transposed, a row for each key and a column
for each query: what belongs to a query is then one lane of a vector, and no product but the first
needs a transposed matrix.

`layout` holds the strides in elements (batch, head, row) of q, k, v, the mask and the result;
rows are contiguous. One key head serves `group` query heads.
"""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import (
    I64,
    Array,
    Static,
    T,
    decay,
    inf,
    larger,
    local,
    multiply_block,
    select,
    simd,
    transpose_block,
)

KEYS = 96
"""Keys of a block."""


# Numbers of the arrays in `layout`.
Q, K, V, MASK, OUT, GRAD, Q_GRAD, K_GRAD, V_GRAD = range(9)


@inline
def row_of(layout: Any, which: Any) -> Any:
    """The row stride of array number `which`."""
    return layout[3 * which + 2]


@inline
def place(layout: Any, which: Any, batch: Any, head: Any, row: Any) -> Any:
    """Where a row of array number `which` begins."""
    return layout[3 * which] * batch + layout[3 * which + 1] * head + layout[3 * which + 2] * row


@inline
def turn(
    source: Any, source_row: Any, result: Any, rows: Any, size: Any, scale: Any, tile: Any
) -> None:
    """A tile of rows as columns, times `scale`."""
    transpose_block(source, source_row, result, tile, rows, size)
    if scale is not None:
        for n in simd(size * tile):
            result[n] = result[n] * scale


@inline
def copy(source: Any, target: Any, count: Any) -> None:
    """Numbers from one place to another."""
    for i in simd(count):
        target[i] = source[i]


@inline
def clear(x: Any, row: Any, rows: Any, size: Any) -> None:
    """Zeros."""
    for i in range(rows):
        line = x[i * row :]
        for d in simd(size):
            line[d] = 0.0


@inline
def stretch(x: Any, row: Any, rows: Any, size: Any, by: Any) -> None:
    """Times one number."""
    for i in range(rows):
        line = x[i * row :]
        for d in simd(size):
            line[d] = line[d] * by


@inline
def score(
    k: Any, k_row: Any, query: Any, mask: Any, mask_row: Any, added: Any, scores: Any, start: Any,
    begin: Any, rows: Any, count: Any, depth: Any, causal: Any, tile: Any,
) -> None:  # fmt: skip
    """A tile of scores, of the queries from `start` and the keys from `begin` on."""
    multiply_block(k, k_row, 1, query, tile, scores, tile, count, rows, depth, 0)
    if mask is not None:
        transpose_block(mask[begin:], mask_row, added, tile, rows, count)
        for n in simd(count * tile):
            scores[n] = scores[n] + added[n]
    if causal:
        for j in range(max(start - begin + 1, 0), count):
            row = scores[j * tile :]
            for i in range(min(begin + j - start, rows)):
                row[i] = -inf


@inline
def weigh(
    scores: Any, high: Any, base: Any, total: Any, factor: Any, count: Any, tile: Any
) -> None:
    """Scores to exponentials below the new maxima; `factor` is for what the old ones made."""
    for i in simd(tile):
        factor[i] = high[i]
    for j in range(count):
        row = scores[j * tile :]
        for i in simd(tile):
            high[i] = larger(high[i], row[i])
    for i in simd(tile):
        # A query that sees nothing yet has the maximum -inf, and -inf - -inf is no number.
        base[i] = select(high[i] == -inf, 0.0, high[i])
        factor[i] = decay(factor[i] - base[i])
        total[i] = total[i] * factor[i]
    for j in range(count):
        row = scores[j * tile :]
        for i in simd(tile):
            e = decay(row[i] - base[i])
            row[i] = e
            total[i] += e


@kernel
def attend(
    first: int, last: int, thread: int, q: Array[T], k: Array[T], v: Array[T],
    mask: Array[T] | None, out: Array[T], bases: Array[T], inverses: Array[T], turned: Array[T],
    tiles: Array[T], masks: Array[T] | None, layout: Array[I64], heads: int, group: int,
    queries: int, keys: int, depth: int, width: int, scale: float, causal: Static, tile: Static,
) -> None:  # fmt: skip
    """Outputs, each query's maximum and one over its sum of exponentials; an item is a tile."""
    parts = (queries + tile - 1) // tile
    query, scores = turned[thread * depth * tile :], tiles[thread * KEYS * tile :]
    added = None if mask is None else masks[thread * KEYS * tile :]
    high, base = local(T, tile), local(T, tile)
    total, factor = local(T, tile), local(T, tile)
    for item in range(first, last):
        batch, head = item // parts // heads, item // parts % heads
        start = item % parts * tile
        rows = min(queries - start, tile)
        result = out[place(layout, OUT, batch, head, start) :]
        out_row = row_of(layout, OUT)
        turn(
            q[place(layout, Q, batch, head, start) :],
            row_of(layout, Q),
            query,
            rows,
            depth,
            scale,
            tile,
        )
        for i in simd(tile):
            high[i] = -inf
            total[i] = 0.0
        end = min(keys, start + rows) if causal else keys
        for begin in range(0, end, KEYS):
            count = min(end - begin, KEYS)
            score(
                k[place(layout, K, batch, head // group, begin) :], row_of(layout, K), query,
                None if mask is None else mask[place(layout, MASK, batch, head, start) :],
                row_of(layout, MASK), added, scores, start, begin, rows, count, depth, causal,
                tile,
            )  # fmt: skip
            weigh(scores, high, base, total, factor, count, tile)
            if begin > 0:
                for i in range(rows):
                    stretch(result[i * out_row :], out_row, 1, width, factor[i])
            multiply_block(
                scores, 1, tile, v[place(layout, V, batch, head // group, begin) :],
                row_of(layout, V), result, out_row, rows, width, count, begin,
            )  # fmt: skip
        at = item // parts * queries + start
        for i in range(rows):
            by = 0.0 if total[i] == 0.0 else 1.0 / total[i]
            stretch(result[i * out_row :], out_row, 1, width, by)
            bases[at + i] = base[i]
            inverses[at + i] = by


@inline
def dots(q: Any, k: Any, row: Any, depth: Any, scale: Any, scores: Any) -> None:
    """The scores of four keys."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    second, third, fourth = k[row:], k[2 * row :], k[3 * row :]
    for i in simd(depth):
        a += q[i] * k[i]
        b += q[i] * second[i]
        c += q[i] * third[i]
        d += q[i] * fourth[i]
    scores[0] = a * scale
    scores[1] = b * scale
    scores[2] = c * scale
    scores[3] = d * scale


@inline
def gather_values(weights: Any, v: Any, row: Any, count: Any, width: Any, out: Any) -> None:
    """The weighted sum of `count` rows of values."""
    clear(out, 0, 1, width)
    whole = count - count % 4
    for j in range(0, whole, 4):
        first, second = v[j * row :], v[(j + 1) * row :]
        third, fourth = v[(j + 2) * row :], v[(j + 3) * row :]
        a, b, c, d = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        for i in simd(width):
            out[i] += (a * first[i] + b * second[i]) + (c * third[i] + d * fourth[i])
    for j in range(whole, count):
        last, a = v[j * row :], weights[j]
        for i in simd(width):
            out[i] += a * last[i]


@kernel
def attend_alone(
    first: int, last: int, thread: int, q: Array[T], k: Array[T], v: Array[T],
    mask: Array[T] | None, out: Array[T], bases: Array[T], inverses: Array[T], memory: Array[T],
    layout: Array[I64], heads: int, group: int, queries: int, keys: int, depth: int, width: int,
    scale: float, causal: Static,
) -> None:  # fmt: skip
    """`attend` for few queries, each of which is an item; `memory` is for the scores of one."""
    scores = memory[thread * keys :]
    k_row, v_row = row_of(layout, K), row_of(layout, V)
    for item in range(first, last):
        at, row = item // queries, item % queries
        batch, head = at // heads, at % heads
        query = q[place(layout, Q, batch, head, row) :]
        seen = k[place(layout, K, batch, head // group, 0) :]
        count = min(keys, row + 1) if causal else keys
        whole = count - count % 4
        for j in range(0, whole, 4):
            dots(query, seen[j * k_row :], k_row, depth, scale, scores[j:])
        for j in range(whole, count):
            dot, line = 0.0, seen[j * k_row :]
            for i in simd(depth):
                dot += query[i] * line[i]
            scores[j] = dot * scale
        if mask is not None:
            added = mask[place(layout, MASK, batch, head, row) :]
            for j in simd(count):
                scores[j] = scores[j] + added[j]
        high = -inf
        for j in simd(count):
            high = larger(high, scores[j])
        base, total = select(high == -inf, 0.0, high), 0.0
        for j in simd(count):
            e = decay(scores[j] - base)
            scores[j] = e
            total += e
        result = out[place(layout, OUT, batch, head, row) :]
        values = v[place(layout, V, batch, head // group, 0) :]
        gather_values(scores, values, v_row, count, width, result)
        by = 0.0 if total == 0.0 else 1.0 / total
        stretch(result, 0, 1, width, by)
        bases[item] = base
        inverses[item] = by


@inline
def differentiate(
    weights: Any, slopes: Any, high: Any, by: Any, shares: Any, count: Any, tile: Any
) -> None:
    """Scores to weights, and the gradients of the weights to those of the products."""
    for j in range(count):
        row, slope = weights[j * tile :], slopes[j * tile :]
        for i in simd(tile):
            p = decay(row[i] - high[i]) * by[i]
            row[i] = p
            slope[i] = p * (slope[i] - shares[i])


@inline
def share_out(
    grad: Any, grad_row: Any, out: Any, out_row: Any, shares: Any, rows: Any, width: Any
) -> None:
    """What each query's gradients of weights have in common: its gradient times its output."""
    for i in range(rows):
        g, o = grad[i * grad_row :], out[i * out_row :]
        share = 0.0
        for d in simd(width):
            share += g[d] * o[d]
        shares[i] = share


@inline
def hand_back(
    weights: Any, slopes: Any, q: Any, q_row: Any, k: Any, k_row: Any, g: Any, g_row: Any,
    q_back: Any, q_back_row: Any, k_back: Any, k_back_row: Any, v_back: Any, v_back_row: Any,
    rows: Any, count: Any, depth: Any, width: Any, seen: Any, tile: Any,
) -> None:  # fmt: skip
    """What a tile adds to the gradients of its keys, values and, if some were `seen`, queries."""
    multiply_block(weights, tile, 1, g, g_row, v_back, v_back_row, count, width, rows, 1)
    multiply_block(slopes, tile, 1, q, q_row, k_back, k_back_row, count, depth, rows, 1)
    multiply_block(slopes, 1, tile, k, k_row, q_back, q_back_row, rows, depth, count, seen)


@kernel
def attend_back(
    first: int, last: int, thread: int, q: Array[T], k: Array[T], v: Array[T],
    mask: Array[T] | None, out: Array[T], grad: Array[T], bases: Array[T], inverses: Array[T],
    q_grad: Array[T], k_grad: Array[T], v_grad: Array[T], turned: Array[T], turned_grads: Array[T],
    tiles: Array[T], slope_tiles: Array[T], masks: Array[T] | None, layout: Array[I64], heads: int,
    group: int, queries: int, keys: int, depth: int, width: int, batches: int, splits: int,
    scale: float, causal: Static, tile: Static,
) -> None:  # fmt: skip
    """Gradients of queries, keys and values; an item is a key head with a part of its queries.

    Each of the `splits` parts has gradients of keys and values of its own.
    """
    query, target = turned[thread * depth * tile :], turned_grads[thread * width * tile :]
    weights, slopes = tiles[thread * KEYS * tile :], slope_tiles[thread * KEYS * tile :]
    added = None if mask is None else masks[thread * KEYS * tile :]
    high, by, shares = local(T, tile), local(T, tile), local(T, tile)
    q_row, k_row, v_row = row_of(layout, Q), row_of(layout, K), row_of(layout, V)
    g_row, q_back_row = row_of(layout, GRAD), row_of(layout, Q_GRAD)
    k_back_row, v_back_row = row_of(layout, K_GRAD), row_of(layout, V_GRAD)
    parts = (queries + tile - 1) // tile
    for item in range(first, last):
        split = item % splits
        own = item // splits % (heads // group)
        batch = item // splits // (heads // group)
        k_back = k_grad[place(layout, K_GRAD, split * batches + batch, own, 0) :]
        v_back = v_grad[place(layout, V_GRAD, split * batches + batch, own, 0) :]
        clear(k_back, k_back_row, keys, depth)
        clear(v_back, v_back_row, keys, width)
        for part in range(split, group * parts, splits):
            head, start = own * group + part // parts, part % parts * tile
            rows = min(queries - start, tile)
            q_rows = q[place(layout, Q, batch, head, start) :]
            g_rows = grad[place(layout, GRAD, batch, head, start) :]
            q_back = q_grad[place(layout, Q_GRAD, batch, head, start) :]
            at = (batch * heads + head) * queries + start
            copy(bases[at:], high, rows)
            copy(inverses[at:], by, rows)
            share_out(
                g_rows, g_row, out[place(layout, OUT, batch, head, start) :], row_of(layout, OUT),
                shares, rows, width,
            )  # fmt: skip
            turn(q_rows, q_row, query, rows, depth, scale, tile)
            turn(g_rows, g_row, target, rows, width, None, tile)
            end = min(keys, start + rows) if causal else keys
            for begin in range(0, end, KEYS):
                count = min(end - begin, KEYS)
                k_rows = k[place(layout, K, batch, own, begin) :]
                v_rows = v[place(layout, V, batch, own, begin) :]
                score(
                    k_rows, k_row, query,
                    None if mask is None else mask[place(layout, MASK, batch, head, start) :],
                    row_of(layout, MASK), added, weights, start, begin, rows, count, depth, causal,
                    tile,
                )  # fmt: skip
                multiply_block(v_rows, v_row, 1, target, tile, slopes, tile, count, rows, width, 0)
                differentiate(weights, slopes, high, by, shares, count, tile)
                hand_back(
                    weights, slopes, q_rows, q_row, k_rows, k_row, g_rows, g_row, q_back,
                    q_back_row, k_back[begin * k_back_row :], k_back_row,
                    v_back[begin * v_back_row :], v_back_row, rows, count, depth, width, begin,
                    tile,
                )  # fmt: skip
            stretch(q_back, q_back_row, rows, depth, scale)
        stretch(k_back, k_back_row, keys, depth, scale)
