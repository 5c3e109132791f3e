"""Nested tensors: batches of tensors that differ in size, jagged (packed) and strided.

Enter here: `NestedTensor`, and the functions that `flambeau.nested` makes public. Everything is
imported when it is first needed.
"""

from __future__ import annotations

from .construction import as_nested_tensor, from_jagged, masked, narrowed, nested_tensor
from .tensor import NestedTensor

__all__ = [
    "NestedTensor",
    "as_nested_tensor",
    "from_jagged",
    "masked",
    "narrowed",
    "nested_tensor",
]
