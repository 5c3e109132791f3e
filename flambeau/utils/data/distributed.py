"""`DistributedSampler`: each process's share of a dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ...generator import Generator
from ...tensor import functions as fl
from .sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[Any]):
    """Every `num_replicas`-th index of `dataset`, beginning with the `rank`-th.

    The order is shuffled by ``seed + epoch`` (call `set_epoch` before each epoch). Shares are made
    equal by repeating the first indices, or with `drop_last` by leaving out the last. Both
    `num_replicas` and `rank` must be given (RuntimeError); ValueError for a rank out of range.
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            raise RuntimeError(
                "Requires distributed package to be available: give num_replicas and rank, since "
                "there is no process group to ask"
            )
        if rank >= num_replicas or rank < 0:
            raise ValueError(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        left_out = len(dataset) % num_replicas if drop_last else 0
        self.num_samples = math.ceil((len(dataset) - left_out) / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[Any]:
        size = len(self.dataset)
        if self.shuffle:
            generator = Generator()
            generator.manual_seed(self.seed + self.epoch)
            indices = fl.randperm(size, generator=generator).tolist()
        else:
            indices = list(range(size))
        if not self.drop_last:
            indices *= math.ceil(self.total_size / max(size, 1))
        indices = indices[: self.total_size]
        return iter(indices[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, so that the next pass has another order, the same in all processes."""
        self.epoch = epoch
