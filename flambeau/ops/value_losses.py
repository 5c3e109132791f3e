"""Losses between numbers: squared, absolute and Huber's error, logistic loss.

Each is an element-wise op, its terms; `reduced_terms` takes their sum or mean in one pass, and
their derivative in another.
"""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any, NamedTuple

import numpy as np

from ..backends.cpu import value_losses as kernels
from ..compiler.expressions import Expression, trace
from .promotion import promoted, widened
from .readers import RAW, evaluator
from .record import Array, Rule, composite, find, pointwise, structured

_REDUCTIONS = ("none", "mean", "sum")


def reduction_word(reduction: Any) -> str:
    """The word for a reduction given by a word or by PyTorch's number; ValueError for others."""
    if isinstance(reduction, int) and 0 <= reduction < 3:
        return _REDUCTIONS[reduction]
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


# ---------------------------------------------------------------- terms
class _Terms(NamedTuple):
    """A loss of one pair and its derivatives, functions of (m, x, y) and of a bound if it has."""

    loss: Rule
    slopes: tuple[Rule, Rule]


_TERMS: dict[str, _Terms] = {}


def _terms(name: str, loss: Rule, slope: Rule, other: Rule, doc: str, node: str) -> None:
    """Declare the element-wise op of a loss; `slope` and `other` are for input and target."""
    bound = list(inspect.signature(loss).parameters)[3:]
    pointwise(
        f"{name}({', '.join(['input', 'target', *bound])})",
        loss,
        partials=[_named(rule, bound) for rule in (slope, other)],
        tensors=2,
        inplace=False,
        out=False,
        method=False,
        node=node,
        doc=doc,
    )
    _TERMS[name] = _Terms(loss, (slope, other))


def _named(rule: Rule, bound: list[str]) -> Rule:
    """A slope in the words in which an op's rules ask for what they need."""
    if bound:
        return lambda m, input, target, bound: rule(m, input, target, bound)
    return lambda m, input, target: rule(m, input, target)


_terms(
    "squared_error_terms",
    lambda m, x, y: (x - y) * (x - y),
    lambda m, x, y: 2 * (x - y),
    lambda m, x, y: 2 * (y - x),
    "(x - y)**2.",
    "MseLossBackward0",
)
_terms(
    "absolute_error_terms",
    lambda m, x, y: m.abs(x - y),
    lambda m, x, y: m.sign(x - y),
    lambda m, x, y: m.sign(y - x),
    "The distance of x and y.",
    "AbsBackward0",
)
_terms(
    "smooth_error_terms",
    lambda m, x, y, bound: m.where(
        m.abs(x - y) < bound, (x - y) * (x - y) * (0.5 / bound), m.abs(x - y) - 0.5 * bound
    ),
    lambda m, x, y, bound: m.where(m.abs(x - y) < bound, (x - y) * (1 / bound), m.sign(x - y)),
    lambda m, x, y, bound: m.where(m.abs(x - y) < bound, (y - x) * (1 / bound), m.sign(y - x)),
    "(x - y)**2 / (2 bound) below an error of `bound`, |x - y| - bound / 2 above.",
    "SmoothL1LossBackward0",
)
_terms(
    "huber_error_terms",
    lambda m, x, y, bound: m.where(
        m.abs(x - y) <= bound, (x - y) * (x - y) * 0.5, (m.abs(x - y) - 0.5 * bound) * bound
    ),
    lambda m, x, y, bound: m.where(m.abs(x - y) <= bound, x - y, m.sign(x - y) * bound),
    lambda m, x, y, bound: m.where(m.abs(x - y) <= bound, y - x, m.sign(y - x) * bound),
    "(x - y)**2 / 2 up to an error of `bound`, bound * (|x - y| - bound / 2) above.",
    "HuberLossBackward0",
)
_terms(
    "logistic_loss_terms",
    lambda m, x, y: m.maximum(x, 0) - x * y + m.log1p(m.exp(-m.abs(x))),
    lambda m, x, y: m.sigmoid(x) - y,
    lambda m, x, y: -x,
    "The cross-entropy of y with sigmoid(x), without overflow.",
    "BinaryCrossEntropyWithLogitsBackward0",
)
_terms(
    "binary_cross_entropy_terms",
    lambda m, x, y: (y - 1) * m.maximum(m.log1p(-x), -100) - y * m.maximum(m.log(x), -100),
    lambda m, x, y: (x - y) / m.maximum((1 - x) * x, 1e-12),
    lambda m, x, y: m.log1p(-x) - m.log(x),
    "-(y log x + (1 - y) log(1 - x)) with logarithms kept above -100.",
    "BinaryCrossEntropyBackward0",
)


@functools.lru_cache(maxsize=256)
def _expression(terms: str, bound: float | None, side: int | None) -> Expression:
    """The terms' expression in x and y, or its slope for the input (0) or the target (1)."""
    rule = _TERMS[terms].loss if side is None else _TERMS[terms].slopes[side]
    if bound is None:
        return trace(lambda m, x, y: rule(m, x, y))
    return trace(lambda m, x, y: rule(m, x, y, bound))


# ---------------------------------------------------------------- reduction
def _reduced_rule(side: int) -> Rule:
    return lambda m, g, input, target, terms, word, bound: m.reduced_terms_back(
        g, input, target, terms, word, bound, side
    )


def _evaluated(m: Any, input: Any, target: Any, terms: str, word: str, bound: Any) -> Any:
    return reduce_loss(m, getattr(m, terms)(input, target, *_given(bound)), word)


def _given(bound: float | None) -> tuple[float, ...]:
    return () if bound is None else (bound,)


def _loss_name(node: Any) -> str:
    """What a loss is called on the tape."""
    if node.s_terms == "absolute_error_terms":
        return f"{node.s_word.capitalize()}Backward0"
    op = find(node.s_terms)
    assert op is not None
    return op.node_name


@structured(
    method=False,
    grad={"input": _reduced_rule(0), "target": _reduced_rule(1)},
    decompose=_evaluated,
    namer=_loss_name,
)
def reduced_terms(
    input: Array, target: Array, terms: str, word: str, bound: float | None = None
) -> Array:
    """The sum or mean (`word`) of a loss's element-wise op called `terms`; the two broadcast."""
    x, y = promoted((input, target))
    found = kernels.total(_expression(terms, bound, None), x, y, word == "mean")
    if found is None:
        op = find(terms)
        assert op is not None
        loss = np.asarray(evaluator(op)(widened(x), widened(y), *_given(bound)))
        found = np.add.reduce(loss, None)
        if word == "mean":
            found = found / loss.dtype.type(loss.size)
    return np.asarray(found).astype(x.dtype, copy=False)


@structured(method=False, excuse="a recorded backward differentiates the loss's pieces instead")
def reduced_terms_back(
    grad: Array,
    input: Array,
    target: Array,
    terms: str,
    word: str,
    bound: float | None,
    side: int,
) -> Array:
    """The gradient of `reduced_terms` for the input (`side` 0) or the target (1)."""
    if grad.ndim:
        raise RuntimeError(f"reduced_terms_back: Expected a 0-d gradient, got {list(grad.shape)}")
    x, y = promoted((input, target))
    count = math.prod(np.broadcast_shapes(x.shape, y.shape)) if word == "mean" else 1
    scale = 1.0 / max(count, 1)
    found = kernels.slopes(_expression(terms, bound, side), grad, x, y, scale)
    if found is not None:
        return found
    rule = _TERMS[terms].slopes[side]
    slope = rule(RAW, widened(x), widened(y), *_given(bound))
    return np.asarray(slope * (widened(grad) * x.dtype.type(scale))).astype(x.dtype, copy=False)


def reduced(
    m: Any, input: Any, target: Any, terms: str, reduction: Any, bound: float | None = None
) -> Any:
    """In a composite: the loss called `terms`, reduced."""
    word = reduction_word(reduction)
    kind = m.dtype(input)
    if word != "none" and kind is m.dtype(target) and kind.is_floating_point:
        return m.reduced_terms(input, target, terms, word, bound)
    return reduce_loss(m, getattr(m, terms)(input, target, *_given(bound)), word)


def reduce_loss(m: Any, loss: Any, reduction: Any) -> Any:
    """In a composite: the loss itself, its mean or its sum."""
    word = reduction_word(reduction)
    if word == "none":
        return loss
    return m.mean(loss) if word == "mean" else m.sum(loss)


# ---------------------------------------------------------------- the losses
@composite(method=False)
def mse_loss(m: Any, input: Array, target: Array, reduction: Any = "mean") -> Array:
    """The squared error ``(input - target) ** 2``, its mean or its sum; the two broadcast.

    >>> fl.mse_loss(fl.tensor([1.0, 2.0]), fl.tensor([1.0, 4.0])).item()
    2.0
    """
    if not (m.dtype(input).inexact or m.dtype(target).inexact):
        raise NotImplementedError(f"\"mse_cpu\" not implemented for '{m.dtype(input).title}'")
    return reduced(m, input, target, "squared_error_terms", reduction)


@composite(method=False)
def l1_loss(m: Any, input: Array, target: Array, reduction: Any = "mean") -> Array:
    """The absolute error ``|input - target|``, its mean or its sum; the two broadcast.

    >>> x, y = flambeau.tensor([1.0, 2.0]), flambeau.tensor([2.0, 5.0])
    >>> F.l1_loss(x, y), F.l1_loss(x, y, reduction="sum")
    (tensor(2.), tensor(4.))
    """
    if m.dtype(input).is_complex or m.dtype(target).is_complex:
        return reduce_loss(m, m.abs(input - target), reduction)
    return reduced(m, input, target, "absolute_error_terms", reduction)


def _check_floating(m: Any, name: str, *tensors: Any) -> None:
    """Refuse tensors that would be computed as integers or complex numbers."""
    kinds = [m.dtype(x) for x in tensors]
    if any(k.is_complex for k in kinds) or not any(k.is_floating_point for k in kinds):
        raise NotImplementedError(f"\"{name}\" not implemented for '{kinds[0].title}'")


@composite(method=False)
def smooth_l1_loss(
    m: Any, input: Array, target: Array, reduction: Any = "mean", beta: float = 1.0
) -> Array:
    """Quadratic below an error of `beta`, linear with slope 1 above; `l1_loss` where it is 0.

    >>> x, y = flambeau.tensor([0.0, 0.0]), flambeau.tensor([1.0, 3.0])
    >>> F.smooth_l1_loss(x, y, reduction="none", beta=2.0)
    tensor([0.2500, 2.0000])
    """
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    _check_floating(m, "smooth_l1_cpu", input, target)
    if beta == 0:
        return reduced(m, input, target, "absolute_error_terms", reduction)
    return reduced(m, input, target, "smooth_error_terms", reduction, float(beta))


@composite(method=False)
def huber_loss(
    m: Any, input: Array, target: Array, reduction: Any = "mean", delta: float = 1.0
) -> Array:
    """Quadratic up to an error of `delta`, linear with slope `delta` above (Huber, 1964).

    >>> x, y = flambeau.tensor([0.0, 0.0]), flambeau.tensor([1.0, 3.0])
    >>> F.huber_loss(x, y, reduction="none", delta=2.0)
    tensor([0.5000, 4.0000])
    """
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    _check_floating(m, "huber_cpu", input, target)
    return reduced(m, input, target, "huber_error_terms", reduction, float(delta))


@composite(method=False)
def binary_cross_entropy(
    m: Any, input: Array, target: Array, weight: Array | None = None, reduction: Any = "mean"
) -> Array:
    """``-(y log x + (1 - y) log(1 - x))`` of probabilities x in [0, 1], logs kept above -100.

    RuntimeError for an input outside [0, 1] or other dtypes than floating point.

    >>> x, y = flambeau.tensor([0.5, 0.0, 1.0]), flambeau.tensor([1.0, 0.0, 0.0])
    >>> F.binary_cross_entropy(x, y, reduction="none")
    tensor([  0.6931,   0.0000, 100.0000])
    """
    kind = m.dtype(input)
    if not kind.is_floating_point:
        raise NotImplementedError(f"\"binary_cross_entropy\" not implemented for '{kind.title}'")
    if m.dtype(target) is not kind:
        raise RuntimeError(
            f"Found dtype {m.dtype(target).title} but expected {kind.title} (binary_cross_entropy)"
        )
    if math.prod(input.shape):
        for name, x in (("input", input), ("target", target)):
            plain = m.constant(x)
            if not (m.holds(m.amin(plain) >= 0) and m.holds(m.amax(plain) <= 1)):
                raise RuntimeError(f"all elements of {name} should be between 0 and 1")
    return _weighted(m, input, target, "binary_cross_entropy_terms", weight, reduction)


def _weighted(m: Any, input: Any, target: Any, terms: str, weight: Any, reduction: Any) -> Any:
    if weight is None:
        return reduced(m, input, target, terms, reduction)
    return reduce_loss(m, _times(getattr(m, terms)(input, target), weight), reduction)


def _times(loss: Any, weight: Any) -> Any:
    """`loss` times what broadcasts to its shape."""
    shape = tuple(loss.shape)
    wide = np.broadcast_shapes(shape, tuple(weight.shape))
    if wide != shape:
        raise RuntimeError(
            f"output with shape {list(shape)} doesn't match the broadcast shape {list(wide)}"
        )
    return loss * weight


@composite(method=False)
def binary_cross_entropy_with_logits(
    m: Any,
    input: Array,
    target: Array,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: Any = "mean",
) -> Array:
    """`binary_cross_entropy` of ``sigmoid(input)``, computed without overflow.

    ``pos_weight`` multiplies the part of the positive targets; it broadcasts against the input.

    >>> x, y = flambeau.tensor([0.0, 100.0]), flambeau.tensor([1.0, 0.0])
    >>> F.binary_cross_entropy_with_logits(x, y, reduction="none")
    tensor([  0.6931, 100.0000])
    """
    if not m.dtype(target).inexact:
        raise RuntimeError(
            "binary_cross_entropy_with_logits: result type Float can't be cast to the desired "
            f"output type {m.dtype(target).title} (the target must be floating point)"
        )
    if pos_weight is None:
        return _weighted(m, input, target, "logistic_loss_terms", weight, reduction)
    factor = (pos_weight - 1) * target + 1
    loss = (1 - target) * input - m.logsigmoid(input) * factor
    if tuple(loss.shape) != tuple(input.shape):
        raise RuntimeError(
            f"output with shape {list(input.shape)} doesn't match the broadcast shape "
            f"{list(loss.shape)}"
        )
    return reduce_loss(m, loss if weight is None else _times(loss, weight), reduction)
