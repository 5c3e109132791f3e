"""Samplers: the same indices as PyTorch for the same seeds, and the same draws from generators."""

from __future__ import annotations

import pytest

from flambeau.generator import Generator
from flambeau.tensor import functions as fl
from flambeau.utils import data

torch = pytest.importorskip("torch")
torch_data = torch.utils.data


def generators(seed):
    mine, theirs = Generator(), torch.Generator()
    mine.manual_seed(seed)
    theirs.manual_seed(seed)
    return mine, theirs


SAMPLERS = {
    "sequential": lambda d, g: d.SequentialSampler(range(7)),
    "random": lambda d, g: d.RandomSampler(range(11), generator=g),
    "random, few": lambda d, g: d.RandomSampler(range(11), num_samples=4, generator=g),
    "random, many": lambda d, g: d.RandomSampler(range(11), num_samples=33, generator=g),
    "random, more": lambda d, g: d.RandomSampler(range(11), num_samples=40, generator=g),
    "replacement": lambda d, g: d.RandomSampler(range(11), True, generator=g),
    "replacement, 64": lambda d, g: d.RandomSampler(range(9), True, 64, generator=g),
    "replacement, 75": lambda d, g: d.RandomSampler(range(9), True, 75, generator=g),
    "subset": lambda d, g: d.SubsetRandomSampler([5, 9, 2, 40], generator=g),
    "weighted": lambda d, g: d.WeightedRandomSampler([0.1, 3.0, 0.5, 1.0], 20, generator=g),
    "weighted, once": lambda d, g: d.WeightedRandomSampler([0.1, 3.0, 0.5], 2, False, generator=g),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_with_a_generator(name):
    mine, theirs = generators(123)
    a, b = SAMPLERS[name](data, mine), SAMPLERS[name](torch_data, theirs)
    for _ in range(2):
        assert list(a) == [int(i) for i in b]
        assert len(a) == len(b)
    # Both generators have been asked for the same amount.
    assert fl.randint(0, 1000, (3,), generator=mine).tolist() == (
        torch.randint(0, 1000, (3,), generator=theirs).tolist()
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_with_the_default_generator(name):
    fl.manual_seed(7)
    torch.manual_seed(7)
    a, b = SAMPLERS[name](data, None), SAMPLERS[name](torch_data, None)
    for _ in range(2):
        assert list(a) == [int(i) for i in b]
    assert fl.randint(0, 1000, (3,)).tolist() == torch.randint(0, 1000, (3,)).tolist()


def test_iterators_of_one_sampler_interleave_as_in_pytorch():
    rows = []
    for lib, d in ((fl, data), (torch, torch_data)):
        lib.manual_seed(3)
        sampler = d.RandomSampler(range(5))
        first, second = iter(sampler), iter(sampler)
        rows.append([next(second), next(first), *second, *first])
    assert rows[0] == rows[1]


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("size", [1, 3, 4, 12, 20])
def test_batches(size, drop_last):
    for source in (range(12), range(0), range(1)):
        mine = data.BatchSampler(data.SequentialSampler(source), size, drop_last)
        theirs = torch_data.BatchSampler(torch_data.SequentialSampler(source), size, drop_last)
        assert list(mine) == list(theirs)
        assert len(mine) == len(theirs)


def test_batches_of_any_iterable():
    assert list(data.BatchSampler(iter("abcde"), 2, False)) == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize(("size", "replicas"), [(10, 3), (12, 4), (2, 5), (7, 1), (11, 4)])
def test_distributed(size, replicas, drop_last, shuffle):
    for rank in range(replicas):
        options = {"num_replicas": replicas, "rank": rank, "shuffle": shuffle, "seed": 5}
        mine = data.DistributedSampler(range(size), drop_last=drop_last, **options)
        theirs = torch_data.DistributedSampler(range(size), drop_last=drop_last, **options)
        for epoch in (0, 3):
            mine.set_epoch(epoch)
            theirs.set_epoch(epoch)
            assert list(mine) == list(theirs)
            assert len(mine) == len(theirs)


REFUSED = {
    "replacement": lambda d: d.RandomSampler(range(3), replacement=1),
    "num_samples": lambda d: d.RandomSampler(range(3), num_samples=0),
    "empty": lambda d: d.RandomSampler([]),
    "batch_size": lambda d: d.BatchSampler(range(3), 0, False),
    "batch_size True": lambda d: d.BatchSampler(range(3), True, False),
    "drop_last": lambda d: d.BatchSampler(range(3), 2, 1),
    "weights count": lambda d: d.WeightedRandomSampler([1.0], 0),
    "weights replacement": lambda d: d.WeightedRandomSampler([1.0], 1, 3),
    "weights shape": lambda d: d.WeightedRandomSampler([[1.0, 2.0]], 1),
    "rank": lambda d: d.DistributedSampler(range(3), num_replicas=2, rank=2),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_read_like_pytorch(case):
    caught = []
    for d in (data, torch_data):
        with pytest.raises((TypeError, ValueError)) as e:
            REFUSED[case](d)
        caught.append((e.type, str(e.value)))
    assert caught[0] == caught[1]


def test_distributed_without_a_process_group():
    with pytest.raises(RuntimeError, match="Requires distributed package to be available"):
        data.DistributedSampler(range(3))
