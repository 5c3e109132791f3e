"""Making tensors: every function, with every kind of argument, against PyTorch."""

from __future__ import annotations

import array
import math

import numpy as np
import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()

DATA = {
    "float": 1.5,
    "int": 3,
    "bool": True,
    "complex": 1 + 2j,
    "list": [1.0, 2.0],
    "ints": [1, 2, 3],
    "bools": [True, False],
    "mixed numbers": [1, 2.5],
    "bool and int": [True, 2],
    "complex and float": [1j, 2.0],
    "nested": [[1, 2], [3, 4]],
    "nested tuples": ((1.0, 2.0), (3.0, 4.0)),
    "empty": [],
    "empty rows": [[], []],
    "float64 array": np.arange(3.0),
    "float32 array": np.arange(3, dtype=np.float32),
    "int array": np.arange(3),
    "uint8 array": np.arange(3, dtype=np.uint8),
    "bool array": np.array([True, False]),
    "complex array": np.array([1j, 2.0]),
    "half array": np.arange(3, dtype=np.float16),
    "numpy number": np.float64(1.5),
    "numpy int": np.int32(4),
    "numpy numbers": [np.float64(1.5), np.float64(2.5)],
    "array of rows": [np.arange(2.0), np.arange(2.0)],
    "range": range(4),
    "infinity": [math.inf, -math.inf, math.nan],
    "large int": 2**40,
    "negative": -(2**63),
    "non-contiguous array": np.arange(6.0).reshape(2, 3).T,
    "array module": array.array("f", [1.0, 2.0]),
}


@pytest.mark.parametrize("name", DATA)
def test_tensor_from_data(name):
    agree(lambda L: L.tensor(DATA[name]))


@pytest.mark.parametrize("name", ["float", "ints", "bools", "nested", "int array", "float64 array"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool", "float16"])
def test_tensor_of_a_dtype(name, dtype):
    agree(lambda L: L.tensor(DATA[name], dtype=getattr(L, dtype)))


@pytest.mark.parametrize("name", [n for n in DATA if n != "array module"])
def test_as_tensor(name):
    agree(lambda L: L.as_tensor(DATA[name]))


WRONG = {
    "ragged": [[1, 2], [3]],
    "too deep": [[1], 2],
    "string": "abc",
    "strings": ["a"],
    "none": None,
    "none inside": [1, None],
    "object": object(),
    "dict": {},
    "set": {1, 2},
    "too large": 2**64,
    "too large inside": [2**70],
    "string array": np.array(["a"]),
    "object array": np.array([object()]),
    "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "function": len,
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_data(name):
    torch = pytest.importorskip("torch")
    import flambeau

    kinds = []
    for library in (torch, flambeau):
        with pytest.raises(Exception) as caught:
            library.tensor(WRONG[name])
        kinds.append([k.__name__ for k in type(caught.value).__mro__])
    assert kinds[0][0] in kinds[1], caught.value


@scripts
def tensors_of_tensors(L):
    return L.tensor([L.tensor(1.0), L.tensor(2.0)]), L.tensor([[L.tensor(1), 2], [3, 4]])


@scripts
def copy_of_a_tensor(L):
    a = L.ones(2)
    b = L.tensor(a)
    b[0] = 5
    return a, b


@scripts
def tensor_copies_arrays(L):
    n = np.zeros(2)
    t = L.tensor(n)
    n[0] = 5
    return t


@scripts
def as_tensor_shares_arrays(L):
    n = np.zeros(2)
    t = L.as_tensor(n)
    n[0] = 5
    return t, L.as_tensor(t) is t


@scripts
def requires_grad_at_birth(L):
    return [
        t.requires_grad and t.is_leaf
        for t in (
            L.tensor([1.0], requires_grad=True), L.zeros(1, requires_grad=True),
            L.arange(2.0, requires_grad=True), L.full((1,), 1.0, requires_grad=True),
            L.eye(2, requires_grad=True), L.linspace(0, 1, 3, requires_grad=True),
            L.zeros_like(L.ones(1), requires_grad=True), L.ones(1).new_ones(1, requires_grad=True),
        )
    ]  # fmt: skip


@scripts.raises
def integers_with_requires_grad(L):
    L.tensor([1, 2], requires_grad=True)


@scripts
def filled(L):
    return (
        L.zeros(2, 3), L.zeros((2, 3)), L.zeros([2]), L.zeros(()), L.zeros(0, 2), L.zeros(L.Size([2])),
        L.ones(2, dtype=L.int32), L.ones(3, dtype=L.bool), L.empty(2, 0).shape, L.zeros(size=(2,)),
        L.full((2,), 7), L.full((2,), 7.5), L.full((2,), True), L.full((2,), 1j),
        L.full((2,), 7, dtype=L.float64), L.full((), 3.0), L.full((2,), L.tensor(4.0)),
    )  # fmt: skip


@scripts
def like(L):
    t = L.ones(2, 3, dtype=L.int16)
    return (
        L.zeros_like(t), L.ones_like(t), L.full_like(t, 5), L.empty_like(t).dtype,
        L.zeros_like(t, dtype=L.float64), L.ones_like(t.t()).stride(), L.full_like(t, 2, dtype=L.float32),
        L.rand_like(L.ones(2)).shape, L.zeros_like(t[:, ::2]).stride(),
    )  # fmt: skip


@scripts
def new(L):
    t = L.ones(2, dtype=L.float64)
    return (
        t.new_zeros(2, 3), t.new_ones((2,)), t.new_full((2,), 3), t.new_empty(4).shape,
        t.new_tensor([1, 2]), t.new_tensor(5, dtype=L.int64), t.new_zeros(2, dtype=L.int8),
    )  # fmt: skip


@scripts
def ranges(L):
    return (
        L.arange(5), L.arange(2, 5), L.arange(0, 1, 0.25), L.arange(5, 0, -2), L.arange(3.0),
        L.arange(0), L.arange(1, 2, 0.3), L.arange(5, dtype=L.float32), L.arange(2.5),
        L.arange(0, 1, 0.1).shape, L.arange(L.tensor(3)), L.arange(start=1, end=4),
        L.arange(end=4, start=1), L.arange(0, -3, -1),
    )  # fmt: skip


@scripts.raises
def range_downwards_without_a_step(L):
    L.arange(-3)


@scripts
def spaces(L):
    return (
        L.linspace(0, 1, 5), L.linspace(1, -1, 4), L.linspace(0, 1, 1), L.linspace(0, 1, 0),
        L.linspace(0, 10, 3, dtype=L.int64), L.linspace(0, 1, 7, dtype=L.float64),
        L.logspace(0, 2, 3), L.logspace(0, 2, 3, base=2), L.linspace(0.1, 0.7, 101),
        L.linspace(0, 1j, 3),
    )  # fmt: skip


@scripts
def matrices(L):
    return (
        L.eye(3), L.eye(2, 3), L.eye(3, 2, dtype=L.int64), L.eye(0), L.tril_indices(3, 3),
        L.triu_indices(2, 3, 1), L.diag(L.ones(2)), L.scalar_tensor(2), L.empty_strided((2, 3), (1, 2)).stride(),
    )  # fmt: skip


@scripts
def into_out(L):
    t = L.empty(3)
    L.zeros(3, out=t)
    a = t.clone()
    L.arange(3, out=t)
    return a, t, L.ones(3, out=t) is t


@scripts
def from_buffers(L):
    b = bytearray(np.arange(3, dtype=np.float32).tobytes())
    t = L.frombuffer(b, dtype=L.float32)
    b[0:4] = np.float32(9).tobytes()
    return (
        t,
        L.frombuffer(b, dtype=L.float32, count=1, offset=4),
        L.frombuffer(b, dtype=L.uint8).shape,
    )


@scripts
def constructors(L):
    return (
        L.Tensor([1, 2]), L.Tensor(2, 3).shape, L.Tensor().shape, L.Tensor([[1.0]]), L.FloatTensor([1]),
        L.LongTensor([1, 2]), L.BoolTensor([1, 0]), L.DoubleTensor(2).shape, L.IntTensor([3]).dtype,
    )  # fmt: skip


@scripts.raises
def negative_size(L):
    L.zeros(-1)


@scripts.raises
def size_that_is_a_float(L):
    L.zeros(2.5)


@scripts.raises
def size_that_is_a_string(L):
    L.ones("a")


@scripts.raises
def step_of_zero(L):
    L.arange(0, 1, 0)


@scripts.raises
def step_in_the_wrong_direction(L):
    L.arange(0, 1, -1)


@scripts.raises
def negative_steps(L):
    L.linspace(0, 1, -1)


@scripts.raises
def negative_eye(L):
    L.eye(-1)


@scripts.raises
def dtype_that_is_none_of_ours(L):
    L.zeros(2, dtype="float32")


@scripts.raises
def unknown_keyword(L):
    L.zeros(2, colour=1)


@scripts.raises
def complex_into_float(L):
    L.tensor(1j, dtype=L.float32)


@scripts.raises
def int_that_overflows(L):
    L.tensor(300, dtype=L.uint8)


@scripts.raises
def numpy_negative_strides(L):
    L.from_numpy(np.arange(3.0)[::-1])


@scripts.raises
def from_numpy_of_a_list(L):
    L.from_numpy([1.0])


@scripts.raises
def foreign_byte_order(L):
    L.from_numpy(np.arange(3, dtype=">f4"))


@scripts.raises
def more_memory_than_there_is(L):
    L.zeros(2**48)


@pytest.mark.parametrize("script", scripts.cases)
@pytest.mark.filterwarnings("ignore:To copy construct")
def test_as_in_torch(script):
    agree(script)


def test_arange_counts_in_the_type_of_out():
    assert flambeau.arange(0, 5.5, 1.5, out=flambeau.empty(0, dtype=flambeau.int64)).tolist() == [
        *range(5)
    ]
    with pytest.raises(ValueError, match="rounded to zero"):
        flambeau.arange(0, 64, 0.5, out=flambeau.empty(0, dtype=flambeau.int64))
