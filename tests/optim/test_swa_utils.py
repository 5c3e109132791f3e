"""Averaged models, their batch norms, and the schedule that goes with them, next to PyTorch."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from flambeau import nn, optim
from flambeau.optim import lr_scheduler, swa_utils
from flambeau.tensor import Parameter
from flambeau.tensor import functions as fl

torch = pytest.importorskip("torch")


def model_of(modules):
    return modules.Sequential(modules.Linear(3, 4), modules.BatchNorm1d(4), modules.Linear(4, 2))


def pair():
    """The same network in both libraries."""
    mine, theirs = model_of(nn), model_of(torch.nn)
    with torch.no_grad():
        for ours, other in zip(
            mine.state_dict().values(), theirs.state_dict().values(), strict=True
        ):
            ours.copy_(fl.from_numpy(other.numpy().copy()))
    return mine, theirs


def drift(mine, theirs, seed):
    """Move all parameters and buffers of both networks alike."""
    draw = np.random.RandomState(seed)
    states = zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True)
    for ours, other in states:
        if other.dtype.is_floating_point:
            step = draw.standard_normal(tuple(other.shape)).astype("float32")
            ours.copy_(fl.from_numpy(step))
            other.copy_(torch.from_numpy(step))


def check(mine, theirs):
    ours, others = mine.state_dict(), theirs.state_dict()
    assert list(ours) == list(others)
    for key, value in ours.items():
        np.testing.assert_allclose(value.numpy(), others[key].numpy(), rtol=1e-5, atol=1e-6)


AVERAGES = {
    "default": lambda s: {},
    "use_buffers": lambda s: {"use_buffers": True},
    "swa": lambda s: {"avg_fn": s.get_swa_avg_fn()},
    "swa lists": lambda s: {"multi_avg_fn": s.get_swa_multi_avg_fn()},
    "ema": lambda s: {"avg_fn": s.get_ema_avg_fn(0.7)},
    "ema lists": lambda s: {"multi_avg_fn": s.get_ema_multi_avg_fn(0.7), "use_buffers": True},
    "own": lambda s: {"avg_fn": lambda a, p, n: 0.5 * a + 0.5 * p},
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averages(name):
    mine, theirs = pair()
    ours = swa_utils.AveragedModel(mine, **AVERAGES[name](swa_utils))
    reference = torch.optim.swa_utils.AveragedModel(theirs, **AVERAGES[name](torch.optim.swa_utils))
    for seed in range(4):
        drift(mine, theirs, seed)
        ours.update_parameters(mine)
        reference.update_parameters(theirs)
    check(ours, reference)
    assert int(ours.n_averaged) == 4


def test_the_copy_is_independent_and_is_called():
    mine, _ = pair()
    averaged = swa_utils.AveragedModel(mine)
    before = copy.deepcopy(averaged.state_dict())
    for p in mine.parameters():
        p.detach().fill_(7.0)
    for key, value in averaged.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key].numpy())
    x = fl.ones(5, 3)
    averaged.eval()
    mine.eval()
    assert tuple(averaged(x).shape) == (5, 2)


def test_update_bn():
    mine, theirs = pair()
    mine.eval()
    theirs.eval()
    batches = [np.random.RandomState(i).standard_normal((6, 3)).astype("float32") for i in range(3)]
    swa_utils.update_bn([(fl.from_numpy(b), 0) for b in batches], mine)
    torch.optim.swa_utils.update_bn([(torch.from_numpy(b), 0) for b in batches], theirs)
    check(mine, theirs)
    assert mine[1].momentum == 0.1
    assert not mine.training


def test_update_bn_without_any():
    calls = []

    class Plain(nn.Module):
        def forward(self, x):
            calls.append(x)

    swa_utils.update_bn([1, 2], Plain())
    assert calls == []


@pytest.mark.parametrize(
    "options", [{}, {"anneal_epochs": 0}, {"anneal_epochs": 4, "anneal_strategy": "linear"}]
)
def test_swalr_after_another_schedule(options):
    seen = []
    for library in (fl, torch):
        torches = library is torch
        optimizers, schedulers = (
            (torch.optim, torch.optim.lr_scheduler) if torches else (optim, lr_scheduler)
        )
        p = torch.nn.Parameter(torch.zeros(2)) if torches else Parameter(fl.zeros(2))
        optimizer = optimizers.SGD([p], lr=0.5)
        first = schedulers.ExponentialLR(optimizer, 0.9)
        second = (torch.optim.swa_utils if torches else swa_utils).SWALR(optimizer, 0.05, **options)
        path = []
        for epoch in range(14):
            optimizer.step()
            (first if epoch < 3 else second).step()
            path.append(optimizer.param_groups[0]["lr"])
        seen.append(path)
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-12)


def test_refusals():
    optimizer = optim.SGD([Parameter(fl.zeros(2))])
    with pytest.raises(ValueError, match="anneal_strategy must be one of 'cos' or 'linear'"):
        swa_utils.SWALR(optimizer, 0.1, anneal_strategy="q")
    with pytest.raises(ValueError, match="anneal_epochs must be equal or greater than 0, got -1"):
        swa_utils.SWALR(optimizer, 0.1, anneal_epochs=-1)
    with pytest.raises(ValueError, match="swa_lr must have the same length"):
        swa_utils.SWALR(optimizer, [0.1, 0.2])
    with pytest.raises(ValueError, match="Invalid decay value 2"):
        swa_utils.get_ema_avg_fn(2)
    with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn"):
        swa_utils.AveragedModel(
            model_of(nn),
            avg_fn=swa_utils.get_swa_avg_fn(),
            multi_avg_fn=swa_utils.get_swa_multi_avg_fn(),
        )
