"""Files of tensors: to and from PyTorch, hostile and damaged ones, and interrupted saves."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flambeau import dtypes, serialization
from flambeau.devices import device, strided
from flambeau.serialization import archive, load, save, writer
from flambeau.serialization.names import Global
from flambeau.tensor import Buffer, Parameter, Size, Tensor, from_array

NUMBERS = [t for t in dtypes.ALL if t.numpy_dtype is not None]


def tensor(values: Any, dtype: Any = np.float32) -> Any:
    return from_array(np.array(values, dtype))


def saved(obj: Any, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    save(obj, file, **options)
    file.seek(0)
    return file


def again(obj: Any, **options: Any) -> Any:
    return load(saved(obj), **options)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def torch_saved(torch: Any, obj: Any, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(obj, file, **options)
    file.seek(0)
    return file


def raw_bytes(t: Any) -> bytes:
    """The elements of a tensor of either library, row by row."""
    if isinstance(t, Tensor):
        return t._d.tobytes()
    t = t.detach().contiguous()
    if t.dim() == 0:
        t = t.reshape(1)
    import torch

    return t.view(torch.uint8).numpy().tobytes()


def same(mine: Any, theirs: Any) -> None:
    assert str(mine.dtype) == str(theirs.dtype)
    assert tuple(mine.shape) == tuple(theirs.shape)
    assert mine.requires_grad == theirs.requires_grad
    assert raw_bytes(mine) == raw_bytes(theirs)
    if theirs.numel():
        assert tuple(mine.stride()) == tuple(theirs.stride())


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    found = {}
    for t in NUMBERS:
        if t.inexact:
            found[t.name] = rng.standard_normal((2, 3)).astype(t.numpy_dtype)
        else:
            found[t.name] = rng.integers(0, 2, (2, 3)).astype(t.numpy_dtype)
    return found


# ---------------------------------------------------------------- to PyTorch and back
def test_all_dtypes_go_to_torch_and_back(torch: Any) -> None:
    mine = {name: from_array(a) for name, a in arrays().items()}
    theirs = torch.load(saved(mine), weights_only=True)
    assert list(theirs) == list(mine)
    for name, t in mine.items():
        same(t, theirs[name])
    for name, t in load(torch_saved(torch, theirs)).items():
        same(t, theirs[name])


def make_views(base: Any) -> dict[str, Any]:
    return {
        "base": base,
        "part": base[3:17],
        "steps": base[1::4],
        "matrix": base.reshape(4, 6),
        "turned": base.reshape(4, 6).T[1:, ::2],
        "element": base[5],
        "nothing": base[7:7],
    }


def test_views_share_their_storage_in_both_directions(torch: Any) -> None:
    arrays_of = make_views(np.arange(24.0))
    arrays_of["element"] = arrays_of["matrix"][0, 5:6].reshape(())
    mine = {k: from_array(v) for k, v in arrays_of.items()}
    file = saved(mine)
    assert len([n for n in zipfile.ZipFile(file).namelist() if "/data/" in n]) == 1
    file.seek(0)
    theirs = torch.load(file)
    for name, t in mine.items():
        same(t, theirs[name])
    theirs["base"].fill_(7)
    assert all((t == 7).all() for t in theirs.values())
    for legacy in (False, True):
        written = torch_saved(torch, theirs, _use_new_zipfile_serialization=not legacy)
        back = load(written)
        for name, t in back.items():
            same(t, theirs[name])
        back["base"].fill_(5)
        assert all((t._d == 5).all() for t in back.values())
        assert back["part"]._version == back["base"]._version  # they know of each other


def test_broadcast_and_reversed_arrays(torch: Any) -> None:
    wide = from_array(np.broadcast_to(np.arange(3.0), (4, 3)))
    reverse = from_array(np.arange(5.0)[::-1])
    theirs = torch.load(saved([wide, reverse]))
    same(wide, theirs[0])
    assert theirs[1].tolist() == [4, 3, 2, 1, 0]
    same(again(wide), theirs[0])


def test_one_memory_as_two_dtypes(torch: Any) -> None:
    memory = np.arange(4, dtype=np.float32)
    file = saved([from_array(memory), from_array(memory.view(np.int32)[1:])])
    floats, integers = torch.load(file)
    assert floats.data_ptr() + 4 == integers.data_ptr()
    assert integers.tolist() == memory.view(np.int32)[1:].tolist()
    file.seek(0)
    floats, integers = load(file)
    floats._d[1] = 0
    assert integers._d[0] == 0


def test_classes_of_tensors(torch: Any) -> None:
    frozen = Parameter(tensor([1.0, 2.0]), requires_grad=False)
    marked = Parameter(tensor([3.0]))
    marked.note = "x"
    noted = tensor([4.0])
    noted.note = {"a": 1}
    mine = [
        Parameter(tensor([[1.0]])),
        frozen,
        marked,
        noted,
        Buffer(tensor([5.0]), persistent=False),
        tensor([6.0]).requires_grad_(),
    ]
    theirs = torch.load(saved(mine))
    for a, b in zip(mine, theirs, strict=True):
        same(a, b)
    assert [type(t).__name__ for t in theirs] == ["Parameter"] * 3 + ["Tensor"] * 3
    assert (theirs[2].note, theirs[3].note) == ("x", {"a": 1})
    assert isinstance(theirs[4], torch.nn.Buffer)
    back = load(torch_saved(torch, theirs))
    assert [type(t) for t in back] == [Parameter] * 3 + [Tensor, Buffer, Tensor]
    assert (back[2].note, back[3].note, back[4].persistent) == ("x", {"a": 1}, False)
    for a, b in zip(back, theirs, strict=True):
        same(a, b)


def plain_values() -> dict[str, Any]:
    return {
        "numbers": [0, 1, -1, 255, 256, 65536, 2**31, 2**70, -(2**70), 1.5, float("inf"), 1 + 2j],
        "text": ["", "a", "ü" * 300, "\U0001f525"],
        "bytes": b"\x00\xff" * 200,
        "bytearray": bytearray(b"ab"),
        "nested": {"a": [(), (1,), (1, 2, 3, 4), [[]], {}], 3: None, (1, "x"): True, None: False},
        "set": {1, 2},
        "ordered": collections.OrderedDict(b=1, a=2),
        "counter": collections.Counter("hello"),
        "many": list(range(2000)),
    }


def test_plain_values(torch: Any) -> None:
    theirs = torch.load(saved(plain_values()))
    assert theirs == plain_values()
    assert again(plain_values()) == plain_values()
    assert load(torch_saved(torch, plain_values())) == plain_values()
    for protocol in (3, 4, 5):
        assert load(saved(plain_values(), pickle_protocol=protocol)) == plain_values()


def test_values_that_only_we_take_back() -> None:
    values = [
        np.float32(2.5),
        np.int64(-3),
        np.bool_(True),
        b"",
        frozenset({"a"}),
        collections.defaultdict(list, a=[1]),
        collections.deque([1, 2], 5),
        range(3, 9, 2),
        slice(1, None, 2),
    ]
    back = again(values)
    assert back == values
    assert [type(v) for v in back] == [type(v) for v in values]
    for array in (np.arange(6.0).reshape(2, 3), np.zeros((0, 2), np.int8), np.array(3, ">i4")):
        got = again({"array": array})["array"]
        assert got.dtype == pickle.loads(pickle.dumps(array)).dtype
        np.testing.assert_array_equal(got, array)


def test_facts(torch: Any) -> None:
    mine = [Size([2, 3]), dtypes.bfloat16, device("cpu"), device("cuda:1"), strided]
    theirs = torch.load(saved(mine))
    assert theirs == [
        torch.Size([2, 3]),
        torch.bfloat16,
        torch.device("cpu"),
        torch.device("cuda:1"),
        torch.strided,
    ]
    back = load(torch_saved(torch, theirs))
    assert back == mine
    assert type(back[0]) is Size
    assert back[1] is dtypes.bfloat16


def test_a_tensor_met_twice_is_one() -> None:
    t = tensor([1.0])
    a, b, c = again([t, t, {"again": t}])
    assert a is b is c["again"]


def test_recursive_containers() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    back = again(loop)
    assert back[1] is back


def test_lazily_conjugated_and_negated_tensors(torch: Any) -> None:
    y, z = (torch.randn(3, 2, dtype=torch.complex64) for _ in range(2))
    values = [y.conj(), y.clone().T.conj(), z.conj().imag]
    for legacy in (False, True):
        back = load(torch_saved(torch, values, _use_new_zipfile_serialization=not legacy))
        for mine, theirs in zip(back, values, strict=True):
            np.testing.assert_array_equal(mine._d, theirs.resolve_conj().resolve_neg().numpy())


def test_a_state_dict_with_its_metadata(torch: Any) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    net(torch.randn(2, 2, 5, 5))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(2, 2, 5, 5)).sum().backward()
    optimizer.step()
    checkpoint = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    back = load(torch_saved(torch, checkpoint))
    assert back["net"]._metadata == checkpoint["net"]._metadata
    for name, theirs in checkpoint["net"].items():
        same(back["net"][name], theirs)
    assert back["optimizer"]["param_groups"] == checkpoint["optimizer"]["param_groups"]
    restored = torch.load(saved(back))
    net.load_state_dict(restored["net"])
    optimizer.load_state_dict(restored["optimizer"])
    assert restored["net"]._metadata == checkpoint["net"]._metadata


def test_files_written_without_checksums(torch: Any) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        file = torch_saved(torch, torch.arange(5))
    finally:
        torch.serialization.set_crc32_options(True)
    assert load(file).tolist() == [0, 1, 2, 3, 4]


def test_torch_maps_our_files_into_memory(torch: Any, tmp_path: Path) -> None:
    save({"a": tensor([1.0, 2.0])}, tmp_path / "a.pt")
    assert torch.load(tmp_path / "a.pt", mmap=True)["a"].tolist() == [1, 2]


# ---------------------------------------------------------------- the container
def test_records_are_stored_aligned_and_checked() -> None:
    file = saved([tensor(range(n)) for n in (1, 100, 1000)])
    with zipfile.ZipFile(file) as z:
        assert z.testzip() is None
        assert all(i.compress_type == zipfile.ZIP_STORED for i in z.infolist())
        assert z.read("archive/version") == b"3\n"
        assert z.read("archive/byteorder").decode() == sys.byteorder
    reader = archive.ArchiveReader(file, "x")
    assert all(reader.where(f"data/{k}")[0] % 64 == 0 for k in range(3))


def test_the_64_bit_fields(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_LIMIT32", 100)
    monkeypatch.setattr(archive, "_COUNT_LIMIT", 3)
    writer_file = io.BytesIO()
    # Small values in place of the marks that send a reader to the 64-bit fields would mislead it.
    real_local, real_central, real_end = archive._LOCAL, archive._CENTRAL, archive._END
    monkeypatch.setattr(archive, "_LOCAL", _Marked(real_local, (7, 8)))
    monkeypatch.setattr(archive, "_CENTRAL", _Marked(real_central, (8, 9, 16)))
    monkeypatch.setattr(archive, "_END", _Marked(real_end, (3, 4, 5, 6)))
    save({"a": tensor(range(300)), "b": tensor([1.0])}, writer_file)
    monkeypatch.undo()
    writer_file.seek(0)
    with zipfile.ZipFile(writer_file) as z:
        assert z.testzip() is None
    writer_file.seek(0)
    assert torch.load(writer_file)["a"].tolist() == list(range(300))
    writer_file.seek(0)
    assert load(writer_file)["b"].tolist() == [1]


class _Marked:
    """A struct whose named fields, where they hold the test's low limit, get the real mark."""

    def __init__(self, layout: struct.Struct, fields: tuple[int, ...]) -> None:
        self._layout, self._fields, self.size = layout, fields, layout.size

    def pack(self, *values: Any) -> bytes:
        marks = {100: 0xFFFFFFFF, 3: 0xFFFF}
        fixed = [marks.get(v, v) if i in self._fields else v for i, v in enumerate(values)]
        return self._layout.pack(*fixed)


def test_any_object_that_writes_will_do() -> None:
    class Pipe:
        def __init__(self) -> None:
            self.parts: list[bytes] = []

        def write(self, data: Any) -> None:
            self.parts.append(bytes(data))

    pipe = Pipe()
    save({"a": tensor([1.0])}, pipe)  # type: ignore[arg-type]
    assert load(io.BytesIO(b"".join(pipe.parts)))["a"].tolist() == [1]


def test_mmap(tmp_path: Path) -> None:
    path = tmp_path / "big.pt"
    save({"a": tensor(range(1000)), "b": tensor([1, 2], np.int16)}, path)
    before = path.read_bytes()
    back = load(path, mmap=True)
    root = back["a"]._d
    while isinstance(root.base, np.ndarray):
        root = root.base
    assert isinstance(root, np.memmap)
    back["a"]._d[0] = 9
    assert back["b"].tolist() == [1, 2]
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="mmap=True needs the path"):
        load(saved(1), mmap=True)


def test_big_endian_files() -> None:
    parts = {
        "data.pkl": pickled(_tensor_recipe("Int", 2, (2,), (1,))),
        "byteorder": b"big",
        "data/0": struct.pack(">2i", 1, 2),
    }
    assert load(zipped(parts)).tolist() == [1, 2]


# ---------------------------------------------------------------- where tensors go
def test_map_location(torch: Any) -> None:
    file = saved({"a": tensor([1.0, 2.0])})
    parts = records(file)
    cpu, cuda = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
    assert cpu in parts["data.pkl"]
    parts["data.pkl"] = parts["data.pkl"].replace(cpu, cuda)
    for wanted in ("cpu", device("cpu"), {"cuda:0": "cpu"}, lambda storage, location: storage):
        assert load(zipped(parts), map_location=wanted)["a"].tolist() == [1, 2]
    for wanted in (None, "cuda:0", {"cuda:1": "cpu"}, lambda storage, location: None):
        with pytest.raises(RuntimeError, match=r"saved on the device 'cuda:0'.*map_location"):
            load(zipped(parts), map_location=wanted)


def test_meta_tensors() -> None:
    pytest.importorskip("flambeau.backends.meta")
    back = again({"a": tensor([[1.0, 2.0]])}, map_location="meta")["a"]
    assert (str(back.device), tuple(back.shape), tuple(back.stride())) == ("meta", (1, 2), (2, 1))
    assert again(back).is_meta


# ---------------------------------------------------------------- hostile files
def records(file: io.BytesIO) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as z:
        return {name.partition("/")[2]: z.read(name) for name in z.namelist()}


def zipped(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as z:
        for name, data in parts.items():
            z.writestr(f"archive/{name}", data)
    file.seek(0)
    return file


def pickled(obj: Any) -> bytes:
    """A pickle by the library's own writer, for recipes that it would never write."""
    file = io.BytesIO()
    writer.TensorPickler(file, 2).dump(obj)
    return file.getvalue()


class Calls:
    """Pickles as a call of any name."""

    def __init__(self, name: str, *args: Any) -> None:
        self.name, self.args = name, args

    def __reduce__(self) -> Any:
        return Global(*self.name.rsplit(".", 1)), self.args


def _storage(kind: str, count: Any, key: str = "0") -> Any:
    return writer._StorageId(("storage", Global("torch", f"{kind}Storage"), key, "cpu", count))


def _tensor_recipe(kind: str, count: Any, size: Any, stride: Any, offset: Any = 0) -> Calls:
    rest = (offset, size, stride, False, collections.OrderedDict())
    return Calls("torch._utils._rebuild_tensor_v2", _storage(kind, count), *rest)


def hostile(obj: Any, data: bytes = bytes(64)) -> io.BytesIO:
    return zipped({"data.pkl": pickled(obj), "data/0": data})


def test_the_recipe_used_below_is_sound() -> None:
    assert load(hostile(_tensor_recipe("Float", 16, (4, 4), (4, 1)))).shape == (4, 4)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "builtins.getattr",
        "builtins.__import__",
        "subprocess.Popen",
        "torch.load",
        "torch.hub.load",
        "numpy.load",
        "torch.nn.modules.linear.Linear",
        "operator.attrgetter",
        "flambeau.serialization.load",
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_other_names_are_refused(name: str, protocol: int, tmp_path: Path) -> None:
    module, _, leaf = name.rpartition(".")
    witness = tmp_path / "witness"
    argument = pickle.dumps((f"touch {witness}",), 2)[2:-1]
    if protocol == 2:
        call = b"\x80\x02c" + f"{module}\n{leaf}\n".encode() + argument + b"R."
    else:
        texts = [b"\x8c" + bytes([len(t)]) + t.encode() for t in (module, leaf)]
        call = b"\x80\x04" + b"".join(texts) + b"\x93" + argument + b"R."
    with pytest.raises(pickle.UnpicklingError, match=f"GLOBAL {name} is not an allowed global"):
        load(zipped({"data.pkl": call}))
    stream = b"".join(pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {}))
    with pytest.raises(pickle.UnpicklingError, match=f"GLOBAL {name} is not an allowed global"):
        load(io.BytesIO(stream + call + pickle.dumps([], 2)))
    assert not witness.exists()


def test_unrestricted_loading_runs_code_and_restricted_does_not(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    file = zipped({"data.pkl": pickled(Calls("os.mkdir", str(witness)))})
    with pytest.raises(pickle.UnpicklingError, match=r"os\.mkdir.*weights_only=False"):
        load(file)
    assert not witness.exists()
    file.seek(0)
    load(file, weights_only=False)
    assert witness.exists()  # the file was a real attack


BAD_TENSORS: list[tuple[str, Any, str]] = [
    ("beyond the end", _tensor_recipe("Float", 16, (17,), (1,)), "needs 68 bytes"),
    ("by an offset", _tensor_recipe("Float", 16, (16,), (1,), 1), "needs 68 bytes"),
    ("by a stride", _tensor_recipe("Float", 16, (2, 2), (15, 1)), "needs 68 bytes"),
    ("by an overflow", _tensor_recipe("Float", 16, (2, 2), (2**62, 2**62)), "needs"),
    ("huge", _tensor_recipe("Float", 16, (2**62, 2**62), (1, 1)), "needs"),
    ("huge but empty", _tensor_recipe("Float", 16, (0, 2**62, 2**62), (1, 1, 1)), "has the size"),
    ("negative size", _tensor_recipe("Float", 16, (-1,), (1,)), "contains -1"),
    ("negative stride", _tensor_recipe("Float", 16, (4,), (-1,)), "contains -1"),
    ("negative offset", _tensor_recipe("Float", 16, (4,), (1,), -4), "contains -4"),
    ("huge offset", _tensor_recipe("Float", 16, (1,), (1,), 2**63), "contains 9223372036854775808"),
    ("float size", _tensor_recipe("Float", 16, (1.0,), (1,)), "contains 1.0"),
    ("text for a size", _tensor_recipe("Float", 16, "ab", (1,)), "size is not a tuple"),
    ("two strides", _tensor_recipe("Float", 16, (4,), (1, 1)), "1 sizes and 2 strides"),
    ("many dimensions", _tensor_recipe("Float", 1, (1,) * 65, (1,) * 65), "at most 64"),
    ("storage too short", _tensor_recipe("Float", 17, (1,), (1,)), "claims 68 bytes"),
    ("storage absurd", _tensor_recipe("Float", 2**62, (1,), (1,)), "claims"),
    ("storage negative", _tensor_recipe("Float", -1, (1,), (1,)), "has the size -1"),
    ("storage of text", _tensor_recipe("Float", "16", (1,), (1,)), "has the size '16'"),
    ("no storage", Calls("torch._utils._rebuild_tensor_v2", 1, 0, (1,), (1,)), "no typed storage"),
    ("complex32", _tensor_recipe("ComplexHalf", 16, (1,), (1,)), "no tensors of the dtype"),
    (
        "a parameter of text",
        Calls("torch._utils._rebuild_parameter", "x", True, None),
        "has no tensor",
    ),
    (
        "a hidden method",
        Calls(
            "torch._tensor._rebuild_from_type_v2",
            Global("torch._utils", "_rebuild_tensor_v2"),
            Global("torch", "Tensor"),
            _tensor_recipe("Float", 16, (1,), (1,)).args,
            {"backward": 1},
        ),
        "must not have the attribute 'backward'",
    ),
]


@pytest.mark.parametrize(
    ("recipe", "message"), [b[1:] for b in BAD_TENSORS], ids=[b[0] for b in BAD_TENSORS]
)
def test_tensors_outside_their_storage(recipe: Calls, message: str) -> None:
    with pytest.raises(RuntimeError, match=message) as caught:
        load(hostile([recipe]))
    assert "<BytesIO>" in str(caught.value)


def test_the_first_bad_file_is_bad_for_torch_too(torch: Any) -> None:
    with pytest.raises(RuntimeError, match="not resizable"):
        torch.load(zipped({**records(hostile([BAD_TENSORS[0][1]])), "version": b"3\n"}))


def _name(builtin: str) -> bytes:
    return b"\x80\x02c__builtin__\n" + builtin.encode() + b"\n"


BAD_PICKLES: list[tuple[str, bytes]] = [
    ("an unknown dtype", b"\x80\x02ctorch\nfloat99\n."),
    ("an unknown storage", b"\x80\x02ctorch\nQInt8Storage\n."),
    ("nothing", b"\x80\x02."),
    ("a missing memo", b"\x80\x02h\x05."),
    ("an unknown operation", b"\x80\x02\xff."),
    ("a call of a number", b"\x80\x02K\x01)R."),
    ("a call of a dtype", b"\x80\x02ctorch\nfloat32\n)R."),
    ("a class in a call", b"\x80\x02ctorch\nTensor\n)R."),
    ("an object of Tensor", b"\x80\x02ctorch\nTensor\n)\x81."),
    ("a change of a dtype", b"\x80\x02ctorch\nfloat32\n}X\x04\x00\x00\x00nameK\x01sb."),
    ("a change of Tensor", b"\x80\x02ctorch\nTensor\n}X\x03\x00\x00\x00addK\x01sb."),
    ("a dict with half a pair", b"\x80\x02}(K\x01u."),
    ("a list that is a dict", b"\x80\x02}K\x01a."),
    ("no mark", b"\x80\x02K\x01t."),
    ("a key that cannot be one", b"\x80\x02}]K\x01s."),
    ("bad text", b"\x80\x02X\x01\x00\x00\x00\xff."),
    ("a future protocol", b"\x80\x63N."),
    (
        "an endless set",
        b"\x80\x02c__builtin__\nset\nc__builtin__\nrange\nJ\xff\xff\xff\x7f\x85R\x85R.",
    ),
    ("room for a bytearray", _name("bytearray") + b"J\xff\xff\xff\x7f\x85R."),
    (
        "a dict that hides get",
        b"\x80\x02ccollections\nOrderedDict\n)R}X\x03\x00\x00\x00getK\x01sb.",
    ),
    ("an array of objects", b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8\x89\x88\x87R."),
    ("an unnamed storage", b"\x80\x02K\x01Q."),
]


@pytest.mark.parametrize("data", [b[1] for b in BAD_PICKLES], ids=[b[0] for b in BAD_PICKLES])
def test_malformed_pickles(data: bytes) -> None:
    with pytest.raises((pickle.UnpicklingError, RuntimeError), match="<BytesIO>"):
        load(zipped({"data.pkl": data}))
    assert dtypes.float32.name == "float32"
    assert not hasattr(Tensor, "__reached__")


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x02X\xff\xff\xff\xff", b"\x80\x02]"])
def test_pickles_that_end_early(data: bytes) -> None:
    with pytest.raises(EOFError, match="<BytesIO>"):
        load(zipped({"data.pkl": data}))


def test_keys_that_would_take_forever_to_hash() -> None:
    nested = b"\x80\x02)" + b"q\x00h\x00\x86" * 60  # a pair of the pair before, sixty times
    with pytest.raises(pickle.UnpicklingError, match="nested too deeply"):
        load(zipped({"data.pkl": b"\x80\x02}" + nested[2:] + b"K\x01s."}))


def test_bools_are_zero_or_one() -> None:
    with pytest.raises(RuntimeError, match="other than 0 and 1"):
        load(hostile(_tensor_recipe("Bool", 4, (4,), (1,)), b"\x00\x01\x02\x01"))


def attempt(data: bytes) -> Exception | None:
    try:
        load(io.BytesIO(data))
    except Exception as error:
        return error
    return None


def test_every_damaged_byte_is_an_error_or_harmless() -> None:
    values = {"a": tensor([1.0, 2.0]), "b": [1, "x"]}
    whole = saved(values).getvalue()
    accepted, refused = (RuntimeError, pickle.UnpicklingError, EOFError), 0
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0x41
        error = attempt(bytes(damaged))
        assert error is None or (isinstance(error, accepted) and "<BytesIO>" in str(error)), at
        refused += error is not None
    assert refused > 20


def test_every_truncation_is_an_error() -> None:
    whole = saved({"a": tensor(range(30))}).getvalue()
    for end in range(0, len(whole), 13):
        with pytest.raises((RuntimeError, pickle.UnpicklingError, EOFError), match="<BytesIO>"):
            load(io.BytesIO(whole[:end]))


def test_every_truncation_of_the_old_format_is_an_error(torch: Any) -> None:
    file = torch_saved(torch, {"a": torch.arange(9)}, _use_new_zipfile_serialization=False)
    whole = file.getvalue()
    assert load(file)["a"].tolist() == list(range(9))
    for end in range(0, len(whole), 5):
        with pytest.raises((RuntimeError, pickle.UnpicklingError, EOFError), match="<BytesIO>"):
            load(io.BytesIO(whole[:end]))


def test_an_old_file_that_promises_too_much() -> None:
    head = [pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    body = pickled(_tensor_recipe("Float", 2**40, (1,), (1,)))
    with pytest.raises(RuntimeError, match="storages of 4398046511104 bytes in a file of"):
        load(io.BytesIO(b"".join(head) + body + pickle.dumps(["0"], 2)))


def test_bad_archives() -> None:
    good = {"data.pkl": pickled(_tensor_recipe("Float", 16, (16,), (1,))), "data/0": bytes(64)}
    with pytest.raises(RuntimeError, match="is compressed"):
        load(zipped(good, zipfile.ZIP_DEFLATED))
    with pytest.raises(RuntimeError, match="no record 'data/0'"):
        load(zipped({"data.pkl": good["data.pkl"]}))
    with pytest.raises(RuntimeError, match=r"found 0: not a file of torch.save"):
        load(zipped({"other": b""}))
    with pytest.raises(RuntimeError, match="unknown byte order 'middle'"):
        load(zipped({**good, "byteorder": b"middle"}))
    with pytest.raises(RuntimeError, match="TorchScript"):
        load(zipped({**good, "constants.pkl": b""}))
    flipped = bytearray(zipped(good).getvalue())
    at = flipped.index(bytes(64)) + 10
    flipped[at] = 1
    with pytest.raises(RuntimeError, match="record 'data/0' fails its checksum"):
        load(io.BytesIO(bytes(flipped)))


def test_overlapping_records() -> None:
    good = {"data.pkl": pickled(_tensor_recipe("Float", 16, (16,), (1,))), "data/0": bytes(64)}
    content = bytearray(zipped(good).getvalue())
    first = content.index(b"PK\1\2")
    second = content.index(b"PK\1\2", first + 4)
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    with pytest.raises(RuntimeError, match=r"overlaps|failed reading zip archive"):
        load(io.BytesIO(bytes(content)))


def test_absurd_sizes_in_the_directory() -> None:
    good = {"data.pkl": pickled(_tensor_recipe("Float", 16, (16,), (1,))), "data/0": bytes(64)}
    content = bytearray(zipped(good).getvalue())
    second = content.index(b"PK\1\2", content.index(b"PK\1\2") + 4)
    content[second + 20 : second + 28] = struct.pack("<2I", 2**31, 2**31)
    with pytest.raises(RuntimeError, match="claims 2147483648 bytes"):
        load(io.BytesIO(bytes(content)))


@pytest.mark.parametrize("data", [b"hello world", b"PK\3\4hello", b"\x80\x02K\x01."])
def test_files_of_something_else(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(data)
    with pytest.raises((RuntimeError, pickle.UnpicklingError), match=r"other\.pt"):
        load(path)


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.pt"
    path.touch()
    with pytest.raises(EOFError, match=r"empty\.pt"):
        load(path)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.pt")
    with pytest.raises(
        AttributeError, match=r"You can only torch.load from a file that is seekable"
    ):
        load(3)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"Parent directory .* does not exist"):
        save(1, tmp_path / "missing" / "a.pt")
    with pytest.raises(AttributeError, match="write"):
        save(1, 3)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="pickle_module"):
        load(saved(1), pickle_module=pickle, weights_only=True)
    with pytest.raises(RuntimeError, match="can be loaded, not written"):
        save(1, io.BytesIO(), _use_new_zipfile_serialization=False)


# ---------------------------------------------------------------- the user's own classes
class Point:
    def __init__(self, x: int) -> None:
        self.x = x


class Marked(Tensor):
    pass


def test_the_users_classes_are_let_in_by_name() -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"Point is not an allowed global"):
        again(Point(3))
    assert serialization.get_unsafe_globals_in_checkpoint(saved(Point(3))) == [
        f"{Point.__module__}.Point"
    ]
    with serialization.safe_globals([Point]):
        assert again({"p": Point(3)})["p"].x == 3
        assert serialization.get_safe_globals() == [Point]
    assert serialization.get_safe_globals() == []
    serialization.add_safe_globals([(Point, f"{Point.__module__}.Point")])
    assert again(Point(4)).x == 4
    serialization.clear_safe_globals()
    with pytest.raises(pickle.UnpicklingError):
        again(Point(3))
    assert load(saved(Point(5)), weights_only=False).x == 5


def test_an_allowed_class_cannot_be_changed_by_the_file() -> None:
    module = Point.__module__.encode()
    change = b"\x80\x02c" + module + b"\nPoint\n}X\x01\x00\x00\x00xK\x01sb."
    with serialization.safe_globals([Point]), pytest.raises(pickle.UnpicklingError):
        load(zipped({"data.pkl": change}))
    assert not hasattr(Point, "x")


def test_subclasses_of_tensor() -> None:
    marked = tensor([1.0])
    marked.__class__ = Marked
    marked.note = 1
    with pytest.raises(pickle.UnpicklingError, match="Marked"):
        again(marked)
    with serialization.safe_globals([Marked]):
        back = again(marked)
    assert type(back) is Marked
    assert (back.note, back.tolist()) == (1, [1])


def test_all_of_it_without_restrictions(torch: Any) -> None:
    mine = {
        "t": tensor([1.0]),
        "p": Parameter(tensor([2.0])),
        "facts": [Size([1]), dtypes.int8, device("cpu"), Tensor, Parameter, strided],
        "plain": plain_values(),
    }
    back = again(mine, weights_only=False)
    assert back["t"].tolist() == [1]
    assert type(back["p"]) is Parameter
    assert back["facts"] == mine["facts"]
    assert back["plain"] == mine["plain"]
    theirs = torch.load(saved(mine["facts"]), weights_only=False)
    assert theirs[3:5] == [torch.Tensor, torch.nn.Parameter]


# ---------------------------------------------------------------- a save is whole or it is not
def test_a_failing_save_leaves_the_old_file(tmp_path: Path) -> None:
    class Unpicklable:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError

    path = tmp_path / "a.pt"
    save({"old": 1}, path)
    with pytest.raises(ZeroDivisionError):
        save({"new": Unpicklable()}, path)
    assert load(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["a.pt"]


def test_links_and_modes_are_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real.pt", tmp_path / "link.pt"
    save(1, real)
    real.chmod(0o640)
    link.symlink_to(real)
    save(2, link)
    assert link.is_symlink()
    assert load(real) == 2
    assert real.stat().st_mode & 0o777 == 0o640


def test_devices_are_written_to_and_not_replaced() -> None:
    save({"a": tensor([1.0])}, "/dev/null")
    assert not Path("/dev/null").is_file()


def run_python(code: str, *args: str, expected: int | None = 0) -> str:
    root = str(Path(__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", code, *args], env=env, capture_output=True, text=True, timeout=120
    )
    assert expected is None or done.returncode == expected, done.stderr
    return done.stdout


COMMON = """
import os, resource, signal, sys
import numpy as np
from flambeau.serialization import save, load
from flambeau.tensor import from_array
path = sys.argv[1]
save({"old": from_array(np.arange(10.0))}, path)
new = {"new": from_array(np.zeros(1_000_000))}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX's")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    code = COMMON + (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    save(new, path)\nexcept OSError as error:\n    print(error.errno)\n"
    )
    import errno

    assert run_python(code, str(path)).split() == [str(errno.EFBIG)]
    assert load(path)["old"].tolist() == list(range(10))
    assert os.listdir(tmp_path) == ["a.pt"]


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_a_kill_leaves_the_old_file_or_the_new(tmp_path: Path, call: str) -> None:
    path = tmp_path / "a.pt"
    code = COMMON + (f"def die(*_):\n    os._exit(9)\n{call} = die\nsave(new, path)\n")
    run_python(code, str(path), expected=9)
    assert load(path)["old"].tolist() == list(range(10))


def test_data_are_on_disk_before_they_take_the_old_file_s_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    save(1, tmp_path / "a.pt")
    assert calls[:2] == ["fsync", "replace"]


# ---------------------------------------------------------------- modules
def test_modules_by_the_name_of_their_class(torch: Any) -> None:
    nn = pytest.importorskip("flambeau.nn")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    file = torch_saved(torch, theirs)
    with pytest.raises(pickle.UnpicklingError, match="not an allowed global"):
        load(file)
    file.seek(0)
    mine = load(file, weights_only=False)
    assert [type(m) for m in mine] == [nn.Linear, nn.ReLU, nn.Linear]
    for name, value in mine.state_dict().items():
        same(value, theirs.state_dict()[name])
    back = torch.load(saved(mine), weights_only=False)
    x = torch.ones(1, 3)
    assert torch.equal(back(x), theirs(x))
    file.seek(0)
    with serialization.safe_globals([nn.Sequential, nn.Linear, nn.ReLU]):
        assert isinstance(load(file)[1], nn.ReLU)


def test_files_without_a_byte_order_are_read_in_the_default_one():
    x = from_array(np.array([1, 256, 7], np.int16))
    file = io.BytesIO()
    save(x, file, _disable_byteorder_record=True)
    orders = serialization.LoadEndianness
    assert serialization.get_default_load_endianness() is None
    try:
        for order in orders:
            serialization.set_default_load_endianness(order)
            assert serialization.get_default_load_endianness() is order
            file.seek(0)
            swapped = order.name.lower() not in ("native", sys.byteorder)
            assert load(file).tolist() == ([256, 1, 1792] if swapped else [1, 256, 7])
        with pytest.raises(TypeError):
            serialization.set_default_load_endianness("little")
    finally:
        serialization.set_default_load_endianness(None)
