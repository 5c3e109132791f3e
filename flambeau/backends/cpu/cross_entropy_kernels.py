"""Kernels of cross-entropy: the logarithmic softmax and the likelihood of a class in one pass.

Forward keeps the logarithm of each sum of exponentials, `lse`; backward makes the probabilities
from it again, so that neither they nor their logarithms are ever stored.

The row kernels take scores [rows, classes] and `block` rows at a time, the column kernels [samples,
classes, places] and a band of places. T is the scores' type, S the one computed in. A target equal
to `ignored` counts for nothing; for one that is no class `status` becomes (1, the target). With
smoothing s, s of a target's probability is spread evenly over the classes, each with its weight.
"""

from __future__ import annotations

from typing import Any

from ...compiler.kernel import inline, kernel
from ...compiler.language import (
    F64,
    I64,
    Array,
    S,
    Static,
    T,
    decay,
    f64,
    local,
    log,
    select,
    simd,
)
from .softmax_kernels import (
    BAND,
    BLOCK,
    GROUP,
    exponential_sum,
    fill_exponential_sums,
    fill_exponentials,
    fill_highest,
    highest,
)


@inline
def is_class(t: Any, classes: Any, ignored: Any, status: Any) -> Any:
    """Whether a target counts; one that is neither a class nor ignored is reported."""
    if t == ignored:
        return False
    if t < 0 or t >= classes:
        status[0], status[1] = 1, t
        return False
    return True


@inline
def smooth_part(x: Any, weight: Any, classes: Any, high: Any, rest: Any) -> Any:
    """The sum of weight * (lse - x) over the classes, in float64; lse is high + rest."""
    total = f64(0.0)
    for start in range(0, classes, BLOCK):
        part = 0.0
        for j in simd(start, min(start + BLOCK, classes)):
            v = rest - (x[j] - high)
            part += v * weight[j] if weight is not None else v
        total += part
    return total


# ---------------------------------------------------------------- rows
@inline
def note(
    row: Any, x: Any, high: Any, rest: Any, target: Any, weight: Any, losses: Any, lse: Any,
    sums: Any, status: Any, classes: Any, ignored: Any, smoothing: Any, smooth: Any,
) -> None:  # fmt: skip
    """Write down a row's `lse`, which is high + rest, and its loss; add it to the two sums."""
    t = target[row]
    loss = T(0.0)
    if is_class(t, classes, ignored, status):
        p = x[row * classes :]
        factor = weight[t] if weight is not None else T(1.0)
        loss = (rest - (p[t] - high)) * factor
        if smooth:
            spread = T(smooth_part(p, weight, classes, high, rest))
            loss = loss * (1.0 - smoothing) + spread * (smoothing / classes)
        sums[0] += loss
        sums[1] += factor
    lse[row] = high + rest
    if losses is not None:
        losses[row] = loss


@kernel
def cross_entropy_rows(
    first: int,
    last: int,
    x: Array[T],
    target: Array[I64],
    weight: Array[S] | None,
    losses: Array[S] | None,
    lse: Array[S],
    sums: Array[F64],
    status: Array[I64],
    rows: int,
    classes: int,
    block: int,
    ignored: int,
    smoothing: float,
    smooth: Static,
    short: Static,
) -> None:
    """`lse` and loss of each row; each block's sum of losses and of weights, into `sums`.

    `short` rows have up to `SHORT` classes.
    """
    e, tops, totals = local(T, GROUP), local(T, GROUP), local(T, GROUP)
    together = GROUP // classes if short else 1
    for item in range(first, last):
        end = min(item * block + block, rows)
        part = sums[2 * item :]
        part[0], part[1] = 0.0, 0.0
        for start in range(item * block, end, together):
            count = min(together, end - start)
            if short:
                fill_exponentials(e, tops, totals, x, start, count, classes)
                for i in simd(count):
                    totals[i] = log(totals[i])
            else:
                p = x[start * classes :]
                high = highest(p, classes)
                tops[0] = high
                totals[0] = T(log(exponential_sum(p, classes, high)))
            for i in range(count):
                note(
                    start + i, x, tops[i], totals[i], target, weight, losses, lse, part, status,
                    classes, ignored, smoothing, smooth,
                )  # fmt: skip


@kernel
def cross_entropy_back_rows(
    first: int,
    last: int,
    g: Array[S],
    x: Array[T],
    target: Array[I64],
    weight: Array[S] | None,
    lse: Array[S],
    out: Array[T],
    classes: int,
    ignored: int,
    scale: float,
    smoothing: float,
    total: float,
    each: Static,
    smooth: Static,
) -> None:
    """The gradient for the scores; `g` is one number or, if `each`, one for each row.

    `total` is the sum of all classes' weights.
    """
    status = local(I64, 2)
    for row in range(first, last):
        p, q = x[row * classes :], out[row * classes :]
        t = target[row]
        if is_class(t, classes, ignored, status):
            share = (g[row] if each else g[0]) * scale
            direct = share * weight[t] if weight is not None else share
            even, mass = 0.0, direct
            if smooth:
                direct = direct * (1.0 - smoothing)
                even = share * (smoothing / classes)
                mass = direct + even * total
            norm = lse[row]
            for j in simd(classes):
                v = decay(p[j] - norm) * mass
                if smooth:
                    v = v - (even * weight[j] if weight is not None else even)
                q[j] = v
            v = decay(p[t] - norm) * mass
            if smooth:
                v = v - (even * weight[t] if weight is not None else even)
            q[t] = v - direct
        else:
            for j in simd(classes):
                q[j] = 0.0


# ---------------------------------------------------------------- columns
@kernel
def cross_entropy_columns(
    first: int,
    last: int,
    x: Array[T],
    target: Array[I64],
    weight: Array[S] | None,
    losses: Array[S] | None,
    lse: Array[S],
    sums: Array[F64],
    status: Array[I64],
    classes: int,
    places: int,
    ignored: int,
    smoothing: float,
    smooth: Static,
) -> None:
    """What `cross_entropy_rows` computes, for the places of a sample; an item is a band of them."""
    high, total, spread = local(T, BAND), local(T, BAND), local(T, BAND)
    bands = (places + BAND - 1) // BAND
    for item in range(first, last):
        sample = item // bands
        start = (item - sample * bands) * BAND
        width = min(BAND, places - start)
        p = x[sample * classes * places + start :]
        fill_highest(high, p, classes, places, width)
        fill_exponential_sums(total, p, high, classes, places, width)
        for j in simd(width):
            total[j] = log(total[j])
        if smooth:
            for j in simd(width):
                spread[j] = 0.0
            for c in range(classes):
                factor = weight[c] if weight is not None else T(1.0)
                for j in simd(width):
                    spread[j] += (total[j] - (p[c * places + j] - high[j])) * factor
        whole, mass = f64(0.0), f64(0.0)
        at = sample * places + start
        for j in range(width):
            t = target[at + j]
            loss = T(0.0)
            if is_class(t, classes, ignored, status):
                gain = weight[t] if weight is not None else T(1.0)
                loss = (total[j] - (p[t * places + j] - high[j])) * gain
                if smooth:
                    loss = loss * (1.0 - smoothing) + spread[j] * (smoothing / classes)
                mass += gain
                whole += loss
            lse[at + j] = high[j] + total[j]
            if losses is not None:
                losses[at + j] = loss
        sums[2 * item] = whole
        sums[2 * item + 1] = mass


@kernel
def cross_entropy_back_columns(
    first: int,
    last: int,
    g: Array[S],
    x: Array[T],
    target: Array[I64],
    weight: Array[S] | None,
    lse: Array[S],
    out: Array[T],
    classes: int,
    places: int,
    ignored: int,
    scale: float,
    smoothing: float,
    total: float,
    each: Static,
    smooth: Static,
) -> None:
    """What `cross_entropy_back_rows` computes, for the places of a sample."""
    direct, even, mass = local(T, BAND), local(T, BAND), local(T, BAND)
    status = local(I64, 2)
    bands = (places + BAND - 1) // BAND
    for item in range(first, last):
        sample = item // bands
        start = (item - sample * bands) * BAND
        width = min(BAND, places - start)
        at, offset = sample * places + start, sample * classes * places + start
        for j in range(width):
            t = target[at + j]
            direct[j], even[j], mass[j] = 0.0, 0.0, 0.0
            if is_class(t, classes, ignored, status):
                share = (g[at + j] if each else g[0]) * scale
                part = share * weight[t] if weight is not None else share
                direct[j], mass[j] = part, part
                if smooth:
                    direct[j] = part * (1.0 - smoothing)
                    even[j] = share * (smoothing / classes)
                    mass[j] = direct[j] + even[j] * total
        norm = lse[at:]
        for c in range(classes):
            p, q = x[offset + c * places :], out[offset + c * places :]
            for j in simd(width):
                # What is ignored has no share, whatever its scores are.
                v = select(mass[j] == 0.0, 0.0, decay(p[j] - norm[j]) * mass[j])
                if smooth:
                    v = v - (even[j] * weight[c] if weight is not None else even[j])
                q[j] = v
        for j in range(width):
            t = target[at + j]
            if is_class(t, classes, ignored, status):
                v = decay(x[offset + t * places + j] - norm[j]) * mass[j]
                if smooth:
                    v = v - (even[j] * weight[t] if weight is not None else even[j])
                out[offset + t * places + j] = v - direct[j]
