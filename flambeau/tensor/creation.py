"""Making tensors: from data, filled, ranges, and like other tensors.

All take ``dtype``, ``device``, ``requires_grad``; sizes are given one by one or as one sequence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.grad_mode import FAST
from ..compiler import allocator
from ..devices import CPU, resolve_device
from . import core
from .core import TensorCore, from_array
from .functions import publish
from .methods import method
from .shape import Size


def place(
    array: Any,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """A new tensor over `array`, cast and moved as asked."""
    if dtype is not None:
        array = array.astype(storage_dtype(dtype), copy=False)
    if device is not None and resolve_device(device) is not CPU:
        from ..backends.meta import MetaArray

        array = MetaArray.like(array)
    out = from_array(array)
    return out.requires_grad_() if requires_grad else out


def storage_dtype(dtype: dtypes.dtype) -> Any:
    """The NumPy dtype that stores `dtype`; errors for a non-dtype and for complex32."""
    if not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"dtype must be torch.dtype, not {type(dtype).__name__}")
    if dtype.numpy_dtype is None:
        raise RuntimeError(f"{dtype} tensors cannot be stored on the CPU: use torch.complex64")
    return dtype.numpy_dtype


def sizes(size: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence, as a tuple of ints."""
    if len(size) == 1 and not isinstance(size[0], (int, np.integer)):
        size = tuple(size[0]) if not isinstance(size[0], TensorCore) else (int(size[0]),)
    try:
        out = tuple([n if n.__class__ is int else n.__index__() for n in size])
    except AttributeError:
        raise TypeError(f"argument 'size' must be tuple of ints, got {size}") from None
    for n in out:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(out)}")
    return out


# ---------------------------------------------------------------- from data
@publish
def tensor(
    data: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """A tensor that copies `data`: numbers, nested sequences, arrays or tensors.

    >>> tensor([[1.0, 2.0]]).shape
    torch.Size([1, 2])
    """
    if data.__class__ is list and data and data[0].__class__ is float and dtype is None:
        try:
            array = np.array(data, dtypes._default.numpy_dtype)
        except (TypeError, ValueError):
            array = array_of(data)
        if device is None and not requires_grad:
            return from_array(array)
        return place(array, None, device, requires_grad)
    if isinstance(data, TensorCore):
        import warnings

        warnings.warn(
            "To copy construct from a tensor, it is recommended to use "
            "sourceTensor.detach().clone() or sourceTensor.detach().clone().requires_grad_(True), "
            "rather than torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
    array = array_of(data, dtype)
    if array is data or isinstance(data, (np.ndarray, TensorCore)):
        array = np.array(array)
    if device is None and not requires_grad:
        return from_array(array)
    return place(array, None, device, requires_grad)


def array_of(data: Any, dtype: dtypes.dtype | None = None) -> Any:
    """`data` as an array with PyTorch's choice of dtype."""
    if isinstance(data, TensorCore):
        return data._d if dtype is None else data._d.astype(storage_dtype(dtype), copy=False)
    if isinstance(data, (list, tuple)) and _holds_tensors(data):
        data = _plain(data)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise _ragged(data, error) from None
    kind = array.dtype.kind
    if kind not in "fiubcV" or (kind == "V" and array.dtype.names):
        _refuse(data, array)
    if dtype is not None:
        wanted = storage_dtype(dtype)
        if kind == "c" and not dtype.is_complex:
            raise TypeError(f"can't convert complex to {dtype}")
        if isinstance(data, int) and dtype.category == dtypes.INTEGRAL:
            info = np.iinfo(wanted)
            if not info.min <= data <= info.max:
                raise RuntimeError(
                    f"value cannot be converted to type {dtype.title.lower()} without overflow"
                )
        return array if array.dtype == wanted else array.astype(wanted)
    if isinstance(data, (np.ndarray, np.generic)):
        dtypes.from_numpy_dtype(array.dtype)
        return array
    if array.size == 0 and kind == "f":
        return array.astype(dtypes.get_default_dtype().numpy_dtype)
    if kind == "f" and array.dtype == np.float64 and not _has_numpy(data):
        return array.astype(dtypes.get_default_dtype().numpy_dtype)
    if kind == "c" and not _has_numpy(data):
        return array.astype(dtypes.default_complex_dtype().numpy_dtype)
    if kind == "u" and array.dtype == np.uint64 and not _has_numpy(data):
        raise ValueError("Overflow when unpacking long long")
    return array


def _first(data: Any) -> Any:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return data


def _holds_tensors(data: Any) -> bool:
    return isinstance(_first(data), TensorCore) or any(isinstance(x, TensorCore) for x in data)


def _has_numpy(data: Any) -> bool:
    return isinstance(_first(data), (np.generic, np.ndarray))


def _plain(data: Any) -> Any:
    if isinstance(data, TensorCore):
        return data._d.item() if data._d.size == 1 else data._d.tolist()
    if isinstance(data, (list, tuple)):
        return [_plain(x) for x in data]
    return data


def _refuse(data: Any, array: Any) -> None:
    if isinstance(data, np.ndarray):
        dtypes.from_numpy_dtype(array.dtype)
    first = _first(data)
    if isinstance(data, str):
        raise TypeError("new(): invalid data type 'str'")
    if isinstance(first, str):
        raise ValueError("too many dimensions 'str'")
    if array.dtype == object:
        strange = [x for x in array.flat if not isinstance(x, (int, float, complex, np.generic))]
        if strange:
            raise RuntimeError(f"Could not infer dtype of {type(strange[0]).__name__}")
        raise ValueError("Overflow when unpacking long long")
    raise RuntimeError(f"Could not infer dtype of {type(first).__name__}")


def _ragged(data: Any, error: Exception) -> Exception:
    expected = len(data[0]) if isinstance(data[0], (list, tuple)) else 0
    for i, row in enumerate(data):
        if isinstance(row, (list, tuple)) and len(row) != expected:
            return ValueError(f"expected sequence of length {expected} at dim 1 (got {len(row)})")
        if not isinstance(row, (list, tuple)):
            kind = type(row).__name__
            return TypeError(f"expected sequence at dim 1, got {kind} at position {i}")
    return ValueError(f"expected a rectangular sequence: {error}")


@publish
def as_tensor(data: Any, dtype: dtypes.dtype | None = None, device: Any = None) -> Any:
    """`data` as a tensor, sharing memory and history where that is possible."""
    if isinstance(data, TensorCore):
        return data.to(device=device, dtype=dtype)
    return place(array_of(data, dtype), None, device)


publish(as_tensor, "asarray")


@publish
def from_numpy(ndarray: Any) -> Any:
    """A tensor over the memory of a NumPy array, which must have native byte order."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    if not ndarray.flags.c_contiguous and any(step < 0 for step in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with "
            "negative strides are not currently supported. (You can probably work around this "
            "by making a copy of your array with array.copy().)"
        )
    return from_array(ndarray)


@publish
def from_dlpack(ext_tensor: Any) -> Any:
    """A tensor over the memory of an object that speaks DLPack."""
    return from_array(np.from_dlpack(ext_tensor))


@publish
def frombuffer(
    buffer: Any,
    *,
    dtype: dtypes.dtype,
    count: int = -1,
    offset: int = 0,
    requires_grad: bool = False,
) -> Any:
    """A 1-d tensor over the memory of an object with the buffer protocol."""
    return place(
        np.frombuffer(buffer, storage_dtype(dtype), count, offset), requires_grad=requires_grad
    )


def from_constructor(args: tuple[Any, ...], dtype: dtypes.dtype, **kwargs: Any) -> Any:
    """What ``Tensor(...)`` and ``FloatTensor(...)`` make of their arguments."""
    device = kwargs.pop("device", None)
    if kwargs:
        raise TypeError(f"new() received an invalid combination of arguments: {kwargs}")
    if not args:
        args = (0,)
    if len(args) == 1 and isinstance(args[0], TensorCore):
        return args[0].detach().to(dtype)
    if (
        len(args) == 1
        and isinstance(args[0], (list, tuple, np.ndarray))
        and not isinstance(args[0], Size)
    ):
        return tensor(args[0], dtype=dtype, device=device)
    return FAST["F"].empty(*args, dtype=dtype, device=device)


# ---------------------------------------------------------------- filled
Maker = Callable[[tuple[int, ...], Any], Any]


def _filled(name: str, make: Maker, doc: str) -> None:
    """Publish the function `name`, its ``_like`` form and its ``new_`` method."""

    def create(
        *size: Any,
        out: Any = None,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: bool = False,
        requires_grad: bool = False,
        **rest: Any,
    ) -> Any:
        if dtype is None and device is None and out is None and not requires_grad and not rest:
            # The ordinary call, kept short.
            shape = size[0] if len(size) == 1 else size
            if shape.__class__ is not int or shape < 0:
                shape = sizes(size)
            try:
                return from_array(make(shape, dtypes._default.numpy_dtype))
            except (MemoryError, ValueError) as error:
                raise out_of_memory(sizes(size), dtypes._default.numpy_dtype) from error
        return _create(make, name, size, out, dtype, device, requires_grad, rest)

    create.__name__ = name
    create.__doc__ = doc
    publish(create)
    _like_and_new(create, make, name, doc)


def _create(
    make: Maker,
    name: str,
    size: tuple[Any, ...],
    out: Any,
    dtype: Any,
    device: Any,
    requires_grad: bool,
    rest: dict[str, Any],
) -> Any:
    if "size" in rest:
        size = (rest.pop("size"),)
    for word in rest:
        if word not in ("memory_format", "names"):
            raise TypeError(f"{name}() got an unexpected keyword argument '{word}'")
    kind = storage_dtype(dtype or dtypes.get_default_dtype())
    if device is not None and resolve_device(device) is not CPU:
        from ..backends.meta import MetaArray

        made = from_array(MetaArray(sizes(size), kind))
        return made.requires_grad_() if requires_grad else made
    array = allocate(make, sizes(size), kind)
    if out is not None:
        return into(out, array)
    made = from_array(array)
    return made.requires_grad_() if requires_grad else made


def _like_and_new(create: Callable[..., Any], make: Maker, name: str, doc: str) -> None:
    def like(
        input: Any,
        *,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
    ) -> Any:
        if device is not None or input.is_meta:
            return create(
                input._d.shape, dtype=dtype or input._t, device=device or input.device,
                requires_grad=requires_grad,
            )  # fmt: skip
        kind = input._d.dtype if dtype is None else storage_dtype(dtype)
        made = from_array(in_order_of(input._d, allocate(make, input._d.shape, kind)))
        return made.requires_grad_() if requires_grad else made

    like.__name__ = f"{name}_like"
    like.__doc__ = f"{doc} Shape, and dtype by default, are those of `input`."
    publish(like)

    def new(self: Any, *size: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("dtype", self._t)
        if self.is_meta:
            kwargs.setdefault("device", self.device)
        return create(*size, **kwargs)

    new.__name__ = f"new_{name}"
    new.__doc__ = f"{doc} Dtype and device by default are this tensor's."
    method(new)


def allocate(make: Maker, shape: tuple[int, ...], kind: Any) -> Any:
    """``make(shape, kind)``, with PyTorch's error when the memory is not to be had."""
    try:
        return make(shape, kind)
    except (MemoryError, ValueError) as error:
        raise out_of_memory(shape, kind) from error


def out_of_memory(shape: tuple[int, ...], kind: Any) -> Exception:
    """The error for a tensor that could not be allocated."""
    need = math.prod(shape) * np.dtype(kind).itemsize
    return allocator.out_of_memory(
        f"not enough memory: you tried to allocate {need} bytes for a tensor of shape {list(shape)}"
    )


def in_order_of(source: Any, made: Any) -> Any:
    """`made` laid out in memory as `source` is, where that is a permutation of row-major."""
    if source.flags.c_contiguous or source.ndim < 2:
        return made
    order = sorted(range(source.ndim), key=lambda i: -source.strides[i])
    permuted = made.reshape(-1)[: made.size].reshape([made.shape[i] for i in order])
    return permuted.transpose(np.argsort(order))


def into(out: Any, array: Any) -> Any:
    """Write a created array into the tensor given as ``out=``."""
    if out._d.shape != array.shape:
        out._d = np.empty(array.shape, out._d.dtype)
    np.copyto(out._d, array, casting="unsafe")
    core.bump(out)
    return out


_filled("zeros", np.zeros, "A tensor of zeros.")
_filled("ones", np.ones, "A tensor of ones.")
_filled("empty", np.empty, "A tensor whose values are whatever was in its memory.")


@publish
def full(
    size: Any,
    fill_value: Any,
    *,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """A tensor of `size` filled with one number; the dtype is inferred from the number."""
    value = fill_value._d.item() if isinstance(fill_value, TensorCore) else fill_value
    kind = storage_dtype(dtype or dtypes.scalar_dtype(value))
    array = allocate(np.empty, sizes((size,)), kind)
    array.fill(np.asarray(value).astype(kind)[()])
    if out is not None:
        return into(out, array)
    return place(array, None, device, requires_grad)


@publish
def full_like(
    input: Any,
    fill_value: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Any:
    """A tensor shaped like `input` filled with one number."""
    return full(
        tuple(input._d.shape), fill_value, dtype=dtype or input._t,
        device=device or input.device, requires_grad=requires_grad,
    )  # fmt: skip


@method
def new_full(self: Any, size: Any, fill_value: Any, **kwargs: Any) -> Any:
    """A tensor of `size` filled with one number, of this tensor's dtype."""
    kwargs.setdefault("dtype", self._t)
    return full(size, fill_value, **kwargs)


@method
def new_tensor(self: Any, data: Any, **kwargs: Any) -> Any:
    """A tensor that copies `data`, of this tensor's dtype."""
    kwargs.setdefault("dtype", self._t)
    return tensor(data, **kwargs)


# ---------------------------------------------------------------- ranges
@publish
def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """The numbers ``start, start + step, ...`` below `end`, as a 1-d tensor."""
    if end is None and start.__class__ is int and start >= 0 and step == 1 and dtype is out is None:
        return place(np.arange(start, dtype=np.int64), None, device, requires_grad)
    if end is None:
        start, end = 0, start
    start, end, step = (v._d.item() if isinstance(v, TensorCore) else v for v in (start, end, step))
    if not all(map(math.isfinite, (start, end))):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if dtype is not None and dtype.category == dtypes.INTEGRAL:
        start, end, step = int(start), int(end), int(step)
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    integral = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
    kind = storage_dtype(dtype or (dtypes.int64 if integral else dtypes.get_default_dtype()))
    count = math.ceil((end - start) / step) if not integral else -((start - end) // step)
    wide = np.int64 if integral and kind.kind in "iub" else np.float64
    array = (np.arange(count, dtype=wide) * wide(step) + wide(start)).astype(kind)
    return into(out, array) if out is not None else place(array, None, device, requires_grad)


@publish
def range_(start: Any, end: Any, step: Any = 1, **kwargs: Any) -> Any:
    """Like `arange` with `end` included, in the default float dtype."""
    kwargs.setdefault("dtype", dtypes.get_default_dtype())
    return arange(start, start + step * (math.floor((end - start) / step) + 1), step, **kwargs)


@publish
def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """`steps` evenly spaced numbers from `start` to `end`, both included."""
    if not isinstance(steps, (int, np.integer)):
        raise TypeError(f"linspace(): argument 'steps' must be int, not {type(steps).__name__}")
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    lo, hi = (v._d.item() if isinstance(v, TensorCore) else v for v in (start, end))
    is_complex = isinstance(lo, complex) or isinstance(hi, complex)
    default = dtypes.default_complex_dtype() if is_complex else dtypes.get_default_dtype()
    kind = storage_dtype(dtype or default)
    if kind.kind in "iu":
        lo, hi = int(lo), int(hi)
    work = kind if kind.kind in "fc" and kind.itemsize >= 4 else np.dtype(np.float64)
    step = work.type((hi - lo) / (steps - 1)) if steps > 1 else work.type(0)
    index = np.arange(steps)
    # Both halves are counted from their own end, so that the last element is exactly `end`.
    below = work.type(lo) + step * index.astype(work)
    above = work.type(hi) - step * (steps - 1 - index).astype(work)
    array = np.where(index < steps // 2, below, above).astype(kind)
    if steps == 1:
        array = np.full(1, lo, kind)
    return into(out, array) if out is not None else place(array, None, device, requires_grad)


@publish
def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """`base` to the powers that `linspace` gives."""
    kind = storage_dtype(dtype or dtypes.get_default_dtype())
    if kind.kind in "iu":
        start, end = int(start), int(end)
    powers = linspace(start, end, steps, dtype=dtypes.float64)._d
    array = np.power(float(base), powers).astype(kind)
    return into(out, array) if out is not None else place(array, None, device, requires_grad)


@publish
def eye(
    n: int,
    m: int | None = None,
    *,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """The identity matrix, or its first `m` columns."""
    if n < 0 or (m is not None and m < 0):
        raise RuntimeError(f"eye(): n and m must not be negative, got {n} and {m}")
    array = np.eye(n, m, dtype=storage_dtype(dtype or dtypes.get_default_dtype()))
    return into(out, array) if out is not None else place(array, None, device, requires_grad)


@publish
def scalar_tensor(s: Any, *, dtype: dtypes.dtype | None = None, **kwargs: Any) -> Any:
    """A 0-d tensor of the default dtype."""
    return tensor(s, dtype=dtype or dtypes.get_default_dtype(), **kwargs)


@publish
def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, **kwargs: Any) -> Any:
    """Row and column numbers of the lower triangle, shape [2, N]."""
    return place(np.stack(np.tril_indices(row, offset, col)), dtype or dtypes.int64)


@publish
def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, **kwargs: Any) -> Any:
    """Row and column numbers of the upper triangle, shape [2, N]."""
    return place(np.stack(np.triu_indices(row, offset, col)), dtype or dtypes.int64)
