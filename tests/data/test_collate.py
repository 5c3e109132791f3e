"""Batches of every kind of sample, next to PyTorch's."""

from __future__ import annotations

from collections import OrderedDict, UserDict, namedtuple

import numpy as np
import pytest

from flambeau.tensor import Tensor
from flambeau.tensor import functions as fl
from flambeau.utils.data import default_collate, default_convert
from flambeau.utils.data.collate import collate, default_collate_fn_map

torch = pytest.importorskip("torch")

Point = namedtuple("Point", "x y")

BATCHES = {
    "ints": [1, 2, 3],
    "floats": [1.5, 2.5],
    "bools": [True, False],
    "texts": ["a", "bc"],
    "bytes": [b"a", b"bc"],
    "arrays": [np.arange(3.0, dtype="float32"), np.ones(3, "float32")],
    "0-d arrays": [np.array(2), np.array(3)],
    "numpy numbers": [np.float32(1.5), np.float32(2.5)],
    "numpy ints": [np.int16(1), np.int16(2)],
    "numpy bools": [np.bool_(True), np.bool_(False)],
    "tuples": [(1, 2.5, "a"), (3, 4.5, "b")],
    "lists": [[1, 2], [3, 4]],
    "named tuples": [Point(1, 2.0), Point(3, 4.0)],
    "dicts": [{"a": 1, "b": [1.0, 2.0]}, {"a": 2, "b": [3.0, 4.0]}],
    "ordered dicts": [OrderedDict(b=1, a=2), OrderedDict(b=3, a=4)],
    "user dicts": [UserDict(b=1, a=2), UserDict(b=3, a=4)],
    "nested": [({"a": (1, [np.zeros(2)])},), ({"a": (2, [np.ones(2)])},)],
}


def check(mine, theirs):
    if isinstance(theirs, torch.Tensor):
        assert isinstance(mine, Tensor)
        assert str(mine.dtype) == str(theirs.dtype)
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
        return
    assert type(mine) is type(theirs)
    if isinstance(theirs, (dict, UserDict)):
        assert list(mine) == list(theirs)
        for key in theirs:
            check(mine[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            check(a, b)
    else:
        assert mine == theirs


@pytest.mark.parametrize("name", BATCHES)
def test_default_collate(name):
    check(default_collate(BATCHES[name]), torch.utils.data.default_collate(BATCHES[name]))


@pytest.mark.parametrize("name", BATCHES)
def test_default_convert(name):
    check(default_convert(BATCHES[name]), torch.utils.data.default_convert(BATCHES[name]))


def test_tensors_are_stacked():
    rows = [fl.arange(3), fl.arange(3) + 3]
    np.testing.assert_array_equal(default_collate(rows).numpy(), [[0, 1, 2], [3, 4, 5]])
    image, label = default_collate([(rows[0], 1), (rows[1], 0)])
    assert tuple(image.shape) == (2, 3)
    assert label.tolist() == [1, 0]
    assert default_convert(rows[0]) is rows[0]


def test_the_batch_is_a_copy():
    rows = [np.zeros(2), np.zeros(2)]
    batch = default_collate(rows)
    batch += 1
    assert not rows[0].any()


def test_refusals():
    with pytest.raises(RuntimeError, match="each element in list of batch should be of equal size"):
        default_collate([[1, 2], [3]])
    with pytest.raises(TypeError, match="batch must contain tensors, numpy arrays"):
        default_collate([object(), object()])
    with pytest.raises(TypeError, match="batch must contain tensors, numpy arrays"):
        default_collate([np.array(["a"]), np.array(["b"])])
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        default_collate([fl.zeros(2), fl.zeros(3)])
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        default_collate([np.zeros(2), np.zeros(3)])


def test_a_function_for_another_kind():
    class Note:
        def __init__(self, text):
            self.text = text

    def join(batch, *, collate_fn_map=None):
        return " ".join(note.text for note in batch)

    functions = {**default_collate_fn_map, Note: join}
    batch = collate([(Note("a"), 1), (Note("b"), 2)], collate_fn_map=functions)
    assert batch[0] == "a b"
    assert batch[1].tolist() == [1, 2]
