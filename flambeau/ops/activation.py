"""Activation functions of neural networks, element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends.cpu.layout import in_memory_order
from ..generator import default_generator
from .record import Array, composite, pointwise, random
from .shapes import wrap_dim

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


relu = pointwise(
    "relu(input)",
    lambda m, x: m.maximum(x, 0),
    grad={"input": lambda m, g, out: m.where(out <= 0, 0, g)},
    out=False,
    refuse="bc",
    doc="""The larger of `input` and 0.

    >>> flambeau.relu(flambeau.tensor([-2.0, 0.0, 3.5]))
    tensor([0.0000, 0.0000, 3.5000])
    """,
)
relu6 = pointwise(
    "relu6(input)",
    lambda m, x: m.minimum(m.maximum(x, 0), 6),
    grad={"input": lambda m, g, input: m.where((input > 0) & (input < 6), g, 0)},
    node="HardtanhBackward0",
    out=False,
    method=False,
    refuse="bc",
    doc="""`input` kept within [0, 6].

    >>> F.relu6(flambeau.tensor([-1.0, 4.0, 9.0]))
    tensor([0., 4., 6.])
    """,
)
hardtanh = pointwise(
    "hardtanh(input, min_val=-1.0, max_val=1.0)",
    lambda m, x, low, high: m.minimum(m.maximum(x, low), high),
    grad={
        "input": lambda m, g, input, min_val, max_val: m.where(
            (input > min_val) & (input < max_val), g, 0
        )
    },
    out=False,
    method=False,
    refuse="bc",
    doc="""`input` kept within [`min_val`, `max_val`].

    >>> F.hardtanh(flambeau.tensor([-3.0, 0.25, 3.0]))
    tensor([-1.0000,  0.2500,  1.0000])
    >>> F.hardtanh(flambeau.tensor([-3.0, 0.25, 3.0]), 0.0, 2.0)
    tensor([0.0000, 0.2500, 2.0000])
    """,
)
threshold = pointwise(
    "threshold(input, threshold, value)",
    lambda m, x, threshold, value: m.where(x <= threshold, value, x),
    grad={"input": lambda m, g, input, threshold: m.where(input <= threshold, 0, g)},
    tensors=1,
    out=False,
    method=False,
    refuse="bc",
    doc="""`input` where it is above `threshold`, else `value`.

    >>> F.threshold(flambeau.tensor([0.5, 1.0, 1.5]), 1.0, -1.0)
    tensor([-1.0000, -1.0000,  1.5000])
    """,
)
leaky_relu = pointwise(
    "leaky_relu(input, negative_slope=0.01)",
    lambda m, x, slope: m.where(x > 0, x, x * slope),
    grad={"input": lambda m, g, input, negative_slope: m.where(input > 0, g, g * negative_slope)},
    out=False,
    method=False,
    refuse="bic",
    doc="""`input` above 0, `negative_slope` * `input` below.

    >>> F.leaky_relu(flambeau.tensor([-2.0, 2.0]), 0.25)
    tensor([-0.5000,  2.0000])
    """,
)
prelu_slope = pointwise(
    "prelu_slope(input, weight)",
    lambda m, x, w: m.where(x > 0, x, x * w),
    grad={
        "input": lambda m, g, input, weight: m.where(input > 0, g, g * weight),
        "weight": lambda m, g, input: m.where(input > 0, 0, g * input),
    },
    inplace=False,
    out=False,
    method=False,
    node="PreluKernelBackward0",
    doc="input above 0, weight * input below; the two broadcast.",
)
elu = pointwise(
    "elu(input, alpha=1.0, scale=1.0, input_scale=1.0)",
    lambda m, x, alpha, scale, inner: m.where(
        x > 0, x * scale, m.expm1(m.minimum(x, 0) * inner) * (alpha * scale)
    ),
    partials=(
        lambda m, input, alpha, scale, input_scale: m.where(
            input > 0,
            scale,
            m.exp(m.minimum(input, 0) * input_scale) * (alpha * scale * input_scale),
        ),
    ),
    out=False,
    method=False,
    refuse="bic",
    doc="""`input` above 0, `alpha` * (exp(`input`) - 1) below (Clevert et al., 2016).

    >>> F.elu(flambeau.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.6321,  0.0000,  2.0000])
    """,
)
selu = pointwise(
    "selu(input)",
    lambda m, x: m.where(
        x > 0, x * _SELU_SCALE, m.expm1(m.minimum(x, 0)) * (_SELU_ALPHA * _SELU_SCALE)
    ),
    partials=(
        lambda m, input: m.where(
            input > 0, _SELU_SCALE, m.exp(m.minimum(input, 0)) * (_SELU_ALPHA * _SELU_SCALE)
        ),
    ),
    out=False,
    method=False,
    refuse="bic",
    doc="""`elu` scaled to keep mean 0 and variance 1 (Klambauer et al., 2017).

    >>> F.selu(flambeau.tensor([-1.0, 0.0, 1.0]))
    tensor([-1.1113,  0.0000,  1.0507])
    """,
)
celu = pointwise(
    "celu(input, alpha=1.0)",
    lambda m, x, alpha: m.where(x > 0, x, m.expm1(m.minimum(x, 0) / alpha) * alpha),
    partials=(lambda m, input, alpha: m.where(input > 0, 1, m.exp(m.minimum(input, 0) / alpha)),),
    out=False,
    method=False,
    refuse="bic",
    doc="""max(0, x) + min(0, alpha * (exp(x / alpha) - 1)) (Barron, 2017).

    >>> F.celu(flambeau.tensor([-2.0, 0.0, 3.0]), alpha=2.0)
    tensor([-1.2642,  0.0000,  3.0000])
    """,
)
hardsigmoid = pointwise(
    "hardsigmoid(input)",
    lambda m, x: m.minimum(m.maximum(x + 3, 0), 6) / 6,
    grad={"input": lambda m, g, input: m.where((input > -3) & (input < 3), g / 6, 0)},
    out=False,
    method=False,
    refuse="bic",
    doc="""`input` / 6 + 1 / 2, kept within [0, 1].

    >>> F.hardsigmoid(flambeau.tensor([-4.0, 0.0, 1.5, 4.0]))
    tensor([0.0000, 0.5000, 0.7500, 1.0000])
    """,
)
hardswish = pointwise(
    "hardswish(input)",
    lambda m, x: x * m.minimum(m.maximum(x + 3, 0), 6) / 6,
    grad={
        "input": lambda m, g, input: m.where(
            input <= -3, 0, m.where(input < 3, g * (input / 3 + 0.5), g)
        )
    },
    out=False,
    method=False,
    refuse="bic",
    doc="""`input` * hardsigmoid(`input`) (Howard et al., 2019).

    >>> F.hardswish(flambeau.tensor([-4.0, 1.5, 4.0]))
    tensor([-0.0000, 1.1250, 4.0000])
    """,
)
silu = pointwise(
    "silu(input)",
    lambda m, x: x * m.sigmoid(x),
    partials=(lambda m, input: m.sigmoid(input) * (1 + input * (1 - m.sigmoid(input))),),
    out=False,
    method=False,
    refuse="bi",
    doc="""`input` * sigmoid(`input`), also called swish.

    >>> F.silu(flambeau.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2689,  0.0000,  0.7311])
    """,
)


def _softplus(m: Any, x: Any) -> Any:
    """log(1 + exp(x)) without overflow."""
    return m.maximum(x, 0) + m.log1p(m.exp(-m.abs(x)))


def _mish_slope(m: Any, x: Any) -> Any:
    t = m.tanh(_softplus(m, x))
    return t + x * m.sigmoid(x) * (1 - t * t)


mish = pointwise(
    "mish(input)",
    lambda m, x: x * m.tanh(_softplus(m, x)),
    partials=(lambda m, input: _mish_slope(m, input),),
    out=False,
    method=False,
    refuse="bic",
    doc="""`input` * tanh(softplus(`input`)) (Misra, 2019).

    >>> F.mish(flambeau.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.3034,  0.0000,  0.8651])
    """,
)
softplus = pointwise(
    "softplus(input, beta=1.0, threshold=20.0)",
    lambda m, x, beta, threshold: m.where(x * beta > threshold, x, _softplus(m, x * beta) / beta),
    grad={
        "input": lambda m, g, input, beta, threshold: m.where(
            input * beta > threshold, g, g * m.sigmoid(input * beta)
        )
    },
    inplace=False,
    method=False,
    refuse="bic",
    doc="""log(1 + exp(`beta` * `input`)) / `beta`; `input` where `beta` * `input` > `threshold`.

    >>> F.softplus(flambeau.tensor([-1.0, 0.0, 50.0]))
    tensor([ 0.3133,  0.6931, 50.0000])
    """,
)
logsigmoid = pointwise(
    "logsigmoid(input)",
    lambda m, x: m.minimum(x, 0) - m.log1p(m.exp(-m.abs(x))),
    partials=(lambda m, input: m.sigmoid(-input),),
    inplace=False,
    out=False,
    method=False,
    node="LogSigmoidBackward0",
    aliases=("log_sigmoid",),
    refuse="bic",
    doc="""log(sigmoid(`input`)), computed without overflow.

    >>> F.logsigmoid(flambeau.tensor([-1000.0, 0.0, 1.0]))
    tensor([-1.0000e+03, -6.9315e-01, -3.1326e-01])
    """,
)
shrink_softly = pointwise(
    "shrink_softly(input, lambd=0.5)",
    lambda m, x, lambd: x - m.minimum(m.maximum(x, -lambd), lambd),
    grad={"input": lambda m, g, input, lambd: m.where((input >= -lambd) & (input <= lambd), 0, g)},
    inplace=False,
    out=False,
    method=False,
    refuse="bic",
    node="SoftshrinkBackward0",
    doc="input moved towards 0 by lambd, as far as 0.",
)
hardshrink = pointwise(
    "hardshrink(input, lambd=0.5)",
    lambda m, x, lambd: m.where((x >= -lambd) & (x <= lambd), 0, x),
    grad={"input": lambda m, g, input, lambd: m.where((input >= -lambd) & (input <= lambd), 0, g)},
    inplace=False,
    refuse="bic",
    doc="""`input` where its size is above `lambd`, else 0.

    >>> F.hardshrink(flambeau.tensor([-1.5, 0.25, 0.75]))
    tensor([-1.5000,  0.0000,  0.7500])
    """,
)
gelu_exact = pointwise(
    "gelu_exact(input)",
    lambda m, x: x * m.ndtr(x),
    partials=(
        lambda m, input: (
            m.ndtr(input) + input * m.exp(input * input * -0.5) * (1 / math.sqrt(2 * math.pi))
        ),
    ),
    out=False,
    method=False,
    refuse="bic",
    node="GeluBackward0",
    doc="input times the normal distribution function of it.",
)


def _gelu_inner(m: Any, x: Any) -> Any:
    return m.tanh((x + x * x * x * 0.044715) * math.sqrt(2 / math.pi))


def _gelu_tanh_slope(m: Any, x: Any) -> Any:
    t = _gelu_inner(m, x)
    inner = (1 + x * x * (3 * 0.044715)) * math.sqrt(2 / math.pi)
    return (1 + t + x * (1 - t * t) * inner) * 0.5


gelu_tanh = pointwise(
    "gelu_tanh(input)",
    lambda m, x: x * (1 + _gelu_inner(m, x)) * 0.5,
    partials=(lambda m, input: _gelu_tanh_slope(m, input),),
    out=False,
    method=False,
    refuse="bic",
    node="GeluBackward0",
    doc="The approximation of gelu by the hyperbolic tangent.",
)


@composite(method=False, out=True)
def gelu(m: Any, input: Array, *, approximate: str = "none") -> Array:
    """``input`` times the normal distribution function of it (Hendrycks and Gimpel, 2016).

    `approximate` is "none" or "tanh"; RuntimeError for any other word.

    >>> F.gelu(flambeau.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.1587,  0.0000,  1.9545])
    >>> F.gelu(flambeau.tensor([-1.0, 0.0, 2.0]), approximate="tanh")
    tensor([-0.1588,  0.0000,  1.9546])
    """
    if approximate == "none":
        return m.gelu_exact(input)
    if approximate == "tanh":
        return m.gelu_tanh(input)
    raise RuntimeError("approximate argument must be either none or tanh.")


@composite(method=False, out=True)
def softshrink(m: Any, input: Array, lambd: float = 0.5) -> Array:
    """`input` moved towards 0 by `lambd`, as far as 0; RuntimeError for a negative `lambd`.

    >>> F.softshrink(flambeau.tensor([-1.5, 0.25, 0.75]))
    tensor([-1.0000,  0.0000,  0.2500])
    """
    if not lambd >= 0:
        raise RuntimeError(
            f"softshrink: lambda must be in range [0, inf) for input dtype {m.dtype(input)}, but "
            f"found {lambd:g}"
        )
    return m.shrink_softly(input, lambd)


@composite()
def prelu(m: Any, input: Array, weight: Array) -> Array:
    """`input` above 0, below it times `weight`: one number, or one for each channel (dim 1).

    >>> x = flambeau.tensor([[-4.0, -4.0], [1.0, 1.0]])
    >>> F.prelu(x, flambeau.tensor([0.5, 0.25]))
    tensor([[-2., -1.],
            [ 1.,  1.]])
    """
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if not m.dtype(input).is_floating_point:
        raise NotImplementedError(f"prelu is not implemented for '{m.dtype(input).title}'")
    count = weight.shape[0] if weight.ndim else 1
    if weight.ndim and count != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if not input.ndim:
            raise RuntimeError("Not allow zero-dim input tensor.")
        if channels != count:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{count} and channel size = {channels}."
            )
    if m.dtype(input) is not m.dtype(weight):
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {m.dtype(input)} and {m.dtype(weight)}"
        )
    if not weight.ndim:
        return m.prelu_slope(input, weight)
    shape = tuple(count if d == 1 else 1 for d in range(input.ndim))
    return m.prelu_slope(input, m.reshape(weight, shape))


@composite(method=False)
def glu(m: Any, input: Array, dim: int = -1) -> Array:
    """The first half of `input` along `dim` times the sigmoid of the second half.

    Source: Dauphin et al., 2017. RuntimeError for a 0-d input or an odd size.

    >>> F.glu(flambeau.tensor([6.0, 8.0, 0.0, 100.0]))
    tensor([3., 8.])
    """
    if not input.ndim:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    if not m.dtype(input).is_floating_point:
        raise NotImplementedError(f"\"glu_cpu\" not implemented for '{m.dtype(input).title}'")
    d = wrap_dim(dim, input.ndim)
    size = input.shape[d]
    if size % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {d} is size {size} (glu of "
            f"{list(input.shape)})"
        )
    half = size // 2
    return m.narrow(input, d, 0, half) * m.sigmoid(m.narrow(input, d, half, half))


@random(
    method=False,
    inplace=True,
    extras=("slope",),
    grad={"input": lambda m, g, slope: g * slope},
)
def rrelu(
    input: Array,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    generator: Any = None,
) -> Array:
    """Leaky relu with slopes drawn from [lower, upper], or their mean when not training.

    Source: Xu et al., 2015. RuntimeError for bounds that are not finite or the wrong way round.

    >>> F.rrelu(flambeau.tensor([-2.0, 3.0]), lower=0.25, upper=0.75)
    tensor([-1.,  3.])
    """
    if not math.isfinite(lower) or not math.isfinite(upper) or lower > upper:
        raise RuntimeError(
            "rrelu: Lower bound should be less than or equal to the upper bound, both finite; got "
            f"{lower} and {upper}"
        )
    kind, below = input.dtype, input <= 0
    slope = np.ones_like(input)
    if training:
        stream = default_generator if generator is None else generator
        drawn = stream.uniform(int(below.sum()), np.float64, lower, upper)
        in_memory_order(slope)[in_memory_order(below)] = drawn.astype(kind)
    else:
        slope[~(input > 0)] = kind.type((lower + upper) / 2)
    return input * slope, slope
