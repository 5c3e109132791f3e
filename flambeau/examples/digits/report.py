"""The report: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import io
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt

import flambeau as torch

from .charts import Series, render_confusion, render_curves
from .data import Bytes
from .errors import DemoError
from .model import LayerRow
from .training import EpochRecord, Plan

SHOWN_MISTAKES = 30

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Outcome:
    """Everything the report tells about a finished run; probabilities are (N, 10)."""

    plan: Plan
    history: Sequence[EpochRecord]
    images: Bytes
    labels: Bytes
    probabilities: Probabilities
    training_digits: int
    layers: Sequence[LayerRow]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        return float((self.predicted == self.labels).mean())


def count_confusion(labels: Bytes, predicted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return counts[true, predicted] for ten classes."""
    counts = np.zeros((10, 10), dtype=np.int64)
    np.add.at(counts, (labels.astype(np.int64), predicted), 1)
    return counts


def encode_digit(image: Bytes) -> str:
    """Return a 28x28 digit as a PNG data URI: black ink whose transparency is the paper."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise DemoError('the report needs Pillow: pip install "flambeau[demo]"') from None
    ink = np.zeros((*image.shape, 2), dtype=np.uint8)
    ink[..., 1] = image
    file = io.BytesIO()
    Image.fromarray(ink, mode="LA").save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def render_digit(image: Bytes, label: int, probabilities: Probabilities) -> str:
    """Render one digit with what it is, what it was read as, and how surely."""
    predicted = int(probabilities.argmax())
    sure = float(probabilities[predicted])
    style = "right" if predicted == label else "wrong"
    return (
        f'<figure class="digit {style}"><img alt="a handwritten {label}" width="72" height="72" '
        f'src="{encode_digit(image)}"><figcaption>{label} read as <b>{predicted}</b>'
        f'<span class="bar" title="probability {sure:.1%}">'
        f'<i style="width:{100 * sure:.0f}%"></i></span></figcaption></figure>'
    )


def render_mistakes(outcome: Outcome) -> str:
    """Render the mistakes, the surest first: those are the ones worth a look."""
    wrong = np.flatnonzero(outcome.predicted != outcome.labels)
    wrong = wrong[np.argsort(-outcome.probabilities[wrong].max(axis=1), kind="stable")]
    if not len(wrong):
        return "<p>There are none.</p>"
    return "".join(_digit_at(outcome, i) for i in wrong[:SHOWN_MISTAKES])


def render_right(outcome: Outcome) -> str:
    """Render, for each class, the digit read rightly with the least certainty and with the most."""
    right = outcome.predicted == outcome.labels
    surest = outcome.probabilities.max(axis=1)
    chosen = []
    for digit in range(10):
        of_class = np.flatnonzero(right & (outcome.labels == digit))
        if len(of_class):
            ranked = of_class[np.argsort(surest[of_class], kind="stable")]
            chosen += [ranked[0], ranked[-1]]
    return "".join(_digit_at(outcome, i) for i in chosen)


def _digit_at(outcome: Outcome, index: int) -> str:
    label = int(outcome.labels[index])
    return render_digit(outcome.images[index], label, outcome.probabilities[index])


def render_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Render rows of plain text as an HTML table."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def describe_environment() -> list[tuple[str, str]]:
    """Return what the run ran on, as rows of a name and a value."""
    return [
        ("flambeau", torch.__version__),
        ("Python", sys.version.split()[0]),
        ("NumPy", version("numpy")),
        ("llvmlite", version("llvmlite")),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("cores", f"{os.cpu_count()}, of which used: {torch.get_num_threads()}"),
    ]


def render_epochs(history: Sequence[EpochRecord]) -> str:
    """Render the numbers behind the curves."""
    rows = [
        (
            str(epoch),
            f"{r.loss:.4f}",
            f"{100 * r.accuracy:.2f} %",
            f"{r.held_out_loss:.4f}",
            f"{100 * r.held_out_accuracy:.2f} %",
            f"{r.seconds:.2f} s",
        )
        for epoch, r in enumerate(history, start=1)
    ]
    head = ("epoch", "loss", "accuracy", "held-out loss", "held-out accuracy", "time")
    return render_table(head, rows)


def render_layers(layers: Sequence[LayerRow]) -> str:
    """Render the model, one layer a row."""
    rows = [
        (row.kind, " x ".join(map(str, row.shape)), f"{row.parameters:,}" if row.parameters else "")
        for row in layers
    ]
    return render_table(("layer", "output", "parameters"), rows)


def render_report(outcome: Outcome) -> str:
    """Return the whole page as text."""
    history = outcome.history
    loss = [
        Series("training", "training", [r.loss for r in history]),
        Series("held-out", "held-out", [r.held_out_loss for r in history]),
    ]
    accuracy = [
        Series("training", "training", [100 * r.accuracy for r in history]),
        Series("held-out", "held-out", [100 * r.held_out_accuracy for r in history]),
    ]
    mistakes = int((outcome.predicted != outcome.labels).sum())
    seconds = sum(r.seconds for r in history)
    page = Template(Path(__file__).with_name("report.html").read_text("utf-8"))
    return page.substitute(
        accuracy=f"{100 * outcome.accuracy:.2f}",
        mistakes=f"{mistakes:,}",
        held_out=f"{len(outcome.labels):,}",
        shown=f"{min(mistakes, SHOWN_MISTAKES)}",
        seconds=f"{seconds:.1f}",
        epochs=str(len(history)),
        speed=f"{outcome.training_digits * len(history) / max(seconds, 1e-9):,.0f}",
        training_digits=f"{outcome.training_digits:,}",
        parameters=f"{sum(row.parameters for row in outcome.layers):,}",
        batch_size=str(outcome.plan.batch_size),
        seed=str(outcome.plan.seed),
        loss_chart=render_curves("Loss by epoch", loss, lambda v: f"{v:.3g}"),
        accuracy_chart=render_curves(
            "Accuracy by epoch, in percent", accuracy, lambda v: f"{v:.4g} %", ceiling=100.0
        ),
        confusion=render_confusion(count_confusion(outcome.labels, outcome.predicted)),
        mistakes_grid=render_mistakes(outcome),
        right_grid=render_right(outcome),
        epochs_table=render_epochs(history),
        layers_table=render_layers(outcome.layers),
        environment_table=render_table(("", ""), describe_environment()),
    )
