"""Small charts as text: SVG curves and an HTML heat map, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 520, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 92, 14, 34
LABEL_GAP = 15.0


@dataclass(frozen=True)
class Series:
    """One curve: its name, the CSS class that colours it, one value per epoch."""

    name: str
    style: str
    values: Sequence[float]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten apart) that cover low to high."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(m * power for m in (1, 2, 5, 10) if m * power * about >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def spread(heights: Sequence[float], gap: float = LABEL_GAP) -> list[float]:
    """Push label heights apart until neighbours are ``gap`` from each other."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = list(heights)
    for below, above in pairwise(order):
        placed[above] = max(placed[above], placed[below] + gap)
    overshoot = max(0.0, max(placed) - (HEIGHT - BOTTOM))
    return [y - overshoot for y in placed]


def render_curves(
    title: str, series: Sequence[Series], show: Callable[[float], str], ceiling: float | None = None
) -> str:
    """Render curves over epochs as one SVG; ``show`` writes a value, ``ceiling`` ends the axis."""
    finite = [v for s in series for v in s.values if math.isfinite(v)] or [0.0, 1.0]
    marks = [t for t in ticks(min(finite), max(finite)) if ceiling is None or t <= ceiling]
    low = min(marks)
    high = max(marks) if ceiling is None else ceiling
    epochs = max(len(s.values) for s in series)

    def x(epoch: int) -> float:
        share = (epoch - 1) / (epochs - 1) if epochs > 1 else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        share = (value - low) / ((high - low) or 1)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        *(_mark(y(mark), show(mark)) for mark in marks),
        *(_epoch(x(e), str(e)) for e in range(1, epochs + 1, max(1, math.ceil(epochs / 12)))),
        _epoch(WIDTH - RIGHT + 34, "epoch"),
    ]
    labels = spread([y(s.values[-1]) if math.isfinite(s.values[-1]) else TOP for s in series])
    for line, label in zip(series, labels, strict=True):
        parts.append(_curve(line, label, x, y, show))
    parts.append("</svg>")
    return "".join(parts)


def _mark(y: float, text: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" text-anchor="end" x="{LEFT - 8}" y="{y + 4:.1f}">{escape(text)}</text>'
    )


def _epoch(x: float, text: str) -> str:
    y = HEIGHT - BOTTOM + 20
    return f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{y}">{text}</text>'


def _curve(
    line: Series,
    label: float,
    x: Callable[[int], float],
    y: Callable[[float], float],
    show: Callable[[float], str],
) -> str:
    points = [(e, v) for e, v in enumerate(line.values, start=1) if math.isfinite(v)]
    path = " ".join(f"{x(e):.1f},{y(v):.1f}" for e, v in points)
    dots = "".join(
        f'<circle cx="{x(e):.1f}" cy="{y(v):.1f}" r="3.5"><title>epoch {e}: {escape(line.name)} '
        f"{escape(show(v))}</title></circle>"
        for e, v in points
    )
    return (
        f'<g class="{line.style}"><polyline points="{path}"/>{dots}'
        f'<text class="name" x="{WIDTH - RIGHT + 10}" y="{label + 4:.1f}">'
        f"{escape(line.name)}</text></g>"
    )


def render_confusion(counts: npt.NDArray[np.int64]) -> str:
    """Render counts[true, predicted] as a table: right answers in one hue, mistakes in another.

    Mistakes have a scale of their own: on the diagonal's they would all look like nothing.
    """
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    worst = max(1, int(wrong.max()))
    rows = []
    for true, row in enumerate(counts):
        total = max(1, int(row.sum()))
        cells = []
        for predicted, count in enumerate(row):
            is_right = predicted == true
            # A mistake seen once must already be visible, hence the floor.
            heat = count / total if is_right else (0.25 + 0.75 * count / worst if count else 0)
            style = "right" if is_right else "wrong"
            tip = f"{count} of {total} digits {true} were read as {predicted}"
            text = str(count) if count else '<span class="none">·</span>'
            cells.append(f'<td class="{style}" style="--heat:{heat:.3f}" title="{tip}">{text}</td>')
        recall = f'<td class="share">{100 * row[true] / total:.0f} %</td>'
        rows.append(f'<tr><th scope="row">{true}</th>{"".join(cells)}{recall}</tr>')
    head = "".join(f'<th scope="col">{digit}</th>' for digit in range(len(counts)))
    return (
        '<table class="confusion"><thead><tr><td></td>'
        f'{head}<th scope="col" class="share">right</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
