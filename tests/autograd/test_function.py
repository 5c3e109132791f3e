"""`autograd.Function`: what forward and backward share, and what is checked between them."""

from __future__ import annotations

import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()


def leaf(L, *values, **kwargs):
    return L.tensor(list(values), requires_grad=True, **kwargs)


def cube(L):
    class Cube(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x * x

    return Cube


def scaled_exp(L):
    class ScaledExp(L.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale, y):
            out = (x * scale).exp() + y
            ctx.scale = scale
            ctx.save_for_backward(out, y)
            return out

        @staticmethod
        def backward(ctx, g):
            out, y = ctx.saved_tensors
            return g * (out - y) * ctx.scale, None, g if ctx.needs_input_grad[2] else None

    return ScaledExp


@scripts
def first_derivative(L):
    a = leaf(L, 1.0, 2.0)
    y = cube(L).apply(a)
    y.sum().backward()
    return y, y.requires_grad, y.is_leaf, a.grad


@scripts
def second_derivative(L):
    a = leaf(L, 1.0, 2.0)
    (g,) = L.autograd.grad(cube(L).apply(a).sum(), a, create_graph=True)
    (h,) = L.autograd.grad(g.sum(), a)
    return g, h


@scripts
def saved_output(L):
    a, y = leaf(L, 1.0, 2.0), leaf(L, 3.0, 4.0)
    out = scaled_exp(L).apply(a, 0.5, y)
    (g,) = L.autograd.grad(out.sum(), a, create_graph=True)
    (h,) = L.autograd.grad(g.sum(), a)
    return out, g, h


@scripts
def needs_input_grad_tells(L):
    seen = []

    class Watch(L.autograd.Function):
        @staticmethod
        def forward(ctx, x, y, k):
            seen.append(ctx.needs_input_grad)
            return x * y * k

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            return g, g, None

    Watch.apply(leaf(L, 1.0), L.ones(1), 2).backward()
    Watch.apply(L.ones(1), L.ones(1), 2)
    with L.no_grad():
        Watch.apply(leaf(L, 1.0), L.ones(1), 2)
    return seen


@scripts
def without_grad_nothing_is_recorded(L):
    out = cube(L).apply(L.tensor([2.0]))
    return out, out.requires_grad, out.grad_fn is None


@scripts
def under_no_grad_nothing_is_recorded(L):
    with L.no_grad():
        return cube(L).apply(leaf(L, 2.0)).requires_grad


@scripts
def forward_runs_without_recording(L):
    seen = []

    class Watch(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            seen.append((L.is_grad_enabled(), (x * 2).requires_grad))
            return x * 2

        @staticmethod
        def backward(ctx, g):
            seen.append((L.is_grad_enabled(), g.requires_grad))
            return g * 2

    a = leaf(L, 1.0)
    Watch.apply(a).backward()
    L.autograd.grad(Watch.apply(a), a, create_graph=True)
    return seen


@scripts.raises
def too_few_gradients(L):
    class Wrong(L.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return g

    Wrong.apply(leaf(L, 1.0), leaf(L, 2.0)).backward()


@scripts.raises
def too_many_gradients(L):
    class Wrong(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g, g

    Wrong.apply(leaf(L, 1.0)).backward()


@scripts
def superfluous_nones_are_fine(L):
    class Wordy(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2, None, None

    a = leaf(L, 1.0)
    Wordy.apply(a).backward()
    return a.grad


@scripts
def none_stops_the_gradient(L):
    class Stop(L.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return None, g

    a, b = leaf(L, 1.0), leaf(L, 2.0)
    (Stop.apply(a * 1, b) + a * 3).backward()
    return a.grad, b.grad


@scripts.raises
def gradient_of_wrong_shape(L):
    class Wrong(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return L.ones(3)

    Wrong.apply(leaf(L, 1.0, 2.0)).sum().backward()


@scripts
def gradient_that_must_be_summed(L):
    class Spread(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.expand(3, 2).clone()

        @staticmethod
        def backward(ctx, g):
            return g

    a = leaf(L, 1.0, 2.0)
    (Spread.apply(a) * L.arange(6.0).view(3, 2)).sum().backward()
    return a.grad


@scripts
def gradient_of_another_dtype(L):
    class Wide(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g.double() * 2

    a = leaf(L, 1.0)
    Wide.apply(a).backward()
    return a.grad


@scripts.raises
def backward_raises(L):
    class Fails(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            raise KeyError("inside")

    Fails.apply(leaf(L, 1.0)).backward()


@scripts.raises
def saved_tensor_changed(L):
    a = leaf(L, 1.0) * 1
    y = cube(L).apply(a)
    a.add_(1)
    y.backward()


@scripts.raises
def second_backward(L):
    y = cube(L).apply(leaf(L, 1.0))
    y.backward()
    y.backward()


@scripts.raises
def saved_tensors_after_backward(L):
    y = cube(L).apply(leaf(L, 1.0))
    y.backward()
    return y.grad_fn.saved_tensors


@scripts
def attributes_reach_the_node(L):
    y = scaled_exp(L).apply(leaf(L, 1.0), 0.5, L.ones(1))
    return y.grad_fn.scale, y.grad_fn.name(), len(y.grad_fn.saved_tensors)


@scripts
def saved_tensors_keep_none(L):
    seen = []

    class Keep(L.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(None, x, y)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            seen.append([t is None for t in ctx.saved_tensors])
            return g, None

    Keep.apply(leaf(L, 1.0), None).backward()
    return seen


@scripts
def marked_dirty(L):
    class Double(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    a = leaf(L, 1.0, 2.0)
    b = a * 1
    out = Double.apply(b)
    version = b._version
    (out * b).sum().backward()
    return out is b, version, a.grad


@scripts.raises
def marked_dirty_leaf(L):
    class Double(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    Double.apply(leaf(L, 1.0))


@scripts
def marked_dirty_view(L):
    class Double(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    a = leaf(L, 1.0, 2.0, 3.0)
    b = a * 1
    Double.apply(b[1:])
    (b * b).sum().backward()
    return b, a.grad


@scripts
def an_input_returned_as_it_is(L):
    class Same(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 5

    a = leaf(L, 1.0, 2.0)
    out = Same.apply(a)
    out.sum().backward()
    return out is a, a.grad


@scripts
def a_view_of_an_input_returned(L):
    class Turn(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.t()

        @staticmethod
        def backward(ctx, g):
            return g.t()

    a = L.arange(6.0).view(2, 3).requires_grad_()
    (Turn.apply(a) * L.arange(6.0).view(3, 2)).sum().backward()
    return a.grad


@scripts
def non_differentiable_output(L):
    class Split(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            order = x.argsort()
            mask = x * 0
            ctx.mark_non_differentiable(order, mask)
            ctx.save_for_backward(order)
            return x[order], order, mask

        @staticmethod
        def backward(ctx, g, *_):
            (order,) = ctx.saved_tensors
            out = L.zeros_like(g)
            out[order] = g
            return out

    a = leaf(L, 3.0, 1.0, 2.0)
    values, order, mask = Split.apply(a)
    (values * L.tensor([1.0, 10.0, 100.0])).sum().backward()
    return values, order, mask.requires_grad, order.requires_grad, a.grad


def two_outputs(L, materialize, seen):
    class Two(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(materialize)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, g, h):
            seen.append((g is None, h is None))
            return (0 if g is None else g * 2) + (0 if h is None else h * 3)

    return Two


@scripts
def missing_gradients_are_zeros(L):
    a, seen = leaf(L, 1.0, 2.0), []
    first, _ = two_outputs(L, True, seen).apply(a)
    first.sum().backward()
    return seen, a.grad


@scripts
def missing_gradients_stay_none(L):
    a, seen = leaf(L, 1.0, 2.0), []
    _, second = two_outputs(L, False, seen).apply(a)
    second.sum().backward()
    return seen, a.grad


@scripts
def both_outputs_used(L):
    a, seen = leaf(L, 1.0, 2.0), []
    first, second = two_outputs(L, True, seen).apply(a)
    (first * second).sum().backward()
    return seen, a.grad, first.output_nr, second.output_nr


@scripts
def second_derivative_through_two_saved_outputs(L):
    class Both(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            s, c = x.sin(), x.cos()
            ctx.save_for_backward(s, c)
            return s, c

        @staticmethod
        def backward(ctx, g, h):
            s, c = ctx.saved_tensors
            return g * c - h * s

    a = leaf(L, 0.3, 1.2)
    s, c = Both.apply(a)
    (g,) = L.autograd.grad((s * c + s).sum(), a, create_graph=True)
    (h,) = L.autograd.grad((g * g).sum(), a)
    return g, h


@scripts
def setup_context(L):
    class Power(L.autograd.Function):
        @staticmethod
        def forward(x, n):
            return x**n

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, ctx.n = inputs
            ctx.save_for_backward(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * ctx.n * x ** (ctx.n - 1), None

    a = leaf(L, 2.0, 3.0)
    (g,) = L.autograd.grad(Power.apply(a, 4).sum(), a, create_graph=True)
    (h,) = L.autograd.grad(g.sum(), a)
    return g, h


@scripts
def once_differentiable(L):
    class Once(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @L.autograd.function.once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * x * g

    a = leaf(L, 3.0)
    (g,) = L.autograd.grad(Once.apply(a), a)
    return g


@scripts.raises
def once_differentiable_twice(L):
    class Once(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @L.autograd.function.once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * x * g

    a = leaf(L, 3.0)
    (g,) = L.autograd.grad(Once.apply(a), a, create_graph=True)
    g.backward()


@scripts.raises
def instances_cannot_be_called(L):
    return cube(L)()(leaf(L, 1.0))


@scripts
def lists_are_not_searched_for_tensors(L):
    class Sum(L.autograd.Function):
        @staticmethod
        def forward(ctx, x, others):
            return x + others[0]

        @staticmethod
        def backward(ctx, g):
            return g, None

    a, b = leaf(L, 1.0), leaf(L, 2.0)
    Sum.apply(a, [b]).backward()
    return a.grad, b.grad


@scripts
def hooks_work_on_function_nodes(L):
    a, seen = leaf(L, 1.0, 2.0), []
    y = cube(L).apply(a)
    y.register_hook(lambda g: g * 2)
    y.grad_fn.register_hook(lambda gi, go: seen.append((gi[0].tolist(), go[0].tolist())))
    y.sum().backward()
    return seen, a.grad


@scripts
def nested_functions(L):
    Cube = cube(L)

    class Outer(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            with L.enable_grad():
                inner = x.detach().requires_grad_()
                y = Cube.apply(inner).sum()
            ctx.inner, ctx.y = inner, y
            return y.detach()

        @staticmethod
        def backward(ctx, g):
            (inner,) = L.autograd.grad(ctx.y, ctx.inner)
            return inner * g

    a = leaf(L, 1.0, 2.0)
    (Outer.apply(a * 2) * 3).backward()
    return a.grad


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_the_error_names_the_function_and_the_counts():
    class Wrong(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return g

    y = Wrong.apply(leaf(flambeau, 1.0), leaf(flambeau, 2.0))
    with pytest.raises(RuntimeError, match="WrongBackward .*expected 2, got 1"):
        y.backward()
