"""Members of the tensor class that ask where it is, and those that few programs use."""

from __future__ import annotations

import builtins
import importlib
import math
from typing import Any

from .. import devices
from ..autograd.grad_mode import FAST
from ..ops.shapes import wrap_dim
from . import memory
from .conversion import to
from .methods import method
from .tensor import Tensor


def _placed(name: str) -> None:
    """Define the property ``is_<name>`` of tensors on that kind of device."""

    def holds(self: Any) -> builtins.bool:
        return bool(self.device.type == name)

    holds.__doc__ = f"Whether the tensor is on a device of the type {name}."
    setattr(Tensor, f"is_{name}", property(holds))


for _name in ("cpu", "ipu", "xla", "vulkan", "maia", "mtia", "hpu"):
    _placed(_name)


def _mover(name: str) -> None:
    """Define the method that moves a tensor to that kind of device."""

    def move(self: Any, device: Any = None, non_blocking: bool = False, **_: Any) -> Any:
        return to(self, device=devices.device(name if device is None else device))

    move.__name__ = move.__qualname__ = name
    move.__doc__ = f"This tensor on a device of the type {name}; RuntimeError where there is none."
    method(move)


for _name in ("ipu", "mtia", "xpu"):
    _mover(_name)


@method
def storage(self: Any) -> Any:
    """The memory behind the tensor, as elements of its dtype."""
    from .typed_storages import TypedStorage

    return TypedStorage(wrap_storage=self.untyped_storage(), dtype=self.dtype)


@method
def _typed_storage(self: Any) -> Any:
    from .typed_storages import TypedStorage

    return TypedStorage(wrap_storage=self.untyped_storage(), dtype=self.dtype, _internal=True)


@method
def storage_type(self: Any) -> Any:
    """The old class of such storages, as ``FloatStorage``."""
    from . import typed_storages

    return getattr(typed_storages, f"{self.dtype.title}Storage")


@method
def is_shared(self: Any) -> builtins.bool:
    """Whether forked processes share the memory."""
    return bool(memory.is_shared(self._d))


@method
def const_data_ptr(self: Any) -> int:
    """The address of the first element, for who only reads."""
    return int(self.data_ptr())


@method
def dim_order(self: Any, *, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the one with the longest stride to that with the shortest.

    With `ambiguity_check`, RuntimeError where another order would do as well.
    """
    strides, shape = self.stride(), self.shape
    order = sorted(range(self.dim()), key=lambda i: -strides[i])
    if ambiguity_check and len({s for s, n in zip(strides, shape, strict=True)}) < self.dim():
        raise RuntimeError(
            f"The tensor does not have unique dim order, or cannot map to exact one of the given "
            f"memory formats: strides {list(strides)}"
        )
    return tuple(order)


def _merged(self: Any, groups: list[list[int]]) -> Any:
    """The tensor with the dimensions of each group made one, in the order of the groups."""
    if all(len(group) == 1 for group in groups):
        return self
    order = [d for group in groups for d in group]
    sizes = [math.prod(self.shape[d] for d in group) for group in groups]
    return FAST["F"].reshape(FAST["F"].permute(self, order), sizes)


@method
def index(self: Any, positions: Any, dims: Any) -> Any:
    """The tensor indexed by `dims` at the dimensions `positions`, in full at all others.

    `positions` is an int with one index, or a sequence with one index for each; a sequence in the
    place of an int stands for these dimensions as one, the first outermost. An index is an int,
    a slice, a tensor or a sequence of ints. TypeError for other positions or another number of
    indices, IndexError for positions that the tensor does not have.

    >>> x = torch.arange(6).reshape(2, 3)
    >>> x.index(1, 2), x.index((0, 1), (slice(1, 2), torch.tensor([0, 2])))
    (tensor([2, 5]), tensor([[3, 5]]))
    >>> x.index([(1, 0)], [slice(0, 3)])
    tensor([0, 3, 1])
    """
    if isinstance(positions, (tuple, list)) and isinstance(dims, (tuple, list)):
        if len(positions) != len(dims):
            raise TypeError(
                f"dims ({len(positions)}) and indices ({len(dims)}) must have the same length"
            )
        pairs = list(zip(positions, dims, strict=True))
    else:
        pairs = [(positions, dims)]
    groups = [[d] for d in range(self.dim())]
    indices: dict[int, Any] = {}
    for position, value in pairs:
        pack = position if isinstance(position, (tuple, list)) else [position]
        if not all(isinstance(d, int) for d in pack):
            raise TypeError(f"expected a dimension specifier but found {position!r}")
        places = [wrap_dim(d, self.dim()) for d in pack]
        if places and not groups:
            raise IndexError("index(): a tensor of 0 dimensions has none that can be indexed")
        if places:
            indices.setdefault(places[0], value)  # of two for one dimension the first counts
        for place in places[1:]:
            if [place] not in groups or place == places[0]:
                raise TypeError(f"dimension {place} not in tensor of {self.dim()} dimensions")
            groups.remove([place])
            next(group for group in groups if group[0] == places[0]).append(place)
    merged = _merged(self, groups)
    return merged[tuple(indices.get(group[0], slice(None)) for group in groups)]


@method
def fill_diagonal_(self: Any, fill_value: Any, wrap: builtins.bool = False) -> Any:
    """The tensor itself, with `fill_value` at all places whose indices are equal.

    With `wrap` the diagonal of a tall matrix begins anew after a row that it leaves out.
    RuntimeError for fewer than two dimensions, and for more than two of different sizes.

    >>> torch.zeros(4, 2, dtype=torch.int64).fill_diagonal_(1, wrap=True).tolist()
    [[1, 0], [0, 1], [0, 0], [1, 0]]
    """
    if self.dim() < 2:
        raise RuntimeError("fill_diagonal_: dimensions must larger than 1")
    if self.dim() > 2 and len({*self.shape}) > 1:
        raise RuntimeError(
            "fill_diagonal_: all dimensions of input must be of equal length, got "
            f"{list(self.shape)}"
        )
    if isinstance(fill_value, Tensor):
        if fill_value.dim() or fill_value.requires_grad:
            raise TypeError("fill_diagonal_(): argument 'fill_value' must be Number, not Tensor")
        fill_value = fill_value.item()
    height, width = self.shape[:2]
    step = width + 1 if wrap and self.dim() == 2 else max(height, 1)
    for top in range(0, max(height, 1), step):
        part = FAST["F"].narrow(self, 0, top, min(step, height - top))
        while part.dim() > 1:
            part = FAST["F"].diagonal(part)
        part.fill_(fill_value)
    return self


@method
def is_nonzero(self: Any) -> builtins.bool:
    """Whether the only element is not zero."""
    return bool(self)


@method
def to_device(self: Any, device: Any, /, *, stream: None = None) -> Any:
    """This tensor on a device: the array API standard's name for `to`."""
    return to(self, device=device)


def _array_namespace(self: Any, *, api_version: str | None = None) -> Any:
    """The namespace of the array API standard, `flambeau.xp`; ValueError for another version."""
    # It is built on tensors, so that they know it by name only.
    namespace = importlib.import_module("..xp", __package__)
    if api_version not in (None, *namespace.SUPPORTED):
        raise ValueError(f"there is no version {api_version!r} of the array API here")
    return namespace


@method
def record_stream(self: Any, stream: Any) -> None:
    """Nothing: there are no streams on the CPU."""


@method
def module_load(self: Any, other: Any, assign: builtins.bool = False) -> Any:
    """What a Module puts in place of this parameter when it loads `other`."""
    if assign:
        return other.detach()
    return self.copy_(other).detach()


def _reversed(self: Any) -> Any:
    """The tensor backwards along its first dimension."""
    return FAST["F"].flip(self, (0,)) if self.dim() else self


def _shifted_left(self: Any, other: Any) -> Any:
    return FAST["F"].bitwise_left_shift(other, self)


def _shifted_right(self: Any, other: Any) -> Any:
    return FAST["F"].bitwise_right_shift(other, self)


def _set_state(self: Any, state: Any) -> None:
    self.__dict__.update(state if isinstance(state, dict) else {})


def _divided_in_place(self: Any, other: Any) -> Any:
    return self.div_(other)


def _truth(self: Any) -> builtins.bool:
    return bool(self)


def _whole(self: Any) -> int:
    return int(self)


def _listed(self: Any) -> list[str]:
    names = {*object.__dir__(self), *self.__dict__}
    return sorted(n for n in names if n not in ("_d", "_t", "_gf", "_s", "_v", "_view"))


for _name, _function in {
    "__array_namespace__": _array_namespace,
    "__reversed__": _reversed,
    "__rlshift__": _shifted_left,
    "__rrshift__": _shifted_right,
    "__setstate__": _set_state,
    "__dir__": _listed,
    "__idiv__": _divided_in_place,
    "__long__": _whole,
    "__nonzero__": _truth,
}.items():
    setattr(Tensor, _name, _function)
Tensor.grad_dtype = property(lambda self: self.dtype)
