"""`Function`: operations whose derivative the user writes.

class Square(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import anomaly
from .grad_mode import FAST, is_grad_enabled, no_grad
from .node import MultiNode, OutputSlot, Push, deliver, skip


class FunctionCtx:
    """What `forward` and `backward` share.

    Attributes:
        needs_input_grad: for each argument of `forward`, whether it is a tensor that requires a
            gradient.
    """

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._to_save: tuple[Any, ...] = ()
        self._for_forward: tuple[Any, ...] | None = None
        self._moving = False  # whether `jvp` runs
        self._saved: list[Any] | None = None
        self._dirty: tuple[Any, ...] = ()
        self._non_differentiable: tuple[Any, ...] = ()
        self._materialize = True
        self._once = False  # whether `saved_tensors` can be read a single time
        self._kept = False  # whether another backward may follow the one that runs
        self._node: Any = None  # a weak reference: the node holds this
        self._name = ""

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (inputs, outputs, others, None) for backward, guarded by their versions."""
        self._to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Keep tensors for `jvp`, which without this has those for backward."""
        self._for_forward = tensors

    def mark_dirty(self, *args: Any) -> None:
        """Say which inputs `forward` changed in place."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Any) -> None:
        """Say which outputs have no gradient."""
        self._non_differentiable = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether gradients that do not arrive are zeros (default) or None."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` kept; RuntimeError if it was freed or changed in place."""
        if self._moving and self._for_forward is not None:
            return self._for_forward
        if self._saved is None:
            if self._once and self._node is not None:
                raise RuntimeError(
                    "saved_tensors can only be accessed once when "
                    "clear_saved_tensors_on_access=True is set on the autograd.Function"
                )
            from ..tensor.core import raise_freed

            if self._node is None:
                return self._to_save
            raise_freed(self._name)
        node = None if self._node is None else self._node()
        tensors = tuple(None if s is None else s.get(node, True) for s in self._saved)
        if self._once:
            self._saved = None
        return tensors

    @property
    def saved_variables(self) -> tuple[Any, ...]:
        """The old name of `saved_tensors`, with a DeprecationWarning."""
        text = "'saved_variables' is deprecated; use 'saved_tensors'"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return self.saved_tensors

    def maybe_clear_saved_tensors(self) -> None:
        """Free in backward what was saved, unless the graph is retained."""
        if self._node is not None and not self._kept:
            self._saved = None

    materialize_grads = property(None, set_materialize_grads)

    # What the calls above have left so far, None for nothing and once `forward` is over.
    @property
    def to_save(self) -> tuple[Any, ...] | None:
        """What `forward` has given to `save_for_backward`."""
        return (self._to_save or None) if self._node is None else None

    @property
    def saved_for_forward(self) -> tuple[Any, ...] | None:
        """What `forward` has given to `save_for_forward`."""
        return self._for_forward if self._node is None else None

    @property
    def dirty_tensors(self) -> tuple[Any, ...] | None:
        """What `forward` has given to `mark_dirty`."""
        return (self._dirty or None) if self._node is None else None

    @property
    def non_differentiable(self) -> tuple[Any, ...] | None:
        """What `forward` has given to `mark_non_differentiable`."""
        return (self._non_differentiable or None) if self._node is None else None

    @property
    def requires_grad(self) -> bool:
        """Whether the call was recorded."""
        return self._node is not None

    def name(self) -> str:
        """What the function's node is called on the tape."""
        return self._name

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for the user's own notes on the node."""
        notes: dict[Any, Any] = self._live_node().metadata
        return notes

    @property
    def next_functions(self) -> Any:
        """The nodes that gradients are passed on to, each with its output's number."""
        return self._live_node().next_functions

    def register_hook(self, fn: Callable[..., Any]) -> Any:
        """Call ``fn(grad_inputs, grad_outputs)`` after the node has run."""
        return self._live_node().register_hook(fn)

    def register_prehook(self, fn: Callable[..., Any]) -> Any:
        """Call ``fn(grad_outputs)`` before the node runs."""
        return self._live_node().register_prehook(fn)

    def _live_node(self) -> Any:
        node = None if self._node is None else self._node()
        if node is None:
            raise RuntimeError("the call of the function was not recorded, so it has no node")
        return node


class FunctionNode(MultiNode):
    """The node of one application of a `Function`."""

    __slots__ = ("cls", "ctx", "made", "more", "positions")

    def name(self) -> str:
        return f"{self.cls.__name__}Backward"

    def __repr__(self) -> str:
        return f"<torch.autograd.function.{self.name()} object at {id(self):#x}>"

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What the function saved."""
        saved: tuple[Any, ...] = self.ctx.saved_tensors
        return saved

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ctx, name)

    def bw(self, g: Any, push: Push, keep: bool) -> None:
        self._run(g, push, keep, recorded=False)

    def bwg(self, g: Any, push: Push, keep: bool) -> None:
        self._run(g, push, keep, recorded=True)

    def _run(self, g: Any, push: Push, keep: bool, *, recorded: bool) -> None:
        from ..tensor.core import from_array

        parts = g if self.outputs > 1 else [g]
        grads = []
        for part, (shape, dtype) in zip(parts, self.made, strict=True):
            if part is None and self.ctx._materialize:
                part = from_array(np.zeros(shape, dtype.numpy_dtype))
            elif part is not None and not recorded:
                part = from_array(part)
            grads.append(part)
        cls = self.cls
        rule = cls.backward if cls.vjp is Function.vjp else cls.vjp
        self.ctx._kept = keep
        answer = rule(self.ctx, grads) if cls.boxed_grads_call else rule(self.ctx, *grads)
        answers = answer if isinstance(answer, tuple) else (answer,)
        self._check_count(answers)
        for place, r in enumerate(answers):
            if r is not None and not hasattr(r, "_t"):
                raise RuntimeError(
                    f"function {self.name()} returned a {type(r).__name__} as gradient {place}: "
                    "expected a Tensor or None"
                )
        if not keep:
            self.ctx._saved = None
        for e, position in zip(self.more, self.positions, strict=True):
            if e is None:
                continue
            r = answers[position] if position < len(answers) else None
            if r is None:
                skip(e, push)
                continue
            deliver(e, self._fitted(r, position, recorded), push)

    def _check_count(self, answers: tuple[Any, ...]) -> None:
        expected = len(self.ctx.needs_input_grad)
        extra = answers[expected:]
        if len(answers) < expected or any(x is not None for x in extra):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected "
                f"{expected}, got {len(answers)})"
            )

    def _fitted(self, r: Any, position: int, recorded: bool) -> Any:
        shape, dtype = self.ctx._input_facts[position]
        from ..tensor.core import array_of

        if tuple(r.shape) != shape:
            try:
                r = r.sum_to_size(shape) if r.ndim >= len(shape) else r.expand(shape)
            except (RuntimeError, ValueError):
                raise RuntimeError(
                    f"Function {self.name()} returned an invalid gradient at index {position} - "
                    f"got {list(r.shape)} but expected shape compatible with {list(shape)}"
                ) from None
        if r._t is not dtype:
            r = r.to(dtype)
        return r if recorded else array_of(r)


class Function(FunctionCtx):
    """Base of custom operations: static methods `forward` and `backward`, called by `apply`.

    `forward` may take ``ctx`` first, or leave that to ``setup_context(ctx, inputs, output)``.
    Inside `vmap` the static method `vmap` says what the operation does for many examples, or
    ``generate_vmap_rule = True`` that its methods can be run on batched tensors as they are.
    """

    generate_vmap_rule = False
    clear_saved_tensors_on_access = False
    """Whether what was saved is let go as soon as it is read, which is once."""
    boxed_grads_call = False
    """Whether `backward` has the gradients as one list, which it may empty, and not one by one."""
    _node_class: type[FunctionNode] = FunctionNode

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        facts = {"__slots__": (), "__module__": FunctionNode.__module__}
        cls._node_class = type(f"{cls.__name__}Backward", (FunctionNode,), facts)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{type(self).__name__} has static methods and is called by apply(): there is no use "
            "in making instances of it",
            DeprecationWarning,
            stacklevel=2,
        )
        super().__init__()

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the result; recording is off inside."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Return the gradient for each argument of `forward`, None where there is none."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Return the tangent of each result for those of the arguments of `forward`."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with "
            "forward mode AD."
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        """Return the results for many examples and the dimensions that count these.

        ``in_dims`` says so of `args`; ``info`` has the ``batch_size`` and the ``randomness``.
        """
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap static method "
            "or set generate_vmap_rule=True."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Keep in ``ctx`` what `backward` needs, where `forward` takes no ``ctx``."""
        raise NotImplementedError("setup_context is not implemented.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Functions are not called on instances: always an error."""
        name = type(self).__name__
        raise RuntimeError(f"{name} has static methods: use {name}.apply(...), not {name}()(...)")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call the function on `args` and record it."""
        wrapped = FAST.get("Wrapped")
        if wrapped is not None and any(isinstance(a, wrapped) for a in args):
            from .function_levels import apply_wrapped

            return apply_wrapped(cls, args, kwargs)
        return cls._applied(args, kwargs)[0]

    @classmethod
    def _applied(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, FunctionCtx]:
        """The results of the call, and what it kept."""
        from ..tensor.core import TensorCore

        needs = tuple(isinstance(a, TensorCore) and a._gf is not None for a in args)
        recording = is_grad_enabled() and any(needs)
        ctx = FunctionCtx()
        ctx.needs_input_grad = needs
        ctx._once = cls.clear_saved_tensors_on_access
        with no_grad():
            if cls._has_setup():
                output = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args, **kwargs)
        outputs = list(output) if isinstance(output, (tuple, list)) else [output]
        tensors = [i for i, o in enumerate(outputs) if isinstance(o, TensorCore)]
        for i in tensors:
            outputs[i] = _own_output(outputs[i], args, ctx)
        if recording and tensors:
            _record(cls, ctx, args, outputs, tensors)
        if not isinstance(output, (tuple, list)):
            return outputs[0], ctx
        return tuple(outputs), ctx

    @classmethod
    def _has_setup(cls) -> bool:
        return cls.setup_context is not Function.setup_context


def _own_output(o: Any, args: Sequence[Any], ctx: FunctionCtx) -> Any:
    """An input returned as it is becomes a view of its own, unless it was changed in place."""
    if any(o is d for d in ctx._dirty):
        return o
    if any(o is a for a in args):
        from ..tensor.core import array_of, from_array, storage_of

        alias = from_array(array_of(o))
        alias._s = storage_of(o)
        return alias
    return o


def _record(
    cls: type[Function],
    ctx: FunctionCtx,
    args: Sequence[Any],
    outputs: list[Any],
    tensors: list[int],
) -> None:
    from ..tensor import core
    from ..tensor.apply import SavedInput, SavedOutput
    from ..tensor.inplace import adopt_history, check_leaf, note_change
    from . import packing

    n: Any = core.new(cls._node_class)
    n.dep, n.g, n.hooks, n.outputs = 0, None, None, len(tensors)
    trace = FAST["TRACE"]
    n.at = anomaly.caller() if trace is None else trace()
    n.cls, n.ctx = cls, ctx
    ctx._node, ctx._name = weakref.ref(n), n.name()
    n.positions = [i for i, a in enumerate(args) if isinstance(a, core.TensorCore)]
    n.more = tuple(args[i]._gf for i in n.positions)
    ctx._input_facts = {  # type: ignore[attr-defined]
        i: (tuple(args[i].shape), args[i]._t) for i in n.positions
    }
    n.made = [(tuple(outputs[i].shape), outputs[i]._t) for i in tensors]
    for number, i in enumerate(tensors):
        o = outputs[i]
        if any(o is x for x in ctx._non_differentiable) or not o._t.inexact:
            continue
        node = n if len(tensors) == 1 else OutputSlot(n, number)
        if any(o is d for d in ctx._dirty):
            check_leaf(o, cls.__name__)
            note_change(o, cls.__name__)
            adopt_history(o, node, cls.__name__)
        else:
            o._gf = node
    saved: list[Any] = []
    for t in ctx._to_save:
        place = next((k for k, i in enumerate(tensors) if outputs[i] is t), None)
        if t is None:
            saved.append(None)
        elif place is not None:
            saved.append(SavedOutput(t, place))
        else:
            saved.append(SavedInput(t))
    if packing.current() is not None:
        saved = packing.pack_saved(saved)
    ctx._saved = saved
    # Outputs among these lead back to the node.
    ctx._to_save = ctx._dirty = ctx._non_differentiable = ()


def once_differentiable(f: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a `backward` whose result cannot be differentiated again."""

    def wrapped(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            return f(ctx, *grads)

    return wrapped
