"""Views and shapes: ops that look at the same values in another arrangement."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends.cpu.layout import reshaped
from .promotion import is_number
from .record import Array, composite, structured, view
from .shapes import at_dim, infer_size, wrap_dim, wrap_dims


# ---------------------------------------------------------------- another shape
@view(
    may_copy=True,
    grad={"input": lambda m, g, input_shape: m.reshape(g, input_shape)},
    varargs="shape",
    node="ViewBackward0",
)
def reshape(input: Array, shape: Any) -> Array:
    """`input` with its elements arranged in `shape`; a view where that is possible.

    One size may be -1: it is inferred. RuntimeError if the number of elements differs.

    >>> flambeau.arange(6).reshape(2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    try:
        out = input.reshape(shape)
    except (ValueError, TypeError):
        return reshaped(input, infer_size(shape, input.size))
    if out.shape != shape and shape and min(shape) < -1:  # NumPy would infer it
        infer_size(shape, input.size)
    return out


@view(
    grad={"input": lambda m, g, input_shape: m.reshape(g, input_shape)},
    method=False,
    node="ViewBackward0",
)
def view_as_size(input: Array, size: Any) -> Array:
    """`input` seen in another shape without copying; RuntimeError if its strides forbid that."""
    if input.flags.c_contiguous:
        try:
            for n in size:
                if n < -1:  # NumPy would infer it
                    raise ValueError
            return input.reshape(size)
        except (ValueError, TypeError):
            pass
    shape = infer_size(size, input.size)
    try:
        return input.reshape(shape, copy=False)
    except ValueError:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead. "
            f"(shape {list(input.shape)} as {list(shape)})"
        ) from None


@view(method=False, retypes=True, excuse="the bits are read as another type")
def view_as_dtype(input: Array, dtype: Any) -> Array:
    """The same memory read as another dtype; the last dimension grows or shrinks to fit."""
    kind = dtype.numpy_dtype
    if not input.ndim and kind.itemsize != input.dtype.itemsize:
        raise RuntimeError(
            f"self.dim() cannot be 0 to view {input.dtype} as {dtype} (different element sizes)"
        )
    return input.view(kind)


@composite()
def view_as(m: Any, input: Array, other: Array) -> Array:
    """`input` seen in the shape of `other`.

    >>> flambeau.arange(4).view_as(flambeau.zeros(2, 2))
    tensor([[0, 1],
            [2, 3]])
    """
    return m.view_as_size(input, tuple(other.shape))


@composite()
def reshape_as(m: Any, input: Array, other: Array) -> Array:
    """`input` in the shape of `other`.

    >>> flambeau.tensor([[1, 2], [3, 4]]).T.reshape_as(flambeau.zeros(4))
    tensor([1, 3, 2, 4])
    """
    return m.reshape(input, tuple(other.shape))


@composite()
def flatten(m: Any, input: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    """`input` with the dimensions from `start_dim` to `end_dim` made one.

    >>> flambeau.flatten(flambeau.ones(2, 3, 4), start_dim=1).shape
    torch.Size([2, 12])
    """
    if start_dim == 0 and end_dim == -1 and input.ndim > 1:
        return m.reshape(input, (-1,))
    shape = tuple(input.shape)
    start, end = wrap_dim(start_dim, len(shape)), wrap_dim(end_dim, len(shape))
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if start == end and shape:
        return input
    size = math.prod(shape[start : end + 1])
    return m.reshape(input, (*shape[:start], size, *shape[end + 1 :]))


@composite()
def unflatten(m: Any, input: Array, dim: int, sizes: Sequence[int]) -> Array:
    """`input` with dimension `dim` split into `sizes` (one may be -1).

    >>> flambeau.unflatten(flambeau.arange(6), 0, (3, -1))
    tensor([[0, 1],
            [2, 3],
            [4, 5]])
    """
    shape = tuple(input.shape)
    if not shape:
        raise IndexError("unflatten: a tensor without dimensions has none to split")
    d = wrap_dim(dim, len(shape))
    if not len(sizes):
        raise RuntimeError("unflatten: sizes must be non-empty")
    try:
        parts = infer_size(sizes, shape[d])
    except RuntimeError:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {d} "
            f"({shape[d]}) in the input tensor"
        ) from None
    return m.view_as_size(input, (*shape[:d], *parts, *shape[d + 1 :]))


@composite()
def ravel(m: Any, input: Array) -> Array:
    """`input` as a 1-d tensor.

    >>> flambeau.ravel(flambeau.tensor([[1, 2], [3, 4]]))
    tensor([1, 2, 3, 4])
    """
    return m.reshape(input, (-1,))


def _squeezing(dim: Any) -> int:
    """The number on the tape of squeezing all dimensions, one or several."""
    return 0 if dim is None else 1 if is_number(dim) else 2


@view(
    grad={"input": lambda m, g, input_shape, dim: m.reshape(g, input_shape)},
    namer=lambda node: f"SqueezeBackward{_squeezing(node.s_dim)}",
)
def squeeze(input: Array, dim: Any = None) -> Array:
    """`input` without its dimensions of size one (or without those in `dim`), as a view.

    >>> x = flambeau.ones(1, 3, 1)
    >>> x.squeeze().shape, x.squeeze(0).shape
    (torch.Size([3]), torch.Size([3, 1]))
    """
    if dim is None:
        return input.squeeze()
    if dim.__class__ is int and -input.ndim <= dim < input.ndim:
        return input.squeeze(dim if input.shape[dim] == 1 else ())
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    wrapped = wrap_dims(dims, input.ndim) if dims else ()
    return input.squeeze(tuple(d for d in wrapped if input.shape[d] == 1))


@view(grad={"input": lambda m, g, input_shape: m.reshape(g, input_shape)})
def unsqueeze(input: Array, dim: int) -> Array:
    """`input` with a new dimension of size one before `dim`, as a view.

    >>> flambeau.unsqueeze(flambeau.tensor([1, 2]), 1)
    tensor([[1],
            [2]])
    """
    return input[at_dim(wrap_dim(dim, input.ndim + 1), None)]


# ---------------------------------------------------------------- another order
@view(
    grad={"input": lambda m, g, dim0, dim1: m.transpose(g, dim0, dim1)},
    aliases=("swapdims",),
)
def transpose(input: Array, dim0: int, dim1: int) -> Array:
    """`input` with two dimensions exchanged, as a view.

    >>> flambeau.transpose(flambeau.ones(2, 3, 5), 0, 2).shape
    torch.Size([5, 3, 2])
    """
    try:
        return input.swapaxes(dim0, dim1)
    except (ValueError, TypeError):
        a, b = wrap_dim(dim0, input.ndim), wrap_dim(dim1, input.ndim)
        return input.swapaxes(a, b) if input.ndim else input.view()


@composite()
def swapaxes(m: Any, input: Array, axis0: int, axis1: int) -> Array:
    """`input` with two dimensions exchanged, as a view.

    >>> flambeau.swapaxes(flambeau.tensor([[1, 2], [3, 4]]), 0, 1)
    tensor([[1, 3],
            [2, 4]])
    """
    return m.transpose(input, axis0, axis1)


@view(grad={"input": lambda m, g: m.t(g)})
def t(input: Array) -> Array:
    """The transpose of a matrix, as a view; a vector as it is.

    >>> flambeau.t(flambeau.tensor([[1, 2, 3]]))
    tensor([[1],
            [2],
            [3]])
    """
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return input.T


@view(grad={"input": lambda m, g, dims: m.permute(g, _inverse(dims))}, varargs="dims")
def permute(input: Array, dims: Any) -> Array:
    """`input` with its dimensions in the order `dims`, as a view.

    >>> flambeau.permute(flambeau.ones(2, 3, 5), (2, 0, 1)).shape
    torch.Size([5, 2, 3])
    """
    if dims.__class__ is int:
        raise TypeError("permute(): argument 'dims' must be tuple of ints, not int")
    try:
        return input.transpose(dims)
    except (ValueError, TypeError):
        pass  # what is wrong is found out below
    if len(dims) != input.ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {input.ndim} is not "
            f"equal to len(dims) = {len(dims)}"
        )
    order = [wrap_dim(int(d), input.ndim) for d in dims]
    if len(set(order)) != len(order):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return input.transpose(order)


def _inverse(dims: Any) -> tuple[int, ...]:
    n = len(dims)
    order = [wrap_dim(int(d), n) for d in dims]
    return tuple(order.index(i) for i in range(n))


def _listed(dims: Any) -> list[int]:
    return [int(d) for d in dims] if isinstance(dims, (tuple, list)) else [int(dims)]


@composite(aliases=("moveaxis",))
def movedim(m: Any, input: Array, source: Any, destination: Any) -> Array:
    """`input` with the dimensions `source` moved to the places `destination`; others keep order.

    >>> flambeau.movedim(flambeau.ones(2, 3, 5), 0, -1).shape
    torch.Size([3, 5, 2])
    """
    if isinstance(source, (tuple, list)) != isinstance(destination, (tuple, list)):
        raise TypeError(
            "movedim(): source and destination must both be ints or both be tuples of ints, got "
            f"{source} and {destination}"
        )
    n = input.ndim
    if source.__class__ is destination.__class__ is int and -n <= source < n > destination >= -n:
        order = list(range(n))
        order.insert(destination % n, order.pop(source))
        return m.permute(input, order)
    here = [wrap_dim(d, n) for d in _listed(source)]
    there = [wrap_dim(d, n) for d in _listed(destination)]
    if len(here) != len(there):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source "
            f"({here} dims) should contain the same number of dims as destination ({there} dims)"
        )
    for name, dims in (("source", here), ("destination", there)):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({dims})")
    if not n:
        return m.reshape(input, ())
    order = [-1] * n
    for s, d in zip(here, there, strict=True):
        order[d] = s
    rest = iter(i for i in range(n) if i not in here)
    return m.permute(input, [next(rest) if i == -1 else i for i in order])


# ---------------------------------------------------------------- broadcasting
def _expand_error(shape: Any, sizes: Any, text: str) -> RuntimeError:
    return RuntimeError(f"expand(torch.Tensor{list(shape)}, size={list(sizes)}): {text}")


@view(
    grad={"input": lambda m, g, input_shape: m.sum_to_size(g, input_shape)},
    varargs="size",
)
def expand(input: Array, size: Any, *, implicit: bool = False) -> Array:
    """`input` with dimensions of size one repeated to `size` (-1: unchanged), as a view.

    >>> flambeau.tensor([[1], [2]]).expand(-1, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    out = _repeated(input, size)
    if out is not None:
        return out
    sizes = [int(n) for n in size]
    extra = len(sizes) - input.ndim
    if extra < 0:
        raise _expand_error(
            input.shape,
            sizes,
            f"the number of sizes provided ({len(sizes)}) must be greater or equal to the number "
            f"of dimensions in the tensor ({input.ndim})",
        )
    for i, n in enumerate(sizes):
        old = input.shape[i - extra] if i >= extra else 1
        if n == -1:
            if i < extra:
                raise _expand_error(
                    input.shape,
                    sizes,
                    f"the expanded size of the tensor (-1) isn't allowed in a leading, "
                    f"non-existing dimension {i}",
                )
            sizes[i] = old
        elif old not in (1, n):
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({old}) at "
                f"non-singleton dimension {i}.  Target sizes: {sizes}.  Tensor sizes: "
                f"{list(input.shape)}"
            )
    out = np.broadcast_to(input, sizes)
    if out.size > input.size or not input.flags.writeable:
        return out
    steps = out.strides if out.size else (0,) * out.ndim  # nothing repeats: it can be written to
    return np.lib.stride_tricks.as_strided(input, sizes, steps)


def _repeated(input: Array, size: Any) -> Array | None:
    """`expand` of row-major memory to sizes that are all given; None for anything else."""
    if not input.flags.c_contiguous or input.dtype.kind == "V":
        return None
    try:
        steps = _steps(tuple(size), input.shape, input.strides)
        if steps is None:
            return None
        out: Array = np.ndarray(size, input.dtype, input, 0, steps)
    except (TypeError, ValueError):
        return None
    if out.size > input.size:
        out.flags.writeable = False
    return out


@functools.lru_cache(maxsize=1024)
def _steps(size: Any, shape: Any, strides: Any) -> tuple[int, ...] | None:
    """The strides with which an array is seen in the sizes `size`; None if one is not given."""
    extra = len(size) - len(shape)
    if extra < 0 or min(size[:extra], default=0) < 0:
        return None
    steps = [0] * extra
    for n, old, step in zip(size[extra:], shape, strides, strict=True):
        if n != old and (old != 1 or n < 0):
            return None
        steps.append(step if n == old else 0)
    return tuple(steps)


@composite()
def expand_as(m: Any, input: Array, other: Array) -> Array:
    """`input` expanded to the shape of `other`.

    >>> flambeau.tensor([1, 2]).expand_as(flambeau.zeros(2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    return m.expand(input, tuple(other.shape))


@composite(varargs="size")
def broadcast_to(m: Any, input: Array, size: Any) -> Array:
    """`input` expanded to `size`.

    >>> flambeau.broadcast_to(flambeau.tensor([1, 2]), (3, 2))
    tensor([[1, 2],
            [1, 2],
            [1, 2]])
    """
    return m.expand(input, tuple(size))


def common_shape(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The shape that all of `shapes` broadcast to; RuntimeError if there is none."""
    try:
        return np.broadcast_shapes(*map(tuple, shapes))
    except ValueError:
        listed = ", ".join(str(list(s)) for s in shapes)
        raise RuntimeError(
            f"Shape mismatch: objects cannot be broadcast to a single shape: {listed}"
        ) from None


@composite(method=False)
def broadcast_tensors(m: Any, *tensors: Any) -> tuple[Array, ...]:
    """The tensors expanded to their common shape.

    >>> [x.shape for x in flambeau.broadcast_tensors(flambeau.ones(3, 1), flambeau.ones(2))]
    [torch.Size([3, 2]), torch.Size([3, 2])]
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    shape = common_shape([t.shape for t in tensors])
    return tuple(m.expand(t, shape) for t in tensors)


@structured(varargs="size", grad={"input": lambda m, g, input_shape: m.expand(g, input_shape)})
def sum_to_size(input: Array, size: Any) -> Array:
    """`input` summed over the dimensions in which `size` is one or missing.

    >>> flambeau.tensor([[1, 2], [3, 4]]).sum_to_size(2, 1)
    tensor([[3],
            [7]])
    """
    shape = tuple(int(n) for n in size)
    if input.shape == shape and shape:
        return input
    extra = input.ndim - len(shape)
    fits = extra >= 0 and all(n in (1, input.shape[i + extra]) for i, n in enumerate(shape))
    if not fits:
        raise RuntimeError(
            f"size {{{list(shape)}}} is not expandable to size {{{list(input.shape)}}}."
        )
    axes = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and input.shape[i + extra] != 1
    )
    kind = np.int64 if input.dtype.kind in "biu" else None
    return np.asarray(input.sum(axes, kind, keepdims=True)).reshape(shape)
