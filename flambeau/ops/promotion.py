"""What ops that are functions of arrays ask about dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu.precision import widened as widened

_HALF = frozenset(t.numpy_dtype for t in dtypes.HALF)


def is_half(a: Any) -> bool:
    """Whether the array holds float16 or bfloat16."""
    return a.dtype in _HALF


def common_dtype(arrays: Sequence[Any]) -> Any:
    """The NumPy dtype to which PyTorch promotes these arrays (0-d ones count as such)."""
    first = arrays[0].dtype
    if all(a.dtype == first for a in arrays):
        return first
    operands = [
        dtypes.Operand(dtypes.from_numpy_dtype(a.dtype), 2 if a.ndim else 1) for a in arrays
    ]
    return dtypes.result_dtype(operands).numpy_dtype


def promoted(arrays: Sequence[Any]) -> list[Any]:
    """The arrays in their common dtype."""
    kind = common_dtype(arrays)
    return [a.astype(kind, copy=False) for a in arrays]


def floated(a: Any) -> Any:
    """`a` as the default float where it holds integers or bools."""
    return a.astype(dtypes.get_default_dtype().numpy_dtype) if a.dtype.kind in "biu" else a


def is_number(x: Any) -> bool:
    """Whether `x` is a Python or NumPy number and no tensor."""
    return isinstance(x, (int, float, complex, np.generic))


def title(a: Any) -> str:
    """How an error names the dtype of `a`: ``Float``, ``Long``..."""
    return dtypes.from_numpy_dtype(a.dtype).title


def lifted(m: Any, *xs: Any) -> list[Any]:
    """In a composite: its operands with half precision as float32 (None stays None)."""
    return [
        m.cast(x, dtypes.float32) if x is not None and m.dtype(x) in dtypes.HALF else x for x in xs
    ]


def unsupported(kernel: str, a: Any) -> NotImplementedError:
    """The error for an array whose dtype an op does not take; `kernel` is PyTorch's name."""
    return NotImplementedError(f"\"{kernel}\" not implemented for '{title(a)}'")
