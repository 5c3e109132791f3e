"""Functions of the array API standard that move elements without changing them."""

from __future__ import annotations

from collections.abc import Sequence

from ..tensor import Tensor, functions
from .data_types import promoted


def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """The tensors broadcast against each other, as views."""
    return tuple(functions.broadcast_tensors(*arrays)) if arrays else ()


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that shapes broadcast to; ValueError if they do not."""
    try:
        return tuple(functions.broadcast_shapes(*shapes))
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Tensor:
    """A view of `x` with another shape."""
    return functions.broadcast_to(x, tuple(shape))


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """Tensors one after another along an axis, or flattened if it is None, in their common type."""
    parts = promoted(*arrays)
    if axis is None:
        return functions.cat([functions.flatten(part) for part in parts])
    if any(part.ndim != parts[0].ndim for part in parts):
        raise ValueError("concat: the tensors must have the same number of axes")
    return functions.cat(parts, axis)


def expand_dims(x: Tensor, /, axis: int) -> Tensor:
    """`x` with a new axis of length 1; IndexError if `axis` is out of range."""
    return functions.unsqueeze(x, axis)


def flip(x: Tensor, /, *, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """`x` with its elements in reverse order along axes, or along all."""
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    return functions.flip(x, axes)


def moveaxis(
    x: Tensor, source: int | tuple[int, ...], destination: int | tuple[int, ...], /
) -> Tensor:
    """`x` with axes at other places, the rest in their order."""
    return functions.movedim(x, source, destination)


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """`x` with its axes in another order."""
    return functions.permute(x, tuple(axes))


def repeat(x: Tensor, repeats: int | Tensor, /, *, axis: int | None = None) -> Tensor:
    """Each element `repeats` times in a row, along an axis or of the flattened tensor."""
    if isinstance(repeats, Tensor) and repeats.ndim == 1 and repeats.shape[0] == 1:
        repeats = functions.reshape(repeats, ())
    return functions.repeat_interleave(x, repeats, dim=axis)


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Tensor:
    """`x` in another shape: a copy, a view (ValueError if there is none), or what is possible."""
    if copy:
        return functions.reshape(functions.clone(x), tuple(shape))
    if copy is None:
        return functions.reshape(x, tuple(shape))
    try:
        return x.view(tuple(shape))
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def roll(
    x: Tensor,
    /,
    shift: int | tuple[int, ...],
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Tensor:
    """`x` with elements moved along axes, from the end to the start."""
    if axis is None:
        return functions.roll(x, shift if isinstance(shift, int) else sum(shift))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    shifts = (shift,) * len(axes) if isinstance(shift, int) else tuple(shift)
    return functions.roll(x, shifts, axes) if axes else functions.clone(x)


def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """`x` without axes of length 1; ValueError if one is longer."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if any(x.shape[a] != 1 for a in axes):
        raise ValueError(f"squeeze: axes {axes} of shape {tuple(x.shape)} are not all of length 1")
    return functions.squeeze(x, axes)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """Tensors of one shape beside each other along a new axis, in their common type."""
    return functions.stack(promoted(*arrays), axis)


def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Tensor:
    """Copies of `x` side by side, as many along each axis as `repetitions` says."""
    return functions.tile(x, tuple(repetitions))


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of `x` along an axis, as views."""
    if not x.ndim:
        raise ValueError("unstack: a 0-d tensor has no axis")
    return functions.unbind(x, axis)


__all__ = [
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "concat",
    "expand_dims",
    "flip",
    "moveaxis",
    "permute_dims",
    "repeat",
    "reshape",
    "roll",
    "squeeze",
    "stack",
    "tile",
    "unstack",
]
