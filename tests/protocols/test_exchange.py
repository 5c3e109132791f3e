"""Memory goes to other libraries and comes from them without a copy."""

from __future__ import annotations

import array
import gc

import numpy as np
import pytest

import flambeau as fl
from flambeau.tensor import dlpack

torch = pytest.importorskip("torch")

DTYPES = (
    "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 "
    "complex64 complex128 float8_e4m3fn float8_e5m2"
).split()


# ---------------------------------------------------------------- DLPack
@pytest.mark.parametrize("name", DTYPES)
def test_torch_and_flambeau_share_memory(name):
    theirs = torch.arange(12).reshape(3, 4).to(getattr(torch, name))
    ours = fl.from_dlpack(theirs)
    assert ours.data_ptr() == theirs.data_ptr()
    assert (str(ours.dtype), ours.stride()) == (str(theirs.dtype), theirs.stride())
    assert ours.tolist() == theirs.tolist()
    back = torch.from_dlpack(ours.t()[1:])
    assert back.data_ptr() == theirs.t()[1:].data_ptr()
    assert back.stride() == (1, 4)
    assert back.tolist() == theirs.t()[1:].tolist()
    if "bfloat16" not in name and "float8" not in name:
        seen = np.from_dlpack(ours)
        assert seen.ctypes.data == theirs.data_ptr()
        assert seen.strides == theirs.numpy().strides


def test_changes_are_seen_on_the_other_side():
    held = np.zeros(3, np.float32)
    ours = fl.from_dlpack(held)
    theirs = torch.from_dlpack(ours)
    ours += 1
    theirs *= 3
    assert held.tolist() == [3.0, 3.0, 3.0]


def test_memory_lives_as_long_as_it_is_held():
    before = len(dlpack._exported)
    tensor = fl.ones(3)
    unused = tensor.__dlpack__()
    assert len(dlpack._exported) == before + 1
    del unused
    assert len(dlpack._exported) == before
    theirs = torch.from_dlpack(tensor)
    del tensor
    gc.collect()
    assert theirs.tolist() == [1.0, 1.0, 1.0]
    assert len(dlpack._exported) == before + 1
    del theirs
    gc.collect()
    assert len(dlpack._exported) == before


def test_a_capsule_is_used_once():
    capsule = fl.ones(2).__dlpack__()
    assert fl.from_dlpack(capsule).tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="consumed only once"):
        fl.from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="invalid capsule"):
        fl.from_dlpack(3)


@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.ones(2, requires_grad=True).__dlpack__(),
        lambda lib: lib.ones(2, device="meta").__dlpack__(),
        lambda lib: lib.ones(2).__dlpack__(stream=1),
        lambda lib: lib.ones(2, device="meta").__dlpack_device__(),
    ],
)
def test_what_cannot_be_exported(make):
    errors = []
    for lib in (fl, torch):
        with pytest.raises(Exception) as caught:
            make(lib)
        errors.append((caught.type, str(caught.value)))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1, 1), (2, 0)])
def test_odd_shapes(shape):
    assert torch.from_dlpack(fl.ones(shape)).tolist() == fl.ones(shape).tolist()
    assert fl.from_dlpack(torch.ones(shape)).shape == shape


def test_options_of_dlpack():
    x = fl.ones(2)
    assert x.__dlpack_device__() == (1, 0)
    assert fl.from_dlpack(x, copy=True).data_ptr() != x.data_ptr()
    assert fl.from_dlpack(x, copy=False).data_ptr() == x.data_ptr()
    assert fl.from_dlpack(x.__dlpack__(copy=True)).data_ptr() != x.data_ptr()
    assert fl.from_dlpack(x.__dlpack__(max_version=(1, 0))).data_ptr() == x.data_ptr()
    assert fl.from_dlpack(x, device="meta").is_meta
    assert fl.utils.dlpack.from_dlpack(fl.utils.dlpack.to_dlpack(x)).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="negative"):
        fl.from_dlpack(np.arange(4)[::-1])
    with pytest.raises(BufferError):
        x.__dlpack__(dl_device=(2, 0))


def test_read_only_memory_stays_read_only():
    held = np.arange(3.0)
    held.flags.writeable = False
    shared = fl.from_dlpack(held)
    with pytest.raises(RuntimeError, match="read-only"):
        shared.add_(1)
    assert fl.from_dlpack(held, copy=True).add_(1).tolist() == [1.0, 2.0, 3.0]


# ---------------------------------------------------------------- arrays, buffers, sequences
HELD = np.arange(4.0)
ASKED = {
    "array": lambda L: L.asarray(HELD),
    "copied": lambda L: L.asarray(HELD, copy=True),
    "list": lambda L: L.asarray([1, 2]),
    "list_shared": lambda L: L.asarray([1, 2], copy=False),
    "cast_shared": lambda L: L.asarray(HELD, dtype=L.float32, copy=False),
    "moved_shared": lambda L: L.asarray(HELD, device="meta", copy=False),
    "tensor": lambda L: L.asarray(L.ones(2), requires_grad=True),
    "detached": lambda L: L.asarray(L.ones(2, requires_grad=True), requires_grad=False),
    "history": lambda L: L.asarray(L.ones(2, requires_grad=True), copy=True),
    "number": lambda L: L.asarray(1.5),
    "buffer": lambda L: L.asarray(array.array("f", [1, 2])),
    "bytes": lambda L: L.asarray(bytearray(b"abcd"), dtype=L.int32),
    "scalar": lambda L: L.asarray(np.float32(2)),
    "meta": lambda L: L.asarray(HELD, device="meta"),
    "cast": lambda L: L.asarray(HELD, dtype=L.int64),
    "mixed": lambda L: L.asarray([True, 2.0]),
    "text": lambda L: L.asarray("abc"),
    "none": lambda L: L.asarray(None),
    "backwards": lambda L: L.asarray(HELD[::-1]),
    "memoryview": lambda L: L.asarray(memoryview(bytearray(b"ab")), dtype=L.uint8),
    "no_gradient": lambda L: L.asarray([1, 2], requires_grad=True),
    "frombuffer": lambda L: L.frombuffer(bytearray(b"abcdefgh"), dtype=L.int32),
    "frombuffer_part": lambda L: L.frombuffer(
        bytearray(b"abcdefgh"), dtype=L.int16, count=2, offset=3
    ),
    "frombuffer_empty": lambda L: L.frombuffer(b"", dtype=L.uint8),
    "frombuffer_odd": lambda L: L.frombuffer(bytearray(b"abcdefg"), dtype=L.int32),
    "frombuffer_long": lambda L: L.frombuffer(bytearray(b"abcdefgh"), dtype=L.int32, count=3),
    "frombuffer_past": lambda L: L.frombuffer(bytearray(b"abcdefgh"), dtype=L.int32, offset=8),
    "frombuffer_before": lambda L: L.frombuffer(bytearray(b"abcd"), dtype=L.int8, offset=-1),
    "frombuffer_none": lambda L: L.frombuffer(bytearray(b"abcd"), dtype=L.int8, count=0),
    "frombuffer_number": lambda L: L.frombuffer(3, dtype=L.int8),
    "from_numpy_list": lambda L: L.from_numpy([1]),
    "from_numpy_text": lambda L: L.from_numpy(np.array(["a"])),
    "from_numpy_backwards": lambda L: L.from_numpy(HELD[::-1]),
    "from_numpy_unaligned": lambda L: L.from_numpy(
        np.lib.stride_tricks.as_strided(np.zeros(8, np.uint8).view(np.float32), (2,), (3,))
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ASKED)
def test_as_in_torch(name):
    found = []
    for lib in (fl, torch):
        try:
            t = ASKED[name](lib)
            shared = t.data_ptr() == HELD.ctypes.data
            values = None if t.is_meta else t.tolist()
            found.append((str(t.dtype), tuple(t.shape), t.requires_grad, t.is_leaf, shared, values))
        except (TypeError, ValueError, RuntimeError) as error:
            found.append(type(error))
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore")
def test_numpys_functions_take_tensors():
    for lib in (fl, torch):
        x = lib.arange(3.0)
        assert isinstance(np.sin(x), lib.Tensor)
        assert np.greater(x, 1).dtype is lib.uint8
        assert np.asarray(x, dtype=np.int32).dtype == np.int32
        assert np.asarray(x).ctypes.data == x.data_ptr()
        with pytest.raises(RuntimeError, match="requires grad"):
            np.asarray(lib.ones(1, requires_grad=True))


def test_files_are_mapped(tmp_path):
    path = str(tmp_path / "numbers")
    np.arange(6, dtype=np.float32).tofile(path)
    for lib in (fl, torch):
        own = lib.from_file(path, size=4)
        own += 10
        assert own.tolist() == [10.0, 11.0, 12.0, 13.0]
        assert np.fromfile(path, np.float32)[0] == 0.0
    shared = fl.from_file(path, shared=True, size=8)
    shared[0] = 5
    del shared
    gc.collect()
    assert torch.from_file(path, shared=True, size=8)[0].item() == 5.0
    with pytest.raises(RuntimeError, match="smaller"):
        fl.from_file(path, size=100)
    with pytest.raises(RuntimeError, match="unable to open"):
        fl.from_file(str(tmp_path / "nothing"), size=1)
