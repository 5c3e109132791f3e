"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..nn.modules.batchnorm import _BatchNorm
from ..nn.modules.module import Module
from ..nn.utils.stateless import functional_call_of
from ..tensor import functions as fl


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with other parameters and buffers, given by name.

    `parameter_and_buffer_dicts` is one dictionary or a sequence of them with distinct names.
    Tensors under several names are replaced together, if `tie_weights`. With `strict`, exactly the
    module's own names must be given (RuntimeError). The module is left as it was.
    """
    given = parameter_and_buffer_dicts
    if isinstance(given, (list, tuple)):
        if not all(isinstance(d, dict) for d in given):
            raise ValueError(
                "Expected all elements of parameter_and_buffer_dicts to be dictionaries"
            )
        names = [n for d in given for n in d]
        repeated = sorted({n for n in names if names.count(n) > 1})
        if repeated:
            raise ValueError(
                f"{repeated} appeared in multiple dictionaries; behavior of functional call is "
                "ambiguous"
            )
        given = {n: v for d in given for n, v in d.items()}
    elif not isinstance(given, dict):
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(given)}"
        )
    return functional_call_of(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of `models`, each stacked along a new first dimension.

    The models are of one class and mode (RuntimeError). The stacks of parameters are leaves.
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all(m.training for m in models) or all(not m.training for m in models)):
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    params = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return (
        {n: _stacked([p[n] for p in params]) for n in params[0]},
        {n: _stacked([b[n] for b in buffers]) for n in buffers[0]},
    )


def _stacked(tensors: Sequence[Any]) -> Any:
    if all(t.requires_grad for t in tensors):
        return fl.stack([t.detach() for t in tensors]).requires_grad_()
    if not any(t.requires_grad for t in tensors):
        return fl.stack(list(tensors))
    raise RuntimeError("Expected tensors of one name to agree on requires_grad")


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Stop every batch normalisation in `root` from tracking running statistics, in place."""
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = None
            module.running_var = None
            module.num_batches_tracked = None
            module.track_running_stats = False
    return root


__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]
