"""Derivatives of functions, nested in every order: against PyTorch's."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import flambeau as fl
from flambeau import func
from tests.oracle import Scripts, agree

scripts = Scripts()
RNG = np.random.default_rng(5)
X, W, V = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=3)


def F(L: Any) -> Any:
    return importlib.import_module(f"{L.__name__}.func")


def given(L: Any, *arrays: np.ndarray) -> list[Any]:
    return [L.tensor(a) for a in arrays]


def loss(L: Any) -> Any:
    return lambda w, x: L.tanh(x @ w).pow(2).sum()


@scripts
def gradient(L):
    x, w = given(L, X, W)
    return F(L).grad(loss(L))(w, x), F(L).grad_and_value(loss(L), argnums=(0, 1))(w, x)


@scripts
def gradients_in_the_structure_of_the_arguments(L):
    x, w = given(L, X, W)
    f = lambda p, x: (x @ p["w"] + p["b"][0]).sin().mean()  # noqa: E731
    return F(L).grad(f)({"w": w, "b": [w[0]]}, x)


@scripts
def with_something_beside_the_result(L):
    x, w = given(L, X, W)
    f = lambda w, x: (loss(L)(w, x), {"mean": w.mean()})  # noqa: E731
    return F(L).grad(f, has_aux=True)(w, x), F(L).grad_and_value(f, has_aux=True)(w, x)


@scripts
def an_unused_argument_has_a_gradient_of_zeros(L):
    x, w = given(L, X, W)
    return F(L).grad(lambda w, x: x.sum(), argnums=(0, 1))(w, x)


@scripts
def recording_inside_and_outside(L):
    (v,) = given(L, V)
    v.requires_grad_()
    with L.no_grad():
        a = F(L).grad(lambda x: (x**2).sum())(v)

    def partly(x):
        with L.no_grad():
            c = x**2
        return (x**3 - c).sum()

    b = F(L).grad(partly)(v)
    return a, a.requires_grad, b, b.requires_grad, L.autograd.grad(b.sum(), v)[0]


@scripts
def of_a_tensor_that_requires_a_gradient_outside(L):
    v, w = given(L, V, V[::-1].copy())
    w.requires_grad_()
    g = F(L).grad(lambda x: (x**3 * w).sum())(v)
    return g, L.autograd.grad(g.sum(), w)[0]


@scripts
def a_result_that_nothing_outside_needs_is_not_recorded(L):
    (v,) = given(L, V)
    g, value = F(L).grad_and_value(lambda x: (x**2).sum())(v)
    out, pull = F(L).vjp(L.sin, v)
    return [t.requires_grad for t in (g, value, out, pull(v)[0])]


@scripts
def no_perturbation_is_confused(L):
    (v,) = given(L, V)
    g, j = F(L).grad, F(L).jvp
    return (
        g(lambda x: x * g(lambda y: x + y)(x))(v[0]),
        j(lambda x: x * j(lambda y: x + y, (x,), (L.ones_like(x),))[1], (v,), (v,)),
        g(lambda x: (x * j(lambda y: x * y, (x,), (x,))[1]).sum())(v),
        j(g(lambda x: (x * j(lambda y: x * y.sin(), (x,), (x,))[1]).sum()), (v,), (v,)),
    )


@scripts
def vector_jacobian_products(L):
    x, w = given(L, X, W)
    out, pull = F(L).vjp(lambda x, w: (x @ w, {"s": x.sum(0)}), x, w)
    both = pull((L.ones_like(out[0]), {"s": L.ones_like(out[1]["s"])}))
    again = pull((out[0], {"s": out[1]["s"]}))
    return out, both, again


@scripts
def jacobian_vector_products(L):
    x, w = given(L, X, W)
    f = lambda x, w: (L.softmax(x @ w, 1), x.cumsum(0), L.ones(2))  # noqa: E731
    return F(L).jvp(f, (x, w), (x.cos(), w.sin()))


@scripts
def jvp_with_something_beside(L):
    (v,) = given(L, V)
    return F(L).jvp(lambda x: (x.sin(), x + 1), (v,), (v,), has_aux=True)


@scripts
def linearized(L):
    x, w = given(L, X, W)
    out, push = F(L).linearize(lambda x, w: L.log_softmax(x @ w, 1), x, w)
    return out, push(x, w), push(x * 2, w * 0), F(L).vmap(push)(L.stack([x, x]), L.stack([w, w]))


@scripts
def jacobians(L):
    x, w = given(L, X, W)
    f = lambda x, w: (L.tanh(x @ w), {"n": w.norm()})  # noqa: E731
    return [
        (getattr(F(L), kind)(f)(x, w), getattr(F(L), kind)(f, argnums=(1, 0))(x, w))
        for kind in ("jacrev", "jacfwd")
    ]


@scripts
def jacobians_by_rows(L):
    x, w = given(L, X, W)
    f = lambda w: L.tanh(x @ w)  # noqa: E731
    return [F(L).jacrev(f, chunk_size=n)(w) for n in (1, 3, 100)]


@scripts
def jacobians_with_something_beside(L):
    (v,) = given(L, V)
    f = lambda v: (v * v.sum(), v + 1)  # noqa: E731
    return F(L).jacrev(f, has_aux=True)(v), F(L).jacfwd(f, has_aux=True)(v)


@scripts
def hessians(L):
    x, w = given(L, X, W)
    return F(L).hessian(lambda w: loss(L)(w, x))(w), F(L).hessian(loss(L), argnums=(0, 1))(w, x)


NESTED = [
    lambda L, v: (v.sin() * v.sum()).exp(),
    lambda L, v: L.softmax(v * v.sum(), 0),
    lambda L, v: L.nn.functional.normalize(v.exp(), dim=0),
    lambda L, v: L.cat([v, v * v]).sort().values.cumprod(0),
    lambda L, v: L.linalg.inv(v[:, None] * v + 2 * L.eye(3, dtype=v.dtype)),
    lambda L, v: L.nn.functional.conv1d(v.reshape(1, 1, 3), v[:2].reshape(1, 1, 2)).abs().max(),
    lambda L, v: L.where(v > 0, v.exp(), v * v).prod(),
]


@pytest.mark.parametrize("outer", ["jacfwd", "jacrev"])
@pytest.mark.parametrize("inner", ["jacfwd", "jacrev"])
@pytest.mark.parametrize("f", NESTED, ids=range(len(NESTED)))
def test_second_derivatives_alone_and_of_many_examples(f, inner, outer):
    def script(L):
        kinds = F(L)
        second = getattr(kinds, outer)(getattr(kinds, inner)(lambda v: f(L, v)))
        v, x = given(L, V, X)
        return second(v), kinds.vmap(second)(x)

    agree(script, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "order", ["grad grad grad", "jvp grad grad", "grad jvp jvp", "jvp jvp jvp"]
)
def test_third_derivatives(order):
    def script(L):
        (v,) = given(L, V)
        f = lambda x: (x.sin() * x.exp()).sum()  # noqa: E731
        for kind in order.split()[::-1]:
            if kind == "grad":
                f = lambda x, f=f: F(L).grad(f)(x).sum()  # noqa: E731
            else:
                f = lambda x, f=f: F(L).jvp(f, (x,), (L.ones_like(x),))[1]  # noqa: E731
        return f(v), F(L).vmap(f)(v), F(L).vmap(F(L).vmap(f))(v.expand(2, 3))

    agree(script)


@scripts
def hessian_vector_products(L):
    v, x = given(L, V, X)
    f = lambda v: (L.tanh(x @ v) ** 2).sum()  # noqa: E731
    forward = F(L).jvp(F(L).grad(f), (v,), (v.cos(),))[1]
    reverse = F(L).vjp(F(L).grad(f), v)[1](v.cos())[0]
    twice = F(L).grad(lambda v: F(L).jvp(f, (v,), (x[0],))[1])(v)
    return forward, reverse, twice


@scripts
def gradients_per_example(L):
    x, w = given(L, X, W)
    return (
        F(L).vmap(F(L).grad(loss(L)), in_dims=(None, 0))(w, x),
        F(L).vmap(F(L).grad(loss(L), argnums=(0, 1)), in_dims=(None, 0))(w, x),
        F(L).vmap(F(L).jacrev(lambda w, x: L.tanh(x @ w)), in_dims=(None, 0))(w, x),
        F(L).vmap(F(L).hessian(loss(L)), in_dims=(None, 0))(w, x),
    )


@scripts
def a_gradient_of_a_mapped_function(L):
    x, w = given(L, X, W)
    one = lambda w, x: L.softmax(x @ w, 0)[0]  # noqa: E731
    return F(L).grad(lambda w: F(L).vmap(one, (None, 0))(w, x).sum())(w)


@scripts
def a_pullback_made_outside_and_mapped(L):
    x, w = given(L, X, W)
    out, pull = F(L).vjp(lambda w: L.tanh(x @ w), w)
    return F(L).vmap(pull)(L.stack([out, out * 2, out * 0]))


@scripts
def in_place_inside(L):
    (x,) = given(L, X)

    def f(x):
        y = x.sin()
        y.mul_(x)
        y[0] = y[1] * 2
        z = y[1:]
        z.add_(1)
        return (y**2).sum()

    g = F(L)
    t = (x.cos(),)
    return g.grad(f)(x), g.jvp(f, (x,), t), g.vmap(g.grad(f))(x), g.vmap(f)(x), g.hessian(f)(x[0])


@scripts
def optimisation_steps_of_many_starts(L):
    x, w = given(L, X, W)

    def descend(w0, x):
        w = w0
        for _ in range(3):
            w = w - 0.1 * F(L).grad(loss(L))(w, x)
        return loss(L)(w, x)

    starts = L.stack([w, w * 2])
    return (
        F(L).vmap(descend, in_dims=(0, None))(starts, x),
        F(L).grad(descend)(w, x),
        F(L).vmap(F(L).grad(descend), in_dims=(0, None))(starts, x),
    )


@scripts
def complex_numbers(L):
    (x,) = given(L, X)
    f = lambda x: (L.fft.fft(x) * x).abs().sum()  # noqa: E731
    return F(L).grad(f)(x), F(L).vmap(F(L).grad(f))(x), F(L).jvp(f, (x,), (x,))


# ---------------------------------------------------------------- errors
@scripts.raises
def grad_of_no_scalar(L):
    return F(L).grad(lambda x: x)(L.ones(2))


@scripts.raises
def grad_of_a_number(L):
    return F(L).grad(lambda x: 3)(L.ones(2))


@scripts.raises
def grad_without_aux(L):
    return F(L).grad(lambda x: (x.sum(), 1, 2), has_aux=True)(L.ones(2))


@scripts.raises
def grad_of_an_argument_that_is_not_there(L):
    return F(L).grad(lambda x: x.sum(), argnums=2)(L.ones(2))


@scripts.raises
def grad_by_name(L):
    return F(L).grad(lambda x: x.sum(), argnums="x")(L.ones(2))


@scripts.raises
def grad_for_a_number(L):
    return F(L).grad(lambda x: x.sum())(3)


@scripts.raises
def grad_for_integers(L):
    return F(L).grad(lambda x: x.sum())(L.zeros(2, dtype=L.long))


@scripts.raises
def vjp_of_a_number(L):
    return F(L).vjp(lambda x: 3, L.ones(2))


@scripts.raises
def vjp_of_the_wrong_shape(L):
    return F(L).vjp(lambda x: x, L.ones(2))[1](L.ones(3))


@scripts.raises
def vjp_of_the_wrong_structure(L):
    return F(L).vjp(lambda x: (x, x), L.ones(2))[1](L.ones(2))


@scripts.raises
def jvp_without_a_tuple(L):
    return F(L).jvp(lambda x: x, L.ones(2), L.ones(2))


@scripts.raises
def jvp_of_the_wrong_shape(L):
    return F(L).jvp(lambda x: x, (L.ones(2),), (L.ones(3),))


@scripts.raises
def jvp_of_nothing(L):
    return F(L).jvp(lambda x: x, (), ())


@scripts.raises
def backward_inside(L):
    return F(L).vmap(lambda x: x.backward())(L.ones(2))


@scripts.raises
def no_rows_at_a_time(L):
    return F(L).jacrev(lambda x: x.sum(), chunk_size=0)(L.ones(2))


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_gradients_are_slopes():
    f = lambda x: (fl.tanh(x) * x.sum()).prod()  # noqa: E731
    x, u = fl.tensor(V), fl.tensor(V[::-1].copy())
    slope = (f(x + 1e-6 * u) - f(x - 1e-6 * u)) / 2e-6
    np.testing.assert_allclose(float((func.grad(f)(x) * u).sum()), float(slope), rtol=1e-6)
    np.testing.assert_allclose(float(func.jvp(f, (x,), (u,))[1]), float(slope), rtol=1e-6)


def test_autograd_inside():
    def f(v):
        v = v.detach().requires_grad_()
        (g,) = fl.autograd.grad((v**3).sum(), v, create_graph=True)
        return g, fl.autograd.grad(g.sum(), v)[0]

    x = fl.tensor(X)
    first, second = func.vmap(f)(x)
    np.testing.assert_allclose(first.detach().numpy(), 3 * X**2)
    np.testing.assert_allclose(second.detach().numpy(), 6 * X)


def test_a_layers_own_weight_as_its_input():
    """PyTorch 2.13 gets this one wrong, so it is held against differences."""
    f = lambda v: fl.nn.functional.layer_norm(v.exp(), (3,), v)  # noqa: E731
    first = func.jacrev(f)
    v, found = fl.tensor(V), func.jacrev(first)(fl.tensor(V)).numpy()
    forward = func.jacfwd(func.jacfwd(f))(v).numpy()
    for i, step in enumerate(fl.eye(3, dtype=v.dtype) * 1e-6):
        slope = (first(v + step) - first(v - step)) / 2e-6
        np.testing.assert_allclose(found[:, :, i], slope.numpy(), 1e-6, 1e-7)
        np.testing.assert_allclose(forward[:, :, i], slope.numpy(), 1e-6, 1e-7)


def test_levels_are_left_when_a_function_fails():
    from flambeau.autograd.levels import batched_levels

    def fails(x):
        raise ValueError("on purpose")

    for transform in (func.vmap, func.grad, func.jacfwd, func.jacrev):
        with pytest.raises(ValueError, match="on purpose"):
            transform(fails)(fl.ones(2))
    assert batched_levels() == []
    assert not fl.randn(2).isnan().any()


def test_strict_refuses_what_does_not_depend():
    with pytest.raises(RuntimeError, match="independent"):
        func.jvp(lambda x: fl.ones(2), (fl.ones(2),), (fl.ones(2),), strict=True)
