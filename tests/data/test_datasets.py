"""Datasets, their combinations, and random splits."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau.generator import Generator
from flambeau.tensor import functions as fl
from flambeau.utils import data

torch = pytest.importorskip("torch")
torch_data = torch.utils.data


class Squares(data.Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return i * i


class Stream(data.IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))

    def __len__(self):
        return self.n


class Batched(Squares):
    """Gives whole batches, and says so."""

    calls = 0

    def __getitems__(self, indices):
        Batched.calls += 1
        return [i * i for i in indices]


def test_tensor_dataset():
    x, y = fl.arange(6).reshape(3, 2), fl.arange(3)
    dataset = data.TensorDataset(x, y)
    assert len(dataset) == 3
    row, label = dataset[1]
    np.testing.assert_array_equal(row.numpy(), [2, 3])
    assert int(label) == 1
    rows, _ = dataset[0:2]
    assert tuple(rows.shape) == (2, 2)
    with pytest.raises(AssertionError, match="Size mismatch between tensors"):
        data.TensorDataset(x, fl.arange(4))


def test_stack_dataset():
    a, b = Squares(4), Batched(4)
    assert data.StackDataset(a, b)[3] == (9, 9)
    named = data.StackDataset(first=a, second=b)
    assert named[2] == {"first": 4, "second": 4}
    assert named.__getitems__([1, 2]) == [{"first": 1, "second": 1}, {"first": 4, "second": 4}]
    assert data.StackDataset(a, b).__getitems__([3]) == [(9, 9)]
    assert len(named) == 4
    with pytest.raises(ValueError, match="Size mismatch between datasets"):
        data.StackDataset(a, Squares(3))
    with pytest.raises(ValueError, match="both types are given"):
        data.StackDataset(a, b=b)
    with pytest.raises(ValueError, match="At least one dataset should be passed"):
        data.StackDataset()


def test_concatenation():
    both = Squares(3) + Squares(4)
    assert isinstance(both, data.ConcatDataset)
    assert both.cumulative_sizes == [3, 7]
    assert [both[i] for i in range(7)] == [0, 1, 4, 0, 1, 4, 9]
    assert both[-1] == 9
    assert both[-7] == 0
    with pytest.raises(
        ValueError, match="absolute value of index should not exceed dataset length"
    ):
        both[-8]
    with pytest.raises(AssertionError, match="datasets should not be an empty iterable"):
        data.ConcatDataset([])
    with pytest.raises(AssertionError, match="does not support IterableDataset"):
        data.ConcatDataset([Stream(2)])


def test_chain():
    both = Stream(2) + Stream(3)
    assert isinstance(both, data.ChainDataset)
    assert list(both) == [0, 1, 0, 1, 2]
    assert len(both) == 5
    with pytest.raises(AssertionError, match="only supports IterableDataset"):
        list(data.ChainDataset([Stream(1), Squares(2)]))


def test_subset_passes_batches_on():
    subset = data.Subset(Squares(10), [9, 3, 5])
    assert len(subset) == 3
    assert subset[0] == 81
    assert subset.__getitems__([1, 2]) == [9, 25]
    Batched.calls = 0
    assert data.Subset(Batched(10), [9, 3, 5]).__getitems__([0, 2]) == [81, 25]
    assert Batched.calls == 1
    rows = data.TensorDataset(fl.arange(10))
    assert data.Subset(rows, [7, 8, 9])[[0, 2]][0].tolist() == [7, 9]


@pytest.mark.parametrize(
    "lengths", [[3, 7], [10], [0, 10], [0.3, 0.7], [0.33, 0.33, 0.34], [0.25] * 4]
)
def test_random_split(lengths):
    mine, theirs = Generator(), torch.Generator()
    mine.manual_seed(42)
    theirs.manual_seed(42)
    ours = data.random_split(Squares(10), lengths, generator=mine)
    reference = torch_data.random_split(range(10), lengths, generator=theirs)
    assert [list(s.indices) for s in ours] == [list(s.indices) for s in reference]
    fl.manual_seed(1)
    torch.manual_seed(1)
    ours, reference = (
        data.random_split(Squares(10), lengths),
        torch_data.random_split(range(10), lengths),
    )
    assert [list(s.indices) for s in ours] == [list(s.indices) for s in reference]


def test_random_split_refusals():
    with pytest.raises(ValueError, match="Sum of input lengths does not equal the length"):
        data.random_split(Squares(10), [3, 3])
    with pytest.raises(ValueError, match="Fraction at index 0 is not between 0 and 1"):
        data.random_split(Squares(10), [-0.5, 1.5])
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        data.random_split(Squares(1), [0.5, 0.5])


def test_abstract_classes():
    with pytest.raises(NotImplementedError):
        data.Dataset()[0]
    with pytest.raises(NotImplementedError):
        iter(data.IterableDataset())
    assert data.Dataset[int] is not None  # may be subscripted in annotations
