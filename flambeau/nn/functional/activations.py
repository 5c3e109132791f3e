"""Activation functions with an ``inplace`` switch, softmax and its kin."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from ...tensor import functions as fl

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = [
    "celu",
    "celu_",
    "elu",
    "elu_",
    "glu",
    "gumbel_softmax",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "log_softmax",
    "logsigmoid",
    "mish",
    "relu",
    "relu6",
    "relu_",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
]


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``max(0, input)``, element by element.

    >>> relu(fl.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return input.relu_() if inplace else fl.relu(input)


def relu_(input: Tensor) -> Tensor:
    """`relu` in place."""
    return input.relu_()


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(0, input), 6)``."""
    return input.relu6_() if inplace else fl.relu6(input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """``input`` where it is above ``threshold``, else ``value``."""
    if inplace:
        return input.threshold_(threshold, value)
    return fl.threshold(input, threshold, value)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place."""
    return input.threshold_(threshold, value)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """``input`` clamped to [min_val, max_val]; ValueError if the bounds are the wrong way round."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if min_val < 0 and not input.dtype.is_signed:
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    if inplace:
        return input.hardtanh_(min_val, max_val)
    return fl.hardtanh(input, min_val, max_val)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place."""
    return input.hardtanh_(min_val, max_val)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``input`` above 0, ``alpha * (exp(input) - 1)`` below (Clevert et al., 2016)."""
    return input.elu_(alpha) if inplace else fl.elu(input, alpha)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu` in place."""
    return input.elu_(alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Scaled `elu` that keeps mean 0 and variance 1 (Klambauer et al., 2017)."""
    return input.selu_() if inplace else fl.selu(input)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place."""
    return input.selu_()


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``max(0, x) + min(0, alpha * (exp(x / alpha) - 1))`` (Barron, 2017)."""
    return input.celu_(alpha) if inplace else fl.celu(input, alpha)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place."""
    return input.celu_(alpha)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``input`` above 0, ``negative_slope * input`` below."""
    if inplace:
        return input.leaky_relu_(negative_slope)
    return fl.leaky_relu(input, negative_slope)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place."""
    return input.leaky_relu_(negative_slope)


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """`leaky_relu` with slopes drawn from [lower, upper], or their mean when not training.

    Source: Xu et al., 2015. Raises RuntimeError for bounds the wrong way round.
    """
    if inplace:
        return input.rrelu_(lower, upper, training)
    return fl.rrelu(input, lower, upper, training)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """`rrelu` in place."""
    return input.rrelu_(lower, upper, training)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(0, input + 3), 6) / 6``."""
    return input.hardsigmoid_() if inplace else fl.hardsigmoid(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input * hardsigmoid(input)`` (Howard et al., 2019)."""
    return input.hardswish_() if inplace else fl.hardswish(input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input * sigmoid(input)``, also called swish."""
    return input.silu_() if inplace else fl.silu(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input * tanh(softplus(input))`` (Misra, 2019)."""
    return input.mish_() if inplace else fl.mish(input)


def sigmoid(input: Tensor) -> Tensor:
    """``1 / (1 + exp(-input))``."""
    return fl.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return fl.tanh(input)


def tanhshrink(input: Tensor) -> Tensor:
    """``input - tanh(input)``."""
    return input - input.tanh()


def softsign(input: Tensor) -> Tensor:
    """``input / (1 + |input|)``."""
    return input / (input.abs() + 1)


def logsigmoid(input: Tensor) -> Tensor:
    """``log(sigmoid(input))``, computed without overflow."""
    return fl.logsigmoid(input)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """First half of ``input`` along ``dim`` times the sigmoid of the second half.

    Source: Dauphin et al., 2017. Raises RuntimeError for a 0-d input or an odd size.
    """
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    return fl.glu(input, dim)


# -- softmax ---------------------------------------------------------------------------------


def _class_dim(name: str, input: Tensor, dim: int | None, stacklevel: int) -> int:
    """The dimension meant when none is given, with PyTorch's warning that this is deprecated."""
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include "
        "dim=X as an argument.",
        stacklevel=stacklevel + 1,
    )
    return 0 if input.dim() in (0, 1, 3) else 1


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """``exp(input)`` divided by its sum along ``dim``; computed in ``dtype`` if that is given.

    >>> softmax(fl.zeros(4), dim=0).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    if dim is None:
        dim = _class_dim("softmax", input, dim, _stacklevel)
    return fl.softmax(input, dim) if dtype is None else fl.softmax(input, dim, dtype=dtype)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """`softmax` of ``-input``."""
    dim = _class_dim("softmin", input, dim, _stacklevel)
    return softmax(-input, dim, dtype=dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Logarithm of `softmax`, computed without overflow."""
    if dim is None:
        dim = _class_dim("log_softmax", input, dim, _stacklevel)
    return fl.log_softmax(input, dim) if dtype is None else fl.log_softmax(input, dim, dtype=dtype)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Samples of the relaxed categorical distribution of ``logits`` at temperature ``tau``.

    With ``hard`` the result is one-hot, with the gradient of the soft sample. Sources: Jang et
    al., 2017; Maddison et al., 2017. ``eps`` is not used.
    """
    noise = -fl.empty_like(logits).exponential_().log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.argmax(dim, keepdim=True)
    one_hot = fl.zeros_like(logits).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
