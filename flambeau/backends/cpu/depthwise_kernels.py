"""Kernels of depthwise convolutions whose arrays have their channels last in memory.

Each channel has a filter of its own. What a tap reads for a pixel is all channels, side by side.
Where that is says a table for each row of the result and one for each column: (places, taps)
offsets in bytes, whose sum is negative where the tap reads outside the image. There it reads zeros.
"""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import (
    I64,
    Array,
    S,
    Static,
    T,
    elements_at,
    local,
    select,
    simd,
    unrolled,
)

BLOCK = 512
"""Channels whose sums are kept at a time."""
MOST_TAPS = 256
COLUMNS, WIDTH = (7, 4), 16
"""Results of a row (either number), and channels, whose sums are in registers at once."""


@inline
def seek(down: Any, across: Any, taps: Any, image: Any, zeros: Any, at: Any) -> None:
    """The address of what each tap reads, from its offsets for the row and for the column."""
    for t in simd(taps):
        offset = down[t] + across[t]
        at[t] = select(offset < 0, zeros, image + offset)


@inline
def filter_some(
    x: Any, weights: Any, channels: Any, at: Any, first: Any, together: Any, total: Any, j: Any
) -> Any:
    """`total` and what the taps from `first` on give for channel `j`, in two sums side by side."""
    other = 0.0
    for k in unrolled(together):
        seen = elements_at(x, at[first + k], channels)
        if k % 2:
            other += seen[j] * weights[(first + k) * channels + j]
        else:
            total += seen[j] * weights[(first + k) * channels + j]
    return total + other


@inline
def filter_block(
    x: Any, weights: Any, bias: Any, channels: Any, at: Any, taps: Any, low: Any, width: Any,
    target: Any,
) -> None:  # fmt: skip
    """The results of all taps for the `width` channels from `low` on."""
    for j in simd(low, low + width):
        total = bias[j] if bias is not None else 0.0
        target[j] = filter_some(x, weights, channels, at, 0, taps, total, j)


@inline
def filter_by_rows(
    x: Any, weights: Any, bias: Any, channels: Any, at: Any, taps: Any, together: Any, sums: Any,
    target: Any,
) -> None:  # fmt: skip
    """The results of more taps than fit in a loop."""
    for low in range(0, channels, BLOCK):
        high = min(low + BLOCK, channels)
        for j in simd(low, high):
            sums[j - low] = bias[j] if bias is not None else 0.0
        for t in range(0, taps, together):
            for j in simd(low, high):
                sums[j - low] = filter_some(x, weights, channels, at, t, together, sums[j - low], j)
        for j in simd(low, high):
            target[j] = sums[j - low]


@kernel
def filter_channels(
    first: int,
    last: int,
    x: Array[T],
    weights: Array[S],
    bias: Array[S] | None,
    out: Array[T],
    down: Array[I64],
    across: Array[I64],
    address: int,
    image_bytes: int,
    zeros: int,
    rows: int,
    columns: int,
    channels: int,
    taps: int,
    together: Static,
    whole: Static,
) -> None:
    """An item is one of the result's `rows` of some image; the weights are (taps, channels).

    `address` is that of x, `zeros` that of as many zeros as there are channels. So many taps
    `together` are summed in registers; it is the `whole` if that is all.
    """
    at = local(I64, MOST_TAPS)
    sums = local(S, BLOCK)
    for item in range(first, last):
        image = item // rows
        here = address + image * image_bytes
        for column in range(columns):
            seek(
                down[(item - image * rows) * taps :], across[column * taps :], taps, here, zeros, at
            )
            target = out[(item * columns + column) * channels :]
            if whole:
                low = 0
                while low + 64 <= channels:
                    filter_block(x, weights, bias, channels, at, together, low, 64, target)
                    low += 64
                while low + 16 <= channels:
                    filter_block(x, weights, bias, channels, at, together, low, 16, target)
                    low += 16
                filter_block(x, weights, bias, channels, at, together, low, channels - low, target)
            else:
                filter_by_rows(x, weights, bias, channels, at, taps, together, sums, target)


@inline
def filter_tile(
    x: Any, weights: Any, bias: Any, channels: Any, at: Any, height: Any, width: Any, across: Any,
    step: Any, dilation: Any, together: Any, low: Any, target: Any,
) -> None:  # fmt: skip
    """`together` results for `WIDTH` channels from `low` on: what is read serves several of them.

    `at` says where the pixels are that the first one reads, `across` apart from row to row.
    """
    for j in simd(low, low + WIDTH):
        sums = local(S, together)
        for i in unrolled(together):
            sums[i] = bias[j] if bias is not None else 0.0
        for tap in unrolled(height * width):
            weight = weights[tap * channels + j]
            place = tap // width * across + tap % width * dilation
            for i in unrolled(together):
                sums[i] += elements_at(x, at[place + i * step], channels)[j] * weight
        for i in unrolled(together):
            target[i * channels + j] = sums[i]


@kernel
def filter_tiles(
    first: int,
    last: int,
    thread: int,
    x: Array[T],
    weights: Array[S],
    bias: Array[S] | None,
    out: Array[T],
    down: Array[I64],
    across: Array[I64],
    places: Array[I64],
    address: int,
    image_bytes: int,
    zeros: int,
    rows: int,
    columns: int,
    channels: int,
    reach: int,
    height: Static,
    width: Static,
    step: Static,
    dilation: Static,
    together: Static,
) -> None:
    """As `filter_channels` of kernels (height, width), `together` columns and WIDTH channels.

    `across` has `reach` offsets, of the columns from the first that is read to the last; `places`
    is for as many addresses, and `height` times that, of each thread. Channels go by a few, whose
    weights stay near. The last of a row and of the channels are computed with those before.
    """
    at = places[thread * height * reach :]
    for item in range(first, last):
        image = item // rows
        here = address + image * image_bytes
        for tap in range(height):
            offset = down[(item - image * rows) * height + tap]
            for i in simd(reach):
                place = offset + across[i]
                at[tap * reach + i] = select(place < 0, zeros, here + place)
        for part in range((channels + WIDTH - 1) // WIDTH):
            low = min(part * WIDTH, channels - WIDTH)
            for block in range((columns + together - 1) // together):
                start = min(block * together, columns - together)
                filter_tile(
                    x, weights, bias, channels, at[start * step :], height, width, reach, step,
                    dilation, together, low, out[(item * columns + start) * channels :],
                )  # fmt: skip


@kernel
def channel_weight_gradient(
    first: int,
    last: int,
    x: Array[T],
    g: Array[T],
    out: Array[S],
    down: Array[I64],
    across: Array[I64],
    address: int,
    image_bytes: int,
    zeros: int,
    rows: int,
    columns: int,
    channels: int,
    taps: int,
    total_rows: int,
    band: int,
    together: Static,
) -> None:
    """An item is a `band` of rows of the output's gradient.

    The result is (bands, taps, channels) and begins at zero.
    """
    at = local(I64, MOST_TAPS)
    for item in range(first, last):
        sums = out[item * taps * channels :]
        for row in range(item * band, min((item + 1) * band, total_rows)):
            image = row // rows
            here = address + image * image_bytes
            for column in range(columns):
                seek(
                    down[(row - image * rows) * taps :],
                    across[column * taps :],
                    taps,
                    here,
                    zeros,
                    at,
                )
                given = g[(row * columns + column) * channels :]
                for t in range(0, taps, together):
                    for j in simd(channels):
                        for k in unrolled(together):
                            seen = elements_at(x, at[t + k], channels)
                            sums[(t + k) * channels + j] += given[j] * seen[j]
