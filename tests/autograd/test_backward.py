"""`backward` and `grad`: what they return, where gradients go, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()


def leaf(L, values, **kwargs):
    return L.tensor(values, requires_grad=True, **kwargs)


@scripts
def chain_rule_with_broadcasting(L):
    a, b = leaf(L, [[1.0, 2.0], [3.0, 4.0]]), leaf(L, [10.0, 20.0])
    ((a * b + 2.0 * a - b / a) * (1 - a)).sum().backward()
    return a.grad, b.grad


@scripts
def every_use_of_a_leaf_counts(L):
    a = leaf(L, [1.0, -2.0])
    (a * a + a.exp() * a - a / 3).sum().backward()
    return a.grad


@scripts
def a_diamond(L):
    a = leaf(L, 2.0)
    left, right = a * 3, a**2
    joined = left * right
    (joined + left).backward()
    return a.grad


@scripts
def a_leaf_is_its_own_root(L):
    a = leaf(L, 3.0)
    a.backward()
    a.backward(L.tensor(5.0))
    return a.grad


@scripts
def gradient_argument(L):
    a = leaf(L, [1.0, 2.0, 3.0])
    (a * a).backward(L.tensor([1.0, 10.0, 100.0]))
    return a.grad


@scripts
def one_element_is_a_scalar(L):
    a = leaf(L, [[3.0]])
    (a * a).backward()
    return a.grad


@scripts.raises
def not_a_scalar(L):
    (leaf(L, [1.0, 2.0]) * 2).backward()


@scripts.raises
def wrong_gradient_shape(L):
    (leaf(L, [1.0, 2.0]) * 2).backward(L.ones(3))


@scripts.raises
def nothing_to_differentiate(L):
    L.tensor([1.0]).sum().backward()


@scripts.raises
def complex_scalar_needs_a_gradient(L):
    a = leaf(L, [1 + 1j])
    (a * a).sum().backward()


@scripts
def gradients_accumulate(L):
    a = leaf(L, [1.0, 2.0])
    for _ in range(3):
        (a * a).sum().backward()
    return a.grad


@scripts.raises
def second_backward_fails(L):
    a = leaf(L, [1.0, 2.0])
    y = (a * a).sum()
    y.backward()
    y.backward()


@scripts.raises
def second_backward_of_exp_fails(L):
    y = leaf(L, [1.0, 2.0]).exp().sum()
    y.backward()
    y.backward()


@scripts
def second_backward_without_saved_tensors_works(L):
    a = leaf(L, [1.0, 2.0])
    y = a + a
    y.backward(L.ones(2))
    y.backward(L.ones(2))
    return a.grad


@scripts.raises
def a_freed_part_is_enough_to_fail(L):
    a = leaf(L, [1.0, 2.0])
    shared = a.exp()
    shared.sum().backward()
    (shared * 2).sum().backward()


@scripts
def retain_graph_allows_a_second(L):
    a = leaf(L, [1.0, 2.0])
    y = (a * a).sum()
    y.backward(retain_graph=True)
    y.backward()
    return a.grad


@scripts
def create_graph_keeps_the_graph(L):
    a = leaf(L, [1.0, 2.0])
    y = (a**3).sum()
    (g,) = L.autograd.grad(y, a, create_graph=True)
    (h,) = L.autograd.grad(g.sum(), a, create_graph=True)
    (k,) = L.autograd.grad(h.sum(), a)
    return g, h, k, g.requires_grad, k.requires_grad


@scripts
def create_graph_false_gives_plain_tensors(L):
    a = leaf(L, [1.0, 2.0])
    (g,) = L.autograd.grad((a * a).sum(), a)
    return g.requires_grad, g.grad_fn is None, a.grad is None


@scripts
def backward_with_create_graph(L):
    a = leaf(L, [1.0, 2.0])
    (a**3).sum().backward(create_graph=True)
    (a.grad * a).sum().backward(inputs=[a])
    return a.grad.detach()


@scripts
def gradient_of_a_gradient_penalty(L):
    w, x = leaf(L, [[1.0, 2.0], [3.0, 4.0]]), leaf(L, [0.5, -1.0])
    y = ((w @ x).tanh() ** 2).sum()
    (g,) = L.autograd.grad(y, x, create_graph=True)
    (g.norm() + y).backward()
    return w.grad, x.grad


@scripts
def grad_of_intermediate_and_leaf(L):
    a = leaf(L, [1.0, 2.0])
    b = a * 2
    c = b * b
    return L.autograd.grad(c.sum(), [b, a])


@scripts
def grad_of_the_output_itself(L):
    a = leaf(L, [1.0, 2.0])
    y = (a * a).sum()
    return L.autograd.grad(y, [y, a])


@scripts
def grad_of_several_outputs(L):
    a, b = leaf(L, [1.0, 2.0]), leaf(L, [3.0])
    return L.autograd.grad([(a * b).sum(), (a * a)], [a, b], [None, L.tensor([2.0, 3.0])])


@scripts
def one_output_depends_on_another(L):
    a = leaf(L, [1.0, 2.0])
    first = (a * a).sum()
    second = first * a.sum()
    return L.autograd.grad([second, first], a)


@scripts
def the_same_output_twice(L):
    a = leaf(L, [1.0, 2.0])
    y = (a * a).sum()
    L.autograd.backward([y, y])
    return a.grad


@scripts
def the_same_input_twice(L):
    a = leaf(L, [1.0, 2.0])
    return L.autograd.grad((a * a).sum(), [a, a])


@scripts.raises
def unused_input_is_an_error(L):
    a, b = leaf(L, [1.0, 2.0]), leaf(L, [1.0])
    L.autograd.grad((a * 2).sum(), [a, b])


@scripts
def unused_input_allowed(L):
    a, b = leaf(L, [1.0, 2.0]), leaf(L, [1.0])
    return L.autograd.grad((a * 2).sum(), [a, b], allow_unused=True)


@scripts
def unused_input_materialized(L):
    a, b = leaf(L, [1.0, 2.0]), leaf(L, [[1.0], [2.0]])
    return L.autograd.grad((a * 2).sum(), [a, b], materialize_grads=True)


@scripts.raises
def materialize_contradicts_allow_unused(L):
    a = leaf(L, [1.0])
    L.autograd.grad(a * 2, a, allow_unused=False, materialize_grads=True)


@scripts.raises
def input_without_requires_grad(L):
    a = leaf(L, [1.0, 2.0])
    L.autograd.grad((a * a).sum(), [L.tensor([1.0])])


@scripts.raises
def too_few_gradients(L):
    a = leaf(L, [1.0, 2.0])
    L.autograd.grad([a * 2, a * 3], a, [L.ones(2)])


@scripts
def backward_with_inputs(L):
    a, b = leaf(L, [1.0, 2.0]), leaf(L, [3.0, 4.0])
    (a * b).sum().backward(inputs=[b])
    return a.grad is None, b.grad


@scripts
def backward_with_inputs_accumulates(L):
    a, b = leaf(L, [1.0, 2.0]), leaf(L, [3.0, 4.0])
    for _ in range(2):
        (a * b).sum().backward(inputs=b)
    return b.grad


@scripts.raises
def backward_with_no_inputs(L):
    leaf(L, [1.0]).sum().backward(inputs=[])


@scripts
def backward_with_an_intermediate_input(L):
    a = leaf(L, [1.0, 2.0])
    b = a * 3
    b.retain_grad()
    (b * b).sum().backward(inputs=[b])
    return b.grad, a.grad is None


@scripts
def integer_outputs_have_no_gradient(L):
    values, indices = leaf(L, [[1.0, 3.0], [4.0, 2.0]]).max(1)
    return values.requires_grad, indices.requires_grad


@scripts
def multiple_outputs_some_unused(L):
    a = leaf(L, [1.0, 2.0, 3.0, 4.0])
    _, second = a.split(2)
    (second * second).sum().backward()
    return a.grad


@scripts
def unbind_outputs(L):
    a = leaf(L, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    x, y, _ = a.unbind(0)
    (x * y * y).sum().backward()
    return a.grad


@scripts
def max_along_a_dimension(L):
    a = leaf(L, [[1.0, 5.0, 2.0], [7.0, 0.0, 3.0]])
    values, _ = a.max(1)
    (values * L.tensor([2.0, 3.0])).sum().backward()
    return a.grad


@scripts
def outputs_used_several_times(L):
    a = leaf(L, [3.0, 1.0, 2.0])
    values, order = a.sort()
    (values * values + values).sum().backward()
    return a.grad, order


@scripts
def dtypes_meet(L):
    a = leaf(L, [1.0, 2.0])
    b = leaf(L, [3.0, 4.0], dtype=L.float64)
    (a * b + a.double()).sum().backward()
    return a.grad, b.grad


@scripts
def complex_and_real(L):
    a = leaf(L, [1.0, 2.0])
    z = leaf(L, [1 + 2j, 3 - 1j])
    (a * z * z).abs().sum().backward()
    return a.grad, z.grad


@scripts
def zero_size(L):
    a = leaf(L, [])
    (a * 2).sum().backward()
    return a.grad


@scripts
def zero_dimensional(L):
    a, b = leaf(L, 2.0), leaf(L, [1.0, 2.0])
    (a * b).sum().backward()
    return a.grad, b.grad


@scripts
def nan_and_infinity_go_through(L):
    a = leaf(L, [0.0, float("inf"), float("nan"), -1.0])
    a.sqrt().sum().backward()
    return a.grad


@scripts
def batched_grad_outputs(L):
    a = leaf(L, [1.0, 2.0])
    return L.autograd.grad(a * a, a, L.eye(2), is_grads_batched=True)


@scripts
def assigned_grad_is_added_to(L):
    a = leaf(L, [1.0, 2.0])
    a.grad = L.tensor([10.0, 20.0])
    (a * a).sum().backward()
    return a.grad


@scripts.raises
def assigned_grad_of_wrong_shape(L):
    leaf(L, [1.0, 2.0]).grad = L.ones(3)


@scripts.raises
def assigned_grad_of_wrong_dtype(L):
    leaf(L, [1.0, 2.0]).grad = L.ones(2, dtype=L.float64)


@scripts.raises
def assigned_grad_that_is_no_tensor(L):
    leaf(L, [1.0, 2.0]).grad = [1.0, 2.0]


@scripts
def deleted_grad(L):
    a = leaf(L, [1.0])
    a.sum().backward()
    del a.grad
    return a.grad


@scripts.raises
def requires_grad_of_integers(L):
    L.tensor([1, 2]).requires_grad_()


@scripts.raises
def requires_grad_off_for_a_result(L):
    (leaf(L, [1.0]) * 2).requires_grad_(False)


@scripts
def requires_grad_on_a_result_is_allowed(L):
    return (leaf(L, [1.0]) * 2).requires_grad_().requires_grad


@scripts
def switched_off_before_use(L):
    a, b = leaf(L, [1.0]), leaf(L, [2.0])
    a.requires_grad_(False)
    (a * b).backward()
    return a.grad is None, b.grad


@scripts
def switched_off_after_use(L):
    a, b = leaf(L, [1.0]), leaf(L, [2.0])
    y = a * b
    a.requires_grad = False
    y.backward()
    return b.grad


@scripts
def detach_cuts(L):
    a = leaf(L, [2.0])
    (a.detach() * a).backward()
    return a.grad, a.detach().requires_grad


@scripts
def detach_in_place_cuts(L):
    a = leaf(L, [2.0])
    b = a * a
    b.detach_()
    return b.is_leaf, b.requires_grad, b.grad_fn is None


@scripts
def facts_of_leaves_and_results(L):
    a = leaf(L, [1.0])
    b = a * 2
    c = L.tensor([1.0])
    return [(t.is_leaf, t.requires_grad, t.grad_fn is None, t.output_nr) for t in (a, b, c)]


@scripts
def output_numbers(L):
    return [t.output_nr for t in leaf(L, [1.0, 2.0, 3.0]).unbind()]


@scripts
def grad_of_a_result_warns(L):
    return (leaf(L, [1.0]) * 2).grad


@scripts
def a_long_chain(L):
    a = leaf(L, [1.0])
    y = a
    for _ in range(3000):
        y = y * 1.0001 + 0.0
    y.sum().backward()
    return a.grad


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script, warned=script in (grad_of_a_result_warns,))


def test_a_very_deep_graph_is_run_and_freed_without_recursion():
    a = flambeau.tensor([1.0], requires_grad=True)
    y = a
    for _ in range(200_000):
        y = -y
    y.backward()
    assert a.grad.item() == 1.0
    del y


def test_an_exception_leaves_the_tape_usable():
    a = flambeau.tensor([1.0, 2.0], requires_grad=True)
    b = a * a
    c = (b * b).sum() + b.sum()
    handle = b.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        c.backward(retain_graph=True)
    handle.remove()
    a.grad = None
    c.backward(retain_graph=True)
    np.testing.assert_allclose(a.grad.numpy(), 4 * np.array([1.0, 8.0]) + 2 * np.array([1.0, 2.0]))
    with pytest.raises(RuntimeError):
        flambeau.autograd.grad([c, flambeau.ones(2)], a)
    (g,) = flambeau.autograd.grad(c, a)
    np.testing.assert_allclose(g.numpy(), a.grad.numpy())


def test_grad_leaves_the_accumulated_gradients_alone():
    a = flambeau.tensor([1.0, 2.0], requires_grad=True)
    b = flambeau.tensor([3.0, 4.0], requires_grad=True)
    y = (a * b).sum()
    flambeau.autograd.grad(y, a, retain_graph=True)
    assert a.grad is None
    assert b.grad is None
    y.backward()
    assert a.grad.tolist() == [3.0, 4.0]
    assert b.grad.tolist() == [1.0, 2.0]
