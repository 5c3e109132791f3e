"""Storages seen as elements of a dtype: `TypedStorage`, and the old classes of one dtype each."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import devices, dtypes
from .core import from_array
from .functions import publish
from .storages import (
    StorageBase,
    UntypedStorage,
    bytes_from_buffer,
    copied,
    fresh,
    rebuild,
    storage_of,
)

_WARNED: list[bool] = []


def _warn_once() -> None:
    if not _WARNED:
        _WARNED.append(True)
        warnings.warn(
            "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will "
            "be the only storage class. This should only matter to you if you are using storages "
            "directly.  To access UntypedStorage directly, use tensor.untyped_storage() instead of "
            "tensor.storage()",
            UserWarning,
            stacklevel=3,
        )


class TypedStorage(StorageBase):
    """A storage seen as elements of `dtype`: ``TypedStorage([1, 2], dtype=int32)``."""

    def __init__(
        self,
        *args: Any,
        wrap_storage: Any = None,
        dtype: dtypes.dtype | None = None,
        device: Any = None,
        _internal: bool = False,
    ) -> None:
        if not _internal:
            _warn_once()
        if wrap_storage is not None:
            if dtype is None:
                raise RuntimeError("TypedStorage(wrap_storage=...) needs a dtype")
            if not isinstance(wrap_storage, UntypedStorage):
                raise TypeError(
                    f"Argument wrap_storage must be UntypedStorage, got {type(wrap_storage)}"
                )
            self.dtype, self._untyped = dtype, wrap_storage
            return
        self.dtype = dtype or dtypes.get_default_dtype()
        source: Any = args[0] if args else 0
        kind = self.dtype.numpy_dtype
        if isinstance(source, int):
            flat = np.empty(source, kind)
        else:
            flat = np.asarray(source).astype(kind).reshape(-1)
        self._untyped = storage_of(flat)

    @property
    def _flat(self) -> Any:
        whole = self._untyped.content
        size = self.dtype.itemsize
        return whole[: whole.size // size * size].view(self.dtype.numpy_dtype)

    @property
    def root(self) -> Any:
        return self._untyped.root

    # ------------------------------------------------------------ facts
    @property
    def device(self) -> devices.device:
        """Where the memory is."""
        return self._untyped.device

    @property
    def filename(self) -> str | None:
        """The file that the memory is mapped from: none."""
        return None

    @property
    def _cdata(self) -> int:
        return self._untyped._cdata

    def untyped(self) -> UntypedStorage:
        """The bytes."""
        return self._untyped

    def size(self) -> int:
        """The number of elements."""
        return self._untyped.nbytes() // self.dtype.itemsize

    __len__ = _size = size

    def nbytes(self) -> int:
        """The size in bytes."""
        return self._untyped.nbytes()

    _nbytes = nbytes

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    _element_size = element_size

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._untyped.data_ptr()

    _data_ptr = data_ptr

    def get_device(self) -> int | None:
        """The device's number; None on the CPU."""
        return self.device.index

    def resizable(self) -> bool:
        """Whether the memory may change its size."""
        return True

    def is_pinned(self, device: Any = None) -> bool:
        """Whether the memory is pinned: never."""
        return False

    def is_shared(self) -> bool:
        """Whether forked processes share the memory."""
        return self._untyped.is_shared()

    _is_shared = is_shared

    def pickle_storage_type(self) -> str:
        """The name of the old class of such storages, as ``FloatStorage``."""
        return f"{self.dtype.title}Storage"

    _pickle_storage_type = pickle_storage_type

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, TypedStorage) and self.dtype is other.dtype
        return same and self._untyped == other._untyped  # type: ignore[union-attr, attr-defined]

    def __hash__(self) -> int:
        return hash((self.dtype, self._untyped))

    def __repr__(self) -> str:
        lines = "\n ".join(str(v) for v in self.tolist())
        facts = f"dtype={self.dtype}, device={self.device}"
        return f" {lines}\n[torch.storage.TypedStorage({facts}) of size {self.size()}]"

    # ------------------------------------------------------------ elements
    def tolist(self) -> list[Any]:
        """The elements as Python numbers."""
        listed: list[Any] = from_array(self._flat).tolist()
        return listed

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def _place(self, index: Any) -> int:
        if not isinstance(index, int):
            raise RuntimeError(
                f"can't index a <class 'torch.storage.TypedStorage'> with {type(index)}"
            )
        n = self.size()
        if not -n <= index < n:
            raise IndexError(f"index {index} out of range for storage of size {n}")
        return index

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        return from_array(self._flat)[self._place(index)].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        if not isinstance(index, slice):
            index = self._place(index)
        self._flat[index] = value

    def fill_(self, value: Any) -> TypedStorage:
        """Set every element."""
        self._flat[...] = value
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> TypedStorage:
        """Take over the elements of another storage, each converted."""
        if isinstance(source, TypedStorage):
            self._flat[...] = source._flat
        else:
            self._untyped.copy_(source)
        return self

    def clone(self) -> TypedStorage:
        """New memory with these elements."""
        return self._over(self._untyped.clone())

    def _over(self, untyped: UntypedStorage, dtype: dtypes.dtype | None = None) -> TypedStorage:
        return TypedStorage(wrap_storage=untyped, dtype=dtype or self.dtype, _internal=True)

    # ------------------------------------------------------------ memory
    def resize_(self, size: int) -> None:
        """Change the number of elements; see `UntypedStorage.resize_`."""
        self._untyped.resize_(size * self.dtype.itemsize)

    _resize_ = resize_

    def share_memory_(self) -> TypedStorage:
        """Move the memory to where forked processes share it."""
        self._untyped.share_memory_()
        return self

    _share_memory_ = share_memory_

    def pin_memory(self, device: Any = None) -> TypedStorage:
        """Always an error: memory is pinned for a GPU."""
        self._untyped.pin_memory(device)
        return self

    def cpu(self) -> TypedStorage:
        """This storage."""
        return self

    def cuda(self, device: Any = None, non_blocking: bool = False) -> TypedStorage:
        """A copy on a GPU; RuntimeError where there is none."""
        devices.resolve_device("cuda")
        return self

    def to(self, *, device: Any, non_blocking: bool = False) -> TypedStorage:
        """This storage on `device`."""
        devices.resolve_device(device)
        return self

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The name of the old class of such storages, or the elements converted to `dtype`."""
        if dtype is None:
            return f"torch.{self.pickle_storage_type()}"
        return converted(self, dtype)

    @classmethod
    def from_buffer(cls, *args: Any, **kwargs: Any) -> TypedStorage:
        """A copy of a buffer's elements: ``from_buffer(buffer, byte_order, dtype=...)``."""
        dtype = kwargs.setdefault("dtype", getattr(cls, "dtype", dtypes.get_default_dtype()))
        flat = bytes_from_buffer(*args, **kwargs)
        return TypedStorage(wrap_storage=fresh(flat), dtype=dtype, _internal=True)

    @classmethod
    def from_file(cls, filename: str, shared: bool = False, size: int = 0) -> TypedStorage:
        """The elements of a file, mapped into memory; see `flambeau.from_file`."""
        dtype = getattr(cls, "dtype", dtypes.get_default_dtype())
        untyped = UntypedStorage.from_file(filename, shared, size * dtype.itemsize)
        return TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)

    def __reduce__(self) -> Any:
        return (_rebuild, (self._untyped.content.tobytes(), self.dtype))

    def __deepcopy__(self, memo: dict[int, Any]) -> TypedStorage:
        return self._over(copied(self._untyped, memo))

    def __copy__(self) -> TypedStorage:
        return self.clone()


def _rebuild(content: bytes, dtype: dtypes.dtype) -> TypedStorage:
    return TypedStorage(wrap_storage=rebuild(content), dtype=dtype, _internal=True)


def converted(storage: Any, dtype: dtypes.dtype) -> TypedStorage:
    """The elements of a storage, each converted to `dtype`."""
    flat = storage.content if isinstance(storage, UntypedStorage) else storage._flat
    made = storage_of(flat.astype(dtype.numpy_dtype))
    return TypedStorage(wrap_storage=made, dtype=dtype, _internal=True)


def _add_conversion(name: str, dtype: dtypes.dtype) -> None:
    def convert(self: Any) -> TypedStorage:
        return converted(self, dtype)

    convert.__name__, convert.__doc__ = name, f"The elements converted to {dtype}."
    setattr(UntypedStorage, name, convert)
    setattr(TypedStorage, name, convert)


for _name, _dtype in {
    "bool": dtypes.bool_, "short": dtypes.int16, "int": dtypes.int32, "long": dtypes.int64,
    "half": dtypes.float16, "float": dtypes.float32, "double": dtypes.float64,
    "bfloat16": dtypes.bfloat16, "byte": dtypes.uint8, "char": dtypes.int8,
    "complex_double": dtypes.complex128, "complex_float": dtypes.complex64,
    "float8_e4m3fn": dtypes.float8_e4m3fn, "float8_e4m3fnuz": dtypes.float8_e4m3fnuz,
    "float8_e5m2": dtypes.float8_e5m2, "float8_e5m2fnuz": dtypes.float8_e5m2fnuz,
}.items():  # fmt: skip
    _add_conversion(_name, _dtype)


class _OldClass(type):
    """The class of `FloatStorage` and its kin: typed storages of one dtype are their instances."""

    dtype: dtypes.dtype

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, TypedStorage) and instance.dtype is cls.dtype

    def __call__(cls, *args: Any, wrap_storage: Any = None, **kwargs: Any) -> Any:
        return TypedStorage(*args, wrap_storage=wrap_storage, dtype=cls.dtype, **kwargs)


def _old_class(dtype: dtypes.dtype) -> None:
    name = f"{dtype.title}Storage"
    made = _OldClass(name, (TypedStorage,), {"dtype": dtype, "__module__": "torch"})
    globals()[name] = publish(made, name)


for _dtype in dtypes.ALL:
    wide = _dtype.name in ("uint16", "uint32", "uint64")
    if _dtype.numpy_dtype is not None and _dtype not in dtypes.FLOAT8 and not wide:
        _old_class(_dtype)
publish(TypedStorage, "TypedStorage")
