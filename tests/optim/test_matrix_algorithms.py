"""Adafactor and Muon, which look at whole matrices, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau import optim
from flambeau.dtypes import complex64
from flambeau.tensor import Parameter
from flambeau.tensor import functions as fl

torch = pytest.importorskip("torch")

CASES = [
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.5, "weight_decay": 0.3}),
    ("Adafactor", {"lr": 1.0, "d": 1.5, "eps": (1e-3, 1e-2), "beta2_decay": -0.5}),
    ("Adafactor", {"maximize": True}),
    ("Muon", {"lr": 0.1}),
    ("Muon", {"lr": 0.1, "nesterov": False, "weight_decay": 0.3}),
    ("Muon", {"lr": 0.1, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3}),
]
SHAPES = {"Adafactor": [(6, 4), (4,), (), (2, 3, 5)], "Muon": [(6, 4), (3, 5)]}


def train(name, options, dtype):
    """Parameters and optimizers of both libraries after six steps down the same bowls."""
    draw = np.random.RandomState(1).standard_normal
    starts = [np.asarray(draw(s)).astype(dtype) for s in SHAPES[name]]
    targets = [np.asarray(draw(s)).astype(dtype) for s in SHAPES[name]]
    mine = [Parameter(fl.from_numpy(a.copy())) for a in starts]
    theirs = [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in starts]
    alone = {"foreach": False} if name == "Adafactor" else {}
    optimizers = (
        getattr(optim, name)(mine, **options),
        getattr(torch.optim, name)(theirs, **options, **alone),
    )
    makers = fl.from_numpy, torch.from_numpy
    for _ in range(6):
        for params, optimizer, make in zip((mine, theirs), optimizers, makers, strict=True):
            for p, target in zip(params, targets, strict=True):
                p.grad = make(np.asarray(2 * (p.detach().numpy() - target)))
            optimizer.step()
    return mine, theirs, *optimizers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_six_steps(name, options, dtype):
    mine, theirs, ours, reference = train(name, options, dtype)
    # Muon rounds to bfloat16: a last place in float32 may move a rounding.
    loose = 1e-2 if name == "Muon" else 1e-5
    for p, q in zip(mine, theirs, strict=True):
        tolerance = 1e-9 if dtype == "float64" else loose
        np.testing.assert_allclose(
            p.detach().numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance
        )
        assert list(ours.state[p]) == list(reference.state[q])
        for field, value in ours.state[p].items():
            assert tuple(value.shape) == tuple(reference.state[q][field].shape)


REFUSED = {
    "lr": lambda o, m: o.Adafactor([m], lr=-1.0),
    "beta2_decay": lambda o, m: o.Adafactor([m], beta2_decay=1.0),
    "eps": lambda o, m: o.Adafactor([m], eps=(-1.0, 1.0)),
    "second eps": lambda o, m: o.Adafactor([m], eps=(None, -1.0)),
    "d": lambda o, m: o.Adafactor([m], d=0.5),
    "weight_decay": lambda o, m: o.Adafactor([m], weight_decay=-1.0),
    "Muon lr": lambda o, m: o.Muon([m], lr=-1.0),
    "Muon momentum": lambda o, m: o.Muon([m], momentum=-1.0),
    "Muon weight_decay": lambda o, m: o.Muon([m], weight_decay=-1.0),
    "Muon adjust_lr_fn": lambda o, m: o.Muon([m], adjust_lr_fn="q"),
    "Muon on a vector": lambda o, m: o.Muon([m[0].detach().clone()]),
    "Muon steps": lambda o, m: o.Muon([m], ns_steps=100).step(),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_read_like_pytorch(case):
    caught = []
    for o, new, lib in ((optim, Parameter, fl), (torch.optim, torch.nn.Parameter, torch)):
        matrix = new(lib.ones(2, 2))
        matrix.grad = lib.ones(2, 2)
        with pytest.raises(ValueError) as e:
            REFUSED[case](o, matrix)
        caught.append(str(e.value))
    assert caught[0] == caught[1]


def test_complex_parameters_are_refused():
    p = Parameter(fl.zeros(2, dtype=complex64))
    p.grad = fl.zeros(2, dtype=complex64)
    with pytest.raises(RuntimeError, match="Adafactor does not support complex parameters"):
        optim.Adafactor([p]).step()


def test_muon_makes_the_update_nearly_orthogonal():
    p = Parameter(fl.zeros(8, 5))
    p.grad = fl.from_numpy(np.random.RandomState(0).standard_normal((8, 5)).astype("float32"))
    optim.Muon([p], lr=1.0, weight_decay=0.0).step()
    scale = (8 / 5) ** 0.5
    values = np.linalg.svd(p.detach().numpy() / scale, compute_uv=False)
    assert values.min() > 0.5
    assert values.max() < 1.5
