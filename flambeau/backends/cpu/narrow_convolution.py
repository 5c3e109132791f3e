"""Convolutions of float16 and bfloat16 with channels first: sums are float32, rounded once.

bfloat16 is multiplied two at a time where the CPU has an instruction for that (AVX512_BF16): a
float32 then stands for two neighbours along the sum (two channels, or two images for the gradient
of the weight), and the convolution is one of half as many. Elsewhere operands are widened.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import ml_dtypes
import numpy as np

from ...compiler import allocator, target
from . import convolution_plans as plans
from . import narrow_kernels as kernels
from .convolution_source import PAIRS, Array, Convolution
from .layout import cast, contiguous
from .precision import NARROW

_BFLOAT16, _SINGLE = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32)
# Elements of a piece of an input, or output, that are made ready at a time.
_PIECE = 1 << 19


class Way(NamedTuple):
    """How to sum: over elements of what `kind`, which `prepare` makes of (outer, n, inner).

    `size` tells how many elements they become along the sum, of n.
    """

    kind: str
    prepare: Callable[[Array], Array]
    size: Callable[[int], int]


def forward(c: Convolution, x: Array, w: Array, bias: Array | None, relu: bool) -> Array:
    """Return the output, (N, M, *spatial); no size is zero."""
    way, channels = choose(x.dtype, c.w[1]), c.w[1]
    out = np.empty((c.x[0], c.w[0], *c.out), x.dtype)
    added = None if bias is None else widened(bias)
    depth = way.size(channels)
    weights = way.prepare(w.reshape(c.w[0], channels, -1)).reshape(c.w[0], depth, *c.w[2:])
    for images, piece in _pieces(c):
        shape = piece.x[0], c.groups * depth, *c.x[2:]
        source = way.prepare(x[images].reshape(-1, channels, math.prod(c.x[2:]))).reshape(shape)
        made = piece._replace(x=shape, w=weights.shape)
        _round(plans.run_forward(made, source, weights, added, relu, way.kind), out[images])
    return out


def backward_input(c: Convolution, g: Array, w: Array) -> Array:
    """Return the gradient of the input; no size is zero."""
    outputs = c.w[0] // c.groups
    way = choose(g.dtype, outputs)
    out = np.empty(c.x, g.dtype)
    depth = c.groups * way.size(outputs)
    weights = way.prepare(w.reshape(c.groups, outputs, -1)).reshape(depth, *c.w[1:])
    for images, piece in _pieces(c):
        gradients = way.prepare(g[images].reshape(-1, outputs, math.prod(c.out)))
        gradients = gradients.reshape(piece.x[0], depth, *c.out)
        made = piece._replace(w=weights.shape)
        _round(plans.run_backward_input(made, gradients, weights, way.kind), out[images])
    return out


def backward_weight(c: Convolution, g: Array, x: Array) -> Array:
    """Return the gradient of the weight; no size is zero."""
    way = choose(g.dtype, c.x[0])
    total = np.zeros(c.w, _SINGLE)
    for images, piece in _pieces(c, 2):
        count = piece.x[0]
        gradients, source = (
            way.prepare(v[images].reshape(1, count, -1)).reshape(way.size(count), *v.shape[1:])
            for v in (g, x)
        )
        made = piece._replace(x=source.shape)
        total += plans.run_backward_weight(made, gradients, source, way.kind)
    return cast(total, g.dtype)


def choose(dtype: np.dtype, depth: int) -> Way:
    """How to compute sums of `depth` products, apart from those over the taps of the kernel."""
    if dtype == _BFLOAT16 and depth > 1 and _has_pairs():
        return Way(PAIRS, paired, lambda n: -(-n // 2))
    if dtype in NARROW:
        return Way("float32", widened, lambda n: n)
    return Way(dtype.name, contiguous, lambda n: n)


@functools.cache
def _has_pairs() -> bool:
    return target.host().has("avx512bf16")


def paired(x: Array) -> Array:
    """`x` (outer, n, inner) as words of two neighbours, (outer, n / 2, inner).

    The neighbour of the last of an odd number is zero.
    """
    outer, n, inner = x.shape
    if n % 2:
        even = np.zeros((outer, n + 1, inner), x.dtype)
        even[:, :n] = x
        x = even
    plain = contiguous(x).view(np.int16)
    allocator.prepare(plain.nbytes)
    words = np.empty((outer, -(-n // 2), inner), _SINGLE)
    kernels.interleave_pairs(words.size // inner, 2 * inner, plain, words.view(np.int16), inner)
    return words


def widened(x: Array) -> Array:
    """`x` as float32, contiguous."""
    return cast(contiguous(x), _SINGLE)


def _round(made: Array, out: Array) -> None:
    """Write float32 numbers to `out`, of half precision."""
    kernels.convert(-(-made.size // kernels.BLOCK), kernels.BLOCK, made, out, made.size)


def _pieces(c: Convolution, unit: int = 1) -> Iterator[tuple[slice, Convolution]]:
    """As many images as are made ready at a time, a multiple of `unit`, and their convolution."""
    image = max(math.prod(c.x[1:]), c.w[0] * math.prod(c.out))
    count = max(1, _PIECE // (image * unit)) * unit
    for start in range(0, c.x[0], count):
        stop = min(start + count, c.x[0])
        yield slice(start, stop), c._replace(x=(stop - start, *c.x[1:]))
