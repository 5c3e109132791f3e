"""The precision to compute in: half precision is stored, never computed with."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

NARROW = frozenset({np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)})
"""The dtypes of half precision."""
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
FLOATS = frozenset({SINGLE, DOUBLE, *NARROW})
"""The real dtypes that kernels compute with."""


def wide_dtype(dtype: Any) -> Any:
    """The dtype that numbers of `dtype` are computed in."""
    return SINGLE if dtype in NARROW else dtype


def widened(a: Any) -> Any:
    """`a` in the dtype to compute in: half precision as float32, anything else as it is."""
    return a.astype(SINGLE) if a.dtype in NARROW else a
