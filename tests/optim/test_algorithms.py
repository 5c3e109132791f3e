"""Every algorithm against PyTorch's: ten steps on the same problem, and checkpoints both ways."""

from __future__ import annotations

import copy
import io
import pickle
from itertools import pairwise

import numpy as np
import pytest

from flambeau import optim, settings
from flambeau.backends.cpu import updates
from flambeau.compiler import jit
from flambeau.compiler.expressions import BUILDER, Expression
from flambeau.dtypes import bfloat16, float32, float64
from flambeau.tensor import Parameter, Tensor
from flambeau.tensor import functions as fl
from flambeau.tensor import updates as driver

torch = pytest.importorskip("torch")

SHAPES = [(6, 4), (4,), (), (0, 3), (150, 120)]

CASES = {
    "SGD": [
        {},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
        {"lr": 0.1, "maximize": True, "weight_decay": 0.1},
    ],
    "Adam": [
        {"lr": 0.1},
        {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1},
        {"lr": 0.1, "betas": (0.0, 0.9)},
        {"lr": 0.1, "betas": (0.3, 0.5), "eps": 1e-3, "maximize": True},
        {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.2},
    ],
    "AdamW": [{"lr": 0.1}, {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True, "maximize": True}],
    "RMSprop": [
        {},
        {"centered": True, "weight_decay": 0.1},
        {"momentum": 0.9, "alpha": 0.3, "centered": True},
        {"momentum": 0.5, "maximize": True},
    ],
    "Adagrad": [
        {"lr": 0.1},
        {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.1, "initial_accumulator_value": 0.5},
        {"lr": 0.1, "maximize": True, "eps": 1e-2},
    ],
    "Adadelta": [{}, {"rho": 0.7, "weight_decay": 0.1, "eps": 1e-3}, {"lr": 0.5, "maximize": True}],
    "Adamax": [
        {"lr": 0.1},
        {"lr": 0.1, "betas": (0.2, 0.9), "weight_decay": 0.1, "maximize": True},
    ],
    "NAdam": [
        {"lr": 0.1},
        {"lr": 0.1, "weight_decay": 0.1, "momentum_decay": 0.1},
        {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
    ],
    "RAdam": [
        {"lr": 0.1},
        {"lr": 0.1, "weight_decay": 0.1, "betas": (0.8, 0.9)},
        {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
    ],
    "Rprop": [
        {"lr": 0.1},
        {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.05, 0.2), "maximize": True},
    ],
    "ASGD": [
        {"lr": 0.1},
        {"lr": 0.1, "t0": 3, "lambd": 0.1, "alpha": 0.5, "weight_decay": 0.1},
        {"lr": 0.1, "maximize": True},
    ],
}
EACH = [(name, options) for name, cases in CASES.items() for options in cases]
PLAIN = [(name, cases[0]) for name, cases in CASES.items()]


class Problem:
    """Quadratic bowls whose gradients are set by hand, for one of the two libraries."""

    def __init__(self, lib, dtype="float64", shapes=SHAPES, seed=0):
        draw = np.random.RandomState(seed).standard_normal
        self.starts = [np.asarray(draw(s)).astype(dtype) for s in shapes]
        self.targets = [np.asarray(draw(s)).astype(dtype) for s in shapes]
        self.is_torch = lib is torch
        if self.is_torch:
            self.params = [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in self.starts]
        else:
            self.params = [Parameter(fl.from_numpy(a.copy())) for a in self.starts]

    def set_gradients(self):
        make = torch.from_numpy if self.is_torch else fl.from_numpy
        for p, target in zip(self.params, self.targets, strict=True):
            p.grad = make(np.asarray(2 * (p.detach().numpy() - target)))

    def run(self, optimizer, steps=10):
        for _ in range(steps):
            self.set_gradients()
            optimizer.step()

    def values(self):
        return [p.detach().numpy() for p in self.params]


def check_same(ours, theirs, rtol=1e-9):
    for mine, other in zip(ours.values(), theirs.values(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=rtol, atol=rtol)


def to_torch(state):
    """A state dict of ours with PyTorch's tensors in place of ours."""
    if isinstance(state, dict):
        return {key: to_torch(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(map(to_torch, state))
    return torch.from_numpy(state.numpy().copy()) if isinstance(state, Tensor) else state


def from_torch(state):
    if isinstance(state, dict):
        return {key: from_torch(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(map(from_torch, state))
    return fl.from_numpy(state.numpy().copy()) if isinstance(state, torch.Tensor) else state


@pytest.fixture(params=["kernel", "numpy"])
def engine(request, monkeypatch):
    """Run a test with compiled updates, and again with the NumPy path alone."""
    monkeypatch.setattr(driver, "_UPDATES", {})
    monkeypatch.setattr(updates, "PATIENCE", 3)
    if request.param == "numpy":
        monkeypatch.setattr(settings, "jit", False)
    elif not jit.available():
        pytest.skip("the JIT is off")
    return request.param


def made_kernels():
    return [k for update in driver._UPDATES.values() for k in update._kernels.values() if k]


@pytest.mark.parametrize(("name", "options"), EACH)
def test_ten_steps(name, options, engine):
    ours, theirs = Problem(None), Problem(torch)
    ours.run(getattr(optim, name)(ours.params, **options))
    theirs.run(getattr(torch.optim, name)(theirs.params, foreach=False, **options))
    check_same(ours, theirs)
    assert not np.array_equal(ours.values()[0], ours.starts[0])
    assert bool(made_kernels()) == (engine == "kernel")


@pytest.mark.parametrize(("name", "options"), EACH)
def test_ten_steps_in_float32(name, options, engine):
    """No further from the truth (float64 on the same numbers) than PyTorch is."""
    ours, theirs, exact = Problem(None, "float32"), Problem(torch, "float32"), Problem(torch)
    exact.targets = [t.astype("float64") for t in ours.targets]
    exact.params = [torch.nn.Parameter(p.detach().double()) for p in theirs.params]
    ours.run(getattr(optim, name)(ours.params, **options))
    theirs.run(getattr(torch.optim, name)(theirs.params, foreach=False, **options))
    exact.run(getattr(torch.optim, name)(exact.params, foreach=False, **options))
    assert all(mine.dtype == np.float32 for mine in ours.values())
    error, reference = (
        max(abs(a - b).max(initial=0) for a, b in zip(p.values(), exact.values(), strict=True))
        for p in (ours, theirs)
    )
    assert error <= 3 * reference + 2e-6


@pytest.mark.parametrize(("name", "options"), PLAIN)
def test_complex_parameters(name, options, engine):
    shapes = [(3, 2), (100, 100)]
    ours = Problem(None, "complex128", shapes)
    theirs = Problem(torch, "complex128", shapes)
    for problem in (ours, theirs):
        problem.targets = [t * (1 + 0.5j) for t in problem.targets]
    ours.run(getattr(optim, name)(ours.params, **options), 4)
    theirs.run(getattr(torch.optim, name)(theirs.params, foreach=False, **options), 4)
    check_same(ours, theirs)


@pytest.mark.parametrize(("name", "options"), [case for case in PLAIN if case[0] != "Rprop"])
def test_half_precision_follows_float32(name, options):
    halves, singles = Problem(None, "float16"), Problem(None, "float32")
    singles.targets = [t.astype("float32") for t in halves.targets]
    singles.params = [Parameter(fl.from_numpy(a.astype("float32"))) for a in halves.starts]
    options = (
        {"eps": 1e-4, **options}
        if "eps" in getattr(optim, name)(halves.params).defaults
        else options
    )
    halves.run(getattr(optim, name)(halves.params, **options), 3)
    singles.run(getattr(optim, name)(singles.params, **options), 3)
    for half, single in zip(halves.values(), singles.values(), strict=True):
        assert half.dtype == np.float16
        np.testing.assert_allclose(half, single, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(("name", "options"), [(n, c[-1]) for n, c in CASES.items()])
def test_bfloat16(name, options):
    shapes = [(5, 3)]
    make = getattr(optim, name)
    wide = Problem(None, "float32", shapes)
    p = Parameter(fl.from_numpy(wide.starts[0].copy()).to(bfloat16))
    optimizer, exact = make([p], **options), make(wide.params, **options)
    for _ in range(2):
        wide.set_gradients()
        p.grad = wide.params[0].grad.to(p.dtype)
        optimizer.step()
        exact.step()
    assert p.dtype is bfloat16
    rounded = p.detach().to(float32).numpy()
    np.testing.assert_allclose(rounded, wide.values()[0], rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("name", "options"), PLAIN)
def test_transposed_and_sliced_parameters(name, options, engine):
    plain, strange = (
        Problem(None, shapes=[(7, 5), (120, 130)]),
        Problem(None, shapes=[(7, 5), (120, 130)]),
    )
    strange.params = [Parameter(fl.from_numpy(np.asfortranarray(a))) for a in strange.starts]
    wide = np.zeros((120, 260))
    wide[:, ::2] = strange.starts[1]
    strange.params[1] = Parameter(fl.from_numpy(wide)[:, ::2])
    plain.run(getattr(optim, name)(plain.params, **options), 3)
    strange.run(getattr(optim, name)(strange.params, **options), 3)
    check_same(plain, strange, rtol=1e-14)
    assert not wide[:, 1::2].any()


@pytest.mark.parametrize(("name", "options"), EACH)
def test_checkpoint_goes_to_pytorch_and_back(name, options):
    ours, theirs = Problem(None), Problem(torch)
    mine = getattr(optim, name)(ours.params, **options)
    other = getattr(torch.optim, name)(theirs.params, foreach=False, **options)
    ours.run(mine, 3)
    theirs.run(other, 3)
    saved, reference = mine.state_dict(), other.state_dict()
    assert saved["param_groups"] == [{**g, "foreach": None} for g in reference["param_groups"]]
    assert saved["state"].keys() == reference["state"].keys()
    for key in saved["state"]:
        assert list(saved["state"][key]) == list(reference["state"][key])
        for field, value in saved["state"][key].items():
            assert str(value.dtype) == str(reference["state"][key][field].dtype)
            assert tuple(value.shape) == tuple(reference["state"][key][field].shape)
    # Each goes on from the other's checkpoint.
    fresh_ours = getattr(optim, name)(ours.params, **options)
    fresh_ours.load_state_dict(from_torch(reference))
    fresh_theirs = getattr(torch.optim, name)(theirs.params, foreach=False, **options)
    fresh_theirs.load_state_dict(to_torch(saved))
    ours.run(fresh_ours, 4)
    theirs.run(fresh_theirs, 4)
    check_same(ours, theirs)


@pytest.mark.parametrize(("name", "options"), PLAIN)
def test_copies_go_on_alike(name, options):
    problem = Problem(None, shapes=[(6, 4), (4,)])
    optimizer = getattr(optim, name)(problem.params, **options)
    problem.run(optimizer, 2)
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        twin = Problem(None, shapes=[(6, 4), (4,)])
        twin.params = copied.param_groups[0]["params"]
        assert twin.params[0] is not problem.params[0]
        reference = copy.deepcopy((problem.params, optimizer.state_dict()))
        again = Problem(None, shapes=[(6, 4), (4,)])
        again.params = reference[0]
        loaded = getattr(optim, name)(again.params, **options)
        loaded.load_state_dict(reference[1])
        twin.run(copied, 2)
        again.run(loaded, 2)
        # Loading casts 0-d state to the parameter's dtype, as PyTorch does; copying does not.
        check_same(twin, again, rtol=1e-7 if name in ("NAdam", "ASGD") else 1e-15)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad", "NAdam"])
def test_tensor_learning_rate(name):
    ours, theirs = Problem(None), Problem(torch)
    rate = fl.tensor(0.1)
    ours.run(getattr(optim, name)(ours.params, lr=rate), 3)
    theirs.run(getattr(torch.optim, name)(theirs.params, lr=torch.tensor(0.1), foreach=False), 3)
    check_same(ours, theirs, rtol=1e-7)


def test_learning_rate_as_numpy_scalar_keeps_the_dtype():
    ours, theirs = Problem(None, "float32"), Problem(None, "float32")
    ours.run(optim.Adam(ours.params, lr=np.float64(0.1)), 3)
    theirs.run(optim.Adam(theirs.params, lr=0.1), 3)
    check_same(ours, theirs, rtol=0)


def test_memory_stays_and_versions_rise():
    p = Parameter(fl.zeros(3))
    view = p.detach()
    p.grad = fl.ones(3)
    optimizer = optim.Adam([p], lr=1.0)
    before, gradient = p._version, p.grad
    optimizer.step()
    np.testing.assert_allclose(view.numpy(), -1.0, rtol=1e-6)
    assert p._version > before
    assert p.grad is gradient
    np.testing.assert_array_equal(gradient.numpy(), 1.0)


def test_a_step_inside_a_graph_is_noticed_by_backward():
    p = Parameter(fl.ones(2))
    loss = (p * p).sum()
    loss.backward(retain_graph=True)
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_parameter_given_twice_is_updated_twice():
    p = Parameter(fl.zeros(2))
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = optim.Adam([p, p], lr=1.0)
    p.grad = fl.ones(2)
    optimizer.step()
    q = torch.nn.Parameter(torch.zeros(2))
    with pytest.warns(UserWarning, match="duplicate parameters"):
        reference = torch.optim.Adam([q, q], lr=1.0, foreach=False)
    q.grad = torch.ones(2)
    reference.step()
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy())
    assert float(optimizer.state[p]["step"]) == 2


def test_many_small_parameters_of_several_dtypes_and_ages(engine):
    shapes = [(16, 16)] * 40 + [(7,)] * 30 + [()] * 5
    ours, theirs = Problem(None, "float32", shapes), Problem(torch, "float32", shapes)
    mine = optim.Adam(ours.params, lr=0.1, amsgrad=True)
    other = torch.optim.Adam(theirs.params, lr=0.1, amsgrad=True, foreach=False)
    for problem, optimizer in ((ours, mine), (theirs, other)):
        problem.run(optimizer, 1)
        problem.set_gradients()
        for p in problem.params[::3]:
            p.grad = None  # these fall behind by one step
        optimizer.step()
        problem.run(optimizer, 1)
    check_same(ours, theirs, rtol=1e-5)
    assert float(mine.state[ours.params[0]]["step"]) == 2
    assert float(mine.state[ours.params[1]]["step"]) == 3


# PyTorch's own differentiable Adamax and Rprop change in place what their backward needs.
@pytest.mark.parametrize("name", [n for n in CASES if n not in ("Adamax", "Rprop")])
def test_differentiable_step(name):
    """The derivative of two differentiable steps with respect to the start of training."""
    grads = []
    for library in (fl, torch):
        make = getattr(optim if library is fl else torch.optim, name)
        w = library.tensor(
            [0.3, -0.7], dtype=torch.float64 if library is torch else float64, requires_grad=True
        )
        p = w.clone()
        optimizer = make([p], lr=0.1, differentiable=True)
        for _ in range(2):
            # retain the graph through the gradient, as higher-order meta-learning does
            p.grad = p * p.detach().clone() * 2 + 1.0
            optimizer.step()
        (p * p).sum().backward()
        grads.append(w.grad.numpy())
    # PyTorch counts these steps in float32, and with them its bias corrections.
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-4)


def test_every_rule_is_an_expression_of_elements():
    """What a kernel needs: expressions, and no single-precision arithmetic of coefficients."""

    def reads_an_array(e, arrays):
        if e.op == "input":
            return e.args[0] in arrays
        if e.op == "const":
            return False
        found = sum(reads_an_array(a, arrays) for a in e.args) > 0
        assert found, f"{e} is arithmetic among coefficients"
        return found

    for name, options in EACH:
        p = Parameter(fl.zeros(2))
        optimizer = getattr(optim, name)([p], **options)
        group = optimizer.param_groups[0]
        for _ in range(2):  # the first step of momentum is special
            state = optimizer.state_of(group, p)
            key = optimizer.advance_(group, p, state)
            symbols = {
                k: v if isinstance(v, (bool, str)) else Expression("input", k)
                for k, v in optimizer.coefficients(group, key).items()
            }
            arrays = ("p", "g", *optimizer.buffers(group))
            inputs = [Expression("input", n) for n in arrays]
            results = optimizer.rule(BUILDER, *inputs, **symbols)
            assert len(results) == len(arrays) - 1
            for result in results:
                assert reads_an_array(result, arrays)


def test_unequal_lengths_are_refused(engine):
    p = Parameter(fl.zeros(20000))
    optimizer = optim.Adam([p])
    p.grad = fl.ones(20000)
    optimizer.step()
    optimizer.state[p]["exp_avg"] = fl.zeros(5)
    with pytest.raises((RuntimeError, ValueError)):
        optimizer.step()
    np.testing.assert_array_equal(optimizer.state[p]["exp_avg"].numpy(), 0)


def test_chunks_cover_every_element_once():
    for sizes in ([1], [0, 5, 0], [100000], [7] * 300, [50000, 3, 0, 90001, 16384], [0]):
        for workers in (1, 2, 5):
            chunks, plan = updates._make_plan(sizes, workers)
            seen = [np.zeros(n, int) for n in sizes]
            marks = plan.reshape(-1, 2)
            assert len(marks) == chunks + 1
            for (first, start), (last, end) in pairwise(marks):
                for row in range(first, last + 1):
                    low = start if row == first else 0
                    high = end if row == last else sizes[row]
                    seen[row][low:high] += 1
            assert all((s == 1).all() for s in seen)


def test_checkpoint_through_bytes_keeps_identity_of_groups():
    p, q = Parameter(fl.zeros(2)), Parameter(fl.zeros(3))
    optimizer = optim.SGD([{"params": [q], "lr": 0.5}, {"params": [p]}], lr=0.1)
    data = io.BytesIO(pickle.dumps(optimizer))
    loaded = pickle.load(data)
    assert [g["lr"] for g in loaded.param_groups] == [0.5, 0.1]
    assert [len(g["params"][0]) for g in loaded.param_groups] == [3, 2]
