"""Softmax and its kin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends.cpu import softmax as kernels
from .promotion import floated, unsupported
from .record import Array, composite, structured
from .shapes import restore_dims, wrap_dim, wrap_dims


def _along(name: str, function: Any, input: Array, dim: int, dtype: Any) -> Array:
    axis = wrap_dim(dim, input.ndim)
    if dtype is not None:
        input = input.astype(dtype.numpy_dtype, copy=False)
    if not input.size:  # PyTorch asks nothing of its dtype
        return input.copy()
    if input.dtype.kind not in "fV":
        raise unsupported(f"{name}_lastdim_kernel_impl", input)
    return function(input, axis) if input.ndim else function(input.reshape(1), 0).reshape(())


@structured(
    grad={
        "input": lambda m, g, out, dim, input_dtype: m.cast(
            m.softmax_back(g, out, dim), input_dtype
        )
    },
    out=True,
)
def softmax(input: Array, dim: int, dtype: Any = None) -> Array:
    """``exp(input)`` divided by its sum along `dim`; computed in `dtype` if that is given.

    >>> fl.softmax(fl.zeros(4), 0).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    return _along("softmax", kernels.softmax, input, dim, dtype)


@structured(
    grad={
        "input": lambda m, g, out, dim, input_dtype: m.cast(
            m.log_softmax_back(g, out, dim), input_dtype
        )
    },
    out=True,
)
def log_softmax(input: Array, dim: int, dtype: Any = None) -> Array:
    """The logarithm of `softmax`, computed without overflow.

    >>> flambeau.log_softmax(flambeau.zeros(2), 0)
    tensor([-0.6931, -0.6931])
    """
    return _along("log_softmax", kernels.log_softmax, input, dim, dtype)


def _softmax_back_output(m: Any, g: Any, grad: Any, output: Any, dim: int) -> Any:
    if not output.ndim:
        return g * 0
    return g * (grad - m.sum(grad * output, (dim,), True)) - grad * m.sum(g * output, (dim,), True)


@structured(
    method=False,
    grad={
        "grad": lambda m, g, output, dim: m.softmax_back(g, output, dim),
        "output": _softmax_back_output,
    },
)
def softmax_back(grad: Array, output: Array, dim: int) -> Array:
    """The gradient of `softmax` from that of its result."""
    return _back(kernels.softmax_back, grad, output, dim)


def _fold(m: Any, x: Any, dim: int) -> Any:
    return m.sum(x, (dim,), True) if x.ndim else x


@structured(
    method=False,
    grad={
        "grad": lambda m, g, output, dim: g - _fold(m, g * m.exp(output), dim),
        "output": lambda m, g, grad, output, dim: -(g * m.exp(output) * _fold(m, grad, dim)),
    },
)
def log_softmax_back(grad: Array, output: Array, dim: int) -> Array:
    """The gradient of `log_softmax` from that of its result."""
    return _back(kernels.log_softmax_back, grad, output, dim)


def _back(function: Any, grad: Array, output: Array, dim: int) -> Array:
    if not output.ndim:
        return np.zeros_like(output)
    return function(grad, output, wrap_dim(dim, output.ndim))


@composite(method=False)
def softmin(m: Any, input: Array, dim: int, dtype: Any = None) -> Array:
    """`softmax` of ``-input``.

    >>> F.softmin(flambeau.tensor([0.0, 1.0, 1000.0]), 0)
    tensor([0.7311, 0.2689, 0.0000])
    """
    return m.softmax(-input, dim, dtype)


def _logsumexp_back(m: Any, g: Any, input: Any, out: Any, dim: Any, keepdim: bool) -> Any:
    shape = tuple(input.shape)
    g, out = (restore_dims(m, v, shape, dim, keepdim) for v in (g, out))
    # Where everything is -inf the difference is not a number, but nothing there has a share.
    finite = m.where(out == -math.inf, 0.0, out)
    share = m.exp(input - finite)
    return g * (m.conj(share) if m.dtype(share).is_complex else share)


@structured(out=True, grad={"input": _logsumexp_back}, aliases=("special_logsumexp",))
def logsumexp(input: Array, dim: Any, keepdim: bool = False) -> Array:
    """The logarithm of the sum of ``exp(input)`` over `dim`, computed without overflow.

    >>> flambeau.logsumexp(flambeau.tensor([[0.0, 0.0], [90.0, 90.0]]), dim=1)
    tensor([ 0.6931, 90.6931])
    """
    axes = wrap_dims(dim, input.ndim)
    return kernels.logsumexp(floated(input), axes, keepdim)
