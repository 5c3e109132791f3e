"""Pooling: the largest value or the mean of windows over the last dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu import pooling as kernels
from ..backends.cpu.interpolation import even_mean
from ..backends.cpu.windows import Axis
from .promotion import unsupported, widened
from .record import Array, composite, structured


# ---------------------------------------------------------------- arguments
def each(name: str, label: str, value: Any, rank: int) -> tuple[int, ...]:
    """One size for each of `rank` dimensions, from a number or a sequence."""
    if isinstance(value, (int, np.integer)):
        return (int(value),) * rank
    sizes = tuple(int(v) for v in value)
    if len(sizes) == 1:
        return sizes * rank
    if len(sizes) != rank:
        raise RuntimeError(
            f"{name}: {label} must either be a single int, or a tuple of {rank} ints, but got "
            f"{list(sizes)}"
        )
    return sizes


def _window_count(size: int, span: int, stride: int, padding: int, ceil_mode: bool) -> int:
    room = size + 2 * padding - span
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    # The last window must begin inside the input or its left padding.
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return count


def window_axes(
    name: str,
    shape: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    rank: int,
) -> tuple[Axis, ...]:
    """How windows slide over the last `rank` dimensions; RuntimeError for what does not fit."""
    shape = tuple(shape)
    if len(shape) not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"{name}: Expected {rank + 1}D or {rank + 2}D input, but got input of size: "
            f"{list(shape)}"
        )
    kernel = each(name, "kernel_size", kernel_size, rank)
    empty = stride is None or (not isinstance(stride, (int, np.integer)) and not len(stride))
    step = kernel if empty else each(name, "stride", stride, rank)
    border = each(name, "padding", padding, rank)
    spread = each(name, "dilation", dilation, rank)
    if min(kernel) <= 0:
        raise RuntimeError(f"{name}: kernel size should be greater than zero, but got {kernel}")
    if min(step) <= 0:
        raise RuntimeError(f"{name}: stride should be greater than zero, but got {step}")
    if min(spread) <= 0:
        raise RuntimeError(f"{name}: dilation should be greater than zero, but got {spread}")
    if min(border) < 0:
        raise RuntimeError(f"{name}: padding must be non-negative, but got {border}")
    axes = []
    for n, k, s, p, d in zip(shape[-rank:], kernel, step, border, spread, strict=True):
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"{name}: pad should be at most half of effective kernel size, but got pad={p}, "
                f"kernel_size={k} and dilation={d}"
            )
        axes.append(Axis(n, _window_count(n, d * (k - 1) + 1, s, p, ceil_mode), k, s, p, d))
    if any(a.count < 1 for a in axes) or 0 in shape[1 if len(shape) == rank + 2 else 0 :]:
        raise RuntimeError(
            f"{name}: Given input size: {list(shape)}. Calculated output size: "
            f"{[*shape[:-rank], *(a.count for a in axes)]}. Output size is too small"
        )
    return tuple(axes)


# ---------------------------------------------------------------- the largest value
def _max_pool_back_rule(m: Any, g: Any, input: Any, axes: Any) -> Any:
    indices = m.max_pool_windows_indices(m.constant(input), axes)[1]
    return m.pick_at(g, indices, len(axes))


@structured(
    method=False,
    remade=True,
    namer=lambda node: f"MaxPool{len(node.s_axes)}DWithIndicesBackward0",
    grad={
        "input": lambda m, g, input, axes, out: m.max_pool_windows_back(
            g, m.constant(input), m.constant(out), axes
        )
    },
)
def max_pool_windows(input: Array, axes: Any) -> Array:
    """The largest value of each window; ``axes`` says how the windows slide."""
    if input.dtype.kind in "bc":
        raise unsupported("max_pool", input)
    return kernels.max_pool(input, axes)


@structured(method=False, grad={"grad": _max_pool_back_rule})
def max_pool_windows_back(grad: Array, input: Array, output: Array, axes: Any) -> Array:
    """The gradient of `max_pool_windows`, which made `output` of `input`."""
    wide = widened(grad)
    return kernels.max_pool_back(wide, input, output, axes).astype(grad.dtype, copy=False)


@structured(
    method=False,
    outputs=2,
    namer=lambda node: f"MaxPool{len(node.s_axes)}DWithIndicesBackward0",
    grad={
        "input": lambda m, g, out1, axes: m.place_at(
            g[0], m.constant(out1), tuple(a.size for a in axes)
        )
    },
)
def max_pool_windows_indices(input: Array, axes: Any) -> Array:
    """`max_pool_windows` and where each value lies in the flattened last dimensions."""
    return kernels.max_pool_indices(input, axes)


@structured(
    method=False,
    grad={"input": lambda m, g, indices, sizes: m.pick_at(g, indices, len(sizes))},
)
def place_at(input: Array, indices: Array, sizes: Any) -> Array:
    """Zeros of `sizes` (with the leading dimensions) to which the values are added at `indices`."""
    wide = widened(input)
    return kernels.place(wide, indices, tuple(sizes)).astype(input.dtype, copy=False)


@structured(
    method=False,
    grad={
        "input": lambda m, g, indices, rank, input_shape: m.place_at(
            g, indices, tuple(input_shape[len(input_shape) - rank :])
        )
    },
)
def pick_at(input: Array, indices: Array, rank: int) -> Array:
    """The values at `indices` into the flattened last `rank` dimensions."""
    return kernels.pick(input, indices, rank)


def _max_pool(
    m: Any, name: str, rank: int, input: Any, window: tuple[Any, ...], return_indices: bool
) -> Any:
    axes = window_axes(name, input.shape, *window, rank)
    if return_indices:
        return m.max_pool_windows_indices(input, axes)
    return m.max_pool_windows(input, axes)


@composite(method=False)
def max_pool1d(
    m: Any,
    input: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Array:
    """Largest value of each window: (N, C, L) or (C, L); with positions in L if asked for.

    >>> F.max_pool1d(flambeau.tensor([[3.0, 1.0, 4.0, 1.0, 5.0]]), 2)
    tensor([[3., 4.]])
    >>> F.max_pool1d(flambeau.tensor([[3.0, 1.0, 4.0, 1.0, 5.0]]), 3, stride=1, return_indices=True)
    (tensor([[4., 4., 5.]]), tensor([[2, 2, 4]]))
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(m, "max_pool1d", 1, input, window, return_indices)


@composite(method=False)
def max_pool2d(
    m: Any,
    input: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Array:
    """Largest value of each window: (N, C, H, W) or (C, H, W); with positions in H * W if asked.

    >>> x = flambeau.arange(16.0).reshape(1, 4, 4)
    >>> F.max_pool2d(x, 2).tolist()
    [[[5.0, 7.0], [13.0, 15.0]]]
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(m, "max_pool2d", 2, input, window, return_indices)


@composite(method=False)
def max_pool3d(
    m: Any,
    input: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Array:
    """Largest value of each window: (N, C, D, H, W) or without N; with positions if asked for.

    >>> F.max_pool3d(flambeau.arange(8.0).reshape(1, 2, 2, 2), 2).flatten()
    tensor([7.])
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(m, "max_pool3d", 3, input, window, return_indices)


# ---------------------------------------------------------------- the mean
@structured(
    method=False,
    namer=lambda node: f"AvgPool{len(node.s_axes)}DBackward0",
    grad={
        "input": lambda m, g, axes, include_pad, divisor: m.avg_pool_windows_back(
            g, axes, include_pad, divisor
        )
    },
)
def avg_pool_windows(
    input: Array, axes: Any, include_pad: bool = True, divisor: int | None = None
) -> Array:
    """The sum of each window over `divisor`, by default over how many values it holds."""
    divisors = kernels.divisors(axes, include_pad, divisor)
    return kernels.avg_pool(widened(input), axes, divisors).astype(input.dtype, copy=False)


@structured(
    method=False,
    grad={
        "input": lambda m, g, axes, include_pad, divisor: m.avg_pool_windows(
            g, axes, include_pad, divisor
        )
    },
)
def avg_pool_windows_back(
    input: Array, axes: Any, include_pad: bool = True, divisor: int | None = None
) -> Array:
    """The gradient of `avg_pool_windows`."""
    divisors = kernels.divisors(axes, include_pad, divisor)
    return kernels.avg_pool_back(widened(input), axes, divisors).astype(input.dtype, copy=False)


def _avg_pool(
    m: Any,
    name: str,
    rank: int,
    input: Any,
    window: tuple[Any, ...],
    include_pad: bool,
    divisor: int | None = None,
) -> Any:
    kernel, stride, padding, ceil_mode = window
    axes = window_axes(name, input.shape, kernel, stride, padding, 1, ceil_mode, rank)
    kind = m.dtype(input)
    if not kind.is_floating_point and kind is not dtypes.int64:
        raise NotImplementedError(f"\"{name}\" not implemented for '{m.dtype(input).title}'")
    if divisor == 0:
        raise RuntimeError("divisor must be not zero")
    return m.avg_pool_windows(input, axes, include_pad, divisor)


@composite(method=False)
def avg_pool1d(
    m: Any,
    input: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Mean of each window: (N, C, L) or (C, L).

    >>> F.avg_pool1d(flambeau.tensor([[1.0, 3.0, 5.0, 11.0]]), 2)
    tensor([[2., 8.]])
    >>> F.avg_pool1d(flambeau.tensor([[1.0, 3.0]]), 2, padding=1, count_include_pad=False)
    tensor([[1., 3.]])
    """
    window = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool(m, "avg_pool1d", 1, input, window, count_include_pad)


@composite(method=False)
def avg_pool2d(
    m: Any,
    input: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Mean of each window: (N, C, H, W) or (C, H, W); or its sum over `divisor_override`.

    >>> F.avg_pool2d(flambeau.arange(8.0).reshape(1, 2, 4), 2)
    tensor([[[2.5000, 4.5000]]])
    >>> F.avg_pool2d(flambeau.arange(8.0).reshape(1, 2, 4), 2, divisor_override=1)
    tensor([[[10., 18.]]])
    """
    window = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool(m, "avg_pool2d", 2, input, window, count_include_pad, divisor_override)


@composite(method=False)
def avg_pool3d(
    m: Any,
    input: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Mean of each window: (N, C, D, H, W) or without N; or its sum over `divisor_override`.

    >>> F.avg_pool3d(flambeau.arange(8.0).reshape(1, 2, 2, 2), 2).flatten()
    tensor([3.5000])
    """
    window = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool(m, "avg_pool3d", 3, input, window, count_include_pad, divisor_override)


# ---------------------------------------------------------------- even parts
def _parts(name: str, input: Any, output_size: Any, rank: int) -> tuple[int, ...]:
    shape = tuple(input.shape)
    if len(shape) not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"{name}: Expected {rank + 1}D or {rank + 2}D tensor, but got {list(shape)}"
        )
    if any(n == 0 for n in shape[1 if len(shape) == rank + 2 else 0 :]):
        raise RuntimeError(
            f"{name}: Expected input to have non-zero size for non-batch dimensions, but input has "
            f"sizes {list(shape)}"
        )
    if isinstance(output_size, (int, np.integer)):
        sizes = (int(output_size),) * rank
    else:
        given = list(output_size) * (rank if len(output_size) == 1 else 1)
        if len(given) != rank:
            raise RuntimeError(f"{name}: output_size must have {rank} numbers, got {given}")
        sizes = tuple(
            n if size is None else int(size) for size, n in zip(given, shape[-rank:], strict=True)
        )
    if min(sizes) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0, got {sizes}"
        )
    return sizes


def _even(sizes: Any, counts: Any) -> tuple[Axis, ...] | None:
    """The parts as windows, where all parts are equally large."""
    pairs = list(zip(sizes, counts, strict=True))
    if any(c == 0 or n % c for n, c in pairs):
        return None
    return tuple(Axis(n, c, n // c, n // c, 0, 1) for n, c in pairs)


def _adaptive_avg_pool(m: Any, name: str, rank: int, input: Any, output_size: Any) -> Any:
    counts = _parts(name, input, output_size, rank)
    if not m.dtype(input).is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{m.dtype(input).title}'")
    sizes = tuple(input.shape)[-rank:]
    dims = tuple(range(-rank, 0))
    if all(c == 1 for c in counts):
        return m.mean(input, dims, True)
    axes = _even(sizes, counts)
    if axes is not None:
        return m.avg_pool_windows(input, axes)
    maps = [even_mean(d, n, c) for d, n, c in zip(dims, sizes, counts, strict=True)]
    return m.resample(input, maps)


@composite(method=False)
def adaptive_avg_pool1d(m: Any, input: Array, output_size: Any) -> Array:
    """Mean of each of `output_size` even parts of (N, C, L) or (C, L).

    >>> F.adaptive_avg_pool1d(flambeau.tensor([[1.0, 3.0, 5.0, 7.0, 9.0]]), 2)
    tensor([[3., 7.]])
    """
    return _adaptive_avg_pool(m, "adaptive_avg_pool1d", 1, input, output_size)


@composite(method=False)
def adaptive_avg_pool2d(m: Any, input: Array, output_size: Any) -> Array:
    """Mean of each of `output_size` even parts of (N, C, H, W); None keeps a size.

    >>> F.adaptive_avg_pool2d(flambeau.arange(8.0).reshape(1, 2, 4), (1, None))
    tensor([[[2., 3., 4., 5.]]])
    """
    return _adaptive_avg_pool(m, "adaptive_avg_pool2d", 2, input, output_size)


@composite(method=False)
def adaptive_avg_pool3d(m: Any, input: Array, output_size: Any) -> Array:
    """Mean of each of `output_size` even parts of (N, C, D, H, W); None keeps a size.

    >>> F.adaptive_avg_pool3d(flambeau.arange(8.0).reshape(1, 2, 2, 2), (2, 1, 1)).flatten()
    tensor([1.5000, 5.5000])
    """
    return _adaptive_avg_pool(m, "adaptive_avg_pool3d", 3, input, output_size)


@structured(
    method=False,
    outputs=2,
    namer=lambda node: f"AdaptiveMaxPool{len(node.s_counts)}DBackward0",
    grad={
        "input": lambda m, g, out1, counts, input_shape: m.place_at(
            g[0], m.constant(out1), tuple(input_shape[len(input_shape) - len(counts) :])
        )
    },
)
def adaptive_max_parts(input: Array, counts: Any) -> Array:
    """The largest value of each even part and its place in the flattened last dimensions."""
    if input.dtype.kind not in "fViu":
        raise unsupported("adaptive_max_pool", input)
    return kernels.adaptive_max_pool(input, tuple(counts))


def _adaptive_max_pool(
    m: Any, name: str, rank: int, input: Any, output_size: Any, return_indices: bool
) -> Any:
    values, indices = m.adaptive_max_parts(input, _parts(name, input, output_size, rank))
    return (values, indices) if return_indices else values


@composite(method=False)
def adaptive_max_pool1d(m: Any, input: Array, output_size: Any, return_indices: bool = True) -> Any:
    """Largest value of each of `output_size` even parts of (N, C, L), with its position in L.

    >>> F.adaptive_max_pool1d(flambeau.tensor([[4.0, 2.0, 1.0, 8.0]]), 2, return_indices=True)
    (tensor([[4., 8.]]), tensor([[0, 3]]))
    """
    return _adaptive_max_pool(m, "adaptive_max_pool1d", 1, input, output_size, return_indices)


@composite(method=False)
def adaptive_max_pool2d(m: Any, input: Array, output_size: Any, return_indices: bool = True) -> Any:
    """Largest value of each of `output_size` even parts of (N, C, H, W), with its position.

    >>> F.adaptive_max_pool2d(flambeau.arange(8.0).reshape(1, 2, 4), 1)
    tensor([[[7.]]])
    """
    return _adaptive_max_pool(m, "adaptive_max_pool2d", 2, input, output_size, return_indices)


@composite(method=False)
def adaptive_max_pool3d(m: Any, input: Array, output_size: Any, return_indices: bool = True) -> Any:
    """Largest value of each of `output_size` even parts of (N, C, D, H, W), with its position.

    >>> F.adaptive_max_pool3d(flambeau.arange(8.0).reshape(1, 2, 2, 2), (1, 1, 2)).flatten()
    tensor([6., 7.])
    """
    return _adaptive_max_pool(m, "adaptive_max_pool3d", 3, input, output_size, return_indices)
