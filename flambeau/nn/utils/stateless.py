"""Modules called with other parameters and buffers than their own."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from ...tensor import Tensor
from ..modules.module import Module

_ABSENT = object()


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Any],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """The older place of `flambeau.func.functional_call`; warns (FutureWarning)."""
    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be "
        "removed in a future version of PyTorch. Please use `torch.func.functional_call` instead "
        "which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    return functional_call_of(
        module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict
    )


def functional_call_of(
    module: Module,
    values: dict[str, Any],
    args: Any,
    kwargs: dict[str, Any] | None,
    *,
    tie_weights: bool,
    strict: bool,
) -> Any:
    """``module(*args, **kwargs)`` with the tensors that `values` names in place of its own."""
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _replaced(module, values, tie_weights, strict):
        return module(*args, **(kwargs or {}))


def _groups(module: Module) -> list[set[str]]:
    """The names of each parameter or buffer that has several."""
    found: dict[int, set[str]] = {}
    members = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    for name, tensor in members:
        found.setdefault(id(tensor), set()).add(name)
    return [names for names in found.values() if len(names) > 1]


def _untied(module: Module, values: dict[str, Any]) -> dict[str, Any]:
    """`values` under every name of what they replace."""
    out = dict(values)
    for names in _groups(module):
        given = sorted(names & values.keys())
        if len({id(values[n]) for n in given}) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {given}, which are tied. Consider "
                "using tie_weights=False"
            )
        for n in names if given else ():
            out[n] = values[given[0]]
    return out


def _check_names(module: Module, values: dict[str, Any]) -> None:
    own = {n for n, _ in module.named_parameters(remove_duplicate=False)}
    own |= {n for n, _ in module.named_buffers(remove_duplicate=False)}
    lines = []
    for word, names in (("Unexpected", values.keys() - own), ("Missing", own - values.keys())):
        if names:
            lines.append(f"\t{word} key(s): {', '.join(map(repr, sorted(names)))}.")
    if lines:
        head = f"Error(s) in reparametrizing for {type(module).__name__}:\n"
        raise RuntimeError(head + "\n".join(lines))


@contextlib.contextmanager
def _replaced(
    module: Module, values: dict[str, Any], tie_weights: bool, strict: bool
) -> Iterator[None]:
    given = _untied(module, values) if tie_weights else dict(values)
    if strict:
        _check_names(module, given)
    for value in given.values():
        if not isinstance(value, Tensor):
            raise TypeError(f"{value} is not an instance of torch.Tensor")
    places = {path: _place(module, path) for path in given}
    held: list[tuple[str, Any, str, Any]] = []
    try:
        for path, (owner, name) in places.items():
            held.append((path, owner, name, _swap(owner, name, given[path])))
        yield
    finally:
        for path, owner, name, own in reversed(held):
            used = _swap(owner, name, own)
            # What the call assigned, such as a running count, is handed to the caller.
            if path in values and used is not given[path] and isinstance(used, Tensor):
                values[path] = used


def _place(module: Module, path: str) -> tuple[Module, str]:
    """The module that holds the tensor called `path`, and its name there."""
    *parents, name = path.split(".")
    owner = module
    for part in parents:
        if not hasattr(owner, part):
            raise AttributeError(f"{type(owner).__name__} has no attribute `{part}`")
        owner = getattr(owner, part)
        if not isinstance(owner, Module):
            raise TypeError(f"submodule `{part}`: {owner} is not an instance of torch.nn.Module")
    return owner, name


def _swap(owner: Module, name: str, value: Any) -> Any:
    """Put `value` where `owner` has the tensor called `name`; returns what was there."""
    for table in (owner._parameters, owner._buffers):
        if name in table:
            before = table[name]
            table[name] = value
            return before
    before = owner.__dict__.get(name, _ABSENT)
    if value is _ABSENT:
        owner.__dict__.pop(name, None)
    else:
        owner.__dict__[name] = value
    return before


__all__ = ["functional_call"]
