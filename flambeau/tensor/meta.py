"""Ops on meta tensors: only shapes and dtypes are computed, nothing is recorded."""

from __future__ import annotations

from typing import Any

from ..backends import meta
from ..ops.record import Op
from .apply import check_same_device
from .core import from_array
from .views import link


def run(op: Op, values: dict[str, Any]) -> Any:
    """Apply a structured op to tensors of which at least one is on the meta device."""
    tensors = [values[n] for n in op.tensors]
    flat = [t for v in tensors for t in (v if isinstance(v, (list, tuple)) else [v])]
    check_same_device(op, flat)
    arrays = {n: _array(v, n in op.lists) if n in op.tensors else v for n, v in values.items()}
    result = meta.run(op.meta or op.forward, arrays, op.family == "view")
    parts = result if isinstance(result, tuple) else (result,)
    outs = [from_array(p) for p in parts[: (op.outputs or None) if op.family != "view" else None]]
    if op.family == "view":
        for number, out in enumerate(outs):
            rest = tuple(v for n, v in values.items() if n != op.tensors[0])
            link(out, tensors[0], op, rest, number if isinstance(result, tuple) else None)
    if op.family == "view":
        return tuple(outs) if isinstance(result, tuple) else outs[0]
    return outs[0] if op.outputs == 1 else tuple.__new__(op.result_class, outs)


def _array(v: Any, is_list: bool) -> Any:
    if is_list:
        return [x._d for x in v]
    return None if v is None else v._d
