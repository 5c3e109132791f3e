"""The Tensor object: facts, Python protocols, operators, conversions to and from Python."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()


@scripts
def facts(L):
    t = L.arange(24.0).reshape(2, 3, 4)
    return (
        t.shape, t.size(), t.size(1), t.size(-1), t.dim(), t.ndim, t.ndimension(), t.numel(),
        t.nelement(), t.element_size(), t.itemsize, t.nbytes, t.stride(), t.stride(0),
        t.storage_offset(), t[1].storage_offset(), t.permute(2, 0, 1).stride(),
        t.is_contiguous(), t.permute(2, 0, 1).is_contiguous(), len(t), t.is_floating_point(),
        t.is_complex(), t.is_signed(), t.is_cuda, t.is_meta, t.is_sparse, t.is_quantized,
        t.requires_grad, t.is_leaf, str(t.dtype), str(t.device), str(t.layout), t.get_device(),
        t.is_pinned(), t.is_shared(), t.is_conj(), t.is_neg(), t.type(),
    )  # fmt: skip


@scripts
def shapes_are_sizes(L):
    s = L.ones(2, 3).shape
    return (
        type(s).__name__, repr(s), s.numel(), s == (2, 3), s[0], s[-1], repr(s[1:]),
        type(s[1:]).__name__, repr(s + (4,)), [*s], isinstance(s, tuple), repr(L.Size([1, 2])),
        s.index(3), hash(s) == hash((2, 3)), 3 in s, repr(s * 2), len(L.Size()),
    )  # fmt: skip


@scripts
def items(L):
    found = []
    for value, dtype in [
        (1.5, "float32"), (1.5, "float16"), (1.5, "bfloat16"), (2.5, "float64"), (3, "int64"),
        (3, "uint8"), (True, "bool"), (1 + 2j, "complex64"),
    ]:  # fmt: skip
        t = L.tensor(value, dtype=getattr(L, dtype))
        found += [t.item(), type(t.item()).__name__, t.tolist(), type(t.tolist()).__name__]
        found += [L.tensor([[value]], dtype=getattr(L, dtype)).item()]
    return found


@scripts.raises
def item_of_several(L):
    L.ones(2).item()


@scripts.raises
def item_of_none(L):
    L.ones(0).item()


@scripts
def nested_lists(L):
    return L.arange(6).reshape(1, 2, 3).tolist(), L.zeros(2, 0).tolist(), L.tensor(5).tolist()


@scripts
def numbers_of_python(L):
    t = L.tensor([2.7])
    i = L.tensor(3)
    return (
        int(t), float(t), complex(t), bool(t), int(i), float(i), [10, 20, 30, 40][i],
        bool(L.tensor(0.0)), bool(L.tensor([[True]])), list(range(i)), f"{L.tensor(1.25):.1f}",
        round(float(t), 1), "abc"[i - 2], hex(i),
    )  # fmt: skip


@scripts.raises
def truth_of_several(L):
    bool(L.ones(2))


@scripts.raises
def truth_of_none(L):
    bool(L.ones(0))


@scripts.raises
def float_of_several(L):
    float(L.ones(2))


@scripts.raises
def int_of_several(L):
    int(L.ones(2))


@scripts.raises
def float_of_a_complex_number(L):
    float(L.tensor([1 + 2j]))


@scripts.raises
def float_as_index(L):
    return [1, 2][L.tensor(1.0)]


@scripts.raises
def length_of_a_number(L):
    len(L.tensor(1.0))


@scripts.raises
def iteration_over_a_number(L):
    list(L.tensor(1.0))


@scripts
def iteration(L):
    rows = list(L.arange(6).reshape(2, 3))
    a, b = L.tensor([1.0, 2.0])
    return rows, a, b, [x.item() for x in L.tensor([1, 2])], list(L.zeros(0, 3))


@scripts
def containment(L):
    t = L.tensor([1.0, 2.0])
    return 1.0 in t, 3 in t, L.tensor(2.0) in t


@scripts.raises
def containment_of_a_string(L):
    return "a" in L.ones(2)


@scripts
def identity_and_hash(L):
    a, b = L.ones(2), L.ones(2)
    return len({a, b, a}), {a: 1}[a], (a == b).all().item(), a is a, hash(a) == hash(b)


@scripts
def comparison_with_none(L):
    t = L.ones(2)
    return t == None, t != None, t == None, t == "a"  # noqa: E711


@scripts
def operators(L):
    a, b = L.tensor([5.0, -3.0]), L.tensor([2.0, 2.0])
    return (
        a + b, a - b, a * b, a / b, a // b, a % b, a**b, -a, +a, abs(a), a @ b, 1 + a, 1 - a,
        2 * a, 1 / a, 7 // a, 7 % b, 2**b, a > b, a >= b, a < b, a <= b, a == b, a != b, a < 1,
    )  # fmt: skip


@scripts
def integer_operators(L):
    a, b = L.tensor([12, -5]), L.tensor([5, 3])
    m = L.tensor([True, False])
    return (
        a & b, a | b, a ^ b, ~a, a << 1, a >> 1, a // b, a % b, a / b, a**2, ~m, m & True, m | m,
        m ^ True, 3 & a, 1 | a, 2 ^ a, -a, abs(a), a * 2.5, a + True, m + 1, m * 2, m + m,
    )  # fmt: skip


@scripts.raises
def minus_between_bools(L):
    L.tensor([True]) - L.tensor([True])


@scripts.raises
def negative_of_bools(L):
    return -L.tensor([True])


@scripts.raises
def invert_of_floats(L):
    return ~L.tensor([1.0])


@scripts.raises
def bits_of_floats(L):
    return L.tensor([1.0]) & L.tensor([2.0])


@scripts.raises
def integer_division_by_zero(L):
    return L.tensor([1]) // 0


@scripts.raises
def integer_to_a_negative_power(L):
    return L.tensor([2]) ** -1


@scripts.raises
def sum_with_a_list(L):
    return L.ones(2) + [1, 2]


@scripts.raises
def sum_with_a_string(L):
    return L.ones(2) + "a"


@scripts.raises
def sum_with_none(L):
    return L.ones(2) * None


@scripts
def with_numpy_numbers(L):
    t = L.tensor([1.0, 2.0])
    return t * np.float32(2), t + np.int64(1), t * np.float64(0.5), (t > np.float32(1))


@scripts
def to_numpy_shares_memory(L):
    t = L.zeros(3)
    n = t.numpy()
    n[1] = 5
    t[0] = 7
    return t, n, n.dtype.name


@scripts
def from_numpy_shares_memory(L):
    n = np.arange(4.0)
    t = L.from_numpy(n)
    n[0] = 9
    t[1] = 8
    return t, n


@scripts.raises
def numpy_of_a_graded_tensor(L):
    L.ones(2, requires_grad=True).numpy()


@scripts.raises
def array_of_a_graded_tensor(L):
    np.asarray(L.ones(2, requires_grad=True))


@scripts.raises
def numpy_of_bfloat16(L):
    L.ones(2, dtype=L.bfloat16).numpy()


@scripts
def numpy_by_force(L):
    return (L.ones(2, requires_grad=True) * 2).numpy(force=True)


@scripts
def numpy_functions_take_tensors(L):
    t = L.tensor([[1.0, 4.0], [9.0, 16.0]])
    return np.asarray(t).sum(), np.array(t, dtype=np.float64), np.mean(np.asarray(t), axis=0)


@scripts
def numpy_ufuncs_take_tensors(L):
    return np.asarray(np.sqrt(L.tensor([1.0, 4.0]).numpy()))


@scripts
def dlpack(L):
    a = L.arange(3.0)
    b = L.from_dlpack(a)
    b[0] = 5
    return a, np.from_dlpack(a)


@scripts
def methods_exist_as_functions(L):
    t = L.tensor([[1.0, -2.0], [3.0, 4.0]])
    return t.abs(), L.abs(t), t.sum(1), L.sum(t, 1), t.add(1), L.add(t, 1), t.t(), L.t(t)


@scripts.raises
def unknown_method(L):
    L.ones(2).no_such_method()


@scripts.raises
def unknown_function(L):
    L.no_such_function(1)


@scripts
def attributes_can_be_set(L):
    t = L.ones(2)
    t.note = [1]
    return t.note, hasattr(t, "other"), hasattr(t, "add")


@scripts
def data_is_an_alias(L):
    t = L.ones(2, requires_grad=True)
    t.data[0] = 5
    t.data.mul_(2)
    return t, t.data.requires_grad, t.requires_grad


@scripts
def data_can_be_replaced(L):
    t = L.ones(2, requires_grad=True)
    t.data = L.tensor([3.0, 4.0])
    (t * t).sum().backward()
    return t, t.grad


@scripts
def real_and_imaginary_parts_are_set(L):
    z = L.tensor([1 + 2j, 3 + 4j])
    z.real = L.tensor([5.0, 6.0])
    z.imag[0] = 9
    return z, z.real, z.imag


@scripts
def transposes_as_attributes(L):
    t = L.arange(6).reshape(2, 3)
    return t.T, t.mT, t.H, L.ones(2, dtype=L.complex64).reshape(1, 2).mH


@scripts
def casts(L):
    t = L.tensor([1.7, -2.3, 0.0])
    return (
        t.int(), t.long(), t.short(), t.char(), t.bool(), t.double(), t.half().float(),
        t.bfloat16().float(), t.to(L.int32), t.type(L.float64), t.type_as(L.ones(1).double()),
        t.to(L.ones(1, dtype=L.int16)), t.to("cpu"), t.cpu() is t, t.float() is t, t.to(L.float32) is t,
        t.to(L.float32, copy=True) is t, t.type("torch.DoubleTensor"), t.cfloat(),
    )  # fmt: skip


@scripts
def casts_of_numbers_out_of_range(L):
    return L.tensor([300, -1, 65536]).to(L.uint8), L.tensor([1e3, -1.0]).to(L.int32)


@scripts
def clone_and_contiguous(L):
    t = L.arange(6.0).reshape(2, 3).t()
    return (
        t.clone().stride(), t.contiguous().stride(), t.contiguous() is t, t.t().contiguous().stride(),
        t.clone(memory_format=L.contiguous_format).stride(),
    )  # fmt: skip


@scripts
def apply_and_map(L):
    t = L.tensor([1.0, 2.0])
    t.apply_(lambda x: x * 10)
    t.map_(L.tensor([1.0, 2.0]), lambda a, b: a + b)
    return t


@scripts
def same_size_and_same_memory(L):
    t = L.ones(2, 3)
    return t.is_same_size(L.zeros(2, 3)), t.is_set_to(t.view(2, 3)), t.is_set_to(t.view(3, 2))


@scripts
def resize(L):
    t = L.arange(6.0)
    t.resize_(2, 2)
    return t


@scripts
def is_tensor(L):
    return L.is_tensor(L.ones(1)), L.is_tensor([1]), L.is_tensor(L.nn.Parameter(L.ones(1)))


@scripts
def result_types(L):
    one, i = L.ones(2), L.ones(2, dtype=L.int32)
    return [
        str(L.result_type(a, b))
        for a, b in [(one, 1), (i, 1), (i, 1.5), (i, one), (one.double(), 1.5), (i, L.tensor(1.5))]
    ]


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


class Marked(flambeau.Tensor):
    pass


def test_a_subclass_computes_and_keeps_its_attributes():
    t = flambeau.ones(3).as_subclass(Marked) if hasattr(flambeau.Tensor, "as_subclass") else None
    if t is None:
        t = Marked([1.0, 1.0, 1.0])
    t.label = "x"
    assert isinstance(t, Marked)
    assert t.label == "x"
    assert (t + 1).tolist() == [2.0] * 3
    assert isinstance(t, flambeau.Tensor)


def test_dir_lists_derived_methods():
    names = dir(flambeau.ones(1))
    assert {"add", "add_", "softmax", "view", "backward", "requires_grad"} <= set(names)


def test_a_slow_first_lookup_becomes_an_ordinary_one():
    flambeau.ones(1).logaddexp(flambeau.ones(1))
    assert "logaddexp" in flambeau.Tensor.__dict__
