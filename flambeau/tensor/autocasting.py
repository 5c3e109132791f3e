"""Autocast: inside, products run in half precision and what needs range in single precision.

The functions named here are armed when autocast is first used, and are as they were before that.
Inside a function that has a policy nothing more is cast. Casts of leaves that require a gradient
are kept until the outermost context ends, so that a weight is cast once for all its uses.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any

from .. import devices, dtypes
from ..autograd.grad_mode import is_grad_enabled
from . import interception
from .core import TensorCore, is_leaf_node
from .functions import publish
from .interception import LOCAL, hold, release

LOWER, SINGLE, WIDEST, RESULT = "lower", "single", "widest", "result"
"""Cast to the half type; to float32; to the widest type that is there; only cast the result."""

_NAMES = {
    LOWER: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d bmm mm "
    "linalg_vecdot baddbmm addmm addbmm linear matmul conv_tbc prelu "
    "scaled_dot_product_attention chain_matmul linalg_multi_dot linalg_matmul "
    "lstm_layer",
    SINGLE: "avg_pool3d binary_cross_entropy grid_sampler grid_sampler_2d grid_sampler_3d "
    "grid_sample polar prod quantile nanquantile stft cdist trace view_as_complex cholesky "
    "cholesky_inverse cholesky_solve inverse lu_solve orgqr ormqr pinverse "
    "max_unpool1d max_unpool2d max_unpool3d adaptive_avg_pool3d "
    "adaptive_max_pool3d adaptive_max_pool3d_with_indices mse_loss cosine_embedding_loss nll_loss "
    "hinge_embedding_loss poisson_nll_loss smooth_l1_loss cross_entropy l1_loss huber_loss "
    "margin_ranking_loss soft_margin_loss triplet_margin_loss multi_margin_loss ctc_loss kl_div "
    "multilabel_margin_loss binary_cross_entropy_with_logits linear_cross_entropy fft_fft fft_ifft "
    "fft_fft2 fft_ifft2 fft_fftn fft_ifftn fft_rfft fft_irfft fft_rfft2 fft_irfft2 fft_rfftn "
    "fft_irfftn fft_hfft fft_ihfft linalg_cond linalg_matrix_rank linalg_solve linalg_solve_ex "
    "linalg_lu_solve linalg_cholesky linalg_svdvals linalg_eigvals linalg_eigvalsh linalg_inv "
    "linalg_householder_product linalg_tensorinv linalg_tensorsolve geqrf linalg_lu_factor lu qr "
    "svd triangular_solve fractional_max_pool2d fractional_max_pool3d "
    "fractional_max_pool2d_with_indices fractional_max_pool3d_with_indices linalg_qr "
    "linalg_cholesky_ex linalg_svd linalg_eig linalg_eigh linalg_lstsq linalg_inv_ex",
    WIDEST: "stack cat concat concatenate index_copy",
    RESULT: "cov corrcoef linalg_pinv",
}


def _of_tensordot(a: Any, b: Any, dims: Any = 2, *_: Any, **__: Any) -> str | None:
    """A tensordot is a matrix product unless all dimensions are contracted."""
    count = dims if isinstance(dims, int) else len(dims[0])
    return None if count == a.dim() == b.dim() else LOWER


def _of_inner(input: Any, other: Any, *_: Any, **__: Any) -> str | None:
    """An inner product is a matrix product unless both are vectors, or one is a number."""
    return LOWER if input.dim() and other.dim() and input.dim() + other.dim() > 2 else None


def _of_matrix_power(input: Any, n: int, *_: Any, **__: Any) -> str | None:
    """A matrix power is a product from the second on."""
    return LOWER if abs(n) > 1 else None


def _of_max_pool3d(*args: Any, return_indices: bool = False, **_: Any) -> str | None:
    """A max-pooling needs float32 unless it tells the places."""
    return None if return_indices or (len(args) > 6 and args[6]) else SINGLE


def _of_pad(input: Any, pad: Any, mode: str = "constant", *_: Any, **__: Any) -> str | None:
    """Reflecting and replicating need float32."""
    return SINGLE if mode in ("reflect", "replicate") else None


POLICY_OF: dict[str, Any] = {
    **{name: policy for policy, names in _NAMES.items() for name in names.split()},
    "tensordot": _of_tensordot,
    "inner": _of_inner,
    "linalg_matrix_power": _of_matrix_power,
    "matrix_power": _of_matrix_power,
    "max_pool3d": _of_max_pool3d,
    "pad": _of_pad,
}
"""For every function with a policy its policy, or a function of its arguments that says which."""

SUPPORTED = (dtypes.bfloat16, dtypes.float16)


class _Settings(threading.local):
    """What autocast is set to in this thread."""

    def __init__(self) -> None:
        self.dtypes = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16, "mps": dtypes.float16}
        self.enabled: dict[str, bool] = {}
        self.cache_enabled = True
        self.nesting = 0
        self.cache: dict[tuple[int, Any], tuple[Any, Any]] = {}


SETTINGS = _Settings()


def pick(device_type: str) -> str:
    """The bare type of a device string; RuntimeError if there is no such device."""
    return devices.device(device_type).type


class Casting:
    """What an armed function with a policy does while autocast is on in its thread."""

    def run(self, policy: Any, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Cast the arguments as `policy` says and call `function` outside of autocast."""
        before, LOCAL.autocast = LOCAL.autocast, None
        try:
            if callable(policy):
                policy = policy(*args, **kwargs)
            if policy is None:
                return function(*args, **kwargs)
            if policy == RESULT:
                return _cast(function(*args, **kwargs), SETTINGS.dtypes["cpu"])
            wanted = dtypes.float32 if policy == SINGLE else SETTINGS.dtypes["cpu"]
            if policy == WIDEST:
                wanted = _widest((*args, *kwargs.values()), wanted)
            args = tuple([_cast(x, wanted) for x in args])
            if kwargs:
                kwargs = {k: v if k == "out" else _cast(v, wanted) for k, v in kwargs.items()}
            return function(*args, **kwargs)
        finally:
            LOCAL.autocast = before


def _widest(values: Any, lower: dtypes.dtype) -> dtypes.dtype:
    """float32 if any tensor among `values` is of that type, else the half type."""
    for x in values:
        if isinstance(x, (list, tuple)):
            if _widest(x, lower) is dtypes.float32:
                return dtypes.float32
        elif _is_eligible(x) and x._t is dtypes.float32:
            return dtypes.float32
    return lower


def _is_eligible(x: Any) -> bool:
    """Whether autocast casts `x`: a floating-point tensor of the CPU, but no float64."""
    return (
        isinstance(x, TensorCore)
        and x._t.is_floating_point
        and x._t is not dtypes.float64
        and x.device.type == "cpu"  # type: ignore[attr-defined]
    )


def _cast(x: Any, wanted: dtypes.dtype) -> Any:
    if isinstance(x, TensorCore):
        return _cast_tensor(x, wanted) if _is_eligible(x) and x._t is not wanted else x
    if x.__class__ is list or x.__class__ is tuple:
        return x.__class__([_cast(y, wanted) for y in x])
    return x


def _cast_tensor(x: Any, wanted: dtypes.dtype) -> Any:
    kept = x._gf is not None and is_leaf_node(x._gf) and x._view is None and is_grad_enabled()
    if not (kept and SETTINGS.cache_enabled and wanted is SETTINGS.dtypes["cpu"]):
        return x.to(wanted)
    found = SETTINGS.cache.get((id(x), wanted))
    if found is None:
        # The leaf is held too, so that its id stays its own.
        found = SETTINGS.cache[id(x), wanted] = (x, x.to(wanted))
    return found[1]


_CASTING = Casting()


def _switch(enabled: bool) -> None:
    """Turn casting on or off in this thread."""
    if enabled == (LOCAL.autocast is not None):
        return
    if enabled:
        if not interception.POLICIES:
            interception.POLICIES.update(POLICY_OF)
            interception.arm_some(POLICY_OF)
        LOCAL.autocast = _CASTING
        hold()
    else:
        LOCAL.autocast = None
        release()


# ---------------------------------------------------------------- PyTorch's switches
def _known(device_type: str, where: str) -> str:
    kind = pick(device_type)
    if kind not in ("cpu", "cuda", "xla", "mps", "xpu"):
        raise RuntimeError(f"{where}: autocast does not know the device type {device_type!r}")
    return kind


@publish
def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on in this thread for `device_type`."""
    return SETTINGS.enabled.get(_known(device_type, "is_autocast_enabled"), False)


@publish
def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Turn autocast on or off in this thread for `device_type`."""
    if enabled is None:
        device_type, enabled = "cuda", device_type
    kind = _known(device_type, "set_autocast_enabled")
    SETTINGS.enabled[kind] = bool(enabled)
    if kind == "cpu":
        _switch(bool(enabled))


@publish
def get_autocast_dtype(device_type: str) -> dtypes.dtype:
    """The half type of autocast for `device_type`."""
    return SETTINGS.dtypes.get(_known(device_type, "get_autocast_dtype"), dtypes.bfloat16)


@publish
def set_autocast_dtype(device_type: str, dtype: dtypes.dtype) -> None:
    """Set the half type of autocast for `device_type`."""
    SETTINGS.dtypes[_known(device_type, "set_autocast_dtype")] = dtype


@publish
def is_autocast_cache_enabled() -> bool:
    """Whether casts of weights are kept."""
    return SETTINGS.cache_enabled


@publish
def set_autocast_cache_enabled(enabled: bool) -> None:
    """Set whether casts of weights are kept."""
    SETTINGS.cache_enabled = bool(enabled)


@publish
def clear_autocast_cache() -> None:
    """Drop the casts that are kept."""
    SETTINGS.cache.clear()


@publish
def autocast_increment_nesting() -> int:
    """Count the entering of a context; the depth."""
    SETTINGS.nesting += 1
    return SETTINGS.nesting


@publish
def autocast_decrement_nesting() -> int:
    """Count the leaving of a context; the depth."""
    SETTINGS.nesting -= 1
    return SETTINGS.nesting


def _old_names(device_type: str, short: str) -> None:
    """Publish the older functions that have the device in their names."""

    def warn(name: str, instead: str) -> None:
        warnings.warn(
            f"torch.{name}() is deprecated. Please use torch.{instead} instead.",
            DeprecationWarning,
            stacklevel=3,
        )

    def is_enabled() -> bool:
        warn(f"is_autocast_{short}_enabled", f"is_autocast_enabled('{device_type}')")
        return bool(is_autocast_enabled(device_type))

    def set_enabled(enabled: bool) -> None:
        warn(f"set_autocast_{short}_enabled", f"set_autocast_enabled('{device_type}', enabled)")
        set_autocast_enabled(device_type, enabled)

    def get_dtype() -> Any:
        warn(f"get_autocast_{short}_dtype", f"get_autocast_dtype('{device_type}')")
        return get_autocast_dtype(device_type)

    def set_dtype(dtype: dtypes.dtype) -> None:
        warn(f"set_autocast_{short}_dtype", f"set_autocast_dtype('{device_type}', dtype)")
        set_autocast_dtype(device_type, dtype)

    publish(is_enabled, f"is_autocast_{short}_enabled")
    publish(set_enabled, f"set_autocast_{short}_enabled")
    publish(get_dtype, f"get_autocast_{short}_dtype")
    publish(set_dtype, f"set_autocast_{short}_dtype")


_old_names("cpu", "cpu")
_old_names("cuda", "gpu")
