"""Max pooling over windows at pseudo-random places (Graham, 2014)."""

from __future__ import annotations

from typing import Any

from ..backends.cpu import pooling as kernels
from .pooling import each
from .record import Array, composite, structured


@structured(
    method=False,
    outputs=2,
    grad={
        "input": lambda m, g, out1, counts, input_shape: m.place_at(
            g[0], m.constant(out1), tuple(input_shape[len(input_shape) - len(counts) :])
        )
    },
)
def fractional_windows(input: Array, kernel: Any, counts: Any, samples: Array) -> Array:
    """The largest values of the windows and their places in the flattened last dimensions.

    ``samples`` (N, C, rank) in [0, 1) shift each channel's windows.
    """
    return kernels.fractional_max_pool(input, kernel, counts, samples.reshape(-1, len(counts)))


def _counts(name: str, input: Any, output_size: Any, output_ratio: Any, rank: int) -> Any:
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if output_size is not None:
        return each(name, "output_size", output_size, rank)
    ratios = (output_ratio,) * rank if isinstance(output_ratio, float) else tuple(output_ratio)
    if len(ratios) != rank or not all(0 < r < 1 for r in ratios):
        raise ValueError(
            f"{name}: output_ratio must be {rank} numbers in (0, 1), got {output_ratio}"
        )
    return tuple(int(n * r) for n, r in zip(input.shape[input.ndim - rank :], ratios, strict=True))


def _fractional(
    m: Any,
    rank: int,
    input: Any,
    kernel_size: Any,
    output: tuple[Any, Any],
    return_indices: bool,
    samples: Any,
) -> Any:
    name = f"fractional_max_pool{rank}d"
    if input.ndim not in (rank + 1, rank + 2) or 0 in tuple(input.shape)[-rank - 1 :]:
        raise RuntimeError(
            f"{name}: Expected {rank + 1}D or {rank + 2}D tensor with non-zero sizes, but got "
            f"{list(input.shape)}"
        )
    kernel = each(name, "kernel_size", kernel_size, rank)
    counts = _counts(name, input, *output, rank)
    for n, k, c in zip(tuple(input.shape)[-rank:], kernel, counts, strict=True):
        if c < 1 or c + k - 1 > n:
            raise RuntimeError(
                f"{name}(): pool size {k} with output size {c} too large relative to input size {n}"
            )
    if samples is None:
        planes = (1, *input.shape)[-rank - 2 : -rank]
        samples = m.rand(*planes, rank, dtype=input.dtype, device=input.device)
    values, indices = m.fractional_windows(input, kernel, counts, samples)
    return (values, indices) if return_indices else values


@composite(method=False)
def fractional_max_pool2d(
    m: Any,
    input: Array,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Array | None = None,
) -> Any:
    """Largest values of windows of (N, C, H, W) at pseudo-random places; with indices if asked.

    `output_size` or `output_ratio` (in (0, 1)) says how many windows there are.

    >>> x = flambeau.arange(16.0).reshape(1, 1, 4, 4)
    >>> F.fractional_max_pool2d(x, 2, output_size=3)
    tensor([[[[ 5.,  6.,  7.],
              [ 9., 10., 11.],
              [13., 14., 15.]]]])
    """
    output = (output_size, output_ratio)
    return _fractional(m, 2, input, kernel_size, output, return_indices, _random_samples)


@composite(method=False)
def fractional_max_pool3d(
    m: Any,
    input: Array,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Array | None = None,
) -> Any:
    """Largest values of windows of (N, C, D, H, W) at pseudo-random places; see the 2-d form.

    >>> x = flambeau.arange(64.0).reshape(1, 1, 4, 4, 4)
    >>> F.fractional_max_pool3d(x, 2, output_ratio=0.5).shape
    torch.Size([1, 1, 2, 2, 2])
    """
    output = (output_size, output_ratio)
    return _fractional(m, 3, input, kernel_size, output, return_indices, _random_samples)
