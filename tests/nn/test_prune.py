"""Pruning against PyTorch's: masks, names, removal and errors."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as fl
from flambeau.nn.utils import prune

torch = pytest.importorskip("torch")
torch_prune = pytest.importorskip("torch.nn.utils.prune")


def both(script):
    """What the script returns with either library, as arrays."""
    found = []
    for lib, module in ((fl, prune), (torch, torch_prune)):
        lib.manual_seed(3)
        net = lib.nn.Sequential(lib.nn.Linear(6, 5), lib.nn.Conv2d(3, 4, 3))
        tensors = script(lib, module, net)
        names = sorted(net.state_dict()), [len(part._forward_pre_hooks) for part in net]
        found.append(([t.detach().numpy() for t in tensors], names))
    return found


def check(script):
    (ours, names), (theirs, expected) = both(script)
    assert names == expected
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


SCRIPTS = {
    "identity": lambda p, lib, net: p.identity(net[0], "weight"),
    "l1": lambda p, lib, net: p.l1_unstructured(net[0], "weight", 0.3),
    "l1 count": lambda p, lib, net: p.l1_unstructured(net[0], "weight", 7),
    "l1 none": lambda p, lib, net: p.l1_unstructured(net[0], "weight", 0),
    "l1 scores": lambda p, lib, net: p.l1_unstructured(
        net[0], "weight", 4, importance_scores=lib.arange(30.0).reshape(5, 6)
    ),
    "random": lambda p, lib, net: p.random_unstructured(net[0], "weight", 0.4),
    "ln": lambda p, lib, net: p.ln_structured(net[1], "weight", 2, 2, 0),
    "ln last": lambda p, lib, net: p.ln_structured(net[0], "weight", 0.5, 1, -1),
    "random channels": lambda p, lib, net: p.random_structured(net[1], "weight", 0.5, 1),
    "mask": lambda p, lib, net: p.custom_from_mask(net[0], "bias", lib.tensor([1, 0, 1, 0, 1])),
    "global": lambda p, lib, net: p.global_unstructured(
        [(net[0], "weight"), (net[1], "weight")], p.L1Unstructured, amount=0.4
    ),
    "again": lambda p, lib, net: (
        p.l1_unstructured(net[0], "weight", 0.3),
        p.random_unstructured(net[0], "weight", 4),
        p.ln_structured(net[0], "weight", 1, 2, 0),
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_masks_and_weights(name):
    def script(lib, p, net):
        SCRIPTS[name](p, lib, net)
        assert p.is_pruned(net)
        net[0](lib.ones(2, 6)).sum().backward()
        grads = [q.grad for q in net[0].parameters()]
        return [net[0].weight, net[1].weight, net[0].bias, *dict(net.named_buffers()).values()] + [
            g for g in grads if g is not None
        ]

    check(script)


def test_what_is_removed_stays_pruned():
    def script(lib, p, net):
        p.l1_unstructured(net[0], "weight", 0.3)
        p.ln_structured(net[0], "weight", 1, 2, 0)
        assert len(next(iter(net[0]._forward_pre_hooks.values()))) == 2
        p.remove(net[0], "weight")
        assert not p.is_pruned(net)
        return [net[0].weight, *net[0].parameters()]

    check(script)


def test_a_method_prunes_a_bare_tensor():
    t = np.arange(6.0).reshape(2, 3)
    ours = prune.L1Unstructured(2).prune(fl.tensor(t))
    theirs = torch_prune.L1Unstructured(2).prune(torch.tensor(t))
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


REFUSED = [
    lambda p, net: p.l1_unstructured(net[0], "weight", 1.5),
    lambda p, net: p.l1_unstructured(net[0], "weight", -1),
    lambda p, net: p.l1_unstructured(net[0], "weight", 500),
    lambda p, net: p.l1_unstructured(net[0], "weight", "all"),
    lambda p, net: p.l1_unstructured(net[0], "none", 1),
    lambda p, net: p.remove(net[0], "weight"),
    lambda p, net: p.ln_structured(net[0], "bias", 1, 2, 0),
    lambda p, net: p.ln_structured(net[0], "weight", 1, 2, 5),
    lambda p, net: p.global_unstructured([(net[0], "weight")], p.LnStructured, amount=1, n=2),
    lambda p, net: p.PruningContainer(3),
    lambda p, net: p.L1Unstructured(1).prune(net[0].weight, importance_scores=net[0].bias),
]


@pytest.mark.parametrize("call", REFUSED)
def test_refusals(call):
    errors = []
    for lib, p in ((fl, prune), (torch, torch_prune)):
        net = lib.nn.Sequential(lib.nn.Linear(6, 5))
        with pytest.raises(
            (TypeError, ValueError, IndexError, AttributeError, AssertionError)
        ) as caught:
            call(p, net)
        errors.append(caught.type)
        assert sorted(net.state_dict()) == ["0.bias", "0.weight"]
    assert errors[0] is errors[1]
