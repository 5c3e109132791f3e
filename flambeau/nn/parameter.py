"""Tensors that modules own: `Parameter` and `Buffer`."""

from __future__ import annotations

from ..tensor import Buffer, Parameter

__all__ = ["Buffer", "Parameter"]
