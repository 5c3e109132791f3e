"""Making tensors with a chosen layout in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from .creation import place, sizes, storage_dtype
from .functions import publish
from .methods import method


@publish
def empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """An uninitialised tensor with the given size and strides (in elements)."""
    shape, steps = sizes((size,)), tuple(stride)
    kind = storage_dtype(dtype or dtypes.get_default_dtype())
    extent = 1 + sum((n - 1) * s for n, s in zip(shape, steps, strict=True)) if all(shape) else 0
    root = np.empty(extent, kind)
    bytes_ = tuple(s * kind.itemsize for s in steps)
    array = np.lib.stride_tricks.as_strided(root, shape, bytes_)
    return place(array, None, device, requires_grad)


@method
def new_empty_strided(self: Any, size: Any, stride: Any, **kwargs: Any) -> Any:
    """An uninitialised tensor with the given size and strides, of this tensor's dtype."""
    kwargs.setdefault("dtype", self._t)
    return empty_strided(size, stride, **kwargs)


@publish
def empty_permuted(size: Any, physical_layout: Any, **kwargs: Any) -> Any:
    """An uninitialised tensor whose dimensions lie in memory in the order `physical_layout`."""
    shape, order = sizes((size,)), tuple(physical_layout)
    if sorted(order) != list(range(len(shape))):
        raise RuntimeError(
            f"empty_permuted: physical_layout {list(order)} is not a permutation of the "
            f"{len(shape)} dimensions of size {list(shape)}"
        )
    steps, step = [0] * len(shape), 1
    for d in reversed(order):
        steps[d], step = step, step * max(shape[d], 1)
    return empty_strided(shape, steps, **kwargs)
