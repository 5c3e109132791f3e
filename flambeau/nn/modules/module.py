"""`Module`, the class every layer and model derives from."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Self

from ...autograd import no_grad
from ...devices import resolve_device
from ...dtypes import bfloat16, dtype, float16, float32, float64
from ...tensor import Parameter, Tensor
from ...tensor import functions as fl
from .hooks import (
    Hooks,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from .registry import Members
from .state import StateDict
from .traversal import Traversal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]


def _parse_to(args: tuple, kwargs: dict) -> tuple[Any, Any, bool, Any]:
    """(device, dtype, non_blocking, memory_format) from the call forms of `Tensor.to`."""
    named = dict(kwargs)
    places = list(args)
    device = kind = None
    if places:
        first = places.pop(0)
        if isinstance(first, Tensor):
            device, kind = first.device, first.dtype
        elif isinstance(first, dtype):
            kind = first
        else:
            device = first
            if places and (places[0] is None or isinstance(places[0], dtype)):
                kind = places.pop(0)
    elif "tensor" in named or "other" in named:
        other = named.pop("tensor", None)
        other = named.pop("other") if other is None else other
        device, kind = other.device, other.dtype
    device = named.pop("device", device)
    kind = named.pop("dtype", kind)
    non_blocking = places.pop(0) if places else named.pop("non_blocking", False)
    if places:
        places.pop(0)  # `copy`, which a module's conversion has no use for
    named.pop("copy", None)
    memory_format = named.pop("memory_format", None)
    if places or named:
        raise TypeError(
            "to() received an invalid combination of arguments - got "
            f"({', '.join([type(a).__name__ for a in args] + list(kwargs))}); expected a device, "
            "a dtype, both, or a tensor"
        )
    device = resolve_device(device) if device is not None else None
    return device, kind, non_blocking, memory_format


def _indented(text: str, spaces: int) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * spaces + line for line in rest)])


class Module(Hooks, StateDict, Traversal, Members):
    """Base of every layer and model.

    A subclass calls ``super().__init__()``, assigns parameters and submodules as attributes and
    defines ``forward``; calling the module calls ``forward`` and the registered hooks.

    Attributes:
        training: True in training mode, False in evaluation mode (see `train` and `eval`).

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = Parameter(fl.ones(1))
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> [name for name, _ in Scale().named_parameters()]
    ['factor']
    """

    dump_patches: bool = False
    call_super_init: bool = False
    _compiled_call_impl: Callable[..., Any] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            if kwargs:
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                    f"'{next(iter(kwargs))}'"
                )
            if args:
                raise TypeError(
                    f"{type(self).__name__}.__init__() takes 1 positional argument but "
                    f"{len(args) + 1} were given"
                )
        self._open_tables()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # -- calling -----------------------------------------------------------------------------

    def forward(self, *input: Any) -> Any:
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def _call_plain(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooked:
            return self._call_impl(*args, **kwargs)
        try:
            if kwargs:
                return self.forward(*args, **kwargs)
            return self.forward(*args)
        except Exception as error:
            self._note_path(error)
            raise

    __call__: Callable[..., Any] = _call_plain

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles this module's calls in place; arguments and errors of `flambeau.compile`."""
        # It is built on modules, so that they know it by name only.
        graph = importlib.import_module("...graph", __package__)
        self._compiled_call_impl = graph.compile(self._call_impl, *args, **kwargs)

    def _note_path(self, error: Exception) -> None:
        """Notes on an error that leaves this module the dotted path it came from.

        Each enclosing module prepends its part, so one note remains, from the outermost down.
        """
        kind, path, old = type(self).__name__, "", None
        trail = getattr(error, "_flambeau_trail", None)
        if trail is not None:
            inner, kind, path, old = trail
            names = {id(module): name for name, module in self.named_modules()}
            if inner not in names:  # raised by a module that is no part of this one
                return
            path = ".".join(part for part in (names[inner], path) if part)
        own = type(self).__name__
        note = f"raised in {own}.{path} ({kind})" if path else f"raised in {own}"
        notes = getattr(error, "__notes__", [])
        if old in notes:
            notes[notes.index(old)] = note
        else:
            error.add_note(note)
        error._flambeau_trail = (id(self), kind, path, note)  # type: ignore[attr-defined]

    # -- modes and gradients -----------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Puts this module and its descendants in training (or evaluation) mode."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Puts this module and its descendants in evaluation mode."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Says for every parameter whether gradients are computed."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets every parameter's gradient, or fills it with zeros."""
        for param in self.parameters():
            if param.grad is None:
                continue
            if set_to_none:
                param.grad = None
            elif param.grad.grad_fn is not None:
                param.grad = param.grad.detach().zero_()
            else:
                param.grad.requires_grad_(False).zero_()

    # -- conversion --------------------------------------------------------------------------

    def apply(self, fn: Callable[[Module], None]) -> Self:
        """Calls ``fn`` on every descendant and at last on this module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replaces the data of every parameter, gradient and buffer by ``fn`` of it."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for name, param in self._parameters.items():
            if param is None:
                continue
            with no_grad():
                data = fn(param)
                grad = None if param.grad is None else fn(param.grad)
            if data.device.type == param.device.type:
                param.data = data
            else:
                param = Parameter(data, requires_grad=param.requires_grad)
                self._parameters[name] = param
            if grad is not None:
                param.grad = grad.requires_grad_(grad.requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Moves parameters and buffers to a device and casts floating ones to a dtype, in place.

        Call forms: ``to(device=None, dtype=None, non_blocking=False)``, ``to(dtype)``,
        ``to(tensor)``, ``to(memory_format=...)``. Raises TypeError for a dtype that is neither
        floating nor complex.
        """
        device, kind, non_blocking, memory_format = _parse_to(args, kwargs)
        if kind is not None and not (kind.is_floating_point or kind.is_complex):
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={kind}"
            )

        def convert(tensor: Tensor) -> Tensor:
            cast = kind if tensor.is_floating_point() or tensor.is_complex() else None
            try:
                if memory_format is not None and tensor.dim() in (4, 5):
                    return tensor.to(device, cast, non_blocking, memory_format=memory_format)
                return tensor.to(device, cast, non_blocking)
            except NotImplementedError as error:
                if str(error) == "Cannot copy out of meta tensor; no data!":
                    raise NotImplementedError(
                        f"{error} Please use torch.nn.Module.to_empty() instead of "
                        "torch.nn.Module.to() when moving module from meta to a different device."
                    ) from None
                raise

        return self._apply(convert)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Moves parameters and buffers to a device without copying: their values are undefined."""
        return self._apply(lambda t: fl.empty_like(t, device=device), recurse)

    def cpu(self) -> Self:
        """Moves parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Moves parameters and buffers to a CUDA device."""
        return self._apply(lambda t: t.cuda(device))

    def ipu(self, device: Any = None) -> Self:
        """Moves parameters and buffers to a device of the type ipu."""
        return self._apply(lambda t: t.ipu(device))

    def mtia(self, device: Any = None) -> Self:
        """Moves parameters and buffers to an mtia device."""
        return self._apply(lambda t: t.mtia(device))

    def xpu(self, device: Any = None) -> Self:
        """Moves parameters and buffers to an xpu device."""
        return self._apply(lambda t: t.xpu(device))

    def type(self, dst_type: Any) -> Self:
        """Casts every parameter and buffer to ``dst_type``."""
        return self._apply(lambda t: t.type(dst_type))

    def _cast_floating(self, kind: dtype) -> Self:
        return self._apply(lambda t: t.to(kind) if t.is_floating_point() else t)

    def float(self) -> Self:
        """Casts floating parameters and buffers to float32."""
        return self._cast_floating(float32)

    def double(self) -> Self:
        """Casts floating parameters and buffers to float64."""
        return self._cast_floating(float64)

    def half(self) -> Self:
        """Casts floating parameters and buffers to float16."""
        return self._cast_floating(float16)

    def bfloat16(self) -> Self:
        """Casts floating parameters and buffers to bfloat16."""
        return self._cast_floating(bfloat16)

    def share_memory(self) -> Self:
        """Moves parameters and buffers to memory shared between processes."""
        return self._apply(lambda t: t.share_memory_())

    # -- looks -------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the brackets of the module's repr; override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        child_lines = [
            f"({name}): {_indented(repr(module), 2)}" for name, module in self._modules.items()
        ]
        if len(extra_lines) == 1 and not child_lines:
            return f"{self._get_name()}({extra})"
        lines = extra_lines + child_lines
        if not lines:
            return f"{self._get_name()}()"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"
