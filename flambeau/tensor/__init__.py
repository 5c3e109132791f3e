"""The Tensor: data, views, in-place changes, indexing, printing, and functions derived from ops.

Enter here: what is about tensors in general. What is about one op belongs into its record.
"""

from __future__ import annotations

import warnings

from .. import ops
from .core import from_array, is_tensor
from .functions import publish
from .methods import install_methods
from .parameter import Buffer, Parameter
from .shape import Size
from .tensor import Tensor

from . import (  # isort: skip
    arrangement,
    constructors,
    conversion,
    creation,
    operators,
    process,
    random,
    strides,
    windows,
)

install_methods()

# A division by zero or an overflow is a value here, not an event; NumPy would report each one of
# those that its functions meet when this library calls them.
warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"flambeau\.")

__all__ = [
    "Buffer",
    "Parameter",
    "Size",
    "Tensor",
    "arrangement",
    "constructors",
    "conversion",
    "creation",
    "from_array",
    "is_tensor",
    "operators",
    "ops",
    "process",
    "publish",
    "random",
    "strides",
    "windows",
]
