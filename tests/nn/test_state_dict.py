"""Saving and loading of state: keys, metadata, errors, hooks; each case on both libraries."""

from __future__ import annotations

from collections import OrderedDict

import pytest

CASES = []


def case(function):
    CASES.append(pytest.param(function, id=function.__name__))
    return function


def make_net(torch):
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Sequential(torch.nn.PReLU())
    )
    net.register_buffer("scratch", torch.ones(1), persistent=False)
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.fill_(i)
    return net


def attempt(action):
    try:
        return action()
    except Exception as error:
        return type(error).__name__, str(error)


@case
def keys_and_metadata(torch):
    state = make_net(torch).state_dict()
    prefixed = make_net(torch).state_dict(prefix="a.b.")
    return [type(state).__name__, state, state._metadata, list(prefixed), prefixed._metadata]


@case
def values_share_memory(torch):
    net = make_net(torch)
    state = net.state_dict()
    kept = net.state_dict(keep_vars=True)
    state["0.weight"].fill_(7)
    return [
        net[0].weight,
        kept["0.weight"] is net[0].weight,
        state["0.weight"].requires_grad,
        type(state["0.weight"]) is torch.Tensor,
    ]


@case
def into_a_destination(torch):
    destination = {"old": 1}
    net = make_net(torch)
    out = net.state_dict(destination=destination, prefix="x.")
    return [out is destination, list(out), net.state_dict(OrderedDict(), "y.", True)]


@case
def loading_what_fits(torch):
    net, other = make_net(torch), make_net(torch)
    state = {k: v + 1 for k, v in net.state_dict().items()}
    weight = other[0].weight
    result = other.load_state_dict(state)
    return [repr(result), other.state_dict(), other[0].weight is weight, result.missing_keys]


@case
def every_complaint_at_once(torch):
    net = make_net(torch)
    state = net.state_dict()
    state["0.weight"] = torch.zeros(2, 2)
    state["0.bias"] = "text"
    del state["1.running_mean"]
    state["9.weight"] = torch.zeros(1)
    state["0.weight.deep"] = torch.zeros(1)
    state["scratch"] = torch.zeros(1)
    state["0.absent"] = torch.zeros(1)
    state["2"] = torch.zeros(1)
    message = attempt(lambda: net.load_state_dict(state))
    del state["0.weight"], state["0.bias"]
    loose = net.load_state_dict(state, strict=False)
    return [message, repr(loose), loose.missing_keys, loose.unexpected_keys]


@case
def shapes_must_fit_even_when_not_strict(torch):
    net = make_net(torch)
    return [
        attempt(lambda: net.load_state_dict({"0.weight": torch.zeros(5)}, strict=False)),
        attempt(lambda: net.load_state_dict(3)),
        attempt(lambda: net.load_state_dict([("0.weight", torch.zeros(5))])),
    ]


@case
def assigning(torch):
    net = make_net(torch)
    net[0].bias.requires_grad_(False)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    state["0.weight"] = torch.nn.Parameter(torch.zeros(3, 2))
    net.load_state_dict(state, assign=True)
    return [
        net[0].weight is state["0.weight"],
        net[0].weight.requires_grad,
        isinstance(net[0].bias, torch.nn.Parameter),
        net[0].bias.requires_grad,
        net[1].running_mean is state["1.running_mean"],
    ]


@case
def assigning_changes_the_dtype(torch):
    layer = torch.nn.Linear(1, 1)
    state = {"weight": torch.ones(1, 1).double(), "bias": torch.ones(1).double()}
    layer.load_state_dict(state)
    copied = str(layer.weight.dtype)
    layer.load_state_dict(state, assign=True)
    return copied, str(layer.weight.dtype)


@case
def old_batch_norm_without_a_count(torch):
    norm = torch.nn.BatchNorm1d(2)
    norm.num_batches_tracked.fill_(4)
    state = norm.state_dict()
    del state["num_batches_tracked"]
    state._metadata[""] = {"version": 1}
    kept = norm.load_state_dict(state)
    plain = attempt(lambda: norm.load_state_dict(dict(state)))
    return [repr(kept), plain if isinstance(plain, tuple) else repr(plain), norm.state_dict()]


@case
def scalars_saved_as_vectors(torch):
    module = torch.nn.Module()
    module.register_buffer("scalar", torch.tensor(0.0))
    module.load_state_dict({"scalar": torch.tensor([3.0])})
    return module.scalar


@case
def extra_state(torch):
    class Counter(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    net = torch.nn.Sequential(Counter(), torch.nn.Linear(1, 1))
    net[0].count = 5
    state = net.state_dict()
    other = torch.nn.Sequential(Counter(), torch.nn.Linear(1, 1))
    other.load_state_dict(state)
    missing = {k: v for k, v in state.items() if "extra" not in k}
    plain = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(1, 1))
    return [
        list(state),
        other[0].count,
        attempt(lambda: other.load_state_dict(missing)),
        attempt(lambda: plain.load_state_dict(state)),
    ]


@case
def hooks(torch):
    log = []
    net = make_net(torch)
    net.register_state_dict_pre_hook(lambda m, prefix, keep: log.append(("pre", prefix, keep)))
    net[0].register_state_dict_post_hook(
        lambda m, state, prefix, meta: log.append(("post", list(state), prefix, meta))
    )
    net[2].register_load_state_dict_pre_hook(
        lambda m, state, prefix, *rest: log.append(("load", type(m).__name__, list(state), prefix))
    )

    def forgive(module, keys):
        log.append(("done", keys.missing_keys))
        keys.missing_keys.clear()

    handle = net.register_load_state_dict_post_hook(forgive)
    state = net.state_dict()
    del state["0.weight"]
    forgiven = repr(net.load_state_dict(state))
    handle.remove()
    return [forgiven, attempt(lambda: net.load_state_dict(state)), log]


@case
def hooks_that_misbehave(torch):
    net = make_net(torch)
    post = net.register_state_dict_post_hook(lambda *a: {})
    first = attempt(net.state_dict)
    post.remove()
    net.register_load_state_dict_post_hook(lambda m, keys: 3)
    return first, attempt(lambda: net.load_state_dict(net.state_dict()))


@case
def rename_on_load(torch):
    class Renamed(torch.nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
            if prefix + "kernel" in state_dict:
                state_dict[prefix + "weight"] = state_dict.pop(prefix + "kernel")
            super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    net = torch.nn.Sequential(Renamed(1, 1))
    result = net.load_state_dict({"0.kernel": torch.ones(1, 1), "0.bias": torch.zeros(1)})
    return repr(result), net[0].weight


@pytest.mark.parametrize("function", CASES)
def test_same_as_torch(same, function):
    same(function)
