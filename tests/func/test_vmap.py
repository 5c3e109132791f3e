"""`vmap`: dimensions, structures, randomness, changes in place, errors; against PyTorch's."""

from __future__ import annotations

import importlib
from collections import namedtuple

import numpy as np
import pytest

import flambeau as fl
from flambeau.func import debug_unwrap, grad, vmap
from tests.oracle import Scripts, agree, check_error, observe

scripts = Scripts()
RNG = np.random.default_rng(8)
X, Y = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 4))
Pair = namedtuple("Pair", "a b")


@scripts
def dimensions_in_and_out(L):
    x, y = L.tensor(X), L.tensor(Y)
    f = lambda a, b: a * b  # noqa: E731
    return [
        L.vmap(f, in_dims=(0, 1))(x, y),
        L.vmap(f, in_dims=(-1, 0))(x, y),
        L.vmap(f, in_dims=(0, None))(x, y[:, 0]),
        L.vmap(f, in_dims=(None, 1), out_dims=1)(x[0], y),
        L.vmap(f, in_dims=(0, 1), out_dims=-1)(x, y),
        L.vmap(lambda a: (a, a.sum()), out_dims=(1, 0))(x),
        L.vmap(lambda a: (a, {"s": (a.sum(), 3)}), out_dims=(1, {"s": (0, None)}))(x),
    ]


@scripts
def losses_of_sequences_and_unpooling(L):
    F = L.nn.functional
    scores = L.tensor(np.random.default_rng(3).normal(size=(3, 5, 2, 4))).log_softmax(-1)
    targets = L.tensor([[[1, 2, 2], [3, 1, 2]], [[1, 1, 1], [2, 3, 3]], [[3, 2, 1], [1, 3, 1]]])
    loss = lambda s, t: F.ctc_loss(s, t, (5, 4), (3, 2))  # noqa: E731
    images = L.tensor(np.random.default_rng(4).normal(size=(6, 1, 4, 4)))
    values, places = F.max_pool2d(images, 2, return_indices=True)
    values, places = values.reshape(3, 2, 1, 2, 2), places.reshape(3, 2, 1, 2, 2)
    return [
        L.vmap(loss)(scores, targets),
        L.vmap(loss, in_dims=(0, None))(scores, targets[0]),
        L.vmap(lambda v, i: F.max_unpool2d(v, i, 2))(values, places),
    ]


@scripts
def trees_in_and_out(L):
    x, y = L.tensor(X), L.tensor(Y)
    f = lambda d, n: Pair(d["x"] + n, [d["y"].sum(), (n,)])  # noqa: E731
    first = L.vmap(f, in_dims=({"x": 0, "y": 1}, None))({"x": x, "y": y}, 2 * x[0])
    p = L.vmap(lambda p: p.a * p.b, in_dims=(Pair(0, None),))(Pair(x, x[0]))
    return list(first), type(first).__name__, p


@scripts
def results_that_are_the_same_for_all(L):
    x = L.tensor(X)
    return L.vmap(lambda a: L.ones(2))(x), L.vmap(lambda a: L.ones(2), out_dims=None)(x)


@scripts
def in_chunks(L):
    x = L.tensor(X)
    f = lambda a, b: (a * b, a.sum())  # noqa: E731
    return [L.vmap(f, in_dims=(0, None), out_dims=(1, 0), chunk_size=n)(x, x[0]) for n in (1, 3, 9)]


@scripts
def inside_each_other(L):
    x, y = L.tensor(X), L.tensor(Y)
    outer = L.vmap(L.vmap(lambda a, b: a * b, (None, 0)), (0, None))
    return outer(x[0], y[0]), L.vmap(lambda a: L.vmap(lambda b: (a * b).sum())(y.t()))(x)


@scripts
def no_examples(L):
    x = L.ones(0, 3)
    return L.vmap(lambda a: (a * 2, a.sum(), a @ a, L.stack([a, a])))(x)


@scripts
def numbers_keep_their_dtype(L):
    x = L.ones(3, dtype=L.float64)
    wide = L.vmap(lambda a, b: a + b)(x, L.ones(3, 2))
    return (
        wide,
        L.vmap(lambda a: a * L.ones(2))(x),
        L.vmap(lambda a: (a + 1.5, a // 2))(L.arange(3)),
    )


@scripts
def facts_of_a_batched_tensor(L):
    seen = []

    def f(a):
        seen.append([a.shape, a.ndim, a.dim(), a.numel(), a.size(0), len(a), str(a.dtype)])
        seen.append([a.is_floating_point(), a.device.type, a.requires_grad, a.is_complex()])
        return a

    L.vmap(f)(L.ones(4, 3, 2))
    return seen


@scripts
def tensors_made_inside(L):
    x = L.tensor(X)

    def f(a):
        z = a.new_zeros(2)
        z[0] = a.sum()
        o = L.zeros_like(a)
        o.copy_(a * 2)
        e = L.empty_like(a).fill_(2)
        return z, o, e, L.full_like(a, 3), a.new_ones((2, 2)), a.new_full((1,), 7)

    return L.vmap(f)(x)


@scripts
def changes_in_place(L):
    x = L.tensor(X)

    def f(a):
        a = a.clone()
        a.add_(1).mul_(a)
        a[0] = 5
        a[1:] = a[:2] * 2
        view = a.view(-1)[1:]
        view.sub_(a[0])
        a.clamp_(max=4.0)
        a.unsqueeze_(0)
        return a

    whole = x.clone()
    L.vmap(lambda a: a.zero_())(whole)
    return L.vmap(f)(x), whole


@scripts
def indices_of_each_example(L):
    x = L.tensor(np.arange(24.0).reshape(4, 3, 2))
    i = L.tensor([0, 2, 1, 1])
    m = L.tensor([[0, 1], [2, 2], [1, 0], [0, 0]])
    return [
        L.vmap(lambda a, i: a[i])(x, i),
        L.vmap(lambda a, i: a[i, 1:])(x, i),
        L.vmap(lambda a, m: a[m])(x, m),
        L.vmap(lambda a, m: a[:, m % 2])(x, m),
        L.vmap(lambda a, m: a[m, m % 2])(x, m),
        L.vmap(lambda a, m: a[m[0]], in_dims=(None, 0))(x[0], m),
        L.vmap(lambda a: a[L.tensor([1, 0])])(x),
        L.vmap(lambda a: a[L.tensor([1, 0]), :, None])(x),
        L.vmap(lambda a, i: a.index_select(0, i.reshape(1)))(x, i),
        L.vmap(lambda a, i: a.gather(0, i.reshape(1, 1)))(x, i),
        L.vmap(lambda a, m: L.nn.functional.embedding(m, a))(x, m),
        L.vmap(lambda a, m: a.take(m))(x, m),
    ]


@scripts
def assignments_at_indices_of_each_example(L):
    x = L.tensor(np.arange(24.0).reshape(4, 3, 2))
    m = L.tensor([[0, 1], [2, 0], [1, 0], [0, 2]])

    def f(a, m):
        a = a.clone()
        a[m] = a[m.flip(0)] * 10
        a[m[0], 0] = -1.0
        a[:, 1] = a[:, 0]
        a[0, L.tensor([0, 1])] = a[1]
        return a

    return L.vmap(f)(x, m)


@scripts
def losses_and_layers(L):
    x, t = L.tensor(X), L.tensor([0, 2, 1, 1])
    fn = L.nn.functional
    image = L.tensor(RNG_IMAGE)
    return [
        L.vmap(lambda a, t: fn.cross_entropy(a[None], t[None]))(x, t),
        L.vmap(lambda a, t: fn.nll_loss(a[None], t[None]))(x, t),
        L.vmap(lambda a: fn.layer_norm(a, (3,)))(x),
        L.vmap(lambda a: fn.max_pool2d(a, 2))(image),
        L.vmap(lambda a: fn.conv2d(a[None], a[:, None, :2, :2].repeat(1, 2, 1, 1)))(image),
        L.vmap(lambda a: fn.batch_norm(a[None], None, None, training=True))(image),
        L.vmap(lambda a: fn.scaled_dot_product_attention(a, a, a))(image),
        L.vmap(lambda a: L.einsum("ij,kj->ik", a[0], a[1]))(image),
        L.vmap(lambda a: fn.interpolate(a[None], scale_factor=2))(image),
        L.vmap(lambda a: fn.gelu(a).var())(image),
        L.vmap(lambda t: fn.one_hot(t, 4))(t),
    ]


RNG_IMAGE = RNG.normal(size=(3, 2, 4, 4))


@scripts
def classes_with_weights_and_some_ignored(L):
    x = L.tensor(RNG_CLASSES)
    t = L.tensor([[0, 2], [1, -100], [2, 2], [0, 1]])
    w, fn = L.tensor([1.0, 2.0, 0.5], dtype=L.float64), L.nn.functional
    return [
        L.vmap(lambda a, t: f(a, t, weight=weight, reduction=word))(x, t)
        for f in (fn.nll_loss, fn.cross_entropy)
        for weight in (None, w)
        for word in ("none", "mean", "sum")
    ] + [F(L).vmap(F(L).grad(lambda a, t: fn.nll_loss(a, t, w)))(x, t)]


RNG_CLASSES = RNG.normal(size=(4, 2, 3))


def F(L):
    return importlib.import_module(f"{L.__name__}.func")


@scripts
def batched_gradients_of_the_tape(L):
    x = L.tensor(X, requires_grad=True)
    y = x.sin() * x.sum()
    rows = L.eye(12, dtype=L.float64).reshape(12, 4, 3)
    (g,) = L.autograd.grad(y, x, rows, is_grads_batched=True)
    return g


@scripts
def a_recorded_result(L):
    x, w = L.tensor(X, requires_grad=True), L.tensor(X[0], requires_grad=True)
    L.vmap(lambda a: (a * w).sin().sum())(x).sum().backward()
    return x.grad, w.grad


# ---------------------------------------------------------------- errors
for _number, _call in enumerate(
    [
        lambda L, x: L.vmap(lambda a: a, in_dims=2)(x),
        lambda L, x: L.vmap(lambda a: a, in_dims=(0, 0))(x),
        lambda L, x: L.vmap(lambda a: a, in_dims=[0])(x),
        lambda L, x: L.vmap(lambda a: a)(),
        lambda L, x: L.vmap(lambda a: a)(3),
        lambda L, x: L.vmap(lambda a: a, in_dims=None)(x),
        lambda L, x: L.vmap(lambda a, b: a)(x, L.zeros(3)),
        lambda L, x: L.vmap(lambda a: a, out_dims=(0, 0))(x),
        lambda L, x: L.vmap(lambda a: 3)(x),
        lambda L, x: L.vmap(lambda a: (a, "a"))(x),
        lambda L, x: L.vmap(lambda a: a, out_dims=5)(x),
        lambda L, x: L.vmap(lambda a: a, out_dims=None)(x),
        lambda L, x: L.vmap(lambda a: a, out_dims="a")(x),
        lambda L, x: L.vmap(lambda a: a, randomness="z")(x),
        lambda L, x: L.vmap(lambda a: a.item())(x),
        lambda L, x: L.vmap(lambda a: a if a > 0 else -a)(x),
        lambda L, x: L.vmap(lambda a: L.randn(3))(x),
        lambda L, x: L.vmap(lambda a: L.nn.functional.dropout(a))(x),
        lambda L, x: L.vmap(lambda a: a, chunk_size=0)(x),
        lambda L, x: L.vmap(lambda a: L.zeros(1).add_(a))(x),
        lambda L, x: L.vmap(lambda a: a.mm(a))(L.ones(2, 2, 3)),
        lambda L, x: L.vmap(lambda a: a.sum(1))(L.ones(2, 3)),
        lambda L, x: L.vmap(lambda a: a.softmax(-2))(L.ones(2, 3)),
        lambda L, x: L.vmap(lambda a: a.permute(0))(L.ones(2, 3, 4)),
        lambda L, x: L.vmap(lambda a: a.reshape(5))(L.ones(2, 3)),
        lambda L, x: L.vmap(lambda a: a[5])(L.ones(2, 3)),
        lambda L, x: L.vmap(lambda a: a[a > 0])(L.ones(2, 3)),
        lambda L, x: L.vmap(lambda a: a.add_(L.ones(2, 1)))(L.ones(2, 3)),
    ]
):

    def _refused(L, call=_call):
        return call(L, L.ones(2))

    _refused.__name__ = f"refused_{_number}"
    scripts.raises(_refused)


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_messages_are_those_of_torch():
    torch = pytest.importorskip("torch")
    for call in (
        lambda L: L.vmap(lambda a: a, in_dims=2)(L.ones(2)),
        lambda L: L.vmap(lambda a: a)(3),
        lambda L: L.vmap(lambda a: a, in_dims=None)(L.ones(2)),
        lambda L: L.vmap(lambda a, b: a)(L.ones(2), L.ones(3)),
        lambda L: L.vmap(lambda a: (a, "a"))(L.ones(2)),
        lambda L: L.vmap(lambda a: a.item())(L.ones(2)),
    ):
        ours, theirs = observe(call, fl)[0], observe(call, torch)[0]
        check_error(ours, theirs)
        assert str(ours) == str(theirs)


DRAWS = {
    "rand": lambda a: fl.rand(3),
    "randn": lambda a: a * 0 + fl.randn((3,)),
    "randint": lambda a: fl.randint(0, 1 << 40, (2,)),
    "randperm": lambda a: fl.randperm(50),
    "rand_like": fl.rand_like,
    "randn_like": fl.randn_like,
    "normal_": lambda a: a.clone().normal_(),
    "uniform_": lambda a: fl.empty_like(a).uniform_(),
    "dropout": lambda a: fl.nn.functional.dropout(fl.ones_like(a).repeat(20)),
    "dropout of channels": lambda a: fl.nn.functional.dropout1d(fl.ones_like(a).repeat(1, 40, 1)),
    "kept": lambda a: fl.nn.functional.dropout(a, training=False),
}


@pytest.mark.parametrize("name", DRAWS)
def test_randomness(name):
    x, draw = fl.tensor(X), DRAWS[name]
    same = vmap(draw, randomness="same")(x - x)
    assert (same == same[:1]).all()
    other = vmap(draw, randomness="different")(x - x)
    assert other.shape == same.shape
    if name == "kept":
        assert (other == 0).all()
        return
    assert not (other == other[:1]).all()
    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(draw)(x)


def test_randomness_of_the_outer_level():
    draw = vmap(vmap(lambda a: a + fl.rand(()), randomness="same"), randomness="different")
    found = draw(fl.zeros(3, 4))
    assert (found == found[:, :1]).all()
    assert not (found == found[:1]).all()


def test_a_seed_gives_the_numbers_it_gives_outside():
    fl.manual_seed(3)
    expected = fl.randn(4, 3)
    fl.manual_seed(3)
    assert (vmap(lambda a: fl.randn(3), randomness="different")(fl.ones(4)) == expected).all()


def test_what_a_batched_tensor_is_made_of():
    kept = []
    vmap(vmap(lambda a: kept.append(a) or a))(fl.ones(2, 3))
    assert repr(kept[0]).startswith("BatchedTensor(lvl=2, bdim=0, value=\n    BatchedTensor(lvl=1")
    assert debug_unwrap(kept[0], recurse=False).shape == (3,)
    assert debug_unwrap(kept[0]).shape == (2, 3)


def test_an_example_cannot_change_what_all_share():
    shared = fl.zeros(3)
    with pytest.raises(RuntimeError, match="not being vmapped over"):
        vmap(lambda a: shared.add_(a))(fl.ones(2, 3))
    with pytest.raises(RuntimeError, match="not being vmapped over"):
        vmap(lambda a: shared.__setitem__(0, a))(fl.ones(2))
    assert (shared == 0).all()


def test_shared_weights_are_multiplied_once():
    """What one gemm does for a shared weight, it does for the copies that gradients need."""
    w, x, b = (fl.tensor(RNG.normal(size=s)) for s in ((5, 3), (4, 2, 3), (5,)))
    f = lambda w, b, x: fl.nn.functional.linear(x, w, b).tanh().sum()  # noqa: E731
    found = vmap(grad(f, argnums=(0, 1, 2)), in_dims=(None, None, 0))(w, b, x)
    rows = [grad(f, argnums=(0, 1, 2))(w, b, x[i]) for i in range(4)]
    for part, expected in zip(found, zip(*rows, strict=True), strict=True):
        np.testing.assert_allclose(part.numpy(), fl.stack(list(expected)).numpy(), 1e-12, 1e-12)


def test_other_threads_are_not_concerned():
    import threading

    drawn = []

    def f(a):
        thread = threading.Thread(target=lambda: drawn.append(fl.randn(2)))
        thread.start()
        thread.join()
        return a

    vmap(f)(fl.ones(3))
    assert drawn[0].shape == (2,)
