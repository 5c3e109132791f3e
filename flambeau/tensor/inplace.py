"""In-place operations and ``out=``.

An in-place op computes its out-of-place twin, writes the result into the tensor's memory, counts
the change and takes over the twin's node. What the twin's derivative needs of the old value is kept
as a copy, so a later change of the tensor does not spoil it. Where nothing is recorded, an
element-wise op, or one with a writer, computes right into the memory instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import anomaly
from ..autograd.grad_mode import FAST, is_grad_enabled
from ..autograd.node import move_retention
from ..backends.cpu.selection import put_at
from ..ops.record import COMPARE, Op, find
from . import apply
from .core import TensorCore, bump, check_inference, from_array, is_leaf_node
from .recording import rule_of
from .storage import INFERENCE
from .views import check_view, rebase, renew_views, view_alias


def check_writable(t: Any, where: str) -> None:
    """Refuse to write into shared or read-only memory, and into tensors of inference mode."""
    check_inference(t)
    if not t._d.flags.writeable:
        raise RuntimeError(
            f"{where}: unsupported operation: more than one element of the written-to tensor "
            "refers to a single memory location (or its memory is read-only). Please clone() the "
            "tensor before performing the operation."
        )


def check_leaf(t: Any, where: str) -> None:
    """Refuse to change a leaf that requires a gradient, or a view of one, while recording."""
    if t._gf is None or not is_grad_enabled():
        return
    if is_leaf_node(t._gf):
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation "
            f"({where} on a tensor of shape {list(t.shape)})."
        )
    if t._view is not None:
        check_view(t, where)


def saves_input(op: Op) -> bool:
    """Whether a derivative rule of `op` reads the op's first tensor."""
    if op.family == "composite" or op.decompose is not None:
        return True
    first = op.tensors[0]
    return any(first in rule_of(op, n)[0] for n in op.tensors if n in op.grad or n in op.partials)


def run_inplace(op: Op, function: Callable[..., Any], t: Any, *args: Any, **kwargs: Any) -> Any:
    """Apply `op` to `t` in place; see the module's docstring."""
    if t._interpret is not None or any(getattr(a, "_interpret", None) is not None for a in args):
        return _change_wrapped(op, function, t, args, kwargs)
    where = f"{op.name}_"
    recording = FAST["PLAIN"] or is_grad_enabled()
    if recording and t._gf is not None:
        check_leaf(t, where)
    check_writable(t, where)
    operand = t
    alias = None
    given = (*args, *kwargs.values())
    others = any(isinstance(a, TensorCore) and a._gf is not None for a in given)
    graded = recording and (t._gf is not None or others)
    if not graded and (_write_formula(op, t, args, kwargs) or _write_part(op, t, args, kwargs)):
        note_change(t, where)
        return t
    if recording:
        if (t._gf is not None or others) and saves_input(op):
            operand = from_array(t._d.copy())
            operand._gf = t._gf
        if t._view is not None and (t._gf is not None or others):
            check_view(t, where)
            alias = view_alias(operand)
            if t._gf is None:
                alias._gf = None
            operand = alias
    result = function(operand, *args, **kwargs)
    if alias is not None:
        alias._gf = t._gf  # second derivatives follow the saved value to its true past
    if result._interpret is not None:  # random numbers inside a transformation
        return result.change(t, result, where)
    write(t, result, where, recording)
    return t


def _write_formula(op: Op, t: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Compute an element-wise op into its first argument; False where it takes another way."""
    count = len(op.tensors) - 1
    if op.family != "pointwise" or len(args) < count or not kwargs.keys() <= set(op.params):
        return False
    given = dict(zip(op.params, args[count:], strict=False))
    params = {**op.defaults, **given, **kwargs}
    if len(params) != len(op.params) or len(args) > count + len(op.params):
        return False
    ordered = {p: params[p] for p in op.params}
    return apply.pointwise_into(op, t, args[:count], ordered)


def _write_part(op: Op, t: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Let the writer of an op change `t` itself; False where it must be given a copy."""
    target = t._d
    if op.writer is None or target.__class__ is not np.ndarray or not target.flags.carray:
        return False
    names = op.signature.parameters.keys()
    values = dict(zip(names, (t, *args), strict=False)) | kwargs
    complete = len(values) == 1 + len(args) + len(kwargs) and not values.keys() - names
    if not complete or names - op.defaults.keys() - values.keys():
        return False
    for name, value in list(values.items())[1:]:
        if not _is_apart(value, target, name in op.tensors):
            return False
    tensors = tuple(values[name] for name in op.tensors)
    arrays = {n: x._d if n in op.tensors else x for n, x in values.items()}
    try:
        op.writer(**arrays)
    except FAST["MISTAKES"] as error:
        raise apply.explain(op, tensors, error) from None
    return True


def _is_apart(value: Any, target: Any, is_tensor: bool) -> bool:
    """Whether the tensors in an argument have CPU memory that shares nothing with `target`."""
    for x in value if isinstance(value, (tuple, list)) else (value,):
        if isinstance(x, TensorCore):
            if x._d.__class__ is not np.ndarray or np.may_share_memory(x._d, target):
                return False
        elif is_tensor:
            return False
    return True


def _change_wrapped(
    op: Op, function: Callable[..., Any], t: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`run_inplace` where a tensor is interpreted; the highest level says how `t` changes."""
    levels = [x for x in (t, *args) if hasattr(x, "level")]
    if not levels:
        return become(t, function(t, *args, **kwargs))
    top = max(levels, key=lambda x: x.level)
    directly = getattr(top, "change_directly", None)
    if directly is not None and directly(op, t, args, kwargs):
        return t
    recorded = is_grad_enabled() and any(
        x.requires_grad for x in (t, *args) if isinstance(x, TensorCore)
    )
    operand = t.clone() if recorded and saves_input(op) else t
    result = function(operand, *args, **kwargs)
    return top.change(t, result, f"{op.name}_")


def become(t: Any, result: Any) -> Any:
    """Make `t` what an interpreted in-place op gave: the same object with the result's parts."""
    if type(t) is not type(result):
        t.__class__ = type(result)
    t.__dict__.update(result.__dict__)
    t._t, t._gf = result._t, result._gf
    return t


def write(t: Any, result: Any, where: str, recording: bool) -> None:
    """Put the values of `result` into `t`'s memory and take over its history."""
    d = result._d
    if d.shape != t._d.shape:
        raise RuntimeError(
            f"{where}: output with shape {list(t._d.shape)} doesn't match the broadcast shape "
            f"{list(d.shape)}"
        )
    if not dtypes.can_cast(result._t, t._t):
        raise RuntimeError(
            f"{where}: result type {result._t.title} can't be cast to the desired output type "
            f"{t._t.title}"
        )
    if d is not t._d and t._d.__class__ is np.ndarray:
        np.copyto(t._d, d, casting="unsafe")
    note_change(t, where)
    if not recording:
        return
    adopt_history(t, result._gf, where)


def note_change(t: Any, where: str) -> None:
    """Count an in-place change and remember where it was made."""
    bump(t)
    if t._s is not None:
        t._s.changed_at = (where, anomaly.caller())
    elif FAST["TRACE"] is not None:
        t.__dict__["_changed_at"] = (where, anomaly.caller())


def adopt_history(t: Any, node: Any, where: str) -> None:
    """Make `node` the history of `t` after an in-place change."""
    if t._view is not None and (node is not None or t._gf is not None):
        rebase(t, node, where)
        return
    if node is None and t._gf is None:
        return
    saved = t._s is not None and getattr(t._gf, "v_out", None) is t._s
    move_retention(t._gf, node)
    t._gf = node
    if t._s is not None and t._view is None:
        renew_views(t, owned=int(saved))


def _is_simple(t: Any) -> bool:
    """Whether `t` can be written to with no more ado than counting the change."""
    d = t._d
    plain = d.__class__ is np.ndarray and d.flags.writeable and t._s is not INFERENCE
    return plain and (t._gf is None or not (FAST["PLAIN"] or is_grad_enabled()))


def _write_zero(t: Any, *rest: Any, **more: Any) -> bool:
    if rest or more or not _is_simple(t):
        return False
    t._d.fill(0)
    return True


def _write_number(t: Any, value: Any = None, *rest: Any, **more: Any) -> bool:
    plain = (value.__class__ is float or value.__class__ is int) and t._t.plain_float
    if rest or more or not plain or not _is_simple(t):
        return False
    t._d.fill(value)
    return True


def _write_copy(t: Any, source: Any = None, *rest: Any, **more: Any) -> bool:
    if rest or more or source.__class__ is not t.__class__ or source._t is not t._t:
        return False
    if source._d.__class__ is not np.ndarray or source._d.shape != t._d.shape:
        return False
    if (source._gf is not None and (FAST["PLAIN"] or is_grad_enabled())) or not _is_simple(t):
        return False
    np.copyto(t._d, source._d)
    return True


def _write_masked(t: Any, mask: Any = None, value: Any = None, *rest: Any, **more: Any) -> bool:
    plain = (value.__class__ is float or value.__class__ is int) and t._t.plain_float
    if rest or more or not plain or mask._t is not dtypes.bool_ or not _is_simple(t):
        return False
    if mask._d.__class__ is not np.ndarray or mask._d.shape != t._d.shape or not t._d.ndim:
        return False
    try:
        number = dtypes.cast_number(value, t._d.dtype)
    except RuntimeError:
        return False
    put_at(t._d, (mask._d,), number)
    return True


_WRITERS = {
    "zero": _write_zero,
    "fill": _write_number,
    "copy": _write_copy,
    "masked_fill": _write_masked,
}
"""Ops that only put values into a tensor: each writes them where that is simple, or says False."""
_NUMBERS = frozenset((int, float, bool, str))


def _write_by(op: Op) -> Callable[..., bool]:
    """As in `_WRITERS`, for an op with a writer and arguments in their plainest form."""
    parameters = list(op.signature.parameters.values())[1:]
    is_tensor = [p.name in op.tensors for p in parameters if p.kind is not p.KEYWORD_ONLY]
    least = sum(p.default is p.empty for p in parameters)
    writer = op.writer
    assert writer is not None

    def write(t: Any, *args: Any, **kwargs: Any) -> bool:
        target = t._d
        if kwargs or not least <= len(args) <= len(is_tensor) or not _is_simple(t):
            return False
        if not target.flags.carray:
            return False
        given = []
        for x, tensor in zip(args, is_tensor, strict=False):
            if not tensor:
                if x.__class__ not in _NUMBERS:
                    return False
                given.append(x)
                continue
            d = x._d
            graded = x._gf is not None and (FAST["PLAIN"] or is_grad_enabled())
            if graded or d.__class__ is not np.ndarray or np.may_share_memory(d, target):
                return False
            given.append(d)
        try:
            writer(target, *given)
        except FAST["MISTAKES"] as error:
            tensors = (t, *(x for x, tensor in zip(args, is_tensor, strict=False) if tensor))
            raise apply.explain(op, tensors, error) from None
        return True

    return write


FAST["note_change"] = note_change


class _Through:
    """The reader for a composite that hands its first tensor to one op: in place, for this one."""

    writes = True
    methods: dict[str, Callable[..., Any]] = {}

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(FAST["F"], name)
        method = self.methods.get(name)
        if method is None:
            op = find(name)
            if op is None or not (op.family == "pointwise" or op.writer):
                return function
            method = self.methods[name] = derive_inplace(op, function)

        def hand_on(first: Any, *rest: Any, **more: Any) -> Any:
            chosen = method if first is self._target else function
            return chosen(first, *rest, **more)

        return hand_on


def derive_inplace(op: Op, function: Callable[..., Any]) -> Callable[..., Any]:
    """The method ``op_`` of an op."""
    from .elementwise import derive_short_inplace, has_short_form

    # PyTorch's function `op_` takes its first argument as `input`, too.
    def method(input: Any, *args: Any, **kwargs: Any) -> Any:
        return run_inplace(op, function, input, *args, **kwargs)

    if op.through:

        def method(input: Any, *args: Any, **kwargs: Any) -> Any:
            return op.forward(_Through(input), input, *args, **kwargs)

    elif has_short_form(op) and op.promote != COMPARE and not op.result:
        method = derive_short_inplace(op, method)
    elif op.name in _WRITERS:
        method = _written(op, _WRITERS[op.name], method)
    elif op.writer is not None:
        method = _written(op, _write_by(op), method)
    method.__name__ = method.__qualname__ = f"{op.name}_"
    method.__doc__ = f"In-place version of :func:`{op.name}`."
    return method


def _written(
    op: Op, writer: Callable[..., bool], general: Callable[..., Any]
) -> Callable[..., Any]:
    where = f"{op.name}_"

    def method(input: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            done = writer(input, *args, **kwargs)
        except AttributeError:
            done = False  # no array of its own
        if not done:
            return general(input, *args, **kwargs)
        if input._s is None and FAST["TRACE"] is None:
            input._v += 1
        else:
            note_change(input, where)
        return input

    return method
