"""Methods that are written out short: what they leave to the general way, and what they count."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as fl
from flambeau.ops.record import ALIASES, REGISTRY, pointwise
from flambeau.tensor.instances import allocator

UNARY = ["relu_", "sigmoid_", "neg_", "exp_", "tanh_", "zero_"]


def changed(name, t, *args, **kwargs):
    assert getattr(t, name)(*args, **kwargs) is t
    return t


@pytest.mark.parametrize("size", [0, 1, 7, 9001])
@pytest.mark.parametrize("name", ["add_", "sub_"])
def test_a_given_factor_is_applied(name, size):
    rng = np.random.default_rng(size)
    a, b = rng.standard_normal((2, size)).astype(np.float32)
    sign = 1 if name == "add_" else -1
    t = changed(name, fl.tensor(a), fl.tensor(b), alpha=0.5)
    np.testing.assert_allclose(t.numpy(), a + sign * np.float32(0.5) * b, rtol=1e-6, atol=1e-7)
    t = changed(name, fl.tensor(a), 3, alpha=2)
    np.testing.assert_allclose(t.numpy(), a + sign * 6, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["leaky_relu", "elu", "softplus", "hardtanh"])
def test_given_parameters_have_the_same_slopes_as_default_ones(name):
    F = fl.nn.functional
    given = {
        "leaky_relu": {"negative_slope": 0.01},
        "elu": {"alpha": 1.0},
        "softplus": {"beta": 1.0, "threshold": 20.0},
        "hardtanh": {"min_val": -1.0, "max_val": 1.0},
    }[name]
    grads = []
    for parameters in ({}, given):
        x = fl.linspace(-2.5, 2.4, 9, dtype=fl.float64).requires_grad_()
        y = getattr(F, name)(x, **parameters)
        (g,) = fl.autograd.grad((y * y).sum(), x, create_graph=True)
        (h,) = fl.autograd.grad(g.sum(), x)
        grads.append(np.stack([y.detach().numpy(), g.detach().numpy(), h.numpy()]))
    np.testing.assert_allclose(grads[1], grads[0], rtol=1e-12)


@pytest.mark.parametrize("viewed", [False, True])
@pytest.mark.parametrize("name", UNARY + ["add_", "mul_", "fill_", "copy_"])
def test_every_change_is_counted_once(name, viewed):
    t = fl.ones(3)
    view = t.view(3) if viewed else t
    other = [] if name in UNARY else [2.0] if name == "fill_" else [fl.ones(3)]
    changed(name, t, *other)
    assert t._version == view._version == 1


@pytest.mark.parametrize("name", ["zero_", "relu_", "add_", "fill_", "copy_"])
def test_memory_that_several_elements_share_is_refused(name):
    t = fl.ones(1).expand(3)
    other = [] if name in UNARY else [2.0] if name == "fill_" else [fl.ones(3)]
    with pytest.raises(RuntimeError, match="single memory location"):
        getattr(t, name)(*other)
    assert t.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["zero_", "relu_", "add_", "copy_"])
def test_a_leaf_is_changed_only_outside_the_tape(name):
    t = fl.ones(3, requires_grad=True)
    other = [] if name in UNARY else [fl.ones(3)]
    with pytest.raises(RuntimeError, match="leaf Variable"):
        getattr(t, name)(*other)
    with fl.no_grad():
        changed(name, t, *other)
    assert t.requires_grad
    assert t.is_leaf
    assert t._version == 1


@pytest.mark.parametrize("size", [3, 9000])
@pytest.mark.parametrize("other", [(1, 0), (2, 0), (0,)], ids=["leading one", "more rows", "other"])
def test_a_result_of_another_shape_is_refused(size, other):
    shape = (*other[:-1], size + other[-1]) if len(other) > 1 else (size + 1,)
    t = fl.ones(size)
    with pytest.raises(RuntimeError):
        t.add_(fl.ones(shape))
    assert t.sum().item() == size


def test_changes_of_inference_tensors_are_refused_outside():
    with fl.inference_mode():
        t = fl.ones(3)
        t.add_(1).zero_()
    for change in (t.relu_, t.zero_, lambda: t.add_(1), lambda: t.fill_(2)):
        with pytest.raises(RuntimeError, match="[Ii]nference"):
            change()


def test_operands_that_overlap():
    a = fl.arange(6.0)
    a[1:].add_(a[:-1])
    assert a.tolist() == [0.0, 1.0, 3.0, 5.0, 7.0, 9.0]


def test_methods_stand_in_the_class_and_new_ops_bring_theirs():
    assert {"softmax", "add_", "view", "absolute_"} <= set(dir(fl.Tensor))
    assert not hasattr(fl.Tensor, "halve")
    try:
        pointwise("halve(input)", lambda m, x: x * 0.5, partials=(lambda m: 0.5,))
        x = fl.tensor([2.0, 4.0])
        assert x.halve().tolist() == [1.0, 2.0]
        assert x.halve_().tolist() == [1.0, 2.0]
    finally:
        REGISTRY.pop("halve", None)
        ALIASES.pop("halve", None)
        for name in ("halve", "halve_"):
            if name in vars(fl.Tensor):
                delattr(fl.Tensor, name)


def test_allocated_instances_are_empty_and_freed():
    class Slots:
        __slots__ = ("__weakref__", "a")

    import sys

    make = allocator(Slots)
    before = sys.getrefcount(Slots)
    made = [make() for _ in range(10)]
    assert all(type(x) is Slots for x in made)
    assert len(set(map(id, made))) == 10
    with pytest.raises(AttributeError):
        _ = made[0].a
    del made
    assert sys.getrefcount(Slots) == before


@pytest.mark.parametrize("sizes", [(3, 2, 4), (2, 4), (1, 4), (-1, 4), (0, 4), (5, -1, 4)], ids=str)
def test_expand_is_read_only_where_it_repeats_and_in_step_with_numpy(sizes):
    array = np.arange(4.0, dtype=np.float32).reshape(1, 4)
    base = fl.tensor(array)
    wanted = (1, 4) if sizes[0] == -1 else tuple(1 if n == -1 else n for n in sizes)
    seen = base.expand(*sizes)
    assert np.array_equal(seen.numpy(), np.broadcast_to(array, wanted))
    assert seen._base is base
    assert seen.numpy().flags.writeable == (seen.numel() <= base.numel())
    with pytest.raises(RuntimeError):
        base.expand(2, 5)
    with pytest.raises(RuntimeError):
        base.expand(-1, 1, 4)


def test_split_results_keep_their_places_on_the_tape():
    x = fl.arange(6.0).requires_grad_()
    a, b, c = x.split(2)
    (a.sum() * 1 + c.sum() * 3).backward()
    assert x.grad.tolist() == [1, 1, 0, 0, 3, 3]
    assert [t.output_nr for t in (a, b, c)] == [0, 1, 2]
    (only,) = fl.arange(2.0).requires_grad_().split(2)
    only.sum().backward()


# ---------------------------------------------------------------- half precision
HALVES = [fl.float16, fl.bfloat16]


def half(size, dtype, seed=0):
    values = np.random.default_rng(seed).uniform(0.5, 3, size).astype(np.float32)
    return fl.tensor(values).to(dtype)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("size", [3, 127, 128, 1000])
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype, size):
    x, y = half(size, dtype), half(size, dtype, 1)
    wide, other = x.float(), y.float()
    pairs = [
        (x + y, wide + other),
        (x * 2.5, wide * 2.5),
        (1 - x, 1 - wide),
        (x / y, wide / other),
        (fl.maximum(x, y), fl.maximum(wide, other)),
        (x.exp(), wide.exp()),
        (x.sigmoid(), wide.sigmoid()),
        (fl.addcmul(x, x, y), fl.addcmul(wide, wide, other)),
        (x**2, wide**2),
        (x.add(y, alpha=3), wide.add(other, alpha=3)),
    ]
    for number, (found, expected) in enumerate(pairs):
        assert found.dtype is dtype
        np.testing.assert_array_equal(
            found.float().numpy(), expected.to(dtype).float().numpy(), err_msg=str(number)
        )
    assert (x < y).dtype is fl.bool
    assert fl.equal(x < y, wide < other)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_in_place_counts_and_keeps_apart(dtype):
    x, y = half(1000, dtype), half(1000, dtype, 1)
    expected = (x.float() + y.float()).to(dtype)
    before = x._version
    assert x.add_(y) is x
    assert x._version == before + 1
    assert fl.equal(x, expected)
    # An operand that overlaps the result is read before it is written.
    line = half(1001, dtype)
    expected = (line[1:].float() * line[:-1].float()).to(dtype)
    line[1:].mul_(line[:-1])
    assert fl.equal(line[1:], expected)
    # Other layouts and shapes take the general way.
    table = half(400, dtype).reshape(20, 20)
    expected = (table.t().float() + table[0].float()).to(dtype)
    assert fl.equal(table.clone().t().add_(table[0]), expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_has_gradients(dtype):
    x, y = half(500, dtype).requires_grad_(), half(500, dtype, 1).requires_grad_()
    (x * y).sum().backward()
    assert fl.equal(x.grad, y)
    assert fl.equal(y.grad, x)
    with pytest.raises(RuntimeError, match="leaf"):
        x.add_(y)
    copy = x.clone()
    copy.mul_(y)
    assert copy.requires_grad
    with fl.no_grad():
        x.mul_(y)
    assert not (x * 1).detach().requires_grad


def test_half_precision_refuses_what_it_refused():
    x = half(300, fl.bfloat16)
    with pytest.raises(RuntimeError):
        x + fl.zeros(7, dtype=fl.bfloat16)
    with pytest.raises((RuntimeError, NotImplementedError)):
        x & x
    fixed = fl.zeros(1, dtype=fl.bfloat16).expand(300)
    with pytest.raises(RuntimeError, match="single memory location"):
        fixed.add_(x)
