"""Evenly spaced numbers: ``arange``, ``range``, ``linspace`` and ``logspace``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..backends.cpu.ranges import linspace as evenly_spaced
from ..backends.cpu.ranges import steps_from
from .core import TensorCore
from .creation import finish, place, storage_dtype
from .functions import publish


@publish
def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """The numbers ``start, start + step, ...`` below `end`, as a 1-d tensor."""
    if end is None and start.__class__ is int and start >= 0 and step == 1 and dtype is out is None:
        return place(np.arange(start, dtype=np.int64), None, device, requires_grad, pin_memory)
    if end is None:
        start, end = 0, start
    start, end, step = (v.item() if isinstance(v, TensorCore) else v for v in (start, end, step))
    if not all(map(math.isfinite, (start, end))):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    kept = dtype or (None if out is None else out.dtype)
    if kept is not None and kept.category == dtypes.INTEGRAL:
        start, end, step = int(start), int(end), int(step)
        if step == 0:
            raise ValueError(f"step must be nonzero: it is rounded to zero in {kept}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    integral = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
    kind = storage_dtype(dtype or (dtypes.int64 if integral else dtypes.get_default_dtype()))
    if kind.kind == "b":
        raise NotImplementedError("arange() is not implemented for truth values")
    count = math.ceil((end - start) / step) if not integral else -((start - end) // step)
    if integral and kind.kind in "iu":
        array = (np.arange(count) * np.int64(step) + np.int64(start)).astype(kind)
    else:
        array = steps_from(float(start), float(step), int(count), kind)
    return finish(array, out, device, requires_grad, pin_memory)


@publish
def range_(start: Any, end: Any, step: Any = 1, **kwargs: Any) -> Any:
    """Like `arange` with `end` included, in the default float dtype."""
    kwargs.setdefault("dtype", dtypes.get_default_dtype())
    return arange(start, start + step * (math.floor((end - start) / step) + 1), step, **kwargs)


@publish
def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """`steps` evenly spaced numbers from `start` to `end`, both included."""
    if not isinstance(steps, (int, np.integer)):
        raise TypeError(f"linspace(): argument 'steps' must be int, not {type(steps).__name__}")
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    lo, hi = (v.item() if isinstance(v, TensorCore) else v for v in (start, end))
    is_complex = isinstance(lo, complex) or isinstance(hi, complex)
    default = dtypes.default_complex_dtype() if is_complex else dtypes.get_default_dtype()
    kind = storage_dtype(dtype or default)
    if kind.kind in "iu":
        lo, hi = int(lo), int(hi)
    array = np.full(1, lo, kind) if steps == 1 else evenly_spaced(lo, hi, int(steps), kind)
    return finish(array, out, device, requires_grad, pin_memory)


@publish
def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """`base` to the powers that `linspace` gives."""
    kind = storage_dtype(dtype or dtypes.get_default_dtype())
    if kind.kind in "iu":
        start, end = int(start), int(end)
    powers = linspace(start, end, steps, dtype=dtypes.float64)._d
    array = np.power(float(base), powers).astype(kind)
    return finish(array, out, device, requires_grad, pin_memory)
