"""`DataLoader`: batches of a dataset, in PyTorch's order.

Samples are loaded in this process. A `num_workers` above 0 is accepted with a warning; batches and
their order are the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed

__all__ = ["DataLoader", "WorkerInfo", "default_collate", "default_convert", "get_worker_info"]

T_co = TypeVar("T_co", covariant=True)

_FIXED = frozenset(
    ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
)


class WorkerInfo:
    """What a worker process knows of itself: ``id``, ``num_workers``, ``seed``, ``dataset``."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


def get_worker_info() -> WorkerInfo | None:
    """The worker this code runs in; None in the main process, where all samples are loaded now."""
    return None


class _Endless(Sampler[None]):
    """The sampler of an iterable dataset, which has no indices: None for ever."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader(Generic[T_co]):
    """Iterates over `dataset` in batches.

    Without a `batch_sampler`, indices come from `sampler` (by default in order, or shuffled with
    `shuffle`), `batch_size` at a time; with ``batch_size=None`` samples are not batched.
    `collate_fn` makes a batch of a list of samples (default `default_collate`). `generator` is what
    shuffling draws from. `pin_memory` changes nothing on the CPU; `timeout`, `worker_init_fn`,
    `multiprocessing_context`, `prefetch_factor` and `persistent_workers` are meant for workers,
    `in_order` for their results. Raises ValueError for options that exclude each other.

    >>> [batch.tolist() for batch in DataLoader(range(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    dataset: Dataset[T_co]
    batch_size: int | None
    num_workers: int
    pin_memory: bool
    drop_last: bool
    timeout: float
    sampler: Sampler[Any] | Iterable[Any]
    pin_memory_device: str
    prefetch_factor: int | None
    _finished_init = False

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_worker_options(num_workers, timeout, prefetch_factor, persistent_workers)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self._streams = isinstance(dataset, IterableDataset)
        self._promised: int | None = None  # the length, once a stream was asked for it
        if self._streams:
            _check_stream_options(shuffle, sampler, batch_sampler)
        _check_batch_options(batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size = None
        if sampler is None:
            sampler = _make_sampler(dataset, self._streams, shuffle, generator)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        default = default_convert if batch_sampler is None else default_collate
        self.collate_fn = default if collate_fn is None else collate_fn
        self.persistent_workers = persistent_workers
        self._finished_init = True
        if num_workers > 0:
            _warn_of_workers(num_workers)

    @property
    def multiprocessing_context(self) -> Any:
        """The way in which workers would be started."""
        return self.__dict__["_multiprocessing_context"]

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: Any) -> None:
        if context is not None:
            if self.num_workers == 0:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading "
                    f"(num_workers > 0), but got num_workers={self.num_workers}"
                )
            _check_context(context)
        self.__dict__["_multiprocessing_context"] = context

    def __setattr__(self, name: str, value: Any) -> None:
        if self._finished_init and name in _FIXED:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __iter__(self) -> Iterator[Any]:
        return _Pass(self)

    def __len__(self) -> int:
        """The number of batches; for an iterable dataset, as many as its length promises."""
        if not self._streams:
            return len(self._index_sampler)
        count = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is not None:
            count = count // self.batch_size if self.drop_last else -(-count // self.batch_size)
        self._promised = count
        return count

    def check_worker_number_rationality(self) -> None:
        """Nothing to check: no worker is started whatever `num_workers` says."""


class _Pass:
    """One pass over a DataLoader: an iterator of batches."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        # PyTorch draws a seed for workers here even without workers: the stream must not differ.
        self._base_seed = draw_seed(loader.generator)
        self._loader = loader
        self._collate = loader.collate_fn
        self._indices = iter(loader._index_sampler)
        self._fetched = 0
        self._fetch = _stream_fetcher(loader) if loader._streams else _index_fetcher(loader)

    def __iter__(self) -> _Pass:
        return self

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __next__(self) -> Any:
        batch = self._collate(self._fetch(next(self._indices)))
        self._fetched += 1
        promised = self._loader._promised
        if promised is not None and self._fetched > promised:
            warnings.warn(
                f"Length of IterableDataset {self._loader.dataset} was reported to be "
                f"{promised}(when accessing len(dataloader)), but {self._fetched} samples "
                "have been fetched. ",
                stacklevel=2,
            )
        return batch


def _index_fetcher(loader: DataLoader[Any]) -> Callable[[Any], Any]:
    """A function from what the index sampler yields to the samples."""
    dataset = loader.dataset
    if not loader._auto_collation:
        return dataset.__getitem__
    many = getattr(dataset, "__getitems__", None)
    if many:
        return many  # type: ignore[no-any-return]

    def fetch(indices: Any) -> list[Any]:
        return [dataset[i] for i in indices]

    return fetch


def _stream_fetcher(loader: DataLoader[Any]) -> Callable[[Any], Any]:
    """The same for an iterable dataset; raises StopIteration at its end."""
    samples = iter(loader.dataset)  # type: ignore[call-overload]
    if not loader._auto_collation:
        return lambda _: next(samples)
    ended = False

    def fetch(places: list[None]) -> list[Any]:
        nonlocal ended
        batch: list[Any] = []
        if ended:
            raise StopIteration
        for _ in places:
            try:
                batch.append(next(samples))
            except StopIteration:
                ended = True
                break
        if not batch or (loader.drop_last and len(batch) < len(places)):
            raise StopIteration
        return batch

    return fetch


def _make_sampler(
    dataset: Any, streams: bool, shuffle: bool | None, generator: Any
) -> Sampler[Any]:
    if streams:
        return _Endless()
    return RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)


def _check_worker_options(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool
) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing."
            "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _warn_of_workers(num_workers: int) -> None:
    warnings.warn(
        f"num_workers={num_workers}: worker processes are not available yet; samples are loaded "
        "in this process, in the same order.",
        UserWarning,
        stacklevel=3,
    )


def _check_batch_options(
    batch_size: int | None, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    """Raise ValueError for options that exclude each other."""
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                "and drop_last"
            )
    elif batch_size is None and drop_last:
        raise ValueError(
            "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
        )


def _check_stream_options(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    """Raise ValueError for an order asked of an iterable dataset, which has its own."""
    given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got "
                f"{name}={value}"
            )


def _check_context(context: Any) -> None:
    import multiprocessing
    from multiprocessing.context import BaseContext

    methods = multiprocessing.get_all_start_methods()
    if isinstance(context, str):
        if context not in methods:
            raise ValueError(
                "multiprocessing_context option should specify a valid start method in "
                f"{methods!r}, but got multiprocessing_context={context!r}"
            )
    elif not isinstance(context, BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string "
            f"specifying the start method, but got multiprocessing_context={context}"
        )
