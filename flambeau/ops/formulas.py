"""The formulas of element-wise ops on arrays of any dtypes: by kernels, or by NumPy where small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends.cpu.elementwise import Fused
from ..compiler.expressions import substitute
from .readers import evaluator
from .record import COMPARE, Op


class _Formula:
    """The kernels of an op: with its parameters at their defaults, and with them as operands."""

    def __init__(self, op: Op) -> None:
        truth = op.promote == COMPARE
        self.defaults = [op.defaults.get(p) for p in op.params]
        known = {p: op.defaults[p] for p in op.params if p in op.defaults}
        folded = substitute(op.expression, known)
        self.folded = Fused(op.name, folded, op.tensors, evaluator(op), truth)
        names = (*op.tensors, *op.params)
        self.open = Fused(op.name, op.expression, names, evaluator(op), truth)


_LEAST_CONVERTED = 128
"""Elements from which a kernel that converts them is faster than NumPy's calls."""
_FLOAT = np.dtype(np.float32)
_formulas: dict[Op, _Formula] = {}


def compute_half(op: Op, arrays: Sequence[Any], out: Any = None) -> Any:
    """The formula of `op`, its parameters at their defaults, in the half precision of the arrays.

    These are contiguous and of one shape; numbers are float32. With `out`, the first array, it is
    written there. None where no kernel serves.
    """
    first = arrays[0]
    if first.size < _LEAST_CONVERTED:
        return None
    formula = _formulas.get(op)
    if formula is None:
        formula = _formulas[op] = _Formula(op)
    return formula.folded.convert_alike(arrays, _FLOAT, first.dtype, out)


def compute(
    op: Op, arrays: Sequence[Any], params: Sequence[Any], work: Any, kind: Any, out: Any = None
) -> Any:
    """The formula of `op` on arrays, computed in the dtype `work` and returned in `kind`.

    With `out` the result is written there, if it has its shape (ValueError if not).
    """
    formula = _formulas.get(op)
    if formula is None:
        formula = _formulas[op] = _Formula(op)
    fused, given = formula.folded, arrays
    least = fused.least
    if kind != work or arrays[0].dtype != work:  # NumPy would convert before and after
        least = min(least, _LEAST_CONVERTED)
    large = False
    for a in arrays:
        large = large or a.size >= least
    if large and params and list(params) != formula.defaults:
        fused = formula.open
        large = all(p.__class__ in (int, float) for p in params)
        given = [*arrays, *(np.asarray(p).astype(work) for p in params)] if large else arrays
    if large:
        found = fused.convert(given, work, kind, out)
        if found is not None:
            return found
    wide = [a if a.dtype == work else a.astype(work) for a in arrays]
    result = evaluator(op)(*wide, *params)
    if out is None:
        if op.promote == COMPARE or result.dtype == kind:
            return result
        return result.astype(kind)
    if result.shape != out.shape:
        raise ValueError(f"a result of shape {result.shape} for one of shape {out.shape}")
    np.copyto(out, result, casting="unsafe")
    return out
