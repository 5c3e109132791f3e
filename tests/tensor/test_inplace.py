"""In-place operations and ``out=`` without autograd: what they write, and what they refuse."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import flambeau
from flambeau.compiler import jit
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


# ---------------------------------------------------------------- ops that change the tensor itself
WRITERS = {
    "scatter_": lambda t, i, j, x: t.scatter_(1, i, x),
    "scatter_ a number": lambda t, i, j, x: t.scatter_(1, i, 2.0),
    "scatter_ with add": lambda t, i, j, x: t.scatter_(1, i, x, reduce="add"),
    "scatter_add_": lambda t, i, j, x: t.scatter_add_(dim=1, index=i, src=x),
    "scatter_reduce_": lambda t, i, j, x: t.scatter_reduce_(1, i, x, "amax", include_self=False),
    "scatter_reduce_ mean": lambda t, i, j, x: t.scatter_reduce_(1, i, x, "mean"),
    "index_add_": lambda t, i, j, x: t.index_add_(0, j, x[:30], alpha=3),
    "index_copy_": lambda t, i, j, x: t.index_copy_(0, j.unique(), x[: len(j.unique())]),
    "index_fill_": lambda t, i, j, x: t.index_fill_(0, j, 2.0),
    "index_fill_ with a tensor": lambda t, i, j, x: t.index_fill_(0, j, x[3, 3]),
    "index_put_": lambda t, i, j, x: t.index_put_((j.unique(),), x[: len(j.unique())]),
    "index_put_ adding": lambda t, i, j, x: t.index_put_((j,), x[:30], accumulate=True),
    "index_reduce_": lambda t, i, j, x: t.index_reduce_(0, j, x[:30], "amin"),
    "put_": lambda t, i, j, x: t.put_(j, x[0, :30], accumulate=True),
}


def _operands(L, n, dtype, seed=0):
    """A base for the target, places along dimension 1, 30 rows, and values: [n, n] all but one."""
    draw = np.random.default_rng(seed)
    values = draw.integers(-9, 9, (2, n + 2, n))
    base, x = (L.tensor(v.tolist()).to(getattr(L, dtype)) for v in values)
    i, j = draw.integers(0, n, (n, n)), draw.integers(0, n, 30)
    return base, L.tensor(i.tolist()), L.tensor(j.tolist()), x[:n].clone()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("form", ["whole", "part", "transposed", "columns"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64"])
def test_what_writers_write(name, form, dtype):
    def script(L):
        base, *given = _operands(L, 40, dtype)
        whole = base[:40].clone()
        forms = {"whole": whole, "part": base[1:41], "transposed": whole.t(), "columns": base[:40]}
        t = forms[form]
        if form == "columns":
            base = L.zeros(40, 80, dtype=t.dtype)
            t = base[:, ::2]
        result = WRITERS[name](t, *given)
        return t, base, whole, result is t, t._version

    agree(script)


# PyTorch has no derivative of the one that is left out.
@pytest.mark.parametrize("name", sorted(WRITERS.keys() - {"scatter_ with add"}))
def test_writers_with_gradients_go_by_the_tape(name):
    def script(L):
        base, i, j, x = _operands(L, 40, "float64")
        x = (x + L.arange(1600.0).reshape(40, 40) / 1600).double()
        leaf, x = base[:40].clone().requires_grad_(), x.requires_grad_()
        t = leaf * 2
        WRITERS[name](t, i, j, x)
        (t * t).sum().backward()
        return t, leaf.grad, x.grad, t.grad_fn is not None

    agree(script)


@pytest.mark.skipif(not jit.available(), reason="NumPy's way takes memory")
@pytest.mark.parametrize("name", ["scatter_", "scatter_add_", "scatter_reduce_", "index_add_"])
def test_writers_need_no_memory_of_the_size_of_their_target(name):
    x, i = flambeau.ones(400, 400), flambeau.zeros(400, 400, dtype=flambeau.int64)
    j = flambeau.arange(30)
    t = flambeau.zeros(4000, 400)
    WRITERS[name](t, i, j, x)
    tracemalloc.start()
    WRITERS[name](t, i, j, x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < t._d.nbytes


@pytest.mark.parametrize(
    "change",
    [
        lambda t, c: t.scatter_(0, (t + 1) % 3000, c),
        lambda t, c: t.scatter_add_(0, t, c[:]),
        lambda t, c: t[1:].index_copy_(0, flambeau.arange(2999), c[:-1]),
        lambda t, c: t[1:].index_put_((flambeau.arange(2999),), c[:-1]),
        lambda t, c: t.index_add_(0, c.flip(0), c),
        lambda t, c: t.put_(c, c, accumulate=True),
    ],
)
def test_writers_read_what_they_overlap_with_first(change):
    t, apart = flambeau.arange(3000), flambeau.arange(3000)
    change(t, t)
    change(apart, apart.clone())
    assert t.tolist() == apart.tolist()


@scripts
def gradients_of_arguments_given_by_name(L):
    t, x = L.zeros(3), L.ones(2, requires_grad=True)
    t.scatter_add_(dim=0, index=L.tensor([1, 1]), src=x)
    t.index_add_(dim=0, index=L.tensor([0, 2]), source=x * 2)
    (t * t).sum().backward()
    return t, x.grad


@scripts.raises
def scatter_add_out_of_range(L):
    L.zeros(3, 4).scatter_add_(1, L.tensor([[0, 4]]), L.ones(1, 2))


@scripts.raises
def index_add_out_of_range(L):
    L.zeros(3).index_add_(0, L.tensor([3]), L.ones(1))


@scripts.raises
def scatter_into_a_leaf(L):
    L.zeros(3, requires_grad=True).scatter_(0, L.tensor([0]), 1.0)


@scripts.raises
def scatter_into_expanded(L):
    L.zeros(1).expand(3).scatter_(0, L.tensor([0]), 1.0)


def test_an_index_out_of_range_is_found_by_kernels():
    t, i = flambeau.zeros(100, 100), flambeau.zeros(100, 100, dtype=flambeau.int64)
    for bad in (-1, 100):
        i[57, 3] = bad
        with pytest.raises(RuntimeError, match="out of bounds"):
            t.scatter_add_(1, i, flambeau.ones(100, 100))
        with pytest.raises(RuntimeError, match="out of bounds"):
            t.scatter_(1, i, 1.0)
    assert t._version == 0


# ---------------------------------------------------------------- large element-wise ops
@pytest.mark.parametrize("parts", [(0, 1), (1, 0), (0, 0), (0, None)])
def test_overlapping_operands_are_read_first(parts):
    draw = np.random.default_rng(0).standard_normal(50_001).astype(np.float32)
    base = flambeau.tensor(draw.tolist())
    first, second = parts
    t = base[first : first + 50_000]
    other = base[7] if second is None else base[second : second + 50_000]
    expected = t._d + np.float32(3) * other._d
    t.add_(other, alpha=3)
    assert np.abs(t._d - expected).max() < 1e-5


def test_read_only_memory_is_refused_after_memory_of_its_kind_was_written():
    other = flambeau.ones(100, 100)
    flambeau.zeros(100, 100).add_(other, alpha=2)
    held = np.zeros((100, 100), np.float32)
    held.flags.writeable = False
    t = flambeau.from_numpy(held)
    for change in (lambda: t.add_(other, alpha=2), lambda: t.scatter_(0, other.long(), other)):
        with pytest.raises(RuntimeError, match="read-only"):
            change()
    assert not held.any()


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)
