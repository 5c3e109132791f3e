"""Storages under PyTorch's path."""

from __future__ import annotations

from .tensor.storages import UntypedStorage
from .tensor.typed_storages import TypedStorage

__all__ = ["TypedStorage", "UntypedStorage"]
