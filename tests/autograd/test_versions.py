"""Version counters: what counts as a change, and backward refusing what was saved and then changed."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.errors import VersionError
from tests.oracle import Scripts, agree

scripts = Scripts()


def leaf(L, *values):
    return L.tensor(list(values), requires_grad=True)


@scripts
def counters(L):
    a = L.tensor([1.0, 2.0, 3.0])
    seen = [a._version]
    a.add_(1)
    seen.append(a._version)
    view = a[1:]
    view.mul_(2)
    seen += [a._version, view._version]
    a.detach().zero_()
    seen += [a._version, view._version]
    a.data.fill_(3)
    seen += [a._version, a.data._version]
    a[0] = 4
    a.copy_(L.ones(3))
    a.view(3, 1).t().exp_()
    seen.append(a._version)
    a += 1
    a.clamp_(min=2)
    seen.append(a._version)
    return seen


@scripts
def clones_count_for_themselves(L):
    a = L.ones(2)
    a.add_(1)
    b = a.clone()
    b.add_(1)
    return a._version, b._version


@scripts
def every_step_counts_under_no_grad(L):
    a = leaf(L, 1.0)
    with L.no_grad():
        a.add_(1)
        a.mul_(2)
    return a._version


@scripts.raises
def saved_input_changed(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 2
    c = b * b
    b.add_(1)
    c.sum().backward()


@scripts
def unsaved_input_changed(L):
    a, w = leaf(L, 1.0, 2.0), L.tensor([3.0, 4.0])
    b = a * 2
    c = b * w
    b.add_(1)
    c.sum().backward()
    return a.grad


@scripts.raises
def saved_constant_changed(L):
    a, w = leaf(L, 1.0, 2.0), L.tensor([3.0, 4.0])
    c = a * w
    w.add_(1)
    c.sum().backward()


@scripts.raises
def saved_output_changed(L):
    b = leaf(L, 1.0, 2.0).exp()
    b.add_(1)
    b.sum().backward()


@scripts.raises
def saved_output_of_a_structured_op_changed(L):
    b = leaf(L, 1.0, 2.0).softmax(0)
    b[0] = 0.5
    b.sum().backward()


@scripts.raises
def saved_output_changed_after_another_use(L):
    b = leaf(L, 1.0, 2.0).sigmoid()
    c = b * 3
    b.zero_()
    c.sum().backward()


@scripts.raises
def saved_leaf_changed_without_recording(L):
    a = leaf(L, 1.0, 2.0)
    b = a * a
    with L.no_grad():
        a.add_(1)
    b.sum().backward()


@scripts.raises
def saved_tensor_changed_through_a_view(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 2
    c = b * b
    b[0].add_(1)
    c.sum().backward()


@scripts.raises
def saved_view_changed_through_its_base(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 2
    v = b[0]
    c = v * v
    b.add_(1)
    c.backward()


@scripts.raises
def saved_view_changed_through_another_view(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 2
    first, second = b[:1], b[1:]
    c = first * first
    second.add_(1)
    c.backward()


@scripts.raises
def saved_tensor_changed_through_detach(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 2
    c = b * b
    b.detach().add_(1)
    c.sum().backward()


@scripts.raises
def saved_leaf_changed_through_detach(L):
    a = leaf(L, 1.0, 2.0)
    c = a * a
    a.detach().add_(1)
    c.sum().backward()


@scripts
def saved_tensor_changed_through_data_is_not_noticed(L):
    a = leaf(L, 1.0, 2.0)
    c = a * a
    a.data.add_(1)
    c.sum().backward()
    return a.grad


@scripts.raises
def saved_weight_changed_by_setitem(L):
    x, w = leaf(L, 1.0, 2.0), leaf(L, 3.0, 4.0)
    y = (x * w).sum()
    with L.no_grad():
        w[0] = 7
    y.backward()


@scripts.raises
def saved_matrix_changed(L):
    a, w = L.ones(2, 2, requires_grad=True), L.ones(2, 2)
    y = a @ w
    w.mul_(2)
    y.sum().backward()


@scripts
def matrix_whose_gradient_is_not_needed_may_change(L):
    a, w = L.ones(2, 2, requires_grad=True), L.ones(2, 2)
    y = w @ a
    a.data.mul_(2)
    y.sum().backward()
    return a.grad


@scripts
def saved_list_argument_changed(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 2
    y = L.cat([b, b]) * L.cat([b, b])
    b.add_(1)
    y.sum().backward()
    return a.grad


@scripts.raises
def changed_back_is_still_changed(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 2
    c = b * b
    b.add_(1)
    b.sub_(1)
    c.sum().backward()


@scripts.raises
def changed_between_two_backwards(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 2
    c = (b * b).sum()
    c.backward(retain_graph=True)
    b.mul_(2)
    c.backward()


@scripts.raises
def in_place_by_itself(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 1
    b.mul_(b)
    b.sum().backward()
    return a.grad


@scripts.raises
def out_counts_as_a_change(L):
    a, out = leaf(L, 1.0, 2.0), L.ones(2)
    y = a * out
    L.add(L.ones(2), L.ones(2), out=out)
    y.sum().backward()


@scripts.raises
def double_backward_checks_too(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 1
    y = (b**3).sum()
    (g,) = L.autograd.grad(y, b, create_graph=True)
    b.data.mul_(1)
    b.detach().mul_(2)
    g.sum().backward()


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_in_place_ops_keep_what_their_derivatives_need():
    # PyTorch refuses this backward, because exp_'s result was squared in place afterwards.
    a = flambeau.tensor([1.0, 2.0], dtype=flambeau.float64, requires_grad=True)
    b = a * 0.5
    b.mul_(b.detach() + 1)
    factor = b.detach() / (a.detach() * 0.5)
    b.exp_()
    b.pow_(2)
    b.sum().backward()
    inner = factor * a.detach() * 0.5
    np.testing.assert_allclose(a.grad.numpy(), (2 * (2 * inner).exp() * factor * 0.5).numpy())


SAVERS = {
    "mul": lambda b: b * b,
    "exp": lambda b: b.exp(),
    "softmax": lambda b: b.softmax(0),
    "matmul": lambda b: b @ b,
    "prod": lambda b: b.prod(),
    "norm": lambda b: b.norm(),
    "where": lambda b: flambeau.where(b > 1, b * b, b),
    "max": lambda b: b.view(2, 1).max(1).values * b,
    "pow": lambda b: b**3,
    "std": lambda b: b.std(),
    "layer_norm": lambda b: flambeau.nn.functional.layer_norm(b, [2]),
    "cumprod": lambda b: b.cumprod(0),
}
OUTPUT_SAVERS = ("exp", "softmax")


@pytest.mark.parametrize("name", SAVERS)
def test_a_changed_input_or_output_is_noticed(name):
    a = flambeau.tensor([1.0, 2.0], requires_grad=True)
    b = a * 2
    y = SAVERS[name](b)
    (y if name in OUTPUT_SAVERS else b).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_the_error_names_the_op_the_shape_and_both_lines():
    a = flambeau.tensor([1.0, 2.0], requires_grad=True)
    b = a.view(2, 1) * 2
    with flambeau.autograd.detect_anomaly():
        y = b.softmax(0) * b
    b.add_(1)  # the change
    with pytest.raises(VersionError) as caught:
        y.sum().backward()
    text = str(caught.value)
    assert "FloatTensor [2, 1]" in text
    assert "version 1; expected version 0" in text
    assert "MulBackward0" in text
    assert "y = b.softmax(0) * b" in text


def test_the_error_names_the_changing_line_of_a_shared_tensor():
    a = flambeau.tensor([1.0, 2.0], requires_grad=True)
    b = a * 2
    alias = b.detach()
    y = b * b
    alias.sub_(1)
    with pytest.raises(VersionError, match=r"changed by sub_ at .*alias\.sub_\(1\)"):
        y.sum().backward()
