"""Moving elements between channels and pixels."""

from __future__ import annotations

from typing import Any

from .record import Array, composite


def _check_image(name: str, input: Any) -> None:
    if input.ndim < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with "
            f"{input.ndim} dimension(s)"
        )


@composite(method=False)
def pixel_shuffle(m: Any, input: Array, upscale_factor: int) -> Array:
    """Channels become pixels: (*, C r^2, H, W) -> (*, C, H r, W r) (Shi et al., 2016).

    Raises RuntimeError when the channels do not divide.

    >>> F.pixel_shuffle(flambeau.arange(4).reshape(4, 1, 1), 2)
    tensor([[[0, 1],
             [2, 3]]])
    """
    _check_image("pixel_shuffle", input)
    r = upscale_factor
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={channels} is not divisible by {r * r}"
        )
    n = len(lead)
    split = m.reshape(input, [*lead, channels // (r * r), r, r, height, width])
    turned = m.permute(split, [*range(n), n, n + 3, n + 1, n + 4, n + 2])
    return m.reshape(turned, [*lead, channels // (r * r), height * r, width * r])


@composite(method=False)
def pixel_unshuffle(m: Any, input: Array, downscale_factor: int) -> Array:
    """Pixels become channels: (*, C, H r, W r) -> (*, C r^2, H, W); inverse of `pixel_shuffle`.

    >>> F.pixel_unshuffle(flambeau.tensor([[[0, 1], [2, 3]]]), 2).flatten()
    tensor([0, 1, 2, 3])
    """
    _check_image("pixel_unshuffle", input)
    r = downscale_factor
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    for name, size, dim in (("height", height, -2), ("width", width, -1)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({dim})={size} is not divisible by {r}"
            )
    n = len(lead)
    split = m.reshape(input, [*lead, channels, height // r, r, width // r, r])
    turned = m.permute(split, [*range(n), n, n + 2, n + 4, n + 1, n + 3])
    return m.reshape(turned, [*lead, channels * r * r, height // r, width // r])


@composite(method=False, aliases=("native_channel_shuffle",))
def channel_shuffle(m: Any, input: Array, groups: int) -> Array:
    """Interleaves the channels of ``groups`` groups of (N, C, ...) (Zhang et al., 2018).

    >>> F.channel_shuffle(flambeau.arange(6).reshape(1, 6, 1), 2).flatten()
    tensor([0, 3, 1, 4, 2, 5])
    """
    if input.ndim < 3:
        raise RuntimeError(
            "channel_shuffle expects input with > 2 dims, but got input with sizes "
            f"{list(input.shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    batch, channels, *space = input.shape
    if channels % groups:
        raise RuntimeError(
            "Number of channels must be divisible by groups. Got "
            f"{channels} channels and {groups} groups."
        )
    split = m.reshape(input, [batch, groups, channels // groups, *space])
    return m.reshape(m.transpose(split, 1, 2), tuple(input.shape))
