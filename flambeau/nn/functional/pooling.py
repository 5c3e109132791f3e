"""Pooling: the largest value, the mean or a norm of each window, and the inverse of the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...tensor import functions as fl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...tensor import Tensor

__all__ = [
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d_with_indices",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest value of each window: (N, C, L) -> (N, C, Lout); with indices if asked for."""
    return fl.max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest value of each window: (N, C, H, W) -> (N, C, Hout, Wout); with indices if asked."""
    return fl.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest value of each window of (N, C, D, H, W); with indices if asked for."""
    return fl.max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool1d` and the position of each window's largest value in its channel."""
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool2d` and the position of each window's largest value in its flattened channel."""
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool3d` and the position of each window's largest value in its flattened channel."""
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool2d` and the position of each window's largest value in its channel."""
    pool = fl.fractional_max_pool2d
    return pool(input, kernel_size, output_size, output_ratio, True, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool3d` and the position of each window's largest value in its channel."""
    pool = fl.fractional_max_pool3d
    return pool(input, kernel_size, output_size, output_ratio, True, _random_samples)


def _sizes(output_size: Any, input: Tensor, dims: int) -> list[int]:
    """An output size for each of ``dims`` dimensions; None keeps the input's."""
    if isinstance(output_size, int):
        return [output_size] * dims
    own = input.shape[-dims:]
    return [n if size is None else size for size, n in zip(output_size, own, strict=True)]


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest value of each of ``output_size`` even parts of (N, C, L); with indices if asked."""
    return fl.adaptive_max_pool1d(input, _sizes(output_size, input, 1), return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest value of each of ``output_size`` even parts of (N, C, H, W); with indices if asked.

    None in ``output_size`` keeps the input's size.
    """
    return fl.adaptive_max_pool2d(input, _sizes(output_size, input, 2), return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest value of each of ``output_size`` even parts of (N, C, D, H, W)."""
    return fl.adaptive_max_pool3d(input, _sizes(output_size, input, 3), return_indices)


def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool1d` with the positions of the largest values."""
    return adaptive_max_pool1d(input, output_size, True)


def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool2d` with the positions of the largest values."""
    return adaptive_max_pool2d(input, output_size, True)


def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool3d` with the positions of the largest values."""
    return adaptive_max_pool3d(input, output_size, True)


# -- norms of windows ------------------------------------------------------------------------


def _spread(value: Any, dims: int) -> list[int]:
    """A size for each of ``dims`` dimensions."""
    return [value] * dims if isinstance(value, int) else list(value)


def _lp_pool(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool, dims: int
) -> Tensor:
    kernel = _spread(kernel_size, dims)
    pool = (fl.avg_pool1d, fl.avg_pool2d, fl.avg_pool3d)[dims - 1]
    mean = pool(input**norm_type, kernel, kernel if stride is None else stride, 0, ceil_mode)
    count = 1
    for size in kernel:
        count *= size
    # An odd power can leave a negative mean, of which no root is taken.
    return (mean.sign() * mean.abs().relu() * count) ** (1.0 / norm_type)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: int, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """``(sum of x^p) ** (1/p)`` of each window of (N, C, L), with p = ``norm_type``."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 1)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """``(sum of x^p) ** (1/p)`` of each window of (N, C, H, W), with p = ``norm_type``."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 2)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """``(sum of x^p) ** (1/p)`` of each window of (N, C, D, H, W), with p = ``norm_type``."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 3)


# -- the inverse of max pooling --------------------------------------------------------------


def _unpool_size(
    input: Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    output_size: Sequence[int] | None,
) -> list[int]:
    dims = len(kernel)
    default = [
        (n - 1) * s + k - 2 * p
        for n, s, k, p in zip(input.shape[-dims:], stride, kernel, padding, strict=True)
    ]
    if output_size is None:
        return default
    chosen = list(output_size)
    if len(chosen) == dims + 2:
        chosen = chosen[2:]
    if len(chosen) != dims:
        raise ValueError(
            f"output_size should be a sequence containing {dims} or {dims + 2} elements, but it "
            f"has a length of '{len(chosen)}'"
        )
    for d, (size, middle, s) in enumerate(zip(chosen, default, stride, strict=True)):
        if not middle - s < size < middle + s:
            raise ValueError(
                f'invalid output_size "{tuple(output_size)}" (dim {d} must be between '
                f"{middle - s} and {middle + s})"
            )
    return chosen


def _max_unpool(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Sequence[int] | None,
    dims: int,
) -> Tensor:
    kernel = _spread(kernel_size, dims)
    steps = kernel if stride is None else _spread(stride, dims)
    size = _unpool_size(input, kernel, steps, _spread(padding, dims), output_size)
    if indices.shape != input.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ("
            f"{list(input.shape)}) but got indices tensor with shape: {list(indices.shape)}"
        )
    lead = input.shape[:-dims]
    values, places = input.flatten(-dims), indices.flatten(-dims)
    area = 1
    for n in size:
        area *= n
    flat = fl.zeros([*lead, area], dtype=input.dtype, device=input.device)
    try:
        flat = flat.scatter(-1, places, values)
    except RuntimeError:
        low, high = int(places.min()), int(places.max())
        raise RuntimeError(
            f"Found an invalid max index: {high if high >= area else low} (output volumes are of "
            f"size {'x'.join(str(n) for n in size)})"
        ) from None
    return flat.reshape([*lead, *size])


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts each value of (N, C, L) back where `max_pool1d` found it; zeros elsewhere."""
    return _max_unpool(input, indices, kernel_size, stride, padding, output_size, 1)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts each value of (N, C, H, W) back where `max_pool2d` found it; zeros elsewhere."""
    return _max_unpool(input, indices, kernel_size, stride, padding, output_size, 2)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts each value of (N, C, D, H, W) back where `max_pool3d` found it; zeros elsewhere."""
    return _max_unpool(input, indices, kernel_size, stride, padding, output_size, 3)
