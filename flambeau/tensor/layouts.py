"""Methods and functions for sparse tensors: only their names, until one of them is used."""

from __future__ import annotations

from typing import Any

from .functions import publish_late
from .shape import Size
from .tensor import Tensor

METHODS = (
    *("_indices", "_nnz", "_values", "ccol_indices", "coalesce", "col_indices", "crow_indices"),
    *("dense_dim", "dsmm", "hspmm", "indices", "is_coalesced", "resize_as_sparse_", "row_indices"),
    *("smm", "sparse_dim", "sparse_mask", "sparse_resize_", "sparse_resize_and_clear_"),
    *("sspaddmm", "to_dense", "to_sparse", "to_sparse_bsc", "to_sparse_bsr", "to_sparse_coo"),
    *("to_padded_tensor", "to_sparse_csc", "to_sparse_csr", "values"),
)
FUNCTIONS = (
    *("dsmm", "hsmm", "hspmm", "smm", "sparse_bsc_tensor", "sparse_bsr_tensor"),
    *("sparse_compressed_tensor", "sparse_coo_tensor", "sparse_csc_tensor", "sparse_csr_tensor"),
    *("resize_as_sparse_", "sspaddmm"),
)


def sparse_parts(t: Any) -> tuple[Any, ...]:
    """Index tensors, values, size and whether it is coalesced: what files keep of a sparse one."""
    from .sparse.copying import parts_of

    _, indices, values, shape, coalesced = parts_of(t)
    return (*indices, values.detach(), Size(shape), coalesced)


def sparse_from_parts(layout: Any, parts: Any, fail: Any) -> tuple[Any, Any]:
    """The sparse tensor of the `parts` in a file, and a function to check it once they are read.

    ``fail(problem)`` makes the error to raise.
    """
    from .sparse.copying import from_parts

    return from_parts(layout, parts, fail)


def jagged_parts(t: Any) -> dict[str, Any]:
    """The arguments that make the jagged nested tensor `t` again: what files keep of it."""
    from .nested import files

    return files.jagged_parts(t)


def strided_parts(t: Any) -> tuple[Any, ...]:
    """Elements, sizes, strides and offsets of the strided nested tensor `t`: what files keep."""
    from .nested import files

    return files.strided_parts(t)


def nested_from_parts(parts: Any, fail: Any) -> tuple[Any, Any]:
    """The nested tensor of what files keep, and a function to check it once that is read.

    ``fail(problem)`` makes the error to raise.
    """
    from .nested import files

    if isinstance(parts, dict):
        return files.jagged_from_parts(parts, fail)
    values, sizes, strides, offsets = parts
    return files.strided_from_parts(values, sizes, strides, offsets, fail)


class _Late:
    """Stands in the class for a method and is replaced by it when looked up."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        from .sparse import methods

        method = getattr(methods, self.name)
        setattr(Tensor, self.name, method)
        return method.__get__(instance, owner)


for _name in METHODS:
    setattr(Tensor, _name, _Late(_name))
publish_late(".sparse.methods", *FUNCTIONS)
