"""`autocast` as a context and a decorator, and its marks on custom functions."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from ..tensor import functions as fl
from ..tensor.autocasting import SETTINGS, SUPPORTED, pick

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

_AVAILABLE = frozenset(["cpu", "cuda", "mps", "xla", "xpu"])


def is_autocast_available(device_type: str) -> bool:
    """Whether there is autocast for the type of device."""
    return pick(device_type) in _AVAILABLE


class autocast:
    """Inside, products run in `dtype` and what needs range in float32; see `tensor.autocasting`.

    `device_type` is "cpu" here; another known type does nothing. `dtype` is bfloat16 (default) or
    float16. With ``enabled=False`` everything runs in the types that it is given. Also a decorator.

    >>> with autocast("cpu"):
    ...     fl.matmul(fl.ones(2, 2), fl.ones(2, 2)).dtype
    torch.bfloat16
    """

    def __init__(
        self,
        device_type: str,
        dtype: dtypes.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        kind = pick(device_type)
        if kind not in _AVAILABLE:
            raise RuntimeError(
                f"User specified an unsupported autocast device_type '{device_type}'"
            )
        self.device = device_type
        self.fast_dtype = fl.get_autocast_dtype(kind) if dtype is None else dtype
        self._cache_enabled = (
            fl.is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        )
        self._enabled = enabled and self._is_supported(kind)
        self._before: list[tuple[bool, Any, bool]] = []

    def _is_supported(self, kind: str) -> bool:
        if kind == "cuda":
            warnings.warn(
                "CUDA is not available or torch_xla is imported. Disabling autocast.", stacklevel=3
            )
            return False
        if kind == "cpu" and self.fast_dtype not in SUPPORTED:
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\n"
                "CPU Autocast only supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=3,
            )
            return False
        return True

    def __enter__(self) -> autocast:
        kind = pick(self.device)
        before = (
            fl.is_autocast_enabled(kind), fl.get_autocast_dtype(kind), SETTINGS.cache_enabled
        )  # fmt: skip
        self._before.append(before)
        fl.set_autocast_enabled(kind, self._enabled)
        fl.set_autocast_dtype(kind, self.fast_dtype)
        fl.autocast_increment_nesting()
        fl.set_autocast_cache_enabled(self._cache_enabled)
        return self

    def __exit__(self, *_: object) -> None:
        kind = pick(self.device)
        enabled, dtype, cached = self._before.pop()
        if fl.autocast_decrement_nesting() == 0:
            fl.clear_autocast_cache()
        fl.set_autocast_enabled(kind, enabled)
        fl.set_autocast_dtype(kind, dtype)
        fl.set_autocast_cache_enabled(cached)

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return inside


# ---------------------------------------------------------------- custom autograd functions
def _cast(value: Any, device_type: str, dtype: dtypes.dtype) -> Any:
    """`value` with the floating-point tensors in it in `dtype`, but for those of float64."""
    if isinstance(value, Tensor):
        eligible = value.is_floating_point() and value.dtype is not dtypes.float64
        return value.to(dtype) if eligible and value.device.type == device_type else value
    if isinstance(value, (str, np.ndarray)):
        return value
    if isinstance(value, Mapping):
        return {
            _cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)([_cast(v, device_type, dtype) for v in value])
    return value


def _check_device_type(device_type: Any) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def custom_fwd(
    fwd: Callable[..., Any] | None = None,
    *,
    device_type: str,
    cast_inputs: dtypes.dtype | None = None,
) -> Callable[..., Any]:
    """Decorate the ``forward`` of a custom function, which then runs as autocast is set outside.

    With `cast_inputs`, floating-point tensors come in that type and autocast is off inside.
    """
    _check_device_type(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        ctx = args[0]
        ctx._dtype = fl.get_autocast_dtype(device_type)
        enabled = fl.is_autocast_enabled(device_type)
        if cast_inputs is None:
            ctx._fwd_used_autocast = enabled
            return fwd(*args, **kwargs)
        ctx._fwd_used_autocast = False
        if not enabled:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(
                *_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs)
            )

    return decorated


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Callable[..., Any]:
    """Decorate the ``backward`` of a custom function: it runs as autocast was in forward."""
    _check_device_type(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        ctx = args[0]
        with autocast(device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return bwd(*args, **kwargs)

    return decorated
