"""Modules as functions: `functional_call`, ensembles, gradients per example; against PyTorch's."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np
import pytest

import flambeau as fl
from flambeau.func import functional_call, functionalize, grad, rearrange, vmap
from tests.oracle import Scripts, agree

scripts = Scripts()
RNG = np.random.default_rng(4)


def F(L: Any) -> Any:
    return importlib.import_module(f"{L.__name__}.func")


def filled(model: Any) -> Any:
    """The model with parameters that do not depend on the library."""
    rng = np.random.default_rng(1)
    for p in model.parameters():
        p.data.copy_(p.data.new_tensor((rng.normal(size=tuple(p.shape)) * 0.5).tolist()))
    return model


def perceptron(L: Any) -> Any:
    return filled(L.nn.Sequential(L.nn.Linear(3, 5), L.nn.Tanh(), L.nn.Linear(5, 2)))


def convolutional(L: Any) -> Any:
    n = L.nn
    return filled(
        n.Sequential(
            n.Conv2d(1, 3, 3, padding=1), n.GroupNorm(1, 3), n.ReLU(), n.MaxPool2d(2),
            n.Conv2d(3, 4, 2, stride=2, groups=1), n.Flatten(), n.Linear(4, 2),
        )
    )  # fmt: skip


@functools.cache
def recurrent_class(L: Any) -> Any:
    class Net(L.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = L.nn.LSTM(3, 4, batch_first=True)
            self.head = L.nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    return Net


def recurrent(L: Any) -> Any:
    return filled(recurrent_class(L)())


def attending(L: Any) -> Any:
    layer = L.nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    return filled(L.nn.Sequential(layer, L.nn.Flatten(), L.nn.Linear(12, 2)))


NETS = {
    "perceptron": (perceptron, (6, 3)),
    "convolutional": (convolutional, (6, 1, 4, 4)),
    "recurrent": (recurrent, (6, 5, 3)),
    "attending": (attending, (6, 3, 4)),
}


@pytest.mark.parametrize("name", NETS)
def test_gradients_per_example(name):
    make, shape = NETS[name]
    inputs, targets = RNG.normal(size=shape), RNG.integers(0, 2, shape[0])

    def script(L):
        model = make(L).double()
        params = {k: v.detach() for k, v in model.named_parameters()}

        def loss(params, x, t):
            out = F(L).functional_call(model, params, (x.unsqueeze(0),))
            return L.nn.functional.cross_entropy(out, t.unsqueeze(0))

        per_example = F(L).vmap(F(L).grad(loss), in_dims=(None, 0, 0))
        return per_example(params, L.tensor(inputs), L.tensor(targets))

    if name != "recurrent":  # which PyTorch cannot map
        agree(script, rtol=1e-7, atol=1e-9)
    found, model = script(fl), make(fl).double()
    for i in range(shape[0]):
        model.zero_grad()
        x, t = fl.tensor(inputs)[i : i + 1], fl.tensor(targets)[i : i + 1]
        fl.nn.functional.cross_entropy(model(x), t).backward()
        for k, p in model.named_parameters():
            np.testing.assert_allclose(found[k][i].numpy(), p.grad.numpy(), 1e-7, 1e-10)


@pytest.mark.parametrize("name", [n for n in NETS if n != "recurrent"])
def test_ensembles(name):
    make, shape = NETS[name]
    inputs = RNG.normal(size=shape)

    def script(L):
        models = [make(L).double() for _ in range(3)]
        with L.no_grad():
            for k, m in enumerate(models):
                for p in m.parameters():
                    p.mul_(1 + k / 2)
        params, buffers = F(L).stack_module_state(models)

        def call(p, b, x):
            return F(L).functional_call(models[0], (p, b), (x,))

        x = L.tensor(inputs)
        together = F(L).vmap(call, in_dims=(0, 0, None))(params, buffers, x)
        each = F(L).vmap(call)(params, buffers, L.stack([x, x * 2, x * 3]))
        together.sum().backward()
        return together, each, {k: p.grad for k, p in params.items()}

    agree(script, rtol=1e-7, atol=1e-9)


def test_ensemble_of_recurrent_networks():
    models, x = [recurrent(fl).double() for _ in range(3)], fl.tensor(RNG.normal(size=(6, 5, 3)))
    with fl.no_grad():
        for k, m in enumerate(models):
            for p in m.parameters():
                p.mul_(1 + k / 2)
    params, _ = fl.func.stack_module_state(models)
    together = vmap(lambda p: functional_call(models[0], p, (x,)))(params)
    for out, m in zip(together, models, strict=True):
        np.testing.assert_allclose(out.detach().numpy(), m(x).detach().numpy(), 1e-10)


def test_hessian_vector_product_of_a_network():
    inputs = RNG.normal(size=(6, 3))

    def script(L):
        model = perceptron(L).double()
        params = {k: v.detach() for k, v in model.named_parameters()}
        f = lambda p: F(L).functional_call(model, p, (L.tensor(inputs),)).pow(2).mean()  # noqa: E731
        tangents = {k: v.cos() for k, v in params.items()}
        return F(L).jvp(F(L).grad(f), (params,), (tangents,))[1]

    agree(script, rtol=1e-7, atol=1e-9)


def tied(L: Any) -> Any:
    model = filled(L.nn.Sequential(L.nn.Linear(2, 2), L.nn.Linear(2, 2)))
    model[1].weight = model[0].weight
    return model


@scripts
def tied_weights(L):
    m, w, x = tied(L), L.eye(2) * 2, L.ones(1, 2)
    call = F(L).functional_call
    before = m[0].weight
    return [
        call(m, {"0.weight": w}, x),
        call(m, {"1.weight": w}, x),
        call(m, {"0.weight": w}, x, tie_weights=False),
        call(m, {"0.weight": w, "1.weight": w}, (x,), {}),
        call(m, [{"0.weight": w}, {"0.bias": w[0]}], x),
        call(m, {"0.weight": w, "0.bias": w[0], "1.bias": w[1]}, x, strict=True),
        m(x), m[0].weight is before,
    ]  # fmt: skip


@scripts
def unknown_names_are_passed_over(L):
    return F(L).functional_call(tied(L), {"other": L.ones(2)}, L.ones(1, 2))


@scripts
def buffers_that_change_are_handed_back(L):
    m = L.nn.BatchNorm1d(2)
    given = {"running_mean": L.zeros(2), "running_var": L.ones(2)}
    given["num_batches_tracked"] = L.tensor(0)
    out = F(L).functional_call(m, given, L.tensor([[1.0, 2.0], [3.0, 5.0]]))
    return out, given, m.running_mean, m.num_batches_tracked


@scripts.raises
def names_given_twice(L):
    return F(L).functional_call(tied(L), [{"0.weight": 1}, {"0.weight": 2}], L.ones(1, 2))


@scripts.raises
def two_values_for_tied_weights(L):
    w = L.eye(2)
    return F(L).functional_call(tied(L), {"0.weight": w, "1.weight": w + 1}, L.ones(1, 2))


@scripts.raises
def missing_names_when_strict(L):
    return F(L).functional_call(tied(L), {"0.weight": L.eye(2)}, L.ones(1, 2), strict=True)


@scripts.raises
def a_submodule_that_is_not_there(L):
    return F(L).functional_call(tied(L), {"0.zz.q": L.eye(2)}, L.ones(1, 2))


@scripts.raises
def no_tensor(L):
    return F(L).functional_call(tied(L), {"0.weight": 3}, L.ones(1, 2))


@scripts.raises
def no_dictionary(L):
    return F(L).functional_call(tied(L), 3, L.ones(1, 2))


@scripts.raises
def an_empty_ensemble(L):
    return F(L).stack_module_state([])


@scripts.raises
def an_ensemble_of_two_kinds(L):
    return F(L).stack_module_state([L.nn.Linear(1, 2), L.nn.ReLU()])


@scripts.raises
def an_ensemble_of_two_modes(L):
    return F(L).stack_module_state([L.nn.Linear(1, 2), L.nn.Linear(1, 2).eval()])


@scripts
def batch_norm_without_statistics(L):
    net = L.nn.Sequential(L.nn.Linear(3, 3), L.nn.Sequential(L.nn.BatchNorm1d(3)))
    F(L).replace_all_batch_norm_modules_(net)
    filled(net)
    x = L.tensor(RNG_X)
    f = lambda x: F(L).functional_call(net, dict(net.named_parameters()), (x,))  # noqa: E731
    return F(L).vmap(f)(x), net[1][0].running_mean, net[1][0].track_running_stats


RNG_X = RNG.normal(size=(2, 4, 3)).astype(np.float32)


@scripts.raises
def batch_norm_with_statistics(L):
    return L.vmap(L.nn.BatchNorm1d(3))(L.tensor(RNG_X))


@scripts
def rearranged(L):
    x = L.arange(24).reshape(2, 3, 4)
    r = F(L).rearrange
    return [
        r(x, "a b c -> c b a"), r(x, "a b c -> a (b c)"), r(x, "a b c -> (c a) b"),
        r(x, "a (b1 b2) c -> a b1 b2 c", b1=1), r(x, "... c -> c ..."),
        r(x, "a ... -> ... a"), r(x, "a b c -> a 1 b c"), r(x, "a b (c1 c2) -> (a c2) b c1", c2=2),
        r(x, "a b c -> a b c"),
    ]  # fmt: skip


@scripts.raises
def rearranged_by_a_name_that_is_missing(L):
    return F(L).rearrange(L.ones(2, 3), "a b -> a")


@scripts.raises
def rearranged_with_too_few_names(L):
    return F(L).rearrange(L.ones(2, 3), "a -> a")


@scripts
def functionalized(L):
    x = L.ones(3)

    def f(x):
        x.view(-1)[0].add_(4)
        return x * 2

    return F(L).functionalize(f)(x), x, F(L).functionalize(f, remove="mutations_and_views")(x)


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_the_older_place_warns():
    from flambeau.nn.utils import stateless

    m = fl.nn.Linear(2, 1)
    with pytest.warns(FutureWarning, match="deprecated"):
        out = stateless.functional_call(m, {"weight": fl.ones(1, 2)}, fl.ones(2))
    assert out.shape == (1,)


def test_the_module_is_left_as_it_was_when_the_call_fails():
    m = fl.nn.Linear(2, 1)
    own = m.weight
    with pytest.raises(RuntimeError):
        functional_call(m, {"weight": fl.ones(1, 2)}, (fl.ones(3),))
    assert m.weight is own
    assert m._parameters["weight"] is own


def test_gradients_reach_the_tensors_that_are_given():
    m, w = fl.nn.Linear(2, 1), fl.ones(1, 2, requires_grad=True)
    functional_call(m, {"weight": w}, (fl.ones(3, 2),)).sum().backward()
    assert w.grad.tolist() == [[3, 3]]
    assert m.weight.grad is None


def test_functionalized_arguments_change_once():
    x = fl.ones(3)
    functionalize(lambda a, b: a.add_(b))(x, x)
    assert x.tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="invalid argument"):
        functionalize(lambda a: a, remove="views")


def test_parts_that_do_not_fit():
    with pytest.raises(ValueError, match="does not fit"):
        rearrange(fl.ones(2, 3), "a (b c) -> a b c", b=2)


def test_rearranging_under_vmap_and_grad():
    x = fl.arange(24.0).reshape(2, 3, 4)
    assert vmap(lambda a: rearrange(a, "b c -> (c b)"))(x).shape == (2, 12)
    assert grad(lambda a: rearrange(a, "a b c -> (a b c)")[3])(x).sum() == 1
