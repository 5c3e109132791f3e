"""Recording on and off: contexts, decorators, generators, threads, inference mode."""

from __future__ import annotations

import threading

import pytest

import flambeau
from tests.oracle import Scripts, agree

scripts = Scripts()


def leaf(L, *values):
    return L.tensor(list(values), requires_grad=True)


@scripts
def contexts_nest(L):
    a, seen = leaf(L, 1.0), []
    with L.no_grad():
        seen.append((a * 2).requires_grad)
        with L.enable_grad():
            seen.append((a * 2).requires_grad)
            with L.set_grad_enabled(False):
                seen.append((a * 2).requires_grad)
            seen.append((a * 2).requires_grad)
        seen.append((a * 2).requires_grad)
    seen.append((a * 2).requires_grad)
    return seen


@scripts
def state_returns_after_an_exception(L):
    try:
        with L.no_grad():
            raise KeyError
    except KeyError:
        return L.is_grad_enabled()


@scripts
def decorators(L):
    a = leaf(L, 1.0)

    @L.no_grad()
    def off():
        return (a * 2).requires_grad

    @L.no_grad
    def off_without_call():
        return (a * 2).requires_grad

    @L.enable_grad()
    def on():
        return (a * 2).requires_grad

    @L.set_grad_enabled(False)
    def chosen():
        return (a * 2).requires_grad

    @L.inference_mode()
    def inference():
        return (a * 2).requires_grad, L.is_inference_mode_enabled()

    seen = [off(), off_without_call(), on(), chosen(), inference(), L.is_grad_enabled()]
    with L.no_grad():
        return [*seen, on(), off(), off.__name__]


@scripts
def decorated_functions_call_themselves(L):
    @L.no_grad()
    def count(n):
        return [L.is_grad_enabled()] + (count(n - 1) if n else [])

    return count(3), L.is_grad_enabled()


@scripts
def decorated_generator(L):
    a = leaf(L, 1.0)

    @L.no_grad()
    def values():
        received = yield (a * 2).requires_grad
        yield (received, L.is_grad_enabled())
        return "end"

    run, outside = values(), []
    outside.append(next(run))
    outside.append(L.is_grad_enabled())
    outside.append(run.send("sent"))
    outside.append(L.is_grad_enabled())
    try:
        next(run)
    except StopIteration as stop:
        outside.append(stop.value)
    return outside


@scripts
def decorated_generator_catches_what_is_thrown(L):
    @L.no_grad()
    def values():
        try:
            yield 1
        except KeyError:
            yield "caught", L.is_grad_enabled()
        yield "after"

    run = values()
    first = next(run)
    return first, run.throw(KeyError()), L.is_grad_enabled(), next(run)


@scripts
def decorated_generator_is_closed(L):
    seen = []

    @L.no_grad()
    def values():
        try:
            yield 1
        finally:
            seen.append(L.is_grad_enabled())

    run = values()
    next(run)
    run.close()
    return seen, L.is_grad_enabled()


@scripts
def set_grad_enabled_acts_at_once(L):
    L.set_grad_enabled(False)
    off = L.is_grad_enabled()
    L.set_grad_enabled(True)
    return off, L.is_grad_enabled()


@scripts
def set_grad_enabled_returns_to_what_was(L):
    with L.no_grad():
        with L.set_grad_enabled(True):
            inside = L.is_grad_enabled()
        return inside, L.is_grad_enabled()


@scripts
def no_grad_result_is_a_leaf(L):
    a = leaf(L, 1.0)
    with L.no_grad():
        b = a * 2
    return b.is_leaf, b.requires_grad, b.grad_fn is None


@scripts
def leaves_made_without_recording_still_require_grad(L):
    with L.no_grad():
        a = leaf(L, 1.0)
    (a * 3).backward()
    return a.requires_grad, a.grad


@scripts
def leaf_changed_without_recording(L):
    a = leaf(L, 1.0, 2.0)
    with L.no_grad():
        a.add_(5)
        a[0] = -1
    (a * a).sum().backward()
    return a, a.grad


@scripts
def inference_mode_facts(L):
    a = leaf(L, 1.0)
    with L.inference_mode():
        b = a * 2
        c = L.ones(2)
        inside = (L.is_grad_enabled(), L.is_inference_mode_enabled(), b.is_inference())
    return inside, b.requires_grad, c.is_inference(), a.is_inference(), L.is_grad_enabled()


@scripts
def inference_mode_switched_off(L):
    a = leaf(L, 1.0)
    with L.inference_mode(), L.inference_mode(False):
        return (a * 2).requires_grad, L.is_inference_mode_enabled()


@scripts
def no_grad_inside_inference_mode(L):
    with L.inference_mode():
        with L.no_grad():
            inner = L.ones(1).is_inference(), L.is_inference_mode_enabled()
        return inner, L.is_inference_mode_enabled()


@scripts
def enable_grad_inside_inference_mode(L):
    a = leaf(L, 1.0)
    with L.inference_mode(), L.enable_grad():
        b = a * 2
        return L.is_inference_mode_enabled(), b.is_inference()


@scripts.raises
def inference_tensor_saved_for_backward(L):
    with L.inference_mode():
        b = L.ones(1)
    return leaf(L, 1.0) * b


@scripts
def inference_tensor_that_is_not_saved(L):
    with L.inference_mode():
        b = L.ones(1)
    a = leaf(L, 1.0)
    (a + b).backward()
    return a.grad


@scripts.raises
def inference_tensor_changed_outside(L):
    with L.inference_mode():
        b = L.ones(1)
    b.add_(1)


@scripts
def inference_tensor_changed_inside(L):
    with L.inference_mode():
        b = L.ones(1)
        b.add_(1)
        return b.clone()


@scripts.raises
def inference_tensor_requires_grad(L):
    with L.inference_mode():
        b = L.ones(1)
    b.requires_grad_()


@scripts
def clone_of_an_inference_tensor(L):
    with L.inference_mode():
        b = L.ones(1)
    c = b.clone().requires_grad_()
    (c * 3).backward()
    return c.is_inference(), c.grad


@scripts.raises
def version_of_an_inference_tensor(L):
    with L.inference_mode():
        b = L.ones(1)
    return b._version


@scripts
def view_of_an_inference_tensor(L):
    with L.inference_mode():
        b = L.ones(2)
        c = b[0]
    return c.is_inference(), b.view(2, 1).is_inference()


@scripts
def an_ordinary_tensor_changed_in_inference_mode(L):
    b = L.ones(1)
    with L.inference_mode():
        b.add_(1)
    return b, b._version, b.is_inference()


@scripts
def an_ordinary_view_made_in_inference_mode(L):
    b = L.ones(2)
    with L.inference_mode():
        v = b[0]
    return v.is_inference()


@scripts
def backward_inside_no_grad(L):
    a = leaf(L, 2.0)
    y = a * a
    with L.no_grad():
        y.backward()
        still = L.is_grad_enabled()
    return a.grad, still


@scripts
def mode_survives_a_failing_backward(L):
    a = leaf(L, 2.0)
    y = a * a
    y.register_hook(lambda g: 1 / 0)
    try:
        y.backward()
    except ZeroDivisionError:
        return L.is_grad_enabled()


@pytest.mark.parametrize("script", scripts.cases)
def test_as_in_torch(script):
    agree(script)


def test_the_mode_belongs_to_a_thread():
    a = flambeau.tensor([1.0], requires_grad=True)
    inside, leave, seen = threading.Event(), threading.Event(), {}

    def other():
        seen["other before"] = (a * 2).requires_grad
        with flambeau.no_grad():
            seen["other off"] = (a * 2).requires_grad
            inside.set()
            leave.wait(10)
            seen["other still off"] = (a * 2).requires_grad
        seen["other after"] = (a * 2).requires_grad

    with flambeau.no_grad():
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(10)
        seen["here off"] = (a * 2).requires_grad
    seen["here on"] = (a * 2).requires_grad
    leave.set()
    thread.join()
    seen["here at last"] = (a * 2).requires_grad
    assert seen == {
        "other before": True,
        "other off": False,
        "here off": False,
        "here on": True,
        "other still off": False,
        "other after": True,
        "here at last": True,
    }


def test_many_threads_switching_disturb_nobody():
    a = flambeau.tensor([1.0], requires_grad=True)
    wrong = []

    def work(grad):
        for _ in range(300):
            with flambeau.set_grad_enabled(grad):
                if (a * 2).requires_grad is not grad:
                    wrong.append(grad)

    threads = [threading.Thread(target=work, args=(k % 2 == 0,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert (a * 2).requires_grad


def test_the_ordinary_state_is_restored_for_the_short_path():
    from flambeau.autograd.grad_mode import FAST

    with flambeau.no_grad():
        assert FAST["PLAIN"] is False
    assert FAST["PLAIN"] is True
