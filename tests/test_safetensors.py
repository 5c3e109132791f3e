"""The safetensors format against its own library, and malformed files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flambeau import dtypes
from flambeau.serialization import safetensors
from flambeau.tensor import from_array


def values() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    made = {}
    for t in dtypes.ALL:
        if t.numpy_dtype is not None and t is not dtypes.complex128:
            array = rng.integers(0, 2, (2, 3)).astype(t.numpy_dtype)
            made[t.name] = from_array(array)
    made["turned"] = from_array(np.arange(6.0).reshape(2, 3).T)
    made["scalar"] = from_array(np.array(3, np.int16))
    made["empty"] = from_array(np.zeros((0, 4), np.float32))
    return made


def same(mine: Any, other: Any) -> None:
    assert list(mine) == list(other)
    for name, t in mine.items():
        assert t.dtype is other[name].dtype
        assert t.shape == other[name].shape
        assert t._d.tobytes() == other[name]._d.tobytes()


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.save_file(values(), path, {"format": "pt"})
    back = safetensors.load_file(path)
    same({k: values()[k] for k in back}, back)
    assert set(back) == set(values())
    assert set(safetensors.load(safetensors.save(values()))) == set(values())


def test_the_reference_library_reads_and_writes_the_same(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("safetensors.torch")
    path = tmp_path / "a.safetensors"
    mine = {k: v for k, v in values().items() if "fnuz" not in k}
    safetensors.save_file(mine, path)
    theirs = reference.load_file(path)
    assert set(theirs) == set(mine)
    for name, t in theirs.items():
        assert str(t.dtype) == str(mine[name].dtype)
        assert tuple(t.shape) == tuple(mine[name].shape)
        if t.numel() > 1:
            raw = t.contiguous().view(torch.uint8).numpy().tobytes()
            assert raw == mine[name]._d.tobytes()
    reference.save_file({k: t.contiguous() for k, t in theirs.items()}, path)
    back = safetensors.load_file(path)
    same({k: mine[k] for k in back}, back)


def packed(header: Any, data: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "header claims"),
        (b"\xff" * 8, "header claims"),
        (packed(b"{"), "malformed"),
        (packed(b"[]"), "malformed"),
        (packed({"a": 3}), "malformed"),
        (packed({"a": {"dtype": "F32"}}), "malformed"),
        (packed(b"[" * 100_000), "malformed"),
        (packed(b'{"a": {}, "a": {}}'), "occurs twice"),
        (packed({"a": entry("F99")}), "unknown dtype 'F99'"),
        (packed({"a": entry(shape=(-2,))}), "malformed shape"),
        (packed({"a": entry(shape=(2.0,))}), "malformed shape"),
        (packed({"a": entry(shape=(3,))}), "needs the bytes 0 to 12"),
        (packed({"a": entry(shape=(2**40, 2**40))}), "needs the bytes"),
        (packed({"a": entry(shape=(2**60,), offsets=(0, 2**62))}), "more than the file has"),
        (packed({"a": entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}), "impossible shape"),
        (packed({"a": entry(offsets=(8, 16))}, bytes(16)), "needs the bytes 0 to 8"),
        (packed({"a": entry(), "b": entry()}), "needs the bytes 8 to 16"),
        (packed({"a": entry()}, bytes(7)), "ends early"),
        (packed({"a": entry()}, bytes(9)), "take 8 bytes, the file has 9"),
        (packed({"a": entry("BOOL", (8,))}, b"\2" * 8), "other than 0 and 1"),
    ],
)
def test_malformed_files(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(RuntimeError, match=message) as caught:
        safetensors.load_file(path)
    assert "bad.safetensors" in str(caught.value)


def test_values_that_the_format_cannot_hold() -> None:
    with pytest.raises(TypeError, match="expected tensors by name, got 'a': int"):
        safetensors.save({"a": 3})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="complex128"):
        safetensors.save({"a": from_array(np.zeros(2, complex))})


def test_a_failing_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.save_file({"a": from_array(np.zeros(2))}, path)
    with pytest.raises(TypeError):
        safetensors.save_file({"a": None}, path)  # type: ignore[dict-item]
    assert list(safetensors.load_file(path)) == ["a"]
    assert len(list(tmp_path.iterdir())) == 1
