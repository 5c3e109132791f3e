"""Convolutions in one to three dimensions, and their transposes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...tensor import Parameter
from ...tensor import functions as fl
from .. import functional as F
from .. import init
from .module import Module
from .sizes import paddings, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...tensor import Tensor

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share: sizes, weight and bias, repr."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: str | tuple[int, ...],
        dilation: tuple[int, ...],
        transposed: bool,
        output_padding: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check(in_channels, out_channels, stride, padding, groups, padding_mode)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        self._reversed_padding_repeated_twice = self._pad_amounts()
        channels = (out_channels, in_channels // groups)
        if transposed:
            channels = (in_channels, out_channels // groups)
        shape = (*channels, *kernel_size)
        self.weight = Parameter(fl.empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(fl.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _pad_amounts(self) -> list[int]:
        """What a padding mode other than zeros puts before and after, the last dimension first."""
        if not isinstance(self.padding, str):
            return list(paddings(self.padding))
        amounts = [0] * (2 * len(self.kernel_size))
        if self.padding == "same":
            for i, (d, k) in enumerate(zip(self.dilation, self.kernel_size, strict=True)):
                total = d * (k - 1)
                place = 2 * (len(self.kernel_size) - 1 - i)
                amounts[place] = total // 2
                amounts[place + 1] = total - total // 2
        return amounts

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        zeros, ones = (0,) * len(self.kernel_size), (1,) * len(self.kernel_size)
        if self.padding != zeros:
            text += f", padding={self.padding}"
        if self.dilation != ones:
            text += f", dilation={self.dilation}"
        if self.output_padding != zeros:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("padding_mode", "zeros")  # absent from old files


def _check(
    in_channels: int,
    out_channels: int,
    stride: tuple[int, ...],
    padding: str | tuple[int, ...],
    groups: int,
    padding_mode: str,
) -> None:
    """ValueError for arguments no convolution can have."""
    if groups <= 0:
        raise ValueError("groups must be a positive integer")
    if in_channels % groups != 0:
        raise ValueError("in_channels must be divisible by groups")
    if out_channels % groups != 0:
        raise ValueError("out_channels must be divisible by groups")
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(
                f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}"
            )
        if padding == "same" and any(s != 1 for s in stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
    if padding_mode not in _PADDING_MODES:
        valid = "{" + ", ".join(repr(mode) for mode in _PADDING_MODES) + "}"
        raise ValueError(
            f"padding_mode must be one of {valid}, but got padding_mode={padding_mode!r}"
        )


class _Convolution(_ConvNd):
    """A convolution proper, in as many dimensions as the subclass says.

    Args:
        in_channels, out_channels: channels of input and output.
        kernel_size, stride, dilation: numbers, or one for each dimension.
        padding: numbers, "same" or "valid".
        groups: blocks of channels that see only each other.
        bias: whether there is a bias.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
    """

    _dims: int
    _function: str

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        n = self._dims
        super().__init__(
            in_channels,
            out_channels,
            spread(kernel_size, n),
            spread(stride, n),
            padding if isinstance(padding, str) else spread(padding, n),
            spread(dilation, n),
            False,
            (0,) * n,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            amounts = self._reversed_padding_repeated_twice
            input = F.pad(input, amounts, mode=self.padding_mode)
            padding = (0,) * self._dims
        convolve = getattr(F, self._function)
        return convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Convolution):
    """Convolution of sequences.

    Shape:
        (N, Cin, L) or (Cin, L) -> (N, Cout, Lout) or (Cout, Lout), with
        Lout = (L + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1.

    Attributes:
        weight: (Cout, Cin / groups, kernel_size), uniform on +-1/sqrt(fan_in) at first.
        bias: (Cout,), the same; None without a bias.
    """

    _dims = 1
    _function = "conv1d"


class Conv2d(_Convolution):
    """Convolution of images.

    Shape:
        (N, Cin, H, W) or (Cin, H, W) -> (N, Cout, Hout, Wout) or (Cout, Hout, Wout), with
        Hout = (H + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1, Wout alike.

    Attributes:
        weight: (Cout, Cin / groups, kh, kw), uniform on +-1/sqrt(fan_in) at first.
        bias: (Cout,), the same; None without a bias.

    >>> tuple(Conv2d(3, 8, 3, padding=1)(fl.zeros(1, 3, 32, 32)).shape)
    (1, 8, 32, 32)
    """

    _dims = 2
    _function = "conv2d"


class Conv3d(_Convolution):
    """Convolution of volumes.

    Shape:
        (N, Cin, D, H, W) or (Cin, D, H, W) -> (N, Cout, Dout, Hout, Wout), each size as in
        `Conv1d`.

    Attributes:
        weight: (Cout, Cin / groups, kd, kh, kw), uniform on +-1/sqrt(fan_in) at first.
        bias: (Cout,), the same; None without a bias.
    """

    _dims = 3
    _function = "conv3d"


class _ConvTransposeNd(_ConvNd):
    """What the transposed convolutions share."""

    _dims: int
    _function: str

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        n = self._dims
        super().__init__(
            in_channels,
            out_channels,
            spread(kernel_size, n),
            spread(stride, n),
            spread(padding, n),
            spread(dilation, n),
            True,
            spread(output_padding, n),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _output_padding(self, input: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """The padding at the end that gives ``output_size``; ValueError if none does."""
        if output_size is None:
            return self.output_padding
        n = self._dims
        wanted = list(output_size)
        if len(wanted) in (n + 2, n + 1) and len(wanted) == input.dim():
            wanted = wanted[-n:]
        if len(wanted) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} or "
                f"{input.dim()} elements (got {len(output_size)})"
            )
        smallest = [
            (size - 1) * s - 2 * p + d * (k - 1) + 1
            for size, s, p, d, k in zip(
                input.shape[-n:],
                self.stride,
                self.padding,
                self.dilation,
                self.kernel_size,
                strict=True,
            )
        ]
        largest = [size + s - 1 for size, s in zip(smallest, self.stride, strict=True)]
        if not all(a <= w <= b for a, w, b in zip(smallest, wanted, largest, strict=True)):
            raise ValueError(
                f"requested an output size of {output_size}, but valid sizes range from "
                f"{smallest} to {largest} (for an input of {input.size()[2:]})"
            )
        return tuple(w - a for w, a in zip(wanted, smallest, strict=True))

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        convolve = getattr(F, self._function)
        return convolve(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self._output_padding(input, output_size),
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_ConvTransposeNd):
    """Transposed convolution of sequences: the gradient of `Conv1d` as a layer.

    Shape:
        (N, Cin, L) or (Cin, L) -> (N, Cout, Lout) or (Cout, Lout), with
        Lout = (L - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1.

    Attributes:
        weight: (Cin, Cout / groups, kernel_size), uniform on +-1/sqrt(fan_in) at first.
        bias: (Cout,), the same; None without a bias.
    """

    _dims = 1
    _function = "conv_transpose1d"


class ConvTranspose2d(_ConvTransposeNd):
    """Transposed convolution of images: the gradient of `Conv2d` as a layer.

    Shape:
        (N, Cin, H, W) or (Cin, H, W) -> (N, Cout, Hout, Wout), each size as in
        `ConvTranspose1d`.

    Attributes:
        weight: (Cin, Cout / groups, kh, kw), uniform on +-1/sqrt(fan_in) at first.
        bias: (Cout,), the same; None without a bias.
    """

    _dims = 2
    _function = "conv_transpose2d"


class ConvTranspose3d(_ConvTransposeNd):
    """Transposed convolution of volumes: the gradient of `Conv3d` as a layer.

    Shape:
        (N, Cin, D, H, W) or (Cin, D, H, W) -> (N, Cout, Dout, Hout, Wout), each size as in
        `ConvTranspose1d`.

    Attributes:
        weight: (Cin, Cout / groups, kd, kh, kw), uniform on +-1/sqrt(fan_in) at first.
        bias: (Cout,), the same; None without a bias.
    """

    _dims = 3
    _function = "conv_transpose3d"
