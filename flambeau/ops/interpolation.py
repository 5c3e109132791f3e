"""Resampling of images and signals: larger, smaller, or along a grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends.cpu import interpolation as kernels
from .promotion import unsupported, widened
from .record import Array, composite, structured

_MODES = {
    "nearest": (3, 4, 5),
    "nearest-exact": (3, 4, 5),
    "linear": (3,),
    "bilinear": (4,),
    "bicubic": (4,),
    "trilinear": (5,),
    "area": (3, 4, 5),
}


@structured(method=False, grad={"input": lambda m, g, maps: m.resample_back(g, maps)})
def resample(input: Array, maps: Any) -> Array:
    """Weighted sums of neighbours along some axes, as the maps say."""
    if input.dtype == np.uint8:
        return kernels.resample_bytes(input, maps)
    if input.dtype.kind not in "fV":
        raise unsupported("upsample", input)
    return kernels.resample(widened(input), maps).astype(input.dtype, copy=False)


@structured(method=False, grad={"input": lambda m, g, maps: m.resample(g, maps)})
def resample_back(input: Array, maps: Any) -> Array:
    """The adjoint of `resample`."""
    return kernels.resample_back(widened(input), maps).astype(input.dtype, copy=False)


# ---------------------------------------------------------------- at given points
@structured(
    method=False,
    grad={
        "input": lambda m, g, places, weights, input_shape: m.blend_points_back(
            g, places, weights, input_shape[2]
        ),
        "weights": lambda m, g, input, places: m.blend_points_shares(g, input, places),
    },
)
def blend_points(input: Array, places: Array, weights: Array) -> Array:
    """Sums over t of ``input[n, c, places[n, t, p]] * weights[n, t, p]``: (N, C, P).

    ``input`` is (N, C, S), the others (N, T, P); a place outside [0, S) is of no element.
    """
    return kernels.blend_points(input, places, weights)


@structured(
    method=False,
    grad={
        "grad": lambda m, g, places, weights: m.blend_points(g, places, weights),
        "weights": lambda m, g, grad, places: m.blend_points_shares(grad, g, places),
    },
)
def blend_points_back(grad: Array, places: Array, weights: Array, size: int) -> Array:
    """The adjoint of `blend_points` for its input of `size` elements: (N, C, size)."""
    return kernels.blend_points_back(grad, places, weights, size)


@structured(
    method=False,
    grad={
        "grad": lambda m, g, input, places: m.blend_points(input, places, g),
        "input": lambda m, g, grad, places, input_shape: m.blend_points_back(
            grad, places, g, input_shape[2]
        ),
    },
)
def blend_points_shares(grad: Array, input: Array, places: Array) -> Array:
    """The adjoint of `blend_points` for its weights: (N, T, P)."""
    return kernels.blend_points_shares(grad, input, places)


def _corner_shares_rule(
    m: Any, g: Any, grid: Any, height: int, width: int, aligned: bool, border: bool, taps: int
) -> Any:
    if taps == 1:
        still = m.mul(m.select(g[0], 1, 0), 0)
        return m.stack([still, still], -1)
    parts, slopes = [], []
    for number, size in enumerate((width, height)):
        at = m.select(grid, -1, number)
        slope = (size - 1) / 2 if aligned else size / 2
        p = (at + 1) * slope if aligned else (at + 1) * slope - 0.5
        if border:
            inside = m.constant((p > 0) & (p < size - 1))
            p, slope = m.where(inside, p, 0.0 * p), m.where(inside, slope + 0.0 * p, 0.0 * p)
        parts.append(p - m.constant(m.floor(p)))
        slopes.append(slope)
    a, b, c, d = (m.select(g[0], 1, i) for i in range(4))
    x, y = parts
    across = ((b - a) * (1 - y) + (d - c) * y) * slopes[0]
    down = ((c - a) * (1 - x) + (d - b) * x) * slopes[1]
    return m.stack([across, down], -1)


@structured(method=False, outputs=2, grad={"grid": _corner_shares_rule})
def corner_shares(
    grid: Array, height: int, width: int, aligned: bool, border: bool, taps: int = 4
) -> tuple[Array, Array]:
    """Shares and places (N, taps, P) of the 4 pixels around each point of a grid (N, P, 2).

    With one tap it is the nearest pixel. The place of a pixel outside the image is -1.
    """
    return kernels.find_corners(grid, height, width, aligned, border, taps)


# ---------------------------------------------------------------- along axes
def _sizes(
    input: Any, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[list[int], list[float | None]]:
    """The output's sizes, and the scales to compute positions with (None: the sizes' ratio)."""
    rank = input.ndim - 2
    space = [int(n) for n in input.shape[2:]]
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        sizes = list(size) if isinstance(size, (tuple, list)) else [size] * rank
        if len(sizes) != rank:
            raise ValueError(
                "Input and output must have the same number of spatial dimensions, but got input "
                f"with spatial dimensions of {space} and output size of {size}. Please provide "
                "input tensor in (N, C, d1, d2, ...,dK) format and output size in "
                "(o1, ...,oK) format."
            )
        return [int(n) for n in sizes], [None] * rank
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    scales = (
        list(scale_factor) if isinstance(scale_factor, (tuple, list)) else [scale_factor] * rank
    )
    if len(scales) != rank:
        raise ValueError(
            "Input and scale_factor must have the same number of spatial dimensions, but got input "
            f"with spatial dimensions of {space} and scale_factor of shape {scale_factor}."
        )
    sizes = [math.floor(n * float(s)) for n, s in zip(space, scales, strict=True)]
    kept = [None] * rank if recompute else [float(s) for s in scales]
    return sizes, kept


def _check_mode(input: Any, mode: str, align_corners: bool | None, antialias: bool) -> None:
    if mode not in _MODES:
        raise NotImplementedError(f"interpolate: mode {mode!r} is none of {', '.join(_MODES)}")
    if mode in ("nearest", "area", "nearest-exact") and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear "
            "| bicubic | trilinear"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D "
            "tensor as input"
        )
    if input.ndim not in _MODES[mode]:
        raise NotImplementedError(
            f"Got {input.ndim}D input, but {mode} mode needs input of "
            f"{' or '.join(map(str, _MODES[mode]))} dimensions"
        )


def _axis_map(
    mode: str, antialias: bool, align: bool, axis: int, size: int, count: int, scale: float | None
) -> kernels.AxisMap:
    if antialias:
        return kernels.antialiased(axis, size, count, scale, align, mode == "bicubic")
    if mode in ("nearest", "nearest-exact"):
        return kernels.nearest(axis, size, count, scale, mode == "nearest-exact")
    if mode == "bicubic":
        return kernels.cubic(axis, size, count, scale, align)
    return kernels.linear(axis, size, count, scale, align)


@composite(method=False)
def interpolate(
    m: Any,
    input: Array,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Array:
    """(N, C, d1, ...) resampled to `size`, or to `scale_factor` times its size.

    ``mode`` is "nearest", "nearest-exact", "linear" (3-d), "bilinear" or "bicubic" (4-d),
    "trilinear" (5-d) or "area". With `align_corners` the outer samples of both lie on each other;
    `antialias` averages over all inputs that an output covers.

    >>> x = flambeau.tensor([[[0.0, 3.0]]])
    >>> F.interpolate(x, size=4, mode="linear", align_corners=True)
    tensor([[[0., 1., 2., 3.]]])
    >>> F.interpolate(x, scale_factor=2)
    tensor([[[0., 0., 3., 3.]]])
    """
    _check_mode(input, mode, align_corners, antialias)
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    sizes, scales = _sizes(input, size, scale_factor, recompute_scale_factor)
    rank = input.ndim - 2
    if any(n < 1 for n in sizes) or any(n < 1 for n in input.shape[1:]):
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input "
            f"{list(input.shape)} and output {sizes} (interpolate)"
        )
    if mode == "area":
        pool = (m.adaptive_avg_pool1d, m.adaptive_avg_pool2d, m.adaptive_avg_pool3d)[rank - 1]
        return pool(input, sizes)
    align = bool(align_corners)
    maps = [
        _axis_map(mode, antialias, align, axis, input.shape[axis], count, scale)
        for axis, count, scale in zip(range(-rank, 0), sizes, scales, strict=True)
    ]
    return m.resample(input, maps)


@composite(method=False)
def upsample(
    m: Any,
    input: Array,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Array:
    """`interpolate`, by its old name.

    >>> F.upsample(flambeau.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    return m.interpolate(input, size, scale_factor, mode, align_corners)


@composite(method=False)
def upsample_nearest(m: Any, input: Array, size: Any = None, scale_factor: Any = None) -> Array:
    """`interpolate` with the nearest neighbour.

    >>> F.upsample_nearest(flambeau.tensor([[[[1.0, 2.0]]]]), size=(2, 4))
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """
    return m.interpolate(input, size, scale_factor, "nearest")


@composite(method=False)
def upsample_bilinear(m: Any, input: Array, size: Any = None, scale_factor: Any = None) -> Array:
    """`interpolate` between four neighbours, with aligned corners.

    >>> F.upsample_bilinear(flambeau.tensor([[[[0.0, 2.0], [4.0, 6.0]]]]), size=(3, 3))
    tensor([[[[0., 1., 2.],
              [2., 3., 4.],
              [4., 5., 6.]]]])
    """
    return m.interpolate(input, size, scale_factor, "bilinear", True)
