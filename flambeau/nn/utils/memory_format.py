"""Weights of convolutions in another order in memory."""

from __future__ import annotations

from typing import Any


def _convert(module: Any, kinds: tuple[type, ...], memory_format: Any) -> Any:
    for layer in module.modules():
        if isinstance(layer, kinds):
            layer.weight.data = layer.weight.detach().contiguous(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """`module` with the weights of the 2-d convolutions in it laid out in `memory_format`."""
    from ..modules import Conv2d, ConvTranspose2d

    return _convert(module, (Conv2d, ConvTranspose2d), memory_format)


def convert_conv3d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """`module` with the weights of the 3-d convolutions in it laid out in `memory_format`."""
    from ..modules import Conv3d, ConvTranspose3d

    return _convert(module, (Conv3d, ConvTranspose3d), memory_format)
