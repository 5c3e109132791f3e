"""In-place changes and the tape: leaves, views, views of views, stale views, assignments."""

from __future__ import annotations

import gc

import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()


def leaf(L, *values):
    return L.tensor(list(values), requires_grad=True)


@scripts.raises
def leaf_changed(L):
    leaf(L, 1.0, 2.0).add_(1)


@scripts.raises
def leaf_assigned(L):
    leaf(L, 1.0, 2.0)[0] = 1


@scripts.raises
def view_of_a_leaf_changed(L):
    leaf(L, 1.0, 2.0)[0].add_(1)


@scripts.raises
def view_of_a_view_of_a_leaf_changed(L):
    leaf(L, 1.0, 2.0).view(2, 1)[0].add_(1)


@scripts.raises
def leaf_made_by_detach_changed(L):
    a = leaf(L, 1.0, 2.0).detach().requires_grad_()
    a.add_(1)


@scripts
def leaf_that_requires_nothing_takes_a_history(L):
    x, w = L.zeros(2), leaf(L, 1.0, 2.0)
    x.add_(w * 3)
    facts = x.requires_grad, x.is_leaf, x.grad_fn is not None
    (x * x).sum().backward()
    return facts, w.grad


@scripts
def result_changed(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 2
    b.add_(1)
    b.mul_(3)
    b.sin_()
    b.sum().backward()
    return a.grad, b.requires_grad


@scripts
def result_overwritten(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 2
    b.zero_()
    b.sum().backward()
    return a.grad


@scripts
def result_filled_by_copy(L):
    a, w = leaf(L, 1.0, 2.0), leaf(L, 3.0, 4.0)
    b = a * 2
    b.copy_(w)
    (b * b).sum().backward()
    return a.grad, w.grad


@scripts
def copy_broadcasts_and_casts(L):
    a = L.zeros(2, 3)
    w = leaf(L, 1.0, 2.0, 3.0)
    d = w.double()
    a.copy_(d)
    (a * a).sum().backward()
    return w.grad


@scripts
def view_changed(L):
    a = leaf(L, 1.0, 2.0, 3.0)
    b = a * 2
    v = b[0:2]
    v.mul_(L.tensor([5.0, 6.0]))
    (b * b).sum().backward()
    return a.grad


@scripts
def view_and_base_both_used_after(L):
    a = leaf(L, 1.0, 2.0, 3.0)
    b = a * 2
    v = b[0:2]
    v.mul_(5)
    (b.sum() * v.sum()).backward()
    return a.grad


@scripts
def plain_base_takes_the_history_of_its_view(L):
    x, w = L.zeros(3), leaf(L, 1.0, 2.0)
    x[0:2].add_(w)
    x[1:3].mul_(2.0)
    (x * x).sum().backward()
    return w.grad, x


@scripts
def chain_of_copy_slices(L):
    x, w = L.zeros(2, 3), leaf(L, 1.0, 2.0, 3.0)
    x[0].add_(w)
    x[:, 1].mul_(w[0])
    x[1].add_(x[0].detach().clone() * w)
    x.view(6)[::2].mul_(w)
    x.t()[2].exp_()
    (x * x).sum().backward()
    return w.grad, x


@scripts
def view_of_a_view(L):
    a = leaf(L, 1.0, 2.0, 3.0, 4.0)
    b = a * 2
    v = b.view(2, 2)
    row = v[1]
    row.mul_(L.tensor([5.0, 6.0]))
    (b * b).sum().backward(retain_graph=True)
    first = a.grad.clone()
    a.grad = None
    (v * row).sum().backward()
    return first, a.grad


@scripts
def transposed_view(L):
    a = L.arange(6.0).reshape(2, 3).requires_grad_()
    b = a * 2
    b.t()[1].mul_(10)
    (b * b).sum().backward()
    return a.grad


@scripts
def view_that_only_the_memory_of_the_base_allows(L):
    a = L.arange(6.0).reshape(2, 3).requires_grad_()
    b = a.t() * 1
    b.t().view(6)[::2].mul_(L.tensor([2.0, 3.0, 4.0]))
    (g,) = L.autograd.grad((b * b).sum(), a, create_graph=True)
    (h,) = L.autograd.grad((g * g).sum(), a)
    return b, g, h


@scripts
def strided_view(L):
    a = L.arange(6.0).requires_grad_()
    b = a * 1
    b[1::2].mul_(b[::2].clone())
    (b * b).sum().backward()
    return a.grad


@scripts
def diagonal_and_narrow(L):
    a = L.arange(9.0).reshape(3, 3).requires_grad_()
    b = a * 1
    b.diagonal().mul_(3)
    b.narrow(0, 1, 2).add_(a[:2])
    b.select(1, 0).exp_()
    (b * b).sum().backward()
    return a.grad


@scripts
def unsqueezed_and_expanded(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 1
    b.unsqueeze(0).mul_(3)
    b.unsqueeze(1).expand(2, 4).sum().backward()
    return a.grad


@scripts.raises
def expanded_view_cannot_be_written(L):
    L.ones(1).expand(3).add_(1)


@scripts.raises
def expanded_view_of_a_result_cannot_be_written(L):
    (leaf(L, 1.0) * 2).expand(3).mul_(2)


@scripts
def stale_view(L):
    a = leaf(L, 1.0, 2.0, 3.0)
    b = a * 1
    v = b[0:2]
    b.mul_(3.0)
    (v * v).sum().backward()
    return a.grad


@scripts
def stale_view_of_a_view(L):
    a = leaf(L, 1.0, 2.0, 3.0, 4.0)
    b = a * 1
    v = b.view(2, 2)
    w = v[0]
    b.mul_(3.0)
    (w * v[1]).sum().backward()
    return a.grad


@scripts
def sibling_view_is_renewed(L):
    a = leaf(L, 1.0, 2.0, 3.0)
    b = a * 1
    first, second = b[0:2], b[1:3]
    first.mul_(5)
    (second * second).sum().backward()
    return a.grad


@scripts
def view_taken_before_the_base_requires_grad(L):
    x, w = L.zeros(3), leaf(L, 1.0, 2.0, 3.0)
    v = x[1:]
    x.add_(w)
    facts = v.requires_grad
    (v * v).sum().backward()
    return facts, w.grad


@scripts
def sibling_view_gains_a_history(L):
    x, w = L.zeros(3), leaf(L, 1.0, 2.0)
    first, second = x[0:2], x[1:3]
    first.add_(w)
    facts = second.requires_grad
    (second * second).sum().backward()
    return facts, w.grad


@scripts
def stale_view_when_the_base_was_overwritten(L):
    a, w = leaf(L, 1.0, 2.0), leaf(L, 5.0, 6.0)
    b = a * 1
    v = b[0]
    b.copy_(w)
    (v * v).backward()
    return a.grad, w.grad


@scripts
def base_named_by_views(L):
    a = L.ones(2, 3)
    v = a[0]
    return v._is_view(), a._is_view(), v._base is a, v[0]._base is a, a.clone()[0]._base is a


@scripts.raises
def unbind_output_changed(L):
    first, _ = (leaf(L, 1.0, 2.0) * 1).unbind()
    first.mul_(2)


@scripts.raises
def split_output_changed(L):
    first, _ = (leaf(L, 1.0, 2.0) * 1).split(1)
    first.mul_(2)


@scripts
def chunk_output_of_a_plain_tensor_changed(L):
    x = L.zeros(4)
    first, _ = x.chunk(2)
    first.add_(1)
    return x


@scripts
def iteration_of_a_plain_tensor_changes_it(L):
    x = L.zeros(2, 2)
    for i, row in enumerate(x):
        row += i
    return x


@scripts.raises
def no_grad_view_changed_while_recording(L):
    b = leaf(L, 1.0, 2.0) * 1
    with L.no_grad():
        v = b[0]
    v.mul_(leaf(L, 3.0)[0])


@scripts
def no_grad_view_changed_without_recording(L):
    a = leaf(L, 1.0, 2.0)
    with L.no_grad():
        a[0].mul_(7)
    (a * a).sum().backward()
    return a.grad


@scripts
def setitem_of_numbers(L):
    a = leaf(L, 1.0, 2.0, 3.0)
    b = a * 2
    b[1] = 10.0
    b[b.detach() > 9] = 5.0
    (b * b).sum().backward()
    return a.grad, b


@scripts
def setitem_of_a_graded_value(L):
    x, w = L.zeros(3, 2), leaf(L, 1.0, 2.0)
    x[1] = w * 3
    x[2, 1] = w[0]
    (x * x).sum().backward()
    return w.grad, x


@scripts
def setitem_broadcasts(L):
    x, w = L.zeros(3, 2), leaf(L, 2.0)
    x[1:] = w
    x[..., 0] = w * 2
    (x * x).sum().backward()
    return w.grad, x


@scripts
def setitem_with_lists_and_masks(L):
    a, w = L.arange(6.0).reshape(2, 3).requires_grad_(), leaf(L, 7.0, 8.0)
    b = a * 1
    b[:, [0, 2]] = w
    b[b.detach() == 1] = 9.0
    (b * b * L.arange(1.0, 7.0).reshape(2, 3)).sum().backward()
    return a.grad, w.grad, b


@scripts
def setitem_with_index_tensors(L):
    a, w = L.arange(6.0).reshape(2, 3).requires_grad_(), leaf(L, 7.0, 8.0)
    b = a * 1
    b[L.tensor([0, 1]), L.tensor([2, 0])] = w * w
    (b * b).sum().backward()
    return a.grad, w.grad, b


@scripts
def setitem_on_a_view(L):
    a, w = L.arange(6.0).reshape(2, 3).requires_grad_(), leaf(L, 7.0)
    b = a * 1
    v = b.t()
    v[1, 0] = w[0]
    v[0] = 2.0
    (b * b * 3).sum().backward()
    return a.grad, w.grad, v


@scripts.raises
def setitem_of_wrong_shape(L):
    x = L.zeros(3, 2)
    x[0] = leaf(L, 1.0, 2.0, 3.0)


@scripts
def setitem_keeps_the_dtype(L):
    x = L.zeros(3, dtype=L.float64)
    w = leaf(L, 1.0, 2.0)
    x[:2] = w
    (x * x).sum().backward()
    return w.grad, x


@scripts
def masked_fill_and_scatter_in_place(L):
    a = leaf(L, 1.0, 2.0, 3.0)
    b = a * 2
    b.masked_fill_(L.tensor([True, False, False]), 0.5)
    b.index_add_(0, L.tensor([1, 1]), a[:2])
    b.scatter_(0, L.tensor([2]), L.tensor([4.0]))
    (b * b).sum().backward()
    return a.grad, b


@scripts
def in_place_under_broadcasting(L):
    a, w = L.ones(2, 3, requires_grad=True), leaf(L, 1.0, 2.0, 3.0)
    b = a * 1
    b.mul_(w).add_(w[0])
    b.sum().backward()
    return a.grad, w.grad


@scripts.raises
def in_place_result_would_grow(L):
    L.ones(3).add_(L.ones(2, 3))


@scripts.raises
def in_place_result_would_change_dtype(L):
    L.tensor([1, 2]).add_(1.5)


@scripts.raises
def in_place_division_of_integers(L):
    L.tensor([1, 2]).div_(2)


@scripts
def in_place_addition_of_doubles_to_floats(L):
    x = L.ones(2)
    x.add_(L.ones(2, dtype=L.float64))
    return x


@scripts
def augmented_assignment(L):
    a = leaf(L, 1.0, 2.0)
    b = same = a * 1
    b += 1
    b *= a.detach()
    b -= 3
    b /= 2
    b **= 2
    b.sum().backward()
    return b is same, a.grad


@scripts
def double_backward_through_in_place(L):
    a = leaf(L, 1.0, 2.0)
    b = a * a
    b.mul_(a)
    (g,) = L.autograd.grad(b.sum(), a, create_graph=True)
    (h,) = L.autograd.grad(g.sum(), a)
    return g, h


@scripts
def double_backward_through_a_changed_view(L):
    a = leaf(L, 1.0, 2.0, 3.0)
    b = a * a
    b[0:2].mul_(a[1:])
    (g,) = L.autograd.grad((b * b).sum(), a, create_graph=True)
    (h,) = L.autograd.grad(g.sum(), a)
    return g, h


@scripts
def double_backward_through_a_plain_base(L):
    x, w = L.zeros(3), leaf(L, 1.0, 2.0)
    x[0:2] = w * w
    x[1:] *= w
    (g,) = L.autograd.grad((x * x).sum(), w, create_graph=True)
    (h,) = L.autograd.grad(g.sum(), w)
    return g, h


@scripts
def retained_graph_with_a_changed_view(L):
    a = leaf(L, 1.0, 2.0, 3.0)
    b = a * a
    b[0:2].mul_(3)
    y = (b * b).sum()
    y.backward(retain_graph=True)
    y.backward()
    return a.grad


@scripts
def only_the_value_needs_a_gradient(L):
    x, w = L.ones(4), leaf(L, 2.0)
    v = x.view(2, 2)
    v[0].mul_(w)
    (v.sum() * x.sum()).backward()
    return w.grad


@scripts
def needed_only_by_inputs(L):
    x, w, u = L.ones(4), leaf(L, 2.0), leaf(L, 3.0)
    x[0:2].mul_(w)
    x[1:3].mul_(u)
    return L.autograd.grad((x * x).sum(), [u], retain_graph=True), L.autograd.grad(x.sum(), [w])


@scripts
def detached_memory_changes_values_only(L):
    a = leaf(L, 1.0, 2.0)
    b = a * 2
    b.detach()[0] = 100.0
    b.sum().backward()
    return b, a.grad


@scripts
def view_of_detached(L):
    a = leaf(L, 1.0, 2.0)
    v = a.detach()[0]
    v.add_(1)
    return v.requires_grad, a


@scripts
def random_in_place_on_a_result(L):
    b = leaf(L, 1.0, 2.0) * 2
    b.normal_().fill_(1.5)
    return b


@scripts
def transpose_in_place(L):
    a = L.arange(6.0).reshape(2, 3).requires_grad_()
    b = a * 2
    b.t_()
    (b * L.arange(6.0).reshape(3, 2)).sum().backward()
    return b.shape, a.grad


@scripts
def complex_parts_are_views(L):
    z = L.tensor([1 + 2j, 3 - 1j], requires_grad=True)
    y = z * 1
    y.real.mul_(3)
    y.imag.add_(1)
    (y * y.conj()).real.sum().backward()
    return z.grad


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


@pytest.mark.parametrize("collected", [False, True], ids=["young", "old"])
@pytest.mark.parametrize("on_tape", [False, True], ids=["plain", "on the tape"])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_every_live_view_is_renewed_and_no_other_tensor(count, on_tape, collected):
    w = flambeau.ones(60, requires_grad=True)
    base = w * 0 if on_tape else flambeau.zeros(60)
    other = flambeau.zeros(60)
    strangers = [other[i] for i in range(5)] + [base.detach(), base.detach()[3:]]
    views = [base[i:] for i in range(count)] + [base.view(6, 10)[1]]
    for i in range(100):
        dead = base[i % 60 :]  # entered, and gone
    del dead
    if collected:
        gc.collect()
    base[2:].add_(w[2:] * 3)
    for v in views:
        (g,) = flambeau.autograd.grad(v.sum(), w, retain_graph=True)
        assert g.sum().item() == 3 * (v.storage_offset() + v.numel() - max(v.storage_offset(), 2))
    assert not any(s.requires_grad for s in strangers)
    late = base[5:]
    base.mul_(2)
    for v in (*views, late):
        (g,) = flambeau.autograd.grad(v.sum(), w, retain_graph=True)
        assert g.sum().item() == 6 * (v.storage_offset() + v.numel() - max(v.storage_offset(), 2))
