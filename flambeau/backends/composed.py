"""Arrays that are a flat array of values and a pattern which says where they stand.

They stand where a tensor's NumPy array stands, but no kernel takes them. The tape adds them up as
gradients, so they answer NumPy's additions and products with numbers; nothing else.
"""

from __future__ import annotations

import math
from sys import getrefcount
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .. import devices

Array = Any


class _Flags:
    """What is asked of an array's flags before it is written to or taken over."""

    c_contiguous = False
    writeable = True


class ComposedArray(NDArrayOperatorsMixin):
    """The base of such arrays: `values` is a NumPy array, `shape` that of the whole."""

    device = devices.CPU
    flags = _Flags()
    layout = devices.strided
    values: Array
    shape: tuple[Any, ...]

    @property
    def base(self) -> Any:
        """What else may hold the values' memory, which then must not be taken over."""
        held = self.values
        return held.base if held.base is not None or getrefcount(held) <= 3 else held

    @property
    def dtype(self) -> Any:
        """The dtype of the values."""
        return self.values.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements, those that are not stored included."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored values."""
        return int(self.values.nbytes)

    def with_values(self, values: Array) -> Any:
        """The same pattern with other values."""
        raise NotImplementedError

    def shares_pattern(self, other: Any) -> bool:
        """Whether `other` has its values at the same places in the same order."""
        raise NotImplementedError

    def added(self, other: Any, factor: Any = 1) -> Any:
        """This array and `factor` times `other`, of the same kind."""
        raise NotImplementedError

    def added_to(self, dense: Array, factor: Any = 1) -> None:
        """Add `factor` times this array to a dense one, in place."""
        raise NotImplementedError

    def assign(self, other: Any) -> None:
        """Become `other`; values are written into the memory of one's own where that fits."""
        same = self.shares_pattern(other) and self.values.dtype == other.values.dtype
        if same and self.values.flags.writeable and self.values.shape == other.values.shape:
            kept = self.values
            if kept is not other.values:
                np.copyto(kept, other.values)
            other = other.with_values(kept)
        self.__dict__.update(other.__dict__)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """The same pattern with the values in another dtype."""
        return self.with_values(self.values.astype(dtype, copy=copy))

    def copy(self, order: str = "C") -> Any:
        """The same pattern with a copy of the values."""
        return self.with_values(self.values.copy())

    def _computed(self, ufunc: Any, inputs: tuple[Any, ...]) -> Any:
        a = inputs[0]
        b = inputs[1] if len(inputs) > 1 else None
        if ufunc in (np.add, np.subtract):
            factor = 1 if ufunc is np.add else -1
            if isinstance(a, ComposedArray) and isinstance(b, ComposedArray):
                return a.added(b, factor)
            dense = np.array(a if b is self else b if factor == 1 else -np.asarray(b))
            self.added_to(dense, factor if b is self else 1)
            return dense
        if ufunc is np.negative:
            return self.with_values(-self.values)
        scalar = b if a is self else a
        if ufunc is np.multiply and np.ndim(scalar) == 0:
            return self.with_values(np.multiply(self.values, scalar))
        if ufunc is np.true_divide and a is self and np.ndim(scalar) == 0:
            return self.with_values(np.true_divide(self.values, scalar))
        raise NotImplementedError(f"{ufunc.__name__} with arguments of layout {self.layout}")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        (out,) = kwargs.pop("out", (None,))
        if method != "__call__" or kwargs:
            raise NotImplementedError(f"{ufunc.__name__} with arguments of layout {self.layout}")
        if out is not None and not isinstance(out, ComposedArray):
            if ufunc is np.add and inputs[0] is out and out.dtype == self.dtype:
                self.added_to(out)
            else:
                out[...] = self._computed(ufunc, inputs)
            return out
        result = self._computed(ufunc, inputs)
        if out is None:
            return result
        if not isinstance(result, ComposedArray):
            return result  # a dense sum: the name is bound to it
        out.assign(result)
        return out
