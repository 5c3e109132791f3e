"""The safetensors format: a length, a JSON header, and the tensors' bytes; nothing to execute.

>>> load(save({"weight": torch.ones(2)}))["weight"]
tensor([1., 1.])
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from ..tensor.core import from_array
from .archive import file_size, fill
from .writer import replaced

_MAX_HEADER = 100_000_000  # the format's own limit
_NAMES = {
    dtypes.bool_: "BOOL",
    dtypes.uint8: "U8",
    dtypes.int8: "I8",
    dtypes.int16: "I16",
    dtypes.uint16: "U16",
    dtypes.int32: "I32",
    dtypes.uint32: "U32",
    dtypes.int64: "I64",
    dtypes.uint64: "U64",
    dtypes.float16: "F16",
    dtypes.bfloat16: "BF16",
    dtypes.float32: "F32",
    dtypes.float64: "F64",
    dtypes.complex64: "C64",
    dtypes.float8_e4m3fn: "F8_E4M3",
    dtypes.float8_e5m2: "F8_E5M2",
    dtypes.float8_e4m3fnuz: "F8_E4M3FNUZ",
    dtypes.float8_e5m2fnuz: "F8_E5M2FNUZ",
    dtypes.float8_e8m0fnu: "F8_E8M0",
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


def save_file(
    tensors: Mapping[str, Tensor],
    filename: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write `tensors` to the file; a crash leaves the old file whole. TypeError for other values.

    `metadata` is text by name. Tensors that share memory are written apart.
    """
    with replaced(os.fspath(filename)) as file:
        _write(tensors, file, metadata)


def save(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a file of `tensors`."""
    file = io.BytesIO()
    _write(tensors, file, metadata)
    return file.getvalue()


def load_file(filename: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a file; RuntimeError, with the file's name, if it is malformed."""
    with open(filename, "rb") as file:
        return _read(file, os.fspath(filename))


def load(data: bytes) -> dict[str, Tensor]:
    """Read tensors from the bytes of a file; RuntimeError if they are malformed."""
    return _read(io.BytesIO(data), "<bytes>")


def _write(
    tensors: Mapping[str, Tensor], file: BinaryIO, metadata: Mapping[str, str] | None
) -> None:
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            kind = type(tensor).__name__
            raise TypeError(f"safetensors: expected tensors by name, got {name!r}: {kind}")
        if tensor.dtype not in _NAMES or not isinstance(tensor._d, np.ndarray):
            raise TypeError(
                f"safetensors: '{name}' is a {tensor.dtype} tensor on {tensor.device}, which the "
                "format cannot hold"
            )
    # The widest elements first keep all of them aligned.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, tensor in ordered:
        end = position + tensor._d.nbytes
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor._d.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for _, tensor in ordered:
        array: Any = tensor._d
        if sys.byteorder == "big":
            array = array.byteswap()
        flat: Any = np.array(array, order="C").reshape(-1).view(np.uint8)
        file.write(memoryview(flat))


def _read(file: BinaryIO, source: str) -> dict[str, Tensor]:
    size = file_size(file)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(_MAX_HEADER, size - 8):
        raise RuntimeError(f"{source}: the header claims {length} bytes in a file of {size}")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_without_doubles)
        entries = {k: v for k, v in header.items() if k != "__metadata__"}
        ordered = sorted(entries.items(), key=lambda item: item[1]["data_offsets"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RuntimeError(f"{source}: the header is malformed: {error}") from error
    found: dict[str, Tensor] = {}
    position = 0
    for name, entry in ordered:
        found[name], position = _read_tensor(file, f"{source}: tensor '{name}'", entry, position)
    if position != size - 8 - length:
        raise RuntimeError(
            f"{source}: the tensors take {position} bytes, the file has {size - 8 - length}"
        )
    return {name: found[name] for name in entries}


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name occurs twice")
    return made


def _read_tensor(file: BinaryIO, what: str, entry: Any, position: int) -> tuple[Tensor, int]:
    dtype, shape, offsets = (
        _DTYPES.get(entry.get("dtype")),
        entry.get("shape"),
        entry["data_offsets"],
    )
    if dtype is None:
        raise RuntimeError(f"{what} has the unknown dtype {entry.get('dtype')!r}")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise RuntimeError(f"{what} has a malformed shape or place")
    nbytes = math.prod(shape) * dtype.itemsize
    if offsets != [position, position + nbytes]:
        raise RuntimeError(
            f"{what} of shape {shape} needs the bytes {position} to {position + nbytes}, but lies "
            f"at {offsets}"
        )
    if position + nbytes > file_size(file):
        raise RuntimeError(f"{what} claims {nbytes} bytes, more than the file has")
    try:
        array = np.empty(shape, dtype.numpy_dtype)
    except ValueError as error:
        raise RuntimeError(f"{what} has the impossible shape {shape}") from error
    raw: Any = array.reshape(-1).view(np.uint8)
    if fill(file, memoryview(raw)) != nbytes:
        raise RuntimeError(f"{what} ends early: the file is truncated")
    if dtype is dtypes.bool_ and raw.size and raw.max() > 1:
        raise RuntimeError(f"{what} of bools holds bytes other than 0 and 1")
    if sys.byteorder == "big":
        array.byteswap(inplace=True)
    return from_array(array), position + nbytes


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**63 for n in values)
