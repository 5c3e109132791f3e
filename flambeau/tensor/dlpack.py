"""DLPack, both ways: tensors to capsules that other libraries read, and theirs to tensors.

The structures are those of DLPack 1.0 (https://dmlc.github.io/dlpack/latest/c_api.html): a
`DLTensor` inside a managed tensor, with a version and flags if the reader asked for them. NumPy's
own capsules know neither bfloat16 nor float8, so both directions are done here.
"""

from __future__ import annotations

import ctypes
import enum
from typing import Any

import numpy as np

from .. import devices, dtypes
from .core import from_array
from .functions import publish
from .memory import address, filled_strides


class DLDeviceType(enum.IntEnum):
    """DLPack's numbers for kinds of devices."""

    kDLCPU = 1
    kDLCUDA = 2
    kDLCUDAHost = 3
    kDLOpenCL = 4
    kDLVulkan = 7
    kDLMetal = 8
    kDLVPI = 9
    kDLROCM = 10
    kDLROCMHost = 11
    kDLExtDev = 12
    kDLCUDAManaged = 13
    kDLOneAPI = 14


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    _fields_ = (
        ("tensor", _Tensor),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_READ_ONLY, _COPIED = 1, 2
_KINDS = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_EXOTIC = {
    dtypes.bfloat16: 4,
    dtypes.float8_e4m3fn: 10,
    dtypes.float8_e4m3fnuz: 11,
    dtypes.float8_e5m2: 12,
    dtypes.float8_e5m2fnuz: 13,
    dtypes.float8_e8m0fnu: 14,
}
_DTYPES = {
    (_EXOTIC.get(t, _KINDS.get(t.numpy_dtype.kind, -1)), t.itemsize * 8): t
    for t in dtypes.ALL
    if t.numpy_dtype is not None
}
_OLD, _NEW = b"dltensor", b"dltensor_versioned"
_USED = {_OLD: b"used_dltensor", _NEW: b"used_dltensor_versioned"}

_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)


def _python(name: str, result: Any, *arguments: Any) -> Any:
    """A function of Python's own interface, with types of our own."""
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


_object, _text, _place = ctypes.py_object, ctypes.c_char_p, ctypes.c_void_p
_new_capsule = _python("PyCapsule_New", _object, _place, _text, _place)
_is_valid = _python("PyCapsule_IsValid", ctypes.c_int, _object, _text)
_is_valid_dying = _python("PyCapsule_IsValid", ctypes.c_int, _place, _text)
_pointer = _python("PyCapsule_GetPointer", _place, _object, _text)
_pointer_dying = _python("PyCapsule_GetPointer", _place, _place, _text)
_set_name = _python("PyCapsule_SetName", ctypes.c_int, _object, _text)

_exported: dict[int, Any] = {}
"""What each managed tensor that is out keeps alive, by its address."""


@_Deleter
def _release(place: int) -> None:
    _exported.pop(place, None)


@_Destructor
def _drop(capsule: int) -> None:
    """The end of a capsule: if nobody has taken the tensor, it is released."""
    for name in (_OLD, _NEW):
        if _is_valid_dying(capsule, name):
            _exported.pop(_pointer_dying(capsule, name), None)


# ---------------------------------------------------------------- to other libraries
def export(
    t: Any, stream: Any = -1, max_version: Any = None, dl_device: Any = None, copy: Any = None
) -> Any:
    """A capsule with the tensor `t`; see `Tensor.__dlpack__`.

    BufferError for tensors that no other library could use as they are.
    """
    if t._gf is not None:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if not isinstance(t._d, np.ndarray):
        raise BufferError(f"Cannot pack tensors on {t.device}")
    if t.is_conj():
        raise BufferError("Can't export tensors with the conjugate bit set")
    if stream is not None and stream != -1:
        raise AssertionError("stream should be None on cpu.")
    if dl_device is not None and tuple(dl_device) != (DLDeviceType.kDLCPU, 0):
        raise BufferError(f"cannot export a tensor of the CPU to the DLPack device {dl_device}")
    d = t._d.copy(order="K") if copy else t._d
    versioned = max_version is not None and max_version[0] >= 1
    held: Any = _Versioned() if versioned else _Managed()
    n = d.ndim
    strides = filled_strides(d.shape, tuple(s // d.itemsize for s in d.strides))
    shape, steps = (ctypes.c_int64 * n)(*d.shape), (ctypes.c_int64 * n)(*strides)
    inner = held.tensor
    inner.data = address(d) if d.size else None
    inner.device_type, inner.device_id, inner.ndim = DLDeviceType.kDLCPU, 0, n
    inner.code = _EXOTIC.get(t._t, _KINDS.get(d.dtype.kind, 3))
    inner.bits, inner.lanes, inner.byte_offset = t._t.itemsize * 8, 1, 0
    inner.shape = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
    inner.strides = ctypes.cast(steps, ctypes.POINTER(ctypes.c_int64))
    held.deleter = ctypes.cast(_release, ctypes.c_void_p).value
    if versioned:
        held.major, held.minor = 1, 0
        held.flags = (_COPIED if copy else 0) | (0 if d.flags.writeable else _READ_ONLY)
    place = ctypes.addressof(held)
    _exported[place] = (held, shape, steps, d)
    return _new_capsule(place, _NEW if versioned else _OLD, ctypes.cast(_drop, _place).value)


@publish
def to_dlpack(tensor: Any) -> Any:
    """A capsule with the tensor's memory, to be read once by any library that knows DLPack."""
    return tensor.__dlpack__()


# ---------------------------------------------------------------- from other libraries
class _Foreign:
    """Another library's memory as NumPy takes it; released with the last array over it."""

    def __init__(self, place: int, deleter: int | None, interface: dict[str, Any]) -> None:
        self._place, self._deleter = place, deleter
        self.__array_interface__ = interface

    def __del__(self) -> None:
        if self._deleter:
            _Deleter(self._deleter)(self._place)


def _invalid() -> RuntimeError:
    return RuntimeError(
        "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed "
        "only once, so you might have already constructed a tensor from it once."
    )


def _adopt(capsule: Any) -> Any:
    """The array of a capsule, which is used up."""
    name = next((n for n in (_NEW, _OLD) if _is_valid(capsule, n)), None)
    if name is None:
        raise _invalid()
    place = _pointer(capsule, name)
    held: Any = (_Versioned if name == _NEW else _Managed).from_address(place)
    if name == _NEW and held.major > 1:
        raise BufferError(f"DLPack version {held.major}.{held.minor} is not known: 1.x is")
    inner = held.tensor
    if inner.device_type not in (DLDeviceType.kDLCPU, DLDeviceType.kDLCUDAHost):
        raise BufferError(f"DLPack device type {inner.device_type} is not the CPU")
    dtype = _DTYPES.get((inner.code, inner.bits)) if inner.lanes == 1 else None
    if dtype is None:
        raise BufferError(
            f"DLPack type code {inner.code} with {inner.bits} bits and {inner.lanes} lanes has no "
            "dtype here"
        )
    shape = tuple(inner.shape[: inner.ndim])
    strides = None
    if inner.strides and inner.ndim:
        strides = tuple(s * dtype.itemsize for s in inner.strides[: inner.ndim])
        _check_strides(strides)
    exotic = dtype in _EXOTIC
    kind: Any = np.dtype(f"u{dtype.itemsize}") if exotic else dtype.numpy_dtype
    if not inner.data or not np.prod(shape):
        return np.empty(shape, dtype.numpy_dtype)  # the capsule stays its owner's
    read_only = name == _NEW and bool(held.flags & _READ_ONLY)
    interface = {
        "version": 3, "shape": shape, "typestr": kind.str, "strides": strides,
        "data": (inner.data + inner.byte_offset, read_only),
    }  # fmt: skip
    _set_name(capsule, _USED[name])
    array = np.asarray(_Foreign(place, held.deleter, interface))
    return array.view(dtype.numpy_dtype) if exotic else array


def _check_strides(strides: tuple[int, ...]) -> None:
    if any(s < 0 for s in strides):
        raise ValueError(
            "At least one stride of the DLPack tensor is negative, and tensors with negative "
            "strides are not supported: make a copy of it first."
        )


def _capsule_of(obj: Any, copy: bool | None) -> Any:
    options: dict[str, Any] = {"max_version": (1, 0)}
    if copy is not None:
        options["copy"] = copy
    try:
        return obj.__dlpack__(**options)
    except TypeError:  # a library that knows an older DLPack only
        return obj.__dlpack__()


@publish
def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Any:
    """A tensor over the memory of an object that speaks DLPack, or of a capsule.

    `copy` True copies always, False never (BufferError where it would be needed).

    >>> from_dlpack(np.arange(3)).tolist()
    [0, 1, 2]
    """
    where = devices.resolve_device(device)
    if not hasattr(ext_tensor, "__dlpack__"):
        if type(ext_tensor).__name__ != "PyCapsule":
            raise _invalid()
        made = from_array(_adopt(ext_tensor))
        return made.clone() if copy else made
    capsule = _capsule_of(ext_tensor, copy)
    made = from_array(_adopt(capsule))
    if copy and made.data_ptr() == _data_of(ext_tensor):
        made = made.clone()
    return made if where.type == "cpu" else made.to(where)


def _data_of(obj: Any) -> int | None:
    """Where the memory of `obj` begins, if it says so."""
    pointer = getattr(obj, "data_ptr", None)
    if callable(pointer):
        return int(pointer())
    interface = getattr(obj, "__array_interface__", None)
    return None if interface is None else int(interface["data"][0])
