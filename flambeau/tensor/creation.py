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
from ..backends.cpu.layout import filled
from ..compiler import allocator
from ..devices import CPU, resolve_device, strided
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
    pin_memory: bool = False,
) -> Any:
    """A new tensor over `array`, cast and moved as asked."""
    if pin_memory:
        raise refuse_pinning()
    if dtype is not None:
        array = array.astype(storage_dtype(dtype), copy=False)
    if device is not None and resolve_device(device) is not CPU:
        from ..backends.meta import MetaArray

        array = MetaArray.like(array)
    out = from_array(array)
    return out.requires_grad_() if requires_grad else out


def refuse_pinning() -> Exception:
    """The error for ``pin_memory=True``: pages are pinned for a GPU."""
    return RuntimeError("pin_memory=True requires an accelerator; there is none here")


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
        if hasattr(data, "as_parameter"):  # a sparse or nested one
            copied = data.detach().clone().to(dtype=dtype, device=device)
            return copied.requires_grad_(requires_grad)
    if pin_memory:
        raise refuse_pinning()
    array = array_of(data, dtype)
    if array is data or isinstance(data, (np.ndarray, TensorCore)):
        array = np.array(array)
    if device is None and not requires_grad:
        return from_array(array)
    return place(array, None, device, requires_grad)


def array_of(data: Any, dtype: dtypes.dtype | None = None) -> Any:
    """`data` as an array with PyTorch's choice of dtype."""
    if isinstance(data, TensorCore):
        if dtype is None or data._d.dtype == storage_dtype(dtype):
            return data._d
        return dtypes.converted(data._d, storage_dtype(dtype))
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
        if not isinstance(data, (np.ndarray, np.generic)):
            dtypes.check_range(array, wanted)
        return array if array.dtype == wanted else dtypes.converted(array, wanted)
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
        plain = not (requires_grad or pin_memory or rest or layout)
        if plain and dtype is None and device is None and out is None:
            # The ordinary call, kept short.
            shape = size[0] if len(size) == 1 else size
            if shape.__class__ is not int or shape < 0:
                shape = sizes(size)
            try:
                return from_array(make(shape, dtypes._default.numpy_dtype))
            except (MemoryError, ValueError) as error:
                raise out_of_memory(sizes(size), dtypes._default.numpy_dtype) from error
        if pin_memory:
            raise refuse_pinning()
        if layout is not None and layout is not strided:
            return _sparse(name, sizes(size), dtype, layout, requires_grad)
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


def _sparse(name: str, shape: Any, dtype: Any, layout: Any, requires_grad: bool) -> Any:
    """An empty tensor of a sparse layout."""
    from . import sparse

    if name not in ("zeros", "empty"):
        raise RuntimeError("full(...) is not implemented for sparse layout")
    return sparse.empty(shape, dtype or dtypes.get_default_dtype(), layout, requires_grad)


def _like_and_new(create: Callable[..., Any], make: Maker, name: str, doc: str) -> None:
    def like(
        input: Any,
        *,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: bool = False,
        requires_grad: bool = False,
        memory_format: Any = None,
    ) -> Any:
        try:
            held = input._d
        except AttributeError:
            options = {} if layout is None else {"layout": layout}
            return input.made_like(like, dtype=dtype, requires_grad=requires_grad, **options)
        if layout is not None and layout is not strided:
            return _sparse(name, input.shape, dtype or input._t, layout, requires_grad)
        if device is not None or pin_memory or held.__class__ is not np.ndarray:
            return create(
                held.shape, dtype=dtype or input._t, device=device or input.device,
                requires_grad=requires_grad, pin_memory=pin_memory,
            )  # fmt: skip
        kind = held.dtype if dtype is None else storage_dtype(dtype)
        made = from_array(in_order_of(held, allocate(make, held.shape, kind)))
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


def finish(array: Any, out: Any, device: Any, requires_grad: bool, pin_memory: bool = False) -> Any:
    """The created `array` as a new tensor, or written into `out`."""
    if out is not None:
        return into(out, array)
    return place(array, None, device, requires_grad, pin_memory)


_filled("zeros", np.zeros, "A tensor of zeros.")
_filled("ones", lambda shape, kind: filled(shape, kind, 1), "A tensor of ones.")
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
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """A tensor of `size` filled with one number; the dtype is inferred from the number."""
    value = fill_value._d.item() if isinstance(fill_value, TensorCore) else fill_value
    kind = storage_dtype(dtype or dtypes.scalar_dtype(value))
    number = dtypes.cast_number(value, kind)[()]
    array = allocate(lambda shape, kind: filled(shape, kind, number), sizes((size,)), kind)
    if out is device is None and not (requires_grad or pin_memory):
        return from_array(array)
    return finish(array, out, device, requires_grad, pin_memory)


@publish
def full_like(
    input: Any,
    fill_value: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Any:
    """A tensor shaped like `input` filled with one number."""
    return full(
        tuple(input.shape), fill_value, dtype=dtype or input._t,
        device=device or input.device, requires_grad=requires_grad, pin_memory=pin_memory,
    )  # fmt: skip


@method
def new_full(self: Any, size: Any, fill_value: Any, **kwargs: Any) -> Any:
    """A tensor of `size` filled with one number, of this tensor's dtype."""
    kwargs.setdefault("dtype", self._t)
    return full(size, fill_value, **kwargs)


@method
def new(self: Any, *args: Any, **kwargs: Any) -> Any:
    """A tensor of this one's dtype from sizes (uninitialized) or data, as old constructors make."""
    return from_constructor(args, self._t, **kwargs)


@method
def new_tensor(self: Any, data: Any, **kwargs: Any) -> Any:
    """A tensor that copies `data`, of this tensor's dtype."""
    kwargs.setdefault("dtype", self._t)
    return tensor(data, **kwargs)


# ---------------------------------------------------------------- matrices
@publish
def eye(
    n: int,
    m: int | None = None,
    *,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """The identity matrix, or its first `m` columns."""
    if n < 0 or (m is not None and m < 0):
        raise RuntimeError(f"eye(): n and m must not be negative, got {n} and {m}")
    array = np.eye(n, m, dtype=storage_dtype(dtype or dtypes.get_default_dtype()))
    return finish(array, out, device, requires_grad, pin_memory)


@publish
def scalar_tensor(s: Any, *, dtype: dtypes.dtype | None = None, **kwargs: Any) -> Any:
    """A 0-d tensor of the default dtype."""
    return tensor(s, dtype=dtype or dtypes.get_default_dtype(), **kwargs)


def _places(
    name: str, places: Any, dtype: Any, device: Any, requires_grad: bool, pin_memory: bool
) -> Any:
    kind = dtype or dtypes.int64
    if kind not in (dtypes.int32, dtypes.int64):
        raise NotImplementedError(f'"{name}" not implemented for {kind}')
    return place(places, kind, device, requires_grad, pin_memory)


@publish
def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = None,
    device: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """Row and column numbers of the lower triangle, shape [2, N]."""
    places = np.stack(np.tril_indices(row, offset, col))
    return _places("tril_indices", places, dtype, device, requires_grad, pin_memory)


@publish
def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = None,
    device: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Any:
    """Row and column numbers of the upper triangle, shape [2, N]."""
    places = np.stack(np.triu_indices(row, offset, col))
    return _places("triu_indices", places, dtype, device, requires_grad, pin_memory)
