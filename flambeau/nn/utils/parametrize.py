"""Parameters that are functions of others: a property in place of a parameter."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...autograd import no_grad
from ...tensor import Parameter, Tensor
from ..modules.container import ModuleDict, ModuleList
from ..modules.module import Module

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_depth = 0
_cache: dict[tuple[int, str], Any] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Computes each parametrized tensor only once inside the ``with`` block."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            _cache.clear()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, in the order they apply, and what they start from.

    The start is ``original``, or ``original0``, ``original1``... where the first
    parametrization's ``right_inverse`` returns several tensors.
    """

    def __init__(self, modules: Any, original: Tensor, unsafe: bool = False) -> None:
        modules = list(modules)
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        try:
            start = self._inverted(original, strict=False)
        except NotImplementedError:
            start = original
        self.is_tensor = isinstance(start, Tensor)
        self.ntensors = 1 if self.is_tensor else len(start)
        if self.is_tensor and not unsafe and start.dtype is not dtype:
            raise ValueError(
                "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                f"original.dtype: {dtype}\nright_inverse(original).dtype: {start.dtype}"
            )
        if self.is_tensor:
            with no_grad():
                original.data = start
            self._keep("original", original, original)
        else:
            for place, part in enumerate(start):
                if not isinstance(part, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, "
                        f"tuple...). Got element {place} of the sequence with type "
                        f"{type(part).__name__}."
                    )
                if isinstance(original, Parameter):
                    part = Parameter(part, original.requires_grad)
                self._keep(f"original{place}", part, original)
        if not unsafe:
            _check_result(self, shape, dtype)

    def _inverted(self, value: Any, strict: bool) -> Any:
        with no_grad():
            for module in reversed(self):
                if hasattr(module, "right_inverse"):
                    value = module.right_inverse(value)
                elif strict:
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
        return value if isinstance(value, Tensor) else list(value)

    def _keep(self, name: str, value: Tensor, like: Tensor) -> None:
        if isinstance(like, Parameter):
            self.register_parameter(name, value)
        else:
            self.register_buffer(name, value)

    def _originals(self) -> list[Tensor]:
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Sets the originals so that the parametrized tensor becomes ``value``."""
        start = self._inverted(value, strict=True)
        parts = [start] if self.is_tensor else start
        with no_grad():
            for original, part in zip(self._originals(), parts, strict=True):
                original.data = part

    def forward(self) -> Tensor:
        """The parametrized tensor."""
        first, *rest = self
        value = first(*self._originals())
        for module in rest:
            value = module(value)
        return value


def _check_result(found: ParametrizationList, shape: Any, dtype: Any) -> None:
    value = found()
    if not isinstance(value, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(value).__name__}.")
    for what, was, now in (("dtype", dtype, value.dtype), ("shape", shape, value.shape)):
        if was != now:
            raise ValueError(
                f"Registering a parametrization may not change the {what} of the tensor, unless "
                f"`unsafe` flag is enabled.\nunparametrized {what}: {was}\n"
                f"parametrized {what}: {now}"
            )


def _parametrized_class(module: Module) -> None:
    """Gives the module a class of its own, which can hold properties."""
    kind = type(module)

    def getstate(self: Module) -> dict[str, Any]:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict()."
        )

    def deepcopy(self: Module, memo: dict[int, Any]) -> Module:
        twin = self.__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__(copy.deepcopy(Module.__getstate__(self), memo))
        return twin

    names = {"__getstate__": getstate, "__deepcopy__": deepcopy, "__module__": __name__}
    module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), names)


def _make_property(module: Module, name: str) -> None:
    def compute(self: Module) -> Tensor:
        parametrization = self.parametrizations[name]
        if not _depth:
            return parametrization()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = parametrization()
        return _cache[key]

    def assign(self: Module, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(compute, assign))


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has parametrizations, or one of the given tensor."""
    found = module.__dict__.get("_modules", {}).get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Makes a parameter or buffer a function of a new one, or of the last function's result.

    ``parametrization`` maps the original to the tensor; its ``right_inverse``, if it has one,
    maps a tensor to an original. ``unsafe`` allows a change of shape or dtype. Raises ValueError
    for an unknown name or a result that does not fit.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        found = module.parametrizations[tensor_name]
        if not unsafe:
            value = getattr(module, tensor_name)
            _check_next(parametrization, value)
        found.append(parametrization)
        found.unsafe |= unsafe
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    original = getattr(module, tensor_name)
    found = ParametrizationList([parametrization], original, unsafe=unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _parametrized_class(module)
        module.parametrizations = ModuleDict()
    _make_property(module, tensor_name)
    module.parametrizations[tensor_name] = found
    return module


def _check_next(parametrization: Module, value: Tensor) -> None:
    result = parametrization(value)
    if not isinstance(result, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(result).__name__}.")
    if result.dtype is not value.dtype or result.shape != value.shape:
        raise ValueError(
            "Registering a parametrization may not change the shape or dtype of the tensor, unless "
            f"the `unsafe` flag is enabled.\nbefore: {value.shape}, {value.dtype}\n"
            f"after: {result.shape}, {result.dtype}"
        )


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Takes the parametrizations of a tensor away.

    It keeps its present value, or its original one with ``leave_parametrized=False``. Raises
    ValueError if there are none, or if several originals cannot become one.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    found = module.parametrizations[tensor_name]
    if not leave_parametrized and not found.is_tensor:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    kept = found._originals()[0]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name).detach()
        if found.is_tensor:
            kept.data = value  # the same object, which an optimizer may know
        else:
            kept = Parameter(value, kept.requires_grad) if isinstance(kept, Parameter) else value
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if isinstance(kept, Parameter):
        module.register_parameter(tensor_name, kept)
    else:
        module.register_buffer(tensor_name, kept)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The module's class without the one that parametrizations gave it."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Copies the parametrizations (of one tensor, or all) and their originals to a module."""
    if not is_parametrized(from_module, tensor_name):
        return to_module
    names = [tensor_name] if tensor_name is not None else list(from_module.parametrizations)
    for name in names:
        if not hasattr(to_module, name):
            setattr(to_module, name, copy.deepcopy(from_module.parametrizations[name].original))
        for parametrization in from_module.parametrizations[name]:
            register_parametrization(to_module, name, copy.deepcopy(parametrization))
        source, target = from_module.parametrizations[name], to_module.parametrizations[name]
        for ours, theirs in zip(target._originals(), source._originals(), strict=True):
            ours.data = theirs.data
    return to_module
