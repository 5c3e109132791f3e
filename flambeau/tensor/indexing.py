"""``x[...]`` and ``x[...] = y``: basic indices are views, tensor and list indices gather.

As in PyTorch, integers, slices, ``None`` and ``...`` are applied first; tensor indices then act on
what is left (NumPy counts an integer among the tensor indices, which moves dimensions).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.grad_mode import FAST, is_grad_enabled
from ..backends.cpu.selection import put_at
from ..dtypes import FLOAT8, cast_number, converted
from ..ops.record import REGISTRY
from . import core
from .core import TensorCore, from_array
from .inplace import check_leaf, check_writable, note_change, run_inplace, write
from .views import view_outside_tape

_WHOLE = slice(None)
_BASIC = (int, slice, type(None), type(Ellipsis))


def get(t: Any, index: Any) -> Any:
    """``t[index]``."""
    c = index.__class__
    if c is int:
        if t._gf is None and t.__class__ is core.Tensor and FAST["PLAIN"]:
            return _row(t, index)
        return FAST["F"].basic_index(t, index)
    if c is slice:
        _check_slice(index)
        return FAST["F"].basic_index(t, index)
    items = index if isinstance(index, tuple) else (index,)
    if is_basic(items):
        return FAST["F"].basic_index(t, items)
    try:
        basic, advanced = split(t, items)
    except AttributeError:  # a tensor of a transformation among the indices
        return FAST["get_wrapped"](t, items)
    out = t if basic is None else FAST["F"].basic_index(t, basic)
    if advanced is None:
        return out
    if out._gf is not None:
        advanced = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in advanced)
    return FAST["F"].advanced_index(out, advanced)


def _row(t: Any, index: int) -> Any:
    """``t[i]`` of a tensor outside the tape: what `basic_index` does, made short."""
    a = t._d
    try:
        d = a[index, ...]
    except (IndexError, TypeError):
        return FAST["F"].basic_index(t, index)
    return view_outside_tape(t, d, REGISTRY["basic_index"], (index,))


def set(t: Any, index: Any, value: Any) -> None:
    """``t[index] = value``."""
    items = index if isinstance(index, tuple) else (index,)
    try:
        basic, advanced = split(t, items)
        array = value._d if isinstance(value, TensorCore) else None
    except AttributeError:  # a tensor of a transformation among the three
        if hasattr(value, "as_parameter"):
            raise RuntimeError(
                f"__setitem__: a tensor of layout {value.layout} cannot be put into a dense one"
            ) from None
        FAST["set_wrapped"](t, items, value)
        return
    recording = FAST["PLAIN"] or is_grad_enabled()
    graded = isinstance(value, TensorCore) and value._gf is not None
    if t._gf is not None:
        check_leaf(t, "__setitem__")
    if recording and (graded or t._gf is not None):
        _set_recorded(t, basic, advanced, value)
        return
    check_writable(t, "__setitem__")
    if array is None:
        array = _number(value, t)
    elif t._t in FLOAT8:
        array = converted(array, t._d.dtype)
    target = t._d if basic is None else _basic(t._d, basic)
    try:
        if advanced is None:
            _check_assignable(target.shape, array)
            target[...] = array
        else:
            put_at(target, advanced, array)
    except (ValueError, IndexError) as error:
        raise _explain(error, t, array) from None
    note_change(t, "__setitem__")


def _set_recorded(t: Any, basic: Any, advanced: Any, value: Any) -> None:
    F = FAST["F"]
    if not isinstance(value, TensorCore):
        value = from_array(np.asarray(_number(value, t)).astype(t._d.dtype))
    part = t if basic is None else F.basic_index(t, basic)
    if advanced is not None:
        run_inplace(REGISTRY["index_put"], F.index_put, part, advanced, value)
        return
    _check_assignable(part._d.shape, value._d)
    while value._d.ndim > part._d.ndim:
        value = value.squeeze(0)
    run_inplace(REGISTRY["copy"], F.copy, part, value)


def _check_assignable(shape: tuple[int, ...], array: Any) -> None:
    given = np.shape(array)
    while len(given) > len(shape) and given[0] == 1:
        given = given[1:]
    if len(given) > len(shape):
        raise RuntimeError(
            f"__setitem__: shape mismatch: value tensor of shape {list(np.shape(array))} cannot be "
            f"broadcast to indexing result of shape {list(shape)}"
        )


def _number(value: Any, t: Any) -> Any:
    if isinstance(value, (bool, int, float, complex, np.generic)):
        if isinstance(value, complex) and not t._t.is_complex:
            raise RuntimeError(f"value cannot be converted to type {t._t} without overflow")
        if t._t in FLOAT8:
            return converted(np.asarray(value), t._d.dtype)
        return cast_number(value, t._d.dtype)
    if isinstance(value, (list, tuple, np.ndarray)):
        return np.asarray(value)
    raise TypeError(f"can't assign a {type(value).__name__} to a {t._t}")


def _check_slice(s: slice) -> None:
    if s.step is not None and s.step <= 0:
        raise ValueError("step must be greater than zero")


def is_basic(items: tuple[Any, ...]) -> bool:
    """Whether an index needs no arrays and can be given to NumPy as it is."""
    ellipses = 0
    for i in items:
        c = i.__class__
        if c is slice:
            step = i.step
            if step is not None:
                _check_slice(i)
        elif i is Ellipsis:
            ellipses += 1
        elif c is not int and i is not None:
            return False
    return ellipses < 2


def split(t: Any, items: tuple[Any, ...]) -> tuple[Any, Any]:
    """The basic part of an index and the arrays for what it leaves (either may be None)."""
    plain = _plain_arrays(items, t._d.shape)
    if plain is not None:
        return None, plain
    if is_basic(items):
        return items, None
    normal = [_normal(i) for i in items]
    consumed = sum(_consumes(i) for i in normal)
    if consumed > t._d.ndim:
        raise IndexError(f"too many indices for tensor of dimension {t._d.ndim}")
    if not any(isinstance(i, np.ndarray) for i in normal):
        return tuple(normal), None
    basic: list[Any] = []
    advanced: list[Any] = []
    for i in normal:
        if i is Ellipsis:
            fill = t._d.ndim - consumed
            basic += [slice(None)] * fill
            advanced += [slice(None)] * fill
        elif isinstance(i, np.ndarray):
            if i.dtype == bool and i.ndim == 0:
                # A truth value adds a dimension of size one or zero.
                basic.append(None)
                advanced.append(np.zeros(int(i), np.int64))
                continue
            if i.dtype == bool:
                _check_mask(i, t._d.shape, len(basic))
            basic += [slice(None)] * max(1, i.ndim if i.dtype == bool else 1)
            advanced.append(i)
        else:
            basic.append(i)
            if i is None or isinstance(i, slice):
                advanced.append(slice(None))
    trivial = all(isinstance(i, slice) and i == slice(None) for i in basic)
    return (None if trivial else tuple(basic)), tuple(advanced)


def _plain_arrays(items: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...] | None:
    """The arrays of an index of integer tensors and whole dimensions, or of one whole mask."""
    if len(items) > len(shape):
        return None
    found, arrays = [], 0
    for i in items:
        if i.__class__ is core.Tensor:
            i = i._d
            if i.__class__ is not np.ndarray or not i.ndim:
                return None
            kind = i.dtype.kind
            if kind != "i" and (kind != "b" or i.shape != shape or len(items) > 1):
                return None
            arrays += 1
        elif i.__class__ is not slice or i != _WHOLE:
            return None
        found.append(i)
    return tuple(found) if arrays else None


def _check_mask(mask: Any, shape: tuple[int, ...], start: int) -> None:
    for k, n in enumerate(mask.shape):
        if start + k < len(shape) and shape[start + k] != n:
            raise IndexError(
                f"The shape of the mask {list(mask.shape)} at index {k} does not match the shape "
                f"of the indexed tensor {list(shape)} at index {start + k}"
            )


def _normal(i: Any) -> Any:
    """One item of an index as int, slice, None, Ellipsis or an array."""
    if isinstance(i, (bool, np.bool_)):
        return np.asarray(bool(i))
    if isinstance(i, TensorCore):
        kind = i._d.dtype.kind
        if kind not in "iub":
            raise IndexError(
                f"tensors used as indices must be long, int, byte or bool tensors, not {i._t}"
            )
        if i._d.__class__ is not np.ndarray:
            raise NotImplementedError(f"cannot index by a {i.device} tensor: it has no values")
        if i._d.ndim == 0 and kind != "b":
            return int(i._d)
        if i._d.dtype == np.uint8:
            return i._d.astype(bool)
        return i._d
    if isinstance(i, slice):
        bounds = [None if v is None else int(v) for v in (i.start, i.stop, i.step)]
        s = slice(*bounds)
        _check_slice(s)
        return s
    if isinstance(i, _BASIC):
        return i
    if isinstance(i, np.integer):
        return int(i)
    if isinstance(i, (list, tuple, range, np.ndarray)):
        return _sequence(i)
    if hasattr(i, "__index__"):
        return i.__index__()
    kind = TypeError if isinstance(i, (str, bytes)) else IndexError
    raise kind(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
        f"indices (got {type(i).__name__})"
    )


def _sequence(i: Any) -> Any:
    array = np.asarray(
        [v._d if isinstance(v, TensorCore) else v for v in i]
        if not isinstance(i, np.ndarray)
        else i
    )
    if array.size == 0 and not isinstance(i, np.ndarray):
        return array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise IndexError(
            f"tensors used as indices must be long, int, byte or bool tensors, not {array.dtype}"
        )
    return array


def _consumes(i: Any) -> int:
    if i is None or i is Ellipsis:
        return 0
    if isinstance(i, np.ndarray) and i.dtype == bool:
        return i.ndim
    return 1


def _basic(array: Any, key: Any) -> Any:
    try:
        return array[key if Ellipsis in key else (*key, Ellipsis)]
    except IndexError as error:
        raise _explain(error, None, None) from None


def _explain(error: Exception, t: Any, value: Any) -> Exception:
    text = str(error).replace("axis", "dimension")
    if isinstance(error, IndexError):
        return IndexError(text)
    return RuntimeError(
        f"__setitem__: shape mismatch: value tensor of shape {list(np.shape(value))} cannot be "
        f"broadcast to indexing result ({text})"
    )


__all__ = ["get", "set", "split", "write"]
