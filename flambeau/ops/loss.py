"""Losses over classes: likelihood and cross-entropy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends.cpu import cross_entropy as entropies
from ..backends.cpu import likelihood as likelihoods
from ..backends.cpu import loss as kernels
from .promotion import title, unsupported, widened
from .record import Array, composite, structured
from .value_losses import reduction_word


# ---------------------------------------------------------------- likelihood of classes
def _as_samples(name: str, input: Any, target: Any, weight: Any) -> tuple[int, int, int]:
    """The input's shape as (N, C, B); errors for shapes that do not fit."""
    shape = tuple(input.shape)
    if not shape:
        raise RuntimeError(f"{name}: Expected 1 or more dimensions, got a 0-D input")
    classes = shape[0] if len(shape) == 1 else shape[1]
    expected = () if len(shape) == 1 else (shape[0], *shape[2:])
    if tuple(target.shape) != expected:
        raise RuntimeError(
            f"{name}: Expected target size {list(expected)}, got {list(target.shape)} for an input "
            f"of size {list(shape)}"
        )
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but "
            f"got weight tensor of shape: {list(weight.shape)} ({name})"
        )
    if target.dtype.kind not in "iu" or target.dtype.itemsize not in (1, 8):
        raise RuntimeError(f"expected scalar type Long but found {title(target)} ({name})")
    if len(shape) == 1:
        return 1, classes, 1
    return shape[0], classes, math.prod(shape[2:])


def _flattened(name: str, input: Any, target: Any, weight: Any) -> tuple[Any, Any]:
    """Scores (N, C, B) and int64 targets (N, B), without B where it is 1."""
    n, classes, rest = _as_samples(name, input, target, weight)
    if input.ndim == 2 and target.dtype == np.int64:
        return input, target
    shape = (n,) if rest == 1 else (n, rest)
    chosen = target.reshape(shape).astype(np.int64, copy=False)
    return input.reshape(n, classes, *shape[1:]), chosen


def _prepared(
    name: str, input: Any, target: Any, weight: Any, ignore_index: int
) -> tuple[Any, ...]:
    """Scores and targets as `_flattened` gives them, and the targets' weights."""
    scores, chosen = _flattened(name, input, target, weight)
    scores, wide = widened(scores), None if weight is None else widened(weight)
    return scores, kernels.prepare(chosen, wide, ignore_index, scores.shape[1], scores.dtype)


def _reduce(loss: Any, factors: Any, word: str, shape: Any, kind: Any) -> tuple[Any, Any]:
    """The reduced loss and what it was divided by."""
    if word == "none":
        return loss.reshape(shape).astype(kind, copy=False), None
    total = np.asarray(loss.sum())
    if word == "sum":
        return total.astype(kind, copy=False), None
    divisor = loss.dtype.type(loss.size) if factors is None else factors.sum()
    return np.asarray(total / divisor).astype(kind, copy=False), np.asarray(divisor)


def _reduced(found: Any, word: str, shape: Any, kind: Any) -> tuple[Any, Any]:
    """A kernel's losses, or their sum or mean, and what that was divided by."""
    if word == "none":
        return found.losses.reshape(shape).astype(kind, copy=False), None
    if word == "sum":
        return np.array(found.total, kind), None
    mean = found.total / found.mass if found.mass else math.nan
    return np.array(mean, kind), np.array(found.mass)


def _shares(g: Any, divisor: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of each unreduced loss."""
    wide = widened(g)
    if divisor is not None:
        wide = wide / widened(divisor)
    return wide.reshape(shape) if g.ndim else np.full(shape, wide)


@structured(
    method=False,
    extras=("divisor",),
    node="NllLossBackward0",
    grad={
        "input": lambda m, g, target, weight, ignore_index, divisor, input_shape: m.nll_loss_back(
            g, target, weight, divisor, ignore_index, tuple(input_shape)
        )
    },
)
def nll_loss_of_classes(
    input: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: Any = "mean",
) -> Array:
    """Negative log-likelihood ``-weight[y] * input[n, y]`` of the target classes.

    Log-probabilities (N, C), (C,) or (N, C, d1, ...); int64 targets (N,), () or (N, d1, ...). The
    mean is over the weights of the targets. IndexError for a target that is no class.
    """
    word = reduction_word(reduction)
    if input.dtype.kind not in "fV":
        raise unsupported("nll_loss_out_frame", input)
    if target.dtype not in (np.int64, np.uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {title(target)}")
    scores, chosen = _flattened("nll_loss", input, target, weight)
    found = likelihoods.likelihood(scores, chosen, weight, ignore_index, word == "none")
    if found is not None:
        return _reduced(found, word, target.shape, input.dtype)
    scores, targets = _prepared("nll_loss", input, target, weight, ignore_index)
    loss = targets.weighted(-kernels.picked(scores, targets.classes))
    return _reduce(loss, targets.factors, word, target.shape, input.dtype)


@composite(method=False)
def nll_loss(
    m: Any,
    input: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: Any = "mean",
) -> Array:
    """Negative log-likelihood ``-weight[y] * input[n, y]`` of the target classes.

    Log-probabilities (N, C), (C,) or (N, C, d1, ...); int64 targets (N,), () or (N, d1, ...). The
    mean is over the weights of the targets. IndexError for a target that is no class.

    >>> scores = flambeau.tensor([[-0.5, -2.0], [-3.0, -0.25]])
    >>> F.nll_loss(scores, flambeau.tensor([0, 1]), reduction="none")
    tensor([0.5000, 0.2500])
    >>> F.nll_loss(scores, flambeau.tensor([0, -100]))
    tensor(0.5000)
    """
    _check_batch("nll_loss", input, target)
    return m.nll_loss_of_classes(input, target, weight, ignore_index, reduction)


def _check_batch(name: str, input: Any, target: Any) -> None:
    shape, sizes = tuple(input.shape), tuple(target.shape)
    if len(shape) > 1 and sizes and sizes[0] != shape[0]:
        raise ValueError(
            f"Expected input batch_size ({shape[0]}) to match target batch_size ({sizes[0]}). "
            f"({name}: input {list(shape)}, target {list(sizes)})"
        )


def _nll_back_rule(
    m: Any, g: Any, target: Any, weight: Any, divisor: Any, ignore_index: int, grad_shape: Any
) -> Any:
    loss = m.nll_loss_of_classes(g, target, weight, ignore_index, "none")
    if not len(grad_shape) and loss.ndim:
        loss = m.sum(loss)
    return loss if divisor is None else loss / divisor


@structured(method=False, grad={"grad": _nll_back_rule})
def nll_loss_back(
    grad: Array,
    target: Array,
    weight: Array | None,
    divisor: Array | None,
    ignore_index: int,
    input_size: Any,
) -> Array:
    """The gradient of `nll_loss` for its input of shape `input_size`."""
    classes = input_size[0 if len(input_size) == 1 else 1]
    n = 1 if len(input_size) == 1 else input_size[0]
    chosen = target.reshape(n, -1 if target.size else math.prod(target.shape[1:]))
    chosen = chosen.astype(np.int64, copy=False)
    if target.size and grad.shape in ((), target.shape):
        squeezed = chosen.reshape(n) if chosen.shape[1] == 1 else chosen
        share = grad.reshape(squeezed.shape) if grad.ndim else grad
        count = 1.0 if divisor is None else float(divisor)
        scale, sizes = 1.0 / count if count else math.inf, (n, classes, *squeezed.shape[1:])
        found = likelihoods.likelihood_back(
            share, squeezed, weight, ignore_index, scale, sizes, grad.dtype
        )
        if found is not None:
            return found.reshape(input_size)
    wide = None if weight is None else widened(weight)
    g = widened(grad)
    targets = kernels.prepare(chosen, wide, ignore_index, classes, g.dtype)
    g = targets.weighted(-_shares(g, divisor, chosen.shape))
    out = kernels.scattered(g, targets.classes, classes)
    return out.reshape(input_size).astype(grad.dtype, copy=False)


# ---------------------------------------------------------------- cross-entropy
def _cross_entropy_rule(
    m: Any,
    g: Any,
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    label_smoothing: float,
    lse: Any,
    divisor: Any,
) -> Any:
    return m.cross_entropy_back(
        g, input, target, weight, lse, divisor, ignore_index, label_smoothing
    )


def _cross_entropy_pieces(
    m: Any,
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: Any,
    label_smoothing: float,
) -> Any:
    dim = 0 if input.ndim == 1 else 1
    logs = m.log_softmax(input, dim)
    loss = m.nll_loss(logs, target, weight, ignore_index, reduction)
    if not label_smoothing:
        return loss
    classes = input.shape[dim]
    if weight is not None:
        logs = logs * m.reshape(weight, (classes,) + (1,) * max(input.ndim - 2, 0))
    ignored = target == ignore_index
    spread = m.where(ignored, 0.0, -m.sum(logs, (dim,)))
    word = reduction_word(reduction)
    if word != "none":
        spread = m.sum(spread)
    if word == "mean":
        spread = spread / m.targets_weight(input, target, weight, ignore_index)
    return loss * (1 - label_smoothing) + spread * (label_smoothing / classes)


@structured(method=False, excuse="a count of targets")
def targets_weight(input: Array, target: Array, weight: Array | None, ignore_index: int) -> Array:
    """The sum of the weights of the targets that are not ignored, 0-d."""
    _, targets = _prepared("cross_entropy", input, target, weight, ignore_index)
    total = targets.classes.size if targets.factors is None else targets.factors.sum()
    return np.asarray(total).astype(input.dtype)


@structured(
    method=False,
    extras=("lse", "divisor"),
    grad={"input": _cross_entropy_rule},
    decompose=_cross_entropy_pieces,
    node="NllLossBackward0",
)
def cross_entropy_of_classes(
    input: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: Any = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """The cross-entropy of logits with target classes: `log_softmax` and `nll_loss` in one.

    Logits (N, C), (C,) or (N, C, d1, ...); int64 targets (N,), () or (N, d1, ...).
    """
    word = reduction_word(reduction)
    if input.dtype.kind not in "fV":
        raise unsupported("log_softmax_lastdim_kernel_impl", input)
    scores, chosen = _flattened("cross_entropy", input, target, weight)
    kind, each = input.dtype, word == "none"
    found = entropies.cross_entropy(scores, chosen, weight, ignore_index, label_smoothing, each)
    if each:
        losses = found.losses.reshape(target.shape).astype(kind, copy=False)
        return losses, found.lse, None
    if word == "sum":
        return np.array(found.total, kind), found.lse, None
    mean = found.total / found.mass if found.mass else math.nan
    return np.array(mean, kind), found.lse, np.array(found.mass)


@structured(method=False, excuse="a recorded backward differentiates the loss's pieces instead")
def cross_entropy_back(
    grad: Array,
    input: Array,
    target: Array,
    weight: Array | None,
    lse: Array,
    divisor: Array | None,
    ignore_index: int,
    label_smoothing: float,
) -> Array:
    """The gradient of `cross_entropy_of_classes` for the logits."""
    scores, chosen = _flattened("cross_entropy", input, target, weight)
    if lse.shape != chosen.shape or grad.shape not in ((), target.shape):
        raise RuntimeError(
            f"cross_entropy_back: Expected lse of shape {list(chosen.shape)} and a gradient of "
            f"shape {list(target.shape)}, got {list(lse.shape)} and {list(grad.shape)}"
        )
    g = grad.reshape(chosen.shape) if grad.ndim else grad
    count = 1.0 if divisor is None else float(divisor)
    out = entropies.cross_entropy_back(
        g, scores, lse, chosen, weight, ignore_index, label_smoothing, count
    )
    return out.reshape(input.shape)


@composite(method=False)
def cross_entropy_loss(
    m: Any,
    input: Array,
    target: Array,
    weight: Array | None = None,
    reduction: Any = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Array:
    """Cross-entropy of logits with classes, or with probabilities in the input's shape.

    ``weight`` (C,) has one factor for each class; ``label_smoothing`` in [0, 1] is the mass spread
    evenly over the classes (Szegedy et al., 2016).
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    same = m.dtype(target).is_floating_point and tuple(target.shape) == tuple(input.shape)
    if not same:
        _check_batch("cross_entropy", input, target)
        return m.cross_entropy_of_classes(
            input, target, weight, ignore_index, reduction, label_smoothing
        )
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    return _cross_entropy_of_probabilities(m, input, target, weight, reduction, label_smoothing)


def _cross_entropy_of_probabilities(
    m: Any, input: Any, target: Any, weight: Any, reduction: Any, label_smoothing: float
) -> Any:
    dim = 0 if input.ndim == 1 else 1
    classes = input.shape[dim]
    if label_smoothing > 0.0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    terms = m.log_softmax(input, dim) * target
    if weight is not None:
        terms = terms * m.reshape(weight, (classes,) + (1,) * max(input.ndim - 2, 0))
    word = reduction_word(reduction)
    if word == "none":
        return -m.sum(terms, (dim,))
    total = -m.sum(terms)
    # The mean is over the samples, not over the samples' classes.
    return total / max(math.prod(input.shape) // classes, 1) if word == "mean" else total


@composite(method=False)
def linear_cross_entropy(
    m: Any,
    input: Array,
    linear_weight: Array,
    target: Array,
    *,
    linear_bias: Array | None = None,
    weight: Array | None = None,
    reduction: Any = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Array:
    """`cross_entropy_loss` of ``input @ linear_weight.T + linear_bias``: (N, K), (C, ..., K).

    ``options`` say how to save memory; the result is the same, and they are not acted upon.

    >>> weight = flambeau.zeros(4, 2)
    >>> F.linear_cross_entropy(flambeau.ones(3, 2), weight, flambeau.tensor([0, 1, 3]))
    tensor(1.3863)
    """
    sizes = tuple(linear_weight.shape[:-1])
    if len(sizes) > 1 and input.ndim != 2:
        raise RuntimeError(
            "linear_cross_entropy: a weight of more than 2 dimensions needs input (N, K), got "
            f"{list(input.shape)} and {list(linear_weight.shape)}"
        )
    flat = m.reshape(linear_weight, (math.prod(sizes), linear_weight.shape[-1]))
    bias = None if linear_bias is None else m.reshape(linear_bias, (math.prod(sizes),))
    scores = m.reshape(m.linear(input, flat, bias), (*input.shape[:-1], *sizes))
    ignored = -100 if ignore_index is None else ignore_index
    return m.cross_entropy_loss(scores, target, weight, reduction, ignored, label_smoothing)
