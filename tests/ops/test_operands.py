"""Element-wise ops over the kinds of operands they take: three tensors, numbers, integers."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
SIZES = (0, 7, 5000)


def pair(array):
    """The same array as a tensor of either library."""
    return flambeau.tensor(array), torch.tensor(array)


def same(ours, theirs, exact=True):
    assert str(ours.dtype) == str(theirs.dtype)
    assert tuple(ours.shape) == tuple(theirs.shape)
    check = np.testing.assert_array_equal if exact else np.testing.assert_allclose
    check(ours.detach().numpy(), theirs.detach().numpy(), **({} if exact else {"rtol": 1e-6}))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("size", SIZES)
def test_integers_beside_a_number(dtype, size):
    limits = np.iinfo(dtype)
    array = np.random.default_rng(size).integers(limits.min, limits.max, size).astype(dtype)
    for name in ("add", "sub", "mul", "eq", "lt", "bitwise_xor", "remainder", "true_divide"):
        for number in (3, 100, 2, True, 2.5):
            x, y = pair(array)
            if (name, number) in (("bitwise_xor", 2.5), ("sub", True)):
                continue
            same(getattr(flambeau, name)(x, number), getattr(torch, name)(y, number))
            if name in ("add", "mul", "eq") and number != 2.5:
                same(getattr(x, f"{name}_")(number), getattr(y, f"{name}_")(number))
                same(x, y)


def test_integers_beside_a_number_are_refused_as_in_pytorch():
    x, y = pair(np.array([4, 0, -3]))
    for call in (
        lambda t: t.remainder(0), lambda t: t**-1, lambda t: t + 2**70, lambda t: t.add_(0.5),
    ):  # fmt: skip
        with pytest.raises((RuntimeError, OverflowError)) as theirs:
            call(y)
        with pytest.raises(theirs.type):
            call(x)
    same(x, y)


def test_negative_zero_is_not_taken_for_zero():
    x, y = pair(np.array([1.5, -2.0], np.float32))
    for number in (0.0, -0.0, 0, 0.0, -0.0):
        ours, theirs = x * number, y * number
        np.testing.assert_array_equal(np.signbit(ours.numpy()), np.signbit(theirs.numpy()))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("shapes", [
    ((6,),) * 3, ((80, 70),) * 3, ((80, 1), (70,), (80, 70)), ((0, 4), (4,), (1, 4)), ((),) * 3,
])  # fmt: skip
def test_three_operands(dtype, shapes):
    random = np.random.default_rng(1)
    arrays = [random.standard_normal(s).astype(np.float32) for s in shapes]
    ours, theirs = zip(*map(pair, arrays), strict=True)
    ours = [t.to(getattr(flambeau, dtype)) for t in ours]
    theirs = [t.to(getattr(torch, dtype)) for t in theirs]
    for call in (
        lambda L, x, a, b: L.addcmul(x, a, b),
        lambda L, x, a, b: L.addcmul(x, a, b, value=-0.3),
        lambda L, x, a, b: L.addcdiv(x, a, b.abs() + 1, value=2),
        lambda L, x, a, b: L.lerp(x, a, b),
        lambda L, x, a, b: L.lerp(x, a, 0.3),
        lambda L, x, a, b: L.lerp(x, a, 0.75),
        lambda L, x, a, b: L.clamp(x, a, b),
        lambda L, x, a, b: L.clamp(x, -0.5, 1),
        lambda L, x, a, b: L.zeros_like(x + a + b).addcmul_(a, b, value=2.0),
        lambda L, x, a, b: L.ones_like(x + a).lerp_(a, 0.9),
        lambda L, x, a, b: L.ones_like(x + a).clamp_(-1.0, 0.25),
    ):
        a, b = call(flambeau, *ours), call(torch, *theirs)
        assert str(a.dtype) == str(b.dtype)
        tolerance = 4e-2 if dtype == "bfloat16" else 1e-5
        np.testing.assert_allclose(
            a.float().numpy(), b.float().numpy(), rtol=tolerance, atol=tolerance
        )


def test_what_three_operands_keep_is_guarded():
    leaves = [flambeau.ones(3, requires_grad=True) for _ in range(3)]
    a, b = leaves[1] * 2, leaves[2] * 3
    y = flambeau.addcmul(leaves[0], a, b)
    assert [node.name() for node, _ in y.grad_fn.next_functions] == [
        "AccumulateGrad", "MulBackward0", "MulBackward0",
    ]  # fmt: skip
    grads = flambeau.autograd.grad(y.sum(), leaves, retain_graph=True)
    assert [g.tolist() for g in grads] == [[1.0] * 3, [6.0] * 3, [6.0] * 3]
    b.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    z = flambeau.addcmul(leaves[0], leaves[1], leaves[2])
    z.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        z.sum().backward()


@pytest.mark.parametrize("weight", [0.2, 0.5, 0.8, -1.0, 2, 0, True, float("nan"), np.float64(0.4)])
def test_lerp_with_a_number(weight):
    values = np.array([-1.0, 2.0, np.inf, 0.0], np.float32), np.array([3.0, 2.0, 1.0, np.nan])
    (x, t), (y, u) = pair(values[0]), pair(values[1].astype(np.float32))
    same(flambeau.lerp(x, y, weight), torch.lerp(t, u, weight), exact=False)
    node = flambeau.lerp(x.requires_grad_(), y, 0.3).grad_fn
    assert node.name() == torch.lerp(t.requires_grad_(), u, 0.3).grad_fn.name()
    node = flambeau.lerp(x, y, y).grad_fn
    assert node.name() == torch.lerp(t, u, u).grad_fn.name()


def test_lerp_of_integers_is_refused():
    x = flambeau.arange(3)
    for weight in (0.5, x):
        with pytest.raises(NotImplementedError):
            flambeau.lerp(x, x, weight)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_rounding_integers_makes_a_copy(dtype):
    x = flambeau.arange(5, dtype=getattr(flambeau, dtype))
    y = flambeau.round(x)
    assert y.dtype is x.dtype
    y += 1
    assert x.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [8, 4096])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_in_formulas(size, dtype):
    special = [0.0, -0.0, 1e-30, -1e-30, 1e5, -1e5, np.inf, -np.inf]
    array = np.resize(np.array([*special, *np.linspace(-9, 9, 100)], dtype), size)
    x, y = pair(array)
    F, G = flambeau.nn.functional, torch.nn.functional
    for name in ("relu", "relu6", "elu", "selu", "hardtanh", "hardsigmoid", "leaky_relu"):
        ours, theirs = getattr(F, name)(x), getattr(G, name)(y)
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=3e-6, atol=1e-30)
        assert str(ours.dtype) == str(theirs.dtype)
    for name in ("sigmoid", "sign", "rsqrt", "round"):
        ours, theirs = getattr(flambeau, name)(x), getattr(torch, name)(y)
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=3e-6, atol=1e-30)
    lost = np.full(size, np.nan, dtype)
    assert not flambeau.sign(flambeau.tensor(lost)).any()
    assert flambeau.nn.functional.elu(flambeau.tensor(lost)).isnan().all()


@pytest.mark.parametrize("alpha", [1.0, 1, 0.7])
def test_defaults_given_as_arguments(alpha):
    x, y = pair(np.linspace(-3, 3, 1000, dtype=np.float32))
    ours, theirs = flambeau.nn.functional.elu(x, alpha), torch.nn.functional.elu(y, alpha)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["add", "mul", "sub", "maximum", "lt", "atan2"])
def test_small_operands_in_front(name):
    """A row or a column beside a matrix, on either side, gives what NumPy gives."""
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((60, 70)).astype(np.float32)
    reference = {"mul": "multiply", "sub": "subtract", "lt": "less", "atan2": "arctan2"}
    truth = getattr(np, reference.get(name, name))
    for small in (wide[0], wide[:, :1], wide[:1, :1], wide[3, ::1]):
        for pair in ((small, wide), (wide, small), (small, wide.T[: small.shape[-1]].T)):
            expected = truth(*(p.astype(np.float64) for p in pair))
            found = getattr(flambeau, name)(*map(flambeau.tensor, pair)).numpy()
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, 1e-6, 1e-6)
