"""Hooks: functions that a module, or every module, calls around forward and backward."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

from ...autograd.function import Function
from ...autograd.node import RemovableHandle
from ...tensor import Tensor
from .registry import buffer_watchers, module_watchers, parameter_watchers

if TYPE_CHECKING:
    from collections.abc import Callable

    from .module import Module

# Tables that live on an instance only once somebody asked for them.
CALL_TABLES = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
STATE_TABLES = (
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
HOOK_TABLES = frozenset(CALL_TABLES + STATE_TABLES)


class _MarkedHandle(RemovableHandle):
    """A handle whose hook is marked in further tables; removal clears the marks too."""

    def __init__(self, table: dict, marks: tuple[dict, ...]) -> None:
        super().__init__(table)
        self.marks = marks

    def remove(self) -> None:
        super().remove()
        for mark in self.marks:
            mark.pop(self.id, None)


def _add(
    table: OrderedDict, hook: Any, prepend: bool = False, marks: tuple[dict, ...] = ()
) -> RemovableHandle:
    """Puts a hook in its table and marks it in the tables ``marks``."""
    handle = _MarkedHandle(table, marks) if marks else RemovableHandle(table)
    table[handle.id] = hook
    for mark in marks:
        mark[handle.id] = True
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


class _Gate(Function):
    """Passes tensors through; in backward hands all their gradients to one callable at once."""

    @staticmethod
    def forward(
        ctx: Any, at_backward: Callable, zeros: bool, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.at_backward = at_backward
        ctx.set_materialize_grads(zeros)
        ctx.mark_non_differentiable(*(t for t in tensors if not t.requires_grad))
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.at_backward(grads)


class BackwardHook:
    """The full-backward hooks of one call of a module.

    A gate behind the outputs sees ``grad_output``, a gate before the inputs ``grad_input``.
    Gradients of arguments that are no tensors are None.
    """

    def __init__(self, module: Module, hooks: list[Callable], pre_hooks: list[Callable]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_outputs: tuple | None = None
        self.input_places: list[int] | None = None
        self.input_count = 0
        self.output_places: list[int] = []
        self.output_count = 0

    def setup_input_hook(self, args: tuple) -> tuple:
        """Arguments for forward, tensors led through the input gate if any needs a gradient."""
        args, self.input_places = self._gated(args, self._at_inputs, zeros=True)
        self.input_count = len(args)
        return args

    def setup_output_hook(self, result: Any) -> Any:
        """The result of forward, tensors led through the output gate."""
        single = not isinstance(result, tuple)
        outputs = (result,) if single else result
        self.output_count = len(outputs)
        gated, places = self._gated(outputs, self._at_outputs, zeros=False)
        self.output_places = places or []
        if single:
            return gated[0]
        if type(result) is not tuple and hasattr(result, "_make"):
            return type(result)._make(gated)
        return gated

    @staticmethod
    def _gated(values: tuple, at_backward: Callable, zeros: bool) -> tuple[tuple, list[int] | None]:
        """The values with tensors led through a gate, and the places of these.

        With ``zeros`` a gradient that does not arrive counts as zeros, else as None.
        """
        places = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
        if not any(values[i].requires_grad for i in places):
            return values, None
        passed = _Gate.apply(at_backward, zeros, *(values[i] for i in places))
        gated = list(values)
        for i, tensor in zip(places, passed, strict=True):
            gated[i] = tensor
        return tuple(gated), places

    @staticmethod
    def _spread(grads: tuple, places: list[int], count: int) -> tuple:
        spread: list = [None] * count
        for i, grad in zip(places, grads, strict=True):
            spread[i] = grad
        return tuple(spread)

    def _at_outputs(self, grads: tuple) -> tuple:
        spread = self._spread(grads, self.output_places, self.output_count)
        for hook in self.pre_hooks:
            replaced = hook(self.module, spread)
            if replaced is not None:
                spread = self._checked(replaced, len(spread), "Backward pre hook", "grad_output")
        self.grad_outputs = spread
        if self.input_places is None:
            self._run_without_inputs(spread)
        return tuple(spread[i] for i in self.output_places)

    def _run_without_inputs(self, grad_outputs: tuple) -> None:
        """Calls the hooks where no input gate will be reached."""
        if self.hooks:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module "
                "outputs since no inputs require gradients.",
                stacklevel=2,
            )
        for hook in self.hooks:
            replaced = hook(self.module, (None,) * self.input_count, grad_outputs)
            if replaced is not None and any(g is not None for g in _as_tuple(replaced)):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )
        self.grad_outputs = None

    def _at_inputs(self, grads: tuple) -> tuple:
        assert self.input_places is not None
        if self.grad_outputs is None:  # the output had no part in this backward
            return grads
        spread = self._spread(grads, self.input_places, self.input_count)
        for hook in self.hooks:
            replaced = hook(self.module, spread, self.grad_outputs)
            if replaced is not None:
                spread = self._checked(replaced, len(spread), "Backward hook", "grad_input")
        self.grad_outputs = None
        return tuple(spread[i] for i in self.input_places)

    @staticmethod
    def _checked(replaced: Any, expected: int, who: str, what: str) -> tuple:
        replaced = _as_tuple(replaced)
        if len(replaced) != expected:
            raise RuntimeError(
                f"{who} returned an invalid number of {what}, got {len(replaced)}, "
                f"but expected {expected}"
            )
        return replaced


def _as_tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)


# -- hooks on every module -------------------------------------------------------------------

_global_forward_pre_hooks: OrderedDict[int, Any] = OrderedDict()
_global_forward_hooks: OrderedDict[int, Any] = OrderedDict()
_global_forward_hooks_with_kwargs: OrderedDict[int, bool] = OrderedDict()
_global_forward_hooks_always_called: OrderedDict[int, bool] = OrderedDict()
_global_backward_pre_hooks: OrderedDict[int, Any] = OrderedDict()
_global_backward_hooks: OrderedDict[int, Any] = OrderedDict()
_global_is_full_backward_hook: bool | None = None


_EMPTY: dict = {}


def _any_global_hook() -> bool:
    return bool(
        _global_forward_pre_hooks
        or _global_forward_hooks
        or _global_backward_pre_hooks
        or _global_backward_hooks
    )


def _use_global_hooks(on: bool = True) -> None:
    # The plain `__call__` knows nothing of global hooks, so that it costs nothing to have them.
    from .module import Module

    call = Module._call_impl if on else Module._call_plain
    Module.__call__ = call  # type: ignore[method-assign]


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Has every module call ``hook(module, args)`` before forward; a result replaces ``args``."""
    _use_global_hooks()
    return _add(_global_forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Has every module call ``hook(module, args, output)`` after forward.

    A result other than None replaces the output. ``with_kwargs`` passes the keyword arguments
    before the output, ``always_call`` calls the hook even when forward raises.
    """
    _use_global_hooks()
    known = (_global_forward_hooks_with_kwargs, _global_forward_hooks_always_called)
    marks = tuple(t for t, on in zip(known, (with_kwargs, always_call), strict=True) if on)
    return _add(_global_forward_hooks, hook, marks=marks)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Has every module call ``hook(module, grad_output)`` before its backward."""
    _use_global_hooks()
    return _add(_global_backward_pre_hooks, hook)


def _choose_global_backward_kind(full: bool) -> None:
    global _global_is_full_backward_hook
    if _global_is_full_backward_hook is (not full) and _global_backward_hooks:
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global "
            "Module hook. Please use only one of them."
        )
    _global_is_full_backward_hook = full


def register_module_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Old form of `register_module_full_backward_hook`, on the gradients of the last op."""
    _choose_global_backward_kind(full=False)
    _use_global_hooks()
    return _add(_global_backward_hooks, hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Has every module call ``hook(module, grad_input, grad_output)`` in its backward."""
    _choose_global_backward_kind(full=True)
    _use_global_hooks()
    return _add(_global_backward_hooks, hook)


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, name, param)`` at each registration of a parameter."""
    return _add(parameter_watchers, hook)


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, name, buffer)`` at each registration of a buffer."""
    return _add(buffer_watchers, hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, name, submodule)`` at each registration of a submodule."""
    return _add(module_watchers, hook)


# -- hooks on one module ---------------------------------------------------------------------


class _Progress:
    """How far a call has come: the forward hooks called, and the result so far."""

    __slots__ = ("called", "result")

    def __init__(self) -> None:
        self.called: set[int] = set()
        self.result: Any = None


class Hooks:
    """The part of `Module` that registers hooks and calls them around forward."""

    # True on an instance once one of its call tables exists: the only test of a plain call.
    _hooked = False
    _is_full_backward_hook: bool | None = None
    forward: Callable[..., Any]

    def _hook_table(self, name: str) -> OrderedDict:
        """The hook table ``name``, made on first use."""
        table: OrderedDict = OrderedDict()
        object.__setattr__(self, name, table)
        if name in CALL_TABLES:
            object.__setattr__(self, "_hooked", True)
        return table

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, args)`` before forward; a result other than None replaces ``args``.

        With ``with_kwargs`` it is ``hook(module, args, kwargs)`` returning None or both.
        ``prepend`` puts it before the hooks registered so far. Returns a handle to remove it.
        """
        marks = (self._forward_pre_hooks_with_kwargs,) if with_kwargs else ()
        return _add(self._forward_pre_hooks, hook, prepend, marks)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after forward; a result replaces the output.

        With ``with_kwargs`` it is ``hook(module, args, kwargs, output)``; with ``always_call``
        it is called (with output None) even when forward raises. Returns a handle.
        """
        marks = []
        if with_kwargs:
            marks.append(self._forward_hooks_with_kwargs)
        if always_call:
            marks.append(self._forward_hooks_always_called)
        return _add(self._forward_hooks, hook, prepend, tuple(marks))

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, grad_output)`` before the module's backward.

        A result other than None replaces ``grad_output``. Returns a handle.
        """
        return _add(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, grad_input, grad_output)`` when both gradients are known.

        A result other than None replaces ``grad_input``. Returns a handle. Raises RuntimeError
        when the module has hooks of `register_backward_hook`.
        """
        self._choose_backward_kind(full=True)
        return _add(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Old form of `register_full_backward_hook`: sees the gradients of forward's last op."""
        self._choose_backward_kind(full=False)
        return _add(self._backward_hooks, hook)

    def _choose_backward_kind(self, full: bool) -> None:
        if self._is_full_backward_hook is (not full):
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a "
                "single Module. Please use only one of them."
            )
        object.__setattr__(self, "_is_full_backward_hook", full)

    def _own(self, table: str) -> dict:
        return self.__dict__.get(table, _EMPTY)

    def __getattr__(self, name: str) -> Any:
        if name in HOOK_TABLES:
            return self._hook_table(name)
        return super().__getattr__(name)  # type: ignore[misc]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        if any(self._own(table) for table in CALL_TABLES):
            object.__setattr__(self, "_hooked", True)

    def _get_backward_hooks(self) -> tuple[list, list]:
        """Hooks on the gradients of the whole module, and old ones on its last op."""
        full: list = []
        old: list = []
        kind = full if _global_is_full_backward_hook else old
        kind.extend(_global_backward_hooks.values())
        kind = full if self._is_full_backward_hook else old
        kind.extend(self._own("_backward_hooks").values())
        return full, old

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        """A call with every kind of hook looked at."""
        if not self._hooked and not _any_global_hook():
            _use_global_hooks(False)  # the last of them is gone
            return self._call_plain(*args, **kwargs)
        progress = _Progress()
        try:
            return self._call_hooked(args, kwargs, progress)
        except Exception as error:
            self._call_after_error(args, kwargs, progress)
            self._note_path(error)
            raise

    def _call_hooked(self, args: tuple, kwargs: dict, progress: _Progress) -> Any:
        args, kwargs = self._run_pre_hooks(args, kwargs)
        full, old = self._get_backward_hooks()
        pre = [*_global_backward_pre_hooks.values(), *self._own("_backward_pre_hooks").values()]
        backward = BackwardHook(self, full, pre) if full or pre else None
        if backward is not None:
            args = backward.setup_input_hook(args)

        progress.result = self.forward(*args, **kwargs)

        own = self._own("_forward_hooks")
        for key, hook in (*_global_forward_hooks.items(), *own.items()):
            progress.called.add(key)
            replaced = self._run_forward_hook(key, hook, args, kwargs, progress.result)
            if replaced is not None:
                progress.result = replaced
        result = progress.result
        if backward is not None:
            if not isinstance(result, (Tensor, tuple)):
                warnings.warn(
                    "For backward hooks to be called, module output should be a Tensor or a "
                    f"tuple of Tensors but received {type(result)}",
                    stacklevel=4,
                )
            result = backward.setup_output_hook(result)
        if old:
            self._hook_last_op(result, old)
        return result

    def _run_pre_hooks(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        own = self._own("_forward_pre_hooks")
        wants_kwargs = self._own("_forward_pre_hooks_with_kwargs")
        for key, hook in (*_global_forward_pre_hooks.items(), *own.items()):
            if key not in wants_kwargs:
                replaced = hook(self, args)
                if replaced is not None:
                    args = _as_tuple(replaced)
                continue
            replaced = hook(self, args, kwargs)
            if replaced is None:
                continue
            if not (isinstance(replaced, tuple) and len(replaced) == 2):
                raise RuntimeError(
                    "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                    f"but got {replaced}."
                )
            args, kwargs = replaced
        return args, kwargs

    def _run_forward_hook(
        self, key: int, hook: Callable, args: tuple, kwargs: dict, result: Any
    ) -> Any:
        own = self._own("_forward_hooks_with_kwargs")
        if key in own or key in _global_forward_hooks_with_kwargs:
            return hook(self, args, kwargs, result)
        return hook(self, args, result)

    def _call_after_error(self, args: tuple, kwargs: dict, progress: _Progress) -> None:
        """Calls the always-call hooks that an error would skip; keeps their own errors in."""
        hooks = {**_global_forward_hooks, **self._own("_forward_hooks")}
        always = (*_global_forward_hooks_always_called, *self._own("_forward_hooks_always_called"))
        for key in always:
            if key in progress.called or key not in hooks:
                continue
            try:
                self._run_forward_hook(key, hooks[key], args, kwargs, progress.result)
            except Exception as error:
                warnings.warn(
                    "module forward hook with ``always_call=True`` raised an exception that was "
                    f"silenced as another error was raised in forward: {error}",
                    stacklevel=4,
                )

    def _hook_last_op(self, result: Any, hooks: list[Callable]) -> None:
        tensor = result
        while not isinstance(tensor, Tensor):
            values = tensor.values() if isinstance(tensor, dict) else tensor
            tensor = next((v for v in values if isinstance(v, (Tensor, dict, tuple, list))), None)
            if tensor is None:
                return
        if tensor.grad_fn is not None:
            for hook in hooks:
                tensor.grad_fn.register_hook(partial(hook, self))
