"""flambeau: deep learning with PyTorch's API, in Python all the way down.

``import flambeau as torch`` and an ordinary program works. This module is the roof of the house: it
gathers the public names and defines none.
"""

from __future__ import annotations

import importlib
from math import e, inf, nan, pi
from typing import Any

from . import dtypes as _dtypes
from .autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .devices import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    device,
    jagged,
    layout,
    memory_format,
    preserve_format,
    sparse_bsc,
    sparse_bsr,
    sparse_coo,
    sparse_csc,
    sparse_csr,
    strided,
)
from .dtypes import (
    can_cast,
    dtype,
    finfo,
    get_default_dtype,
    iinfo,
    promote_types,
    set_default_dtype,
)
from .errors import OutOfMemoryError
from .tensor import Size, Tensor
from .tensor import functions as _functions
from .version import __version__ as __version__

# The package `flambeau.tensor` and PyTorch's function of that name: imports find the package, the
# attribute is the function.
tensor = _functions.tensor

globals().update({t.name: t for t in _dtypes.ALL})
globals().update(_dtypes.ALIASES)
newaxis = None

# Submodules that are imported when first used, so that importing the library stays cheap.
_SUBMODULES = frozenset(
    [
        "_C",
        "accelerator",
        "amp",
        "autograd",
        "backends",
        "compat",
        "compiler",
        "cpu",
        "cuda",
        "distributions",
        "examples",
        "fft",
        "func",
        "graph",
        "linalg",
        "masked",
        "nested",
        "nn",
        "optim",
        "overrides",
        "random",
        "serialization",
        "signal",
        "sparse",
        "special",
        "storage",
        "testing",
        "utils",
        "xp",
    ]
)

# Names of the roof that live in such a submodule.
_HOMES: dict[str, str] = {
    **{f"{t.title}Storage": "tensor.typed_storages" for t in _dtypes.ALL},
    "GradScaler": "amp",
    "TypedStorage": "tensor.typed_storages",
    "from_dlpack": "tensor.dlpack",
    "get_device_module": "cpu",
    "to_dlpack": "tensor.dlpack",
    "autocast": "amp",
    "compile": "graph",
    "load": "serialization",
    "save": "serialization",
    "vmap": "func",
}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        try:
            return importlib.import_module(f".{name}", __name__)
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    home = _HOMES.get(name)
    if home is not None:
        found = getattr(importlib.import_module(f".{home}", __name__), name, None)
        if found is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    else:
        try:
            found = getattr(_functions, name)
        except AttributeError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_functions.names()})


__all__ = [
    "OutOfMemoryError",
    "Size",
    "Tensor",
    "can_cast",
    "channels_last",
    "channels_last_3d",
    "contiguous_format",
    "device",
    "dtype",
    "e",
    "enable_grad",
    "finfo",
    "get_default_dtype",
    "iinfo",
    "inf",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "jagged",
    "layout",
    "memory_format",
    "nan",
    "newaxis",
    "no_grad",
    "pi",
    "preserve_format",
    "promote_types",
    "set_default_dtype",
    "set_grad_enabled",
    "sparse_bsc",
    "sparse_bsr",
    "sparse_coo",
    "sparse_csc",
    "sparse_csr",
    "strided",
]
