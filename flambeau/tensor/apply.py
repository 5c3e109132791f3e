"""Applying an element-wise op in general: unwrap, promote, compute, wrap, record.

This is the way of every call that the short functions which elementwise.py writes do not cover:
operands of several dtypes, numbers first, half precision, three operands, other devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import anomaly
from ..autograd.grad_mode import FAST, is_grad_enabled
from ..autograd.node import OutputSlot
from ..backends import meta
from ..compiler import allocator
from ..dtypes import Operand, result_dtype
from ..errors import ArgumentError
from ..ops import formulas
from ..ops.readers import evaluator
from ..ops.record import COMPARE, TO_FLOAT, Op
from . import core
from .core import TensorCore, from_array, raise_modified, storage_of, version
from .recording import recorder
from .storage import INFERENCE

NUMBERS = (int, float, complex, bool, np.number, np.bool_)
_FLOAT = np.dtype(np.float32)


class SavedInput:
    """An input kept for backward, with the version it had."""

    __slots__ = ("tensor", "version")

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        self.version = version(tensor)

    def get(self, node: Any, recorded: bool) -> Any:
        """The array (or the tensor, when recording), if nobody has changed it since."""
        if version(self.tensor) != self.version:
            raise_modified(self.tensor, self.version, anomaly.place_of(node), node.name())
        return self.tensor if recorded else self.tensor._d


class SavedOutput:
    """An output kept for backward; it must not hold the tensor, whose node holds this."""

    __slots__ = ("array", "index", "storage", "version")

    def __init__(self, tensor: Any, index: int) -> None:
        self.array, self.index = tensor._d, index
        self.storage = storage_of(tensor)
        self.version = self.storage.version

    def get(self, node: Any, recorded: bool) -> Any:
        """The array (or a tensor at the same place of the tape), if nobody has changed it."""
        if self.storage.version != self.version:
            stand_in = from_array(self.array)
            stand_in._s = self.storage
            raise_modified(stand_in, self.version, anomaly.place_of(node), node.name())
        if not recorded:
            return self.array
        out = from_array(self.array)
        out._s = self.storage
        if out._t.inexact:
            out._gf = node if node.outputs == 1 else OutputSlot(node, self.index)
        return out


# ---------------------------------------------------------------- element-wise ops, the general way
def operand(x: Any) -> Operand:
    """What promotion needs to know of `x`."""
    if isinstance(x, TensorCore):
        return Operand(x._t, 1 if x.ndim == 0 else 2)
    return Operand(dtypes.scalar_dtype(x), 0)


def compute_dtype(op: Op, tensors: Sequence[Any]) -> dtypes.dtype:
    """The dtype an element-wise op computes in."""
    t = result_dtype([operand(x) for x in tensors])
    if op.promote == TO_FLOAT and not t.inexact:
        return dtypes.get_default_dtype()
    if op.result == "number" and t is dtypes.bool_:
        return dtypes.int64
    return t


def as_operand(x: Any, numpy_dtype: Any) -> Any:
    """The array behind a tensor or number, cast for computation."""
    if isinstance(x, TensorCore):
        d = x._d
        return d if d.dtype == numpy_dtype else d.astype(numpy_dtype)
    if numpy_dtype.kind in "iu" and not isinstance(x, (int, np.integer)):
        x = int(x)
    if numpy_dtype.kind in "iu":
        bits = numpy_dtype.itemsize * 8
        x = int(x) & ((1 << bits) - 1)
        if numpy_dtype.kind == "i" and x >> (bits - 1):
            x -= 1 << bits
    return np.asarray(x).astype(numpy_dtype)


_common: dict[Any, tuple[dtypes.dtype, Any]] = {}


def _common_dtype(op: Op, tensors: tuple[Any, ...]) -> tuple[dtypes.dtype, Any]:
    """The dtype of `op` of `tensors`, and NumPy's that it is computed in, if all is well with them.

    That depends on dtypes and on who is a number alone, but for the devices.
    """
    key: list[Any] = [op, dtypes.get_default_dtype()]
    plain = True
    for x in tensors:
        if isinstance(x, TensorCore):
            d = x._d
            plain = plain and d.__class__ is np.ndarray
            key += (x._t, d.ndim > 0)
        else:
            key.append(x.__class__)
    found = _common.get(tuple(key))
    if found is None:
        found = _common[tuple(key)] = _find_common_dtype(op, tensors)
    if not plain:
        check_same_device(op, tensors)
    return found


def _find_common_dtype(op: Op, tensors: tuple[Any, ...]) -> tuple[dtypes.dtype, Any]:
    check_operands(op, tensors)
    t = compute_dtype(op, tensors)
    if op.refuse and "bifc"[t.category] in op.refuse:
        raise NotImplementedError(f"'{op.name}' not implemented for '{t.title}' on the CPU")
    if "B" in op.refuse and any(operand(x).dtype is dtypes.bool_ for x in tensors):
        raise RuntimeError(
            f"{op.name}: bool operands are not supported, use logical or bitwise ops"
        )
    if "d" in op.refuse and len({x._t for x in tensors if isinstance(x, TensorCore)}) > 1:
        raise RuntimeError(f"{op.name}: expected tensors of one dtype, got several")
    if "q" in op.refuse and not any(operand(x).dtype.inexact for x in tensors[1:]):
        raise RuntimeError(
            f"Integer division with {op.name} is no longer supported: the quotient of two integer "
            "tensors is ambiguous, so convert one of them to floating point"
        )
    if t.numpy_dtype is None:
        check_same_device(op, tensors)
        raise RuntimeError(f"{op.name}: {t} has no arithmetic on the CPU")
    return t, _wide(t)


def _fitting(op: Op, t: dtypes.dtype, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of `op` for tensors of dtype `t`; RuntimeError for what does not fit it."""
    for name, value in params.items():
        kind = value.__class__
        if kind is complex and not t.is_complex:
            raise RuntimeError(
                f"{op.name}: value cannot be converted to type {t.title.lower()} without overflow "
                f"({name}={value})"
            )
        if name == "alpha":
            if kind is bool and t is not dtypes.bool_:
                raise RuntimeError("Boolean alpha only supported for Boolean results.")
            if kind is float and not t.inexact:
                raise RuntimeError(
                    "For integral input tensors, argument alpha must not be a floating point "
                    "number."
                )
            params = _wrapped(params, name, t)
        elif name == "decimals" and value and not t.inexact:
            raise NotImplementedError(f"round to decimals is not implemented for '{t.title}'")
        elif name == "value" and kind is float and t.category == dtypes.INTEGRAL:
            params = {**params, name: int(value)}
        elif name == "value":
            params = _wrapped(params, name, t)
    return params


def _wrapped(params: dict[str, Any], name: str, t: dtypes.dtype) -> dict[str, Any]:
    """`params`, with a negative integer for unsigned numbers as its residue."""
    value = params[name]
    if value.__class__ is int and value < 0 and t.category == dtypes.INTEGRAL and not t.is_signed:
        return {**params, name: value % (1 << 8 * t.itemsize)}
    return params


def _wide(t: dtypes.dtype) -> Any:
    """The NumPy dtype that numbers of dtype `t` are computed in."""
    half = t in dtypes.HALF or t in dtypes.FLOAT8
    return _FLOAT if half else t.numpy_dtype


def pointwise_into(op: Op, target: Any, others: tuple[Any, ...], params: dict[str, Any]) -> bool:
    """Write the value of `op` of `target` and `others` into `target`, if that is simple to do."""
    out = target._d
    tensors = (target, *others)
    t, wide = _common_dtype(op, tensors)
    params = _fitting(op, t, params) if params else params
    if op.promote == COMPARE or op.result or t.is_complex or not dtypes.can_cast(t, target._t):
        return False
    arrays = [x._d if isinstance(x, TensorCore) else as_operand(x, wide) for x in tensors]
    if any(a.__class__ is not np.ndarray for a in arrays):
        return False
    try:
        formulas.compute(op, arrays, list(params.values()), wide, out.dtype, out)
    except (ValueError, TypeError):
        return False  # the long way says what is wrong
    return True


def pointwise(op: Op, tensors: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Apply an element-wise op to tensors and numbers of any dtypes."""
    arrays = [x._d for x in tensors if isinstance(x, TensorCore)]
    if not arrays:
        check_operands(op, tensors)
        tensors = (from_array(np.asarray(tensors[0])), *tensors[1:])
    t, wide = _common_dtype(op, tensors)
    params = _fitting(op, t, params) if params else params
    kind = (t.real if op.result == "real" else t).numpy_dtype
    if len(arrays) < len(tensors):
        arrays = [x._d if isinstance(x, TensorCore) else as_operand(x, wide) for x in tensors]
    try:
        for a in arrays:
            if a.__class__ is not np.ndarray:
                arrays = [as_operand(x, wide) for x in tensors]
                d = meta.elementwise(lambda *a: evaluator(op)(*a, *params.values()), arrays)
                break
        else:
            d = formulas.compute(op, arrays, list(params.values()), wide, kind)
    except (ValueError, TypeError, MemoryError) as error:
        raise explain(op, tensors, error) from None
    d = core.box(d)
    if d.dtype is not kind and op.promote != COMPARE and d.dtype != kind:
        d = d.astype(kind)
    return _recorded(op, from_array(d), tensors, params, wide)


def _recorded(op: Op, out: Any, tensors: tuple[Any, ...], params: dict[str, Any], wide: Any) -> Any:
    """`out`, with its node on the tape if one of the tensors has a gradient."""
    if op.differentiable and out._t.inexact and (FAST["PLAIN"] or is_grad_enabled()):
        for x in tensors:
            if isinstance(x, TensorCore) and x._gf is not None:
                values = dict(zip(op.tensors, tensors, strict=True)) | params
                given = _numbers_as_arrays(values, op, wide)
                recorder(op)(out, *(given[name] for name in op.signature.parameters))
                break
    return out


def _half_arrays(op: Op, tensors: tuple[Any, ...]) -> list[Any] | None:
    """The arrays of tensors of one half precision, and of numbers; None where others are there."""
    t, arrays = tensors[0]._t, []
    for x in tensors:
        if x.__class__ is core.Tensor and x._t is t:
            arrays.append(x._d)
        elif x.__class__ in (float, int) and op.numbers != "none":
            arrays.append(np.array(x, _FLOAT))
        else:
            return None
    return arrays


def pointwise_half(op: Op, tensors: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """`pointwise` of tensors of one half precision, and numbers; None where it is not simple.

    `params` are the op's defaults.
    """
    arrays = _half_arrays(op, tensors)
    d = None if arrays is None else formulas.compute_half(op, arrays)
    return None if d is None else _recorded(op, from_array(d), tensors, params, _FLOAT)


def pointwise_half_into(op: Op, tensors: tuple[Any, ...]) -> bool:
    """Write the value of `op` at its defaults into the first tensor; False: it is not simple.

    Nothing is recorded, nor counted as a change.
    """
    first = tensors[0]
    if first._s is INFERENCE or not first._d.flags.writeable:
        return False
    if FAST["PLAIN"] or is_grad_enabled():
        for x in tensors:
            if isinstance(x, TensorCore) and x._gf is not None:
                return False
    arrays = _half_arrays(op, tensors)
    return arrays is not None and formulas.compute_half(op, arrays, arrays[0]) is not None


def check_operands(op: Op, tensors: Sequence[Any]) -> None:
    """Refuse what is neither a tensor nor a number where the op takes one."""
    real = any(isinstance(x, TensorCore) for x in tensors)
    for place, (name, x) in enumerate(zip(op.tensors, tensors, strict=True)):
        if isinstance(x, TensorCore):
            continue
        last = place == len(op.tensors) - 1
        allowed = {"right": place > 0, "last": last, "one": real, "both": True, "none": False}
        if not (allowed[op.numbers] and isinstance(x, NUMBERS)):
            raise TypeError(
                f"{op.name}(): argument '{name}' (position {place + 1}) must be Tensor, not "
                f"{type(x).__name__}"
            )


def _numbers_as_arrays(values: dict[str, Any], op: Op, wide: Any) -> dict[str, Any]:
    return {
        k: v
        if k not in op.tensors or isinstance(v, TensorCore)
        else from_array(as_operand(v, wide))
        for k, v in values.items()
    }


def check_same_device(op: Op, tensors: Sequence[Any]) -> None:
    """Refuse tensors of several devices, except 0-d ones."""
    seen = None
    for x in tensors:
        if isinstance(x, TensorCore) and x._d.ndim:
            where = core.device_of(x._d)
            if seen is not None and where != seen:
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two "
                    f"devices, {seen} and {where}! (when checking arguments of {op.name})"
                )
            seen = where


def explain(op: Op, tensors: Sequence[Any], error: Exception) -> Exception:
    """The error PyTorch would raise where NumPy raised `error`, with the op and its shapes."""
    flat = [y for x in tensors for y in (x if isinstance(x, (list, tuple)) else [x])]
    if isinstance(error, AttributeError):
        check_same_device(op, flat)
        return error
    shapes = [list(x._d.shape) for x in flat if isinstance(x, TensorCore)]
    if isinstance(error, MemoryError):
        return allocator.out_of_memory(f"{op.name}: {error}")
    text = str(error)
    if not isinstance(error, (ValueError, TypeError)) or isinstance(error, ArgumentError):
        shown = all(str(s) in text or "x".join(map(str, s)) in text for s in shapes)
        if not shown or op.name not in text:
            error.args = (f"{text} ({op.name}: shapes {', '.join(map(str, shapes))})",)
        return error
    if "broadcast" in text and len(shapes) >= 2:
        return RuntimeError(_broadcast_error(op, shapes))
    # NumPy's own subclasses cannot be made from a message.
    kinds: tuple[type[Exception], ...] = (IndexError, TypeError, NotImplementedError)
    kind = next((k for k in kinds if isinstance(error, k)), RuntimeError)
    return kind(f"{op.name}(): {text} (shapes {', '.join(map(str, shapes))})")


def _broadcast_error(op: Op, shapes: list[list[int]]) -> str:
    a, b = shapes[0], shapes[1]
    for back in range(1, min(len(a), len(b)) + 1):
        if a[-back] != b[-back] and 1 not in (a[-back], b[-back]):
            where = max(len(a), len(b)) - back
            return (
                f"The size of tensor a ({a[-back]}) must match the size of tensor b ({b[-back]}) "
                f"at non-singleton dimension {where} ({op.name}: shapes {a} and {b})"
            )
    return f"{op.name}: shapes {', '.join(map(str, shapes))} cannot be broadcast together"
