"""Forms of call that PyTorch takes: other names, places and defaults of arguments."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")


def outcome(form, L):
    x = L.tensor([-1.0, 2.0])
    space = {"L": L, "x": x, "n": L.tensor([1, 2])}
    try:
        found = eval(form, space)
    except Exception as error:
        return type(error)
    if isinstance(found, L.Tensor):
        return found.dtype.itemsize, found.requires_grad, np.round(found.tolist(), 6).tolist()
    return str(found).replace("flambeau", "torch")


@pytest.mark.parametrize(
    "form",
    [
        "L.result_type(tensor=x, other=1)",
        "L.result_type(tensor=n, other=2.5)",
        "L.result_type(tensor=n, other=x)",
        "L.result_type(scalar=1.5, tensor=n)",
        "L.result_type(scalar1=1, scalar2=2.5)",
        "L.result_type(1, tensor=x)",
        "L.result_type(n, other=2)",
        "L.result_type(n, 2.5)",
        "L.result_type(1, 2)",
        "L.result_type(input=x, other=1)",
        "L.result_type(x)",
        "L.result_type()",
        "L.result_type(1, 2, 3)",
        "L.is_same_size(x, other=x)",
        "L.is_same_size(input=x, other=n.reshape(1, 2))",
        "L.tril_indices(2, 3, requires_grad=False)",
        "L.tril_indices(2, 3, requires_grad=True)",
        "L.triu_indices(row=2, col=2, offset=0, requires_grad=False)",
        "L.triu_indices(2, 2, dtype=L.int32)",
        "L.triu_indices(2, 2, dtype=L.float32)",
        "L.tril_indices(2, 2, dtype=L.int16)",
        "L.device(device='cpu')",
        "L.device(device=L.device('cpu', 0))",
        "L.device(type='cpu', index=0)",
        "L.device()",
        "L.device(1.5)",
        "L.finfo()",
        "L.finfo(dtype=L.float32)",
        "L.relu_(input=x)",
        "L.selu_(input=x)",
        "L.celu_(input=x, alpha=2.0)",
        "L.celu_(x, 2.0)",
        "L.threshold_(input=x, threshold=0, value=3)",
        "L.clamp_(input=x, max=1)",
        "L.sin_(input=x)",
        "L.zero_(input=x)",
        "L.addmv_(input=x, mat=x.reshape(2, 1), vec=x[:1])",
    ],
)
def test_a_form_of_call_is_pytorchs(form):
    assert outcome(form, flambeau) == outcome(form, torch)


def test_tensors_of_a_file_take_gradients(tmp_path):
    path = str(tmp_path / "numbers")
    np.arange(3, dtype=np.float32).tofile(path)
    for L in (flambeau, torch):
        x = L.from_file(path, False, 3, requires_grad=True, device="cpu")
        assert x.requires_grad
        assert x.is_leaf
        assert x.tolist() == [0, 1, 2]
        with pytest.raises(RuntimeError, match="cannot be pinned"):
            L.from_file(path, False, 3, pin_memory=True)


def test_fork_rng_of_no_device_type():
    for L in (flambeau, torch):
        with L.random.fork_rng(devices=[], device_type="cpu"):
            first = L.rand(2)
        with L.random.fork_rng():
            assert L.equal(L.rand(2), first)


@pytest.mark.parametrize("strided", [False, True])
def test_second_derivatives_are_checked_with_either_layout_of_gradients(strided):
    seen = []

    class Square(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            seen.append(grad.is_contiguous())
            (x,) = ctx.saved_tensors
            return 2 * x * grad

    x = flambeau.randn(2, 3, dtype=flambeau.float64, requires_grad=True)
    assert flambeau.autograd.gradgradcheck(Square.apply, (x,), gen_non_contig_grad_outputs=strided)
    assert seen[0] is not strided
