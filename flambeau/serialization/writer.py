"""Saving: PyTorch's zip files, written so that a crash leaves the old file whole."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import pickle
import secrets
import stat
import sys
import types
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar

import numpy as np

from .. import devices, dtypes
from ..tensor import Buffer, Parameter, Size, Tensor
from ..tensor.core import from_array
from ..tensor.layouts import jagged_parts, sparse_parts, strided_parts
from .archive import ArchiveWriter
from .names import Global, public_name

_TENSOR = Global("torch", "Tensor")
_TENSOR_V2 = Global("torch._utils", "_rebuild_tensor_v2")
_TENSOR_V3 = Global("torch._utils", "_rebuild_tensor_v3")
_META = Global("torch._utils", "_rebuild_meta_tensor_no_storage")
_PARAMETER = Global("torch._utils", "_rebuild_parameter")
_PARAMETER_WITH_STATE = Global("torch._utils", "_rebuild_parameter_with_state")
_FROM_TYPE = Global("torch._tensor", "_rebuild_from_type_v2")
_SPARSE = Global("torch._utils", "_rebuild_sparse_tensor")
_NESTED = Global("torch._utils", "_rebuild_nested_tensor")
_JAGGED = Global("torch.nested._internal.nested_tensor", "_rebuild_njt")
_JAGGED_TYPE = Global("torch.nested._internal.nested_tensor", "NestedTensor")
_UNTYPED = Global("torch.storage", "UntypedStorage")
_SIZE, _DEVICE = Global("torch", "Size"), Global("torch", "device")
_LAYOUT = Global("torch.serialization", "_get_layout")
# PyTorch has no storage classes for these: tensors of them name their dtype themselves.
_LATE = {dtypes.uint16, dtypes.uint32, dtypes.uint64, *dtypes.FLOAT8}
_PLAIN = {
    int,
    str,
    float,
    bool,
    type(None),
    tuple,
    list,
    dict,
    bytes,
    Global,
    collections.OrderedDict,
}
_PRIVATE = {"_changed_at"}  # where a tensor was last changed: a matter of this process


def save(
    obj: Any,
    f: str | os.PathLike[str] | BinaryIO,
    pickle_module: Any = pickle,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Save `obj` (tensors, modules, containers, plain values) to the file or path `f`.

    The file is PyTorch's zip format, which either library loads; tensors that share memory share it
    again after loading. A path is replaced only when the new file is complete and on disk. Modules
    are stored by the name of their class. RuntimeError if the folder does not exist.

    >>> from io import BytesIO
    >>> file = BytesIO()
    >>> save({"weight": torch.ones(2)}, file)
    """
    if not _use_new_zipfile_serialization:
        raise RuntimeError("save: the format from before zip files can be loaded, not written")
    if isinstance(f, (str, os.PathLike)):
        with replaced(os.fspath(f)) as file:
            _write(obj, file, pickle_protocol, _disable_byteorder_record)
    elif hasattr(f, "write"):
        _write(obj, f, pickle_protocol, _disable_byteorder_record)
    else:
        raise AttributeError(
            f"save: expected a path or an object with write(), got {type(f).__name__}"
        )


def _write(obj: Any, file: Any, protocol: int, no_byteorder: bool) -> None:
    buffer = io.BytesIO()
    pickler = TensorPickler(buffer, protocol)
    pickler.dump(obj)
    archive = ArchiveWriter(file)
    archive.write("data.pkl", buffer.getbuffer())
    archive.write(".format_version", b"1")
    archive.write(".storage_alignment", b"64")
    if not no_byteorder:
        archive.write("byteorder", sys.byteorder.encode())
    for key, data in pickler.storages():
        archive.write(f"data/{key}", data)
    archive.write("version", b"3\n")
    archive.close()


# ---------------------------------------------------------------------- replacing a file whole
@contextlib.contextmanager
def replaced(path: str) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends without an error."""
    path = os.path.realpath(path)  # what a link points to is replaced, not the link
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
    mode = _mode_of(path)
    if mode is not None and not stat.S_ISREG(mode):
        with open(path, "wb") as file:  # a pipe or a device cannot be replaced
            yield file
        return
    draft = os.path.join(folder, f".{name[:200]}.{secrets.token_hex(6)}.tmp")
    try:
        with open(draft, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(draft, stat.S_IMODE(mode))
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
    _sync_folder(folder)


def _mode_of(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _sync_folder(folder: str) -> None:
    # The new name itself must reach the disk; not every system lets folders be opened.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ---------------------------------------------------------------------- tensors to records
class _StorageId(tuple[Any, ...]):
    """A persistent id on its way into the pickle."""

    __slots__ = ()


class _Memory:
    """Bytes that tensors share: the key of their record, and the dtype of the first tensor."""

    def __init__(self, key: str, flat: Any, dtype: dtypes.dtype | None) -> None:
        self.key, self.flat, self.dtype = key, flat, dtype
        self.address = address_of(flat)


class TensorPickler(pickle._Pickler):  # type: ignore[name-defined, misc]
    """A pickler that puts tensors' memory aside and writes PyTorch's names.

    The interpreter's C pickler insists that every name it writes can be imported here; the Python
    one leaves that to `save_global`.
    """

    def __init__(self, file: Any, protocol: int) -> None:
        super().__init__(file, protocol)
        self._memories: dict[tuple[int, int], _Memory] = {}

    def storages(self) -> Iterator[tuple[str, Any]]:
        """The keys and bytes of the memory that the pickled tensors need."""
        for memory in self._memories.values():
            yield memory.key, memory.flat

    def persistent_id(self, obj: Any) -> Any:
        """Return the id of a storage; nothing else has one."""
        return tuple(obj) if type(obj) is _StorageId else None

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write the name of a class, function or constant, PyTorch's if it is flambeau's."""
        known = obj if type(obj) is Global else _name_of(obj)
        if known is None:
            super().save_global(obj, name)
            return
        self.write(pickle.GLOBAL + f"{known.module}\n{known.name}\n".encode())
        self.memoize(obj)

    dispatch: ClassVar[dict[type, Any]] = {
        **pickle._Pickler.dispatch,  # type: ignore[attr-defined]
        Global: save_global,
        types.FunctionType: save_global,
    }

    def reducer_override(self, obj: Any) -> Any:
        """Recipes, in PyTorch's names, for what is flambeau's."""
        kind = type(obj)
        if kind in _PLAIN:
            return NotImplemented
        if isinstance(obj, Tensor):
            return self._reduce_tensor(obj)
        if kind is Size:
            return _SIZE, (tuple(obj),)
        if kind is dtypes.dtype or kind is devices.memory_format:
            return str(obj.name)
        if kind is devices.layout:
            return _LAYOUT, (repr(obj),)
        if kind is devices.device:
            return _DEVICE, (obj.type,) if obj.index is None else (obj.type, obj.index)
        return NotImplemented

    # ------------------------------------------------------------------ tensors
    def _reduce_tensor(self, t: Any) -> Any:
        kind, state = type(t), {k: v for k, v in t.__dict__.items() if k not in _PRIVATE}
        if t.layout is not devices.strided or t.is_nested:
            return self._reduce_composed(t)
        if kind is Parameter:
            parts: Any = (from_array(t._d), t.requires_grad, collections.OrderedDict())
            return (_PARAMETER_WITH_STATE, (*parts, state)) if state else (_PARAMETER, parts)
        function, args = self._recipe(t)
        if kind is Buffer:
            state["_is_buffer"] = True
        if kind is Tensor and not state:
            return function, args
        cls = _TENSOR if kind in (Tensor, Buffer) else kind
        return _FROM_TYPE, (function, cls, args, state)

    def _reduce_composed(self, t: Any) -> Any:
        """The recipe of a sparse or nested tensor: its layout or kind, its parts and its size."""
        if isinstance(t, Parameter):
            plain = t.detach()
            return _PARAMETER, (plain, t.requires_grad, collections.OrderedDict())
        if t.layout is devices.jagged:
            return _FROM_TYPE, (_JAGGED, _JAGGED_TYPE, (jagged_parts(t),), {})
        if t.is_nested:
            return _NESTED, strided_parts(t)
        parts = sparse_parts(t)
        if t.layout is not devices.sparse_coo:
            parts = parts[:-1]
        return _SPARSE, (t.layout, parts)

    def _recipe(self, t: Any) -> tuple[Global, tuple[Any, ...]]:
        """What makes the tensor again, as a plain one."""
        array, dtype = t._d, t.dtype
        if not isinstance(array, np.ndarray):
            return _META, (dtype, tuple(t.shape), tuple(t.stride()), t.requires_grad)
        memory, array = self._memory(array, dtype)
        item = dtype.itemsize
        shape = tuple(map(int, array.shape))
        stride = tuple(s // item for s in array.strides) if array.size else _row_major(shape)
        offset = (address_of(array) - memory.address) // item
        rest: Any = (offset, shape, stride, t.requires_grad, collections.OrderedDict())
        if memory.dtype is dtype:
            kind, count = Global("torch", f"{dtype.title}Storage"), memory.flat.size // item
            return _TENSOR_V2, (_StorageId(("storage", kind, memory.key, "cpu", count)), *rest)
        pid = _StorageId(("storage", _UNTYPED, memory.key, "cpu", int(memory.flat.size)))
        return _TENSOR_V3, (pid, *rest, dtype)

    def _memory(self, array: Any, dtype: dtypes.dtype) -> tuple[_Memory, Any]:
        """The memory that `array` looks at, and `array` or a copy where that cannot be written."""
        flat = _root_bytes(array)
        if flat is None or not _fits(array, flat):
            array = np.array(array, order="C")
            flat = array.reshape(-1).view(np.uint8)
        place = (address_of(flat), int(flat.size))
        memory = self._memories.get(place)
        if memory is None:
            typed = dtype not in _LATE and flat.size % dtype.itemsize == 0
            key = str(len(self._memories))
            memory = self._memories[place] = _Memory(key, flat, dtype if typed else None)
        return memory, array


def _name_of(obj: Any) -> Global | None:
    if isinstance(obj, (dtypes.dtype, devices.memory_format)):
        return Global("torch", obj.name)
    return public_name(obj)


def address_of(array: Any) -> int:
    """Where an array's first element lies in memory."""
    return int(array.__array_interface__["data"][0])


def _root_bytes(array: Any) -> Any:
    """All bytes of the array that `array` is a view of, flat uint8; None if they have gaps."""
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    root = np.asarray(root)
    if not root.flags.c_contiguous:
        root = root.T
    return root.reshape(-1).view(np.uint8) if root.flags.c_contiguous else None


def _fits(array: Any, flat: Any) -> bool:
    """Whether strides and offset are whole, positive numbers of elements."""
    item = array.dtype.itemsize
    start = address_of(array) - address_of(flat)
    steps = (start, *array.strides) if array.size else ()
    return all(s >= 0 and s % item == 0 for s in steps)


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))
