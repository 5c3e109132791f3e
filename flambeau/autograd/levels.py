"""Levels: the transformations that are running, and the tensors that stand for others in them.

`vmap` and forward mode each open a level. Inside, a `Wrapped` tensor of that level stands for the
tensors (of lower levels, or ordinary ones) that it is made of. It has no array of its own, so every
op that meets one falls off its short way into `Wrapped._interpret`, and the highest level among the
arguments says what the op means; it calls the public functions on what its tensors are made of. So
levels nest in any order. Reverse mode needs no level: the tape lies below them all (pullback.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..ops.record import Op
from ..ops.shapes import wrap_dim
from ..tensor import conversion, indexing, random
from ..tensor.core import TensorCore, new
from ..tensor.inplace import become
from ..tensor.tensor import Tensor
from .grad_mode import FAST


class Level:
    """One running transformation: ``with Level() as level``; `number` counts from the outside."""

    size: int | None = None
    """How many examples a level of `vmap` has; None for other levels."""

    def __enter__(self) -> Any:
        self.number = len(_running.stack) + 1
        _running.stack.append(self)
        random.levels.append(self)
        if self.size is not None:
            self.open()
        return self

    def __exit__(self, *_: object) -> None:
        _running.stack.remove(self)
        random.levels.remove(self)
        if self.size is not None:
            self.close()

    def open(self) -> None:
        """Enter a level of `vmap` among those that run in this thread."""
        _running.batched.append(self)

    def close(self) -> None:
        """Take it out again."""
        _running.batched.remove(self)


class _Running(threading.local):
    def __init__(self) -> None:
        self.stack: list[Level] = []
        self.batched: list[Level] = []


_running = _Running()


def batched_levels() -> list[Any]:
    """The levels of `vmap` that run in this thread, the outermost first."""
    return _running.batched


def drawing(values: Iterable[Any]) -> Any:
    """What decides in this thread on random numbers that are drawn by `values`.

    A level of `vmap`, a wrapped tensor among `values` of a higher level, or None.
    """
    top = highest(values)
    own = _running.batched
    return own[-1] if own and level_of(top) <= own[-1].number else top


def level_of(x: Any) -> int:
    """The level of a wrapped tensor; 0 for anything else."""
    return x.level if isinstance(x, Wrapped) else 0


def leaves(values: Iterable[Any]) -> Iterator[Any]:
    """The tensors among `values` and in the lists and tuples among them."""
    for v in values:
        if isinstance(v, TensorCore):
            yield v
        elif isinstance(v, (list, tuple)):
            yield from leaves(v)


def highest(values: Iterable[Any]) -> Any:
    """The wrapped tensor of the highest level among `values`, or None."""
    found = None
    for x in leaves(values):
        if isinstance(x, Wrapped) and (found is None or x.level > found.level):
            found = x
    return found


def map_tensors(f: Callable[[Any], Any], value: Any) -> Any:
    """`value` with `f` applied to each tensor in it, through lists and tuples."""
    if isinstance(value, TensorCore):
        return f(value)
    if isinstance(value, (list, tuple)):
        parts = [map_tensors(f, v) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def call(op: Op, arguments: dict[str, Any]) -> Any:
    """The public function of `op` called with `arguments`."""
    positional, keyword = [], {}
    for n, p in op.signature.parameters.items():
        if n not in arguments:
            continue
        if p.kind is p.KEYWORD_ONLY or keyword:
            keyword[n] = arguments[n]
        else:
            positional.append(arguments[n])
        # What follows a parameter left out is named.
    return getattr(FAST["F"], op.name)(*positional, **keyword)


class Wrapped(Tensor):
    """A tensor of a level: `part` is the tensor of a lower level that its facts are read from."""

    level: int
    _d = property(lambda self: _no_array())
    part: Any

    @classmethod
    def make(cls, dtype: Any, **parts: Any) -> Any:
        """A tensor of this class made of `parts`."""
        out = new(cls)
        out.__dict__.update(parts)
        out._t = dtype
        out._gf = out._grad = out._s = out._view = None
        out._v = 0
        return out

    # ------------------------------------------------------------ what each class says
    def apply_op(self, op: Op, arguments: dict[str, Any]) -> Any:
        """The results of `op`, of whose tensors this one has the highest level."""
        raise NotImplementedError(type(self).__name__)

    def change(self, t: Any, result: Any, where: str) -> Any:
        """Make `t` what an op in place gave; this tensor has the highest level involved."""
        return become(t, result)

    def rewrapped(self, f: Callable[[Any], Any]) -> Any:
        """A tensor like this one with `f` applied to the parts that it is made of."""
        raise NotImplementedError(type(self).__name__)

    def everywhere(self) -> bool:
        """Whether this 0-d tensor is true."""
        return FAST["F"].holds(self.part)

    def made_like(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What a creating `function` such as ``zeros_like`` makes of this tensor."""
        return function(self.part, *args, **kwargs)

    # ------------------------------------------------------------ ops
    def _interpret(self, op: Op, tensors: tuple[Any, ...], values: dict[str, Any]) -> Any:
        named = dict(zip(op.tensors, tensors, strict=True))
        arguments = {
            n: named[n] if n in named else values[n]
            for n in op.signature.parameters
            if n in named or n in values
        }
        return highest(arguments.values()).apply_op(op, arguments)

    def __getitem__(self, index: Any) -> Any:
        return get_item(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        set_item(self, index, value)

    # ------------------------------------------------------------ facts
    shape = property(lambda self: self.part.shape)
    ndim = property(lambda self: len(self.shape))
    device = property(lambda self: self.part.device)
    requires_grad = property(  # type: ignore[assignment]
        lambda self: self.part.requires_grad, lambda self, on: self.requires_grad_(on)
    )
    grad_fn = property(lambda self: self.part.grad_fn)
    is_leaf = property(lambda self: self.part.is_leaf)
    output_nr = property(lambda self: self.part.output_nr)
    _version = property(lambda self: self.part._version)
    _base = property(lambda self: None)
    nbytes = property(lambda self: self.numel() * self._t.itemsize)
    data = property(lambda self: self.detach())  # type: ignore[assignment]

    T = property(lambda self: self.permute(tuple(range(self.ndim - 1, -1, -1))))
    mT = property(lambda self: self.transpose(-2, -1) if self.ndim else self)
    H = property(lambda self: self.mH if self.ndim else self.conj())
    mH = property(lambda self: self.mT.conj())

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        shape = self.shape
        return shape if dim is None else shape[wrap_dim(dim, len(shape))]

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        count = 1
        for n in self.shape:
            count *= n
        return count

    nelement = numel

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours in each dimension (or in `dim`), in elements."""
        return self.part.stride() if dim is None else self.part.stride(dim)

    def storage_offset(self) -> int:
        """Elements between the start of the storage and the first element."""
        return int(self.part.storage_offset())

    def data_ptr(self) -> int:
        """The address of the first element."""
        return int(self.part.data_ptr())

    def is_contiguous(self, *args: Any, **kwargs: Any) -> bool:
        """Whether the elements lie in memory in the order asked for."""
        return bool(self.part.is_contiguous(*args, **kwargs))

    def is_same_size(self, other: Any) -> bool:
        """Whether both tensors have the same shape."""
        return bool(self.shape == other.shape)

    def register_hook(self, hook: Any) -> Any:
        """Hooks are called with gradients of the tensor that this one is made of."""
        return self.part.register_hook(hook)

    def retain_grad(self) -> None:
        """Keep the gradient of the tensor that this one is made of."""
        self.part.retain_grad()

    # ------------------------------------------------------------ conversions
    def to(self, *args: Any, **kwargs: Any) -> Any:
        """This tensor with another dtype; there is but one device for it."""
        given = [a.dtype if isinstance(a, TensorCore) else a for a in args]
        if kwargs.get("other") is not None:
            kwargs["dtype"] = kwargs.pop("other").dtype
        if "device" in kwargs:
            given.append(kwargs.pop("device"))
        kept = [a for a in given if a is None or (a != self.device and str(a) != "cpu")]
        return conversion.to(self, *kept, **kwargs)

    def contiguous(self, *args: Any, **kwargs: Any) -> Any:
        """This tensor with its elements in the order asked for."""
        return self.rewrapped(lambda x: x.contiguous(*args, **kwargs))

    def cpu(self, memory_format: Any = None) -> Any:
        """This tensor."""
        return self

    def detach(self) -> Any:
        """This tensor out of the tape."""
        return self.rewrapped(lambda x: x.detach())

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Whether a gradient is to flow to the tensor that this one is made of."""
        self.part.requires_grad_(requires_grad)
        return self

    def clone(self, *, memory_format: Any = None) -> Any:
        """A copy."""
        return self.rewrapped(lambda x: FAST["F"].clone(x, memory_format=memory_format))

    def backward(self, *args: Any, **kwargs: Any) -> None:
        """Refused: gradients inside a transformation are values, not accumulated."""
        raise RuntimeError(
            "backward() called inside a functorch transform. This is not supported, please use "
            "functorch.grad or functorch.vjp instead or call backward() outside of functorch "
            "transforms."
        )

    def new_zeros(self, *size: Any, **kwargs: Any) -> Any:
        """A tensor of zeros, of this tensor's dtype."""
        return self._new("zeros", size, kwargs)

    def new_ones(self, *size: Any, **kwargs: Any) -> Any:
        """A tensor of ones, of this tensor's dtype."""
        return self._new("ones", size, kwargs)

    def new_empty(self, *size: Any, **kwargs: Any) -> Any:
        """A tensor whose values do not matter, of this tensor's dtype."""
        return self._new("zeros", size, kwargs)

    def new_full(self, size: Any, fill_value: Any, **kwargs: Any) -> Any:
        """A tensor of `size` filled with one number, of this tensor's dtype."""
        kwargs["fill_value"] = fill_value
        return self._new("full", (size,), kwargs)

    def _new(self, name: str, size: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        size = kwargs.pop("size", size)
        if len(size) == 1 and isinstance(size[0], (tuple, list)):
            (size,) = size
        kwargs.setdefault("dtype", self._t)
        return self.made_new(getattr(FAST["F"], name), tuple(size), kwargs)

    def made_new(
        self, function: Callable[..., Any], size: tuple[int, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What ``new_zeros`` and the like give: ``function(size, **kwargs)``."""
        return function(size, **kwargs)

    # ------------------------------------------------------------ protocols
    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(FAST["F"].unbind(self, 0))

    def __invert__(self) -> Any:
        if self._t.inexact:
            raise TypeError(
                "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
            )
        return FAST["F"].bitwise_not(self)

    def __format__(self, spec: str) -> str:
        return object.__format__(self, spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.clone()


def _no_array() -> Any:
    raise AttributeError("a tensor inside a transformation has no array of its own")


# ---------------------------------------------------------------- indexing
def get_item(t: Any, index: Any) -> Any:
    """``t[index]`` where `t` or a tensor in `index` is wrapped."""
    items = index if isinstance(index, tuple) else (index,)
    top = highest(items)
    if top is not None and top.level >= level_of(t):
        return top.get_by(t, items)
    if level_of(t) == 0:
        return indexing.get(t, index)
    basic, advanced = indexing.split(shaped_like(t), items)
    out = t if basic is None else FAST["F"].basic_index(t, basic)
    return out if advanced is None else FAST["F"].advanced_index(out, advanced)


def set_item(t: Any, index: Any, value: Any) -> None:
    """``t[index] = value`` where one of the three is wrapped."""
    items = index if isinstance(index, tuple) else (index,)
    top = highest((t, items, value))
    top.set_by(t, items, value)


def shaped_like(t: Any) -> Any:
    """A tensor without data of the shape of `t`."""
    return FAST["F"].empty(tuple(t.shape), device="meta", dtype=t._t)


FAST["Wrapped"] = Wrapped
FAST["drawing"] = drawing
FAST["get_wrapped"] = get_item
FAST["set_wrapped"] = set_item
