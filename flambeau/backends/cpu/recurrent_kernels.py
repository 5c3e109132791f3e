"""Recurrent layers over whole sequences, forwards and backwards through time.

An item is a group of sequences: a thread takes its sequences through all steps without waiting for
another one. A step is a product of the states with the recurrent weights, which lie in panels that
stay in the caches, and one pass over its results.

Rows of all steps lie in one matrix, those of step t from ``starts[t]`` on, sequences in the same
order at every step, longer ones first; `low` is the first sequence of a group, `count` how many
of the group still run. Backwards in time (`reverse`) steps run from the last to the first.
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
    maximum,
    multiply_block,
    select,
    simd,
    tanh,
    transpose_block,
)

PANEL = 64
"""Columns of a panel of weights."""


@kernel
def pack(
    first: int, last: int, weight: Array[T], panels: Array[T], rows: int, columns: int,
    turned: Static,
) -> None:  # fmt: skip
    """A matrix (rows, columns), or its transpose, as panels of columns; an item is a panel."""
    for panel in range(first, last):
        if turned:
            at = panel * PANEL * columns
            count = min(rows - panel * PANEL, PANEL)
            transpose_block(weight[at:], columns, panels[at:], PANEL, count, columns)
        else:
            for r in range(rows):
                source = weight[r * columns + panel * PANEL :]
                target = panels[(panel * rows + r) * PANEL :]
                for j in simd(min(columns - panel * PANEL, PANEL)):
                    target[j] = source[j]


@inline
def multiply_panels(
    x: Any, panels: Any, result: Any, rows: Any, columns: Any, depth: Any, accumulate: Any
) -> None:
    """``x @ panels``: rows of `depth` to rows of `columns`."""
    for at in range(0, columns, PANEL):
        multiply_block(
            x, depth, 1, panels[at * depth :], PANEL, result[at:], columns, rows,
            min(columns - at, PANEL), depth, accumulate,
        )  # fmt: skip


@inline
def logistic(x: Any) -> Any:
    """1 / (1 + e**-x)."""
    return 1.0 / (1.0 + decay(min(-x, 80.0)))


@inline
def step_of(turn: Any, steps: Any, reverse: Any) -> Any:
    """The step that runs as number `turn`."""
    return steps - 1 - turn if reverse else turn


@inline
def rows_of(starts: Any, step: Any, low: Any, rows: Any) -> Any:
    """How many sequences of a group run at a step."""
    return max(min(starts[step + 1] - starts[step] - low, rows), 0)


@inline
def rows_before(starts: Any, before: Any, steps: Any, low: Any, rows: Any) -> Any:
    """How many sequences of a group ran at the step before, if there is one."""
    count = 0
    if (before >= 0) & (before < steps):
        count = rows_of(starts, before, low, rows)
    return count


@inline
def copy(target: Any, source: Any, count: Any) -> None:
    """Numbers from one place to another."""
    for j in simd(count):
        target[j] = source[j]


@inline
def add(target: Any, source: Any, count: Any) -> None:
    """Numbers to others."""
    for j in simd(count):
        target[j] += source[j]


# ---------------------------------------------------------------- long short-term memory
@inline
def lstm_gates(gate: Any, state: Any, cell: Any, show: Any, hidden: Any) -> None:
    """One sequence's gates, in place, its cells and what they show."""
    for j in simd(hidden):
        i, f = logistic(gate[j]), logistic(gate[hidden + j])
        n, o = tanh(gate[2 * hidden + j]), logistic(gate[3 * hidden + j])
        new = f * state[j] + i * n
        gate[j] = i
        gate[hidden + j] = f
        gate[2 * hidden + j] = n
        gate[3 * hidden + j] = o
        state[j] = new
        cell[j] = new
        show[j] = o * tanh(new)


@kernel
def lstm(
    first: int, last: int, gates: Array[T], panels: Array[T], h: Array[T], c: Array[T],
    out: Array[T], cells: Array[T], projection: Array[T] | None, shown: Array[T] | None,
    starts: Array[I64], hidden: int, size: int, rows: int, steps: int, reverse: int,
) -> None:  # fmt: skip
    """Gates from what the inputs say to what they become; states `h` and `c` to the last ones.

    With a `projection` (H to `size`), what the cells show is `shown`.
    """
    for group in range(first, last):
        low = group * rows
        for turn in range(steps):
            step = step_of(turn, steps, reverse)
            at = starts[step] + low
            count = rows_of(starts, step, low, rows)
            block = gates[at * 4 * hidden :]
            multiply_panels(h[low * size :], panels, block, count, 4 * hidden, size, 1)
            for r in range(count):
                lstm_gates(
                    block[r * 4 * hidden :], c[(low + r) * hidden :], cells[(at + r) * hidden :],
                    (out if shown is None else shown)[(at + r) * hidden :], hidden,
                )  # fmt: skip
            if shown is not None:
                multiply_panels(
                    shown[at * hidden :], projection, out[at * size :], count, size, hidden, 0
                )
            copy(h[low * size :], out[at * size :], count * size)


@inline
def lstm_gates_back(
    slope: Any, gate: Any, cell: Any, old: Any, back: Any, later: Any, cell_back: Any, hidden: Any
) -> None:
    """One sequence's gradients of gates from those of what its cells show and of the cells."""
    for j in simd(hidden):
        i, f, n, o = gate[j], gate[hidden + j], gate[2 * hidden + j], gate[3 * hidden + j]
        seen, g = tanh(cell[j]), back[j]
        if later is not None:
            g = g + later[j]
        inner = cell_back[j] + g * o * (1.0 - seen * seen)
        slope[j] = inner * n * i * (1.0 - i)
        slope[hidden + j] = inner * old[j] * f * (1.0 - f)
        slope[2 * hidden + j] = inner * i * (1.0 - n * n)
        slope[3 * hidden + j] = g * seen * o * (1.0 - o)
        cell_back[j] = inner * f


@kernel
def lstm_back(
    first: int, last: int, gates: Array[T], cells: Array[T], c: Array[T], grad: Array[T],
    panels: Array[T], projection: Array[T] | None, shown_back: Array[T] | None, slopes: Array[T],
    h_back: Array[T], c_back: Array[T], starts: Array[I64], hidden: int, size: int, rows: int,
    steps: int, reverse: int,
) -> None:  # fmt: skip
    """Gradients of gates into `slopes`, of states from the last to the first.

    With a `projection` (`size` to H), what later steps hand back is added to `grad`.
    """
    for group in range(first, last):
        low = group * rows
        for turn in range(steps):
            step = step_of(steps - 1 - turn, steps, reverse)
            before = step + 1 if reverse else step - 1
            at = starts[step] + low
            count = rows_of(starts, step, low, rows)
            known = rows_before(starts, before, steps, low, rows)
            if shown_back is not None:
                add(grad[at * size :], h_back[low * size :], count * size)
                multiply_panels(
                    grad[at * size :], projection, shown_back[low * hidden :], count, hidden, size,
                    0,
                )  # fmt: skip
            for r in range(count):
                old = c[(low + r) * hidden :]
                if r < known:
                    old = cells[(starts[before] + low + r) * hidden :]
                if shown_back is None:
                    back, later = grad[(at + r) * size :], h_back[(low + r) * size :]
                else:
                    back, later = shown_back[(low + r) * hidden :], None
                lstm_gates_back(
                    slopes[(at + r) * 4 * hidden :], gates[(at + r) * 4 * hidden :],
                    cells[(at + r) * hidden :], old, back, later, c_back[(low + r) * hidden :],
                    hidden,
                )  # fmt: skip
            multiply_panels(
                slopes[at * 4 * hidden :], panels, h_back[low * size :], count, size, 4 * hidden, 0
            )


# ---------------------------------------------------------------- gated recurrent unit
@inline
def gru_gates(
    gate: Any, part: Any, bias: Any, inner: Any, state: Any, show: Any, hidden: Any
) -> None:
    """One sequence's gates, in place, and its new state; `inner` keeps the new gate's product."""
    for j in simd(hidden):
        r, z = logistic(gate[j] + part[j]), logistic(gate[hidden + j] + part[hidden + j])
        product = part[2 * hidden + j]
        if bias is not None:
            product = product + bias[j]
        n = tanh(gate[2 * hidden + j] + r * product)
        new = n + z * (state[j] - n)
        gate[j] = r
        gate[hidden + j] = z
        gate[2 * hidden + j] = n
        inner[j] = product
        state[j] = new
        show[j] = new


@kernel
def gru(
    first: int, last: int, gates: Array[T], panels: Array[T], bias: Array[T] | None, h: Array[T],
    out: Array[T], inner: Array[T], parts: Array[T], starts: Array[I64], hidden: int, rows: int,
    steps: int, reverse: int,
) -> None:  # fmt: skip
    """Gates from what the inputs say to what they become; `h` to the last state.

    `bias` is that of the new gate's product, `parts` memory for products of every sequence.
    """
    for group in range(first, last):
        low = group * rows
        for turn in range(steps):
            step = step_of(turn, steps, reverse)
            at = starts[step] + low
            count = rows_of(starts, step, low, rows)
            part = parts[low * 3 * hidden :]
            multiply_panels(h[low * hidden :], panels, part, count, 3 * hidden, hidden, 0)
            for r in range(count):
                gru_gates(
                    gates[(at + r) * 3 * hidden :], part[r * 3 * hidden :], bias,
                    inner[(at + r) * hidden :], h[(low + r) * hidden :], out[(at + r) * hidden :],
                    hidden,
                )  # fmt: skip


@inline
def gru_gates_back(
    slope: Any, part: Any, gate: Any, inner: Any, old: Any, grad: Any, back: Any, hidden: Any
) -> None:
    """One sequence's gradients of gates, for inputs and for states; `back` becomes the state's."""
    for j in simd(hidden):
        r, z, n = gate[j], gate[hidden + j], gate[2 * hidden + j]
        g = grad[j] + back[j]
        fresh = g * (1.0 - z) * (1.0 - n * n)
        reset, keep = fresh * inner[j] * r * (1.0 - r), g * (old[j] - n) * z * (1.0 - z)
        slope[j] = reset
        slope[hidden + j] = keep
        slope[2 * hidden + j] = fresh
        part[j] = reset
        part[hidden + j] = keep
        part[2 * hidden + j] = fresh * r
        back[j] = g * z


@kernel
def gru_back(
    first: int, last: int, gates: Array[T], inner: Array[T], h: Array[T], out: Array[T],
    grad: Array[T], panels: Array[T], slopes: Array[T], parts: Array[T], h_back: Array[T],
    starts: Array[I64], hidden: int, rows: int, steps: int, reverse: int,
) -> None:  # fmt: skip
    """Gradients of gates for inputs (`slopes`) and states (`parts`), of states in `h_back`."""
    for group in range(first, last):
        low = group * rows
        for turn in range(steps):
            step = step_of(steps - 1 - turn, steps, reverse)
            before = step + 1 if reverse else step - 1
            at = starts[step] + low
            count = rows_of(starts, step, low, rows)
            known = rows_before(starts, before, steps, low, rows)
            for r in range(count):
                old = h[(low + r) * hidden :]
                if r < known:
                    old = out[(starts[before] + low + r) * hidden :]
                row = at + r
                gru_gates_back(
                    slopes[row * 3 * hidden :], parts[row * 3 * hidden :],
                    gates[row * 3 * hidden :], inner[row * hidden :], old, grad[row * hidden :],
                    h_back[(low + r) * hidden :], hidden,
                )  # fmt: skip
            multiply_panels(
                parts[at * 3 * hidden :], panels, h_back[low * hidden :], count, hidden,
                3 * hidden, 1,
            )  # fmt: skip


# ---------------------------------------------------------------- one gate
@kernel
def elman(
    first: int, last: int, out: Array[T], panels: Array[T], h: Array[T], starts: Array[I64],
    hidden: int, rows: int, steps: int, reverse: int, curved: Static,
) -> None:  # fmt: skip
    """Outputs, by tanh (`curved`) or relu, in place of what the inputs say; `h` to the last."""
    for group in range(first, last):
        low = group * rows
        for turn in range(steps):
            step = step_of(turn, steps, reverse)
            at = (starts[step] + low) * hidden
            count = rows_of(starts, step, low, rows)
            line, state = out[at:], h[low * hidden :]
            multiply_panels(state, panels, line, count, hidden, hidden, 1)
            for j in simd(count * hidden):
                new = tanh(line[j]) if curved else maximum(line[j], 0.0)
                line[j] = new
                state[j] = new


@kernel
def elman_back(
    first: int, last: int, out: Array[T], grad: Array[T], panels: Array[T], slopes: Array[T],
    h_back: Array[T], starts: Array[I64], hidden: int, rows: int, steps: int, reverse: int,
    curved: Static,
) -> None:  # fmt: skip
    """Gradients before the nonlinearity; `h_back` to that of the first state."""
    for group in range(first, last):
        low = group * rows
        for turn in range(steps):
            step = step_of(steps - 1 - turn, steps, reverse)
            at = (starts[step] + low) * hidden
            count = rows_of(starts, step, low, rows)
            slope, back = slopes[at:], h_back[low * hidden :]
            given, shown = grad[at:], out[at:]
            for j in simd(count * hidden):
                g = given[j] + back[j]
                if curved:
                    slope[j] = g * (1.0 - shown[j] * shown[j])
                else:
                    slope[j] = select(shown[j] > 0.0, g, 0.0)
            multiply_panels(slope, panels, back, count, hidden, hidden, 0)
