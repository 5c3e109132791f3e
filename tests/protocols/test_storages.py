"""Storages are shared by views, resized under them, and read as PyTorch reads them."""

from __future__ import annotations

import copy
import gc
import os
import pickle

import pytest

import flambeau as fl

torch = pytest.importorskip("torch")


def facts(lib, s):
    return s.nbytes(), s.size(), len(s), s.element_size(), str(s.device), s.type(), s.is_shared()


READ = {
    "untyped": lambda L: facts(L, L.arange(6.0)[2:].untyped_storage()),
    "typed": lambda L: facts(L, L.arange(6.0)[2:].storage()),
    "bytes": lambda L: L.arange(3.0).untyped_storage().tolist(),
    "elements": lambda L: L.arange(6).storage().tolist(),
    "bfloat16": lambda L: L.ones(2, dtype=L.bfloat16).storage().tolist(),
    "text": lambda L: str(L.UntypedStorage([1, 2, 3])),
    "typed_text": lambda L: str(L.TypedStorage([1, 2], dtype=L.int32)),
    "slice": lambda L: L.arange(3.0).untyped_storage()[4:8].tolist(),
    "index": lambda L: L.arange(3.0).untyped_storage()[7],
    "past": lambda L: L.arange(3.0).untyped_storage()[100],
    "typed_slice": lambda L: L.arange(3.0).storage()[1:],
    "old_class": lambda L: L.FloatStorage([1, 2, 3]).tolist(),
    "instances": lambda L: [
        isinstance(L.ones(1).storage(), L.FloatStorage),
        isinstance(L.ones(1).storage(), L.LongStorage),
        L.is_storage(L.ones(1).storage()),
        L.is_storage(L.ones(1)),
    ],
    "converted": lambda L: L.FloatStorage([1.5, 2.5]).int().tolist(),
    "double": lambda L: L.FloatStorage([1, 2]).double().dtype is L.float64,
    "filled": lambda L: L.FloatStorage([1, 2]).fill_(3).tolist(),
    "copied": lambda L: L.FloatStorage([1, 2]).copy_(L.FloatStorage([5, 6])).tolist(),
    "buffer": lambda L: L.FloatStorage.from_buffer(bytearray(b"abcdefgh"), "big").tolist(),
    "buffer_bytes": lambda L: L.UntypedStorage.from_buffer(
        bytearray(b"ab"), byte_order="native", dtype=L.uint8
    ).tolist(),
    "identity": lambda L: L.ones(2).untyped_storage() == L.ones(2).untyped_storage(),
    "kind": lambda L: L.ones(1).storage().pickle_storage_type(),
    "pickled": lambda L: pickle.loads(pickle.dumps(L.LongStorage([1, 2]))).tolist(),
    "deep": lambda L: copy.deepcopy(L.LongStorage([1, 2])).tolist(),
}
SET = {
    "storage": lambda L, x: L.empty(0).set_(x.untyped_storage()),
    "typed": lambda L, x: L.empty(0).set_(x.storage(), 0, (2, 2), (3, 1)),
    "bytes": lambda L, x: L.empty(0, dtype=L.uint8).set_(x.untyped_storage()),
    "part": lambda L, x: L.empty(0).set_(x.untyped_storage(), 1, (2,), (2,)),
    "row_major": lambda L, x: L.empty(0).set_(x.untyped_storage(), 0, (2, 2)),
    "tensor": lambda L, x: L.empty(0).set_(x),
    "tensor_part": lambda L, x: L.empty(0).set_(x, 0, (3,), (1,)),
    "nothing": lambda L, x: L.ones(3).set_(),
    "keyword": lambda L, x: L.empty(0).set_(source=x),
    "named": lambda L, x: L.empty(0).set_(
        source=x.untyped_storage(), storage_offset=1, size=(2,), stride=(1,)
    ),
    "other_type": lambda L, x: L.empty(0, dtype=L.int32).set_(x),
    "other_storage": lambda L, x: L.empty(0, dtype=L.int32).set_(x.storage()),
    "number": lambda L, x: L.empty(0).set_(3),
    "offset_only": lambda L, x: L.empty(0).set_(x, 1),
}


def outcome(call):
    try:
        return call()
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        return type(error)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READ)
def test_storages_are_read_as_in_torch(name):
    assert outcome(lambda: READ[name](fl)) == outcome(lambda: READ[name](torch))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SET)
def test_tensors_are_set_as_in_torch(name):
    found = []
    for lib in (fl, torch):
        x = lib.arange(6.0).reshape(2, 3)
        t = outcome(lambda lib=lib, x=x: SET[name](lib, x))
        if not isinstance(t, type):
            shared = bool(t.numel()) and t.untyped_storage().data_ptr() == x.data_ptr()
            t = (t.tolist(), t.stride(), t.storage_offset(), shared)
        found.append(t)
    assert found[0] == found[1]


def test_setting_grows_a_storage_that_is_too_small():
    for lib in (fl, torch):
        x = lib.ones(2)
        y = lib.empty(0).set_(x.untyped_storage(), 0, (4,))
        assert x.untyped_storage().nbytes() == 16
        y[0] = 7
        assert x.tolist() == [7.0, 1.0]


def test_views_have_one_storage():
    x = fl.arange(6.0)
    view = x[2:].reshape(2, 2)
    assert x.untyped_storage() is view.untyped_storage()
    assert view.storage_offset() == 2
    view.untyped_storage().fill_(0)
    assert x.tolist() == [0.0] * 6
    x.untyped_storage()[3] = 63
    assert x[0].item() == 0.5
    assert x.untyped_storage() != fl.arange(6.0).untyped_storage()


def test_a_storage_grows_under_its_tensors():
    for lib in (fl, torch):
        x = lib.ones(4)
        view = x[1:3]
        x.untyped_storage().resize_(32)
        view.fill_(7)
        assert x.tolist() == [1.0, 7.0, 7.0, 1.0]
        assert view.untyped_storage().nbytes() == 32


def test_a_storage_is_emptied_and_filled_again():
    x = fl.arange(4.0)
    part = x[:2]
    held = x.untyped_storage()
    held.resize_(0)
    assert x.shape == (4,)
    assert x.data_ptr() == 0
    assert held.nbytes() == 0
    for use in (lambda: x + 1, lambda: x.tolist(), lambda: fl.softmax(x, 0), lambda: x.add_(1)):
        with pytest.raises(RuntimeError, match="not allocated"):
            use()
    assert x.untyped_storage() is held
    held.resize_(8)
    part.fill_(2)
    assert part.tolist() == [2.0, 2.0]
    held.resize_(16)
    assert x.fill_(3).tolist() == [3.0] * 4
    assert part.tolist() == [3.0, 3.0]


RESIZED = {
    "smaller": lambda L: L.arange(6.0).resize_(2, 2),
    "same": lambda L: L.arange(6.0).reshape(2, 3).t().resize_(3, 2),
    "other": lambda L: L.arange(6.0).reshape(2, 3).t().resize_(2, 3),
    "sequence": lambda L: L.ones(3).resize_((2,)),
    "last": lambda L: (
        L.ones(2, 3, 4, 5).resize_(5, 4, 3, 2, memory_format=L.channels_last).fill_(0)
    ),
    "graded": lambda L: L.ones(2, requires_grad=True).resize_(3),
    "like": lambda L: L.arange(4.0).resize_as_(L.ones(2, 2)),
}


@pytest.mark.parametrize("name", RESIZED)
def test_tensors_are_resized_as_in_torch(name):
    found = []
    for lib in (fl, torch):
        t = outcome(lambda lib=lib: RESIZED[name](lib))
        found.append(t if isinstance(t, type) else (t.tolist(), t.stride()))
    assert found[0] == found[1]


def test_a_resized_view_goes_on_sharing():
    for lib in (fl, torch):
        x = lib.ones(4)
        view = x[1:]
        view.resize_(8)
        view[:3] = 5
        assert x.tolist() == [1.0, 5.0, 5.0, 5.0]
        assert x.untyped_storage().nbytes() == 36


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
def test_shared_memory_is_seen_by_forked_processes():
    x = fl.zeros(3)
    view = x[1:]
    assert x.share_memory_() is x
    assert x.is_shared()
    assert view.is_shared()
    assert not fl.zeros(3).is_shared()
    child = os.fork()
    if not child:
        view.numpy()[...] = 4
        os._exit(0)
    os.waitpid(child, 0)
    assert x.tolist() == [0.0, 4.0, 4.0]


def test_tensors_are_swapped():
    for lib in (fl, torch):
        a, b = lib.nn.Parameter(lib.ones(2)), lib.nn.Parameter(lib.zeros(3))
        a.note = 1
        holder = [a]
        lib.utils.swap_tensors(a, b)
        assert holder[0].shape == (3,)
        assert b.note == 1
        assert not hasattr(a, "note")
        (b * 3).sum().backward()
        assert b.grad.tolist() == [3.0, 3.0]
        assert a.grad is None


def test_data_is_assigned():
    for lib in (fl, torch):
        p = lib.ones(2, requires_grad=True)
        p.data = lib.zeros(3)
        assert p.tolist() == [0.0] * 3
        assert p.requires_grad
        assert p.is_leaf
        for wrong, error in ((lib.ones(2, dtype=lib.int64), RuntimeError), (3, TypeError)):
            with pytest.raises(error):
                p.data = wrong
        with pytest.raises(RuntimeError, match="incompatible tensor type"):
            lib.ones(2).data = lib.ones(3, device="meta")


def test_a_storage_lives_while_a_tensor_does():
    view = fl.arange(6.0)[4:]
    gc.collect()
    assert view.untyped_storage().nbytes() == 24
    assert view.tolist() == [4.0, 5.0]
