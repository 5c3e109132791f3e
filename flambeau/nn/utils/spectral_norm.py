"""Weights divided by their largest singular value, found by power iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...autograd import no_grad
from ...tensor import Parameter
from ...tensor import functions as fl
from ..functional import normalize

if TYPE_CHECKING:
    from ...tensor import Tensor
    from ..modules.module import Module

__all__ = [
    "SpectralNorm",
    "as_matrix",
    "default_dim",
    "remove_spectral_norm",
    "spectral_norm",
]


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """The weight with ``dim`` as rows and all else as columns."""
    if dim != 0:
        order = [dim, *(d for d in range(weight.dim()) if d != dim)]
        weight = weight.permute(order)
    return weight.reshape(weight.size(0), -1)


def default_dim(module: Module) -> int:
    """Where the outputs are in a module's weight."""
    return 1 if getattr(module, "transposed", False) else 0


class SpectralNorm:
    """The hook that computes ``name`` as ``name_orig`` over its largest singular value."""

    _version = 1

    def __init__(
        self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The divided weight; the vectors are improved first if asked for."""
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            self._iterate(matrix.detach(), u, v)
            u, v = u.clone(), v.clone()  # later calls move the buffers
        return weight / fl.dot(u, matrix.mv(v))

    def _iterate(self, matrix: Tensor, u: Tensor, v: Tensor) -> None:
        """Moves both vectors in place towards the leading singular vectors of the matrix."""
        with no_grad():
            for _ in range(self.n_power_iterations):
                v.copy_(normalize(matrix.t().mv(u), dim=0, eps=self.eps))
                u.copy_(normalize(matrix.mv(v), dim=0, eps=self.eps))

    @staticmethod
    def apply(
        module: Module, name: str, n_power_iterations: int, dim: int, eps: float
    ) -> SpectralNorm:
        """Replaces the parameter and registers the hooks."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two spectral_norm hooks on the same parameter {name}"
                )
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        with no_grad():
            matrix = as_matrix(weight.detach(), dim)
            u, v = (
                normalize(fl.empty(n, dtype=weight.dtype).normal_(0, 1), dim=0, eps=eps)
                for n in matrix.shape
            )
        del module._parameters[name]
        module.register_parameter(name + "_orig", weight)
        setattr(module, name, weight.detach())
        module.register_buffer(name + "_u", u)
        module.register_buffer(name + "_v", v)
        module.register_forward_pre_hook(hook)
        module._register_state_dict_hook(_NoteVersion(hook))
        return hook

    def remove(self, module: Module) -> None:
        """Puts the divided weight in place as a parameter."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for ending in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + ending)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        weight = self.compute_weight(module, do_power_iteration=module.training)
        setattr(module, self.name, weight)


class _NoteVersion:
    """Writes the version of the method into a state dict's metadata."""

    def __init__(self, norm: SpectralNorm) -> None:
        self.norm = norm

    def __call__(self, module: Any, state_dict: Any, prefix: str, local_metadata: dict) -> None:
        notes = local_metadata.setdefault("spectral_norm", {})
        notes[self.norm.name + ".version"] = self.norm._version


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divides a parameter by its largest singular value before every call (Miyato et al., 2018).

    ``dim`` holds the outputs, 0 by default and 1 for transposed convolutions. Raises
    RuntimeError when it is divided already.
    """
    place = default_dim(module) if dim is None else dim
    SpectralNorm.apply(module, name, n_power_iterations, place, eps)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Undoes `spectral_norm`. Raises ValueError if there is none."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            break
    else:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    for key, hook in module._state_dict_hooks.items():
        if isinstance(hook, _NoteVersion) and hook.norm.name == name:
            del module._state_dict_hooks[key]
            break
    return module
