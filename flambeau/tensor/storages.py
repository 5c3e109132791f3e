"""Storages: the memory that a tensor shares with its views, as bytes or as elements of a dtype."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import devices, dtypes
from . import memory
from .core import TensorCore
from .functions import publish


class StorageBase:
    """What untyped and typed storages have in common."""

    is_cuda = is_hpu = is_sparse = is_sparse_csr = False


_LIVING: weakref.WeakValueDictionary[int, UntypedStorage] = weakref.WeakValueDictionary()
"""The storages that programs hold, by the identity of their memory's root array."""


def storage_of(d: Any) -> UntypedStorage:
    """The one storage of the array `d` and all that share its memory."""
    if isinstance(d, memory.EmptiedArray):
        held: UntypedStorage = d.storage
        return held
    if not isinstance(d, np.ndarray):
        made = UntypedStorage(0, device=d.device)
        made._size = int(d.nbytes)
        return made
    root = memory.root_of(d)
    found = _LIVING.get(id(root))
    if found is None or found.root is not root:
        found = UntypedStorage.__new__(UntypedStorage)
        found._adopt(root)
    return found


class UntypedStorage(StorageBase):
    """The bytes of a tensor's memory, shared by all its views.

    ``UntypedStorage(n)`` is new memory of n bytes, ``UntypedStorage([1, 2])`` holds those bytes.
    """

    is_sparse = False
    _size: int | None = None

    def __init__(self, *args: Any, device: Any = None) -> None:
        self.device = devices.resolve_device(device)
        source: Any = args[0] if args else 0
        if isinstance(source, int):
            self._adopt(np.empty(source, np.uint8))
        else:
            self._adopt(np.asarray(source, np.int64).astype(np.uint8))

    def _adopt(self, root: Any) -> None:
        """Become the storage of a root array."""
        self.device = devices.CPU
        self.root, self.content = root, memory.bytes_of(root)
        _LIVING[id(root)] = self

    # ------------------------------------------------------------ facts
    def nbytes(self) -> int:
        """The size in bytes."""
        return int(self.content.size) if self._size is None else self._size

    size = __len__ = nbytes

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return memory.address(self.content) if self.content.size else 0

    _data_ptr = data_ptr

    def element_size(self) -> int:
        """Bytes of one element: one."""
        return 1

    def get_device(self) -> int | None:
        """The device's number; None on the CPU."""
        return self.device.index

    def resizable(self) -> bool:
        """Whether the memory may change its size."""
        return True

    @property
    def filename(self) -> str | None:
        """The file that the memory is mapped from: none."""
        return None

    @property
    def _cdata(self) -> int:
        return id(self.root)

    def untyped(self) -> UntypedStorage:
        """This storage."""
        return self

    def is_pinned(self, device: Any = None) -> bool:
        """Whether the memory is pinned: never."""
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and other.root is self.root

    def __hash__(self) -> int:
        return id(self.root)

    def __repr__(self) -> str:
        lines = "\n ".join(str(v) for v in self.tolist())
        what = f"[torch.storage.UntypedStorage(device={self.device}) of size {self.nbytes()}]"
        return f" {lines}\n{what}"

    # ------------------------------------------------------------ elements
    def tolist(self) -> list[int]:
        """The bytes as Python numbers."""
        listed: list[int] = self.content.tolist()
        return listed

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def _place(self, index: Any) -> int:
        if not isinstance(index, int):
            raise TypeError(
                f"can't index a torch.storage.UntypedStorage with {type(index).__name__}"
            )
        n = self.nbytes()
        if not -n <= index < n:
            raise IndexError(f"index {index} out of range for storage of size {n}")
        return index

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            if index.step not in (None, 1):
                raise TypeError("only slices with a step of 1 are supported")
            part = UntypedStorage.__new__(UntypedStorage)
            part.device, part.root, part.content = self.device, self.root, self.content[index]
            return part
        return int(self.content[self._place(index)])

    def __setitem__(self, index: Any, value: int) -> None:
        if not isinstance(index, slice):
            index = self._place(index)
        self.content[index] = np.int64(value).astype(np.uint8)

    def fill_(self, value: int) -> UntypedStorage:
        """Set every byte."""
        self.content[...] = np.int64(value).astype(np.uint8)
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> UntypedStorage:
        """Take over the bytes of another storage of this size."""
        other = source.untyped()
        if other.nbytes() != self.nbytes():
            raise RuntimeError(
                f"storages of {self.nbytes()} and {other.nbytes()} bytes: sizes must be the same"
            )
        self.content[...] = other.content
        return self

    def clone(self) -> UntypedStorage:
        """New memory with these bytes."""
        return fresh(self.content.copy())

    def new(self) -> UntypedStorage:
        """New memory of no bytes."""
        return UntypedStorage(0)

    def byteswap(self, dtype: dtypes.dtype) -> None:
        """Exchange, in place, the order of the bytes in every element of `dtype`."""
        unit = dtype.real.itemsize
        if unit > 1:
            self.content.view(f"u{unit}").byteswap(inplace=True)

    # ------------------------------------------------------------ memory
    def resize_(self, size: int) -> UntypedStorage:
        """Change the size in bytes; tensors over the storage keep their places in it.

        A tensor that does not fit any more cannot be used until the storage is large enough again.
        """
        if size == self.nbytes():
            return self
        moved = np.empty(size, np.uint8)
        kept = min(size, self.content.size)
        moved[:kept] = self.content[:kept]
        self._move(moved)
        return self

    def _move(self, moved: Any) -> None:
        before = self.root
        _LIVING.pop(id(before), None)
        self._adopt(moved)
        memory.relocate(before, moved, self)

    def share_memory_(self) -> UntypedStorage:
        """Move the bytes into memory that forked processes share."""
        if not self.is_shared():
            moved = memory.shared_bytes(self.nbytes())
            moved[...] = self.content
            self._move(moved)
        return self

    def is_shared(self) -> bool:
        """Whether forked processes share the memory."""
        return memory.is_shared(self.root)

    def pin_memory(self, device: Any = None) -> UntypedStorage:
        """Always an error: memory is pinned for a GPU."""
        raise RuntimeError("cannot pin memory: there is no accelerator")

    def cpu(self) -> UntypedStorage:
        """This storage."""
        return self

    def cuda(self, device: Any = None, non_blocking: bool = False) -> UntypedStorage:
        """A copy on a GPU; RuntimeError where there is none."""
        devices.resolve_device("cuda")
        return self

    def to(self, *, device: Any, non_blocking: bool = False) -> UntypedStorage:
        """This storage on `device`."""
        devices.resolve_device(device)
        return self

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The storage's type name, or its bytes as elements of `dtype`, each converted."""
        if dtype is None:
            return "torch.storage.UntypedStorage"
        from .typed_storages import converted

        return converted(self, dtype)

    @classmethod
    def from_buffer(cls, *args: Any, **kwargs: Any) -> UntypedStorage:
        """A copy of a buffer's bytes: ``from_buffer(buffer, byte_order, dtype=...)``."""
        return fresh(bytes_from_buffer(*args, **kwargs))

    @classmethod
    def from_file(cls, filename: str, shared: bool = False, nbytes: int = 0) -> UntypedStorage:
        """The bytes of a file, mapped into memory; see `flambeau.from_file`."""
        from .exchange import map_file

        return fresh(map_file(filename, shared, nbytes))

    def __reduce__(self) -> Any:
        return (rebuild, (self.content.tobytes(),))

    def __deepcopy__(self, memo: dict[int, Any]) -> UntypedStorage:
        return copied(self, memo)

    def __copy__(self) -> UntypedStorage:
        return self.clone()


def fresh(flat: Any) -> UntypedStorage:
    """The storage of new memory."""
    made = UntypedStorage.__new__(UntypedStorage)
    made._adopt(memory.root_of(flat))
    return made


def rebuild(content: bytes) -> UntypedStorage:
    """The storage of those bytes."""
    return fresh(np.frombuffer(content, np.uint8).copy())


def copied(storage: Any, memo: dict[int, Any]) -> Any:
    """A copy of a storage, the same for all that are copied together."""
    made = memo.get(id(storage.root))
    if not isinstance(made, UntypedStorage):
        made = storage.clone()
        # Tensors that are copied together find the root array of the copy under the same key.
        memo[id(storage.root)] = made.root
    return made


def bytes_from_buffer(
    buffer: Any,
    byte_order: str | None = None,
    count: int = -1,
    offset: int = 0,
    *,
    dtype: Any = dtypes.uint8,
) -> Any:
    """A copy of `count` elements of a buffer, in this machine's order of bytes."""
    if byte_order not in (None, "native", "little", "big"):
        raise ValueError(
            f"invalid byte_order '{byte_order}' (expected 'big', 'little', or 'native')"
        )
    if byte_order is None and dtype.itemsize > 1:
        raise TypeError("function missing required argument 'byte_order' (pos 2)")
    flat = np.frombuffer(buffer, np.uint8)[offset:]
    size = dtype.itemsize
    if count < 0 and flat.size % size:
        raise ValueError(f"buffer size ({flat.size}) must be a multiple of element size ({size})")
    flat = (flat if count < 0 else flat[: count * size]).copy()
    if byte_order not in (None, "native", sys.byteorder) and size > 1:
        flat.view(f"u{dtype.real.itemsize}").byteswap(inplace=True)
    return flat


# ---------------------------------------------------------------- tensors over storages
def set_from(
    t: Any, source: Any, storage_offset: int | None, size: Any, stride: Any, where: str = "set_"
) -> None:
    """Make the tensor `t` look at `source`, a tensor or a storage, from an element on."""
    if isinstance(source, TensorCore):
        if source._t is not t._t:
            raise RuntimeError(
                f"Could not set tensor of type {source._t.title.lower()} to a tensor of type "
                f"{t._t.title.lower()}"
            )
        if size is None:
            t._d = source._d
            return
    elif getattr(source, "dtype", t._t) is not t._t:
        raise RuntimeError(
            f"Expected a Storage of type {t._t} or an UntypedStorage, but got type {source.dtype}"
        )
    storage = storage_of(source._d) if isinstance(source, TensorCore) else source.untyped()
    unit = t._t.itemsize
    start = (storage_offset or 0) * unit
    if size is None:
        size = ((storage.nbytes() - start) // unit,)
    shape = tuple(size)
    if stride is None:
        stride = row_major(shape)
    if start < 0 or any(n < 0 for n in (*shape, *stride)):
        raise RuntimeError(
            f"{where}(): sizes, strides and offset must not be negative, got {list(shape)}, "
            f"{list(stride)} and {storage_offset}"
        )
    if len(stride) != len(shape):
        raise RuntimeError(
            f"mismatch in length of strides and shape: {len(stride)} and {len(shape)}"
        )
    strides = tuple(s * unit for s in stride)
    needed = start + memory.extent(shape, strides, unit)
    if needed > storage.nbytes() and 0 not in shape:
        storage.resize_(needed)
    t._d = memory.array_over(storage.content, t._t.numpy_dtype, start, shape, strides)


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a contiguous tensor."""
    steps, step = [], 1
    for n in reversed(shape):
        steps.append(step)
        step *= max(n, 1)
    return tuple(reversed(steps))


publish(UntypedStorage, "UntypedStorage")


@publish
def is_storage(obj: Any) -> bool:
    """Whether `obj` is a storage."""
    return isinstance(obj, StorageBase)
