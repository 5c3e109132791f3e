"""The meta device: arrays with a shape, strides and a dtype, but no data.

A `MetaArray` answers NumPy's protocols by asking NumPy itself what would come out for a stand-in:
an array of the same shape whose elements all lie at one address, so nothing is allocated for
inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .. import devices


class _Flags:
    def __init__(self, contiguous: bool) -> None:
        self.c_contiguous = contiguous
        self.writeable = True


class MetaArray(NDArrayOperatorsMixin):
    """Shape, strides (in bytes) and dtype of an array that does not exist."""

    device = devices.META
    base = None

    def __init__(
        self, shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...] | None = None
    ) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        steps, step = [], self.dtype.itemsize
        for n in reversed(self.shape):
            steps.append(step)
            step *= max(n, 1)
        self._row_major = tuple(reversed(steps))
        self.strides = self._row_major if strides is None else strides

    @classmethod
    def like(cls, array: Any) -> MetaArray:
        """The meta array with the shape, strides and dtype of `array`."""
        return cls(array.shape, array.dtype, array.strides)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """What the data would take."""
        return self.size * self.dtype.itemsize

    @property
    def flags(self) -> _Flags:
        """Contiguity, as NumPy would report it."""
        pairs = zip(self.shape, self.strides, self._row_major, strict=True)
        return _Flags(not self.size or all(s == r or n == 1 for n, s, r in pairs))

    def stand_in(self) -> Any:
        """A NumPy array of this shape and dtype over a single element."""
        return np.broadcast_to(np.ones((), self.dtype), self.shape)

    def strided_stand_in(self) -> Any:
        """A NumPy array with these very strides, over memory that must not be touched."""
        return np.lib.stride_tricks.as_strided(np.empty(1, self.dtype), self.shape, self.strides)

    def astype(self, dtype: Any, copy: bool = True) -> MetaArray:
        """The same shape with another dtype."""
        return MetaArray(self.shape, dtype)

    def copy(self, order: str = "C") -> MetaArray:
        """The same shape and dtype."""
        return MetaArray(self.shape, self.dtype)

    def item(self) -> Any:
        """Always an error: there is no data."""
        raise RuntimeError("Tensor.item() cannot be called on meta tensors")

    def tolist(self) -> Any:
        """Always an error: there is no data."""
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        kwargs.pop("out", None)
        _check_alone(inputs)
        if method == "__call__" and ufunc.signature is None and not kwargs:
            return elementwise(ufunc, inputs)
        return _probe(getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        _check_alone(args)
        return _probe(func, args, kwargs)


def _stand_in(x: Any) -> Any:
    if isinstance(x, MetaArray):
        return x.stand_in()
    if isinstance(x, (tuple, list)):
        return type(x)(_stand_in(y) for y in x)
    return x


def as_meta(x: Any) -> Any:
    """Arrays (also inside tuples and lists) as meta arrays."""
    if isinstance(x, (np.ndarray, np.generic)):
        return MetaArray(x.shape, x.dtype)
    if isinstance(x, (tuple, list)):
        return type(x)(as_meta(y) for y in x)
    return x


def _check_alone(inputs: Sequence[Any]) -> None:
    """Refuse arrays that have data beside those that have none; 0-d ones count as numbers."""
    for x in inputs:
        if isinstance(x, (tuple, list)):
            _check_alone(x)
        elif isinstance(x, np.ndarray) and x.ndim:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"meta and cpu! (shapes {', '.join(str(list(np.shape(y))) for y in inputs)})"
            )


def elementwise(function: Callable[..., Any], inputs: Sequence[Any]) -> Any:
    """What an element-wise `function` of arrays and numbers returns: one element is computed."""
    shape = np.broadcast_shapes(*(np.shape(x) for x in inputs))
    small = [np.ones((), x.dtype) if isinstance(x, MetaArray) else x for x in inputs]
    with np.errstate(all="ignore"):
        result = function(*small)
    if isinstance(result, tuple):
        return tuple(MetaArray(shape, np.asarray(r).dtype) for r in result)
    return MetaArray(shape, np.asarray(result).dtype)


def _probe(function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    with np.errstate(all="ignore"):
        return as_meta(
            function(*_stand_in(tuple(args)), **{k: _stand_in(v) for k, v in kwargs.items()})
        )


def run(function: Callable[..., Any], arguments: dict[str, Any], is_view: bool) -> Any:
    """What an op's forward function returns for meta arrays among its named `arguments`.

    A view is taken of an array with the same strides, so the result's strides are right too.
    """

    def probe(x: Any) -> Any:
        if isinstance(x, MetaArray):
            return x.strided_stand_in() if is_view else x.stand_in()
        if isinstance(x, list):
            return [probe(y) for y in x]
        return x

    with np.errstate(all="ignore"):
        result = function(**{k: probe(v) for k, v in arguments.items()})
    if is_view:
        if isinstance(result, tuple):
            return tuple(MetaArray.like(r) for r in result)
        return MetaArray.like(result)
    return as_meta(result)
