"""Rearranging images: margins and sliding windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...devices import contiguous_format
from ...dtypes import int64
from ...tensor import functions as fl

if TYPE_CHECKING:
    from ...tensor import Tensor

__all__ = [
    "fold",
    "pad",
    "unfold",
]


def pad(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """``input`` with ``pad`` elements before and after its last dimensions, the last one first.

    ``mode`` is "constant" (with ``value``), "reflect", "replicate" or "circular". Negative
    numbers crop, in constant mode.

    >>> pad(fl.ones(2), (1, 2)).tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0]
    """
    if mode != "constant" and value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    return fl.pad(input, pad, mode, value)


# -- sliding windows -------------------------------------------------------------------------


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    if len(value) == 1:
        return value[0], value[0]
    return value[0], value[1]


def _blocks(size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> tuple[int, int]:
    """Number of window positions down and across."""
    return tuple(  # type: ignore[return-value]
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)
    )


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Windows of an image as columns: (N, C, H, W) -> (N, C kh kw, L), L window positions.

    Raises RuntimeError when no window fits.
    """
    kernel, spread, border, step = map(_pair, (kernel_size, dilation, padding, stride))
    image = input if input.dim() == 4 else input.unsqueeze(0)
    rows, columns = _blocks(image.shape[-2:], kernel, spread, border, step)
    if rows < 1 or columns < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(image.shape[-2:])}, kernel_size={kernel}, "
            f"dilation={spread}, padding={border}, calculated shape of the array of sliding "
            f"blocks as ({rows}, {columns}), but its components must be at least one."
        )
    if any(border):
        image = fl.pad(image, (border[1], border[1], border[0], border[0]))
    # (N, C, rows, columns, kh, kw)
    windows = image.unfold(2, spread[0] * (kernel[0] - 1) + 1, step[0])
    windows = windows.unfold(3, spread[1] * (kernel[1] - 1) + 1, step[1])
    windows = windows[..., :: spread[0], :: spread[1]]
    # A copy even where a view would do: windows may overlap, and the result may be changed.
    copied = windows.permute(0, 1, 4, 5, 2, 3).clone(memory_format=contiguous_format)
    columned = copied.view(image.size(0), image.size(1) * kernel[0] * kernel[1], rows * columns)
    return columned if input.dim() == 4 else columned.squeeze(0)


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Adds window columns up into images: (N, C kh kw, L) -> (N, C, H, W); adjoint of `unfold`.

    Raises RuntimeError for sizes that do not fit.
    """
    size = _pair(output_size)
    kernel, spread, border, step = map(_pair, (kernel_size, dilation, padding, stride))
    columns = input if input.dim() == 3 else input.unsqueeze(0)
    per_channel = kernel[0] * kernel[1]
    if columns.size(1) % per_channel:
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={columns.size(1)} and kernel_size={kernel}."
        )
    down, across = _blocks(size, kernel, spread, border, step)
    if columns.size(2) != down * across:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={spread}, "
            f"padding={border}, stride={step}, expected size of input's dimension 2 to match the "
            f"calculated number of sliding blocks {down} * {across} = {down * across}, but got "
            f"input.size(2)={columns.size(2)}."
        )
    batch, channels = columns.size(0), columns.size(1) // per_channel
    height, width = size[0] + 2 * border[0], size[1] + 2 * border[1]

    def places(axis: int, blocks: int) -> Tensor:  # (k, blocks): coordinate of each tap
        taps = fl.arange(kernel[axis], dtype=int64, device=input.device) * spread[axis]
        starts = fl.arange(blocks, dtype=int64, device=input.device) * step[axis]
        return taps.unsqueeze(1) + starts

    y, x = places(0, down), places(1, across)
    # (kh, kw, down, across), in the order of the columns' elements
    index = y[:, None, :, None] * width + x[None, :, None, :]
    flat = columns.reshape(batch, channels, -1)
    image = fl.zeros([batch, channels, height * width], dtype=input.dtype, device=input.device)
    image = image.index_add(2, index.reshape(-1), flat).reshape(batch, channels, height, width)
    image = image[..., border[0] : border[0] + size[0], border[1] : border[1] + size[1]]
    return image if input.dim() == 3 else image.squeeze(0)
