"""A batch normalization in evaluation mode folded into the layer before it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ...tensor import Parameter
from ...tensor import functions as fl

if TYPE_CHECKING:
    from ...tensor import Tensor


def _folded(
    weight: Tensor,
    bias: Tensor | None,
    running: tuple[Tensor, Tensor],
    eps: float,
    affine: tuple[Tensor | None, Tensor | None],
    shape: list[int],
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the layer that scales and shifts as well; `shape` is the scale's."""
    mean, variance = running
    gain, shift = affine
    scale = fl.rsqrt(variance + eps)
    if gain is not None:
        scale = scale * gain
    start = -mean if bias is None else bias - mean
    moved = start * scale if shift is None else start * scale + shift
    return (
        Parameter((weight * scale.reshape(shape)).to(weight.dtype), weight.requires_grad),
        Parameter(
            moved.to(weight.dtype if bias is None else bias.dtype),
            bias is not None and bias.requires_grad,
        ),
    )


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the convolution that also normalizes its output.

    `bn_rm` and `bn_rv` are the running mean and variance of its channels, `bn_w` and `bn_b` the
    normalization's weight and bias (None for one and zero). `transpose` says that `conv_w` is of
    a transposed convolution, (in, out, *).
    """
    shape = [1] * conv_w.dim()
    shape[1 if transpose else 0] = -1
    return _folded(conv_w, conv_b, (bn_rm, bn_rv), bn_eps, (bn_w, bn_b), shape)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the linear layer that also normalizes its output.

    The arguments are those of `fuse_conv_bn_weights`.
    """
    return _folded(linear_w, linear_b, (bn_rm, bn_rv), bn_eps, (bn_w, bn_b), [-1, 1])


def _fused(layer: Any, bn: Any, fuse: Any, *more: Any) -> Any:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
    made = copy.deepcopy(layer)
    made.weight, made.bias = fuse(
        made.weight, made.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, *more
    )
    return made


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of the convolution `conv` that also does what the batch normalization `bn` does.

    AssertionError if one of them is in training mode, or `bn` has no running statistics.
    """
    return _fused(conv, bn, fuse_conv_bn_weights, transpose)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of the linear layer `linear` that also does what the batch normalization `bn` does.

    AssertionError if one of them is in training mode, `bn` has no running statistics, or its
    number of features is neither 1 nor that of the layer's outputs.
    """
    if bn.num_features not in (1, linear.out_features) and not (linear.training or bn.training):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    return _fused(linear, bn, fuse_linear_bn_weights)
