"""Making a batch of samples, and tensors of what is not yet one."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from ...dtypes import float64
from ...tensor import Tensor
from ...tensor import functions as fl

__all__ = ["collate", "default_collate", "default_collate_fn_map", "default_convert"]

_TEXT = re.compile(r"[SaUO]")
Collate = Callable[..., Any]
CollateMap = dict[type | tuple[type, ...], Collate]


def default_convert(data: Any) -> Any:
    """`data` with NumPy arrays turned into tensors, inside mappings and sequences too."""
    kind = type(data)
    if isinstance(data, Tensor) or (
        isinstance(data, (np.ndarray, np.generic)) and _TEXT.search(data.dtype.str) is not None
    ):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return fl.as_tensor(data)
    if isinstance(data, Mapping):
        return _like(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return kind(*(default_convert(value) for value in data))
    if isinstance(data, tuple):
        return [default_convert(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like(data, [default_convert(value) for value in data])
    return data


def _like(example: Any, content: Any) -> Any:
    """`content` in a container of the kind of `example`, or as it is where that cannot be made."""
    if type(example) is type(content):
        return content
    try:
        if isinstance(example, (MutableMapping, MutableSequence)):
            made: Any = copy.copy(example)
            for key, value in content.items() if isinstance(content, dict) else enumerate(content):
                made[key] = value
            return made
        return type(example)(content)
    except TypeError:
        return content


def collate(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    """One batch of the list of samples `batch`, each kind of sample by its function in the map.

    A function is called with the samples and ``collate_fn_map=``. Mappings, named tuples and
    sequences are collated member by member. Raises TypeError for samples of another kind,
    RuntimeError for sequences of unequal length.
    """
    first = batch[0]
    if collate_fn_map is not None:
        function = collate_fn_map.get(type(first))
        if function is None:
            function = _function_for(first, collate_fn_map)
        if function is not None:
            return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        members = {
            key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map)
            for key in first
        }
        return _like(first, members)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        columns = zip(*batch, strict=True)
        return type(first)(*(collate(c, collate_fn_map=collate_fn_map) for c in columns))
    if isinstance(first, Sequence):
        return _collate_sequences(first, batch, collate_fn_map)
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {type(first)}"
    )


def _function_for(first: Any, functions: CollateMap) -> Collate | None:
    for kind, function in functions.items():
        if isinstance(first, kind):
            return function
    return None


def _collate_sequences(first: Any, batch: Any, functions: CollateMap | None) -> Any:
    if len(set(map(len, batch))) > 1:
        raise RuntimeError("each element in list of batch should be of equal size")
    columns = [collate(c, collate_fn_map=functions) for c in zip(*batch, strict=True)]
    return columns if isinstance(first, tuple) else _like(first, columns)


def _collate_tensors(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    return fl.stack(list(batch), 0)


def _collate_arrays(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    first = batch[0]
    if _TEXT.search(first.dtype.str) is not None:
        raise TypeError(
            "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
            f"found {first.dtype}"
        )
    if any(a.shape != first.shape for a in batch):
        shapes = ", ".join(str(list(a.shape)) for a in batch)
        raise RuntimeError(f"stack expects each tensor to be equal size, but got {shapes}")
    return fl.from_numpy(np.stack(batch))


def _collate_numbers(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    return fl.as_tensor(batch)


def _collate_floats(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    return fl.tensor(batch, dtype=float64)


def _collate_integers(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    return fl.tensor(batch)


def _collate_texts(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    return batch


default_collate_fn_map: CollateMap = {
    Tensor: _collate_tensors,
    np.ndarray: _collate_arrays,
    (np.bool_, np.number, np.object_): _collate_numbers,
    float: _collate_floats,
    int: _collate_integers,
    str: _collate_texts,
    bytes: _collate_texts,
}
"""The function for each kind of sample; entries may be added."""


def default_collate(batch: Any) -> Any:
    """One batch of a list of samples: tensors and arrays stacked, numbers made tensors.

    Floats become float64, ints int64; strings stay a list; mappings and sequences are collated
    member by member, a tuple giving a list. Raises TypeError for samples of another kind,
    RuntimeError for tensors or sequences of unequal size.

    >>> default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ('a', 'b')]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
