"""Every schedule's sequence of rates against PyTorch's, and what surrounds it."""

from __future__ import annotations

import copy
import math
import pickle
import warnings

import numpy as np
import pytest

from flambeau import optim
from flambeau.optim import lr_scheduler as our_schedulers
from flambeau.tensor import Parameter, Tensor
from flambeau.tensor import functions as fl

torch = pytest.importorskip("torch")
torch_schedulers = torch.optim.lr_scheduler


def make_optimizer(library, kind="SGD", lr=0.1, **options):
    new = torch.nn.Parameter if library is torch else Parameter
    zeros = torch.zeros if library is torch else fl.zeros
    groups = [{"params": [new(zeros(2))]}, {"params": [new(zeros(3))], "lr": 0.03}]
    return getattr(torch.optim if library is torch else optim, kind)(groups, lr=lr, **options)


def rates(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


SCHEDULES = {
    "StepLR": lambda s, o: s.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [2, 5, 5, 9], 0.3),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.4, 4),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.2, 0.9, 6),
    "LinearLR default": lambda s, o: s.LinearLR(o),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 7, 2.0),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 5, 0.01),
    "CosineAnnealingLR 1": lambda s, o: s.CosineAnnealingLR(o, 1),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.001),
    "CosineAnnealingWarmRestarts 1": lambda s, o: s.CosineAnnealingWarmRestarts(o, 4),
    "LambdaLR": lambda s, o: s.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (1 + e)]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda e: 1 - 0.05 * e),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, [0.2, 0.3], 3, 4),
    "CyclicLR triangular2": lambda s, o: s.CyclicLR(o, 0.01, 0.2, 3, mode="triangular2"),
    "CyclicLR exp_range": lambda s, o: s.CyclicLR(o, 0.01, 0.2, 3, mode="exp_range", gamma=0.9),
    "CyclicLR scale_fn": lambda s, o: s.CyclicLR(
        o, 0.01, 0.2, 3, scale_fn=lambda x: 1 / x, cycle_momentum=False
    ),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.5, 30),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(
        o, [0.5, 0.2], epochs=6, steps_per_epoch=5, anneal_strategy="linear", pct_start=0.25
    ),
    "OneCycleLR three": lambda s, o: s.OneCycleLR(o, 0.5, 30, three_phase=True),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9), s.StepLR(o, 2)], [3, 8]
    ),
    "SequentialLR warmup": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.01, 1.0, 5), s.CosineAnnealingLR(o, 15)], [5]
    ),
    "SequentialLR restarts": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.01, 1.0, 5), s.CosineAnnealingWarmRestarts(o, 4)], [5]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9)]
    ),
    "ChainedScheduler of three": lambda s, o: s.ChainedScheduler(
        [s.LinearLR(o), s.MultiStepLR(o, [4]), s.PolynomialLR(o, 12)], optimizer=o
    ),
}


def walk(library, make, steps=28, kind="SGD", **options):
    """Rates and momenta before each of `steps` epochs."""
    schedulers = torch_schedulers if library is torch else our_schedulers
    options = {"momentum": 0.9} if kind == "SGD" and not options else options
    optimizer = make_optimizer(library, kind, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = make(schedulers, optimizer)
        seen = []
        for _ in range(steps):
            groups = optimizer.param_groups
            moving = [g["momentum"] if kind == "SGD" else g["betas"][0] for g in groups]
            seen.append(rates(optimizer) + [float(m) for m in moving])
            assert [float(x) for x in scheduler.get_last_lr()] == rates(optimizer)
            optimizer.step()
            scheduler.step()
    return np.array(seen), scheduler


@pytest.mark.parametrize("name", SCHEDULES)
def test_sequence(name):
    seen, _ = walk(fl, SCHEDULES[name])
    expected, _ = walk(torch, SCHEDULES[name])
    np.testing.assert_allclose(seen, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["CyclicLR", "OneCycleLR", "OneCycleLR three", "StepLR"])
def test_sequence_with_adam_moves_beta1(name):
    seen, _ = walk(fl, SCHEDULES[name], kind="Adam")
    expected, _ = walk(torch, SCHEDULES[name], kind="Adam")
    np.testing.assert_allclose(seen, expected, rtol=1e-12, atol=1e-15)
    assert (len(set(seen[:, 2])) > 1) == (name != "StepLR")


@pytest.mark.parametrize("name", SCHEDULES)
def test_state_goes_to_pytorch_and_back(name):
    _, mine = walk(fl, SCHEDULES[name], steps=7)
    _, other = walk(torch, SCHEDULES[name], steps=7)
    saved, reference = mine.state_dict(), other.state_dict()
    assert set(plain(saved)) == set(plain(reference))
    assert same(saved, reference)
    tails = []
    for state in (saved, reference):
        optimizer = make_optimizer(fl, momentum=0.9)
        scheduler = SCHEDULES[name](our_schedulers, optimizer)
        scheduler.load_state_dict(copy.deepcopy(state))
        for group, lr in zip(optimizer.param_groups, mine.get_last_lr(), strict=True):
            group["lr"] = lr
        optimizer.step()
        tail = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(10):
                scheduler.step()
                tail.append(rates(optimizer))
        tails.append(tail)
    expected, _ = walk(fl, SCHEDULES[name], steps=18)
    np.testing.assert_allclose(tails[0], expected[8:, :2], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(tails[1], expected[8:, :2], rtol=1e-12, atol=1e-15)


def plain(state):
    # What PyTorch keeps for itself alone.
    return {k: v for k, v in state.items() if k not in ("_scale_fn_ref", "_anneal_func_type")}


def same(a, b):
    if isinstance(a, dict):
        return all(same(a[k], b[k]) for k in plain(a))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return math.isclose(a, b, rel_tol=1e-12) or a == b
    return a == b


RESUMED = {
    "StepLR": lambda s, o, n: s.StepLR(o, 3, 0.5, last_epoch=n),
    "MultiStepLR": lambda s, o, n: s.MultiStepLR(o, [2, 5], 0.3, last_epoch=n),
    "ConstantLR": lambda s, o, n: s.ConstantLR(o, 0.4, 4, last_epoch=n),
    "LinearLR": lambda s, o, n: s.LinearLR(o, 0.2, 0.9, 6, last_epoch=n),
    "ExponentialLR": lambda s, o, n: s.ExponentialLR(o, 0.8, last_epoch=n),
    "PolynomialLR": lambda s, o, n: s.PolynomialLR(o, 7, 2.0, last_epoch=n),
    "CosineAnnealingLR": lambda s, o, n: s.CosineAnnealingLR(o, 5, 0.01, last_epoch=n),
    "CosineAnnealingWarmRestarts": lambda s, o, n: s.CosineAnnealingWarmRestarts(
        o, 4, last_epoch=n
    ),
    "LambdaLR": lambda s, o, n: s.LambdaLR(o, lambda e: 0.9**e, last_epoch=n),
    "MultiplicativeLR": lambda s, o, n: s.MultiplicativeLR(o, lambda e: 0.9, last_epoch=n),
    "CyclicLR": lambda s, o, n: s.CyclicLR(o, 0.01, 0.2, 3, cycle_momentum=False, last_epoch=n),
    "OneCycleLR": lambda s, o, n: s.OneCycleLR(o, 0.5, 30, cycle_momentum=False, last_epoch=n),
}


@pytest.mark.parametrize("last_epoch", [0, 1, 4])
@pytest.mark.parametrize("name", RESUMED)
def test_resuming_at_an_epoch(name, last_epoch):
    seen = []
    for library, schedulers in ((fl, our_schedulers), (torch, torch_schedulers)):
        optimizer = make_optimizer(library)
        for group in optimizer.param_groups:
            group.update(initial_lr=0.2, max_lr=0.5, min_lr=0.001)
        scheduler = RESUMED[name](schedulers, optimizer, last_epoch)
        path = [rates(optimizer)]
        optimizer.step()
        for _ in range(6):
            scheduler.step()
            path.append(rates(optimizer))
        seen.append(path)
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", [n for n in RESUMED if n not in ("OneCycleLR", "CyclicLR")])
def test_stepping_to_an_epoch_uses_the_closed_form(name):
    seen = []
    for library, schedulers in ((fl, our_schedulers), (torch, torch_schedulers)):
        optimizer = make_optimizer(library)
        scheduler = RESUMED[name](schedulers, optimizer, -1)
        optimizer.step()
        path = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for epoch in (1, 4, 2, 9, 10):
                scheduler.step(epoch)
                path.append(rates(optimizer))
        seen.append(path)
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-12, atol=1e-15)


def test_fractional_warm_restarts():
    seen = []
    for library, schedulers in ((fl, our_schedulers), (torch, torch_schedulers)):
        optimizer = make_optimizer(library)
        scheduler = schedulers.CosineAnnealingWarmRestarts(optimizer, 2, 2)
        path = []
        for i in range(40):
            scheduler.step(i / 5)
            path.append(rates(optimizer))
        seen.append(path)
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-12, atol=1e-15)


PLATEAUS = [
    {},
    {"patience": 1, "factor": 0.5},
    {"mode": "max", "patience": 2, "threshold": 0.1},
    {"threshold_mode": "abs", "threshold": 0.05, "patience": 0, "cooldown": 2},
    {"mode": "max", "threshold_mode": "abs", "patience": 0, "min_lr": [0.01, 0.02]},
    {"patience": 0, "min_lr": 0.02, "eps": 0.01},
]


@pytest.mark.parametrize("options", PLATEAUS)
def test_reduce_on_plateau(options):
    metrics = np.abs(np.random.RandomState(0).standard_normal(40)).cumsum()[::-1] / 10
    metrics[20:] = metrics[20]
    seen, states = [], []
    for library, schedulers in ((fl, our_schedulers), (torch, torch_schedulers)):
        optimizer = make_optimizer(library)
        scheduler = schedulers.ReduceLROnPlateau(optimizer, **options)
        path = []
        for value in metrics:
            metric = library.tensor(float(value)) if value > 1 else float(value)
            scheduler.step(metric)
            path.append([*rates(optimizer), scheduler.num_bad_epochs, scheduler.in_cooldown])
        seen.append(path)
        states.append(scheduler.state_dict())
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-7)
    assert states[0].keys() == states[1].keys()
    assert same(states[0], states[1])
    assert len({row[0] for row in seen[0]}) > 1
    fresh = our_schedulers.ReduceLROnPlateau(make_optimizer(fl), **options)
    fresh.load_state_dict(states[1])
    assert fresh.best == states[0]["best"]


def test_plateau_with_a_group_added_later():
    for min_lr in (0.0, [0.0, 0.0]):
        optimizer = make_optimizer(fl)
        scheduler = our_schedulers.ReduceLROnPlateau(optimizer, patience=0, min_lr=min_lr)
        optimizer.add_param_group({"params": [Parameter(fl.zeros(1))]})
        scheduler.step(1.0)
        if isinstance(min_lr, list):
            with pytest.raises(RuntimeError, match="number of param groups"):
                scheduler.step(1.0)
        else:
            scheduler.step(1.0)
            np.testing.assert_allclose(rates(optimizer), [0.01, 0.003, 0.01])


REFUSED = {
    "no optimizer": lambda s, o: s.StepLR(3, 3),
    "no optimizer for a plateau": lambda s, o: s.ReduceLROnPlateau(3),
    "LambdaLR": lambda s, o: s.LambdaLR(o, [lambda e: 1.0]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, [lambda e: 1.0] * 3),
    "ConstantLR": lambda s, o: s.ConstantLR(o, factor=2.0),
    "LinearLR": lambda s, o: s.LinearLR(o, start_factor=0),
    "LinearLR end": lambda s, o: s.LinearLR(o, end_factor=2),
    "restarts 0": lambda s, o: s.CosineAnnealingWarmRestarts(o, 0),
    "restarts half": lambda s, o: s.CosineAnnealingWarmRestarts(o, 2.5),
    "restarts T_mult": lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 0),
    "restarts eta_min": lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, eta_min="a"),
    "restarts epoch": lambda s, o: s.CosineAnnealingWarmRestarts(o, 2).step(-1),
    "plateau factor": lambda s, o: s.ReduceLROnPlateau(o, factor=1.0),
    "plateau mode": lambda s, o: s.ReduceLROnPlateau(o, mode="q"),
    "plateau threshold": lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="q"),
    "plateau min_lr": lambda s, o: s.ReduceLROnPlateau(o, min_lr=[1.0]),
    "cyclic lr": lambda s, o: s.CyclicLR(o, 0.1, [0.1] * 3),
    "cyclic mode": lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="q"),
    "one cycle": lambda s, o: s.OneCycleLR(o, 0.1),
    "one cycle total": lambda s, o: s.OneCycleLR(o, 0.1, -1),
    "one cycle epochs": lambda s, o: s.OneCycleLR(o, 0.1, epochs=0, steps_per_epoch=2),
    "one cycle steps": lambda s, o: s.OneCycleLR(o, 0.1, epochs=1, steps_per_epoch=-2),
    "one cycle pct": lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=1.5),
    "one cycle anneal": lambda s, o: s.OneCycleLR(o, 0.1, 10, anneal_strategy="q"),
    "sequence of none": lambda s, o: s.SequentialLR(o, [], []),
    "sequence milestones": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o)], [2]),
    "sequence of a number": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o), 3], [2]),
    "sequence with a plateau": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o), s.ReduceLROnPlateau(o)], [2]
    ),
    "chain of none": lambda s, o: s.ChainedScheduler([]),
    "chain of a number": lambda s, o: s.ChainedScheduler([3], o),
    "base": lambda s, o: s.LRScheduler(o),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_read_like_pytorch(case):
    caught = []
    for library, schedulers in ((fl, our_schedulers), (torch, torch_schedulers)):
        optimizer = make_optimizer(library, momentum=0.9)
        with pytest.raises(Exception) as e:
            REFUSED[case](schedulers, optimizer)
        caught.append((e.type, str(e.value) if case != "base" else ""))
    assert caught[0] == caught[1]


def test_members_of_different_optimizers():
    a, b = make_optimizer(fl), make_optimizer(fl)
    members = [our_schedulers.ConstantLR(a), our_schedulers.ConstantLR(b)]
    for make in (
        lambda: our_schedulers.SequentialLR(a, members, [2]),
        lambda: our_schedulers.ChainedScheduler(members),
        lambda: our_schedulers.ChainedScheduler(members[:1], b),
    ):
        with pytest.raises(
            ValueError, match="expects all schedulers to belong to the same optimizer"
        ):
            make()


def test_resuming_without_initial_rates():
    with pytest.raises(KeyError, match="param 'initial_lr' is not specified in param_groups"):
        our_schedulers.StepLR(make_optimizer(fl), 3, last_epoch=2)


def test_momentum_cycles_need_momentum():
    optimizer = optim.Adagrad([Parameter(fl.zeros(2))])
    for make in (our_schedulers.CyclicLR, our_schedulers.OneCycleLR):
        with pytest.raises(ValueError, match="optimizer must support momentum or beta1"):
            make(optimizer, 0.1, 10)


def test_one_cycle_ends():
    optimizer = make_optimizer(fl, momentum=0.9)
    scheduler = our_schedulers.OneCycleLR(optimizer, 0.1, 3)
    optimizer.step()
    for _ in range(3):
        scheduler.step()
    with pytest.raises(
        ValueError, match=r"Tried to step 4 times\. The specified number of total steps is 3"
    ):
        scheduler.step()


def test_warning_when_the_order_of_calls_is_wrong():
    optimizer = make_optimizer(fl)
    optimizer.step()  # before the scheduler is made: does not count
    scheduler = our_schedulers.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before"):
        scheduler.step()
    optimizer = make_optimizer(fl)
    scheduler = our_schedulers.StepLR(optimizer, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
        scheduler.step()
        scheduler.step()
        our_schedulers.ExponentialLR(optimizer, 0.9).step()
    optimizer = make_optimizer(fl)
    scheduler = our_schedulers.StepLR(optimizer, 3)
    optimizer.step = lambda closure=None: None
    with pytest.warns(UserWarning, match=r"`optimizer.step\(\)` has been overridden"):
        scheduler.step()


def test_warnings_for_get_lr_and_epoch():
    optimizer = make_optimizer(fl)
    scheduler = our_schedulers.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"please use `get_last_lr\(\)`"):
        assert scheduler.get_lr() == [0.1, 0.03]
    optimizer.step()
    with pytest.warns(UserWarning, match="The epoch parameter in"):
        scheduler.step(3)
    np.testing.assert_allclose(rates(optimizer), [0.01, 0.003])


def test_rate_as_a_tensor_is_filled_in_place():
    rate = fl.tensor(0.5)
    optimizer = optim.SGD([Parameter(fl.zeros(2))], lr=rate)
    scheduler = our_schedulers.StepLR(optimizer, 1, gamma=0.5)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == 0.25
    last = scheduler.get_last_lr()[0]
    assert isinstance(last, Tensor)
    assert last is not rate
    assert float(scheduler.base_lrs[0]) == 0.5


class Decay:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, epoch):
        return self.rate**epoch


def test_callable_objects_are_saved_by_their_attributes():
    scheduler = our_schedulers.LambdaLR(make_optimizer(fl), [Decay(0.5), lambda e: 1.0])
    saved = scheduler.state_dict()
    assert saved["lr_lambdas"] == [{"rate": 0.5}, None]
    other = our_schedulers.LambdaLR(make_optimizer(fl), [Decay(0.9), lambda e: 1.0])
    other.load_state_dict(saved)
    assert other.lr_lambdas[0].rate == 0.5
    cyclic = our_schedulers.CyclicLR(
        make_optimizer(fl), 0.1, 0.2, scale_fn=Decay(0.5), cycle_momentum=False
    )
    assert cyclic.state_dict()["_scale_fn_custom"] == {"rate": 0.5}


@pytest.mark.parametrize("name", ["StepLR", "CosineAnnealingLR", "OneCycleLR", "SequentialLR"])
def test_pickled_scheduler_goes_on(name):
    _, scheduler = walk(fl, SCHEDULES[name], steps=4)
    loaded = pickle.loads(pickle.dumps(scheduler))
    scheduler.step()
    loaded.step()
    assert rates(loaded.optimizer) == rates(scheduler.optimizer)


def test_two_schedulers_on_one_optimizer():
    seen = []
    for library, schedulers in ((fl, our_schedulers), (torch, torch_schedulers)):
        optimizer = make_optimizer(library)
        pair = [schedulers.ExponentialLR(optimizer, 0.9), schedulers.MultiStepLR(optimizer, [2, 4])]
        path = []
        for _ in range(6):
            optimizer.step()
            for scheduler in pair:
                scheduler.step()
            path.append(rates(optimizer))
        seen.append(path)
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-12)
