"""Convolutions of NumPy arrays in one to three dimensions, forward and backward.

Arrays are laid out as PyTorch's: input (N, C, *spatial), weight (M, C / groups, *kernel), output
(N, M, *spatial). float32 and float64 run on compiled kernels (see `convolution_plans`); everything
else, and everything where nothing can be compiled, on the NumPy path below, which adds up one
matrix product per tap. float16 and bfloat16 are summed in float32 and rounded once (see
`narrow_convolution`).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from ...compiler import jit
from . import channels_last as last
from . import convolution_plans as plans
from . import narrow_convolution as narrow
from .convolution_source import Array, Convolution, Sizes
from .layout import channels_last, contiguous, has_channels_last
from .matmul import linear, matmul

_COMPILED = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
_NARROW = frozenset({np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)})


def conv_forward(
    x: Array, w: Array, bias: Array | None, stride: Sizes, padding: Sizes, dilation: Sizes,
    groups: int, relu: bool = False,
) -> Array:  # fmt: skip
    """Return the convolution of x (N, C, *spatial) with w (M, C / groups, *kernel), plus bias (M).

    With `relu` results below zero become zero.

    >>> x = np.ones((1, 1, 3), np.float32)
    >>> conv_forward(x, np.ones((1, 1, 2), np.float32), None, (1,), (0,), (1,), 1)
    array([[[2., 2.]]], dtype=float32)
    """
    c = _describe(x.shape, w.shape, _tuple(stride), _tuple(padding), _tuple(dilation), groups)
    if has_channels_last(x) or has_channels_last(w):
        y = _forward_last(c, x, w, bias)
        return np.maximum(y, 0, out=y) if relu else y
    return _forward(c, x, w, bias, relu)


def _forward(c: Convolution, x: Array, w: Array, bias: Array | None, relu: bool = False) -> Array:
    """The output with its channels first."""
    if x.dtype in _NARROW and _is_product(c) and not relu and bias is None:
        flat = x.reshape(*c.x[:2], -1)
        return matmul(w.reshape(c.w[:2]), flat).reshape(c.x[0], c.w[0], *c.out)
    if x.dtype in _NARROW and _is_compiled(c, x, w):
        return narrow.forward(c, x, w, bias, relu)
    if x.dtype in _NARROW:
        wide = [None if v is None else v.astype(np.float32) for v in (x, w, bias)]
        y = reference_forward(c, *wide).astype(x.dtype)
    elif _is_compiled(c, x, w) and (bias is None or bias.dtype == x.dtype):
        return plans.run_forward(c, x, w, bias, relu)
    else:
        y = reference_forward(c, x, w, bias)
    return np.maximum(y, 0) if relu else y


def _is_product(c: Convolution) -> bool:
    """Whether each pixel of the output is its input times one matrix, and some exist."""
    moved = {*c.w[2:], *c.stride} != {1} or any(c.padding)
    return not moved and c.groups == 1 and 0 not in (*c.x, *c.w)


def _forward_last(c: Convolution, x: Array, w: Array, bias: Array | None) -> Array:
    """The output with its channels last in memory."""
    alike = w.dtype == x.dtype and (bias is None or bias.dtype == x.dtype)
    if alike and last.is_depthwise(c, x.dtype):
        return last.depthwise_forward(c, x, w, bias)
    if alike and x.dtype in _NARROW and _is_product(c):
        rows = linear(np.moveaxis(x, 1, -1), w.reshape(c.w[:2]), bias)
        return np.moveaxis(rows, -1, 1)
    if alike and last.serves_forward(c, x.dtype):
        return last.forward(c, x, w, bias)
    return channels_last(_forward(c, contiguous(x), contiguous(w), bias))


def conv_backward_input(
    g: Array, w: Array, input_shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes,
    groups: int,
) -> Array:  # fmt: skip
    """Return the gradient of the input, from that of the output, g (N, M, *spatial)."""
    moves = _tuple(stride), _tuple(padding), _tuple(dilation), groups
    c = _describe(tuple(input_shape), w.shape, *moves)
    _check_gradient("conv_backward_input", c, g)
    if not (has_channels_last(g) or has_channels_last(w)):
        return _backward_input(c, g, w)
    if w.dtype == g.dtype and last.is_depthwise(c, g.dtype):
        return last.depthwise_backward_input(c, g, w)
    if w.dtype == g.dtype and last.serves_backward_input(c, g.dtype):
        return last.backward_input(c, g, w)
    return channels_last(_backward_input(c, contiguous(g), contiguous(w)))


def _backward_input(c: Convolution, g: Array, w: Array) -> Array:
    """The gradient of the input with its channels first."""
    if g.dtype in _NARROW and _is_compiled(c, g, w):
        return narrow.backward_input(c, g, w)
    if g.dtype in _NARROW:
        wide = g.astype(np.float32), w.astype(np.float32)
        return reference_backward_input(c, *wide).astype(g.dtype)
    if _is_compiled(c, g, w):
        return plans.run_backward_input(c, g, w)
    return reference_backward_input(c, g, w)


def conv_backward_weight(
    g: Array, x: Array, weight_shape: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes,
    groups: int,
) -> Array:  # fmt: skip
    """Return the gradient of the weight, from that of the output, g (N, M, *spatial)."""
    moves = _tuple(stride), _tuple(padding), _tuple(dilation), groups
    c = _describe(x.shape, tuple(weight_shape), *moves)
    _check_gradient("conv_backward_weight", c, g)
    if not (has_channels_last(g) or has_channels_last(x)):
        return _backward_weight(c, g, x)
    if g.dtype == x.dtype and last.is_depthwise(c, x.dtype):
        return last.depthwise_backward_weight(c, g, x)
    if g.dtype == x.dtype and last.serves_backward_weight(c, x.dtype):
        return channels_last(last.backward_weight(c, g, x))
    return channels_last(_backward_weight(c, contiguous(g), contiguous(x)))


def _backward_weight(c: Convolution, g: Array, x: Array) -> Array:
    """The gradient of the weight, contiguous."""
    if g.dtype in _NARROW and _is_compiled(c, g, x):
        return narrow.backward_weight(c, g, x)
    if g.dtype in _NARROW:
        wide = g.astype(np.float32), x.astype(np.float32)
        return reference_backward_weight(c, *wide).astype(g.dtype)
    if _is_compiled(c, g, x):
        return plans.run_backward_weight(c, g, x)
    return reference_backward_weight(c, g, x)


def _is_compiled(c: Convolution, x: Array, w: Array) -> bool:
    return (
        (x.dtype in _COMPILED or x.dtype in _NARROW) and w.dtype == x.dtype
        and 0 not in c.x and 0 not in c.w and 0 not in c.out and jit.available()
    )  # fmt: skip


def _tuple(v: Any) -> Any:
    return tuple(v) if isinstance(v, list) else v


@functools.lru_cache(maxsize=1024)
def _describe(
    x: Sizes, w: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Convolution:
    """The convolution's sizes, checked."""
    if len(w) != len(x) or len(x) < 3:
        raise RuntimeError(
            f"convolution: expected input (N, C, *spatial) and weight (M, C/groups, *kernel) of as"
            f" many dimensions, got {tuple(x)} and {tuple(w)}"
        )
    nd = len(x) - 2
    stride, padding, dilation = (
        v if isinstance(v, tuple) else (v,) * nd for v in (stride, padding, dilation)
    )
    if groups < 1 or x[1] != w[1] * groups or w[0] % groups:
        raise RuntimeError(
            f"convolution: with groups={groups}, weight {tuple(w)} expects input with"
            f" {w[1] * groups} channels and a multiple of {groups} outputs, got input {tuple(x)}"
        )
    out = tuple(
        (e + 2 * p - d * (k - 1) - 1) // s + 1
        for e, k, s, p, d in zip(x[2:], w[2:], stride, padding, dilation, strict=True)
    )
    if any(o < 1 for o in out) and 0 not in x[2:]:
        raise RuntimeError(
            f"convolution: the kernel {tuple(w[2:])} (dilation {dilation}) does not fit the input"
            f" {tuple(x[2:])} with padding {padding}"
        )
    out = tuple(max(o, 0) for o in out)
    return Convolution(tuple(x), tuple(w), out, stride, padding, dilation, groups)


def _check_gradient(op: str, c: Convolution, g: Array) -> None:
    if g.shape != (c.x[0], c.w[0], *c.out):
        raise RuntimeError(
            f"{op}: expected a gradient of shape {(c.x[0], c.w[0], *c.out)}, got {g.shape}"
        )


# NumPy's path -------------------------------------------------------------------------------------


class _Tap(NamedTuple):
    """One position of the kernel, and the padded input it meets, output by output."""

    position: Sizes
    region: tuple[Any, ...]


def _taps(c: Convolution) -> Iterator[_Tap]:
    for position in itertools.product(*map(range, c.w[2:])):
        region = tuple(
            slice(k * d, k * d + s * (o - 1) + 1, s)
            for k, d, s, o in zip(position, c.dilation, c.stride, c.out, strict=True)
        )
        yield _Tap(position, (..., *region))


def _padded_extents(c: Convolution) -> Sizes:
    return tuple(e + 2 * p for e, p in zip(c.x[2:], c.padding, strict=True))


def _pad(c: Convolution, x: Array) -> Array:
    if not any(c.padding):
        return x
    wide = np.zeros((*x.shape[:2], *_padded_extents(c)), x.dtype)
    wide[_inside(c)] = x
    return wide


def _inside(c: Convolution) -> tuple[Any, ...]:
    return (..., *(slice(p, p + e) for p, e in zip(c.padding, c.x[2:], strict=True)))


def _grouped_weight(c: Convolution, w: Array, position: Sizes) -> Array:
    """The weights of one tap: (groups, M / groups, C / groups)."""
    return w[(..., *position)].reshape(c.groups, c.w[0] // c.groups, c.w[1])


def reference_forward(c: Convolution, x: Array, w: Array, bias: Array | None) -> Array:
    """Return the output by NumPy."""
    n, groups = c.x[0], c.groups
    pixels = int(np.prod(c.out))
    y = np.zeros((n, groups, c.w[0] // groups, pixels), np.result_type(x, w))
    wide = _pad(c, x)
    if y.size:
        for tap in _taps(c):
            pieces = wide[tap.region].reshape(n, groups, c.w[1], pixels)
            y += np.matmul(_grouped_weight(c, w, tap.position), pieces)
    y = y.reshape(n, c.w[0], *c.out)
    return y if bias is None else y + bias.reshape(-1, *(1,) * len(c.out))


def reference_backward_input(c: Convolution, g: Array, w: Array) -> Array:
    """Return the gradient of the input by NumPy."""
    n, groups = c.x[0], c.groups
    pixels = int(np.prod(c.out))
    wide = np.zeros((*c.x[:2], *_padded_extents(c)), np.result_type(g, w))
    grouped = g.reshape(n, groups, c.w[0] // groups, pixels)
    if g.size:
        for tap in _taps(c):
            turned = _grouped_weight(c, w, tap.position).swapaxes(1, 2)
            wide[tap.region] += np.matmul(turned, grouped).reshape(*c.x[:2], *c.out)
    return np.ascontiguousarray(wide[_inside(c)])


def reference_backward_weight(c: Convolution, g: Array, x: Array) -> Array:
    """Return the gradient of the weight by NumPy."""
    n, groups = c.x[0], c.groups
    pixels = int(np.prod(c.out))
    dw = np.zeros(c.w, np.result_type(g, x))
    wide = _pad(c, x)
    grouped = g.reshape(n, groups, c.w[0] // groups, pixels)
    if g.size:
        for tap in _taps(c):
            pieces = wide[tap.region].reshape(n, groups, c.w[1], pixels).swapaxes(2, 3)
            dw[(..., *tap.position)] = np.matmul(grouped, pieces).sum(0).reshape(c.w[:2])
    return dw
