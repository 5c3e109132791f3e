"""`vmap` from the inside: batched tensors, and what every op means for them.

Enter at tensor.py. rules.py has the rules of whole families of ops, the files beside it those of
single ops; an op without a rule runs once for each example.
"""

from __future__ import annotations

from . import indexing, networks, products, shapes
from .tensor import BatchedTensor, BatchLevel

__all__ = ["BatchLevel", "BatchedTensor", "indexing", "networks", "products", "shapes"]
