"""What a `Function` and its context offer beside forward and backward, against PyTorch."""

from __future__ import annotations

import warnings

import pytest

import flambeau

torch = pytest.importorskip("torch")


def both(call):
    return [call(L) for L in (flambeau, torch)]


def counts(*found):
    return [None if tensors is None else len(tensors) for tensors in found]


def test_what_a_context_tells():
    def told(L):
        seen = []

        class Product(L.autograd.Function):
            @staticmethod
            def forward(ctx, x, y, n):
                ctx.save_for_backward(x, y)
                ctx.save_for_forward(y)
                ctx.materialize_grads = False
                kept = x.clone()
                ctx.mark_non_differentiable(kept)
                seen.append(ctx.needs_input_grad)
                seen.extend(counts(ctx.to_save, ctx.saved_for_forward, ctx.non_differentiable))
                seen.extend(counts(ctx.dirty_tensors))
                return x * y, x + y, kept

            @staticmethod
            def backward(ctx, g, other, last):
                with warnings.catch_warnings(record=True) as noted:
                    warnings.simplefilter("always")
                    _, y = ctx.saved_variables
                seen.append([w.category.__name__ for w in noted])
                seen.append(other is None)
                return g * y, None, None

        x = L.ones(2, requires_grad=True)
        Product.apply(x, L.tensor([2.0, 3.0]), 3)[0].sum().backward()
        return seen, x.grad.tolist()

    ours, theirs = both(told)
    assert ours == theirs


@pytest.mark.parametrize("retain", [False, True])
def test_saved_tensors_that_are_read_once(retain):
    def read(L):
        class Square(L.autograd.Function):
            clear_saved_tensors_on_access = True

            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                with pytest.raises(RuntimeError, match="accessed once"):
                    ctx.saved_tensors  # noqa: B018
                return 2 * x * g

        x = L.tensor([3.0], requires_grad=True)
        y = Square.apply(x)
        y.backward(retain_graph=retain)
        with pytest.raises(RuntimeError):
            y.backward()
        return x.grad.tolist()

    assert both(read) == [[6.0], [6.0]]


def test_gradients_in_one_list():
    def boxed(L):
        class Pair(L.autograd.Function):
            boxed_grads_call = True

            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x, x + 1

            @staticmethod
            def backward(ctx, grads):
                (x,) = ctx.saved_tensors
                first = grads.pop(0)
                return 2 * x * first + grads.pop()

        x = L.tensor([3.0], requires_grad=True)
        a, b = Pair.apply(x)
        (a + 5 * b).sum().backward()
        return x.grad.tolist()

    assert both(boxed) == [[11.0], [11.0]]


def test_saved_tensors_are_freed_early():
    def freed(L):
        class Square(L.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                ctx.maybe_clear_saved_tensors()
                with pytest.raises(RuntimeError):
                    ctx.saved_tensors  # noqa: B018
                return 2 * x * g

        x = L.tensor([3.0], requires_grad=True)
        Square.apply(x).backward()
        return x.grad.tolist()

    assert both(freed) == [[6.0], [6.0]]


def test_the_threads_of_backward_are_a_choice():
    def chosen(L):
        x = L.tensor([3.0], requires_grad=True)
        switch = L.autograd.set_multithreading_enabled
        with switch(False) as inside:
            (x * x).backward()

        @switch(True)
        def run():
            (x * x).backward()

        run()
        return x.grad.tolist(), inside is None, switch(True).mode, switch(True).clone().mode

    ours, theirs = both(chosen)
    assert ours == theirs
