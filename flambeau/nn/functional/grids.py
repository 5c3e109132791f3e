"""Sampling images at the points of a grid."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING

from ...dtypes import float32, float64, int64
from ...tensor import functions as fl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...tensor import Tensor

__all__ = ["affine_grid", "grid_sample"]


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Points of an affinely transformed grid, for `grid_sample`.

    Args:
        theta: (N, 2, 3) or (N, 3, 4).
        size: (N, C, H, W) or (N, C, D, H, W) of the image to come.
        align_corners: whether -1 and 1 are the corner pixels' centres, not their outer corners.

    Returns (N, H, W, 2) or (N, D, H, W, 3). Raises ValueError or NotImplementedError for shapes
    that do not fit.
    """
    if align_corners is None:
        _warn_default("affine_grid")
    dims = len(size) - 2
    if dims not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {tuple(size)}."
        )
    if theta.dim() != 3 or tuple(theta.shape[-2:]) != (dims, dims + 1):
        raise ValueError(
            f"Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size "
            f"{tuple(size)}. Got {theta.size()}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {tuple(size)}")
    space = list(size[2:])
    axes = []
    for place in reversed(range(dims)):  # x first
        n = space[place]
        steps = (
            fl.linspace(-1, 1, n, dtype=theta.dtype, device=theta.device)
            if n > 1
            else (fl.zeros(1, dtype=theta.dtype, device=theta.device))
        )
        if not align_corners:
            steps = steps * (n - 1) / n
        shape = [n if d == place else 1 for d in range(dims)]
        axes.append(steps.view(shape).expand(space))
    axes.append(fl.ones(space, dtype=theta.dtype, device=theta.device))
    points = fl.stack(axes, -1).view(1, -1, dims + 1)  # (1, points, dims + 1)
    return fl.matmul(points, theta.transpose(1, 2)).view([theta.size(0), *space, dims])


def _warn_default(name: str) -> None:
    warnings.warn(
        f"Default {name} and affine_grid behavior has changed to align_corners=False since 1.3.0. "
        "Please specify align_corners=True if the old behavior is desired.",
        stacklevel=3,
    )


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Values of an image at the points of a grid, from -1 to 1 across the image.

    Args:
        input: (N, C, H, W) or (N, C, D, H, W).
        grid: (N, Ho, Wo, 2) of (x, y), or (N, Do, Ho, Wo, 3) of (x, y, z).
        mode: "bilinear" (in 5-d trilinear), "nearest", or "bicubic" (4-d).
        padding_mode: outside the image "zeros", "border" or "reflection".
        align_corners: whether -1 and 1 are the corner pixels' centres, not their outer corners.

    Returns (N, C, Ho, Wo) or (N, C, Do, Ho, Wo). Raises ValueError or RuntimeError for arguments
    that do not fit.
    """
    _check_modes(mode, padding_mode)
    if align_corners is None:
        _warn_default("grid_sample")
    _check_shapes(input, grid, mode)
    aligned = bool(align_corners)
    space = list(input.shape[2:])
    dims = len(space)
    plain = grid.dtype in (float32, float64) and grid.dtype is input.dtype
    if plain and dims == 2 and mode != "bicubic" and padding_mode != "reflection":
        taps = 1 if mode == "nearest" else 4
        shares, taps_at = fl.corner_shares(
            grid.flatten(1, 2), *space, aligned, padding_mode == "border", taps
        )
        found = fl.blend_points(input.flatten(2), taps_at, shares)
        return found.reshape([*input.shape[:2], *grid.shape[1:-1]])
    # Positions in pixels, in the order of the dimensions; each (N, points).
    spots = [
        _to_pixels(grid[..., dims - 1 - d].flatten(1), n, aligned) for d, n in enumerate(space)
    ]
    if mode != "bicubic":
        spots = [_kept(p, n, padding_mode, aligned) for p, n in zip(spots, space, strict=True)]
    around = {"bilinear": _linear_taps, "nearest": _nearest_taps, "bicubic": _cubic_taps}[mode]
    per_dim = [around(p) for p in spots]
    places, weights = [], []
    for corner in itertools.product(*per_dim):
        index, share, outside = None, None, None
        for (place, weight), n in zip(corner, space, strict=True):
            if mode == "bicubic":
                place = _kept(place, n, padding_mode, aligned)
            place = place.detach()
            beyond = (place < 0) | (place > n - 1)
            outside = beyond if outside is None else outside | beyond
            index = place if index is None else index * n + place
            share = weight if share is None else share * weight
        weights.append(share)
        places.append(fl.where(outside, -1, index))
    taps_at = fl.stack(places, 1).to(int64)
    found = fl.blend_points(input.flatten(2), taps_at, fl.stack(weights, 1))
    return found.reshape([*input.shape[:2], *grid.shape[1:-1]])


def _check_modes(mode: str, padding_mode: str) -> None:
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or "
            f"'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )


def _check_shapes(input: Tensor, grid: Tensor, mode: str) -> None:
    """RuntimeError for shapes that do not fit."""
    sizes = f"input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
    if input.size(0) != grid.size(0):
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got " + sizes
        )
    if input.dim() not in (4, 5) or input.dim() != grid.dim():
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, "
            f"but got {sizes}"
        )
    if grid.size(-1) != input.dim() - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {input.dim() - 2} in last dimension, "
            f"but got grid with sizes {list(grid.shape)}"
        )
    if mode == "bicubic" and input.dim() != 4:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if min(input.shape[2:]) == 0:
        raise RuntimeError(
            f"grid_sampler(): expected input to have non-empty spatial dimensions, but got {sizes}"
        )


def _to_pixels(x: Tensor, n: int, aligned: bool) -> Tensor:
    return (x + 1) * ((n - 1) / 2) if aligned else ((x + 1) * n - 1) / 2


def _kept(p: Tensor, n: int, padding_mode: str, aligned: bool) -> Tensor:
    """Positions moved into the image as the padding mode says."""
    if padding_mode == "border":
        return p.clamp(0, n - 1)
    if padding_mode == "reflection":
        # A triangle wave between the centres, or the outer corners, of the border pixels.
        low, span = (0.0, float(n - 1)) if aligned else (-0.5, float(n))
        if span == 0:
            return p * 0
        away = (p - low).abs()
        turns = (away / span).floor().detach()
        rest = away - turns * span
        back = turns.remainder(2) == 1
        return (fl.where(back, span - rest, rest) + low).clamp(0, n - 1)
    return p


def _linear_taps(p: Tensor) -> list[tuple[Tensor, Tensor]]:
    low = p.floor().detach()
    share = p - low
    return [(low, 1 - share), (low + 1, share)]


def _nearest_taps(p: Tensor) -> list[tuple[Tensor, Tensor]]:
    # Halves go to the even neighbour.
    return [(p.round().detach(), fl.ones_like(p).detach())]


def _cubic_taps(p: Tensor) -> list[tuple[Tensor, Tensor]]:
    low = p.floor().detach()
    share = p - low
    return [(low + i, _cubic(share - i)) for i in (-1, 0, 1, 2)]


def _cubic(distance: Tensor) -> Tensor:
    """Keys's cubic convolution kernel with parameter -3/4 (Keys, 1981)."""
    x = distance.abs()
    near = (1.25 * x - 2.25) * x * x + 1
    far = ((x - 5) * x + 8) * x * -0.75 + 3
    return fl.where(x < 1, near, fl.where(x < 2, far, fl.zeros_like(x)))
