"""Sums and extrema over trailing dimensions: compiled for large contiguous arrays, else NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .elementwise import LARGE, fold_rows

_BLOCK = 16384
"""Elements of a whole array that are folded as one row."""


def add(x: Any, axes: tuple[int, ...], dtype: Any, keepdims: bool = False) -> Any:
    """The sum over `axes`, computed in `dtype`; float sums meet in float64."""
    if x.dtype == dtype:
        folded = _fold(x, axes, "sum", keepdims)
        if folded is not None:
            return folded.astype(dtype)
    return np.add.reduce(x, axes, dtype, keepdims=keepdims)


def extreme(x: Any, axes: tuple[int, ...], ufunc: Any, keepdims: bool = False) -> Any:
    """The largest (np.maximum) or smallest (np.minimum) element over `axes`; NaN wins."""
    folded = _fold(x, axes, ufunc.__name__, keepdims)
    return ufunc.reduce(x, axes, keepdims=keepdims) if folded is None else folded


def _fold(x: Any, axes: tuple[int, ...], fold: str, keepdims: bool) -> Any:
    """The reduction by a kernel, or None if it is not for one."""
    if x.size < LARGE or not x.flags.c_contiguous or not x.flags.aligned:
        return None
    kept = x.ndim - len(axes)
    if sorted(axes) != list(range(kept, x.ndim)):
        return None
    columns = math.prod(x.shape[kept:])
    if kept and columns < 32:
        return None
    if x.size == columns:
        folded = _fold_all(x.reshape(-1), fold)
    else:
        folded = fold_rows(x.reshape(-1, columns), fold)
    if folded is None:
        return None
    return folded.reshape(x.shape[:kept] + (1,) * (len(axes) if keepdims else 0))


def _fold_all(flat: Any, fold: str) -> Any:
    """A whole array: rows of `_BLOCK` elements for the threads to share, then what is left over."""
    whole = flat.size // _BLOCK * _BLOCK
    parts = []
    if whole:
        parts.append(fold_rows(flat[:whole].reshape(-1, _BLOCK), fold))
    if whole < flat.size:
        parts.append(fold_rows(flat[whole:].reshape(1, -1), fold))
    if parts[0] is None:
        return None
    ufunc = np.add if fold == "sum" else getattr(np, fold)
    return np.asarray(ufunc.reduce(np.concatenate(parts)))
