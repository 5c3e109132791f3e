"""DLPack under PyTorch's path."""

from __future__ import annotations

from ..tensor.dlpack import DLDeviceType, from_dlpack, to_dlpack

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]
