"""Joining tensors and cutting them up: cat, stack, split, chunk, unbind and their kin."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..backends.cpu.layout import joined
from ..errors import ArgumentError
from .promotion import promoted
from .record import Array, Arrays, composite, structured, view
from .shapes import at_dim, wrap_dim


# ---------------------------------------------------------------- joining
def _check_joinable(tensors: Any, first: Any, d: int) -> None:
    for i, t in enumerate(tensors):
        if t.ndim == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
        if t.shape == (0,):
            continue
        if t.ndim != first.ndim:
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {first.ndim} and {t.ndim}"
            )
        for axis in range(t.ndim):
            if axis != d and t.shape[axis] != first.shape[axis]:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {d}. Expected size "
                    f"{first.shape[axis]} but got size {t.shape[axis]} for tensor number {i} in "
                    "the list."
                )


@structured(
    grad={"tensors": lambda m, g, dim, tensors_shape: _uncat(m, g, dim, tensors_shape)},
    method=False,
    out=True,
    aliases=("concat", "concatenate"),
)
def cat(tensors: Arrays, dim: int = 0) -> Array:
    """The tensors one after the other along `dim`; other sizes must agree.

    >>> flambeau.cat([flambeau.tensor([1, 2]), flambeau.tensor([3])])
    tensor([1, 2, 3])
    >>> flambeau.cat([flambeau.zeros(2, 1), flambeau.ones(2, 2)], dim=1)
    tensor([[0., 1., 1.],
            [0., 1., 1.]])
    """
    if not tensors:
        raise ArgumentError("cat(): expected a non-empty list of Tensors")
    kind = tensors[0].dtype
    for t in tensors:
        if t.dtype is not kind and t.dtype != kind:
            tensors = promoted(tensors)
            break
    try:
        return joined(tensors, dim)
    except ValueError:
        return _join_carefully(tensors, dim)


def _join_carefully(tensors: Any, dim: int) -> Array:
    """`cat` where NumPy refuses: for a good error, or because of empty vectors (skipped)."""
    real = [t for t in tensors if t.shape != (0,)] or list(tensors)
    d = wrap_dim(dim, real[0].ndim)
    _check_joinable(tensors, real[0], d)
    return np.concatenate(real, d)


def _uncat(m: Any, g: Any, dim: int, shapes: Any) -> list[Any]:
    real = [s for s in shapes if tuple(s) != (0,)] or shapes
    d = wrap_dim(dim, len(real[0]))
    parts, start = [], 0
    for s in shapes:
        n = 0 if tuple(s) == (0,) and len(real[0]) != 1 else s[d]
        part = m.narrow(g, d, start, n)
        parts.append(m.reshape(part, (0,)) if tuple(s) == (0,) else part)
        start += n
    return parts


@structured(
    method=False,
    out=True,
    grad={"tensors": lambda m, g, dim: list(m.unbind(g, dim))},
)
def stack(tensors: Arrays, dim: int = 0) -> Array:
    """The tensors along a new dimension `dim`; all must have the same shape.

    >>> flambeau.stack([flambeau.tensor([1, 2]), flambeau.tensor([3, 4])], dim=1)
    tensor([[1, 3],
            [2, 4]])
    """
    if not len(tensors):
        raise RuntimeError("stack expects a non-empty TensorList")
    first, kind, alike = tensors[0].shape, tensors[0].dtype, True
    for t in tensors:
        if t.dtype is not kind:
            alike = False
        if t.shape != first:
            i = next(i for i, t in enumerate(tensors) if t.shape != first)
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and "
                f"{list(t.shape)} at entry {i}"
            )
    if not alike:
        tensors = promoted(tensors)
    d = wrap_dim(dim, len(first) + 1)
    if d == 0 and first:
        return joined(tensors, 0).reshape(len(tensors), *first)
    return joined([t[at_dim(d, None)] for t in tensors], d)


def _listed(tensors: Any) -> list[Any]:
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        return list(tensors[0])
    return list(tensors)


def _each(m: Any, name: str, tensors: Any) -> Any:
    one = getattr(m, name)
    if len(tensors) == 1 and not isinstance(tensors[0], (list, tuple)):
        return one(tensors[0])
    return tuple(one(t) for t in _listed(tensors))


@composite(method=False)
def at_least_1d(m: Any, input: Array) -> Array:
    """`input` with at least one dimension."""
    return m.reshape(input, (1,)) if input.ndim == 0 else input


@composite(method=False)
def at_least_2d(m: Any, input: Array) -> Array:
    """`input` with at least two dimensions; a vector becomes a row."""
    if input.ndim >= 2:
        return input
    return m.reshape(input, (1, 1)) if input.ndim == 0 else m.unsqueeze(input, 0)


@composite(method=False)
def at_least_3d(m: Any, input: Array) -> Array:
    """`input` with at least three dimensions; a matrix becomes (n, m, 1)."""
    if input.ndim >= 3:
        return input
    if input.ndim == 2:
        return m.unsqueeze(input, -1)
    return m.unsqueeze(m.at_least_2d(input), -1)


@composite(method=False)
def atleast_1d(m: Any, *tensors: Any) -> Any:
    """Each tensor with at least one dimension.

    >>> flambeau.atleast_1d(flambeau.tensor(5))
    tensor([5])
    """
    return _each(m, "at_least_1d", tensors)


@composite(method=False)
def atleast_2d(m: Any, *tensors: Any) -> Any:
    """Each tensor with at least two dimensions.

    >>> flambeau.atleast_2d(flambeau.tensor([5, 6]))
    tensor([[5, 6]])
    """
    return _each(m, "at_least_2d", tensors)


@composite(method=False)
def atleast_3d(m: Any, *tensors: Any) -> Any:
    """Each tensor with at least three dimensions.

    >>> flambeau.atleast_3d(flambeau.tensor([5, 6])).shape
    torch.Size([1, 2, 1])
    """
    return _each(m, "at_least_3d", tensors)


def _check_not_empty(name: str, tensors: Any) -> None:
    if not len(tensors):
        raise RuntimeError(f"{name} expects a non-empty TensorList")


@composite(method=False, out=True)
def hstack(m: Any, tensors: Arrays) -> Array:
    """The tensors side by side: along the second dimension, or the first of vectors.

    >>> flambeau.hstack([flambeau.tensor([[1], [2]]), flambeau.tensor([[3, 4], [5, 6]])])
    tensor([[1, 3, 4],
            [2, 5, 6]])
    """
    _check_not_empty("hstack", tensors)
    parts = [m.at_least_1d(t) for t in tensors]
    return m.cat(parts, 0 if parts[0].ndim == 1 else 1)


@composite(method=False, out=True, aliases=("row_stack",))
def vstack(m: Any, tensors: Arrays) -> Array:
    """The tensors one above the other: along the first dimension of at least two.

    >>> flambeau.vstack([flambeau.tensor([1, 2]), flambeau.tensor([[3, 4], [5, 6]])])
    tensor([[1, 2],
            [3, 4],
            [5, 6]])
    """
    _check_not_empty("vstack", tensors)
    return m.cat([m.at_least_2d(t) for t in tensors], 0)


@composite(method=False, out=True)
def dstack(m: Any, tensors: Arrays) -> Array:
    """The tensors behind each other: along the third dimension.

    >>> flambeau.dstack([flambeau.tensor([1, 2]), flambeau.tensor([3, 4])]).tolist()
    [[[1, 3], [2, 4]]]
    """
    _check_not_empty("dstack", tensors)
    return m.cat([m.at_least_3d(t) for t in tensors], 2)


@composite(method=False, out=True)
def column_stack(m: Any, tensors: Arrays) -> Array:
    """The tensors side by side; vectors become columns.

    >>> flambeau.column_stack([flambeau.tensor([1, 2]), flambeau.tensor([[3, 4], [5, 6]])])
    tensor([[1, 3, 4],
            [2, 5, 6]])
    """
    _check_not_empty("column_stack", tensors)
    return m.cat([m.reshape(t, (-1, 1)) if t.ndim <= 1 else t for t in tensors], 1)


# ---------------------------------------------------------------- cutting
@view(
    method=False,
    outputs=0,
    node="SplitBackward0",
    grad={"input": lambda m, g, dim: m.cat(list(g), dim)},
)
def split_at(input: Array, sizes: Any, dim: int) -> tuple[Array, ...]:
    """Consecutive parts of `input` along `dim` with the given sizes, as views."""
    start, parts, before = 0, [], at_dim(dim, slice(None))[:-1]
    for n in sizes:
        parts.append(input[(*before, slice(start, start + n))])
        start += n
    return tuple(parts)


def _cut(m: Any, name: str, tensor: Any, dim: int) -> tuple[int, int]:
    if not tensor.ndim:
        raise RuntimeError(f"{name} expects at least a 1-dimensional tensor")
    d = wrap_dim(dim, tensor.ndim)
    return d, tensor.shape[d]


@composite(aliases=("unsafe_split_with_sizes",))
def split_with_sizes(m: Any, input: Array, split_sizes: Any, dim: int = 0) -> tuple[Array, ...]:
    """Parts of `input` along `dim` with the given sizes, as views.

    >>> flambeau.arange(5).split_with_sizes([2, 0, 3])
    (tensor([0, 1]), tensor([], dtype=torch.int64), tensor([2, 3, 4]))
    """
    d, n = _cut(m, "split_with_sizes", input, dim)
    sizes = [int(s) for s in split_sizes]
    if any(s < 0 for s in sizes):
        raise RuntimeError(
            "split_with_sizes expects split_sizes have only non-negative entries, but got "
            f"split_sizes={sizes}"
        )
    total = 0
    for s in sizes:
        total += s
    if total != n:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at "
            f"dimension {d}), but got split_sizes={sizes}"
        )
    return m.split_at(input, sizes, d)


@composite()
def unsafe_split(m: Any, input: Array, split_size: Any, dim: int = 0) -> tuple[Array, ...]:
    """`split`, under the name of the form whose parts may be changed in place.

    >>> flambeau.unsafe_split(flambeau.arange(4), 3)
    (tensor([0, 1, 2]), tensor([3]))
    """
    return m.split(input, split_size, dim)


@composite(spellings={"split_size": "split_size_or_sections"})
def split(m: Any, tensor: Array, split_size_or_sections: Any, dim: int = 0) -> tuple[Array, ...]:
    """`tensor` cut along `dim` into parts of one size (the last can be smaller) or given sizes.

    >>> flambeau.split(flambeau.arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    >>> [part.shape for part in flambeau.ones(3, 5).split([4, 1], dim=1)]
    [torch.Size([3, 4]), torch.Size([3, 1])]
    """
    if isinstance(split_size_or_sections, (list, tuple)):
        return m.split_with_sizes(tensor, split_size_or_sections, dim)
    d, n = _cut(m, "split", tensor, dim)
    size = int(split_size_or_sections)
    if size < 0 or (size == 0 and n):
        raise RuntimeError(
            f"split expects split_size be non-negative, but got split_size={size}"
            if size < 0
            else f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}"
        )
    if not n:
        return m.split_at(tensor, [0], d)
    sizes = [size] * (n // size) + ([n % size] if n % size else [])
    return m.split_at(tensor, sizes, d)


@composite(aliases=("unsafe_chunk",))
def chunk(m: Any, input: Array, chunks: int, dim: int = 0) -> tuple[Array, ...]:
    """`input` cut along `dim` into at most `chunks` equal parts (the last may be smaller).

    >>> flambeau.chunk(flambeau.arange(5), 3)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    d, n = _cut(m, "chunk", input, dim)
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    if not n:
        return m.split_at(input, [0] * chunks, d)
    size = -(-n // chunks)
    return m.split_at(input, [size] * (n // size) + ([n % size] if n % size else []), d)


_PLACES = {"sections": "indices_or_sections", "indices": "indices_or_sections"}


@composite(spellings={**_PLACES, "tensor_indices_or_sections": "indices_or_sections"})
def tensor_split(m: Any, input: Array, indices_or_sections: Any, dim: int = 0) -> tuple[Array, ...]:
    """`input` cut along `dim` into a number of nearly equal parts, or at the given places.

    >>> flambeau.tensor_split(flambeau.arange(5), 3)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    >>> flambeau.tensor_split(flambeau.arange(5), [1, 4])
    (tensor([0]), tensor([1, 2, 3]), tensor([4]))
    """
    d, n = _cut(m, "tensor_split", input, dim)
    where = indices_or_sections
    if hasattr(where, "tolist"):
        where = where.tolist()
    if isinstance(where, (list, tuple)):
        places = [max(0, min(n, int(p) + (n if int(p) < 0 else 0))) for p in where]
        keys = zip([0, *places], [*places, n], strict=True)
        return tuple(m.slice_of(input, d, a, max(a, b)) for a, b in keys)
    if where <= 0:
        raise RuntimeError(f"number of sections must be larger than 0, got {where}")
    small, more = divmod(n, where)
    ends = list(itertools.accumulate([small + 1] * more + [small] * (where - more)))
    return tuple(m.slice_of(input, d, a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True))


def _numpy_style(m: Any, name: str, input: Any, where: Any, dim: int) -> tuple[Array, ...]:
    if isinstance(where, int) and (where <= 0 or input.shape[dim] % where):
        raise RuntimeError(
            f"torch.{name} attempted to split along dimension {dim}, but the size of the "
            f"dimension {input.shape[dim]} is not divisible by the split_size {where}!"
        )
    return m.tensor_split(input, where, dim)


def _check_rank(name: str, input: Any, least: int) -> None:
    if input.ndim < least:
        raise RuntimeError(
            f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor "
            f"with {input.ndim} dimensions!"
        )


@composite(spellings=_PLACES)
def hsplit(m: Any, input: Array, indices_or_sections: Any) -> tuple[Array, ...]:
    """`input` cut side by side, along its second dimension (the first of a vector).

    >>> flambeau.hsplit(flambeau.tensor([[1, 2], [3, 4]]), 2)
    (tensor([[1],
            [3]]), tensor([[2],
            [4]]))
    """
    _check_rank("hsplit", input, 1)
    return _numpy_style(m, "hsplit", input, indices_or_sections, 0 if input.ndim == 1 else 1)


@composite(spellings=_PLACES)
def vsplit(m: Any, input: Array, indices_or_sections: Any) -> tuple[Array, ...]:
    """`input` cut along its first dimension.

    >>> flambeau.vsplit(flambeau.tensor([[1, 2], [3, 4], [5, 6]]), [1])
    (tensor([[1, 2]]), tensor([[3, 4],
            [5, 6]]))
    """
    _check_rank("vsplit", input, 2)
    return _numpy_style(m, "vsplit", input, indices_or_sections, 0)


@composite(spellings=_PLACES)
def dsplit(m: Any, input: Array, indices_or_sections: Any) -> tuple[Array, ...]:
    """`input` cut along its third dimension.

    >>> [part.tolist() for part in flambeau.dsplit(flambeau.arange(4).reshape(1, 1, 4), 2)]
    [[[[0, 1]]], [[[2, 3]]]]
    """
    _check_rank("dsplit", input, 3)
    return _numpy_style(m, "dsplit", input, indices_or_sections, 2)


@view(outputs=0, grad={"input": lambda m, g, dim: m.stack(list(g), dim)})
def unbind(input: Array, dim: int = 0) -> tuple[Array, ...]:
    """The parts of `input` along `dim`, without that dimension, as views.

    >>> flambeau.unbind(flambeau.tensor([[1, 2], [3, 4]]), dim=1)
    (tensor([1, 3]), tensor([2, 4]))
    """
    if not input.ndim:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    d = wrap_dim(dim, input.ndim)
    if input.ndim == 1:
        return tuple([input[i, ...] for i in range(len(input))])
    return tuple(np.moveaxis(input, d, 0) if d else input)
