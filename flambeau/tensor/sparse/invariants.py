"""What must hold of the indices and values of a sparse tensor, and whether it is always checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backends.sparse import BLOCKS, Compressed, places
from .rendering import index_names

Array = Any


class _Setting:
    always = False


def is_checked(asked: bool | None) -> bool:
    """Whether to check a new tensor for which `check_invariants` was given as `asked`."""
    return _Setting.always if asked is None else bool(asked)


class check_sparse_tensor_invariants:
    """Whether new sparse tensors are checked: a switch, a context manager and a decorator.

    >>> with check_sparse_tensor_invariants():
    ...     check_sparse_tensor_invariants.is_enabled()
    True
    """

    def __init__(self, enable: bool = True) -> None:
        self.state = enable
        self.saved_state: bool | None = None

    @staticmethod
    def is_enabled() -> bool:
        """Whether new sparse tensors are checked unless their maker says otherwise."""
        return _Setting.always

    @staticmethod
    def enable() -> None:
        """Check new sparse tensors."""
        _Setting.always = True

    @staticmethod
    def disable() -> None:
        """Check new sparse tensors only where that is asked for."""
        _Setting.always = False

    def __enter__(self) -> None:
        if self.saved_state is not None:
            raise RuntimeError(
                "This context manager instance is already activated. Use a different context "
                "manager instance for context nesting."
            )
        self.saved_state = _Setting.always
        _Setting.always = self.state

    def __exit__(self, *_: object) -> None:
        _Setting.always = bool(self.saved_state)
        self.saved_state = None

    def __call__(self, mth: Any) -> Any:
        def checked(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.state):
                return mth(*args, **kwargs)

        return checked


def check_coordinates(indices: Array, values: Array, shape: tuple[int, ...]) -> None:
    """RuntimeError unless indices (S, N) and values (N, *dense) fit each other and `shape`."""
    sparse_dim, dense_dim = indices.shape[0], values.ndim - 1
    if len(shape) != sparse_dim + dense_dim:
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(shape)}, "
            f"sparse_dim = {sparse_dim}, dense_dim = {dense_dim}"
        )
    expected = [indices.shape[1], *shape[sparse_dim:]]
    if list(values.shape) != expected:
        raise RuntimeError(
            f"values has incorrect size, expected {expected}, got {list(values.shape)}"
        )


def check_places(indices: Array, shape: tuple[int, ...], coalesced: bool) -> None:
    """RuntimeError unless indices lie inside, and are sorted and distinct if `coalesced`."""
    numbers = places(indices, tuple(shape[: indices.shape[0]]))
    if coalesced and (np.diff(numbers) <= 0).any():
        raise RuntimeError(
            "cannot set is_coalesced to true if indices correspond to uncoalesced COO tensor"
        )


def _require(holds: Any, what: str) -> None:
    if not holds:
        raise RuntimeError(what)


def check_compressed(x: Compressed) -> None:
    """RuntimeError unless a compressed array's sizes, dtypes and indices fit together."""
    ends, plain = index_names(x.layout)
    _check_dimensions(x, ends, plain)
    names = ("rows", "columns") if x.is_by_row else ("columns", "rows")
    at = len(x.batch)
    sizes, block = x.shape[at : at + 2], x.block
    for axis in (0, 1):
        _require(
            block[axis] and sizes[axis] % block[axis] == 0,
            f"tensor shape[{at + axis}] (={sizes[axis]}) must be divisible with blocksize[{axis}] "
            f"(={block[axis]}) as defined by values shape",
        )
    counts = (sizes[0] // block[0], sizes[1] // block[1])
    lines, others = counts if x.is_by_row else counts[::-1]
    kind = f"{'row' if x.is_by_row else 'column'} blocks" if x.layout in BLOCKS else names[0]
    _require(
        x.ends.shape[-1] == lines + 1,
        f"{ends}.shape[-1] must be equal to the number of {kind} + 1 (={lines + 1}), but got "
        f"{x.ends.shape[-1]}",
    )
    nnz = x.values.shape[at]
    _require(
        x.indices.shape[-1] == nnz,
        f"{plain}.shape[-1] must be equal to nnz (={nnz}) as defined by values.shape[{at}], but "
        f"got {x.indices.shape[-1]}",
    )
    steps = np.diff(x.ends)
    _require((x.ends[..., 0] == 0).all(), f"`{ends}[..., 0] == 0` is not satisfied.")
    _require((x.ends[..., -1] == nnz).all(), f"`{ends}[..., -1] == nnz` is not satisfied.")
    limit = "ncols" if x.is_by_row else "nrows"
    _require(
        ((steps >= 0) & (steps <= others)).all(),
        f"`0 <= {ends}[..., 1:] - {ends}[..., :-1] <= {limit}` is not satisfied.",
    )
    inside = (x.indices >= 0) & (x.indices < others)
    _require(inside.all(), f"`0 <= {plain} < {limit}` is not satisfied.")
    _require(
        _is_ordered(x, steps),
        f"`{plain}[..., {ends}[..., i - 1]:{ends}[..., i]] for all i = 1, ..., "
        f"{'nrows' if x.is_by_row else 'ncols'} are sorted and distinct along the last dimension "
        "values` is not satisfied.",
    )


def _is_ordered(x: Compressed, steps: Array) -> bool:
    groups = steps.reshape(-1, steps.shape[-1])
    for counts, plain in zip(groups, x.indices.reshape(len(groups), -1), strict=True):
        line = np.repeat(np.arange(len(counts)), counts)
        if (np.diff(plain)[np.diff(line) == 0] <= 0).any():
            return False
    return True


def _check_dimensions(x: Compressed, ends: str, plain: str) -> None:
    title = {np.dtype(np.int64): "Long", np.dtype(np.int32): "Int"}
    kinds = [title.get(a.dtype, str(a.dtype)) for a in (x.ends, x.indices)]
    _require(
        kinds[0] == kinds[1],
        f"{ends} and {plain} must have the same dtype, bot got {kinds[0]} and {kinds[1]}, "
        "respectively",
    )
    _require(x.ends.dtype in title, f"{ends} and {plain} must be an int32 or int64 type")
    _require(
        x.ends.ndim == x.indices.ndim,
        f"{ends} and {plain} dimensionalities must be equal but got {x.ends.ndim} and "
        f"{x.indices.ndim}, respectively",
    )
    batch, block = x.ends.ndim - 1, 2 * (x.layout in BLOCKS)
    _require(
        x.values.ndim > batch + block,
        "values must have dimensionality > sum of batch and block dimensionalities "
        f"(={batch} + {block}) but got {x.values.ndim}",
    )
    dense = x.values.ndim - batch - block - 1
    _require(
        len(x.shape) == batch + 2 + dense,
        "tensor dimensionality must be sum of batch, base, and dense dimensionalities "
        f"(={batch} + 2 + {dense}) but got {len(x.shape)}",
    )


__all__ = [
    "check_compressed",
    "check_coordinates",
    "check_places",
    "check_sparse_tensor_invariants",
    "is_checked",
]
