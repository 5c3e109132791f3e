"""Functions about the whole process: threads, print options' neighbours, deterministic mode."""

from __future__ import annotations

import warnings
from typing import Any

from .. import dtypes
from ..compiler import threads
from .core import TensorCore
from .functions import publish


@publish
def get_num_threads() -> int:
    """How many threads a kernel may use."""
    return threads.get_num_threads()


@publish
def set_num_threads(num: int) -> None:
    """Set how many threads a kernel may use."""
    if not isinstance(num, int) or isinstance(num, bool):
        raise TypeError(f"set_num_threads expects an int, but got {type(num).__name__}")
    if num <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    threads.set_num_threads(num)


@publish
def get_num_interop_threads() -> int:
    """How many operations run at once: one."""
    return 1


@publish
def set_num_interop_threads(num: int) -> None:
    """Accepted for programs that set it; one operation runs at once here."""
    if not isinstance(num, int) or isinstance(num, bool):
        raise TypeError(f"set_num_interop_threads expects an int, but got {type(num).__name__}")
    if num <= 0:
        raise RuntimeError("set_num_interop_threads expects a positive integer")


_switches: dict[str, Any] = {
    "deterministic": False,
    "warn_only": False,
    "warn_always": False,
    "matmul_precision": "highest",
}


@publish
def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for deterministic algorithms; on the CPU there are no others here."""
    _switches.update(deterministic=bool(mode), warn_only=bool(mode) and bool(warn_only))


@publish
def are_deterministic_algorithms_enabled() -> bool:
    """Whether `use_deterministic_algorithms` asked for them."""
    return bool(_switches["deterministic"])


@publish
def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether algorithms that are not deterministic would only be warned of."""
    return bool(_switches["warn_only"])


@publish
def get_deterministic_debug_mode() -> int:
    """0: any algorithm, 1: a warning where it is not deterministic, 2: an error there."""
    return (1 if _switches["warn_only"] else 2) if _switches["deterministic"] else 0


@publish
def set_deterministic_debug_mode(debug_mode: Any) -> None:
    """Set what `get_deterministic_debug_mode` says, by number or as default, warn or error."""
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    names = {"default": 0, "warn": 1, "error": 2}
    if isinstance(debug_mode, str):
        if debug_mode not in names:
            raise RuntimeError(
                "invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got "
                f"{debug_mode}"
            )
        debug_mode = names[debug_mode]
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(
            f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}"
        )
    use_deterministic_algorithms(debug_mode > 0, warn_only=debug_mode == 1)


@publish
def set_warn_always(b: bool) -> None:
    """Set whether a warning that is given once per process is given every time."""
    _switches["warn_always"] = bool(b)


@publish
def is_warn_always_enabled() -> bool:
    """Whether `set_warn_always` asked for every warning."""
    return bool(_switches["warn_always"])


@publish
def get_float32_matmul_precision() -> str:
    """How exactly products of float32 matrices are asked for: they always are exact here."""
    return str(_switches["matmul_precision"])


@publish
def set_float32_matmul_precision(precision: str) -> None:
    """Ask for products of float32 matrices that are "highest", "high" or "medium" exact."""
    if precision not in ("highest", "high", "medium"):
        warnings.warn(
            f"{precision} is not one of 'highest', 'high', or 'medium'; the current setting is "
            "unchanged.",
            stacklevel=2,
        )
        return
    _switches["matmul_precision"] = precision


@publish
def compiled_with_cxx11_abi() -> bool:
    """Whether C++ extensions would need the newer ABI; there are none here."""
    return True


@publish
def typename(obj: Any) -> str:
    """The type of `obj` with its module: ``torch.FloatTensor`` for a tensor."""
    if isinstance(obj, TensorCore):
        return obj.type()  # type: ignore[attr-defined, no-any-return]
    module = getattr(obj, "__module__", "") or ""
    name = getattr(obj, "__qualname__", "") or type(obj).__qualname__
    return name if module in ("", "builtins") else f"{module}.{name}"


@publish
def set_default_tensor_type(t: Any) -> None:
    """Set the default dtype by the name of an old tensor type, as ``torch.DoubleTensor``."""
    name = t if isinstance(t, str) else f"{t.__module__}.{t.__name__}"
    short = name.rpartition(".")[2].removesuffix("Tensor")
    by_title = {d.title: d for d in dtypes.ALL}
    if short not in by_title:
        raise TypeError(f"invalid type object: {name}")
    dtypes.set_default_dtype(by_title[short])


@publish
def set_flush_denormal(mode: bool) -> bool:
    """Ask for denormal numbers to be flushed to zero: not supported, so False is returned."""
    if mode:
        warnings.warn("denormal numbers are kept: flushing is not supported", stacklevel=2)
    return False
