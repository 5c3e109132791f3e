"""In-place operations and ``out=`` without autograd: what they write, and what they refuse."""

from __future__ import annotations

import pytest

from tests.oracle import Scripts, agree

scripts = Scripts()

CHANGES = {
    "add_": lambda L, t: t.add_(2),
    "add_ with alpha": lambda L, t: t.add_(L.ones(3), alpha=3),
    "sub_": lambda L, t: t.sub_(L.tensor([1.0, 2.0, 3.0])),
    "mul_": lambda L, t: t.mul_(t),
    "div_": lambda L, t: t.div_(3),
    "div_ rounding": lambda L, t: t.div_(3, rounding_mode="floor"),
    "pow_": lambda L, t: t.pow_(2),
    "neg_": lambda L, t: t.neg_(),
    "exp_": lambda L, t: t.exp_(),
    "sqrt_": lambda L, t: t.abs_().sqrt_(),
    "clamp_": lambda L, t: t.clamp_(0, 2),
    "zero_": lambda L, t: t.zero_(),
    "fill_": lambda L, t: t.fill_(4),
    "fill_ with a tensor": lambda L, t: t.fill_(L.tensor(2.5)),
    "copy_": lambda L, t: t.copy_(L.tensor([7.0, 8.0, 9.0])),
    "copy_ casts": lambda L, t: t.copy_(L.tensor([7, 8, 9])),
    "masked_fill_": lambda L, t: t.masked_fill_(t > 0, -1),
    "scatter_": lambda L, t: t.scatter_(1, L.tensor([[0], [2]]), 9.0),
    "index_add_": lambda L, t: t.index_add_(0, L.tensor([0, 0]), L.ones(2, 3).to(t)),
    "index_fill_": lambda L, t: t.index_fill_(1, L.tensor([0]), 5),
    "index_copy_": lambda L, t: t.index_copy_(0, L.tensor([1]), L.ones(1, 3).to(t)),
    "index_put_": lambda L, t: t.index_put_((L.tensor([0]), L.tensor([1])), t[1, :1].clone()),
    "addcmul_": lambda L, t: t.addcmul_(L.ones(3), L.ones(3), value=2),
    "addcdiv_": lambda L, t: t.addcdiv_(L.ones(3), L.ones(3) * 2),
    "lerp_": lambda L, t: t.lerp_(L.ones(3).to(t), 0.5),
    "tril_": lambda L, t: t.tril_(),
    "relu_": lambda L, t: t.relu_(),
    "round_": lambda L, t: t.div_(3).round_(),
    "remainder_": lambda L, t: t.remainder_(2),
    "floor_divide_": lambda L, t: t.floor_divide_(2),
    "logical_not_": lambda L, t: t.logical_not_(),
    "eq_": lambda L, t: t.eq_(1),
    "lt_": lambda L, t: t.lt_(1),
    "t_": lambda L, t: t.t_(),
    "transpose_": lambda L, t: t.transpose_(0, 1),
    "unsqueeze_": lambda L, t: t.unsqueeze_(0),
    "squeeze_": lambda L, t: t.unsqueeze_(0).squeeze_(0),
    "functions": lambda L, t: L.relu_(t) if hasattr(L, "relu_") else t,
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("form", ["plain", "transposed", "strided", "double"])
def test_what_is_written(name, form):
    def script(L):
        t = L.arange(6.0).reshape(2, 3) - 2
        if form == "double":
            t = t.double()
        base = t
        if form == "transposed":
            base = t.t().contiguous()
            t = base.t()
        if form == "strided":
            base = L.zeros(4, 6)
            base[::2, 1::2] = t
            t = base[::2, 1::2]
        result = CHANGES[name](L, t)
        return t, result is t, base, t.stride(), t._version

    agree(script)


@scripts
def out_receives(L):
    out = L.empty(2)
    result = L.add(L.ones(2), L.ones(2), out=out)
    return out, result is out, out._version


@scripts
def out_of_another_dtype(L):
    out = L.empty(2, dtype=L.float64)
    return L.mul(L.ones(2), 3, out=out)


@scripts
def out_that_is_a_view(L):
    x = L.zeros(4)
    L.exp(L.zeros(2), out=x[1:3])
    return x


@scripts
def out_that_is_an_input(L):
    x = L.tensor([1.0, 2.0])
    L.mul(x, x, out=x)
    return x


@scripts
def out_that_is_empty_grows(L):
    out = L.empty(0)
    L.add(L.ones(2, 3), 1, out=out)
    return out


@scripts
def out_for_two_results(L):
    values, indices = L.empty(2), L.empty(2, dtype=L.int64)
    L.max(L.tensor([[1.0, 3.0], [5.0, 2.0]]), 1, out=(values, indices))
    return values, indices


@scripts
def out_of_a_matrix_product(L):
    out = L.empty(2, 2)
    L.matmul(L.ones(2, 3), L.ones(3, 2), out=out)
    return out


@scripts.raises
def out_that_cannot_hold_the_result(L):
    L.add(L.ones(2), 1.5, out=L.empty(2, dtype=L.int64))


@scripts.raises
def out_that_requires_grad(L):
    L.add(L.ones(2), 1, out=L.ones(2, requires_grad=True))


@scripts.raises
def out_for_graded_inputs(L):
    L.add(L.ones(2, requires_grad=True), 1, out=L.ones(2))


@scripts.raises
def out_that_is_no_tensor(L):
    L.add(L.ones(2), 1, out=[1, 2])


@scripts.raises
def expanded(L):
    L.ones(1).expand(3).add_(1)


@scripts.raises
def grown(L):
    L.ones(3).mul_(L.ones(2, 3))


@scripts.raises
def float_into_integers(L):
    L.ones(2, dtype=L.int64).mul_(1.5)


@scripts.raises
def complex_into_floats(L):
    L.ones(2).add_(1j)


@scripts.raises
def integers_into_bools(L):
    L.ones(2, dtype=L.bool).add_(1)


@scripts
def integers_into_floats(L):
    return L.ones(2).add_(L.tensor([1, 2])), L.ones(2, dtype=L.int8).add_(L.tensor([1, 2]))


@scripts
def self_overlap(L):
    x = L.arange(6.0)
    x[1:].add_(x[:-1].clone())
    return x


@scripts.raises
def copy_of_a_wrong_shape(L):
    L.ones(2, 3).copy_(L.ones(2, 2))


@scripts.raises
def fill_with_several(L):
    L.ones(2).fill_(L.ones(2))


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)
