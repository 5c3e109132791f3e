"""``x[...]`` and ``x[...] = y``: every kind of index, alone and combined, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau
from tests.oracle import Scripts, agree, differences, observe

scripts = Scripts()

INDICES = {
    "int": lambda L: 1,
    "negative": lambda L: -1,
    "slice": lambda L: slice(1, None),
    "steps": lambda L: (slice(None, None, 2), slice(1, 3)),
    "ellipsis": lambda L: (..., 0),
    "ellipsis inside": lambda L: (0, ..., 1),
    "lone ellipsis": lambda L: ...,
    "nothing": lambda L: (),
    "none": lambda L: (None, 0, None, slice(None)),
    "true": lambda L: True,
    "false": lambda L: False,
    "true inside": lambda L: (0, True),
    "list": lambda L: [0, 1, 0],
    "negative list": lambda L: [-1, 0],
    "list in a tuple": lambda L: (slice(None), [2, 0]),
    "two lists": lambda L: ([0, 1], [2, 0]),
    "lists apart": lambda L: ([0, 1], slice(None), [3, 0]),
    "lists that broadcast": lambda L: ([[0], [1]], [2, 0]),
    "tensor": lambda L: L.tensor([1, 0, 1]),
    "matrix of indices": lambda L: L.tensor([[1, 0], [0, 1]]),
    "0-d tensor": lambda L: L.tensor(1),
    "0-d tensor in a tuple": lambda L: (slice(None), L.tensor(2)),
    "int32 tensor": lambda L: L.tensor([1, 0], dtype=L.int32),
    "tensor and int": lambda L: (1, L.tensor([0, 2])),
    "int between tensors": lambda L: (L.tensor([0, 1]), 1, L.tensor([2, 3])),
    "tensors apart": lambda L: (L.tensor([0, 1]), slice(0, 2), L.tensor([2, 3])),
    "tensors last": lambda L: (slice(None), L.tensor([0, 2]), L.tensor([2, 3])),
    "tensor after none": lambda L: (None, L.tensor([1, 0])),
    "none between tensors": lambda L: (L.tensor([1, 0]), None, L.tensor([2, 0])),
    "tensor after ellipsis": lambda L: (..., L.tensor([3, 3])),
    "empty list": lambda L: [],
    "empty tensor": lambda L: L.tensor([], dtype=L.int64),
    "mask": lambda L: L.tensor([True, False]),
    "mask of two dims": lambda L: L.tensor([[True, False, True], [False, True, False]]),
    "whole mask": lambda L: L.arange(24).reshape(2, 3, 4) % 3 == 0,
    "mask inside": lambda L: (slice(None), L.tensor([True, False, True])),
    "mask and tensor": lambda L: (L.tensor([True, True]), L.tensor([0, 2])),
    "mask and int": lambda L: (1, L.tensor([True, False, True])),
    "list of bools": lambda L: [True, False],
    "empty mask": lambda L: L.tensor([False, False]),
    "numpy array": lambda L: np.array([1, 0]),
    "numpy mask": lambda L: np.array([True, False]),
    "numpy int": lambda L: np.int64(1),
    "range": lambda L: range(2),
    "slice of tensors": lambda L: slice(L.tensor(0), L.tensor(1)),
}


@pytest.mark.parametrize("name", INDICES)
def test_reading(name):
    agree(lambda L: L.arange(24.0).reshape(2, 3, 4)[INDICES[name](L)])


@pytest.mark.parametrize("name", INDICES)
def test_writing_a_number(name):
    def script(L):
        t = L.arange(24.0).reshape(2, 3, 4)
        t[INDICES[name](L)] = -1.5
        return t, t._version if name != "false" else 0

    agree(script)


@pytest.mark.parametrize("name", INDICES)
def test_writing_what_was_read(name):
    def script(L):
        t = L.arange(24.0).reshape(2, 3, 4)
        t[INDICES[name](L)] = t[INDICES[name](L)] * 10 + 1
        return t

    agree(script)


@pytest.mark.parametrize("name", [n for n in INDICES if n != "false"])
def test_gradient_of_reading(name):
    def script(L):
        t = L.arange(24.0).reshape(2, 3, 4).requires_grad_()
        part = t[INDICES[name](L)]
        (part * part * L.arange(float(part.numel())).reshape(part.shape)).sum().backward()
        return t.grad

    agree(script)


@pytest.mark.parametrize("name", [n for n in INDICES if n != "false"])
def test_gradient_of_writing(name):
    def script(L):
        t = L.arange(24.0).reshape(2, 3, 4).requires_grad_()
        w = L.tensor(2.0, requires_grad=True)
        u = t * 1
        u[INDICES[name](L)] = w * w
        (u * u).sum().backward()
        return t.grad, w.grad

    agree(script)


@scripts.raises
def beyond_the_end(L):
    L.ones(2, 3)[2]


@scripts.raises
def beyond_the_end_in_a_list(L):
    L.ones(2, 3)[[0, 2]]


@scripts.raises
def beyond_the_end_in_a_tensor(L):
    L.ones(2, 3)[:, L.tensor([3])]


@scripts.raises
def beyond_the_start_in_a_tensor(L):
    L.ones(2, 3)[L.tensor([-3])]


@scripts.raises
def too_many(L):
    L.ones(2, 3)[0, 0, 0]


@scripts.raises
def too_many_with_tensors(L):
    L.ones(2, 3)[L.tensor([0]), L.tensor([0]), L.tensor([0])]


@scripts.raises
def negative_step(L):
    L.ones(3)[::-1]


@scripts.raises
def zero_step(L):
    L.ones(3)[::0]


@scripts.raises
def float_index(L):
    L.ones(3)[1.0]


@scripts.raises
def float_tensor_index(L):
    L.ones(3)[L.tensor([1.0])]


@scripts.raises
def string_index(L):
    L.ones(3)["a"]


@scripts.raises
def mask_of_wrong_shape(L):
    L.ones(2, 3)[L.tensor([True, False, True])]


@scripts.raises
def mask_with_too_many_dims(L):
    L.ones(3)[L.ones(3, 1, dtype=L.bool)]


@scripts.raises
def indices_that_do_not_broadcast(L):
    L.ones(2, 3)[[0, 1], [0, 1, 2]]


@scripts.raises
def value_of_wrong_shape(L):
    L.ones(2, 3)[0] = L.ones(2)


@scripts.raises
def value_with_too_many_dims(L):
    L.ones(2, 3)[0] = L.ones(2, 3)


@scripts.raises
def value_of_wrong_length_for_a_mask(L):
    L.ones(3)[L.tensor([True, True, False])] = L.ones(3)


@scripts
def value_with_leading_ones(L):
    t = L.zeros(2, 3)
    t[0] = L.ones(1, 1, 3)
    return t


@scripts
def value_is_cast(L):
    t, i = L.zeros(3), L.zeros(3, dtype=L.int64)
    t[0] = L.tensor(5)
    i[1] = 2.9
    i[2] = L.tensor(3.9)
    return t, i


@scripts
def repeated_indices_take_one_of_the_values(L):
    t = L.zeros(3)
    t[L.tensor([1, 1])] = L.tensor([4.0, 4.0])
    return t


@scripts
def self_assignment(L):
    t = L.arange(4.0)
    t[1:] = t[:-1].clone()
    t[0] += 10
    t[t > 5] *= 2
    return t


@scripts
def numpy_values(L):
    t = L.zeros(2, 3)
    t[0] = L.from_numpy(np.arange(3, dtype=np.float32))
    t[1, 0] = np.float64(2.5)
    return t


@scripts
def zero_sizes(L):
    t = L.zeros(0, 3)
    return t[:], t[:, 1], L.zeros(3)[L.zeros(0, dtype=L.int64)], t[t > 0]


@scripts.raises
def index_into_nothing(L):
    L.zeros(0, 3)[0]


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_the_index_may_change_after_reading():
    a, i = flambeau.arange(3.0).requires_grad_(), flambeau.tensor([0, 1])
    b = a[i]
    i.fill_(2)
    b.sum().backward()
    assert a.grad.tolist() == [1.0, 1.0, 0.0]


sizes = st.integers(1, 4)
one_index = st.one_of(
    st.integers(-4, 3),
    st.builds(
        slice, *[st.one_of(st.none(), st.integers(-5, 5))] * 2, st.sampled_from([None, 1, 2])
    ),
    st.just(None),
    st.just(...),
    st.lists(st.integers(-4, 3), min_size=1, max_size=3),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(sizes, min_size=1, max_size=3), st.lists(one_index, max_size=3))
def test_random_indices(shape, index):
    torch = pytest.importorskip("torch")
    if sum(i is ... for i in index) > 1:
        return

    def script(L):
        t = L.arange(float(np.prod(shape))).reshape(shape)
        part = t[tuple(L.tensor(i) if isinstance(i, list) else i for i in index)]
        t[tuple(L.tensor(i) if isinstance(i, list) else i for i in index)] = 99.0
        return part, t

    (ours, _), (theirs, _) = observe(script, flambeau), observe(script, torch)
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), f"{ours!r}, torch {theirs!r}"
    elif isinstance(ours, IndexError) and not theirs[0][2].size:
        pass  # PyTorch does not look at indices where nothing is read
    else:
        assert not isinstance(ours, Exception), repr(ours)
        assert not differences(ours, theirs, 0, 0)
