"""Loading: from PyTorch's zip files, and from the stream of pickles that came before them."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO

import numpy as np

from . import names
from .archive import ArchiveReader, file_size, fill
from .byte_order import default_byte_order
from .restricted import RestrictedUnpickler
from .storages import TensorBuilder

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def load(
    f: str | os.PathLike[str] | BinaryIO,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Load what `save`, of this library or of PyTorch, has written to the file or path `f`.

    `map_location` (a device, its name, a dict from saved to wanted names, or a function of storage
    and name) says where tensors go. With ``weights_only=True``, the default, the file can make
    tensors, containers, numbers and text but run no code; with ``False`` it can run any code, so
    only load so what you trust. With ``mmap=True`` (paths only) tensors are read from the file when
    they are first used, and changes stay in memory.

    UnpicklingError for what is not allowed, RuntimeError for a damaged file or an unknown device,
    EOFError for an empty one; all name the file.
    """
    if weights_only is None:
        weights_only = True
    if weights_only and pickle_module is not None:
        raise RuntimeError(
            "load: weights_only=True reads the pickle by itself; pickle_module needs "
            "weights_only=False"
        )
    path = os.fspath(f) if isinstance(f, (str, os.PathLike)) else None
    if mmap and path is None:
        raise ValueError(f"load: mmap=True needs the path of a file, got {type(f).__name__}")
    with _opened(f) as file:
        options = _Options(
            source=path or _source_of(file),
            map_location=map_location,
            pickle_module=None if weights_only else pickle_module or pickle,
            arguments=pickle_load_args,
            mmap_path=path if mmap else None,
        )
        if _is_zip(file):
            return _load_zip(file, options)
        if mmap:
            raise RuntimeError(
                f"{options.source}: mmap=True needs a zip archive as torch.save writes it"
            )
        return _load_stream(file, options)


class _Options:
    """What `load` was asked for."""

    def __init__(
        self,
        source: str,
        map_location: Any,
        pickle_module: Any,
        arguments: dict[str, Any],
        mmap_path: str | None,
    ) -> None:
        self.source, self.map_location = str(source), map_location
        self.pickle_module, self.arguments, self.mmap_path = pickle_module, arguments, mmap_path

    def unpickle(self, file: Any, builder: TensorBuilder, limit: int) -> Any:
        """Read one pickle from `file`."""
        if self.pickle_module is None:
            encoding = self.arguments.get("encoding", "utf-8")
            return RestrictedUnpickler(file, builder, limit, encoding).load()
        return _open_unpickler(self.pickle_module, file, builder, self.arguments).load()


def _opened(f: Any) -> AbstractContextManager[Any]:
    if isinstance(f, (str, os.PathLike)):
        return open(f, "rb")
    for name in ("read", "seek", "tell", "readline"):
        if not hasattr(f, name):
            raise AttributeError(
                f"load: {type(f).__name__!r} object has no attribute '{name}'. You can only "
                "torch.load from a file that is seekable. Please pre-load the data into a buffer "
                "like io.BytesIO and try to load from it instead."
            )
    return nullcontext(f)


def _source_of(file: Any) -> str:
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else f"<{type(file).__name__}>"


def _is_zip(file: BinaryIO) -> bool:
    start = file.tell()
    magic = file.read(4)
    file.seek(start)
    return magic == b"PK\3\4"


# ---------------------------------------------------------------------- zip files
def _load_zip(file: BinaryIO, options: _Options) -> Any:
    archive = ArchiveReader(file, options.source)
    if "constants.pkl" in archive:
        raise RuntimeError(
            f"{options.source}: this is a TorchScript archive, which holds a program and not only "
            "tensors: load it with torch.jit.load in PyTorch and save its state_dict()"
        )
    marked = "byteorder" in archive
    byteorder = archive.read("byteorder").decode() if marked else default_byte_order()
    if byteorder not in ("little", "big"):
        raise RuntimeError(f"{options.source}: unknown byte order {byteorder[:20]!r}")
    fetch = _mapped(archive, options) if options.mmap_path else _read(archive)
    builder = TensorBuilder(options.source, fetch, options.map_location, byteorder)
    data = archive.read("data.pkl")
    result = options.unpickle(io.BytesIO(data), builder, len(data))
    builder.finish()
    return result


def _read(archive: ArchiveReader) -> Callable[[str, int], Any]:
    return lambda key, nbytes: archive.read_array(f"data/{key}")


def _mapped(archive: ArchiveReader, options: _Options) -> Callable[[str, int], Any]:
    whole: Any = np.memmap(str(options.mmap_path), np.uint8, "c")

    def fetch(key: str, nbytes: int) -> Any:
        start, size = archive.where(f"data/{key}")
        return whole[start : start + size]

    return fetch


# ---------------------------------------------------------------------- the older stream
def _load_stream(file: BinaryIO, options: _Options) -> Any:
    left = file_size(file) - file.tell()
    if left == 0:
        raise EOFError(f"{options.source}: the file is empty")
    promised = 0

    def fetch(key: str, nbytes: int) -> Any:
        # The data follow the pickle: reserve room, but never more than the file can fill.
        nonlocal promised
        promised += nbytes
        if promised > left:
            raise RuntimeError(
                f"{options.source}: storages of {promised} bytes in a file of {left}"
            )
        return np.zeros(nbytes, np.uint8)

    header = TensorBuilder(options.source, fetch)
    plain = _Options(options.source, None, None, {}, None)
    try:
        magic = plain.unpickle(file, header, left)
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(f"{options.source}: not a file of torch.save") from error
    if magic != _MAGIC:
        raise RuntimeError(f"{options.source}: invalid magic number; not a file of torch.save")
    version, system = plain.unpickle(file, header, left), plain.unpickle(file, header, left)
    if version != _PROTOCOL or not isinstance(system, dict):
        raise RuntimeError(f"{options.source}: unknown version of the format")
    byteorder = "little" if system.get("little_endian", True) else "big"
    builder = TensorBuilder(options.source, fetch, options.map_location, byteorder)
    result = options.unpickle(file, builder, left)
    _fill_storages(file, plain.unpickle(file, builder, left), builder)
    builder.finish()
    return result


def _fill_storages(file: BinaryIO, keys: Any, builder: TensorBuilder) -> None:
    if not isinstance(keys, list):
        raise RuntimeError(f"{builder.source}: expected a list of storages after the pickle")
    for key in keys:
        storage = builder.storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise RuntimeError(f"{builder.source}: data for a storage that no tensor has")
        count = int.from_bytes(file.read(8), "little", signed=True)
        unit = storage.item
        if count < 0 or count * unit != storage.nbytes:
            raise RuntimeError(
                f"{builder.source}: storage '{key}' has {count} elements of {unit} bytes, but its "
                f"tensors were told of {storage.nbytes} bytes"
            )
        got = fill(file, memoryview(storage.array))
        if got != storage.nbytes:
            raise RuntimeError(
                f"{builder.source}: unexpected EOF, expected {storage.nbytes - got} more bytes. "
                "The file might be corrupted."
            )
    empty = [k for k, s in builder.storages.items() if k not in keys and s.nbytes]
    if empty:
        raise RuntimeError(f"{builder.source}: no data for the storages {empty[:5]}")


# ---------------------------------------------------------------------- unrestricted files
def _open_unpickler(module: Any, file: Any, builder: TensorBuilder, arguments: Any) -> Any:
    """An unpickler of `module` that may call anything, with PyTorch's names made flambeau's."""

    class Unpickler(module.Unpickler):  # type: ignore[misc, name-defined]
        def find_class(self, mod: str, name: str) -> Any:
            if mod != "torch" and not mod.startswith("torch."):
                return super().find_class(mod, name)
            key = f"{mod}.{name}"
            if key in names.REBUILDERS:
                return getattr(builder, names.REBUILDERS[key])
            known = names.SAFE_NAMES.get(key)
            if known is not None and not isinstance(known, names.SafeCall):
                return known
            if key in ("torch.device", "torch.Size", "torch.serialization._get_layout"):
                return known.function
            if key in names.TENSOR_TYPES:
                return names.TENSOR_TYPES[key]
            if key in names.INERT_TYPES:
                return names.INERT_TYPES[key]
            return names.import_name(mod, name)

        def persistent_load(self, pid: Any) -> Any:
            if isinstance(pid, tuple) and pid and pid[0] == "module":
                return pid[1]
            return builder.storage(pid)

    return Unpickler(file, **arguments)


def get_unsafe_globals_in_checkpoint(f: str | os.PathLike[str] | BinaryIO) -> list[str]:
    """List the names in a zip file `f` that ``weights_only=True`` would refuse; runs nothing."""
    with _opened(f) as file:
        source = os.fspath(f) if isinstance(f, (str, os.PathLike)) else _source_of(file)
        if not _is_zip(file):
            raise ValueError(f"{source}: only zip files can be inspected")
        data = ArchiveReader(file, source).read("data.pkl")
    found: dict[str, None] = {}
    texts: list[str] = []
    for operation, argument, _ in pickletools.genops(data):
        if isinstance(argument, str):
            texts.append(argument)
        if operation.name == "GLOBAL":
            module, name = argument.split(" ", 1)
        elif operation.name == "STACK_GLOBAL":
            module, name = texts[-2:]
        else:
            continue
        try:
            names.find_safe(module, name)
        except KeyError:
            found[f"{module}.{name}"] = None
    return list(found)
