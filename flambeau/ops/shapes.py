"""What several ops ask about shapes and dimensions."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any


def wrap_dim(dim: int, ndim: int) -> int:
    """`dim` counted from the front; IndexError if a tensor of `ndim` dimensions has no such one."""
    if dim.__class__ is not int:
        dim = _as_index(dim)
    bound = max(ndim, 1)
    if not -bound <= dim < bound:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but got "
            f"{dim})"
        )
    return dim + bound if dim < 0 else dim


def _as_index(dim: Any) -> int:
    try:
        return operator.index(dim)
    except TypeError:
        raise TypeError(f"argument 'dim' must be int, not {type(dim).__name__}") from None


def wrap_own_dim(dim: int, ndim: int) -> int:
    """`wrap_dim` of a tensor that must have dimensions; IndexError if it has none."""
    if not ndim:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return wrap_dim(dim, ndim)


_EVERY = tuple(tuple(range(n)) for n in range(9))


def wrap_dims(dim: Any, ndim: int) -> tuple[int, ...]:
    """One dimension, several, or (None or empty) all of them, as a tuple without repeats."""
    one = dim[0] if dim.__class__ is tuple and len(dim) == 1 else dim
    if one.__class__ is int and -ndim <= one < ndim:
        return (one % ndim,)
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return _EVERY[ndim] if ndim < len(_EVERY) else tuple(range(ndim))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    wrapped = tuple(wrap_dim(d, ndim) for d in dims)
    if len(set(wrapped)) != len(wrapped):
        repeated = next(d for d in wrapped if wrapped.count(d) > 1)
        raise RuntimeError(f"dim {repeated} appears multiple times in the list of dims")
    return wrapped if ndim else ()


def infer_size(shape: Sequence[int], numel: int) -> tuple[int, ...]:
    """`shape` with its -1 replaced by what makes it hold `numel` elements."""
    known, unknown = 1, -1
    for i, n in enumerate(shape):
        if n.__class__ is not int:
            return infer_size([int(m) for m in shape], numel)
        if n >= 0:
            known *= n
        elif n < -1:
            raise RuntimeError(f"invalid shape dimension {n} in {list(shape)}")
        elif unknown >= 0:
            raise RuntimeError("only one dimension can be inferred")
        else:
            unknown = i
    if unknown < 0:
        if known != numel:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
        return tuple(shape)
    if known == 0:
        raise RuntimeError(
            f"cannot reshape tensor of {numel} elements into shape {list(shape)} because the "
            "unspecified dimension size -1 can be any value and is ambiguous"
        )
    if numel % known:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
    return (*shape[:unknown], numel // known, *shape[unknown + 1 :])


def restore_dims(m: Any, g: Any, shape: Sequence[int], dim: Any, keepdim: bool) -> Any:
    """The gradient of a reduction with the reduced dimensions back (of size one)."""
    if keepdim or not shape:
        return g
    dims = wrap_dims(dim, len(shape))
    kept = tuple(1 if i in dims else n for i, n in enumerate(shape))
    return m.reshape(g, kept)


def count(shape: Sequence[int], dim: Any) -> int:
    """How many elements a reduction over `dim` folds into one."""
    return math.prod(shape[d] for d in wrap_dims(dim, len(shape)))


def check_nonempty(name: str, shape: Sequence[int], dim: int) -> int:
    """`dim` counted from the front; IndexError if that dimension has no elements to choose from."""
    d = wrap_dim(dim, len(shape))
    if shape and shape[d] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")
    return d


def at_dim(d: int, item: Any) -> tuple[Any, ...]:
    """The key that applies `item` to dimension `d` and keeps those before it."""
    return (slice(None),) * d + (item,)
