"""DataLoader: batches, order, draws from the random stream, and refusals, next to PyTorch's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from flambeau.generator import Generator
from flambeau.tensor import functions as fl
from flambeau.utils import data
from flambeau.utils.data import dataloader

torch = pytest.importorskip("torch")
torch_data = torch.utils.data

LIBRARIES = ((fl, data), (torch, torch_data))


def batches(loader):
    return [batch.tolist() if hasattr(batch, "tolist") else batch for batch in loader]


def stream_of(library_data, n, length=None):
    class Stream(library_data.IterableDataset):
        def __iter__(self):
            return iter(range(n))

    if length is not None:
        Stream.__len__ = lambda self: length
    return Stream()


OPTIONS = {
    "defaults": {},
    "batches": {"batch_size": 4},
    "drop_last": {"batch_size": 4, "drop_last": True},
    "shuffle": {"batch_size": 3, "shuffle": True},
    "one by one": {"batch_size": None},
    "one by one, shuffled": {"batch_size": None, "shuffle": True},
    "sampler": {"batch_size": 2, "sampler": [5, 1, 3]},
    "batch_sampler": {"batch_sampler": [[1, 2, 3], [0]]},
    "collate_fn": {"batch_size": 3, "collate_fn": sum},
    "pin_memory": {"batch_size": 3, "pin_memory": False},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_batches_and_the_random_stream(name):
    rows = []
    for library, library_data in LIBRARIES:
        library.manual_seed(11)
        loader = library_data.DataLoader(range(10), **OPTIONS[name])
        epochs = [batches(loader), batches(loader)]
        half = iter(loader)
        next(half)
        rows.append((epochs, len(loader), library.randint(0, 1000, (2,)).tolist()))
    assert rows[0] == rows[1]


@pytest.mark.parametrize("name", ["defaults", "shuffle", "one by one, shuffled", "drop_last"])
def test_a_generator_of_its_own(name):
    rows = []
    for library, library_data in LIBRARIES:
        generator = Generator() if library is fl else torch.Generator()
        generator.manual_seed(5)
        library.manual_seed(1)
        loader = library_data.DataLoader(range(10), generator=generator, **OPTIONS[name])
        epochs = [batches(loader), batches(loader)]
        drawn = library.randint(0, 1000, (2,), generator=generator).tolist()
        rows.append((epochs, drawn, library.randint(0, 1000, (2,)).tolist()))
    assert rows[0] == rows[1]


def test_starting_a_pass_draws_one_number():
    states = []
    for library, library_data in LIBRARIES:
        library.manual_seed(2)
        iter(library_data.DataLoader(range(4), shuffle=True))
        states.append(library.randint(0, 1000, (2,)).tolist())
    assert states[0] == states[1]


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 4},
        {"batch_size": 4, "drop_last": True},
        {"batch_size": None},
        {"batch_size": 5},
    ],
)
def test_iterable_datasets(options):
    rows = []
    for _, library_data in LIBRARIES:
        loader = library_data.DataLoader(stream_of(library_data, 10, 10), **options)
        rows.append((batches(loader), batches(loader), len(loader)))
    assert rows[0] == rows[1]


def test_an_iterable_dataset_longer_than_it_says():
    loader = data.DataLoader(stream_of(data, 6, 4), batch_size=2)
    assert sum(1 for _ in loader) == 3  # nobody has asked for the length
    assert len(loader) == 2
    with pytest.warns(UserWarning, match="was reported to be 2"):
        assert len(batches(loader)) == 3
    with pytest.raises(TypeError):
        len(data.DataLoader(stream_of(data, 6), batch_size=2))


def test_samples_of_tensors_and_numbers():
    x = fl.arange(12).reshape(6, 2) * 1.0
    loader = data.DataLoader(data.TensorDataset(x, fl.arange(6)), batch_size=4)
    (first, labels), (rest, _) = loader
    np.testing.assert_array_equal(first.numpy(), x.numpy()[:4])
    assert tuple(rest.shape) == (2, 2)
    assert labels.tolist() == [0, 1, 2, 3]


def test_whole_batches_are_asked_for_where_possible():
    asked = []

    class Batched(data.Dataset):
        def __len__(self):
            return 5

        def __getitems__(self, indices):
            asked.append(indices)
            return [i * 10 for i in indices]

    assert batches(data.DataLoader(Batched(), batch_size=2)) == [[0, 10], [20, 30], [40]]
    assert asked == [[0, 1], [2, 3], [4]]


def test_an_error_in_the_dataset_comes_through():
    class Broken(data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            raise KeyError("no such picture")

    with pytest.raises(KeyError, match="no such picture"):
        next(iter(data.DataLoader(Broken())))


REFUSED = {
    "workers": lambda d: d.DataLoader(range(3), num_workers=-1),
    "timeout": lambda d: d.DataLoader(range(3), timeout=-1),
    "prefetch": lambda d: d.DataLoader(range(3), prefetch_factor=2),
    "prefetch below 0": lambda d: d.DataLoader(range(3), num_workers=1, prefetch_factor=-2),
    "persistent": lambda d: d.DataLoader(range(3), persistent_workers=True),
    "context": lambda d: d.DataLoader(range(3), multiprocessing_context="fork"),
    "unknown context": lambda d: d.DataLoader(
        range(3), num_workers=1, multiprocessing_context="nothing"
    ),
    "context of a wrong kind": lambda d: d.DataLoader(
        range(3), num_workers=1, multiprocessing_context=3
    ),
    "sampler and shuffle": lambda d: d.DataLoader(range(3), sampler=[1], shuffle=True),
    "batch_sampler and batch_size": lambda d: d.DataLoader(range(3), 2, batch_sampler=[[1]]),
    "batch_sampler and shuffle": lambda d: d.DataLoader(
        range(3), shuffle=True, batch_sampler=[[1]]
    ),
    "no batches and drop_last": lambda d: d.DataLoader(range(3), batch_size=None, drop_last=True),
    "stream and shuffle": lambda d: d.DataLoader(stream_of(d, 3), shuffle=True),
    "stream and sampler": lambda d: d.DataLoader(stream_of(d, 3), sampler=[1]),
    "stream and batch_sampler": lambda d: d.DataLoader(stream_of(d, 3), batch_sampler=[[1]]),
    "batch_size 0": lambda d: d.DataLoader(range(3), batch_size=0),
    "empty, shuffled": lambda d: d.DataLoader([], shuffle=True),
    "batch_size set later": lambda d: setattr(d.DataLoader(range(3)), "batch_size", 2),
    "dataset set later": lambda d: setattr(d.DataLoader(range(3)), "dataset", [1]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_read_like_pytorch(case):
    caught = []
    for _, library_data in LIBRARIES:
        with pytest.raises((TypeError, ValueError)) as e:
            REFUSED[case](library_data)
        caught.append((e.type, str(e.value)))
    assert caught[0] == caught[1]


def test_workers_are_announced_as_missing_once():
    with pytest.warns(UserWarning, match="num_workers=2") as seen:
        loader = data.DataLoader(range(5), batch_size=2, num_workers=2, persistent_workers=True)
    assert len(seen) == 1
    assert loader.prefetch_factor == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert batches(loader) == [[0, 1], [2, 3], [4]]
    assert data.get_worker_info() is None


def test_attributes():
    loader = data.DataLoader(range(5), 2, shuffle=True, drop_last=True)
    assert isinstance(loader.sampler, data.RandomSampler)
    assert isinstance(loader.batch_sampler, data.BatchSampler)
    assert (loader.batch_size, loader.drop_last, loader.num_workers) == (2, True, 0)
    assert loader.collate_fn is data.default_collate
    loader.timeout = 3
    assert dataloader.default_collate is data.default_collate
    assert data.DataLoader(range(3), batch_size=None).collate_fn is data.default_convert
