"""Zip archives of uncompressed records, each aligned to 64 bytes, as PyTorch's ``.pt`` files are.

Written front to back, so that any object with ``write`` will do. Read with every length, position
and checksum verified first: a record is handed out only where the archive really holds it.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any, BinaryIO

import numpy as np

ALIGNMENT = 64
FOLDER = "archive"
_LIMIT32 = 0xFFFFFFFF  # sizes and positions from here on take the 64-bit fields
_UTF8 = 0x800
_DATE = (1980 - 1980) << 9 | 1 << 5 | 1
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_COUNT_LIMIT = 0xFFFF
_PIECE = 1 << 26


class ArchiveWriter:
    """Writes records one after the other into `file`; `close` adds the directory."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._position = 0
        self._directory: list[bytes] = []

    def _write(self, data: Any) -> None:
        self._file.write(data)
        self._position += len(data)

    def write(self, record: str, data: Any) -> None:
        """Add `data` (bytes or any flat buffer of bytes) as `record`."""
        data = memoryview(data)
        name = f"{FOLDER}/{record}".encode()
        start, size, checksum = self._position, data.nbytes, zlib.crc32(data)
        long = size >= _LIMIT32 or start >= _LIMIT32
        extra = struct.pack("<2HQQ", 1, 16, size, size) if long else b""
        # A field of an unused kind moves the data to the next multiple of 64.
        padding = -(start + _LOCAL.size + len(name) + len(extra) + 4) % ALIGNMENT
        extra += b"FB" + struct.pack("<H", padding) + bytes(padding)
        version, short = (45 if long else 20), _LIMIT32 if long else size
        common = (version, _UTF8, 0, 0, _DATE, checksum, short, short, len(name))
        self._write(_LOCAL.pack(b"PK\3\4", *common, len(extra)) + name + extra)
        for at in range(0, size, _PIECE):
            self._write(data[at : at + _PIECE])
        extra = struct.pack("<2H3Q", 1, 24, size, size, start) if long else b""
        where = _LIMIT32 if long else start
        head = _CENTRAL.pack(b"PK\1\2", version, *common, len(extra), 0, 0, 0, 0, where)
        self._directory.append(head + name + extra)

    def close(self) -> None:
        """Write the directory; the file itself stays open."""
        start, count = self._position, len(self._directory)
        self._write(b"".join(self._directory))
        size = self._position - start
        if max(start, size) >= _LIMIT32 or count >= _COUNT_LIMIT:
            end = self._position
            totals = (45, 45, 0, 0, count, count, size, start)
            self._write(_END64.pack(b"PK\6\6", _END64.size - 12, *totals))
            self._write(_LOCATOR64.pack(b"PK\6\7", 0, end, 1))
            start, size, count = _LIMIT32, _LIMIT32, _COUNT_LIMIT
        self._write(_END.pack(b"PK\5\6", 0, 0, count, count, size, start, 0))


def file_size(file: BinaryIO) -> int:
    """The length of a seekable file in bytes; its position is kept."""
    position = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(position)
    return int(size)


def fill(file: BinaryIO, target: memoryview) -> int:
    """Read into `target` (a flat buffer of bytes); the number of bytes that there were."""
    done, readinto = 0, getattr(file, "readinto", None)
    while done < len(target):
        if readinto is not None:
            got = readinto(target[done : done + _PIECE]) or 0
        else:
            piece = file.read(min(_PIECE, len(target) - done))
            got = len(piece)
            target[done : done + got] = piece
        if not got:
            break
        done += got
    return done


class ArchiveReader:
    """The records of the archive `file`, which errors call `source`.

    RuntimeError where the directory cannot be read, records lie outside the file or over one
    another, are compressed or encrypted, or (on reading one) fail their checksum.
    """

    def __init__(self, file: BinaryIO, source: str) -> None:
        self._file, self._source = file, source
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
            raise RuntimeError(
                f"{source}: failed reading zip archive, failed finding central directory "
                f"({error}): the file is truncated or damaged"
            ) from None
        self._folder = self._find_folder(entries)
        self._records: dict[str, tuple[int, int, int]] = {}
        size, after, prefix = file_size(file), 0, f"{self._folder}/"
        for entry in sorted(entries, key=lambda e: e.header_offset):
            start = self._data_start(entry, after, size)
            after = start + entry.file_size
            if entry.filename.startswith(prefix):
                name = entry.filename[len(prefix) :]
                if name in self._records:
                    raise RuntimeError(f"{source}: the archive has two records '{name}'")
                self._records[name] = (start, entry.file_size, entry.CRC)

    def _find_folder(self, entries: list[zipfile.ZipInfo]) -> str:
        folders = [
            e.filename.removesuffix("/data.pkl")
            for e in entries
            if e.filename.endswith("/data.pkl") and e.filename.count("/") == 1
        ]
        if len(folders) != 1:
            raise RuntimeError(
                f"{self._source}: expected a zip archive with one record '<folder>/data.pkl', "
                f"found {len(folders)}: not a file of torch.save"
            )
        return folders[0]

    def _data_start(self, entry: zipfile.ZipInfo, after: int, size: int) -> int:
        """Where the record's data starts, once it is sure that the record lies within the file."""
        start, name = entry.header_offset, entry.filename
        if start < after:
            raise RuntimeError(f"{self._source}: record '{name}' overlaps the one before it")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise RuntimeError(
                f"{self._source}: record '{name}' is compressed; records must be stored"
            )
        if entry.flag_bits & 1:
            raise RuntimeError(f"{self._source}: record '{name}' is encrypted")
        self._file.seek(start)
        header = self._file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
            raise RuntimeError(f"{self._source}: record '{name}' has no header at byte {start}")
        start += _LOCAL.size + sum(struct.unpack_from("<2H", header, 26))
        if start + entry.file_size > size:
            raise RuntimeError(
                f"{self._source}: record '{name}' claims {entry.file_size} bytes from byte "
                f"{start}, but the file has {size}"
            )
        return start

    def __contains__(self, record: str) -> bool:
        return record in self._records

    def where(self, record: str) -> tuple[int, int]:
        """The record's position in the file and its size, in bytes."""
        try:
            start, size, _ = self._records[record]
        except KeyError:
            raise RuntimeError(f"{self._source}: the archive has no record '{record}'") from None
        return start, size

    def read_array(self, record: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The record's bytes in a new array, uint8 of shape (size,)."""
        start, size = self.where(record)
        array: Any = np.empty(size, np.uint8)
        self._file.seek(start)
        done = fill(self._file, memoryview(array))
        checksum = self._records[record][2]
        # Writers that were told to skip checksums leave zero.
        if done != size or (checksum and zlib.crc32(array) != checksum):
            problem = f"ends after {done} of {size} bytes" if done != size else "fails its checksum"
            raise RuntimeError(f"{self._source}: record '{record}' {problem}: the file is damaged")
        return array

    def read(self, record: str) -> bytes:
        """The record's bytes."""
        return self.read_array(record).tobytes()
