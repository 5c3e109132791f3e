"""Padding: more elements around the last dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends.cpu import padding as kernels
from .record import Array, composite, structured


def _edges(pad: Any) -> tuple[tuple[int, int], ...]:
    """(before, after) of the last dimensions, in their own order."""
    sizes = [int(n) for n in pad]
    return tuple(zip(sizes[::2], sizes[1::2], strict=True))[::-1]


def _check_sizes(shape: Any, edges: tuple[tuple[int, int], ...]) -> None:
    for axis, (before, after) in enumerate(edges, len(shape) - len(edges)):
        n = shape[axis]
        if n + before + after < 0:
            raise RuntimeError(
                f"constant_pad_nd: The input size {n}, plus negative padding {before} and {after} "
                "resulted in a negative output size, which is invalid. Check dimension "
                f"{axis} of your input."
            )


@structured(
    grad={"input": lambda m, g, pad: m.constant_pad_nd(g, [-int(n) for n in pad])}, method=False
)
def constant_pad_nd(input: Array, pad: Any, value: Any = 0) -> Array:
    """`input` with `pad` elements of `value` before and after its last dimensions.

    Pairs of numbers, the last dimension first; negative ones crop.

    >>> flambeau.constant_pad_nd(flambeau.tensor([[1, 2], [3, 4]]), (1, 0, 0, -1), 9)
    tensor([[9, 1, 2]])
    """
    if len(pad) % 2:
        raise RuntimeError(f"Length of pad must be even but instead it equals {len(pad)}")
    if len(pad) > 2 * input.ndim:
        raise RuntimeError(
            "Length of pad should be no more than twice the number of dimensions of the input. Pad "
            f"length is {len(pad)} while the input has {input.ndim} dimensions."
        )
    edges = _edges(pad)
    _check_sizes(input.shape, edges)
    return kernels.pad(input, edges, "constant", value) if edges else input.copy()


def _check_border(input: Any, pad: Any, mode: str) -> None:
    dims = len(pad) // 2
    if len(pad) % 2 or input.ndim not in (dims + 1, dims + 2) or dims > 3:
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now: got "
            f"input of shape {list(input.shape)} and pad {list(pad)} ({mode})"
        )
    for axis, (before, after) in enumerate(_edges(pad), input.ndim - dims):
        n = input.shape[axis]
        if mode == "reflect" and max(before, after) >= n:
            raise RuntimeError(
                "Padding size should be less than the corresponding input dimension, but got: "
                f"padding ({before}, {after}) at dimension {axis} of input {list(input.shape)}"
            )
        if mode == "circular" and max(before, after) > n:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        if n + before + after < 1 or (mode == "replicate" and not n):
            raise RuntimeError(
                f"{mode} padding: input {list(input.shape)} with padding ({before}, {after}) at "
                f"dimension {axis} is too small"
            )


@structured(method=False, grad={"input": lambda m, g, pad, mode, input_shape: m.border_pad_back(
    g, pad, mode, tuple(input_shape)
)})  # fmt: skip
def border_pad(input: Array, pad: Any, mode: str) -> Array:
    """`input` continued past its borders: ``mode`` is "reflect", "replicate" or "circular"."""
    _check_border(input, pad, mode)
    return kernels.pad(input, _edges(pad), mode)


@structured(method=False, grad={"grad": lambda m, g, pad, mode: m.border_pad(g, pad, mode)})
def border_pad_back(grad: Array, pad: Any, mode: str, input_size: Any) -> Array:
    """The gradient of `border_pad`: every value added to the place it came from."""
    edges = _edges(pad)
    for axis, (before, after) in enumerate(edges, grad.ndim - len(edges)):
        if not before and not after:
            continue
        n = input_size[axis]
        lead = (slice(None),) * axis
        first, last = max(0, before), max(0, before) + n - max(0, -before) - max(0, -after)
        out = np.zeros((*grad.shape[:axis], n, *grad.shape[axis + 1 :]), grad.dtype)
        out[(*lead, slice(max(0, -before), n - max(0, -after)))] = grad[(*lead, slice(first, last))]
        places = kernels.places(n, before, after, mode)
        for i in (*range(first), *range(last, len(places))):
            out[(*lead, places[i])] += grad[(*lead, i)]
        grad = out
    return grad


@composite(method=False)
def pad(m: Any, input: Array, pad: Any, mode: str = "constant", value: Any = None) -> Array:
    """`input` with `pad` elements before and after its last dimensions, the last one first.

    ``mode`` is "constant" (with `value`), "reflect", "replicate" or "circular". Negative numbers
    crop.

    >>> fl.pad(fl.ones(2), (1, 2)).tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0]
    """
    if mode == "constant":
        if len(pad) % 2:
            raise RuntimeError("Padding length must be divisible by 2")
        if len(pad) > 2 * input.ndim:
            raise RuntimeError(
                f"Padding length should be less than or equal to two times the input dimension but "
                f"got padding length {len(pad)} and input of dimension {input.ndim}"
            )
        return m.constant_pad_nd(input, pad, 0 if value is None else value)
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    return m.border_pad(input, tuple(pad), mode)
