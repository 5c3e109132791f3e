"""Hinge losses of scores against target classes, reduced."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.cpu import margin_losses as kernels
from .promotion import unsupported, widened
from .record import Array, structured
from .value_losses import reduce_loss


def _finished(losses: Array, word: str, kind: Any) -> Array:
    if word == "none":
        return losses.astype(kind)
    total = np.add.reduce(losses)
    if word == "mean":
        total = total / losses.size if losses.size else np.float64(0)
    return np.asarray(total, kind)


def _share(grad: Array, word: str, rows: int) -> tuple[Array, float]:
    """The gradient of each row's loss, a float64 array and a factor."""
    return np.asarray(grad, np.float64), 1.0 / rows if word == "mean" and rows else 1.0


# ---------------------------------------------------------------- one class for each row
def _excess(scores: Array, target: Array, margin: float) -> Array:
    """What each other class's score exceeds the target's by, less the margin; 0 if it does not."""
    outside = target.size and (target.min() < 0 or target.max() >= scores.shape[1])
    kernels.refuse_outsiders(outside, False)
    excess = scores.dtype.type(margin) - np.take_along_axis(scores, target[:, None], 1) + scores
    excess = np.where(excess > 0, excess, 0)
    excess[np.arange(target.size), target] = 0
    return excess


def _class_pieces(
    m: Any, input: Any, target: Any, weight: Any, p: int, margin: float, word: str
) -> Any:
    rows, classes = input.shape
    labels = m.unsqueeze(target, 1)
    excess = margin - m.gather(input, 1, labels) + input
    others = m.ne(labels, m.from_numpy(np.arange(classes)))
    loss = m.where(m.gt(excess, 0), m.where(others, excess, 0.0), 0.0)
    loss = loss if p == 1 else loss * loss
    if weight is not None:
        loss = loss * m.gather(m.expand(m.unsqueeze(weight, 0), (rows, classes)), 1, labels)
    return reduce_loss(m, m.sum(loss, (1,)) / classes, word)


@structured(
    method=False,
    node="MultiMarginLossBackward0",
    grad={
        "input": lambda m, g, input, target, weight, p, margin, word: m.class_margins_back(
            g, input, target, weight, p, margin, word
        )
    },
    decompose=_class_pieces,
)
def class_margins(
    input: Array,
    target: Array,
    weight: Array | None = None,
    p: int = 1,
    margin: float = 1.0,
    word: str = "mean",
) -> Array:
    """``sum_j max(0, margin - x[y] + x[j])**p / C`` of scores (N, C), j other than y (N,)."""
    if input.dtype.kind not in "fV":
        raise unsupported("multi_margin_loss_cpu_kernel", input)
    found = kernels.losses(input, target, weight, p, margin)
    if found is None:
        loss = _excess(widened(input), target, margin) ** p
        if weight is not None:
            loss = loss * widened(weight)[target][:, None]
        found = loss.sum(1, dtype=np.float64) / input.shape[1]
    return _finished(found, word, input.dtype)


@structured(method=False, excuse="a recorded backward differentiates the loss's pieces instead")
def class_margins_back(
    grad: Array,
    input: Array,
    target: Array,
    weight: Array | None,
    p: int,
    margin: float,
    word: str,
) -> Array:
    """The gradient of `class_margins` for the input."""
    g, scale = _share(grad, word, len(input))
    found = kernels.gradients(g, input, target, weight, p, margin, scale)
    if found is not None:
        return found
    excess = _excess(widened(input), target, margin)
    slope = 2 * excess if p == 2 else np.sign(excess)
    if weight is not None:
        slope = slope * widened(weight)[target][:, None]
    slope = slope * np.broadcast_to(g * scale / input.shape[1], target.shape)[:, None]
    slope[np.arange(target.size), target] = -slope.sum(1)
    return slope.astype(input.dtype)


# ---------------------------------------------------------------- a list of classes for each row
def _listed_excess(scores: Array, target: Array) -> tuple[Array, Array]:
    """What each class's score exceeds each listed one's by (N, target, class), and the classes."""
    outside = target.size and (target.min() < -1 or target.max() >= scores.shape[1])
    kernels.refuse_outsiders(outside, True)
    listed = np.logical_and.accumulate(target >= 0, 1)
    places = np.where(listed, target, 0)
    is_target = np.zeros(scores.shape, bool)
    rows = np.broadcast_to(np.arange(len(scores))[:, None], places.shape)
    is_target[rows[listed], places[listed]] = True
    excess = 1 - np.take_along_axis(scores, places, 1)[:, :, None] + scores[:, None, :]
    counted = (excess > 0) & listed[:, :, None] & ~is_target[:, None, :]
    return np.where(counted, excess, 0), places


def _listed_pieces(m: Any, input: Any, target: Any, word: str) -> Any:
    classes = input.shape[1]
    listed = m.gt(m.cumprod(m.where(m.ge(target, 0), 1, 0), 1), 0)
    places = m.where(listed, target, 0)
    hits = m.eq(m.unsqueeze(places, 2), m.from_numpy(np.arange(classes)))
    hits = m.logical_and(hits, m.unsqueeze(listed, 2))
    others = m.logical_not(m.any(hits, (1,), True))
    excess = 1 - m.unsqueeze(m.gather(input, 1, places), 2) + m.unsqueeze(input, 1)
    counted = m.logical_and(m.gt(excess, 0), m.logical_and(m.unsqueeze(listed, 2), others))
    return reduce_loss(m, m.sum(m.where(counted, excess, 0.0), (1, 2)) / classes, word)


@structured(
    method=False,
    node="MultilabelMarginLossBackward0",
    grad={"input": lambda m, g, input, target, word: m.listed_margins_back(g, input, target, word)},
    decompose=_listed_pieces,
)
def listed_margins(input: Array, target: Array, word: str = "mean") -> Array:
    """``sum max(0, 1 - x[y] + x[j]) / C`` over the y that `target` (N, C) lists up to a -1.

    The j are all the classes of the scores (N, C) that are not listed.
    """
    if input.dtype.kind not in "fV":
        raise unsupported("multilabel_margin_loss_forward_out_frame", input)
    found = kernels.listed_losses(input, target)
    if found is None:
        excess, _ = _listed_excess(widened(input), target)
        found = excess.sum((1, 2), dtype=np.float64) / max(input.shape[1], 1)
    return _finished(found, word, input.dtype)


@structured(method=False, excuse="a recorded backward differentiates the loss's pieces instead")
def listed_margins_back(grad: Array, input: Array, target: Array, word: str) -> Array:
    """The gradient of `listed_margins` for the input."""
    g, scale = _share(grad, word, len(input))
    found = kernels.listed_gradients(g, input, target, scale)
    if found is not None:
        return found
    excess, places = _listed_excess(widened(input), target)
    slope = np.sign(excess)
    out = slope.sum(1)
    rows = np.broadcast_to(np.arange(len(input))[:, None], places.shape)
    np.subtract.at(out, (rows, places), slope.sum(2))
    out *= np.broadcast_to(g * scale / max(input.shape[1], 1), (len(input),))[:, None]
    return out.astype(input.dtype)
