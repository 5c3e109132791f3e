"""Applying an op to tensors: unwrap, promote, compute, wrap, record.

This is the general way, taken by every op that is not one of the short element-wise functions that
derive.py writes out. `finish` wraps a result and records the node; `OpNode` runs the op's
derivative rules backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import anomaly
from ..autograd.grad_mode import FAST, is_grad_enabled
from ..autograd.node import MultiNode, OutputSlot, Push, deliver, skip, sum_to_shape
from ..backends import meta
from ..dtypes import Operand, result_dtype
from ..errors import ArgumentError
from ..ops.readers import RAW, evaluator
from ..ops.record import COMPARE, TO_FLOAT, Op, rule_names
from . import core
from .core import TensorCore, from_array, raise_freed, raise_modified, storage_of, version
from .recording import derive_recorder

NUMBERS = (int, float, complex, bool, np.number, np.bool_)


class SavedInput:
    """An input kept for backward, with the version it had."""

    __slots__ = ("tensor", "version")

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        self.version = version(tensor)

    def get(self, node: Any, recorded: bool) -> Any:
        """The array (or the tensor, when recording), if nobody has changed it since."""
        if version(self.tensor) != self.version:
            raise_modified(self.tensor, self.version, anomaly.place_of(node), node.name())
        return self.tensor if recorded else self.tensor._d


class SavedOutput:
    """An output kept for backward; it must not hold the tensor, whose node holds this."""

    __slots__ = ("array", "index", "storage", "version")

    def __init__(self, tensor: Any, index: int) -> None:
        self.array, self.index = tensor._d, index
        self.storage = storage_of(tensor)
        self.version = self.storage.version

    def get(self, node: Any, recorded: bool) -> Any:
        """The array (or a tensor at the same place of the tape), if nobody has changed it."""
        if self.storage.version != self.version:
            stand_in = from_array(self.array)
            stand_in._s = self.storage
            raise_modified(stand_in, self.version, anomaly.place_of(node), node.name())
        if not recorded:
            return self.array
        out = from_array(self.array)
        out._s = self.storage
        if out._t.inexact:
            out._gf = node if node.outputs == 1 else OutputSlot(node, self.index)
        return out


class OpNode(MultiNode):
    """A recorded application of an op.

    ``targets`` lists what needs a gradient: a tensor argument's name, its index into ``more`` (or a
    range for a list), and its shape and dtype.
    """

    __slots__ = ("made", "more", "saved", "targets")
    op: Op

    def bw(self, g: Any, push: Push, keep: bool) -> None:
        self._run(g, push, keep, recorded=False)

    def bwg(self, g: Any, push: Push, keep: bool) -> None:
        self._run(g, push, keep, recorded=True)

    def _run(self, g: Any, push: Push, keep: bool, *, recorded: bool) -> None:
        saved = self.saved
        if saved is None:
            raise_freed(self.name())
        if self.made is not None:
            g = self._fill([g] if self.outputs == 1 else g, recorded)
        if recorded and self.op.decompose is not None:
            results = _through_decomposition(self, g)
        else:
            results = _by_rules(self, g, recorded)
        if not keep:
            self.saved = None
        more = self.more
        for (_, where, shape, dtype), r in zip(self.targets, results, strict=True):
            if where.__class__ is int:
                _hand_on(more[where], r, shape, dtype, push, recorded)
            else:
                for i, number in enumerate(where):
                    if more[number] is not None:
                        part = None if r is None else r[i]
                        _hand_on(more[number], part, shape[i], dtype[i], push, recorded)

    def _fill(self, g: list[Any], recorded: bool) -> list[Any]:
        filled = []
        for part, (shape, dtype) in zip(g, self.made, strict=True):
            if part is None and dtype.inexact:
                part = np.zeros(shape, dtype.numpy_dtype)
                part = from_array(part) if recorded else part
            filled.append(part)
        return filled


def _by_rules(node: OpNode, g: Any, recorded: bool) -> list[Any]:
    reader = FAST["F"] if recorded else RAW
    results: list[Any] = []
    shared: Any = None
    for name, where, _, _ in node.targets:
        if where.__class__ is int and node.more[where].dep < 0:
            results.append(None)  # nobody asked for this one
            continue
        names, rule = rule_of(node.op, name)
        if shared is not None and shared[0] is rule:
            results.append(shared[1][name])
            continue
        r = rule(reader, g, *_unpack(node, names, recorded))
        if r.__class__ is dict:  # one rule for several arguments
            shared = (rule, r)
            r = r[name]
        results.append(r)
    return results


def _unpack(node: OpNode, names: Sequence[str], recorded: bool) -> list[Any]:
    values = []
    for name in names:
        v = node.saved[name]
        c = v.__class__
        if c is SavedInput or c is SavedOutput:
            v = v.get(node, recorded)
        elif c is SavedList:
            v = [s if s is None else s.get(node, recorded) for s in v]
        elif c is SavedExtra:
            v = from_array(v.array) if recorded and v.array is not None else v.array
        values.append(v)
    return values


def _through_decomposition(node: OpNode, g: Any) -> list[Any]:
    """Gradients by differentiating the op's decomposition, so that they can be differentiated."""
    from ..autograd.decomposition import differentiate

    op = node.op
    names = list(op.signature.parameters)
    values = dict(zip(names, _unpack(node, names, True), strict=True))
    wanted = [name for name, *_ in node.targets]
    return differentiate(op, values, wanted, g)


def _hand_on(e: Any, r: Any, shape: Any, dtype: Any, push: Push, recorded: bool) -> None:
    if r is None:
        skip(e, push)
        return
    if not recorded:
        if r.shape != shape:
            r = sum_to_shape(r, shape)
        if r.dtype != dtype.numpy_dtype:
            r = (r.real if r.dtype.kind == "c" and not dtype.is_complex else r).astype(
                dtype.numpy_dtype
            )
    else:
        if r.shape != shape:
            r = FAST["F"].sum_to_size(r, shape)
        if r._t is not dtype:
            r = (FAST["F"].real(r) if r._t.is_complex and not dtype.is_complex else r).to(dtype)
    deliver(e, r, push)


class SavedList(list[Any]):
    """Saved inputs of a list argument."""


class SavedExtra:
    """An array the forward function made for backward alone."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array


_RULES: dict[tuple[Op, str], tuple[tuple[str, ...], Any]] = {}


def rule_of(op: Op, name: str) -> tuple[tuple[str, ...], Any]:
    """The reverse rule for the tensor argument `name`, and the names it asks for."""
    found = _RULES.get((op, name))
    if found is None:
        if name in op.grad:
            found = (rule_names(op.grad[name]), op.grad[name])
        elif name in op.partials:
            partial = op.partials[name]
            code = partial.__code__
            asked = code.co_varnames[1 : code.co_argcount]

            def rule(m: Any, g: Any, *values: Any) -> Any:
                p = partial(m, *values)
                return g * (m.conj(p) if hasattr(p, "dtype") else p)

            found = (asked, rule)
        else:
            found = ((), _no_rule(op, name))
        _RULES[op, name] = found
    return found


def _no_rule(op: Op, name: str) -> Any:
    def rule(m: Any, g: Any) -> Any:
        raise RuntimeError(f"derivative for {op.name} with respect to '{name}' is not implemented")

    return rule


def finish(op: Op, result: Any, tensors: tuple[Any, ...], values: dict[str, Any]) -> Any:
    """Wrap what an op's forward function returned, and record a node if an input needs one.

    `tensors` are the tensor arguments in the op's order; `values` are all arguments by name.
    """
    parts = result if isinstance(result, tuple) else (result,)
    count = op.outputs or len(parts)
    outs = [from_array(p) for p in parts[:count]]
    if op.differentiable and (FAST["PLAIN"] or is_grad_enabled()):
        for name, t in zip(op.tensors, tensors, strict=True):
            if name in op.lists:
                if any(x is not None and x._gf is not None for x in t):
                    break
            elif t is not None and t._gf is not None:
                break
        else:
            return outs[0] if op.outputs == 1 else op.result_class(*outs)
        _record(op, outs, parts[count:], tensors, values)
    return outs[0] if op.outputs == 1 else op.result_class(*outs)


_CLASSES: dict[Op, type[OpNode]] = {}


def node_class(op: Op) -> type[OpNode]:
    """The node class of `op`, named as PyTorch names it."""
    made = _CLASSES.get(op)
    if made is None:
        made = type(op.node_name, (OpNode,), {"__slots__": (), "op": op})
        _CLASSES[op] = made
    return made


def _record(
    op: Op, outs: list[Any], extras: Sequence[Any], tensors: tuple[Any, ...], values: dict[str, Any]
) -> None:
    record = _RECORDERS.get(op, _find_recorder)
    if record is _find_recorder:
        record = _RECORDERS[op] = _find_recorder(op)
    if record is not None:
        if outs[0]._t.inexact:
            record(outs[0], extras, *[values[name] for name in op.signature.parameters])
        return
    n: Any = core.new(node_class(op))
    n.dep, n.g, n.hooks, n.outputs = 0, None, None, len(outs)
    trace = FAST["TRACE"]
    n.at = anomaly.caller() if trace is None else trace()
    edges: list[Any] = []
    targets: list[Any] = []
    lists = op.lists
    for name, t in zip(op.tensors, tensors, strict=True):
        if name in lists:
            if any(x._gf is not None for x in t):
                where = range(len(edges), len(edges) + len(t))
                edges.extend(x._gf for x in t)
                targets.append((name, where, [x._d.shape for x in t], [x._t for x in t]))
        elif t is not None and t._gf is not None:
            targets.append((name, len(edges), t._d.shape, t._t))
            edges.append(t._gf)
    n.more, n.targets = tuple(edges), targets
    n.made = [(o._d.shape, o._t) for o in outs] if op.outputs != 1 else None
    key = (op, *[target[0] for target in targets])
    plan = _PLANS.get(key) or _plan_saving(op, key)
    n.saved = {name: keep(values, outs, extras, detail) for name, keep, detail in plan}
    if len(outs) == 1:
        if outs[0]._t.inexact:
            outs[0]._gf = n
        return
    for i, o in enumerate(outs):
        if o._t.inexact and i not in op.fixed:
            o._gf = OutputSlot(n, i)


_RECORDERS: dict[Op, Any] = {}


def _find_recorder(op: Op) -> Any:
    """The written-out recorder of `op`, or None where only the general way serves."""
    plain = all(p.kind is not p.VAR_POSITIONAL for p in op.signature.parameters.values())
    if op.lists or op.outputs != 1 or op.decompose is not None or not plain:
        return None
    rules = {n: rule_of(op, n) for n in op.tensors if n in op.grad or n in op.partials}
    return derive_recorder(op, rules, _hand_on)


Keep = Callable[[dict[str, Any], list[Any], Sequence[Any], Any], Any]
_PLANS: dict[Any, list[tuple[str, Keep, Any]]] = {}


def _plan_saving(op: Op, key: tuple[Any, ...]) -> list[tuple[str, Keep, Any]]:
    """How to save each value that the rules of the needed gradients ask for."""
    asked: set[str] = set(op.signature.parameters) if op.decompose is not None else set()
    for name in key[1:]:
        asked.update(rule_of(op, name)[0])
    plan = _PLANS[key] = [(name, *_keeper(op, name)) for name in sorted(asked)]
    return plan


def _keeper(op: Op, name: str) -> tuple[Keep, Any]:
    """The function that saves the value called `name`, and what it needs to know."""
    if name in op.lists:
        return (lambda v, o, x, k: SavedList(t if t is None else SavedInput(t) for t in v[k])), name
    if name in op.tensors:
        return _keep_input, name
    if name in op.signature.parameters:
        return (lambda v, o, x, k: v[k]), name
    if name in op.extras:
        return (lambda v, o, x, k: SavedExtra(x[k])), op.extras.index(name)
    if name == "out" or (name.startswith("out") and name[3:].isdigit()):
        return (lambda v, o, x, k: SavedOutput(o[k], k)), int(name[3:] or 0)
    argument, _, what = name.rpartition("_")
    if argument in op.tensors and what == "shape":
        if argument in op.lists:
            return (lambda v, o, x, k: [t._d.shape for t in v[k]]), argument
        return (lambda v, o, x, k: v[k]._d.shape), argument
    if argument in op.tensors and what == "dtype":
        return (lambda v, o, x, k: v[k]._t), argument
    raise TypeError(f"{op.name}: a derivative rule asks for {name!r}, which is not to be had")


def _keep_input(values: dict[str, Any], outs: list[Any], extras: Sequence[Any], name: str) -> Any:
    v = values[name]
    return SavedInput(v) if isinstance(v, TensorCore) else v


# ---------------------------------------------------------------- element-wise ops, the general way
def operand(x: Any) -> Operand:
    """What promotion needs to know of `x`."""
    if isinstance(x, TensorCore):
        return Operand(x._t, 1 if x._d.ndim == 0 else 2)
    return Operand(dtypes.scalar_dtype(x), 0)


def compute_dtype(op: Op, tensors: Sequence[Any]) -> dtypes.dtype:
    """The dtype an element-wise op computes in."""
    t = result_dtype([operand(x) for x in tensors])
    if op.promote == TO_FLOAT and not t.inexact:
        return dtypes.get_default_dtype()
    if op.result == "number" and t is dtypes.bool_:
        return dtypes.int64
    return t


def as_operand(x: Any, numpy_dtype: Any) -> Any:
    """The array behind a tensor or number, cast for computation."""
    if isinstance(x, TensorCore):
        d = x._d
        return d if d.dtype == numpy_dtype else d.astype(numpy_dtype)
    if numpy_dtype.kind in "iu" and not isinstance(x, (int, np.integer)):
        x = int(x)
    if numpy_dtype.kind in "iu":
        bits = numpy_dtype.itemsize * 8
        x = int(x) & ((1 << bits) - 1)
        if numpy_dtype.kind == "i" and x >> (bits - 1):
            x -= 1 << bits
    return np.asarray(x).astype(numpy_dtype)


def pointwise(op: Op, tensors: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Apply an element-wise op to tensors and numbers of any dtypes."""
    check_operands(op, tensors)
    if not any(isinstance(x, TensorCore) for x in tensors):
        tensors = (from_array(np.asarray(tensors[0])), *tensors[1:])
    t = compute_dtype(op, tensors)
    if op.refuse and "bifc"[t.category] in op.refuse:
        raise NotImplementedError(f"'{op.name}' not implemented for '{t.title}' on the CPU")
    if "B" in op.refuse and any(operand(x).dtype is dtypes.bool_ for x in tensors):
        raise RuntimeError(
            f"{op.name}: bool operands are not supported, use logical or bitwise ops"
        )
    check_same_device(op, tensors)
    if t.numpy_dtype is None:
        raise RuntimeError(f"{op.name}: {t} has no arithmetic on the CPU")
    half = t in dtypes.HALF or t in dtypes.FLOAT8
    wide = np.dtype(np.float32) if half else t.numpy_dtype
    arrays = [as_operand(x, wide) for x in tensors]
    try:
        if all(a.__class__ is np.ndarray for a in arrays):
            d = evaluator(op)(*arrays, *params.values())
        else:
            d = meta.elementwise(lambda *a: evaluator(op)(*a, *params.values()), arrays)
    except (ValueError, TypeError) as error:
        raise explain(op, tensors, error) from None
    d = core.box(d)
    if op.promote != COMPARE:
        kind = (t.real if op.result == "real" else t).numpy_dtype
        if d.dtype != kind:
            d = d.astype(kind)
    out = from_array(d)
    if op.differentiable and out._t.inexact and (FAST["PLAIN"] or is_grad_enabled()):
        real = tuple(x if isinstance(x, TensorCore) else None for x in tensors)
        if any(x is not None and x._gf is not None for x in real):
            values = dict(zip(op.tensors, tensors, strict=True)) | params
            _record(op, [out], (), real, _numbers_as_arrays(values, op, wide))
    return out


def check_operands(op: Op, tensors: Sequence[Any]) -> None:
    """Refuse what is neither a tensor nor a number where the op takes one."""
    real = any(isinstance(x, TensorCore) for x in tensors)
    for place, (name, x) in enumerate(zip(op.tensors, tensors, strict=True)):
        if isinstance(x, TensorCore):
            continue
        allowed = {"right": place > 0, "one": real, "both": True, "none": False}[op.numbers]
        if not (allowed and isinstance(x, NUMBERS)):
            raise TypeError(
                f"{op.name}(): argument '{name}' (position {place + 1}) must be Tensor, not "
                f"{type(x).__name__}"
            )


def _numbers_as_arrays(values: dict[str, Any], op: Op, wide: Any) -> dict[str, Any]:
    return {
        k: v
        if k not in op.tensors or isinstance(v, TensorCore)
        else from_array(as_operand(v, wide))
        for k, v in values.items()
    }


def check_same_device(op: Op, tensors: Sequence[Any]) -> None:
    """Refuse tensors of several devices, except 0-d ones."""
    seen = None
    for x in tensors:
        if isinstance(x, TensorCore) and x._d.ndim:
            where = core.device_of(x._d)
            if seen is not None and where != seen:
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two "
                    f"devices, {seen} and {where}! (when checking arguments of {op.name})"
                )
            seen = where


def explain(op: Op, tensors: Sequence[Any], error: Exception) -> Exception:
    """The error PyTorch would raise where NumPy raised `error`, with the op and its shapes."""
    flat = [y for x in tensors for y in (x if isinstance(x, (list, tuple)) else [x])]
    if isinstance(error, AttributeError):
        check_same_device(op, flat)
        return error
    shapes = [list(x._d.shape) for x in flat if isinstance(x, TensorCore)]
    text = str(error)
    if not isinstance(error, (ValueError, TypeError)) or isinstance(error, ArgumentError):
        shown = all(str(s) in text or "x".join(map(str, s)) in text for s in shapes)
        if not shown or op.name not in text:
            error.args = (f"{text} ({op.name}: shapes {', '.join(map(str, shapes))})",)
        return error
    if "broadcast" in text and len(shapes) >= 2:
        return RuntimeError(_broadcast_error(op, shapes))
    # NumPy's own subclasses cannot be made from a message.
    kinds: tuple[type[Exception], ...] = (IndexError, TypeError, NotImplementedError)
    kind = next((k for k in kinds if isinstance(error, k)), RuntimeError)
    return kind(f"{op.name}(): {text} (shapes {', '.join(map(str, shapes))})")


def _broadcast_error(op: Op, shapes: list[list[int]]) -> str:
    a, b = shapes[0], shapes[1]
    for back in range(1, min(len(a), len(b)) + 1):
        if a[-back] != b[-back] and 1 not in (a[-back], b[-back]):
            where = max(len(a), len(b)) - back
            return (
                f"The size of tensor a ({a[-back]}) must match the size of tensor b ({b[-back]}) "
                f"at non-singleton dimension {where} ({op.name}: shapes {a} and {b})"
            )
    return f"{op.name}: shapes {', '.join(map(str, shapes))} cannot be broadcast together"
