"""Tensors over composed arrays: sparse and nested ones. Values, and a pattern of their places.

Like a dual tensor, such a tensor has no array of its own: its ``_d`` is guarded, so that the short
functions pass it on to `_interpret`, which looks the op up among the rules of its kind. Most rules
compute on the values and put the result into the same pattern, so derivatives follow from two
operations that undo each other: `values_of` and `with_values`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .. import devices, dtypes
from ..autograd import anomaly
from ..autograd.grad_mode import FAST, is_grad_enabled
from ..autograd.node import Node, Push, deliver, skip
from ..backends.nested import NestedArray
from ..ops.record import Op
from ..ops.shapes import wrap_dim
from . import core
from .core import array_of, from_array
from .inplace import check_leaf, check_writable, note_change, write
from .shape import Size
from .tensor import Tensor

_set_array = core.TensorCore.__dict__["_d"].__set__


def _guard(t: Any) -> Any:
    raise AttributeError(f"a tensor of layout {array_of(t).layout} has no array of its own")


class ComposedTensor(Tensor):
    """The base of sparse and nested tensors."""

    _d = property(_guard, _set_array)

    @classmethod
    def of(cls, array: Any) -> Any:
        """The tensor over a composed array."""
        out: Any = core.new(cls)
        _set_array(out, array)
        out._t = dtypes.from_numpy_dtype(array.dtype)
        out._gf = out._grad = out._s = out._view = None
        out._v = 0
        return out if FAST["PLAIN"] else core.mark(out)

    # ------------------------------------------------------------ facts
    @property
    def shape(self) -> Any:
        return Size(array_of(self).shape)

    @property
    def ndim(self) -> int:
        return int(array_of(self).ndim)

    @property
    def device(self) -> devices.device:
        return devices.CPU

    @property
    def layout(self) -> devices.layout:
        found: devices.layout = array_of(self).layout
        return found

    def size(self, dim: int | None = None) -> Any:
        shape = self.shape
        return shape if dim is None else shape[wrap_dim(dim, len(shape))]

    def dim(self) -> int:
        return self.ndim

    ndimension = dim

    def numel(self) -> int:
        return int(array_of(self).size)

    nelement = numel

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return int(self.shape[0])

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self.item())

    def _as(self, kind: type) -> Any:
        return kind(self.item())

    # ------------------------------------------------------------ autograd
    def _accumulate(self, g: Any) -> None:
        held = self._grad
        if held is not None:
            self._grad = core.accumulated(held, g)
        else:
            self._grad = from_array(g.astype(self._t.numpy_dtype))

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        from ..autograd.interface import backward

        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def detach(self) -> Any:
        out = from_array(array_of(self))
        out._s = core.storage_of(self)
        return out

    @property
    def data(self) -> Any:
        return from_array(array_of(self))

    @data.setter
    def data(self, value: Any) -> None:
        _set_array(self, array_of(value))
        self._t = value._t

    level = 0
    """Below the levels of function transforms."""

    def change_directly(self, op: Op, t: Any, args: tuple[Any, ...], named: dict[str, Any]) -> bool:
        """Add this tensor to the dense tensor `t` in place, if that is all there is to do."""
        if op.name != "add" or len(args) != 1 or args[0] is not self or named.keys() - {"alpha"}:
            return False
        alpha, into = named.get("alpha", 1), getattr(t, "_d", None)
        plain = isinstance(alpha, (int, float)) and t._t is self._t and t.shape == self.shape
        if into is None or not plain or is_recorded(t, self):
            return False
        check_writable(t, "add_")
        array_of(self).added_to(into, alpha)
        note_change(t, "add_")
        return True

    def change(self, t: Any, result: Any, where: str) -> Any:
        """Make `t`, composed or dense, what an op in place gave."""
        check_leaf(t, where)
        recording = FAST["PLAIN"] or is_grad_enabled()
        if not isinstance(t, ComposedTensor):
            dense = result.to_dense() if isinstance(result, ComposedTensor) else result
            write(t, dense, where, recording)
            return t
        if not isinstance(result, ComposedTensor) or result.layout is not t.layout:
            raise RuntimeError(
                f"{where}: a tensor of layout {result.layout} cannot be put into one of layout "
                f"{t.layout}"
            )
        core.check_inference(t)
        if not dtypes.can_cast(result._t, t._t):
            raise RuntimeError(
                f"{where}: result type {result._t.title} can't be cast to the desired output type "
                f"{t._t.title}"
            )
        array_of(t).assign(array_of(result).astype(t._t.numpy_dtype, copy=False))
        core.bump(t)
        if recording:
            t._gf = result._gf
        return t

    def as_parameter(self, requires_grad: bool) -> Any:
        """A Parameter of the same values and pattern."""
        made = _parameter_class(type(self)).of(array_of(self))
        return made.requires_grad_() if requires_grad else made

    def made_like(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """What a creating `function` such as ``zeros_like`` makes of this tensor."""
        raise NotImplementedError

    def _interpret(self, op: Op, tensors: tuple[Any, ...], values: dict[str, Any]) -> Any:
        named = {**values, **dict(zip(op.tensors, tensors, strict=True))}
        return self.interpret(op, {n: named[n] for n in op.signature.parameters if n in named})

    def interpret(self, op: Op, arguments: dict[str, Any]) -> Any:
        """The value of `op` of these arguments, one of which is this tensor."""
        raise NotImplementedError


@functools.cache
def _parameter_class(kind: Any) -> Any:
    """The class of parameters that are composed tensors of the class `kind`."""
    from .parameter import Parameter

    def __repr__(self: Any, *, tensor_contents: Any = None) -> str:
        return "Parameter containing:\n" + kind.__repr__(self)

    space = {"__repr__": __repr__, "__module__": __name__}
    return type(f"{kind.__name__}Parameter", (kind, Parameter), space)


# ---------------------------------------------------------------- the tape
class PatternNode(Node):
    """The node of an operation on composed tensors: for each edge a rule from gradient to gradient.

    Rules are functions of tensors, built of operations that are recorded themselves.
    """

    __slots__ = ("label", "more", "rules")
    label: str
    rules: list[tuple[Callable[[Any], Any], Any]] | None

    def name(self) -> str:
        return self.label

    def bw(self, g: Any, push: Push, keep: bool) -> None:
        self._run(from_array(g), push, keep, array_of)

    def bwg(self, g: Any, push: Push, keep: bool) -> None:
        self._run(g, push, keep, None)

    def _run(self, g: Any, push: Push, keep: bool, unwrap: Callable[[Any], Any] | None) -> None:
        if self.rules is None:
            core.raise_freed(self.label)
        for e, (rule, dtype) in zip(self.more, self.rules or (), strict=True):
            if e is None:
                continue
            if e.dep <= 0:
                skip(e, push)
                continue
            r = rule(g)
            if r._t is not dtype:
                r = (FAST["F"].real(r) if r._t.is_complex and not dtype.is_complex else r).to(dtype)
            deliver(e, r if unwrap is None else unwrap(r), push)
        if not keep:
            self.rules = None


def is_recorded(*tensors: Any) -> bool:
    """Whether an operation on these tensors goes on the tape."""
    needed = any(getattr(t, "_gf", None) is not None for t in tensors)
    return needed and (FAST["PLAIN"] or is_grad_enabled())


def record(out: Any, label: str, rules: Sequence[tuple[Any, Callable[[Any], Any]]]) -> Any:
    """Give the fresh tensor `out` a node called `label` with a rule for each input; `out`."""
    wanted = [(t, rule) for t, rule in rules if t._gf is not None]
    if not wanted or not out._t.inexact or not is_recorded(*[t for t, _ in wanted]):
        return out
    node: Any = core.new(PatternNode)
    node.dep, node.g, node.hooks = 0, None, None
    trace = FAST["TRACE"]
    node.at = anomaly.caller() if trace is None else trace()
    node.label = label
    node.more = tuple(t._gf for t, _ in wanted)
    node.rules = [(rule, t._t) for t, rule in wanted]
    out._gf = node
    return out


def values_of(x: Any) -> Any:
    """The values of a composed tensor, none of whose places repeat, as a dense tensor."""
    held = array_of(x)
    out = from_array(held.values)
    if not is_recorded(x):
        return out
    pattern = held.with_values(held.values)  # what `x` holds may be changed in place
    return record(out, "ValuesBackward0", [(x, lambda g: with_values(pattern, g))])


def with_values(pattern: Any, values: Any, label: str = "") -> Any:
    """The tensor with the dense tensor `values` at the places of the composed array `pattern`."""
    out = from_array(pattern.with_values(array_of(values)))
    if not is_recorded(values):
        return out
    kind = type(out)
    label = label or f"{kind.__name__}Backward0"
    return record(out, label, [(values, lambda g: kind.pick(g, pattern))])


def tensor_over(array: Any) -> Any:
    """The tensor over a composed array."""
    if isinstance(array, NestedArray):
        from .nested import NestedTensor as kind
    else:
        from .sparse import SparseTensor as kind
    return kind.of(array)


def renamed(out: Any, label: str) -> Any:
    """`out`, with `label` as the name of its node where a composed operation made it."""
    if isinstance(out._gf, PatternNode):
        out._gf.label = label
    return out


__all__ = [
    "ComposedTensor",
    "PatternNode",
    "is_recorded",
    "record",
    "renamed",
    "tensor_over",
    "values_of",
    "with_values",
]
