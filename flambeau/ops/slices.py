"""Views of parts: slices, single places along a dimension, windows, any strides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .record import Array, composite, structured, view
from .shapes import at_dim, wrap_dim


def _index_name(node: Any) -> str:
    """What indexing is called on the tape: by its last item that does something."""
    items = node.s_key if isinstance(node.s_key, tuple) else (node.s_key,)
    if items == (slice(None),):
        return "SliceBackward0"
    name, sizes = "Alias", list(node.s_input_shape)
    for place, k in enumerate(items):
        if k is Ellipsis:
            after = len([i for i in items[place + 1 :] if i is not None])
            del sizes[: len(sizes) - after]
        elif k is None:
            name = "Unsqueeze"
        else:
            n = sizes.pop(0)
            if not isinstance(k, slice):
                name = "Select"
            elif k.indices(n) != (0, n, 1):
                name = "Slice"
    return f"{name}Backward0"


@view(
    method=False,
    node="SliceBackward0",
    namer=_index_name,
    grad={"input": lambda m, g, key, input_shape: m.basic_index_back(g, key, tuple(input_shape))},
)
def basic_index(input: Array, key: Any) -> Array:
    """``input[key]`` for integers, slices, None and ``...``."""
    # An Ellipsis keeps NumPy from turning a 0-d result into a scalar.
    if key.__class__ is tuple:
        return input[key] if Ellipsis in key else input[(*key, ...)]
    return input[key, ...]


@structured(method=False, grad={"input": lambda m, g, key: m.basic_index(g, key)})
def basic_index_back(input: Array, key: Any, shape: Any) -> Array:
    """Zeros of `shape` with `input` at ``[key]``: the derivative of `basic_index`."""
    out = np.zeros(shape, input.dtype)
    out[key] = input
    return out


# ---------------------------------------------------------------- parts
def _unnarrow(m: Any, g: Any, dim: int, start: Any, length: int, shape: Any) -> Any:
    d = wrap_dim(dim, len(shape))
    start = int(start) + (shape[d] if int(start) < 0 else 0)
    return m.basic_index_back(g, at_dim(d, slice(start, start + length)), tuple(shape))


@view(
    grad={
        "input": lambda m, g, dim, start, length, input_shape: _unnarrow(
            m, g, dim, start, length, input_shape
        )
    },
    node="SliceBackward0",
)
def narrow(input: Array, dim: int, start: Any, length: int) -> Array:
    """`length` rows of `input` along `dim` from `start` on, as a view.

    >>> flambeau.narrow(flambeau.arange(6), 0, 2, 3)
    tensor([2, 3, 4])
    """
    if not input.ndim:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, input.ndim)
    n = input.shape[d]
    kind = getattr(start, "dtype", None)
    if kind is not None and (start.ndim or str(kind).split(".")[-1][:3] not in ("int", "uin")):
        raise RuntimeError("narrow(): start must be an 0-dim integral Tensor.")
    start = int(start)
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n}], but got {start})"
        )
    start += n if start < 0 else 0
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return input[at_dim(d, slice(start, start + length))]


@composite(out=True)
def narrow_copy(m: Any, input: Array, dim: int, start: int, length: int) -> Array:
    """A copy of `length` rows of `input` along `dim` from `start` on.

    >>> flambeau.narrow_copy(flambeau.tensor([[1, 2, 3], [4, 5, 6]]), 1, 0, 2)
    tensor([[1, 2],
            [4, 5]])
    """
    return m.clone(m.narrow(input, dim, start, length))


@composite()
def select(m: Any, input: Array, dim: int, index: int) -> Array:
    """The part of `input` at `index` along `dim`, without that dimension, as a view.

    >>> flambeau.select(flambeau.tensor([[1, 2], [3, 4]]), dim=1, index=-1)
    tensor([2, 4])
    """
    if not input.ndim:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, input.ndim)
    n = input.shape[d]
    if not -n <= int(index) < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input.shape)} at "
            f"dimension {d}"
        )
    return m.basic_index(input, at_dim(d, int(index)))


@composite(method=False)
def slice_of(
    m: Any, input: Array, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Array:
    """Every `step`-th row of `input` along `dim` from `start` to before `end`, as a view."""
    d = wrap_dim(dim, input.ndim)
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    return m.basic_index(input, at_dim(d, slice(start, end, step)))


# ---------------------------------------------------------------- windows and strides
def strided(input: Array, shape: Any, strides: Any, start: int, writeable: bool = True) -> Array:
    """The memory behind `input` seen with another shape and strides (bytes), from byte `start`."""
    root = input
    while isinstance(root.base, np.ndarray):
        root = root.base
    memory = root.ravel("K").view(np.uint8)
    if not memory.size and math.prod(shape):  # NumPy takes an empty buffer for one of any size
        raise ValueError("the memory is empty")
    out = np.ndarray(tuple(shape), input.dtype, memory, start, strides)
    if not writeable or not input.flags.writeable:
        out.flags.writeable = False
    return out


def byte_offset(input: Array) -> int:
    """Bytes between the start of the memory behind `input` and its first element."""
    root = input
    while isinstance(root.base, np.ndarray):
        root = root.base
    return int(input.__array_interface__["data"][0] - root.__array_interface__["data"][0])


@view(
    grad={
        "input": lambda m, g, input_shape, dimension, size, step: m.unfold_back(
            g, tuple(input_shape), dimension, size, step
        )
    }
)
def unfold(input: Array, dimension: int, size: int, step: int) -> Array:
    """All windows of `size` along a dimension, `step` apart, in a new last dimension, as a view.

    >>> flambeau.arange(5).unfold(0, size=3, step=1)
    tensor([[0, 1, 2],
            [1, 2, 3],
            [2, 3, 4]])
    """
    d = wrap_dim(dimension, input.ndim)
    shape, strides = (input.shape, input.strides) if input.ndim else ((1,), (0,))
    if size < 0 or size > shape[d]:
        raise RuntimeError(
            f"maximum size for tensor at dimension {d} is {shape[d]} but size is {size}"
        )
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    count = (shape[d] - size) // step + 1
    if not input.ndim:
        return input.reshape(1)[:size]
    return strided(
        input,
        (*shape[:d], count, *shape[d + 1 :], size),
        (*strides[:d], strides[d] * step, *strides[d + 1 :], strides[d]),
        byte_offset(input),
        writeable=step >= size,
    )


@structured(
    method=False,
    grad={"input": lambda m, g, dimension, size, step: m.unfold(g, dimension, size, step)},
)
def unfold_back(input: Array, shape: Any, dimension: int, size: int, step: int) -> Array:
    """Windows added up where they lie in a tensor of `shape`: the derivative of `unfold`."""
    if not shape:
        return input.reshape(-1).sum(keepdims=True).reshape(())
    d = wrap_dim(dimension, len(shape))
    out = np.zeros(shape, input.dtype)
    count = input.shape[d]
    for i in range(size):
        out[at_dim(d, slice(i, i + count * step, step))] += input[..., i]
    return out


def _positions(d: Array, size: Any, stride: Any, offset: int) -> Array:
    """The element numbers that a strided view of the memory visits."""
    place = np.full(tuple(size), offset, np.int64)
    for axis, (n, s) in enumerate(zip(size, stride, strict=True)):
        steps = np.arange(n) * s
        place += steps.reshape([-1 if i == axis else 1 for i in range(len(size))])
    return place


@view(
    grad={
        "input": lambda m, g, input, size, stride, storage_offset: m.as_strided_back(
            g, m.constant(input), size, stride, storage_offset
        )
    }
)
def as_strided(
    input: Array, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Array:
    """The memory of `input` seen with any size and strides (in elements), as a view.

    >>> flambeau.as_strided(flambeau.arange(4), (3, 2), (1, 1))
    tensor([[0, 1],
            [1, 2],
            [2, 3]])
    """
    item = input.dtype.itemsize
    start = byte_offset(input) if storage_offset is None else int(storage_offset) * item
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in stride):
        raise RuntimeError(
            "as_strided: Negative strides are not supported at the moment, got strides: "
            f"{list(stride)}"
        )
    try:
        return strided(input, size, [int(s) * item for s in stride], start)
    except (TypeError, ValueError) as error:
        raise RuntimeError(
            f"as_strided: size {list(size)}, stride {list(stride)} and offset {start // item} "
            f"reach outside the storage ({error})"
        ) from None


@structured(method=False, excuse="only used in backward")
def as_strided_back(
    input: Array, source: Array, size: Any, stride: Any, storage_offset: int | None
) -> Array:
    """`input` added up at the elements of `source` that a strided view visited."""
    item = source.dtype.itemsize
    here = byte_offset(source) // item
    there = here if storage_offset is None else int(storage_offset)
    visited = _positions(source, size, stride, there)
    own = _positions(source, source.shape, [s // item for s in source.strides], here)
    top = _largest(visited, own) + 1
    total = np.zeros(top, input.dtype)
    np.add.at(total, visited.reshape(-1), input.reshape(-1))
    return total[own]


def _largest(a: Array, b: Array) -> int:
    """The largest number in two arrays (-1 if both are empty)."""
    return int(np.max(np.concatenate([a.reshape(-1), b.reshape(-1), [-1]])))
