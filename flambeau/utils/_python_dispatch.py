"""The mode that sees every op, under PyTorch's path."""

from __future__ import annotations

from ..tensor.modes import TorchDispatchMode

__all__ = ["TorchDispatchMode"]
