"""The demo's report: charts that show their numbers, pictures that are the digits, one file."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from flambeau.examples.digits import charts, report
from flambeau.examples.digits.model import DigitNet, summarise
from flambeau.examples.digits.training import EpochRecord, Plan

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects tags and references, and checks that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.references = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [v for k, v in attributes if k in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.06, 1.3, [0, 0.5, 1, 1.5]),
        (60, 98.4, [60, 70, 80, 90, 100]),
        (97, 98.4, [97, 97.5, 98, 98.5]),
    ],
)
def test_ticks_are_round_and_cover(low, high, expected):
    assert charts.ticks(low, high) == pytest.approx(expected)


def test_ticks_of_a_flat_curve():
    marks = charts.ticks(2.5, 2.5)
    assert marks[0] <= 2.5 <= marks[-1]


def test_labels_keep_apart_and_in_order():
    placed = charts.spread([50.0, 48.0, 49.0])
    order = np.argsort(placed)
    assert order.tolist() == [1, 2, 0]
    assert (np.diff(np.sort(placed)) >= charts.LABEL_GAP - 1e-9).all()
    assert max(charts.spread([charts.HEIGHT, charts.HEIGHT])) <= charts.HEIGHT


def points(svg, style):
    group = next(g for g in ElementTree.fromstring(svg).iter("g") if g.get("class") == style)
    return np.array(
        [[float(c.get("cx")), float(c.get("cy"))] for c in group.iter("circle")]
    ).reshape(-1, 2)


def test_curves_are_drawn_to_scale():
    values = [1.0, 0.5, 0.25, 0.0]
    svg = charts.render_curves(
        "loss", [charts.Series("a<b", "held-out", values)], lambda v: f"{v:.2f}"
    )
    xy = points(svg, "held-out")
    assert np.allclose(np.diff(xy[:, 0]), np.diff(xy[:, 0])[0], atol=0.11)
    drop = (xy[:, 1] - xy[0, 1]) / (xy[-1, 1] - xy[0, 1])
    assert np.allclose(drop, 1 - np.array(values), atol=2e-3)
    assert "a&lt;b" in svg


def test_curves_survive_one_epoch_and_no_number():
    svg = charts.render_curves("loss", [charts.Series("x", "training", [float("nan")])], str)
    assert len(points(svg, "training")) == 0
    svg = charts.render_curves("loss", [charts.Series("x", "training", [0.3])], str)
    assert len(points(svg, "training")) == 1


def test_confusion_counts():
    labels = np.array([3, 3, 5, 9], dtype=np.uint8)
    counts = report.count_confusion(labels, np.array([3, 8, 5, 4]))
    expected = np.zeros((10, 10))
    expected[3, 3] = expected[3, 8] = expected[5, 5] = expected[9, 4] = 1
    assert (counts == expected).all()


def test_confusion_table_says_each_count():
    counts = np.random.default_rng(0).integers(0, 30, (10, 10))
    table = ElementTree.fromstring(charts.render_confusion(counts))
    rows = [row for row in table.iter("tr") if row.find("th[@scope='row']") is not None]
    for true, row in enumerate(rows):
        cells = row.findall("td")
        shown = [int(c.text) if c.text else 0 for c in cells[:10]]
        assert shown == counts[true].tolist()
        assert cells[10].text == f"{100 * counts[true, true] / counts[true].sum():.0f} %"


def test_a_picture_is_the_digit():
    image_module = pytest.importorskip("PIL.Image")
    image = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    uri = report.encode_digit(image)
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    ink = np.asarray(image_module.open(io.BytesIO(base64.b64decode(body))))
    assert (ink[..., 1] == image).all()
    assert (ink[..., 0] == 0).all()


@pytest.fixture(scope="module")
def outcome():
    pytest.importorskip("PIL")
    rng = np.random.default_rng(0)
    labels = np.arange(200, dtype=np.uint8) % 10
    logits = rng.standard_normal((200, 10)) + 5 * np.eye(10)[labels]
    logits[:7] = 5 * np.eye(10)[(labels[:7] + 1) % 10]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return report.Outcome(
        plan=Plan(),
        history=[EpochRecord(1.2, 0.6, 0.4, 0.9, 1.5), EpochRecord(0.4, 0.9, 0.2, 0.95, 1.5)],
        images=rng.integers(0, 256, (200, 28, 28), dtype=np.uint8),
        labels=labels,
        probabilities=probabilities.astype(np.float32),
        training_digits=4000,
        layers=summarise(DigitNet()),
    )


def test_the_report_is_whole_and_needs_nothing_else(outcome):
    text = report.render_report(outcome)
    page = Page(text)
    assert page.open == []
    assert page.tags.count("svg") == 2
    assert page.references
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert not re.search(r"url\(|@import|<script|<link|https?:", text)
    assert not re.search(r"\$\w", text)


def test_the_report_tells_the_outcome(outcome):
    text = report.render_report(outcome)
    wrong = outcome.predicted != outcome.labels
    assert f"{100 * (1 - wrong.mean()):.2f}<small> %" in text
    for index in np.flatnonzero(wrong)[: report.SHOWN_MISTAKES]:
        said = f"{outcome.labels[index]} read as <b>{outcome.predicted[index]}</b>"
        assert said in report.render_mistakes(outcome)
    assert report.render_mistakes(outcome).count("<figure") == wrong.sum()
    assert "2,667" in text  # 2 epochs of 4,000 digits in 3 seconds, a second
    assert f"{sum(p.numel() for p in DigitNet().parameters()):,}" in text


def test_mistakes_come_surest_first(outcome):
    sure = [float(s) for s in re.findall(r"probability ([\d.]+)%", report.render_mistakes(outcome))]
    assert sure == sorted(sure, reverse=True)


def test_the_model_is_summarised_in_order():
    model = DigitNet()
    rows = summarise(model)
    assert [row.kind.split("(")[0] for row in rows[:4]] == [
        "Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d",
    ]  # fmt: skip
    assert rows[0].shape == (16, 28, 28)
    assert rows[-1].shape == (10,)
    assert rows[0].parameters == 16 * 9 + 16
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model.parameters())
    assert model.training
