"""The base class: groups, messages, hooks, checkpoints, repr; PyTorch is the reference."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from flambeau import optim
from flambeau.optim import optimizer as optimizer_module
from flambeau.tensor import Parameter
from flambeau.tensor import functions as fl

torch = pytest.importorskip("torch")


def ours(*shape):
    return Parameter(fl.zeros(*shape))


def theirs(*shape):
    return torch.nn.Parameter(torch.zeros(*shape))


def failure(make):
    """The exception type and message of ``make()``; its warnings are errors of their own."""
    with pytest.raises(Exception) as caught:
        make()
    return caught.type.__name__, str(caught.value)


# Each takes an optimizer module and a function that makes parameters, and raises.
REFUSED = {
    "a tensor": lambda o, p: o.SGD(p(3)),
    "nothing": lambda o, p: o.SGD([]),
    "text": lambda o, p: o.SGD("ab"),
    "numbers": lambda o, p: o.SGD([3]),
    "a set": lambda o, p: o.SGD([{"params": {p(2)}}]),
    "a non-leaf": lambda o, p: o.SGD([p(2) * 2]),
    "a parameter in two groups": lambda o, p: (lambda q: o.SGD([{"params": [q]}, {"params": [q]}]))(
        p(2)
    ),
    "a list as a group": lambda o, p: o.SGD([p(2)]).add_param_group([p(2)]),
    "some names": lambda o, p: o.SGD([("a", p(2)), p(2)]),
    "a group without names": lambda o, p: o.SGD([("a", p(2))]).add_param_group({"params": [p(2)]}),
    "no params": lambda o, p: o.SGD([{"lr": 1}]),
    "None": lambda o, p: o.SGD(None),
    "fewer groups": lambda o, p: o.SGD([p(2)]).load_state_dict(
        o.SGD([{"params": [p(2)]}, {"params": [p(2)]}]).state_dict()
    ),
    "other group sizes": lambda o, p: o.SGD([p(2)]).load_state_dict(
        o.SGD([p(2), p(1)]).state_dict()
    ),
    "SGD lr": lambda o, p: o.SGD([p(2)], lr=-1.0),
    "SGD momentum": lambda o, p: o.SGD([p(2)], momentum=-1.0),
    "SGD weight_decay": lambda o, p: o.SGD([p(2)], weight_decay=-1.0),
    "SGD nesterov": lambda o, p: o.SGD([p(2)], nesterov=True),
    "SGD nesterov dampened": lambda o, p: o.SGD([p(2)], momentum=0.5, dampening=0.1, nesterov=True),
    "SGD fused foreach": lambda o, p: o.SGD([p(2)], fused=True, foreach=True),
    "SGD fused differentiable": lambda o, p: o.SGD([p(2)], fused=True, differentiable=True),
    "Adam lr": lambda o, p: o.Adam([p(2)], lr=-1.0),
    "Adam eps": lambda o, p: o.Adam([p(2)], eps=-1.0),
    "Adam beta 0": lambda o, p: o.Adam([p(2)], betas=(1.0, 0.9)),
    "Adam beta 1": lambda o, p: o.Adam([p(2)], betas=(0.9, -0.1)),
    "Adam weight_decay": lambda o, p: o.Adam([p(2)], weight_decay=-1.0),
    "AdamW weight_decay": lambda o, p: o.AdamW([p(2)], weight_decay=-1.0),
    "RMSprop alpha": lambda o, p: o.RMSprop([p(2)], alpha=-1.0),
    "RMSprop momentum": lambda o, p: o.RMSprop([p(2)], momentum=-1.0),
    "RMSprop eps": lambda o, p: o.RMSprop([p(2)], eps=-1.0),
    "Adagrad lr_decay": lambda o, p: o.Adagrad([p(2)], lr_decay=-1.0),
    "Adagrad start": lambda o, p: o.Adagrad([p(2)], initial_accumulator_value=-1.0),
    "Adagrad eps": lambda o, p: o.Adagrad([p(2)], eps=-1.0),
    "Adadelta rho": lambda o, p: o.Adadelta([p(2)], rho=1.5),
    "Adamax betas": lambda o, p: o.Adamax([p(2)], betas=(0.9, 1.0)),
    "NAdam momentum_decay": lambda o, p: o.NAdam([p(2)], momentum_decay=-1.0),
    "RAdam betas": lambda o, p: o.RAdam([p(2)], betas=(0.9, 1.0)),
    "Rprop etas": lambda o, p: o.Rprop([p(2)], etas=(1.5, 1.2)),
    "ASGD weight_decay": lambda o, p: o.ASGD([p(2)], weight_decay=-1.0),
    "LBFGS groups": lambda o, p: o.LBFGS([{"params": [p(2)]}, {"params": [p(2)]}]),
    "LBFGS without a closure": lambda o, p: o.LBFGS([p(2)]).step(),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_read_like_pytorch(case):
    make = REFUSED[case]
    assert failure(lambda: make(optim, ours)) == failure(lambda: make(torch.optim, theirs))


def test_tensor_options_are_checked():
    two = fl.tensor([0.1, 0.2])
    for name in ("SGD", "Adam", "RMSprop"):
        with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
            getattr(optim, name)([ours(2)], lr=two)
    with pytest.raises(ValueError, match="betas must be either both floats or both Tensors"):
        optim.Adam([ours(2)], betas=(fl.tensor(0.9), 0.99))
    with pytest.raises(ValueError, match="lr as a Tensor is not supported"):
        optim.Adam([ours(2)], lr=fl.tensor(0.1), foreach=True)


def test_required_option():
    required = optimizer_module.required
    with pytest.raises(ValueError, match="required optimization parameter lr"):
        optim.Optimizer([ours(2)], {"lr": required})
    assert (
        optim.Optimizer([{"params": [ours(2)], "lr": 1}], {"lr": required}).param_groups[0]["lr"]
        == 1
    )


@pytest.mark.parametrize(
    "name",
    [
        "SGD",
        "Adam",
        "AdamW",
        "RMSprop",
        "Adagrad",
        "Adadelta",
        "Adamax",
        "NAdam",
        "RAdam",
        "Rprop",
        "ASGD",
        "LBFGS",
    ],
)
def test_defaults_and_repr(name):
    mine, other = getattr(optim, name)([ours(2)]), getattr(torch.optim, name)([theirs(2)])
    assert mine.defaults == other.defaults
    assert list(mine.defaults) == list(other.defaults)
    assert repr(mine) == repr(other)


def test_repr_of_two_groups():
    groups = [
        o.Adam([{"params": [p(2)]}, {"params": [p(3)], "lr": 3.0}])
        for o, p in ((optim, ours), (torch.optim, theirs))
    ]
    assert repr(groups[0]) == repr(groups[1])


def test_group_options_and_generators():
    a, b = ours(2), ours(3)
    optimizer = optim.SGD(
        ({"params": x, "lr": lr} for x, lr in ((a, 0.5), (b, 0.25))), momentum=0.9
    )
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.25]
    a.grad, b.grad = fl.ones(2), fl.ones(3)
    optimizer.step()
    np.testing.assert_array_equal(a.detach().numpy(), -0.5)
    np.testing.assert_array_equal(b.detach().numpy(), -0.25)
    c = ours(1)
    optimizer.add_param_group({"params": c, "lr": 1.0})
    assert optimizer.param_groups[2]["params"] == [c]
    assert optimizer.param_groups[2]["momentum"] == 0.9


def test_names_are_kept_and_loaded():
    optimizer = optim.SGD([("w", ours(2)), ("b", ours(1))])
    saved = optimizer.state_dict()["param_groups"][0]
    assert saved["param_names"] == ["w", "b"]
    assert saved["params"] == [0, 1]
    nameless = optim.SGD([ours(2), ours(1)])
    optimizer.load_state_dict(nameless.state_dict())
    assert optimizer.param_groups[0]["param_names"] == ["w", "b"]


def test_zero_grad():
    a, b = ours(2), ours(2)
    optimizer = optim.SGD([a, b])
    a.grad = kept = fl.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert b.grad is None
    np.testing.assert_array_equal(kept.numpy(), 0)
    np.testing.assert_array_equal(a.grad.numpy(), 0)
    optimizer.zero_grad()
    assert a.grad is None


def test_closure_records_gradients_and_its_loss_is_returned():
    from flambeau.autograd import no_grad

    p = Parameter(fl.ones(2))
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with no_grad():
        assert float(optimizer.step(closure)) == 2.0
    np.testing.assert_array_equal(p.detach().numpy(), 0.0)
    assert optimizer.step() is None


def test_base_class_has_no_algorithm():
    with pytest.raises(NotImplementedError):
        optim.Optimizer([ours(2)], {}).step()


def test_step_hooks():
    events = []
    p = ours(2)
    p.grad = fl.ones(2)
    optimizer = optim.SGD([p], lr=1.0)
    before = optimizer.register_step_pre_hook(lambda o, a, k: events.append(("pre", o, a, k)))
    after = optimizer.register_step_post_hook(lambda o, a, k: events.append(("post", o, a, k)))
    every = [
        optimizer_module.register_optimizer_step_pre_hook(lambda o, a, k: events.append("all pre")),
        optimizer_module.register_optimizer_step_post_hook(
            lambda o, a, k: events.append("all post")
        ),
    ]
    try:
        optimizer.step()
    finally:
        for handle in every:
            handle.remove()
    assert events == [
        "all pre",
        ("pre", optimizer, (optimizer,), {}),
        ("post", optimizer, (optimizer,), {}),
        "all post",
    ]
    before.remove()
    after.remove()
    optimizer.step()
    assert len(events) == 4


def test_pre_hook_may_replace_the_arguments():
    optimizer = optim.SGD([ours(2)])
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((o, lambda: 7), {}))
    assert optimizer.step(lambda: 3) == 7
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(
        RuntimeError, match=r"must return None or a tuple of \(new_args, new_kwargs\)"
    ):
        optimizer.step()


def test_hooks_reach_a_user_defined_optimizer():
    class Descent(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.data.add_(p.grad, alpha=-group["lr"])

    p = ours(2)
    p.grad = fl.ones(2)
    calls = []
    optimizer = Descent([p], lr=0.5)
    optimizer.register_step_post_hook(lambda *args: calls.append(1))
    optimizer.step()
    np.testing.assert_array_equal(p.detach().numpy(), -0.5)
    assert calls == [1]


def test_state_dict_hooks_and_their_order():
    events = []
    optimizer = optim.SGD([ours(2)])
    optimizer.register_state_dict_pre_hook(lambda o: events.append("second"))
    optimizer.register_state_dict_pre_hook(lambda o: events.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, d: {**d, "extra": 1})
    optimizer.register_load_state_dict_pre_hook(lambda o, d: events.append(sorted(d)))
    optimizer.register_load_state_dict_post_hook(lambda o: events.append("loaded"))
    saved = optimizer.state_dict()
    assert saved["extra"] == 1
    optimizer.load_state_dict(saved)
    assert events == ["first", "second", ["extra", "param_groups", "state"], "loaded"]


def test_loading_casts_state_but_not_the_step():
    p = Parameter(fl.zeros(2, dtype=torch_dtype("float64")))
    optimizer = optim.Adam([p])
    half = fl.ones(2)
    state = {"step": 3, "exp_avg": half, "exp_avg_sq": half.clone(), "note": {"a": half}}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": {0: state, "other": 5}, "param_groups": groups})
    loaded = optimizer.state[p]
    assert loaded["exp_avg"].dtype is p.dtype
    assert loaded["note"]["a"].dtype is p.dtype
    assert float(loaded["step"]) == 3
    assert str(loaded["step"].dtype) == "torch.float32"
    assert optimizer.state["other"] == 5
    p.grad = fl.ones(2, dtype=p.dtype)
    optimizer.step()
    assert float(optimizer.state[p]["step"]) == 4


def torch_dtype(name):
    from flambeau import dtypes

    return getattr(dtypes, name)


def test_options_loaded_from_an_old_checkpoint_are_completed():
    p = ours(2)
    optimizer = optim.Adam([p])
    saved = optimizer.state_dict()
    for name in ("maximize", "fused", "decoupled_weight_decay"):
        del saved["param_groups"][0][name]
    optimizer.load_state_dict(saved)
    p.grad = fl.ones(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
    assert optimizer.param_groups[0]["maximize"] is False


def test_meaningless_choices_change_nothing():
    results = []
    for options in ({}, {"foreach": True}, {"fused": True}, {"capturable": True}):
        p = ours(3)
        p.grad = fl.ones(3)
        optim.Adam([p], lr=0.1, **options).step()
        results.append(p.detach().numpy())
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_subclass_calling_super_runs_hooks_once():
    class Mine(optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    calls = []
    p = ours(2)
    p.grad = fl.ones(2)
    optimizer = Mine([p])
    optimizer.register_step_pre_hook(lambda *args: calls.append(1))
    optimizer.step()
    assert calls == [1]
