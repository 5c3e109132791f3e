"""`compile`: where PyTorch would capture a whole program, and this library runs it op by op.

There is no graph: what is compiled behaves as before, and only looks as PyTorch would have it.
"""

from __future__ import annotations

import functools
from collections.abc import Sized
from typing import TYPE_CHECKING, Any

from ..nn.modules.hooks import HOOK_TABLES
from ..nn.modules.module import Module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["OptimizedModule", "compile"]

BACKENDS = ("aot_eager", "eager", "inductor")
MODES = ("default", "lite", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune")


class OptimizedModule(Module):
    """A compiled module: calls the original, and has the attributes of the original.

    Its only child is `_orig_mod`, so its state dict's keys begin with ``_orig_mod.``. Reading,
    setting and deleting attributes that no module has reaches the original.
    """

    _orig_mod: Any

    def __init__(self, mod: Module) -> None:
        super().__init__()
        Module.__setattr__(self, "_orig_mod", mod)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the original returns, its hooks called."""
        return self._orig_mod(*args, **kwargs)

    @property
    def training(self) -> bool:  # type: ignore[override]
        """The original's mode."""
        return self._orig_mod.training

    @training.setter
    def training(self, value: bool) -> None:
        if "_orig_mod" in self.__dict__:  # not yet while the tables are opened
            self._orig_mod.training = value

    def __len__(self) -> int:
        if isinstance(self._orig_mod, Sized):
            return len(self._orig_mod)
        raise TypeError(f"{type(self._orig_mod).__name__} does not support len()")

    def __getattr__(self, name: str) -> Any:
        if name in HOOK_TABLES or "_orig_mod" not in self.__dict__:
            return super().__getattr__(name)
        return getattr(self._orig_mod, name)

    def _is_own(self, name: str) -> bool:
        return name == "_orig_mod" or hasattr(type(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._is_own(name):
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        if self._is_own(name):
            super().__delattr__(name)
        else:
            delattr(self._orig_mod, name)

    def __dir__(self) -> Iterable[str]:
        return sorted({*dir(self._orig_mod), *super().__dir__()})

    def __reduce__(self) -> tuple[type[OptimizedModule], tuple[Module]]:
        return type(self), (self._orig_mod,)


def _check_settings(backend: Any, mode: str | None, options: dict[str, Any] | None) -> None:
    if mode is not None and options is not None:
        raise RuntimeError(
            "Either mode or options can be specified, but both can't be specified at the same time."
        )
    if options is not None and not isinstance(options, dict):
        raise TypeError(f"compile(): options must be a dict or None, got {type(options).__name__}")
    if callable(backend):
        return
    if backend not in BACKENDS:
        raise RuntimeError(f"Invalid backend: {backend!r}, expected one of {', '.join(BACKENDS)}")
    if backend == "inductor" and mode not in (None, *MODES):
        raise RuntimeError(f"Unrecognized mode={mode}, should be one of: {', '.join(MODES)}")


def _compiled(model: Any) -> Any:
    if isinstance(model, OptimizedModule):
        return OptimizedModule(model._orig_mod)
    if isinstance(model, Module):
        return OptimizedModule(model)
    if isinstance(model, type):
        return model
    if not callable(model):
        raise AssertionError(f"A callable function is expected, but {type(model)} is provided.")

    @functools.wraps(model)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        return model(*args, **kwargs)

    return compiled


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str | Callable[..., Any] | None = None,
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    name: str | None = None,
    disable: bool = False,
    recompile_limit: int | None = None,
    isolate_recompiles: bool = False,
    shapes_spec: Any = None,
) -> Any:
    """`model`, a module or function, compiled; without it, a decorator with these settings.

    A module gives an `OptimizedModule` that shares its parameters, a function a function. What is
    compiled runs op by op: there is no graph, so every setting computes the same, and a `backend`
    of one's own raises NotImplementedError. With `disable` the `model` comes back. RuntimeError
    for an unknown backend or mode, and for `mode` together with `options`.

    >>> @torch.compile
    ... def double(x):
    ...     "Twice x."
    ...     return x + x
    >>> double(21), double.__doc__
    (42, 'Twice x.')
    """
    if model is None:
        settings = {key: value for key, value in locals().items() if key != "model"}

        def decorate(model: Callable[..., Any]) -> Any:
            if model is None:
                raise RuntimeError("Model can't be None")
            return compile(model, **settings)

        return decorate
    _check_settings("inductor" if backend is None else backend, mode, options)
    if disable:
        return model
    if callable(backend):
        raise NotImplementedError(
            "compile(): ops run one by one, so there is no graph to hand to the backend "
            f"{getattr(backend, '__name__', backend)!r}; expected one of {', '.join(BACKENDS)}"
        )
    return _compiled(model)
