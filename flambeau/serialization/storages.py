"""Tensors out of a file's storages: every size, stride and offset is checked against the bytes."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import devices, dtypes
from ..tensor import Buffer, Parameter, Tensor, core
from ..tensor.core import from_array
from ..tensor.layouts import nested_from_parts, sparse_from_parts
from .names import SafeCall, StorageType

MAX_DIMENSIONS = 64
_META = "meta"


class Storage:
    """The bytes that several tensors of a file may share."""

    __slots__ = ("array", "item", "key", "owner", "swap_unit", "whole_bools")

    def __init__(self, key: str, array: Any, item: int = 1) -> None:
        self.key, self.array, self.item = key, array, item
        self.owner: Any = None  # the first tensor made of it
        self.swap_unit = 0
        self.whole_bools = False

    @property
    def nbytes(self) -> int:
        """The storage's size in bytes."""
        return int(self.array.size)


class Typed(NamedTuple):
    """A storage as a file refers to it: with a dtype (or None) and from a byte on."""

    storage: Storage | None
    dtype: dtypes.dtype | None
    start: int = 0
    nbytes: int = 0


MapLocation = Any
Fetch = Callable[[str, int], Any]


class TensorBuilder:
    """Makes the tensors of one file.

    `source` names the file in errors; `fetch(key, nbytes)` returns a storage's bytes as a flat
    uint8 array, which may be filled until `finish` is called.
    """

    def __init__(
        self,
        source: str,
        fetch: Fetch,
        map_location: MapLocation = None,
        byteorder: str = sys.byteorder,
    ) -> None:
        self.source = source
        self.storages: dict[str, Storage] = {}
        self.views: dict[str, Typed] = {}
        self._fetch, self._map_location = fetch, map_location
        self._swap = byteorder != sys.byteorder
        self._finish: list[Callable[[], None]] = []

    def _fail(self, problem: str) -> RuntimeError:
        return RuntimeError(f"{self.source}: {problem}")

    # ------------------------------------------------------------------ storages
    def storage(self, pid: Any) -> Typed:
        """The storage meant by a persistent id; RuntimeError if the id makes no sense."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise self._fail("expected a persistent id ('storage', type, key, location, size)")
        kind, key, location, count = pid[1:5]
        if not isinstance(kind, StorageType) or type(key) is not str or type(location) is not str:
            raise self._fail("a storage's persistent id has parts of the wrong types")
        if type(count) is not int or count < 0:
            raise self._fail(f"storage '{key}' has the size {_brief(count)}")
        item = kind.dtype.itemsize if kind.dtype else 1
        nbytes = count * item
        place = self._place(key, location)
        if place == _META:
            return Typed(None, kind.dtype, 0, nbytes)
        storage = self.storages.get(key)
        if storage is None:
            storage = self.storages[key] = Storage(key, self._fetch(key, nbytes), item)
        if nbytes > storage.nbytes:
            raise self._fail(
                f"storage '{key}' claims {nbytes} bytes, but the file holds {storage.nbytes}"
            )
        self._note_dtype(storage, kind.dtype)
        if len(pid) == 6 and pid[5] is not None:
            return self._view(Typed(storage, kind.dtype, 0, nbytes), pid[5])
        return Typed(storage, kind.dtype, 0, nbytes)

    def _view(self, whole: Typed, metadata: Any) -> Typed:
        # Files of PyTorch's first years name parts of a storage.
        key, offset, count = metadata
        item = whole.dtype.itemsize if whole.dtype else 1
        if not all(type(n) is int and n >= 0 for n in (offset, count)):
            raise self._fail(f"a part of storage '{_brief(key)}' has a size or offset below 0")
        if (offset + count) * item > whole.nbytes:
            raise self._fail(f"a part of storage '{_brief(key)}' lies outside of it")
        view = Typed(whole.storage, whole.dtype, offset * item, count * item)
        return self.views.setdefault(str(key), view)

    def _place(self, key: str, location: str) -> str:
        """``cpu`` or ``meta``: where a storage from `location` goes."""
        wanted = self._map_location
        if isinstance(wanted, dict):
            wanted = wanted.get(location, location)
        elif callable(wanted) and not isinstance(wanted, devices.device):
            found = wanted(Storage(key, np.empty(0, np.uint8)), location)
            wanted = location if found is None else "cpu"
        elif wanted is None:
            wanted = location
        kind = str(wanted).partition(":")[0]
        if kind not in ("cpu", _META):
            raise self._fail(
                f"storage '{key}' was saved on the device '{location}'; asked for '{wanted}', "
                "which is not available. Use torch.load with map_location=torch.device('cpu') to "
                "map your storages to the CPU."
            )
        return kind

    def _note_dtype(self, storage: Storage, dtype: dtypes.dtype | None) -> None:
        if dtype is None:
            return
        storage.whole_bools |= dtype is dtypes.bool_
        storage.swap_unit = storage.swap_unit or dtype.itemsize // (2 if dtype.is_complex else 1)

    def finish(self) -> None:
        """Complete the tensors, once all storages are filled."""
        for storage in self.storages.values():
            if self._swap and storage.swap_unit > 1:
                whole = storage.nbytes // storage.swap_unit * storage.swap_unit
                storage.array[:whole].view(f"u{storage.swap_unit}").byteswap(inplace=True)
            if storage.whole_bools and storage.nbytes and storage.array.max() > 1:
                raise self._fail(f"storage '{storage.key}' of bools holds bytes other than 0 and 1")
        for complete in self._finish:
            complete()
        self._finish.clear()

    # ------------------------------------------------------------------ what files may call
    def rebuild_tensor(
        self,
        storage: Typed,
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        requires_grad: bool = False,
        hooks: Any = None,
        metadata: dict[str, bool] | None = None,
    ) -> Any:
        """A tensor over a typed storage."""
        if not isinstance(storage, Typed) or storage.dtype is None:
            raise self._fail("a tensor has no typed storage")
        return self._tensor(storage, storage.dtype, offset, size, stride, requires_grad, metadata)

    def rebuild_typed_tensor(
        self,
        storage: Typed,
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        requires_grad: bool,
        hooks: Any,
        dtype: dtypes.dtype,
        metadata: dict[str, bool] | None = None,
    ) -> Any:
        """A tensor over an untyped storage, with a dtype of its own."""
        if not isinstance(storage, Typed) or not isinstance(dtype, dtypes.dtype):
            raise self._fail("a tensor has no storage or no dtype")
        return self._tensor(storage, dtype, offset, size, stride, requires_grad, metadata)

    def rebuild_parameter(
        self, data: Any, requires_grad: bool, hooks: Any, state: Any = None
    ) -> Any:
        """A Parameter around the tensor `data`."""
        if not isinstance(data, Tensor):
            raise self._fail("a Parameter has no tensor")
        return self.set_attributes(Parameter(data, bool(requires_grad)), state)

    def rebuild_sparse_tensor(self, layout: Any, parts: Any) -> Any:
        """A sparse tensor of its indices, values, size and (in coordinates) coalescedness."""
        if not isinstance(layout, devices.layout) or not isinstance(parts, tuple):
            raise self._fail("a sparse tensor has no layout or no parts")
        if layout is devices.sparse_coo and len(parts) == 3:
            parts = (*parts, None)  # files of PyTorch's before 2.0
        if len(parts) != 4:
            raise self._fail(f"a sparse tensor has {len(parts)} parts")
        made, check = sparse_from_parts(layout, parts, self._fail)
        self._finish.append(check)
        return made

    def rebuild_nested_tensor(self, values: Any, sizes: Any, strides: Any, offsets: Any) -> Any:
        """A strided nested tensor of its elements and where its members lie among them."""
        made, check = nested_from_parts((values, sizes, strides, offsets), self._fail)
        self._finish.append(check)
        return made

    def rebuild_jagged_tensor(self, parts: Any) -> Any:
        """A jagged nested tensor of its values, offsets and lengths."""
        if not isinstance(parts, dict):
            raise self._fail("a nested tensor has no parts")
        made, check = nested_from_parts(parts, self._fail)
        self._finish.append(check)
        return made

    def rebuild_meta_tensor(
        self, dtype: dtypes.dtype, size: Any, stride: Any, requires_grad: bool
    ) -> Any:
        """A tensor without data."""
        if not isinstance(dtype, dtypes.dtype):
            raise self._fail("a tensor has no dtype")
        self._check_geometry(dtype, 0, size, stride)
        return _meta_tensor(dtype, size, stride).requires_grad_(bool(requires_grad))

    def rebuild_from_type(self, function: Any, cls: Any, args: Any, state: Any) -> Any:
        """A tensor of the class `cls`, with attributes."""
        if function == self.rebuild_jagged_tensor or (
            isinstance(function, SafeCall) and function.method == "rebuild_jagged_tensor"
        ):
            return self.rebuild_jagged_tensor(*args)  # its attributes repeat its parts
        if isinstance(function, SafeCall):
            if not function.method:
                raise self._fail(f"{function.name} does not make tensors")
            function = getattr(self, function.method)
        if isinstance(cls, SafeCall):
            if cls.user_type is None and cls.name != "torch.Tensor":
                raise self._fail(f"{cls.name} is not a class of tensors")
            cls = cls.user_type or Tensor
        if getattr(function, "__self__", None) is not self or not issubclass(cls, Tensor):
            raise self._fail("a tensor with attributes is not made as a tensor")
        made = function(*args)
        if isinstance(state, dict) and state.get("_is_buffer") is True:
            buffer = Buffer(made, persistent=bool(state.get("persistent", True)))
            rest = {k: v for k, v in state.items() if k not in ("_is_buffer", "persistent")}
            return self.set_attributes(buffer, rest)
        if cls is not type(made):
            made = _as_class(made, cls)
        return self.set_attributes(made, state)

    def set_attributes(self, value: Any, state: Any) -> Any:
        """`value` with its attributes from a file; none may hide what its class defines."""
        if isinstance(state, tuple) and len(state) == 2 and not state[1]:
            state = state[0]
        if not state:
            return value
        if not isinstance(state, dict):
            raise self._fail(f"attributes of a {type(value).__name__} are not a dict")
        for name in state:
            if type(name) is not str or hasattr(type(value), name):
                raise self._fail(
                    f"a {type(value).__name__} must not have the attribute {_brief(name)}"
                )
        value.__dict__.update(state)
        return value

    # ------------------------------------------------------------------ tensors
    def _check_geometry(self, dtype: dtypes.dtype, offset: Any, size: Any, stride: Any) -> None:
        for what, value in (("size", size), ("stride", stride)):
            if not isinstance(value, tuple) or len(value) > MAX_DIMENSIONS:
                raise self._fail(f"a tensor's {what} is not a tuple of at most 64 numbers")
        for n in (offset, *size, *stride):
            if type(n) is not int or not 0 <= n < 2**63:
                raise self._fail(f"a tensor's size, stride or offset contains {_brief(n)}")
        if len(size) != len(stride):
            raise self._fail(f"a tensor has {len(size)} sizes and {len(stride)} strides")
        if dtype.numpy_dtype is None:
            raise self._fail(f"flambeau has no tensors of the dtype {dtype}")

    def _array(
        self, storage: Typed, dtype: dtypes.dtype, offset: int, size: Any, stride: Any
    ) -> Any:
        """A view of the storage's bytes; RuntimeError if any element lies outside of them."""
        item = dtype.itemsize
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if (last + 1) * item > storage.nbytes:
            key = storage.storage.key if storage.storage else ""
            raise self._fail(
                f"a tensor of size {list(size)}, stride {list(stride)} and offset {offset} needs "
                f"{(last + 1) * item} bytes, but its storage '{key}' has {storage.nbytes}"
            )
        assert storage.storage is not None
        return np.ndarray(
            size,
            dtype.numpy_dtype,
            storage.storage.array,
            storage.start + offset * item,
            tuple(s * item for s in stride),
        )

    def _tensor(
        self,
        typed: Typed,
        dtype: dtypes.dtype,
        offset: int,
        size: Any,
        stride: Any,
        requires_grad: Any,
        metadata: Any,
    ) -> Any:
        self._check_geometry(dtype, offset, size, stride)
        if 0 in size:
            if math.prod(n or 1 for n in size) * dtype.itemsize >= 2**63:
                raise self._fail(f"a tensor has the size {list(size)}")
            return self._with_grad(from_array(np.empty(size, dtype.numpy_dtype)), requires_grad)
        storage = typed.storage
        if storage is None:
            return _meta_tensor(dtype, size, stride).requires_grad_(bool(requires_grad))
        self._note_dtype(storage, dtype)
        array = self._array(typed, dtype, offset, size, stride)
        changes = [name for name in ("conj", "neg") if metadata and metadata.get(name)]
        if changes or not array.flags.aligned:
            return self._with_grad(self._copied(array, changes), requires_grad)
        made = from_array(array)
        if storage.owner is None:
            storage.owner = made
        else:
            made._s = core.storage_of(storage.owner)
        return self._with_grad(made, requires_grad)

    def _copied(self, array: Any, changes: list[str]) -> Any:
        """A tensor with memory of its own, filled when the storages are."""
        made = np.empty(array.shape, array.dtype)

        def complete() -> None:
            made[...] = array
            if "conj" in changes:
                np.conjugate(made, out=made)
            if "neg" in changes:
                np.negative(made, out=made)

        self._finish.append(complete)
        return from_array(made)

    def _with_grad(self, made: Any, requires_grad: Any) -> Any:
        return made.requires_grad_() if requires_grad else made


def _as_class(made: Any, cls: type) -> Any:
    """The leaf tensor `made` as an instance of `cls`."""
    out: Any = core.new(cls)
    out._d, out._t, out._v, out._s = made._d, made._t, made._v, made._s
    out._gf = out._grad = out._view = None
    return out.requires_grad_() if made.requires_grad else out


def _meta_tensor(dtype: dtypes.dtype, size: Any, stride: Any) -> Any:
    from ..backends.meta import MetaArray

    item = dtype.itemsize
    return from_array(MetaArray(tuple(size), dtype.numpy_dtype, tuple(s * item for s in stride)))


def _brief(value: Any) -> str:
    """A number or short text as it is, anything else by its type: it may be huge."""
    if type(value) is int and value.bit_length() > 256:
        return "a huge number"
    if type(value) in (int, str, float, bool, type(None)):
        text = repr(value)
        return text if len(text) < 80 else text[:80] + "..."
    return f"a {type(value).__name__}"
