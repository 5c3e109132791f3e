"""Convolutions in one to three dimensions, forward and transposed.

Three structured ops are each other's derivatives: `convolve` is linear in input and weight,
`convolution_input_grad` and `convolution_weight_grad` are its adjoints in one of them. A transposed
convolution is the first of these adjoints. All three take batched input.
"""

from __future__ import annotations

from typing import Any

from ..backends.cpu import convolution as kernels
from .matmul import conjugate
from .pooling import each
from .promotion import lifted
from .record import Array, composite, structured


def _input_rule(
    m: Any,
    g: Any,
    weight: Any,
    input_shape: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Any:
    return m.convolution_input_grad(
        g, conjugate(m, weight), tuple(input_shape), stride, padding, dilation, groups
    )


def _weight_rule(
    m: Any,
    g: Any,
    input: Any,
    weight_shape: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Any:
    return m.convolution_weight_grad(
        g, conjugate(m, input), tuple(weight_shape), stride, padding, dilation, groups
    )


@structured(
    method=False,
    grad={
        "input": _input_rule,
        "weight": _weight_rule,
        "bias": lambda m, g: m.sum(g, (0, *range(2, g.ndim))),
    },
    node="ConvolutionBackward0",
)
def convolve(
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Array:
    """(N, C, *size), (M, C / groups, *kernel), (M,) -> (N, M, *positions)."""
    return kernels.conv_forward(input, weight, bias, stride, padding, dilation, groups)


@structured(
    method=False,
    grad={
        "grad": lambda m, g, weight, stride, padding, dilation, groups: m.convolve(
            g, conjugate(m, weight), None, stride, padding, dilation, groups
        ),
        "weight": lambda m, g, grad, weight_shape, stride, padding, dilation, groups: (
            m.convolution_weight_grad(
                conjugate(m, grad), g, tuple(weight_shape), stride, padding, dilation, groups
            )
        ),
    },
)
def convolution_input_grad(
    grad: Array,
    weight: Array,
    input_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Array:
    """The gradient of `convolve` for its input of shape `input_size`."""
    return kernels.conv_backward_input(grad, weight, input_size, stride, padding, dilation, groups)


@structured(
    method=False,
    grad={
        "grad": lambda m, g, input, stride, padding, dilation, groups: m.convolve(
            conjugate(m, input), g, None, stride, padding, dilation, groups
        ),
        "input": lambda m, g, grad, input_shape, stride, padding, dilation, groups: (
            m.convolution_input_grad(
                conjugate(m, grad), g, tuple(input_shape), stride, padding, dilation, groups
            )
        ),
    },
)
def convolution_weight_grad(
    grad: Array,
    input: Array,
    weight_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Array:
    """The gradient of `convolve` for its weight of shape `weight_size`."""
    return kernels.conv_backward_weight(grad, input, weight_size, stride, padding, dilation, groups)


# ---------------------------------------------------------------- arguments
def _check_operands(name: str, m: Any, rank: int, input: Any, weight: Any, bias: Any) -> None:
    if weight.ndim != rank + 2:
        raise RuntimeError(
            f"{name}: expected a weight of {rank + 2} dimensions, got {list(weight.shape)}"
        )
    if input.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got "
            f"input of size: {list(input.shape)}"
        )
    for label, x in (("weight", weight), ("bias", bias)):
        if x is not None and m.dtype(x) is not m.dtype(input):
            raise RuntimeError(
                f"Input type ({m.dtype(input)}) and {label} type ({m.dtype(x)}) should be the same "
                f"({name})"
            )


def _check_steps(name: str, stride: Any, padding: Any, dilation: Any, groups: int) -> None:
    if min(stride) <= 0:
        raise RuntimeError(f"{name}: non-positive stride is not supported, got {stride}")
    if min(dilation) <= 0:
        raise RuntimeError(f"{name}: dilation should be greater than zero, got {dilation}")
    if min(padding) < 0:
        raise RuntimeError(f"{name}: negative padding is not supported, got {padding}")
    if groups <= 0:
        raise RuntimeError(f"{name}: non-positive groups is not supported, got {groups}")


def _check_channels(name: str, input: Any, weight: Any, bias: Any, groups: int) -> None:
    size = list(weight.shape)
    if size[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size {size} instead ({name})"
        )
    if input.shape[1] != size[1] * groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {size}, expected input{list(input.shape)} to "
            f"have {size[1] * groups} channels, but got {input.shape[1]} channels instead ({name})"
        )
    if bias is not None and tuple(bias.shape) != (size[0],):
        raise RuntimeError(
            f"Given weight of size {size}, expected bias to be 1-dimensional with {size[0]} "
            f"elements, but got bias of size {list(bias.shape)} instead ({name})"
        )


def _check_fits(name: str, input: Any, weight: Any, padding: Any, dilation: Any) -> None:
    sizes = [n + 2 * p for n, p in zip(input.shape[2:], padding, strict=True)]
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if any(k == 0 for k in weight.shape[2:]):
        raise RuntimeError(
            f"{name}: expected a kernel without zero sizes, got {list(weight.shape)}"
        )
    if any(span > size for size, span in zip(sizes, spans, strict=True)):
        spell = " x ".join
        raise RuntimeError(
            f"Calculated padded input size per channel: ({spell(map(str, sizes))}). Kernel size: "
            f"({spell(map(str, spans))}). Kernel size can't be greater than actual input size "
            f"({name})"
        )


def _same_padding(
    m: Any, name: str, input: Any, weight: Any, stride: Any, dilation: Any
) -> tuple[Any, tuple[int, ...]]:
    """The input, padded on one side where the total is odd, and the padding of both sides."""
    if max(stride) > 1:
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    odd = [n for size in reversed(total) for n in (0, size % 2)]
    if any(odd):
        input = m.constant_pad_nd(input, odd)
    return input, tuple(n // 2 for n in total)


def _convolution(
    m: Any,
    name: str,
    rank: int,
    input: Any,
    weight: Any,
    bias: Any,
    steps: tuple[Any, Any, Any],
    groups: int,
) -> Any:
    _check_operands(name, m, rank, input, weight, bias)
    stride, dilation = each(name, "stride", steps[0], rank), each(name, "dilation", steps[2], rank)
    single = input.ndim == rank + 1
    if single:
        input = m.unsqueeze(input, 0)
    if isinstance(steps[1], str):
        if steps[1] not in ("same", "valid"):
            raise RuntimeError(f"Invalid padding string: '{steps[1]}'")
        _check_steps(name, stride, (0,), dilation, groups)
        padding = (0,) * rank
        if steps[1] == "same":
            input, padding = _same_padding(m, name, input, weight, stride, dilation)
    else:
        padding = each(name, "padding", steps[1], rank)
    _check_steps(name, stride, padding, dilation, groups)
    _check_channels(name, input, weight, bias, groups)
    _check_fits(name, input, weight, padding, dilation)
    out = m.convolve(input, weight, bias, stride, padding, dilation, groups)
    return m.squeeze(out, 0) if single else out


def _transposed(
    m: Any,
    name: str,
    rank: int,
    input: Any,
    weight: Any,
    bias: Any,
    steps: tuple[Any, Any, Any, Any],
    groups: int,
) -> Any:
    _check_operands(name, m, rank, input, weight, bias)
    stride, padding, more, dilation = (
        each(name, label, v, rank)
        for label, v in zip(("stride", "padding", "output_padding", "dilation"), steps, strict=True)
    )
    _check_steps(name, stride, padding, dilation, groups)
    single, kind = input.ndim == rank + 1, m.dtype(input)
    if single:
        input = m.unsqueeze(input, 0)
    if bias is not None:  # half precision is rounded once, after the bias
        input, weight, bias = lifted(m, input, weight, bias)
    channels = _transposed_channels(name, input, weight, bias, groups)
    for o, s, d in zip(more, stride, dilation, strict=True):
        if o < 0 or o >= max(s, d):
            raise RuntimeError(
                f"output padding must be smaller than either stride or dilation, but got "
                f"output_padding: {more} stride: {stride} dilation: {dilation} ({name})"
            )
    whole = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(input.shape[2:], stride, dilation, weight.shape[2:], strict=True)
    ]
    size = [w - 2 * p + o for w, p, o in zip(whole, padding, more, strict=True)]
    if any(n < 1 for n in size):
        raise RuntimeError(
            f"Given input size per channel: {list(input.shape[2:])}. Calculated output size per "
            f"channel: {size}. Output size is too small ({name})"
        )
    lead = (input.shape[0], channels)
    if all(o < s for o, s in zip(more, stride, strict=True)):
        out = m.convolution_input_grad(
            input, weight, (*lead, *size), stride, padding, dilation, groups
        )
    else:  # sizes from which a convolution would not lead back to the input's
        out = m.convolution_input_grad(
            input, weight, (*lead, *whole), stride, (0,) * rank, dilation, groups
        )
        edges = zip(reversed(padding), reversed(more), strict=True)
        out = m.constant_pad_nd(out, [n for p, o in edges for n in (-p, o - p)])
    if bias is not None:
        out = m.cast(out + m.reshape(bias, (-1,) + (1,) * rank), kind)
    return m.squeeze(out, 0) if single else out


def _transposed_channels(name: str, input: Any, weight: Any, bias: Any, groups: int) -> int:
    size = list(weight.shape)
    if input.shape[1] != size[0] or size[0] % groups:
        raise RuntimeError(
            f"Given transposed=1, weight of size {size}, groups={groups}, expected input"
            f"{list(input.shape)} to have {size[0]} channels, but got {input.shape[1]} channels "
            f"instead ({name})"
        )
    channels = size[1] * groups
    if bias is not None and tuple(bias.shape) != (channels,):
        raise RuntimeError(
            f"Given transposed=1, weight of size {size}, expected bias to be 1-dimensional with "
            f"{channels} elements, but got bias of size {list(bias.shape)} instead ({name})"
        )
    return channels


# ---------------------------------------------------------------- public forms
@composite(method=False)
def conv1d(
    m: Any,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """(N, C, L) or (C, L), weight (M, C / groups, K), bias (M,) -> (N, M, Lout).

    `padding` is a number or "same" or "valid". RuntimeError for shapes that do not fit.

    >>> x, edge = flambeau.tensor([[[1.0, 4.0, 9.0, 16.0]]]), flambeau.tensor([[[-1.0, 1.0]]])
    >>> F.conv1d(x, edge)
    tensor([[[3., 5., 7.]]])
    """
    steps = (stride, padding, dilation)
    return _convolution(m, "conv1d", 1, input, weight, bias, steps, groups)


@composite(method=False)
def conv2d(
    m: Any,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """(N, C, H, W) or (C, H, W), weight (M, C / groups, K, K), bias (M,) -> (N, M, Hout, Wout).

    `padding` is a number, a pair, "same" or "valid". RuntimeError for shapes that do not fit.

    >>> x = flambeau.arange(9.0).reshape(1, 1, 3, 3)
    >>> F.conv2d(x, flambeau.ones(1, 1, 2, 2))
    tensor([[[[ 8., 12.],
              [20., 24.]]]])
    """
    steps = (stride, padding, dilation)
    return _convolution(m, "conv2d", 2, input, weight, bias, steps, groups)


@composite(method=False)
def conv3d(
    m: Any,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """(N, C, D, H, W) or without N, weight (M, C / groups, K, K, K), bias (M,) -> (N, M, ...).

    `padding` is a number, a triple, "same" or "valid". RuntimeError for shapes that do not fit.

    >>> x = flambeau.arange(8.0).reshape(1, 1, 2, 2, 2)
    >>> F.conv3d(x, flambeau.ones(1, 1, 2, 1, 1))
    tensor([[[[[ 4.,  6.],
               [ 8., 10.]]]]])
    """
    steps = (stride, padding, dilation)
    return _convolution(m, "conv3d", 3, input, weight, bias, steps, groups)


@composite(method=False)
def conv_transpose1d(
    m: Any,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Array:
    """The adjoint of `conv1d`: (N, C, L), weight (C, M / groups, K) -> (N, M, Lout).

    >>> x, bump = flambeau.tensor([[[1.0, 10.0]]]), flambeau.tensor([[[1.0, 2.0, 1.0]]])
    >>> F.conv_transpose1d(x, bump, stride=2)
    tensor([[[ 1.,  2., 11., 20., 10.]]])
    """
    steps = (stride, padding, output_padding, dilation)
    return _transposed(m, "conv_transpose1d", 1, input, weight, bias, steps, groups)


@composite(method=False)
def conv_transpose2d(
    m: Any,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Array:
    """The adjoint of `conv2d`: (N, C, H, W), weight (C, M / groups, K, K) -> (N, M, Hout, Wout).

    >>> x = flambeau.tensor([[[[1.0, 2.0]]]])
    >>> F.conv_transpose2d(x, flambeau.ones(1, 1, 2, 2))
    tensor([[[[1., 3., 2.],
              [1., 3., 2.]]]])
    """
    steps = (stride, padding, output_padding, dilation)
    return _transposed(m, "conv_transpose2d", 2, input, weight, bias, steps, groups)


@composite(method=False)
def conv_transpose3d(
    m: Any,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Array:
    """The adjoint of `conv3d`: (N, C, D, H, W), weight (C, M / groups, K, K, K) -> (N, M, ...).

    >>> x = flambeau.tensor([[[[[1.0, 2.0]]]]])
    >>> F.conv_transpose3d(x, flambeau.ones(1, 1, 1, 2, 2))
    tensor([[[[[1., 3., 2.],
               [1., 3., 2.]]]]])
    """
    steps = (stride, padding, output_padding, dilation)
    return _transposed(m, "conv_transpose3d", 3, input, weight, bias, steps, groups)


@composite(method=False)
def convolution(
    m: Any,
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Array:
    """A convolution or transposed convolution in as many dimensions as the weight has.

    >>> x, w = flambeau.arange(5.0).reshape(1, 1, 5), flambeau.ones(1, 1, 2)
    >>> flambeau.convolution(x, w, None, [2], [0], [1], False, [0], 1)
    tensor([[[1., 5.]]])
    """
    rank = weight.ndim - 2
    if transposed:
        steps = (stride, padding, output_padding, dilation)
        return _transposed(m, "convolution", rank, input, weight, bias, steps, groups)
    return _convolution(
        m, "convolution", rank, input, weight, bias, (stride, padding, dilation), groups
    )


@composite(method=False)
def conv_tbc(m: Any, input: Array, weight: Array, bias: Array, pad: int = 0) -> Array:
    """`conv1d` with time first: (T, N, C), weight (K, C, M), bias (M,) -> (T', N, M).

    >>> x = flambeau.arange(4.0).reshape(4, 1, 1)
    >>> F.conv_tbc(x, flambeau.ones(2, 1, 1), flambeau.zeros(1)).flatten()
    tensor([1., 3., 5.])
    """
    if input.ndim != 3 or weight.ndim != 3 or bias.ndim != 1:
        raise RuntimeError(
            "conv_tbc: expected input and weight of 3 dimensions and a bias of 1, got "
            f"{list(input.shape)}, {list(weight.shape)} and {list(bias.shape)}"
        )
    found = m.conv1d(
        m.permute(input, (1, 2, 0)), m.permute(weight, (2, 1, 0)), bias, padding=(pad,)
    )
    return m.permute(found, (2, 0, 1))
