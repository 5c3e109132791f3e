"""`gradcheck` and `gradgradcheck`: right derivatives pass, every planted mistake is found."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as fl
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.autograd.gradcheck import GradcheckError


def values(*shape, dtype=None, seed=0):
    rng = np.random.default_rng(seed)
    array = rng.uniform(0.5, 1.5, shape)
    if dtype in (fl.complex128,):
        array = array + 1j * rng.uniform(-1, 1, shape)
    return fl.tensor(array, dtype=dtype or fl.float64, requires_grad=True)


RIGHT = {
    "mul": lambda x: x * x.sin(),
    "matmul": lambda x: x @ x.t() @ x,
    "softmax": lambda x: x.softmax(1),
    "several outputs": lambda x: (x.exp(), (x * x).sum(0), x.max(1).values),
    "view": lambda x: x.t()[1:].reshape(-1) * 2,
    "in place": lambda x: (x * 1).mul_(x).add_(3),
    "sum": lambda x: x.sum(),
    "part without a gradient": lambda x: (x * x, x.detach()),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_derivatives_pass(name):
    x = values(2, 3)
    assert gradcheck(RIGHT[name], (x,))
    forward = name != "part without a gradient"  # what is detached has no tangent either
    assert gradcheck(RIGHT[name], (x,), check_forward_ad=forward)
    assert gradgradcheck(RIGHT[name], (x,))


@pytest.mark.parametrize(
    "f",
    [
        lambda z: z * z,
        lambda z: z.abs(),
        lambda z: z.conj() * 2,
        lambda z: z.real * z.imag,
        lambda z: z.exp(),
    ],
)
def test_right_complex_derivatives_pass(f):
    z = values(2, 2, dtype=fl.complex128)
    assert gradcheck(f, (z,))
    assert gradgradcheck(f, (z,))


def test_several_inputs_and_constants():
    x, y, w = values(2, 3), values(3, seed=1), fl.ones(3, dtype=fl.float64)
    assert gradcheck(lambda a, b, c, k: (a * b + c) ** k, (x, y, w, 2))
    assert gradgradcheck(lambda a, b, c, k: (a * b + c) ** k, (x, y, w, 2))


def planted(right, wrong, second=None):
    """A function whose derivative is `wrong` (or whose second derivative is), as a callable."""

    class Derivative(fl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return wrong(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * second(x)

    class Planted(fl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return right(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * (wrong(x) if second is None else Derivative.apply(x))

    return Planted.apply


MISTAKES = {
    "twice too much": lambda x: 2 * x.cos(),
    "wrong sign": lambda x: -x.cos(),
    "one part in a thousand and a bit": lambda x: x.cos() * 1.003,
    "wrong in one element": lambda x: x.cos() + fl.eye(2, 3, dtype=fl.float64)[:, :3] * 0.01,
    "zero": lambda x: x * 0,
    "not a number": lambda x: x * float("nan"),
    "another function": lambda x: x.sin(),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_found(name):
    f = planted(fl.sin, MISTAKES[name])
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradcheck(f, (values(2, 3),))
    assert gradcheck(f, (values(2, 3),), raise_exception=False) is False


def test_the_same_function_without_a_mistake_passes():
    f = planted(fl.sin, fl.cos)
    assert gradcheck(f, (values(2, 3),))
    assert gradgradcheck(f, (values(2, 3),))


def test_a_planted_second_derivative_is_found():
    f = planted(fl.sin, fl.cos, second=lambda x: -0.9 * x.sin())
    assert gradcheck(f, (values(2, 3),))
    with pytest.raises(GradcheckError):
        gradgradcheck(f, (values(2, 3),))
    assert gradgradcheck(f, (values(2, 3),), raise_exception=False) is False


def test_a_right_second_derivative_passes():
    f = planted(fl.sin, fl.cos, second=lambda x: -x.sin())
    assert gradgradcheck(f, (values(2, 3),))


def test_a_missing_gradient_is_found():
    class Cut(fl.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return g, None

    with pytest.raises(GradcheckError):
        gradcheck(Cut.apply, (fl.ones(2, dtype=fl.float64).requires_grad_(), values(2)))


def test_a_mistake_in_the_second_output_is_found():
    good, bad = planted(fl.sin, fl.cos), planted(fl.exp, fl.cos)
    with pytest.raises(GradcheckError, match="output 1"):
        gradcheck(lambda x: (good(x), bad(x)), (values(3),))


def test_a_mistake_for_the_second_input_is_found():
    bad = planted(fl.exp, fl.cos)
    with pytest.raises(GradcheckError, match="input 1"):
        gradcheck(lambda x, y: x * bad(y), (values(3), values(3, seed=2)))


def test_a_conjugate_left_out_is_found():
    class Wrong(fl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    with pytest.raises(GradcheckError):
        gradcheck(Wrong.apply, (values(2, dtype=fl.complex128),))


def test_a_wrong_forward_derivative_is_found(monkeypatch):
    from flambeau.ops.record import REGISTRY

    monkeypatch.setitem(REGISTRY["sin"].partials, "input", lambda m, input: 1.01 * m.cos(input))
    with pytest.raises(GradcheckError, match="Forward-mode"):
        gradcheck(fl.sin, (values(3),), check_forward_ad=True, check_backward_ad=False)


def test_nothing_to_check_is_an_error():
    with pytest.raises(ValueError, match="requires a gradient"):
        gradcheck(lambda x: x * 2, (fl.ones(2),))


def test_inputs_are_left_as_they_were():
    x = values(2, 3)
    before = x.detach().clone()
    gradcheck(lambda t: t.exp(), (x,), check_forward_ad=True)
    np.testing.assert_array_equal(x.detach().numpy(), before.numpy())
    assert x.grad is None
