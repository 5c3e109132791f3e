"""Sparse tensors: coordinates (COO) and compressed rows or columns (CSR, CSC, BSR, BSC).

Enter here: `SparseTensor`, and the functions that `flambeau.sparse` makes public. Everything is
imported when it is first needed.
"""

from __future__ import annotations

from .construction import diagonals, empty, sparse_compressed_tensor, sparse_coo_tensor
from .invariants import check_sparse_tensor_invariants
from .layouts import coalesce, elements, masked, to_dense, to_layout
from .products import (
    add_product,
    multiply,
    reduced_product,
    rows_product,
    sampled_product,
    samples,
    solved,
    sparse_product,
)
from .structure import softmax, sum_along, total
from .tensor import TITLES, SparseTensor

__all__ = [
    "TITLES",
    "SparseTensor",
    "add_product",
    "check_sparse_tensor_invariants",
    "coalesce",
    "diagonals",
    "elements",
    "empty",
    "masked",
    "multiply",
    "reduced_product",
    "rows_product",
    "sampled_product",
    "samples",
    "softmax",
    "solved",
    "sparse_compressed_tensor",
    "sparse_coo_tensor",
    "sparse_product",
    "sum_along",
    "to_dense",
    "to_layout",
    "total",
]
